# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role put on the host: one instance behind one socket, that its window alone may open."""

from __future__ import annotations

import json
import os
import sys

import pytest

sys.path += os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")

from ansible_collections.frontdesk.webstack.plugins.module_utils import unix_client

SERVER, PROTOCOL = "uwsgi", "uwsgi"
NAME, HEALTH = "httpbin", "/status/200"
SOCKET = f"/run/webstack/{NAME}.uwsgi.sock"

# Runs on the host: it asks with the same few lines as the role does.
ASK = "\nimport sys\nstatus, body = request(sys.argv[1], sys.argv[2], sys.argv[3])\nprint(status)\n"


@pytest.fixture
def live(host):
    """Return the release that the record says is live."""
    with host.sudo():
        record = json.loads(host.file(f"/srv/webstack/apps/{NAME}/record.json").content_string)
    assert record["schema"] == 1
    return record["live"]


def ask(host, user, path=HEALTH):
    """Ask the app over its socket, as ``user``."""
    with open(unix_client.__file__, encoding="utf-8") as stream:
        script = stream.read() + ASK
    with host.sudo(user):
        return host.run("python3 -c %s %s %s %s", script, SOCKET, PROTOCOL, path)


def test_one_instance_runs_and_starts_at_boot(host, live):
    units = host.check_output("systemctl list-units --no-legend --plain 'webstack-%s@*'", NAME).splitlines()
    assert [line.split()[0] for line in units] == [f"webstack-{NAME}@{live}.service"]
    assert "running" in units[0]
    for unit in (f"webstack-{NAME}@{live}.service", f"webstack-{NAME}.socket"):
        assert host.check_output("systemctl is-enabled %s", unit) == "enabled"
    assert host.check_output("systemctl show --value -p Triggers webstack-%s.socket", NAME) == (
        f"webstack-{NAME}@{live}.service")


def test_nothing_of_the_trials_is_left(host):
    assert host.check_output("ls /run/systemd/system | grep -c webstack_ || true") == "0"
    assert host.check_output("systemctl list-units --all --no-legend 'webstack_*'") == ""


def test_socket(host):
    socket = host.file(SOCKET)
    assert socket.is_socket
    assert (socket.user, socket.group, socket.mode) == ("root", "www-data", 0o660)


def test_processes_belong_to_the_app(host):
    with host.sudo():
        main = host.check_output("systemctl show --value -p MainPID 'webstack-%s@*'", NAME)
        users = host.check_output("ps -o user:32= -p %s --ppid %s", main, main).split()
        program = host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", main)
    assert set(users) == {f"ws-{NAME}"}
    assert len(users) > 1
    assert SERVER in program.lower()


def test_the_window_is_answered(host):
    assert ask(host, "www-data").stdout.strip() == "200"
    assert ask(host, "www-data", "/status/404").stdout.strip() == "404"


@pytest.mark.parametrize("user", ["nobody", f"ws-{NAME}"])
def test_other_users_are_refused(host, user):
    answer = ask(host, user)
    assert answer.rc != 0
    assert "Permission denied" in answer.stderr


def test_the_environment_is_secret(host, live):
    with host.sudo():
        file = host.file(f"/etc/webstack/{NAME}/{live}/env")
        assert (file.user, file.mode) == ("root", 0o600)
        assert host.file(f"/etc/webstack/{NAME}/{live}").mode == 0o750
    with host.sudo(f"ws-{NAME}"):
        assert host.run("cat /etc/webstack/%s/%s/env", NAME, live).rc != 0


def test_exposure_is_low(host, live):
    table = host.check_output("systemd-analyze security --no-pager webstack-%s@%s.service", NAME, live)
    verdict = table.splitlines()[-1]
    assert float(verdict.split(": ")[1].split()[0]) < 2, verdict
