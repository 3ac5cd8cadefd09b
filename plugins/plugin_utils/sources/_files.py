# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of files as a digest and as an archive, both the same wherever and whenever they are made."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

# What no release needs and what differs from laptop to laptop; in a git checkout, git's own ignore rules come first.
IGNORED = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".mypy_cache",
           ".pytest_cache", ".ruff_cache", ".cache", ".DS_Store", ".env"}


class ListError(Exception):
    """git refuses to say which files it ignores; the message is git's reason."""


def listed(folder: Path, ask_git: bool = True) -> list[str]:
    """Return the relative paths of the files to take, sorted. What git ignores stays out, if it is to be asked."""
    names = _by_git(folder) if ask_git else None
    if names is None:
        names = [str((Path(root) / name).relative_to(folder))
                 for root, folders, files in os.walk(folder) for name in [*files, *folders]
                 if name in files or (Path(root) / name).is_symlink()]
    return sorted(name for name in names
                  if not IGNORED.intersection(Path(name).parts) and not name.endswith((".pyc", ".sqlite3"))
                  and ((folder / name).is_symlink() or (folder / name).is_file()))


def _by_git(folder: Path) -> list[str] | None:
    """Ask git for the tracked and the untracked files that it does not ignore; None outside of a checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        if "not a git repository" in reason:
            return None
        # Another owner's checkout, for one: without git's word, files that it ignores, secrets, would go along.
        raise ListError(reason.splitlines()[0] if reason else f"it ended with {error.returncode}.") from None
    return list(dict.fromkeys(name for name in answer.stdout.decode(errors="surrogateescape").split("\0") if name))


def digest(folder: Path, names: list[str]) -> str:
    """Return the SHA-256 of the files' names, contents, executable bits and links."""
    total = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_symlink():
            mark, content = b"l", os.readlink(path).encode(errors="surrogateescape")
        elif path.is_file():
            mark, content = (b"x" if os.access(path, os.X_OK) else b"f"), path.read_bytes()
        else:
            continue
        total.update(mark + name.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


def pack(folder: Path, names: list[str], target: Path) -> None:
    """Write the files into a tar.gz without owners and times; it appears under its name when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            archive.add(folder / name, arcname=name, recursive=False, filter=_plain)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0))
    os.replace(partial, target)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.mode & 0o111 else 0o644
    return info
