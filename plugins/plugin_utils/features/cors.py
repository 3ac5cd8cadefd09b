# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of other origins may read the answers (CORS, as the Fetch standard has it)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use, hide

_LABELS = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>(\*\.)?{_LABELS}|\[[0-9a-f:.]+\])(:(?P<port>\d{{1,5}}))?")
_PORTS = {"http": "80", "https": "443"}
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")

_HEADERS = ("Origin", "Credentials", "Expose-Headers", "Methods", "Headers", "Max-Age")
_ANSWERED = {name: f"Access-Control-{name if name == 'Expose-Headers' else f'Allow-{name}'}" for name in _HEADERS[:5]}
_ANSWERED["Max-Age"] = "Access-Control-Max-Age"


def _origin(text: str) -> tuple[str, str]:
    """Return (the origin as browsers write it, "") or ("", what is wrong with it)."""
    if text == "null":
        return text, ""
    match = _ORIGIN.fullmatch(text.lower())
    if not match or len(text) > 200:
        bare = re.sub(r"^(\w[\w+.-]*://[^/]+)/.*$", r"\1", text.lower())
        return "", (f"is {text!r}; write scheme, host and port alone, such as "
                    f"{bare if bare != text and _ORIGIN.fullmatch(bare) else 'https://www.example.com'!r}, or "
                    "'https://*.example.com' for all sub-domains, or '*'.")
    if match["port"] and match["port"] == _PORTS.get(match["scheme"]):
        return "", f"is {text!r}, and browsers leave this port out: write {text.lower().rpartition(':')[0]!r}."
    return text.lower(), ""


def _tokens(values: Any, key: str, origin: str, context: Context) -> list[str]:
    found = []
    for index, text in enumerate(values[key]):
        where = f"{origin}.{key}[{index}]"
        if text == "*" and values["credentials"]:
            context.error(where, "'*' stands for itself alone where `credentials` are allowed: write the names.")
        elif text == "*" or _TOKEN.fullmatch(text):
            found.append(text.upper() if key == "methods" else text)
        else:
            context.error(where, f"is {text!r}; write a name, such as {'PUT' if key == 'methods' else 'X-Total'!r}.")
    return found


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values or not values["origins"]:
        return None  # in a route: nobody else, whatever the site says
    origins = []
    for index, text in enumerate(values["origins"]):
        if text == "*":
            origins.append(text)
            continue
        written, wrong = _origin(text)
        if wrong:
            context.error(f"{origin}.origins[{index}]", wrong)
        origins.append(written)
    if "*" in origins and values["credentials"]:
        context.error(f"{origin}.credentials", "may not be allowed to every origin ('*'): any page could act as the "
                                               "user. Write the origins.")
    elif "*" in origins and len(origins) > 1:
        context.error(f"{origin}.origins", "has '*' and others, and '*' is all of them. Write it alone, or leave it "
                                           "out.")
    if not 0 <= values["max_age"] <= 86400:
        context.error(f"{origin}.max_age", f"is {values['max_age']}; write seconds from 0 to 86400.")
    lists = {key: _tokens(values, key, origin, context) for key in ("methods", "headers", "expose")}
    return {"origins": sorted(set(origins)), **lists, "credentials": values["credentials"],
            "max_age": values["max_age"]}


def _variable(record: Any) -> str:
    policy = {key: value for key, value in record.items() if key != "origin"}
    return "webstack_cors_" + hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:12]


def _values(record: Any) -> dict[str, tuple[bool, str]]:
    """Return {header: (whether it is of preflights alone, its value)}, without the origin."""
    found = {
        "Credentials": (False, "true" if record["credentials"] else ""),
        "Expose-Headers": (False, ", ".join(record["expose"])),
        "Methods": (True, ", ".join(record["methods"])),
        "Headers": (True, ", ".join(record["headers"])),
        "Max-Age": (True, str(record["max_age"])),
    }
    return {name: (preflight, value) for name, (preflight, value) in found.items() if value}


def _suffix(header: str) -> str:
    return header.lower().replace("-", "_")


def _map(source: str, variable: str, lines: Sequence[str]) -> list[str]:
    return [f"map {source} ${variable} {{", *(f"    {line}" for line in lines), "}"]


def _wild(origin: str) -> str:
    """Return the pattern of all sub-domains of an origin, however deep."""
    scheme, _slashes, host = origin.partition("://*.")
    escaped = re.sub(r"[.+]", lambda match: f"[{match[0]}]", f"{host}")
    return f'"~^{re.sub("[.+]", "[.]", scheme)}://(?:[a-z0-9_-]+[.])+{escaped}$"'


def _http(uses: Sequence[Use]) -> list[str]:
    lines = _map('"$request_method $http_origin $http_access_control_request_method"', "webstack_preflight",
                 ['default "";', '"~^OPTIONS [^ ]+ [^ ]" 1;'])
    for name, record in {_variable(use.record): use.record for use in uses}.items():
        # What is said is what is written here, never what the client wrote, except where a pattern has it.
        allowed = ['default "*";'] if record["origins"] == ["*"] else ['default "";'] + [
            f"{_wild(origin)} $http_origin;" if "://*." in origin else f'"{origin}" "{origin}";'
            for origin in record["origins"]]
        lines += ["", *_map("$http_origin", name, allowed)]
        lines += _map("$webstack_preflight", f"{name}_preflight", ['default "";', f"1 ${name};"])
        for header, (preflight, value) in _values(record).items():
            lines += _map(f"${name}{'_preflight' if preflight else ''}", f"{name}_{_suffix(header)}",
                          [f'default "{value}";', '"" "";'])
    return lines


def _headers(use: Use) -> dict[str, str]:
    name = _variable(use.record)
    return {"Vary": "Origin", _ANSWERED["Origin"]: f"${name}",
            **{_ANSWERED[header]: f"${name}_{_suffix(header)}" for header in _values(use.record)}}


def _location(use: Use) -> Piece:
    # A preflight has no cookies, no password and no certificate: it is answered before anything asks for them.
    preflight = ["if ($webstack_preflight) {", "    return 204;", "}"]
    return Piece([*hide(use, list(_ANSWERED.values())), *preflight], _headers(use))


def _early(use: Use) -> list[str]:
    name = _variable(use.record)
    wild = [f"set ${name}_early ${name};"] if any("://*." in origin for origin in use.record["origins"]) else []
    return ["set $webstack_preflight_early $webstack_preflight;", *wild]


FEATURE = Feature("cors", _resolve, kinds=EVERY, first=True, http=_http,
                  server=lambda use: Piece(headers=_headers(use)), location=_location, early=_early)
