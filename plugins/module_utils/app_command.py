# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one command as a live app runs: its release, user, environment and sandbox, in a unit cut from the app's own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import env_file, processes, record, service
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

#: how much of the output is shown, from its end
MOST = 1 << 20

_RUNTIME = Path("/run/systemd/system")
_FOLDERS = Path("/run/webstack_run")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "%": "%%", "$": "$$"}


class CannotRun(Exception):
    """The command cannot be run; the text says why."""


def exec_line(argv: list[str]) -> str:
    """Return the words as a unit has them: each reaches the program as it is."""
    return "ExecStart=" + " ".join('"' + "".join(_ESCAPES.get(char, char) for char in word) + '"' for word in argv)


def unit_text(text: str, name: str, folder: Path, argv: list[str], timeout: int) -> str:
    """Return the app's unit ``text`` for one run of ``argv``, whose output goes to ``folder``."""
    lines = []
    for line in service.trial_unit(text, name, "run", folder, ["command"], timeout).splitlines():
        lines.append(exec_line(argv) if line.startswith("ExecStart=") else line)
        if line.startswith("EnvironmentFile="):
            lines.append(f"EnvironmentFile={folder}/env")
    return "\n".join(lines) + "\n"


def live_service(root: Path, app: str) -> dict[str, Any]:
    """Return the service record of the app's live release on this host."""
    live = record.read(root / "apps" / app / "record.json", app)["live"]
    if not live:
        raise CannotRun(f"app: {app!r} has no live release on this host. Deploy it first.")
    path = service.CONFIG / app / live / service.SERVICE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CannotRun(f"app: {path} is missing. Run site.yml, which writes it again.") from None


def run(root: Path, app: str, command: str, env: Mapping[str, str], timeout: int,
        systemd: service.Systemd | None = None) -> tuple[int, str]:
    """Run ``command`` and return (exit code, output). Raises CannotRun."""
    systemd = systemd or service.Systemd()
    wanted = live_service(root, app)
    try:
        argv = processes.argv(command, wanted["bin"], wanted["directory"], wanted.get("manage") or "")
    except ValueError as error:
        raise CannotRun(f"command: {error}") from None
    try:
        extra = env_file.format_env_file(dict(env))
    except ValueError as error:
        raise CannotRun(f"env: {error}") from None
    missing = processes.missing_program(command, wanted["bin"], wanted["directory"], wanted.get("manage") or "")
    if missing:
        raise CannotRun(f"command: there is no program {missing!r}, neither in the environment of {app} nor on this "
                        "host.")
    _clear(app, systemd)
    folder = _FOLDERS / f"{app}-{os.getpid()}"
    template = f"webstack_run-{app}.{os.getpid()}@.service"
    unit = template.replace("@.", f"@{wanted['release']}.")
    try:
        folder.mkdir(mode=0o700, parents=True)
        write_file(folder / "env", extra, 0o600)
        text = wanted["units"][f"webstack-{app}@.service"]
        write_file(_RUNTIME / template, unit_text(text, app, folder, argv, timeout), 0o644)
        systemd.reload()
        good = systemd.run("start", unit, timeout=timeout + 60).returncode == 0
        state = systemd.show(unit).get(unit, {})
        output = _tail(folder / "run.log")
        if state.get("Result") == "timeout":
            return 124, f"{output}\nThe command took longer than {timeout} s, and was ended."
        return (0 if good else int(state.get("ExecMainStatus") or 0) or 1), output
    finally:
        systemd.stop(unit)
        (_RUNTIME / template).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        systemd.reload()


def _clear(app: str, systemd: service.Systemd) -> None:
    """Remove what runs that were cut off have left; a command that still runs comes to its end."""
    for path in _RUNTIME.glob(f"webstack_run-{app}.*@.service"):
        pid = path.name.rpartition(".")[0].partition("@")[0].rpartition(".")[2]
        running = [unit for unit, state in systemd.show(path.name.replace("@.", "@*.")).items()
                   if state.get("ActiveState") not in ("inactive", "failed", None)]
        if not running and not os.path.exists(f"/proc/{pid}"):
            path.unlink(missing_ok=True)
            shutil.rmtree(_FOLDERS / f"{app}-{pid}", ignore_errors=True)


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - MOST))
        return stream.read().decode(errors="replace")
    return ""
