# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which methods a request may have; the others get a 405 that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None  # in a route: all methods, whatever the site says
    methods = set(values)
    if "GET" in methods:
        methods.add("HEAD")
    elif "HEAD" in methods:
        context.error(origin, "has HEAD without GET, whose answer it is about: add GET.")
        return None
    return {"methods": sorted(methods)}


def _variable(use: Use) -> str:
    return "webstack_refused_" + hashlib.sha256(" ".join(use.record["methods"]).encode()).hexdigest()[:12]


def _http(uses: Sequence[Use]) -> list[str]:
    lines = ["# Empty where the method may pass, and else what the answer's Allow says."]
    for name, methods in {_variable(use): use.record["methods"] for use in uses}.items():
        lines += [f"map $request_method ${name} {{", f'    default "{", ".join(methods)}";',
                  *(f'    {method} "";' for method in methods), "}"]
    return lines


def _location(use: Use) -> Piece:
    # `limit_except` would answer 403. A header without a value is not sent.
    name = _variable(use)
    return Piece([f"if (${name}) {{", "    return 405;", "}"], headers={"Allow": f"${name}"})


FEATURE = Feature("methods", _resolve, kinds=EVERY, gate=True, http=_http, location=_location)
