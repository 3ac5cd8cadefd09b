# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass by what an app says, what that app is asked, and what the app behind hears."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from window import PORT, Window, make_site

BY_HTTP = {"app": "http", "path": "/auth/check", "headers": ["X-User", "X-Groups"]}
BY_UWSGI = {"app": "uwsgi", "path": "/auth/check", "headers": ["X-User"]}
YES = "X-Do: status=200&header=X-User:alice&header=X-Groups:staff"
NO, FORBIDDEN, BROKEN = "X-Do: status=401", "X-Do: status=403", "X-Do: status=500"
FORGED = ["X-User: root", "x-groups: wheel", "X_User: root", "X-Original-URI: /forged", "X-Original-Method: PUT"]
# What turns each no into a yes, were it not for the location of the question itself.
MEANT_WELL = "error_page 401 403 500 502 504 =200 /well-meant; proxy_intercept_errors on; uwsgi_intercept_errors on;"


@pytest.fixture(scope="module")
def window(host):
    routes = [
        {"app": "http", "path": "/"},
        {"app": "uwsgi", "path": "/uwsgi/"},
        {"app": "http", "path": "/by-uwsgi/", "auth_request": BY_UWSGI},
        {"app": "http", "path": "/heard", "auth_request": {}},
        {"app": "uwsgi", "path": "/heard/uwsgi", "auth_request": {}},
        {"app": "http", "path": "/open/", "auth_request": {}},
        {"app": "http", "path": "/page/", "auth_request": {**BY_HTTP, "login": "/login/?next="}},
        {"answer": 200, "path": "/login/", "body": "login", "auth_request": {}},
        {"app": "http", "path": "/elsewhere/",
         "auth_request": {"url": f"http://127.0.0.1:{PORT}", "path": "/service", "headers": ["X-User"]}},
        {"app": "http", "path": "/nobody/", "auth_request": {"url": "http://127.0.0.1:1", "path": "/"}},
        {"answer": 401, "path": "/service", "auth_request": {},
         "directives": 'if ($http_cookie = "good") { add_header X-User bob; return 204; }'},
        {"folder": "/srv/nginxtest/static", "path": "/static/"},
        {"redirect": "/new/", "path": "/old/"},
        {"answer": 200, "path": "/hello", "body": "hello"},
        {"answer": 200, "path": "/.well-known/acme-challenge/", "body": "challenge"},
        {"answer": 200, "path": "/well-meant", "body": "well meant", "auth_request": {}},
    ]
    sites = [make_site("shop", routes, auth_request=BY_HTTP),
             make_site("loose", [*routes[:2], routes[-1]], auth_request=BY_HTTP, directives=MEANT_WELL),
             make_site("other", [{"app": "http"}])]
    with Window(host, sites, {"static/a.txt": "static"}) as window:
        yield window


@pytest.mark.parametrize("path, good", [
    ("/", 200), ("/uwsgi/", 200), ("/by-uwsgi/", 200), ("/static/a.txt", 200), ("/old/", 301), ("/hello", 200)])
def test_who_may_pass(window, path, good):
    assert [window.ask(path, headers=[do])[0] for do in (YES, NO, FORBIDDEN, BROKEN)] == [good, 401, 403, 500]
    assert window.ask(path)[0] == 401


@pytest.mark.parametrize("method, path", [("POST", "/"), ("POST", "/uwsgi/"), ("HEAD", "/uwsgi/")])
def test_other_methods(window, method, path):
    body = ["Content-Length: 0"] if method == "POST" else []
    assert [window.ask(path, method=method, headers=[do, *body])[0] for do in (YES, NO)] == [200, 401]


@pytest.mark.parametrize("path", ["/open/", "/.well-known/acme-challenge/x"])
def test_where_everybody_may(window, path):
    assert window.ask(path, headers=[NO])[0] == 200


def test_a_service_elsewhere(window):
    assert window.ask("/elsewhere/")[0] == 401
    assert window.heard("/elsewhere/", headers=["Cookie: good", *FORGED])["x-user"] == "bob"
    assert window.ask("/nobody/", headers=[YES])[0] == 500


def test_the_app_hears_what_the_other_says(window):
    heard = window.heard("/", headers=[YES, *FORGED])
    assert (heard["x-user"], heard["x-groups"]) == ("alice", "staff")
    told = json.loads(window.ask("/uwsgi/", headers=[YES, *FORGED])[2])
    assert (told["HTTP_X_USER"], told["HTTP_X_GROUPS"]) == ("alice", "staff")
    # Said by nobody, it is heard from nobody.
    assert "x-user" not in window.heard("/", headers=["X-Do: status=204", *FORGED])
    told = json.loads(window.ask("/uwsgi/", headers=["X-Do: status=204", *FORGED])[2])
    assert "HTTP_X_USER" not in told


