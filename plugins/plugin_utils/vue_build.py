# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a Vue site on the controller: in a clean copy of its source, from its lock file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .sources import _files

_TIMEOUT = 1200


class BuildError(Exception):
    """A site cannot be built; the message starts with the user's variable."""


def build(site: Mapping[str, Any]) -> None:
    """Build ``site`` (a Vue record of the plan) into the archive ``site["dist"]``; raises BuildError.

    Nothing of the user's own folder is written to, and a build that fails leaves no archive.
    """
    origin = site["origin"]
    target = Path(site["dist"])
    with tempfile.TemporaryDirectory(prefix="webstack-vue-") as temporary:
        with tarfile.open(site["archive"]) as archive:
            # Python 3.11.2, Debian 12's, has no filters yet.
            archive.extractall(temporary, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202
        folder = Path(temporary, site["directory"])
        environment = {**os.environ, "CI": "1", "NO_COLOR": "1", **{k: str(v) for k, v in site["build"]["env"].items()}}
        npm = shutil.which("npm")
        if npm is None:
            raise BuildError(f"{origin}.source: the controller has no npm to build it with. Install Node.js there, or "
                             f"build it elsewhere and write {origin}.dist.")
        _run([npm, "ci", "--no-audit", "--no-fund"], folder, environment,
             f"{origin}.source: `npm ci` cannot install what the lock file names.")
        _run(["/bin/sh", "-c", site["build"]["command"]], folder, environment,
             f"{origin}.build.command: `{site['build']['command']}` fails.")
        output = folder / site["build"]["output"]
        if not (output / "index.html").is_file():
            raise BuildError(f"{origin}.build.output: the build made no {site['build']['output']}/index.html. Write "
                             "the folder that it makes.")
        names = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
        _files.pack(output, names, target)


def _run(arguments: list[str], folder: Path, environment: Mapping[str, str], hint: str) -> None:
    try:
        answer = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True,
                                errors="replace", check=False, stdin=subprocess.DEVNULL, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise BuildError(f"{hint} It took more than {_TIMEOUT} s.") from None
    if answer.returncode:
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in (answer.stdout + answer.stderr).splitlines()]
        # Node ends with the frames of its own stack; what is wrong stands before them.
        said = [line for line in lines if line.strip() and not re.match(r"\s+at ", line)][-20:]
        raise BuildError("\n    ".join([hint, *said]))
