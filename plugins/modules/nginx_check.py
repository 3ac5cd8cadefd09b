#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_check
short_description: Let nginx test a configuration before it goes live
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Runs C(nginx -t) on a main configuration file of the host, wherever it is, and returns file, line and reason.
  - A duplicate server name is a warning for nginx, which then leaves one of the two out. Here it is an error.
  - The test needs to be run as root, since nginx reads keys in it. Log files that the configuration names are made
    where they are missing.
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  platform:
    description: Debian and its like.
    platforms: debian
    support: full
options:
  path:
    description: A main configuration file, or a folder with an C(nginx.conf).
    type: path
    required: true
  binary:
    description: nginx itself.
    type: path
    default: /usr/sbin/nginx
seealso:
  - module: frontdesk.webstack.nginx_tree
"""

EXAMPLES = r"""
- name: Test a configuration that lies ready
  frontdesk.webstack.nginx_check:
    path: /root/new-nginx
"""

RETURN = r"""
errors:
  description: What nginx refuses, each with C(message), C(file) and C(line).
  returned: always
  type: list
  elements: dict
  sample:
    - file: /root/new-nginx/sites/shop.conf
      line: 12
      message: unknown directive "add_headr"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree as tree_utils


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "binary": {"type": "path", "default": "/usr/sbin/nginx"},
        },
        supports_check_mode=True,
    )
    tree = tree_utils.Tree(tree_utils.Paths(binary=module.params["binary"]))
    found = tree.check_path(module.params["path"])
    errors = [{key: error[key] for key in ("message", "file", "line")} for error in found]
    if errors:
        lines = [tree_utils.describe({**error, "variable": ""}) for error in errors]
        module.fail_json(msg="nginx refuses the configuration.\n" + "\n".join(lines), errors=errors)
    module.exit_json(changed=False, errors=[])


if __name__ == "__main__":
    main()
