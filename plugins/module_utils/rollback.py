# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go back to a release that was live before: nothing is built, fetched or planned, only started and switched to.

All that it takes lies on the host: the release folder, its configuration and environment, and ``service.json``, the
record that it was served with. Where it listens and for whom is taken from the live release: that is the inventory's of
today.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import (
    deploy_lock,
    django_release,
    env_file,
    record,
    service,
)
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_release import Release, ReleaseError

#: how long a release that was good before is watched, in seconds; or its own `health.watch`, where that is less
WATCH = 0.5


class CannotGoBack(Exception):
    """There is no way back; the text says why, and what there is."""


def stored(name: str, release: str) -> dict[str, Any]:
    """Return the service record that ``release`` was served with; raises CannotGoBack."""
    path = service.CONFIG / name / release / service.SERVICE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CannotGoBack(f"{name}: release {release} cannot be gone back to: {path} is missing. Deploy it again, "
                           "with its version in the inventory.") from None


def wanted(name: str, target: str, live: str) -> dict[str, Any]:
    """Return the service record to switch to: the target's, where the live one listens."""
    then, now = stored(name, target), stored(name, live)
    if (then["protocol"], then["shared_socket"]) != (now["protocol"], now["shared_socket"]):
        raise CannotGoBack(f"{name}: release {target} was served by {then['server']}, and {live} is by "
                           f"{now['server']}: nginx has to change with it. Write the old version and server in the "
                           "inventory, and run site.yml.")
    units = {unit: text for unit, text in then["units"].items() if not _lasting(unit, name)}
    for unit, text in now["units"].items():
        if _lasting(unit, name):
            units[unit] = text.replace(live, target)
    return {**then, **{key: now[key] for key in ("listen", "allow", "public")}, "units": units, "origin": name}


def _lasting(unit: str, name: str) -> bool:
    """Say whether the unit stays while releases come and go."""
    return unit in (f"webstack-{name}.socket", f"webstack-{name}-http.service")


def go_back(root: str, name: str, target: str, keep: int, run: Mapping[str, Any], lock_it: bool, left: str = "",
            reversing: Mapping[str, Any] | None = None, systemd: service.Systemd | None = None) -> service.Result:
    """Switch to ``target``. Raises CannotGoBack, deploy_lock.Busy and service.Failed; nothing has changed then.

    ``left`` was live when this was decided; ``reversing`` are the migrations that are taken back afterwards.
    """
    systemd = systemd or service.Systemd()
    folder = Path(root, "apps", name)
    if lock_it:
        deploy_lock.acquire(folder, name, run)
    try:
        with service.alone():
            found = record.read(folder / "record.json", name)
            if not found["live"]:
                raise CannotGoBack(f"{name}: nothing is live on this host.")
            if left and found["live"] != left:
                raise CannotGoBack(f"{name}: release {found['live']} has gone live, when it was {left} that was to be "
                                   "left. Nothing was changed on this host. Look at it with status.yml, and run this "
                                   "again.")
            item = wanted(name, target, found["live"])
            env: dict[str, str] = {}
            if item["by_hand"]:
                with contextlib.suppress(OSError, ValueError):
                    env = env_file.parse_env_file(Path(item["env_file"]).read_text(encoding="utf-8"))
            one = service.Service(item, env, systemd, keep)
            one.who, one.reason, one.by_hand_choice = str(run.get("who") or ""), "rollback", True
            one.watch, one.reversing = min(WATCH, one.watch), reversing
            if one.observe(systemd.show("webstack-*", "webstack_*")):
                _switch(one, systemd)
            elif one.record["reversing"] != reversing:  # begun anew, or left as it is
                _note_reversing(folder, name, reversing)
    finally:
        if lock_it:
            deploy_lock.release(folder, run)
    if one.record["held"]:
        one.result.held = one.record["held"]["version"] or one.record["held"]["release"]
    return one.result


def _switch(one: service.Service, systemd: service.Systemd) -> None:
    if not one.release_is_there():
        raise CannotGoBack(f"{one.name}: the folder of release {one.release} is gone. Deploy it again, with its "
                           "version in the inventory.")
    try:
        one.clear_trial()
        try:
            one.stage()
            systemd.reload()
            one.prove(again=True)
        finally:
            one.clear_trial()
        one.switch()
    except OSError as error:
        raise service.Failed(f"{one.name}: {error.strerror}: {error.filename}") from None
    except service.Failed as error:
        one.note_failure(str(error))
        raise


def reverse(root: str, name: str, code: str, targets: list[tuple[str, str]], dry: bool) -> list[str]:
    """Take migrations back with the code of release ``code``; ``targets`` are (app label, migration or "zero").

    ``dry`` only asks whether it can be done. Returns what Django says. Raises ReleaseError.
    """
    item = stored(name, code)
    folder = Path(root, "apps", name)
    env = env_file.parse_env_file(Path(item["env_file"]).read_text(encoding="utf-8"))
    app = {"name": name, "origin": name, "user": item["user"], "root": str(folder), "release": code, "env": env,
           "directory": str(Path(item["directory"]).relative_to(folder / "releases" / code / "source")).strip("."),
           "manage": item.get("manage") or "manage.py"}
    release = Release(app)
    said = []
    for label, migration in targets:
        words = ["migrate", label, migration, *(["--plan"] if dry else ["--noinput"])]
        text = django_release.manage(release, words, name, f"`manage.py {' '.join(words)}` failed.", 600,
                                     django_release.lock_timeout(app))
        if dry and "IRREVERSIBLE" in text:
            raise ReleaseError(name, f"a migration of {label} cannot be taken back:\n{text.strip()}\nNothing was "
                                     "changed. Go back with `-e migrations=leave`, or restore a backup.")
        said.append(text.strip())
    return said


