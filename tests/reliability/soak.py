"""Hundreds of deploys and rollbacks in a row, under traffic: nothing is lost, nothing gets slower, nothing grows."""

from __future__ import annotations

import statistics
import time

from bench import NAME, Bench, ssh
from scenarios import answers, fine

#: what a host has of the app: kilobytes on its disks, kilobytes in memory, units, files
MEASURE = f"""
import glob, os, subprocess
def disk(*paths):
    return sum(int(line.split()[0]) for line in subprocess.run(
        ["du", "-sk", *filter(os.path.exists, paths)], capture_output=True, text=True).stdout.splitlines())
def memory():
    total = 0
    for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
        try:
            name = open(path.replace("smaps_rollup", "comm")).read().strip()
            if name not in ("python3", "sudo", "sshd", "sshd-session", "sh"):
                total += next(int(line.split()[1]) for line in open(path) if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total
units = subprocess.run(["systemctl", "list-units", "--all", "--no-legend", "webstack*"], capture_output=True,
                       text=True).stdout.splitlines()
print(disk("/srv", "/etc/webstack", "/etc/systemd", "/var/cache/webstack", "/var/lib/webstack", "/run/webstack_probe"),
      memory(), len(units), len(os.listdir("/srv/webstack/apps/{NAME}/releases")))
"""
WORDS = ("disk kB", "memory kB", "units", "releases")


def measure(bench: Bench) -> list[int]:
    """Return what the first host has."""
    code = MEASURE.replace('"', '\\"')
    return [int(word) for word in ssh(bench.app_hosts[0], f'sudo python3 -c "{code}"').split()]


def run(bench: Bench, times: int) -> tuple[dict, list[str], BaseException | None]:
    """Deploy and go back so many times; return the row of the table, what was wrong, and what ended it early."""
    problems: list[str] = []
    stopped: BaseException | None = None
    measured: list[list[int]] = []
    took: dict[str, list[float]] = {"deploy": [], "rollback": []}
    begin = time.monotonic()
    with bench.traffic(limit=6 * 3600) as traffic:
        time.sleep(20)  # quiet, to compare with
        good = [bench.version]
        try:
            for number in range(times):
                back = number % 3 == 2
                start = time.monotonic()
                if back:
                    version = good[-2]
                    with traffic.window("runs"):
                        fine(bench.rollback())
                    good = [good[-1], version]
                else:
                    version = bench.write()
                    with traffic.window("runs"):
                        fine(bench.deploy())
                    good = [good[-1], version]
                took["rollback" if back else "deploy"].append(time.monotonic() - start)
                answers(bench, version)
                bench.version = version
                # More than are kept have been made by then.
                if number in (min(14, times // 2), times - 1):
                    measured.append(measure(bench))
                time.sleep(1.5)
            time.sleep(20)
        except (Exception, KeyboardInterrupt) as error:
            stopped = error
    done = len(took["deploy"]) + len(took["rollback"])
    if stopped:
        problems.append(f"it ended after {done} of {times}: {stopped!r}".splitlines()[0][:300])
    report = traffic.report
    quiet, switches = report.quiet.p99, [window.p99 for window in report.switches]
    median = statistics.median(switches) if switches else 0.0
    bound = max(1.2 * quiet, quiet + 0.02)
    if report.lost:
        problems.append(f"{report.lost} of {report.sent} requests were lost: {report.failures[:3]}")
    if len(switches) < done:
        problems.append(f"{len(switches)} switches were seen, and {done} were made")
    if median > bound:
        problems.append(f"p99 in a switch is {median * 1000:.1f} ms, and {bound * 1000:.1f} ms may be")
    before, after = (measured[0], measured[-1]) if measured else ([], [])
    for word, early, late in zip(WORDS, before, after, strict=False):
        if late > early * 1.1 + (5000 if "kB" in word else 2):
            problems.append(f"{word} grew from {early} to {late}")
    # The last good one still deploys.
    return {
        "topology": bench.topology.name, "debian": bench.debian, "server": bench.topology.server, "times": done,
        "rate": bench.rate,
        "sent": report.sent, "lost": report.lost, "late": report.late, "quiet_p99": quiet, "switch_p99": median,
        "worst_switch_p99": max(switches, default=0), "bound": bound, "before": before, "after": after,
        "words": WORDS, "deploy_s": statistics.median(took["deploy"] or [0]),
        "rollback_s": statistics.median(took["rollback"] or [0]), "seconds": time.monotonic() - begin,
    }, problems, stopped
