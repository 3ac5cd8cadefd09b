# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants of the rendered files are refused on real hosts, while clients come and go.

MUTANTS=20 is how many of them are tried (those that nginx's own test does not see first), `all` for each one.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import tarfile
from pathlib import Path

import mutants

ROOT = Path(__file__).resolve().parents[2]
HERE = "/root/mutants"
PACKAGE = "ansible_collections/frontdesk/webstack/plugins/module_utils"


def sample():
    """Return the right files and the mutants to try."""
    files, _origins = mutants.base()
    found = mutants.tree_mutants(files)
    count = os.environ.get("MUTANTS", "20")
    if count != "all":
        blind = [mutant for mutant in found if not mutant.by_test]
        found = (blind[:int(count) // 2] + [mutant for mutant in found if mutant.by_test])[:int(count)]
    return files, found


def utilities(name="nginx_tree", found=None):
    """Return the module utility and all that it imports of ours."""
    found = {} if found is None else found
    found[name] = (ROOT / "plugins" / "module_utils" / f"{name}.py").read_text()
    for line in re.findall(r"webstack\.plugins\.module_utils(?:\.(\w+) import| import (\w+))", found[name]):
        inner = line[0] or line[1]
        if inner not in found:
            utilities(inner, found)
    return found


def archive(files, chosen):
    """Return a tar file with the program and what it needs, as text."""
    changed = [[mutant.name, {path: text for path, text in mutant.files.items() if files.get(path) != text}]
               for mutant in chosen]
    payload = {"files": files, "taken": mutants.TAKEN, "mutants": changed}
    members = {"on_host.py": (Path(__file__).parent / "on_host.py").read_text(), "payload.json": json.dumps(payload),
               **{f"{PACKAGE}/{name}.py": text for name, text in utilities().items()}}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for path, text in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return base64.b64encode(stream.getvalue()).decode()


def test_mutants_are_refused(host):
    files, chosen = sample()
    if not host.exists("openssl"):
        host.check_output("apt-get -qq update && apt-get -qq install openssl > /dev/null")
    host.check_output(f"rm -rf {HERE} && mkdir -p {HERE}")
    text = archive(files, chosen)
    # One argument may have 128 KiB.
    for start in range(0, len(text), 100_000):
        host.check_output(f"printf %s {text[start:start + 100_000]} >> {HERE}/all.b64")
    host.check_output(f"base64 -d {HERE}/all.b64 | tar -xzC {HERE}")
    report = json.loads(host.check_output(f"python3 {HERE}/on_host.py {HERE}").splitlines()[-1])
    host.check_output(f"rm -rf {HERE}")

    for found in report["mutants"]:
        words = found["message"].replace("\n", " | ")[:150]
        print(f"{found['seconds']:6.2f} s  {'refused' if found['refused'] else 'LIVE   '}  {found['name']}: {words}")
    print(f"{len(report['mutants'])} mutants, {report['asked']} requests over new connections, {len(report['lost'])} "
          f"lost, the slowest {report['slowest']:.2f} s")
    print("\n".join(report["lost"]))
    assert len(report["mutants"]) == len(chosen) > 0
    assert [found["name"] for found in report["mutants"] if not found["refused"]] == []
    assert [found["name"] for found in report["mutants"] if not found["same"]] == []
    assert [found["name"] for found in report["mutants"] if found["served"] < 5] == []
    assert report["lost"] == []
    assert report["end"] == report["start"] > 0
