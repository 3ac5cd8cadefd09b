"""What is done to an app under traffic, and what must be so afterwards. A table: `SCENARIOS`.

Each scenario gets a bench with a good release live, and the traffic that runs. It leaves a good release live, of which
the runner then sees that it answers on all hosts, that the record says so, that the next good deploy works and that a
second run changes nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import NAME, SITE, Bench, Run, ask, ssh
from traffic import Traffic

EVERYWHERE = ("T1", "T2", "T3", "T3-ASGI", "T4", "T7")
WSGI = ("T1", "T2", "T3", "T4", "T7")
WITH_NGINX = ("T1", "T3", "T4", "T7")


@dataclass
class Scenario:
    """One thing that is done; `work` returns a note for the table."""

    name: str
    work: Callable[[Bench, Traffic], str | None]
    topologies: tuple[str, ...] = EVERYWHERE
    traffic: dict = field(default_factory=dict)
    lost: Callable[[Bench, Traffic], int] = lambda bench, traffic: 0  # so many requests may be lost
    bound: str = ""  # what that is, in words
    minutes: float = 1


class Wrong(AssertionError):
    """The product did not do what is promised."""


def fine(run: Run, changed: int | None = None) -> Run:
    """Return the run, which must have gone well."""
    if run.code:
        raise Wrong(f"the run failed:\n{run.output[-4000:]}")
    if changed is not None and run.changed() != changed:
        raise Wrong(f"{run.changed()} changes:\n{run.output[-4000:]}")
    return run


def refused(run: Run, *named: str) -> Run:
    """Return the run, which must have failed, and have named these."""
    if not run.code:
        raise Wrong(f"the run went well, and should have failed:\n{run.output[-3000:]}")
    for text in named:
        if text not in run.output:
            raise Wrong(f"the message does not name {text!r}:\n{run.output[-4000:]}")
    return run


def answers(bench: Bench, version: str, colour: str | None = None) -> None:
    """See that this version answers, and no other."""
    for _number in range(4 * len(bench.app_hosts)):
        status, _headers, text = ask(bench.address, f"{bench.topology.prefix}echo?text=x", SITE)
        content = json.loads(text) if status == 200 else {}
        if content.get("version") != version:
            raise Wrong(f"version {version} should answer, and this came: {status} {text[:200]}")
        if colour is not None and content["colour"] != colour:
            raise Wrong(f"the environment is not the new one: {text[:200]}")


def deploy(bench: Bench, traffic: Traffic, name: str = "deploy", **changes) -> str:
    """Deploy the next good version under traffic; return it."""
    version = bench.write()
    with traffic.window(name):
        fine(bench.deploy(**changes))
    answers(bench, version)
    return version


def refuse(files: dict, *named: str, **changes) -> Callable[[Bench, Traffic], None]:
    """Return a scenario: a release that is not let in, while the old one goes on as if nothing were."""

    def work(bench: Bench, traffic: Traffic) -> None:
        before, good = bench.live(), bench.version
        bench.write(files, version=f"bad-{bench.number}")
        with traffic.window("refused"):
            refused(bench.deploy(**changes), *(text.format(app=bench.origin) for text in named))
        if bench.live() != before:
            raise Wrong(f"{bench.live()} is live, and {before} was")
        answers(bench, good)
        bad = [version for version in traffic.report.by_version if version.startswith("bad")]
        if bad:
            raise Wrong(f"a broken release has served: {traffic.report.by_version}")
        bench.version = good

    return work


# -- what is done ----------------------------------------------------------------------------------------------------

def five_deploys(bench: Bench, traffic: Traffic) -> str:
    """Five good releases, one after the other."""
    took = []
    for number in range(5):
        begin = time.monotonic()
        deploy(bench, traffic, f"deploy {number + 1}")
        took.append(time.monotonic() - begin)
    return f"a deploy takes {sorted(took)[2]:.1f} s"


def rollback(bench: Bench, traffic: Traffic) -> str:
    """One command goes back to the release before; nothing is built."""
    old = bench.version
    before = bench.live()
    deploy(bench, traffic)
    begin = time.monotonic()
    with traffic.window("rollback"):
        fine(bench.rollback())
    took = time.monotonic() - begin
    answers(bench, old)
    if bench.live() != before:
        raise Wrong(f"{bench.live()} is live after the rollback, and {before} was before the deploy")
    event = bench.record()["history"][-1]
    if (event["event"], event["reason"]) != ("live", "rollback"):
        raise Wrong(f"the record's last event is {event}")
    bench.version = old
    return f"{took:.1f} s"


def rollback_of_rollback(bench: Bench, traffic: Traffic) -> str:
    """Back, and forth again."""
    old = bench.version
    new = deploy(bench, traffic)
    live = bench.live()
    fine(bench.rollback())
    answers(bench, old)
    begin = time.monotonic()
    with traffic.window("and back"):
        fine(bench.rollback())
    answers(bench, new)
    if bench.live() != live:
        raise Wrong(f"{bench.live()} is live, and {live} should be")
    return f"{time.monotonic() - begin:.1f} s"


def settings(bench: Bench, traffic: Traffic) -> None:
    """Workers and timeouts change: a new release of the same code."""
    before = bench.live()
    bench.settings = {**bench.settings, "workers": 3, "timeout": 45}
    with traffic.window("settings"):
        fine(bench.deploy())
    if bench.live() == before:
        raise Wrong("the settings made no new release")
    answers(bench, bench.version)
    for host in bench.app_hosts:
        workers = ssh(host, f"ps -o pid= --ppid $(systemctl show -P MainPID 'webstack-{NAME}@*')").split()
        if len(workers) != 3:
            raise Wrong(f"{host}: {len(workers)} workers run instead of 3")
    bench.settings = {**bench.settings, "workers": 2}


def environment(bench: Bench, traffic: Traffic) -> None:
    """A variable changes."""
    bench.env = {**bench.env, "COLOUR": f"colour-{bench.number}"}
    with traffic.window("environment"):
        fine(bench.deploy())
    answers(bench, bench.version, bench.env["COLOUR"])


def full_disk(bench: Bench, traffic: Traffic) -> str:
    """The disk that the releases are on is full: before the build, and in the middle of it."""
    before, good = bench.live(), bench.version
    said = []
    for left in (0, 1):  # megabytes
        # The second one does not fit; without it a release of the same environment takes next to nothing.
        bench.write({"large.txt": "x" * 4_000_000} if left else {}, version=f"bad-{bench.number}")
        for host in bench.app_hosts:
            ssh(host, "sudo sh -c 'dd if=/dev/zero of=/srv/ballast bs=1M 2>/dev/null; sync; "
                      f"truncate -s -{left}M /srv/ballast; [ {left} != 0 ] || "
                      "dd if=/dev/zero of=/srv/ballast2 bs=1k 2>/dev/null; df /srv >&2; true'")
        try:
            with traffic.window(f"full disk, {left} MB left"):
                run = bench.deploy()
        finally:
            for host in bench.app_hosts:
                ssh(host, "sudo rm -f /srv/ballast /srv/ballast2")
        refused(run, "o space left")
        said.append(run.output)
        if bench.live() != before:
            raise Wrong(f"{bench.live()} is live, and {before} was")
        answers(bench, good)
    bench.version = good
    return "/srv full"


def nginx_reload(bench: Bench, traffic: Traffic) -> str:
    """Reload nginx five times while a release takes over."""
    edge = bench.places[bench.topology.edge]
    bench.write()
    ssh(edge, "sudo systemd-run --unit=reloads --collect sh -c "
              "'for n in 1 2 3 4 5; do sleep 3; systemctl reload nginx; done'")
    with traffic.window("deploy and reloads"):
        fine(bench.deploy())
        time.sleep(3)
        while ssh(edge, "systemctl is-active reloads", check=False).strip() == "active":
            time.sleep(0.5)
    return f"nginx {'.'.join(map(str, nginx_version(bench)))}, 5 reloads"


def kill(which: str) -> Callable[[Bench, Traffic], str]:
    """Return a scenario: SIGKILL of a worker, or of the master."""
    code = ("import os, time, subprocess, signal; "
            "main = int(subprocess.check_output(['systemctl', 'show', '-P', 'MainPID', 'webstack-{name}@*'])); "
            "workers = [int(w) for w in subprocess.check_output(['ps', '-o', 'pid=', '--ppid', str(main)]).split()]; "
            "pid = main if '{which}' == 'master' else workers[-1]; "
            "begin = time.monotonic(); os.kill(pid, signal.SIGKILL); print(begin)")

    def work(bench: Bench, traffic: Traffic) -> str:
        before = bench.live()
        for number in range(3):
            # Hosts and controller are one machine here, with one clock.
            at = float(ssh(bench.app_hosts[0], f'sudo python3 -c "{code.format(name=NAME, which=which)}"'))
            traffic.moments.append((f"kill {number}", at, at + KILLED[which]))
            time.sleep(6)
        if bench.live() != before:
            raise Wrong("another release is live")
        answers(bench, bench.version)
        return "3 times"

    return work


#: seconds until the last of what was killed is gone: systemd kills the workers of a dead master
KILLED = {"worker": 0.02, "master": 0.3}


def in_flight(workers: int | None = None) -> Callable[[Bench, Traffic], int]:
    """Return what may be lost where so many workers are killed, all of them by default.

    Each time it is what the client had in flight then, and no more than the threads of these workers can have had in
    hand: what waits in the socket's queue is nobody's yet, and has to live.
    """

    def count(bench: Bench, traffic: Traffic) -> int:
        hands = (workers or bench.settings["workers"]) * bench.settings["threads"]
        return sum(min(hands, moment) for moment in traffic.report.moments.values())

    return count


def of_reloads(bench: Bench, _traffic: Traffic) -> int:
    """Return what five reloads of nginx may cost under kept connections: nothing from 1.27.4 on."""
    return 0 if nginx_version(bench) >= (1, 27, 4) else 5 * 8


def nginx_version(bench: Bench) -> tuple[int, ...]:
    """Return the version of the edge's nginx."""
    said = ssh(bench.places[bench.topology.edge], "/usr/sbin/nginx -v 2>&1")
    return tuple(int(part) for part in said.strip().rpartition("/")[2].split(" ")[0].split("."))


