# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route to a server that the collection does not run, asked by HTTP or HTTPS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from . import Context, Kind

#: Debian's bundle of authorities, from the package ca-certificates.
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

_OPTIONS = {
    "proxy": {
        "type": "str", "required": True,
        "description": "URL of the other server, such as C(https://legacy.example.com:8443/base). The path of a "
                       "request is put behind the URL's path as it is; slashes at the end of the URL mean nothing.",
    },
    "strip_path": {
        "type": "bool", "default": False,
        "description": "Whether O(path) is taken off the path of a request first. O(path) is a folder then.",
    },
    "servers": {
        "type": "list", "elements": "str", "default": [],
        "description": "Addresses that are asked instead of the URL's host, such as C(192.0.2.7:8080); the URL says "
                       "the rest. Without any, nginx looks the host up when it starts or reloads.",
    },
    "host_header": {
        "type": "str", "default": "",
        "description": "The C(Host) that the other server hears; C($host) is what the client has asked for. Without "
                       "one it is the URL's host for C(https:) and a name, and else what the client has asked for.",
    },
    "tls": {
        "type": "dict", "apply_defaults": True,
        "description": "How the other server proves who it is, for C(https:).",
        "options": {
            "verify": {"type": "bool", "default": True, "description": "Whether it must prove it at all."},
            "name": {
                "type": "str", "default": "",
                "description": "Host name in its certificate, where that is another one than the URL's host.",
            },
            "ca": {
                "type": "path", "default": _AUTHORITIES,
                "description": "File of the authorities that may have signed it, on the edge host.",
            },
        },
    },
    "timeout": {
        "type": "int", "default": 60,
        "description": "Seconds that the other server may be silent before the client gets a 504.",
    },
    "buffering": {
        "type": "bool", "default": True,
        "description": "Whether answers are taken at once and kept for slow clients. Turn it off for streams.",
    },
}

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_HEADER = re.compile(r"(\$\{?\w+\}?|[\w.:\[\]-])+")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _split(text: str) -> tuple[str, int] | None:
    """Return host and port of `host:port`, the host in brackets where it is an IPv6 address; None for anything else."""
    host, _colon, port = text.rpartition(":")
    if not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535:
        return None
    if host.startswith("[") and host.endswith("]"):
        return (host, int(port)) if ":" in host and _is_address(host) else None
    return (host, int(port)) if _NAME.fullmatch(host) else None


def _url(text: str) -> dict[str, Any] | str:
    """Return scheme, host, port and path of a URL, or what is wrong with it."""
    if re.search(r"[\x00-\x20\x7f\"\\{};$]", text):
        return "has a space, a quote, a dollar sign or the like"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        return f"is no URL ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be a URL with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "has a user in it, which would be readable in the configuration"
    if parts.query or parts.fragment or "?" in text or "#" in text:
        return "has more behind the path"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = port or (443 if parts.scheme == "https" else 80)
    if _split(f"{host}:{port}") is None:
        return "has no host name or address that nginx knows"
    if {".", ".."} & set(parts.path.split("/")) or "//" in parts.path:
        return "has a path with . or .. or an empty part"
    return {"scheme": parts.scheme, "host": host, "port": port, "path": parts.path.rstrip("/")}


