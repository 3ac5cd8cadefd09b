# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are old or new, never torn: written beside, flushed to the disk, renamed over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def write_file(path: Path | str, text: str | bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Write ``text`` to ``path`` in one step, with ``mode`` from the first byte on. Missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), uid, gid)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    sync_folder(path.parent)


def replace_link(path: Path | str, target: str) -> None:
    """Make ``path`` a link to ``target`` by rename: there is no moment without the link."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    os.symlink(target, partial)
    os.replace(partial, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def lock(path: Path | str, seconds: float, busy: Exception) -> Iterator[None]:
    """Hold the lock file, which goes with the process that holds it; raises ``busy`` after ``seconds`` of waiting."""
    deadline = time.monotonic() + seconds
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise busy from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
