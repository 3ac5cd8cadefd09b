# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass, by address."""

from __future__ import annotations

import json
import posixpath
import urllib.parse

import pytest
from window import Window, make_site

HERE, ELSEWHERE = ["127.0.0.0/8"], ["192.0.2.0/24", "2001:db8::/32"]


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", [
        {"app": "http", "path": "/"},
        {"app": "uwsgi", "path": "/open/", "access": {}},
        {"folder": "/srv/nginxtest/static", "path": "/here/", "access": {"allow": HERE}},
        {"app": "http", "path": "/here/not/", "access": {"allow": HERE, "deny": ["127.0.0.1"]}},
        {"app": "http", "path": "/others/", "access": {"deny": ELSEWHERE}},
        {"answer": 200, "path": "/hello", "body": "hello"},
        {"answer": 200, "path": "/hello/here", "match": "exact", "body": "here", "access": {"allow": HERE}},
        {"redirect": "/new/$1", "path": "^/old/(.*)$", "match": "regex"},
        {"redirect": "/new/$1", "path": "^/moved/(.*)$", "match": "regex", "access": {"allow": HERE}},
        {"answer": 200, "path": "/.well-known/acme-challenge/", "body": "challenge"},
        {"app": "uwsgi", "path": "/u/closed/"},
        {"app": "uwsgi", "path": "/u/", "access": {}},
        {"app": "http", "path": "/h/closed/"},
        {"app": "http", "path": "/h/", "access": {}},
    ], access={"allow": ELSEWHERE}, directives="add_header X-Site yes always;"),
             make_site("raw", [{"answer": 200, "body": "hello"}], directives="deny all;")]
    with Window(host, sites, {"static/a.txt": "static"}) as window:
        yield window


@pytest.mark.parametrize("path, status", [
    ("/", 403), ("/any", 403), ("/open/", 200), ("/here/a.txt", 200), ("/here/not/", 403), ("/others/", 200),
    ("/hello", 403), ("/old/x", 403), ("/hello/here", 200), ("/moved/x", 301), ("/.well-known/acme-challenge/x", 200),
    ("/u/", 200), ("/u/closed/", 403), ("/h/", 200), ("/h/closed/", 403),
])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_may_pass(window, path, status, method):
    if method == "POST" and path.endswith(".txt"):
        status = 405
    found, headers, _body = window.ask(path, method=method, headers=["Content-Length: 0"])
    assert found == status
    if status not in (400, 404):
        assert headers["x-site"] == "yes"


def test_an_answer_and_a_redirect_are_what_they_would_be(window):
    assert window.ask("/hello/here")[2] == "here"
    assert window.ask("/moved/x")[1]["location"].endswith("/new/x")
    assert "x-evil" not in window.ask("/moved/%0d%0aX-Evil:1")[1]


def test_what_the_user_writes_for_the_site_holds_for_an_answer(window):
    assert window.ask("/", name="raw.example.com")[0] == 403


# What nginx sees as another path than an app would: it decides by the one, and the app answers for the other.
@pytest.mark.parametrize("base", ["/h", "/u"])
@pytest.mark.parametrize("rest, status", [
    ("/closed/", 403), ("//closed/", 403), ("/closed//x", 403), ("/%63losed/", 403), ("/closed%2fx", 403),
    ("%2fclosed/", 403), ("/x/..%2fclosed/", 400), ("/x/../closed/", 400), ("/x/%2e%2e/closed/", 400),
    ("/./closed/", 400), ("/closed/../x", 400), ("/closed/%2e%2e/x", 400), ("/closed%2f..%2fx", 400),
    ("/closed/.%2e/x", 400), ("/closed/%2E./x", 400), ("/closed/%2e%2e%2fx", 400), ("/x/.", 400), ("/x/..", 400),
    ("/x/..?a", 400), ("/x/%2e%2e", 400), ("/x/..#a", 400), ("/a..b/.c/...", 200), ("/a?b=/../c", 200), ("//x", 200),
    ("/a%2Fb", 200), ("/closed", 301), ("/Closed/", 200),
])
def test_nginx_and_the_app_speak_of_the_same_path(window, base, rest, status):
    found, _headers, body = window.ask(base + rest)
    assert found == status
    if status == 200:
        told = json.loads(body)
        seen = told["PATH_INFO"] if base == "/u" else urllib.parse.unquote(urllib.parse.urlsplit(told[1]).path)
        assert not posixpath.normpath(seen.replace("//", "/")).startswith(f"{base}/closed/")
