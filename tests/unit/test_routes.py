# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of routes: what users write, and the records that come of it."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import routes

ORIGIN = "nginx_sites[0].routes[0]"


class Context:
    """The normaliser, as far as routes know it."""

    def __init__(self):
        self.errors = []

    def app(self, name):
        if name != "shop":
            return None
        return {"name": "shop", "protocol": "http", "servers": ["unix:/run/webstack/shop.sock"],
                "settings": {"timeout": 60}}

    def vue(self, name):
        return {"root": "/srv/webstack/vue/front"} if name == "front" else None

    def names(self, kind):
        return ["shop"] if kind == "app" else ["front"]

    def error(self, path, message):
        self.errors.append((path, message))


def resolve(route):
    context = Context()
    return routes.resolve(route, ORIGIN, context), context.errors


RECORDS = [
    ({"app": "shop"}, {"kind": "app", "path": "/", "match": "prefix", "app": "shop", "protocol": "http",
                       "servers": ["unix:/run/webstack/shop.sock"], "timeout": 65, "buffering": True}),
    ({"app": "shop", "path": "/api/", "timeout": "300"}, {"timeout": 300, "path": "/api/"}),
    ({"vue": "front"}, {"kind": "vue", "vue": "front", "root": "/srv/webstack/vue/front"}),
    ({"folder": "/srv/x", "path": "/x", "uploads": "yes"}, {"kind": "folder", "folder": "/srv/x", "uploads": True}),
    ({"redirect": "https://x$request_uri"}, {"kind": "redirect", "to": "https://x$request_uri", "code": 301}),
    ({"redirect": "/new", "code": 308, "match": "exact", "path": "/old"}, {"code": 308, "match": "exact"}),
    ({"answer": 200, "body": "hello"}, {"kind": "answer", "status": 200, "body": "hello",
                                        "content_type": "text/plain"}),
    ({"answer": 444, "path": r"\.php$", "match": "regex"}, {"status": 444, "match": "regex"}),
]


@pytest.mark.parametrize(("route", "expected"), RECORDS)
def test_record(route, expected):
    record, errors = resolve(route)
    assert not errors
    assert record["origin"] == ORIGIN
    assert record["directives"] == ""
    assert expected.items() <= record.items()


MISTAKES = [
    ({}, ORIGIN, "exactly one of answer, app, folder, proxy, redirect, vue"),
    ({"ap": "shop"}, ORIGIN, "Did you mean 'app'?"),
    ({"app": "shop", "vue": "front"}, ORIGIN, "says app and vue"),
    ("shop", ORIGIN, "must be a dictionary"),
    ({"app": "shoop"}, f"{ORIGIN}.app", "Did you mean 'shop'?"),
    ({"vue": "other"}, f"{ORIGIN}.vue", "Add it to vue_sites"),
    ({"app": "shop", "timeut": 3}, f"{ORIGIN}.timeut", "Did you mean 'timeout'?"),
    ({"app": "shop", "timeout": 0}, f"{ORIGIN}.timeout", "from 1 to 86400"),
    ({"app": "shop", "match": "prefixes"}, f"{ORIGIN}.match", "prefix"),
    ({"app": "shop", "path": "api"}, f"{ORIGIN}.path", "'/api'"),
    ({"app": "shop", "path": "/a//b"}, f"{ORIGIN}.path", "'/a/b'"),
    ({"app": "shop", "path": "/a/../b"}, f"{ORIGIN}.path", "without . and .. parts"),
    ({"app": "shop", "path": "/a b"}, f"{ORIGIN}.path", "spaces"),
    ({"app": "shop", "path": "/a;}"}, f"{ORIGIN}.path", "braces"),
    ({"app": "shop", "path": "/a%20b"}, f"{ORIGIN}.path", "decoded"),
    ({"app": "shop", "path": "(", "match": "regex"}, f"{ORIGIN}.path", "no regular expression"),
    ({"vue": "front", "path": "/admin"}, f"{ORIGIN}.path", "'/admin/'"),
    ({"folder": "srv"}, f"{ORIGIN}.folder", "absolute"),
    ({"folder": "/srv/../etc"}, f"{ORIGIN}.folder", "without .."),
    ({"folder": "/srv", "match": "exact"}, f"{ORIGIN}.match", "leave `match` out"),
    ({"redirect": "https://x$uri"}, f"{ORIGIN}.redirect", "$request_uri"),
    ({"redirect": "https://x${document_uri}"}, f"{ORIGIN}.redirect", "$request_uri"),
    ({"redirect": "www.example.com"}, f"{ORIGIN}.redirect", "must be a URL"),
    ({"redirect": "//evil.example"}, f"{ORIGIN}.redirect", "must be a URL"),
    ({"redirect": "/", "code": 200}, f"{ORIGIN}.code", "301"),
    ({"answer": 301}, f"{ORIGIN}.answer", "redirect: URL"),
    ({"answer": 99}, f"{ORIGIN}.answer", "from 200 to 599"),
    ({"answer": 200, "content_type": "plain; x"}, f"{ORIGIN}.content_type", "text/plain"),
    ({"answer": 200, "directives": "limit_req zone=a;"}, f"{ORIGIN}.directives", "limit_req has no effect"),
]


@pytest.mark.parametrize(("route", "path", "words"), MISTAKES)
def test_mistake(route, path, words):
    record, errors = resolve(route)
    assert record is None
    assert [where for where, _message in errors] == [path]
    assert words in errors[0][1]


def test_every_kind_describes_its_options():
    for name, kind in routes.load().items():
        assert name in kind.options
        for key, spec in routes.options(kind).items():
            assert spec["description"], (name, key)
            assert spec["type"] in ("str", "int", "bool", "path", "list", "dict", "raw")


def test_folder_route_is_what_a_folder_resolves_to():
    record, _errors = resolve({"folder": "/srv/x", "path": "/x/", "uploads": True})
    assert routes.folder_route(ORIGIN, "/x/", "/srv/x", uploads=True) == record


def test_a_new_kind_is_a_new_file(tmp_path, monkeypatch):
    (tmp_path / "dummykinds").mkdir()
    (tmp_path / "dummykinds" / "__init__.py").write_text("")
    (tmp_path / "dummykinds" / "teapot.py").write_text(
        f"from {routes.__name__} import Kind\n"
        "KIND = Kind('teapot', {'teapot': {'type': 'str', 'required': True}},\n"
        "            lambda route, context: {'tea': route['teapot']}, 'location {{ location }} { return 418; }')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds = routes.load(str(tmp_path / "dummykinds"), "dummykinds")
    assert list(kinds) == ["teapot"]
    record = routes.resolve({"teapot": "green"}, ORIGIN, Context(), kinds)
    assert record["kind"] == "teapot"
    assert record["tea"] == "green"
    sys.modules.pop("dummykinds.teapot")