def start_limit(bench: Bench, traffic: Traffic) -> str:
    """SIGKILL of the master six times in ten seconds: the socket must stay."""
    for number in range(6):
        at = float(ssh(bench.app_hosts[0], (
            'sudo python3 -c "import os, time, subprocess, signal; '
            f"pid = int(subprocess.check_output(['systemctl', 'show', '-P', 'MainPID', 'webstack-{NAME}@*']) or 0); "
            'begin = time.monotonic(); pid and os.kill(pid, signal.SIGKILL); print(begin)"')))
        traffic.moments.append((f"kill {number}", at, at + KILLED["master"]))
        time.sleep(1.5)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = ssh(bench.app_hosts[0], f"systemctl is-active webstack-{NAME}.socket 'webstack-{NAME}@*'", check=False)
        if state.split() == ["active", "active"]:
            break
        time.sleep(0.5)
    else:
        raise Wrong(f"socket and instance are {state.split()}")
    return "6 in 10 s"


def recycled(bench: Bench, traffic: Traffic) -> str:
    """Workers that are replaced every few seconds: more often, and the machine does nothing but start them."""
    bench.settings = {**bench.settings, "max_requests": 2000}
    deploy(bench, traffic)
    with traffic.window("recycling"):
        time.sleep(12)
    bench.settings = {**bench.settings, "max_requests": 0}
    deploy(bench, traffic)
    return "max_requests 2000"


