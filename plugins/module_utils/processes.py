# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other processes of an app (a worker, a scheduler) and its timers, and where all of them log.

Each is an instance of a unit of its own, named ``webstack-APP.NAME@RELEASE.service``; no app's name has a dot, so the
units of two apps cannot be mistaken for each other. At a switch they follow the app: when the new release is live, its
processes start and the old ones are told to finish. One that may run but once (``singleton``) is stopped first.
"""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

#: the keys of an app that list them
LISTS = ("processes", "timers")
#: the journal of all apps
NAMESPACE = "webstack"
JOURNAL = Path(f"/etc/systemd/journald@{NAMESPACE}.conf")
#: how long a new process must stay up, in seconds
WATCH = 3
#: where programs are looked for, behind the app's own
PATH = "/usr/local/bin:/usr/bin:/bin"

_UNITS = Path("/etc/systemd/system")
_GONE = ("inactive", "failed", None)


def argv(command: str, bin_folder: str, directory: str, manage: str = "") -> list[str]:
    """Return what a unit starts for ``command``: no shell, but the app's own programs and scripts by their names.

    ``manage`` is the script that the name ``manage.py`` means. Raises ValueError where the command cannot be read.
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("it is empty")
    script = _script(words[0], manage)
    if script:
        return [posixpath.join(bin_folder, "python"), posixpath.join(directory, script), *words[1:]]
    # Where it lies is found by PATH, on the host: systemd itself would not look into the app's environment.
    return words if words[0].startswith("/") else ["/usr/bin/env", *words]


def missing_program(command: str, bin_folder: str, directory: str, manage: str = "") -> str:
    """Return what ``command`` would start, where this host does not have it; or nothing."""
    program = shlex.split(command)[0]
    script = _script(program, manage)
    if script:
        return "" if os.path.isfile(posixpath.join(directory, script)) else script
    return "" if shutil.which(program, path=f"{bin_folder}:{PATH}") else program


def _script(program: str, manage: str) -> str:
    if program == "manage.py" and manage:
        return manage
    return program if program.endswith(".py") and not program.startswith("/") else ""


def times(timer: Mapping[str, Any]) -> list[str]:
    """Return the lines of a timer unit that say when."""
    if timer.get("on_calendar"):
        return [f"OnCalendar={timer['on_calendar']}", "# What a host that was off has missed is made up for.",
                "Persistent=yes", "AccuracySec=1s"]
    return [f"OnActiveSec={timer['every']}", f"OnUnitActiveSec={timer['every']}", "AccuracySec=1s"]


