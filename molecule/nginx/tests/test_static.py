# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: what is compressed already, what may be kept for how long, what has changed, and parts of them."""

from __future__ import annotations

import pytest
from window import Window, make_site

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.routes import folder_route

GZIP = ["Accept-Encoding: gzip"]
HASHED = "0123456789ab"
BIG = "body { color: red }\n" * 200
FOREVER = "public, max-age=31536000, immutable"

FILES = {
    "static/a.css": BIG, f"static/a.{HASHED}.css": BIG, f"static/deep.{HASHED}.d/a.css": BIG, "static/plain.css": BIG,
    f"static/noext.{HASHED}": BIG, "static/b.0123.css": BIG, "folder/a.css": BIG,
    f"folder/a.{HASHED}.css": BIG, "media/a.css": BIG,
    "front/releases/1/index.html": BIG, "front/releases/1/settings.json": "{}", "front/assets/index-B0a.js": BIG,
}
COMPRESSED = ["static/a.css", f"static/a.{HASHED}.css", "folder/a.css", "media/a.css", "front/releases/1/index.html",
              "front/assets/index-B0a.js", "front/releases/1/settings.json"]


@pytest.fixture(scope="module")
def window(host):
    site = make_site("shop", [
        {"folder": "/srv/nginxtest/folder", "path": "/folder/"},
        {"folder": "/srv/nginxtest/media", "path": "/media/", "uploads": True},
        {"vue": "front"},
    ])
    site["routes"].append(folder_route("shop.routes[0].app", "/static/", "/srv/nginxtest/static"))
    with Window(host, [site], FILES) as window:
        # What is compressed says that it is: so the test sees which file was sent.
        host.check_output("cd /srv/nginxtest && ln -sfn releases/1 front/current && for file in "
                          f"{' '.join(COMPRESSED)}; do echo compressed | gzip > $file.gz; done")
        yield window


@pytest.mark.parametrize("path, headers, size", [
    ("/static/a.css", GZIP, 31), (f"/static/a.{HASHED}.css", GZIP, 31), ("/folder/a.css", GZIP, 31),
    ("/assets/index-B0a.js", GZIP, 31), ("/", GZIP, 31), ("/any/page", GZIP, 31),
    ("/static/a.css", [], len(BIG)), ("/", [], len(BIG)), ("/media/a.css", [], len(BIG)),
])
def test_the_compressed_file_is_sent_where_there_is_one(window, path, headers, size):
    status, got, _body = window.ask(path, headers=headers, method="HEAD")
    assert (status, int(got["content-length"])) == (200, size)
    assert got.get("content-encoding") == ("gzip" if headers else None)
    assert got["content-type"].startswith("text/html" if path in ("/", "/any/page") else (
        "text/css" if path.endswith("css") else "application/javascript"))
    assert got["etag"].startswith('"') and got["last-modified"]
    if not path.startswith("/media/"):
        assert got["vary"] == "Accept-Encoding"


def test_what_is_not_compressed_is_compressed_on_the_way(window):
    _status, got, _body = window.ask("/static/plain.css", headers=GZIP, method="HEAD")
    assert (got["content-encoding"], got["vary"], "content-length" in got) == ("gzip", "Accept-Encoding", False)
    assert got["etag"].startswith('W/"')


def test_nobodys_upload_stands_for_another_file(window):
    assert "content-length" not in window.ask("/media/a.css", headers=GZIP, method="HEAD")[1]
    assert window.ask("/settings.json", headers=GZIP)[2] == "{}"


@pytest.mark.parametrize("path, expected", [
    (f"/static/a.{HASHED}.css", FOREVER), (f"/static/noext.{HASHED}", FOREVER), ("/static/a.css", "no-cache"),
    (f"/static/deep.{HASHED}.d/a.css", "no-cache"), ("/static/b.0123.css", "no-cache"),
    ("/assets/index-B0a.js", FOREVER), ("/", "no-cache"), ("/any/page", "no-cache"), ("/settings.json", "no-store"),
    ("/folder/a.css", None), (f"/folder/a.{HASHED}.css", None), ("/media/a.css", None),
    (f"/static/missing.{HASHED}.css", None),
])
def test_how_long_a_file_may_be_kept(window, path, expected):
    status, got, _body = window.ask(path)
    assert (status, got.get("cache-control")) == (404 if "missing" in path else 200, expected)


@pytest.mark.parametrize("path", ["/static/a.css", f"/static/a.{HASHED}.css", "/assets/index-B0a.js", "/"])
@pytest.mark.parametrize("accept", [[], GZIP])
def test_what_has_not_changed_is_not_sent_again(window, path, accept):
    _status, got, _body = window.ask(path, headers=accept, method="HEAD")
    for header in (f"If-None-Match: {got['etag']}", f"If-Modified-Since: {got['last-modified']}"):
        status, again, body = window.ask(path, headers=[header, *accept])
        assert (status, body) == (304, "")
        assert again["etag"] == got["etag"] and again["cache-control"] == got["cache-control"]
    assert window.ask(path, headers=['If-None-Match: "other"', "Accept-Encoding: identity"])[0] == 200


def test_a_compressed_file_is_another_one(window):
    plain, packed = (window.ask("/static/a.css", headers=headers, method="HEAD")[1]["etag"] for headers in ([], GZIP))
    assert plain != packed


@pytest.mark.parametrize("wanted, status, size", [
    ("bytes=0-9", 206, 10), (f"bytes={len(BIG) - 5}-", 206, 5), ("bytes=-3", 206, 3),
    (f"bytes={len(BIG)}-", 416, None), ("bytes=9-0", 416, None),
])
@pytest.mark.parametrize("path", ["/static/a.css", "/assets/index-B0a.js", "/folder/a.css"])
def test_parts(window, path, wanted, status, size):
    found, got, body = window.ask(path, headers=[f"Range: {wanted}"])
    assert found == status
    if size:
        assert len(body) == size and got["content-range"].endswith(f"/{len(BIG)}")
