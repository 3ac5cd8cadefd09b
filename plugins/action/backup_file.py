# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``backup_file``: the controller's steps of a backup and of a restore, from what the hosts have said.

The hosts' answers are in the variables ``app_data`` (what there is), ``app_databases`` (where the databases are),
``app_dumps`` and ``app_files`` (what was packed).
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import backup


class ActionModule(ActionBase):
    """Steps: ``look`` and ``plan`` and ``write`` of a backup, ``open`` and ``place`` of a restore, and ``clear``."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"step", "app", "file", "folder", "manifest", "anyway"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        self._vars = task_vars
        arguments = self._task.args
        try:
            return {"changed": False, **getattr(self, f"_{arguments['step']}")(arguments)}
        except (backup.BackupError, OSError) as error:
            return {"failed": True, "changed": False, "msg": str(error)}

    def _said(self, variable: str, key: str) -> dict:
        hostvars = self._vars["hostvars"]
        return {host: hostvars[host][variable][key] for host in self._vars["ansible_play_hosts_all"]
                if variable in hostvars[host] and key in hostvars[host][variable]}

    def _apps(self, arguments) -> dict:
        return backup.apps_of(str(arguments.get("app") or ""), self._said("app_data", "apps"))

    def _staging(self) -> str:
        return tempfile.mkdtemp(prefix="webstack-backup-")  # 0700

    def _look(self, arguments):
        apps = self._apps(arguments)
        return {"databases": backup.databases_of(apps),
                "local": {host: [name for name, hosts in apps.items() if host in hosts]
                          for host in self._vars["ansible_play_hosts_all"]}}

    def _plan(self, arguments):
        apps = self._apps(arguments)
        parts, missing = backup.plan(apps, backup.databases_of(apps), self._said("app_databases", "databases"))

        def of_kind(kind):
            return {host: [part for part in items if part["kind"] == kind] for host, items in parts.items()}

        return {"folder": self._staging(), "apps": list(apps), "dumps": of_kind("database"),
                "files": of_kind("folders"), **({"warnings": missing} if missing else {})}

    def _write(self, arguments):
        if self._task.check_mode:
            return {"changed": True}
        now = datetime.datetime.now(datetime.UTC)
        parts = self._said("app_dumps", "parts")
        for host, items in self._said("app_files", "parts").items():
            parts[host] = [*parts.get(host, []), *items]
        target = Path(self._vars.get("inventory_dir") or ".", os.path.expanduser(arguments["folder"] or "backups"))
        files = [str(backup.write(name, hosts, parts, target, now)) for name, hosts in self._apps(arguments).items()]
        for path in files:
            self._display.display(f"{path}  {os.stat(path).st_size >> 10} kB")
        return {"changed": True, "files": files}

    def _open(self, arguments):
        if not arguments.get("app") or not arguments.get("file"):
            raise AnsibleActionFail("Write what to restore: `-e app=NAME -e backup=FILE`.")
        hosts = self._apps(arguments)[arguments["app"]]
        folder = self._staging()
        try:
            path = Path(os.path.expanduser(arguments["file"])).absolute()
            manifest = backup.read(path, arguments["app"], Path(folder))
            parts, said = backup.place(manifest, hosts, str(arguments.get("anyway")).lower() in ("true", "yes", "1"))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        apps = {arguments["app"]: hosts}
        return {"folder": folder, "manifest": manifest, "parts": parts, "hosts": list(hosts),
                "databases": backup.databases_of(apps), **({"warnings": said} if said else {}),
                "local": {host: list(apps) for host in hosts}}

    def _place(self, arguments):
        opened = arguments["manifest"]
        parts = {host: list(items) for host, items in opened["parts"].items()}
        for host, items in backup.place_databases(opened["manifest"], opened["databases"],
                                                  self._said("app_databases", "databases")).items():
            parts[host] = [*items, *parts.get(host, [])]
        return {"parts": parts}

    def _clear(self, arguments):
        folder = str(arguments.get("folder") or "")
        if os.path.basename(folder).startswith("webstack-backup-"):
            shutil.rmtree(folder, ignore_errors=True)
        return {}
