# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are not served."""

from __future__ import annotations

import re

import pytest
from sites import block, make, render, rendered

MAP = "    map $http_user_agent $webstack_bot_"


@pytest.mark.parametrize("written, lines", [
    ({"deny": ["bad"]}, ['"~*bad" 1;']),
    ({"deny": [r'a\d+ "b"{2};$'], "empty": True}, ['"" 1;', r'"~*a\\d+ \"b\"{2};$" 1;']),
    ({"empty": True}, ['"" 1;']),
])
def test_the_map(written, lines):
    found = block(rendered([{"answer": 200}], bots=written, file="http.conf"), MAP)
    assert found.split("\n")[1:-1] == ["default 0;", *lines]


def test_the_own_list_knows_scanners_and_no_search_engine():
    text = block(rendered([{"answer": 200}], bots={"default": True}, file="http.conf"), MAP)
    patterns = [line[3:-4].replace("\\\\", "\\") for line in text.split("\n")[2:-1]]

    def denied(agent):
        return any(re.search(pattern.strip('"'), agent, re.IGNORECASE) for pattern in patterns)

    assert denied("sqlmap/1.7#stable (https://sqlmap.org)")
    assert denied("Mozilla/5.00 (Nikto/2.1.6)")
    for agent in ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "curl/7.88.1", "",
                  "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "python-requests/2.32"):
        assert not denied(agent), agent


@pytest.mark.parametrize("written", [
    {"app": "http"}, {"folder": "/srv/x"}, {"vue": "x"}, {"answer": 200}, {"redirect": "/x"}])
@pytest.mark.parametrize("status", [403, 444])
def test_every_kind_of_route(written, status):
    text = rendered([{"path": "/a/", **written}], bots={"deny": ["x"], "status": status})
    for location in re.findall(r"^    location [^@\n]*\"/a/.*$", text, re.MULTILINE):
        assert f"return {status};\n}}" in block(text, location), location


def test_a_route_serves_everybody_again():
    assert "webstack_bot_" not in rendered([{"app": "http", "bots": {}}], bots={"deny": ["x"]})


def test_the_same_list_is_one_map_for_all_sites():
    sites = [make([{"answer": 200}], name=name, index=index, bots={"deny": ["x"], "status": status})[0]
             for index, (name, status) in enumerate([("a", 403), ("b", 444)])]
    assert render(*sites, file="http.conf").count("map $http_user_agent $webstack_bot_") == 1


@pytest.mark.parametrize("written, path, words", [
    ({"deny": ["fine", "x("]}, "nginx_sites[0].bots.deny[1]", "'x(' is no regular expression: missing )"),
    ({"deny": [".*"]}, "nginx_sites[0].bots.deny[0]", "fits every program"),
    ({"deny": ["a|"]}, "nginx_sites[0].bots.deny[0]", "fits every program"),
    ({"deny": ["a\nb"]}, "nginx_sites[0].bots.deny[0]", "control character"),
    ({"status": 500}, "nginx_sites[0].bots.status", "must be one of 403, 444"),
])
def test_mistake(written, path, words):
    [(where, message)] = make([{"answer": 200}], bots=written)[1]
    assert where == path
    assert words in message
