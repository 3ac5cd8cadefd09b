# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several servers is asked, and the routes to other servers."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, normalise, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError, Problems, apply

ORIGIN = "nginx_sites[0].routes[0]"


class Context:
    """The normaliser: every app has the hosts that its name says."""

    def __init__(self):
        self.errors = []

    def app(self, name):
        hosts = name.split("-")
        return {"protocol": "http", "servers": [f"192.0.2.{number}:80" for number, _host in enumerate(hosts)],
                "server_hosts": hosts, "settings": {},
                "drained": [f"192.0.2.{number}:80" for number, host in enumerate(hosts) if host.startswith("out")]}

    def names(self, kind):
        return []

    def error(self, path, message):
        self.errors.append((path, message))


def make(*written, **values):
    """Return http.conf, the site's file, and all mistakes."""
    problems, context = Problems(), Context()
    site = {**apply({"name": "shop", "server_names": ["s.example.com"], **values}, site_options(), "nginx_sites[0]",
                    problems), "origin": "nginx_sites[0]"}
    own = features.resolve_site(site, "nginx_sites[0]", context)
    made = [routes.resolve(route, f"nginx_sites[0].routes[{index}]", context) for index, route in enumerate(written)]
    made = [{**route, "features": features.effective(own, route["kind"], route["features"])} for route in made if route]
    site |= {"features": own, "routes": made, "listen": [{"address": "*", "port": 80, "tls": False}]}
    errors = [(one.path, one.message) for one in problems.items] + context.errors
    if errors:
        return "", "", errors
    files, _origins = nginx_render.render([site], {})
    return files["http.conf"], files["sites/shop.conf"], nginx_render.check_sites([site])


def upstream(text):
    """Return the lines inside the one upstream block."""
    [block] = text.split("\n    upstream ")[1:]
    return [line.strip() for line in block.split("\n    }")[0].splitlines()[1:] if "#@" not in line]


@pytest.mark.parametrize("app, balance, expected", [
    ("a", None, ["server 192.0.2.0:80 max_fails=0;"]),
    ("a-b", None, ["zone", "server 192.0.2.0:80 max_fails=3 fail_timeout=5s;",
                   "server 192.0.2.1:80 max_fails=3 fail_timeout=5s;"]),
    ("a-b", {"method": "least_conn", "weights": {"b": 3}, "max_fails": 1, "fail_timeout": 9},
     ["zone", "least_conn;", "server 192.0.2.0:80 max_fails=1 fail_timeout=9s;",
      "server 192.0.2.1:80 weight=3 max_fails=1 fail_timeout=9s;"]),
    ("a-b", {"backup": ["a"]}, ["zone", "server 192.0.2.0:80 max_fails=3 fail_timeout=5s backup;",
                                "server 192.0.2.1:80 max_fails=3 fail_timeout=5s;"]),
    ("a-b", {"method": "random"}, ["zone", "random two least_conn;", "server", "server"]),
    ("a-b", {"method": "ip_hash"}, ["zone", "ip_hash;", "server", "server"]),
    ("a-b", {"method": "hash", "key": "$request_uri"}, ["zone", 'hash "$request_uri" consistent;', "server", "server"]),
    ("a-b", {"method": "cookie"}, ["zone", "hash $webstack_lb_a_b consistent;", "server", "server"]),
    ("a", {"method": "cookie"}, ["server 192.0.2.0:80 max_fails=0;"]),
    ("a-out", None, ["zone", "server 192.0.2.0:80 max_fails=0;", "server 192.0.2.1:80 max_fails=0 down;"]),
])
def test_upstream(app, balance, expected):
    http, _site, errors = make({"app": app, **({"balance": balance} if balance else {})})
    assert not errors
    found = upstream(http)
    assert len(found) == len(expected)
    for line, words in zip(found, expected, strict=True):
        assert line == words if " " in words or words.endswith(";") else line.startswith(words), found


def test_a_drained_host_need_not_answer():
    http, _site, _errors = make({"app": "a-out"})
    assert "#@needs socket 192.0.2.0:80\n" in http


def test_a_zone_is_named_after_what_is_in_it():
    def zone(weight):
        return upstream(make({"app": "a-b", "balance": {"weights": {"a": weight}}})[0])[0]

    assert zone(2) == zone(2) != zone(3)


