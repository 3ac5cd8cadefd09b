# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx remembers of an app's answers: what is written, what comes of it, and what is refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_cache
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.features import cache
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply

SITE = {"name": "shop", "origin": "nginx_sites[0]"}
ORIGIN = "nginx_sites[0].routes[0].cache"


class Context:
    """The normaliser, as far as features know it."""

    def __init__(self):
        self.errors = []

    def error(self, path, message):
        self.errors.append((path, message))


def resolve(written):
    problems, context = Problems(), Context()
    values = apply({"cache": written}, {"cache": site_options()["cache"]}, "", problems)["cache"]
    assert not problems, [str(problem) for problem in problems.items]
    return cache.FEATURE.resolve(values, ORIGIN, context), context.errors


def use(written, protocol="http", site="shop", app="shop", buffering=True):
    record, errors = resolve(written)
    assert not errors
    route = {"origin": "nginx_sites[0].routes[0]", "kind": "app", "app": app, "protocol": protocol,
             "buffering": buffering}
    return features.Use({**record, "origin": ORIGIN}, {**SITE, "name": site}, route)


def lines(written, **values):
    return list(cache.FEATURE.location(use(written, **values)).lines)


def zone(*uses):
    return [line for line in cache.FEATURE.http(uses) if "_cache_path" in line]


def test_what_comes_of_few_words():
    found = "\n".join(lines({"valid": "10m"}))
    assert re.sub(r"_[0-9a-f]{12}", "_D", found) == """\
proxy_cache webstack_cache_shop_D;
proxy_cache_key "$scheme://$host$webstack_port$request_uri\\n$server_port\\nshop";
proxy_cache_valid 200 301 302 10m;
proxy_cache_bypass $webstack_past_D $webstack_known_D;
proxy_no_cache $webstack_past_D $webstack_known_D;
proxy_cache_min_uses 1;
proxy_cache_lock on;
proxy_cache_lock_timeout 5s;
proxy_cache_lock_age 5s;
proxy_cache_use_stale updating;"""


@pytest.mark.parametrize("written, expected", [
    ({"valid": {200: "10m", "404": "1m", 410: "1m", "any": "1s"}},
     ["proxy_cache_valid 200 10m;", "proxy_cache_valid 404 410 1m;", "proxy_cache_valid any 1s;"]),
    ({"valid": "1s", "vary_on": {"headers": ["Accept-Language"], "cookies": ["currency"]}, "key": ["$arg_x"]},
     ['proxy_cache_key "$scheme://$host$webstack_port$request_uri\\n$server_port\\nshop\\n${http_accept_language}'
      '\\n${cookie_currency}\\n$arg_x";']),
    ({"valid": "1s", "stale": True},
     ["proxy_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504;",
      "proxy_cache_background_update on;"]),
    ({"valid": "1s", "lock_timeout": 2}, ["proxy_cache_lock_timeout 2s;", "proxy_cache_lock_age 2s;"]),
    ({"valid": "1s", "min_uses": 3}, ["proxy_cache_min_uses 3;"]),
    ({"valid": "1s", "ignore": ["Cache-Control", "Set-Cookie"]},
     ["proxy_ignore_headers Cache-Control Set-Cookie;", "proxy_hide_header Set-Cookie;"]),
])
def test_what_is_written_and_what_comes_of_it(written, expected):
    found = lines(written)
    for line in expected:
        assert line in found
    uwsgi = lines(written, protocol="uwsgi")
    assert all(line.startswith("uwsgi_") for line in uwsgi)
    assert not any("http_502" in line for line in uwsgi), "which uwsgi_cache_use_stale does not know"


@pytest.mark.parametrize("written, words", [
    ({"valid": "1s", "lock": False}, ["cache_lock", "use_stale"]),
    ({"valid": {}}, ["cache_valid"]),
    ({"valid": "1s"}, ["ignore_headers", "hide_header", "background_update", "http_50"]),
    ({"valid": "1s", "bypass": {"cookies": []}}, ["webstack_known"]),
])
def test_what_is_not_asked_for_is_not_there(written, words):
    assert not [line for line in lines(written) for word in words if word in line]


def test_head_by_the_uwsgi_protocol_is_not_remembered():
    [line] = [line for line in lines({"valid": "1s"}, protocol="uwsgi") if "no_cache" in line]
    assert line.endswith(" $webstack_head;")
    assert "    HEAD 1;" in cache.FEATURE.http([use({"valid": "1s"}, protocol="uwsgi")])
    assert "    HEAD 1;" not in cache.FEATURE.http([use({"valid": "1s"})])


def test_a_stream_is_not_remembered():
    stream = use({"valid": "1s"}, buffering=False)
    assert not cache.FEATURE.location(stream).lines and not cache.FEATURE.http([stream])
    assert not cache.FEATURE.early(stream)
    assert "buffering" in cache.FEATURE.check(stream)
    of_site = features.Use({**stream.record, "origin": "nginx_sites[0].cache"}, SITE, stream.route)
    assert cache.FEATURE.check(of_site) == "" == cache.FEATURE.check(use({"valid": "1s"}))


def test_the_header():
    assert not cache.FEATURE.location(use({"valid": "1s"})).headers
    found = cache.FEATURE.location(use({"valid": "1s", "status_header": True})).headers
    assert found == {"X-Cache": "$upstream_cache_status"}