def slow_import(bench: Bench, traffic: Traffic) -> None:
    """An app that takes four seconds to import."""
    bench.write({"behaviour.py": "import time\ntime.sleep(4)\n" + GOOD_BEHAVIOUR})
    with traffic.window("slow import"):
        fine(bench.deploy())
    answers(bench, bench.version)


GOOD_BEHAVIOUR = '''
def health(version):
    return f"well, version {version}\\n"

def started(app):
    pass
'''

#: in the server alone: the trials of the import are let through
IN_SERVER = '''
import sys
TRIAL = sys.argv[:1] == ["webstack-probe"]
''' + GOOD_BEHAVIOUR

NEVER_READY = IN_SERVER.replace("    pass", "    import time\n    time.sleep(0 if TRIAL else 3600)")

#: well for some seconds after the first request, then its whole server dies
DIES_SOON = '''
import os, signal, sys, threading, time

def die():
    print("died at", time.monotonic(), file=sys.stderr, flush=True)
    time.sleep(0.2)  # for the journal, which loses what a dead process has said
    os.kill(os.getppid(), signal.SIGKILL)

def health(version):
    # In the trials it has another folder for its socket, and is asked but once.
    if not hasattr(health, "timer"):
        health.timer = threading.Timer({seconds}, die)
        health.timer.daemon = True
        health.timer.start()
    return f"well, version {{version}}\\n"

def started(app):
    pass
'''

