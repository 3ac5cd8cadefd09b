# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``app_service``: it says which run this is, and which apps' locks this host has."""

from __future__ import annotations

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import held, run_lock


class ActionModule(run_lock.RunAction):
    """See the module's documentation."""

    def arguments(self, task_vars):
        records = self._task.args.get("services") or []
        held.refuse(records, task_vars)
        # Of an app on several hosts the role has the lock, until all of them are done.
        alone = [record for record in records if not run_lock.is_shared(record, task_vars["ansible_play_hosts_all"])]
        return {**self._task.args, "locks": run_lock.names_to_lock(alone, task_vars),
                "services": [{key: value for key, value in record.items() if key != "hosts"} for record in records]}

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        for service in result.get("services") or []:
            if service.get("held"):
                self._display.warning(service["held"])
        return result
