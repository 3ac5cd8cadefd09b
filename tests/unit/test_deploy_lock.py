# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy of an app at a time: who has the lock, and what becomes of one that a dead run has left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from ansible.errors import AnsibleError

from ansible_collections.frontdesk.webstack.plugins.filter.plan import shared_of
from ansible_collections.frontdesk.webstack.plugins.module_utils import deploy_lock as logic
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import held, run_lock

ONE = {"who": "ann@desk", "controller": "boot 1", "pid": 10, "started": "100"}
TWO = {"who": "bob@ci", "controller": "boot 2", "pid": 10, "started": "100"}


def test_the_second_run_is_told_who_is_at_it_and_since_when(tmp_path):
    assert logic.acquire(tmp_path, "shop", ONE) == ""
    with pytest.raises(logic.Busy) as caught:
        logic.acquire(tmp_path, "shop", TWO)
    for words in ("shop", "ann@desk", "since 20", "process 10", "webstack_break_lock=true", "Nothing was changed"):
        assert words in str(caught.value)
    assert caught.value.owner["who"] == "ann@desk"


def test_a_run_keeps_its_lock_and_gives_it_back(tmp_path):
    logic.acquire(tmp_path, "shop", ONE)
    since = json.loads((tmp_path / "lock.json").read_text())["since"]
    assert logic.acquire(tmp_path, "shop", ONE) == ""
    assert json.loads((tmp_path / "lock.json").read_text())["since"] == since
    logic.release(tmp_path, TWO)
    assert (tmp_path / "lock.json").exists(), "another run has given it back"
    logic.release(tmp_path, ONE)
    assert logic.acquire(tmp_path, "shop", TWO) == ""


@pytest.mark.parametrize("more", [{"break": True}, {"dead": [{**ONE, "who": "whoever"}]}])
def test_the_lock_of_a_dead_run_is_taken_over_and_it_is_said(tmp_path, more):
    logic.acquire(tmp_path, "shop", ONE)
    assert "ann@desk" in logic.acquire(tmp_path, "shop", {**TWO, **more})
    assert json.loads((tmp_path / "lock.json").read_text())["who"] == "bob@ci"


def test_a_lock_without_a_sign_of_life_is_taken_over(tmp_path):
    logic.acquire(tmp_path, "shop", ONE)
    owner = json.loads((tmp_path / "lock.json").read_text())
    (tmp_path / "lock.json").write_text(json.dumps({**owner, "beat": time.time() - logic.STALE + 60}))
    with pytest.raises(logic.Busy):
        logic.acquire(tmp_path, "shop", TWO)
    (tmp_path / "lock.json").write_text(json.dumps({**owner, "beat": time.time() - logic.STALE - 60}))
    assert "ann@desk" in logic.acquire(tmp_path, "shop", TWO)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_a_damaged_lock_is_no_lock(tmp_path, text):
    (tmp_path / "lock.json").write_text(text)
    assert logic.acquire(tmp_path, "shop", ONE) == ""


def test_all_locks_or_none(tmp_path):
    records = [{"name": name, "root": str(tmp_path / name)} for name in ("a", "b", "c")]
    logic.acquire(tmp_path / "b", "b", ONE)
    with pytest.raises(logic.Busy):
        logic.acquire_all(records, ["a", "b"], TWO)
    assert not (tmp_path / "a" / "lock.json").exists()
    assert logic.acquire_all(records, ["a", "c"], TWO) == []
    logic.release_all(records, TWO)
    assert not (tmp_path / "a" / "lock.json").exists() and (tmp_path / "b" / "lock.json").exists()


def test_no_run_no_lock(tmp_path):
    assert logic.acquire_all([{"name": "a", "root": str(tmp_path)}], ["a"], {}) == []
    assert not (tmp_path / "lock.json").exists()


def test_a_module_at_work_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(logic, "BEAT", 0.02)
    monkeypatch.setattr(logic, "_keeper", [])
    path = tmp_path / "lock.json"
    logic.acquire(tmp_path, "shop", ONE)
    since = {**json.loads(path.read_text()), "since": "noon"}

    def beats():
        path.write_text(json.dumps({**since, "beat": 1}))
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            owner = json.loads(path.read_text())
            if owner["beat"] > 1:
                return owner
            time.sleep(0.01)
        return None

    assert beats()["since"] == "noon"
    since["pid"] = 11  # taken over by another run
    assert beats() is None
    since["pid"] = ONE["pid"]
    logic.release(tmp_path, ONE)
    assert beats() is None, "it is kept after it was given back"


# -- the controller's half -------------------------------------------------------------------------------------------

def test_the_first_host_of_the_play_decides():
    records = [{"name": "a", "hosts": ["one", "two"]}, {"name": "b", "hosts": ["two"]}, {"name": "c"}]
    play = {"ansible_play_hosts_all": ["two", "one"]}
    assert run_lock.names_to_lock(records, {**play, "inventory_hostname": "one"}) == ["a", "c"]
    assert run_lock.names_to_lock(records, {**play, "inventory_hostname": "two"}) == ["b", "c"]
    limited = {"ansible_play_hosts_all": ["two"], "inventory_hostname": "two"}
    assert run_lock.names_to_lock(records, limited) == ["a", "b", "c"]


