# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the points of a run where it can be cut off, and tell a test when one of them is reached.

With E(KILL_EVENTS) every point is noted in that file: the start of each task, and each execution of a module on a host
with the time that it took. With E(KILL_POINT), a point in JSON, the file E(KILL_REACHED) is made when it is reached: at
the start of a task the run waits there, inside a module C(delay) seconds after it was sent.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_points
type: aggregate
short_description: Names the points of a run where it can be cut off
description: Notes them in the file that E(KILL_EVENTS) names, and tells when E(KILL_POINT) is reached.
options: {}
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_points"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._events, self._reached = os.environ["KILL_EVENTS"], os.environ.get("KILL_REACHED", "")
        self._point = json.loads(os.environ.get("KILL_POINT") or "null")
        self._tasks = 0
        original, callback = ActionBase._execute_module, self

        def noted(action, module_name=None, *args, task_vars=None, **kwargs):
            host = (task_vars or {}).get("inventory_hostname", "?")
            what = f"{host} {module_name or action._task.action}"
            number = callback._note({"kind": "module", "what": what})
            point = callback._point
            if point and (point["kind"], point["what"], point["number"]) == ("module", what, number):
                timer = threading.Timer(point["delay"], callback._tell)
                timer.daemon = True
                timer.start()
            begin = time.monotonic()
            result = original(action, module_name, *args, task_vars=task_vars, **kwargs)
            callback._note({"kind": "done", "what": what, "number": number, "took": time.monotonic() - begin})
            return result

        # The workers are forks of this process, so they all note.
        ActionBase._execute_module = noted

    def _note(self, event: dict) -> int:
        """Note the event, and return how many of its kind there were before it."""
        with open(self._events, "a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            before = [json.loads(line) for line in stream.read().splitlines()]
            event.setdefault("number", sum((one["kind"], one["what"]) == (event["kind"], event["what"])
                                           for one in before))
            stream.write(json.dumps(event) + "\n")
        return event["number"]

    def _tell(self) -> None:
        Path(self._reached).touch()

    def v2_playbook_on_task_start(self, task, is_conditional):
        number = self._note({"kind": "task", "what": task.get_name().strip()})
        point = self._point
        if point and (point["kind"], point["what"], point["number"]) == ("task", task.get_name().strip(), number):
            self._tell()
            time.sleep(120)  # it is killed here
