# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the services of a host to the release that is wanted, without losing a request.

Each app has one socket that stays open for good, and each release runs as an instance of one unit behind it. A new
release is run behind a private socket and asked there; only then it starts on the shared socket, is watched, and the
old instance finishes its requests and stops. What goes wrong before the switch leaves the old release alone in service;
what goes wrong after it is undone.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import (
    deploy_lock,
    env_file,
    processes,
    record,
    unix_client,
    wsgi_probe,
)
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import (
    lock,
    replace_link,
    sync_folder,
    write_file,
)

_UNITS = Path("/etc/systemd/system")
_RUNTIME = Path("/run/systemd/system")
_PROBES = Path("/run/webstack_probe")
CONFIG = Path("/etc/webstack")
_LOCK = Path("/run/webstack.app_service.lock")
#: the record that the release was served with: going back to it takes no plan
SERVICE = "service.json"
_KINDS = ("import", "check", "probe")
_PROPERTIES = ("Id", "ActiveState", "SubState", "MainPID", "NRestarts", "InvocationID", "NeedDaemonReload", "Result",
               "Triggers", "ExecMainStartTimestamp", "FragmentPath", "ExecMainStatus")
#: seconds that a trial may take to start
_TRIAL = 120
#: lines of the unit that are not for a trial run
_NOT_IN_TRIAL = ("Sockets=", "After=", "Restart=", "RestartSec=", "WantedBy=", "TimeoutStopSec=", "TimeoutStartSec=",
                 "SyslogIdentifier=", "Description=")


class Failed(Exception):
    """A service cannot be brought to its release; the text says what to change."""


