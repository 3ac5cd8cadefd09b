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
import threading
from collections.abc import Callable, Iterable, Iterator
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
    return _digest(_read(folder, names))


def _read(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
    for name in names:
        path = folder / name
        if path.is_symlink():
            yield name, "l", os.readlink(path).encode(errors="surrogateescape")
        elif path.is_file():
            yield name, ("x" if os.access(path, os.X_OK) else "f"), path.read_bytes()


def _digest(entries: Iterable[tuple[str, str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, mark, content in entries:
        total.update(mark.encode() + name.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


#: files of an archive: name -> (mark, content); the mark is "f" for a file, "x" for one that can be run, "l" for a link
Tree = dict[str, tuple[str, bytes]]


def tree_digest(tree: Tree) -> str:
    """Return the same digest as that of a folder with these files."""
    return _digest((name, *tree[name]) for name in sorted(tree))


def from_tar(archive: tarfile.TarFile, prefix: str = "") -> Tree:
    """Return the files and links of an archive, their names below ``prefix``; raises ValueError for anything else."""
    tree: Tree = {}
    for item in archive:
        if item.isdir():
            continue
        name = plain_name(item.name)
        if item.isfile():
            tree[prefix + name] = ("x" if item.mode & 0o100 else "f", archive.extractfile(item).read())
        elif item.issym():
            tree[prefix + name] = ("l", item.linkname.encode(errors="surrogateescape"))
        elif item.islnk():
            tree[prefix + name] = tree[prefix + plain_name(item.linkname)]  # the same file by another name
        else:
            raise ValueError(f"{item.name} is neither a file nor a folder nor a link")
    return tree


def plain_name(name: str) -> str:
    """Return the path without "./"; raises ValueError for one that leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or "\0" in name or ".." in parts or not parts:
        raise ValueError(f"{name!r} is no path inside the archive")
    return "/".join(parts)


def check_tree(tree: Tree) -> None:
    """Refuse links that lead out of the tree, and files below what is no folder; raises ValueError."""
    for name, (mark, content) in tree.items():
        for parent in Path(name).parents:
            if str(parent) in tree:
                raise ValueError(f"{name} lies below {parent}, which is no folder")
        target = content.decode(errors="surrogateescape") if mark == "l" else ""
        # A way up behind a name may lead anywhere: the name may be a link.
        up, down = len(Path(name).parent.parts), target
        while down.startswith("../") or down == "..":
            up, down = up - 1, down[3:]
        if target.startswith("/") or up < 0 or ".." in down.split("/"):
            raise ValueError(f"{name} is a link to {target}, outside of the archive")


def pack_tree(tree: Tree, target: Path) -> None:
    """Write the files as `pack` does."""
    def add(archive: tarfile.TarFile) -> None:
        for name in sorted(tree):
            mark, content = tree[name]
            info = tarfile.TarInfo(name)
            if mark == "l":
                info.type, info.linkname = tarfile.SYMTYPE, content.decode(errors="surrogateescape")
            else:
                info.size, info.mode = len(content), 0o755 if mark == "x" else 0o644
            archive.addfile(_plain(info), io.BytesIO(content) if mark != "l" else None)
    _write(add, target)


def pack(folder: Path, names: list[str], target: Path) -> None:
    """Write the files into a tar.gz without owners and times; it appears under its name when it is whole."""
    def add(archive: tarfile.TarFile) -> None:
        for name in names:
            archive.add(folder / name, arcname=name, recursive=False, filter=_plain)
    _write(add, target)


def _write(add: Callable[[tarfile.TarFile], None], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add(archive)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0))
    os.replace(partial, target)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.mode & 0o111 else 0o644
    return info
