# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's configuration from site records, and what is refused before a host is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render, nginx_syntax, routes

ROLE = Path(__file__).resolve().parent.parent.parent / "roles" / "nginx"


def route(kind, index=0, site=0, **values):
    record = {"origin": f"nginx_sites[{site}].routes[{index}]", "kind": kind, "path": "/", "match": "prefix",
              "directives": ""}
    defaults = {
        "app": {"app": "shop", "protocol": "http", "servers": ["unix:/run/webstack/shop.sock"], "timeout": 35,
                "buffering": True},
        "vue": {"vue": "front", "root": "/srv/webstack/vue/front"},
        "folder": {"folder": "/srv/files", "uploads": False, "cache_control": ""},
        "redirect": {"to": "https://www.example.com$request_uri", "code": 301},
        "answer": {"status": 200, "body": "", "content_type": "text/plain"},
    }[kind]
    return {**record, **defaults, **values}


def listens(*ports, address="*", tls=()):
    return [{"address": address, "port": port, "tls": port in tls} for port in ports]


def site(*records, index=0, **values):
    return {"name": f"site{index}", "origin": f"nginx_sites[{index}]", "server_names": [f"s{index}.example.com"],
            "listen": listens(80), "tls": None, "routes": list(records), "directives": "", "client_max_body_size": "",
            **values}


TLS = {"certificate": "/etc/ssl/a.pem", "key": "/etc/ssl/a.key", "redirect": True}


def secure(*records, **values):
    return site(*records, **{"tls": TLS, "listen": listens(80, 443, tls=(443,)), **values})


def text(*sites, file="sites/site0.conf", **settings):
    return nginx_render.render(sites, settings)[0][file]


def server_names(output):
    return [statement.words[1:] for statement in nginx_syntax.statements(output)
            if statement.words[0] == "server_name"]


def test_files():
    files, origins = nginx_render.render([site(route("app")), site(index=1)], {})
    assert sorted(files) == ["generation.conf", "http.conf", "main.conf", "proxy.conf", "sites/site0.conf",
                             "sites/site1.conf", "uwsgi.conf"]
    assert origins.keys() == files.keys()
    assert "\x01" not in "".join(files.values())
    for output in files.values():
        nginx_syntax.statements(output)


def test_the_same_input_is_the_same_text():
    sites = [site(route("app"), route("vue", 1, path="/a/"))]
    assert nginx_render.render(sites, {}) == nginx_render.render(sites, {})


def test_upstreams_are_deduplicated_and_keep_nothing():
    two = ["unix:/run/webstack/shop.sock", "10.0.0.2:21000"]
    output = text(site(route("app"), route("app", 1, path="/b")), site(route("app", app="big", servers=two), index=1),
                  file="http.conf")
    assert output.count("upstream webstack_shop {") == 1
    assert "server unix:/run/webstack/shop.sock max_fails=0;" in output
    assert "server 10.0.0.2:21000 max_fails=3 fail_timeout=5s;" in output
    assert "zone webstack_big" in output
    kept = [line.strip() for line in output.splitlines() if "keepalive " in line]
    assert kept == ["#@nginx>=1.29.7 keepalive 0;"] * 2


def test_forwarded_headers_are_this_edges_own():
    files, _origins = nginx_render.render([site(route("app"))], {})
    for line in ('Host "$host$webstack_port"', 'X-Forwarded-For "$remote_addr"', 'X-Forwarded-Proto "$scheme"',
                 'Forwarded ""', 'Proxy ""', 'X-Forwarded-Ssl ""'):
        assert f"proxy_set_header {line};" in files["proxy.conf"]
    assert 'uwsgi_param HTTP_HOST "$host$webstack_port";' in files["uwsgi.conf"]
    assert 'uwsgi_param HTTP_FORWARDED "" if_not_empty;' in files["uwsgi.conf"]
    assert not re.search(r"proxy_add_x_forwarded_for|\$http_host\"", files["proxy.conf"] + files["uwsgi.conf"])


@pytest.mark.parametrize("where", ["site", "route"])
def test_overriding_one_header_keeps_all_the_others(where):
    raw = "proxy_set_header x-forwarded-proto https;"
    record = route("app", directives=raw if where == "route" else "")
    output = text(site(record, directives=raw if where == "site" else ""))
    location = output[output.index("location"):]
    assert location.lower().count("proxy_set_header x-forwarded-proto ") == 1
    assert 'proxy_set_header X-Forwarded-For "$remote_addr";' in location
    assert "include webstack/proxy.conf" not in location


