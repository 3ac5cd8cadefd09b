# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which route a path takes, in whatever order the routes are written."""

from __future__ import annotations

import pytest
from window import Window, make_site

ROUTES = [("/", "prefix"), ("/a/", "prefix"), ("/a/b/", "prefix"), ("/a/b/c", "exact"), (r"^/a/.*\.php$", "regex"),
          ("/a/b/x.php", "exact"), (r"\.php$", "regex")]
PATHS = [
    ("/", "/"), ("/b", "/"), ("/a", "/"), ("/a/", "/a/"), ("/a/bb", "/a/"), ("/a/b/", "/a/b/"), ("/a/b/cc", "/a/b/"),
    ("/a/b/c", "/a/b/c"), ("/a/b/c/", "/a/b/"), ("/a/b/y.php", r"^/a/.*\.php$"), ("/a/b/x.php", "/a/b/x.php"),
    ("/y.php", r"\.php$"), ("/%61/b/c", "/a/b/c"), ("/a//b/c", "/a/b/c"), ("/a/./b/../b/c", "/a/b/c"),
]


@pytest.fixture(scope="module")
def window(host):
    def routes(order):
        return [{"answer": 200, "path": path, "match": match, "body": path} for path, match in order]

    # Of two regular expressions the first one that fits holds, so these two keep their order.
    backwards = [*reversed(ROUTES[:4]), ROUTES[5], ROUTES[4], ROUTES[6]]
    with Window(host, [make_site("shop", routes(ROUTES)), make_site("turned", routes(backwards))]) as window:
        yield window


@pytest.mark.parametrize("path, route", PATHS)
@pytest.mark.parametrize("name", ["shop", "turned"])
def test_the_route_of_a_path(window, name, path, route):
    assert window.ask(path, name=f"{name}.example.com")[::2] == (200, route)
