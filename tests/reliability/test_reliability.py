"""Every scenario and every kind of broken, under traffic: `make reliability`; a fixed sample in `tools/test.sh`.

    RELIABILITY=full pytest tests/reliability             all of it
    RELIABILITY=full pytest tests/reliability -k T3-12    one topology on Debian 12
    RATE=200 DEPLOYS=30 ...                               less of it
    TABLE=1 ... -s                                        each client's own table too
"""

from __future__ import annotations

import os

import control
import pytest
import soak
from broken import kinds
from conftest import SAMPLE
from scenarios import SCENARIOS, Wrong, deploy, perform, refused

#: topology and Debian release; T7 has both
PLACES = [("T1", "12"), ("T3", "13")] if SAMPLE else [
    *((topology, debian) for topology in ("T1", "T2", "T3", "T4") for debian in ("12", "13")),
    ("T3-ASGI", "12"), ("T3-ASGI", "13"), ("T7", "13")]
#: what the sample does there
SAMPLED = {
    "T1": ("a deploy that answers 500 on its health path", "kill -9 of a worker"),
    "T3": ("a rollback of a rollback", "a change of environment"),
}
#: where kinds of broken are tried: each with both servers
BROKEN_AT = [("T1", "12"), ("T3", "13")] if SAMPLE else [*(
    (topology, debian) for topology in ("T1", "T3", "T4", "T5") for debian in ("12", "13"))]
BROKEN_SAMPLE = {
    "T1": ("an exception at import", "os._exit at the server's start"),
    "T3": ("health: no answer in time", "a variable that is missing"),
}
DEPLOYS = int(os.environ.get("DEPLOYS", 0 if SAMPLE else 300))


def _id(value) -> str:
    return str(getattr(value, "name", value)).replace(" ", "_")


def _all():
    """Yield what is tried, one place after the other: a place is made anew once."""
    order = list(dict.fromkeys([*PLACES, *BROKEN_AT]))
    for topology, debian in order:
        place = f"{topology}-{debian}"
        if (topology, debian) in PLACES:
            if topology in ("T1", "T3"):
                yield pytest.param("control", topology, debian, None, id=f"{place}-negative control")
            for scenario in SCENARIOS.values():
                if topology in scenario.topologies and (not SAMPLE or scenario.name in SAMPLED[topology]):
                    yield pytest.param("scenario", topology, debian, scenario, id=f"{place}-{scenario.name}")
        if (topology, debian) in BROKEN_AT:
            framework, server = {"T1": ("flask", "uwsgi"), "T3": ("flask", "gunicorn"), "T4": ("django", "gunicorn"),
                                 "T5": ("django", "uwsgi")}[topology]
            for kind in kinds(framework, server):
                if not SAMPLE or kind.name in BROKEN_SAMPLE[topology]:
                    yield pytest.param("broken", topology, debian, kind, id=f"{place}-broken: {kind.name}")
        if DEPLOYS and topology in ("T1", "T3") and (topology, debian) in PLACES:
            yield pytest.param("soak", topology, debian, None, id=f"{place}-{DEPLOYS} deploys and rollbacks")


@pytest.mark.parametrize(("what", "topology", "debian", "item"), list(_all()))
def test_reliability(benches, tell, what, topology, debian, item):
    bench = benches(topology, debian)
    {"control": negative_control, "scenario": scenario, "broken": broken, "soak": many}[what](bench, tell, item)


def negative_control(bench, tell, _item):
    """See that the client can find losses at all."""
    report = control.restarted(bench)
    tell("control", {"topology": bench.topology.name, "debian": bench.debian, "server": bench.topology.server,
                     "sent": report.sent, "lost": report.lost, "why": dict(report.why)})
    assert report.lost > 0, f"three restarts of a unit that owns its socket lost nothing:\n{report.table()}"


def scenario(bench, tell, item):
    """Do what the table says, and see that nothing was lost."""
    row = {"topology": bench.topology.name, "debian": bench.debian, "scenario": item.name}
    try:
        tell("scenario", perform(bench, item))
    except Exception as error:
        tell("scenario", {**row, "problem": str(error).splitlines()[0][:300]})
        bench.recover()
        raise


def broken(bench, tell, kind):
    """Deploy what is broken: it never serves one request, the message names the variable, the next good one works."""
    row = {"topology": bench.topology.name, "debian": bench.debian, "server": bench.topology.server,
           "broken": kind.name, "problem": ""}
    try:
        before = bench.live()
        with bench.traffic(rate=bench.rate / 5, kinds=["get", "post"]) as traffic:
            bad = bench.write(kind.files, version=f"bad-{bench.number}")
            with traffic.window("refused"):
                run = bench.deploy(**kind.changes)
            live = bench.live()
            deploy(bench, traffic, "the next deploy")
        report = traffic.report
        row |= {"sent": report.sent, "lost": report.lost, "served": report.by_version[bad]}
        refused(run, *(text.format(app=bench.origin) for text in kind.named))
        if live != before:
            raise Wrong(f"{live} was live afterwards, and {before} before")
        if report.by_version[bad]:
            raise Wrong(f"it has served {report.by_version[bad]} requests")
        if report.lost:
            raise Wrong(f"{report.lost} requests were lost\n{report.table()}")
        tell("broken", row)
    except Exception as error:
        tell("broken", {**row, "problem": str(error).splitlines()[0][:300]})
        bench.recover()
        raise


def many(bench, tell, _item):
    """Deploy and go back hundreds of times."""
    row, problems = soak.run(bench, DEPLOYS)
    tell("soak", {**row, "problem": "; ".join(problems)})
    assert not problems, problems
