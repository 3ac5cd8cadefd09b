# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the files that nginx keeps are the answers to a path, and that no other file is touched."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_cache

SHOP, OTHER = "webstack.shop.0123456789ab", "webstack.shop-two.0123456789ab"


def put(folder, zone, address, *parts):
    """Write an answer as nginx does: a header of 336 bytes, the key, the answer's headers and its body."""
    key = "\n".join((address, "80", "app", *parts)).encode()
    name = hashlib.md5(key, usedforsecurity=False).hexdigest()
    path = folder / zone / name[-1] / name[-3:-1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x05" + b"\0" * 335 + b"\nKEY: " + key + b"\nHTTP/1.1 200 OK\r\n\r\nbody\nKEY: http://x/no\n")
    return path


@pytest.fixture
def kept(tmp_path):
    return {
        "/": put(tmp_path, SHOP, "http://shop.example.com/"),
        "/news/": put(tmp_path, SHOP, "https://shop.example.com:8443/news/"),
        "/news/ in German": put(tmp_path, SHOP, "https://shop.example.com:8443/news/", "de", ""),
        "/news/?page=2": put(tmp_path, SHOP, "http://shop.example.com/news/?page=2"),
        "/caf%C3%A9": put(tmp_path, SHOP, "http://shop.example.com/caf%C3%A9"),
        "the other's": put(tmp_path, OTHER, "http://two.example.com/news/"),
    }


@pytest.mark.parametrize("wanted, gone", [
    ([], ["/", "/news/", "/news/ in German", "/news/?page=2", "/caf%C3%A9"]),
    (["/"], ["/"]),
    (["/news/"], ["/news/", "/news/ in German", "/news/?page=2"]),
    (["/news/?page=2"], ["/news/?page=2"]),
    (["/news/?page=3"], []),
    (["/news"], []),
    (["/ne*"], ["/news/", "/news/ in German", "/news/?page=2"]),
    (["/caf\u00e9"], ["/caf%C3%A9"]),
    (["/caf%c3%a9", "/"], ["/", "/caf%C3%A9"]),
    (["/no"], []),
])
def test_what_is_removed(tmp_path, kept, wanted, gone):
    assert nginx_cache.purge("shop", wanted, str(tmp_path), try_only=True) == len(gone)
    assert all(path.exists() for path in kept.values())
    assert nginx_cache.purge("shop", wanted, str(tmp_path)) == len(gone)
    assert [name for name, path in kept.items() if not path.exists()] == gone
    assert nginx_cache.purge("shop", wanted, str(tmp_path)) == 0


def test_nothing_else_is_touched(tmp_path, kept):
    zone, outside = tmp_path / SHOP, tmp_path / "outside"
    outside.mkdir()
    (outside / ("a" * 32)).write_text("precious")
    (zone / "link").symlink_to(outside)
    half = zone / ("b" * 32 + ".0000000001")
    half.write_text("nginx is writing it")
    nginx_cache.purge("shop", [], str(tmp_path))
    assert (outside / ("a" * 32)).exists() and half.exists() and kept["the other's"].exists()


def test_a_link_is_not_read(tmp_path):
    answer = put(tmp_path, OTHER, "http://two.example.com/news/")
    (tmp_path / SHOP).mkdir()
    (tmp_path / SHOP / answer.name).symlink_to(answer)
    assert nginx_cache.purge("shop", ["/news/"], str(tmp_path)) == 0


@pytest.mark.parametrize("head", [b"", b"\0" * 400, b"\0" * 336 + b"\nKEY: http://x/"])
def test_what_is_no_answer_is_for_no_path(head):
    assert not nginx_cache.is_for(nginx_cache.address(head), "/*")


def test_no_cache_at_all(tmp_path):
    assert nginx_cache.purge("shop", [], str(tmp_path / "missing")) == 0
