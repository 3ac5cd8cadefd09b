# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route to a folder of files, such as static files or uploads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import Context, Kind

_OPTIONS = {
    "folder": {"type": "path", "required": True, "description": "Absolute path of the folder on the edge host."},
    "uploads": {
        "type": "bool", "default": False,
        "description": "Whether users put files there. They are then never shown as pages of the site: HTML and the "
                       "like is offered for download, and scripts do not run.",
    },
    "cache_control": {
        "type": "str", "default": "",
        "description": "The value of the Cache-Control header, such as C(public, max-age=3600).",
    },
}


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    origin, folder = route["origin"], route["folder"]
    if not folder.startswith("/") or ".." in folder.split("/") or re.search(r"[\x00-\x1f$\"\\{};]", folder):
        context.error(f"{origin}.folder", f"{folder!r} must be an absolute path, without .. and special characters.")
        return None
    if route["match"] != "prefix":
        context.error(f"{origin}.match", "a folder has all paths below a prefix: leave `match` out.")
        return None
    if re.search(r"[\x00-\x1f$]", route["cache_control"]):
        context.error(f"{origin}.cache_control", "must be the plain value of a header, such as 'public, max-age=3600'.")
        return None
    return {"folder": folder, "uploads": route["uploads"], "cache_control": route["cache_control"]}


# Both sides end with a slash: with one of them missing, /static../secret leaves the folder.
_TEMPLATE = """\
{% set path = route.path.rstrip("/") ~ "/" %}
    location {{ quote(path) }} {
        alias {{ quote(route.folder.rstrip("/") ~ "/") }};
{% if route.uploads %}
        disable_symlinks if_not_owner from={{ quote(route.folder.rstrip("/") ~ "/") }};
{{ headers({"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
            "Content-Disposition": "$webstack_disposition"}, cache=route.cache_control) }}
{% else %}
        #@needs folder {{ route.folder }}
        gzip_static on;
        #@module:http_brotli_static brotli_static on;
{{ headers({"X-Content-Type-Options": "nosniff"}, cache=route.cache_control) }}
{% endif %}
        location ~ {{ hidden }} {
            return 404;
        }
{{ directives }}
    }
"""

KIND = Kind(name="folder", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE)
