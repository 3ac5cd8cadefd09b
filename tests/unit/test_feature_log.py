# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which requests are written down, and how."""

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, nginx_syntax, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems

LOG = "access_log /var/log/nginx/access.log webstack;"
OFF = "access_log off;"


def render(of_site, of_route, settings=None, kind=None):
    problems = Problems()
    problems.error = problems.add
    own = features.resolve_site({"log": of_site}, "nginx_sites[0]", problems)
    written = {**(kind or {"answer": 200}), **({} if of_route is None else {"log": of_route})}
    route = routes.resolve(written, "nginx_sites[0].routes[0]", problems)
    if problems:
        return problems.items
    route = {**route, "features": features.effective(own, route["kind"], route["features"])}
    site = {"name": "a", "origin": "nginx_sites[0]", "server_names": ["a.example.com"], "tls": None, "features": own,
            "listen": [{"address": "*", "port": 80, "tls": False}], "routes": [route], "directives": "",
            "client_max_body_size": ""}
    files, origins = nginx_render.render([site], settings or {})
    return files, origins


def found(text):
    """Return [what the server says, what its locations say]."""
    said = [(one.depth, " ".join(one.words) + ";") for one in nginx_syntax.statements(text)
            if one.words[0] == "access_log"]
    return [[line for depth, line in said if depth == wanted] for wanted in (1, 2)]


@pytest.mark.parametrize(("of_site", "of_route", "server", "location"), [
    (None, None, [], []),
    (None, False, [], [OFF]),
    (None, True, [], [LOG]),
    (False, None, [OFF], []),
    (False, True, [OFF], [LOG]),
    (False, False, [OFF], []),
    (True, None, [LOG], []),
    (True, False, [LOG], [OFF]),
])
def test_a_site_and_its_routes(of_site, of_route, server, location):
    files, _origins = render(of_site, of_route)
    assert found(files["sites/a.conf"]) == [server, location]


@pytest.mark.parametrize("kind", [{"redirect": "https://example.com/"}, {"folder": "/srv/x"}])
def test_every_kind_of_route_may_say_so(kind):
    files, _origins = render(None, False, kind=kind)
    assert OFF in files["sites/a.conf"]


def test_what_is_no_answer_is_refused():
    [problem] = render(None, "sometimes")
    assert problem.path == "nginx_sites[0].routes[0].log"
    assert "true or false" in problem.message


@pytest.mark.parametrize(("settings", "line"), [({}, LOG), ({"nginx_access_log": False}, OFF)])
def test_where_nothing_is_said(settings, line):
    http = render(None, None, settings)[0]["http.conf"]
    assert f"\n    {line}\n" in http


def test_the_lines_are_json():
    http = render(None, None)[0]["http.conf"]
    [text] = re.findall(r"log_format webstack escape=json ((?:\s*'[^']*')+);", http)
    line = "".join(re.findall(r"'([^']*)'", text))
    filled = json.loads(re.sub(r"\$\w+", "1", line))
    assert list(filled) == ["time", "id", "remote_addr", "host", "user", "method", "uri", "protocol", "status", "bytes",
                            "request_time", "upstream", "upstream_status", "upstream_time", "cache", "tls", "referer",
                            "user_agent"]
    assert [name for name, value in filled.items() if value == 1] == ["status", "bytes", "request_time"]
    for name in re.findall(r"\$(webstack_\w+)", line):
        assert f" ${name} {{" in http


def test_what_is_left_out_is_no_utf8():
    http = render(None, None)[0]["http.conf"]
    [pattern] = set(re.findall(r'"~(\^.*)" "\$http_user_agent"', http))
    # Python's re has no way to say that in bytes otherwise; PCRE takes the same expression.
    valid = re.compile(pattern.encode().replace(b")*+$", b")*$"))
    for text in ("", "plain", "\x00\x7f", "ä€😀", "\ud7ff\ue000\U0010ffff"):
        assert valid.match(text.encode())
    for data in (b"\xff", b"a\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc3"):
        assert not valid.match(data)
        with pytest.raises(UnicodeDecodeError):
            data.decode()


def test_nginxs_own_format():
    http = render(None, None, {"nginx_log_format": "combined"})[0]["http.conf"]
    assert "log_format webstack '$remote_addr - $remote_user [$time_local] \"$request\" '" in http
    assert "webstack_log_" not in http
