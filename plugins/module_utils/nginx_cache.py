# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers that nginx remembers, on its disk: a folder for each zone, a file for each answer.

    /var/cache/webstack.SITE.DIGEST/1/bc/MD5

nginx takes a file that is gone for an answer that it never had, and is neither told nor reloaded.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator

FOLDER = "/var/cache"
_ZONE = re.compile(r"webstack\.([a-z0-9-]+)\.[0-9a-f]{12}")
_ANSWER = re.compile(r"[0-9a-f]{32}")
# A header of fixed length comes before the key, with texts of the app's in it (ETag, Vary).
_KEY = b"\nKEY: "
_KEY_FROM, _READ = 256, 16384


def zones(site: str = "", folder: str = FOLDER) -> list[str]:
    """Return the folders of the zones of a site, or of all sites."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name) for name in names
            if (match := _ZONE.fullmatch(name)) and site in ("", match[1])]


def address(head: bytes) -> str:
    """Return the address that the answer in a file is for, from the first bytes of the file; "" where it is unclear."""
    start = head.find(_KEY, _KEY_FROM)
    end = head.find(b"\n", start + len(_KEY))
    return head[start + len(_KEY):end].decode("latin-1") if 0 <= start < end else ""


def is_for(found: str, wanted: str) -> bool:
    """Tell whether an address is one of those that a user means: a path, with any query, or all below `/path/*`."""
    match = re.fullmatch(r"https?://[^/]*(/[^?]*)(\?.*)?", found)
    if not match:
        return False
    path, query = _plain(match[1]), match[2] or ""
    if wanted.endswith("*"):
        return path.startswith(_plain(wanted[:-1]))
    if "?" in wanted:
        wanted, _mark, rest = wanted.partition("?")
        return (path, query) == (_plain(wanted), f"?{rest}")
    return path == _plain(wanted)


def _plain(path: str) -> str:
    return urllib.parse.unquote(path, encoding="latin-1") if path.isascii() else path.encode().decode("latin-1")


def answers(zone: str, wanted: Iterable[str] = ()) -> Iterator[tuple[str, int]]:
    """Yield (name, folder's descriptor) of the remembered answers that are meant: of all, where no path is named.

    The folder is the workers', who might put a link anywhere: none is followed.
    """
    wanted = list(wanted)
    for _path, _folders, names, folder in os.fwalk(zone, follow_symlinks=False):
        for name in names:
            if _ANSWER.fullmatch(name) and (not wanted or _meant(name, folder, wanted)):
                yield name, folder


def _meant(name: str, folder: int, wanted: list[str]) -> bool:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as stream:
        found = address(stream.read(_READ))
    return any(is_for(found, one) for one in wanted)


def purge(site: str, wanted: Iterable[str] = (), folder: str = FOLDER, try_only: bool = False) -> int:
    """Remove remembered answers of a site; return how many."""
    wanted, count = list(wanted), 0
    for zone in zones(site, folder):
        for name, handle in answers(zone, wanted):
            try:
                if not try_only:
                    os.unlink(name, dir_fd=handle)
            except FileNotFoundError:
                continue  # nginx was faster
            count += 1
    return count
