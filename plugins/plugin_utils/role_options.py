# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the roles, as their argument specs have them: what users may write is said there and nowhere else."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


@functools.cache
def role_options(role: str) -> dict[str, Any]:
    """Return the options of the role's main entry point."""
    with open(ROLES / role / "meta" / "argument_specs.yml", encoding="utf-8") as stream:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(stream, Loader=loader)["argument_specs"]["main"]["options"]  # noqa: S506 (a safe loader)


def site_options() -> dict[str, Any]:
    """Return the options of a site."""
    return role_options("nginx")["nginx_sites"]["options"]
