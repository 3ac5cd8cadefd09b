#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: uwsgi_check
short_description: Check a uWSGI configuration before it goes live
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Lets uWSGI itself try the file on the host, as the app's user and with its environment, and adds what uWSGI
    passes over in silence, a word where a number belongs, which counts as 0, and options outside the section
    C([uwsgi]).
  - Loads the app, and changes nothing.
options:
  path:
    description: The configuration file, for example V(/etc/wiki/uwsgi.ini).
    type: path
    required: true
  program:
    description: The uWSGI that will run it, for example V(/opt/wiki/venv/bin/uwsgi).
    type: path
    required: true
  user:
    description: The operating-system user that will run it; by default the one that Ansible is.
    type: str
    default: ""
  directory:
    description: The working directory.
    type: path
    default: /
  environment:
    description: The app's environment, as a JSON text of names and values. Nothing else is in it.
    type: str
    default: "{}"
  timeout:
    description: How many seconds the trial may take.
    type: int
    default: 60
attributes:
  check_mode:
    description: The same with and without.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Check the configuration of the wiki
  frontdesk.webstack.uwsgi_check:
    path: /etc/wiki/uwsgi.ini
    program: /opt/wiki/venv/bin/uwsgi
    user: wiki
    directory: /opt/wiki
  become: true
"""

RETURN = r"""
findings:
  description: What is wrong. The module fails if there is anything.
  returned: always
  type: list
  elements: dict
  contains:
    file: {description: "The file.", type: str}
    line: {description: "The line, 0 where it cannot be known.", type: int}
    message: {description: "What is wrong, and what to write.", type: str}
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import server_check


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "program": {"type": "path", "required": True},
            "user": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/"},
            "environment": {"type": "str", "default": "{}", "no_log": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    for key in ("path", "program"):
        if not os.path.isfile(options[key]):
            module.fail_json(msg=f"{key}: there is no file {options[key]}. Write one that exists.", findings=[])
    try:
        environment = {key: str(value) for key, value in json.loads(options["environment"]).items()}
        findings = server_check.check_uwsgi(options["program"], options["path"], user=options["user"],
                                             environment=environment, directory=options["directory"],
                                             timeout=options["timeout"])
    except (ValueError, AttributeError):
        module.fail_json(msg="environment: is no JSON object. Write `{{ variables | to_json }}`.", findings=[])
    except KeyError:
        module.fail_json(msg=f"user: there is no user {options['user']!r}. Write one that exists.", findings=[])
    if findings:
        lines = [f"{item['file']}:{item['line']}: {item['message']}" for item in findings]
        module.fail_json(msg="\n".join(lines), findings=findings)
    module.exit_json(changed=False, findings=[])


if __name__ == "__main__":
    main()
