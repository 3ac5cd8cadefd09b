# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route that nginx answers by itself, with a fixed status and text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import Context, Kind

_OPTIONS = {
    "answer": {
        "type": "int", "required": True,
        "description": "Status of the answer, such as 200, 404 or 410; 444 closes the connection without a word.",
    },
    "body": {"type": "str", "default": "", "description": "Text of the answer, sent as it is."},
    "content_type": {"type": "str", "default": "text/plain", "description": "Its media type."},
}


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    origin, status = route["origin"], route["answer"]
    if status in (301, 302, 303, 307, 308):
        context.error(f"{origin}.answer", f"{status} sends clients elsewhere: write `redirect: URL` and "
                                          f"`code: {status}`.")
        return None
    if not 200 <= status <= 599:
        context.error(f"{origin}.answer", f"is {status}; write a status from 200 to 599.")
        return None
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.-]+)*", route["content_type"]):
        context.error(f"{origin}.content_type", f"is {route['content_type']!r}; write one such as text/plain.")
        return None
    if re.search(r"[\x00-\x08\x0b-\x1f]", route["body"]):
        context.error(f"{origin}.body", "has a control character.")
        return None
    return {"status": status, "body": route["body"], "content_type": route["content_type"]}


_TEMPLATE = """\
    location {{ location }} {
        default_type {{ quote(route.content_type) }};
{{ headers({"X-Content-Type-Options": "nosniff"}) }}
{{ directives }}
{% if route.status == 444 %}
        return 444;
{% else %}
        return {{ route.status }} {{ literal(route.body) }};
{% endif %}
    }
"""

KIND = Kind(name="answer", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE, returns=True)