@pytest.mark.parametrize("path, name", [("/open/", "shop"), ("/", "other")])
def test_no_client_writes_the_header_where_nobody_is_asked(window, path, name):
    heard = window.heard(path, name=f"{name}.example.com", headers=FORGED)
    assert not {"x-user", "x-groups"} & heard.keys()


def test_what_the_app_that_is_asked_hears(window):
    headers = [YES, *FORGED, "Cookie: a=b", "Content-Length: 4", "If-None-Match: x", "Range: bytes=0-1",
               "Upgrade: websocket"]
    # The body comes late, and is none of its business.
    assert window.ask("/a%2Fb?c=d&e", method="POST", headers=[*headers, "", "body"])[0] == 200
    _version, path, found, method = json.loads(window.ask("/heard")[2])
    heard = {name.lower(): value for name, value in found}
    assert len(heard) == len(found), "a header came twice"
    assert (path, method) == ("/auth/check", "GET")
    expected = {"x-original-uri": "/a%2Fb?c=d&e", "x-original-method": "POST", "cookie": "a=b", "connection": "close",
                "host": "shop.example.com", "x-forwarded-for": "127.0.0.1"}
    assert expected.items() <= heard.items()
    assert not {"content-length", "if-none-match", "range", "upgrade", "x-user", "transfer-encoding"} & heard.keys()


def test_the_same_by_the_uwsgi_protocol(window):
    headers = [YES, *FORGED, "Cookie: a=b", "Content-Length: 4", "If-None-Match: x"]
    assert window.ask("/by-uwsgi/?c=d", method="POST", headers=[*headers, "", "body"])[0] == 200
    told = json.loads(window.ask("/heard/uwsgi")[2])
    expected = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/auth/check", "PATH_INFO": "/auth/check",
                "HTTP_X_ORIGINAL_URI": "/by-uwsgi/?c=d", "HTTP_X_ORIGINAL_METHOD": "POST", "HTTP_COOKIE": "a=b"}
    assert expected.items() <= told.items()
    assert not {"CONTENT_LENGTH", "HTTP_IF_NONE_MATCH", "HTTP_X_USER"} & told.keys()


def test_nobody_asks_for_the_question_itself(window):
    files = window.host.check_output("grep -rhoE 'location = /.webstack/auth/[0-9a-f]+' /run/nginxtest/etc/webstack/")
    for line in files.splitlines():
        assert window.ask(line.split()[-1], headers=[YES])[0] == 404


def test_nobody_passes_while_the_app_is_down(window):
    with window.apps_down():
        for path in ("/static/a.txt", "/hello", "/by-uwsgi/", "/old/"):
            assert window.ask(path, headers=[YES])[0] == 500, path


@pytest.mark.parametrize("path", ["/", "/uwsgi/"])
def test_error_pages_let_nobody_in(window, path):
    for do, status in ((YES, 200), (NO, 401), (FORBIDDEN, 403), (BROKEN, 500)):
        body = window.ask(path, name="loose.example.com", headers=[do])[2]
        assert ("well meant" in body) == (status != 200), do


@pytest.mark.parametrize("address", [
    "/page/", "/page/?a=1", "/page/?a=1&b=2", "/page/a%2Fb?c=%26&d=x+y", "/page/caf%C3%A9?q=%C3%9F&r=#x", "/page/%25",
    "/page/a//b?next=//evil.example&x", "/page/?" + "&".join(f"p{number}={number}" for number in range(16)),
])
def test_login(window, address):
    status, headers, _body = window.ask(address, headers=[NO])
    assert status == 302
    place = urllib.parse.urlsplit(headers["location"])
    assert (place.netloc.partition(":")[0], place.path) == ("shop.example.com", "/login/")
    # A browser never sends what stands behind the #, and what is not ASCII means the same decoded.
    [(key, value)] = urllib.parse.parse_qsl(place.query, keep_blank_values=True)
    expected = f"http://shop.example.com{address}"
    assert (key, urllib.parse.quote(value, safe="%/?:&=+#")) == ("next", expected)


def test_a_login_from_an_address_that_is_too_long(window):
    headers = window.ask("/page/?" + "&" * 17, headers=[NO])[1]
    assert headers["location"].endswith("/login/?next=http://shop.example.com/")
    assert window.ask("/page/", headers=[YES])[0] == 200
    assert window.ask("/login/", headers=[NO])[2] == "login"
