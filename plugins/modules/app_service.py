#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_service
short_description: Switch the apps of a host to their releases, without losing a request
version_added: 0.1.0
description:
  - Each app has one socket that stays open for good, and each release runs as an instance of one unit behind it.
  - Every release that is new is imported as the app's user with its environment, asked for its health path in the
    process, run behind a private socket and asked again. Only then it starts on the shared socket, is watched, and the
    old instance finishes its requests and stops.
  - What goes wrong before the switch leaves the old release alone in service; what goes wrong after it is undone. All
    services that change are tried before the first of them is switched.
  - An app that several hosts of the play have is locked by M(frontdesk.webstack.deploy_lock), before and after.
  - Takes all services of a host in one call. The records come from the filter P(frontdesk.webstack.services_of#filter).
options:
  services:
    description: The service records of the host.
    type: list
    elements: dict
    required: true
    options:
      name: {description: "Name of the app.", type: str, required: true}
      origin: {description: "The user's variable, for messages.", type: str, required: true}
      framework: {description: "What the app is made with.", type: str, default: ""}
      manage: {description: "Django's management script, seen from O(services[].directory).", type: str, default: ""}
      server: {description: "Name of the app server.", type: str, required: true}
      release: {description: "The release; its ID is the instance of the unit.", type: str, required: true}
      user: {description: "The operating-system user of the app.", type: str, required: true}
      root: {description: "The app's folder, with C(record.json).", type: path, required: true}
      directory: {description: "The folder of the code.", type: path, required: true}
      bin: {description: "The folder of the environment's programs.", type: path, required: true}
      callable: {description: "The WSGI or ASGI object, V(module:name).", type: str, required: true}
      config: {description: "C(path) and C(text) of the server's configuration.", type: dict, required: true}
      env_file: {description: "The app's environment, as systemd reads it.", type: path, required: true}
      by_hand: {description: "Whether this module writes O(services[].env_file).", type: bool, default: false}
      units: {description: "Text of each systemd unit.", type: dict, required: true}
      listen: {description: "The addresses of the app on this host.", type: list, elements: str, required: true}
      allow: {description: "Who may reach the TCP address.", type: list, elements: str, default: []}
      protocol: {description: "What is spoken.", type: str, choices: [http, uwsgi], required: true}
      shared_socket: {description: "Whether releases share a socket.", type: bool, default: true}
      public: {description: "The public address of uWSGI's own HTTP router.", type: dict, default: {}}
      check: {description: "Command of the server's dry run.", type: list, elements: str, default: []}
      processes: {description: "The other processes and the timers of the app on this host.", type: list,
        elements: dict, default: []}
      health: {description: "What a release is asked, and what it should answer.", type: dict, required: true}
      settings: {description: "The server's settings.", type: dict, default: {}}
      asked: {description: "Whether the app was named for this deploy, and with another version than the inventory's.",
        type: str, choices: ["", name, version], default: ""}
  environments:
    description:
      - The environments of services that were written by hand, as JSON, C({name of the service, {name, value}}).
      - One text rather than a dictionary, because Ansible would hide every short value (a V(1), for example) wherever
        it comes up in the output.
    type: str
    default: "{}"
  keep:
    description: How many releases' configurations are kept. The live and the previous one always are.
    type: int
    default: 5
  log_days:
    description: How many days the journal of the apps is kept; without this option it is left as it is.
    type: int
extends_documentation_fragment:
  - frontdesk.webstack.common.run
  - frontdesk.webstack.common.locks
attributes:
  check_mode:
    description: Can run in check mode without changing anything.
    support: full
  diff_mode:
    description: Says what would change; environments are never shown.
    support: full
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Serve the apps of this host with Gunicorn
  frontdesk.webstack.app_service:
    services: "{{ webstack_plan | frontdesk.webstack.services_of(inventory_hostname, 'gunicorn') }}"
    environments: "{{ webstack_plan | frontdesk.webstack.environments_of(inventory_hostname, 'gunicorn') | to_json }}"
    keep: "{{ webstack_plan.keep }}"
  become: true
"""

RETURN = r"""
services:
  description: What came of each service.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: "Name of the app.", type: str, sample: shop}
    release: {description: "The release that is wanted.", type: str, sample: 1f0c9a42b7de}
    changes: {description: "What differed.", type: list, elements: str}
    not_checked: {description: "What could not be tried, and why.", type: list, elements: str}
    failed: {description: "Whether it failed.", type: bool}
    held: {description: "Why the app was left alone although it differs, or an empty text.", type: str}
locked_by:
  description: Who has the deploy lock of an app.
  returned: when another run has it
  type: dict
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock, service

_RECORD = {
    "name": {"type": "str", "required": True},
    "origin": {"type": "str", "required": True},
    "framework": {"type": "str", "default": ""},
    "manage": {"type": "str", "default": ""},
    "server": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "directory": {"type": "path", "required": True},
    "bin": {"type": "path", "required": True},
    "callable": {"type": "str", "required": True},
    "config": {"type": "dict", "required": True},
    "env_file": {"type": "path", "required": True},
    "by_hand": {"type": "bool", "default": False},
    "units": {"type": "dict", "required": True},
    "listen": {"type": "list", "elements": "str", "required": True},
    "allow": {"type": "list", "elements": "str", "default": []},
    "protocol": {"type": "str", "choices": ["http", "uwsgi"], "required": True},
    "shared_socket": {"type": "bool", "default": True},
    "public": {"type": "dict", "default": {}},
    "check": {"type": "list", "elements": "str", "default": []},
    "processes": {"type": "list", "elements": "dict", "default": []},
    "health": {"type": "dict", "required": True},
    "settings": {"type": "dict", "default": {}},
    "asked": {"type": "str", "choices": ["", "name", "version"], "default": ""},
}


def main() -> None:
    """Run the module."""
    os.umask(0o022)  # sudo hands on the user's, which may shut out the app; secret files have modes of their own
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "dict", "required": True, "options": _RECORD},
            "environments": {"type": "str", "default": "{}", "no_log": True},
            "keep": {"type": "int", "default": 5},
            "log_days": {"type": "int"},
            "run": {"type": "dict", "default": {}},
            "locks": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        environments = json.loads(options["environments"])
    except ValueError:
        module.fail_json(msg="environments: is no JSON. Write `{{ ... | to_json }}`.")
    try:
        results = service.apply(options["services"], environments, keep=options["keep"],
                                check_mode=module.check_mode, run=options["run"], locks=options["locks"],
                                log_days=options["log_days"])
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    except service.Failed as error:
        module.fail_json(msg=str(error))
    answer = {
        "changed": any(result.changes for result in results),
        "services": [{"name": result.name, "release": result.release, "changes": result.changes,
                      "not_checked": result.not_checked, "failed": bool(result.failed), "held": result.held}
                     for result in results],
    }
    if module._diff:
        answer["diff"] = [part for result in results for part in result.diff]
    failed = [result.failed for result in results if result.failed]
    if failed:
        module.fail_json(msg="\n\n".join(failed), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
