#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_status
short_description: Say what runs on a host
version_added: 0.2.0
description:
  - Reads the records of all apps, and of the Vue sites and static files that nginx hands out. Changes nothing.
extends_documentation_fragment:
  - frontdesk.webstack.common.root
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Look at what is live
  frontdesk.webstack.app_status:
  become: true
  register: app_status
"""

RETURN = r"""
apps:
  description: The apps, with what is live, what was, and their releases on the host.
  returned: always
  type: list
  elements: dict
  contains:
    app: {description: "Name of the app.", type: str}
    live: {description: "ID of the live release.", type: str}
    version: {description: "What that release was made from, for people.", type: str}
    commit: {description: "Its git commit, where there is one.", type: str}
    since: {description: "When it went live (UTC).", type: str}
    previous: {description: "ID of the release before it.", type: str}
    held: {description: "What is held back, since when, and by whom.", type: dict}
    reversing: {description: "The migrations that a rollback, which was stopped, has not taken back yet.", type: dict}
    state: {description: "What systemd says of the live instance.", type: str, sample: active}
    server: {description: "Name of the app server.", type: str}
    framework: {description: "What the app is made with.", type: str}
    listen: {description: "Where it listens.", type: list, elements: str}
    lock: {description: "Who is deploying it, and since when.", type: dict}
    releases: {description: "Its releases on the host, the last one that was live first.", type: list, elements: dict}
    history: {description: "The last ten events.", type: list, elements: dict}
vue:
  description: The Vue sites, with the live release, the one that is held back, and all.
  returned: always
  type: list
  elements: dict
static:
  description: The apps whose static files are here, likewise.
  returned: always
  type: list
  elements: dict
expiring:
  description: A sentence for each certificate of the live nginx configuration that expires within 21 days.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree, rollback


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/srv/webstack"}},
                           supports_check_mode=True)
    module.exit_json(changed=False, expiring=nginx_tree.Tree().expiring(), **rollback.status(module.params["root"]))


if __name__ == "__main__":
    main()
