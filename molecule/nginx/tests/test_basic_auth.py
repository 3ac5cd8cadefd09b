# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass with a password, and what the app hears of it."""

from __future__ import annotations

import base64
import json

import pytest
from window import Window, make_site

# Of the password "pass".
USERS = {
    "apr1": "$apr1$abcdefgh$rK/lObuciIG5ziaV8BdHR/",
    "sha256": "$5$abcdefgh$HzzE/l7JTvo/KwUuQ1gnXciE10UWdO477E3KxyYElr4",
    "sha512": "$6$abcdefgh$.Wd8gKGVv/NncIZyKrLIzwkMBRaL8yZnKz4uttpMUnlKvNdwooVmeCTgyWEOW0Smhyp/TUAtWmcz4ptHHh/u1/",
    "yescrypt": "$y$j9T$abcdefgh12345678$xNkxRgc.j6i8zwMEKuTZ07.XWshN4kBkr77nbaCSGT5",
    "bcrypt": "$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K",
}
WRITTEN = [{"name": name, "password_hash": text} for name, text in USERS.items()]


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", [
        {"app": "http", "path": "/"},
        {"app": "uwsgi", "path": "/uwsgi/"},
        {"app": "http", "path": "/open/", "basic_auth": {}},
        {"folder": "/srv/nginxtest/static", "path": "/static/"},
        {"app": "http", "path": "/own/", "basic_auth": {"users": [{"name": "eve", "password_hash": USERS["sha512"]}]}},
        {"app": "http", "path": "/file/", "basic_auth": {"file": "/srv/nginxtest/users"}},
        {"redirect": "/new/$1", "path": "^/old/(.*)$", "match": "regex"},
        {"answer": 200, "path": "/hello", "body": "hello"},
        {"answer": 200, "path": "/.well-known/acme-challenge/", "body": "challenge"},
    ], basic_auth={"realm": "Staging", "users": WRITTEN})]
    files = {"static/a.txt": "static", "users": f"mike:{USERS['apr1']}\n"}
    with Window(host, sites, files) as window:
        yield window


def login(name, word="pass"):
    return [f"Authorization: Basic {base64.b64encode(f'{name}:{word}'.encode()).decode()}"]


@pytest.mark.parametrize("name", USERS)
def test_every_sort_of_hash(window, name):
    assert window.ask("/", headers=login(name))[0] == 200
    assert window.ask("/", headers=login(name, "Pass"))[0] == 401


@pytest.mark.parametrize("path, good", [
    ("/", 200), ("/uwsgi/", 200), ("/static/a.txt", 200), ("/hello", 200), ("/old/x", 301)])
def test_who_may_pass(window, path, good):
    status, headers, body = window.ask(path)
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Staging"')
    assert body.startswith("<html>")
    assert "location" not in headers
    status, headers, _body = window.ask(path, headers=login("sha512"))
    assert status == good
    assert headers.get("location", "/new/x").endswith("/new/x")


@pytest.mark.parametrize("path", ["/open/", "/.well-known/acme-challenge/x"])
def test_where_everybody_may(window, path):
    assert window.ask(path)[0] == 200


def test_other_users(window):
    assert [window.ask("/own/", headers=login(name))[0] for name in ("eve", "sha512")] == [200, 401]
    assert [window.ask("/file/", headers=login(name))[0] for name in ("mike", "sha512")] == [200, 401]


def test_the_app_hears_the_name_and_no_password(window):
    heard = window.heard("/", headers=[*login("sha512"), "X-Remote-User: admin"])
    assert heard["x-remote-user"] == "sha512"
    assert "authorization" not in heard
    told = json.loads(window.ask("/uwsgi/", headers=[*login("sha512"), "X-Remote-User: admin"])[2])
    assert told["HTTP_X_REMOTE_USER"] == "sha512"
    assert "HTTP_AUTHORIZATION" not in told
    # Where nobody is asked for a password the app may do so itself, and nobody is believed.
    heard = window.heard("/open/", headers=[*login("any", "thing"), "X-Remote-User: admin"])
    assert "authorization" in heard
    assert "x-remote-user" not in heard


def test_the_hashes_are_for_root_and_the_workers(window):
    def found(user, group):
        return window.host.run(f"setpriv --reuid={user} --regid={group} --clear-groups "
                               "grep -rl abcdefgh /run/nginxtest/etc/webstack").stdout.split()

    assert found("nobody", "nogroup") == []
    assert len(found("www-data", "www-data")) == 2
