# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app below a path: Gunicorn is told the whole path and its beginning, uWSGI both parts."""

from __future__ import annotations

import json

import pytest
from window import Window, make_site


@pytest.fixture(scope="module")
def window(host):
    routes = [{"app": app, "path": f"/{app}.{kind}/", "mount": kind == "in"} for app in ("http", "uwsgi")
              for kind in ("in", "out")]
    with Window(host, [make_site("shop", routes)]) as window:
        yield window


@pytest.mark.parametrize("path, heard", [
    ("/http.in/", "/http.in/"), ("/http.in/a/b?c=%2F&d", "/http.in/a/b?c=%2F&d"), ("/%68ttp.in/a", "/http.in/a"),
    ("//http.in//a", "/http.in/a"), ("/http.in/caf%C3%A9%20%3F%25%22", "/http.in/caf%C3%A9%20%3F%25%22"),
    ("/http.in/a%0Ab", "/http.in/a%0Ab"),
])
def test_gunicorn(window, path, heard):
    status, _headers, body = window.ask(path, headers=["SCRIPT_NAME: /evil", "Script-Name: /evil"])
    assert status == 200
    found, headers = json.loads(body)[1:3]
    assert found == heard
    assert [value for name, value in headers if name == "SCRIPT_NAME"] == ["/http.in"]


@pytest.mark.parametrize("path, rest", [
    ("/uwsgi.in/", "/"), ("/uwsgi.in/a/b?c=d", "/a/b"), ("/uwsgi.in/caf%C3%A9%20%3F", "/caf\u00e9 ?"),
    ("/%75wsgi.in//a", "/a"), ("/uwsgi.in/a%0Ab", "/a\nb"),
])
def test_uwsgi(window, path, rest):
    status, _headers, body = window.ask(path, headers=["SCRIPT_NAME: /evil"])
    told = json.loads(body)
    assert (status, told["SCRIPT_NAME"], told["PATH_INFO"], told["REQUEST_URI"]) == (200, "/uwsgi.in", rest, path)
    assert told["QUERY_STRING"] == path.partition("?")[2]


def test_without_it(window):
    path, headers = json.loads(window.ask("/%68ttp.out//a", headers=["SCRIPT_NAME: /evil"])[2])[1:3]
    assert path == "/%68ttp.out//a"
    assert "SCRIPT_NAME" not in [name.upper().replace("-", "_") for name, _value in headers]
    told = json.loads(window.ask("/uwsgi.out/a")[2])
    assert "SCRIPT_NAME" not in told and told["PATH_INFO"] == "/uwsgi.out/a"


def test_the_folder_without_its_slash(window):
    status, headers, _body = window.ask("/http.in")
    assert (status, headers["location"]) == (301, "http://shop.example.com:18080/http.in/")
