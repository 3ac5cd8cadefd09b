# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release folders of Python apps: whole or made again, and pruned without touching what is needed."""

from __future__ import annotations

import io
import json
import os
import pwd
import tarfile

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import python_release as logic

STATUS = """\
Package: nginx
Status: install ok installed
Version: 1.26.3-3
Provides: httpd, httpd-cgi, nginx-abi-1.26.3-1 (= 1.26.3-3)
Description: small, powerful, scalable web/proxy server
 Package: decoy

Package: libpq5
Status: install ok installed
Multi-Arch: same

Package: gcc
Status: deinstall ok config-files
Provides: c-compiler

Package: half
Status: install ok half-configured

Package: python3-dev
Status: hold ok installed

Package: last
Status: install ok installed
Provides: final
"""


@pytest.mark.parametrize("wanted, missing", [
    ([], []),
    (["nginx", "libpq5"], []),
    (["httpd"], []),
    (["nginx-abi-1.26.3-1"], []),
    (["nginx=1.26.3-3", "libpq5:amd64"], []),
    (["python3-dev"], []),  # apt-mark hold
    (["final", "last"], []),
    (["gcc"], ["gcc"]),  # removed, only its configuration is there
    (["c-compiler"], ["c-compiler"]),
    (["half"], ["half"]),
    (["decoy", "ngin", "small", "libpq5=1"], ["decoy", "ngin", "small"]),
    (["zsh", "bash", "zsh"], ["bash", "zsh"]),
])
def test_missing_packages(tmp_path, wanted, missing):
    status = tmp_path / "status"
    status.write_text(STATUS)
    assert logic.missing_packages(wanted, status) == missing


@pytest.mark.parametrize("apps, packages", [
    ([], []),
    ([("python3", [])], ["ca-certificates", "python3-venv"]),
    ([("python3.13", ["libpq5"]), ("python3", ["libpq5", "gcc"])],
     ["ca-certificates", "gcc", "libpq5", "python3-venv", "python3.13-venv"]),
    ([("pypy3", ["pypy3"])], ["ca-certificates", "pypy3", "pypy3-venv", "python3-venv"]),
    ([("/usr/bin/python3.13", [])], ["ca-certificates", "python3-venv", "python3.13-venv"]),
    ([("/opt/python/bin/python3.14", [])], ["ca-certificates", "python3-venv"]),  # none of Debian's
])
def test_packages_of(apps, packages):
    assert logic.packages_of([{"python": python, "packages": more} for python, more in apps]) == packages


# -- one release ---------------------------------------------------------------------------------------------------


@pytest.fixture
def me(monkeypatch, tmp_path):
    """The app's user is who runs the tests; owners are left alone, and no environment is made."""
    user = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(logic.pwd, "getpwnam", lambda _name: user)
    monkeypatch.setattr(logic, "make_environment", lambda app, folder, user: ([], "basis"))
    monkeypatch.setattr(logic, "give_to_root", lambda folder, gid: None)
    monkeypatch.setattr(logic, "ETC", tmp_path / "etc")
    if os.geteuid():
        monkeypatch.setattr(logic.Release, "environment_is_written", lambda self: self.env_file.is_file())
    return user


def app(tmp_path, **more):
    return {"name": "shop", "origin": "flask_apps[0]", "framework": "flask", "user": "ws-shop", "release": "1f0c",
            "root": str(tmp_path / "shop"), "label": "main 1f0c", "files": {"webstack/a.py": "x = 1"},
            "env": {"PASSWORD": "horse"}, "directory": "", **more}


def archive(tmp_path, files):
    path = tmp_path / "source.tar.gz"
    with tarfile.open(path, "w:gz") as target:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            target.addfile(info, io.BytesIO(text.encode()))
    return str(path)


def test_a_release_has_these_files(tmp_path, me):
    release = logic.Release(app(tmp_path))
    assert not release.complete()
    logic.build(release, archive(tmp_path, {"shop.py": "y = 2"}))
    assert release.complete()
    assert sorted(os.listdir(release.folder)) == ["release.json", "source", "venv", "webstack"]
    assert (release.folder / "webstack" / "a.py").read_text() == "x = 1"
    assert (release.folder / "source" / "shop.py").read_text() == "y = 2"
    assert release.env_file == tmp_path / "etc" / "shop" / "1f0c" / "env"
    assert release.env_file.stat().st_mode & 0o777 == 0o600


def test_release_json_has_these_keys(tmp_path, me):
    release = logic.Release(app(tmp_path))
    logic.build(release, "")
    text = (release.folder / "release.json").read_text()
    record = json.loads(text)
    built = record["steps"].pop("built")
    assert record == {"schema": 1, "app": "shop", "release": "1f0c", "source": "main 1f0c", "framework": "flask",
                      "source_id": "", "commit": "", "unpinned": [], "environment": "basis", "steps": {}}
    assert len(built) == len("2026-01-01T00:00:00Z")
    assert "horse" not in text


@pytest.mark.parametrize("text", [None, "", "{", "[]x", '{"schema": 0}', '{"release": "1f0c"}'])
def test_what_a_killed_run_left_is_made_again(tmp_path, me, text):
    release = logic.Release(app(tmp_path))
    logic.build(release, archive(tmp_path, {"shop.py": ""}))
    (release.folder / "source" / "stale.py").write_text("")
    if text is None:
        (release.folder / "release.json").unlink()
    else:
        (release.folder / "release.json").write_text(text)
    assert release.record == {}
    assert not release.complete()
    logic.build(release, archive(tmp_path, {"shop.py": ""}))
    assert release.complete()
    assert os.listdir(release.folder / "source") == ["shop.py"]