def test_a_header_of_its_own_adds_to_the_include():
    output = text(site(route("app", directives="proxy_set_header X-Mine 1;")))
    assert "include webstack/proxy.conf;" in output


def test_headers_of_the_site_hold_in_every_location():
    records = [route("vue"), route("folder", 1, path="/f/"), route("answer", 2, path="/a"),
               route("redirect", 3, path="/r"), route("folder", 4, path="/u/", uploads=True)]
    output = text(secure(*records, directives="add_header X-Site 1;"))
    locations = [statement for statement in nginx_syntax.statements(output)
                 if statement.words[0] == "location" and statement.depth == 1][1:]
    lines = output.splitlines()
    for first, following in zip(locations, [*locations[1:], None], strict=True):
        block = "\n".join(lines[first.line - 1:following.line - 1 if following else None])
        if "add_header" in block:
            assert "add_header X-Site 1;" in block, block
            assert "Strict-Transport-Security" in block, block


def test_hsts_only_where_it_is_heard():
    assert "Strict-Transport-Security" in text(secure(route("app")))
    assert "Strict-Transport-Security" not in text(site(route("app")))
    assert "Strict-Transport-Security" not in text(secure(route("app")), nginx_hsts=0)
    assert "Strict-Transport-Security" not in text(secure(route("app"), tls={**TLS, "redirect": False}))


def test_plain_http_is_redirected():
    output = text(secure(route("app")))
    assert output.count("server {") == 2
    assert "return 301 https://$host$request_uri;" in output
    assert "https://$host:8443$request_uri" in text(secure(route("app"), listen=listens(80, 8443, tls=(8443,))))
    assert text(secure(route("app"), tls={**TLS, "redirect": False})).count("server {") == 1
    challenge = route("folder", path="/.well-known/acme-challenge/")
    assert text(secure(challenge, route("app", 1))).count('location "/.well-known/acme-challenge/"') == 2


def test_http2_in_both_spellings():
    output = text(secure(route("app")))
    assert "    #@nginx<1.25.1 listen 443 ssl http2;\n    #@nginx>=1.25.1 listen 443 ssl;\n" in output
    assert "#@nginx>=1.25.1 http2 on;" in output


def test_strangers_get_no_answer():
    output = text(secure(route("app")), file="http.conf")
    assert "        listen 80 default_server backlog=@BACKLOG 4096@;" in output
    assert "        listen 443 ssl default_server backlog=@BACKLOG 4096@;\n        ssl_reject_handshake on;" in output
    assert output.count("return 444;") == 4
    catch_all = secure(route("app"), server_names=[])
    assert "default_server" not in text(catch_all, file="http.conf")
    assert text(catch_all).count("default_server") == 6


def test_no_block_is_without_its_listener_on_a_host_without_ipv6():
    output = text(site(listen=listens(8080)), file="http.conf")
    block = output[output.index("    #@ipv6 server {"):].partition("return 444;")[0]
    assert all(line.strip().startswith("#@ipv6") for line in block.splitlines())
    assert "    #@ipv6 }" in output


def test_folder_is_closed_by_slashes_on_both_sides():
    for path, folder in (("/static", "/srv/s"), ("/static/", "/srv/s/"), ("/static", "/srv/s/")):
        output = text(site(route("folder", path=path, folder=folder)))
        assert 'location "/static/" {\n        alias "/srv/s/";' in output


@pytest.mark.parametrize("record, control, compressed", [
    (route("folder"), [], 1), (route("folder", cache_control="max-age=60"), ["max-age=60"], 1),
    (route("folder", uploads=True), [], 0), (routes.folder_route("a", "/s/", "/srv/s"), ["$webstack_static"], 1),
    (routes.folder_route("a", "/m/", "/srv/m", uploads=True), [], 0),
    (route("vue"), ["no-cache", "public, max-age=31536000, immutable", "no-store"], 2),
])
def test_how_files_are_sent(record, control, compressed):
    found = [statement.words for statement in nginx_syntax.statements(text(site(record)))]
    assert [words[2] for words in found if words[:2] == ("add_header", "Cache-Control")] == control
    assert found.count(("gzip_static", "on")) == compressed
    assert text(site(record)).count("#@module:http_brotli_static brotli_static on;") == compressed


def test_uploads_are_no_pages():
    output = text(site(route("folder", uploads=True)))
    for words in ("default-src 'none'; sandbox", "$webstack_disposition", "nosniff", "disable_symlinks if_not_owner"):
        assert words in output


