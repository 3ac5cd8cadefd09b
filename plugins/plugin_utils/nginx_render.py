# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render nginx's whole configuration from site records, and find what is wrong with them before any host is touched.

A line `#@CONDITION text` becomes `text` on a host where the condition holds, and stays a comment elsewhere (see
`module_utils/nginx_tree.py`): the controller need not know the nginx of the host, and line numbers never shift.
A line `#@needs folder PATH` and the like says what must be there before a new route goes live.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2

from . import features, routes, site_tls, upstreams
from .features.log import TARGET as LOG_TARGET
from .nginx_syntax import Statement, SyntaxProblem, defined_variables, statements, undefined_variables

__all__ = ["SETTINGS", "check_sites", "listeners", "render", "undefined_variables"]

#: The settings that `render` reads; the role's defaults are the same (held equal by a test).
SETTINGS: dict[str, Any] = {
    "nginx_expected_connections": 4096,
    "nginx_access_log": True,
    "nginx_log_format": "json",
    "nginx_client_max_body_size": "10m",
    "nginx_keepalive_timeout": 30,
    "nginx_slow_client_timeout": 10,
    "nginx_hsts": 63072000,
    "nginx_directives": "",
}

#: Where nginx tells which generation its workers run.
STATUS_ADDRESS = "127.0.0.1"
STATUS_PORT = 8404

_TLS = "".join(f"    {line}\n" for line in site_tls.profile_lines(site_tls.DEFAULT)) + """\
    ssl_prefer_server_ciphers off;
    #@openssl<3.5 ssl_ecdh_curve X25519:prime256v1:secp384r1;
    #@openssl>=3.5 ssl_ecdh_curve X25519MLKEM768:X25519:prime256v1:secp384r1;
    ssl_session_timeout 1d;
    ssl_session_cache shared:webstack_tls:10m;
    ssl_session_tickets off;
"""

# The app hears about the client from this edge alone: what clients send under these names is overwritten or dropped.
_FORWARDED = {
    "Host": "$host$webstack_port",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Host": "$host$webstack_port",
    "X-Forwarded-Port": "$server_port",
    "X-Request-ID": "$request_id",
    "X-Client-Verify": "$ssl_client_verify",
    "X-Client-DN": "$ssl_client_s_dn",
}
# Of a client's header they have nothing where there is no certificate.
_OFTEN_EMPTY = ("", "$https", "$ssl_client_verify", "$ssl_client_s_dn")
_CLEARED = ("Forwarded", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Protocol", "X-Forwarded-Ssl",
            "X-Forwarded-Scheme", "X-Scheme", "X-Url-Scheme", "X-Original-URL", "X-Rewrite-URL", "X-Script-Name",
            "X-Remote-User", "Proxy", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Forwarded-Client-Cert",
            "X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X-SSL-Client-DN", "X-SSL-Client-CN", "X-SSL-Client-Cert",
            "X-SSL-Client-Serial", "X-SSL-Client-Fingerprint")

_PROXY = {**_FORWARDED, **dict.fromkeys(_CLEARED, ""), "Upgrade": "$http_upgrade",
          "Connection": "$webstack_connection"}


