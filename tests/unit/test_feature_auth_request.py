# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass by what another app says: who is asked, with what, and what the app behind hears."""

from __future__ import annotations

import re

import pytest
from sites import block, make, render, rendered

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render

ASKED = {"app": "http", "path": "/auth/check", "headers": ["X-User"]}


def of_auth(text):
    return block(text, re.search(r"^    location = /\.webstack/auth/.*$", text, re.MULTILINE)[0])


@pytest.mark.parametrize("written", [
    {"app": "http"}, {"app": "uwsgi"}, {"folder": "/srv/x"}, {"vue": "x"}, {"answer": 200}, {"redirect": "/x"}])
def test_every_kind_of_route(written):
    text = rendered([{"path": "/a/", **written}], auth_request=ASKED)
    found = [block(text, location) for location in re.findall(r"^    location [^@\n]*\"/a/.*$", text, re.MULTILINE)]
    assert found
    for location in found:
        assert re.search(r"^auth_request /\.webstack/auth/\w+;$", location, re.MULTILINE)
        assert not re.search(r"^return (200|30\d)", location, re.MULTILINE)


@pytest.mark.parametrize("written, lines", [
    (ASKED, ["proxy_pass http://webstack_http/auth/check;", "proxy_pass_request_body off;", "proxy_cache off;",
             'proxy_set_header Content-Length "";', 'proxy_set_header X-Original-URI "$request_uri";',
             'proxy_set_header X-Original-Method "$request_method";', 'proxy_set_header If-None-Match "";',
             'proxy_set_header X-Forwarded-For "$remote_addr";', "proxy_intercept_errors off;"]),
    ({**ASKED, "app": "uwsgi"}, [
        "uwsgi_pass webstack_uwsgi;", "uwsgi_pass_request_body off;", "uwsgi_cache off;",
        'uwsgi_param REQUEST_METHOD "GET" if_not_empty;', 'uwsgi_param PATH_INFO "/auth/check" if_not_empty;',
        'uwsgi_param CONTENT_LENGTH "" if_not_empty;', 'uwsgi_param HTTP_RANGE "" if_not_empty;',
        'uwsgi_param HTTP_X_ORIGINAL_URI "$request_uri" if_not_empty;']),
    ({"url": "http://[::1]:9091/", "path": "/check"}, ["proxy_pass http://[::1]:9091/check;"]),
])
def test_who_is_asked(written, lines):
    found = of_auth(rendered([{"answer": 200}], auth_request=written))
    assert "internal;\nerror_page 599 /;" in found
    for line in lines:
        assert line in found
    names = re.findall(r"^(?:proxy_set_header|uwsgi_param) (\S+)", found, re.MULTILINE)
    assert len(names) == len({name.lower() for name in names})


def test_an_app_without_a_route_has_an_upstream():
    text = rendered([{"answer": 200}], auth_request=ASKED, file="http.conf")
    assert "server unix:/run/http.sock" in block(text, "    upstream webstack_http {")


def test_it_is_asked_in_one_place():
    text = rendered([{"app": "http"}, {"app": "http", "path": "/b/"}], auth_request=ASKED)
    assert text.count("location = /.webstack/auth/") == 1


@pytest.mark.parametrize("app, own, cleared", [
    ("http", 'proxy_set_header X-User "$webstack_auth_x_user";', 'proxy_set_header X-User "";'),
    ("uwsgi", 'uwsgi_param HTTP_X_USER "$webstack_auth_x_user" if_not_empty;',
     'uwsgi_param HTTP_X_USER "" if_not_empty;'),
])
def test_nobody_else_writes_the_header(app, own, cleared):
    site, mistakes = make([{"app": app}, {"app": app, "path": "/open/", "auth_request": {}}], auth_request=ASKED)
    other, _mistakes = make([{"app": app}], name="other", index=1)
    assert mistakes == []
    word = own.split("_")[0]
    closed, opened = (block(render(site), f'    location "{path}" {{') for path in ("/", "/open/"))
    assert own in closed
    assert cleared not in closed
    assert f"include webstack/{word}.conf;" in opened
    assert cleared in render(site, other, file=f"{word}.conf")
    assert cleared not in render(other, file=f"{word}.conf")


def test_what_the_user_writes_for_the_location_wins():
    raw = "proxy_set_header x-user fixed;"
    text = block(rendered([{"app": "http", "directives": raw}], auth_request=ASKED), '    location "/" {')
    assert text.lower().count("proxy_set_header x-user") == 1


@pytest.mark.parametrize("login, expected", [
    ("/login/", "$scheme://$host$webstack_port/login/?next=$scheme://$host$webstack_port$webstack_asked_for"),
    ("/in?a=1", "$scheme://$host$webstack_port/in?a=1&next=$scheme://$host$webstack_port$webstack_asked_for"),
    ("https://sso.example.com/?rd=", "https://sso.example.com/?rd=$scheme://$host$webstack_port$webstack_asked_for"),
])
def test_login(login, expected):
    text = rendered([{"app": "http", "path": "/a/"}], auth_request={**ASKED, "login": login})
    assert f'error_page 401 =302 "{expected}";' in text


def test_the_address_is_worked_out_where_somebody_needs_it():
    assert "webstack_asked_for" not in rendered([{"answer": 200}], auth_request=ASKED, file="http.conf")


def test_a_login_behind_itself():
    written = [{"app": "http"}, {"app": "http", "path": "/login/", "auth_request": {}}]
    asked = {**ASKED, "login": "/login/?next="}
    render(make(written, auth_request=asked)[0])
    site, _mistakes = make(written[:1], auth_request=asked)
    [(path, message)] = nginx_render.check_sites([site])
    assert path == "nginx_sites[0].auth_request"
    assert "sent round and round" in message


@pytest.mark.parametrize("written, path, words", [
    ({"path": "/check"}, "", "needs either `app`"),
    ({"app": "http", "url": "http://a", "path": "/x"}, "", "needs either `app`"),
    ({"app": "htp", "path": "/x"}, ".app", "Did you mean 'http'?"),
    ({"app": "http"}, ".path", "is missing"),
    ({"app": "http", "path": "check"}, ".path", "plain path"),
    ({"app": "http", "path": "/a?b"}, ".path", "without a query"),
    ({"url": "https://a", "path": "/x"}, ".url", "http://127.0.0.1:9091"),
    ({"url": "http://a/b", "path": "/x"}, ".url", "without a path"),
    ({**ASKED, "headers": ["X-User", "X_Groups"]}, ".headers[1]", "'X_Groups'"),
    ({**ASKED, "headers": ["Cookie"]}, ".headers[0]", "nobody else writes"),
    ({**ASKED, "headers": ["X-Forwarded-For"]}, ".headers[0]", "nobody else writes"),
    ({**ASKED, "login": "login"}, ".login", "write a URL"),
    ({**ASKED, "login": "//evil.example"}, ".login", "write a URL"),
    ({**ASKED, "login": "/$uri"}, ".login", "write a URL"),
])
def test_mistake(written, path, words):
    [(where, message)] = make([{"answer": 200}], auth_request=written)[1]
    assert where == f"nginx_sites[0].auth_request{path}"
    assert words in message
