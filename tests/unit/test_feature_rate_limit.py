# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often clients may ask, and how many requests may be going at once: what is rendered, and what is refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems


class Context(Problems):
    """The normaliser, as far as routes know it."""

    error = Problems.add

    def app(self, name):
        return {"protocol": "http", "servers": [f"unix:/run/{name}.sock"], "hosts": [], "drained": []}


def make(of_site, *written, name="shop", context=None, **values):
    """Return a site's record with the given values of features, of the site and of its routes."""
    context = Context() if context is None else context
    own = features.resolve_site(of_site, "nginx_sites[0]", context)
    made = [routes.resolve(route, f"nginx_sites[0].routes[{index}]", context) for index, route in enumerate(written)]
    records = [{**route, "features": features.effective(own, route["kind"], route["features"])}
               for route in made if route]
    return {"name": name, "origin": "nginx_sites[0]", "server_names": [f"{name}.example.com"], "tls": None,
            "features": own, "listen": [{"address": "*", "port": 80, "tls": False}], "routes": records,
            "directives": "", "client_max_body_size": "", **values}


def render(*sites):
    """Return the lines of (the http block, the first site) without their indentation."""
    files, _origins = nginx_render.render(sites, {})
    return [[line.strip() for line in files[path].splitlines()]
            for path in ("http.conf", f"sites/{sites[0]['name']}.conf")]


def zones(lines):
    return [line for line in lines if line.startswith(("limit_req_zone ", "limit_conn_zone "))]


def found(lines):
    return [re.sub("webstack_[0-9a-f]{12}", "Z", line) for line in lines if re.match("limit_(req|conn)", line)]


APP = {"app": "http", "path": "/"}

RENDERED = [
    ({"rate": "10/s"}, "limit_req_zone $webstack_address zone=Z:10m rate=10r/s;",
     ["limit_req zone=Z burst=10 nodelay;", "limit_req_status 429;"]),
    ({"rate": "30/m", "burst": 5, "delay": 2}, "limit_req_zone $webstack_address zone=Z:10m rate=30r/m;",
     ["limit_req zone=Z burst=5 delay=2;", "limit_req_status 429;"]),
    ({"rate": "1/s", "burst": 3, "delay": 0}, "limit_req_zone $webstack_address zone=Z:10m rate=1r/s;",
     ["limit_req zone=Z burst=3;", "limit_req_status 429;"]),
    ({"rate": "1/s", "burst": 0}, "limit_req_zone $webstack_address zone=Z:10m rate=1r/s;",
     ["limit_req zone=Z nodelay;", "limit_req_status 429;"]),
    ({"rate": "1/s", "key": "site", "status": 503, "dry_run": True}, 'limit_req_zone "shop" zone=Z:64k rate=1r/s;',
     ["limit_req zone=Z burst=1 nodelay;", "limit_req_status 503;", "limit_req_dry_run on;"]),
    ({"rate": "1/s", "key": "header:X-API-Key"}, "limit_req_zone $http_x_api_key zone=Z:10m rate=1r/s;",
     ["limit_req zone=Z burst=1 nodelay;", "limit_req_status 429;"]),
    ({"rate": "1/s", "key": "cookie:session", "zone_size": "1m"},
     "limit_req_zone $cookie_session zone=Z:1m rate=1r/s;",
     ["limit_req zone=Z burst=1 nodelay;", "limit_req_status 429;"]),
]


@pytest.mark.parametrize(("written", "zone", "lines"), RENDERED)
def test_a_limit(written, zone, lines):
    http, site = render(make({}, {**APP, "rate_limit": written}))
    assert found(zones(http)) == [zone]
    assert found(site) == lines


def test_several_limits_in_the_order_written():
    written = [{"rate": "5/s", "burst": 9}, {"rate": "100/m", "key": "header:Authorization"}]
    http, site = render(make({"rate_limit": written}, APP))
    assert len(set(zones(http))) == 2
    assert found(site) == ["limit_req zone=Z burst=9 nodelay;", "limit_req zone=Z burst=100 nodelay;",
                           "limit_req_status 429;"]


@pytest.mark.parametrize(("rate", "seconds"), [
    ("10/s", 1), ("1/s", 1), ("60/m", 1), ("30/m", 2), ("7/m", 9), ("1/m", 60)])
