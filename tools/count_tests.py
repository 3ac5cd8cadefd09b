#!/usr/bin/env python3
"""Count what tools/test.sh has run: count_tests.py LOGS SECONDS PART...

A check of the linter, a unit test, a test on a host and a scenario (its playbooks ran, and the second time changed
nothing) count one each. A part that failed without a test of its own that says why counts as one failure.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

SCENARIOS = Path(__file__).resolve().parent.parent / "molecule"


class Count(NamedTuple):
    """How many passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: Count) -> Count:
        """Add up."""
        return Count(*(own + more for own, more in zip(self, other, strict=True)))


def of_junit(path: Path) -> Count:
    """Count the tests of a JUnit file; none where there is no such file."""
    if not path.exists():
        return Count()
    total = Count()
    # Written by pytest on this machine a moment ago.
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314
        words = ("tests", "failures", "errors", "skipped")
        tests, failures, errors, skipped = (int(suite.get(word, 0)) for word in words)
        total = total.plus(Count(tests - failures - errors - skipped, failures + errors, skipped))
    return total


def of_part(logs: Path, name: str) -> Count:
    """Count one part of a run."""
    try:
        good = (logs / f"{name}.result").read_text(encoding="utf-8").split()[0] == "0"
    except FileNotFoundError:
        return Count(failed=1)  # it did not even end
    if name == "lint":
        said = re.search(r"^lint: (\d+) passed, (\d+) failed$", (logs / "lint.log").read_text(encoding="utf-8"), re.M)
        total = Count(int(said[1]), int(said[2])) if said else Count()
    elif (SCENARIOS / name).is_dir():
        total = of_junit(logs / "junit" / f"molecule-{name}.xml").plus(Count(passed=int(good)))
    else:
        total = of_junit(logs / "junit" / f"{name}.xml")
    return total if good or total.failed else total.plus(Count(failed=1))


def main() -> int:
    """Print a line for each part that failed, and the sum on the last line."""
    logs, seconds, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    counts = {name: of_part(logs, name) for name in names}
    total = Count()
    for count in counts.values():
        total = total.plus(count)
    print(f"{len(names)} parts in {seconds // 60} min {seconds % 60} s")
    for name, count in counts.items():
        if count.failed:
            print(f"failed: {name}: {count.failed} of {sum(count)}, see .cache/logs/{name}.log")
    print(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""))
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