def test_zones():
    one = use({"valid": "10m"})
    [line] = zone(one, use({"valid": {200: "10m", 404: "1m"}, "key": ["$arg_x"]}))
    name = re.search(r"keys_zone=(\w+):10m ", line)[1]
    assert f"proxy_cache {name};" in lines({"valid": "10m"})
    assert re.fullmatch(rf"proxy_cache_path /var/cache/webstack\.shop\.[0-9a-f]{{12}} levels=1:2 "
                        rf"keys_zone={name}:10m max_size=1g inactive=600s use_temp_path=off;", line)
    # What a purge looks for.
    assert nginx_cache._ZONE.fullmatch(line.split()[1].rpartition("/")[2])[1] == "shop"


@pytest.mark.parametrize("other", [
    {"protocol": "uwsgi"}, {"site": "shop2"}, {"written": {"valid": "10m", "size": "2g"}},
    {"written": {"valid": "10m", "zone": "20m"}}, {"written": {"valid": "10m", "inactive": "1h"}},
])
def test_what_has_a_zone_of_its_own(other):
    found = zone(use({"valid": "10m"}), use(**{"written": {"valid": "10m"}, **other}))
    assert len({line.split()[1] for line in found}) == 2
    assert len({re.search(r"keys_zone=(\w+)", line)[1] for line in found}) == 2


@pytest.mark.parametrize("written, inactive", [
    ({"valid": "1s"}, "1s"), ({"valid": {200: "1h", 404: "2m"}}, "3600s"), ({"valid": {}}, "600s"),
    ({"valid": "1s", "stale": True}, "1d"), ({"valid": "1s", "stale": True, "inactive": "2h"}, "2h"),
])
def test_how_long_unasked_answers_are_kept(written, inactive):
    assert f" inactive={inactive} " in zone(use(written))[0]


@pytest.mark.parametrize("cookie, past", [
    ("sessionid=x", True), ("a=b; sessionid=x", True), ("a=b;sessionid =x", True), ("a=b;\tsession=", True),
    ("a=b sessionid=x", True), ("\u00a0sessionid=x", True), ('a="b";sessionid="0"', True), ("__Host-id.x=1", True),
    ("", False), ("a=sessionid", False), ("xsessionid=1", False), ("my-session=1", False), ("sessionid2=x", False),
    ("__Host-id_x=1", False), ("my.session=1", False),
])
def test_who_is_known_by_a_cookie(cookie, past):
    cookies = {"cookies": ["sessionid", "session", "__Host-id.x"]}
    found = cache.FEATURE.http([use({"valid": "1s", "bypass": cookies})])
    [pattern] = [line.split('"')[1] for line in found if '"~' in line]
    assert bool(re.search(pattern[1:], cookie)) == past


def test_the_pattern_of_cookies_is_asked_before_a_location_is():
    found = use({"valid": "1s"})
    known = cache._past(found.record)[1]
    assert list(cache.FEATURE.early(found)) == [f"set $webstack_early ${known};"]
    assert not cache.FEATURE.early(features.Use(found.record, SITE))


def test_what_goes_past():
    found = "\n".join(cache.FEATURE.http([use({"valid": "1s", "bypass": {"headers": ["X-Key"]}})]))
    assert ('map "$http_authorization$http_upgrade$http_content_length$http_transfer_encoding$ssl_client_s_dn'
            '$http_x_key" $webstack_past_' in found)


@pytest.mark.parametrize("written", [{}, None])
def test_off(written):
    assert resolve(written) == (None, [])


@pytest.mark.parametrize("written, path, words", [
    ({"stale": True}, "valid", "is missing: write how long"),
    ({"valid": 10}, "valid", "write a number and s, m, h or d"),
    ({"valid": "10 m"}, "valid", "such as 30s or 10m"),
    ({"valid": {200: "0s"}}, "valid.200", "such as 30s or 10m"),
    ({"valid": {"ok": "1s"}}, "valid", "write a status such as 200"),
    ({"valid": "1s", "key": ["$a", "x; y"]}, "key[1]", "one of nginx's variables"),
    ({"valid": "1s", "vary_on": {"headers": ["Accept Language"]}}, "vary_on.headers[0]", "the name of a header"),
    ({"valid": "1s", "vary_on": {"cookies": ["__Host-x"]}}, "vary_on.cookies[0]", "letters, digits and _"),
    ({"valid": "1s", "bypass": {"cookies": ["a", "b c"]}}, "bypass.cookies[1]", "such as sessionid"),
    ({"valid": "1s", "bypass": {"headers": ["$x"]}}, "bypass.headers[0]", "such as Authorization"),
    ({"valid": "1s", "lock_timeout": 0}, "lock_timeout", "from 1 to 3600"),
    ({"valid": "1s", "min_uses": 0}, "min_uses", "from 1"),
    ({"valid": "1s", "size": "1 GB"}, "size", "such as 512m"),
    ({"valid": "1s", "zone": "10"}, "zone", "such as 512m"),
    ({"valid": "1s", "inactive": "1w"}, "inactive", "such as 30s or 10m"),
])
def test_refused(written, path, words):
    _record, errors = resolve(written)
    assert [where for where, _message in errors] == [f"{ORIGIN}.{path}"]
    assert words in errors[0][1]
