# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore without a host: folders and databases of an app, packing as it is written to, archives, places."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import app_data
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import backup

ME = getpass.getuser()
NOW = datetime.datetime(2026, 11, 22, 20, 30, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    monkeypatch.setattr(app_data, "_window", list)


# -- what belongs to an app ------------------------------------------------------------------------------------------

def test_folders_are_those_that_the_unit_may_write_to(tmp_path, monkeypatch):
    monkeypatch.setattr(app_data, "_MOMENTARY", ("/run/",))
    for name in ("shared/media", "more data", "net/uploads"):
        (tmp_path / name).mkdir(parents=True)
    unit = (f'ReadWritePaths=-{tmp_path}/shared\nReadWritePaths=-"{tmp_path}/more data"\n'
            f"ReadWritePaths=-{tmp_path}/shared/media -{tmp_path}/net/uploads\nReadWritePaths=-/run/shop\n"
            "ReadWritePaths=-/not/there\n")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {tmp_path}/net rw,relatime - nfs4 nas:/x rw\n")
    found = app_data.folders_of({"name": "shop", "units": {"webstack-shop@.service": unit}}, tmp_path, str(mounts))
    assert [(item["path"], item["network"]) for item in found] == [
        (f"{tmp_path}/shared", False), (f"{tmp_path}/more data", False), (f"{tmp_path}/net/uploads", True)]


@pytest.mark.parametrize(("env", "wanted"), [
    ({"DATABASE_URL": "postgres://shop:secret@127.0.0.1/shop"}, [("shop", "127.0.0.1")]),
    ({"A": "postgresql+psycopg://u:p%40@db.example.com:5433/my%2Dshop?sslmode=require"},
     [("my-shop", "db.example.com")]),
    ({"A": "postgres://u:p@/shop?host=/run/postgresql"}, [("shop", "")]),
    ({"A": "postgres://u:p@[::1]/shop", "B": "postgres://other:q@[::1]/shop"}, [("shop", "::1")]),
    ({"A": "sqlite:///db.sqlite3", "B": "redis://x/0", "C": "postgres://u:p@h/", "D": "see postgres://u@h/x"}, []),
    ({"A": "postgres://u:p@[broken/shop"}, []),
])
def test_databases_are_found_by_their_urls_without_secrets(env, wanted):
    found = app_data.databases_of(env)
    assert [(item["name"], item["host"]) for item in found] == wanted
    assert "secret" not in json.dumps(found)


# -- packing and putting back ----------------------------------------------------------------------------------------

def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name, mode = str(path.relative_to(folder)), f"{path.lstat().st_mode & 0o7777:o}"
        if path.is_fifo():
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = mode if path.is_dir() else (mode, path.read_bytes())
    return found


def pack(tmp_path: Path, folders: list[str]) -> dict:
    staging = tmp_path / "staging"
    staging.mkdir(exist_ok=True)
    for path in staging.iterdir():
        path.unlink()
    part = {"kind": "folders", "app": "shop", "user": ME, "folders": folders}
    return app_data.pack([part], str(staging))[0]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "shared"
    (folder / "media" / "2026").mkdir(parents=True)
    (folder / "media").chmod(0o2750)
    (folder / "media" / "2026" / "ü.png").write_bytes(b"\x89PNG" + bytes(100_000))
    (folder / "empty").mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "link").symlink_to("/etc/passwd")
    os.link(folder / "run.sh", folder / "again.sh")
    os.mkfifo(folder / "pipe")
    return folder


def test_what_was_packed_comes_back(tmp_path, data):
    part = pack(tmp_path, [str(data)])
    assert (part["files"], oct(os.stat(part["file"]).st_mode)[-3:]) == (2, "600")
    before = tree(data)
    shutil.rmtree(data / "media")
    (data / "run.sh").write_text("changed\n")
    (data / "newer").write_text("written after the backup\n")
    changed = tree(data)
    app_data.unpack(part)
    assert {k: v for k, v in tree(data).items() if not k.startswith(app_data.NEW)} == changed, "touched what is in use"
    app_data.swap(part)
    after = tree(data)
    assert {name: value for name, value in after.items() if not name.startswith(app_data.OLD)} == before
    assert after[f"{app_data.OLD}/newer"][1] == b"written after the backup\n"
    assert (data / "run.sh").stat().st_ino == (data / "again.sh").stat().st_ino
    # And again: what is kept of before is that of the last time.
    app_data.unpack(part)
    app_data.swap(part)
    assert not (data / app_data.OLD / "newer").exists() and not (data / app_data.NEW).exists()


