# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass, by address."""

from __future__ import annotations

import pytest
from window import Window, make_site

HERE, ELSEWHERE = ["127.0.0.0/8"], ["192.0.2.0/24", "2001:db8::/32"]


@pytest.fixture(scope="module")
def window(host):
    sites = [make_site("shop", [
        {"app": "http", "path": "/"},
        {"app": "uwsgi", "path": "/open/", "access": {}},
        {"folder": "/srv/nginxtest/static", "path": "/here/", "access": {"allow": HERE}},
        {"app": "http", "path": "/here/not/", "access": {"allow": HERE, "deny": ["127.0.0.1"]}},
        {"app": "http", "path": "/others/", "access": {"deny": ELSEWHERE}},
    ], access={"allow": ELSEWHERE})]
    with Window(host, sites, {"static/a.txt": "static"}) as window:
        yield window


@pytest.mark.parametrize("path, status", [
    ("/", 403), ("/any", 403), ("/open/", 200), ("/here/a.txt", 200), ("/here/not/", 403), ("/others/", 200),
])
def test_who_may_pass(window, path, status):
    assert window.ask(path)[0] == status
