# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests a client may have going at the same time (ngx_http_limit_conn_module)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import Context, Feature, Piece, Use, _zones


def _limit(item: dict[str, Any], where: str, context: Context) -> dict[str, Any] | None:
    common = _zones.resolve(item, where, context)
    if not 1 <= item["connections"] <= 65535:
        context.error(f"{where}.connections", f"is {item['connections']}; write a number from 1 to 65535.")
        return None
    return common and {**common, "connections": item["connections"]}


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None or values in ([], {}):
        return None  # in a route: no limit, whatever the site says
    found = [_limit(item, where, context)
             for where, item in _zones.listed("connection_limit", values, origin, context)]
    limits = [limit for limit in found if limit]
    if not limits or len(limits) < len(found):
        return None
    if len({limit["key"] for limit in limits}) < len(limits):
        context.error(origin, "has two limits with the same `key`. Write the lower one alone.")
        return None
    common = _zones.same(limits, origin, context)
    return common and {"limits": limits, **common}


def _zone(use: Use, limit: dict[str, Any]) -> str:
    return _zones.zone(use, limit, "connections")


def _http(uses: Sequence[Use]) -> list[str]:
    zones = {}
    for use in uses:
        for limit in use.record["limits"]:
            name = _zone(use, limit)
            zones[name] = f"limit_conn_zone {_zones.counted(use, limit)} zone={name}:{limit['size']};"
    return [zones[name] for name in sorted(zones)]


def _location(use: Use) -> Piece:
    lines = [f"limit_conn {_zone(use, limit)} {limit['connections']};" for limit in use.record["limits"]]
    lines.append(f"limit_conn_status {use.record['status']};")
    if use.record["dry_run"]:
        lines.append("limit_conn_dry_run on;")
    return Piece(lines)


FEATURE = Feature("connection_limit", _resolve, files_too=False, http=_http, location=_location, early=_zones.early)
