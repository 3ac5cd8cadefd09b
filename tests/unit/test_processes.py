# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes, timers and commands of an app: what they start, and in which order a switch treats them."""

from __future__ import annotations

import shlex
import subprocess
from types import SimpleNamespace

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import app_command, processes


@pytest.mark.parametrize(("command", "argv"), [
    ("celery -A shop worker", ["/usr/bin/env", "celery", "-A", "shop", "worker"]),
    ("/usr/bin/redis-cli ping", ["/usr/bin/redis-cli", "ping"]),
    ("worker.py a 'b c'", ["/v/bin/python", "/src/worker.py", "a", "b c"]),
    ("tools/worker.py", ["/v/bin/python", "/src/tools/worker.py"]),
    ("manage.py check", ["/v/bin/python", "/src/web/manage.py", "check"]),
    ("/opt/x.py", ["/opt/x.py"]),
])
def test_what_a_command_starts(command, argv):
    assert processes.argv(command, "/v/bin", "/src", "web/manage.py") == argv


@pytest.mark.parametrize("command", ["", "  ", "x 'y"])
def test_what_is_no_command(command):
    with pytest.raises(ValueError, match=r"\w"):
        processes.argv(command, "/v/bin", "/src")


def test_a_missing_program_is_named(tmp_path):
    (tmp_path / "job.py").touch()
    program = tmp_path / "bin" / "celery"
    program.parent.mkdir()
    program.touch(mode=0o755)
    for command, missing in (("job.py", ""), ("jobs.py", "jobs.py"), ("celery -A x", ""), ("celrey -A x", "celrey"),
                             ("/bin/sh -c x", ""), ("/bin/nothing", "/bin/nothing"), ("manage.py x", "web/manage.py")):
        assert processes.missing_program(command, str(program.parent), str(tmp_path), "web/manage.py") == missing


@pytest.mark.parametrize(("days", "lines"), [
    (1, ["MaxRetentionSec=1day", "MaxFileSec=1day"]), (30, ["MaxRetentionSec=30day", "MaxFileSec=1day"]),
    (365, ["MaxRetentionSec=365day", "MaxFileSec=12day"]),
])
def test_logs_are_kept_as_long_as_asked(days, lines):
    assert processes.journal_text(days).splitlines()[-2:] == lines


@pytest.mark.parametrize("word", ["plain", "with blank", 'quo"te', "apo'strophe", "$HOME", "50%", "back\\n", ""])
def test_a_word_reaches_the_program_as_it_is(word):
    line = app_command.exec_line(["/bin/echo", word])
    unescaped = line.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$")
    assert shlex.split(unescaped) == ["/bin/echo", word]


def test_a_command_runs_by_the_apps_unit(tmp_path):
    unit = ("[Unit]\nDescription=x\n\n[Service]\nType=notify\nUser=ws-shop\nSockets=webstack-shop.socket\n"
            "EnvironmentFile=/etc/webstack/shop/%i/env\nExecStart=/v/bin/gunicorn\nPrivateUsers=yes\n")
    text = app_command.unit_text(unit, "shop", tmp_path, ["/usr/bin/env", "x"], 60)
    assert f"EnvironmentFile=/etc/webstack/shop/%i/env\nEnvironmentFile={tmp_path}/env\n" in text
    assert 'ExecStart="/usr/bin/env" "x"\n' in text
    assert "Type=oneshot\n" in text and "PrivateUsers=yes\n" in text and "User=ws-shop\n" in text
    assert "Sockets=" not in text


# -- the switch ------------------------------------------------------------------------------------------------------

class FakeSystemd:
    """Notes what is asked of it; ``dying`` units do not stay up."""

    def __init__(self, state, dying=()):
        self.state, self.dying, self.calls = state, dying, []

    def run(self, verb, *units, timeout=0):
        self.calls.append((verb, *units))
        for unit in units:
            if verb in ("start", "restart"):
                self.state[unit] = {"Id": unit, "ActiveState": "activating" if unit in self.dying else "active"}
        return subprocess.CompletedProcess((), 0)

    def start(self, unit, timeout=0):
        return self.run("start", unit).returncode == 0

    def stop(self, *units, timeout=0):
        self.run("stop", *units)

    def reload(self):
        self.calls.append(("reload",))

    def show(self, *units):
        return {unit: self.state[unit] for unit in units if unit in self.state}

    def journal(self, invocation, unit, lines=25):
        return "no queue"


def items():
    common = {"stop_timeout": 60, "stop_signal": "TERM", "command": "x", "hosts": ["app1"]}
    return [{**common, "list": "processes", "name": "worker", "singleton": False, "here": True},
            {**common, "list": "processes", "name": "beat", "singleton": True, "here": True},
            {**common, "list": "processes", "name": "elsewhere", "singleton": True, "here": False},
            {**common, "list": "timers", "name": "nightly", "singleton": True, "here": True, "every": "1h"}]


