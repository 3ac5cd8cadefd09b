"""`make reliability` in parts: what was done before is left out, and the page says how much of it all was done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reliability"))

import report  # noqa: E402

TEST = "tests/reliability/test_reliability.py::test_reliability[T1-12-kill -9 of a worker]"


def row(kind: str, test: str = "one", day: int = 1, **more) -> dict:
    row = {"kind": kind, "test": test, "date": f"2026-01-0{day} 10:00:00", "commit": f"c{day}", "load": 0.5, **more}
    return {"problem": "", "took": 1800.0, "inputs": {}, **row} if kind == "end" else row


def test_what_a_test_said_last_counts():
    rows = [row("kill", sent=1), row("kill", sent=2), row("end", problem="no"), row("kill", "two", sent=3),
            row("end", "two"), row("kill", day=2, sent=4), row("end", day=2)]
    runs = report.newest(rows)
    assert [found.get("sent") for found in runs["one"]] == [4, None]
    assert set(report.ended(runs)) == {"one", "two"}


def test_a_test_that_was_cut_off_is_not_done():
    runs = report.newest([row("end"), row("kill", day=2, sent=4)])
    assert len(runs["one"]) == 1 and not report.ended(runs)


def test_a_failure_without_a_word_is_told():
    (told,) = report.told([row("end", "file.py::one", problem="the host did not come up")])
    assert (told["what"], told["problem"]) == ("one", "the host did not come up")
    assert report.told([row("kill", problem="lost"), row("end", problem="lost")]) == [row("kill", problem="lost")]


@pytest.mark.parametrize(("wanted", "part", "said"), [
    (2, "", "The full run, between 2026-01-01 and 2026-01-03 at commits c1..c3, 1 h 0 min"),
    (9, "", "2 of 9 of the full run (7 are left), between 2026-01-01 and 2026-01-03 at commits c1..c3, 1 h 0 min"),
    (9, "the sample", "A part of it, between 2026-01-01 and 2026-01-03 at commits c1..c3 (the sample), 1 h 0 min"),
])
def test_the_page_says_how_much_was_done(wanted, part, said):
    runs = report.newest([row("end"), row("end", "two", day=3)])
    assert report.extent(runs, report.ended(runs), wanted, part) == said


def test_one_day_at_one_commit():
    runs = report.newest([row("end")])
    assert report.extent(runs, report.ended(runs), 1, "") == "The full run, on 2026-01-01 at commit c1, 0 h 30 min"


@pytest.mark.parametrize(("rate", "problem", "before"), [(500.0, "", True), (100.0, "", False), (500.0, "no", False)])
def test_what_has_passed_at_the_same_inputs_is_left_out(rate, problem, before):
    name = f"unit-{os.getpid()}"
    rows = ROOT / f".cache/reliability/{name}.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    inputs = {"rate": rate, "POINTS": None, "KILL_RATE": None, "COLLECTIONS": None}
    rows.write_text(json.dumps(row("end", TEST, problem=problem, inputs=inputs)) + "\n")
    try:
        said = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
                               "--resume", "-k", "T1-12 and kill", "tests/reliability"], cwd=ROOT, check=False,
                              capture_output=True, text=True, env={"PATH": os.environ["PATH"], "RELIABILITY": name})
    finally:
        rows.unlink()
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{int(before)} done before, {int(not before)} to do" in said.stdout
    assert (TEST in said.stdout) is not before
