# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a Django release: which are done where, what is refused, and that a killed run goes on."""

from __future__ import annotations

import json
import os
import pwd

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import django_release as logic
from ansible_collections.frontdesk.webstack.plugins.module_utils.python_release import Release, ReleaseError


def app(**more):
    return {"name": "blog", "origin": "django_apps[0]", "hosts": ["app1", "app2"], "migrate": True, "static": True,
            "static_remote": False, "user": "ws-blog", "root": "/nonexistent", "release": "1f0c", "directory": "",
            "manage": "manage.py", "env": {}, **more}


@pytest.mark.parametrize("more, host, steps", [
    ({}, "app1", ["checked", "migrated", "static"]),
    ({}, "app2", ["checked", "static"]),
    ({"hosts": ["app2", "app1"]}, "app2", ["checked", "migrated", "static"]),
    ({"migrate": False}, "app1", ["checked", "static"]),
    ({"static": False}, "app1", ["checked", "migrated"]),
    ({"migrate": False, "static": False}, "app1", ["checked"]),
])
def test_migrations_run_on_the_first_host_alone(more, host, steps):
    assert logic.wanted(app(**more), host) == steps
    assert logic.pending(app(**more), host, {}) == steps


@pytest.mark.parametrize("done, steps", [
    ({"built": "t"}, ["checked", "migrated", "static"]), ({"checked": "t"}, ["migrated", "static"]),
    ({"checked": "t", "migrated": "t"}, ["static"]), ({"checked": "t", "migrated": "t", "static": "t"}, []),
])
def test_what_is_done_is_done_once(done, steps):
    assert logic.pending(app(), "app1", done) == steps


@pytest.fixture
def release(tmp_path):
    found = Release(app(root=str(tmp_path)))
    (found.folder / "source").mkdir(parents=True)
    (found.folder / "release.json").write_text(json.dumps({"schema": 1, "steps": {"built": "t"}}))
    return found


def test_a_run_that_was_killed_goes_on_where_it_stopped(release, monkeypatch):
    done = []

    def fail(*_arguments):
        raise ReleaseError("django_apps[0].migrate", "The database was not migrated.")
    for name in ("_settings", "_check", "_migrate", "_static"):
        monkeypatch.setattr(logic, name, lambda *_arguments, name=name: done.append(name))
    monkeypatch.setattr(logic, "_migrate", fail)
    with pytest.raises(ReleaseError):
        logic.finish(release, "app1", True)
    assert sorted(release.record["steps"]) == ["built", "checked", "static"]
    monkeypatch.setattr(logic, "_migrate", lambda *_arguments: done.append("_migrate"))
    assert logic.finish(release, "app1", True) == ["migrated"]
    assert sorted(done) == ["_check", "_migrate", "_settings", "_static"]
    assert logic.finish(release, "app1", True) == []


@pytest.mark.parametrize("debug, production, refused", [
    (True, True, True), (True, False, False), (False, True, False),
])
def test_debug_is_refused_in_production(release, monkeypatch, debug, production, refused):
    facts = json.dumps({"debug": debug, "migrations": ["shop.0001_initial"]})
    said = f"a line that the settings print\n{logic._MARK}{facts}\nand one more\n"
    monkeypatch.setattr(logic, "_python", lambda *_arguments: said)
    if not refused:
        assert logic._settings(release, production) == ["shop.0001_initial"]
        return
    with pytest.raises(ReleaseError) as caught:
        logic._settings(release, production)
    assert caught.value.path == "django_apps[0].settings_module"
    assert "Write `DEBUG = False`" in str(caught.value)


@pytest.mark.parametrize("said, path, words", [
    ("django.db.utils.OperationalError: could not connect", "django_apps[0].env", "the database cannot be reached"),
    ("django.db.utils.ProgrammingError: no such column", "django_apps[0].migrate", "The database was not migrated."),
    ("django.db.utils.OperationalError: canceling statement due to lock timeout",
     "django_apps[0].migrate_lock_timeout", "could not be locked within 10 s"),
])
def test_a_migration_that_fails_names_what_to_change(release, monkeypatch, said, path, words):
    def fail(_release, _arguments, where, hint, _timeout, more):
        assert more == {"PGOPTIONS": "-c lock_timeout=10s"}
        raise ReleaseError(where, f"{hint}\n    {said}")
    monkeypatch.setattr(logic, "manage", fail)
    with pytest.raises(ReleaseError) as caught:
        logic._migrate(release)
    assert caught.value.path == path
    assert words in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("directory, place", [("", "its top folder"), ("site", "site")])
def test_without_manage_py(tmp_path, directory, place):
    release = Release(app(root=str(tmp_path), directory=directory))
    with pytest.raises(ReleaseError) as caught:
        logic.manage(release, ["check"], "x", "", 1)
    assert str(caught.value) == f"django_apps[0].manage: the source has no 'manage.py' in {place}."


@pytest.mark.parametrize("env, text, result", [
    ({"PASSWORD": "correct-horse"}, "auth failed for correct-horse", "auth failed for ********"),
    ({"A": "secret1", "B": "secret1-longer"}, "secret1-longer secret1", "******** ********"),
    ({"URL": "postgres://u:pass@db/x"}, "at postgres://u:pass@db/x", "at ********"),
    ({"DEBUG": "1"}, "line 1", "line 1"),
    ({"PYTHONPATH": "/srv/app"}, "in /srv/app/x.py", "in /srv/app/x.py"),
])
def test_no_value_of_the_environment_is_shown(env, text, result):
    assert logic._hidden(text, env) == result


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
@pytest.mark.parametrize("script, words", [
    ("echo 'Traceback: horse-battery' >&2; exit 1", ["django_apps[0].x: It fails.", "Traceback: ********"]),
    ("echo \"$SECRET\"; exit 1", ["********"]),
    ("sleep 5", ["It took more than 1 s"]),
])
def test_what_django_said_is_told_without_secrets(tmp_path, monkeypatch, script, words):
    release = Release(app(root=str(tmp_path), env={"SECRET": "horse-battery"}))
    python = release.folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (release.folder / "source").mkdir()
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(logic.pwd, "getpwnam", lambda _name: pwd.getpwuid(0))
    with pytest.raises(ReleaseError) as caught:
        logic._python(release, [], "django_apps[0].x", "It fails.", 1)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "horse" not in str(caught.value)
