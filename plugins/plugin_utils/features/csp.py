# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page may load and do (Content-Security-Policy)."""

from __future__ import annotations

import re
from typing import Any

from . import EVERY, Context, Feature, Piece, Use, headers, hide

_DIRECTIVE = re.compile(r"[a-z-]+")
#: Words that are keywords inside single quotes and host names without them.
_KEYWORDS = {"none", "self", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample",
             "wasm-unsafe-eval"}


def _text(values: Any, origin: str, context: Context) -> str:
    """Return the policy as one text, or nothing after a mistake."""
    if isinstance(values, str):
        return "; ".join(part.strip() for part in " ".join(values.split()).split(";") if part.strip())
    if not isinstance(values, dict):
        context.error(origin, "must be the text of a policy, or a dictionary such as {default-src: [\"'self'\"]}.")
        return ""
    parts = []
    for name, sources in values.items():
        where = f"{origin}.{name}"
        words = [sources] if isinstance(sources, str) else [] if sources in (None, True) else sources
        if not _DIRECTIVE.fullmatch(str(name)):
            context.error(where, "is no directive of a policy: write one such as script-src.")
        elif not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            context.error(where, "must be a list of sources, such as [\"'self'\", https://cdn.example.com].")
        elif any(re.search(r"[;,]", word) for word in words):
            context.error(where, "has a source with a semicolon or a comma. Write each source and each directive for "
                                 "itself.")
        else:
            parts.append(" ".join([name, *words]))
    return "; ".join(parts)


def make(name: str, header: str) -> Feature:
    """Return the feature of that key, which sends that header in place of the app's own."""

    def resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
        if not values:
            return None  # in a route: no policy, whatever the site says
        policy = _text(values, origin, context)
        bare = sorted(word for part in policy.split(";") for word in part.split()[1:] if word in _KEYWORDS)
        message = headers.wrong_value(policy) if policy else ""
        if bare:
            message = f"has {bare[0]} without quotes, which is a host of that name: write \"'{bare[0]}'\"."
        if message:
            context.error(origin, message)
        return {"policy": policy} if policy and not message else None

    def of(use: Use) -> dict[str, str]:
        return {header: headers.literal(use.record["policy"])}

    def location(use: Use) -> Piece:
        return Piece(hide(use, [header]), of(use))

    return Feature(name, resolve, kinds=EVERY, server=lambda use: Piece(headers=of(use)), location=location)


FEATURE = make("csp", "Content-Security-Policy")
