# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy of an app at a time, over all its hosts: ``lock.json`` in the app's folder on the first of them.

The lock belongs to a run, that is to a process of the controller. It is taken by the first step that changes something
and given back by the last one, or by the one that fails. A run that died has left it: its controller sees that the
process is gone; anybody else takes it over after ``STALE`` seconds without a sign of life. A module that works for
longer gives one every minute.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import record
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import lock, write_file

NAME = "lock.json"
#: seconds; longer than any step between two modules, such as a site's build on the controller
STALE = 900
#: seconds between the signs of life of a module at work
BEAT = 60
#: what tells one run from another
_RUN = ("controller", "pid", "started")
#: the locks that this process has, and the one thread that keeps them
_kept: dict[Path, Mapping[str, Any]] = {}
_keeper: list[threading.Thread] = []


class Busy(Exception):
    """Another run has the lock; ``owner`` is what it wrote."""

    def __init__(self, name: str, owner: Mapping[str, Any]):
        self.owner = dict(owner)
        super().__init__(
            f"{name}: is being deployed by {owner.get('who') or 'somebody'} since {owner.get('since')} (process "
            f"{owner.get('pid')}, last seen {owner.get('seen')}). Nothing was changed. Wait until that run is done; if "
            "it is dead, run this again with `-e webstack_break_lock=true`.")


def acquire(root: str | Path, name: str, run: Mapping[str, Any]) -> str:
    """Take the lock of the app, or keep it; return what is to be said of one that a dead run had left. Raises Busy."""
    path = Path(root) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        owner = _read(path)
        mine = owner is not None and _same(owner, run)
        said = ""
        if owner and not mine:
            stale = time.time() - float(owner.get("beat") or 0) > STALE
            if not (stale or run.get("break") or any(_same(owner, dead) for dead in run.get("dead") or [])):
                raise Busy(name, owner)
            said = f"{name}: the run of {owner.get('who')} that began {owner.get('since')} did not come to its end."
        _write(path, {"app": name, "who": run.get("who"), **{key: run.get(key) for key in _RUN},
                      "since": owner["since"] if mine else record.now()})
    _kept[path] = run
    if not _keeper:
        _keeper.append(threading.Thread(target=_keep, daemon=True))
        _keeper[0].start()
    return said


def release(root: str | Path, run: Mapping[str, Any]) -> None:
    """Give the lock back where this run has it."""
    path = Path(root) / NAME
    _kept.pop(path, None)
    if not path.exists():
        return
    with _alone(path):
        owner = _read(path)
        if owner and _same(owner, run):
            path.unlink(missing_ok=True)


def acquire_all(records: Iterable[Mapping[str, Any]], names: Iterable[str], run: Mapping[str, Any]) -> list[str]:
    """Take the locks of those ``records`` (with `name` and `root`) that this host decides about; all, or none."""
    taken, said = [], []
    names = set(names) if run else set()
    for item in records:
        if item["name"] not in names:
            continue
        try:
            said.append(acquire(item["root"], item["name"], run))
        except Busy:
            for root in taken:
                release(root, run)
            raise
        taken.append(item["root"])
    return [text for text in said if text]


def release_all(records: Iterable[Mapping[str, Any]], run: Mapping[str, Any]) -> None:
    for item in records if run else []:
        release(item["root"], run)


def _keep() -> None:
    while True:
        time.sleep(BEAT)
        for path in list(_kept):
            with contextlib.suppress(OSError):
                _beat(path)


def _beat(path: Path) -> None:
    with _alone(path):
        owner, run = _read(path), _kept.get(path)
        if owner and run and _same(owner, run):
            _write(path, owner)


def _write(path: Path, owner: Mapping[str, Any]) -> None:
    write_file(path, json.dumps({**owner, "seen": record.now(), "beat": int(time.time())}) + "\n", 0o644)


def _alone(path: Path):
    # The file lock is held for the moment of reading and writing alone.
    return lock(path.with_name(".lock"), 10, TimeoutError(f"{path.with_name('.lock')} is held by another program."))


def _same(owner: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    return all(str(owner.get(key)) == str(run.get(key)) for key in _RUN)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return owner if isinstance(owner, dict) and owner else None
    except (OSError, ValueError):
        return None
