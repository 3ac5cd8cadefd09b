# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route to an app: a service behind a socket, asked by HTTP or by the uwsgi protocol."""

from __future__ import annotations

import re
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
    "mount": {
        "type": "bool", "default": False,
        "description": "Whether the app lives below O(path) and need not know it: it sees the rest of the path, and "
                       "makes its own links with C(SCRIPT_NAME). For WSGI apps.",
    },
}

# An app that gives up by itself answers with an error of its own; the window waits a little longer than that.
_GRACE = 5

# Workers of Gunicorn that take SCRIPT_NAME from the edge, as WSGI has it.
_WSGI = ("sync", "gthread", "gevent", "eventlet")


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
    wrong = _mount_fault(route, record) if route["mount"] else ""
    if wrong:
        context.error(f"{route['origin']}.mount", wrong)
        return None
    servers = list(record["servers"])
    return {"app": route["app"], "protocol": record["protocol"], "servers": servers,
            "hosts": list(record.get("server_hosts", servers)), "drained": list(record.get("drained", ())),
            "timeout": timeout, "buffering": route["buffering"],
            "mount": route["path"].rstrip("/") if route["mount"] else ""}


def _mount_fault(route: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if route["match"] != "prefix" or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/", route["path"]):
        return ("needs a folder of its own for the app: write a `path` such as /shop/, of letters, digits, dashes and "
                "dots, and leave `match` out.")
    worker = (record.get("settings") or {}).get("worker_class", "sync")
    if record["protocol"] == "http" and worker not in _WSGI:
        return f"is for WSGI apps, and this one has workers of the class {worker}. Tell the app its path by itself."
    if record.get("server") == "development":
        return "is not known to development servers: write another `server` for the app, or a host name of its own."
    return ""


# By HTTP the path is sent whole, as Gunicorn wants it, but as nginx has understood it: what a client wrote may begin
# otherwise. By the uwsgi protocol PATH_INFO is the rest. Last, for after a `break` nginx looks at no `if` any more.
_TEMPLATE = """\
    location {{ location }} {
        if ($webstack_dots) {
            return 400;
        }
{% set mount = route.get("mount") if route.get("mount") and route.path.startswith(route.mount ~ "/") else "" %}
{% if route.protocol == "uwsgi" %}
{{ own("uwsgi_param") }}
{% if mount %}
        uwsgi_param SCRIPT_NAME {{ quote(mount) }};
{% endif %}
        uwsgi_pass {{ upstream }};
        uwsgi_read_timeout {{ route.timeout }}s;
        uwsgi_send_timeout {{ route.timeout }}s;
{% if not route.buffering %}
        uwsgi_buffering off;
{% endif %}
{% else %}
{{ own("proxy_set_header") }}
{% if mount %}
        proxy_set_header SCRIPT_NAME {{ quote(mount) }};
{% endif %}
        proxy_pass http://{{ upstream }};
        proxy_read_timeout {{ route.timeout }}s;
        proxy_send_timeout {{ route.timeout }}s;
{% if not route.buffering %}
        proxy_buffering off;
{% endif %}
{% endif %}
{{ headers() }}
{{ directives }}
{% if mount and route.protocol == "uwsgi" %}
        rewrite "(?s)^{{ mount.replace(".", "[.]") }}(/.*)$" $1 break;
{% elif mount %}
        rewrite "(?s)^({{ mount.replace(".", "[.]") }}/.*)$" $1 break;
{% endif %}
    }
"""

KIND = Kind(name="app", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE)
