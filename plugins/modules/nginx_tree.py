#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_tree
short_description: Put a whole nginx configuration live in one step
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Writes all files of a configuration as a numbered generation, lets C(nginx -t) test them as one, swaps a link to
    it by rename, reloads nginx, and asks a listener on loopback until the workers say that they run this generation.
  - Where any of this fails, the files are byte for byte what they were before, nginx runs them, and the message names
    the variable to change.
  - A run that was killed is finished by running it again, because what is to be done follows from what is on the host.
  - Without O(files) they are rendered on the controller, from the sites that the plan (C(webstack_plan)) has for the
    host.
attributes:
  check_mode:
    description: The files are tested on the host, in a temporary folder, where nginx is installed.
    support: full
  diff_mode:
    description: Each file that differs is shown; of secret ones it is said that they do.
    support: full
  platform:
    description: Debian and its like, with systemd.
    platforms: debian
    support: full
options:
  state:
    description:
      - V(query) looks and changes nothing.
      - V(live) makes the files live, unless they are.
      - V(back) puts an earlier generation live again, tested and proven in the same way. The next run with V(live)
        puts live what the files say then.
    type: str
    choices: [query, live, back]
    default: live
  generation:
    description: The generation for O(state=back). Without it, the one that was live before the live one.
    type: int
  files:
    description: The text of each file, by its path below the generation's folder.
    type: dict
  secrets:
    description:
      - More files, as JSON; their paths begin with C(secrets/). Root and nginx's workers read them, and nobody else.
      - What is in them is shown nowhere.
    type: str
  origins:
    description:
      - Where the lines of each file come from, for messages. For each path a list of pairs of a line and the name of a
        variable that the lines from there on come from.
    type: dict
  sites:
    description: Site records to render, instead of those of the plan. Used on the controller alone.
    type: list
    elements: dict
  settings:
    description: The C(nginx_*) settings to render with, instead of those of the plan. Used on the controller alone.
    type: dict
  packages:
    description: Packages that have to be there. Those that are not are returned in RV(missing).
    type: list
    elements: str
    default: []
  keep:
    description: How many generations are kept. The live one and the one before it always are.
    type: int
    default: 5
  timeout:
    description: Seconds within which the workers must say that they run the new generation.
    type: int
    default: 10
  path:
    description: nginx's folder.
    type: path
    default: /etc/nginx
  binary:
    description: nginx itself.
    type: path
    default: /usr/sbin/nginx
"""

EXAMPLES = r"""
- name: Look at what is live
  frontdesk.webstack.nginx_tree:
    state: query
  register: nginx_look

- name: Put the sites of the plan live
  frontdesk.webstack.nginx_tree:
    state: live
    keep: 5
  when: not nginx_look.same

- name: Go back to what was live before
  frontdesk.webstack.nginx_tree:
    state: back
"""

RETURN = r"""
generation:
  description: Number of the live generation, 0 where there is none.
  returned: always
  type: int
  sample: 7
running:
  description: Number of the generation that nginx's workers run, 0 where they run none of ours.
  returned: always
  type: int
  sample: 7
same:
  description: Whether there is nothing to do.
  returned: always
  type: bool
installed:
  description: Whether nginx is there.
  returned: always
  type: bool
version:
  description: Version of nginx, empty where it is not installed.
  returned: always
  type: str
  sample: 1.26.3
missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
differs:
  description: Files that are not as wanted.
  returned: always
  type: list
  elements: str
edited:
  description: Files that somebody has changed by hand since they were written.
  returned: always
  type: list
  elements: str
foreign:
  description: Files in sites-enabled and conf.d, which are not included any more.
  returned: always
  type: list
  elements: str
before:
  description: Number of the generation that was live before this run.
  returned: always
  type: int
kept:
  description: The generations that O(state=back) can go to, and the live one.
  returned: always
  type: list
  elements: int
modules:
  description: Files in modules-enabled that came with no package; they are included.
  returned: always
  type: list
  elements: str
complaints:
  description: Why the host cannot carry the connections that are expected.
  returned: always
  type: list
  elements: str
