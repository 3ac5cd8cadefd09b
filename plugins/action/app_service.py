# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``app_service``: it says which run this is, and which apps' locks this host has."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import run_lock


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        records = arguments.get("services") or []
        arguments["services"] = [{key: value for key, value in record.items() if key != "hosts"} for record in records]
        arguments["locks"] = run_lock.names_to_lock(records, task_vars)

        def execute(run):
            return self._execute_module(module_name="frontdesk.webstack.app_service",
                                        module_args={**arguments, "run": run}, task_vars=task_vars)

        try:
            result.update(run_lock.with_lock(execute, run_lock.this_run(task_vars, self._templar)))
            for service in result.get("services") or []:
                if service.get("held"):
                    self._display.warning(service["held"])
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