def test_reserved_folders_and_other_apps_files_are_not_packed(tmp_path, data):
    (data / app_data.OLD).mkdir()
    (data / app_data.OLD / "old").write_text("x")
    with tarfile.open(pack(tmp_path, [str(data)])["file"]) as archive:
        names = archive.getnames()
    assert not [name for name in names if app_data.OLD in name or "pipe" in name or "passwd" in name]


def test_a_change_of_places_that_was_cut_off_is_taken_back(tmp_path, data, monkeypatch):
    part = pack(tmp_path, [str(data)])
    (data / "newer").write_text("x")
    app_data.unpack(part)
    before = {name: value for name, value in tree(data).items() if not name.startswith(app_data.NEW)}
    for most in range(30):
        left, rename = [most], os.rename

        def cut(source, target, left=left, rename=rename):
            if left[0] == 0:
                raise OSError(5, "cut off", str(source))
            left[0] -= 1
            rename(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(app_data.os, "rename", cut)
            with contextlib.suppress(app_data.DataError):
                app_data.swap(part)
                break
        app_data.unpack(part)
        now = {name: value for name, value in tree(data).items() if not name.startswith(app_data.NEW)}
        assert {name: now[name] for name in before} == before, most
    assert most > 5 and (data / app_data.OLD / "newer").exists()


def test_sqlite_is_copied_as_it_is_at_one_moment(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "db.sqlite3")) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE entries (text)")
        base.execute("INSERT INTO entries VALUES ('one')")
        base.commit()
        base.execute("INSERT INTO entries VALUES ('not committed')")
        assert (folder / "db.sqlite3-wal").stat().st_size
        part = pack(tmp_path, [str(folder)])
    with tarfile.open(part["file"]) as archive:
        assert archive.getnames() == ["0/db.sqlite3"]
        (tmp_path / "copy").write_bytes(archive.extractfile("0/db.sqlite3").read())
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("SELECT text FROM entries").fetchall() == [("one",)]


def test_a_file_that_shrinks_while_it_is_read_does_not_break_the_archive(tmp_path):
    class Short:
        def read(self, size):
            return b"abc"[:size]

    assert app_data._Whole(Short()).read(6) == b"abc\0\0\0"


