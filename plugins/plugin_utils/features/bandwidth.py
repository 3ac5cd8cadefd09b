# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast an answer is sent (`limit_rate` of ngx_http_core_module)."""

from __future__ import annotations

import re
from typing import Any

from . import Context, Feature, Piece, Use

_SIZE = re.compile(r"[1-9]\d{0,8}[km]?")


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values or not values["rate"]:
        return None
    for key in ("rate", "after"):
        if values[key] and not _SIZE.fullmatch(values[key]):
            context.error(f"{origin}.{key}", f"is {values[key]!r}; write bytes, such as 500k or 2m.")
            return None
    return {"rate": values["rate"], "after": values["after"]}


def _location(use: Use) -> Piece:
    after = [f"limit_rate_after {use.record['after']};"] if use.record["after"] else []
    return Piece([f"limit_rate {use.record['rate']};", *after])


FEATURE = Feature("bandwidth", _resolve, location=_location)
