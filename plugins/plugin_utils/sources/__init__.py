# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where code comes from. One file per kind; each defines ``KIND``, a ``Source``.

A source is resolved on the controller, once for all hosts: to a digest that says what it is, and, where there are
files, to an archive. Hosts need neither git nor a deploy key.
"""

from __future__ import annotations

import base64
import importlib
import pkgutil
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..schema import Problems, apply, suggest


class SourceError(Exception):
    """A source cannot be had; ``key`` is the option to blame (may be ""), the message says what to write instead."""

    def __init__(self, key: str, message: str):
        self.key = key
        super().__init__(message)


@dataclass(frozen=True)
class Resolved:
    """What a source turned out to be."""

    digest: str  # of the content; equal digests are equal code
    label: str  # for people: a commit, a version
    pack: Callable[[Path], None] | None  # writes the files into a tar.gz; None where pip fetches the package
    read: Callable[[str], str | None]  # returns the text of one file, None where there is none
    names: Collection[str] = ()  # of all files
    words: Mapping[str, str] = field(default_factory=dict)  # `version` and `commit`, where the source has them


@dataclass(frozen=True)
class Place:
    """Where sources are resolved: what relative paths start from, what was fetched before, whom to trust."""

    base: Path  # the folder of the inventory
    cache: Path
    authorities: str = ""  # certificates (PEM) of a company's own, besides those of the controller


@dataclass(frozen=True)
class Source:
    """A kind of source: the key that selects it, its options as an argument spec, and how it is resolved."""

    name: str
    options: Mapping[str, Mapping[str, Any]]
    resolve: Callable[[Mapping[str, Any], Place], Resolved]
    check: Callable[[Mapping[str, Any], str, Problems], None] = lambda source, path, problems: None


@cache
def load() -> dict[str, Source]:
    """Return all kinds by name."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    kinds = [importlib.import_module(f"{__name__}.{name}").KIND for name in names]
    return {kind.name: kind for kind in kinds}


def check(source: Any, path: str, problems: Problems) -> dict[str, Any]:
    """Return the user's ``source`` with its ``kind`` and defaults; mistakes are added to ``problems``."""
    kinds = load()
    if not isinstance(source, Mapping):
        problems.add(path, f"must be a dictionary with one of the keys {', '.join(kinds)}.")
        return {}
    found = [key for key in source if key in kinds]
    if len(found) != 1:
        given = [key for key in source if key not in kinds]
        hint = suggest(given[0], kinds) if given and not found else ""
        problems.add(path, f"needs exactly one of the keys {', '.join(kinds)}.{hint}")
        return {}
    kind = kinds[found[0]]
    if source[kind.name] == "":
        problems.add(f"{path}.{kind.name}", f"is empty. {kind.options[kind.name]['description']}")
        return {}
    result = apply(source, kind.options, path, problems)
    kind.check(result, path, problems)
    return {"kind": kind.name, **result}


def resolve(source: Mapping[str, Any], base: Path, cache_folder: Path, authorities: str = "") -> Resolved:
    """Resolve a checked source; raises SourceError."""
    return load()[source["kind"]].resolve(source, Place(base, cache_folder, authorities))


def split_login(url: str) -> tuple[str, str | None, str]:
    """Return the URL without its login, the user (None without one) and the password, as they are before quoting."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at or parts.scheme not in ("http", "https"):
        return url, None, ""
    user, _colon, password = login.partition(":")
    return (urllib.parse.urlunsplit(parts._replace(netloc=host)), urllib.parse.unquote(user),
            urllib.parse.unquote(password))


def basic(user: str, password: str) -> str:
    """Return the value of the header ``Authorization``."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
