# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of other origins may read the answers, asked as browsers ask."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from window import PORT, Window, ask_many, make_site

HERE, SUB = "https://a.example", "https://x.b.example"
POLICY = {"origins": [HERE, "https://*.b.example"], "methods": ["GET", "PUT"], "headers": ["Content-Type"],
          "expose": ["X-Asked"], "credentials": True, "max_age": 60}
ALLOWED = {"access-control-allow-credentials": "true", "access-control-expose-headers": "X-Asked"}

SITE = [
    {"app": "http", "path": "/"},
    {"app": "uwsgi", "path": "/uwsgi/"},
    {"app": "dead", "path": "/dead/"},
    {"folder": "/srv/nginxtest/static", "path": "/static/"},
    {"answer": 410, "path": "/gone"},
    {"redirect": "/static/a.txt", "path": "/old/"},
    {"app": "http", "path": "/closed/", "access": {"deny": ["127.0.0.1"]}},
    {"app": "http", "path": "/limited/", "rate_limit": {"rate": "1/m", "burst": 0}},
    {"app": "http", "path": "/methods/", "methods": ["GET", "PUT"]},
    {"app": "http", "path": "/none/", "cors": {}},
    {"app": "uwsgi", "path": "/every/", "cors": {"origins": ["*"], "headers": ["*"]}},
    {"app": "uwsgi", "path": "/null/", "cors": {"origins": ["null"]}},
    {"app": "http", "path": "^/regex/(.*)$", "match": "regex", "directives": "add_header X-Captured $1 always;"},
]


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", SITE, cors=POLICY), make_site("other", SITE[:2])]
    with Window(host, sites, {"static/a.txt": "static"}) as window:
        yield window


def ask(window, path, origin=None, method="GET", name="shop.example.com", **asked):
    """Return (status, {CORS header: its values}, Vary, body)."""
    headers = [] if origin is None else [f"Origin: {origin}"]
    headers += [f"Access-Control-Request-{key.capitalize()}: {value}" for key, value in asked.items()]
    [(status, found, body)] = ask_many(window.host, [(method, path, headers, "")], name, PORT)
    cors = {}
    for key, value in found:
        if key.startswith("access-control-"):
            assert key not in cors, f"{key} came twice"
            cors[key] = value
    return status, cors, ",".join(value for key, value in found if key == "vary"), body


PLACES = [("/", 200), ("/?status=404", 404), ("/?status=500", 500), ("/uwsgi/", 200), ("/uwsgi/?status=403", 403),
          ("/dead/", 502), ("/static/a.txt", 200), ("/static/none", 404), ("/gone", 410), ("/old/", 301),
          ("/closed/", 403)]


@pytest.mark.parametrize("path, status", PLACES)
def test_an_allowed_origin_reads_every_answer(window, path, status):
    for origin in (HERE, SUB):
        found, cors, vary, _body = ask(window, path, origin)
        assert (found, cors) == (status, {**ALLOWED, "access-control-allow-origin": origin})
        assert "Origin" in vary


@pytest.mark.parametrize("origin", [
    None, "null", "https://other.example", "http://a.example", "https://a.example.evil", "https://a.example:8443",
    "https://xa.example", "https://sub.a.example", "https://b.example", "https://xb.example",
    "https://x.b.example.evil", "https://x.bzexample", "https://evil.example/x.b.example", "https://a.example@evil",
])
def test_no_other_origin_does(window, origin):
    for path in ("/", "/static/none"):
        _status, cors, vary, _body = ask(window, path, origin)
        assert not cors
        assert "Origin" in vary


def test_without_a_policy_there_is_none(window):
    for name, path in (("other.example.com", "/"), ("other.example.com", "/uwsgi/"), ("shop.example.com", "/none/")):
        status, cors, vary, _body = ask(window, path, HERE, name=name)
        assert (status, cors) == (200, {})
        assert "Origin" not in vary


PREFLIGHT = {**ALLOWED, "access-control-allow-methods": "GET, PUT", "access-control-allow-headers": "Content-Type",
             "access-control-max-age": "60"}