def test_vue_below_a_path():
    output = text(site(route("vue", path="/admin/")))
    assert 'try_files $uri "/admin/index.html";' in output
    assert 'location ^~ "/admin/assets/" {\n        alias "/srv/webstack/vue/front/assets/";' in output
    assert 'location = "/admin/settings.json" {' in output


def test_a_text_is_sent_as_it_is():
    output = text(site(route("answer", body='costs $5 \\ "now"')))
    assert r'return 200 "costs ${webstack_dollar}5 \\ \"now\"";' in output


def test_timeouts_and_buffering_of_a_route():
    output = text(site(route("app", timeout=300, buffering=False), route("app", 1, path="/u", protocol="uwsgi")))
    assert "proxy_read_timeout 300s;" in output
    assert "proxy_buffering off;" in output
    assert "include webstack/uwsgi.conf;" in output
    assert "uwsgi_pass webstack_shop;" in output


def test_origins_point_at_the_users_lines():
    record = route("app", 1, path="/b", directives="# one\nproxy_buffers 8 8k;\n")
    sites = [site(route("app"), record, directives="add_header A 1;\nadd_header B 2;")]
    files, origins = nginx_render.render(sites, {})
    lines = files["sites/site0.conf"].splitlines()

    def origin(words):
        return nginx_render.origin_of(origins["sites/site0.conf"], lines.index(words) + 1)

    assert origin("add_header B 2;") == "nginx_sites[0].directives"
    assert origin("proxy_buffers 8 8k;") == "nginx_sites[0].routes[1].directives"
    assert origin('    location "/b" {') == "nginx_sites[0].routes[1]"
    first = next(line for line, name in origins["sites/site0.conf"] if name == "nginx_sites[0].routes[1].directives")
    assert lines[first - 1] == "# one"


def test_empty_lines_of_the_user_stay():
    output = text(site(directives='add_header A "1\n\n\n2";'))
    assert 'add_header A "1\n\n\n2";' in output


# -- checks --------------------------------------------------------------------------------------------------------

CLEAN = [
    [site(route("app"))],
    [secure(route("app")), secure(route("vue"), index=1)],
    [site(route("vue"), route("app", 1, path="/api/"), route("folder", 2, path="/media", uploads=True))],
    [site(directives="map_hash_max_size 1;"), site(index=1, listen=listens(80, 8080))],
    [site(server_names=[]), site(index=1, server_names=["a.example.com", "*.example.com", r"~^(?<x>\w+)\.org$"],
                                 directives="add_header X $x;")],
    [site(listen=listens(80, address="10.0.0.1")), site(index=1, listen=listens(80, address="[::1]"))],
]


@pytest.mark.parametrize("sites", CLEAN)
def test_clean(sites):
    assert nginx_render.check_sites(sites) == []


MISTAKES = [
    ([site(), site(index=1, name="site0")], "nginx_sites[1].name", "taken by nginx_sites[0]"),
    ([site(), site(index=1, server_names=["S0.example.com"])], "nginx_sites[1].server_names[0]", "also in"),
    ([site(server_names=["a.example.com", "a.example.com"])], "nginx_sites[0].server_names[1]", "also in"),
    ([site(server_names=[]), site(index=1, server_names=[])], "nginx_sites[1].server_names", "every host name"),
    ([site(server_names=["https://a.example.com/"])], "nginx_sites[0].server_names[0]", "write 'a.example.com'"),
    ([site(server_names=["a.example.com:8080"])], "nginx_sites[0].server_names[0]", "ports in `listen`"),
    ([site(server_names=["a b"])], "nginx_sites[0].server_names[0]", "no host name"),
    ([site(server_names=["a;}"])], "nginx_sites[0].server_names[0]", "no host name"),
    ([site(server_names=["~("])], "nginx_sites[0].server_names[0]", "no regular expression"),
    ([site(listen=listens(443)), secure(index=1)], "nginx_sites[1].listen", "speaks TLS here"),
    ([site(listen=listens(8404))], "nginx_sites[0].listen", "8404 is taken"),
    ([site(route("app"), route("vue", 1))], "nginx_sites[0].routes[1]", "the path '/' is taken by"),
    ([site(route("vue"), route("folder", 1, path="/assets"))], "nginx_sites[0].routes[1]", "'/assets/'"),
    ([site(route("app", path="/a"), directives="location /a { }")], "nginx_sites[0].routes[0]", "taken by"),
    ([site(directives="add_header A 1;\nadd_header B 1")], "nginx_sites[0].directives", "line 2"),
    ([site(directives="location /x {\n  return 200;\n")], "nginx_sites[0].directives", "line 1"),
    ([site(directives="add_header A 1;\n}\nserver {")], "nginx_sites[0].directives", "line 2"),
    ([site(directives="add_header A \"1;\n")], "nginx_sites[0].directives", "never closed"),
    ([site(directives="# x\nadd_header A $nope;")], "nginx_sites[0].directives", "line 2: nginx has no variable $nope"),
    ([site(route("app", directives="set $a $b;"))], "nginx_sites[0].routes[0].directives", "$b"),
    ([site(route("redirect", to="https://$hots/"))], "nginx_sites[0].routes[0].redirect", "$hots"),
]


