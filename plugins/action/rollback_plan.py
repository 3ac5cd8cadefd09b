# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``rollback_plan``: what to go back to, from what the hosts of the play say of themselves.

With ``decided``, what it said before, it says whether that still is what is to be done.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import going_back


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"app", "release", "migrations", "register", "decided"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        name = self._task.args.get("register") or "app_status"
        states = {host: task_vars["hostvars"][host][name] for host in task_vars["ansible_play_hosts"]
                  if name in task_vars["hostvars"][host]}
        decided = self._task.args.get("decided")
        try:
            plan = going_back.choose(
                str(self._task.args.get("app") or ""), str(self._task.args.get("release") or ""),
                str(self._task.args.get("migrations") or ""), states)
            if decided:
                going_back.compare(decided, plan)
        except going_back.NoWayBack as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        return {"changed": False, **plan}
