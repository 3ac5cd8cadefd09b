#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_command
short_description: Run one command in an app's own environment
version_added: 0.2.0
description:
  - Runs a command as the live release of an app runs, with its user, environment and sandbox, and waits for its end.
  - In a play of several hosts it runs on the first one that has the app, as the result of
    M(frontdesk.webstack.app_status#module) shows it, registered as C(app_status).
options:
  app:
    description: Name of the app.
    type: str
    required: true
  command:
    description:
      - A program and its arguments. No shell reads it, and no input reaches it.
      - The program is looked for in the app's environment first. A Python script is one of the app's own; V(manage.py)
        is the one that the app's C(manage) names.
      - Whoever is logged in to the host can see it while it runs, so a secret belongs in O(env).
    type: str
    required: true
  env:
    description: More environment variables, as JSON.
    type: str
    default: "{}"
  timeout:
    description: How many seconds it may take.
    type: int
    default: 3600
extends_documentation_fragment:
  - frontdesk.webstack.common.root
attributes:
  check_mode:
    description: The command is not run in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Clear old sessions
  frontdesk.webstack.app_command:
    app: shop
    command: manage.py clearsessions
  become: true
"""

RETURN = r"""
rc:
  description: The exit code of the command.
  returned: when it was run
  type: int
stdout:
  description: What it said, errors too.
  returned: when it was run
  type: str
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import app_command, service


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "command": {"type": "str", "required": True},
            "env": {"type": "str", "default": "{}", "no_log": True},
            "timeout": {"type": "int", "default": 3600},
            "root": {"type": "path", "default": "/srv/webstack"},
        },
        supports_check_mode=True,
    )
    options = module.params
    if module.check_mode:
        module.exit_json(changed=True, msg="the command would be run")
    try:
        env = {str(key): str(value) for key, value in json.loads(options["env"]).items()}
    except (ValueError, AttributeError):
        module.fail_json(msg="env: is no dictionary as JSON. Write `{{ ... | to_json }}`.")
    try:
        code, output = app_command.run(Path(options["root"]), options["app"], options["command"], env,
                                       options["timeout"])
    except (app_command.CannotRun, service.Failed) as error:
        module.fail_json(msg=str(error))
    answer = {"changed": True, "rc": code, "stdout": output}
    if code:
        module.fail_json(msg=f"the command ended with {code}", **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