def test_what_one_step_on_one_host_cannot_give_back_is_shared():
    plan = {"hosts": {name: {"services": ["a", "b", "c"]} for name in ("one", "two")}, "services": {
        name: {"name": name, "root": f"/srv/{name}", "server": server, "hosts": hosts, "release": "new"}
        for name, server, hosts in (
            ("a", "gunicorn", ["one", "two"]), ("b", "gunicorn", ["two"]), ("c", "uwsgi", ["two", "one"]))}}
    a, c = {"name": "a", "root": "/srv/a"}, {"name": "c", "root": "/srv/c"}
    assert shared_of(plan, "one", "gunicorn", ["one", "two"], {}) == [a]
    assert shared_of(plan, "two", "gunicorn", ["one", "two"], {}) == []
    assert shared_of(plan, "two", "uwsgi", ["one", "two"], {}) == [c]
    # With a limit, one host does it all by itself.
    assert shared_of(plan, "one", "gunicorn", ["one"], {}) == []


@pytest.mark.parametrize("one, two, locked", [
    ("new", "new", False), ("new", "old", True), ("old", "new", True), ("new", None, True), (None, None, True),
])
def test_nothing_is_locked_where_nothing_is_to_switch(one, two, locked):
    item = {"name": "a", "root": "/srv/a", "server": "gunicorn", "hosts": ["one", "two"], "release": "new"}
    plan = {"hosts": {name: {"services": ["a"]} for name in ("one", "two")}, "services": {"a": item}}
    found = {host: {"a": {"live": live, "held": None}} if live else {} for host, live in (("one", one), ("two", two))}
    assert bool(shared_of(plan, "one", "gunicorn", ["one", "two"], found)) == locked


HELD = {"release": "new", "version": "v2", "at": "noon", "by": "ann@desk"}


@pytest.mark.parametrize(("mine", "more", "refused"), [
    (None, {}, True),
    ({"live": "old", "held": None}, {}, True),
    ({"live": "old", "held": HELD}, {}, False),  # it says so itself
    ({"live": "new", "held": None}, {}, False),
    (None, {"asked": "name"}, False),
    (None, {"release": "newer"}, False),
    (None, {"release": "old"}, False),
])
def test_what_is_held_on_one_host_is_not_given_to_another(mine, more, refused):
    record = {"name": "shop", "origin": "flask_apps[0]", "release": "new", "hosts": ["app1", "app2", "app3"], **more}
    variables = {"inventory_hostname": "app1", "ansible_play_hosts_all": ["app1", "app2"], "hostvars": {
        "app1": {"python_app_found": {"records": {"shop": mine} if mine else {}}},
        "app2": {"python_app_found": {"records": {"shop": {"live": "old", "held": HELD}}}}, "app3": {}}}
    if not refused:
        held.refuse([record], variables)
        return
    with pytest.raises(AnsibleError) as caught:
        held.refuse([record], variables)
    for word in ("flask_apps[0]: v2 is held back on app2 since noon", "ann@desk", "app1 came to the app later",
                 "-e app=shop"):
        assert word in str(caught.value)
    variables["hostvars"]["app2"] = {}
    held.refuse([record], variables)


class Templar:
    def template(self, value):
        return value


def test_a_run_is_a_process():
    mine = run_lock.this_run({}, Templar())
    assert mine["pid"] == os.getppid() and mine["started"] and mine["break"] is False
    assert run_lock._alive(mine)
    assert not run_lock._alive({**mine, "started": "1"}), "another process has the number now"
    assert run_lock.this_run({"webstack_break_lock": "true"}, Templar())["break"] is True


def test_a_dead_owner_of_this_machine_is_named_and_tried_again():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    mine = run_lock.this_run({}, Templar())
    calls = []

    def execute(run):
        calls.append(run)
        return {} if run["dead"] else {"failed": True, "locked_by": owner}

    dead = owner = {"controller": mine["controller"], "pid": child.pid, "started": "5"}
    assert run_lock.with_lock(execute, mine) == {}
    assert calls[1]["dead"] == [owner]
    calls.clear()
    # The apps of one call may have been left by several runs.
    owners = [{**dead, "started": "6"}, {**dead, "started": "7"}]
    assert run_lock.with_lock(lambda run: {"locked_by": owners[len(run["dead"])]} if len(run["dead"]) < 2 else {},
                              mine) == {}
    calls.clear()
    owner = {**dead, "controller": "elsewhere"}
    assert run_lock.with_lock(execute, mine)["failed"] and len(calls) == 1
    calls.clear()
    owner = {**dead, "pid": mine["pid"], "started": mine["started"]}
    assert run_lock.with_lock(execute, mine)["failed"] and len(calls) == 1