def record(item: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what a host has to know of an item of ``processes`` or ``timers``, besides its units."""
    keys = ("name", "command", "singleton", "stop_timeout", "stop_signal", "timeout", "on_calendar", "every")
    return {"list": kind, "hosts": list(item["hosts"]), "stop_timeout": 60, "stop_signal": "TERM",
            **{key: item[key] for key in keys if item.get(key) is not None}}


def units_of(app: str, item: Mapping[str, Any]) -> list[str]:
    """Return the names of the unit files of an item."""
    stem = f"webstack-{app}.{item['name']}"
    return [f"{stem}@.service", *([f"{stem}.timer"] if item["list"] == "timers" else [])]


def journal_text(days: int) -> str:
    """Return the settings of the apps' journal, which keeps what was said for ``days``."""
    # Only whole files are thrown away: many small ones, so that what is too old goes in time.
    return ("# The journal of all apps. Written by frontdesk.webstack; `webstack_log_days` says how long.\n[Journal]\n"
            f"MaxRetentionSec={days}day\nMaxFileSec={max(1, days // 30)}day\n")


def keep_logs(days: int, systemd: Any, check_mode: bool) -> list[str]:
    """See that the apps' journal is kept for ``days``; return what was changed."""
    text = journal_text(days)
    if _read(JOURNAL) == text:
        return []
    if not check_mode:
        write_file(JOURNAL, text, 0o644)
        # It hands its connections over to itself: nothing that is said meanwhile is lost.
        systemd.run("try-restart", f"systemd-journald@{NAMESPACE}.service")
    return [f"file {JOURNAL}"]


class Processes:
    """The processes and timers of one service record on this host.

    ``service`` is the Service that they belong to. What can fail returns what is wrong, or nothing.
    """

    def __init__(self, service: Any):
        self.service, self.systemd = service, service.systemd
        #: also those of other hosts: a mistake in them is one on every host, before any of them switches
        self.all: list[Mapping[str, Any]] = service.wanted.get("processes") or []
        self.items = [item for item in self.all if item["here"]]
        self.stem = f"webstack-{service.name}."
        self.socket = f"webstack-{service.name}.socket"
        #: the unit files that are wanted
        self.files = {unit for item in self.items for unit in units_of(service.name, item)}
        #: those that were told to finish, and need not have done so yet
        self.leaving: list[str] = []
        self._changed: list[str] = []

    def instance(self, item: Mapping[str, Any], release: str = "") -> str:
        return f"{self.stem}{item['name']}@{release or self.service.release}.service"

    def instances(self) -> list[str]:
        """Return the units that run all the time."""
        return [self.instance(item) for item in self.items if item["list"] == "processes"]

    def timers(self) -> list[str]:
        return [f"{self.stem}{item['name']}.timer" for item in self.items if item["list"] == "timers"]

    # -- looking ---------------------------------------------------------------------------------------------------

    def is_mine(self, unit: str) -> bool:
        return unit.startswith(self.stem) and unit != self.socket

    def links(self) -> dict[Path, str]:
        """Return what starts at boot."""
        links = {_UNITS / "multi-user.target.wants" / self.instance(item): units_of(self.service.name, item)[0]
                 for item in self.items if item["list"] == "processes"}
        links.update({_UNITS / "timers.target.wants" / timer: timer for timer in self.timers()})
        return links

    def changes(self) -> list[str]:
        """Return what does not run, and should."""
        found = [f"{unit} is not running" for unit in (*self.instances(), *self.timers()) if not self._active(unit)]
        stuck = [timer for timer in self.timers() if self._is_stuck(timer)]
        return found + [f"{timer} waits for a job of another release" for timer in stuck]

    def is_at_work(self, unit: str) -> bool:
        """Say whether the unit may run: wanted, on its way out, or a timer's job that is to come to its end."""
        state = self.service.state.get(unit, {}).get("ActiveState")
        jobs = tuple(f"{self.stem}{item['name']}@" for item in self.items if item["list"] == "timers")
        return (unit in (*self.instances(), *self.timers()) or state == "deactivating" or unit in self.leaving
                or bool(jobs) and unit.startswith(jobs))

    def obsolete(self) -> list[Path]:
        """Return the unit files of what is no longer in the inventory."""
        found = [*_UNITS.glob(f"{self.stem}*@.service"), *_UNITS.glob(f"{self.stem}*.timer")]
        return sorted(path for path in found if path.name not in self.files)

    def _active(self, unit: str) -> bool:
        return self.service.state.get(unit, {}).get("ActiveState") == "active"

    def _others(self, item: Mapping[str, Any] | None = None) -> list[str]:
        """Return the running processes of other releases: those of ``item``, or all but the timers' jobs."""
        start = f"{self.stem}{item['name']}@" if item else self.stem
        return sorted(unit for unit, state in self.service.state.items()
                      if unit.startswith(start) and unit.endswith(".service") and self.is_mine(unit)
                      and unit not in self.instances() and state.get("ActiveState") not in _GONE
                      and (item is not None or not self.is_at_work(unit)))

    # -- before the switch -----------------------------------------------------------------------------------------

    def check(self) -> str:
        """See that the programs are there, and that systemd understands the times."""
        wanted = self.service.wanted
        for item in self.all:
            where = f"{self.service.origin}.{item['list']} ({item['name']})"
            program = missing_program(item["command"], wanted["bin"], wanted["directory"], wanted.get("manage") or "")
            if program:
                return (f"{where}.command: there is no program {program!r}, neither in the app's environment nor on "
                        "this host. Correct its name, or add its package to the requirements.")
            for key, verb in (("on_calendar", "calendar"), ("every", "timespan")):
                if item.get(key) and item["list"] == "timers":
                    done = subprocess.run(["systemd-analyze", verb, "--", item[key]], capture_output=True, text=True,
                                          check=False)
                    if done.returncode:
                        like = "`*-*-* 03:30` or `hourly`" if key == "on_calendar" else "`15min`"
                        return f"{where}.{key} {item[key]!r} is no time that systemd understands. Write {like}."
        return ""

    # -- the switch ------------------------------------------------------------------------------------------------

    def take_over(self) -> str:
        """Start the processes of the release; the old ones go on, but for those that may run only once."""
        if not self.items:
            return ""
        wanted = [unit for unit in self.instances() if not self._active(unit) or self._is_stale(unit)]
        alone = [item for item in self.items if item["list"] == "processes" and item["singleton"]]
        before = [unit for item in alone for unit in self._others(item)]
        if before:
            self.systemd.stop(*before, timeout=self._patience())
        for unit in wanted:
            verb = "restart" if self._active(unit) else "start"
            if self.systemd.run(verb, unit, timeout=self._patience()).returncode:
                return self._problem(unit, "does not start")
        first = self._running()
        deadline = time.monotonic() + (WATCH if wanted else 0)
        while True:
            now = self._running()
            bad = [unit for unit in self.instances() if now[unit] != first[unit] or now[unit][2] != "active"]
            if bad:
                return self._problem(bad[0], "started, and did not stay up")
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(0.5, left))
        self._write_timers()
        for timer in self.timers():
            if self._is_stuck(timer):
                self.systemd.run("restart", timer)
            if not self.systemd.start(timer):
                return self._problem(timer, "does not start")
        return ""

    def _is_stale(self, unit: str) -> bool:
        """Say whether the unit runs by a file that somebody has changed since."""
        file = f"{unit.partition('@')[0]}@.service"
        return self._active(unit) and self.service.saved.get(file) != self.service.units[file]

    def _is_stuck(self, timer: str) -> bool:
        """Say whether the timer waits for the end of a job that is no longer its own: it would do so for ever.

        This is what becomes of one that is pointed at another release while its job is at work.
        """
        job = f"{timer.removesuffix('.timer')}@{self.service.release}.service"
        state = self.service.state
        for pause in (0, 0.5):  # a job may have come to its end between two looks
            time.sleep(pause)
            if pause or self._changed:
                state = self.systemd.show(timer, job)
            if (state.get(timer, {}).get("SubState") != "running"
                    or state.get(job, {}).get("ActiveState") not in _GONE):
                return False
        return True

    def _write_timers(self) -> None:
        """Point the timers at the release, which has shown by now that it stays up; they go on counting."""
        self._changed = [timer for timer in self.timers() if _read(_UNITS / timer) != self.service.units[timer]]
        for timer in self._changed:
            write_file(_UNITS / timer, self.service.units[timer], 0o644)
        if self._changed:
            self.systemd.reload()

    def dismiss(self) -> None:
        """Tell the processes of other releases to finish; they are waited for when all apps have been switched."""
        self.leaving = self._others()
        if self.leaving:
            self.systemd.run("stop", "--no-block", *self.leaving)

    def stop_new(self) -> None:
        """Stop what was started for a release that is not to be live after all."""
        if self.items:
            self.systemd.stop(*self.instances(), *self._changed, timeout=self._patience())

    def back(self) -> None:
        """Bring the processes of the live release back; the unit files are its own again.

        An earlier run may have been cut off: what belongs to the live release is what starts at boot with it.
        """
        live, boot = self.service.live, _UNITS / "multi-user.target.wants"
        if live == self.service.release:
            return
        for item in self.items:
            (boot / self.instance(item)).unlink(missing_ok=True)
        known = self.service.folder.parent / str(live) / "units"
        gone = [timer for timer in self.timers() if known.is_dir() and not (known / timer).exists()]
        if gone:
            self.systemd.stop(*gone)
            for timer in gone:
                (_UNITS / timer).unlink(missing_ok=True)
                (_UNITS / "timers.target.wants" / timer).unlink(missing_ok=True)
            self.systemd.reload()
        units = sorted(link.name for link in boot.glob(f"{self.stem}*@{live}.service"))
        units += [timer for timer in self._changed if (_UNITS / timer).exists()]
        if units:
            self.systemd.run("start", *units)

    def _patience(self) -> float:
        return max((item["stop_timeout"] for item in self.items), default=60) + 30

    def _running(self) -> dict[str, tuple[str, str, str]]:
        state = self.systemd.show(*self.instances()) if self.instances() else {}
        return {unit: tuple(state.get(unit, {}).get(key, "") for key in ("MainPID", "NRestarts", "ActiveState"))
                for unit in self.instances()}

    def _problem(self, unit: str, what: str) -> str:
        item = next(item for item in self.items if unit.startswith((f"{self.stem}{item['name']}@",
                                                                    f"{self.stem}{item['name']}.")))
        state = self.systemd.show(unit).get(unit, {})
        said = self.service._clean(self.systemd.journal(state.get("InvocationID", ""), unit))
        return (f"{self.service.origin}.{item['list']} ({item['name']}): {unit} {what}. "
                f"{f'It says:{chr(10)}{said}' if said else 'It says nothing.'}")


def wait(all_processes: Iterable[Processes], systemd: Any) -> None:
    """Wait for what was told to finish; systemd ends what takes longer than its ``stop_timeout``."""
    leaving = [unit for processes in all_processes for unit in processes.leaving]
    if leaving:
        # Each has its own time, and an old one that of its own unit.
        systemd.stop(*leaving, timeout=24 * 3600)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
