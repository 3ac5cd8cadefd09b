# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release folders of Python apps: user, source, virtual environment, environment file.

A release is a folder named after its ID. Its ``release.json`` is written last; a folder without one is what a run
that was killed has left, and is made again. Nothing here touches what is live.
"""

from __future__ import annotations

import dataclasses
import grp
import json
import os
import pwd
import re
import shutil
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import record
from ansible_collections.frontdesk.webstack.plugins.module_utils.env_file import format_env_file
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_environment import (
    BUILDER,
    CACHE,
    ReleaseError,
    give_to_root,
    make_folder,
    run,
)
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_environment import make as make_environment

SCHEMA = 1
ETC = Path("/etc/webstack")
#: what making a virtual environment takes on Debian
PACKAGES = ("python3-venv", "ca-certificates")
#: the group of nginx's workers on Debian: they may pass through an app's shared folder and read its uploads
WINDOW_GROUP = "www-data"


@dataclasses.dataclass
class Release:
    """One release of one app on this host."""

    app: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.app["root"]) / "releases" / self.app["release"]

    @property
    def record(self) -> dict[str, Any]:
        """Return the content of ``release.json``; empty where the release is not whole."""
        try:
            record = json.loads((self.folder / "release.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if record.get("schema") == SCHEMA else {}

    @property
    def env_file(self) -> Path:
        return ETC / self.app["name"] / self.app["release"] / "env"

    def mark(self, step: str) -> None:
        """Note in ``release.json`` that ``step`` is done."""
        record = self.record
        record.setdefault("steps", {})[step] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_file(self.folder / "release.json", json.dumps(record, indent=2) + "\n", mode=0o644)

    def note(self, key: str, value: Any) -> None:
        """Note a fact in ``release.json``."""
        write_file(self.folder / "release.json", json.dumps({**self.record, key: value}, indent=2) + "\n", mode=0o644)

    def environment_is_written(self) -> bool:
        try:
            status = self.env_file.stat()
            return (self.env_file.read_text(encoding="utf-8") == format_env_file(self.app["env"])
                    and status.st_mode & 0o777 == 0o600 and status.st_uid == 0)
        except OSError:
            return False

    def complete(self) -> bool:
        return bool(self.record) and self.environment_is_written()


def missing_packages(wanted: Iterable[str], status_file: Path = Path("/var/lib/dpkg/status")) -> list[str]:
    """Return those packages that dpkg does not have installed; a name that another package provides counts as had."""
    wanted = sorted(set(wanted))
    if not wanted:
        return []
    installed = set()
    for block in status_file.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        # The first word is what is wanted: "install", or "hold" after apt-mark hold.
        if not re.search(r"^Status: \w+ ok installed$", block, re.M):
            continue
        for line in block.splitlines():
            key, _colon, value = line.partition(": ")
            if key == "Package":
                installed.add(value)
            elif key == "Provides":
                installed.update(item.split()[0] for item in value.split(","))
    return [name for name in wanted if name.split("=")[0].split(":")[0] not in installed]


def packages_of(apps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the operating-system packages that the apps and their environments need."""
    if not apps:
        return []
    # A Python of the host's own choice, python3.13 or pypy3 say, has a venv package of that name.
    pythons = {os.path.basename(app["python"]) for app in apps if os.path.dirname(app["python"]) in ("", "/usr/bin")}
    own = {f"{python}-venv" for python in pythons if re.fullmatch(r"python3\.\d+|pypy3", python)}
    return sorted({*PACKAGES, *own, *(name for app in apps for name in app["packages"])})


def build(release: Release, archive: str) -> list[str]:
    """Make the release, and return what is to be said; raises ReleaseError and leaves no half release behind."""
    app = release.app
    folder = release.folder
    if app["release"] in in_use(app) and (folder / "venv" / "bin" / "python").exists() and (folder / "source").is_dir():
        # It serves, or is what a rollback goes to: only its record was lost, and is written again. Its static files are
        # not collected a second time under the running app; migrations are repeatable, and are left to be run again.
        _write_record(release)
        if app["framework"] == "django":
            release.mark("checked")
            if (folder / "static").is_dir():
                release.mark("static")
        return []
    shutil.rmtree(folder, ignore_errors=True)
    try:
        user = pwd.getpwnam(app["user"])
        # The folder stays root's: what the app's user runs while it is built cannot put links in root's way.
        folder.mkdir(parents=True)
        os.chown(folder, 0, user.pw_gid)
        os.chmod(folder, 0o750)
        for name, text in app["files"].items():
            write_file(folder / name, text, mode=0o644)
        _unpack(app, archive, folder / "source", user)
        venv = folder / "venv"
        venv.mkdir()
        os.chown(venv, user.pw_uid, user.pw_gid)
        said, environment = make_environment(app, folder, user)
        give_to_root(folder, user.pw_gid)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _write_record(release, environment)
    return said


def _write_record(release: Release, environment: str = "") -> None:
    app = release.app
    write_environment(release)
    record = {
        "schema": SCHEMA, "app": app["name"], "release": app["release"], "source": app["label"],
        "source_id": app.get("source_id") or "", "commit": app.get("commit") or "", "framework": app["framework"],
        "unpinned": list(app.get("unpinned") or []), "environment": environment, "steps": {},
    }
    write_file(release.folder / "release.json", json.dumps(record, indent=2) + "\n", mode=0o644)
    release.mark("built")