def take_back(root: str, name: str, reversing: Mapping[str, Any]) -> list[str]:
    """Take the migrations of ``reversing`` (`code`, `reverse`, `gone`) back; noted until it is done."""
    folder = Path(root, "apps", name)
    with service.alone():
        _note_reversing(folder, name, reversing)
    # First: a release that is deployed again after a failure in the middle migrates again.
    forget_migrations(root, name, set(reversing["gone"]))
    said = reverse(root, name, reversing["code"], [(label, to) for label, to in reversing["reverse"]], False)
    with service.alone():
        _note_reversing(folder, name, None)
    return said


def _note_reversing(folder: Path, name: str, reversing: Mapping[str, Any] | None) -> None:
    path = folder / "record.json"
    record.write(path, {**record.read(path, name), "reversing": reversing})


def forget_migrations(root: str, name: str, gone: set[str]) -> None:
    """Note that the releases which have one of the migrations ``gone`` are not migrated any more."""
    for path in Path(root, "apps", name, "releases").glob("*/release.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if gone & set(content.get("migrations") or []) and content.get("steps", {}).pop("migrated", None):
            record.write(path, content)


def status(root: str) -> dict[str, list[dict[str, Any]]]:
    """Return what runs on this host: apps, with their releases; Vue sites; static files."""
    apps = []
    for path in sorted(Path(root, "apps").glob("*/record.json")):
        name = path.parent.name
        found = record.read(path, name)
        releases = _releases(path.parent, found)
        facts = {item["release"]: item for item in releases}
        live = facts.get(found["live"], {})
        since = next((event["at"] for event in reversed(found["history"])
                      if event["event"] == "live" and event["release"] == found["live"]), "")
        apps.append({
            "app": name, "live": found["live"], "version": live.get("version", ""), "commit": live.get("commit", ""),
            "since": since, "previous": found["previous"], "held": found["held"],
            "reversing": found["reversing"], "releases": releases,
            "state": _state(name, found["live"]), "lock": _owner(path.parent), **_server(name, found["live"]),
            "history": found["history"][-10:]})
    return {"apps": apps, "vue": _sites(Path(root, "vue")), "static": _sites(Path(root, "static"))}


def _releases(folder: Path, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the releases of an app that are on this host, the newest first."""
    was_live = {event["release"]: event["at"] for event in found["history"] if event["event"] == "live"}
    for release in (found["live"], found["previous"]):
        if release:
            was_live.setdefault(release, "")  # many failures push older events out of the history
    failed = {event["release"]: event["reason"] for event in found["history"] if event["event"] == "failed"}
    known = {path.name for path in (service.CONFIG / folder.name).glob("*") if path.is_dir()} | {
        path.name for path in (folder / "releases").glob("*")}
    result = []
    for release in known:
        facts = service.release_facts(folder, release)
        result.append({
            "release": release, "version": facts.get("source", ""), "commit": facts.get("commit", ""),
            "built": facts.get("steps", {}).get("built", ""), "live_at": was_live.get(release, ""),
            "failed": "" if release in was_live else failed.get(release, ""),
            "migrations": facts.get("migrations"), "migrated": "migrated" in facts.get("steps", {}),
            # A release that never was live, or is not whole any more, is nothing to go back to.
            "good": release in was_live and (service.CONFIG / folder.name / release / service.SERVICE).exists()})
    return sorted(result, key=lambda item: (item["live_at"], item["built"]), reverse=True)


def _state(name: str, live: str | None) -> str:
    unit = f"webstack-{name}@{live}.service"
    return service.Systemd().show(unit).get(unit, {}).get("ActiveState", "") if live else ""


def _server(name: str, live: str | None) -> dict[str, Any]:
    try:
        item = stored(name, live or "none")
    except CannotGoBack:
        return {"server": "", "framework": "", "listen": []}
    return {"server": item["server"], "framework": item["framework"], "listen": item["listen"]}


def _owner(folder: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads((folder / deploy_lock.NAME).read_text(encoding="utf-8"))
        return {"who": owner["who"], "since": owner["since"]}
    except (OSError, ValueError, KeyError):
        return None


def _sites(root: Path) -> list[dict[str, Any]]:
    """Return the Vue sites, or the apps' static files, that this host hands out."""
    result = []
    for folder in sorted(path for path in root.glob("*") if (path / ".webstack").is_dir()):
        current = folder / "current"
        live = current.readlink().name if current.is_symlink() else service.read(folder / ".webstack" / "live") or ""
        made = {}
        for path in (folder / ".webstack").glob("*.json"):
            if re.fullmatch(r"[0-9a-f]+", path.stem):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    made[path.stem] = json.loads(path.read_text(encoding="utf-8"))["at"]
        held = service.read(folder / ".webstack" / "held") or ""
        result.append({"name": folder.name, "live": live, "held": held if held != live else "",
                       "releases": sorted(made, key=lambda release: made[release], reverse=True)})
    return result
