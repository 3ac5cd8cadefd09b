# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often clients may ask, how much they may have going at once, and how fast they get it."""

from __future__ import annotations

import json

import pytest
from window import PORT, Window, ask_many, make_site, run_python

# A flood from the host itself: COUNT requests over SECONDS on one kept connection; prints the seconds that it took and
# how often each status came, with the Retry-After of the last refusal.
FLOOD = """\
import collections, http.client, json, sys, time
port, path, count, seconds, source = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
headers = dict(word.split("=", 1) for word in sys.argv[6:])
client = http.client.HTTPConnection(source, port, timeout=10)
found, retry, start = collections.Counter(), "", time.monotonic()
for number in range(count):
    time.sleep(max(0, start + seconds * number / count - time.monotonic()))
    client.request("GET", path, headers={"Host": "shop.example.com", **headers})
    answer = client.getresponse()
    answer.read()
    found[answer.status] += 1
    retry = answer.headers.get("Retry-After", "") if answer.status != 200 else retry
print(json.dumps([time.monotonic() - start, found, retry]))
"""

# Holds COUNT downloads open, reads a little of each and prints their statuses before it lets them go.
HELD = """\
import json, socket, sys
port, path, count, found, held = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [], []
for _number in range(count):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\\r\\nHost: shop.example.com\\r\\n\\r\\n".encode())
    found.append(int(client.recv(64).split()[1]))
    held.append(client)
print(json.dumps(found))
"""

# How long it takes to get a file, in seconds.
TIMED = """\
import http.client, sys, time
client, start = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30), time.monotonic()
client.request("GET", sys.argv[2], headers={"Host": "shop.example.com"})
assert len(client.getresponse().read()) == 2000000
print(time.monotonic() - start)
"""

SITE = [
    {"app": "http", "path": "/limited/", "rate_limit": {"rate": "10/s", "burst": 20}},
    {"app": "uwsgi", "path": "/free/"},
    {"app": "http", "path": "/waits/", "rate_limit": {"rate": "20/s", "burst": 5, "delay": 0}},
    {"app": "http", "path": "/dry/", "rate_limit": {"rate": "1/m", "dry_run": True}},
    {"app": "http", "path": "/slow/", "rate_limit": {"rate": "6/m", "burst": 1}},
    {"app": "uwsgi", "path": "/key/", "rate_limit": [{"rate": "1/m", "burst": 1, "key": "header:X-API-Key"},
                                                    {"rate": "1/m", "burst": 5}]},
    {"app": "http", "path": "/cookie/", "rate_limit": {"rate": "1/m", "burst": 1, "key": "cookie:session"}},
    {"app": "http", "path": "/all/", "rate_limit": {"rate": "1/m", "burst": 2, "key": "site", "status": 503}},
    {"app": "http", "path": "^/regex/(.*)$", "match": "regex", "rate_limit": {"rate": "1/m", "burst": 9},
     "directives": "proxy_set_header X-Captured $1;"},
    {"folder": "/srv/nginxtest/files", "path": "/held/", "connection_limit": {"connections": 3},
     "bandwidth": {"rate": "50k"}},
    {"folder": "/srv/nginxtest/files", "path": "/crowd/", "bandwidth": {"rate": "50k"}},
    {"folder": "/srv/nginxtest/files", "path": "/open/"},
    {"folder": "/srv/nginxtest/files", "path": "/paced/", "bandwidth": {"rate": "500k", "after": "500k"}},
]


@pytest.fixture(scope="module")
def window(host):
    sites = [
        make_site("shop", SITE, listen=[f"127.0.0.1:{PORT}", f"[::1]:{PORT}"]),
        make_site("wide", [{"app": "http"}, {"app": "uwsgi", "path": "/b/"}, {"answer": 200, "path": "/answer"},
                           {"redirect": "/", "path": "/redirect"}], rate_limit={"rate": "1/m", "burst": 3}),
    ]
    with Window(host, sites, {"files/big": "x" * 2_000_000}) as window:
        yield window


def flood(window, path, count, seconds, *headers, source="127.0.0.1"):
    """Return (seconds that it took, {status: how often}, Retry-After)."""
    took, found, retry = json.loads(run_python(window.host, FLOOD, PORT, path, count, seconds, source, *headers))
    return took, {int(status): number for status, number in found.items()}, retry


