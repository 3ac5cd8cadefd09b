# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route to a built Vue site: files, and one page for every path that the site's own router knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Context, Kind, missing

_OPTIONS = {
    "vue": {"type": "str", "required": True, "description": "Name of an item of vue_sites."},
}


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    record = context.vue(route["vue"])
    if record is None:
        missing(context, route["origin"], "vue", "vue_sites", route["vue"])
        return None
    if route["match"] != "prefix" or not route["path"].endswith("/"):
        context.error(f"{route['origin']}.path", "a Vue site has all paths below a folder: write a prefix that ends "
                                                 f"with a slash, such as {route['path'].rstrip('/') + '/'!r}.")
        return None
    return {"vue": route["vue"], "root": record["root"]}


# `current` is a link that a release swaps, so nothing here may be cached by nginx (no open_file_cache). The assets of
# the last releases lie side by side: a page that was loaded before a release still finds its own.
_TEMPLATE = """\
    location {{ location }} {
        #@needs folder {{ route.root }}/current/
        alias {{ quote(route.root ~ "/current/") }};
        try_files $uri {{ quote(route.path ~ "index.html") }};
        gzip_static on;
        #@module:http_brotli_static brotli_static on;
{{ headers({"X-Content-Type-Options": "nosniff"}, cache="no-cache") }}
        location ~ {{ hidden }} {
            return 404;
        }
{{ directives }}
    }

    location ^~ {{ quote(route.path ~ "assets/") }} {
        alias {{ quote(route.root ~ "/assets/") }};
        gzip_static on;
        #@module:http_brotli_static brotli_static on;
{{ headers({"X-Content-Type-Options": "nosniff"}, cache="public, max-age=31536000, immutable") }}
        location ~ {{ hidden }} {
            return 404;
        }
{{ directives }}
    }

    location = {{ quote(route.path ~ "settings.json") }} {
        alias {{ quote(route.root ~ "/current/settings.json") }};
{{ headers({"X-Content-Type-Options": "nosniff"}, cache="no-store") }}
{{ directives }}
    }
"""

KIND = Kind(name="vue", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE)
