"""Deploy, rollback, status, what is held back, the lock and the hooks, as users run them.

The tests of one Debian release share a host and build on each other, in the order of this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time

import pytest
from stack import ROOT, Stack, address, ask, ssh

pytestmark = pytest.mark.parametrize("debian", ["12", "13"], scope="module")

SHOP, GUEST = "shop.example.com", "guest.example.com"
CODE = '''
import os, time
from flask import Flask
app = Flask(__name__)
VERSION = "{version}"
{more}

@app.get("/")
def index():
    return f"version={{VERSION}} release={{os.environ['WEBSTACK_RELEASE']}} colour={{os.environ.get('COLOUR')}}"
'''
MIGRATION = '''
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("entries", "0002_first_entry")]
    operations = [migrations.CreateModel(name="Note", fields=[
        ("id", models.BigAutoField(primary_key=True, serialize=False)), ("text", models.TextField())])]
'''


def git(folder, *words):
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
                   check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of a Flask app and a Django project: v1.0.0; v1.1.0 with a migration; v1.2.0, which is broken."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    subprocess.run(["cp", "-r", str(ROOT / "examples/guestbook/api"), str(folder / "api")], check=True)
    (folder / "requirements.txt").write_text("flask==3.1.2\n")
    for version, more in (("1.0.0", ""), ("1.1.0", ""), ("1.2.0", "import nothing_that_is_there")):
        (folder / "shop.py").write_text(CODE.format(version=version, more=more))
        if version == "1.1.0":
            (folder / "api/entries/migrations/0003_note.py").write_text(MIGRATION)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", version)
        git(folder, "tag", f"v{version}")
    return folder


@pytest.fixture(scope="module")
def web(debian, repository, overlay, bring_up):
    """Return the stack on its host: `play`, with `shop` and `guest` at the version that the inventory has."""
    name = f"release-{debian}"
    bring_up(name)
    return Web(name, repository, overlay(web1=name))


class Web:
    def __init__(self, host, repository, inventory):
        self.host, self.repository = host, repository
        self.stack = Stack([str(ROOT / "inventories/t3")], inventory)
        self.version, self.env = "v1.0.0", {}

    def variables(self):
        source = {"git": str(self.repository), "version": self.version}
        return {
            "flask_apps": [{"name": "shop", "source": source, "callable": "shop:app", "env": self.env,
                            "health": {"watch": 1, "contains": ["version={version}", "release={release}"]}}],
            "django_apps": [{
                "name": "guest", "source": source, "directory": "api", "settings_module": "guestbook.settings",
                "health": {"path": "/api/health/", "watch": 1},
                "env": {"DJANGO_SECRET_KEY": "a key of the tests, long enough for Django to be content with it",
                        "DATABASE_URL": "sqlite:////srv/webstack/apps/guest/shared/db.sqlite3"}}],
            "nginx_sites": [{"name": name, "server_names": [f"{name}.example.com"],
                             "routes": [{"path": "/", "app": name}]} for name in ("shop", "guest")]}

    def play(self, name="site", *arguments, **more):
        return self.stack.play(*arguments, playbook=f"playbooks/{name}.yml", variables={**self.variables(), **more})

    def said(self, host=SHOP, path="/"):
        return ask(address(self.host), path, host)[2]

    def record(self, app="shop"):
        return json.loads(ssh(self.host, f"cat /srv/webstack/apps/{app}/record.json"))


def fine(run, changed=None):
    assert run.code == 0, run.output[-6000:]
    if changed is not None:
        assert run.changed() == changed, run.output[-6000:]
    return run


def refused(run, *words):
    assert run.code != 0, run.output[-3000:]
    text = " ".join(run.output.split())
    for word in words:
        assert word in text, run.output[-4000:]


def test_the_first_run(web, debian):
    fine(web.play())
    assert "version=1.0.0" in web.said()
    fine(web.play(), changed=0)


def test_a_deploy_of_one_app_touches_nothing_else(web, debian):
    before = web.record("guest"), ssh(web.host, "readlink /etc/nginx/webstack")
    run = fine(web.play("deploy", app="shop", version="v1.1.0"))
    assert "version=1.1.0" in web.said()
    assert web.record()["live"] in web.said(), "the app does not know its release"
    assert (web.record("guest"), ssh(web.host, "readlink /etc/nginx/webstack")) == before
    assert not [module for _host, module in run.runs if "nginx" in module or "postgresql" in module], run.runs
    print(f"deploy of one app: {len(run.runs)} module runs")


def test_what_a_person_deployed_is_not_undone_by_the_inventory(web, debian):
    live = web.record()["live"]
    run = fine(web.play(), changed=0)
    assert web.record()["live"] == live
    assert "is held back since" in " ".join(run.output.split())
    web.env = {"COLOUR": "red"}
    refused(web.play(), "flask_apps[0]", "v1.0.0", "is held back since", "deploy.yml -e app=shop")
    assert web.record()["live"] == live
    web.env = {}
    web.version = "v1.1.0"  # the inventory catches up; guest gets its migration
    fine(web.play())
    assert web.record()["live"] == live and web.record()["held"] is None


def test_a_deploy_of_something_that_is_not_there(web, debian):
    refused(web.play("deploy", app="shpo"), "app: 'shpo' is no app", "Did you mean 'shop'?")
    refused(web.play("deploy", version="v1.1.0"), "version: is of one app", "-e app=NAME")
    refused(web.play("deploy", app="shop", version="v9"), "there is no branch or tag 'v9'", "v1.1.0")


def test_a_broken_release_leaves_the_old_one_alone(web, debian):
    live = web.record()["live"]
    refused(web.play("deploy", app="shop", version="v1.2.0"), "flask_apps[0].requirements", "nothing_that_is_there")
    assert web.record()["live"] == live and "version=1.1.0" in web.said()
    assert web.record()["history"][-1]["event"] == "failed"
    refused(web.play("rollback", app="shop", release="v1.2.0"), "never was live")


def test_back_and_forth(web, debian):
    second = web.record()["live"]
    begin = time.monotonic()
    run = fine(web.play("rollback", app="shop"))
    print(f"rollback: {time.monotonic() - begin:.1f} s, {len(run.runs)} module runs")
    assert "version=1.0.0" in web.said()
    assert web.record()["previous"] == second and web.record()["held"]["release"] == second
    run = fine(web.play(), changed=0)
    assert "version=1.0.0" in web.said() and "is held back since" in " ".join(run.output.split())
    fine(web.play("rollback", app="shop"))
    assert "version=1.1.0" in web.said() and web.record()["held"] is None
    fine(web.play(), changed=0)
    fine(web.play("rollback", app="shop", release="v1.0.0"))
    assert "version=1.0.0" in web.said()
    fine(web.play("deploy", app="shop"))
    assert "version=1.1.0" in web.said() and web.record()["held"] is None


def test_a_version_that_lies_is_not_let_in(web, debian):
    live = web.record()["live"]
    more = web.variables()["flask_apps"][0]
    more["health"] = {"contains": ["version=1.0.9"]}
    refused(web.play("deploy", app="shop", flask_apps=[more]), "flask_apps[0].health.contains", "version=1.0.9",
            "version=1.1.0")
    assert web.record()["live"] == live


def tables(web):
    code = ("import sqlite3; print(sqlite3.connect('/srv/webstack/apps/guest/shared/db.sqlite3')"
            ".execute('select name from sqlite_master').fetchall())")
    return ssh(web.host, f"sudo python3 - <<'END'\n{code}\nEND")


def test_migrations_between_want_a_word(web, debian):
    assert "entries_note" in tables(web)
    first = web.record("guest")["previous"]
    refused(web.play("rollback", app="guest"), "entries.0003_note", "migrations=leave", "migrations=reverse")
    assert web.record("guest")["previous"] == first
    refused(web.play("rollback", app="guest", migrations="entries.0009"), "entries.0003_note")
    fine(web.play("rollback", app="guest", migrations="leave"))
    assert web.record("guest")["live"] == first and "entries_note" in tables(web)
    fine(web.play("deploy", app="guest"))
    fine(web.play("rollback", app="guest", migrations="reverse"))
    assert web.record("guest")["live"] == first and "entries_note" not in tables(web)
    fine(web.play(), changed=0)
    assert "entries_note" not in tables(web), "what was taken back came again by the way"
    fine(web.play("deploy", app="guest"))
    assert "entries_note" in tables(web)
    assert ask(address(web.host), "/api/health/", GUEST)[0] == 200


def test_a_rollback_that_was_stopped_before_the_migrations_is_finished(web, debian):
    first = web.record("guest")["previous"]
    # Others can read, and that is all.
    code = ("import sqlite3, time; database = sqlite3.connect('/srv/webstack/apps/guest/shared/db.sqlite3'); "
            "database.execute('BEGIN IMMEDIATE'); time.sleep(600)")
    ssh(web.host, f'sudo systemd-run --quiet --unit=test-writer python3 -c "{code}"')
    try:
        refused(web.play("rollback", app="guest", migrations="reverse"), "database is locked")
    finally:
        ssh(web.host, "sudo systemctl stop test-writer")
    assert web.record("guest")["live"] == first and "entries_note" in tables(web)
    assert web.record("guest")["reversing"]["gone"] == ["entries.0003_note"]
    assert "lock.json" not in ssh(web.host, "ls /srv/webstack/apps/guest")
    refused(web.play("rollback", app="guest"), "was stopped before entries.0003_note", f"-e release={first}")
    assert "not taken back yet: entries.0003_note" in fine(web.play("status")).output
    fine(web.play("rollback", app="guest", migrations="reverse"))
    assert web.record("guest")["live"] == first and "entries_note" not in tables(web)
    assert web.record("guest")["reversing"] is None
    fine(web.play("deploy", app="guest"))
    assert "entries_note" in tables(web)


def test_status(web, debian, tmp_path):
    run = fine(web.play("status", status_file=str(tmp_path / "status.json")), changed=0)
    lines = [line for line in run.output.splitlines() if line.startswith(("shop ", "guest "))]
    assert len(lines) == 2 and all("v1.1.0" in line and "active" in line for line in lines), run.output[-2000:]
    answer = json.loads((tmp_path / "status.json").read_text())
    shop = next(app for app in answer["apps"] if app["app"] == "shop")
    assert (shop["host"], shop["live"], shop["state"]) == ("web1", web.record()["live"], "active")
    assert {release["version"].split()[0] for release in shop["releases"]} >= {"v1.0.0", "v1.1.0"}
    assert next(release for release in shop["releases"] if release["version"].startswith("v1.2.0"))["good"] is False


def test_two_deploys_at_once(web, debian):
    """One wins, the other says who is at it; a run that comes later finds the lock gone."""
    runs = []

    def deploy():
        runs.append(web.play("deploy", app="shop", flask_apps=[{
            **web.variables()["flask_apps"][0], "env": {"TWO": "at once"}, "health": {"watch": 6}}]))

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(1.5)
    for thread in threads:
        thread.join()
    good = [run for run in runs if run.code == 0]
    bad = [run for run in runs if run.code != 0]
    assert len(good) == len(bad) == 1, [run.output[-1500:] for run in runs]
    refused(bad[0], "shop: is being deployed by", "since 20", "webstack_break_lock=true")
    fine(web.play("deploy", app="shop"))


def test_the_lock_of_a_dead_run(web, debian):
    """A run of this controller that is gone is noticed; one of another controller takes a word."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    here = {"controller": _controller(), "pid": dead.pid, "started": "1"}
    elsewhere = {"controller": "elsewhere", "pid": 1, "started": "1"}
    for owner, more in ((here, {}), (elsewhere, {"webstack_break_lock": True})):
        text = json.dumps({"app": "shop", "who": "ann@desk", "since": "2026-01-01T00:00:00Z", "seen": "x",
                           "beat": int(time.time()), **owner})
        ssh(web.host, f"echo '{text}' | sudo tee /srv/webstack/apps/shop/lock.json")
        web.env = {"COLOUR": str(len(more))}
        if more:
            refused(web.play("deploy", app="shop"), "shop: is being deployed by ann@desk", "webstack_break_lock=true")
        fine(web.play("deploy", app="shop", **more))
        assert f"colour={len(more)}" in web.said()
        assert "lock.json" not in ssh(web.host, "ls /srv/webstack/apps/shop")


def _controller():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return f"{stream.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def test_hooks(web, debian, tmp_path):
    for name in ("before", "after"):
        (tmp_path / f"{name}.yml").write_text(
            "- ansible.builtin.copy:\n    dest: /tmp/hook-" + name + "\n    mode: '0644'\n"
            "    content: \"{{ (app_server_done | default({})).changed | default('no') }}\"\n")
    hooks = {"before_release": str(tmp_path / "before.yml"), "after_serve": str(tmp_path / "after.yml")}
    web.env = {"COLOUR": "hooked"}
    fine(web.play("deploy", app="shop", webstack_hooks=hooks))
    assert ssh(web.host, "ls /tmp/hook-*").split() == ["/tmp/hook-after", "/tmp/hook-before"]
    refused(web.play("plan", webstack_hooks={"before_relase": "x"}), "webstack_hooks.before_relase", "before_release")
