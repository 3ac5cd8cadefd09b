# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``source: {archive: URL or PATH, checksum: sha256:HEX}``: a tar or zip archive, fetched once by the controller."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import posixpath
import re
import shutil
import ssl
import stat
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..schema import Problems, describe
from . import Place, Resolved, Source, SourceError, _files, basic, split_login

_CHECKSUM = re.compile(r"sha256:[0-9a-fA-F]{64}")
_REMOTE = ("http", "https", "file")
_TIMEOUT = 60  # for an answer, and for each piece of the file


def _scheme(given: str) -> str:
    scheme = urllib.parse.urlsplit(given).scheme.lower()
    return scheme if "://" in given else ""


def _check(source: Mapping[str, Any], path: str, problems: Problems) -> None:
    given, checksum = source["archive"] or "", source["checksum"]
    if _scheme(given) and _scheme(given) not in _REMOTE:
        problems.add(f"{path}.archive", f"is reached by {_scheme(given)}://, which is not spoken. Write a URL that "
                                        "begins with https://, or a path on the controller.")
    if checksum and not _CHECKSUM.fullmatch(checksum):
        problems.add(f"{path}.checksum", f"is {describe(checksum)}; write sha256: and the 64 digits that "
                                         "`sha256sum FILE` prints.")
    elif _scheme(given) and not checksum:
        problems.add(f"{path}.checksum", "is missing: a URL may have another file tomorrow. Write sha256: and the 64 "
                                         "digits that `sha256sum FILE` prints of the file that you have tested.")


def _resolve(source: Mapping[str, Any], place: Place) -> Resolved:
    given = source["archive"]
    wanted = (source["checksum"] or "").lower().removeprefix("sha256:")
    folder = place.cache / "sources"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _scheme(given):
        name = posixpath.basename(urllib.parse.urlsplit(given).path) or "archive"
        found, path = wanted, None
    else:
        path = (place.base / Path(given).expanduser()).resolve()
        name = path.name
        if not path.is_file():
            raise SourceError("archive", f"there is no file {path} on the controller. Write its path, absolute or seen "
                                         "from the inventory's folder.")
        found = _sum(path)
        if wanted and found != wanted:
            raise SourceError("checksum", f"is that of another file: {path} has sha256:{found}.")
    # What it holds is kept as it is sent, under the digest of the file that it came in.
    packed, facts = folder / f"{found}.tar.gz", folder / f"{found}.json"
    with _alone(folder / f"{found}.lock"):
        if not (packed.is_file() and facts.is_file()):
            if path is None:
                path = folder / f"{found}.fetched"
                _fetch(given, path, place.authorities)
                got = _sum(path)
                if got != wanted:
                    path.unlink()
                    raise SourceError("checksum", f"{_shown(given)} has another file than this: sha256:{got}. Look "
                                                  "what has changed before you write the new one.")
            tree = _tree(path)
            _files.pack_tree(tree, packed)
            _note(facts, {"digest": _files.tree_digest(tree), "names": sorted(tree)})
            if path.parent == folder:
                path.unlink()
    known = json.loads(facts.read_text(encoding="utf-8"))
    names = set(known["names"])

    def pack(target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        shutil.copyfile(packed, partial)
        partial.chmod(0o600)
        os.replace(partial, target)

    def read(name: str) -> str | None:
        if name not in names:
            return None
        with tarfile.open(packed) as archive:
            try:
                stream = archive.extractfile(name)
            except KeyError:
                return None  # a link that leads nowhere
            return stream.read().decode(errors="replace") if stream else None

    return Resolved(known["digest"], f"{name} {known['digest'][:8]}", pack, read, names)


@contextlib.contextmanager
def _alone(path: Path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)


def _sum(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shown(url: str) -> str:
    """Return the URL without its login, and without what follows a question mark: that may be a token, too."""
    return split_login(url)[0].partition("?")[0]


def _fetch(url: str, target: Path, authorities: str) -> None:
    clean, user, password = split_login(url)
    trust = ssl.create_default_context()
    if authorities:
        trust.load_verify_locations(cadata=authorities)
    request = urllib.request.Request(clean, headers={"User-Agent": "frontdesk.webstack"})  # noqa: S310 (checked)
    if user is not None:
        # Not for the server that this one may send us on to.
        request.add_unredirected_header("Authorization", basic(user, password))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _KeepToTheWeb())
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer, open(
                os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            shutil.copyfileobj(answer, stream)
    except urllib.error.HTTPError as error:
        hint = " Is the user or the password wrong?" if error.code in (401, 403) else ""
        said = f"{_shown(url)} is not to be had: the server answers {error.code}.{hint}"
        raise SourceError("archive", said) from None
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error)).replace(password or "\0", "***")
        raise SourceError("archive", f"{_shown(url)} is not to be had: {reason}") from None


class _KeepToTheWeb(urllib.request.HTTPRedirectHandler):
    """A server may send us on to another one, not from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError("the server leads from https to http.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _tree(path: Path) -> _files.Tree:
    """Return the files of the archive, without the one folder that code hosts put around them."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                tree = _from_zip(archive)
        else:
            with tarfile.open(path) as archive:
                tree = _files.from_tar(archive)
        tree = _without_top(tree)
        _files.check_tree(tree)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise SourceError("archive", f"is not readable as tar.gz, tar.xz, tar.bz2, tar or zip: {error}") from None
    except (ValueError, KeyError) as error:
        raise SourceError("archive", f"is not safe to unpack: {error}.") from None
    if not tree:
        raise SourceError("archive", "has no files in it.")
    return tree


def _from_zip(archive: zipfile.ZipFile) -> _files.Tree:
    tree: _files.Tree = {}
    for item in archive.infolist():
        if item.is_dir():
            continue
        if "\\" in item.filename:
            raise ValueError(f"{item.filename!r} is no path inside the archive")
        name, mode = _files.plain_name(item.filename), item.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
            raise ValueError(f"{name} is neither a file nor a folder nor a link")
        mark = "l" if stat.S_ISLNK(mode) else "x" if mode & 0o100 else "f"
        tree[name] = (mark, archive.read(item))
    return tree


def _without_top(tree: _files.Tree) -> _files.Tree:
    tops = {name.partition("/")[0] for name in tree}
    if len(tops) != 1 or any("/" not in name for name in tree):
        return tree
    return {name.partition("/")[2]: entry for name, entry in tree.items()}


KIND = Source("archive", {
    "archive": {"type": "str", "required": True,
                "description": "The URL of a tar or zip archive, or a path seen from the inventory's folder."},
    "checksum": {"type": "str", "default": "", "description": "`sha256:` and the digest of the file."},
}, _resolve, _check)
