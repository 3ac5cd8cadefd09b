#!/usr/bin/env python3
"""Look for what no committed file may name: a package registry of this machine, or a path of this checkout.

Both are read from the machine at run time (pip's, npm's and apt's own settings, and where the checkout lies), so that
they stand in no file themselves. Debian's and Python's and npm's public registries are the default of these programs;
a file that names one of them breaks behind a company's mirror.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APT = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
HOST = re.compile(r"(?:https?|ftp)://(?:[^/@\s\"']+@)?([A-Za-z0-9.-]+\.[A-Za-z0-9-]+)")
LOCAL = {"127.0.0.1", "localhost"}


def said(*command: str) -> str:
    """Return what a program prints; nothing where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/").stdout
    except FileNotFoundError:
        return ""


def registries() -> set[str]:
    """Return the hosts that pip, npm and apt of this machine take their packages from."""
    texts = [said(sys.executable, "-m", "pip", "config", "list"), said("npm", "config", "get", "registry")]
    texts += [said(sys.executable, "-c", "from pip._internal.models.index import PyPI; print(PyPI.url)")]
    texts += [value for name, value in os.environ.items() if re.search(r"(?i)index_url|registry|proxy", name)]
    texts += [path.read_text(encoding="utf-8", errors="replace") for path in APT if path.is_file()]
    return {host.lower() for text in texts for host in HOST.findall(text)} - LOCAL


def paths() -> set[str]:
    """Return the folders that only this machine has: the checkout, and the homes of its users."""
    found = {str(ROOT), str(Path.home())}
    # A container's checkout may lie in "/src", and root's home is the same everywhere: too short to mean anything.
    return {path for path in found if path.count("/") > 1}


def committed() -> list[Path]:
    """Return the files that git has or would take."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                           capture_output=True, text=True, cwd=ROOT).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def find(words: dict[str, str], files: list[Path]) -> list[str]:
    """Return a line for each place in ``files`` where one of the ``words`` stands; ``words`` says what each is."""
    findings = []
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            for word, what in words.items():
                # Not a part of a longer name: /work is not in /workers.
                if word in line.lower() and re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", line.lower()):
                    findings.append(f"{path.relative_to(ROOT)}:{number}: {what}: {word}")
    return findings


def main() -> int:
    """Print what was found, and fail if that was anything."""
    words = dict.fromkeys(registries(), "names a package registry")
    words |= dict.fromkeys((path.lower() for path in paths()), "names a path of this machine")
    findings = find(words, committed())
    print("\n".join(findings) or f"nothing found; looked for {len(words)} names")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
