# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release was served with is enough to go back to it; where it listens is today's."""

from __future__ import annotations

import json

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock, record, rollback, service

ONE = {"who": "ann@desk", "controller": "boot 1", "pid": 10, "started": "100"}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with the releases `aaa` and `bbb` of `shop`, of which `bbb` is live."""
    monkeypatch.setattr(service, "CONFIG", tmp_path / "etc")
    monkeypatch.setattr(service.Systemd, "show", lambda self, *units: {
        unit: {"Id": unit, "ActiveState": "active"} for unit in units})
    for release, more in (("aaa", {"listen": ["/run/old.sock"], "health": {"watch": 30}}), ("bbb", {})):
        serve(tmp_path, release, **more)
        folder = tmp_path / "srv/apps/shop/releases" / release
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(json.dumps({
            "release": release, "source": f"v{release}", "steps": {"built": "1", "migrated": "2"},
            "migrations": ["app.0001"] + (["app.0002"] if release == "bbb" else [])}))
    found = record.read(tmp_path / "none", "shop")
    for release in ("aaa", "bbb"):
        record.note(found, release, "live")
    record.note(found, "ccc", "failed", "no good")
    record.write(tmp_path / "srv/apps/shop/record.json", found)
    return tmp_path


def serve(top, release, **more):
    content = {"name": "shop", "release": release, "server": "gunicorn", "framework": "flask", "protocol": "http",
               "shared_socket": True, "listen": ["/run/webstack/shop.sock"], "allow": [], "public": {},
               "health": {"watch": 5}, "units": {
                   "webstack-shop@.service": f"[Service] of {release}",
                   "webstack-shop.socket": f"[Socket] of {release}\nService=webstack-shop@{release}.service\n"}, **more}
    folder = top / "etc/shop" / release
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.json").write_text(json.dumps(content))


def test_the_release_as_it_was_where_the_app_listens_today(host):
    item = rollback.wanted("shop", "aaa", "bbb")
    assert item["release"] == "aaa" and item["listen"] == ["/run/webstack/shop.sock"]
    assert item["units"]["webstack-shop@.service"] == "[Service] of aaa"
    assert "Service=webstack-shop@aaa.service" in item["units"]["webstack-shop.socket"]
    # What the next run of the inventory finds has to be what it wants.
    assert item["health"]["watch"] == 30


def test_a_release_without_its_record_cannot_be_gone_back_to(host):
    (host / "etc/shop/aaa/service.json").unlink()
    with pytest.raises(rollback.CannotGoBack, match=r"service\.json is missing"):
        rollback.wanted("shop", "aaa", "bbb")


def test_another_protocol_is_nginxs_business_too(host):
    serve(host, "aaa", protocol="uwsgi", server="uwsgi")
    with pytest.raises(rollback.CannotGoBack, match=r"served by uwsgi, and bbb is by gunicorn.*site\.yml"):
        rollback.wanted("shop", "aaa", "bbb")


def test_status(host):
    (host / "etc/shop/ccc").mkdir()
    (app,) = rollback.status(str(host / "srv"))["apps"]
    assert (app["live"], app["previous"], app["version"], app["state"]) == ("bbb", "aaa", "vbbb", "active")
    good = {item["release"]: (item["good"], item["failed"]) for item in app["releases"]}
    assert good == {"aaa": (True, ""), "bbb": (True, ""), "ccc": (False, "no good")}
    assert [item["migrations"] for item in app["releases"] if item["release"] == "ccc"] == [None]


def test_many_failures_do_not_take_the_way_back(host):
    path = host / "srv/apps/shop/record.json"
    found = record.read(path, "shop")
    for _ in range(60):
        record.note(found, "ccc", "failed", "no good")
    record.write(path, found)
    (app,) = rollback.status(str(host / "srv"))["apps"]
    assert {item["release"] for item in app["releases"] if item["good"]} == {"aaa", "bbb"}


def test_status_of_sites(host):
    site = host / "srv/vue/web"
    (site / ".webstack").mkdir(parents=True)
    for release, at in (("0a", "1"), ("0b", "2")):
        (site / ".webstack" / f"{release}.json").write_text(json.dumps({"at": at}))
    (site / "current").symlink_to("releases/0a")
    (found,) = rollback.status(str(host / "srv"))["vue"]
    assert found == {"name": "web", "live": "0a", "held": "", "releases": ["0b", "0a"]}
    for left, held in (("0b", "0b"), ("0a", "")):
        (site / ".webstack" / "held").write_text(left)
        assert rollback.status(str(host / "srv"))["vue"][0]["held"] == held


def test_migrations_that_are_taken_back_are_not_done_any_more(host):
    rollback.forget_migrations(str(host / "srv"), "shop", {"app.0002"})
    steps = {release: json.loads((host / "srv/apps/shop/releases" / release / "release.json").read_text())["steps"]
             for release in ("aaa", "bbb")}
    assert "migrated" in steps["aaa"] and "migrated" not in steps["bbb"]


def reversing(host):
    return record.read(host / "srv/apps/shop/record.json", "shop")["reversing"]


def test_migrations_that_could_not_all_be_taken_back_stay_noted(host, monkeypatch):
    monkeypatch.setattr(service, "_LOCK", host / "lock")
    todo = {"code": "bbb", "reverse": [["app", "0001"]], "gone": ["app.0002"]}
    calls = []

    def reverse(*words):
        assert reversing(host) == todo
        calls.append(words)
        if len(calls) == 1:
            raise rollback.ReleaseError("shop", "the table is locked")
        return ["done"]

    monkeypatch.setattr(rollback, "reverse", reverse)
    with pytest.raises(rollback.ReleaseError):
        rollback.take_back(str(host / "srv"), "shop", todo)
    assert reversing(host) == todo and rollback.status(str(host / "srv"))["apps"][0]["reversing"] == todo
    assert rollback.take_back(str(host / "srv"), "shop", todo) == ["done"]
    assert reversing(host) is None
    assert calls[0] == calls[1] == (str(host / "srv"), "shop", "bbb", [("app", "0001")], False)


def test_a_rollback_that_was_decided_on_another_release_is_refused(host, monkeypatch):
    monkeypatch.setattr(service, "_LOCK", host / "lock")
    before = (host / "srv/apps/shop/record.json").read_text()
    with pytest.raises(rollback.CannotGoBack, match=r"bbb has gone live, when it was ccc.*Nothing was changed"):
        rollback.go_back(str(host / "srv"), "shop", "aaa", 5, ONE, True, "ccc")
    assert (host / "srv/apps/shop/record.json").read_text() == before
    assert not (host / "srv/apps/shop/lock.json").exists()


@pytest.mark.parametrize("lock_it", [True, False])
def test_the_lock_is_given_back_by_who_took_it(host, monkeypatch, lock_it):
    monkeypatch.setattr(service, "_LOCK", host / "lock")
    deploy_lock.acquire(host / "srv/apps/shop", "shop", ONE)
    with pytest.raises(rollback.CannotGoBack):
        rollback.go_back(str(host / "srv"), "shop", "aaa", 5, ONE, lock_it, "ccc")
    assert (host / "srv/apps/shop/lock.json").exists() != lock_it


def test_what_was_being_taken_back_is_forgotten_when_it_is_to_be_left(host, monkeypatch):
    monkeypatch.setattr(service, "_LOCK", host / "lock")
    monkeypatch.setattr(service.Service, "observe", lambda self, state: [])
    todo = {"code": "bbb", "reverse": [["app", "0001"]], "gone": ["app.0002"]}
    for wanted in (todo, None):
        serve(host, "bbb", origin="shop", by_hand=False, root=str(host / "srv/apps/shop"))
        rollback.go_back(str(host / "srv"), "shop", "bbb", 5, ONE, True, "bbb", wanted)
        assert reversing(host) == wanted
