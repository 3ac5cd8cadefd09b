# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on the controller: what is packed on which host, one archive for each app, and what of it goes where.

An archive is a plain tar: ``backup.json`` first, which says what the parts are and has their checksums, then the parts:
a compressed tar for the folders of each host, and a dump of each database. It holds no environment and no key.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .schema import suggest

SCHEMA = 1
MANIFEST = "backup.json"


class BackupError(Exception):
    """No backup can be made, or this one cannot be put back; the text says what to write."""


def apps_of(name: str, states: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return {app: {host: what the host says of it}}, of the app ``name`` or of all. Raises BackupError."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for host, apps in states.items():
        for app in apps:
            found.setdefault(app["app"], {})[host] = app
    if name and name not in found:
        raise BackupError(f"app: {name!r} runs on none of these hosts. They have {', '.join(sorted(found)) or 'no app'}"
                          f".{suggest(name, list(found))}")
    return {key: hosts for key, hosts in found.items() if name in ("", key)}


def databases_of(apps: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the databases of the apps: those that their environments name by a URL, or else one of the app's name."""
    wanted = []
    for name, hosts in apps.items():
        named = [item for app in hosts.values() for item in app["databases"]]
        guesses = dict.fromkeys((name, name.replace("-", "_")))
        for item in named or [{"name": guess, "host": "", "guess": True} for guess in guesses]:
            if {**item, "app": name} not in wanted:
                wanted.append({**item, "app": name})
    return wanted


def plan(apps: Mapping[str, Mapping[str, Mapping[str, Any]]], wanted: Sequence[Mapping[str, Any]],
         placed: Mapping[str, Sequence[str]]) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the parts that each host packs, and what is not in the backup, in words for the user."""
    parts: dict[str, list[dict[str, Any]]] = {}
    missing = []
    for item in wanted:
        host = next((host for host, names in placed.items() if item["name"] in names), "")
        part = {"kind": "database", "app": item["app"], "name": item["name"]}
        if host and part not in parts.get(host, []):
            parts.setdefault(host, []).append(part)
        elif not host and not item.get("guess"):
            missing.append(f"{item['app']}: its database {item['name']!r} is on no host of webstack_db, and is not in "
                           "the backup.")
    for name, hosts in apps.items():
        for number, (host, app) in enumerate(hosts.items()):
            folders = [item["path"] for item in app["folders"] if not (item["network"] and number)]
            if folders:
                parts.setdefault(host, []).append(
                    {"kind": "folders", "app": name, "user": app["user"], "folders": folders})
    return parts, missing


def write(name: str, hosts: Mapping[str, Mapping[str, Any]], parts: Mapping[str, Sequence[Mapping[str, Any]]],
          folder: Path, now: datetime.datetime) -> Path:
    """Write the archive of one app, whole or not at all, for nobody but its owner to read; return its path."""
    manifest: dict[str, Any] = {
        "schema": SCHEMA, "app": name, "at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "hosts": {host: {key: app.get(key) for key in ("live", "version", "migrations")}
                  for host, app in hosts.items()},
        "parts": []}
    files = []
    for host, items in parts.items():
        for item in items:
            if item["app"] != name:
                continue
            member = f"databases/{item['name']}.dump" if item["kind"] == "database" else f"hosts/{host}.tar.gz"
            facts = {key: value for key, value in item.items() if key not in ("file", "app", "user")}
            manifest["parts"].append({**facts, "host": host, "member": member})
            files.append((member, item["file"]))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{now.strftime('%Y%m%dT%H%M%SZ')}.tar"
    partial = folder / f".{path.name}.{os.getpid()}"
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as archive:
                text = (json.dumps(manifest, indent=1) + "\n").encode()
                archive.addfile(_info(MANIFEST, len(text), now), io.BytesIO(text))
                for member, local in files:
                    with open(local, "rb") as part:
                        archive.addfile(_info(member, os.stat(local).st_size, now), part)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _info(name: str, size: int, now: datetime.datetime) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(now.timestamp())
    return info


def read(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """Check an archive and take its parts out into ``folder``; return its manifest, with `file` for each part."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            manifest = json.loads(archive.extractfile(MANIFEST).read())  # type: ignore[union-attr]
            if manifest["schema"] != SCHEMA:
                raise BackupError(f"backup: {path} is of another version of the collection (schema "
                                  f"{manifest['schema']}).")
            if manifest["app"] != name:
                raise BackupError(f"backup: {path} is of the app {manifest['app']!r}, not of {name!r}.")
            for number, part in enumerate(manifest["parts"]):
                digest, local = hashlib.sha256(), folder / f"part-{number}"
                source = archive.extractfile(part["member"])
                with open(os.open(local, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                    while block := source.read(1 << 20):  # type: ignore[union-attr]
                        digest.update(block)
                        target.write(block)
                if digest.hexdigest() != part["sha256"]:
                    raise BackupError(f"backup: {path} is damaged: {part['member']} is not what was packed.")
                part["file"] = str(local)
    except OSError as error:
        raise BackupError(f"backup: {path} cannot be read: {error.strerror or error}.") from None
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError):
        raise BackupError(f"backup: {path} is no backup, or only a part of one.") from None
    return manifest


def place(manifest: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], anyway: bool) -> tuple[
        dict[str, list[dict[str, Any]]], list[str]]:
    """Return the folders' parts for each host, and what the user should know. Raises BackupError."""
    name = manifest["app"]
    then, said = manifest["hosts"], []
    first, now = next(iter(then.values())), next(iter(hosts.values()))
    made = f"The backup was made with {first['version'] or 'release'} ({first['live']}), and " \
           f"{now['version'] or 'release'} ({now['live']}) is live"
    if first["migrations"] is not None and now["migrations"] is not None:
        differ = sorted(set(first["migrations"]) ^ set(now["migrations"]))
        if differ and not anyway:
            raise BackupError(
                f"{name}: {made}. They differ in migrations: {', '.join(differ[:8])}. Go to the release of the backup "
                f"first (rollback.yml, or deploy.yml with -e version=...), or write `-e anyway=true`.")
    if first["live"] != now["live"]:
        said.append(f"{name}: {made}.")
    result: dict[str, list[dict[str, Any]]] = {}
    for part in manifest["parts"]:
        if part["kind"] != "folders":
            continue
        host = part["host"] if part["host"] in hosts else ""
        if not host and len(hosts) == len(then) == 1:
            host = next(iter(hosts))
        if not host:
            raise BackupError(f"{name}: the backup has data of the host {part['host']}, and the app runs on "
                              f"{', '.join(hosts)}. Give the new host the old one's name in the inventory.")
        there = {item["path"] for item in hosts[host]["folders"]}
        gone = [path for path in part["folders"] if path not in there]
        if gone:
            raise BackupError(f"{name}: the backup has data of {gone[0]}, which is no folder of the app on {host} now; "
                              f"it has {', '.join(sorted(there)) or 'none'}. Declare it (`writable`) and deploy first.")
        result.setdefault(host, []).append({**part, "app": name, "user": hosts[host]["user"]})
    return result, said


def place_databases(manifest: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]],
                    placed: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, Any]]]:
    """Return the databases' parts for each host: where the app's environment says now that they are."""
    dumps = [part for part in manifest["parts"] if part["kind"] == "database"]
    there = [(host, name) for item in wanted for host, names in placed.items() for name in names
             if name == item["name"]]
    there = list(dict.fromkeys(there))
    result: dict[str, list[dict[str, Any]]] = {}
    for part in dumps:
        found = next((pair for pair in there if pair[1] == part["name"]), None)
        if not found and len(dumps) == len(there) == 1:
            found = there[0]  # the app's only one, by another name
        if not found:
            raise BackupError(f"{manifest['app']}: the backup has the database {part['name']!r}, which no host of "
                              "webstack_db has for this app. Run site.yml first, which makes it.")
        result.setdefault(found[0], []).append({**part, "app": manifest["app"], "name": found[1]})
    return result