class Systemd:
    """The few things that are asked of systemd."""

    def run(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run systemctl, and return what came of it."""
        try:
            return subprocess.run(["systemctl", "--no-ask-password", *words], capture_output=True, text=True,
                                  timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 124, "", f"systemctl {words[0]} took more than {timeout:g} s")

    def start(self, unit: str, timeout: float = 300) -> bool:
        """Start the unit; for a service that notifies, True means that it is ready."""
        return self.run("start", unit, timeout=timeout).returncode == 0

    def stop(self, *units: str, timeout: float = 300) -> None:
        """Stop units that may or may not be there, and forget their failures."""
        if units:
            self.run("stop", *units, timeout=timeout)
            self.run("reset-failed", *units)

    def reload(self) -> None:
        """Let systemd read the units again."""
        done = self.run("daemon-reload")
        if done.returncode:
            raise Failed(f"systemctl daemon-reload failed: {done.stderr.strip()}")

    def show(self, *units: str) -> dict[str, dict[str, str]]:
        """Return the properties of all loaded units that match, by name."""
        done = self.run("show", "--timestamp=unix", "--property=" + ",".join(_PROPERTIES), "--", *units)
        return parse_show(done.stdout)

    def journal(self, invocation: str, unit: str, lines: int = 25) -> str:
        """Return the last lines of one run of a unit; systemd's own remarks are left out."""
        if not invocation:
            return ""
        done = subprocess.run(
            ["journalctl", f"--namespace=+{processes.NAMESPACE}", "--quiet", "--no-pager", "--output=cat",
             f"--lines={lines}",
             f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}", f"UNIT={unit}"],
            capture_output=True, text=True, check=False)
        return done.stdout.strip()


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """Return the blocks of ``systemctl show`` by unit; a property that is given several times keeps all its lines."""
    units = {}
    for block in text.split("\n\n"):
        properties: dict[str, str] = {}
        for line in block.splitlines():
            key, _sign, value = line.partition("=")
            properties[key] = f"{properties[key]}\n{value}" if key in properties else value
        if properties.get("Id"):
            units[properties["Id"]] = properties
    return units


def listening(proc: Path = Path("/proc/net")) -> set[str]:
    """Return all addresses that somebody on this host listens on: paths, and HOST:PORT."""
    found = set()
    for line in (read(proc / "unix") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and fields[3] == "00010000":
            found.add(fields[7])
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in (read(proc / table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                host, port = fields[1].split(":")
                # The kernel writes each word of the address in its own byte order.
                raw = b"".join(int(host[index:index + 8], 16).to_bytes(4, sys.byteorder)
                               for index in range(0, len(host), 8))
                name = socket.inet_ntop(family, raw)
                found.add(f"[{name}]:{int(port, 16)}" if ":" in name else f"{name}:{int(port, 16)}")
    return found


def trial_unit(text: str, name: str, kind: str, folder: Path, exec_start: list[str] | None, timeout: int) -> str:
    """Return the app's own unit for a trial: the same user, environment and limits, but not the shared socket.

    With ``exec_start`` it runs that command once; without, the server as it is, behind a private socket.
    """
    lines = []
    for line in text.splitlines():
        if line.startswith(_NOT_IN_TRIAL):
            continue
        if exec_start is not None:
            if line.startswith(("Type=", "NotifyAccess=")):
                continue
            if line.startswith("ExecStart="):
                line = "ExecStart=" + " ".join(_quote(word) for word in exec_start)
        lines.append(line)
        if line == "[Unit]":
            lines.append(f"Description={name}: trial of release %i ({kind})")
            if exec_start is None:
                lines.append("CollectMode=inactive-or-failed")  # nobody waits for its end
        if line == "[Service]":
            lines += ["Restart=no", f"TimeoutStartSec={timeout}", "TimeoutStopSec=5",
                      f"SyslogIdentifier=webstack_{kind}-{name}", f"StandardOutput=truncate:{folder}/{kind}.log",
                      "StandardError=inherit"]
            lines.append("Type=oneshot" if exec_start is not None else f"Sockets=webstack_{kind}-{name}.socket")
    return "\n".join(lines) + "\n"


def _quote(word: str) -> str:
    return shlex.quote(word).replace("%", "%%").replace("$", "$$")


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(line for line in text.strip().splitlines()[-lines:] if not line.startswith(wsgi_probe.MARK))


@dataclass
class Result:
    """What came of one service."""

    name: str
    release: str
    changes: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    failed: str = ""
    held: str = ""


class Service:
    """One service record on this host."""

    def __init__(self, wanted: Mapping[str, Any], env: Mapping[str, str], systemd: Systemd, keep: int):
        self.wanted, self.env, self.systemd, self.keep = wanted, env, systemd, keep
        self.watch: float = wanted["health"].get("watch", 2)
        self.name, self.release, self.origin = wanted["name"], wanted["release"], wanted["origin"]
        self.result = Result(self.name, self.release)
        self.template = f"webstack-{self.name}@.service"
        self.instance = self.instance_of(self.release)
        self.socket = f"webstack-{self.name}.socket"
        self.router = f"webstack-{self.name}-http.service"
        self.units: dict[str, str] = wanted["units"]
        self.folder = CONFIG / self.name / self.release
        self.trial = _PROBES / self.name
        self.processes = processes.Processes(self)
        self.record_path = Path(wanted["root"]) / "record.json"
        self.record = record.read(self.record_path, self.name)
        self.live = self.record["live"]
        self.state: dict[str, dict[str, str]] = {}
        self.saved: dict[str, str | None] = {}
        #: of the event in the record: why, and by whom
        self.reason = ""
        self.who = ""
        #: the migrations that are to be taken back after the switch
        self.reversing: Mapping[str, Any] | None = None
        #: whether this is the choice of a person and not the inventory's
        self.by_hand_choice = wanted.get("asked") == "version"

    def instance_of(self, release: str) -> str:
        return f"webstack-{self.name}@{release}.service"

    def is_held(self) -> bool:
        """Say whether somebody has left this release by hand, and the inventory does not know yet."""
        if self.wanted.get("asked") or not record.is_held(self.record, self.release):
            return False
        self.result.held = held_text(self.record, self.origin)
        return True

    def let_go(self) -> None:
        """Forget what is held back, when the inventory has come to want what is live."""
        if self.record["held"] and self.live == self.release and not self.by_hand_choice:
            self.record["held"] = None
            self._write_record()

    # -- looking ---------------------------------------------------------------------------------------------------

    def observe(self, state: Mapping[str, dict[str, str]]) -> list[str]:
        """Note what differs from what is wanted; nothing means that there is nothing to do."""
        self.state = {unit: properties for unit, properties in state.items() if self._is_mine(unit)}
        changes = self.result.changes
        if self.live != self.release:
            changes.append(f"release {self.live or 'none'} -> {self.release}")
        for path, text in self._texts().items():
            before = read(path)
            if before != text:
                changes.append(f"file {path}")
                if path.name == SERVICE:
                    continue  # says again what the others say
                self.result.diff.append({"before_header": str(path), "after_header": str(path),
                                         "before": before or "", "after": text})
        if self._env_differs():
            changes.append(f"file {self.wanted['env_file']}")
            self.result.diff.append({"before_header": self.wanted["env_file"], "after_header": self.wanted["env_file"],
                                     "before": "(not shown)\n", "after": "(not shown, and different)\n"})
        for unit in self._long_lived():
            if not self._active(unit):
                changes.append(f"{unit} is not running")
        if not self._active(self.instance):
            changes.append(f"{self.instance} is not running")
        changes += self.processes.changes()
        wanted_links = self._links()
        for link in self._existing_links() ^ set(wanted_links):
            changes.append(f"start at boot: {link.name}")
        changes += [f"{unit} is left over" for unit in self._strays()]
        changes += [f"{path.name} is left over" for path in self._obsolete()]
        if any(properties.get("NeedDaemonReload") == "yes" for properties in self.state.values()):
            changes.append("systemd has not read the units yet")
        if self.socket in self.units and self._active(self.socket) and not self._listens():
            changes.append(f"{self.socket} listens elsewhere")
        return changes

    def _is_mine(self, unit: str) -> bool:
        return (unit.startswith(f"webstack-{self.name}@") or unit in (self.socket, self.router)
                or self.processes.is_mine(unit)
                or any(unit.startswith((f"webstack_{kind}-{self.name}@", f"webstack_{kind}-{self.name}.socket"))
                       for kind in _KINDS))

    def refresh(self) -> None:
        """Look at the units again."""
        patterns = [f"webstack-{self.name}@*", f"webstack-{self.name}.*", self.router]
        self.state = {unit: properties for unit, properties in self.systemd.show(*patterns).items()
                      if self._is_mine(unit)}

    def _texts(self) -> dict[Path, str]:
        texts = {_UNITS / unit: text for unit, text in self.units.items()}
        if self.wanted["config"]["path"]:
            texts[Path(self.wanted["config"]["path"])] = self.wanted["config"]["text"]
        # Neither the place in the inventory nor who asked for it: both change while the service stays.
        kept = {key: value for key, value in self.wanted.items() if key not in ("origin", "asked")}
        texts[self.folder / SERVICE] = json.dumps(kept, indent=1, sort_keys=True) + "\n"
        return texts

    def _env_differs(self) -> bool:
        path = Path(self.wanted["env_file"])
        if self.wanted["by_hand"]:
            return read(path) != self._env_text()
        return not path.exists()

    def _env_text(self) -> str:
        try:
            return env_file.format_env_file(dict(self.env))
        except ValueError as error:
            raise Failed(f"{self.origin}.env: {error}") from None

    def _active(self, unit: str) -> bool:
        return self.state.get(unit, {}).get("ActiveState") == "active"

    def _long_lived(self) -> list[str]:
        return [unit for unit in (self.socket, self.router) if unit in self.units]

    def _listens(self) -> bool:
        # What systemd shows is what the unit says, which after a reload is more than what is open.
        return set(self.wanted["listen"]) <= listening()

    def _links(self) -> dict[Path, str]:
        links = {_UNITS / "multi-user.target.wants" / self.instance: self.template}
        if self.socket in self.units:
            links[_UNITS / "sockets.target.wants" / self.socket] = self.socket
        if self.router in self.units:
            links[_UNITS / "multi-user.target.wants" / self.router] = self.router
        return links | self.processes.links()

    def _existing_links(self) -> set[Path]:
        return {path for folder in ("multi-user.target.wants", "sockets.target.wants", "timers.target.wants")
                for path in (_UNITS / folder).glob("webstack-*") if self._is_mine(path.name)}

    def _strays(self) -> list[str]:
        """Instances of other releases that run, and trials that were cut off."""
        return sorted(unit for unit, properties in self.state.items()
                      if unit not in (self.instance, self.socket, self.router)
                      and not (self.processes.is_mine(unit) and self.processes.is_at_work(unit))
                      and properties.get("ActiveState") not in ("inactive", "failed", None))

    def _obsolete(self) -> list[Path]:
        leftovers = [_UNITS / unit for unit in (self.socket, self.router)
                     if unit not in self.units and (_UNITS / unit).exists()]
        trials = [path for kind in _KINDS for path in _RUNTIME.glob(f"webstack_{kind}-{self.name}[.@]*")]
        return leftovers + self.processes.obsolete() + sorted(trials)

    def _instances(self) -> list[str]:
        return sorted(unit for unit in self.state if unit.startswith(f"webstack-{self.name}@")
                      and self.state[unit].get("ActiveState") not in ("inactive", "failed", None))

    # -- before the switch -----------------------------------------------------------------------------------------

    def release_is_there(self) -> bool:
        """Say whether there is anything to run; on a first run in check mode there is not."""
        return os.path.isdir(self.wanted["directory"]) and os.path.isdir(self.wanted["bin"])

    def stage(self) -> None:
        """Write the configuration of the release, and the units of its trial."""
        if not self.release_is_there():
            what = "directory" if not os.path.isdir(self.wanted["directory"]) else "virtualenv"
            missing = self.wanted["directory"] if what == "directory" else self.wanted["bin"]
            if self.wanted["by_hand"]:
                raise Failed(f"{self.origin}.{what}: there is no folder {missing} on this host. Write the one that "
                             "holds the code, or the environment.")
            raise Failed(f"{self.origin}: there is no folder {missing}. Run the role that makes its release first.")
        self._raise(self.processes.check())
        self._write_config()
        text = self.units[self.template]
        gid = self._gid()
        self.trial.mkdir(parents=True, exist_ok=True)
        os.chown(self.trial, 0, gid)
        self.trial.chmod(0o750)
        health = self.wanted["health"]
        options = {"directory": self.wanted["directory"], "callable": self.wanted["callable"],
                   "path": health["path"], "host": health["host"], "https": health["https"],
                   "status": health["status"], "timeout": health["timeout"], "contains": health.get("contains", []),
                   # It has had its time behind the private socket.
                   "import_timeout": 30 if self.wanted["shared_socket"] else 90,
                   "asgi": wsgi_probe.wants_asgi(self.wanted["server"], self.wanted["settings"])}
        write_file(self.trial / "probe.py", wsgi_probe.SCRIPT, 0o640, gid=gid)
        write_file(self.trial / "probe.json", json.dumps(options), 0o640, gid=gid)
        argv = {"import": [f"{self.wanted['bin']}/python", f"{self.trial}/probe.py", f"{self.trial}/probe.json"],
                "check": list(self.wanted["check"])}
        for kind, words in argv.items():
            if words:
                write_file(_RUNTIME / f"webstack_{kind}-{self.name}@.service",
                           trial_unit(text, self.name, kind, self.trial, words, _TRIAL), 0o644)
        if self.wanted["shared_socket"]:
            write_file(_RUNTIME / f"webstack_probe-{self.name}@.service",
                       trial_unit(text, self.name, "probe", self.trial, None, _TRIAL), 0o644)
            write_file(_RUNTIME / f"webstack_probe-{self.name}.socket",
                       f"[Socket]\nListenStream={self.trial}/sock\nSocketMode=0600\nRemoveOnStop=yes\n"
                       f"Service=webstack_probe-{self.name}@{self.release}.service\n", 0o644)

    def _gid(self) -> int:
        try:
            return pwd.getpwnam(self.wanted["user"]).pw_gid
        except KeyError:
            raise Failed(f"{self.origin}.user: there is no user {self.wanted['user']!r} on this host. Write one that "
                         "exists.") from None

    def _write_config(self) -> None:
        gid = self._gid()
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chown(self.folder, 0, gid)
        self.folder.chmod(0o750)
        if self.wanted["config"]["path"]:
            write_file(self.wanted["config"]["path"], self.wanted["config"]["text"], 0o640, gid=gid)
        if self.wanted["by_hand"]:
            write_file(self.wanted["env_file"], self._env_text(), 0o600)
        elif not os.path.exists(self.wanted["env_file"]):
            raise Failed(f"{self.origin}: there is no {self.wanted['env_file']}. Run the role that makes its release "
                         "first.")
        # Kept with the release, so that going back finds its own units.
        for unit, text in self.units.items():
            write_file(self.folder / "units" / unit, text, 0o644)
        path = self.folder / SERVICE
        write_file(path, self._texts()[path], 0o640)

    def prove(self, again: bool = False) -> None:
        """Run the release behind a private socket and ask it there; where that fails, find out why.

        ``again``: it was live before, so what is wrong is not in its code.
        """
        self._port_is_free()
        if not self.wanted["shared_socket"]:
            self._import()
            return
        begin = time.monotonic()
        try:
            self._private()
        except Failed:
            if not again:
                silent = time.monotonic() - begin >= _TRIAL
                # The same without a server around it tells more: the line that raises, the variable that is missing.
                self._import()
                if not silent:  # it would be here too, for as long again
                    self._dry_run()
            raise

    def _dry_run(self) -> None:
        if not self.wanted["check"]:
            return
        good, log = self._once("check")
        unit = f"webstack_check-{self.name}@{self.release}.service"
        # What hangs behind the private socket hangs here too: that is no matter of the configuration.
        if not good and self.systemd.show(unit).get(unit, {}).get("Result") != "timeout":
            raise Failed(f"{self.origin}.settings: {self.wanted['server']} refuses its configuration "
                         f"{self.wanted['config']['path']}. It says:\n{self._clean(_tail(log))}")

    def _port_is_free(self) -> None:
        """Refuse a public address that another program holds, nginx of an earlier run for one, before the switch."""
        if self.router not in self.units or self._active(self.router):
            return
        listen = self.wanted["public"]["listen"]
        host, _colon, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host.strip("[]"), int(port)))
            except OSError as error:
                raise Failed(f"{self.origin}.public.listen: {listen} cannot be had on this host: {error.strerror}. "
                             "Stop what holds it (`ss -ltnp` names it; nginx: `systemctl disable --now nginx`), "
                             "or write another port.") from None

    def _once(self, kind: str) -> tuple[bool, str]:
        good = self.systemd.start(f"webstack_{kind}-{self.name}@{self.release}.service")
        return good, read(self.trial / f"{kind}.log") or ""

    def _import(self) -> None:
        good, log = self._once("import")
        report = wsgi_probe.read_report(log)
        if report is None:
            unit = f"webstack_import-{self.name}@{self.release}.service"
            state = self.systemd.show(unit).get(unit, {})
            raise Failed(f"{self.origin}.callable {self.wanted['callable']!r}: the process ended while it was imported "
                         f"({'exit-code' if good else state.get('Result')} {state.get('ExecMainStatus', '')}). Let the "
                         f"module only define the app. It said:\n{self._clean(_tail(log)) or '(nothing)'}")
        if not report["ok"]:
            said = _tail(log, 12)
            text = wsgi_probe.explain(report, self.origin, self.wanted["callable"], self.wanted["health"])
            raise Failed(self._clean(text + (f"\nThe app said:\n{said}" if said else "")))

    def _private(self) -> None:
        unit = f"webstack_probe-{self.name}@{self.release}.service"
        try:
            if not self.systemd.start(f"webstack_probe-{self.name}.socket"):
                raise Failed(f"{self.origin}: the private socket {self.trial}/sock cannot be opened.")
            if not self.systemd.start(unit):
                raise Failed(f"{self.origin}: {self.wanted['server']} does not start with this release. It says:\n"
                             f"{self._clean(_tail(read(self.trial / 'probe.log') or ''))}")
            problem = self._ask(f"{self.trial}/sock")
            if problem:
                raise Failed(f"{problem}\n{self.wanted['server']} says:\n"
                             f"{self._clean(_tail(read(self.trial / 'probe.log') or ''))}")
        finally:
            # What comes next need not wait for the end of the trial's workers.
            self.systemd.stop(f"webstack_probe-{self.name}.socket")
            self.systemd.run("stop", "--no-block", unit)

    def _ask(self, address: str, content: bool = True) -> str:
        """Ask for the health path; return what is wrong, or nothing. The old release may answer: without `content`."""
        health = self.wanted["health"]
        where = f"{self.origin}.health.path {health['path']!r}"
        try:
            status, body = unix_client.request(address, self.wanted["protocol"], health["path"], health["host"],
                                               health["https"], health["timeout"])
        except unix_client.NoAnswer as error:
            return f"{where}: {error}. Mend the app, or write a path that answers, or a longer `timeout` there."
        answer = body.decode(errors="replace")
        start = self._clean(answer[:300].strip())
        if status in health["status"]:
            missing = [text for text in health.get("contains", []) if content and text not in answer]
            return (f"{self.origin}.health.contains: the answer of {health['path']!r} does not have {missing[0]!r}. Is "
                    f"this the version that was to be deployed? The answer begins:\n{start}") if missing else ""
        wanted = ", ".join(str(item) for item in health["status"])
        return f"{where}: the app answered {status}, and should answer {wanted}. The answer begins:\n{start}"

    def _clean(self, text: str) -> str:
        """Take the values of the environment out of what the app says."""
        env = dict(self.env)
        with contextlib.suppress(OSError, ValueError):
            env.update(env_file.parse_env_file(Path(self.wanted["env_file"]).read_text(encoding="utf-8")))
        for key, value in sorted(env.items(), key=lambda item: -len(item[1])):
            if len(value) >= 4 and key not in ("DJANGO_SETTINGS_MODULE", "WEBSTACK_SHARED"):
                text = text.replace(value, f"(value of {key})")
        return text

    def clear_trial(self) -> None:
        """Stop and remove what belongs to trials, also those of an earlier run that was cut off."""
        units = [path.name for kind in _KINDS for path in _RUNTIME.glob(f"webstack_{kind}-{self.name}[.@]*")]
        running = [unit for unit in self.state if unit.startswith("webstack_")]
        self.systemd.stop(*sorted({*(unit for unit in units if unit.endswith(".socket")), *running}))
        for unit in units:
            (_RUNTIME / unit).unlink(missing_ok=True)
        self.systemd.run("reset-failed", *(f"webstack_{kind}-{self.name}@*.service" for kind in _KINDS))
        shutil.rmtree(self.trial, ignore_errors=True)

    def give_up(self, reason: str) -> None:
        """Take back what was staged, and note the failure. What is in service is not touched."""
        if self.release not in (self.live, self.record["previous"]) and self.instance not in self._instances():
            self._remove_config()
        self.note_failure(reason)

    def note_failure(self, reason: str) -> None:
        """Note in the record why the release did not go live."""
        record.note(self.record, self.release, "failed", reason, self._version())
        self._write_record()

    def take_back(self) -> None:
        """Take back what was staged for a release that is good, but not switched to, because another one failed."""
        if self.release not in (self.live, self.record["previous"]) and self.instance not in self._instances():
            self._remove_config()

    def _remove_config(self) -> None:
        if any(event["release"] == self.release and event["event"] == "live" for event in self.record["history"]):
            return  # it was live before, and may be gone back to
        # The environment of an app is the release stage's, and stays.
        for path in [Path(self.wanted["config"]["path"])] if self.wanted["config"]["path"] else []:
            path.unlink(missing_ok=True)
        (self.folder / SERVICE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "units", ignore_errors=True)
        if self.wanted["by_hand"]:
            Path(self.wanted["env_file"]).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    # -- the switch ------------------------------------------------------------------------------------------------

    def switch(self) -> None:
        """Let the release take over. Raises Failed after having undone everything."""
        before = [unit for unit in self._instances() if unit != self.instance]
        self._save_units()
        try:
            if not self.wanted["shared_socket"]:
                self.systemd.stop(*before)
            self._install(before)
            self._start()
            self._watch()
            self._raise(self.processes.take_over())
            if self.wanted["shared_socket"]:
                self.systemd.stop(*before, timeout=self._patience())
            problem = self._ask_live()
            if problem:
                raise Failed(f"{problem}\n{self._said()}")
        except (Failed, OSError) as error:
            self._undo(before)
            raise Failed(f"{error}\nThis was undone: {self._in_service()}") from None
        self._finish()

    def mend(self) -> None:
        """Put right what differs although the release is live already: files, units, links, a stopped instance."""
        started = int(self.state.get(self.instance, {}).get("ExecMainStartTimestamp", "").lstrip("@") or 0)
        # A file that was changed before the process started was read by it.
        others = (self.socket, self.router, SERVICE, *self.processes.files)
        stale = any(_changed(path) and _changed(path) <= started + 1 and read(path) != text
                    for path, text in self._texts().items() if path.name not in others)
        stale = stale or self.wanted["by_hand"] and self._env_differs()
        before = [unit for unit in self._instances() if unit != self.instance]
        self._write_config()
        self._save_units()
        self._install(before)
        if stale and self._active(self.instance):
            self.systemd.run("restart", self.instance)
        self._start()
        self._raise(self.processes.take_over())
        self.systemd.stop(*before, timeout=self._patience())
        problem = self._ask_live()
        if problem:
            raise Failed(f"{problem}\n{self._said()}")
        self._finish()

    def _raise(self, problem: str) -> None:
        if problem:
            raise Failed(problem)

    def _patience(self) -> float:
        return self.wanted["settings"].get("graceful_timeout", 30) + 30

    def _save_units(self) -> None:
        self.saved = {unit: read(_UNITS / unit) for unit in {*self.units, self.template, self.socket}}

    def _install(self, before: list[str]) -> None:
        """Write the units, point the socket and the boot at the release, and see to it that the socket is there."""
        router_changed = self.saved.get(self.router) != self.units.get(self.router)
        for unit, text in self.units.items():
            # Timers follow when the release has shown that it stays up.
            if not unit.endswith(".timer") and read(_UNITS / unit) != text:
                write_file(_UNITS / unit, text, 0o644)
        for link, target in self._links().items():
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink() or os.readlink(link) != str(_UNITS / target):
                replace_link(link, str(_UNITS / target))
        self.systemd.reload()
        self.refresh()
        if self.socket in self.units:
            running = [unit for unit in (*before, self.instance, self.socket) if self._active(unit)]
            if running and not (self._active(self.socket) and self._listens()):
                # An address came or went, or somebody stopped the socket alone: systemd opens it only while nobody
                # uses it.
                self.systemd.stop(*running, timeout=self._patience())
            if not self.systemd.start(self.socket):
                state = self.systemd.show(self.socket).get(self.socket, {})
                raise Failed(f"{self.origin}.port: {self.socket} cannot listen on {', '.join(self.wanted['listen'])}: "
                             f"{self.systemd.journal(state.get('InvocationID', ''), self.socket)}")
        if self.router in self.units and router_changed and self._active(self.router):
            self.systemd.run("restart", self.router)

    def _start(self) -> None:
        if not self.systemd.start(self.instance):
            raise Failed(f"{self.origin}: {self.instance} does not start. {self._said()}")
        if not self.wanted["shared_socket"]:
            deadline = time.monotonic() + self.wanted["health"]["timeout"] + 20
            while self._ask_live() and time.monotonic() < deadline and self._steady(None):
                time.sleep(0.2)

    def _watch(self) -> None:
        """See that the new instance stays up, with its workers, and that the app goes on answering."""
        first = self._main()
        # Where nothing was in service there is nothing to go back to.
        deadline = time.monotonic() + (self.watch if self.live else min(self.watch, 1))
        settings = self.wanted["settings"]
        # The old instance answers too: that workers come and go shows in their numbers alone.
        many = settings.get("workers", 1) if self.wanted["shared_socket"] and not settings.get("max_requests") else 0
        seen: set[str] = set()
        while True:
            if not self._steady(first):
                raise Failed(f"{self.origin}: {self.instance} started, and did not stay up. {self._said()}")
            now = _children(first[0])
            if many and len(seen - now) >= many:
                raise Failed(f"{self.origin}: {self.instance} started, and its workers did not stay up. {self._said()}")
            seen |= now
            problem = self._ask_live(content=False)
            if problem:
                raise Failed(f"{problem}\n{self._said()}")
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.5, left))

    def _main(self) -> tuple[str, str]:
        state = self.systemd.show(self.instance).get(self.instance, {})
        return state.get("MainPID", ""), state.get("NRestarts", "")

    def _steady(self, first: tuple[str, str] | None) -> bool:
        state = self.systemd.show(self.instance).get(self.instance, {})
        if first and (state.get("MainPID", ""), state.get("NRestarts", "")) != first:
            return False
        return state.get("ActiveState") == "active"

    def _ask_live(self, content: bool = True) -> str:
        return self._ask(self.wanted["listen"][0], content) if self.wanted["listen"] else ""

    def _said(self) -> str:
        state = self.systemd.show(self.instance).get(self.instance, {})
        said = self._clean(self.systemd.journal(state.get("InvocationID", ""), self.instance))
        return f"It says:\n{said}" if said else "It says nothing."

    def _undo(self, before: list[str]) -> None:
        """Go back to what was in service, in an order that never leaves the socket without a live instance."""
        live = self.instance_of(self.live) if self.live else (before[0] if before else "")
        self.processes.stop_new()
        if self.live and self.live != self.release:
            # The units that belong to that release: an earlier run may have been cut off after it replaced them.
            for unit in self.saved:
                text = read(CONFIG / self.name / self.live / "units" / unit)
                if text is not None and unit != self.socket:
                    self.saved[unit] = text
        for unit, text in self.saved.items():
            if text is None:
                self.systemd.stop(self.instance, unit)
                (_UNITS / unit).unlink(missing_ok=True)
            else:
                if unit == self.socket and live:
                    text = _service_line(text, live)
                write_file(_UNITS / unit, text, 0o644)
        for link in self._existing_links():
            if link.name == self.instance and link.name != live or not os.path.exists(link):
                link.unlink(missing_ok=True)
        if live and self.saved.get(self.template):
            link = _UNITS / "multi-user.target.wants" / live
            replace_link(link, str(_UNITS / self.template))
        self.systemd.reload()
        if not self.wanted["shared_socket"]:
            self.systemd.stop(self.instance)
        if live and live != self.instance:
            if self.socket in self.units and self.saved.get(self.socket):
                self.systemd.start(self.socket)
            self.systemd.start(live)
        if live != self.instance:
            self.systemd.stop(self.instance, timeout=self._patience())
        self.processes.back()
        self.refresh()

    def _in_service(self) -> str:
        running = self._instances()
        return f"{', '.join(running)} is in service." if running else "nothing is in service, as before."

    def _finish(self) -> None:
        """Make it last: one instance, one link, one record."""
        self.refresh()
        self.processes.dismiss()
        self.systemd.stop(*self._strays(), timeout=self._patience())
        obsolete = [path for path in self._obsolete() if path.parent == _UNITS]
        self.systemd.stop(*(path.name.replace("@.", "@*.") for path in obsolete))
        wanted = self._links()
        stale = [link for link in self._existing_links() if link not in wanted]
        for path in [*stale, *obsolete]:
            path.unlink(missing_ok=True)
        if stale or obsolete:
            sync_folder(_UNITS)
        if obsolete:
            self.systemd.reload()  # it takes a large part of a second; a link to start at boot is read at boot
        if self.record["live"] != self.release:
            self._hold()
            record.note(self.record, self.release, "live", self.reason, self._version())
            self.record["reversing"] = self.reversing
            self._write_record()
        self._prune()
        if self.router in self.units and not self.systemd.start(self.router):
            state = self.systemd.show(self.router).get(self.router, {})
            raise Failed(f"{self.origin}.public.listen: {self.router} does not start. It says:\n"
                         f"{self.systemd.journal(state.get('InvocationID', ''), self.router)}")

    def _write_record(self) -> None:
        record.write(self.record_path, self.record)

    def _hold(self) -> None:
        """Note what the inventory wants and somebody does not: what is left by hand, until it is gone back to."""
        held = self.record["held"]
        if not self.by_hand_choice or held and held["release"] == self.release:
            self.record["held"] = None
        elif not held and self.live:
            root = self.wanted["root"]
            record.hold(self.record, {"release": self.live, **release_facts(root, self.live)},
                        release_facts(root, self.release), self.who)

    def _version(self) -> str:
        return str(release_facts(self.wanted["root"], self.release).get("source") or "")

    def _prune(self) -> None:
        parent = CONFIG / self.name
        folders = [path.name for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
        for release in record.superfluous(folders, self.record, self.release, self.keep):
            shutil.rmtree(parent / release, ignore_errors=True)


def held_text(found: Mapping[str, Any], origin: str) -> str:
    """Say of an app's record what is held back, since when, and what to do."""
    held = found["held"]
    return (f"{origin}: {held['version'] or held['release']} is held back since {held['at']}, when {held['by']} went "
            f"to release {found['live']}. Write in the inventory what should run, or run "
            f"`deploy.yml -e app={found['app']}`.")


def release_facts(root: str | Path, release: str) -> dict[str, Any]:
    """Return the content of a release's ``release.json``; of a service that was written by hand there is none."""
    try:
        found = json.loads(Path(root, "releases", release, "release.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _children(pid: str) -> set[str]:
    return set((read(Path(f"/proc/{pid}/task/{pid}/children")) or "").split())


def _service_line(text: str, instance: str) -> str:
    return "\n".join(f"Service={instance}" if line.startswith("Service=") else line for line in text.split("\n"))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_ctime
    except OSError:
        return 0


def read(path: Path) -> str | None:
    """Return the text of a file, or None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def apply(records: list[Mapping[str, Any]], environments: Mapping[str, Mapping[str, str]], *, keep: int = 5,
          check_mode: bool = False, run: Mapping[str, Any] | None = None, locks: Collection[str] = (),
          log_days: int | None = None, systemd: Systemd | None = None) -> list[Result]:
    """Bring all services to their releases. All that change are proven first, then they are switched one by one.

    ``run`` and ``locks`` say for whom and of which apps the deploy lock is taken, and given back. Raises
    deploy_lock.Busy.
    """
    systemd, run = systemd or Systemd(), run or {}
    # Before waiting for another run on this host: of one app there is to be one run at a time.
    said = [] if check_mode else deploy_lock.acquire_all(filter(_is_to_switch, records), locks, run)
    try:
        with contextlib.nullcontext() if check_mode else alone():
            if not check_mode:  # the other run may have changed what is live
                said += deploy_lock.acquire_all(filter(_is_to_switch, records), locks, run)
            services = [Service(wanted, environments.get(wanted["name"], {}), systemd, keep) for wanted in records]
            if services and log_days:
                services[0].result.changes += processes.keep_logs(log_days, systemd, check_mode)
            state = systemd.show("webstack-*", "webstack_*") if services else {}
            changed = [service for service in services if not service.is_held() and service.observe(state)]
            if check_mode:
                for service in changed:
                    if not service.release_is_there():
                        service.result.not_checked.append(
                            f"{service.wanted['directory']} is not there yet: the app cannot be tried")
                return [service.result for service in services]
            for service in services:
                service.who = str(run.get("who") or "")
                service.let_go()
            if changed:
                _change(changed, systemd)
                changed[0].result.changes += said
    finally:
        deploy_lock.release_all([] if check_mode else [item for item in records if item["name"] in locks], run)
    # Alone or not: what the next run does need not wait for a worker's last task.
    processes.wait([service.processes for service in services], systemd)
    return [service.result for service in services]


def _is_to_switch(wanted: Mapping[str, Any]) -> bool:
    found = record.read(Path(wanted["root"], "record.json"), wanted["name"])
    return found["live"] != wanted["release"] and (
        bool(wanted.get("asked")) or not record.is_held(found, wanted["release"]))


def alone() -> contextlib.AbstractContextManager[None]:
    """Let one run at a time change the services of this host; one whose controller is gone comes to its end."""
    return lock(_LOCK, 300, Failed("another run has been changing the services of this host for 5 minutes. Run this "
                                   "again when it is done."))


def _change(changed: list[Service], systemd: Systemd) -> None:
    new = [service for service in changed if service.live != service.release]
    for service in changed:
        service.clear_trial()
    proven = []
    try:
        for service in new:
            with _failures(service):
                service.stage()
                proven.append(service)
        systemd.reload()
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(_prove, proven))
    finally:
        for service in new:
            service.clear_trial()
    bad = [service for service in new if service.result.failed]
    if bad:
        systemd.reload()  # else the switch does
        for service in bad:
            service.give_up(service.result.failed)
        for service in new:
            if service not in bad:
                service.take_back()
                service.result.changes.clear()
                service.result.not_checked.append("is good, and was not switched to: another one failed")
    for service in changed:
        if service in new and bad:
            continue
        with _failures(service):
            if service in new:
                service.switch()
            else:
                service.mend()
        if service.result.failed:
            if service in new:
                service.give_up(service.result.failed)
            for other in changed[changed.index(service) + 1:]:
                if other in new:
                    other.take_back()
            return


def _prove(service: Service) -> None:
    with _failures(service):
        service.prove()


@contextlib.contextmanager
def _failures(service: Service) -> Iterator[None]:
    try:
        yield
    except Failed as error:
        service.result.failed = str(error)
    except OSError as error:
        service.result.failed = f"{service.origin}: {error.strerror}: {error.filename}"
