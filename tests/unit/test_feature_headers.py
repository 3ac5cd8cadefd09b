# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of every answer and the content security policy: what is rendered, and what is refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, nginx_syntax, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply


class Context(Problems):
    """The normaliser, as far as routes know it."""

    error = Problems.add

    def app(self, name):
        return {"protocol": name, "servers": [f"unix:/run/{name}.sock"], "hosts": [], "drained": []}

    def vue(self, name):
        return {"root": f"/srv/{name}"}


TLS = {"certificate": "/etc/ssl/a.pem", "key": "/etc/ssl/a.key", "redirect": True, "profile": "intermediate"}


def make(of_site, *written, context=None, tls=None, directives=""):
    """Return a site's record with the given values of features, of the site and of its routes."""
    context = Context() if context is None else context
    values = apply({"name": "shop", **of_site}, site_options(), "nginx_sites[0]", context)
    own = features.resolve_site(values, "nginx_sites[0]", context)
    made = [routes.resolve(route, f"nginx_sites[0].routes[{index}]", context) for index, route in enumerate(written)]
    records = [{**route, "features": features.effective(own, route["kind"], route["features"])}
               for route in made if route]
    listens = [{"address": "*", "port": 80, "tls": False}, {"address": "*", "port": 443, "tls": True}]
    return {"name": "shop", "origin": "nginx_sites[0]", "server_names": ["shop.example.com"], "tls": tls,
            "features": own, "listen": listens[:2 if tls else 1], "routes": records, "directives": directives,
            "client_max_body_size": ""}


def blocks(site, **settings):
    """Return [(the words of a block, {header: value})] of the servers and their locations, as nginx inherits them."""
    files, _origins = nginx_render.render([site], settings)
    found, server = [], 0
    for statement in nginx_syntax.statements(files["sites/shop.conf"]):
        if statement.words[0] == "server" or statement.words[0] == "location" and statement.depth == 1:
            server = len(found) if statement.depth == 0 else server
            found.append((" ".join(statement.words), {}))
        elif statement.words[0] == "add_header":
            words, headers = found[server if statement.depth == 1 else -1]
            name, value = statement.words[1:3]
            assert name not in headers, f"{name} is twice in {words}"
            headers[name] = value
    for index, (words, headers) in enumerate(found):
        above = max(one for one in range(index + 1) if found[one][0] == "server")
        found[index] = words, {name: value for name, value in (headers or found[above][1]).items()
                               if name not in ("Retry-After", "X-None")}
    return found


def text(site, **settings):
    return nginx_render.render([site], settings)[0]["sites/shop.conf"]


NAMES = {"X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options"}
ALL = [{"app": "http"}, {"app": "uwsgi", "path": "/u/"}, {"folder": "/srv/f", "path": "/f/"},
       {"folder": "/srv/m", "path": "/m/", "uploads": True}, {"vue": "web", "path": "/v/"},
       {"answer": 200, "path": "/a"}, {"redirect": "/", "path": "/r"}, {"answer": 200, "path": "/x", "access": {
           "deny": ["192.0.2.1"]}}, {"proxy": "http://192.0.2.9/", "path": "/p/"}]


def test_they_are_in_every_block_without_a_word():
    for words, headers in blocks(make({}, *ALL)):
        assert headers.keys() >= NAMES, words


def test_and_where_clients_are_sent_to_https():
    found = blocks(make({}, *ALL, tls=TLS))
    assert found[0][1].keys() == NAMES
    for words, headers in found[2:]:
        assert headers.keys() >= NAMES | {"Strict-Transport-Security"}, words


def test_what_an_app_says_itself_is_not_said_twice():
    site = make({}, *ALL, tls=TLS)
    http = nginx_render.render([site], {})[0]["http.conf"]
    for words, headers in blocks(site):
        asks = words in ("location /", "location /u/", "location /p/")
        for name, value in {**features.load()["headers"].server(features.Use(
                {"defaults": True, "add": {}, "hide": []}, site)).headers,
                "Strict-Transport-Security": "max-age=63072000"}.items():
            if asks and len(headers) > 3:
                variable = headers[name].removeprefix("$")
                source = "$sent_http_" + name.lower().replace("-", "_")
                assert re.search(rf'map {re.escape(source)} \${variable} {{\s+default "";\s+"" "{value}";\s+}}', http)
            elif name in headers:
                assert headers[name] == value, words


