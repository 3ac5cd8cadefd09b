# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route to an app: a service behind a socket, asked by HTTP or by the uwsgi protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Context, Kind, missing

_OPTIONS = {
    "app": {
        "type": "str", "required": True,
        "description": "Name of an app (flask_apps, django_apps) or of a service (gunicorn_services, uwsgi_services).",
    },
    "timeout": {
        "type": "int",
        "description": "Seconds that the app may be silent before the client gets a 504. The app's own timeout, and 5 "
                       "seconds more, where nothing is said.",
    },
    "buffering": {
        "type": "bool", "default": True,
        "description": "Whether answers are taken from the app at once and kept for slow clients. Turn it off for "
                       "streams, such as server-sent events.",
    },
}

# An app that gives up by itself answers with an error of its own; the window waits a little longer than that.
_GRACE = 5


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    record = context.app(route["app"])
    if record is None:
        missing(context, route["origin"], "app", "flask_apps, django_apps, gunicorn_services or uwsgi_services",
                route["app"])
        return None
    timeout = route["timeout"]
    if timeout is None:
        timeout = int((record.get("settings") or {}).get("timeout") or 30) + _GRACE
    if not 1 <= timeout <= 86400:
        context.error(f"{route['origin']}.timeout", f"is {timeout}; write seconds, from 1 to 86400.")
        return None
    return {"app": route["app"], "protocol": record["protocol"], "servers": list(record["servers"]),
            "timeout": timeout, "buffering": route["buffering"]}


_TEMPLATE = """\
    location {{ location }} {
{% if route.protocol == "uwsgi" %}
{{ own("uwsgi_param") }}
        uwsgi_pass {{ upstream }};
        uwsgi_read_timeout {{ route.timeout }}s;
        uwsgi_send_timeout {{ route.timeout }}s;
{% if not route.buffering %}
        uwsgi_buffering off;
{% endif %}
{% else %}
{{ own("proxy_set_header") }}
        proxy_pass http://{{ upstream }};
        proxy_read_timeout {{ route.timeout }}s;
        proxy_send_timeout {{ route.timeout }}s;
{% if not route.buffering %}
        proxy_buffering off;
{% endif %}
{% endif %}
{{ headers() }}
{{ directives }}
    }
"""

KIND = Kind(name="app", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE)
