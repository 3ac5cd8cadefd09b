#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_databases
short_description: PostgreSQL users and databases of all apps, and who may connect from where
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Writes the server's settings and its list of who may connect, and makes users and databases, all in one call.
  - A user owns its database and may connect to it alone, with its password, from the hosts that are named. Nobody else
    may connect, but the system user C(postgres) through the socket.
  - The clear password does not leave the module. What goes to the server is a SCRAM-SHA-256 verifier, on the standard
    input of C(psql). Whether the server has the right one is found by working it out with the salt that it has stored.
  - The server reads its files anew when they changed. It is restarted when C(listen_addresses) or the path of the list
    (C(hba_file)) changed, and for nothing else.
  - Databases and users that are not named any more stay, but nobody is let in to them.
  - A run that was killed is finished by running it again, because what is to be done follows from what is on the host.
attributes:
  check_mode:
    description: Everything is compared, where PostgreSQL is installed.
    support: full
  diff_mode:
    description: Files are shown as they are, users and databases in words. Nothing secret is shown.
    support: full
  platform:
    description: Debian and its like, with systemd and PostgreSQL 15 or later from a Debian package.
    platforms: debian
    support: full
options:
  state:
    description:
      - V(query) looks and changes nothing.
      - V(present) makes it so, unless it is.
    type: str
    choices: [query, present]
    default: present
  databases:
    description:
      - The databases.
      - Without it they are those of the variables C(postgresql_databases) and C(postgresql_databases__SUFFIX).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the database, small letters, digits and underscores.
        type: str
        required: true
      user:
        description: The user that owns it. Without one it is named like the database.
        type: str
      password:
        description: The user's password. Used on the controller alone, where it becomes an item of O(passwords).
        type: str
      clients:
        description:
          - Groups and hosts of the inventory that connect. Used on the controller alone, where it becomes
            O(databases[].addresses); V(webstack_app) where nothing is written.
        type: list
        elements: str
      addresses:
        description: IP addresses of the clients, by the name of the host. Worked out from O(databases[].clients).
        type: dict
        default: {}
      origin:
        description: The variable to name in messages. Worked out on the controller.
        type: str
        default: databases
  passwords:
    description:
      - Passwords by the name of the user. Worked out from O(databases[].password).
      - They are apart, because Ansible keeps an option of the first level out of the host's log as a whole. Inside of
        other options it looks for the text, and does not find a password with a quote or a backslash.
    type: dict
    default: {}
  address:
    description:
      - This host's own IP address, on which the server listens where clients are on other hosts.
      - Without it that is C(webstack_address), C(ansible_host) or the inventory name, whichever is there first.
    type: str
    default: ""
  package:
    description: The package that brings the server. Where it is not installed it is returned in RV(missing_packages).
    type: str
    default: postgresql
"""

EXAMPLES = r"""
- name: Look at what is there
  frontdesk.webstack.postgresql_databases:
    state: query
  register: postgresql_found

- name: Make users and databases
  frontdesk.webstack.postgresql_databases:
    databases:
      - name: shop
        password: "{{ shop_database_password }}"
        clients: [webstack_app]
  when: not postgresql_found.same
"""

RETURN = r"""
same:
  description: Whether there is nothing to do.
  returned: always
  type: bool
differs:
  description: What was not as wanted when the module looked, in words.
  returned: always
  type: list
  elements: str
  sample: ["user shop: has another password"]
missing_packages:
  description: The package, where it is not installed.
  returned: always
  type: list
  elements: str
version:
  description: Version of the cluster, empty where there is none yet.
  returned: always
  type: str
  sample: "17"
reloaded:
  description: Whether the server was told to read its files anew.
  returned: always
  type: bool
restarted:
  description: Whether the server was started or restarted.
  returned: always
  type: bool
not_checked:
  description: In check mode, what could not be looked at yet.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import postgresql as logic
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_release import missing_packages


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["query", "present"], "default": "present"},
            "databases": {"type": "list", "elements": "dict", "options": {
                "name": {"type": "str", "required": True},
                "user": {"type": "str"},
                "password": {"type": "str", "no_log": True},
                "clients": {"type": "list", "elements": "str"},
                "addresses": {"type": "dict", "default": {}},
                "origin": {"type": "str", "default": "databases"},
            }},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "address": {"type": "str", "default": ""},
            "package": {"type": "str", "default": "postgresql"},
        },
        supports_check_mode=True,
    )
    databases = []
    for item in module.params["databases"] or []:
        user = item["user"] or item["name"]
        password = module.params["passwords"].get(user) or item["password"] or ""
        databases.append({**item, "user": user, "password": password})
    result = {"changed": False, "same": False, "differs": [], "version": "", "reloaded": False, "restarted": False,
              "missing_packages": missing_packages([module.params["package"]]), "not_checked": []}
    mistakes = [f"{path}: {message}" for path, message in logic.problems(databases)]
    if mistakes:
        module.fail_json(msg="\n".join(["Nothing was touched.", *mistakes]), **result)
    if result["missing_packages"]:
        if module.params["state"] == "present":
            if not module.check_mode:
                module.fail_json(msg=f"the package {module.params['package']} is not installed.", **result)
            result["changed"] = True
            result["not_checked"] = [f"{item['origin']}: database and user {item['name']}, PostgreSQL is not installed "
                                     "yet" for item in databases]
        module.exit_json(**result)
    try:
        server = logic.Server(databases, module.params["address"])
        state = server.look()
        result.update(version=state.version, differs=state.differs, same=not state.differs)
        if state.differs and module.params["state"] == "present":
            result["changed"] = True
            if module._diff:
                result["diff"] = logic.diff(server, state)
            if not module.check_mode:
                result.update(server.apply(state), same=True)
    except (logic.DatabaseError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
