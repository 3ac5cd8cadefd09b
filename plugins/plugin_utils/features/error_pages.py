# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of one's own for answers that nginx gives by itself (error_page of ngx_http_core_module)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use, _pages

_WAIT = "Please try again in a moment."
_TEXTS = {502: _WAIT, 503: _WAIT, 504: _WAIT}


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    pages = {}
    for status, text in values["pages"].items():
        where = f"{origin}.pages.{status}"
        if not re.fullmatch(r"[45]\d\d", str(status)):
            context.error(where, "is no status that can have a page; write one from 400 to 599, such as 404 or 502.")
        elif text is not None and not isinstance(text, str):
            context.error(where, "must be the text of a page; that of a file comes from the lookup `file`.")
        else:
            # In the plan, keys are text.
            pages[str(status)] = text or _pages.plain(int(status), _TEXTS.get(int(status), ""))
    if values["intercept"] and not values["pages"]:
        context.error(f"{origin}.intercept", "has no effect without `pages`: write those that replace the app's own.")
    return {"pages": pages, "intercept": values["intercept"]} if pages else None


def _lines(use: Use) -> list[str]:
    protocol = (use.route or {}).get("protocol")
    directive = {"http": "proxy_intercept_errors", "uwsgi": "uwsgi_intercept_errors"}.get(protocol or "")
    return [f"{directive} on;"] if directive and use.record["intercept"] else []


def _piece(use: Use) -> Piece:
    return Piece(_lines(use), errors={status: _pages.name(text) for status, text in use.record["pages"].items()})


def _files(uses: Sequence[Use]) -> dict[str, str]:
    return {_pages.name(text): text for use in uses for text in use.record["pages"].values()}


FEATURE = Feature("error_pages", _resolve, kinds=EVERY, server=_piece, location=_piece, pages=_files)
