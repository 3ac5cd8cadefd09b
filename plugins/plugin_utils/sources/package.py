# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``source: {package: NAME==VERSION}``: a Python package that pip fetches on the host."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ..schema import Problems, describe
from . import Place, Resolved, Source

# A name, extras and one exact version, as the version specifiers of PyPA say.
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\s*\[[A-Za-z0-9._, -]+\])?\s*==\s*[A-Za-z0-9.+!_-]+")


def _check(source: Mapping[str, Any], path: str, problems: Problems) -> None:
    package = source["package"]
    if package and not _PINNED.fullmatch(package):
        problems.add(f"{path}.package", f"is {describe(package)}; pin one version, for example `httpbin==0.10.4`, so "
                                        "that all hosts run the same.")


def _resolve(source: Mapping[str, Any], _place: Place) -> Resolved:
    package = re.sub(r"\s", "", source["package"])
    return Resolved(hashlib.sha256(package.encode()).hexdigest(), package, None, lambda name: None,
                    words={"version": package.rpartition("==")[2]})


KIND = Source("package", {
    "package": {"type": "str", "required": True, "description": "The package and its version, `NAME==VERSION`."},
}, _resolve, _check)
