"""Cut a deploy off at every point of it, under traffic, and see that the same command run again mends all.

The points come from a run itself (the callback plugin `kill_points`): the start of each task, and each module that runs
on a host, at several moments of its time. What is done there is one of `WAYS`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import COLLECTIONS, NAME, ROOT, SITE, SSH_CONFIG, TOPOLOGIES, Bench, ask, ssh
from stack import BIN

#: moments inside of a module's run, in seconds
MOMENTS = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0)
#: a short watch, so that the many runs do not take all day
QUICK = {"health": {"watch": 1.5}}

for _name in ("T1", "T3", "T4"):
    TOPOLOGIES[f"kill-{_name}"] = dataclasses.replace(TOPOLOGIES[_name], places={"web1": "kill-{debian}"})

# Ends the sessions of all others who have logged in, and with `modules` what runs in them first.
_HANG_UP = r"""
import os, signal, sys
def parent(pid):
    with open(f"/proc/{pid}/stat") as stream:
        return int(stream.read().rpartition(")")[2].split()[1])
def line(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as stream:
        return stream.read().replace(b"\0", b" ").decode(errors="replace")
me, mine = os.getpid(), set()
while me > 1:
    mine.add(me)
    me = parent(me)
family, sessions = {}, []
for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
    try:
        family.setdefault(parent(pid), []).append(pid)
        text = line(pid)
    except OSError:
        continue
    if pid not in mine and text.startswith(("sshd: ", "sshd-session: ")) and "listener" not in text:
        sessions.append(pid)
def below(pid):
    for child in family.get(pid, []):
        yield from below(child)
        yield child
wanted = list(sessions)
if sys.argv[1] == "modules":
    wanted = [pid for session in sessions for pid in below(session) if pid not in sessions] + sessions
for pid in wanted:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@dataclass
class Point:
    """Where a run is cut off."""

    kind: str  # task or module
    what: str
    number: int
    delay: float = 0.0

    def __str__(self) -> str:
        again = f" ({self.number + 1})" if self.number else ""
        return f"{self.what}{again}" + (f" after {self.delay:g} s" if self.kind == "module" else "")


class Cut:
    """One run of a deploy that can be cut off, with the callback plugin on."""

    def __init__(self, bench: Bench, point: Point | None = None):
        self.events, self.reached = bench.folder / "events", bench.folder / "reached"
        for path in (self.events, self.reached):
            path.unlink(missing_ok=True)
        root = COLLECTIONS / "ansible_collections/frontdesk/webstack" if COLLECTIONS else ROOT
        command = [BIN / "ansible-playbook", root / "playbooks/deploy.yml", "-i", bench.folder / "groups.yml",
                   "-i", bench.folder / "hosts.yml", "-e", json.dumps(bench.variables(**QUICK)), "-e", f"app={NAME}"]
        environment = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/plugins/callback"), "KILL_EVENTS": str(self.events),
            "KILL_REACHED": str(self.reached), "KILL_POINT": json.dumps(vars(point)) if point else "",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS or ROOT / ".cache/collections"),
            "ANSIBLE_CACHE_PLUGIN": "memory", "ANSIBLE_CALLBACKS_ENABLED": "kill_points", "ANSIBLE_NOCOLOR": "1",
        }
        self.log = (bench.folder / "cut.log").open("w+")
        self.process = subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment, stdout=self.log,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def wait_for_point(self, limit: float = 300) -> bool:
        """Wait until the point is reached; False where the run came to its end before."""
        deadline = time.monotonic() + limit
        while not self.reached.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def end(self, limit: float = 300) -> str:
        """Wait for the end of the run; return what it said."""
        try:
            self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
        self.log.seek(0)
        return self.log.read()

    def kill(self) -> None:
        """SIGKILL for Ansible, its workers and their ssh clients; what runs on the hosts goes on, knowing nothing."""
        for pid in [self.process.pid, *_below(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)


def _below(pid: int) -> list[int]:
    family: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
            family.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found, left = [], [pid]
    while left:
        children = family.get(left.pop(), [])
        found += children
        left += children
    return found


def sigkill(bench: Bench, cut: Cut) -> None:
    """Kill Ansible on the controller."""
    cut.kill()


def hang_up(bench: Bench, cut: Cut) -> None:
    """End the SSH sessions on the hosts; the modules there survive."""
    _on_hosts(bench, "sessions")


def kill_modules(bench: Bench, cut: Cut) -> None:
    """End what runs in the SSH sessions on the hosts, as a power cut would, and the sessions."""
    _on_hosts(bench, "modules")


def _on_hosts(bench: Bench, what: str) -> None:
    for host in bench.places.values():
        subprocess.run(["ssh", "-F", str(SSH_CONFIG), "-o", "ControlPath=none", host, "sudo", "python3", "-", what],
                       input=_HANG_UP, text=True, check=True, capture_output=True, timeout=60)


WAYS = {"Ansible is killed": sigkill, "the connection is lost": hang_up, "the modules on the host are killed":
        kill_modules}


def points(bench: Bench) -> list[Point]:
    """Return all points of a deploy, from one that is left alone."""
    bench.write()
    cut = Cut(bench)
    said = cut.end()
    assert cut.process.returncode == 0, said[-4000:]
    events = [json.loads(line) for line in cut.events.read_text(encoding="utf-8").splitlines()]
    found = [Point("task", event["what"], event["number"]) for event in events if event["kind"] == "task"]
    for event in events:
        if event["kind"] == "done":
            found += [Point("module", event["what"], event["number"], moment) for moment in MOMENTS
                      if moment < event["took"]]
    return found


@dataclass
class Outcome:
    """What came of all points."""

    tried: int = 0
    too_late: int = 0  # the run was done before the moment came
    problems: list[str] = field(default_factory=list)


def try_all(bench: Bench, traffic, way: str, wanted: list[Point], third: int = 1) -> Outcome:
    """Cut a deploy off at each of the points; every ``third`` time see that a run after the mending changes nothing."""
    outcome = Outcome()
    for number, point in enumerate(wanted):
        lost = traffic.report.lost
        problem = _one(bench, way, point, outcome, number % third == 0)
        if not problem and traffic.report.lost > lost:
            problem = f"{traffic.report.lost - lost} requests lost: {traffic.report.failures[-1]}"
        if problem:
            outcome.problems.append(f"{way}, {point}: {problem}")
            print(outcome.problems[-1], flush=True)
    return outcome


def _one(bench: Bench, way: str, point: Point, outcome: Outcome, twice: bool) -> str:
    version = bench.write()
    cut = Cut(bench, point)
    if cut.wait_for_point():
        WAYS[way](bench, cut)
        outcome.tried += 1
    else:
        outcome.too_late += 1
    cut.end()
    again = bench.deploy(**QUICK)
    if again.code:
        return f"the same command again failed:\n{again.output[-3000:]}"
    return wrong(bench, version) or (changes(bench) if twice else "")


def wrong(bench: Bench, version: str) -> str:
    """Return what is not as it should be after a deploy of this version."""
    try:
        live = bench.live()
    except AssertionError as error:
        return str(error)
    path = "api/echo" if bench.topology.framework == "django" else "echo"
    for _time in range(4):
        answer = json.loads(ask(bench.address, f"/{path}?text=x", SITE)[2])
        if (answer["version"], answer["release"]) != (version, live):
            return f"version {answer['version']} ({answer['release']}) answers, not {version} ({live})"
    for host in bench.app_hosts:
        left = ssh(host, f"cd /srv/webstack/apps/{NAME}; ls -d lock.json releases/.??* /run/webstack_probe/{NAME} "
                         "/run/systemd/system/webstack_* /srv/webstack/*/*/releases/*.partial 2>/dev/null || true")
        if left.strip():
            return f"left over on {host}: {left.split()}"
    return ""


def changes(bench: Bench) -> str:
    """Run the same once more; return what it changed."""
    run = bench.deploy(**QUICK)
    if run.code or run.changed():
        return f"a run after that had {run.changed()} changes:\n{run.output[-3000:]}"
    return ""


def two_at_once(bench: Bench) -> str:
    """Start two deploys of one app, of two versions, together; return what is wrong with what came of it."""
    first = bench.write()
    other = copy.copy(bench)  # with its own source
    other.folder = bench.folder / f"other-{bench.number}"
    other.folder.mkdir()
    for name in ("groups.yml", "hosts.yml"):
        shutil.copy(bench.folder / name, other.folder)
    other.source = other.folder / "source"
    second = other.write()
    one, two = Cut(bench), Cut(other)
    said = [one.end(), two.end()]
    codes = [one.process.returncode, two.process.returncode]
    bench.number = other.number
    good = [version for version, code in zip((first, second), codes, strict=True) if code == 0]
    refused = [text for text, code in zip(said, codes, strict=True) if code]
    if len(good) != 1:
        return f"{len(good)} of two deploys at once went well:\n" + said[0][-1500:] + said[1][-1500:]
    if "is being deployed by" not in refused[0]:
        return f"the loser does not say why:\n{refused[0][-2000:]}"
    return wrong(bench, good[0])
