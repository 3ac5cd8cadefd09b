# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes to servers that the collection does not run."""

from __future__ import annotations

import farm
import pytest
from window import PORT, Window, make_site

PLAIN, SECURED = "http://127.0.0.1:18081", "https://legacy.example.com:18444"
THERE = {"servers": ["127.0.0.1:18444"], "tls": {"ca": "/srv/nginxtest/legacy.pem"}}


def routes():
    return [
        {"proxy": PLAIN, "path": "/as-it-is/"},
        {"proxy": f"{PLAIN}/", "path": "/slash/"},
        {"proxy": f"{PLAIN}/base", "path": "/below/"},
        {"proxy": f"{PLAIN}/base/", "path": "/below-slash/"},
        {"proxy": PLAIN, "path": "/strip", "strip_path": True},
        {"proxy": f"{PLAIN}/base/", "path": "/strip-base/", "strip_path": True},
        {"proxy": f"{PLAIN}/base", "path": "/whole", "match": "exact"},
        {"proxy": PLAIN, "path": "^/regex/[0-9]+$", "match": "regex"},
        {"proxy": f"{SECURED}/base", "path": "/secured/", "strip_path": True, **THERE},
        {"proxy": SECURED, "path": "/client-host/", "host_header": "$host", **THERE},
        {"proxy": SECURED, "path": "/no-authority/", "servers": THERE["servers"]},
        {"proxy": SECURED, "path": "/wrong-name/", "servers": THERE["servers"],
         "tls": {**THERE["tls"], "name": "other.example.com"}},
        {"proxy": SECURED, "path": "/unverified/", "servers": THERE["servers"], "tls": {"verify": False}},
        {"proxy": PLAIN, "path": "/slow/", "timeout": 1},
        {"proxy": "http://pool", "path": "/pool/", "servers": ["127.0.0.1:18082", "127.0.0.1:18081"]},
    ]


@pytest.fixture(scope="module")
def window(host):
    farm.certificate(host)
    with Window(host, [make_site("shop", routes())]) as window:
        farm.start(host)
        yield window
        farm.stop(host)


@pytest.mark.parametrize("asked, heard", [
    ("/as-it-is/a%2Fb?c=d", "/as-it-is/a%2Fb?c=d"),
    ("/slash/a%2Fb", "/slash/a%2Fb"),
    ("/below/a?c=d", "/base/below/a?c=d"),
    ("/below-slash/a", "/base/below-slash/a"),
    ("/strip/a?c=d", "/a?c=d"),
    ("/strip/", "/"),
    ("/strip-base/a/", "/base/a/"),
    ("/whole?c=d", "/base/whole?c=d"),
    ("/regex/12", "/regex/12"),
    ("/secured/a", "/base/a"),
])
def test_paths(window, asked, heard):
    status, headers, _body = window.ask(asked)
    assert (status, headers["x-path"]) == (200, heard)


def test_a_path_that_is_taken_off_is_a_folder(window):
    assert window.ask("/strip")[:1] == (301,)
    assert window.ask("/stripped/a")[0] == 404


@pytest.mark.parametrize("path, name", [
    ("/as-it-is/", "shop.example.com"),
    ("/secured/", "legacy.example.com:18444"),
    ("/client-host/", "shop.example.com"),
])
def test_the_host_that_is_heard(window, path, name):
    _status, headers, _body = window.ask(path)
    assert (headers["x-host"], headers["x-forwarded"]) == (name, "shop.example.com")


@pytest.mark.parametrize("path, status", [
    ("/secured/", 200), ("/no-authority/", 502), ("/wrong-name/", 502), ("/unverified/", 200),
])
def test_a_server_proves_who_it_is(window, path, status):
    assert window.ask(path)[0] == status


@pytest.mark.parametrize("path, location, expected", [
    ("/secured/", "https://legacy.example.com:18444/base/x?y", "/secured/x?y"),
    ("/secured/", "/base/x", "/secured/x"),
    ("/secured/", "https://legacy.example.com:18444/other", "https://legacy.example.com:18444/other"),
    ("/secured/", "https://legacy.example.com/base/x", "https://legacy.example.com/base/x"),
    ("/secured/", "https://elsewhere.example.com/base/x", "https://elsewhere.example.com/base/x"),
    ("/below/", "/base/below/x", "/below/x"),
    ("/strip/", "/x", "/strip/x"),
    ("/strip/", "//elsewhere.example.com/x", "//elsewhere.example.com/x"),
    ("/as-it-is/", "/x", "/x"),
])
def test_redirects_stay_on_the_site(window, path, location, expected):
    status, headers, body = window.ask(f"{path}?status=302&header=Location:{location.replace('?', '%3F')}",
                                       name=f"shop.example.com:{PORT}")
    assert status == 302, (headers, body)
    assert headers["location"].removeprefix(f"http://shop.example.com:{PORT}") == expected


def test_cookies_stay_on_the_site(window):
    def cookie(path, words):
        return window.ask(f"{path}?header=Set-Cookie:{words}")[1]["set-cookie"]

    assert cookie("/secured/", "a=b;Path=/base/x;Domain=legacy.example.com").replace("; ", ";").lower() == (
        "a=b;path=/secured/x;domain=shop.example.com")
    assert cookie("/as-it-is/", "a=b;Path=/x").endswith("Path=/x")


def test_a_silent_server(window):
    assert window.ask("/slow/?sleep=3")[0] == 504
    assert window.ask("/as-it-is/?sleep=2")[0] == 200


def test_several_servers_of_which_one_is_dead(window):
    assert {window.ask("/pool/")[0] for _try in range(4)} == {200}
