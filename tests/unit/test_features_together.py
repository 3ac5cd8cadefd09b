# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What features and kinds of routes do to each other."""

from __future__ import annotations

import pytest
from sites import block, make, render, rendered

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render

TLS = {"certificate": "/a.pem", "key": "/a.key", "client": {"ca": "/ca.pem", "required": False}}
USERS = {"users": [{"name": "bob", "password_hash": "$6$abcdefgh$" + "a" * 86}]}
ASKED = {"url": "http://127.0.0.1:9091", "path": "/check"}


@pytest.mark.parametrize("app", ["http", "uwsgi"])
def test_nothing_is_looked_at_after_the_break_of_a_mount(app):
    text = rendered([{"app": app, "path": "/shop/", "mount": True, "directives": "if ($arg_x) { return 418; }"}],
                    tls=TLS, client_certificate={"allow": ["CN=alice"]}, methods=["GET"], bots={"default": True},
                    cors={"origins": ["https://a.example"]})
    inside = block(text, '    location "/shop/"').split("\n")
    [last] = [number for number, line in enumerate(inside) if line.startswith("rewrite ")]
    assert len([line for line in inside if line.startswith("if (")]) >= 5
    assert not [line for line in inside[last:] if line.startswith(("if (", "return", "set "))]


@pytest.mark.parametrize("of_site, of_route", [
    ({"cache": {"valid": "1s"}, "auth_request": ASKED}, {}), ({"auth_request": ASKED}, {"cache": {"valid": "1s"}}),
])
def test_what_each_client_sees_for_itself_is_not_remembered(of_site, of_route):
    site, mistakes = make([{"app": "http", **of_route}], **of_site)
    assert mistakes == []
    [(path, message)] = nginx_render.check_sites([site])
    assert path.endswith(".cache")
    assert "write `cache: {}`" in message
    site, mistakes = make([{"app": "http", "cache": {}}], **of_site)
    assert (mistakes, nginx_render.check_sites([site])) == ([], [])


@pytest.mark.parametrize("route", [{"app": "http"}, {"app": "uwsgi"}, {"proxy": "http://192.0.2.5:8080"},
                                   {"proxy": "http://192.0.2.5:8080/x", "strip_path": True}])
def test_a_path_that_others_understand_otherwise_goes_nowhere(route):
    assert "if ($webstack_dots) {\nreturn 400;" in block(rendered([{**route, "path": "/a/"}]), '    location "/a/"')


def test_a_login_and_a_password_are_not_asked_for_both():
    site, mistakes = make([{"app": "http"}], basic_auth=USERS, auth_request={**ASKED, "login": "https://b.example/"})
    assert mistakes == []
    [(path, message)] = nginx_render.check_sites([site])
    assert path == "nginx_sites[0].auth_request"
    assert "write one of them" in message


def test_a_certificate_leaves_the_captures_alone():
    text = rendered([{"path": "^/old/(.*)$", "match": "regex", "redirect": "/new/$1"}], tls=TLS,
                    client_certificate={"required": True})
    early, location = text.index("_early $webstack_client_"), text.index('location ~ "^/old/')
    assert text.rindex("server {", 0, location) < early < location


def test_a_quote_that_is_escaped_stays_one():
    text = rendered([{"app": "http"}], directives='add_header X-A "say \\"hi\\" there";')
    assert 'add_header X-A "say \\"hi\\" there";' in block(text, '    location "/"')


def test_a_gated_answer_keeps_its_own_page():
    text = rendered([{"path": "/gone", "answer": 410, "error_pages": {"pages": {410: "mine"}}}], basic_auth=USERS)
    assert "error_page 410 " in block(text, "    location @")


@pytest.mark.parametrize("settings, expected", [({}, True), ({"nginx_directives": "root /srv/own;"}, False)])
def test_a_site_without_a_front_page_shows_none(settings, expected):
    site, mistakes = make([{"app": "http", "path": "/api/"}])
    assert mistakes == []
    assert ("root /nonexistent;" in render(site, file="http.conf", settings=settings)) == expected
