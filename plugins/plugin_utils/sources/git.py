# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``source: {git: URL, version: REF}``: a git repository, read by the controller with the controller's own keys."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..schema import Problems, describe
from . import Resolved, Source, SourceError

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def _git(*arguments: str, key: str = "git") -> bytes:
    # Never ask for a password: a run without a terminal would wait for ever.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=True, env=environment,
                              stdin=subprocess.DEVNULL, timeout=300).stdout
    except FileNotFoundError:
        raise SourceError(key, "the controller has no git. Install it.") from None
    except subprocess.TimeoutExpired:
        raise SourceError(key, f"git {arguments[0]} took more than 300 s.") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise SourceError(key, f"git says: {_without_secret(reason[0])}") from None


def _without_secret(text: str) -> str:
    """Take the user and password out of the URLs in ``text``."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)


def _check(source: Mapping[str, Any], path: str, problems: Problems) -> None:
    for key in ("git", "version"):
        # git takes a word with a leading dash for an option, and some options run commands
        if str(source[key] or "").startswith("-"):
            problems.add(f"{path}.{key}", f"is {describe(source[key])}, and must not start with a dash.")


def _commit(url: str, version: str) -> str:
    if _COMMIT.fullmatch(version):
        return version
    lines = _git("ls-remote", "--", url).decode(errors="replace").splitlines()
    refs = dict(reversed(line.split("\t", 1)) for line in lines)
    # An annotated tag points to a tag object; ^{} is the commit behind it.
    for name in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}", version):
        if name in refs:
            return refs[name]
    known = sorted(name.split("/", 2)[2] for name in refs
                   if name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}"))
    raise SourceError("version", f"there is no branch or tag {version!r} in {_without_secret(url)}. It has: "
                                 f"{', '.join(known[:10]) or 'none'}. A commit must be written in full.")


@contextlib.contextmanager
def _alone(bare: Path) -> Iterator[None]:
    """Sources are resolved side by side, and several may be of one repository."""
    bare.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(bare.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(bare: Path, url: str, commit: str) -> None:
    """Bring the commit into the cache; raises SourceError where the repository does not have it."""
    if _has(bare, commit):
        return
    # What a run that was killed has left is mended by this.
    _git("init", "--quiet", "--bare", str(bare))
    try:
        _git("-C", str(bare), "fetch", "--quiet", "--depth", "1", "--", url, commit)
    except SourceError:
        # Not every server hands out a commit by its name.
        _git("-C", str(bare), "fetch", "--quiet", "--force", "--", url, "+refs/*:refs/remote/*")
    if not _has(bare, commit):
        raise SourceError("version", f"there is no commit {commit} in {_without_secret(url)}. Write a branch, a tag or "
                                     "a whole commit ID that it has.")


def _has(bare: Path, commit: str) -> bool:
    try:
        _git("-C", str(bare), "cat-file", "-e", f"{commit}^{{commit}}")
    except SourceError:
        return False
    return True


def _resolve(source: Mapping[str, Any], base: Path, cache: Path) -> Resolved:
    url, version = source["git"], source["version"]
    local = (base / Path(url).expanduser()).resolve() if "://" not in url and ":" not in url else None
    if local is not None:
        if not local.is_dir():
            raise SourceError("git", f"there is no repository {local} on the controller.")
        url = str(local)
    commit = _commit(url, version)
    bare = cache / "git" / hashlib.sha256(url.encode()).hexdigest()[:16]

    with _alone(bare):
        _fetch(bare, url, commit)

    def pack(target: Path) -> None:
        archive = _git("-C", str(bare), "archive", "--format=tar", commit, key="version")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(gzip.compress(archive, compresslevel=6, mtime=0))
        os.replace(partial, target)

    def read(name: str) -> str | None:
        try:
            return _git("-C", str(bare), "show", f"{commit}:{name}").decode(errors="replace")
        except SourceError:
            return None

    return Resolved(commit, f"{version} {commit[:10]}" if version != commit else commit[:10], pack, read)


KIND = Source("git", {
    "git": {"type": "str", "required": True,
            "description": "The repository's URL, or a path seen from the inventory's folder."},
    "version": {"type": "str", "required": True,
                "description": "Write a branch, a tag or a whole commit ID, for example `version: v1.4.2`."},
}, _resolve, _check)
