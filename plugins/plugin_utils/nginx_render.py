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
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2

from . import features, routes
from .nginx_syntax import Statement, SyntaxProblem, defined_variables, statements, undefined_variables

__all__ = ["SETTINGS", "check_sites", "listeners", "render", "undefined_variables"]

#: The settings that `render` reads; the role's defaults are the same (held equal by a test).
SETTINGS: dict[str, Any] = {
    "nginx_worker_connections": 4096,
    "nginx_client_max_body_size": "10m",
    "nginx_keepalive_timeout": 30,
    "nginx_slow_client_timeout": 10,
    "nginx_hsts": 63072000,
    "nginx_directives": "",
}

#: Where nginx tells which generation its workers run.
STATUS_ADDRESS = "127.0.0.1"
STATUS_PORT = 8404

_TLS = """\
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
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
}
_CLEARED = ("Forwarded", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Protocol", "X-Forwarded-Ssl",
            "X-Forwarded-Scheme", "X-Scheme", "X-Url-Scheme", "X-Original-URL", "X-Rewrite-URL", "X-Script-Name",
            "X-Remote-User", "Proxy")

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


def _sent_line(directive: str, name: str, value: str) -> str:
    suffix = " if_not_empty" if directive == "uwsgi_param" and value in ("", "$https") else ""
    return f'{directive} {name} "{value}"{suffix};'


_MAIN = """\
user www-data;
worker_processes auto;
worker_rlimit_nofile {{ 2 * s.nginx_worker_connections + 1024 }};
worker_shutdown_timeout 1h;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf;

events {
    worker_connections {{ s.nginx_worker_connections }};
}

http {
    include webstack/http.conf;
}
"""

_HTTP = """\
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    etag on;

    log_format webstack '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                        '"$http_referer" "$http_user_agent" id=$request_id host=$host time=$request_time '
                        'upstream=$upstream_addr upstream_status=$upstream_status '
                        'upstream_time=$upstream_response_time';
    access_log /var/log/nginx/access.log webstack;

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
    map $http_upgrade $webstack_connection {
        default upgrade;
        "" close;
    }

    map $request_uri $webstack_newline {
        default "";
        "~*%0[ad]" 1;
    }

    map $sent_http_content_type $webstack_disposition {
        default "";
        "~*html|xml|svg|javascript" attachment;
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
        #@needs socket {{ upstream.servers | join(" ") }}
{% if upstream.servers | length > 1 %}
        zone {{ upstream.name }} 64k;
{% for server in upstream.servers %}
        server {{ server }} max_fails=3 fail_timeout=5s;
{% endfor %}
{% else %}
        server {{ upstream.servers[0] }} max_fails=0;
{% endif %}
        #@nginx>=1.29.7 keepalive 0;
    }
{% endfor %}
{{ mark("") }}

    # What asks for no site of ours gets no answer.
{% for socket in strangers %}

    server {
{% if socket.tls %}
        {{ socket.mark }}listen {{ socket.text }} ssl default_server;
        ssl_reject_handshake on;
{% else %}
        {{ socket.mark }}listen {{ socket.text }} default_server;
{% endif %}
        server_name _;
        access_log off;
        return 444;
    }
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
{{ mark(site.origin ~ ".tls.key") }}
    ssl_certificate_key {{ quote(site.tls.key) }};
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
_ENVIRONMENT.globals.update(mark=_mark, quote=_quote, literal=_literal, raw=_raw)


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


def _listen_lines(sockets: Mapping[tuple[str, int], bool], default: bool) -> str:
    suffix = " default_server" if default else ""
    lines = []
    for socket, tls in sockets.items():
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

    add("main.conf", _template(_MAIN).render(s=settings))
    add("http.conf", _template(_HTTP).render(
        s=settings, sites=sites, upstreams=_upstreams(sites), strangers=_strangers(sites),
        feature_lines=_http_lines(sites)))
    add("generation.conf", _GENERATION)
    for directive, (name, values) in _SENT.items():
        add(f"{name}.conf", "".join(_sent_line(directive, *item) + "\n" for item in values.items()))
    for site in sites:
        add(f"sites/{site['name']}.conf", _site(site, settings))
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
    return {path: text for name, feature in features.load().items()
            for path, text in feature.secrets(features.uses(sites, name)).items()}


