# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate from an authority of one's own: made, served, renewed, and nothing secret said on the way."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

SCENARIO = Path(__file__).resolve().parents[1]
AUTHORITY = SCENARIO.parents[1] / ".cache" / "nginx-ca"
FILE = "/etc/nginx/webstack.tls/intranet.pem"

# Asks as a careful client does, and prints the answer's first line and the certificate.
CLIENT = """\
import json, socket, ssl, sys
context = ssl.create_default_context(cadata=open(0).read() or None)
try:
    with socket.create_connection(("127.0.0.1", 443), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname=sys.argv[1]) as client:
            client.sendall(("GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" % sys.argv[1]).encode())
            first = client.recv(65536).decode().split("\\r\\n")[0]
            print(json.dumps([first, client.getpeercert()["serialNumber"]]))
except ssl.SSLCertVerificationError as error:
    print(json.dumps([error.verify_message, ""]))
"""


def converge(host, *words):
    """Run the scenario's play for one host; return (the number of changes, all that was said)."""
    name = host.backend.host
    command = ["ansible-playbook", "-i", str(SCENARIO / "inventory.yml"), str(SCENARIO / "converge.yml"),
               "--limit", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"})
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"ok=\d+ +changed=(\d+)", done.stdout)[1]), done.stdout + done.stderr


def ask(host, name, trusted=True):
    """Return (first line of the answer or why there is none, serial number of the certificate)."""
    root = (AUTHORITY / "root.pem").read_bytes() if trusted else b""
    words = [base64.b64encode(text).decode() for text in (CLIENT.encode(), root)]
    return json.loads(host.check_output(f"echo {words[1]} | base64 -d | python3 -c \"import base64; "
                                        f"exec(base64.b64decode('{words[0]}'))\" {name}"))


def generation(host):
    return int(host.check_output("readlink /etc/nginx/webstack").rpartition("/")[2])


@pytest.fixture(scope="module", autouse=True)
def converged(host):
    """Bring the host to what the scenario says, whatever was there before."""
    converge(host)
    assert converge(host)[0] == 0


@pytest.mark.parametrize("name", ["intranet.example.com", "any.intranet.example.com"])
def test_clients_that_trust_the_authority_are_served(host, name):
    assert ask(host, name)[0] == "HTTP/1.1 200 OK"


def test_others_are_not(host):
    assert "certificate" in ask(host, "intranet.example.com", trusted=False)[0]


def test_the_key_is_for_root_alone(host):
    assert host.file(FILE).mode == 0o600
    assert host.file(FILE).user == "root"
    assert host.file("/etc/nginx/webstack.tls").mode == 0o700
    assert host.run("ls /etc/nginx/webstack.tls").stdout.split() == ["intranet.pem"]
    assert host.run(f"runuser -u www-data -- cat {FILE}").rc != 0


def test_a_certificate_that_cannot_be_used_is_made_anew(host):
    serial, number = ask(host, "intranet.example.com")[1], generation(host)
    host.check_output(f"chmod 0644 {FILE}")
    before = host.file(FILE).content_string
    changes, said = converge(host, "--check", "--diff")
    assert changes >= 1
    assert "there is none yet: for intranet.example.com, *.intranet.example.com" in said
    assert host.file(FILE).content_string == before
    changes, said = converge(host, "--diff", "-vvv")
    assert changes == 2  # the certificate, and nginx that reads it
    for secret in ("words that nobody may see", "PRIVATE KEY"):
        assert secret not in said
    status, fresh = ask(host, "intranet.example.com")
    assert (status, generation(host)) == ("HTTP/1.1 200 OK", number + 1)
    assert fresh != serial
    assert converge(host)[0] == 0


def test_a_host_where_it_was_made_for_another_name(host):
    # What another authority has signed counts for nothing either, and the one that serves stays until then.
    host.check_output(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=x "
                      f"-addext subjectAltName=DNS:intranet.example.com,DNS:*.intranet.example.com "
                      f"-keyout /root/k.pem -out /root/c.pem 2>&1 && cat /root/k.pem /root/c.pem > {FILE} && "
                      "rm /root/k.pem /root/c.pem")
    serial = ask(host, "intranet.example.com")[1]
    assert converge(host)[0] == 2
    assert ask(host, "intranet.example.com")[1] != serial
