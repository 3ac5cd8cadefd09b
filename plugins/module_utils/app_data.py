# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of an app on a host: what it wrote itself, and its PostgreSQL database; packed for a backup, and put back.

Whatever is below a folder of the app's is read and written as the app's own user: root would follow the links that lie
there. What is put back is unpacked beside the old data first, into folders and a database of their own; only then the
app stops, both change places, and it starts again. The data that was there stays, until the next time, in ``.before``
and in the database ``NAME_before``.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import pwd
import re
import shutil
import sqlite3
import stat
import subprocess
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ansible_collections.frontdesk.webstack.plugins.module_utils import env_file, postgresql, record, unix_client
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file
from ansible_collections.frontdesk.webstack.plugins.module_utils.service import CONFIG, SERVICE, Systemd

#: beside the data, in each of its folders
NEW, OLD = ".webstack-restore", ".webstack-before"
_LEAVING = ".webstack-leaving"
#: beside the record of an app that is stopped: what is to be started again
_STOPPED = "stopped.json"
_RESERVED = (NEW, OLD, _LEAVING)
_MOMENTARY = ("/run/", "/proc/", "/sys/", "/dev/", "/tmp/", "/var/tmp/")  # noqa: S108  (never part of a backup)
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "fuse.glusterfs", "fuse.sshfs", "fuse.ceph")
_WINDOW = "www-data"
_UNITS = "/etc/systemd/system"
_SQLITE = b"SQLite format 3\0"
_LONG = 6 * 3600  # seconds that a dump may take


class DataError(Exception):
    """The data cannot be packed or put back; the text says why. Nothing that is in use has changed."""


# -- what there is ---------------------------------------------------------------------------------------------------


def look(root: str) -> list[dict[str, Any]]:
    """Return the apps that are live on this host, with their folders and the databases that they name."""
    found = []
    for path in sorted(Path(root, "apps").glob("*/record.json")):
        name = path.parent.name
        state = record.read(path, name)
        service = _stored(name, state["live"])
        if service:
            found.append({"app": name, "live": state["live"], "user": service["user"],
                          **_release_facts(path.parent, state["live"]), "folders": folders_of(service, path.parent),
                          "databases": databases_of(_environment(service))})
    return found