def write_environment(release: Release) -> None:
    """Write the environment file, which only root reads: systemd hands its content on."""
    folder = release.env_file.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_file(release.env_file, format_env_file(release.app["env"]), mode=0o600)


def prepare_host(apps: Sequence[Mapping[str, Any]]) -> bool:
    """Make the users and folders of the apps; return whether anything was missing."""
    changed = False
    wanted = {app["user"]: app for app in apps}
    absent = [user for user in [BUILDER, *wanted] if not _user_exists(user)]
    if absent:
        for user in absent:
            name = wanted[user]["name"] if user in wanted else "build"
            home = wanted[user]["root"] if user in wanted else str(CACHE)
            write_file(Path(f"/etc/sysusers.d/{user}.conf"),
                       f'u {user} - "web app {name}" {home} /usr/sbin/nologin\n', mode=0o644)
        run(["systemd-sysusers"], "webstack")
        changed = True
    window = grp.getgrnam(WINDOW_GROUP).gr_gid
    for app in apps:
        user = pwd.getpwnam(app["user"])
        root = Path(app["root"])
        for folder, uid, gid, mode in (
            (root, 0, 0, 0o755),
            (root / "releases", 0, user.pw_gid, 0o750),
            # Others may pass, not list: nginx reads the uploads below, and nothing else.
            (root / "shared", user.pw_uid, window, 0o710),
            (root / "shared" / "media", user.pw_uid, window, 0o2750),
        ):
            try:
                changed |= make_folder(folder, uid, gid, mode)
            except ReleaseError as error:
                raise ReleaseError(app["origin"], str(error)) from None
    return changed


def held(app: Mapping[str, Any]) -> bool:
    """Say whether the release is left alone, because somebody has gone back behind it by hand.

    Raises ReleaseError where it is another release of the code that was held back: to build and migrate it would be
    half of what was undone.
    """
    if app.get("asked"):
        return False
    found = record.read(Path(app["root"], "record.json"), app["name"])
    if record.held_source(found, app["release"], app.get("source_id") or ""):
        back = found["held"]
        raise ReleaseError(app["origin"], f"{back['version'] or back['release']} is held back since {back['at']}, when "
                           f"{back['by']} went to release {found['live']}, and is wanted here with other settings. "
                           f"Write the version that should run, or run `deploy.yml -e app={app['name']}`.")
    return record.is_held(found, app["release"])


def records(apps: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return of each app in the folders of ``apps``, asked for or not, what is live and what is held back."""
    paths = [path for folder in {Path(app["root"]).parent for app in apps} for path in folder.glob("*/record.json")]
    found = {path.parent.name: record.read(path, path.parent.name) for path in paths}
    return {name: {"live": item["live"], "held": item["held"]} for name, item in found.items()}


def in_use(app: Mapping[str, Any]) -> set[str]:
    """Return the IDs of the live release and of the one before it, as the app's record has them."""
    # What starts at boot counts too: a run that was killed in the switch has not written the record yet.
    boot = Path("/etc/systemd/system/multi-user.target.wants").glob(f"webstack-{app['name']}@*.service")
    used = {link.name.partition("@")[2].removesuffix(".service") for link in boot}
    try:
        record = json.loads(Path(app["root"], "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return used
    return used | {record.get("live"), record.get("previous")} - {None}


def prune(app: Mapping[str, Any], keep: int) -> list[str]:
    """Remove the oldest releases beyond ``keep``, and return their IDs. The live and the last good one stay."""
    root = Path(app["root"])
    protected = {app["release"], *in_use(app)}
    folders = sorted((path for path in (root / "releases").iterdir() if path.is_dir()), key=_age, reverse=True)
    removable = [path for path in folders if path.name not in protected]
    surplus = removable[max(0, keep - (len(folders) - len(removable))):]
    for path in surplus:
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(ETC / app["name"] / path.name, ignore_errors=True)
    return [path.name for path in surplus]


def _age(folder: Path) -> str:
    # By what the record says: a folder's own time changes for many reasons.
    try:
        return json.loads((folder / "release.json").read_text(encoding="utf-8"))["steps"]["built"]
    except (OSError, ValueError, KeyError):
        return ""


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _unpack(app: Mapping[str, Any], archive: str, target: Path, user: pwd.struct_passwd) -> None:
    target.mkdir()
    if archive:
        try:
            with tarfile.open(archive) as source:
                # Python 3.11.2, Debian 12's, has no filters yet; the archive is the controller's own.
                safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                source.extractall(target, **safely)  # noqa: S202
        except (tarfile.TarError, OSError) as error:
            raise ReleaseError(f"{app['origin']}.source", f"cannot be unpacked: {error}") from None
        if app["directory"] and not (target / app["directory"]).is_dir():
            raise ReleaseError(f"{app['origin']}.directory", f"the source has no folder {app['directory']!r}.")
    for path in reversed([target, *target.rglob("*")]):  # from below: a folder is root's until all in it are done
        os.lchown(path, user.pw_uid, user.pw_gid)
