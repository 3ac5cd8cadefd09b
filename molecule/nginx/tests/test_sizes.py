# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As many clients as are expected find a connection, and a place in the queue."""

from __future__ import annotations

import base64

import pytest
from window import PORT, Window, make_site

# Holds so many connections at the same time, each in the middle of a request to the app; prints how many were served.
CROWD = """\
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
clients = []
for number in range(int(sys.argv[2])):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: shop.example.com\\r\\n")
    clients.append(client)
served = 0
for client in clients:
    try:
        client.sendall(b"\\r\\n")
        served += client.recv(12) == b"HTTP/1.1 200"
    except OSError:
        pass
print(served)
"""


def crowd(host, size):
    program = base64.b64encode(CROWD.encode()).decode()
    return int(host.check_output(f"python3 -c \"import base64; exec(base64.b64decode('{program}'))\" {PORT} {size}"))


def sites():
    return [make_site("shop", [{"app": "http", "path": "/"}])]


def test_as_many_as_are_expected_are_served(host):
    with Window(host, sites(), settings={"nginx_expected_connections": 900}):
        assert crowd(host, 900) == 900


def test_more_than_that_are_too_many(host):
    """The negative control: what was not expected is not there."""
    with Window(host, sites(), settings={"nginx_expected_connections": 100}):
        # There is a worker for each processor, and each of them has room for 712.
        size = 712 * int(host.check_output("nproc")) + 200
        assert 100 <= crowd(host, size) < size


@pytest.mark.parametrize("expected", [700, 3000])
def test_the_queue_is_as_long(host, expected):
    with Window(host, sites(), settings={"nginx_expected_connections": expected}):
        queue = host.check_output(f"ss -Hltn 'sport = :{PORT}'").split()[2]
        limit = int(host.check_output("cat /proc/sys/net/core/somaxconn"))
        assert int(queue) == min(expected, limit)


def test_of_the_live_one(host):
    """What the role has put live was sized on the host."""
    text = host.check_output("cat /etc/nginx/webstack/main.conf /etc/nginx/webstack/http.conf")
    assert "@" not in text.replace("#@", "")
    limit = int(host.check_output("cat /proc/sys/net/core/somaxconn"))
    assert f"default_server backlog={min(4096, limit)};" in text
    master = host.check_output("cat /run/nginx.pid").strip()
    worker = host.check_output(f"pgrep -P {master} | head -n 1")
    files = host.check_output(f"grep 'Max open files' /proc/{worker}/limits").split()[3]
    assert f"worker_rlimit_nofile {files};" in text
