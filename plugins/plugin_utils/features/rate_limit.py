# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often clients may ask (ngx_http_limit_req_module)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from . import Context, Feature, Piece, Use, _zones

_RATE = re.compile(r"([1-9]\d{0,5})/([sm])")


def _limit(item: dict[str, Any], where: str, context: Context) -> dict[str, Any] | None:
    common, rate = _zones.resolve(item, where, context), _RATE.fullmatch(item["rate"])
    if not rate:
        context.error(f"{where}.rate", f"is {item['rate']!r}; write requests by second or minute, such as 10/s or "
                                       "30/m.")
        return None
    burst = int(rate[1]) if item["burst"] is None else item["burst"]
    if not 0 <= burst <= 1_000_000:
        context.error(f"{where}.burst", f"is {burst}; write a number of requests from 0 to 1000000.")
        return None
    if item["delay"] is not None and not 0 <= item["delay"] < max(burst, 1):
        context.error(f"{where}.delay", f"is {item['delay']}; write how many requests of the burst ({burst}) are "
                                        "served at once, which is fewer than all. Leave it out and none waits.")
        return None
    seconds = 1 if rate[2] == "s" else 60
    return common and {**common, "rate": f"{rate[1]}r/{rate[2]}", "burst": burst, "delay": item["delay"],
                       "retry": math.ceil(seconds / int(rate[1]))}


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None or values in ([], {}):
        return None  # in a route: no limit, whatever the site says
    found = [_limit(item, where, context) for where, item in _zones.listed("rate_limit", values, origin, context)]
    limits = [limit for limit in found if limit]
    if not limits or len(limits) < len(found):
        return None
    counted = [(limit["key"], limit["rate"]) for limit in limits]
    if len(set(counted)) < len(counted):
        context.error(origin, "has two limits with the same `key` and `rate`. Write each once.")
        return None
    common = _zones.same(limits, origin, context)
    return common and {"limits": limits, **common}


def _zone(use: Use, limit: dict[str, Any]) -> str:
    return _zones.zone(use, limit, "rate", limit["rate"])


def _http(uses: Sequence[Use]) -> list[str]:
    zones, waits = {}, set()
    for use in uses:
        waits.add(_wait(use))
        for limit in use.record["limits"]:
            name = _zone(use, limit)
            zones[name] = (f"limit_req_zone {_zones.counted(use, limit)} zone={name}:{limit['size']} "
                           f"rate={limit['rate']};")
    lines = [zones[name] for name in sorted(zones)]
    for seconds in sorted(waits):
        # Of nginx's own refusals alone: an app that answers 429 has reasons of its own.
        lines += [f"map $limit_req_status $webstack_retry_{seconds} {{", '    default "";', f"    REJECTED {seconds};",
                  "}"]
    return lines


def _wait(use: Use) -> int:
    # After so many seconds the slowest limit has room for one request more.
    return max(limit["retry"] for limit in use.record["limits"])


def _location(use: Use) -> Piece:
    lines = []
    for limit in use.record["limits"]:
        burst = f" burst={limit['burst']}" if limit["burst"] else ""
        delay = " nodelay" if limit["delay"] is None else f" delay={limit['delay']}" if limit["delay"] else ""
        lines.append(f"limit_req zone={_zone(use, limit)}{burst}{delay};")
    lines.append(f"limit_req_status {use.record['status']};")
    if use.record["dry_run"]:
        lines.append("limit_req_dry_run on;")
    return Piece(lines, {"Retry-After": f"$webstack_retry_{_wait(use)}"})


FEATURE = Feature("rate_limit", _resolve, files_too=False, http=_http, location=_location, early=_zones.early)
