# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run this is, and whether the one that holds a lock is still alive: the controller's half of ``deploy_lock``."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase


class RunAction(ActionBase):
    """Run the module of this name, and tell it which run this is."""

    _supports_check_mode = True
    _supports_async = False

    def arguments(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the module; raises AnsibleError."""
        return dict(self._task.args)

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        module = f"frontdesk.webstack.{self._task.action.rpartition('.')[2]}"
        try:
            arguments = self.arguments(task_vars)
        except AnsibleError as error:
            return {**result, "failed": True, "msg": str(error)}
        try:
            result.update(with_lock(
                lambda run: self._execute_module(module_name=module, module_args={**arguments, "run": run},
                                                 task_vars=task_vars), this_run(task_vars, self._templar)))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result


def this_run(task_vars: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """Return what names this run: the process of ``ansible-playbook``, on its controller."""
    pid = os.getppid()  # an action runs in a fork of it
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = str(os.getuid())
    broken = templar.template(task_vars.get("webstack_break_lock") or False)
    return {"who": f"{who}@{socket.gethostname()}", "controller": _controller(), "pid": pid, "started": _started(pid),
            "break": str(broken).lower() in ("true", "yes", "1"), "dead": []}


def names_to_lock(records: list[Mapping[str, Any]], task_vars: Mapping[str, Any]) -> list[str]:
    """Return the apps that this host decides about: those whose first host in this play it is."""
    here, play = task_vars["inventory_hostname"], task_vars["ansible_play_hosts_all"]
    return [record["name"] for record in records if is_first(record, here, play)]


def is_first(record: Mapping[str, Any], here: str, play: Collection[str]) -> bool:
    return next((host for host in record.get("hosts") or [here] if host in play), here) == here


def is_shared(record: Mapping[str, Any], play: Collection[str]) -> bool:
    """Say whether several hosts of the play have the app: one step on one of them cannot give its lock back."""
    return len(set(record.get("hosts") or []) & set(play)) > 1


def with_lock(execute: Callable[[Mapping[str, Any]], dict[str, Any]], run: dict[str, Any]) -> dict[str, Any]:
    """Return what ``execute(run)`` returns; again for each owner of a lock that was a process of here and is gone."""
    dead: list[Mapping[str, Any]] = []
    while True:
        result = execute({**run, "dead": dead} if dead else run)
        owner = result.get("locked_by")
        if not owner or owner in dead or owner.get("controller") != run["controller"] or _alive(owner):
            return result
        dead = [*dead, owner]  # the apps of one call may have been left by several runs


def _alive(owner: Mapping[str, Any]) -> bool:
    try:
        pid = int(owner["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    return _started(pid) == str(owner.get("started") or "")


def _controller() -> str:
    """Return what process numbers mean something in: a boot of a machine, and a container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Return when the process began, in the kernel's own count: numbers are used again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
