# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of other origins may read the answers: what is rendered, and what is refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply


class Context(Problems):
    """The normaliser, as far as routes know it."""

    error = Problems.add

    def app(self, name):
        return {"protocol": name, "servers": [f"unix:/run/{name}.sock"], "hosts": [], "drained": []}


def make(of_site, *written, name="shop", context=None):
    """Return a site's record with the given policy, of the site and of its routes."""
    context = Context() if context is None else context
    values = apply({"name": name, **of_site}, site_options(), "nginx_sites[0]", context)
    own = features.resolve_site(values, "nginx_sites[0]", context)
    made = [routes.resolve(route, f"nginx_sites[0].routes[{index}]", context) for index, route in enumerate(written)]
    records = [{**route, "features": features.effective(own, route["kind"], route["features"])}
               for route in made if route]
    return {"name": name, "origin": "nginx_sites[0]", "server_names": [f"{name}.example.com"], "tls": None,
            "features": own, "listen": [{"address": "*", "port": 80, "tls": False}], "routes": records,
            "directives": "", "client_max_body_size": ""}


def render(*sites):
    """Return ({variable: {what it is made of: its value}}, the text of the first site), digests left out."""
    files, _origins = nginx_render.render(sites, {})
    maps = {}
    for name, body in re.findall(r"map [^{]* \$(webstack_cors_\w+|webstack_preflight) \{\n(.*?)\n    \}",
                                 files["http.conf"], re.DOTALL):
        maps[re.sub("[0-9a-f]{12}", "X", name)] = dict(
            re.findall(r'^\s*(?:"([^"]*)"|default|1) (.*);$', body, re.MULTILINE))
    return maps, re.sub(r"(webstack_cors_)[0-9a-f]{12}", r"\1X", files[f"sites/{sites[0]['name']}.conf"])


WHOLE = {"origins": ["https://A.example", "https://*.b.example:8443", "null"], "methods": ["GET", "put"],
         "headers": ["Content-Type", "X-Key"], "expose": ["X-Total"], "credentials": True, "max_age": 60}


def test_a_policy():
    maps, text = render(make({"cors": WHOLE}, {"app": "http"}))
    assert maps["webstack_cors_X"] == {
        "": '"";', "https://a.example": '"https://a.example"', "null": '"null"',
        "~^https://(?:[a-z0-9_-]+[.])+b[.]example:8443$": "$http_origin"} | {"": '""'}
    location = text.partition("location ")[2]
    headers = dict(re.findall(r'add_header (\S+) "([^"]*)" always;', location))
    assert {name: value for name, value in headers.items() if name.startswith(("Access", "Vary"))} == {
        "Vary": "Origin", "Access-Control-Allow-Origin": "$webstack_cors_X",
        "Access-Control-Allow-Credentials": "$webstack_cors_X_credentials",
        "Access-Control-Expose-Headers": "$webstack_cors_X_expose_headers",
        "Access-Control-Allow-Methods": "$webstack_cors_X_methods",
        "Access-Control-Allow-Headers": "$webstack_cors_X_headers",
        "Access-Control-Max-Age": "$webstack_cors_X_max_age"}
    http = nginx_render.render([make({"cors": WHOLE}, {"app": "http"})], {})[0]["http.conf"]
    for line in ('default "GET, PUT";', 'default "Content-Type, X-Key";', 'default "X-Total";', 'default "true";',
                 'default "60";'):
        assert line in http


def test_every_origin():
    maps, text = render(make({"cors": {"origins": ["*"], "methods": ["*"]}}, {"app": "http"}))
    assert maps["webstack_cors_X"] == {"": '"*"'}
    assert "add_header Access-Control-Allow-Credentials" not in text
    assert 'add_header Vary "Origin" always;' in text


def test_a_preflight_is_answered_before_anything_else():
    site = make({"cors": {"origins": ["https://a.example"]}, "access": {"deny": ["192.0.2.1"]}, "methods": ["GET"]},
                {"app": "http", "rate_limit": {"rate": "1/s"}})
    location = render(site)[1].partition("location ")[2]
    places = [location.index(words) for words in ("if ($webstack_preflight)", "deny ", "if ($webstack_refused",
                                                  "limit_req ")]
    assert places[0] == min(places)


@pytest.mark.parametrize("app, module", [("http", "proxy"), ("uwsgi", "uwsgi")])
def test_the_apps_own_headers_are_left_out(app, module):
    text = render(make({"cors": {"origins": ["https://a.example"]}}, {"app": app}))[1]
    assert set(re.findall(rf"{module}_hide_header (\S+);", text)) == {
        f"Access-Control-{name}" for name in ("Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers",
                                              "Expose-Headers", "Max-Age")}


