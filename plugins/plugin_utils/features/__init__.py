# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site may say beside where its requests go: who may pass, how often, what is remembered of the answers.

Every other file in this folder is one feature: a ``FEATURE`` object. Its options are those of the key of its name in
`nginx_sites` of the role's argument spec; where ``routes`` is set, a route may have the key too, and then has what it
says itself and nothing of the site's. Adding a feature is adding a file, and its options to that spec.

What holds for a route is written into each of its locations: nginx's own inheritance, which drops a whole set of
directives as soon as a location has one of them, is not relied on.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .. import role_options, upstreams

#: The kinds of routes whose location does more than `return`.
SERVING = ("app", "folder", "proxy", "vue")
#: All kinds.
EVERY = (*SERVING, "answer", "redirect")

#: Where certificate authorities look whether a host is ours: whoever may pass elsewhere, they may here.
CHALLENGES = "/.well-known/acme-challenge"

#: Where a site has the pages that are shown in place of answers, for nginx itself alone, and where they lie. A worker
#: that is still of the generation before has its own ones.
PAGES = "/.webstack/pages/"
PAGES_FOLDER = "/etc/nginx/webstack.d/@GENERATION@/pages/"


class Context(Protocol):
    """What a feature may ask the normaliser; ``routes.Context`` has it all."""

    def app(self, name: str) -> Mapping[str, Any] | None:
        """Return the app with `protocol` and `servers` as seen from the edge, or None."""

    def names(self, kind: str) -> list[str]:
        """Return the names there are, for suggestions."""

    def error(self, path: str, message: str) -> None:
        """Note a mistake in the user's variable at `path`; the message says what to write instead."""


@dataclass(frozen=True)
class Use:
    """One place where a feature holds: a route, or (without ``route``) a site as such."""

    record: Mapping[str, Any]
    site: Mapping[str, Any]
    route: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Piece:
    """What a feature adds to a location or to a server block."""

    lines: Sequence[str] = ()
    #: of every answer, whatever its status; one of the user's own in `directives` wins
    headers: Mapping[str, str] = field(default_factory=dict)
    #: request headers that the app hears from this edge alone; one of the user's own in `directives` wins
    sent: Mapping[str, str] = field(default_factory=dict)
    #: {status: name of the page that is shown for it}; an `error_page` of the user's own in `directives` wins
    errors: Mapping[str, str] = field(default_factory=dict)


def _nothing(_use: Use) -> Piece:
    return Piece()


@dataclass(frozen=True)
class Feature:
    """One feature. Records are plain data, for they are part of the plan; ``origin`` is the user's variable.

    ``resolve(values, origin, context)`` turns what a user wrote (with the spec's defaults filled in, or None where
    nothing was said) into a record; None means that the feature does not hold, or that `context` was told a mistake.
    ``http(uses)`` returns lines for the http block, such as zones and maps, from all places of the edge together; a
    shared zone is named after all that it is made of, for nginx keeps the old one of a name without a word.
    """

    name: str
    resolve: Callable[[Any, str, Context], dict[str, Any] | None]
    routes: bool = True
    #: whether what a route to an app says holds for the app's static files and uploads too
    files_too: bool = True
    kinds: Sequence[str] = SERVING
    #: whether it says who may pass: nobody is kept from answering a certificate authority by what a site says
    gate: bool = False
    #: whether nginx looks at its lines after `return` alone, so that a route that only returns must be made to wait
    after_return: bool = False
    #: whether its lines come before those of the others: nginx does what rewrites and returns in the order written
    first: bool = False
    #: lines for the server block of a site where it holds, or one of its routes has it. A map with a regular
    #: expression is asked there, before a location is chosen: later it would take $1 away from the user's own lines
    early: Callable[[Use], Sequence[str]] = lambda use: ()
    http: Callable[[Sequence[Use]], Sequence[str]] = lambda uses: ()
    server: Callable[[Use], Piece] = _nothing
    location: Callable[[Use], Piece] = _nothing
    #: {name: text} of secret files of the generation, which the directives call ``secret_file(name)``: root and
    #: nginx's workers read them, and no log or diff shows them
    secrets: Callable[[Sequence[Use]], Mapping[str, str]] = lambda uses: {}
    #: request headers that no client may write, on the whole edge
    cleared: Callable[[Sequence[Use]], Sequence[str]] = lambda uses: ()
    #: the app that it asks by itself: a record with ``app`` and ``servers``
    upstream: Callable[[Use], Mapping[str, Any] | None] = lambda use: None
    #: the lines of a location that it needs beside the routes; ``told(directive, {name: value})`` returns the lines
    #: that tell an app about the client, with these changes
    beside: Callable[[Use, Callable[[str, Mapping[str, str]], list[str]]], Sequence[str]] = lambda use, told: ()
    #: {name: text} of the pages that ``errors`` names, or that are asked for by their address (``PAGES``)
    pages: Callable[[Sequence[Use]], Mapping[str, str]] = lambda uses: {}
    #: why it cannot hold there, where that takes more than its own words to tell; "" where it can
    check: Callable[[Use], str] = lambda use: ""


