# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are compressed already with Brotli, with the module that Debian has in a package of its own."""

from __future__ import annotations

import pytest
from window import Window, make_site

PACKAGE = "libnginx-mod-http-brotli-static"
FILES = {
    "folder/a.css": "plain", "folder/a.css.br": "123\n", "front/assets/a.js": "plain", "front/assets/a.js.br": "123\n",
    "front/releases/1/index.html": "plain", "front/releases/1/index.html.br": "12\n",
    "front/releases/1/settings.json": "{}", "front/releases/1/settings.json.br": "1",
}


@pytest.fixture(scope="module")
def window(host):
    host.check_output(f"apt-get -qq update && apt-get -qq install --no-install-recommends {PACKAGE} > /dev/null 2>&1")
    site = make_site("shop", [{"folder": "/srv/nginxtest/folder", "path": "/folder/"}, {"vue": "front"}])
    try:
        with Window(host, [site], FILES) as window:
            host.check_output("cd /srv/nginxtest && ln -sfn releases/1 front/current")
            yield window
    finally:
        host.check_output(f"apt-get -qq purge {PACKAGE} > /dev/null 2>&1")


@pytest.mark.parametrize("path, size", [("/folder/a.css", 4), ("/assets/a.js", 4), ("/", 3)])
def test_the_compressed_file_is_sent(window, path, size):
    _status, got, _body = window.ask(path, headers=["Accept-Encoding: gzip, br"], method="HEAD")
    assert (got.get("content-encoding"), int(got["content-length"])) == ("br", size)
    assert got["vary"] == "Accept-Encoding"
    for accept in ([], ["Accept-Encoding: gzip"]):
        assert window.ask(path, headers=accept)[2] == "plain"


def test_settings_are_never_old(window):
    assert window.ask("/settings.json", headers=["Accept-Encoding: br"])[2] == "{}"
