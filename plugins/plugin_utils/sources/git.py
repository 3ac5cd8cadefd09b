# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``source: {git: URL, version: REF}``: a git repository, read by the controller: hosts need no key."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..access import known_authorities
from ..schema import Problems, describe
from . import Place, Resolved, Source, SourceError, _files, basic, split_login

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TIMEOUT = 300
#: what git says besides
_CHATTER = ("Please make sure you have", "and the repository exists", "hint:", "warning:", "Warning:")
#: the same files for everybody, whatever the controller's own git is set to
_CONFIG = {"core.autocrlf": "false", "core.eol": "lf", "core.attributesFile": "/dev/null",
           "filter.lfs.smudge": "", "filter.lfs.process": "", "filter.lfs.required": "false"}


@dataclass(frozen=True)
class _Git:
    """git with what it needs to log in; nothing of that is in its arguments, which all users of the controller see."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, key: str = "git") -> bytes:
        try:
            return subprocess.run(["git", *arguments], capture_output=True, check=True, env=self.environment,
                                  stdin=subprocess.DEVNULL, timeout=_TIMEOUT).stdout
        except FileNotFoundError:
            raise SourceError(key, "the controller has no git. Install it.") from None
        except subprocess.TimeoutExpired:
            raise SourceError(key, f"git {arguments[0]} took more than {_TIMEOUT} s.") from None
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.decode(errors="replace").splitlines()
                     if line.strip() and not line.startswith(_CHATTER)]
            reason = " ".join(lines[-2:]) or f"nothing, and ended with {error.returncode}"
            raise SourceError(key, f"git says: {_without_secret(reason)}") from None


@contextlib.contextmanager
def _logged_in(source: Mapping[str, Any], url: str, user: str | None, password: str, place: Place) -> Iterator[_Git]:
    """Yield git as it may reach ``url``; a deploy key is in a file of ours for as long as it is needed."""
    # Never ask for a password: a run without a terminal would wait for ever.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    config = dict(_CONFIG)
    with contextlib.ExitStack() as stack:
        if user is not None:
            # For this host alone. As part of the URL it would be among the arguments of git's own helpers.
            server = urllib.parse.urlsplit(url)
            config[f"http.{server.scheme}://{server.netloc}/.extraHeader"] = f"Authorization: {basic(user, password)}"
        if source.get("key") or place.authorities:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="webstack-git-")))
        if source.get("key"):
            path = folder / "key"
            text = _key(source["key"], place.base).strip() + "\n"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
                stream.write(text)
            environment["GIT_SSH_COMMAND"] += f" -i {shlex.quote(str(path))} -o IdentitiesOnly=yes"
        if place.authorities:
            bundle = folder / "authorities.pem"
            bundle.write_text(f"{known_authorities()}\n{place.authorities}\n", encoding="utf-8")
            environment["GIT_SSL_CAINFO"] = str(bundle)
        yield _Git({**environment, **_numbered(config)})


def _numbered(config: Mapping[str, str]) -> dict[str, str]:
    """Return git's settings as environment variables, behind those that the controller has there."""
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    result = {"GIT_CONFIG_COUNT": str(first + len(config))}
    for number, (name, value) in enumerate(config.items(), first):
        result |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return result


def _key(given: str, base: Path) -> str:
    """Return the text of a private key that is given as such or as the path of its file."""
    if "PRIVATE KEY-----" in given:
        return given
    path = base / Path(given).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        # What was meant as a key, and is none, is not shown.
        name = str(path) if "\n" not in given and len(given) < 200 else "what is written"
        raise SourceError("key", f"{name} cannot be read as a private key: {reason}. Write the path of its file on the "
                                 "controller, or the key itself, for example "
                                 '`key: "{{ vault_deploy_key }}"`.') from None
    if "PRIVATE KEY-----" not in text:
        raise SourceError("key", f"{path} is no private key. The file without `.pub` is the one.")
    return text