SICK_SOON = '''
import time
FIRST = []

def health(version):
    FIRST.append(time.monotonic())
    if time.monotonic() - FIRST[0] > {seconds}:
        return ("sick", 500)
    return f"well, version {{version}}\\n"

def started(app):
    pass
'''


def undone(files: dict, *named: str) -> Callable[[Bench, Traffic], str]:
    """Return a scenario: a release that is well at first, and is taken back within its watch window."""

    def work(bench: Bench, traffic: Traffic) -> str:
        before, good = bench.live(), bench.version
        bench.write(files, version=f"dies-{bench.number}")
        with traffic.window("dies"):
            run = bench.deploy(health={"watch": 20})
        for host in bench.app_hosts if "died" in str(files) else []:
            said = ssh(host, "sudo journalctl --namespace='*' -o cat --since=-5min -g '^died at' || "
                             "sudo journalctl -o cat --since=-5min -g '^died at'", check=False).split()
            # One that has died in its trial had no request of the client's.
            times = [float(word) + 0.2 for word in said[2::3]]
            if not times:
                raise Wrong(f"{host}: the release has not died")
            traffic.moments.append(("death", times[-1], times[-1] + KILLED["master"]))
        refused(run, *(text.format(app=bench.origin) for text in named))
        if bench.live() != before:
            raise Wrong(f"{bench.live()} is live, and {before} was")
        bench.version = good
        answers(bench, good)
        return "watch: 20"

    return work


BAD_MIGRATION = '''
from django.db import migrations


def fail(apps, schema_editor):
    raise RuntimeError("this migration fails")


class Migration(migrations.Migration):
    dependencies = [("entries", "0002_first_entry")]
    operations = [migrations.RunPython(fail, migrations.RunPython.noop)]
'''