not_checked:
  description: What could not be checked, and why.
  returned: always
  type: list
  elements: str
errors:
  description: What nginx refuses, each with C(message), C(file), C(line) and C(variable).
  returned: on failure
  type: list
  elements: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree as tree_utils


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["query", "live", "back"], "default": "live"},
            "generation": {"type": "int"},
            "files": {"type": "dict"},
            "secrets": {"type": "str", "no_log": True},
            "origins": {"type": "dict"},
            "sites": {"type": "list", "elements": "dict"},
            "settings": {"type": "dict"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 5},
            "timeout": {"type": "int", "default": 10},
            "path": {"type": "path", "default": "/etc/nginx"},
            "binary": {"type": "path", "default": "/usr/sbin/nginx"},
        },
        supports_check_mode=True,
    )
    values = module.params
    files, origins = values["files"] or {}, values["origins"] or {}
    files = {**files, **json.loads(values["secrets"] or "{}")}
    if values["state"] == "live" and not files:
        module.fail_json(msg="there are no files; write `files`, or let the plan make them (sites).")
    tree = tree_utils.Tree(tree_utils.Paths(etc=values["path"], binary=values["binary"]), timeout=values["timeout"])
    state = tree.look(files, values["packages"])
    result = {
        "changed": False, "before": state.live, "kept": tree.kept(), "generation": state.live,
        "running": state.running, "same": state.same, "installed": state.installed, "version": state.version,
        "missing": state.missing, "differs": state.differs, "edited": state.edited, "foreign": state.foreign,
        "modules": state.modules, "complaints": state.complaints, "not_checked": [],
    }
    if values["state"] == "query":
        for path in state.foreign:
            module.warn(f"{path} is not used: nginx is configured by nginx_sites alone. Write what it has there "
                        "(`directives` takes nginx's own), and remove it.")
        for path in state.modules:
            module.warn(f"{path} came with no package, and nginx reads it. Remove it, unless it is wanted.")
        for complaint in state.complaints:
            module.warn(complaint)
        for text in tree_utils.expiring(files):
            if tree_utils.MADE_HERE not in text:  # the run renews them
                module.warn(text)
        for path in state.edited:
            module.warn(f"{path} was changed by hand; the change is undone. Write it in nginx_sites.")
        newer = max(result["kept"], default=0)
        if state.differs and newer > state.live > 0:
            module.warn(f"generation {state.live} of nginx's configuration is live, and {newer} is newer: somebody has "
                        "gone back, or a run was stopped. What nginx_sites says now goes live.")
    if values["state"] == "back":
        go_back(module, tree, result)
    if values["state"] == "query" or state.same:
        module.exit_json(**result)
    if module._diff:
        result["diff"] = tree.diff(files)
    try:
        if not module.check_mode:
            if not state.installed:
                module.fail_json(msg="nginx is not installed; install the package nginx first.", **result)
            result["changed"], number = tree.go_live(files, origins, values["keep"])
            result.update(generation=number, running=number, same=True)
        elif state.installed:
            # What a route needs may be made by tasks that check mode did not run.
            result["not_checked"] = [tree_utils.describe(error) for error in tree.check(files, origins)]
            result["changed"] = True
        else:
            result["changed"] = True
            result["not_checked"] = ["nginx -t: nginx is not installed yet, so the configuration could not be tested."]
    except tree_utils.Refused as refused:
        module.fail_json(msg=str(refused), errors=refused.errors, **result)
    module.exit_json(**result)


def go_back(module: AnsibleModule, tree: tree_utils.Tree, result: dict) -> None:
    """Put an earlier generation live again, and end the module."""
    number = module.params["generation"] or tree.earlier()
    result.update(same=False, differs=[], edited=[])
    if module._diff and number in result["kept"]:
        result["diff"] = tree.diff(tree.files_of(number))
    try:
        result["changed"] = tree.go_back(number, module.check_mode)
    except tree_utils.Refused as refused:
        module.fail_json(msg=str(refused), errors=refused.errors, **result)
    module.exit_json(**{**result, "generation": number, "running": result["running"] if module.check_mode else number})


if __name__ == "__main__":
    main()
