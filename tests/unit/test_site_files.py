# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Built sites and static files: switched by rename, and old pages still find their files."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import site_files
from ansible_collections.frontdesk.webstack.plugins.modules.site_files import why_held


@pytest.fixture(autouse=True)
def _root_or_not(monkeypatch):
    """Owners are for root to set; all else is done for real. And the clock goes on from call to call."""
    if os.geteuid():
        monkeypatch.setattr(site_files.os, "lchown", lambda *_arguments: None)
    ticks = iter(range(1000))
    monkeypatch.setattr(site_files.time, "strftime", lambda *_arguments: f"2026-01-01T00:00:{next(ticks):03d}Z")


def archive(tmp_path, files, name="site"):
    path = tmp_path / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as target:
        for member, text in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(text)
            target.addfile(info, io.BytesIO(text.encode()))
    return str(path)


def vue(tmp_path, release, **more):
    return {"name": "web", "origin": "vue_sites[0]", "root": str(tmp_path / "srv" / "vue" / "web"), "release": release,
            "settings": {}, "settings_file": "settings.json", **more}


def build(number):
    return {"index.html": f"page {number}", f"assets/app.{number}.js": str(number), "assets/same.js": "same"}


def put(tmp_path, release, files=None, keep=2, **more):
    site = vue(tmp_path, release, **more)
    site_files.put_vue(site, archive(tmp_path, build(release) if files is None else files), keep)
    return site


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
                  if ".webstack" not in path.parts)


def test_a_site_goes_live(tmp_path):
    site = vue(tmp_path, "1")
    assert not site_files.vue_is_live(site)
    put(tmp_path, "1")
    assert site_files.vue_is_live(site)
    root = tmp_path / "srv" / "vue" / "web"
    assert os.readlink(root / "current") == "releases/1"
    assert (root / "current" / "index.html").read_text() == "page 1"
    assert (root / "current" / "index.html").stat().st_mode & 0o777 == 0o644
    assert (root / "releases" / "1").stat().st_mode & 0o777 == 0o755
    assert tree(root / "assets") == ["app.1.js", "same.js"]
    assert not (root / "current" / "settings.json").exists()


def test_settings_are_a_file_of_the_release(tmp_path):
    put(tmp_path, "1", settings={"api": "/läden"}, settings_file="config/app.json")
    path = tmp_path / "srv" / "vue" / "web" / "current" / "config" / "app.json"
    assert json.loads(path.read_text()) == {"api": "/läden"}


@pytest.mark.parametrize("order, keep, releases, assets", [
    ("1", 2, "1", "1"),
    ("12", 2, "12", "12"),
    ("123", 2, "23", "23"),
    ("123", 1, "3", "3"),
    ("123", 0, "3", "3"),
    ("123", 9, "123", "123"),
    ("1231", 2, "13", "13"),  # back to an old one: made anew, for it had gone
    ("121", 2, "12", "12"),
    ("1213", 2, "13", "13"),  # the one that was live last stays, not the one that was made last
])
def test_assets_of_kept_releases_stay_and_others_go(tmp_path, order, keep, releases, assets):
    for release in order:
        site = put(tmp_path, release, keep=keep)
    root = tmp_path / "srv" / "vue" / "web"
    assert sorted(os.listdir(root / "releases")) == list(releases)
    assert tree(root / "assets") == [f"app.{release}.js" for release in assets] + ["same.js"]
    assert site_files.vue_is_live(site)
    assert sorted(path.stem for path in (root / ".webstack").glob("*.json")) == list(releases)


def test_the_live_release_stays_even_when_the_clock_goes_back(tmp_path, monkeypatch):
    ticks = iter(range(9, 0, -1))
    monkeypatch.setattr(site_files.time, "strftime", lambda *_arguments: f"2026-01-01T00:00:0{next(ticks)}Z")
    for release in "123":
        site = put(tmp_path, release, keep=1)
        assert site_files.vue_is_live(site)


@pytest.mark.parametrize("damage", [
    lambda root: (root / "current").unlink(),
    lambda root: (root / ".webstack" / "1.json").unlink(),
    lambda root: (root / ".webstack" / "1.json").write_text("{"),
    lambda root: (root / ".webstack" / "1.json").write_text('{"schema": 0}'),
    lambda root: (root / "assets" / "app.1.js").unlink(),
    lambda root: (root / "releases" / "1" / "index.html").unlink(),
])
def test_what_is_damaged_is_not_live(tmp_path, damage):
    site = put(tmp_path, "1")
    damage(tmp_path / "srv" / "vue" / "web")
    assert not site_files.vue_is_live(site)


def test_a_release_that_was_not_finished_is_made_again(tmp_path):
    put(tmp_path, "1")
    folder = tmp_path / "srv" / "vue" / "web" / "releases" / "2"
    folder.mkdir()
    (folder / "half.html").write_text("half")
    put(tmp_path, "2")
    assert tree(folder) == ["assets/app.2.js", "assets/same.js", "index.html"]