@functools.cache
def load(folder: str = os.path.dirname(__file__), package: str = __name__) -> dict[str, Feature]:
    """Return the features by name, in the order of their lines: one for each file of the folder."""
    found = {}
    for file in sorted(os.listdir(folder)):
        module, extension = os.path.splitext(file)
        if extension == ".py" and not module.startswith("_"):
            feature = importlib.import_module(f"{package}.{module}").FEATURE
            found[feature.name] = feature
    return dict(sorted(found.items(), key=lambda item: not item[1].first))


def route_options(kind: str) -> dict[str, Mapping[str, Any]]:
    """Return what a route of this kind may say of the features; nothing said is None, and means what the site says."""
    site = role_options.site_options()
    return {feature.name: {key: value for key, value in site[feature.name].items() if key != "default"}
            for feature in load().values() if feature.routes and kind in feature.kinds}


def resolve_site(site: Mapping[str, Any], origin: str, context: Context) -> dict[str, Any]:
    """Return the records of the features of a site."""
    found = {name: feature.resolve(site.get(name), f"{origin}.{name}", context) for name, feature in load().items()}
    return {name: {**record, "origin": f"{origin}.{name}"} for name, record in found.items() if record is not None}


def resolve_route(values: Mapping[str, Any], kind: str, origin: str, context: Context) -> dict[str, Any]:
    """Return the records of the features that a route speaks of itself; None for one that it turns off."""
    found = {}
    for name in route_options(kind):
        if values.get(name) is not None:
            record = load()[name].resolve(values[name], f"{origin}.{name}", context)
            found[name] = record and {**record, "origin": f"{origin}.{name}"}
    return found


def of_files(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the own records of the static files and uploads of a route's app; None where not even the site's holds."""
    return {name: own.get(name) if feature.files_too else None for name, feature in load().items()
            if name in own or feature.routes and not feature.files_too}


def effective(site: Mapping[str, Any], kind: str, own: Mapping[str, Any], path: str = "/") -> dict[str, Any]:
    """Return the records that hold in a route of this kind to this path."""
    features = load()
    merged = {**{name: record for name, record in site.items()
                 if features[name].routes and not (features[name].gate and path.startswith(CHALLENGES))}, **own}
    return {name: merged[name] for name, feature in features.items()
            if merged.get(name) is not None and kind in feature.kinds}


def secret_file(name: str) -> str:
    """Return how a directive calls a secret file: each worker reads that of its own generation."""
    return f"/etc/nginx/webstack.d/@GENERATION@/secrets/{name}"


def hide(use: Use, headers: Sequence[str]) -> list[str]:
    """Return the lines that leave these headers out of what an app or another server answers."""
    if use.route is None or use.route["kind"] not in upstreams.KINDS:
        return []
    module = "uwsgi" if use.route["protocol"] == "uwsgi" else "proxy"
    return [f"{module}_hide_header {name};" for name in headers]


def uses(sites: Sequence[Mapping[str, Any]], name: str) -> list[Use]:
    """Return all places of an edge where the feature holds: the sites first, then each route."""
    found = []
    for site in sites:
        if name in site.get("features", {}):
            found.append(Use(site["features"][name], site))
        found += [Use(route["features"][name], site, route) for route in site["routes"]
                  if name in route.get("features", {})]
    return found
