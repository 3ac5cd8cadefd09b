# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which methods a request may have."""

from __future__ import annotations

import re

import pytest
from sites import block, make, render, rendered


@pytest.mark.parametrize("written, allowed", [
    (["GET"], "GET, HEAD"), (["POST", "GET"], "GET, HEAD, POST"), (["GET", "HEAD", "GET"], "GET, HEAD"),
    (["POST"], "POST"),
])
def test_what_the_answer_says(written, allowed):
    text = rendered([{"answer": 200}], methods=written, file="http.conf")
    found = block(text, "    map $request_method $webstack_refused_")
    assert f'default "{allowed}";' in found
    assert re.findall(r'^([A-Z]+) "";$', found, re.MULTILINE) == allowed.split(", ")


@pytest.mark.parametrize("written", [
    {"app": "http"}, {"app": "uwsgi"}, {"folder": "/srv/x"}, {"vue": "x"}, {"answer": 200}, {"redirect": "/x"}])
def test_every_kind_of_route(written):
    text = rendered([{"path": "/a/", **written}], methods=["GET"])
    for location in re.findall(r"^    location [^@\n]*\"/a/.*$", text, re.MULTILINE):
        found = block(text, location)
        assert re.search(r"if \(\$(webstack_refused_\w+)\) \{\nreturn 405;\n\}", found), location
        assert re.search(r'add_header Allow "\$webstack_refused_\w+" always;', found), location
        assert location.endswith("{")


def test_a_route_takes_all_methods_again():
    assert "405" not in rendered([{"app": "http", "methods": []}], methods=["GET"])


def test_the_same_list_is_one_map():
    sites = [make([{"answer": 200}], name=name, index=index, methods=methods)[0]
             for index, (name, methods) in enumerate([("a", ["GET", "POST"]), ("b", ["POST", "GET", "HEAD"])])]
    assert render(*sites, file="http.conf").count("$webstack_refused_") == 1


@pytest.mark.parametrize("written, path, words", [
    (["get"], "nginx_sites[0].methods[0]", "must be one of GET"),
    (["GET", "PSOT"], "nginx_sites[0].methods[1]", "Did you mean 'POST'?"),
    (["TRACE"], "nginx_sites[0].methods[0]", "must be one of"),
    (["HEAD"], "nginx_sites[0].methods", "add GET"),
    ("GET", "nginx_sites[0].methods", "must be a list"),
])
def test_mistake(written, path, words):
    [(where, message)] = make([{"answer": 200}], methods=written)[1]
    assert where == path
    assert words in message
