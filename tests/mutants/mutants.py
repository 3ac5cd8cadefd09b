# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken configurations of nginx: an inventory that is right, and what people and disks make of it.

Inventory mutants are to be refused on the controller, tree mutants (of the rendered files) on the host. The same seed
makes the same mutants, in the same order.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render, normalise

SEED = 20261122
FOLDER = "/srv/mutants"
TAKEN = 18999  # somebody else listens there

GROUPS = {"all": ["edge"], "ungrouped": [], "webstack_edge": ["edge"], "webstack_app": ["edge"]}
TLS = {"certificate": f"{FOLDER}/a.pem", "key": f"{FOLDER}/a.key"}


def inventory() -> dict[str, Any]:
    """Return the variables of the one host: something of everything."""
    return {
        "flask_apps": [
            {"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}, "hosts": "webstack_app"},
            {"name": "blog", "callable": "blog:app", "source": {"folder": "blog"}, "hosts": "webstack_app",
             "server": "uwsgi"}],
        "vue_sites": [{"name": "front", "source": {"folder": "front"}}],
        "nginx_directives": "limit_req_zone $binary_remote_addr zone=mutants:1m rate=1000r/s;\n"
                            "map $http_x_color $mutants_color {\n  default red;\n  ~*blue blue;\n}\n",
        "nginx_expected_connections": 1000,
        "nginx_sites": [
            {"name": "shop", "server_names": ["shop.example.com", "*.shop.example.com"], "tls": dict(TLS),
             "client_max_body_size": "20m", "routes": [
                 {"app": "shop", "path": "/", "timeout": 40},
                 {"folder": f"{FOLDER}/static", "path": "/static/"},
                 {"answer": 410, "path": "/gone", "match": "exact", "body": "gone"},
                 {"redirect": "https://shop.example.com/new/", "path": "/old/", "code": 302},
                 {"answer": 200, "path": "/health", "log": False}]},
            {"name": "plain", "server_names": ["plain.example.com"], "listen": ["80", "8081"],
             "directives": "add_header X-Mutants \"$mutants_color\";\n", "routes": [
                 {"app": "shop", "path": "/", "directives": "limit_req zone=mutants burst=100 nodelay;\n",
                  "access": {"allow": ["127.0.0.0/8", "::1"], "deny": ["192.0.2.0/24"]}},
                 {"folder": f"{FOLDER}/static", "path": "/files/"},
                 {"folder": f"{FOLDER}/uploads", "path": "/uploads/", "uploads": True},
                 {"answer": 404, "path": "\\.php$", "match": "regex"}]},
            {"name": "blog", "server_names": ["blog.example.com"], "routes": [
                {"app": "blog", "path": "/api/"}, {"vue": "front", "path": "/"}]},
        ],
    }


def plan(variables: dict[str, Any]) -> dict[str, Any]:
    """Return the plan; raises InventoryError."""
    return normalise.normalise({"edge": {"ansible_host": "192.0.2.1", **variables}}, GROUPS)


def base() -> tuple[dict[str, str], dict[str, list]]:
    """Return the files of the inventory that is right, and where their lines come from."""
    made = plan(inventory())
    return nginx_render.render(made["sites"]["edge"], made["nginx"]["edge"])


# -- inventories ---------------------------------------------------------------------------------------------------


def _walk(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key), inner
        yield from _walk(inner, (*path, key))


def _at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def name_of(path: tuple) -> str:
    """Return a path as users read it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


#: Values that are of the right type, and wrong: (the end of the path, the value).
_WRONG_VALUES = [
    ("name", "Shop One"), ("name", "../shop"), ("server_names[0]", "https://shop.example.com/"),
    ("server_names[0]", "shop example.com"), ("server_names[0]", "~("), ("server_names[0]", "a;}"),
    ("listen[1]", "99999"), ("listen[1]", "http"), ("listen[1]", "8404"), ("listen[1]", "1.2.3:80"),
    ("path", "no/slash"), ("path", "//twice/"), ("path", "/a b"), ("path", "/$x"), ("path", "/.."),
    ("match", "prefixed"), ("app", "shopp"), ("vue", "nobody"), ("folder", "relative"), ("folder", "/srv/../etc"),
    ("folder", "/srv/$x"), ("timeout", 0), ("timeout", -5), ("timeout", 100000), ("answer", 99), ("answer", 301),
    ("answer", 1000), ("code", 200), ("redirect", "https://$nope/"), ("redirect", "https://x/$uri"),
    ("directives", "add_header X \"1;"), ("directives", "location /x {"), ("directives", "}"),
    ("directives", "add_header X $nothing;"), ("directives", "add_header X 1"),
    ("access.allow[0]", "example.com"), ("access.allow[0]", "192.0.2.1/24"), ("access.deny[0]", "all"),
    ("body", "a\x01b"),
]


def inventory_mutants(seed: int = SEED) -> list[tuple[str, dict[str, Any]]]:
    """Return (what is wrong, the variables)."""
    found: list[tuple[str, dict[str, Any]]] = []

    def add(name: str, path: tuple, change: Any) -> None:
        variables = inventory()
        change(_at(variables, path[:-1]), path[-1])
        found.append((f"{name_of(path)} {name}", variables))

    for path, value in _walk(inventory()["nginx_sites"], ("nginx_sites",)):
        last = name_of(path)
        if isinstance(path[-1], str):
            add("is misspelt", path, lambda at, key: at.update({f"{key}_x": at.pop(key)}))
            wrong = "text" if isinstance(value, (dict, list)) else {"a": "dictionary"}
            add("is of another type", path, lambda at, key, wrong=wrong: at.update({key: wrong}))
        if path[-1] in ("name", "certificate", "key"):
            add("is missing", path, lambda at, key: at.pop(key))
        if isinstance(path[-1], int) and path[-2] in ("routes", "nginx_sites"):
            add("is nothing", path, lambda at, key: at.__setitem__(key, None))
            add("is there twice", path, lambda at, key: at.append(copy.deepcopy(at[key])))
        for end, wrong in _WRONG_VALUES:
            # A regular expression is no path, and a full address may be redirected to from any path.
            if last.endswith(f".{end}") and not (end == "path" and "match" in _at(inventory(), path[:-1])):
                add(f"is {wrong!r}", path, lambda at, key, wrong=wrong: at.__setitem__(key, wrong))
    random.Random(seed).shuffle(found)  # noqa: S311 (to be repeated, not to be secret)
    return found


# -- trees ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """Files that differ from those that are right."""

    name: str
    files: dict[str, str] = field(repr=False)
    by_test: bool = True  # whether `nginx -t` sees it


# Directives with a fixed number of values, found outside maps: one of them may be misspelt, or lose its semicolon.
_FIXED = ("sendfile", "tcp_nopush", "etag", "server_tokens", "client_header_timeout", "send_timeout",
          "keepalive_timeout", "keepalive_requests", "reset_timedout_connection", "underscores_in_headers", "gzip_vary",
          "gzip_comp_level", "gzip_min_length", "ssl_session_timeout", "proxy_http_version", "proxy_connect_timeout",
          "uwsgi_connect_timeout", "types_hash_max_size", "client_max_body_size", "proxy_pass", "proxy_read_timeout",
          "uwsgi_pass", "alias",
          "root", "ssl_certificate", "ssl_certificate_key", "limit_req_zone", "worker_connections", "worker_processes",
          "access_log", "default_type", "stub_status", "allow", "deny", "proxy_set_header", "uwsgi_param")


def _lines(files: dict[str, str], wanted: str) -> list[tuple[str, int]]:
    """Return (file, index of a line) of all lines that match."""
    return [(path, index) for path, text in sorted(files.items()) for index, line in enumerate(text.split("\n"))
            if re.search(wanted, line) and not line.lstrip().startswith("#")]


def _depths(text: str) -> list[int]:
    """Return how many blocks are open after each line."""
    depth, found = 0, []
    for line in text.split("\n"):
        depth += line.endswith("{") and not line.lstrip().startswith("#")
        depth -= line.strip() == "}"
        found.append(depth)
    return found


def tree_mutants(files: dict[str, str], seed: int = SEED) -> list[Mutant]:
    """Return the mutants of these files."""
    chance = random.Random(seed)  # noqa: S311 (to be repeated, not to be secret)
    found: list[Mutant] = []

    def add(name: str, path: str, text: str, by_test: bool = True) -> None:
        assert text != files.get(path), name
        found.append(Mutant(f"{path}: {name}", {**files, path: text}, by_test))

    def edit(name: str, wanted: str, count: int, change: Any) -> None:
        places = _lines(files, wanted)
        assert places, (name, wanted)
        for path, index in sorted(chance.sample(places, min(count, len(places)))):
            lines = files[path].split("\n")
            lines[index] = change(lines[index])
            add(f"{name}, line {index + 1}", path, "\n".join(lines))

    def replace(name: str, path: str, old: str, new: str, by_test: bool = True) -> None:
        assert old in files[path], (name, path, old)
        add(name, path, files[path].replace(old, new, 1), by_test)

    fixed = rf"^\s*({'|'.join(_FIXED)})( .*)?;$"
    edit("a closing brace is missing", r"^\s*\}$", 14, lambda line: "")
    edit("a closing brace too many", r"^\s*\}$", 10, lambda line: f"{line}\n}}")
    edit("an opening brace is missing", r"^\s*(server|location|upstream|map|events|http)\b.* \{$", 10,
         lambda line: line[:-2])
    edit("an unknown directive", fixed, 14, lambda line: f"frobnicate on;\n{line}")
    edit("a misspelt directive", fixed, 20, lambda line: re.sub(r"\w+", lambda match: f"{match[0]}x", line, count=1))
    edit("no semicolon", fixed, 16, lambda line: line[:-1])
    edit("a quote that never ends", r'^\s*(proxy_set_header|uwsgi_param|alias|root|ssl_certificate).*".*;$', 8,
         lambda line: line[::-1].replace('"', "", 1)[::-1])
    edit("a value is missing", r"^\s*(sendfile|gzip|keepalive_timeout|proxy_pass|uwsgi_pass|alias|root|allow) .*;$", 8,
         lambda line: re.sub(r"^(\s*\w+) .*;", r"\1;", line))
    edit("a value too many", r"^\s*(sendfile|gzip|proxy_pass|uwsgi_pass|alias|root|allow|default_type) .*;$", 8,
         lambda line: line[:-1] + " more;")
    edit("a duration that is none", r"^\s*\w+_timeout \d+s;$", 8, lambda line: re.sub(r"\d+s;", "5parsecs;", line))
    edit("a switch that is neither on nor off", r"^\s*(sendfile|gzip|etag|tcp_nopush|underscores_in_headers) on;$", 3,
         lambda line: line.replace(" on;", " maybe;"))
    edit("an unknown variable", r'^\s*(proxy_set_header|uwsgi_param) \S+ "\$\w+"', 8,
         lambda line: re.sub(r'"\$\w+"', '"$mutants_nothing"', line))
    edit("a broken regular expression", r"^\s*location ", 5, lambda line: 'location ~ "(" {')
    edit("a file that is not there", r"^\s*include webstack/", 5,
         lambda line: line.replace("webstack/", "webstack/no-"))
    edit("a block in the wrong place", r"^\s*location .*\{$", 5, lambda line: f"{line}\nserver {{ listen 8085; }}")
    edit("a directive in the wrong place", r"^\s*location .*\{$", 5, lambda line: f"{line}\nworker_connections 10;")
    for path in chance.choices([path for path in sorted(files) if max(_depths(files[path])) > 0], k=12):
        cut = chance.choice([index for index, depth in enumerate(_depths(files[path])) if depth > 0])
        lines = files[path].split("\n")[:cut + 1]
        if "\n".join(lines) not in [mutant.files[path] for mutant in found]:
            add(f"ends at line {cut + 1}", path, "\n".join(lines))

    shop, plain, blog = (f"sites/{name}.conf" for name in ("shop", "plain", "blog"))
    replace("a user that does not exist", "main.conf", "user www-data;", "user nobody-of-this-name;")
    replace("no workers", "main.conf", "worker_processes auto;", "worker_processes -1;")
    replace("a module that is not there", "main.conf", "user www-data;", "load_module modules/none.so;\nuser www-data;")
    replace("no events", "main.conf", "events {", "event {")
    replace("a log in a folder that is not there", "main.conf", "/var/log/nginx/error.log", "/var/log/none/error.log")
    replace("a level of the log that is none", "main.conf", "/var/log/nginx/error.log", "/var/log/nginx/error.log loud")
    replace("an access log that cannot be opened", "http.conf", "/var/log/nginx/access.log", "/var/log/none/access.log")
    replace("an access log of no format", "http.conf", "access.log webstack;", "access.log nothing;")
    replace("a format with an unknown variable", "http.conf", "$request_method", "$request_methods")
    replace("a zone that is made twice", "http.conf", "limit_req_zone ",
            "limit_req_zone $uri zone=mutants:1m rate=1r/s;\nlimit_req_zone ")
    replace("a zone that nobody makes", plain, "zone=mutants", "zone=none")
    replace("a zone that is too small", "http.conf", "zone=mutants:1m", "zone=mutants:1k")
    replace("a rate that is none", "http.conf", "rate=1000r/s", "rate=often")
    replace("an upstream that is there twice", "http.conf", "    upstream webstack_shop {",
            "    upstream webstack_shop { server unix:/run/x.sock; }\n    upstream webstack_shop {")
    replace("an upstream without servers", "http.conf", "    upstream webstack_shop {",
            "    upstream webstack_none {\n    }\n    upstream webstack_shop {")
    replace("an upstream whose name has no address", "http.conf", "    upstream webstack_shop {",
            "    upstream webstack_none { server nobody.invalid:80; }\n    upstream webstack_shop {")
    replace("no certificate file", shop, f"{FOLDER}/a.pem", f"{FOLDER}/none.pem")
    replace("no key file", shop, f"{FOLDER}/a.key", f"{FOLDER}/none.key")
    replace("the key of another certificate", shop, f"{FOLDER}/a.key", f"{FOLDER}/other.key")
    replace("a certificate that is none", shop, f"{FOLDER}/a.pem", f"{FOLDER}/static/a.txt")
    replace("a port that is none", plain, "listen 8081", "listen 98081")
    replace("an address of another host", "http.conf", "listen 8081", "listen 192.0.2.77:8081")
    replace("a default server too many", plain, "listen 80;", "listen 80 default_server;")
    replace("a location that is there twice", plain, "location \"/files/\" {",
            "location \"/files/\" { return 404; }\n    location \"/files/\" {")
    replace("a location within another path", plain, "location \"/files/\" {",
            "location \"/files/\" {\n        location /other/ { return 404; }")
    replace("root and alias together", plain, "        alias ", "        root /srv;\n        alias ")
    replace("proxy_pass with a path in a regular expression", plain, "    location \"/files/\" {",
            "    location ~ \\.x$ { proxy_pass http://webstack_shop/y/; }\n    location \"/files/\" {")
    replace("a status that is none", shop, "return 410", "return 4100")
    replace("an address that is none", plain, "allow 127.0.0.0/8;", "allow 127.0.0.0/88;")
    replace("an if without an end", plain, "location \"/files/\" {", "location \"/files/\" { if ($uri { return 404; }")

    # What the test of nginx itself does not see.
    test_is_blind = [
        ("a host name that another site has", blog, "server_name blog.example.com;", "server_name plain.example.com;"),
        ("a host name that is there twice", blog, "server_name blog.example.com;",
         "server_name blog.example.com blog.example.com;"),
        ("a host name that another site has with TLS", blog, "server {",
         "server {\n    listen 80;\n    server_name shop.example.com;\n}\nserver {"),
        ("the key of a zone has changed", "http.conf", "limit_req_zone $binary_remote_addr",
         "limit_req_zone $server_name"),
        ("the key of a zone has changed to two", "http.conf", "limit_req_zone $binary_remote_addr",
         "limit_req_zone $binary_remote_addr$host"),
        ("a port that is taken", plain, "listen 8081", f"listen {TAKEN}"),
        ("one more port, that is taken", blog, "    listen 80;", f"    listen 80;\n    listen 127.0.0.1:{TAKEN};"),
        ("a folder that is not there", plain, f'alias "{FOLDER}/static/";\n        #@needs folder {FOLDER}/static\n',
         f'alias "{FOLDER}/none/";\n        #@needs folder {FOLDER}/none\n'),
        ("an app that does not listen", "http.conf", "    upstream webstack_shop {",
         "    upstream webstack_dead {\n        #@needs socket unix:/run/mutants/dead.sock\n"
         "        server unix:/run/mutants/dead.sock;\n    }\n    upstream webstack_shop {"),
        ("an app whose socket is no socket", "http.conf", "    upstream webstack_shop {",
         f"    upstream webstack_dead {{\n        #@needs socket unix:{FOLDER}/static/a.txt\n"
         f"        server unix:{FOLDER}/static/a.txt;\n    }}\n    upstream webstack_shop {{"),
        ("an app on a port where nobody listens", "http.conf", "    upstream webstack_shop {",
         "    upstream webstack_dead {\n        #@needs socket 127.0.0.1:18998\n        server 127.0.0.1:18998;\n"
         "    }\n    upstream webstack_shop {"),
        ("a certificate that has expired", shop, f"{FOLDER}/a.pem", f"{FOLDER}/expired.pem"),
        ("a certificate for other names", shop, f"{FOLDER}/a.pem", f"{FOLDER}/wrong.pem"),
        ("workers do not tell their generation", "http.conf", "    include webstack/generation.conf;\n", ""),
        ("workers tell another generation", "generation.conf", "@GENERATION@", "1@GENERATION@"),
    ]
    for name, path, old, new in test_is_blind:
        text = files[path]
        assert old in text, (name, path, old)
        add(name, path, text.replace(old, new), by_test=False)
    chance.shuffle(found)
    return found
