# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients with a certificate of their own may pass (ngx_http_ssl_module asks for it: `tls.client`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use

# A subject is one text, "CN=alice,O=Example"; what is special in a value is written with a backslash before it. A
# part begins at the start or after a comma without a backslash, so that no value can pass for a part.
_START, _END = r"(?:.*[^\\\\],)?", "(?:,|$)"
_PART = re.compile(r"[A-Za-z][A-Za-z0-9.]*=[^,+\"\\<>;=\x00-\x1f]+")


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    subjects = []
    for index, text in enumerate(values["allow"]):
        parts = [part.strip() for part in text.split(",")]
        if all(_PART.fullmatch(part) for part in parts):
            subjects.append(parts)
        else:
            context.error(f"{origin}.allow[{index}]", f"is {text!r}; write parts of a subject with commas between "
                                                      "them, such as 'CN=alice' or 'O=Example,OU=Operations'.")
    if not values["allow"] and not values["required"]:
        return None  # in a route: everybody, whatever the site says
    return {"subjects": subjects}


def _variable(record: Any) -> str:
    return "webstack_client_" + hashlib.sha256(repr(record["subjects"]).encode()).hexdigest()[:12]


def _pattern(parts: Sequence[str]) -> str:
    wanted = "".join(f"(?={_START}{_escape(part)}{_END})" for part in parts)
    return f'"~^SUCCESS {wanted}" 1;'


def _escape(text: str) -> str:
    # The pattern stands in quotes, where nginx takes a backslash before a quote or another one for its own.
    return re.sub(r"[^\w =:@/-]", lambda match: f"[{match[0]}]" if match[0] != "^" else r"\\^", text)


def _http(uses: Sequence[Use]) -> list[str]:
    lines = []
    for name, record in {_variable(use.record): use.record for use in uses}.items():
        patterns = [_pattern(parts) for parts in record["subjects"]] or ['"~^SUCCESS " 1;']
        lines += ["", 'map "$ssl_client_verify $ssl_client_s_dn" $' + name + " {", '    default "";',
                  *(f"    {line}" for line in patterns), "}"]
    return lines[1:]


def _location(use: Use) -> Piece:
    return Piece([f'if (${_variable(use.record)} = "") {{', "    return 403;", "}"])


def _early(use: Use) -> list[str]:
    # Its map matches by regular expressions, which would take the captures of the location away.
    name = _variable(use.record)
    return [f"set ${name}_early ${name};"]


def _check(use: Use) -> str:
    if (use.site.get("tls") or {}).get("client"):
        return ""
    return "has no effect, since no client of this site is asked for a certificate: write `tls: {client: {ca: ...}}`."


FEATURE = Feature("client_certificate", _resolve, kinds=EVERY, gate=True, http=_http, location=_location, check=_check,
                  early=_early)