def _without_secret(text: str) -> str:
    """Take the user and password out of the URLs in ``text``."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)


def _check(source: Mapping[str, Any], path: str, problems: Problems) -> None:
    for key in ("git", "version"):
        # git takes a word with a leading dash for an option, and some options run commands
        if str(source[key] or "").startswith("-"):
            problems.add(f"{path}.{key}", f"is {describe(source[key])}, and must not start with a dash.")


def _commit(git: _Git, url: str, version: str) -> str:
    if _COMMIT.fullmatch(version):
        return version
    lines = git("ls-remote", "--", url).decode(errors="replace").splitlines()
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


def _fetch(git: _Git, url: str, commit: str, cache: Path) -> Path:
    """Return the cache of the repository with the commit in it; raises SourceError where it does not have it."""
    bare = cache / "git" / hashlib.sha256(url.encode()).hexdigest()[:16]
    with _alone(bare):
        if _has(git, bare, commit):
            return bare
        # What a run that was killed has left is mended by this.
        git("init", "--quiet", "--bare", str(bare))
        try:
            git("-C", str(bare), "fetch", "--quiet", "--no-tags", "--depth", "1", "--", url, commit)
        except SourceError:
            # Not every server hands out a commit by its name.
            git("-C", str(bare), "fetch", "--quiet", "--force", "--", url, "+refs/*:refs/remote/*")
        if not _has(git, bare, commit):
            raise SourceError("version", f"there is no commit {commit} in {_without_secret(url)}. Write a branch, a "
                                         "tag or a whole commit ID that it has.")
    return bare


def _has(git: _Git, bare: Path, commit: str) -> bool:
    try:
        git("-C", str(bare), "cat-file", "-e", f"{commit}^{{commit}}")
    except SourceError:
        return False
    return True


@dataclass(frozen=True)
class _Part:
    """A repository at one commit, and where its files go: the top, or the folder of a submodule."""

    prefix: str
    bare: Path
    commit: str
    files: frozenset[str]


def _parts(git: _Git, url: str, commit: str, cache: Path, submodules: bool, prefix: str = "") -> list[_Part]:
    """Bring the commit, and those of its submodules and theirs; return them all, the top one first."""
    bare = _fetch(git, url, commit, cache)
    files, links = set(), {}
    for line in git("-C", str(bare), "ls-tree", "-r", "-z", commit).decode(errors="surrogateescape").split("\0"):
        kind, _tab, name = line.partition("\t")
        if kind.startswith("160000 "):
            links[name] = kind.split()[2]
        elif name:
            files.add(name)
    parts = [_Part(prefix, bare, commit, frozenset(files))]
    if not links or not submodules:
        return parts
    if ".gitmodules" not in files:
        raise SourceError("submodules", f"{prefix}{min(links)} is a submodule, and no .gitmodules says where from. "
                                        "Write `submodules: false` to do without.")
    lines = git("-C", str(bare), "config", "--blob", f"{commit}:.gitmodules", "--list", "-z").decode(
        errors="surrogateescape").split("\0")
    told: dict[str, dict[str, str]] = {}
    for line in lines:
        option, _newline, value = line.partition("\n")
        _section, _dot, rest = option.partition(".")
        module, _dot, what = rest.rpartition(".")
        told.setdefault(module, {})[what] = value
    urls = {module["path"]: module["url"] for module in told.values() if {"path", "url"} <= module.keys()}
    for name, pinned in sorted(links.items()):
        if name not in urls:
            raise SourceError("submodules", f".gitmodules does not say where {prefix}{name} comes from. Write "
                                            "`submodules: false` to do without.")
        try:
            place = f"{prefix}{name}"
            parts += _parts(git, _submodule_url(url, urls[name], place), pinned, cache, True, f"{place}/")
        except SourceError as error:
            if error.key == "submodules":
                raise
            raise SourceError("submodules", f"{place} cannot be had: {error} It is reached with the same key and "
                                            "password as its parent. Write `submodules: false` to do "
                                            "without.") from None
    return parts


def _submodule_url(parent: str, url: str, name: str) -> str:
    """Return the URL of a submodule; "./x" and "../x" are seen from its parent's."""
    remote = "://" in parent and not parent.startswith("file://") or re.match(r"[^/]+:", parent)
    if url.startswith(("./", "../")):
        parent = parent.rstrip("/")
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                # As git does it: host:one is above host:one/two.
                cut = max(parent.rfind("/"), parent.rfind(":"))
                parent = parent[:cut] if parent[cut] == "/" else parent[:cut + 1]
            url = url.partition("/")[2]
        return f"{parent}{'' if parent.endswith(':') else '/'}{url}"
    if url.startswith("-") or "::" in url or remote and (url.startswith(("/", "file:")) or ":" not in url):
        # The repository says this, not the user: it must not reach for files or programs of the controller.
        raise SourceError("submodules", f"{name} comes from {_without_secret(url)!r}, which is no address of a server. "
                                        "Write `submodules: false` to do without.")
    return url


def _resolve(source: Mapping[str, Any], place: Place) -> Resolved:
    url, version = source["git"], source["version"]
    local = (place.base / Path(url).expanduser()).resolve() if "://" not in url and ":" not in url else None
    if local is not None:
        if not local.is_dir():
            raise SourceError("git", f"there is no repository {local} on the controller.")
        url = str(local)
    url, user, password = split_login(url)
    submodules = source.get("submodules") is not False
    with _logged_in(source, url, user, password, place) as git:
        commit = source.get("commit") or _commit(git, url, version)
        parts = _parts(git, url, commit, place.cache, submodules)
    plain = _Git({**os.environ, **_numbered(_CONFIG), "LC_ALL": "C"})  # what is brought needs no login

    def pack(target: Path) -> None:
        tree: _files.Tree = {}
        for part in parts:
            data = plain("-C", str(part.bare), "archive", "--format=tar", part.commit, key="version")
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                tree |= _files.from_tar(archive, part.prefix)
        _files.pack_tree(tree, target)

    def read(name: str) -> str | None:
        for part in reversed(parts):
            if name.startswith(part.prefix) and name.removeprefix(part.prefix) in part.files:
                return plain("-C", str(part.bare), "show", f"{part.commit}:{name.removeprefix(part.prefix)}").decode(
                    errors="replace")
        return None

    label = f"{version} {commit[:10]}" if version != commit else commit[:10]
    # A commit says which commits its submodules are at.
    left_out = not submodules and any(".gitmodules" in part.files for part in parts)
    words = {"version": re.sub(r"^v(?=\d)", "", version), "commit": commit}
    names = [part.prefix + name for part in parts for name in part.files]
    return Resolved(f"{commit} alone" if left_out else commit, label, pack, read, names, words)


KIND = Source("git", {
    "git": {"type": "str", "required": True,
            "description": "The repository's URL, or a path seen from the inventory's folder."},
    "version": {"type": "str", "required": True,
                "description": "Write a branch, a tag or a whole commit ID, for example `version: v1.4.2`."},
    "submodules": {"type": "bool", "default": True, "description": "Whether the files of submodules come along."},
    "key": {"type": "str", "description": "A private SSH key of the controller, its path or the key itself."},
}, _resolve, _check)