@pytest.mark.parametrize(("sites", "path", "words"), MISTAKES)
def test_mistake(sites, path, words):
    found = nginx_render.check_sites(sites)
    assert [where for where, _message in found] == [path], found
    assert words in found[0][1]


def test_variables_of_the_http_block_are_known_in_sites():
    sites = [site(directives="add_header A $mine;")]
    assert nginx_render.check_sites(sites)
    assert not nginx_render.check_sites(sites, {"nginx_directives": "map $host $mine { default 1; }"})


VARIABLES = [
    ("set $a 1; return 200 $a;", []),
    ("return 200 $host$arg_x$http_user_agent$cookie_a$sent_http_x$1${uri};", []),
    ("return 200 $upstream_http_x$upstream_cookie_y$ssl_client_s_dn;", []),
    ("return 200 $HOST;", []),
    ("return 200 $hots;", [(1, "hots")]),
    ("\n\nreturn 200 ${hots}x;", [(3, "hots")]),
    ("rewrite ^/a/(?<n>.*)$ /b/$n;", []),
    ("location ~ \\.php$ { return 404; }", []),
    ("if ($request_uri ~ \"^/(?P<p>x)$\") { return 301 /$p; }", []),
    ("map $host $x { default $y; }", [(1, "y")]),
    ("auth_request_set $u $upstream_http_user; add_header U $u;", []),
    ("# $nothing\nset $b '$none';", [(2, "none")]),
    ('add_header A "one\ntwo $three";', [(2, "three")]),
    ("set $c $known;", []),
    ("geo $g { default 0; } split_clients $host $v { * a; } add_header A $g$v;", []),
]


@pytest.mark.parametrize(("raw", "expected"), VARIABLES)
def test_undefined_variables(raw, expected):
    assert nginx_render.undefined_variables(raw, {"known"}) == expected


LISTENS = [
    ({}, [("*", 80, False)]),
    ({"tls": TLS}, [("*", 80, False), ("*", 443, True)]),
    ({"listen": ["8080"]}, [("*", 8080, False)]),
    ({"listen": ["192.0.2.1:80", "[::1]:8443"], "tls": TLS}, [("192.0.2.1", 80, False), ("[::1]", 8443, True)]),
]


class Problems(list):
    def add(self, path, message):
        self.append((path, message))


@pytest.mark.parametrize(("values", "expected"), LISTENS)
def test_listeners(values, expected):
    problems = Problems()
    found = nginx_render.listeners({"origin": "nginx_sites[0]", "listen": [], **values}, problems)
    assert not problems
    assert [(one["address"], one["port"], one["tls"]) for one in found] == expected


WRONG = ["", "http", "80 ssl", "0", "70000", "example.com:80", "::1:80", "[1.2.3.4]:80", "a:b"]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_listeners(wrong):
    problems = Problems()
    nginx_render.listeners({"origin": "nginx_sites[0]", "listen": [wrong]}, problems)
    assert [path for path, _message in problems] == ["nginx_sites[0].listen[0]"]


def test_tls_needs_a_port():
    problems = Problems()
    nginx_render.listeners({"origin": "nginx_sites[0]", "listen": ["80"], "tls": TLS}, problems)
    assert problems[0][0] == "nginx_sites[0].listen"


# -- the role ------------------------------------------------------------------------------------------------------


def test_defaults_and_specs_agree():
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert defaults == {name: spec["default"] for name, spec in options.items()}
    assert nginx_render.SETTINGS.items() <= defaults.items()


def test_the_readme_lists_every_kind():
    readme = (ROLE / "README.md").read_text()
    for name, kind in routes.load().items():
        assert f"| `{name}: " in readme
        for option in kind.options:
            assert f"`{option}" in readme, (name, option)
