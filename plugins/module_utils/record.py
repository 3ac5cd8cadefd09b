# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``record.json`` of an app: what is live, what was, what failed and why, what is held back, what is taken back.

A release that somebody has left by hand (a rollback, say) is held: a run that wants it because the inventory does not
know yet leaves the app alone, until the app is deployed by its name or something else is wanted. Migrations that a
rollback takes back are noted with its switch, until all of them are: it may be stopped in between.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

SCHEMA = 1
HISTORY = 50


def now() -> str:
    """Return the time as it is written everywhere: UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(path: Path, name: str) -> dict[str, Any]:
    """Return the record of the app ``name``; a missing or damaged one counts as none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] == SCHEMA and record["app"] == name and isinstance(record["history"], list):
            for key in ("held", "reversing"):
                record.setdefault(key, None)
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"schema": SCHEMA, "app": name, "live": None, "previous": None, "held": None, "reversing": None,
            "history": []}


def write(path: Path, record: Mapping[str, Any]) -> None:
    write_file(path, json.dumps(record, indent=1) + "\n", 0o644)


def note(record: dict[str, Any], release: str, event: str, reason: str = "", version: str = "") -> None:
    """Add an event (``live`` or ``failed``) to the history, and move `live` and `previous` with it."""
    if event == "live" and record["live"] != release:
        record["previous"], record["live"] = record["live"], release
    if len(reason) > 1500:  # what is wrong stands at the beginning, the last thing that was said at the end
        reason = f"{reason[:900]}\n...\n{reason[-600:]}"
    record["history"].append({"release": release, "at": now(), "event": event, "reason": reason, "version": version})
    del record["history"][:-HISTORY]


def superfluous(folders: list[str], record: Mapping[str, Any], current: str, keep: int) -> list[str]:
    """Return the releases whose configuration may go: not the last ``keep`` live ones, the live and previous never.

    A release that was never tried stays: it may have been made ahead of its day.
    """
    kept = {record["live"], record["previous"], current}
    for event in reversed(record["history"]):
        if len(kept - {None}) >= keep:
            break
        if event["event"] == "live":
            kept.add(event["release"])
    tried = {event["release"] for event in record["history"]}
    return sorted(set(folders) & tried - kept)


def hold(record: dict[str, Any], left: Mapping[str, Any], target: Mapping[str, Any], who: str) -> None:
    """Hold back the release ``left`` (the content of its ``release.json``), in favour of ``target``.

    Where their sources differ, the source is held too: a changed setting must not bring it back by the way.
    """
    source = left.get("source_id") or ""
    record["held"] = {"release": left["release"], "version": left.get("source") or "", "at": now(), "by": who,
                      "source_id": source if source != target.get("source_id") else ""}


def is_held(record: Mapping[str, Any], release: str) -> bool:
    """Say whether ``release`` is wanted by nobody but an inventory that does not know yet."""
    return bool(record["held"]) and record["held"]["release"] == release != record["live"]


def held_source(record: Mapping[str, Any], release: str, source_id: str) -> bool:
    """Say whether ``release`` is not the held one, but made of the source that was held back with it."""
    held = record["held"]
    return bool(held and source_id and held["source_id"] == source_id and release not in (held["release"],
                                                                                         record["live"]))
