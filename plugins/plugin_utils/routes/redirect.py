# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route that sends clients to another address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import Context, Kind

_OPTIONS = {
    "redirect": {
        "type": "str", "required": True,
        "description": "Where to: a URL, or a path that starts with a slash. nginx's variables are filled in, so that "
                       "C(https://www.example.com$request_uri) keeps the path.",
    },
    "code": {
        "type": "int", "default": 301, "choices": [301, 302, 303, 307, 308],
        "description": "Status of the answer. 307 and 308 keep the method, 301 and 308 are remembered by browsers.",
    },
}

# These are decoded: a %0d%0a in the path becomes a line of its own in the answer's header.
_DECODED = re.compile(r"\$\{?(uri|document_uri|request_filename|document_root|fastcgi_script_name)\b")


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    to = route["redirect"]
    where = f"{route['origin']}.redirect"
    if not re.match(r"(https?://[^/\s]|/(?!/)|\$\w|\$\{\w)", to) or re.search(r"[\x00-\x20\x7f]", to):
        context.error(where, f"{to!r} must be a URL such as https://www.example.com/, or a path that starts with one "
                             "slash, without spaces.")
        return None
    decoded = _DECODED.search(to)
    if decoded:
        context.error(where, f"${decoded[1]} is decoded, and lets clients write headers of the answer: write "
                             "$request_uri instead.")
        return None
    return {"to": to, "code": route["code"]}


# What a regular expression captures is decoded too. The test is in a map, since a regular expression in an `if` would
# throw the captures away.
_TEMPLATE = """\
    location {{ location }} {
{% if route.match == "regex" %}
        if ($webstack_newline) {
            return 400;
        }
{% endif %}
{{ headers() }}
{{ directives }}
        return {{ route.code }} {{ quote(route.to) }};
    }
"""

KIND = Kind(name="redirect", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE, returns=True)
