# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``app_rollback``: it says which run this is."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import run_lock


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)

        def execute(run):
            return self._execute_module(module_name="frontdesk.webstack.app_rollback",
                                        module_args={**arguments, "run": run}, task_vars=task_vars)

        try:
            result.update(run_lock.with_lock(execute, run_lock.this_run(task_vars, self._templar)))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result