def test_a_flood_gets_no_more_than_the_limit(window):
    took, found, retry = flood(window, "/limited/", 300, 5)
    print(took, found)
    assert found.keys() == {200, 429}
    # The burst and what the time gives, and no less than that, give or take a request.
    assert 20 + 10 * took - 2 <= found[200] <= 20 + 10 * took + 1
    assert retry == "1"


def test_without_a_limit_all_of_it_is_served(window):
    assert flood(window, "/free/", 300, 1)[1] == {200: 300}


def test_what_is_to_wait_waits(window):
    took, found, _retry = flood(window, "/waits/", 20, 0)
    assert found == {200: 20}
    assert took >= 0.8


def test_a_dry_run_refuses_nothing(window):
    _took, found, retry = flood(window, "/dry/", 20, 0)
    assert (found, retry) == ({200: 20}, "")


def test_clients_hear_when_there_is_room_again(window):
    _took, found, retry = flood(window, "/slow/", 5, 0)
    assert (found, retry) == ({200: 2, 429: 3}, "10")


def test_each_key_has_its_own_count_beside_that_of_the_address(window):
    assert flood(window, "/key/", 3, 0, "X-API-Key=a")[1] == {200: 2, 429: 1}
    assert flood(window, "/key/", 3, 0, "X-API-Key=b")[1] == {200: 2, 429: 1}
    # Without a key the address alone is counted: six requests of it may come, and four have.
    assert flood(window, "/key/", 5, 0)[1] == {200: 2, 429: 3}


def test_cookies(window):
    assert flood(window, "/cookie/", 3, 0, "Cookie=session=1")[1] == {200: 2, 429: 1}
    assert flood(window, "/cookie/", 3, 0, "Cookie=session=2; other=1")[1] == {200: 2, 429: 1}
    assert flood(window, "/cookie/", 9, 0, "Cookie=other=1")[1] == {200: 9}


def test_all_together(window):
    assert flood(window, "/all/", 5, 0)[1] == {200: 3, 503: 2}


def test_a_network_of_ipv6_is_one_client(window):
    host = window.host
    if host.run("ip -6 addr add 2001:db8:0:1::1/128 dev lo && ip -6 addr add 2001:db8:0:1:ffff::2/128 dev lo && "
                "ip -6 addr add 2001:db8:0:2::1/128 dev lo").rc:
        pytest.skip("the host has no IPv6")
    try:
        program = FLOOD.replace("HTTPConnection(source, port", "HTTPConnection('::1', port, source_address=(source, 0)")

        def from_(source):
            return json.loads(run_python(host, program, PORT, "/regex/x", 8, 0, source))[1]

        assert from_("2001:db8:0:1::1") == {"200": 8}
        assert from_("2001:db8:0:1:ffff::2") == {"200": 2, "429": 6}
        assert from_("2001:db8:0:2::1") == {"200": 8}
    finally:
        host.run("for one in 1::1 1:ffff::2 2::1; do ip -6 addr del 2001:db8:0:$one/128 dev lo; done")


def test_the_limit_leaves_what_a_regular_expression_has_found(window):
    program = FLOOD.replace("answer.read()", "body = answer.read()").replace(
        "print(json.dumps([", "print(json.dumps([body.decode(), ")
    body, _took, found, _retry = json.loads(run_python(window.host, program, PORT, "/regex/found", 1, 0, "::1"))
    assert found == {"200": 1}
    assert ["X-Captured", "found"] in json.loads(body)[2]


def test_a_limit_of_the_site_holds_for_its_routes_together_but_those_that_return(window):
    paths = ["/", "/b/", "/", "/b/", "/", "/b/", "/answer", "/redirect"]
    answers = ask_many(window.host, [("GET", path, (), "") for path in paths], "wide.example.com")
    assert [status for status, _headers, _body in answers] == [200, 200, 200, 200, 429, 429, 200, 301]


def test_downloads_held_open(window):
    assert json.loads(run_python(window.host, HELD, PORT, "/held/big", 6)) == [200] * 3 + [429] * 3
    assert json.loads(run_python(window.host, HELD, PORT, "/crowd/big", 6)) == [200] * 6


def test_bandwidth(window):
    # 2 MB: the first half of one at once, and half of one with each second.
    assert 1.9 < float(run_python(window.host, TIMED, PORT, "/paced/big")) < 6
    assert float(run_python(window.host, TIMED, PORT, "/open/big")) < 1
