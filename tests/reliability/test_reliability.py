"""Every scenario and every kind of broken, under traffic: `make reliability`; a fixed sample in `tools/test.sh`.

    RELIABILITY=full pytest tests/reliability             all of it
    RELIABILITY=full pytest tests/reliability -k T3-12    one topology on Debian 12
    RATE=200 DEPLOYS=30 ...                               less of it
    SOAK=all ...                                          many in a row with each server on each Debian release
    TABLE=1 ... -s                                        each client's own table too
"""

from __future__ import annotations

import os

import control
import pytest
import soak
from broken import kinds
from report import SAMPLE
from scenarios import SCENARIOS, Wrong, deploy, perform, refused

#: topology and Debian release, the most telling first; T7 has both
PLACES = [("T1", "12"), ("T3", "13")] if SAMPLE else [
    ("T3", "13"), ("T1", "12"), ("T4", "13"), ("T2", "13"), ("T7", "13"), ("T3", "12"), ("T1", "13"), ("T4", "12"),
    ("T2", "12"), ("T3-ASGI", "13"), ("T3-ASGI", "12")]
#: what the sample does there
SAMPLED = {
    "T1": ("a deploy that answers 500 on its health path", "kill -9 of a worker"),
    "T3": ("a rollback of a rollback", "a change of environment"),
}
#: where kinds of broken are tried: each with both servers
BROKEN_AT = [("T1", "12"), ("T3", "13")] if SAMPLE else [
    ("T1", "12"), ("T3", "13"), ("T4", "13"), ("T5", "12")]
BROKEN_SAMPLE = {
    "T1": ("an exception at import", "os._exit at the server's start"),
    "T3": ("health: no answer in time", "a variable that is missing"),
}
DEPLOYS = int(os.environ.get("DEPLOYS", 0 if SAMPLE else 300))
#: where many are done in a row: for hours
SOAKED = [("T1", "12"), ("T3", "13"), *([("T1", "13"), ("T3", "12")] if os.environ.get("SOAK") == "all" else [])]


def _scenarios(topology: str):
    if topology in ("T1", "T3"):
        yield "control", None, "negative control"
    for item in SCENARIOS.values():
        if topology in item.topologies and (not SAMPLE or item.name in SAMPLED[topology]):
            yield "scenario", item, item.name


def _broken(topology: str):
    framework, server = {"T1": ("flask", "uwsgi"), "T3": ("flask", "gunicorn"), "T4": ("django", "gunicorn"),
                         "T5": ("django", "uwsgi")}[topology]
    for item in kinds(framework, server):
        if not SAMPLE or item.name in BROKEN_SAMPLE[topology]:
            yield "broken", item, f"broken: {item.name}"


def _all():
    """Yield what is tried: first of all the scenarios, one place after the other, for each is made anew."""
    phases = [(_scenarios, place) for place in PLACES] + [(_broken, place) for place in BROKEN_AT]
    if SAMPLE:  # each place but once
        phases.sort(key=lambda phase: phase[1])
    for found, place in phases:
        for what, item, name in found(place[0]):
            yield pytest.param(what, *place, item, id=f"{'-'.join(place)}-{name}")
    for place in SOAKED if DEPLOYS else []:
        yield pytest.param("soak", *place, None, id=f"{'-'.join(place)}-{DEPLOYS} deploys and rollbacks")


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
        perform(bench, item, row)
        tell("scenario", row)
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
    row, problems, stopped = soak.run(bench, DEPLOYS)
    tell("soak", {**row, "problem": "; ".join(problems)})
    if stopped:
        raise stopped
    assert not problems, problems
