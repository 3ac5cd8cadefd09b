# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access log in nginx's own format, no log at all, and the log that is rotated: no line is lost."""

from __future__ import annotations

import base64
import json
import re
import time

from window import Window, make_site

SITES = [make_site("shop", [{"answer": 200, "path": "/"}]),
         make_site("silent", [{"answer": 200, "path": "/said", "log": True}], log=False)]


def test_nginxs_own_format(host):
    with Window(host, SITES, settings={"nginx_log_format": "combined"}) as window:
        window.ask("/some", headers=["User-Agent: tester/1"])
        found = host.check_output("cat /run/nginxtest/access.log")
    assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "GET /some HTTP/1\.1" 200 \d+ "-" "tester/1"', found)


def test_no_log_at_all(host):
    with Window(host, SITES, settings={"nginx_access_log": False}) as window:
        window.ask("/some")
        window.ask("/said", name="silent.example.com")
        [line] = host.check_output("cat /run/nginxtest/access.log").splitlines()
    assert json.loads(line)["uri"] == "/said"


# Asks the host's own nginx, each time with a number; in the middle of it the log is rotated.
ROTATE = """\
import socket, subprocess, sys
number, last, rotate = 0, 0, None
while number < (last or number + 1):
    if number == 200:
        rotate = subprocess.Popen(["logrotate", "-f", "/etc/logrotate.d/nginx"])
    if rotate and not last and rotate.poll() is not None:
        last = number + 200
    with socket.create_connection(("127.0.0.1", 80)) as client:
        client.sendall(b"GET /?%s-%d HTTP/1.1\\r\\nHost: hello.example.com\\r\\nConnection: close\\r\\n\\r\\n"
                       % (sys.argv[1].encode(), number))
        while client.recv(65536):
            pass
    number += 1
print(number)
sys.exit(rotate.wait())
"""


def test_rotating_loses_no_line(host):
    mark = f"rotate{time.time_ns()}"
    program = base64.b64encode(ROTATE.encode()).decode()
    asked = host.check_output(f"python3 -c \"import base64; exec(base64.b64decode('{program}'))\" {mark}")
    time.sleep(0.5)
    counts = {}
    for name in ("access.log", "access.log.1"):
        text = host.check_output(f"grep -h {mark} /var/log/nginx/{name} || true")
        counts[name] = [int(number) for number in re.findall(rf"{mark}-(\d+)", text)]
    # Both have some: the workers have gone on to the new file, and wrote to the old one before.
    assert all(counts.values()), counts
    assert sorted(counts["access.log"] + counts["access.log.1"]) == list(range(int(asked)))
    assert host.file("/var/log/nginx/access.log").mode == 0o640
