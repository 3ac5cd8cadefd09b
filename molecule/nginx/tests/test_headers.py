# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of every answer: of each kind of location, with each status, and each of them once."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from window import PORT, STATUS_PORT, TLS_PORT, Window, ask_many, make_site

SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "strict-origin-when-cross-origin",
        "x-frame-options": "SAMEORIGIN"}
OWN = {"permissions-policy": "camera=()", "x-costs": '$5 "now" \\', "x-edge": "1",
       "content-security-policy": "default-src 'self'; img-src 'self' data:",
       "content-security-policy-report-only": "script-src 'none'"}
HSTS = {"strict-transport-security": "max-age=63072000"}

ROUTES = [
    {"app": "http", "path": "/app/"},
    {"app": "uwsgi", "path": "/uwsgi/"},
    {"app": "dead", "path": "/dead/"},
    {"proxy": f"http://127.0.0.1:{STATUS_PORT}", "path": "/status", "match": "exact",
     "directives": "proxy_hide_header X-Edge;"},
    {"app": "http", "path": "/limited/", "rate_limit": {"rate": "1/m", "burst": 0}},
    {"app": "uwsgi", "path": "/closed/", "access": {"deny": ["127.0.0.1"]}},
    {"folder": "/srv/nginxtest/static", "path": "/static/"},
    {"folder": "/srv/nginxtest/media", "path": "/media/", "uploads": True},
    {"vue": "front", "path": "/front/"},
    {"redirect": "https://www.example.com/", "path": "/old/"},
    {"redirect": "/new/$1", "path": "^/moved/(.*)$", "match": "regex"},
    {"answer": 200, "path": "/hello"},
    {"answer": 404, "path": "/gone"},
    {"answer": 200, "path": "/shut", "access": {"deny": ["127.0.0.1"]}},
    {"answer": 200, "path": "/open", "access": {"deny": ["192.0.2.1"]}},
    {"app": "http", "path": "/paged/", "error_pages": {"pages": {"404": "<p>none</p>"}, "intercept": True}},
    {"app": "http", "path": "/cross/", "cors": {"origins": ["https://a.example"]}},
]

CASES = [
    ("GET", "/app/", 200), ("GET", "/app/?status=404", 404), ("GET", "/app/?status=500", 500),
    ("GET", "/app/?status=301&header=Location:/", 301), ("GET", "/app/?status=405", 405),
    ("GET", "/app/?status=304", 304),
    ("GET", "/uwsgi/", 200), ("GET", "/uwsgi/?status=404", 404), ("GET", "/uwsgi/?status=429", 429),
    ("BIG", "/app/", 413), ("BIG", "/uwsgi/", 413), ("BIG", "/static/a.txt", 413),
    ("GET", "/dead/", 502), ("GET", "/status", 200), ("GET", "/closed/", 403),
    ("GET", "/limited/", 200), ("GET", "/limited/", 429),
    ("GET", "/static/a.txt", 200), ("GET", "/static/none", 404), ("POST", "/static/a.txt", 405),
    ("GET", "/static/.git/config", 404), ("GET", "/static/sub", 301),
    ("GET", "/front/", 200), ("GET", "/front/any/page", 200), ("GET", "/front/assets/a.js", 200),
    ("GET", "/front/assets/none.js", 404), ("GET", "/front/settings.json", 200), ("GET", "/front/.env", 404),
    ("POST", "/front/", 405), ("GET", "/old/", 301), ("GET", "/moved/x", 301), ("GET", "/moved/%0dX-Evil:1", 400),
    ("GET", "/hello", 200), ("GET", "/gone", 404), ("GET", "/shut", 403), ("GET", "/open", 200),
    ("GET", "/paged/?status=404", 404), ("PREFLIGHT", "/cross/", 204), ("GET", "/no-such-location", 404),
    ("TRACE", "/app/", 405),
]


@pytest.fixture(scope="module")
def window(host):
    written = {"headers": {"add": {"Permissions-Policy": "camera=()", "X-Costs": '$5 "now" \\', "Link": "</a>"},
                           "hide": ["X-Powered-By", "Server-Timing"]},
               "csp": {"default-src": ["'self'"], "img-src": ["'self'", "data:"]},
               "csp_report_only": "script-src 'none'"}
    secure = {"tls": {"certificate": "/srv/nginxtest/a.pem", "key": "/srv/nginxtest/a.key"},
              "listen": [f"127.0.0.1:{TLS_PORT}"]}
    plain = [{"app": "http"}, {"app": "uwsgi", "path": "/uwsgi/"},
             {"folder": "/srv/nginxtest/static", "path": "/static/"}]
    sites = [
        make_site("shop", ROUTES, client_max_body_size="1k", **written, **secure),
        make_site("plain", [*plain, {**plain[0], "path": "/none/", "headers": {"defaults": False}}]),
        make_site("none", plain, headers={"defaults": False}),
        make_site("mixed", [*plain[:1], {**plain[0], "path": "/none/", "headers": {"defaults": False}},
                            {**plain[0], "path": "/raw/", "directives": "add_header X-Frame-Options DENY always;"}],
                  csp="frame-ancestors 'none'", directives="add_header Referrer-Policy no-referrer always;"),
    ]
    files = {"static/a.txt": "static", "static/sub/b.txt": "b", "static/.git/config": "secret", "media/x.html": "<p>",
             "front/current/index.html": "index", "front/current/settings.json": "{}", "front/assets/a.js": "js"}
    with Window(host, sites, files, {"nginx_directives": "add_header X-Edge 1 always;"}) as window:
        yield window


