# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass, by what another app says of each request (ngx_http_auth_request_module)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import upstreams
from ..schema import suggest
from . import EVERY, Context, Feature, Piece, Use

# What a client writes itself, and what nginx says of it: no app can be told these by somebody else.
_NOT_COPIED = re.compile(r"(?i)host|connection|upgrade|te|expect|trailer|cookie|authorization|content-.*|transfer-.*|"
                         r"x-forwarded-.*|forwarded|x-real-ip|x-request-id|x-original-.*|x-client-.*")
# A condition or a range would make an answer of these apps something else than yes or no, and there is no body.
_NOT_ASKED = ("If-Modified-Since", "If-Unmodified-Since", "If-None-Match", "If-Match", "If-Range", "Range", "Upgrade",
              "Accept-Encoding", "Transfer-Encoding")
_SECONDS = 10


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None or not any(values.values()):
        return None  # in a route: everybody, whatever the site says
    if bool(values["app"]) == bool(values["url"]):
        context.error(origin, "needs either `app`, the name of an app that says who may pass, or `url`, the address of "
                              "such a service.")
        return None
    found = [_app(values["app"], origin, context) if values["app"] else _service(values["url"], origin, context),
             _path(values["path"], origin, context), _login(values["login"], origin, context),
             _headers(values["headers"], origin, context)]
    if None in found:
        return None
    asked, path, login, headers = found
    return {**asked, "path": path, "login": login, "headers": headers}


def _app(name: str, origin: str, context: Context) -> dict[str, Any] | None:
    app = context.app(name)
    if app is None:
        hint = suggest(name, context.names("app")) or " Write the name of an app or a service."
        context.error(f"{origin}.app", f"there is no app named {name!r}.{hint}")
        return None
    servers = list(app["servers"])
    return {"app": name, "protocol": app["protocol"], "servers": servers, "url": "",
            "hosts": list(app.get("server_hosts", servers)), "drained": list(app.get("drained", ()))}


def _service(url: str, origin: str, context: Context) -> dict[str, Any] | None:
    if not re.fullmatch(r"http://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[1-9]\d{0,4})?/?", url):
        context.error(f"{origin}.url", f"is {url!r}; write one such as 'http://127.0.0.1:9091', without a path, which "
                                       "goes into `path`.")
        return None
    return {"app": "", "protocol": "http", "servers": [], "url": url.rstrip("/"), "hosts": [], "drained": []}


def _path(path: str | None, origin: str, context: Context) -> str | None:
    if not path:
        context.error(f"{origin}.path", "is missing: write the path at which it is asked, such as '/auth/check'.")
        return None
    if not re.fullmatch(r"/[\w.~!'()*,:@/+-]*", path) or "//" in path or {".", ".."} & set(path.split("/")):
        context.error(f"{origin}.path", f"is {path!r}; write a plain path such as '/auth/check', without a query.")
        return None
    return path


def _login(login: str, origin: str, context: Context) -> str | None:
    if login and not re.fullmatch(r"(https?://[\w.:\[\]-]+(/|$)|/(?!/))[^\x00-\x20\x7f\"\\{};$#]*", login):
        context.error(f"{origin}.login", f"is {login!r}; write a URL such as https://login.example.com/?rd= or a path "
                                         "such as /login/?next=; the address that was asked for is put at its end.")
        return None
    return login


def _headers(names: Sequence[str], origin: str, context: Context) -> list[str] | None:
    good = True
    for index, name in enumerate(names):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) or _NOT_COPIED.fullmatch(name):
            context.error(f"{origin}.headers[{index}]", f"is {name!r}; write a header that nobody else writes, such as "
                                                        "'X-User'.")
            good = False
    return list({name.lower(): name for name in names}.values()) if good else None


def _address(record: Mapping[str, Any]) -> str:
    words = f"{record['app']} {record['url']} {record['path']}"
    return f"/.webstack/auth/{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def _variable(header: str) -> str:
    return "webstack_auth_" + header.lower().replace("-", "_")


