#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: deploy_lock
short_description: Take the deploy locks of apps over several steps, and give them back
version_added: 0.2.0
description:
  - For what is done on several hosts, or in several steps. M(frontdesk.webstack.app_service) and
    M(frontdesk.webstack.app_rollback) take the lock of an app that has one host by themselves.
  - The lock belongs to the run, so a step of the same run that takes it again keeps it. It is on the app's first host.
options:
  apps:
    description: The apps, with C(name) and C(root), their folder.
    type: list
    elements: dict
    required: true
    options:
      name: {description: "Name of the app.", type: str, required: true}
      root: {description: "The app's folder.", type: path, required: true}
  state:
    description: Whether the locks are V(taken), all or none, or V(free) again. Those of another run stay.
    type: str
    choices: [taken, free]
    default: taken
extends_documentation_fragment:
  - frontdesk.webstack.common.run
attributes:
  check_mode:
    description: Takes no lock.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Let nobody else deploy the app
  frontdesk.webstack.deploy_lock:
    apps: [{name: shop, root: /srv/webstack/apps/shop}]
  become: true
"""

RETURN = r"""
locked_by:
  description: Who has the deploy lock of an app.
  returned: when another run has it
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock


def main() -> None:
    """Run the module."""
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True, "options": {
                "name": {"type": "str", "required": True}, "root": {"type": "path", "required": True}}},
            "state": {"type": "str", "choices": ["taken", "free"], "default": "taken"},
            "run": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    apps, run = module.params["apps"], module.params["run"]
    try:
        if module.check_mode:
            pass
        elif module.params["state"] == "free":
            deploy_lock.release_all(apps, run)
        else:
            for text in deploy_lock.acquire_all(apps, [app["name"] for app in apps], run):
                module.warn(text)
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