def _resolve(route: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    origin, url = route["origin"], _url(route["proxy"])
    if isinstance(url, str):
        context.error(f"{origin}.proxy", f"{url}: write one such as https://legacy.example.com:8443/base.")
        return None
    servers = route["servers"] or [f"{url['host']}:{url['port']}"]
    for index, text in enumerate(servers):
        if _split(text) is None:
            context.error(f"{origin}.servers[{index}]", f"is {text!r}; write an address and a port, such as "
                                                        "'192.0.2.7:8080' or '[2001:db8::7]:8080'.")
            return None
    if len(set(servers)) < len(servers):
        context.error(f"{origin}.servers", "has an address twice: write it once, and a weight in `balance`.")
        return None
    if not _check_path(route, url, context) or not _check_tls(route, url, context):
        return None
    if route["host_header"] and not _HEADER.fullmatch(route["host_header"]):
        context.error(f"{origin}.host_header", f"is {route['host_header']!r}; write a host name, or $host.")
        return None
    if not 1 <= route["timeout"] <= 86400:
        context.error(f"{origin}.timeout", f"is {route['timeout']}; write seconds, from 1 to 86400.")
        return None
    known = url["scheme"] == "https" and not _is_address(url["host"])
    named = url["host"] + ("" if url["port"] == 443 else f":{url['port']}") if known else ""
    tls = {**route["tls"], "name": route["tls"]["name"] or url["host"]} if url["scheme"] == "https" else None
    return {"url": url, "protocol": "http", "servers": list(servers), "hosts": list(servers), "drained": [],
            "host_header": route["host_header"] or named, "tls": tls, "timeout": route["timeout"],
            "buffering": route["buffering"], **_paths(route, url)}


def _check_path(route: Mapping[str, Any], url: Mapping[str, Any], context: Context) -> bool:
    if route["strip_path"] and route["match"] != "prefix":
        context.error(f"{route['origin']}.strip_path", "takes the beginning of a path off: leave `match` out.")
        return False
    if route["match"] == "regex" and url["path"]:
        context.error(f"{route['origin']}.proxy", f"has the path {url['path']!r}, which cannot stand before what a "
                                                  "regular expression matches: leave it out.")
        return False
    return True


def _check_tls(route: Mapping[str, Any], url: Mapping[str, Any], context: Context) -> bool:
    tls, where = route["tls"], f"{route['origin']}.tls"
    if url["scheme"] == "https" and tls["verify"] and not tls["name"] and _is_address(url["host"]):
        context.error(f"{where}.name", f"is missing: nginx looks for a host name in a certificate, and {url['host']} "
                                       "is an address. Write the name that the certificate has.")
        return False
    if tls["name"] and not _NAME.fullmatch(tls["name"]):
        context.error(f"{where}.name", f"is {tls['name']!r}; write a host name.")
        return False
    if not tls["ca"].startswith("/") or re.search(r"[\x00-\x1f\"\\{};$]", tls["ca"]):
        context.error(f"{where}.ca", f"is {tls['ca']!r}; write the absolute path of a file on the edge host.")
        return False
    return True


def _paths(route: Mapping[str, Any], url: Mapping[str, Any]) -> dict[str, str]:
    """Return the path of the location, what stands there instead at the other server, and both as beginnings.

    nginx replaces the location's path by the one in `proxy_pass`: where both end with a slash, or both are whole, no
    part of a name is cut off. Without one in `proxy_pass` the path goes on untouched, byte for byte.
    """
    path = route["path"]
    if route["strip_path"]:
        folder = path.rstrip("/") + "/"
        return {"path": folder, "to": url["path"] + "/", "here": folder, "there": url["path"]}
    to = url["path"] + path if url["path"] else ""
    return {"path": path, "to": to, "here": "/", "there": url["path"]}


# Where the other server sends clients, and for which paths its cookies are, is said in its own terms.
_TEMPLATE = """\
{% set site = "$scheme://$host$webstack_port" ~ route.here %}
{% set port = "(:" ~ route.url.port ~ ")" ~ ("?" if route.url.port in (80, 443) else "") %}
    location {{ location }} {
        if ($webstack_dots) {
            return 400;
        }
{{ own("proxy_set_header", {"Host": route.host_header} if route.host_header else {}) }}
        proxy_pass {{ quote(route.url.scheme ~ "://" ~ upstream ~ route.to) }};
        proxy_read_timeout {{ route.timeout }}s;
        proxy_send_timeout {{ route.timeout }}s;
{% set origin = "~*^https?://" ~ escape(route.url.host) ~ port %}
        proxy_redirect {{ quote(origin ~ escape(route.there) ~ "(?:/(.*))?$") }} {{ quote(site ~ "$2") }};
{% if route.there or route.here != "/" %}
        proxy_redirect {{ quote("$scheme://$host$webstack_port" ~ route.there ~ "/") }} {{ quote(site) }};
        proxy_redirect {{ quote("~^" ~ escape(route.there) ~ "(?:/(?!/)(.*))?$") }} {{ quote(site ~ "$1") }};
        proxy_cookie_path {{ quote("~^" ~ escape(route.there) ~ "(?:/(.*))?$") }} {{ quote(route.here ~ "$1") }};
{% endif %}
        proxy_cookie_domain {{ quote(route.url.host) }} $host;
{% if not route.buffering %}
        proxy_buffering off;
{% endif %}
{% if route.tls %}
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        proxy_ssl_server_name on;
        proxy_ssl_name {{ quote(route.tls.name) }};
{% if route.tls.verify %}
        proxy_ssl_verify on;
        proxy_ssl_verify_depth 4;
        proxy_ssl_trusted_certificate {{ quote(route.tls.ca) }};
{% endif %}
{% endif %}
{{ headers() }}
{{ directives }}
    }
"""

KIND = Kind(name="proxy", options=_OPTIONS, resolve=_resolve, template=_TEMPLATE)
