#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_rollback
short_description: Go back to a release that was live before
version_added: 0.2.0
description:
  - Starts the release behind a private socket, asks it, and switches to it as a deploy does. Nothing is built or
    fetched.
  - The release that is left is held back, so that a run of the whole inventory does not bring it again.
  - P(frontdesk.webstack.app_status#module) says what there is to go back to.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  release:
    description: ID of the release to go back to. It was live before.
    type: str
    required: true
  state:
    description:
      - With V(live) the release is switched to. Migrations that are taken back afterwards (O(reverse)) are noted with
        the switch.
      - With V(reversible) it is only asked whether O(reverse) can be done.
      - With V(reversed) the migrations are taken back.
    type: str
    choices: [live, reversible, reversed]
    default: live
  code:
    description: ID of the release whose code knows the migrations that are taken back.
    type: str
    default: ""
  reverse:
    description: The Django apps to take back, each as app label and migration.
    type: list
    elements: list
    default: []
  gone:
    description: The migrations that this takes back.
    type: list
    elements: str
    default: []
  left:
    description: ID of the release that has to be live; where it is another one by now, nothing is changed.
    type: str
    default: ""
  keep:
    description: How many releases' configurations are kept.
    type: int
    default: 5
  lock:
    description: Whether to take the app's deploy lock on this host for the switch. Otherwise
      M(frontdesk.webstack.deploy_lock) has taken it.
    type: bool
    default: false
extends_documentation_fragment:
  - frontdesk.webstack.common.root
  - frontdesk.webstack.common.run
attributes:
  check_mode:
    description: Says that the release would be switched to.
    support: full
  diff_mode:
    description: Says what would change.
    support: full
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Go back
  frontdesk.webstack.app_rollback:
    app: shop
    release: 1f0c9a42b7de
  become: true
"""

RETURN = r"""
changes:
  description: What differed.
  returned: with O(state=live)
  type: list
  elements: str
held:
  description: What is held back from now on, or an empty text.
  returned: with O(state=live)
  type: str
said:
  description: What Django says of the migrations that were taken back.
  returned: with O(state=reversible) or O(state=reversed)
  type: list
  elements: str
locked_by:
  description: Who has the deploy lock of the app.
  returned: when another run has it
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock, python_release, rollback, service


def _reversing(options):
    targets = [[str(label), str(migration)] for label, migration in options["reverse"]]
    return {"code": options["code"], "reverse": targets, "gone": options["gone"]} if targets else None


def _migrations(module, options):
    root, app, reversing = options["root"], options["app"], _reversing(options)
    dry = options["state"] == "reversible" or module.check_mode
    said = rollback.reverse(root, app, options["code"], reversing["reverse"], True) if dry else (
        rollback.take_back(root, app, reversing))
    module.exit_json(changed=not dry, said=said)


def _switch(module, options):
    if module.check_mode:
        module.exit_json(changed=True, changes=[f"release -> {options['release']}"])
    result = rollback.go_back(options["root"], options["app"], options["release"], options["keep"], options["run"],
                              options["lock"], options["left"], _reversing(options))
    module.exit_json(changed=bool(result.changes), changes=result.changes, held=result.held,
                     **({"diff": result.diff} if module._diff else {}))


def main() -> None:
    """Run the module."""
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "root": {"type": "path", "default": "/srv/webstack"},
            "state": {"type": "str", "choices": ["live", "reversible", "reversed"], "default": "live"},
            "code": {"type": "str", "default": ""},
            "reverse": {"type": "list", "elements": "list", "default": []},
            "gone": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 5},
            "left": {"type": "str", "default": ""},
            "lock": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        (_switch if module.params["state"] == "live" else _migrations)(module, module.params)
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    except (rollback.CannotGoBack, service.Failed, python_release.ReleaseError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
