# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which methods pass, and that the others are told which do."""

from __future__ import annotations

import pytest
from window import Window, make_site

FORM = ["Content-Length: 0"]


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", [
        {"app": "http", "path": "/"},
        {"app": "uwsgi", "path": "/uwsgi/"},
        {"folder": "/srv/nginxtest/static", "path": "/static/"},
        {"app": "http", "path": "/form/", "methods": ["POST", "GET"]},
        {"app": "http", "path": "/any/", "methods": []},
        {"answer": 200, "path": "/hello", "body": "hello"},
        {"redirect": "/new/$1", "path": "^/old/(.*)$", "match": "regex"},
    ], methods=["GET"], directives="add_header X-Site yes always;"), make_site("front", [{"vue": "front"}],
                                                                            methods=["GET"])]
    files = {"static/a.txt": "static", "front/releases/1/index.html": "index", "front/assets/a.js": "a",
             "front/releases/1/settings.json": "{}"}
    with Window(host, sites, files) as window:
        host.check_output("ln -sfn releases/1 /srv/nginxtest/front/current")
        yield window


@pytest.mark.parametrize("path, good", [
    ("/", 200), ("/uwsgi/", 200), ("/static/a.txt", 200), ("/hello", 200), ("/old/x", 301)])
def test_what_passes(window, path, good):
    for method in ("GET", "HEAD") if path != "/" else ("GET",):
        status, headers, _body = window.ask(path, method=method)
        assert (status, "allow" in headers) == (good, False)
        assert headers.get("location", "/new/x").endswith("/new/x")
    for method in ("POST", "DELETE", "OPTIONS", "PROPFIND", "WHAT"):
        status, headers, _body = window.ask(path, method=method, headers=FORM)
        assert (status, headers["allow"]) == (405, "GET, HEAD"), method
        assert headers["x-site"] == "yes"


@pytest.mark.parametrize("path", ["/", "/any/page", "/assets/a.js", "/settings.json"])
def test_a_vue_site(window, path):
    def front(method):
        return window.ask(path, "front.example.com", method=method, headers=FORM)

    assert front("GET")[0] == 200
    status, headers, _body = front("POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_what_a_route_says_itself(window):
    assert window.ask("/form/", method="POST", headers=FORM)[0] == 200
    assert window.ask("/form/", method="OPTIONS")[1]["allow"] == "GET, HEAD, POST"
    assert window.ask("/any/", method="OPTIONS")[0] == 200


def test_methods_that_nginx_never_passes_on(window):
    assert window.ask("/any/", method="TRACE")[0] == 405
    assert window.ask("/any/", method="CONNECT")[0] in (400, 405)