def _upstreams(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for site in sites:
        for route in site["routes"]:
            if route["kind"] == "app":
                found.setdefault(route["app"], {"name": _upstream_name(route), "servers": route["servers"],
                                                "origin": f"{route['origin']}.app"})
    return [found[name] for name in sorted(found)]


def _upstream_name(route: Mapping[str, Any]) -> str:
    return f"webstack_{route['app']}"


def _strangers(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the sockets on which no site answers every host name."""
    sockets: dict[tuple[str, int], bool] = {}
    taken: set[tuple[str, int]] = set()
    for site in sites:
        own = _unique_sockets(site["listen"])
        sockets.update(own)
        if not site["server_names"]:
            taken.update(own)
    return [{"text": _listen_text(socket), "mark": _listen_mark(socket), "tls": tls}
            for socket, tls in sorted(sockets.items()) if socket not in taken]


def _site(site: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    tls = site.get("tls") or None
    redirects = bool(tls) and tls.get("redirect") is not False and not all(one["tls"] for one in site["listen"])
    plain = _unique_sockets(one for one in site["listen"] if not one["tls"]) if redirects else {}
    own = _unique_sockets(one for one in site["listen"] if one["tls"] or not redirects)
    secure = next((one["port"] for one in site["listen"] if one["tls"]), 443)
    names = " ".join(_quote(name) if re.search(r"[^\w.*-]", name) else name for name in site["server_names"] or [])
    inherited = _inherited(site)
    # Over plain HTTP browsers ignore it, so a site that is served both ways does not say it.
    hsts = settings["nginx_hsts"] if tls and (redirects or all(one["tls"] for one in site["listen"])) else 0
    locations = [_location(site, route, inherited, hsts) for route in site["routes"]]
    pieces = [(record["origin"], features.load()[name].server(features.Use(record, site)))
              for name, record in site.get("features", {}).items()]
    headers = _headers({**({"Strict-Transport-Security": f"max-age={hsts}"} if hsts else {}),
                        **{name: value for _origin, piece in pieces for name, value in piece.headers.items()}}, set(), [])
    challenges = [_location(site, route, inherited, 0) for route in site["routes"]
                  if route["match"] != "regex" and route["path"].startswith("/.well-known/acme-challenge")]
    view = {
        "name": site["name"], "origin": site["origin"], "tls": tls, "redirects": redirects, "plain": plain, "own": own,
        "names": names or "_", "redirect_port": "" if secure == 443 else f":{secure}", "challenges": challenges,
        "client_max_body_size": site.get("client_max_body_size"), "directives": site.get("directives") or "",
        "concrete": [name for name in site["server_names"] or [] if re.fullmatch(r"[\w-]+(\.[\w-]+)+", name)],
        "headers": headers.replace("        add_header", "    add_header"), "locations": locations,
        "features": "\n".join(_feature_lines(pieces, site["origin"], 4)),
    }
    default = not site["server_names"]
    return _squeeze(_template(_SITE).render(
        site=view, listens=lambda sockets: _listen_lines(sockets, default)))


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


def _inherited(site: Mapping[str, Any]) -> dict[str, list[Statement]]:
    """Return the site's own lines of the directives that nginx drops in a location which has any of its own."""
    result: dict[str, list[Statement]] = {"add_header": [], "proxy_set_header": [], "uwsgi_param": []}
    try:
        for statement in statements(site.get("directives") or ""):
            if statement.depth == 0 and statement.words[0] in result:
                result[statement.words[0]].append(statement)
    except SyntaxProblem:
        pass  # check_sites has told
    return result


def _location(site: Mapping[str, Any], route: Mapping[str, Any], inherited: Mapping[str, list[Statement]],
              hsts: int) -> str:
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

    def sent(directive: str) -> str:
        """Return what is sent to the app: the shared include, or every line where the user overrides one."""
        name, values = _SENT[directive]
        theirs = own.get(directive, set())
        site_wide = [line for line in inherited[directive] if line.words[1].lower() not in theirs]
        overridden = theirs | {line.words[1].lower() for line in site_wide}
        lines = [f"        include webstack/{name}.conf;"]
        if overridden & {key.lower() for key in values}:
            lines = [f"        {_sent_line(directive, key, value)}" for key, value in values.items()
                     if key.lower() not in overridden]
        return "\n".join([*lines, *(f"        {_again(line)}" for line in site_wide)])

    def headers(values: Mapping[str, str] | None = None, cache: str = "") -> str:
        base = {"Strict-Transport-Security": f"max-age={hsts}"} if hsts else {}
        base |= {name: value for _origin, piece in pieces for name, value in piece.headers.items()}
        cached = {"Cache-Control": cache} if cache else {}
        theirs = own.get("add_header", set())
        return _headers({**base, **(values or {}), **cached}, theirs, inherited["add_header"])

    location = {"prefix": "", "exact": "= ", "regex": "~ "}[route["match"]] + _quote(route["path"])
    rendered = _template(kind.template).render(
        route=route, location=location, own=sent, headers=headers, hidden=r'"/\\.(?!well-known(/|$))"',
        upstream=_upstream_name(route) if route["kind"] == "app" else "",
        directives="\n".join(_feature_lines(pieces, route["origin"], 8) + (
            [_raw(text, route["origin"] + ".directives"), _mark(route["origin"])] if text.strip() else [])),
    ).rstrip("\n")
    return f"{_mark(route['origin'])}\n{rendered}"


def _feature_lines(pieces: Iterable[tuple[str, features.Piece]], after: str, indent: int) -> list[str]:
    """Return the lines of features, each marked with the variable it comes from; then ``after`` goes on."""
    lines = [line for origin, piece in pieces if piece.lines
             for line in (_mark(origin), *(" " * indent + text for text in piece.lines))]
    return [*lines, _mark(after)] if lines else []


@functools.cache
def _kinds() -> dict[str, routes.Kind]:
    return routes.load()


def _headers(values: Mapping[str, str], theirs: set[str], site_wide: list[Statement]) -> str:
    """Return the add_header lines of a location: complete, since one line of its own drops all from outside."""
    if not values and not theirs:
        return ""
    site_lines = [line for line in site_wide if line.words[1].lower() not in theirs]
    overridden = theirs | {line.words[1].lower() for line in site_lines}
    # Security headers are for every status; an error must not be kept by caches for a year.
    lines = [f"        add_header {name} {_quote(value)}{'' if name == 'Cache-Control' else ' always'};"
             for name, value in values.items() if name.lower() not in overridden]
    return "\n".join([*lines, *(f"        {_again(line)}" for line in site_lines)])


def _again(statement: Statement) -> str:
    words = [word if re.fullmatch(r"[\w.:/=*$-]+", word) else '"' + word.replace('"', '\\"') + '"'
             for word in statement.words]
    return " ".join(words) + ";"


# -- checking ------------------------------------------------------------------------------------------------------


def check_sites(sites: Iterable[Mapping[str, Any]], settings: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return (path, message) of everything in the sites of one edge that nginx would refuse, or worse, take.

    `settings` are the edge's `nginx_*` settings: variables made in `nginx_directives` are known in the sites.
    """
    sites = list(sites)
    found: list[tuple[str, str]] = []
    _check_listeners(sites, found)
    _check_names(sites, found)
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


_KNOWN = {"webstack_port", "webstack_connection", "webstack_disposition", "webstack_dollar", "webstack_newline"}


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
