# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written down of requests: lines that nobody can forge."""

from __future__ import annotations

import base64
import json
import re
import time

import pytest
from window import TLS_PORT, Window, make_site

TLS = {"certificate": "/srv/nginxtest/a.pem", "key": "/srv/nginxtest/a.key", "redirect": True}


def sites():
    routes = [
        {"app": "http", "path": "/"},
        {"answer": 200, "path": "/health", "log": False},
        {"answer": 200, "path": "/noted"},
        {"folder": "/srv/nginxtest/static", "path": "/quiet/", "log": False},
    ]
    return [make_site("shop", routes),
            make_site("silent", [{"answer": 200, "path": "/"}, {"answer": 200, "path": "/said", "log": True}],
                      log=False),
            make_site("safe", [{"answer": 200, "path": "/"}], tls=TLS, listen=[f"127.0.0.1:{TLS_PORT}"])]


@pytest.fixture(scope="module")
def window(host):
    with Window(host, sites(), {"static/a.txt": "static"}) as window:
        yield window


def lines(window, last=b"/last"):
    """Return the lines of the log, as bytes, after the one more request that shows that all are written."""
    window.ask(last.decode())
    for _try in range(50):
        data = base64.b64decode(window.host.check_output("base64 /run/nginxtest/access.log"))
        if data.rstrip().split(b"\n")[-1].find(last) >= 0:
            break
        time.sleep(0.1)
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


def test_a_line_says_what_happened(window):
    heard = window.heard("/some?a=1", headers=["User-Agent: tester/1", "Referer: https://example.com/ä"])
    found = [line for line in map(json.loads, lines(window)) if line["uri"] == "/some?a=1"]
    [line] = found
    assert line["id"] == heard["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", line["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["time"])
    assert (line["remote_addr"], line["host"], line["method"], line["status"]) == (
        "127.0.0.1", "shop.example.com", "GET", 200)
    assert (line["user_agent"], line["referer"], line["user"]) == ("tester/1", "https://example.com/ä", "")
    assert (line["upstream"], line["upstream_status"], line["cache"], line["tls"]) == (
        "unix:/run/nginxtest/http.sock", "200", "", "")
    assert line["bytes"] > 100
    assert 0 <= line["request_time"] < 10
    assert float(line["upstream_time"]) >= 0


FORGED = [
    ("/a%0a{\"id\":1}", []),
    ('/a","status":599,"x":"', []),
    ("/a\\", ['User-Agent: a\\', 'Referer: "']),
    ("/a", ['User-Agent: x","status":599,"y":"']),
    ("/a", ["User-Agent: tab\tand \x01 \x1b[2J \x7f", "Referer: \u2028\x85"]),
    ("/a", ["User-Agent: \udcff\udcfe", "Referer: \udcc3", "Authorization: Basic /zpi"]),
    ("/\udcff", []),
    ("/a", ["User-Agent: " + "ä" * 3000]),
]


@pytest.mark.parametrize("path, headers", FORGED)
def test_nobody_writes_lines_of_his_own(window, path, headers):
    before = len(lines(window))
    window.ask(path, headers=headers)
    after = lines(window)
    assert len(after) == before + 2
    for line in after:
        found = json.loads(line)
        assert found["status"] != 599
        assert len(found) == 18


def test_what_is_no_text_is_left_out(window):
    window.ask("/bytes", headers=["User-Agent: a\udcff"])
    [line] = [line for line in map(json.loads, lines(window)) if line["uri"] == "/bytes"]
    assert line["user_agent"] == "(not UTF-8)"


def test_a_request_that_is_refused_is_a_line_too(window):
    assert window.ask("/refused", headers=["Content-Length: 1", "Content-Length: 2"])[0] == 400
    assert [line["status"] for line in map(json.loads, lines(window)) if line["uri"] == "/refused"] == [400]


def test_tls(window):
    assert window.ask("/safe", name="safe.example.com", port=TLS_PORT, tls="safe.example.com")[0] == 200
    [line] = [line for line in map(json.loads, lines(window)) if line["uri"] == "/safe"]
    assert line["tls"] == "TLSv1.3"


@pytest.mark.parametrize("name, path, noted", [
    ("shop", "/noted?1", True), ("shop", "/health?1", False), ("shop", "/quiet/a.txt", False),
    ("silent", "/?2", False), ("silent", "/said?1", True),
])
def test_what_is_not_written_down(window, name, path, noted):
    assert window.ask(path, name=f"{name}.example.com")[0] == 200
    assert any(line["uri"] == path for line in map(json.loads, lines(window))) is noted
