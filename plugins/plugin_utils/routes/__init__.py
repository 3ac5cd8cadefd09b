# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of routes: what a site does with the requests for a path.

Every other file in this folder is one kind: a ``KIND`` object with its options as users write them, a function that
turns them into the plan's route record, and the template of its location blocks. Adding a kind is adding a file.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .. import features
from ..schema import Problems, apply

#: What every route may say, whatever its kind.
COMMON: dict[str, dict[str, Any]] = {
    "path": {
        "type": "str", "default": "/",
        "description": "Which paths the route is for: their beginning, the whole path, or a regular expression.",
    },
    "match": {
        "type": "str", "default": "prefix", "choices": ["prefix", "exact", "regex"],
        "description": "How O(path) is compared. The longest prefix wins, an exact path wins over all, and a regular "
                       "expression over prefixes.",
    },
    "directives": {
        "type": "str", "default": "",
        "description": "nginx directives as they are, for the location block of the route.",
    },
}

#: A location that only returns is left before these are looked at, silently.
NEVER_APPLIED = {"limit_req", "limit_conn", "auth_basic", "auth_request", "allow", "deny"}


class Context(Protocol):
    """What a kind may ask the normaliser."""

    def app(self, name: str) -> Mapping[str, Any] | None:
        """Return the app with `protocol` and `servers` as seen from the edge, or None."""

    def vue(self, name: str) -> Mapping[str, Any] | None:
        """Return the Vue record, or None."""

    def names(self, kind: str) -> list[str]:
        """Return the names there are, for suggestions."""

    def error(self, path: str, message: str) -> None:
        """Note a mistake in the user's variable at `path`; the message says what to write instead."""


@dataclass(frozen=True)
class Kind:
    """One kind of route; its name is also the key with which users select it."""

    name: str
    options: Mapping[str, Mapping[str, Any]]
    resolve: Callable[[Mapping[str, Any], Context], dict[str, Any] | None]
    template: str
    returns: bool = False  # its location does nothing but `return`


def load(folder: str = os.path.dirname(__file__), package: str = __name__) -> dict[str, Kind]:
    """Return the kinds by name: one for each file of the folder."""
    kinds = {}
    for file in sorted(os.listdir(folder)):
        module, extension = os.path.splitext(file)
        if extension == ".py" and not module.startswith("_"):
            kind = importlib.import_module(f"{package}.{module}").KIND
            kinds[kind.name] = kind
    return kinds


def options(kind: Kind) -> dict[str, Mapping[str, Any]]:
    """Return all options of a route of this kind, as an Ansible argument spec."""
    return {**kind.options, **COMMON, **features.route_options(kind.name)}


def resolve(route: Any, origin: str, context: Context,
            kinds: Mapping[str, Kind] | None = None) -> dict[str, Any] | None:
    """Return the plan's record of what a user wrote at `origin`, or None after telling `context` what is wrong."""
    kinds = load() if kinds is None else kinds
    kind = _kind_of(route, origin, context, kinds)
    if kind is None:
        return None
    useless = [name for name in features.load() if name in route and name not in features.route_options(kind.name)]
    for name in useless:
        context.error(f"{origin}.{name}", f"has no effect in a route of kind {kind.name}: " + (
            "nginx returns before it looks. Leave it out, or write it in a route of kind app, proxy, vue or folder."
            if kind.returns else "leave it out."))
    if useless:
        return None
    problems = Problems()
    values = apply(route, options(kind), origin, problems)
    for problem in problems.items:
        context.error(problem.path, problem.message)
    if problems or not _check_path(values, origin, context) or not _check_directives(values, kind, origin, context):
        return None
    record = kind.resolve({**values, "origin": origin}, context)
    if record is None:
        return None
    common = {"origin": origin, "kind": kind.name, **{key: values[key] for key in COMMON}}
    return {**common, **record, "features": features.resolve_route(values, kind.name, origin, context)}


def folder_route(origin: str, path: str, folder: str, uploads: bool = False) -> dict[str, Any]:
    """Return the record of a route that follows from another one, such as a Django app's static files.

    A static file with the digest of its content in its name is good for ever, and any other one may change.
    """
    record = {"origin": origin, "kind": "folder", "path": path, "match": "prefix", "directives": "",
              "features": {}}
    return {**record, "folder": folder, "uploads": uploads,
            "cache_control": "" if uploads else "$webstack_static"}


def missing(context: Context, origin: str, kind: str, variable: str, name: str) -> None:
    """Say that a route names something that is not there."""
    near = difflib.get_close_matches(name, context.names(kind), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Add it to {variable}, or write a name that is there."
    context.error(f"{origin}.{kind}", f"there is no {kind} named {name!r}.{hint}")


def _kind_of(route: Any, origin: str, context: Context, kinds: Mapping[str, Kind]) -> Kind | None:
    if not isinstance(route, Mapping):
        context.error(origin, f"must be a dictionary, for example {{path: /, {next(iter(kinds))}: ...}}.")
        return None
    named = [name for name in kinds if name in route]
    if len(named) == 1:
        return kinds[named[0]]
    if named:
        context.error(origin, f"says {' and '.join(named)}, and a route does one thing. Write a route for each, "
                              "with a `path` of its own.")
        return None
    unknown = [str(key) for key in route if key not in COMMON]
    near = [match for key in unknown for match in difflib.get_close_matches(key, kinds, n=1)]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    context.error(origin, f"does not say what to do. Write exactly one of {', '.join(sorted(kinds))}.{hint}")
    return None


def _check_path(values: Mapping[str, Any], origin: str, context: Context) -> bool:
    path = values["path"]
    if values["match"] == "regex":
        try:
            # Not nginx's own dialect, but near enough for a missing bracket; nginx has the last word.
            re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", path))
        except re.error as error:
            context.error(f"{origin}.path", f"{path!r} is no regular expression: {error}.")
            return False
        if re.search(r"[\x00-\x1f]", path):
            context.error(f"{origin}.path", "has a control character.")
            return False
        return True
    if not path.startswith("/"):
        context.error(f"{origin}.path", f"{path!r} must start with a slash: write {'/' + path!r}, or `match: regex`.")
        return False
    if re.search(r"[\x00-\x20\x7f\"\\{};$]|%[0-9A-Fa-f]{2}", path) or {".", ".."} & set(path.split("/")):
        context.error(f"{origin}.path", f"{path!r}: write the path as nginx sees it, decoded, without . and .. parts, "
                                        "spaces, quotes, backslashes, braces, dollar signs and semicolons.")
        return False
    if "//" in path:
        context.error(f"{origin}.path", f"{path!r} never matches, because nginx merges slashes: write "
                                        f"{re.sub('/+', '/', path)!r}.")
        return False
    return True


def _check_directives(values: Mapping[str, Any], kind: Kind, origin: str, context: Context) -> bool:
    if not kind.returns:
        return True
    words = {line.split()[0] for line in values["directives"].splitlines() if line.split()}
    useless = sorted(words & NEVER_APPLIED)
    if useless:
        context.error(f"{origin}.directives", f"{useless[0]} has no effect in a route that only answers ({kind.name}): "
                                              "nginx returns before it looks. Write it in `directives` of the site, "
                                              "or as `access`, `basic_auth` or `auth_request` of the route.")
    return not useless
