# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked when a route goes to an app or to another server: nginx's upstream blocks.

Routes that ask the same servers in the same way share a block. The record of a route has its ``servers`` (addresses),
the ``hosts`` that they belong to, and which of the addresses are ``drained``; how they are chosen is said by the
feature ``balance``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

#: The kinds of routes that have an upstream.
KINDS = ("app", "proxy")

#: What holds where nobody says anything; as in the role's argument spec.
DEFAULTS: dict[str, Any] = {"method": "round_robin", "key": "", "weights": {}, "backup": [], "max_fails": 3,
                            "fail_timeout": 5, "tries": 2}


def digest(value: Any) -> str:
    """Return a short name for plain data: the same for the same data alone."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def balance_of(route: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the servers of a route are chosen."""
    own = route.get("features", {}).get("balance") or {}
    return {key: own.get(key, value) for key, value in DEFAULTS.items()}


def name(route: Mapping[str, Any]) -> str:
    """Return the name of the upstream block that a route of one of ``KINDS`` asks."""
    balance = {key: value for key, value in balance_of(route).items() if key != "tries"}
    usual = balance == {key: DEFAULTS[key] for key in balance}
    if "app" in route:
        return f"webstack_{route['app']}" + ("" if usual else f"_{digest(balance)}")
    # A TLS session is kept by the upstream block: shared, it would let a route past the proof that it asks for.
    return f"webstack_proxy_{digest([route['servers'], balance, route['url']['scheme'], route['tls']])}"


def cookie(route: Mapping[str, Any]) -> str:
    """Return the name of the cookie that leads a client back to its server; it outlives changes of the servers."""
    what = route["app"].replace("-", "_") if "app" in route else digest(route["url"]["host"])
    return f"lb_{what}"


def blocks(sites: Iterable[Mapping[str, Any]],
           others: Iterable[tuple[Mapping[str, Any], str]] = ()) -> list[dict[str, Any]]:
    """Return all upstream blocks of an edge: name, the lines inside, the addresses, and the user's variable.

    ``others`` are what is asked beside the routes, with the variable that says so.
    """
    routes = [(route, f"{route['origin']}.{route['kind']}") for site in sites for route in site["routes"]
              if route["kind"] in KINDS]
    found: dict[str, dict[str, Any]] = {}
    for route, origin in (*routes, *others):
        drained = set(route.get("drained", ()))
        found.setdefault(name(route), {
            "name": name(route), "origin": origin, "lines": _lines(route),
            "needs": [address for address in route["servers"] if address not in drained]})
    return [found[one] for one in sorted(found)]


def _lines(route: Mapping[str, Any]) -> list[str]:
    balance, servers, drained = balance_of(route), route["servers"], set(route.get("drained", ()))
    alone = len(servers) - len(drained) == 1
    # The last one left is asked whatever happened to it: without this, its failures would shut it out for a while.
    fails = "max_fails=0" if alone else f"max_fails={balance['max_fails']} fail_timeout={balance['fail_timeout']}s"
    lines = []
    for address, host in zip(servers, route.get("hosts") or servers, strict=True):
        weight = balance["weights"].get(host, 1)
        lines.append(" ".join(["server", address, *([f"weight={weight}"] if weight != 1 else []), fails,
                               *(["backup"] if host in balance["backup"] else []),
                               *(["down"] if address in drained else [])]) + ";")
    method = {
        "round_robin": [], "least_conn": ["least_conn;"], "random": ["random two least_conn;"], "ip_hash": ["ip_hash;"],
        "hash": [f'hash "{balance["key"]}" consistent;'], "cookie": [f"hash $webstack_{cookie(route)} consistent;"],
    }[balance["method"]]
    # What the workers know about a server is for all of them; with a single one there is nothing to know.
    zone = [f"zone {name(route)}_{digest([*method, *lines])} 64k;"] if len(servers) > 1 else []
    return [*zone, *(method if len(servers) > 1 else []), *lines]
