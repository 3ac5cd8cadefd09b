# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass, by address (ngx_http_access_module)."""

from __future__ import annotations

import ipaddress
from typing import Any

from . import EVERY, Context, Feature, Piece, Use


def network(text: str) -> str | None:
    """Return an address or a network as nginx writes it, or None."""
    if text == "unix:":
        return text
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        return None


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    record: dict[str, Any] = {}
    for key in ("deny", "allow"):
        record[key] = []
        for index, text in enumerate(values[key]):
            found = network(text)
            if found is None:
                context.error(f"{origin}.{key}[{index}]", f"is {text!r}; write an address or a network, such as "
                                                          "'192.0.2.7', '192.0.2.0/24' or '2001:db8::/32'.")
            else:
                record[key].append(found)
    if not record["allow"] and not record["deny"]:
        return None  # in a route: everybody, whatever the site says
    return record


def _location(use: Use) -> Piece:
    deny, allow = use.record["deny"], use.record["allow"]
    # The first that fits holds: exceptions first, and where some are named all others stay outside.
    lines = [f"deny {one};" for one in deny] + [f"allow {one};" for one in allow] + (["deny all;"] if allow else [])
    return Piece(lines)


FEATURE = Feature("access", _resolve, kinds=EVERY, gate=True, after_return=True, location=_location)
