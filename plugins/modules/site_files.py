#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: site_files
short_description: Put built Vue sites and the static files of apps where nginx hands them out
version_added: 0.1.0
description:
  - Takes all sites and all static files of an edge host in one call.
  - A Vue site is switched by renaming a link; files with a hash in their names stay while a kept release needs them.
author:
  - the frontdesk.webstack authors
options:
  vue:
    description: The Vue records of the plan, with C(dist) naming an archive on this host.
    type: list
    elements: dict
    default: []
  static:
    description: The app records of the plan whose static files this host hands out, with C(static_archive) naming an
      archive on this host, or empty where the app runs here.
    type: list
    elements: dict
    default: []
  state:
    description: With V(here) only what is on this host already is put in place, the static files of apps that run
      here; RV(missing_vue) and RV(missing_static) say what has to be brought for V(live).
    type: str
    choices: [here, live]
    default: live
  keep:
    description: How many releases stay.
    type: int
    default: 5
  in_use:
    description: The IDs of the releases of each app in O(static) that are served, or gone back to; their files stay.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be put in place.
    support: full
  diff_mode:
    description: Shows the releases.
    support: full
"""

EXAMPLES = r"""
- name: Look at what is there
  frontdesk.webstack.site_files:
    vue: "{{ webstack_plan | frontdesk.webstack.vue_of(inventory_hostname) }}"
    state: here
"""

RETURN = r"""
missing_vue:
  description: Names of the Vue sites that were not live as planned; with O(state=here), that are not yet.
  type: list
  elements: str
  returned: always
missing_static:
  description: Names of the apps whose static files were not in place as planned; with O(state=here), that are not yet.
  type: list
  elements: str
  returned: always
held:
  description: Of each Vue site that is left alone although it differs, why.
  type: list
  elements: str
  returned: always
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import files
from ansible_collections.frontdesk.webstack.plugins.module_utils import site_files as logic


def why_held(site):
    """Say why a site is left alone although it differs, or nothing."""
    root = Path(site["root"])
    left, live = logic.held(root), os.path.basename(os.path.realpath(root / "current"))
    if site["asked"] or left != site["release"] or left == live:
        return ""
    return (f"{site['origin']}: release {left} is held back, because somebody went to release {live} by hand. Write in "
            f"the inventory what should run, or run `deploy.yml -e app={site['name']}`.")


def main():
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app; secret files have modes of their own
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "vue": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": text, "origin": text, "root": text, "release": text, "settings_file": text,
                "dist": {"type": "str", "default": ""}, "asked": {"type": "str", "default": ""},
                "settings": {"type": "dict", "default": {}}}},
            "static": {"type": "list", "elements": "dict", "default": [], "options": {
                "name": text, "origin": text, "root": text, "release": text, "static_folder": text,
                "static_archive": {"type": "str", "default": ""}}},
            "state": {"type": "str", "choices": ["here", "live"], "default": "live"},
            "keep": {"type": "int", "default": 5},
            "in_use": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    vue = [site for site in module.params["vue"] if not logic.vue_is_live(site)]
    static = [app for app in module.params["static"] if not logic.static_is_live(app)]
    result = {"changed": False, "missing_vue": [site["name"] for site in vue],
              "missing_static": [app["name"] for app in static]}
    for site in module.params["vue"] if not module.check_mode else []:
        logic.let_go(site)
    result["held"] = [text for text in map(why_held, module.params["vue"]) if text]
    if module.params["state"] == "here":
        vue, static = [], [app for app in static if logic.static_is_here(app)] if not module.check_mode else []
        here = [app["name"] for app in static]
        result["missing_static"] = [name for name in result["missing_static"] if name not in here]
    if not (vue or static):
        module.exit_json(**result)
    result["changed"] = True
    result["diff"] = {
        "before": "", "before_header": "files of the window", "after_header": "files of the window",
        "after": "".join(f"{record['name']}: release {record['release']}\n" for record in [*vue, *static])}
    if module.check_mode:
        module.exit_json(**result)
    failures = []
    busy = logic.SiteError("webstack", "another run has been putting files in place for 5 minutes. Run this again when "
                                       "it is done.")
    try:
        # A run that was killed on its controller goes on here: two would take the files away from each other.
        with files.lock("/run/webstack.site_files.lock", 300, busy):
            for record, put, archive in ([(site, logic.put_vue, "dist") for site in vue if not logic.vue_is_live(site)]
                                         + [(app, logic.put_static, "static_archive") for app in static
                                            if not logic.static_is_live(app)]):
                used = [module.params["in_use"].get(record["name"], [])] if put is logic.put_static else []
                try:
                    put(record, record[archive], module.params["keep"], *used)
                except (logic.SiteError, OSError) as error:
                    own = isinstance(error, logic.SiteError)
                    failures.append(str(error) if own else f"{record['origin']}: {error}")
    except logic.SiteError as error:
        failures.append(str(error))
    if failures:
        module.fail_json(msg="\n".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