def test_routes_of_one_app_share_what_is_the_same():
    http, site, _errors = make({"app": "a-b"}, {"app": "a-b", "path": "/x", "balance": {"tries": 3}},
                               {"app": "a-b", "path": "/y", "balance": {"method": "random"}})
    assert http.count("    upstream ") == 2
    assert site.count("proxy_next_upstream_tries 3;") == 1
    assert site.count("proxy_pass http://webstack_a-b;") == 2


def test_a_cookie_is_set_where_there_is_a_choice():
    http, site, _errors = make({"app": "a-b", "balance": {"method": "cookie"}})
    assert 'add_header Set-Cookie "$webstack_set_lb_a_b" always;' in site
    assert "HttpOnly; Secure; SameSite=Lax" in http
    assert "Set-Cookie" not in make({"app": "a", "balance": {"method": "cookie"}})[1]


def test_a_site_speaks_for_all_its_apps():
    _http, _site, errors = make({"app": "a-b"}, {"app": "b-c", "path": "/x"}, balance={"weights": {"a": 2, "c": 2}})
    assert not errors


@pytest.mark.parametrize("balance, path, words", [
    ({"method": "fair"}, "balance.method", "one of round_robin"),
    ({"method": "hash"}, "balance.key", "'$remote_addr'"),
    ({"method": "hash", "key": "$a; evil"}, "balance.key", "write the variables"),
    ({"key": "$a"}, "balance.key", "`method: hash` alone"),
    ({"method": "cookie", "backup": ["b"]}, "balance.backup", "does not go with `method: cookie`"),
    ({"weights": {"a": 0}}, "balance.weights.a", "webstack_drained"),
    ({"weights": {"a": True}}, "balance.weights.a", "from 1 to 9999"),
    ({"tries": 0}, "balance.tries", "from 1 to 100"),
    ({"max_fails": -1}, "balance.max_fails", "from 0"),
    ({"fail_timeout": 0}, "balance.fail_timeout", "from 1"),
    ({"weights": {"x": 2}}, "balance", "names 'x' in `weights`, and the servers asked here are a, b"),
    ({"backup": ["a", "b"]}, "balance", "leave at least one out"),
])
def test_mistakes(balance, path, words):
    [(found, message)] = make({"app": "a-b", "balance": balance})[2]
    assert found == f"{ORIGIN}.{path}"
    assert words in message


# -- hosts that are taken out ----------------------------------------------------------------------------------------


APP = {"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}}


def plan(**drained):
    hosts = {"edge": {"webstack_address": "192.0.2.1"}, "app1": {"webstack_address": "192.0.2.11"},
             "app2": {"webstack_address": "192.0.2.12"}}
    lists = {"flask_apps": [{**APP, "hosts": "webstack_app"}],
             "nginx_sites": [{"name": "shop", "server_names": ["s.example.com"], "routes": [{"app": "shop"}]}]}
    variables = {host: {**own, **lists, **({"webstack_drained": drained[host]} if host in drained else {})}
                 for host, own in hosts.items()}
    made = normalise.normalise(variables, {"all": list(hosts), "webstack_edge": ["edge"],
                                           "webstack_app": ["app1", "app2"]})
    return made["sites"]["edge"][0]["routes"][0]


def test_a_host_is_taken_out():
    assert plan()["drained"] == []
    route = plan(app2=True, app1=False)
    assert [address.split(":")[0] for address in route["drained"]] == ["192.0.2.12"]
    assert route["hosts"] == ["app1", "app2"]


def test_not_all_hosts_can_be_taken_out():
    with pytest.raises(InventoryError, match="webstack_drained: is true on app1 and app2, and nobody would answer"):
        plan(app1=True, app2=True)


def test_the_word_is_true_or_false():
    with pytest.raises(InventoryError, match="webstack_drained: is 'maybe'"):
        plan(app1="maybe")


# -- routes to other servers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("route, line", [
    ({"proxy": "http://h"}, '://NAME";'),
    ({"proxy": "http://h/"}, '://NAME";'),
    ({"proxy": "http://h/b", "path": "/x"}, '://NAME/b/x";'),
    ({"proxy": "http://h/b/", "path": "/x/"}, '://NAME/b/x/";'),
    ({"proxy": "http://h", "path": "/x", "strip_path": True}, '://NAME/";'),
    ({"proxy": "http://h/b", "path": "/x", "strip_path": True}, '://NAME/b/";'),
    ({"proxy": "http://h/b", "path": "/x", "match": "exact"}, '://NAME/b/x";'),
    ({"proxy": "http://h", "path": "x$", "match": "regex"}, '://NAME";'),
])
def test_one_rule_for_paths(route, line):
    http, site, errors = make(route)
    assert not errors
    name = http.split("\n    upstream ")[1].split()[0]
    assert f'proxy_pass "http{line.replace("NAME", name)}' in site
    assert 'location "/x/" {' in site if route.get("strip_path") else True