@pytest.fixture
def switch(tmp_path, monkeypatch):
    """Return a function that makes the processes of a service that goes from release `old` to `new`."""
    monkeypatch.setattr(processes, "_UNITS", tmp_path)
    monkeypatch.setattr(processes, "WATCH", 0)
    monkeypatch.setattr(processes, "write_file", lambda path, text, mode: path.write_text(text))

    def make(*running, dying=(), wanted=None):
        state = {unit: {"Id": unit, "ActiveState": "active"} for unit in running}
        systemd = FakeSystemd(state, dying)
        wanted = items() if wanted is None else wanted
        units = {unit: f"text of {unit}" for item in wanted if item["here"]
                 for unit in processes.units_of("shop", item)}
        service = SimpleNamespace(
            wanted={"processes": wanted, "bin": "/v/bin", "directory": "/src"}, systemd=systemd, name="shop",
            release="new", live="old", origin="flask_apps[0]", state=state, saved={}, units=units, _clean=str,
            folder=tmp_path / "etc" / "new")
        return processes.Processes(service), systemd

    return make


OLD = ("webstack-shop.worker@old.service", "webstack-shop.beat@old.service", "webstack-shop.nightly@old.service",
       "webstack-shop.nightly.timer", "webstack-shop.socket", "webstack-shop@old.service")


def test_a_singleton_stops_before_its_successor_starts(switch):
    one, systemd = switch(*OLD)
    assert one.take_over() == ""
    assert systemd.calls == [
        ("stop", "webstack-shop.beat@old.service"), ("start", "webstack-shop.worker@new.service"),
        ("start", "webstack-shop.beat@new.service"), ("reload",), ("start", "webstack-shop.nightly.timer")]
    systemd.state["webstack-shop.beat@old.service"]["ActiveState"] = "inactive"
    one.dismiss()
    # The old job comes to its end; the old worker is told to, and not waited for.
    assert systemd.calls[-1] == ("stop", "--no-block", "webstack-shop.worker@old.service")
    assert one.leaving == ["webstack-shop.worker@old.service"]
    assert one.is_at_work("webstack-shop.worker@old.service")
    assert not one.is_at_work("webstack-shop.beat@older.service")
    assert one.is_at_work("webstack-shop.nightly@old.service")


def test_a_process_that_dies_leaves_the_timers_alone_and_brings_the_old_ones_back(switch, tmp_path):
    boot = tmp_path / "multi-user.target.wants"
    boot.mkdir()
    for name in ("webstack-shop.worker@old.service", "webstack-shop.beat@old.service",
                 "webstack-shop.beat@new.service", "webstack-shop@old.service", "webstack-shop-2.beat@old.service"):
        (boot / name).touch()
    one, systemd = switch(*OLD, dying=("webstack-shop.worker@new.service",))
    problem = one.take_over()
    assert "flask_apps[0].processes (worker): webstack-shop.worker@new.service started, and did not stay up" in problem
    assert "no queue" in problem
    assert ("start", "webstack-shop.nightly.timer") not in systemd.calls
    one.stop_new()
    one.back()
    assert systemd.calls[-2:] == [("stop", "webstack-shop.worker@new.service", "webstack-shop.beat@new.service"),
                                  ("start", "webstack-shop.beat@old.service", "webstack-shop.worker@old.service")]
    assert not (boot / "webstack-shop.beat@new.service").exists()


def test_a_timer_that_a_run_cut_off_has_left_goes_with_its_release(switch, tmp_path):
    one, systemd = switch(*OLD, dying=("webstack-shop.worker@new.service",))
    (tmp_path / "webstack-shop.nightly.timer").write_text(one.service.units["webstack-shop.nightly.timer"])
    (tmp_path / "etc/old/units").mkdir(parents=True)
    assert "did not stay up" in one.take_over()
    one.stop_new()
    one.back()
    assert ("stop", "webstack-shop.nightly.timer") in systemd.calls
    assert not (tmp_path / "webstack-shop.nightly.timer").exists()


def test_a_timer_whose_job_was_at_work_at_the_switch_does_not_wait_for_ever(switch):
    timer, job = "webstack-shop.nightly.timer", "webstack-shop.nightly@new.service"
    one, systemd = switch(*OLD)
    systemd.state[timer]["SubState"] = "running"
    assert f"{timer} waits for a job of another release" in one.changes()
    assert one.take_over() == ""
    assert ("restart", timer) in systemd.calls
    systemd.state[timer]["SubState"] = "running"
    systemd.state[job] = {"Id": job, "ActiveState": "activating"}
    assert not [text for text in one.changes() if "waits" in text]


def test_what_is_no_longer_wanted_is_told_to_finish_and_its_files_are_found(switch, tmp_path):
    one, systemd = switch(*OLD, wanted=[])
    assert one.take_over() == ""
    one.dismiss()
    assert systemd.calls == [("stop", "--no-block", "webstack-shop.beat@old.service",
                              "webstack-shop.nightly@old.service", "webstack-shop.worker@old.service")]
    for name in ("webstack-shop.beat@.service", "webstack-shop.nightly.timer", "webstack-shop@.service",
                 "webstack-shop.socket", "webstack-shop-2.worker@.service"):
        (tmp_path / name).touch()
    assert [path.name for path in one.obsolete()] == ["webstack-shop.beat@.service", "webstack-shop.nightly.timer"]


def test_a_second_look_finds_nothing_to_do(switch):
    one, _systemd = switch("webstack-shop.worker@new.service", "webstack-shop.beat@new.service",
                           "webstack-shop.nightly.timer")
    assert one.changes() == []
    assert sorted(link.name for link in one.links()) == [
        "webstack-shop.beat@new.service", "webstack-shop.nightly.timer", "webstack-shop.worker@new.service"]
    assert not one.is_mine("webstack-shop.socket")
    assert not one.is_mine("webstack-shop-2.worker@new.service")
