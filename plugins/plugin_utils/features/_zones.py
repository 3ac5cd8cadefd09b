# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What limits have in common: what is counted, and the shared zone that it is counted in."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from .. import role_options
from ..schema import Problems, apply, describe
from . import Context, Use

_SIZE = re.compile(r"([1-9]\d{0,5})([km])")
_COUNTS = "write 'address', 'site', 'header:NAME' or 'cookie:NAME'."

#: A client's address is made out before a location is chosen (see ``Feature.early``).
ADDRESS = "$webstack_address"


def listed(name: str, values: Any, origin: str, context: Context) -> list[tuple[str, dict[str, Any]]]:
    """Return (the user's variable, values) of each limit: one dictionary, or a list of them; none after a mistake."""
    problems, options = Problems(), role_options.site_options()[name]["options"]
    if not isinstance(values, (dict, list, tuple)):
        context.error(origin, f"is {describe(values)}, and must be a dictionary or a list of them.")
        return []
    one = isinstance(values, dict)
    found = [(where, apply(item, options, where, problems)) for where, item in (
        (origin if one else f"{origin}[{index}]", item) for index, item in enumerate([values] if one else values))]
    for problem in problems.items:
        context.error(problem.path, problem.message)
    return [] if problems else found


def resolve(item: dict[str, Any], where: str, context: Context) -> dict[str, Any] | None:
    """Return what of a limit every limit has: what it counts, the size of its zone and its status."""
    key, size = _key(item["key"]), item["zone_size"] or ("64k" if item["key"] == "site" else "10m")
    before = key is None
    if key is None:
        context.error(f"{where}.key", f"is {item['key']!r}; {_COUNTS} nginx drops headers with an underscore, and "
                                      "knows cookies of letters, digits and underscores.")
    match = _SIZE.fullmatch(size)
    if not match or int(match[1]) * (1 if match[2] == "k" else 1024) < 64:
        before = True
        context.error(f"{where}.zone_size", f"is {size!r}; write 64k or more, such as 10m.")
    if not 400 <= item["status"] <= 599:
        before = True
        context.error(f"{where}.status", f"is {item['status']}; write a status from 400 to 599.")
    if before:
        return None
    return {"key": key, "size": size, "status": item["status"], "dry_run": item["dry_run"]}


def _key(text: str) -> str | None:
    if text == "site":
        return ""
    if text == "address":
        return ADDRESS
    kind, _colon, name = text.partition(":")
    if kind == "header" and re.fullmatch(r"[A-Za-z0-9-]+", name):
        return f"$http_{name.lower().replace('-', '_')}"
    if kind == "cookie" and re.fullmatch(r"\w+", name, re.ASCII):
        return f"$cookie_{name}"
    return None


def same(limits: list[dict[str, Any]], origin: str, context: Context) -> dict[str, Any] | None:
    """Return the status and the dry run of all limits of a place: nginx has one of each there."""
    for key in ("status", "dry_run"):
        if len({limit[key] for limit in limits}) > 1:
            context.error(origin, f"has limits with different values of `{key}`, and nginx has one for all of a route. "
                                  "Write the same in each.")
            return None
    return {"status": limits[0]["status"], "dry_run": limits[0]["dry_run"]}


def zone(use: Use, limit: dict[str, Any], *more: str) -> str:
    """Return the name of a zone: a digest of all it is made of, for nginx keeps the old one of a name.

    What the site says is counted for the site, and what a route says itself for that route.
    """
    scope = [use.site["name"]]
    for route in use.site["routes"]:
        if use.record["origin"].rpartition(".")[0] == route["origin"]:
            scope += [route["match"], route["path"]]
            break
    text = json.dumps([*scope, limit["key"], limit["size"], *more])
    return f"webstack_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def counted(use: Use, limit: dict[str, Any]) -> str:
    """Return what the zone's directive counts by; requests for which it is empty are not counted."""
    return limit["key"] or f'"{use.site["name"]}"'


def early(use: Use) -> list[str]:
    """Return the lines that make out the client's address, where it is counted."""
    return ["set $webstack_address_early $webstack_address;"] if any(
        limit["key"] == ADDRESS for limit in use.record["limits"]) else []
