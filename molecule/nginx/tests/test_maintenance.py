# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site that is closed by the playbook, and opened again."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import farm
import pytest
from window import ETC, Window, make_site

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def window(host):
    routes = [
        {"app": "one", "path": "/"},
        {"folder": "/srv/nginxtest/files", "path": "/files/"},
        {"redirect": "https://www.example.com/", "path": "/away/"},
        {"answer": 200, "path": "/.well-known/acme-challenge/", "body": "challenge"},
        {"app": "one", "path": "[.]json$", "match": "regex"},
    ]
    sites = [make_site("shop", routes, directives='add_header X-Site "yes" always;'),
             make_site("other", routes),
             make_site("mine", routes, maintenance={"page": "<p>gone fishing", "retry_after": 77}),
             make_site("staff", routes, maintenance={"allow": ["127.0.0.0/8"]})]
    with Window(host, sites, {"files/a.txt": "a"}) as window:
        farm.start(host)
        yield window
        farm.stop(host)


def play(window, **words):
    """Run the playbook against this nginx; return what it says."""
    name = window.host.backend.get_hostname()
    done = subprocess.run(
        ["ansible-playbook", "-i", "molecule/nginx/inventory.yml", "playbooks/maintenance.yml", "--limit", name,
         "-e", f"maintenance_etc={ETC}", *(word for item in words.items() for word in ("-e", "=".join(item)))],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SSH_COMMON_ARGS": os.environ["ANSIBLE_SSH_COMMON_ARGS"]})
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def closed(window):
    for site in ("shop", "mine", "staff"):
        code, said = play(window, site=site, state="on")
        assert code == 0, said
    yield said
    window.host.check_output(f"rm -rf {ETC}/webstack.maintenance")


def test_open_to_begin_with(window):
    assert window.ask("/")[::2] == (200, "one")
    assert window.ask("/.webstack/pages/maintenance")[0] == 404


@pytest.mark.parametrize("path", ["/", "/files/a.txt", "/away/", "/none", "/x.json", "/.webstack/pages/maintenance"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_closed(window, closed, path, method):
    status, headers, body = window.ask(path, method=method, headers=["Content-Length: 0"])
    if path.startswith("/.webstack/"):
        assert status == 404
        return
    assert status == 503
    assert "back soon" in body
    assert (headers["retry-after"], headers["x-site"]) == ("300", "yes")
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_what_stays_open(window, closed):
    assert window.ask("/.well-known/acme-challenge/x")[::2] == (200, "challenge")
    status, headers, body = window.ask("/", name="other.example.com")
    assert (status, body) == (200, "one")
    assert "retry-after" not in headers
    assert window.ask("/", name="staff.example.com")[::2] == (200, "one")


def test_a_page_of_its_own(window, closed):
    status, headers, body = window.ask("/", name="mine.example.com")
    assert (status, body, headers["retry-after"]) == (503, "<p>gone fishing", "77")


def test_what_is_closed_is_said(window, closed):
    assert "mine, shop, staff closed" in closed
    assert "mine, shop, staff closed" in play(window)[1]


def test_a_reload_opens_nothing(window, closed):
    window.host.check_output("systemctl kill -s HUP --kill-whom=main nginxtest")
    time.sleep(1)
    assert window.ask("/")[0] == 503


def test_some_may_pass_and_again_not(window, closed):
    assert play(window, site="shop", state="on", allow="127.0.0.1,192.0.2.7")[0] == 0
    assert window.ask("/")[0] == 200
    assert play(window, site="shop", state="on", allow="192.0.2.7")[0] == 0
    assert window.ask("/")[0] == 503


def test_twice_is_once(window, closed):
    assert play(window, site="mine", state="on")[0] == 0
    assert re.search(r"changed=0 ", play(window, site="mine", state="on")[1])


@pytest.mark.parametrize("words", [
    {"site": "shpo", "state": "on"}, {"site": "shop"}, {"state": "on"}, {"site": "shop", "state": "of"},
    {"site": "shop", "state": "on", "allow": "192.0.2.0/24"}, {"site": "../shop", "state": "off"},
])
def test_mistakes_are_told(window, closed, words):
    code, said = play(window, **words)
    assert code != 0
    assert "mine, other, shop, staff" in said


def test_on_and_off_with_traffic(window, closed):
    """Every answer is one or the other, and the first one after the command is the new one."""
    program = ("import http.client, time, collections; found = collections.Counter(); end = time.time() + 8\n"
               "while time.time() < end:\n"
               " c = http.client.HTTPConnection('127.0.0.1', 18080, timeout=9)\n"
               " c.request('GET', '/', headers={'Host': 'other.example.com'}); a = c.getresponse(); a.read()\n"
               " found[a.status] += 1; c.close(); time.sleep(0.01)\n"
               "print(dict(found))")
    window.host.check_output("systemd-run -q --collect --unit=nginxtest-traffic sh -c "
                             f"\"python3 -c \\\"{program}\\\" > /run/nginxtest/traffic 2>&1\"")
    assert play(window, site="other", state="on")[0] == 0
    assert window.ask("/", name="other.example.com")[0] == 503
    assert play(window, site="other", state="off")[0] == 0
    assert window.ask("/", name="other.example.com")[0] == 200
    for _try in range(40):
        text = window.host.check_output("cat /run/nginxtest/traffic")
        if text:
            break
        time.sleep(0.5)
    assert set(re.findall(r"(\w+): \d+", text)) == {"200", "503"}, text
