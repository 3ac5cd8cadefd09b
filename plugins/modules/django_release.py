#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: django_release
short_description: Check, migrate and collect the static files of new Django releases
version_added: 0.1.0
description:
  - For each app, loads the settings and runs C(check --deploy), migrates the database (on the first of the app's hosts)
    and collects the static files into the release folder. Each is done once per release.
  - Runs as the app's user, with the app's environment and nothing else.
author:
  - the frontdesk.webstack authors
options:
  apps:
    description: The app records of the plan whose release is built.
    type: list
    elements: dict
    required: true
  environments:
    description:
      - The environment of each app, by its name, as JSON. All of it is secret.
      - In a task leave it out; it is taken from C(env) of the app records.
    type: str
    required: true
  host:
    description: The inventory name of this host.
    type: str
    required: true
  production:
    description: Whether settings with C(DEBUG) on are refused.
    type: bool
    default: true
extends_documentation_fragment:
  - frontdesk.webstack.common.run
  - frontdesk.webstack.common.locks
attributes:
  check_mode:
    description: Does nothing and says what was not checked.
    support: full
  diff_mode:
    description: There is nothing to compare; RV(done) has the steps.
    support: none
"""

EXAMPLES = r"""
- name: Check, migrate and collect static files
  frontdesk.webstack.django_release:
    apps: "{{ webstack_plan | frontdesk.webstack.apps_of(inventory_hostname, 'django') }}"
    host: "{{ inventory_hostname }}"
  become: true
"""

RETURN = r"""
done:
  description: The steps that were done, by app.
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
from ansible_collections.frontdesk.webstack.plugins.module_utils import django_release as logic
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_release import (
    Release,
    ReleaseError,
)


def main():
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app; secret files have modes of their own
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True, "options": {
                **{key: {"type": "str", "required": True} for key in
                   ("name", "origin", "user", "root", "release", "manage")},
                "directory": {"type": "str", "default": ""},
                "hosts": {"type": "list", "elements": "str", "required": True},
                "migrate_lock_timeout": {"type": "int", "default": 10},
                **{key: {"type": "bool", "required": True} for key in ("migrate", "static", "static_remote")},
            }},
            "environments": {"type": "str", "required": True, "no_log": True},
            "host": {"type": "str", "required": True},
            "production": {"type": "bool", "default": True},
            "run": {"type": "dict", "default": {}},
            "locks": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = module.params["host"]
    environments = json.loads(module.params["environments"])
    releases = [Release({**app, "env": environments[app["name"]]}) for app in module.params["apps"]]
    if module.check_mode:
        steps = {release.app["name"]: logic.pending(release.app, host, release.record.get("steps", {}))
                 for release in releases}
        module.exit_json(changed=any(steps.values()), done={}, not_checked=[
            f"{release.app['origin']}: {', '.join(steps[release.app['name']])} of release {release.app['release']}"
            for release in releases if steps[release.app["name"]]])
    done, failures = {}, []
    apps, run = module.params["apps"], module.params["run"]
    try:
        deploy_lock.acquire_all(apps, module.params["locks"], run)
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    busy = ReleaseError(apps[0]["origin"] if apps else "", "another run has been making releases on this host for 15 "
                                                           "minutes. Run this again when it is done.")
    try:
        # A run that was killed on its controller goes on here: two would migrate and collect at the same time.
        with files.lock("/run/webstack.releases.lock", 900, busy):
            for release in releases:
                name, origin = release.app["name"], release.app["origin"]
                try:
                    done[name] = logic.finish(release, host, module.params["production"])
                except (ReleaseError, OSError) as error:
                    failures.append(str(error) if isinstance(error, ReleaseError) else f"{origin}: {error}")
    except ReleaseError as error:
        failures.append(str(error))
    result = {"changed": any(done.values()), "done": done, "not_checked": []}
    if failures:
        deploy_lock.release_all(apps, run)
        module.fail_json(msg="\n".join(["The live releases were not touched.", *failures]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