def test_without_hsts_there_is_no_map_of_it():
    files, _origins = nginx_render.render([make({}, *ALL, tls=TLS)], {"nginx_hsts": 0})
    assert "hsts" not in "".join(files.values())


def test_none_of_it():
    site = make({"headers": {"defaults": False}}, *ALL)
    assert "headers" not in site["features"]
    assert all(headers.keys() <= {"X-Content-Type-Options", "Content-Security-Policy", "Content-Disposition",
                                  "Cache-Control"} for _words, headers in blocks(site))
    assert not blocks(site)[0][1]


def test_a_route_has_its_own():
    found = dict(blocks(make({"headers": {"add": {"A": "1"}}}, {"app": "http"}, {
        "app": "http", "path": "/b/", "headers": {"defaults": False, "add": {"B": "2"}}}, {
        "app": "http", "path": "/c/", "headers": {"defaults": False}})))
    assert found["location /"].keys() == {"A", *NAMES}
    assert found["location /b/"] == {"B": "2"}
    # It would have the site's if it had no line of its own.
    assert found["location /c/"] == {}


def test_added_headers_take_the_place_of_the_apps_own():
    written = {"add": {"Permissions-Policy": "camera=()", "x-frame-options": "DENY", "Link": "<x>", "Count": 5},
               "hide": ["X-Powered-By", "Referrer-Policy"]}
    site = make({"headers": written}, {"app": "http"}, {"app": "uwsgi", "path": "/u/"}, {"answer": 200, "path": "/a"})
    found = dict(blocks(site))
    for words in ("server", "location /", "location /u/", "location /a"):
        assert found[words].items() >= {"Permissions-Policy": "camera=()", "x-frame-options": "DENY", "Link": "<x>",
                                        "Count": "5"}.items(), words
        assert not found[words].keys() & {"X-Frame-Options", "Referrer-Policy"}
    for module in ("proxy", "uwsgi"):
        lines = re.findall(rf"{module}_hide_header (\S+);", text(site))
        assert lines == ["X-Powered-By", "Referrer-Policy", "Permissions-Policy", "x-frame-options", "Count"]


def test_a_dollar_sign_is_a_dollar_sign():
    assert 'add_header A "${webstack_dollar}host \\"x\\" \\\\" always;' in text(
        make({"headers": {"add": {"A": '$host "x" \\'}}}, {"app": "http"}))


def test_the_users_own_lines_win_and_stay():
    site = make({}, {"app": "http", "directives": "add_header X-Frame-Options DENY always;"},
                {"app": "http", "path": "/b/"}, directives="add_header Referrer-Policy no-referrer always;\n"
                                                           "proxy_hide_header X-Mine;")
    found = dict(blocks(site, nginx_directives="add_header X-Edge 1;\nadd_header Referrer-Policy origin;"))
    assert found["server"] == {**found["server"], "Referrer-Policy": "no-referrer", "X-Edge": "1"}
    assert found["location /"] == {**found["location /b/"], "X-Frame-Options": "DENY"}
    assert found["location /b/"]["Referrer-Policy"] == "no-referrer"
    assert found["location /b/"]["X-Edge"] == "1"
    hidden = make({"headers": {"hide": ["X-Ours"]}}, {"app": "http"}, directives="proxy_hide_header X-Mine;")
    location = text(hidden).partition("location ")[2]
    assert "proxy_hide_header X-Ours;" in location and "proxy_hide_header X-Mine;" in location


POLICIES = [
    ("default-src 'self';\n  img-src *;", "default-src 'self'; img-src *"),
    ({"default-src": ["'self'"], "img-src": ["'self'", "data:"]}, "default-src 'self'; img-src 'self' data:"),
    ({"default-src": "'none'", "upgrade-insecure-requests": []}, "default-src 'none'; upgrade-insecure-requests"),
]


