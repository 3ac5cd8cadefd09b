#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: wsgi_check
short_description: Import a WSGI callable in its environment and ask it for a path
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Imports the callable with the Python of a virtual environment, as the app's user and with its environment, and calls
    it for a path in the process. No server is started, and no port opened.
  - An ASGI callable is imported and not called.
options:
  callable:
    description: The callable, V(module:name), or V(module:factory(\)).
    type: str
    required: true
  virtualenv:
    description: The virtual environment.
    type: path
    required: true
  directory:
    description: The folder that holds the module.
    type: path
    required: true
  user:
    description: The operating-system user of the app; by default the one that Ansible is.
    type: str
    default: ""
  environment:
    description: The app's environment, as a JSON text of names and values. Nothing else is in it.
    type: str
    default: "{}"
  path:
    description: The path that is asked for; empty for none.
    type: str
    default: /
  status:
    description: The answers that are good.
    type: list
    elements: int
    default: [200]
  host:
    description: The host name that is asked for.
    type: str
    default: localhost
  https:
    description: Whether the question says that the client came by TLS.
    type: bool
    default: false
  timeout:
    description: How many seconds an answer may take.
    type: int
    default: 10
attributes:
  check_mode:
    description: The same with and without.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Ask the wiki for its health, in its own process
  frontdesk.webstack.wsgi_check:
    callable: wiki.main:app
    virtualenv: /opt/wiki/venv
    directory: /opt/wiki
    user: wiki
    path: /health
  become: true
"""

RETURN = r"""
report:
  description: What was found out.
  returned: when the app's process could report
  type: dict
  contains:
    ok: {description: "Whether the app answered as it should.", type: bool}
    stage: {description: "How far it came, V(import), V(callable) or V(health).", type: str}
    type: {description: "The type of the exception.", type: str}
    message: {description: "Its message.", type: str}
    frames: {description: "The last frames of its traceback.", type: list, elements: dict}
    status: {description: "The status of the answer.", type: int}
"""

import json
import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import server_check, wsgi_probe


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "callable": {"type": "str", "required": True},
            "virtualenv": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
            "user": {"type": "str", "default": ""},
            "environment": {"type": "str", "default": "{}", "no_log": True},
            "path": {"type": "str", "default": "/"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "host": {"type": "str", "default": "localhost"},
            "https": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    options = module.params
    python = os.path.join(options["virtualenv"], "bin", "python")
    for key, path in (("virtualenv", python), ("directory", options["directory"])):
        if not os.path.exists(path):
            module.fail_json(msg=f"{key}: there is no {path}. Write one that exists.")
    try:
        environment = {key: str(value) for key, value in json.loads(options["environment"]).items()}
    except (ValueError, AttributeError):
        module.fail_json(msg="environment: is no JSON object. Write `{{ variables | to_json }}`.")
    folder = tempfile.mkdtemp(prefix="webstack-check-")
    try:
        os.chmod(folder, 0o755)
        script, question = os.path.join(folder, "probe.py"), os.path.join(folder, "probe.json")
        wanted = ("callable", "directory", "path", "status", "host", "https", "timeout")
        for path, text in ((script, wsgi_probe.SCRIPT), (question, json.dumps({key: options[key] for key in wanted}))):
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(path, 0o644)
        code, output = server_check.run_as([python, script, question], options["user"], environment,
                                           options["directory"], options["timeout"] + 100)
    except KeyError:
        module.fail_json(msg=f"user: there is no user {options['user']!r}. Write one that exists.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = wsgi_probe.read_report(output)
    if report is None:
        module.fail_json(msg=f"callable: the process ended with code {code} while {options['callable']!r} was "
                             f"imported. It said:\n{output[-2000:]}")
    if not report["ok"]:
        text = wsgi_probe.explain(report, "wsgi_check", options["callable"],
                                  {"path": options["path"], "status": options["status"]})
        module.fail_json(msg=text, report=report)
    module.exit_json(changed=False, report=report)


if __name__ == "__main__":
    main()