@pytest.mark.parametrize("route, host", [
    ({"proxy": "http://h"}, "$host$webstack_port"), ({"proxy": "https://h"}, "h"),
    ({"proxy": "https://h:8443"}, "h:8443"), ({"proxy": "https://h", "host_header": "$host"}, "$host"),
    ({"proxy": "https://192.0.2.1", "tls": {"name": "h"}}, "$host$webstack_port"),
])
def test_the_host_that_is_heard(route, host):
    _http, site, errors = make(route)
    assert not errors
    location = site[site.index("location"):]
    if host == "$host$webstack_port":
        assert "include webstack/proxy.conf;" in location
    else:
        assert f'proxy_set_header Host "{host}";' in location
        assert location.count("proxy_set_header Host ") == 1
        assert 'proxy_set_header X-Forwarded-For "$remote_addr";' in location


def test_a_certificate_is_verified_unless_told_otherwise():
    _http, site, _errors = make({"proxy": "https://h"})
    for line in ("proxy_ssl_verify on;", 'proxy_ssl_name "h";', "proxy_ssl_server_name on;",
                 'proxy_ssl_trusted_certificate "/etc/ssl/certs/ca-certificates.crt";'):
        assert line in site
    assert "proxy_ssl_verify" not in make({"proxy": "https://h", "tls": {"verify": False}})[1]


def test_routes_that_ask_for_another_proof_share_no_sessions():
    http, _site, errors = make({"proxy": "https://h"}, {"proxy": "https://h", "path": "/x", "tls": {"ca": "/a.pem"}},
                               {"proxy": "https://h", "path": "/y", "tls": {"verify": False}})
    assert not errors
    assert http.count("    upstream ") == 3


@pytest.mark.parametrize("route, path, words", [
    ({"proxy": "h:80"}, "proxy", "must be a URL with http:// or https://"),
    ({"proxy": "ws://h"}, "proxy", "must be a URL with http:// or https://"),
    ({"proxy": "http://u:p@h"}, "proxy", "has a user in it"),
    ({"proxy": "http://h/$uri"}, "proxy", "dollar sign"),
    ({"proxy": "http://h/?a=b"}, "proxy", "more behind the path"),
    ({"proxy": "http://h/../x"}, "proxy", ". or .."),
    ({"proxy": "http://h:0x1"}, "proxy", "no URL"),
    ({"proxy": "http://h:99999"}, "proxy", "no URL"),
    ({"proxy": "http://h/b", "match": "regex", "path": "x"}, "proxy", "regular expression"),
    ({"proxy": "http://h", "match": "exact", "path": "/x", "strip_path": True}, "strip_path", "leave `match` out"),
    ({"proxy": "http://h", "servers": ["192.0.2.1"]}, "servers[0]", "an address and a port"),
    ({"proxy": "http://h", "servers": ["h:1", "h:1"]}, "servers", "twice"),
    ({"proxy": "https://192.0.2.1"}, "tls.name", "Write the name that the certificate has"),
    ({"proxy": "https://h", "tls": {"name": "a b"}}, "tls.name", "write a host name"),
    ({"proxy": "https://h", "tls": {"ca": "ca.pem"}}, "tls.ca", "absolute path"),
    ({"proxy": "http://h", "host_header": "a b"}, "host_header", "write a host name"),
    ({"proxy": "http://h", "timeout": 0}, "timeout", "from 1 to 86400"),
])
def test_mistakes_of_other_servers(route, path, words):
    [(found, message)] = make(route)[2]
    assert found == f"{ORIGIN}.{path}"
    assert words in message