def test_clients_hear_when_there_is_room_again(rate, seconds):
    http, site = render(make({"rate_limit": {"rate": rate}}, APP))
    at = http.index(f"map $limit_req_status $webstack_retry_{seconds} {{")
    assert http[at + 1:at + 4] == ['default "";', f"REJECTED {seconds};", "}"]
    assert f'add_header Retry-After "$webstack_retry_{seconds}" always;' in site


def test_what_a_site_says_is_counted_once_for_all_its_routes():
    limit = {"rate_limit": {"rate": "1/s"}}
    http, site = render(make(limit, APP, {"app": "http", "path": "/a/"}), make(limit, APP, name="other"))
    assert len(zones(http)) == 2
    used = [line for line in site if line.startswith("limit_req zone")]
    assert len(used) == 2 and len(set(used)) == 1


def test_what_a_route_says_is_counted_for_itself():
    http, site = render(make({}, {**APP, "rate_limit": {"rate": "1/s"}},
                             {"app": "http", "path": "/a/", "rate_limit": {"rate": "1/s"}}))
    assert len(zones(http)) == len({line for line in site if line.startswith("limit_req zone")}) == 2


@pytest.mark.parametrize("change", [{"rate": "2/s"}, {"rate": "1/m"}, {"zone_size": "1m"}, {"key": "site"}])
def test_a_zone_is_named_after_all_that_it_is_made_of(change):
    names = [re.search(r"zone=(\w+)", zones(render(make({"rate_limit": {"rate": "1/s", **more}}, APP))[0])[0])[1]
             for more in ({}, change)]
    assert names[0] != names[1]


@pytest.mark.parametrize("change", [{"burst": 5}, {"delay": 0}, {"status": 503}, {"dry_run": True}])
def test_and_after_nothing_else(change):
    limits = [{"rate": "1/s", **more} for more in ({}, change)]
    assert zones(render(make({"rate_limit": limits[0]}, APP))[0]) == zones(
        render(make({"rate_limit": limits[1]}, APP))[0])


@pytest.mark.parametrize("off", [{}, []])
def test_a_route_may_have_none(off):
    _http, site = render(make({"rate_limit": {"rate": "1/s"}}, {**APP, "rate_limit": off}))
    assert not found(site)


def test_files_of_an_app_are_not_counted():
    of_site = features.resolve_site({"rate_limit": {"rate": "1/s"}}, "nginx_sites[0]", Context())
    assert "rate_limit" in features.effective(of_site, "folder", {})
    assert "rate_limit" not in features.effective(of_site, "folder", features.of_files({}))


def test_the_address_is_made_out_before_a_location_is_chosen():
    line = "set $webstack_address_early $webstack_address;"
    both = {"rate_limit": {"rate": "1/s"}, "connection_limit": {"connections": 1}}
    assert render(make({}, {**APP, **both}))[1].count(line) == 1
    assert line not in render(make({}, {**APP, "rate_limit": {"rate": "1/s", "key": "site"}}))[1]


def test_the_users_own_limits_stay():
    site = make({}, {**APP, "rate_limit": {"rate": "1/s"}}, directives="limit_req zone=mine;\nlimit_conn mine 1;")
    location = render(site)[1]
    location = location[location.index('location "/" {'):]
    assert "limit_req zone=mine;" in location
    assert "limit_conn mine 1;" not in location, "there nginx drops nothing"


def test_connections():
    written = [{"connections": 10}, {"connections": 500, "key": "site", "zone_size": "128k"}]
    http, site = render(make({}, {**APP, "connection_limit": written}))
    assert sorted(found(zones(http))) == ['limit_conn_zone "shop" zone=Z:128k;',
                                          "limit_conn_zone $webstack_address zone=Z:10m;"]
    assert found(site) == ["limit_conn Z 10;", "limit_conn Z 500;", "limit_conn_status 429;"]


def test_a_dry_run_of_connections():
    _http, site = render(make({}, {**APP, "connection_limit": {"connections": 1, "dry_run": True, "status": 503}}))
    assert found(site) == ["limit_conn Z 1;", "limit_conn_status 503;", "limit_conn_dry_run on;"]