@pytest.mark.parametrize("name", ["0/../../escape", "7/x", "x", "0//etc/x"])
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, data, name):
    part = pack(tmp_path, [str(data)])
    with tarfile.open(part["file"], "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    part["sha256"] = hashlib.sha256(Path(part["file"]).read_bytes()).hexdigest()
    with pytest.raises(app_data.DataError, match="which no folder of the app has"):
        app_data.unpack(part)


def test_a_damaged_part_and_a_full_disk_are_refused(tmp_path, data):
    part = pack(tmp_path, [str(data)])
    with pytest.raises(app_data.DataError, match="MB left, and the backup needs"):
        app_data.unpack({**part, "bytes": 1 << 60})
    with open(part["file"], "ab") as stream:
        stream.write(b"x")
    with pytest.raises(app_data.DataError, match="damaged"):
        app_data.unpack(part)


# -- archives --------------------------------------------------------------------------------------------------------

def app(**more):
    return {"app": "shop", "live": "aaa", "version": "v1", "user": "ws-shop", "migrations": ["e.0001"],
            "folders": [{"path": "/srv/webstack/apps/shop/shared", "network": False}],
            "databases": [{"name": "shop", "host": "127.0.0.1"}], **more}


STATES = {"app1": [app()], "app2": [app(), app(app="blog", databases=[])], "db1": []}


def test_what_is_packed_where():
    apps = backup.apps_of("", STATES)
    wanted = backup.databases_of(apps)
    assert [(item["app"], item["name"], item.get("guess", False)) for item in wanted] == [
        ("shop", "shop", False), ("blog", "blog", True)]
    parts, missing = backup.plan(apps, wanted, {"db1": ["shop"]})
    assert not missing and [part["kind"] for part in parts["db1"]] == ["database"]
    assert [part["app"] for part in parts["app2"]] == ["shop", "blog"]
    _parts, missing = backup.plan(apps, wanted, {})
    assert missing == ["shop: its database 'shop' is on no host of webstack_db, and is not in the backup."]


def test_a_folder_that_hosts_share_is_packed_once():
    folders = [{"path": "/mnt/uploads", "network": True}]
    apps = backup.apps_of("shop", {"app1": [app(folders=folders)], "app2": [app(folders=folders)]})
    parts, _missing = backup.plan(apps, [], {})
    assert list(parts) == ["app1"]


def test_an_unknown_app_is_named():
    with pytest.raises(backup.BackupError, match="Did you mean 'shop'"):
        backup.apps_of("shopp", STATES)


@pytest.fixture
def archive(tmp_path):
    files = tmp_path / "files"
    files.write_bytes(b"files")
    dump = tmp_path / "dump"
    dump.write_bytes(b"dump")
    parts = {"db1": [{"kind": "database", "app": "shop", "name": "shop", "file": str(dump), "size": 4,
                      "sha256": hashlib.sha256(b"dump").hexdigest()}],
             "app1": [{"kind": "folders", "app": "shop", "user": "ws-shop", "folders": [
                 "/srv/webstack/apps/shop/shared"], "files": 1, "bytes": 5, "file": str(files), "size": 5,
                 "sha256": hashlib.sha256(b"files").hexdigest()},
                 {"kind": "folders", "app": "blog", "file": "/nowhere"}]}
    return backup.write("shop", {"app1": app()}, parts, tmp_path / "backups", NOW)


def test_an_archive_is_private_and_whole(archive, tmp_path):
    assert archive.name == "shop-20261122T203000Z.tar" and oct(archive.stat().st_mode)[-3:] == "600"
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    out = tmp_path / "out"
    out.mkdir()
    manifest = backup.read(archive, "shop", out)
    assert manifest["hosts"] == {"app1": {"live": "aaa", "version": "v1", "migrations": ["e.0001"]}}
    assert [Path(part["file"]).read_bytes() for part in manifest["parts"]] == [b"dump", b"files"]
    assert "user" not in manifest["parts"][1]
    parts, said = backup.place(manifest, {"app1": app()}, False)
    assert not said and parts["app1"][0]["user"] == "ws-shop"
    wanted = backup.databases_of({"shop": {"app1": app()}})
    assert list(backup.place_databases(manifest, wanted, {"db1": ["shop"]})) == ["db1"]
    with pytest.raises(backup.BackupError, match="which no host of webstack_db has"):
        backup.place_databases(manifest, wanted, {})
    renamed = [{"app": "shop", "name": "shop2", "host": ""}]
    assert backup.place_databases(manifest, renamed, {"db1": ["shop2"]})["db1"][0]["name"] == "shop2"


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda path: path.write_bytes(path.read_bytes().replace(b"\0dump\0", b"\0damp\0")),
     "is damaged: databases/shop.dump"),
    (lambda path: path.write_bytes(path.read_bytes()[:1500]), "is no backup, or only a part"),
    (lambda path: path.write_text("hello"), "is no backup"),
    (lambda path: path.unlink(), "cannot be read: No such file"),
])
def test_a_bad_archive_is_refused(archive, tmp_path, spoil, words):
    spoil(archive)
    (tmp_path / "out").mkdir()
    with pytest.raises(backup.BackupError, match=words):
        backup.read(archive, "shop", tmp_path / "out")


def test_an_archive_of_another_app_is_refused(archive, tmp_path):
    with pytest.raises(backup.BackupError, match="is of the app 'shop', not of 'blog'"):
        backup.read(archive, "blog", tmp_path)


@pytest.mark.parametrize(("hosts", "words"), [
    ({"app1": app(live="bbb", version="v2", migrations=["e.0001", "e.0002"])}, r"differ in migrations: e.0002.*anyway"),
    ({"app7": app(), "app8": app()}, r"data of the host app1, and the app runs on app7, app8"),
    ({"app1": app(folders=[])}, "which is no folder of the app on app1 now"),
])
def test_a_backup_that_does_not_fit_is_refused(archive, tmp_path, hosts, words):
    (tmp_path / "out").mkdir()
    manifest = backup.read(archive, "shop", tmp_path / "out")
    with pytest.raises(backup.BackupError, match=words):
        backup.place(manifest, hosts, False)


@pytest.mark.parametrize(("hosts", "anyway", "said"), [
    ({"app9": app()}, False, 0),  # another host, the only one
    ({"app1": app(live="bbb", version="v2")}, False, 1),
    ({"app1": app(migrations=[])}, True, 0),
])
def test_a_backup_that_fits(archive, tmp_path, hosts, anyway, said):
    (tmp_path / "out").mkdir()
    parts, told = backup.place(backup.read(archive, "shop", tmp_path / "out"), hosts, anyway)
    assert list(parts) == list(hosts) and len(told) == said
