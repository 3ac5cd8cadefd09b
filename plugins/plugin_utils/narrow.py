# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Narrow a plan to the one app that a deploy names, and to the version that it names."""

from __future__ import annotations

from typing import Any

from .schema import InventoryError, Problems, suggest

#: the lists of a host's entry in the plan
_LISTS = ("apps", "services", "vue", "static")


def narrow(plan: dict[str, Any], name: str, version: str = "") -> None:
    """Leave nothing on any host but the app, service or Vue site ``name``; "" leaves the plan as it is.

    What is named is `asked` for: "name", or "version" where the version is not the inventory's. All else is
    `left_out`: its source is not resolved. Raises InventoryError.
    """
    problems = Problems()
    if version and not name:
        problems.add("version", "is of one app. Name it too: `-e app=NAME`.")
    parts = [plan["apps"], plan["vue"], plan["services"]]
    known = list(dict.fromkeys(key for part in parts for key in part))
    if name and name not in known:
        problems.add("app", f"{name!r} is no app, service or Vue site of the inventory. It has "
                            f"{', '.join(known) or 'none'}.{suggest(name, known)}")
    if problems:
        raise InventoryError(problems)
    if not name:
        return
    for part in parts:
        for key, record in part.items():
            record["asked" if key == name else "left_out"] = ("version" if version else "name") if key == name else True
    if version:
        _at(plan, name, version, problems)
    if problems:
        raise InventoryError(problems)
    for host in plan["hosts"].values():
        for key in _LISTS:
            host[key] = [item for item in host[key] if item == name]


def _at(plan: dict[str, Any], name: str, version: str, problems: Problems) -> None:
    if version.startswith("-"):
        problems.add("version", f"is {version!r}, and must not start with a dash.")
        return
    records = [part[name] for part in (plan["apps"], plan["vue"]) if name in part]
    able = [record for record in records if record["source"].get("kind") in ("git", "package")]
    for record in able:
        source = record["source"]
        if source["kind"] == "git":
            record["source"] = {**source, "version": version}
        else:
            record["source"] = {**source, "package": f"{source['package'].partition('==')[0].strip()}=={version}"}
    if not able:
        origin = records[0]["origin"] if records else plan["services"][name]["origin"]
        problems.add("version", f"{origin} has no source with versions (git, or a package). Change what is there, and "
                                "run without `-e version`.")
