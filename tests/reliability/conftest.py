from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bench import ROOT, Bench

RESULTS = ROOT / ".cache/reliability"
#: a fixed sample of all that there is, for `tools/test.sh`
SAMPLE = os.environ.get("RELIABILITY", "sample") != "full"


def pytest_addoption(parser):
    parser.addoption("--rate", type=float, default=float(os.environ.get("RATE", 500)), help="requests a second")


@pytest.fixture(scope="session")
def tell():
    """Return a function: one line of the table that `report.py` makes of the run."""
    RESULTS.mkdir(parents=True, exist_ok=True)

    def write(kind: str, row: dict) -> None:
        with (RESULTS / "rows.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, **row}) + "\n")

    return write


@pytest.fixture(scope="session")
def benches(request):
    """Return a function: the app of a topology, up and running; the one before it on the same host is gone."""
    current: list[Bench] = []

    def make(topology: str, debian: str) -> Bench:
        if current and (current[0].topology.name, current[0].debian) == (topology, debian):
            return current[0]
        while current:
            current.pop().close()
        bench = Bench(topology, debian, request.config.getoption("--rate"))
        bench.bring_up(fresh=True)
        current.append(bench)
        return bench

    yield make
    while current:
        current.pop().close()
