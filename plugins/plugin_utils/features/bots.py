# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are not served, by what they call themselves (User-Agent)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use

# Programs that look for holes, by the names they have unless somebody hides them. No search engine is among them.
_SCANNERS = ("acunetix", "arachni", "dirbuster", "feroxbuster", r"fuzz faster u fool", "gobuster", "havij", "jorgee",
             "masscan", "nessus", "netsparker", "nikto", r"nmap scripting engine", "nuclei", "openvas", "sqlmap",
             "w3af", "wfuzz", "whatweb", "wpscan", "zgrab", "zmeu")


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    good = True
    for index, text in enumerate(values["deny"]):
        wrong = _wrong(text)
        if wrong:
            context.error(f"{origin}.deny[{index}]", f"{text!r} {wrong}")
            good = False
    if not values["deny"] and not values["empty"] and not values["default"] or not good:
        return None  # in a route: everybody, whatever the site says
    scanners = [r"\b" + name for name in _SCANNERS] if values["default"] else []
    return {"patterns": [*scanners, *values["deny"]], "empty": values["empty"], "status": values["status"]}


def _wrong(text: str) -> str:
    try:
        # Not nginx's own dialect, but near enough for a missing bracket; nginx has the last word.
        found = re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text))
    except re.error as error:
        return f"is no regular expression: {error}."
    if re.search(r"[\x00-\x1f]", text):
        return "has a control character."
    if found.match(""):
        return "fits every program, the nameless too: write a part of a name, and `empty: true` for no name."
    return ""


def _variable(use: Use) -> str:
    words = json.dumps([use.record["patterns"], use.record["empty"]])
    return "webstack_bot_" + hashlib.sha256(words.encode()).hexdigest()[:12]


def _http(uses: Sequence[Use]) -> list[str]:
    lines = []
    for name, record in {_variable(use): use.record for use in uses}.items():
        lines += [f"map $http_user_agent ${name} {{", "    default 0;", *(['    "" 1;'] if record["empty"] else []),
                  *(f"    {_quote('~*' + pattern)} 1;" for pattern in record["patterns"]), "}"]
    return lines


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _location(use: Use) -> Piece:
    return Piece([f"if (${_variable(use)}) {{", f"    return {use.record['status']};", "}"])


FEATURE = Feature("bots", _resolve, kinds=EVERY, gate=True, http=_http, location=_location)
