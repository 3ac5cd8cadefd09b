# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``status_table``: what all hosts of the play said (``app_status``), as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import status


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"file", "register"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        name = self._task.args.get("register") or "app_status"
        hostvars = task_vars["hostvars"]
        states = {host: hostvars[host][name] for host in task_vars["ansible_play_hosts_all"]
                  if name in hostvars[host] and "apps" in hostvars[host][name]}
        silent = [host for host in task_vars["ansible_play_hosts_all"] if host not in states]
        answer = status.collect(states, silent)
        if self._task.args.get("file"):
            try:
                Path(self._task.args["file"]).expanduser().write_text(json.dumps(answer, indent=2) + "\n",
                                                                      encoding="utf-8")
            except OSError as error:
                raise AnsibleActionFail(f"status_file: cannot be written: {error}") from None
        self._display.display(status.table(answer))
        return {"changed": False, **answer}
