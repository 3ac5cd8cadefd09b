"""A deploy that is cut off anywhere is finished by running it again; two at once do not mix.

    RELIABILITY=full pytest tests/reliability/test_kill.py
"""

from __future__ import annotations

import os
import random

import kill
import pytest
from report import SAMPLE

PLACES = [("kill-T3", "13")] if SAMPLE else [("kill-T3", "13"), ("kill-T4", "12"), ("kill-T1", "12")]
#: so many points of each way; all of them in a full run
POINTS = int(os.environ.get("POINTS", 2 if SAMPLE else 10_000))
RATE = float(os.environ.get("KILL_RATE", 100))


@pytest.mark.parametrize(("topology", "debian"), PLACES[:1])
def test_two_at_once(benches, tell, topology, debian):
    bench = benches(topology, debian)
    with bench.traffic(rate=RATE, kinds=["get", "post"]) as traffic:
        problem = kill.two_at_once(bench)
        version = bench.write()
        again = bench.deploy(**kill.QUICK)
        problem = problem or (again.output[-3000:] if again.code else kill.wrong(bench, version))
    tell("kill", {"title": "Killed anywhere", "what": "two deploys at once", "where":
                  f"{topology.removeprefix('kill-')}/{debian}", "sent": traffic.report.sent,
                  "lost": traffic.report.lost, "problem": problem.partition("\n")[0]})
    assert not problem and not traffic.report.lost, problem or traffic.report.table()


@pytest.mark.parametrize(("topology", "debian"), PLACES)
def test_killed_anywhere(benches, tell, topology, debian):
    bench = benches(topology, debian)
    every = kill.points(bench)
    print(f"{topology}, Debian {debian}: {len(every)} points\n" + "\n".join(f"  {point}" for point in every))
    inside = [point for point in every if point.kind == "module"]
    chosen = {"Ansible is killed": every, "the connection is lost": inside, "the modules on the host are killed": [
        point for point in inside if "frontdesk" in point.what]}
    problems = []
    for way, wanted in chosen.items():
        # The same ones each time; spread over the whole run.
        picked = sorted(random.Random(way).sample(range(len(wanted)), min(POINTS, len(wanted))))  # noqa: S311
        with bench.traffic(rate=RATE, kinds=["get", "post"]) as traffic:
            outcome = kill.try_all(bench, traffic, way, [wanted[index] for index in picked], third=3)
        problems += outcome.problems
        tell("kill", {
            "title": "Killed anywhere", "what": f"{way}, at {outcome.tried} of {len(wanted)} points",
            "where": f"{topology.removeprefix('kill-')}/{debian}", "sent": traffic.report.sent,
            "lost": traffic.report.lost, "problem": "; ".join(text.splitlines()[0] for text in outcome.problems)[:300]})
        if traffic.report.lost:
            problems.append(traffic.report.table())
    assert not problems, "\n".join(problems)