@pytest.mark.parametrize("files, words", [
    ({"app.js": ""}, "vue_sites[0].build.output: has no index.html"),
    (None, "vue_sites[0].dist: cannot be unpacked"),
    pytest.param(
        {"index.html": "", "../../evil": ""}, "vue_sites[0].dist: cannot be unpacked", marks=pytest.mark.skipif(
            not hasattr(tarfile, "data_filter"), reason="this Python does not look at what it unpacks")),
])
def test_a_bad_site_leaves_the_live_one(tmp_path, files, words):
    site = put(tmp_path, "1")
    path = archive(tmp_path, files or {}, "bad")
    if files is None:
        (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    before = tree(tmp_path / "srv")
    with pytest.raises(site_files.SiteError) as caught:
        site_files.put_vue(vue(tmp_path, "2"), path, 2)
    assert str(caught.value).startswith(words)
    assert tree(tmp_path / "srv") == before
    assert site_files.vue_is_live(site)


# -- static files --------------------------------------------------------------------------------------------------


def app(tmp_path, release):
    return {"name": "blog", "origin": "django_apps[0]", "root": str(tmp_path / "srv" / "apps" / "blog"),
            "release": release, "static_folder": str(tmp_path / "srv" / "static" / "blog")}


def put_static(tmp_path, release, remote, keep=2):
    record = app(tmp_path, release)
    files = {f"css/site.{release}.css": release, "css/site.css": f"newest {release}"}
    packed = archive(tmp_path, files)
    if not remote:
        folder = tmp_path / "srv" / "apps" / "blog" / "releases" / release / "static"
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed) as source:
            source.extractall(folder)  # noqa: S202 (made three lines above)
    site_files.put_static(record, packed if remote else "", keep)
    return record


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("order, kept", [("1", "1"), ("12", "12"), ("123", "23"), ("1231", "13")])
def test_static_files_lie_over_those_of_kept_releases(tmp_path, remote, order, kept):
    for release in order:
        record = put_static(tmp_path, release, remote)
    root = tmp_path / "srv" / "static" / "blog"
    assert tree(root) == [f"css/site.{release}.css" for release in kept] + ["css/site.css"]
    assert (root / "css" / "site.css").read_text() == f"newest {order[-1]}"
    assert site_files.static_is_live(record)
    assert not site_files.static_is_live(app(tmp_path, "9"))
    assert sorted(os.listdir(root / ".webstack")) == [*(f"{release}.json" for release in kept), "live"]


def test_a_static_file_that_is_gone_is_not_live(tmp_path):
    record = put_static(tmp_path, "1", True)
    (tmp_path / "srv" / "static" / "blog" / "css" / "site.1.css").unlink()
    assert not site_files.static_is_live(record)
    put_static(tmp_path, "1", True)
    assert site_files.static_is_live(record)


def test_without_the_apps_files(tmp_path):
    with pytest.raises(site_files.SiteError, match=r"^django_apps\[0\].static: .* the app's host has to be done first"):
        site_files.put_static(app(tmp_path, "1"), "", 2)


def test_a_file_is_replaced_by_rename_and_only_if_it_differs(tmp_path):
    put_static(tmp_path, "1", True)
    root = tmp_path / "srv" / "static" / "blog" / "css"
    before = {name: (root / name).stat().st_ino for name in ("site.css", "site.1.css")}
    put_static(tmp_path, "1", True)
    assert {name: (root / name).stat().st_ino for name in before} == before
    with open(root / "site.css") as reader:
        put_static(tmp_path, "2", True)
        assert reader.read() == "newest 1"  # who is reading it goes on with the old one


def test_releases_that_never_went_live_do_not_push_out_what_is_served(tmp_path):
    app = {"name": "shop", "origin": "django_apps[0]", "root": str(tmp_path / "srv/apps/shop"),
           "static_folder": str(tmp_path / "srv/static/shop")}
    for number in range(1, 7):
        path = archive(tmp_path, {f"app.{number}.css": "x"}, f"static{number}")
        site_files.put_static({**app, "release": str(number)}, path, 2, ["1"])
    assert tree(tmp_path / "srv/static/shop") == ["app.1.css", "app.5.css", "app.6.css"]
    site_files.put_static({**app, "release": "7"}, archive(tmp_path, {"app.7.css": "x"}, "static7"), 2, ["6"])
    assert tree(tmp_path / "srv/static/shop") == ["app.6.css", "app.7.css"]


def test_a_site_that_was_left_by_hand_stays_left(tmp_path):
    put(tmp_path, "1")
    second = put(tmp_path, "2")
    put(tmp_path, "1", asked="version")
    assert site_files.held(tmp_path / "srv/vue/web") == "2"
    assert site_files.vue_is_live(second), "the inventory brings it again"
    assert not site_files.vue_is_live({**second, "asked": "name"})
    assert "vue_sites[0]: release 2 is held back" in why_held({**second, "asked": ""})
    assert "went to release 1 " in why_held({**second, "asked": ""})
    assert not why_held({**second, "asked": "name"}) and not why_held(vue(tmp_path, "1", asked=""))
    put(tmp_path, "2", asked="name")
    assert site_files.held(tmp_path / "srv/vue/web") == ""
    put(tmp_path, "1", asked="version")
    site_files.let_go(vue(tmp_path, "1"))
    assert site_files.held(tmp_path / "srv/vue/web") == ""


def test_a_site_that_is_held_and_live_is_looked_at_all_the_same(tmp_path):
    site = put(tmp_path, "1")
    (tmp_path / "srv/vue/web/.webstack/held").write_text("1")  # a run was killed between the two
    (tmp_path / "srv/vue/web/assets/app.1.js").unlink()
    assert not site_files.vue_is_live(site)
