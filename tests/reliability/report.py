#!/usr/bin/env python3
"""Make the table of what was tried, and docs/reliability.md: report.py [--write], or report.py --list

The rows are written by the tests, into .cache/reliability, and last of each test one of the kind `end`. A run may be
done in parts: what a test said the last time is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: `full`, or a fixed sample of all that there is, for `tools/test.sh`
WHICH = os.environ.get("RELIABILITY", "sample")
SAMPLE = WHICH != "full"
ROWS = ROOT / f".cache/reliability/{WHICH}.jsonl"
PAGE = ROOT / "docs/reliability.md"
COMMAND = "make reliability"

INTRODUCTION = """\
# Reliability

What the collection promises, tried on real hosts with a strict client running: it sends at a steady rate from outside
of the hosts (GET, POST with a body, answers that take 5 s; on kept connections and on new ones), never repeats a
request, and checks each answer's status and content. An answer is counted for the release that it names. This page is
written by

    {command}

and tells of the run below. `tools/test.sh reliability` does a sample in a few minutes.

The client is there for your own app too. Let it run while you deploy; it ends with its table, and with exit code 1
where one request was lost:

    python -m tests.reliability.traffic --url http://192.0.2.11/ --host shop.example.com --rate 100 --seconds 60

"""


#: how long a test takes that has not been run yet, roughly, by what its name has
MINUTES = {"test_killed_anywhere": 140.0, "deploys and rollbacks": 90.0, "": 1.0}


def read() -> list[dict]:
    """Return all rows so far, in the order in which they were written."""
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()] if ROWS.exists() else []


def newest(rows: list[dict]) -> dict[str, list[dict]]:
    """Return the rows of the last time that each test was run; its rows have the date on which it began."""
    runs: dict[str, list[dict]] = {}
    for row in rows:
        run = runs.setdefault(row["test"], [])
        if run and run[0]["date"] != row["date"]:
            run.clear()
        run.append(row)
    return runs


def ended(runs: dict[str, list[dict]]) -> dict[str, dict]:
    """Return the last row of each test that was not cut off."""
    return {test: run[-1] for test, run in runs.items() if run[-1]["kind"] == "end"}


def full_list() -> list[str]:
    """Return all tests that there are, in their order."""
    said = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
                           "tests/reliability"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if "::" in line]


def by_place(tests: list[str], passed: dict[str, dict]) -> list[str]:
    """Return a table: how many tests there are at each place, how many have passed, and how long all of them take."""
    places: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        places[re.search(r"\[((?:kill-)?T\d(?:-ASGI)?-\d+)", test)[1]].append(test)

    def minutes(test: str) -> float:
        return passed[test]["took"] / 60 if test in passed else next(
            value for part, value in MINUTES.items() if part in test)

    def line(name: str, found: list[str]) -> list:
        return [name, len(found), sum(test in passed for test in found), f"{sum(map(minutes, found)):.0f}"]

    return table(["place", "tests", "passed", "minutes (about)"],
                 [*(line(*place) for place in places.items()), line("all", tests)])


def machine() -> str:
    """Say what this machine is."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    memory = int(re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.M)[1]) >> 20
    ansible = subprocess.run([Path(sys.executable).parent / "ansible", "--version"], capture_output=True, text=True,
                             check=False).stdout.partition("\n")[0]
    return (f"{os.cpu_count()} processors ({cpu[1] if cpu else platform.machine()}), {memory} GB, Linux "
            f"{platform.release().partition('-')[0]}, Python {platform.python_version()}, {ansible}. The client, "
            "Ansible and all hosts (containers with systemd and SSH) share it.")