def once(headers, wanted):
    """Assert that each of the wanted headers is there once, with its value."""
    for name, value in wanted.items():
        assert [text for key, text in headers if key == name] == [value], name


def requests(cases):
    made = {"BIG": ("POST", (), "x" * 2000),
            "PREFLIGHT": ("OPTIONS", ("Origin: https://a.example", "Access-Control-Request-Method: GET"), "")}
    for method, path, _status in cases:
        method, headers, body = made.get(method, (method, (), ""))
        yield method, path, headers, body


def test_every_answer_has_all_of_them_once(window):
    answers = ask_many(window.host, list(requests(CASES)), port=TLS_PORT, tls=True)
    wrong = []
    for (method, path, status), (found, headers, _body) in zip(CASES, answers, strict=True):
        if found != status:
            wrong.append((method, path, found))
        for name, value in {**SAFE, **OWN, **HSTS}.items():
            values = [text for key, text in headers if key == name]
            if values != [value]:
                wrong.append((method, path, found, name, values))
    assert not wrong


def test_uploads_have_a_stricter_policy(window):
    [(status, headers, _body)] = ask_many(window.host, [("GET", "/media/x.html", (), "")], port=TLS_PORT, tls=True)
    assert status == 200
    once(headers, {**SAFE, **OWN, **HSTS, "content-security-policy": "default-src 'none'; sandbox",
                   "content-disposition": "attachment"})


APPS = [("X-Frame-Options", "DENY"), ("Referrer-Policy", "same-origin"), ("X-Content-Type-Options", "nosniff"),
        ("Strict-Transport-Security", "max-age=60; includeSubDomains")]


@pytest.mark.parametrize("path", ["/app/", "/uwsgi/"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_the_apps_own_word_stays_and_comes_once(window, path, status):
    query = urlencode([("status", status), *(("header", f"{name}:{value}") for name, value in APPS)])
    [(found, headers, _body)] = ask_many(window.host, [("GET", f"{path}?{query}", (), "")], port=TLS_PORT, tls=True)
    assert found == status
    once(headers, {**OWN, **{name.lower(): value for name, value in APPS}})


@pytest.mark.parametrize("path", ["/app/", "/uwsgi/"])
def test_what_the_site_says_takes_the_place_of_the_apps(window, path):
    query = urlencode([("header", f"{name}:theirs") for name in (
        "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Permissions-Policy", "X-Powered-By",
        "Server-Timing", "Link", "X-Other")])
    [(_status, headers, _body)] = ask_many(window.host, [("GET", f"{path}?{query}", (), "")], port=TLS_PORT, tls=True)
    once(headers, {**SAFE, **OWN, "x-other": "theirs"})
    assert not {"x-powered-by", "server-timing"} & {name for name, _value in headers}
    assert sorted(value for name, value in headers if name == "link") == ["</a>", "theirs"]


@pytest.mark.parametrize("path", ["/", "/uwsgi/", "/static/a.txt", "/?status=404"])
def test_they_are_there_without_a_word(window, path):
    [(_status, headers, _body)] = ask_many(window.host, [("GET", path, (), "")], "plain.example.com")
    once(headers, {**SAFE, "x-edge": "1"})


@pytest.mark.parametrize("path", ["/", "/uwsgi/", "/?status=404"])
def test_a_site_may_have_none_of_them(window, path):
    [(_status, headers, _body)] = ask_many(window.host, [("GET", path, (), "")], "none.example.com")
    assert not SAFE.keys() & {name for name, _value in headers}


def test_a_route_may_have_none_of_them(window):
    [(_status, headers, _body)] = ask_many(window.host, [("GET", "/none/", (), "")], "plain.example.com")
    assert not SAFE.keys() & {name for name, _value in headers}
    once(headers, {"x-edge": "1"})


def test_routes_and_directives_of_their_own(window):
    paths = ["/", "/none/", "/raw/", "/no-such"]
    first, none, raw, _rest = [headers for _status, headers, _body in ask_many(
        window.host, [("GET", path, (), "") for path in paths], "mixed.example.com", PORT)]
    once(first, {"referrer-policy": "no-referrer", "content-security-policy": "frame-ancestors 'none'", "x-edge": "1"})
    assert "x-frame-options" not in dict(first)
    once(raw, {"x-frame-options": "DENY", "referrer-policy": "no-referrer", "x-edge": "1"})
    assert not {"x-content-type-options", "x-frame-options"} & dict(none).keys()
    once(none, {"referrer-policy": "no-referrer", "content-security-policy": "frame-ancestors 'none'"})
