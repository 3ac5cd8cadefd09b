# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site that is closed for a while, by a file on the host: no reload that could fail stands between.

The playbook `maintenance` writes the files; they belong to no generation, so that a deploy does not open the site.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from .. import role_options
from . import CHALLENGES, PAGES, Context, Feature, Piece, Use, _pages
from .access import network

FOLDER = "/etc/nginx/webstack.maintenance"

_PAGE = _pages.plain(503, "We are at work here, and will be back soon.")


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None:
        options = role_options.site_options()["maintenance"]["options"]
        values = {key: option["default"] for key, option in options.items()}
    if not 1 <= values["retry_after"] <= 86400:
        context.error(f"{origin}.retry_after", f"is {values['retry_after']}; write seconds, from 1 to 86400.")
        return None
    allow = []
    for index, text in enumerate(values["allow"]):
        found = network(text)
        if found is None:
            context.error(f"{origin}.allow[{index}]", f"is {text!r}; write an address or a network, such as "
                                                      "'192.0.2.7', '192.0.2.0/24' or '2001:db8::/32'.")
        else:
            allow.append(found)
    return {"page": values["page"], "retry_after": values["retry_after"], "allow": allow}


def _variable(record: Any) -> str:
    return "webstack_staff_" + hashlib.sha256(repr(record["allow"]).encode()).hexdigest()[:12]


def _page(record: Any) -> tuple[str, str]:
    """Return name and text of the page; the name also says what `Retry-After` is."""
    text = record["page"] or _PAGE
    return _pages.name(text, f"maintenance-{record['retry_after']}-"), text


def _http(uses: Sequence[Use]) -> list[str]:
    lines = [
        # Asked again where a site goes on to its page.
        "map $uri $webstack_closable {", "    volatile;", "    default 1;", f'    "~^{PAGES.replace(".", "[.]")}" "";',
        f'    "~^{CHALLENGES.replace(".", "[.]")}" "";', "}",
        "map $uri $webstack_retry_after {", "    volatile;", '    default "";',
    ]
    for name, wait in sorted({(_page(use.record)[0], use.record["retry_after"]) for use in uses}):
        lines.append(f'    "{PAGES}{name}" {wait};')
    lines.append("}")
    for name, record in {_variable(use.record): use.record for use in uses if use.record["allow"]}.items():
        lines += [f"geo ${name} {{", '    default "";', *(f"    {one} 1;" for one in record["allow"]), "}"]
    return lines


def _closing(use: Use) -> list[str]:
    name, record = use.site["name"], use.record
    closed = "$webstack_closed"
    lines = [
        f'set {closed} "";', f"if (-f {FOLDER}/{name}/on) {{", f"    set {closed} $webstack_closable;", "}",
        f'if (-f "{FOLDER}/{name}/allow/$remote_addr") {{', f'    set {closed} "";', "}",
    ]
    if record["allow"]:
        lines += [f"if (${_variable(record)}) {{", f'    set {closed} "";', "}"]
    return [*lines, f"if ({closed}) {{", f"    rewrite ^ {PAGES}maintenance last;", "}"]


def _server(use: Use) -> Piece:
    page = PAGES + _page(use.record)[0]
    lines = [*_closing(use), f"location = {PAGES}maintenance {{", "    internal;",
             f"    error_page 503 {page};", "    return 503;", "}"]
    return Piece(lines, {"Retry-After": "$webstack_retry_after"})


FEATURE = Feature("maintenance", _resolve, routes=False, first=True, http=_http, server=_server,
                  pages=lambda uses: dict(_page(use.record) for use in uses))