@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(),
    pytest.param(lambda path: path.write_text("PASSWORD=\"other\"\n"), marks=pytest.mark.skipif(
        os.geteuid() != 0, reason="the file's owner is looked at")),
    pytest.param(lambda path: path.chmod(0o644), marks=pytest.mark.skipif(
        os.geteuid() != 0, reason="the file's owner is looked at")),
])
def test_without_its_environment_a_release_is_not_whole(tmp_path, me, damage):
    release = logic.Release(app(tmp_path))
    logic.build(release, "")
    damage(release.env_file)
    assert release.record
    assert not release.complete()
    logic.write_environment(release)
    assert release.complete()


def test_a_build_that_fails_leaves_nothing(tmp_path, me, monkeypatch):
    release = logic.Release(app(tmp_path))

    def fail(*_arguments):
        raise logic.ReleaseError("flask_apps[0].requirements", "They cannot be installed.")
    monkeypatch.setattr(logic, "make_environment", fail)
    with pytest.raises(logic.ReleaseError, match=r"^flask_apps\[0\].requirements: They cannot"):
        logic.build(release, archive(tmp_path, {"shop.py": ""}))
    assert not release.folder.exists()
    assert not release.env_file.exists()


@pytest.mark.parametrize("files, more, words", [
    (None, {}, "flask_apps[0].source: cannot be unpacked"),
    ({"a.py": ""}, {"directory": "api"}, "flask_apps[0].directory: the source has no folder 'api'."),
])
def test_a_bad_source(tmp_path, me, files, more, words):
    path = archive(tmp_path, files or {})
    if files is None:
        (tmp_path / "source.tar.gz").write_bytes(b"no archive")
    release = logic.Release(app(tmp_path, **more))
    with pytest.raises(logic.ReleaseError) as caught:
        logic.build(release, path)
    assert str(caught.value).startswith(words)
    assert not release.folder.exists()


def test_steps_are_noted_one_by_one(tmp_path, me):
    release = logic.Release(app(tmp_path))
    logic.build(release, "")
    release.mark("checked")
    assert sorted(release.record["steps"]) == ["built", "checked"]


# -- pruning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, live, previous, keep, removed", [
    ("e", "e", "d", 5, ""),
    ("e", "e", "d", 3, "ab"),
    ("e", "e", "d", 2, "abc"),
    ("e", "e", "d", 0, "abc"),
    ("e", "a", "b", 2, "cd"),  # the new one is not live yet
    ("e", "b", "a", 3, "cd"),
    ("c", "c", "e", 3, "ab"),  # after a way back
    ("e", None, None, 2, "abc"),  # no record yet
    ("a", "a", None, 1, "bcde"),
])
def test_the_oldest_go_but_never_the_live_ones(tmp_path, monkeypatch, wanted, live, previous, keep, removed):
    monkeypatch.setattr(logic, "ETC", tmp_path / "etc")
    root = tmp_path / "shop"
    for number, name in enumerate("abcde"):
        folder = root / "releases" / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(json.dumps(
            {"schema": 1, "steps": {"built": f"2026-01-0{number + 1}T00:00:00Z"}}))
        os.utime(folder, (9 - number, 9 - number))  # the folder's own time says the opposite
        (tmp_path / "etc" / "shop" / name).mkdir(parents=True)
    if live:
        (root / "record.json").write_text(json.dumps({"live": live, "previous": previous}))
    record = app(tmp_path, release=wanted)
    assert sorted(logic.prune(record, keep)) == list(removed)
    left = sorted(set("abcde") - set(removed))
    assert sorted(os.listdir(root / "releases")) == left
    assert sorted(os.listdir(tmp_path / "etc" / "shop")) == left
    assert logic.prune(record, keep) == []


def test_what_is_not_whole_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(logic, "ETC", tmp_path / "etc")
    for name in "abc":
        (tmp_path / "shop" / "releases" / name).mkdir(parents=True)
    (tmp_path / "shop" / "releases" / "a" / "release.json").write_text('{"steps": {"built": "2026"}}')
    assert logic.prune(app(tmp_path, release="c"), 2) == ["b"]


def test_a_live_release_that_lost_its_record_is_not_made_again(me, tmp_path):
    """It serves: its folder must not be taken away under it."""
    release = logic.Release(app(tmp_path, framework="django"))
    for path in ("venv/bin/python", "source/a.py", "static/a.css"):
        (release.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (release.folder / path).write_text(path, encoding="utf-8")
    (tmp_path / "shop" / "record.json").write_text('{"live": "1f0c", "previous": null}', encoding="utf-8")
    logic.build(release, "/no/archive/is/looked/at")
    assert (release.folder / "source" / "a.py").read_text(encoding="utf-8") == "source/a.py"
    assert release.complete()
    assert release.record["steps"].keys() == {"built", "checked", "static"}


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path):
    """An app owns its shared folder, and could lead root anywhere from there."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "media").symlink_to("elsewhere")
    with pytest.raises(logic.ReleaseError, match="is no folder"):
        logic.make_folder(tmp_path / "media", os.getuid(), os.getgid(), 0o755)
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o700


def test_the_records_of_all_apps_of_the_host(tmp_path):
    for name, held in (("shop", {"release": "b"}), ("blog", None)):
        found = {"schema": 1, "app": name, "live": "a", "previous": None, "history": [], "held": held}
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(json.dumps(found))
    assert logic.records([{"root": str(tmp_path / "shop")}, {"root": str(tmp_path / "new")}]) == {
        "shop": {"live": "a", "held": {"release": "b"}}, "blog": {"live": "a", "held": None}}
    assert logic.records([]) == {}
