from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bench import ROOT, Bench, hosts
from report import ROWS, ended, newest, read

#: when and at which commit a test began
STAMP = pytest.StashKey[dict]()
#: how many tests were left out, because they have passed before
BEFORE = pytest.StashKey[int]()


def pytest_addoption(parser):
    parser.addoption("--rate", type=float, default=float(os.environ.get("RATE", 500)), help="requests a second")
    parser.addoption("--resume", action="store_true", help="leave out what has passed before at the same inputs")


def pytest_configure():
    def stop(*_signal):
        signal.signal(signal.SIGTERM, lambda *_again: None)  # it may come twice: to the group, and from run.sh
        raise KeyboardInterrupt  # which takes down what is up, and lets `soak` tell how far it came

    signal.signal(signal.SIGTERM, stop)


# -- parts: what has passed before is left out -------------------------------------------------------------------------

def inputs(config) -> dict:
    """Return what makes another test of one with the same name."""
    return {"rate": config.getoption("--rate"),
            **{name: os.environ.get(name) for name in ("POINTS", "KILL_RATE", "COLLECTIONS")}}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.path.name == "test_kill.py")  # it takes the longest
    yield
    if config.getoption("--resume"):
        passed = {test for test, end in ended(newest(read())).items()
                  if not end["problem"] and end["inputs"] == inputs(config)}
        before = [item for item in items if item.nodeid in passed]
        config.stash[BEFORE] = len(before)
        config.hook.pytest_deselected(items=before)
        items[:] = [item for item in items if item.nodeid not in passed]


def pytest_report_collectionfinish(config, items):
    return f"{config.stash[BEFORE]} done before, {len(items)} to do" if BEFORE in config.stash else []


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(BEFORE, 0):
        session.exitstatus = pytest.ExitCode.OK


# -- results -----------------------------------------------------------------------------------------------------------

def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    # The page is written by the run itself.
    changes = git("status", "--porcelain", "--", ".", ":!docs/reliability.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+changes" if changes else "")


def write(item, kind: str, row: dict) -> None:
    """Add a row at once: what comes later may be killed."""
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"kind": kind, "test": item.nodeid, **item.stash[STAMP], **row}) + "\n")


def pytest_runtest_setup(item):
    item.stash[STAMP] = {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
                         "commit": commit(), "load": round(os.getloadavg()[0], 2)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        problem = call.excinfo.exconly().splitlines()[0][:300] if call.excinfo else ""
        write(item, "end", {"problem": problem, "took": call.duration, "inputs": inputs(item.config)})
    return report


@pytest.fixture
def tell(request):
    """Return a function: one line of the table that `report.py` makes of the run."""
    return lambda kind, row: write(request.node, kind, row)


@pytest.fixture(scope="session")
def benches(request):
    """Return a function: the app of a topology, up and running; the one before it on the same host is gone."""
    current: list[Bench] = []

    def make(topology: str, debian: str) -> Bench:
        if current and (current[0].topology.name, current[0].debian) == (topology, debian):
            return current[0]
        bench = Bench(topology, debian, request.config.getoption("--rate"))
        while current:
            old = current.pop()
            old.close()
            # The machine has better use for their memory.
            if leaving := set(old.places.values()) - set(bench.places.values()):
                hosts("down", *leaving)
        try:
            bench.bring_up(fresh=True)
        except BaseException:
            bench.close()
            raise
        current.append(bench)
        return bench

    yield make
    while current:
        current.pop().close()
