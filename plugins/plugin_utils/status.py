# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs where, from what the hosts say of themselves (``app_status``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("app", "host", "version", "release", "since", "state", "server", "note")


def collect(states: Mapping[str, Mapping[str, Any]], silent: Sequence[str] = ()) -> dict[str, Any]:
    """Return ``{apps, vue, expiring, silent}``: an entry for each app, site or certificate and host, and hosts."""
    apps = [{"host": host, **app} for host, state in states.items() for app in state["apps"]]
    sites = [{"host": host, **site} for host, state in states.items() for site in state["vue"]]
    return {"apps": sorted(apps, key=lambda item: (item["app"], item["host"])),
            "vue": sorted(sites, key=lambda item: (item["name"], item["host"])), "silent": list(silent),
            "expiring": [{"host": host, "what": text} for host, state in states.items()
                         for text in state.get("expiring", ())]}


def table(answer: Mapping[str, Any]) -> str:
    """Return the lines of the table, for a terminal."""
    live: dict[str, set[str]] = {}
    for app in answer["apps"]:
        live.setdefault(app["app"], set()).add(app["live"])
    rows = [_COLUMNS]
    rows += [(app["app"], app["host"], app["version"] or "-", app["live"] or "-", app["since"] or "-",
              app["state"] or "-", app["server"] or "-", _note(app, live)) for app in answer["apps"]]
    rows += [(site["name"], site["host"], "-", site["live"] or "-", "-", "-", "nginx",
              f"{site['held']} held back" if site["held"] else "") for site in answer["vue"]]
    widths = [max(len(str(row[index])) for row in rows) for index in range(len(_COLUMNS))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in rows]
    lines += [f"{one['host']}: {one['what']}" for one in answer["expiring"]]
    lines += [f"{host}: no answer" for host in answer["silent"]]
    return "\n".join(lines)


def _note(app: Mapping[str, Any], live: Mapping[str, set[str]]) -> str:
    notes = []
    if len(live[app["app"]]) > 1:
        notes.append("differs between hosts")
    if app["held"]:
        notes.append(f"{app['held']['version'] or app['held']['release']} held back by {app['held']['by']}")
    if app["reversing"]:
        notes.append(f"not taken back yet: {', '.join(app['reversing']['gone'])}")
    if app["lock"]:
        notes.append(f"{app['lock']['who']} is deploying since {app['lock']['since']}")
    if app["history"] and app["history"][-1]["event"] == "failed":
        notes.append(f"{app['history'][-1]['release']} failed {app['history'][-1]['at']}")
    return "; ".join(notes)
