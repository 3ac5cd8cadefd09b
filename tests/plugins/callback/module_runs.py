# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count what a run really sends to each host: every execution of a module, those inside of actions included."""

from __future__ import annotations

import collections
import os
import tempfile

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: module_runs
type: aggregate
short_description: Counts module executions for each host
description: Prints them at the end, and writes them to the file that E(MODULE_RUNS) names.
options: {}
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_runs"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        handle, self._path = tempfile.mkstemp(prefix="module-runs-")
        os.close(handle)
        original, path = ActionBase._execute_module, self._path

        def counted(action, module_name=None, *args, task_vars=None, **kwargs):
            host = (task_vars or {}).get("inventory_hostname", "?")
            name = module_name or action._task.action
            with open(path, "a", encoding="utf-8") as stream:  # one short line each: atomic between the forks
                stream.write(f"{host} {name}\n")
            return original(action, module_name, *args, task_vars=task_vars, **kwargs)

        # The workers are forks of this process, so they all count.
        ActionBase._execute_module = counted

    def v2_playbook_on_stats(self, stats):
        with open(self._path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
        os.unlink(self._path)
        if os.environ.get("MODULE_RUNS"):
            with open(os.environ["MODULE_RUNS"], "w", encoding="utf-8") as stream:
                stream.write("".join(f"{line}\n" for line in lines))
        runs = collections.Counter(line.split()[0] for line in lines)
        self._display.display("MODULE RUNS  " + "  ".join(f"{host}: {count}" for host, count in sorted(runs.items())))
