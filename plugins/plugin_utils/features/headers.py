# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of every answer, whatever its status: those that keep pages safe, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .. import upstreams
from . import EVERY, Context, Feature, Piece, Use, hide

#: Right for any app, and no stricter than that: what the app says itself under these names wins.
DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "SAMEORIGIN",
}

_NAME = re.compile(r"[A-Za-z0-9-]+")
#: Of these there may be several, and the app's own stay beside.
_BESIDE = {"link", "set-cookie", "vary"}
_NOT_HERE = {
    **dict.fromkeys(("connection", "content-encoding", "content-length", "date", "keep-alive", "location", "server",
                     "trailer", "transfer-encoding", "upgrade"), "is written by nginx and the app: leave it out."),
    "content-type": "would come twice: leave it out, or write `content_type` in a route that answers.",
    "content-security-policy": "has a key of its own: write `csp`.",
    "content-security-policy-report-only": "has a key of its own: write `csp_report_only`.",
}


def literal(text: str) -> str:
    """Return a text in which $ means nothing to nginx."""
    return text.replace("$", "${webstack_dollar}")


def wrong_value(text: str) -> str:
    """Say what is wrong with the value of a header, or nothing."""
    if not text.strip():
        return "is empty: write a value, or the name in `hide`."
    if re.search(r"[^\x20-\x7e]", text):
        return "has characters that do not belong in a header: write one line of ASCII."
    if len(literal(text)) > 4000:
        return f"is {len(text)} characters long, more than nginx reads: shorten it."
    return ""


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None:
        return {"defaults": True, "add": {}, "hide": []}
    add, names = {}, set()
    for name, value in values["add"].items():
        where = f"{origin}.add.{name}"
        if isinstance(value, (dict, list)) or value is None:
            context.error(where, "must be one text.")
            continue
        value = str(value).lower() if isinstance(value, bool) else str(value)
        message = _wrong_name(str(name)) or wrong_value(value)
        if message:
            context.error(where, message)
        elif name.lower() in names:
            context.error(where, "is there twice, in other capitals. Write it once.")
        names.add(str(name).lower())
        add[str(name)] = value
    for index, name in enumerate(values["hide"]):
        if not _NAME.fullmatch(name):
            context.error(f"{origin}.hide[{index}]", f"is {name!r}; write the name of a header, such as X-Powered-By.")
        elif name.lower() in names:
            context.error(f"{origin}.hide[{index}]", "is in `add` too, which takes the place of the app's own. Write "
                                                     "it once.")
    if not values["defaults"] and not add and not values["hide"]:
        return None
    return {"defaults": values["defaults"], "add": add, "hide": values["hide"]}


def _wrong_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        return "is no name of a header: write letters, digits and dashes."
    if name.lower().startswith("access-control-"):
        return "belongs to a policy: write `cors`."
    return _NOT_HERE.get(name.lower(), "")


def _defaults(use: Use) -> dict[str, str]:
    """Return the default headers that nothing of the user's takes the place of."""
    record = use.record
    if not record["defaults"]:
        return {}
    gone = {name.lower() for name in (*record["add"], *record["hide"])}
    policy = (use.route or use.site)["features"].get("csp", {}).get("policy", "")
    if re.search(r"(^|;)\s*frame-ancestors\s", policy):
        gone.add("x-frame-options")  # the same said better, and the two must not disagree
    return {name: value for name, value in DEFAULTS.items() if name.lower() not in gone}


def _variable(name: str) -> str:
    return f"webstack_{name.lower().replace('-', '_')}"


def _http(_uses: Sequence[Use]) -> list[str]:
    lines = []
    for name, value in DEFAULTS.items():
        lines += [f"map $sent_http_{name.lower().replace('-', '_')} ${_variable(name)} {{", '    default "";',
                  f'    "" "{value}";', "}"]
    return lines


def _server(use: Use) -> Piece:
    return Piece(headers={**_defaults(use), **{name: literal(value) for name, value in use.record["add"].items()}})


def _location(use: Use) -> Piece:
    if not use.route or use.route["kind"] not in upstreams.KINDS:
        return _server(use)
    hidden = [*use.record["hide"], *(name for name in use.record["add"] if name.lower() not in _BESIDE)]
    values = {name: f"${_variable(name)}" for name in _defaults(use)}
    return Piece(hide(use, hidden), {**values, **{name: literal(value) for name, value in use.record["add"].items()}})


FEATURE = Feature("headers", _resolve, kinds=EVERY, http=_http,
                  server=_server, location=_location)