SCENARIOS = {scenario.name: scenario for scenario in (
    Scenario("five deploys in a row", five_deploys, minutes=2),
    Scenario("a deploy that does not import", refuse(
        {"behaviour.py": "raise RuntimeError('boom')\n"}, "boom")),
    Scenario("a deploy that answers 500 on its health path", refuse(
        {"behaviour.py": GOOD_BEHAVIOUR.replace('f"well, version {version}\\n"', '("sick", 500)')},
        "{app}.health.path", "500")),
    Scenario("a deploy that never gets ready", refuse(
        {"behaviour.py": NEVER_READY}, "{app}: "), WSGI, minutes=4),
    Scenario("a deploy whose migration fails", refuse(
        {"entries/migrations/0003_bad.py": BAD_MIGRATION}, "this migration fails"), topologies=("T4",)),
    Scenario("a deploy whose requirements cannot be installed", refuse(
        {"requirements.txt": "surely-not-a-package==99.99\n"}, "{app}.requirements",
        "surely-not-a-package")),
    Scenario("a rollback", rollback),
    Scenario("a rollback of a rollback", rollback_of_rollback),
    Scenario("a change of server settings", settings),
    Scenario("a change of environment", environment),
    Scenario("a full disk during the build", full_disk, WSGI),
    Scenario("nginx reloads in a deploy, connections that close", nginx_reload, WITH_NGINX,
             traffic={"connections": ["new"]}),
    Scenario("nginx reloads in a deploy, kept connections", nginx_reload, WITH_NGINX,
             traffic={"connections": ["kept"]}, lost=of_reloads,
             bound="8 for each reload, where nginx is older than 1.27.4"),
    Scenario("kill -9 of a worker", kill("worker"), WSGI, lost=in_flight(1), bound="in hand"),
    Scenario("kill -9 of the master", kill("master"), WSGI, lost=in_flight(), bound="in hand"),
    Scenario("kill -9 of the master six times in ten seconds", start_limit, WSGI, lost=in_flight(), bound="in hand"),
    Scenario("workers recycled after 2,000 requests", recycled, ("T1", "T2", "T3")),
    Scenario("an app that takes four seconds to import", slow_import, ("T1", "T3")),
    Scenario("a release that dies after 8 s", undone(
        {"behaviour.py": DIES_SOON.format(seconds=8)}, "did not stay up"), ("T1", "T3"),
        lost=in_flight(), bound="in hand"),
    Scenario("a release that is sick after 8 s", undone(
        {"behaviour.py": SICK_SOON.format(seconds=8)}, "{app}.health.path"), ("T1", "T3")),
)}


def perform(bench: Bench, scenario: Scenario, row: dict) -> None:
    """Do one scenario under traffic; fill in what is told in the table. Raises Wrong."""
    begin = time.monotonic()
    version = None
    with bench.traffic(**scenario.traffic) as traffic:
        note = scenario.work(bench, traffic) or ""
        # Whatever it was: the next good deploy works.
        version = deploy(bench, traffic, "the next deploy")
    report = traffic.report
    if os.environ.get("TABLE"):
        print(report.table(), flush=True)
    allowed = scenario.lost(bench, traffic)
    problem = ""
    if report.lost > allowed:
        problem = f"{report.lost} requests were lost, and {allowed} may be ({scenario.bound or 'none'})"
    elif report.sent < bench.rate * report.seconds * 0.8:
        problem = f"the client was too slow to tell anything: {report}"
    elif report.by_version[version] == 0 and "get" in traffic.settings.kinds:
        problem = f"the last version has answered nothing: {report.by_version}"
    live = bench.live()
    for host in bench.app_hosts:
        record = bench.record(host)
        if record["history"][-1]["release"] != live or record["history"][-1]["event"] != "live":
            problem = problem or f"{host}: the record ends with {record['history'][-1]}, and {live} is live"
    answers(bench, version)
    try:
        fine(bench.deploy(), changed=0)
    except Wrong as error:
        problem = problem or f"the second run: {error}"
    row |= {
        "rate": bench.rate, "sent": report.sent,
        "lost": report.lost, "allowed": allowed, "bound": scenario.bound, "late": report.late,
        "p99": report.quiet.p99 if report.quiet else 0, "slowest": report.slowest, "note": note,
        "switch_p99": max((window.p99 for window in report.switches), default=0),
        "seconds": time.monotonic() - begin, "problem": problem,
    }
    if problem:
        raise Wrong(f"{problem}\n{report.table()}")
