# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``app_command``: the command runs once, on the first host of the app."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import suggest


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        hostvars, app = task_vars["hostvars"], str(self._task.args.get("app") or "")
        found = {host: {item["app"]: item["live"] for item in hostvars[host]["app_status"].get("apps") or []}
                 for host in task_vars["ansible_play_hosts_all"] if "app_status" in hostvars[host]}
        if found:
            hosts = [host for host, apps in found.items() if apps.get(app)]
            if not hosts:
                known = sorted({name for apps in found.values() for name, live in apps.items() if live})
                return {"failed": True, "msg": f"app: no host has an app {app!r} that is live. There is "
                                               f"{', '.join(known) or 'none'}.{suggest(app, known)}"}
            if task_vars["inventory_hostname"] != hosts[0]:
                return {"skipped": True, "changed": False, "msg": f"it runs on {hosts[0]}"}
        try:
            result.update(self._execute_module(task_vars=task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        if "rc" in result:
            # Shown without being asked for: it is what the command is run for.
            result.update({"_ansible_verbose_always": True, "stdout_lines": result["stdout"].splitlines()})
        return result