def test_one_policy_of_several_sites_is_one_map():
    policy = {"cors": {"origins": ["https://a.example", "https://*.b.example"]}}
    other = {"cors": {"origins": ["https://*.b.example", "https://a.example"]}}
    http = [nginx_render.render(sites, {})[0]["http.conf"] for sites in (
        [make(policy, {"app": "http"})], [make(policy, {"app": "http"}), make(other, {"app": "http"}, name="b")])]
    counts = [text.count("map $http_origin $webstack_cors_") for text in http]
    assert counts == [1, 1]


def test_a_pattern_is_tried_before_a_location_is_chosen():
    assert "set $webstack_cors_X_early $webstack_cors_X;" in render(
        make({}, {"app": "http", "cors": {"origins": ["https://*.a.example"]}}))[1]
    assert "set $webstack_cors" not in render(make({}, {"app": "http", "cors": {"origins": ["https://a.example"]}}))[1]


def test_a_route_may_have_its_own_or_none():
    site = {"cors": {"origins": ["https://a.example"]}}
    text = render(make(site, {"app": "http", "cors": {}}))[1]
    assert "Access-Control" not in text.partition("location ")[2]
    assert "webstack_preflight)" not in text


def test_vary_of_the_users_own_is_joined():
    text = render(make({"cors": {"origins": ["*"]}, "headers": {"add": {"vary": "Accept"}}}, {"app": "http"}))[1]
    assert text.count('add_header vary "Origin, Accept" always;') == 2


PATTERN = r"^https://(?:[a-z0-9_-]+[.])+b[.]example$"


@pytest.mark.parametrize("origin, allowed", [
    ("https://x.b.example", True), ("https://x.y.b.example", True), ("https://b.example", False),
    ("https://x.b.example.evil", False), ("https://xb.example", False), ("https://x.bzexample", False),
    ("http://x.b.example", False), ("https://evil/x.b.example", False), ("https://evil#.b.example", False),
    ("https://x.b.example:444", False), ("https://.b.example", False),
])
def test_sub_domains(origin, allowed):
    files, _origins = nginx_render.render([make({"cors": {"origins": ["https://*.b.example"]}}, {"app": "http"})], {})
    assert f'"~{PATTERN}" $http_origin;' in files["http.conf"]
    assert bool(re.search(PATTERN, origin)) == allowed


REFUSED = [
    ({"origins": ["a.example"]}, "origins[0]", "scheme, host and port"),
    ({"origins": ["https://a.example/"]}, "origins[0]", "such as 'https://a.example'"),
    ({"origins": ["https://a.example/x"]}, "origins[0]", "such as 'https://a.example'"),
    ({"origins": ["https://a.example", "https://a.*.example"]}, "origins[1]", "for all sub-domains"),
    ({"origins": ["https://a.example:443"]}, "origins[0]", "write 'https://a.example'"),
    ({"origins": ["http://a.example:80"]}, "origins[0]", "write 'http://a.example'"),
    ({"origins": ['https://a"; } #']}, "origins[0]", "scheme, host and port"),
    ({"origins": ["https://$host"]}, "origins[0]", "scheme, host and port"),
    ({"origins": ["~.*"]}, "origins[0]", "scheme, host and port"),
    ({"origins": ["*"], "credentials": True}, "credentials", "Write the origins"),
    ({"origins": ["*", "https://a.example"]}, "origins", "Write it alone"),
    ({"origins": ["https://a.example"], "methods": ["G T"]}, "methods[0]", "such as 'PUT'"),
    ({"origins": ["https://a.example"], "headers": ["X: y"]}, "headers[0]", "such as 'X-Total'"),
    ({"origins": ["https://a.example"], "headers": ["*"], "credentials": True}, "headers[0]", "write the names"),
    ({"origins": ["https://a.example"], "expose": ['"']}, "expose[0]", "such as 'X-Total'"),
    ({"origins": ["https://a.example"], "max_age": -1}, "max_age", "from 0 to 86400"),
]


@pytest.mark.parametrize(("written", "path", "words"), REFUSED)
def test_refused(written, path, words):
    context = Context()
    make({"cors": written}, context=context)
    [problem] = context.items
    assert problem.path == f"nginx_sites[0].cors.{path}"
    assert words in problem.message