def _stored(name: str, release: str | None) -> dict[str, Any] | None:
    try:
        return json.loads((CONFIG / name / str(release) / SERVICE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _release_facts(root: Path, release: str) -> dict[str, Any]:
    try:
        facts = json.loads((root / "releases" / release / "release.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    return {"version": str(facts.get("source") or ""), "migrations": facts.get("migrations")}


def _environment(service: Mapping[str, Any]) -> dict[str, str]:
    try:
        return env_file.parse_env_file(Path(service["env_file"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def folders_of(service: Mapping[str, Any], root: Path, mounts: str = "/proc/self/mountinfo") -> list[dict[str, Any]]:
    """Return the folders that the app may write to: its ``shared``, and those that were declared."""
    text = service["units"].get(f"webstack-{service['name']}@.service", "")
    paths = [str(root / "shared")]
    for line in re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE):
        for word in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^\s"])+', line):
            path = re.sub(r'\\(.)|"', r"\1", word).replace("%%", "%").lstrip("-+")
            paths.append(path.rstrip("/"))
    # What lies in another one comes with it.
    paths = [path for path in dict.fromkeys(paths) if os.path.isdir(path) and not f"{path}/".startswith(_MOMENTARY)
             and not any(path.startswith(f"{other}/") for other in paths)]
    kinds = _mounts(mounts)
    return [{"path": path, "network": _kind(path, kinds) in _NETWORK} for path in paths]


def _mounts(table: str) -> dict[str, str]:
    kinds = {}
    with contextlib.suppress(OSError):
        for line in Path(table).read_text(encoding="utf-8", errors="replace").splitlines():
            before, _dash, after = line.partition(" - ")
            kinds[before.split()[4].replace("\\040", " ")] = after.split()[0]
    return kinds


def _kind(path: str, kinds: Mapping[str, str]) -> str:
    best = max((mount for mount in kinds if path == mount or path.startswith(mount.rstrip("/") + "/")), key=len,
               default="")
    return kinds.get(best, "")


def databases_of(env: Mapping[str, str]) -> list[dict[str, str]]:
    """Return name and host of the PostgreSQL databases that an environment names by a URL; nothing secret of them."""
    found = []
    for value in env.values():
        if not re.match(r"postgres(ql)?(\+\w+)?://", value):
            continue
        try:
            parts = urlsplit(value)
            host = parts.hostname or ""
        except ValueError:
            continue
        option = re.search(r"(?:^|&)host=([^&]*)", parts.query)
        host = unquote(option[1]) if option else host
        item = {"name": unquote(parts.path[1:]), "host": "" if host.startswith("/") else host}
        if item["name"] and item not in found:
            found.append(item)
    return found


def own_databases(wanted: Sequence[Mapping[str, Any]], local: Sequence[str]) -> list[str]:
    """Return those of the ``wanted`` databases that this host's PostgreSQL has; ``local`` apps run on this host too."""
    if not wanted or not Path("/etc/postgresql").is_dir():
        return []
    try:
        server = postgresql.Server([], "")
        there = set(server._psql("SELECT datname FROM pg_database WHERE NOT datistemplate").split())
    except postgresql.DatabaseError:
        return []
    found = []
    for item in wanted:
        near = item["host"] in ("", "localhost", "127.0.0.1", "::1")
        here = item.get("guess") or (item["app"] in local if near else _is_me(item["host"]))
        if here and item["name"] in there:
            found.append(item["name"])
    return list(dict.fromkeys(found))


def _is_me(host: str) -> bool:
    import socket

    with contextlib.suppress(OSError):
        for family, kind, protocol, _name, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe, contextlib.suppress(OSError):
                probe.bind(address)
                return True
    return False


# -- as the app's user -----------------------------------------------------------------------------------------------


def as_user(user: str, do: Callable[[], Any]) -> Any:
    """Return what ``do()`` returns, called in a process of the app's own user; raises DataError."""
    try:
        who = pwd.getpwnam(user)
    except KeyError:
        raise DataError(f"there is no user {user!r} on this host. Deploy the app first.") from None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, Any] = {}
        try:
            os.close(reader)
            if os.geteuid() == 0:
                # The window's group, so that what nginx reads stays readable for it.
                os.setgroups([group for group in _window() if group != who.pw_gid])
                os.setgid(who.pw_gid)
                os.setuid(who.pw_uid)
            os.umask(0o027)
            answer = {"value": do()}
        except DataError as error:
            answer = {"error": str(error)}
        except OSError as error:
            answer = {"error": f"{error.strerror}: {error.filename}"}
        except BaseException:
            answer = {"error": traceback.format_exc(limit=-3)}
        finally:
            with contextlib.suppress(OSError), os.fdopen(writer, "w") as stream:
                json.dump(answer, stream)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(said or '{"error": "the process ended by itself"}')
    if "error" in answer:
        raise DataError(answer["error"])
    return answer["value"]


def _window() -> list[int]:
    import grp

    try:
        return [grp.getgrnam(_WINDOW).gr_gid]
    except KeyError:
        return []


# -- packing ---------------------------------------------------------------------------------------------------------


class _Whole:
    """A file that grows or shrinks while it is read still has the size that the archive says."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        return data + bytes(size - len(data))


def pack_folders(user: str, folders: Sequence[str], target: BinaryIO) -> dict[str, int]:
    """Pack ``folders`` into ``target``, each below its number; return the numbers of files and bytes."""
    def do() -> dict[str, int]:
        count = {"files": 0, "bytes": 0}
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as packed, \
                tarfile.open(fileobj=packed, mode="w|") as archive:
            for number, folder in enumerate(folders):
                for path, name in _walk(folder):
                    _add(archive, path, f"{number}/{name}", count)
        target.flush()
        return count

    return as_user(user, do)


def _walk(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (path, name inside the folder) of all in it, folders first; links are not followed."""
    def fail(error: OSError) -> None:
        raise error

    for place, names, files in os.walk(folder, onerror=fail):
        inside = os.path.relpath(place, folder)
        if inside == ".":
            names[:] = [name for name in names if name not in _RESERVED]
        for name in sorted([*names, *files]):
            if name.endswith(("-wal", "-shm", "-journal")) and _is_sqlite(os.path.join(place, name.rpartition("-")[0])):
                continue  # what it has is in the copy of the database
            yield os.path.join(place, name), os.path.normpath(os.path.join(inside, name))


def _add(archive: tarfile.TarFile, path: str, name: str, count: dict[str, int]) -> None:
    try:
        status = os.lstat(path)
        info = archive.gettarinfo(path, name)
    except FileNotFoundError:
        return  # gone since the folder was read
    if info is None or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        return  # sockets and pipes belong to processes, not to the data
    info.uname = info.gname = ""
    if not info.isreg():
        archive.addfile(info)
        return
    count["files"] += 1
    count["bytes"] += status.st_size
    if _is_sqlite(path):
        _add_sqlite(archive, path, info)
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as stream:
        archive.addfile(info, _Whole(stream))  # type: ignore[arg-type]


def _is_sqlite(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return stream.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _add_sqlite(archive: tarfile.TarFile, path: str, info: tarfile.TarInfo) -> None:
    """Add a copy of an SQLite database as it is at one moment, whoever writes to it meanwhile."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        copy = os.path.join(folder, "copy")
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=60)) as source, \
                    contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            raise DataError(f"{path} cannot be copied: {error}") from None
        info.size = os.stat(copy).st_size
        with open(copy, "rb") as stream:
            archive.addfile(info, stream)


def dump(name: str, target: BinaryIO) -> None:
    """Write the database in pg_dump's own format, which is compressed and can be put back in one transaction."""
    _pg(["pg_dump", "--format=custom", "--no-password", f"--dbname={name}"], f"the database {name}", stdout=target)


def _pg(words: list[str], what: str, **streams: Any) -> None:
    user = pwd.getpwnam(postgresql.ADMIN)
    version = postgresql.Server([], "").version
    done = subprocess.run([words[0], "--cluster", f"{version}/{postgresql.CLUSTER}", *words[1:]], check=False,
                          stderr=subprocess.PIPE, timeout=_LONG, cwd="/", user=user.pw_uid, group=user.pw_gid,
                          extra_groups=[], env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, **streams)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-8:]
        raise DataError("\n    ".join([f"{words[0]} failed with {what}:", *said]))


def pack(parts: Sequence[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Make the ``parts`` below ``folder``; return them with `file`, `size` and `sha256`."""
    owner = os.stat(folder)  # who logs in: he fetches the files
    done = []
    for number, part in enumerate(parts):
        path = os.path.join(folder, f"part-{number}")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w+b") as target:
            facts: dict[str, Any] = {}
            try:
                if part["kind"] == "database":
                    dump(part["name"], target)
                else:
                    facts = pack_folders(part["user"], part["folders"], target)
            except DataError as error:
                raise DataError(f"{part['app']}: {error}") from None
            target.seek(0)
            digest = hashlib.sha256()
            while block := target.read(1 << 20):
                digest.update(block)
            os.fchown(target.fileno(), owner.st_uid, owner.st_gid)
            done.append({**part, **facts, "file": path, "size": target.tell(), "sha256": digest.hexdigest()})
    return done


# -- putting back: beside the old data -------------------------------------------------------------------------------


def check_part(part: Mapping[str, Any]) -> None:
    """See that what came is what was packed, and that it can be read."""
    digest = hashlib.sha256()
    with open(part["file"], "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != part["sha256"]:
        raise DataError(f"{part['app']}: a part of the backup was damaged on its way. Run again.")


def unpack(part: Mapping[str, Any]) -> None:
    """Put the part beside what is in use: a database of its own, or a folder in each of the folders."""
    check_part(part)
    try:
        if part["kind"] == "database":
            _unpack_database(part["name"], part["file"])
        else:
            _unpack_folders(part)
    except (DataError, postgresql.DatabaseError) as error:
        raise DataError(f"{part['app']}: {error}") from None


def spare(name: str, what: str) -> str:
    """Return the name of the database beside another one: ``restore`` or ``before``."""
    return f"{name[:54]}_{what}"


def _unpack_database(name: str, path: str) -> None:
    server = postgresql.Server([], "")
    new = _plain(spare(name, "restore"))
    question = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database"
    found = server._psql(f"{question} WHERE datname = '{_plain(name)}'").strip()
    if not found:
        raise DataError(f"there is no database {name} on this host. Run site.yml first, which makes it.")
    owner, encoding, collate, ctype = map(_plain, found.split("|"))
    server._psql(f"""
DROP DATABASE IF EXISTS "{new}" WITH (FORCE);
CREATE DATABASE "{new}" OWNER "{owner}" TEMPLATE template0 ENCODING '{encoding}'
  LC_COLLATE '{collate}' LC_CTYPE '{ctype}';
REVOKE ALL ON DATABASE "{new}" FROM PUBLIC;
""")
    try:
        with open(path, "rb") as source:
            _pg(["pg_restore", "--no-password", "--exit-on-error", "--single-transaction", f"--dbname={new}"],
                f"the database {name}", stdin=source)
    except DataError:
        server._psql(f'DROP DATABASE IF EXISTS "{new}" WITH (FORCE);')
        raise


def _plain(name: str) -> str:
    if '"' in name or "'" in name or "\\" in name:
        raise DataError(f"the name {name!r} has a quote in it. Give the database a plain name.")
    return name


def _unpack_folders(part: Mapping[str, Any]) -> None:
    def do() -> None:
        for folder in part["folders"]:
            _settle(folder)
            shutil.rmtree(os.path.join(folder, NEW), ignore_errors=True)
            os.mkdir(os.path.join(folder, NEW), 0o700)
            free = os.statvfs(folder)
            if part["bytes"] > free.f_bavail * free.f_frsize:
                raise DataError(f"{folder} has {free.f_bavail * free.f_frsize >> 20} MB left, and the backup needs "
                                f"{part['bytes'] >> 20} MB beside what is there.")
        dirs = []
        with tarfile.open(fileobj=handle, mode="r|gz") as archive:
            for info in archive:
                number, _slash, name = info.name.partition("/")
                parts = PurePosixPath(name).parts
                if not number.isdigit() or int(number) >= len(part["folders"]) or ".." in parts or name.startswith("/"):
                    raise DataError(f"the backup names a file {info.name!r}, which no folder of the app has.")
                base = os.path.join(part["folders"][int(number)], NEW)
                if info.islnk():
                    info.linkname = _inside(info.linkname, number)
                info.name = name
                _extract(archive, info, base)
                if info.isdir():
                    dirs.append((os.path.join(base, name), info.mtime))
        for path, mtime in reversed(dirs):
            os.utime(path, (mtime, mtime))

    with open(part["file"], "rb") as handle:  # as root: the app's user may not
        as_user(part["user"], do)


def _settle(folder: str) -> None:
    """Take back a change of places that was cut off."""
    leaving = os.path.join(folder, _LEAVING)
    if not os.path.isdir(leaving):
        return
    for name in os.listdir(leaving):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        os.rename(os.path.join(leaving, name), path)
    os.rmdir(leaving)


def _inside(name: str, number: str) -> str:
    own, _slash, rest = name.partition("/")
    if own != number:
        raise DataError(f"the backup has a link to {name!r}, in another folder.")
    return rest


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo, base: str) -> None:
    path = os.path.join(base, info.name)
    if info.issym():
        os.symlink(info.linkname, path)
        return
    if info.islnk():
        os.link(os.path.join(base, info.linkname), path, follow_symlinks=False)
        return
    if info.isdir():
        os.makedirs(path, exist_ok=True)
    else:
        with open(path, "xb") as target:
            shutil.copyfileobj(archive.extractfile(info), target, 1 << 20)  # type: ignore[arg-type]
    if info.gid in _window():
        os.chown(path, -1, info.gid)
    os.chmod(path, info.mode & 0o7777)
    os.utime(path, (info.mtime, info.mtime))


# -- putting back: changing places -----------------------------------------------------------------------------------


def units_of(name: str, root: str, systemd: Systemd) -> list[str]:
    """Return the units of the app that run now, those that let clients in first."""
    state = record.read(Path(root, "apps", name, "record.json"), name)
    service = _stored(name, state["live"]) or {"units": {}}
    stems = {unit.removesuffix("@.service") for unit in service["units"] if unit.endswith("@.service")}
    plain = {unit for unit in service["units"] if not unit.endswith("@.service")}
    shown = systemd.show(f"webstack-{name}*")
    running = [unit for unit, properties in shown.items() if properties.get("ActiveState") in (
        "active", "activating", "reloading", "deactivating") and (unit in plain or unit.partition("@")[0] in stems)]
    return sorted(running, key=lambda unit: (not unit.endswith((".socket", ".timer", "-http.service")), unit))


def stop(name: str, root: str, systemd: Systemd) -> list[str]:
    """Stop all processes of the app, which finish what they do; return what has to be started again."""
    # With what a run that was killed has stopped.
    running = list(dict.fromkeys([*_stopped(name, root), *units_of(name, root, systemd)]))
    # What a timer has started is not begun again: its next time comes.
    again = [unit for unit in running if not Path(_UNITS, f"{unit.partition('@')[0]}.timer").exists()]
    if running:
        write_file(Path(root, "apps", name, _STOPPED), json.dumps(again) + "\n", 0o644)
        done = systemd.run("stop", *running, timeout=600)
        if done.returncode:
            raise DataError(f"{name}: cannot be stopped: {done.stderr.strip()}")
    return again


def _stopped(name: str, root: str) -> list[str]:
    try:
        return list(json.loads(Path(root, "apps", name, _STOPPED).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def swap(part: Mapping[str, Any]) -> None:
    """Let what was unpacked and what was in use change places. Only while the app is stopped."""
    try:
        if part["kind"] == "database":
            _swap_database(part["name"])
        else:
            as_user(part["user"], lambda: [_swap_folder(folder) for folder in part["folders"]] and None)
    except (DataError, postgresql.DatabaseError) as error:
        raise DataError(f"{part['app']}: {error}") from None


def _swap_database(name: str) -> None:
    name = _plain(name)
    new, old = spare(name, "restore"), spare(name, "before")
    server = postgresql.Server([], "")
    there = server._psql(f"SELECT datname FROM pg_database WHERE datname = '{new}'").strip()  # noqa: S608
    if not there:
        raise DataError(f"the database {new} is gone. Run the restore again.")
    server._psql(f'DROP DATABASE IF EXISTS "{old}" WITH (FORCE);')
    for attempt in range(5):
        try:
            server._psql(f"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN ('{name}', '{new}');
BEGIN;
ALTER DATABASE "{name}" RENAME TO "{old}";
ALTER DATABASE "{new}" RENAME TO "{name}";
COMMIT;
""")  # noqa: S608
            return
        except postgresql.DatabaseError:
            if attempt == 4:  # somebody connects again and again
                raise


def _swap_folder(folder: str) -> None:
    new, leaving, old = (os.path.join(folder, name) for name in (NEW, _LEAVING, OLD))
    if not os.path.isdir(new):
        raise DataError(f"{new} is gone. Run the restore again.")
    os.mkdir(leaving, 0o700)
    for name in os.listdir(folder):
        if name not in _RESERVED:
            os.rename(os.path.join(folder, name), os.path.join(leaving, name))
    for name in os.listdir(new):
        os.rename(os.path.join(new, name), os.path.join(folder, name))
    shutil.rmtree(old, ignore_errors=True)
    os.rename(leaving, old)
    os.rmdir(new)


def start(name: str, root: str, systemd: Systemd) -> None:
    """Start what was stopped, and see that the app answers."""
    state = record.read(Path(root, "apps", name, "record.json"), name)
    service = _stored(name, state["live"])
    for unit in _stopped(name, root):
        if not systemd.start(unit):
            shown = systemd.show(unit).get(unit, {})
            raise DataError(f"{name}: {unit} does not start again. It says:\n"
                            f"{systemd.journal(shown.get('InvocationID', ''), unit)}")
    Path(root, "apps", name, _STOPPED).unlink(missing_ok=True)
    if not service or not service["listen"]:
        return
    health, problem = service["health"], ""
    deadline = time.monotonic() + health["timeout"] + 20
    while time.monotonic() < deadline:
        try:
            status, _body = unix_client.request(service["listen"][0], service["protocol"], health["path"],
                                                health["host"], health["https"], health["timeout"])
            if status in health["status"]:
                return
            problem = f"answers {status}"
        except unix_client.NoAnswer as error:
            problem = str(error)
        time.sleep(0.5)
    raise DataError(f"{name}: {health['path']} {problem}, with the data of the backup. The data of before is in "
                    f"{OLD} of each folder, and in the database NAME_before.")
