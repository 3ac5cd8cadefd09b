# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the next server of an app is chosen where it has several (ngx_http_upstream_module)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .. import upstreams
from . import Context, Feature, Piece, Use

# nginx has no place for a spare server in these.
_WITHOUT_BACKUP = ("random", "ip_hash", "hash", "cookie")


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    right = [_method(values, origin, context), _numbers(values, origin, context)]
    record = {key: values[key] for key in upstreams.DEFAULTS}
    if not all(right) or record == upstreams.DEFAULTS:
        return None
    return record


def _method(values: Any, origin: str, context: Context) -> bool:
    method, key = values["method"], values["key"]
    if method != "hash" and key:
        context.error(f"{origin}.key", "is for `method: hash` alone: write that, or leave the key out.")
        return False
    if method == "hash" and not re.fullmatch(r"([\w./:-]|\$\{\w+\}|\$\w)+", key):
        context.error(f"{origin}.key", f"is {key!r}; write the variables that decide, such as '$request_uri' or "
                                       "'$remote_addr'.")
        return False
    if method in _WITHOUT_BACKUP and values["backup"]:
        context.error(f"{origin}.backup", f"does not go with `method: {method}`: write `method: round_robin` or "
                                          "`least_conn`, or leave `backup` out.")
        return False
    return True


def _numbers(values: Any, origin: str, context: Context) -> bool:
    wrong = False
    for host, weight in values["weights"].items():
        if isinstance(weight, bool) or not re.fullmatch(r"[1-9]\d{0,3}", str(weight)):
            context.error(f"{origin}.weights.{host}", f"is {weight!r}; write a whole number from 1 to 9999. A host "
                                                      "that should get nothing has `webstack_drained: true`.")
            wrong = True
    values["weights"] = {str(host): int(weight) for host, weight in values["weights"].items()} if not wrong else {}
    for key, least, most in (("max_fails", 0, 1000), ("fail_timeout", 1, 3600), ("tries", 1, 100)):
        if not least <= values[key] <= most:
            context.error(f"{origin}.{key}", f"is {values[key]}; write a number from {least} to {most}.")
            wrong = True
    return not wrong


def _check(use: Use) -> str:
    """Hosts are named for all routes together for which the words hold: what one app lacks another may have."""
    routes = [route for route in use.site["routes"]
              if route.get("features", {}).get("balance", {}).get("origin") == use.record["origin"]]
    if not routes:
        return ""
    hosts = {host for route in routes for host in route["hosts"]}
    for key in ("weights", "backup"):
        for host in use.record[key]:
            if host not in hosts:
                return f"names {host!r} in `{key}`, and the servers asked here are {', '.join(sorted(hosts))}."
    for route in routes:
        if set(route["hosts"]) <= set(use.record["backup"]):
            return "has all servers in `backup`: leave at least one out, to be asked before the others."
    return ""


def _http(uses: Sequence[Use]) -> list[str]:
    lines: list[str] = []
    cookies = sorted({upstreams.cookie(use.route) for use in uses if use.route and use.record["method"] == "cookie"})
    for name in cookies:
        # The first request goes where the cookie will lead: both are made of the same number.
        lines += [
            "", f"map $cookie_{name} $webstack_{name} {{",
            "    default $request_id;", f'    "~^[0-9a-f]{{32}}$" $cookie_{name};', "}",
            f'map "$scheme $cookie_{name}" $webstack_set_{name} {{',
            f'    default "{name}=$request_id; Path=/; HttpOnly; SameSite=Lax";',
            '    "~ [0-9a-f]{32}$" "";',
            f'    "~^https " "{name}=$request_id; Path=/; HttpOnly; Secure; SameSite=Lax";', "}",
        ]
    return lines[1:]


def _location(use: Use) -> Piece:
    route = use.route or {}
    directive = "uwsgi" if route["protocol"] == "uwsgi" else "proxy"
    tries = use.record["tries"]
    lines = [f"{directive}_next_upstream_tries {tries};"] if tries != upstreams.DEFAULTS["tries"] else []
    sticky = use.record["method"] == "cookie" and len(route["servers"]) > 1
    return Piece(lines, {"Set-Cookie": f"$webstack_set_{upstreams.cookie(route)}"} if sticky else {})


FEATURE = Feature("balance", _resolve, kinds=upstreams.KINDS, http=_http, location=_location, check=_check)
