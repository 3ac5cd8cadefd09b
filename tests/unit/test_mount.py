# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app below a path: what it is told, and where that cannot be right."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render, nginx_syntax, routes

ORIGIN = "nginx_sites[0].routes[0]"


class Context:
    """The normaliser, as far as routes know it."""

    def __init__(self, record):
        self.record, self.errors = record, []

    def app(self, name):
        return {"protocol": "http", "servers": ["unix:/run/x.sock"], "settings": {}, **self.record}

    def error(self, path, message):
        self.errors.append((path, message))


def resolve(record=None, **route):
    context = Context(record or {})
    return routes.resolve({"app": "shop", "mount": True, "path": "/shop/", **route}, ORIGIN, context), context.errors


def rendered(route):
    site = {"name": "a", "origin": "nginx_sites[0]", "server_names": ["a.example.com"], "tls": None,
            "listen": [{"address": "*", "port": 80, "tls": False}], "routes": [route], "directives": "",
            "client_max_body_size": ""}
    text = nginx_render.render([site], {})[0]["sites/a.conf"]
    found = [statement.words for statement in nginx_syntax.statements(text)]
    return [words for words in found if "SCRIPT_NAME" in words or words[0] == "rewrite"]


@pytest.mark.parametrize("record, path, expected", [
    ({}, "/shop/", [("proxy_set_header", "SCRIPT_NAME", "/shop"), ("rewrite", "(?s)^(/shop/.*)$", "$1", "break")]),
    ({"protocol": "uwsgi"}, "/a/b.c/",
     [("uwsgi_param", "SCRIPT_NAME", "/a/b.c"), ("rewrite", "(?s)^/a/b[.]c(/.*)$", "$1", "break")]),
])
def test_what_the_app_is_told(record, path, expected):
    route, errors = resolve(record, path=path)
    assert not errors
    assert rendered(route) == expected
    assert not rendered({**route, "mount": ""})
    # Such as the uploads of the app, which have an address of their own.
    assert not rendered({**route, "path": "/media/"})
    assert rendered({**route, "path": f"{path}media/"}) == expected


@pytest.mark.parametrize("record, route, words", [
    ({}, {"path": "/"}, "such as /shop/"),
    ({}, {"path": "/shop"}, "such as /shop/"),
    ({}, {"path": "/caf\u00e9/"}, "letters, digits"),
    ({}, {"match": "exact"}, "leave `match` out"),
    ({"settings": {"worker_class": "asgi"}}, {}, "workers of the class asgi"),
    ({"server": "development"}, {}, "development servers"),
])
def test_refused(record, route, words):
    found, errors = resolve(record, **route)
    assert found is None
    assert [where for where, _message in errors] == [f"{ORIGIN}.mount"]
    assert words in errors[0][1]
