#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: app_data
short_description: Pack what apps have written and their PostgreSQL databases, and put it back
version_added: 0.2.0
description:
  - The steps of the playbooks C(backup.yml) and C(restore.yml) on a host. What is unpacked lies beside what is in use,
    until both change places while the app is stopped.
  - The environment of an app and other secrets of the stack are never part of it.
options:
  state:
    description:
      - V(query) says which apps there are, V(databases) which of O(databases) this host has.
      - V(packed) makes O(parts) and brings them to the controller, into O(folder).
      - V(unpacked) puts O(parts) beside what is in use, V(stopped) stops the app, V(swapped) lets both change places,
        V(started) starts it again and asks it for its health path.
    type: str
    choices: [query, databases, packed, unpacked, stopped, swapped, started]
    required: true
  app:
    description: The app to stop or to start.
    type: str
    default: ""
  databases:
    description: The databases that apps name, with C(name), C(host), C(app).
    type: list
    elements: dict
    default: []
  local:
    description: The apps that run on this host too.
    type: list
    elements: str
    default: []
  parts:
    description: What to pack, or to put back.
    type: list
    elements: dict
    default: []
  folder:
    description: Where the parts come to on the controller.
    type: path
  lock:
    description: Whether this host holds the deploy lock of the app.
    type: bool
    default: false
extends_documentation_fragment:
  - frontdesk.webstack.common.root
  - frontdesk.webstack.common.run
attributes:
  check_mode:
    description: Does nothing but V(query) and V(databases).
    support: partial
  diff_mode:
    description: Data are not shown.
    support: none
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Look which apps have data
  frontdesk.webstack.app_data:
    state: query
  become: true
  register: app_data
"""

RETURN = r"""
apps:
  description: The apps of the host, with their folders and the databases that their environments name.
  returned: with O(state=query)
  type: list
  elements: dict
databases:
  description: The databases that this host has.
  returned: with O(state=databases)
  type: list
  elements: str
parts:
  description: The parts, with their sizes and checksums.
  returned: with O(state=packed)
  type: list
  elements: dict
units:
  description: What was stopped.
  returned: with O(state=stopped)
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import app_data, deploy_lock, postgresql
from ansible_collections.frontdesk.webstack.plugins.module_utils.service import Systemd


def _do(options):
    state, root, name = options["state"], options["root"], options["app"]
    if state == "query":
        return {"apps": app_data.look(root)}
    if state == "databases":
        return {"databases": app_data.own_databases(options["databases"], options["local"])}
    if state == "packed":
        return {"changed": bool(options["parts"]), "parts": app_data.pack(options["parts"], options["folder"])}
    if state == "unpacked":
        for part in options["parts"]:
            app_data.unpack(part)
    elif state == "stopped":
        if options["lock"]:
            deploy_lock.acquire(os.path.join(root, "apps", name), name, options["run"])
        return {"changed": True, "units": app_data.stop(name, root, Systemd())}
    elif state == "swapped":
        for part in options["parts"]:
            app_data.swap(part)
    else:
        try:
            app_data.start(name, root, Systemd())
        finally:
            deploy_lock.release(os.path.join(root, "apps", name), options["run"])
    return {"changed": True}


def main() -> None:
    """Run the module."""
    os.umask(0o022)  # sudo hands on the user's; files with data have modes of their own
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": [
                "query", "databases", "packed", "unpacked", "stopped", "swapped", "started"]},
            "root": {"type": "path", "default": "/srv/webstack"},
            "app": {"type": "str", "default": ""},
            "databases": {"type": "list", "elements": "dict", "default": []},
            "local": {"type": "list", "elements": "str", "default": []},
            "parts": {"type": "list", "elements": "dict", "default": []},
            "folder": {"type": "path"},
            "lock": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    if module.check_mode and module.params["state"] not in ("query", "databases"):
        module.exit_json(changed=True, parts=[], units=[])
    try:
        module.exit_json(**{"changed": False, **_do(module.params)})
    except deploy_lock.Busy as error:
        module.fail_json(msg=str(error), locked_by=error.owner)
    except (app_data.DataError, postgresql.DatabaseError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.strerror}: {error.filename}")


if __name__ == "__main__":
    main()
