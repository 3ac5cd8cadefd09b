# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Django release needs besides its files: checked settings, a migrated database, collected static files.

Every step is noted in ``release.json`` when it is done, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.python_release import (
    Release,
    ReleaseError,
    give_to_root,
)

#: the packed static files, for windows on other hosts
STATIC_ARCHIVE = "static.tar.gz"

_MARK = "webstack-facts "
# Migrations in the order in which they are applied, from the files alone: no database is asked.
_FACTS = f"""
import django, json
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
django.setup()
graph = MigrationLoader(None, ignore_no_migrations=True).graph
names = [".".join(node) for leaf in graph.leaf_nodes() for node in graph.forwards_plan(leaf)]
print("{_MARK}" + json.dumps({{"debug": bool(settings.DEBUG), "migrations": list(dict.fromkeys(names))}}))
"""


def wanted(app: Mapping[str, Any], host: str) -> list[str]:
    """Return the steps that the app needs on this host: migrations run once, on the first of the app's hosts."""
    steps = ["checked"]
    if app["migrate"] and host == app["hosts"][0]:
        steps.append("migrated")
    if app["static"]:
        steps.append("static")
    return steps


def pending(app: Mapping[str, Any], host: str, done: Mapping[str, Any]) -> list[str]:
    return [step for step in wanted(app, host) if step not in done]


def finish(release: Release, host: str, production: bool) -> list[str]:
    """Do the pending steps and return their names; raises ReleaseError.

    Each step starts Django anew, which takes most of its time: what changes nothing but the release's own folder is
    done side by side. Nothing is migrated before all is checked.
    """
    steps = pending(release.app, host, release.record.get("steps", {}))
    with ThreadPoolExecutor(max_workers=min(3, os.cpu_count() or 1)) as pool:
        static = pool.submit(_static, release) if "static" in steps else None
        if "checked" in steps:
            settings, check = pool.submit(_settings, release, production), pool.submit(_check, release)
            release.note("migrations", settings.result())
            check.result()
            release.mark("checked")
        try:
            if "migrated" in steps:
                _migrate(release)
                release.mark("migrated")
        finally:
            if static:
                static.result()
                release.mark("static")
    return steps


def _settings(release: Release, production: bool) -> list[str]:
    """Load the settings, refuse those of a laptop, and return the names of all migrations in their order."""
    path = f"{release.app['origin']}.settings_module"
    answer = _python(release, ["-c", _FACTS], path, "The settings cannot be loaded.", 120)
    found = [line for line in answer.splitlines() if line.startswith(_MARK)]
    if not found:
        raise ReleaseError(path, "the settings end the process while they are loaded. Let them only set names.")
    facts = json.loads(found[-1].removeprefix(_MARK))
    if facts["debug"] and production:
        raise ReleaseError(path, "DEBUG is on: every error would show the app's code and settings to the public. "
                                 "Write `DEBUG = False` in these settings, or name other ones.")
    return facts["migrations"]


def _check(release: Release) -> None:
    origin = release.app["origin"]
    manage(release, ["check", "--deploy", "--fail-level", "ERROR"], f"{origin}.settings_module",
            "`manage.py check --deploy` finds mistakes.", 120)


def _migrate(release: Release) -> None:
    origin = release.app["origin"]
    try:
        manage(release, ["migrate", "--noinput"], f"{origin}.migrate", "The database was not migrated.", 600,
               lock_timeout(release.app))
    except ReleaseError as error:
        if "LockNotAvailable" in str(error) or "lock timeout" in str(error):
            raise ReleaseError(f"{origin}.migrate_lock_timeout", "a table that is migrated is in use, and could not "
                               f"be locked within {release.app.get('migrate_lock_timeout', 10)} s. Try again in a "
                               f"quiet moment, or write more seconds.{str(error).partition('migrated.')[2]}") from None
        if "OperationalError" in str(error):
            raise ReleaseError(f"{origin}.env", "the database cannot be reached with this environment, so it was not "
                               f"migrated.{str(error).partition('migrated.')[2]}") from None
        raise


def lock_timeout(app: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment in which PostgreSQL gives up waiting for a table: all requests would wait behind it."""
    seconds = app.get("migrate_lock_timeout", 10)
    if not seconds:
        return {}
    return {"PGOPTIONS": f"{app['env'].get('PGOPTIONS', '')} -c lock_timeout={seconds}s".strip()}


def _static(release: Release) -> None:
    user = pwd.getpwnam(release.app["user"])
    folder = release.folder / "static"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chown(folder, user.pw_uid, user.pw_gid)
    manage(release, ["collectstatic", "--noinput", "--verbosity", "0"], f"{release.app['origin']}.static",
            "The static files cannot be collected.", 300)
    give_to_root(folder, 0, folder_mode=0o755)
    if release.app["static_remote"]:
        partial = release.folder / f"{STATIC_ARCHIVE}.partial"
        with tarfile.open(partial, "w:gz", compresslevel=6) as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, arcname=path.name)
        os.replace(partial, release.folder / STATIC_ARCHIVE)


def manage(release: Release, arguments: list[str], path: str, hint: str, timeout: int,
           more: Mapping[str, str] | None = None) -> str:
    """Run ``manage.py`` of the release as its user, and return what it says; raises ReleaseError."""
    script = release.folder / "source" / release.app["directory"] / release.app["manage"]
    if not script.is_file():
        raise ReleaseError(f"{release.app['origin']}.manage", f"the source has no {release.app['manage']!r} in "
                                                              f"{release.app['directory'] or 'its top folder'}.")
    return _python(release, [str(script), *arguments, "--no-color"], path, hint, timeout, more)


def _python(release: Release, arguments: list[str], path: str, hint: str, timeout: int,
            more: Mapping[str, str] | None = None) -> str:
    """Run the release's own Python as the app's user, in its folder and with its environment alone."""
    app = release.app
    user = pwd.getpwnam(app["user"])
    environment = {"PATH": f"{release.folder}/venv/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
                   "HOME": app["root"], "PYTHONDONTWRITEBYTECODE": "1",
                   "WEBSTACK_RELEASE": app["release"], **app["env"], **(more or {})}
    try:
        answer = subprocess.run(
            [str(release.folder / "venv" / "bin" / "python"), *arguments], env=environment, capture_output=True,
            text=True, errors="replace", check=False, stdin=subprocess.DEVNULL, timeout=timeout,
            cwd=Path(release.folder, "source", app["directory"]), user=user.pw_uid, group=user.pw_gid,
            extra_groups=[], umask=0o027)
    except subprocess.TimeoutExpired:
        raise ReleaseError(path, f"{hint} It took more than {timeout} s.") from None
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-12:]
        raise ReleaseError(path, _hidden("\n    ".join([hint, *said]), app["env"]))
    return answer.stdout


def _hidden(text: str, env: Mapping[str, str]) -> str:
    """Take the values of the environment out of a message: a traceback may show a password."""
    for value in sorted({value for value in env.values() if len(value) > 5}, key=len, reverse=True):
        if not value.startswith("/"):
            text = text.replace(value, "********")
    return text