@pytest.mark.parametrize("path", ["/", "/uwsgi/", "/dead/", "/static/a.txt", "/gone", "/old/", "/closed/", "/methods/",
                                  "/regex/x"])
def test_a_preflight_is_answered_by_nginx(window, path):
    for origin in (HERE, SUB):
        status, cors, vary, body = ask(window, path, origin, "OPTIONS", Method="PUT")
        assert (status, body) == (204, "")
        assert cors == {**PREFLIGHT, "access-control-allow-origin": origin}
        assert "Origin" in vary


def test_a_preflight_is_not_counted(window):
    asked = [("OPTIONS", "/limited/", ("Origin: " + HERE, "Access-Control-Request-Method: PUT"), "")]
    answers = ask_many(window.host, [*asked * 5, ("GET", "/limited/", (), ""), ("GET", "/limited/", (), "")])
    assert [status for status, _headers, _body in answers] == [204] * 5 + [200, 429]


def test_a_preflight_of_another_origin_gets_no_leave(window):
    status, cors, _vary, _body = ask(window, "/", "https://a.example.evil", "OPTIONS", Method="PUT")
    assert (status, cors) == (204, {})


@pytest.mark.parametrize("asked", [{"Method": "DELETE"}, {"Method": "PUT", "Headers": "X-Evil"}])
def test_what_is_not_allowed_is_not_in_the_answer_to_a_preflight(window, asked):
    status, cors, _vary, _body = ask(window, "/", HERE, "OPTIONS", **asked)
    assert (status, cors) == (204, {**PREFLIGHT, "access-control-allow-origin": HERE})
    assert "DELETE" not in str(cors) and "X-Evil" not in str(cors)


def test_an_app_hears_other_options(window):
    for path, name, asked in (("/uwsgi/", "shop.example.com", {}), ("/uwsgi/", "other.example.com", {"Method": "PUT"}),
                              ("/none/", "shop.example.com", {"Method": "PUT"})):
        status, cors, _vary, body = ask(window, path, HERE, "OPTIONS", name, **asked)
        assert status == 200
        assert "OPTIONS" in body or "Origin" in body
        assert "access-control-allow-methods" not in cors


def test_the_apps_own_headers_do_not_come_beside(window):
    query = urlencode([("header", f"{name}:{value}") for name, value in (
        ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"), ("Vary", "Cookie"))])
    for path in ("/", "/uwsgi/"):
        _status, cors, vary, _body = ask(window, f"{path}?{query}", HERE)
        assert cors == {**ALLOWED, "access-control-allow-origin": HERE}
        assert {"Cookie", "Origin"} <= set(vary.split(","))
        # Nor in place of ours.
        assert not ask(window, f"{path}?{query}", "https://other.example")[1]
    # Without a policy here, the app's holds.
    assert ask(window, f"/?{query}", HERE, name="other.example.com")[1]["access-control-allow-origin"] == "*"


def test_every_origin(window):
    for origin in (None, HERE, "null"):
        _status, cors, vary, _body = ask(window, "/every/", origin)
        assert cors == {"access-control-allow-origin": "*"}
        assert "Origin" in vary
    assert ask(window, "/every/", "https://any.example", "OPTIONS", Method="POST")[1] == {
        "access-control-allow-origin": "*", "access-control-allow-methods": "GET, HEAD, POST",
        "access-control-allow-headers": "*", "access-control-max-age": "3600"}


def test_the_null_origin_has_to_be_named(window):
    assert ask(window, "/null/", "null")[1] == {"access-control-allow-origin": "null"}
    assert not ask(window, "/null/", HERE)[1]


def test_what_a_regular_expression_has_found_stays(window):
    [(_status, headers, _body)] = ask_many(window.host, [("GET", "/regex/found", (f"Origin: {SUB}",), "")])
    assert dict(headers)["x-captured"] == "found"
    assert dict(headers)["access-control-allow-origin"] == SUB