def test_bandwidth():
    _http, site = render(make({"bandwidth": {"rate": "500k", "after": "1m"}}, APP))
    assert "limit_rate 500k;" in site and "limit_rate_after 1m;" in site
    _http, site = render(make({"bandwidth": {"rate": "500k", "after": ""}}, {**APP, "bandwidth": {}}))
    assert "limit_rate 500k;" not in site


REFUSED = [
    ("rate_limit", {}, None, ""),
    ("rate_limit", {"rate": "10"}, "rate", "such as 10/s or 30/m"),
    ("rate_limit", {"rate": "10r/s"}, "rate", "such as 10/s or 30/m"),
    ("rate_limit", {"rate": "0/s"}, "rate", "such as 10/s"),
    ("rate_limit", {"rate": "10/h"}, "rate", "by second or minute"),
    ("rate_limit", {"burst": 1}, "rate", "is missing"),
    ("rate_limit", {"rate": "1/s", "brust": 1}, "brust", "Did you mean 'burst'"),
    ("rate_limit", {"rate": "1/s", "burst": -1}, "burst", "from 0"),
    ("rate_limit", {"rate": "9/s", "burst": 5, "delay": 5}, "delay", "fewer than all"),
    ("rate_limit", {"rate": "9/s", "delay": -1}, "delay", "fewer than all"),
    ("rate_limit", {"rate": "9/s", "key": "adress"}, "key", "write 'address', 'site'"),
    ("rate_limit", {"rate": "9/s", "key": "header:X_Key"}, "key", "underscore"),
    ("rate_limit", {"rate": "9/s", "key": "cookie:a-b"}, "key", "cookies of letters"),
    ("rate_limit", {"rate": "9/s", "zone_size": "1"}, "zone_size", "write 64k or more"),
    ("rate_limit", {"rate": "9/s", "zone_size": "32k"}, "zone_size", "write 64k or more"),
    ("rate_limit", {"rate": "9/s", "status": 200}, "status", "from 400 to 599"),
    ("rate_limit", "10/s", "", "must be a dictionary or a list of them"),
    ("rate_limit", [{"rate": "1/s"}, {"rate": "1x"}], "[1].rate", "such as 10/s"),
    ("rate_limit", ["1/s"], "[0]", "must be a dictionary"),
    ("rate_limit", [{"rate": "1/s"}, {"rate": "1/s", "burst": 2}], "", "Write each once"),
    ("rate_limit", [{"rate": "1/s"}, {"rate": "2/s", "status": 503}], "", "Write the same in each"),
    ("rate_limit", [{"rate": "1/s"}, {"rate": "2/s", "dry_run": True}], "", "`dry_run`"),
    ("connection_limit", {"connections": 0}, "connections", "from 1 to 65535"),
    ("connection_limit", {"connections": 1, "key": "x"}, "key", "write 'address'"),
    ("connection_limit", [{"connections": 1}, {"connections": 2}], "", "the lower one alone"),
    ("connection_limit", [{"connections": 1}, {"connections": 2, "key": "site", "status": 503}], "", "the same in"),
    ("bandwidth", {"rate": "fast", "after": ""}, "rate", "such as 500k"),
    ("bandwidth", {"rate": "1m", "after": "1g"}, "after", "such as 500k"),
]


@pytest.mark.parametrize(("name", "written", "path", "words"), REFUSED)
def test_refused(name, written, path, words):
    context = Context()
    record = features.resolve_site({name: written}, "nginx_sites[2]", context).get(name)
    assert record is None
    if path is None:
        assert not context.items
        return
    where = f"nginx_sites[2].{name}" + (path if path.startswith("[") or not path else f".{path}")
    assert where in [problem.path for problem in context.items], context.items
    assert words in " ".join(problem.message for problem in context.items if problem.path == where)


@pytest.mark.parametrize("kind", [{"answer": 200}, {"redirect": "https://www.example.com/"}])
@pytest.mark.parametrize("limit", [{"rate_limit": {"rate": "1/s"}}, {"connection_limit": {"connections": 1}}])
def test_a_route_that_only_returns_has_no_limit(kind, limit):
    context = Context()
    make({}, {**kind, **limit}, context=context)
    [problem] = context.items
    assert problem.path == f"nginx_sites[0].routes[0].{next(iter(limit))}"
    assert "nginx returns before it looks" in problem.message
    # What the site says is nothing there, and no mistake.
    assert not found(render(make(limit, kind))[1])