def table(head: list[str], rows: list[list]) -> list[str]:
    """Return a Markdown table that is also fit for a terminal."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    wide = [max(len(row[index]) for row in cells) for index in range(len(head))]
    number = [all(re.fullmatch(r"[-\d.,% ]*", row[index]) for row in cells[1:]) for index in range(len(head))]

    def line(row: list[str]) -> str:
        return "| " + " | ".join(cell.rjust(size) if right else cell.ljust(size)
                                 for cell, size, right in zip(row, wide, number, strict=True)) + " |"

    rule = "|" + "|".join("-" * (size + 1) + (":" if right else "-") for size, right in zip(wide, number, strict=True))
    return [line(cells[0]), rule + "|", *(line(row) for row in cells[1:])]


def said(row: dict) -> str:
    return f"**{row['problem']}**" if row.get("problem") else "ok"


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def sections(rows: list[dict]) -> tuple[list[str], dict[str, int]]:
    """Return the text of all tables, and the totals."""
    by_kind: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    lines: list[str] = []
    if by_kind["scenario"]:
        lines += ["## Under traffic", "",
                  "`allowed` is what may be lost: none but where something is killed (what it had in hand), and",
                  "where nginx before 1.27.4 is reloaded under kept connections. p99 in ms: outside of all runs, and",
                  "in the worst switch (from a second before the first answer of the new release to a second after the",
                  "last of the old one). `late`: the client itself was held up for more than 100 ms.",
                  ""]
        lines += table(
            ["what", "where", "Debian", "requests", "late", "lost", "allowed", "p99 quiet", "p99 switch", "note",
             ""],
            [[row["scenario"], row["topology"], row["debian"], row.get("sent", ""), row.get("late", ""),
              row.get("lost", ""), row.get("allowed", ""), ms(row.get("p99", 0)),
              ms(row.get("switch_p99", 0)), row.get("note", ""), said(row)] for row in by_kind["scenario"]])
        lines.append("")
    if by_kind["soak"]:
        lines += ["## Many in a row", "",
                  "Deploys and rollbacks, two to one; what the host had early on and at the end.", ""]
        lines += table(
            ["server", "Debian", "switches", "requests", "lost", "p99 quiet", "p99 switch (median)", "may be",
             "deploy s", "rollback s", "disk MB", "memory MB", ""],
            [[row["server"], row["debian"], row["times"], row["sent"], row["lost"], ms(row["quiet_p99"]),
              ms(row["switch_p99"]), ms(row["bound"]), f"{row['deploy_s']:.1f}", f"{row['rollback_s']:.1f}",
              *(f"{row['before'][i] / 1000:.0f} -> {row['after'][i] / 1000:.0f}" if row["before"] else "-"
                for i in (0, 1)), said(row)]
             for row in by_kind["soak"]])
        lines.append("")
    if by_kind["broken"]:
        lines += ["## Broken releases", "",
                  "`ok`: it was refused with a message that names the variable to change, the live release stayed as",
                  "it was, no request was lost, and the next good deploy worked. `served` counts the requests that it",
                  "answered.", ""]
        kinds: dict[str, list[dict]] = defaultdict(list)
        for row in by_kind["broken"]:
            kinds[row["broken"]].append(row)
        lines += table(
            ["what is broken", "tried with", "served", "lost", ""],
            [[name, ", ".join(dict.fromkeys(f"{row['topology']}/{row['server']}/{row['debian']}" for row in found)),
              sum(row.get("served", 0) for row in found), sum(row.get("lost", 0) for row in found),
              next((said(row) for row in found if row["problem"]), "ok")] for name, found in kinds.items()])
        lines.append("")
    if by_kind["control"]:
        lines += ["## That the client can fail", "",
                  "The same app and client, behind a unit that owns its socket and is restarted three times.", ""]
        lines += table(["server", "Debian", "requests", "lost", "why"],
                       [[row["server"], row["debian"], row["sent"], row["lost"],
                         ", ".join(f"{count} {why}" for why, count in row["why"].items())]
                        for row in by_kind["control"]])
        lines.append("")
    for kind in sorted(set(by_kind) - {"scenario", "soak", "broken", "control"}):  # of other tests, in words
        lines += [f"## {by_kind[kind][0].get('title', kind)}", ""]
        lines += table(["what", "where", "requests", "lost", ""],
                       [[row.get("what", ""), row.get("where", ""), row.get("sent", ""), row.get("lost", ""), said(row)]
                        for row in by_kind[kind]])
        lines.append("")
    strict = [row for row in rows if row["kind"] != "control"]
    return lines, {
        "sent": sum(row.get("sent", 0) for row in strict),
        "lost": sum(row.get("lost", 0) for row in strict),
        "unexpected": sum(max(0, row.get("lost", 0) - row.get("allowed", 0)) for row in strict),
        "broken": len({row["broken"] for row in by_kind["broken"]}),
        "served": sum(row.get("served", 0) for row in by_kind["broken"]),
    }


def told(run: list[dict]) -> list[dict]:
    """Return what a test said, for the tables; one that failed without a word of its own is there too."""
    rows = [row for row in run if row["kind"] != "end"]
    if run[-1]["kind"] == "end" and run[-1]["problem"] and not any(row.get("problem") for row in rows):
        rows.append({**run[-1], "kind": "other", "title": "Others that failed",
                     "what": run[-1]["test"].partition("::")[2]})
    return rows


def extent(runs: dict[str, list[dict]], ends: dict[str, dict], wanted: int, part: str) -> str:
    """Say what of all that there is was run, when, and for how long."""
    first = sorted((run[0] for run in runs.values()), key=lambda row: row["date"])
    days = [first[0]["date"][:10], first[-1]["date"][:10]]
    commits = list(dict.fromkeys(row["commit"] for row in first))
    day = "between " + " and ".join(days) if days[0] != days[1] else f"on {days[0]}"
    when = f"{day} at commit{'s' if commits[1:] else ''} {'..'.join(dict.fromkeys((commits[0], commits[-1])))}"
    took = int(sum(end["took"] for end in ends.values()))
    if part:
        what = f"A part of it, {when} ({part})"
    elif len(ends) == wanted:
        what = f"The full run, {when}"
    else:
        what = f"{len(ends)} of {wanted} of the full run ({wanted - len(ends)} are left), {when}"
    return f"{what}, {took // 3600} h {took % 3600 // 60} min"


def main() -> int:
    """Print the tables and one line of totals; with --write put them on the page too."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--list", action="store_true", help="say how many tests there are, and how many have passed")
    parser.add_argument("--part", default="", help="say on the page that this was not all of it, and what it was")
    options = parser.parse_args()
    every, tests = read(), full_list()
    found = newest(every)
    runs = {test: found[test] for test in tests if test in found}
    ends = ended(runs)
    if options.list:
        print("\n".join(by_place(tests, {test: end for test, end in ends.items() if not end["problem"]})))
        return 0
    if not runs:
        print("reliability: nothing was tried")
        return 1
    rows = [row for run in runs.values() for row in told(run)]
    lines, total = sections(rows)
    failed = sum(any(row.get("problem") for row in run) for run in runs.values())
    again = {row["test"] for row in every if row["kind"] == "end" and row["problem"]} & {
        test for test, end in ends.items() if not end["problem"]}
    last = (f"{len(ends)} tried, {failed} failed{f' ({len(again)} more at first, and not again)' if again else ''}; "
            f"{total['sent']} requests, {total['lost']} lost, {total['unexpected']} of them beyond what may be; "
            f"{total['broken']} kinds of broken releases, which served {total['served']} requests")
    summary = f"{extent(runs, ends, len(tests), options.part)}: {last}."
    if options.write:
        rates = sorted({f"{row['rate']:g}" for row in rows if "rate" in row}, key=float)
        loads = sorted(run[0]["load"] for run in runs.values())
        text = INTRODUCTION.format(command=COMMAND)
        text += (f"The machine: {machine()}\n\nRequests a second, beside the slow ones: {', '.join(rates) or '-'}; a "
                 f"fifth of that while broken releases are tried. Load average when a test began: {loads[0]:.1f} to "
                 f"{loads[-1]:.1f}.\n\n{summary}\n\n")
        PAGE.write_text(text + "\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(summary if not SAMPLE else last)
    return 1 if failed or not ends else 0


if __name__ == "__main__":
    sys.exit(main())