@pytest.mark.parametrize("name, header", [("csp", "Content-Security-Policy"),
                                          ("csp_report_only", "Content-Security-Policy-Report-Only")])
@pytest.mark.parametrize("written, policy", POLICIES)
def test_a_policy(name, header, written, policy):
    site = make({name: written}, *ALL)
    for words, headers in blocks(site):
        own = words == "location /m/" and name == "csp"
        assert headers[header] == ("default-src 'none'; sandbox" if own else policy), words
    for module in ("proxy", "uwsgi"):
        assert f"{module}_hide_header {header};" in text(site)


@pytest.mark.parametrize("off", ["", {}])
def test_a_route_may_have_no_policy(off):
    found = dict(blocks(make({"csp": "default-src 'self'"}, {"app": "http", "csp": off})))
    assert "Content-Security-Policy" in found["server"]
    assert "Content-Security-Policy" not in found["location /"]


def test_frame_ancestors_take_the_place_of_their_forerunner():
    found = dict(blocks(make({"csp": "frame-ancestors 'none'"}, {"app": "http"}, {
        "app": "http", "path": "/b/", "csp": "default-src 'self'"})))
    assert "X-Frame-Options" not in found["server"]
    assert "X-Frame-Options" not in found["location /"]
    assert "X-Frame-Options" in found["location /b/"]


REFUSED = [
    ({"headers": {"add": {"A b": "1"}}}, "headers.add.A b", "letters, digits and dashes"),
    ({"headers": {"add": {"A": "x\ny"}}}, "headers.add.A", "one line of ASCII"),
    ({"headers": {"add": {"A": "x\r\nB: y"}}}, "headers.add.A", "one line of ASCII"),
    ({"headers": {"add": {"A": ""}}}, "headers.add.A", "or the name in `hide`"),
    ({"headers": {"add": {"A": "$" * 300}}}, "headers.add.A", "shorten it"),
    ({"headers": {"add": {"A": ["1"]}}}, "headers.add.A", "one text"),
    ({"headers": {"add": {"A": "1", "a": "2"}}}, "headers.add.a", "in other capitals"),
    ({"headers": {"add": {"Content-Length": "1"}}}, "headers.add.Content-Length", "leave it out"),
    ({"headers": {"add": {"content-type": "text/html"}}}, "headers.add.content-type", "would come twice"),
    ({"headers": {"add": {"Content-Security-Policy": "x"}}}, "headers.add.Content-Security-Policy", "write `csp`"),
    ({"headers": {"add": {"Access-Control-Allow-Origin": "*"}}}, "headers.add.Access-Control-Allow-Origin",
     "write `cors`"),
    ({"headers": {"hide": ["X Y"]}}, "headers.hide[0]", "such as X-Powered-By"),
    ({"headers": {"add": {"A": "1"}, "hide": ["a"]}}, "headers.hide[0]", "is in `add` too"),
    ({"headers": {"ad": {}}}, "headers.ad", "Did you mean 'add'"),
    ({"csp": ["default-src"]}, "csp", "the text of a policy"),
    ({"csp": "default-src self"}, "csp", "\"'self'\""),
    ({"csp": {"default-src": ["none"]}}, "csp", "\"'none'\""),
    ({"csp": {"Default Src": ["x"]}}, "csp.Default Src", "such as script-src"),
    ({"csp": {"img-src": ["a; script-src *"]}}, "csp.img-src", "semicolon"),
    ({"csp": {"img-src": [1]}}, "csp.img-src", "a list of sources"),
    ({"csp": "default-src ü"}, "csp", "one line of ASCII"),
    ({"csp": "default-src " + "x" * 4000}, "csp", "shorten it"),
    ({"csp_report_only": 5}, "csp_report_only", "the text of a policy"),
]


@pytest.mark.parametrize(("written", "path", "words"), REFUSED)
@pytest.mark.parametrize("where", ["nginx_sites[0]", "nginx_sites[0].routes[0]"])
def test_refused(written, path, words, where):
    context = Context()
    make(*([written] if where == "nginx_sites[0]" else [{}, {"app": "http", **written}]), context=context)
    [problem] = context.items
    assert problem.path == f"{where}.{path}"
    assert words in problem.message
