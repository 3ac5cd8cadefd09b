# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``postgresql_databases``: check what users wrote, and find the clients' addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.frontdesk.webstack.plugins.module_utils import postgresql
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.normalise import role_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import (
    InventoryError,
    Problems,
    apply,
    describe,
    suggest,
)

VARIABLE = "postgresql_databases"


class ActionModule(ActionBase):
    """See the module's documentation."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        self._inventory = task_vars
        self._problems = Problems()
        try:
            databases = self._databases(arguments.get("databases"))
            for path, message in postgresql.problems(
                    [item for item in databases if item["name"] is not None and item["password"] is not None]):
                self._problems.add(path, message)
            host = task_vars["inventory_hostname"]
            own = arguments.get("address") or ""
            for item in databases:
                clients = self._clients(item)
                if any(client != host for client in clients):
                    own = own or self._address(host, f"{item['origin']}.clients")
                    item["addresses"] = {client: own if client == host else
                                         self._address(client, f"{item['origin']}.clients") for client in clients}
            if self._problems:
                raise InventoryError(self._problems)
        except InventoryError as error:
            return {"failed": True, "changed": False, "msg": str(error),
                    "problems": [{"path": item.path, "message": item.message} for item in error.problems]}
        except AnsibleError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        # The passwords go apart: see the module's documentation of them.
        arguments["passwords"] = {item["user"]: item["password"] for item in databases}
        fields = ("name", "user", "addresses", "origin")
        arguments["databases"] = [{name: item[name] for name in fields} for item in databases]
        arguments["address"] = own
        return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _databases(self, given: Any) -> list[dict[str, Any]]:
        """Return what users wrote with all defaults, each with its ``origin``."""
        names = {"databases": given} if given is not None else {
            name: self._templar.template(self._inventory[name]) for name in sorted(self._inventory)
            if name == VARIABLE or name.startswith(f"{VARIABLE}__")}
        options = role_options("postgresql")[VARIABLE]["options"]
        result = []
        for name, items in names.items():
            if items is None:
                continue
            if not isinstance(items, (list, tuple)):
                self._problems.add(name, f"is {describe(items)}, and must be a list of dictionaries with a `name`.")
                continue
            for index, item in enumerate(items):
                origin = f"{name}[{index}]"
                written = isinstance(item, Mapping) and item.get("clients") is not None
                if written and isinstance(item["clients"], str):  # one group, without a dash before it
                    item = {**item, "clients": [word.strip() for word in item["clients"].split(",")]}
                if isinstance(item, Mapping) and not isinstance(item.get("password"), (str, type(None))):
                    # Not by way of the schema: its message would show the value.
                    self._problems.add(f"{origin}.password", "must be a text. Put quotes around it.")
                    item = {**item, "password": "x"}
                checked = apply(item, options, origin, self._problems)
                result.append({**checked, "user": checked["user"] or checked["name"], "origin": origin, "addresses": {},
                               "clients_written": written})
        return result

    def _clients(self, item: Mapping[str, Any]) -> list[str]:
        """Return the hosts that connect, in the order of the inventory's groups."""
        groups = self._inventory["groups"]
        hosts: dict[str, None] = {}
        for index, name in enumerate(item["clients"] or []):
            if name in groups:
                hosts.update(dict.fromkeys(groups[name]))
            elif name in groups["all"]:
                hosts[name] = None
            elif item["clients_written"]:
                self._problems.add(f"{item['origin']}.clients[{index}]", f"{name!r} is no group and no host of the "
                                   f"inventory.{suggest(name, [*groups, *groups['all']])}")
        return list(hosts)

    def _address(self, host: str, path: str) -> str:
        """Return the IP address of ``host``, or "" and a problem where it has none."""
        hostvars = self._inventory["hostvars"]
        raw = hostvars.raw_get(host)
        templar = Templar(loader=self._loader, variables={**raw, "hostvars": hostvars})
        text = next((str(value) for name in ("webstack_address", "ansible_host")
                     if name in raw and (value := templar.template(raw[name]))), host)
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            self._problems.add(path, f"{host} has no IP address that the server can know it by: {text!r} is none. "
                                     f"Write webstack_address in host_vars/{host}.yml.")
            return ""
