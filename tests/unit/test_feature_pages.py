# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages in place of answers: those of errors, and that of a closed site."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply


class Context:
    """The normaliser, as far as sites know it."""

    def __init__(self):
        self.errors = []

    def app(self, name):
        return {"protocol": name, "servers": [f"unix:/run/{name}.sock"], "settings": {}}

    def error(self, path, message):
        self.errors.append((path, message))


def make(*written, **values):
    """Return all files and all mistakes."""
    problems, context = Problems(), Context()
    site = {**apply({"name": "shop", "server_names": ["s.example.com"], **values}, site_options(), "nginx_sites[0]",
                    problems), "origin": "nginx_sites[0]"}
    own = features.resolve_site(site, "nginx_sites[0]", context)
    made = [routes.resolve(route, f"nginx_sites[0].routes[{index}]", context) for index, route in enumerate(written)]
    made = [{**route, "features": features.effective(own, route["kind"], route["features"])} for route in made if route]
    site |= {"features": own, "routes": made, "listen": [{"address": "*", "port": 80, "tls": False}]}
    errors = [(one.path, one.message) for one in problems.items] + context.errors
    return {} if errors else nginx_render.render([site], {})[0], errors or nginx_render.check_sites([site])


def location(files, path):
    """Return the text of the location of a route."""
    text = files["sites/shop.conf"].split(f'    location "{path}" {{\n')[1]
    return text.split("\n    }")[0]


def test_a_page_is_a_file_of_the_generation():
    files, errors = make({"app": "http"}, error_pages={"pages": {502: "five", "404": "four"}})
    assert not errors
    pages = {text: path for path, text in files.items() if path.startswith("pages/")}
    for text, status in (("five", 502), ("four", 404)):
        name = pages[text].removeprefix("pages/")
        assert f"/{name};" in location(files, "/")
        assert f"error_page {status} /.webstack/pages/" in location(files, "/")
    assert "alias /etc/nginx/webstack.d/@GENERATION@/pages/;" in files["sites/shop.conf"]


def test_a_short_page_has_the_status_in_it():
    files, _errors = make({"app": "http"}, error_pages={"pages": {502: ""}})
    assert any("<h1>502 Bad Gateway</h1>" in text for text in files.values())


@pytest.mark.parametrize("app", ["http", "uwsgi"])
def test_the_apps_own_answers_are_its_own_unless_told_otherwise(app):
    word = {"http": "proxy", "uwsgi": "uwsgi"}[app]
    pages = {"pages": {404: "x"}}
    assert f"{word}_intercept_errors" not in location(make({"app": app}, error_pages=pages)[0], "/")
    files, _errors = make({"app": app}, error_pages={**pages, "intercept": True})
    assert f"{word}_intercept_errors on;" in location(files, "/")


def test_the_users_own_error_page_wins():
    pages = {"pages": {404: "x", 502: "y"}}
    files, _errors = make({"app": "http", "directives": "error_page 404 /mine;"}, {"app": "http", "path": "/b"},
                          error_pages=pages, directives="error_page 502 503 /site;")
    first, second = location(files, "/"), location(files, "/b")
    assert "error_page 404 /mine;" in first
    assert "error_page 404 /.webstack" not in first
    assert "error_page 502 /.webstack" in first  # what the site says nginx drops there
    assert "error_page 404 /.webstack" in second
    assert "error_page 502 503 /site;" in second
    assert "error_page 502 /.webstack" not in second


def test_a_route_can_be_without():
    files, _errors = make({"app": "http", "error_pages": {}}, error_pages={"pages": {404: "x"}})
    assert "/.webstack" not in location(files, "/")
    assert "error_page 599 /;" in location(files, "/")


def test_each_set_of_headers_has_its_folder():
    files, _errors = make({"app": "http"}, {"app": "http", "path": "/b"},
                          {"app": "http", "path": "/c", "directives": "add_header X-C 1;"},
                          error_pages={"pages": {404: "x"}})
    text = files["sites/shop.conf"]
    assert text.count("location ^~ /.webstack/pages/") == 3  # the site's own, that of the first two, that of the last
    assert text.count("add_header X-C 1;") == 2


@pytest.mark.parametrize("values, path, words", [
    ({"error_pages": {"pages": {200: "x"}}}, "error_pages.pages.200", "from 400 to 599"),
    ({"error_pages": {"pages": {"all": "x"}}}, "error_pages.pages.all", "from 400 to 599"),
    ({"error_pages": {"pages": {404: ["x"]}}}, "error_pages.pages.404", "the lookup `file`"),
    ({"error_pages": {"intercept": True}}, "error_pages.intercept", "no effect without `pages`"),
    ({"maintenance": {"allow": ["here"]}}, "maintenance.allow[0]", "write an address or a network"),
    ({"maintenance": {"retry_after": 0}}, "maintenance.retry_after", "from 1 to 86400"),
])
def test_mistakes(values, path, words):
    _files, [(found, message)] = make({"app": "http"}, **values)
    assert found == f"nginx_sites[0].{path}"
    assert words in message


def test_every_site_can_be_closed():
    files, errors = make({"app": "http"})
    assert not errors
    text = files["sites/shop.conf"]
    assert "if (-f /etc/nginx/webstack.maintenance/shop/on) {" in text
    # Before anything of the user's own, and of the features' that answer.
    assert text.index("rewrite ^ /.webstack/pages/maintenance last;") < text.index("location \"/\"")


def test_what_a_closed_site_says():
    files, errors = make({"app": "http"}, maintenance={"page": "gone", "retry_after": 7, "allow": ["192.0.2.0/24"]})
    assert not errors
    [path] = [path for path, text in files.items() if text == "gone"]
    assert f'"/.webstack/{path}" 7;' in files["http.conf"]
    assert "192.0.2.0/24 1;" in files["http.conf"]
    assert f"error_page 503 /.webstack/{path};" in files["sites/shop.conf"]
