# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are not served."""

from __future__ import annotations

import pytest
from window import Window, make_site


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", [
        {"app": "http", "path": "/"},
        {"app": "http", "path": "/open/", "bots": {}},
        {"app": "http", "path": "/quiet/", "bots": {"default": True, "status": 444}},
        {"folder": "/srv/nginxtest/static", "path": "/static/"},
        {"answer": 200, "path": "/hello", "body": "hello"},
        {"redirect": "/new/$1", "path": "^/old/(.*)$", "match": "regex"},
        {"answer": 200, "path": "/.well-known/acme-challenge/", "body": "challenge"},
    ], bots={"deny": [r"bad(bot|spider)/\d", r'"quoted"'], "empty": True})]
    with Window(host, sites, {"static/a.txt": "static"}) as window:
        yield window


def agent(text):
    return [f"User-Agent: {text}"]


@pytest.mark.parametrize("path, good", [("/", 200), ("/static/a.txt", 200), ("/hello", 200), ("/old/x", 301)])
def test_who_is_served(window, path, good):
    for text in ("Mozilla/5.0", "badbot/x", "sqlmap/1.7"):
        status, headers, _body = window.ask(path, headers=agent(text))
        assert status == good, text
        assert headers.get("location", "/new/x").endswith("/new/x")
    for headers in (agent("badbot/1"), agent("the BadSpider/2.0"), agent('a "quoted" one'), [], agent("")):
        assert window.ask(path, headers=headers)[0] == 403, headers


@pytest.mark.parametrize("path", ["/open/", "/.well-known/acme-challenge/x"])
def test_where_everybody_is(window, path):
    assert window.ask(path, headers=agent("badbot/1"))[0] == 200


def test_without_a_word(window):
    assert window.ask("/quiet/", headers=agent("sqlmap/1.7"))[::2] == (0, "")
    assert window.ask("/quiet/", headers=agent("badbot/1"))[0] == 200
