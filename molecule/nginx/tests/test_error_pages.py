# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of one's own in place of nginx's, and the app's own pages beside them."""

from __future__ import annotations

import farm
import pytest
from window import Window, make_site

PAGES = {"pages": {502: "page 502", 503: "page 503", 504: "", 404: "page 404", 403: "page 403"}}
BUSY = "limit_req_zone $host zone=busy:1m rate=1r/m;"


@pytest.fixture(scope="module")
def window(host):
    shop = [
        {"app": "one", "path": "/", "timeout": 1},
        {"app": "dead", "path": "/dead/", "headers": {"add": {"X-Route": "dead"}}},
        {"app": "dead", "path": "/raw/", "directives": "error_page 502 =200 /hello; add_header X-Raw yes always;"},
        {"app": "dead", "path": "/plain/", "error_pages": {}},
        {"app": "dead", "path": "/own/", "error_pages": {"pages": {502: "own 502"}}},
        {"app": "one", "path": "/busy/", "directives": "limit_req zone=busy;"},
        {"app": "one", "path": "/taken/", "error_pages": {"pages": {404: "taken 404"}, "intercept": True}},
        {"app": "uwsgi", "path": "/uwsgi/", "timeout": 1},
        {"app": "uwsgi", "path": "/uwsgi-taken/", "error_pages": {"pages": {404: "taken 404"}, "intercept": True}},
        {"app": "one", "path": "/closed/", "access": {"allow": ["192.0.2.1"]}},
        {"folder": "/srv/nginxtest/files", "path": "/files/"},
        {"answer": 404, "path": "/gone/"},
        {"answer": 200, "path": "/closed-answer/", "access": {"allow": ["192.0.2.1"]}},
        {"answer": 200, "path": "/hello", "match": "exact", "body": "hello"},
    ]
    other = [{"app": "dead", "path": "/"}, {"app": "one", "path": "/slow/", "timeout": 1},
             {"folder": "/srv/nginxtest/files", "path": "/files/"}]
    raw = "error_page 404 =404 /hello;"
    sites = [make_site("shop", shop, error_pages=PAGES, directives='add_header X-Site "yes" always;'),
             make_site("other", other),
             make_site("mine", [{"folder": "/srv/nginxtest/files", "path": "/files/"}, shop[-1]], error_pages=PAGES,
                       directives=raw)]
    with Window(host, sites, {"files/a.txt": "a"}, {"nginx_directives": BUSY}) as window:
        farm.start(host)
        yield window
        farm.stop(host)


@pytest.mark.parametrize("path, status, text", [
    ("/dead/", 502, "page 502"),
    ("/?sleep=3", 504, "<h1>504 Gateway Timeout</h1>"),
    ("/uwsgi/?sleep=3", 504, "<h1>504 Gateway Timeout</h1>"),
    ("/files/none", 404, "page 404"),
    ("/closed/", 403, "page 403"),
    ("/own/", 502, "own 502"),
    ("/plain/", 502, "<center>nginx</center>"),
    ("/gone/", 404, "page 404"),
    ("/closed-answer/", 403, "page 403"),
    # What the app says itself is the app's.
    ("/?status=404", 404, "one"),
    ("/?status=503", 503, "one"),
    ("/taken/?status=404", 404, "taken 404"),
    ("/uwsgi-taken/?status=404", 404, "taken 404"),
    ("/taken/?status=503", 503, "one"),
    ("/raw/", 200, "hello"),
])
def test_pages(window, path, status, text):
    found, headers, body = window.ask(path)
    assert found == status
    assert text in body
    if "page" in text or "<h1>" in text:
        assert headers["content-type"] == "text/html; charset=utf-8"


def test_a_busy_site(window):
    assert window.ask("/busy/")[0] == 200
    assert window.ask("/busy/")[::2] == (503, "page 503")


def test_a_post_gets_the_page_too(window):
    assert window.ask("/dead/", method="POST", headers=["Content-Length: 0"])[::2] == (502, "page 502")


def test_without_pages_it_is_nginxs_own(window):
    for path, status in (("/", 502), ("/slow/?sleep=3", 504), ("/files/none", 404)):
        found, _headers, body = window.ask(path, name="other.example.com")
        assert found == status
        assert "<center>nginx</center>" in body


def test_a_page_has_the_headers_of_its_route(window):
    headers = window.ask("/dead/")[1]
    assert (headers["x-site"], headers["x-route"]) == ("yes", "dead")
    assert headers["x-content-type-options"] == "nosniff"
    assert "x-route" not in window.ask("/own/")[1]
    assert window.ask("/own/")[1]["x-site"] == "yes"


def test_the_users_own_error_page_wins(window):
    assert window.ask("/files/none", name="mine.example.com")[::2] == (404, "hello")


def test_nobody_asks_for_a_page_itself(window):
    names = window.host.check_output("ls /run/nginxtest/etc/webstack/pages").split()
    assert names
    for name in names:
        assert window.ask(f"/.webstack/pages/{name}")[::2] == (404, "page 404")