def _cgi(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


_UWSGI = {
    "QUERY_STRING": "$query_string", "REQUEST_METHOD": "$request_method", "CONTENT_TYPE": "$content_type",
    "CONTENT_LENGTH": "$content_length", "REQUEST_URI": "$request_uri", "PATH_INFO": "$document_uri",
    "DOCUMENT_ROOT": "$document_root", "SERVER_PROTOCOL": "$server_protocol", "REQUEST_SCHEME": "$scheme",
    "UWSGI_SCHEME": "$scheme", "HTTPS": "$https", "REMOTE_ADDR": "$remote_addr", "REMOTE_PORT": "$remote_port",
    "SERVER_PORT": "$server_port", "SERVER_NAME": "$host",
    **{_cgi(name): value for name, value in _FORWARDED.items()},
    **{_cgi(name): "" for name in _CLEARED},
}

# What goes to the app, complete, by the directive that sends it. nginx inherits these sets all or nothing, so a
# location has either the include or, where the user overrides one of them, every line.
_SENT = {"proxy_set_header": ("proxy", _PROXY), "uwsgi_param": ("uwsgi", _UWSGI)}
_NAMED: dict[str, Callable[[str], str]] = {"proxy_set_header": str, "uwsgi_param": _cgi}


def _sets(sites: list[Mapping[str, Any]]) -> dict[str, tuple[str, dict[str, str]]]:
    """Return ``_SENT`` of an edge: with what its features say to apps, and clients may not."""
    cleared = [header for name, feature in features.load().items()
               for header in feature.cleared(features.uses(sites, name))]
    return {directive: (name, {**dict.fromkeys(map(_NAMED[directive], cleared), ""), **values})
            for directive, (name, values) in _SENT.items()}


def _told(directive: str, name: str, values: Mapping[str, str], theirs: set[str], site_wide: Iterable[Statement],
          changes: Mapping[str, str]) -> list[str]:
    """Return the lines that tell an app about the client: the shared include, or every line where one is another.

    ``theirs`` are the names that the user has in the location, ``site_wide`` the user's lines for the whole site.
    """
    site_wide = [line for line in site_wide if line.words[1].lower() not in theirs]
    overridden = theirs | {line.words[1].lower() for line in site_wide}
    changes = {key: value for key, value in changes.items() if key.lower() not in overridden}
    gone = overridden | {key.lower() for key in changes}
    lines = [f"include webstack/{name}.conf;"]
    if gone & {key.lower() for key in values}:
        lines = [_sent_line(directive, key, value) for key, value in values.items() if key.lower() not in gone]
    lines += [_sent_line(directive, key, value, True) for key, value in changes.items()]
    return [*lines, *map(_again, site_wide)]


def _sent_line(directive: str, name: str, value: str, may_be_empty: bool = False) -> str:
    suffix = " if_not_empty" if directive == "uwsgi_param" and (may_be_empty or value in _OFTEN_EMPTY) else ""
    return f'{directive} {name} "{value}"{suffix};'


_MAIN = """\
user www-data;
worker_processes auto;
{{ mark("nginx_expected_connections") }}
worker_rlimit_nofile @OPEN_FILES {{ s.nginx_expected_connections }}@;
{{ mark("") }}
worker_shutdown_timeout 1h;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf;

events {
{{ mark("nginx_expected_connections") }}
    worker_connections @WORKER_CONNECTIONS {{ s.nginx_expected_connections }}@;
{{ mark("") }}
}

http {
    include webstack/http.conf;
}
"""

# One line for each request. What clients write is escaped by nginx, but bytes that are no UTF-8 it writes as they are,
# and the line would be no JSON: the maps leave such texts out. A status is no number where there was none (000).
_UTF8 = (r"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf][\x80-\xbf]|"
         r"\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf][\x80-\xbf]|"
         r"[\xf1-\xf3][\x80-\xbf][\x80-\xbf][\x80-\xbf]|\xf4[\x80-\x8f][\x80-\xbf][\x80-\xbf]")
_TEXTS = {"host": "host", "user": "remote_user", "uri": "request_uri", "referer": "http_referer",
          "user_agent": "http_user_agent"}
_NUMBERS = ("status", "bytes", "request_time")
_JSON = {
    "time": "time_iso8601", "id": "request_id", "remote_addr": "remote_addr", "host": "", "user": "",
    "method": "request_method", "uri": "", "protocol": "server_protocol", "status": "webstack_log_status",
    "bytes": "bytes_sent", "request_time": "request_time", "upstream": "upstream_addr",
    "upstream_status": "upstream_status", "upstream_time": "upstream_response_time", "cache": "upstream_cache_status",
    "tls": "ssl_protocol", "referer": "", "user_agent": "",
}


def _log_format(name: str) -> str:
    """Return the `log_format` that access logs have, and what it needs."""
    if name == "combined":
        # nginx's own of that name, which programs that read logs know.
        return ("    log_format webstack '$remote_addr - $remote_user [$time_local] \"$request\" '\n"
                "                        '$status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"';")
    lines = ["    map $status $webstack_log_status {", '        default "$status";', '        "000" 0;',
             '        "009" 9;', "    }"]
    for key, variable in _TEXTS.items():
        lines += [f"    map ${variable} $webstack_log_{key} {{", '        default "(not UTF-8)";',
                  '        "" "";',  # the empty text is never compared with an expression
                  f'        "~^(?:{_UTF8})*+$" "${variable}";', "    }"]
    parts = []
    for key, variable in _JSON.items():
        value = f"${variable or f'webstack_log_{key}'}"
        parts.append(f'"{key}":{value}' if key in _NUMBERS else f'"{key}":"{value}"')
    text = [f"                        '{part}{',' if part is not parts[-1] else '}'}'" for part in parts]
    return "\n".join([*lines, "    log_format webstack escape=json '{'", *text]) + ";"


_HTTP = """\
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
{% if not own_root %}
    root /nonexistent; # or a site without a route for / would show nginx's own page there, to everybody
{% endif %}
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    etag on;

    # Slow clients hold a connection, never a worker: they have these seconds for each step, and no more.
    client_header_timeout {{ s.nginx_slow_client_timeout }}s;
    client_body_timeout {{ s.nginx_slow_client_timeout }}s;
    send_timeout {{ s.nginx_slow_client_timeout }}s;
    keepalive_timeout {{ s.nginx_keepalive_timeout }}s;
    keepalive_requests 1000;
    #@nginx>=1.27.4 keepalive_min_timeout 1s;
    reset_timedout_connection on;
{{ mark("nginx_client_max_body_size") }}
    client_max_body_size {{ s.nginx_client_max_body_size }};
{{ mark("") }}
    client_header_buffer_size 1k;
    large_client_header_buffers 4 8k;
    underscores_in_headers off;
    ignore_invalid_headers on;

    server_names_hash_bucket_size 256;
    server_names_hash_max_size 8192;
    map_hash_bucket_size 256;
    types_hash_max_size 4096;
    variables_hash_max_size 4096;
    variables_hash_bucket_size 256;

{{ log_format }}
    access_log {{ log_target if s.nginx_access_log else "off" }};

    gzip on;
    gzip_vary on;
    gzip_comp_level 5;
    gzip_min_length 1024;
    gzip_types application/javascript application/json application/manifest+json application/xml font/ttf
               image/svg+xml text/css text/javascript text/plain text/xml;

""" + _TLS + """\

    # The port goes into URLs that apps build, if the client named it and it is the one it came to.
    map "$server_port $http_host" $webstack_port {
        default "";
        "~^([0-9]+) .+:\\\\1$" ":$server_port";
    }

    # No connection to an app is kept: a kept one may lead to a process that is being replaced.
    # What counts clients counts this: one of IPv6 has a /64 of addresses to itself, 8 of the 16 bytes.
    map $binary_remote_addr $webstack_address {
        default $binary_remote_addr;
        "~(?s)^(?<webstack_network>.{8}).{8}$" $webstack_network;
    }

    map $http_upgrade $webstack_connection {
        default upgrade;
        "" close;
    }

    map $request_uri $webstack_newline {
        default "";
        "~*%0[ad]" 1;
    }

    # nginx takes these out before it looks for a location, and an app does not: they would not speak of the same path.
    map $request_uri $webstack_dots {
        default "";
        "~*^[^?]*(?:/|%2f)(?:\\.|%2e){1,2}(?:/|%2f|[?#]|$)" 1;
    }

    map $sent_http_content_type $webstack_disposition {
        default "";
        "~*html|xml|svg|javascript" attachment;
    }

{% if s.nginx_hsts %}
    # An app's own word is not said twice.
    map $sent_http_strict_transport_security $webstack_hsts {
        default "";
        "" "max-age={{ s.nginx_hsts }}";
    }

{% endif %}
    # The names that Django's ManifestStaticFilesStorage makes.
    map $uri $webstack_static {
        default no-cache;
        "~[.][0-9a-f]{12}([.][^/.]*)?$" "public, max-age=31536000, immutable";
    }

    # nginx has no way to write a dollar sign in a text.
    geo $webstack_dollar {
        default "$";
    }

    # An app asked twice must not act twice: only what could not be sent, or is safe to repeat, goes to the next one.
    proxy_http_version 1.1;
    proxy_redirect off;
    proxy_connect_timeout 5s;
    proxy_next_upstream error timeout;
    proxy_next_upstream_tries 2;
    proxy_next_upstream_timeout 10s;
    uwsgi_connect_timeout 5s;
    uwsgi_next_upstream error timeout;
    uwsgi_next_upstream_tries 2;
    uwsgi_next_upstream_timeout 10s;
{% if s.nginx_directives.strip() %}

{{ raw(s.nginx_directives, "nginx_directives") }}
{% endif %}
{% for line in feature_lines %}
{{ line }}
{% endfor %}
{% for upstream in upstreams %}

{{ mark(upstream.origin) }}
    upstream {{ upstream.name }} {
        #@needs socket {{ upstream.needs | join(" ") }}
{% for line in upstream.lines %}
        {{ line }}
{% endfor %}
        #@nginx>=1.29.7 keepalive 0;
    }
{% endfor %}
{{ mark("") }}

    # What asks for no site of ours gets no answer.
{% for socket in strangers %}

    {{ socket.mark }}server {
{% if socket.tls %}
        {{ socket.mark }}listen {{ socket.text }} ssl default_server{{ socket.backlog }};
        {{ socket.mark }}ssl_reject_handshake on;
{% for line in socket.profile %}
        {{ socket.mark }}{{ line }}
{% endfor %}
{% else %}
        {{ socket.mark }}listen {{ socket.text }} default_server{{ socket.backlog }};
{% endif %}
        {{ socket.mark }}server_name _;
        {{ socket.mark }}access_log off;
        {{ socket.mark }}return 444;
    {{ socket.mark }}}
{% endfor %}

    include webstack/generation.conf;
{% for site in sites %}
    include webstack/sites/{{ site.name }}.conf;
{% endfor %}
"""

_GENERATION = f"""\
server {{
    listen {STATUS_ADDRESS}:{STATUS_PORT};
    server_name webstack.localhost;
    access_log off;
    keepalive_timeout 0;
    default_type text/plain;

    location = /generation {{
        return 200 "@GENERATION@\\n";
    }}

    location = /status {{
        stub_status;
    }}

    location / {{
        return 404;
    }}
}}
"""

_SITE = """\
{% if site.redirects %}
server {
{{ mark(site.origin ~ ".listen") }}
{{ listens(site.plain) }}
{{ mark(site.origin ~ ".server_names") }}
    server_name {{ site.names }};
{{ mark(site.origin) }}
{{ site.plain_headers }}

{% for location in site.challenges %}
{{ location }}
{% endfor %}
    location / {
        return 301 https://$host{{ site.redirect_port }}$request_uri;
    }
}

{% endif %}
server {
{{ mark(site.origin ~ ".listen") }}
{{ listens(site.own) }}
{{ mark(site.origin ~ ".server_names") }}
    server_name {{ site.names }};
{% if site.tls %}
    #@nginx>=1.25.1 http2 on;
{{ mark(site.origin ~ ".tls.certificate") }}
    ssl_certificate {{ quote(site.tls.certificate) }};
    #@needs certificate {{ quote(site.tls.certificate) }} {{ site.concrete | join(" ") }}
    #@digest {{ quote(site.tls.certificate) }}
{{ mark(site.origin ~ ".tls.key") }}
    ssl_certificate_key {{ quote(site.tls.key) }};
{{ mark(site.origin ~ ".tls.profile") }}
{% for line in site.profile %}
    {{ line }}
{% endfor %}
{{ mark(site.origin ~ ".tls.client") }}
{% for line in site.client %}
    {{ line }}
{% endfor %}
{% endif %}
{{ mark(site.origin) }}
{% if site.client_max_body_size %}
{{ mark(site.origin ~ ".client_max_body_size") }}
    client_max_body_size {{ site.client_max_body_size }};
{{ mark(site.origin) }}
{% endif %}
{{ site.headers }}
{{ site.features }}
{% if site.directives.strip() %}

{{ raw(site.directives, site.origin ~ ".directives") }}
{{ mark(site.origin) }}
{% endif %}
{% for location in site.locations %}

{{ location }}
{% endfor %}
}
"""

# A line that holds nothing but this says where the next lines come from; `_finish` takes it out again.
_MARK = re.compile(r"\s*\x01([^\x01]*)\x01\s*")


def _mark(origin: str) -> str:
    return f"\x01{origin}\x01"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    """Quote a text in which $ means nothing."""
    return _quote(text).replace("$", "${webstack_dollar}")


def _raw(text: str, origin: str) -> str:
    # Not indented: a line may be the inside of a quoted text. A line ends it, in case it ends with a comment.
    return f"{_mark(origin)}\n" + text.rstrip("\n").replace("\r\n", "\n")


_ENVIRONMENT = jinja2.Environment(
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
    autoescape=False,
)
_ENVIRONMENT.globals.update(mark=_mark, quote=_quote, literal=_literal, raw=_raw, escape=re.escape)


@functools.cache
def _template(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def _finish(text: str) -> tuple[str, list[list[Any]]]:
    """Take the marks out of a rendered text; return it and [[first line, origin], ...]."""
    lines: list[str] = []
    origins: list[list[Any]] = []
    for line in text.split("\n"):
        match = _MARK.fullmatch(line)
        if not match:
            # Templates leave lines empty where a part is empty; one empty line in a row is enough outside raw text.
            lines.append(line)
        elif origins and origins[-1][0] == len(lines) + 1:
            origins[-1][1] = match[1]
        elif not origins or origins[-1][1] != match[1]:
            origins.append([len(lines) + 1, match[1]])
    return "\n".join(lines), origins


# -- listeners -----------------------------------------------------------------------------------------------------


def listeners(site: Mapping[str, Any], problems: Any) -> list[dict[str, Any]]:
    """Return the `listen` records of a site as users write it; mistakes go to `problems.add(path, message)`.

    With `tls`, port 80 is plain and every other port speaks TLS.
    """
    tls = bool(site.get("tls"))
    given = site.get("listen") or (["80", "443"] if tls else ["80"])
    result = []
    for index, text in enumerate(given):
        address, _colon, port = str(text).rpartition(":")
        if not port.isdigit() or not 1 <= int(port) <= 65535 or not _address(address):
            problems.add(f"{site['origin']}.listen[{index}]",
                         f"is {str(text)!r}; write a port or an address and a port: '80', '192.0.2.1:8080', "
                         "'[::]:8080'.")
            continue
        result.append({"address": address or "*", "port": int(port), "tls": tls and int(port) != 80})
    if tls and result and not any(listen["tls"] for listen in result):
        problems.add(f"{site['origin']}.listen", "has no port for TLS, and the site has a certificate: add '443', or "
                                                 "leave `listen` out.")
    return result


def _address(text: str) -> bool:
    if text in ("", "*"):
        return True
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        return (ipaddress.ip_address(text.strip("[]")).version == 6) == bracketed
    except ValueError:
        return False


def _sockets(listen: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the sockets that a listener stands for: `*` is IPv4 and, where the host has it, IPv6."""
    if listen["address"] == "*":
        return [("0.0.0.0", listen["port"]), ("[::]", listen["port"])]
    address = listen["address"]
    if address.startswith("["):
        address = f"[{ipaddress.ip_address(address[1:-1])}]"
    return [(address, listen["port"])]


def _unique_sockets(listens: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], bool]:
    """Return {socket: whether it speaks TLS}."""
    return {socket: listen["tls"] for listen in listens for socket in _sockets(listen)}


def _listen_text(socket: tuple[str, int]) -> str:
    return str(socket[1]) if socket[0] == "0.0.0.0" else f"{socket[0]}:{socket[1]}"


def _listen_mark(socket: tuple[str, int]) -> str:
    return "#@ipv6 " if socket[0].startswith("[") else ""


def _backlogs(sites: Iterable[Mapping[str, Any]], expected: int) -> dict[tuple[str, int], str]:
    """Return {socket: how its queue is sized}, for the one server block in which nginx wants to read it.

    An address of its own beside all addresses on the same port gets none: it would be bound for itself, and is taken.
    """
    sockets = {socket for site in sites for socket in _unique_sockets(site["listen"])}
    return {(address, port): f" backlog=@BACKLOG {expected}@" for address, port in sockets
            if address in ("0.0.0.0", "[::]") or
            ("[::]" if address.startswith("[") else "0.0.0.0", port) not in sockets}


def _listen_lines(sockets: Mapping[tuple[str, int], bool], default: bool, backlogs: Mapping[tuple[str, int], str],
                  ) -> str:
    lines = []
    for socket, tls in sockets.items():
        suffix = f" default_server{backlogs.get(socket, '')}" if default else ""
        text, mark = _listen_text(socket), _listen_mark(socket)
        if not tls:
            lines.append(f"    {mark}listen {text}{suffix};")
            continue
        # HTTP/2 moved from the listener to a directive of its own in 1.25.1.
        both = f"{mark[2:].strip()}," if mark else ""
        lines.append(f"    #@{both}nginx<1.25.1 listen {text} ssl http2{suffix};")
        lines.append(f"    #@{both}nginx>=1.25.1 listen {text} ssl{suffix};")
    return "\n".join(lines)


# -- rendering -----------------------------------------------------------------------------------------------------


def render(sites: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return ({relative path: text}, {relative path: [[line, the user's variable], ...]})."""
    sites = list(sites)
    settings = {**SETTINGS, **{key: value for key, value in settings.items() if value is not None}}
    files: dict[str, str] = {}
    origins: dict[str, list[list[Any]]] = {}

    def add(path: str, text: str) -> None:
        text, where = _finish(text)
        files[path] = "# Written by Ansible (frontdesk.webstack.nginx): changes made here are undone.\n" + text
        origins[path] = [[line + 1, origin] for line, origin in where]

    backlogs = _backlogs(sites, settings["nginx_expected_connections"])
    add("main.conf", _template(_MAIN).render(s=settings))
    add("http.conf", _template(_HTTP).render(
        s=settings, sites=sites, upstreams=_upstreams(sites), strangers=_strangers(sites, backlogs),
        feature_lines=_http_lines(sites), log_format=_log_format(settings["nginx_log_format"]), log_target=LOG_TARGET,
        own_root=bool(_own(settings["nginx_directives"], "root"))))
    add("generation.conf", _GENERATION)
    sets = _sets(sites)
    for directive, (name, values) in sets.items():
        add(f"{name}.conf", "".join(_sent_line(directive, *item) + "\n" for item in values.items()))
    for site in sites:
        add(f"sites/{site['name']}.conf", _site(site, settings, backlogs, sets))
    for name, feature in features.load().items():
        for page, text in feature.pages(features.uses(sites, name)).items():
            files[f"pages/{page}"], origins[f"pages/{page}"] = text, []
    return files, origins


def _http_lines(sites: list[Mapping[str, Any]]) -> list[str]:
    """Return the lines of all features for the http block."""
    lines = []
    for name, feature in features.load().items():
        found = features.uses(sites, name)
        more = [f"    {line}" if line else "" for line in feature.http(found)] if found else []
        if more:
            lines += ["", _mark(found[0].record["origin"]), *more]
    return [*lines, _mark("")] if lines else []


def secrets(sites: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return {relative path: text} of the files that `render` leaves out, since only root and nginx may read them."""
    sites = list(sites)
    return {f"secrets/{path}": text for name, feature in features.load().items()
            for path, text in feature.secrets(features.uses(sites, name)).items()}


def _upstreams(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    others = [(asked, use.record["origin"]) for name, feature in features.load().items()
              for use in features.uses(sites, name) if (asked := feature.upstream(use))]
    return upstreams.blocks(sites, others)


def _strangers(sites: Iterable[Mapping[str, Any]], backlogs: Mapping[tuple[str, int], str]) -> list[dict[str, Any]]:
    """Return the sockets on which no site answers every host name."""
    sockets: dict[tuple[str, int], bool] = {}
    taken: set[tuple[str, int]] = set()
    profiles: dict[tuple[str, int], str] = {}  # all sites of a socket have the same: see site_tls.check_sites
    for site in sites:
        own = _unique_sockets(site["listen"])
        sockets.update(own)
        if site.get("tls"):
            profiles.update(dict.fromkeys(own, site_tls.profile(site)))
        if not site["server_names"]:
            taken.update(own)
    return [{"text": _listen_text(socket), "mark": _listen_mark(socket), "tls": tls,
             "backlog": backlogs.get(socket, ""), "profile": site_tls.own_lines(profiles.get(socket, site_tls.DEFAULT))}
            for socket, tls in sorted(sockets.items()) if socket not in taken]


def _site(site: Mapping[str, Any], settings: Mapping[str, Any], backlogs: Mapping[tuple[str, int], str],
          sets: Mapping[str, tuple[str, Mapping[str, str]]]) -> str:
    secured = site.get("tls") or None
    redirects = bool(secured) and secured.get("redirect") is not False and not all(
        one["tls"] for one in site["listen"])
    plain = _unique_sockets(one for one in site["listen"] if not one["tls"]) if redirects else {}
    own = _unique_sockets(one for one in site["listen"] if one["tls"] or not redirects)
    secure = next((one["port"] for one in site["listen"] if one["tls"]), 443)
    names = " ".join(_quote(name) if re.search(r"[^\w.*-]", name) else name for name in site["server_names"] or [])
    inherited = _inherited(site, settings)
    # Over plain HTTP browsers ignore it, so a site that is served both ways does not say it.
    hsts = settings["nginx_hsts"] if secured and (redirects or all(one["tls"] for one in site["listen"])) else 0
    pages: dict[str, str] = {}
    locations = [_location(site, route, inherited, hsts, sets, pages) for route in site["routes"]]
    pieces = [(record["origin"], features.load()[name].server(features.Use(record, site)))
              for name, record in site.get("features", {}).items()]
    found = [piece.headers for _origin, piece in pieces]
    # The site's own lines are in its block already; those of the http block would be dropped by ours.
    theirs = {line.words[1].lower() for line in _inherited(site)["add_header"]}
    above = [line for line in inherited["add_header"] if line.words[1].lower() not in theirs]
    secured_headers = {"Strict-Transport-Security": f"max-age={hsts}"} if hsts else {}
    headers, plain_headers = (_headers(_merged(*values), theirs, above).replace("        add_header", "    add_header")
                              for values in ((secured_headers, *found), found))
    early = dict.fromkeys(line for name, feature in features.load().items() for use in features.uses([site], name)
                          for line in feature.early(use))
    locations += _beside(site, inherited, sets)
    errors = _errors(pieces, inherited["error_page"], features.PAGES)
    if any(feature.pages(features.uses([site], name)) for name, feature in features.load().items()):
        pages[features.PAGES] = ""
    locations += _page_locations(pages)
    challenges = [_location(site, route, inherited, 0, sets, {}) for route in site["routes"]
                  if route["match"] != "regex" and route["path"].startswith(features.CHALLENGES)]
    view = {
        "name": site["name"], "origin": site["origin"], "tls": secured, "redirects": redirects, "plain": plain,
        "own": own, "names": names or "_", "redirect_port": "" if secure == 443 else f":{secure}",
        "challenges": challenges,
        "client_max_body_size": site.get("client_max_body_size"), "directives": site.get("directives") or "",
        "concrete": [name for name in site["server_names"] or [] if site_tls.concrete(name)],
        "profile": site_tls.own_lines(site_tls.profile(site)) if secured else [],
        "client": site_tls.client_lines(secured.get("client")) if secured else [],
        "headers": headers, "plain_headers": plain_headers, "locations": locations,
        "features": "\n".join([*(f"    {line}" for line in early), *_feature_lines(pieces, site["origin"], 4),
                               *(f"    {line}" for line in errors)]),
    }
    default = not site["server_names"]
    return _squeeze(_template(_SITE).render(
        site=view, listens=lambda sockets: _listen_lines(sockets, default, backlogs)))


def _squeeze(text: str) -> str:
    """Take out the lines that templates leave empty at the start and end of blocks, but none of the user's."""
    lines: list[str] = []
    raw = False
    for line in text.split("\n"):
        mark = _MARK.fullmatch(line)
        if mark:
            raw = mark[1].endswith("directives")
        elif not raw and not line.strip() and (not lines or not lines[-1].strip() or lines[-1].endswith("{")):
            continue
        elif not raw and line.strip() == "}":
            while lines and not lines[-1].strip():
                lines.pop()
        lines.append(line)
    return "\n".join(lines)


#: Directives of which nginx drops all that a server block has where a location has one of its own.
_DROPPED = ("add_header", "proxy_set_header", "uwsgi_param", "limit_conn", "limit_req", "proxy_hide_header",
            "uwsgi_hide_header", "error_page")


#: Those of them that this role writes in every route to an app, so that the http block's have never held there.
_SENT_HERE = ("proxy_set_header", "uwsgi_param")


def _inherited(site: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> dict[str, list[Statement]]:
    """Return the user's own lines of these directives: the site's, and those of the http block that it leaves."""
    found: list[list[Statement]] = []
    for text in ((settings or {}).get("nginx_directives"), site.get("directives")):
        try:
            found.append([line for line in statements(text or "") if line.depth == 0 and len(line.words) > 1])
        except SyntaxProblem:
            found.append([])  # check_sites has told
    above, own = found
    taken = {(line.words[0], line.words[1].lower()) for line in own}
    above = [line for line in above
             if line.words[0] not in _SENT_HERE and (line.words[0], line.words[1].lower()) not in taken]
    return {directive: [line for line in (*above, *own) if line.words[0] == directive] for directive in _DROPPED}


def _again_where_dropped(lines: Iterable[str], inherited: Mapping[str, list[Statement]]) -> list[str]:
    """Return the user's lines from outside that these lines of features would make nginx drop."""
    ours = {line.split()[0] for line in lines if line.strip()} - {"add_header", *_SENT_HERE}
    return [_again(line) for directive in inherited if directive in ours for line in inherited[directive]]


def _errors(pieces: Iterable[tuple[str, features.Piece]], theirs: Iterable[Statement], folder: str) -> list[str]:
    """Return the lines that show the pages of features, which lie in the folder; statuses of the user's are theirs."""
    taken = {word for line in theirs for word in line.words[1:-1]}
    found = {status: name for _origin, piece in pieces for status, name in piece.errors.items() if status not in taken}
    return [f"error_page {status} {folder}{name};" for status, name in sorted(found.items())]


def _page_locations(headers: Mapping[str, str]) -> list[str]:
    """Return the locations of pages: one for each set of headers, for a page has those of the route it stands for."""
    return ["\n".join([f"    location ^~ {folder} {{", "        internal;", f"        alias {features.PAGES_FOLDER};",
                       "        types { }", "        default_type text/html;", "        charset utf-8;",
                       "        etag off;", "        allow all;", "        auth_basic off;",
                       *([text] if text else []), "    }"]) for folder, text in sorted(headers.items())]


def _own(text: str, directive: str) -> list[Statement]:
    """Return the lines of a directive in a text of the user's."""
    try:
        return [line for line in statements(text) if line.depth == 0 and line.words[0] == directive]
    except SyntaxProblem:
        return []  # check_sites has told


def _location(site: Mapping[str, Any], route: Mapping[str, Any], inherited: Mapping[str, list[Statement]],
              hsts: int, sets: Mapping[str, tuple[str, Mapping[str, str]]], pages: dict[str, str]) -> str:
    """Return the location of a route; what it needs of the locations of pages goes into ``pages``."""
    kind = _kinds()[route["kind"]]
    pieces = [(record["origin"], features.load()[name].location(features.Use(record, site, route)))
              for name, record in route.get("features", {}).items()]
    text = route.get("directives") or ""
    own: dict[str, set[str]] = {}
    try:
        for statement in statements(text):
            if statement.depth == 0 and len(statement.words) > 1:
                own.setdefault(statement.words[0], set()).add(statement.words[1].lower())
    except SyntaxProblem:
        pass

    of_site = [features.load()[name].server(features.Use(record, site))
               for name, record in site.get("features", {}).items()]
    outside = {"X-None": ""} if any(piece.headers for piece in of_site) else {}

    def sent(directive: str, more: Mapping[str, str] | None = None) -> str:
        """Return what is sent to the app: the shared include, or every line where one is another."""
        changes = {_NAMED[directive](header): value for sent in (more or {}, *(piece.sent for _origin, piece in pieces))
                   for header, value in sent.items()}
        lines = _told(directive, *sets[directive], own.get(directive, set()), inherited[directive], changes)
        return "\n".join(f"        {line}" for line in lines)

    def headers(values: Mapping[str, str] | None = None, cache: str = "") -> str:
        told = "$webstack_hsts" if kind.name in upstreams.KINDS else f"max-age={hsts}"
        base = {"Strict-Transport-Security": told} if hsts else {}
        cached = {"Cache-Control": cache} if cache else {}
        theirs = own.get("add_header", set())
        found = _merged(base, *(piece.headers for _origin, piece in pieces), values or {}, cached)
        # A location without any line would have the site's, which are not to hold there. An empty one is not sent.
        return _headers(found or outside, theirs, inherited["add_header"])

    own_headers = [f"        {_again(line)}" for line in _own(text, "add_header")]
    page_headers = "\n".join(filter(None, [headers(), *own_headers]))
    folder = features.PAGES + (f"{_digest(page_headers)}/" if page_headers else "")
    own_errors = _own(text, "error_page")
    around = {**inherited, "error_page": [] if own_errors else inherited["error_page"]}
    errors = _errors(pieces, own_errors or around["error_page"], folder)
    if errors:
        pages[folder] = page_headers
    elif not own_errors and any(piece.errors for piece in of_site):
        errors = ["error_page 599 /;"]  # a location that has none would have those of the site
    again = [*errors, *_again_where_dropped(
        [*errors, *(line for _origin, piece in pieces for line in piece.lines)], around)]

    location = {"prefix": "", "exact": "= ", "regex": "~ "}[route["match"]] + _quote(route["path"])
    before, written = "", pieces
    if kind.returns and _looks_first(site, route):
        name = "@" + _digest(route["match"], route["path"])
        lines = [*_feature_lines(pieces, route["origin"], 8), *(f"        {line}" for line in again)]
        raw = [_raw(text, route["origin"] + ".directives"), _mark(route["origin"])] if text.strip() else []
        before = "\n".join([f"    location {location} {{", headers(), *lines, *raw,
                            f"        try_files /.webstack/none {name};", "    }", "", ""])
        # What was looked at there is not looked at again; the rest, such as the log, is that of the last location.
        location, again = name, list(errors)
        written = [piece for name, piece in zip(route.get("features", {}), pieces, strict=True)
                   if not features.load()[name].after_return]
    rendered = _template(kind.template).render(
        route=route, location=location, own=sent, headers=headers, hidden=r'"/\\.(?!well-known(/|$))"',
        upstream=upstreams.name(route) if route["kind"] in upstreams.KINDS else "",
        directives="\n".join(_feature_lines(written, route["origin"], 8) + [f"        {line}" for line in again] + (
            [_raw(text, route["origin"] + ".directives"), _mark(route["origin"])] if text.strip() else [])),
    ).rstrip("\n")
    return f"{_mark(route['origin'])}\n{before}{rendered}"


def _looks_first(site: Mapping[str, Any], route: Mapping[str, Any]) -> bool:
    """Tell whether something must be looked at before the route returns.

    `return` is done before it is asked who may pass. So such a route gets a location that asks, finds no file, and
    goes on in a location of its own for what is returned.
    """
    if route["path"].startswith(features.CHALLENGES) and route["match"] != "regex":
        raw = False
    else:
        try:
            raw = any(line.depth == 0 and line.words[0] in routes.NEVER_APPLIED
                      for line in statements(site.get("directives") or ""))
        except SyntaxProblem:
            raw = False  # check_sites has told
    return raw or any(features.load()[name].after_return for name in route.get("features", {}))


def _beside(site: Mapping[str, Any], inherited: Mapping[str, list[Statement]],
            sets: Mapping[str, tuple[str, Mapping[str, str]]]) -> list[str]:
    """Return the locations that features need beside those of the routes, each of them once."""
    def told(directive: str, changes: Mapping[str, str]) -> list[str]:
        return _told(directive, *sets[directive], set(), inherited[directive], changes)

    found: dict[tuple[str, ...], str] = {}
    for name, feature in features.load().items():
        for use in features.uses([site], name):
            lines = tuple(feature.beside(use, told))
            if lines:
                found.setdefault(lines, "\n".join([_mark(use.record["origin"]), *(f"    {line}" for line in lines)]))
    return list(found.values())


def _digest(*words: str) -> str:
    return "webstack_" + hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def _feature_lines(pieces: Iterable[tuple[str, features.Piece]], after: str, indent: int) -> list[str]:
    """Return the lines of features, each marked with the variable it comes from; then ``after`` goes on."""
    lines = [line for origin, piece in pieces if piece.lines
             for line in (_mark(origin), *(" " * indent + text for text in piece.lines))]
    return [*lines, _mark(after)] if lines else []


@functools.cache
def _kinds() -> dict[str, routes.Kind]:
    return routes.load()


def _merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of all parts: the later one wins, whatever its capitals, and `Vary` is a list."""
    result: dict[str, tuple[str, str]] = {}
    for name, value in (item for part in parts for item in part.items()):
        before = result.get(name.lower())
        joined = f"{before[1]}, {value}" if before and name.lower() == "vary" else value
        result[name.lower()] = (name, joined)
    return dict(result.values())


def _headers(values: Mapping[str, str], theirs: set[str], site_wide: list[Statement]) -> str:
    """Return the add_header lines of a location: complete, since one line of its own drops all from outside."""
    if not values and not theirs:
        return ""
    site_lines = [line for line in site_wide if line.words[1].lower() not in theirs]
    overridden = theirs | {line.words[1].lower() for line in site_lines}
    # Security headers are for every status; an error must not be kept by caches for a year.
    lines = [f"        add_header {name} {_quote(value)}{'' if name.lower() == 'cache-control' else ' always'};"
             for name, value in values.items() if name.lower() not in overridden]
    return "\n".join([*lines, *(f"        {_again(line)}" for line in site_lines)])


def _again(statement: Statement) -> str:
    # A quote that is escaped already stays so.
    words = [word if re.fullmatch(r"[\w.:/=*$-]+", word) else
             '"' + re.sub(r'(\\.)|"', lambda match: match[1] or '\\"', word, flags=re.DOTALL) + '"'
             for word in statement.words]
    return " ".join(words) + ";"


# -- checking ------------------------------------------------------------------------------------------------------


def check_sites(sites: Iterable[Mapping[str, Any]], settings: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return (path, message) of everything in the sites of one edge that nginx would refuse, or worse, take.

    `settings` are the edge's `nginx_*` settings: variables made in `nginx_directives` are known in the sites.
    """
    sites = list(sites)
    found: list[tuple[str, str]] = []
    expected = (settings or {}).get("nginx_expected_connections")
    if expected is not None and not 1 <= expected <= 1_000_000:
        found.append(("nginx_expected_connections", f"is {expected}; write how many clients are connected at the same "
                                                    "time, from 1 to 1000000."))
    _check_listeners(sites, found)
    _check_names(sites, found)
    found += site_tls.check_sites(sites, lambda site: _unique_sockets(site["listen"]))
    for name, feature in features.load().items():
        found += [(use.record["origin"], message) for use in features.uses(sites, name)
                  if (message := feature.check(use))]
    _check_raw(sites, settings or {}, found)
    if not found:
        _check_locations(sites, found)
    return list(dict.fromkeys(found))


def _check_listeners(sites: list[Mapping[str, Any]], found: list[tuple[str, str]]) -> None:
    seen: dict[tuple[str, int], tuple[bool, str]] = {}
    for site in sites:
        where = f"{site['origin']}.listen"
        for listen in site["listen"]:
            if listen["port"] == STATUS_PORT:
                found.append((where, f"port {STATUS_PORT} is taken: there nginx tells which configuration it runs. "
                                     "Write another one."))
            for socket in _sockets(listen):
                tls, other = seen.setdefault(socket, (listen["tls"], where))
                if tls != listen["tls"]:
                    speaks = {True: "speaks TLS", False: "is plain"}
                    found.append((where, f"{_listen_text(socket)} {speaks[listen['tls']]} here and {speaks[tls]} in "
                                         f"{other}. Write another port, or `tls` in both sites."))
                    break


def _check_names(sites: list[Mapping[str, Any]], found: list[tuple[str, str]]) -> None:
    names: dict[str, str] = {}
    on_socket: dict[tuple[tuple[str, int], str], str] = {}
    for site in sites:
        other = names.setdefault(site["name"], site["origin"])
        if other != site["origin"]:
            found.append((f"{site['origin']}.name", f"{site['name']!r} is taken by {other}. Give each site its own."))
        for index, name in enumerate(site["server_names"]):
            where = f"{site['origin']}.server_names[{index}]"
            message = _wrong_name(name)
            if message:
                found.append((where, message))
                continue
            _claim_name(site, name.lower(), where, on_socket, found)
        if not site["server_names"]:
            _claim_name(site, "", f"{site['origin']}.server_names", on_socket, found)


def _claim_name(site, name, where, on_socket, found) -> None:
    for socket in _unique_sockets(site["listen"]):
        other = on_socket.setdefault((socket, name), where)
        if other != where:
            what = f"{name!r} is" if name else "is empty (the site answers every host name), as is"
            found.append((where, f"{what} also in {other}, on the same port; nginx would serve one of them alone. "
                                 "Write it once." if name else
                          f"{what} {other}, on the same port. Write the host names of at least one of them."))
            return


def _wrong_name(name: str) -> str:
    if name.startswith("~"):
        try:
            re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", name[1:]))
        except re.error as error:
            return f"{name!r} is no regular expression: {error}."
        return "" if not re.search(r"[\x00-\x20]", name) else f"{name!r} has a space."
    if "://" in name or "/" in name or ":" in name:
        host = re.sub(r"^\w+://", "", name).split("/")[0].split(":")[0]
        return f"{name!r} must be a host name alone: write {host!r}, and ports in `listen`."
    if not re.fullmatch(r"(\*\.|\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*(\.\*)?", name):
        return f"{name!r} is no host name. Write one such as 'www.example.com' or '*.example.com'."
    return ""


_KNOWN = {"webstack_address", "webstack_port", "webstack_connection", "webstack_disposition", "webstack_dollar",
          "webstack_newline"}


def _check_raw(sites: list[Mapping[str, Any]], settings: Mapping[str, Any], found: list[tuple[str, str]]) -> None:
    texts: list[tuple[str, str, set[str]]] = [("nginx_directives", settings.get("nginx_directives") or "", set())]
    for site in sites:
        captures = set(re.findall(r"\(\?(?:P?<|')([A-Za-z_]\w*)[>']", " ".join(site["server_names"])))
        captures |= {name for route in site["routes"] if route["match"] == "regex"
                     for name in re.findall(r"\(\?(?:P?<|')([A-Za-z_]\w*)[>']", route["path"])}
        texts.append((f"{site['origin']}.directives", site.get("directives") or "", captures))
        for route in site["routes"]:
            texts.append((f"{route['origin']}.directives", route.get("directives") or "", captures))
            if route["kind"] == "redirect":
                texts.append((f"{route['origin']}.redirect", f"return {_quote(route['to'])};", captures))
    known = set(_KNOWN)
    for path, text, _captures in texts:
        try:
            known |= defined_variables(text)
        except SyntaxProblem as problem:
            found.append((path, f"line {problem.line}: {problem}."))
    broken = {path for path, _message in found}
    for path, text, captures in texts:
        if path in broken:
            continue
        for line, name in undefined_variables(text, known | captures):
            found.append((path, f"line {line}: nginx has no variable ${name}. Make it with `set` or `map`, or write "
                                "one of nginx's own."))


def _check_locations(sites: list[Mapping[str, Any]], found: list[tuple[str, str]]) -> None:
    for site in sites:
        path = f"sites/{site['name']}.conf"
        files, origins = render([site], {})
        seen: dict[tuple[int, str, str], str] = {}
        server = 0
        for statement in statements(files[path]):
            if statement.depth == 0:
                server += 1
            if statement.words[0] != "location" or statement.depth != 1:
                continue
            words = statement.words[1:]
            # `^~` is a prefix too.
            key = (server, words[0].replace("^~", "") if len(words) > 1 else "", words[-1])
            where = origin_of(origins[path], statement.line)
            if key in seen:
                found.append((where, f"the path {words[-1]!r} is taken by {seen[key]}. Write each path once."))
            seen.setdefault(key, where)


def origin_of(origins: Iterable[Iterable[Any]], line: int) -> str:
    """Return the variable that a line comes from: the nearest entry before it."""
    result = ""
    for first, origin in origins:
        if first > line:
            break
        result = origin
    return result
