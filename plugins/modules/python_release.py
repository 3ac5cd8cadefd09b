#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: python_release
short_description: Make the release folders of all Python apps of a host
version_added: 0.1.0
description:
  - Makes users, folders, virtual environments and environment files for all apps of the host in one call.
  - A release is a folder named after its ID. One that is whole is left alone; one that an earlier run did not finish is
    made again. What is live is not touched.
author:
  - the frontdesk.webstack authors
options:
  apps:
    description: The app records of the plan, with C(archive) naming a file on this host.
    type: list
    elements: dict
    required: true
  environments:
    description:
      - The environment of each app, by its name, as JSON. All of it is secret.
      - In a task leave it out; it is taken from C(env) of the app records.
    type: str
    required: true
  access:
    description:
      - How the packages of each app are reached, by its name, as JSON. It may have passwords in it.
      - In a task leave it out; it is taken from C(access) of the app records.
    type: str
    default: "{}"
  state:
    description:
      - With V(query) nothing is made; RV(missing_packages) and RV(unfinished) say what is to be done.
      - With V(built) the releases are made.
    type: str
    choices: [query, built]
    default: built
  keep:
    description: How many releases of an app stay.
    type: int
    default: 5
extends_documentation_fragment:
  - frontdesk.webstack.common.run
  - frontdesk.webstack.common.locks
attributes:
  check_mode:
    description: Says what would be made.
    support: full
  diff_mode:
    description: Shows the releases that come and go; the content of environment files is not shown.
    support: full
"""

EXAMPLES = r"""
- name: Look at what is there
  frontdesk.webstack.python_release:
    apps: "{{ webstack_plan | frontdesk.webstack.apps_of(inventory_hostname, 'flask') }}"
    environments: "{{ webstack_plan | frontdesk.webstack.environments_of(inventory_hostname, 'gunicorn') | to_json }}"
    state: query
  register: python_app_found
"""

RETURN = r"""
missing_packages:
  description: Operating-system packages that the apps need and the host does not have.
  type: list
  elements: str
  returned: always
unfinished:
  description: Names of the apps whose release is not whole.
  type: list
  elements: str
  returned: always
in_use:
  description: The IDs of each app's live release and of the one before it.
  type: dict
  returned: always
held:
  description: Names of the apps that are left alone, because somebody has gone back behind their release by hand.
  type: list
  elements: str
  returned: always
records:
  description: Of all apps on the host, by name, the ID of the live release and what is held back.
  type: dict
  returned: always
said:
  description: What is to be said of a lock that a run which died had left.
  type: list
  elements: str
  returned: when releases are made
locked_by:
  description: Who has the deploy lock of an app.
  type: dict
  returned: when another run has it
steps:
  description: What was done with each app's release, and when (UTC).
  type: dict
  returned: always
not_checked:
  description: In check mode, what could not be looked at yet.
  type: list
  elements: str
  returned: always
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock, files
from ansible_collections.frontdesk.webstack.plugins.module_utils import python_release as logic


def _query(releases):
    held = [release.app["name"] for release in releases if logic.held(release.app)]
    return {
        "held": held,
        "records": logic.records(release.app for release in releases),
        "in_use": {release.app["name"]: sorted(logic.in_use(release.app)) for release in releases},
        "missing_packages": logic.missing_packages(logic.packages_of([release.app for release in releases])),
        "unfinished": [release.app["name"] for release in releases if release.app["name"] not in held
                       and not release.complete()],
        "steps": {release.app["name"]: release.record.get("steps", {}) for release in releases},
        "not_checked": [],
    }


def _diff(releases, done):
    def lines(flag):
        return "".join(f"{release.app['name']}: {release.folder if flag(release) else 'no such release'}\n"
                       for release in releases)
    return {"before": lines(lambda release: release.app["name"] not in done), "after": lines(lambda release: True),
            "before_header": "releases", "after_header": "releases"}


def _make(release, keep, warn):
    """Make one release, and return what went wrong."""
    try:
        if release.record:
            logic.write_environment(release)  # only the environment file was lost or changed
        else:
            for text in logic.build(release, release.app["archive"]):
                warn(text)
        logic.prune(release.app, keep)
    except logic.ReleaseError as error:
        return [str(error)]
    except OSError as error:
        return [f"{release.app['origin']}: {error}"]
    return []


def main():
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app; secret files have modes of their own
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True, "options": {
                **{key: {"type": "str", "required": True} for key in
                   ("name", "origin", "framework", "user", "root", "release", "label", "python")},
                **{key: {"type": "str", "default": ""} for key in
                   ("archive", "package", "directory", "requirements", "source_id", "commit")},
                **{key: {"type": "list", "elements": "str", "default": []} for key in
                   ("extra_requirements", "packages", "server_requirements", "unpinned")},
                "files": {"type": "dict", "default": {}},
                "asked": {"type": "str", "default": ""},
            }},
            "run": {"type": "dict", "default": {}},
            "locks": {"type": "list", "elements": "str", "default": []},
            "environments": {"type": "str", "required": True, "no_log": True},
            "access": {"type": "str", "default": "{}", "no_log": True},
            "state": {"type": "str", "choices": ["query", "built"], "default": "built"},
            "keep": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    environments, access = json.loads(module.params["environments"]), json.loads(module.params["access"])
    releases = [logic.Release({**app, "env": environments[app["name"]], "access": access.get(app["name"])})
                for app in module.params["apps"]]
    try:
        found = _query(releases)
    except logic.ReleaseError as error:
        module.fail_json(msg=f"Nothing was changed.\n{error}")
    unfinished = [release for release in releases if release.app["name"] in found["unfinished"]]
    result = {"changed": False, **found}
    if module.params["state"] == "query" or not unfinished:
        module.exit_json(**result)
    result |= {"changed": True, "diff": _diff(releases, found["unfinished"])}
    if module.check_mode:
        result["not_checked"] = [f"{release.app['origin']}: the release {release.app['release']} is not built in "
                                 "check mode" for release in unfinished]
        module.exit_json(**result)
    failures, run = [], module.params["run"]
    try:
        said = deploy_lock.acquire_all([release.app for release in unfinished], module.params["locks"], run)
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    busy = logic.ReleaseError(unfinished[0].app["origin"], "another run has been making releases on this host for 15 "
                                                           "minutes. Run this again when it is done.")
    try:
        # Two runs that make one release would take it away from each other.
        with files.lock("/run/webstack.releases.lock", 900, busy):
            logic.prepare_host([release.app for release in releases])
            for release in unfinished:
                failures += _make(release, module.params["keep"], module.warn)
    except (logic.ReleaseError, OSError) as error:
        failures.append(str(error))
    result |= _query(releases) | {"said": said}
    if failures:
        deploy_lock.release_all([release.app for release in unfinished], run)
        module.fail_json(msg="\n".join(["The live releases were not touched.", *failures]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