def _location(use: Use) -> Piece:
    lines = [f"auth_request {_address(use.record)};"]
    lines += [f"auth_request_set ${_variable(name)} $upstream_http_{name.lower().replace('-', '_')};"
              for name in use.record["headers"]]
    login = use.record["login"]
    if login:
        start = "$scheme://$host$webstack_port"
        key = "" if login.endswith("=") else "&next=" if "?" in login else "?next="
        lines.append(f'error_page 401 =302 "{start if login[0] == "/" else ""}{login}{key}{start}$webstack_asked_for";')
    return Piece(lines, sent={name: f"${_variable(name)}" for name in use.record["headers"]})


def _beside(use: Use, told: Callable[[str, Mapping[str, str]], list[str]]) -> list[str]:
    record = use.record
    original = {"X-Original-URI": "$request_uri", "X-Original-Method": "$request_method",
                **dict.fromkeys(_NOT_ASKED, "")}
    if record["protocol"] == "uwsgi":
        changes = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in original.items()}
        lines = told("uwsgi_param", {
            **changes, "REQUEST_METHOD": "GET", "REQUEST_URI": record["path"], "PATH_INFO": record["path"],
            "QUERY_STRING": "", "CONTENT_TYPE": "", "CONTENT_LENGTH": ""})
        word, target = "uwsgi", upstreams.name(record)
    else:
        lines = told("proxy_set_header", {**original, "Connection": "close", "Content-Type": "", "Content-Length": ""})
        word, target = "proxy", (record["url"] or f"http://{upstreams.name(record)}") + record["path"]
    # An error page or a cache for the whole site would make a yes out of a no.
    return [f"location = {_address(record)} {{", *(f"    {line}" for line in (
        "internal;", "error_page 599 /;", f"{word}_intercept_errors off;", f"{word}_cache off;", *lines,
        f"{word}_pass_request_body off;", f"{word}_read_timeout {_SECONDS}s;", f"{word}_send_timeout {_SECONDS}s;",
        f"{word}_pass {target};")), "}"]


_SPECIALS = 16


def _http(uses: Sequence[Use]) -> list[str]:
    if not any(use.record["login"] for use in uses):
        return []
    # nginx does not escape what it puts into a URL. An address with more of these signs is taken for the front page.
    plain = "(?:[^%&+#]|%[89A-Fa-f])*+"
    pattern = ""
    for number in range(_SPECIALS, 0, -1):
        pattern = f"(?:(?<webstack_s{number}>[%&+#])(?<webstack_p{number}>{plain}){pattern})?"
    parts = "".join(f"$webstack_e{number}$webstack_p{number}" for number in range(1, _SPECIALS + 1))
    lines = ["map $request_uri $webstack_asked_for {", '    default "/";',
             f'    "~^(?<webstack_p0>/{plain}){pattern}$" "$webstack_p0{parts}";', "}"]
    for number in range(1, _SPECIALS + 1):
        lines += [f"map $webstack_s{number} $webstack_e{number} {{", '    default "";',
                  *(f'    "{sign}" "%{ord(sign):02X}";' for sign in "%&+#"), "}"]
    return lines


def _check(use: Use) -> str:
    there = (use.route or use.site).get("features", {})
    if use.record["login"] and there.get("basic_auth"):
        return ("has a `login`, to which the 401 of `basic_auth` would lead too, so that nobody is asked for a "
                "password: write one of them.")
    login = use.record["login"].partition("?")[0]
    found = [route for route in use.site["routes"] if route["match"] == "exact" and route["path"] == login
             or route["match"] == "prefix" and login.startswith(route["path"])]
    if not login.startswith("/") or not found:
        return ""
    best = max(found, key=lambda route: (route["match"] == "exact", len(route["path"])))
    if best["features"].get("auth_request"):
        return (f"has a `login` ({login}) that nobody sees who is not in yet: clients would be sent round and round. "
                "Give it a route of its own with `auth_request: {}`.")
    return ""


FEATURE = Feature(
    "auth_request", _resolve, kinds=EVERY, gate=True, after_return=True, http=_http, location=_location,
    cleared=lambda uses: [name for use in uses for name in use.record["headers"]],
    upstream=lambda use: use.record if use.record["app"] else None, beside=_beside, check=_check)
