# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether requests are written down: the lines are those of `nginx_log_format` (ngx_http_log_module)."""

from __future__ import annotations

from typing import Any

from . import EVERY, Context, Feature, Piece, Use

#: Where the lines go, with the format that nginx_render writes: Debian's logrotate looks after all of /var/log/nginx.
TARGET = "/var/log/nginx/access.log webstack"


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    return None if values is None else {"on": values}


def _line(use: Use) -> Piece:
    return Piece([f"access_log {TARGET if use.record['on'] else 'off'};"])


def _location(use: Use) -> Piece:
    # A location has what its server has. Said once more it would end an `access_log` of the user's own there.
    same = use.site["features"].get("log", {}).get("on") == use.record["on"]
    return Piece() if same else _line(use)


FEATURE = Feature("log", _resolve, kinds=EVERY, server=_line,
                  location=_location)
