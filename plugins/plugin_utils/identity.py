# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give every release its identity: a digest of all that it is made of.

Nothing changed, no new release; anything changed, a new one. It is made on the controller, so that all hosts of a
rollout get the same. The digest of the environment is a slow one: release IDs are public, and must not help to guess
a short password.
"""

from __future__ import annotations

import ast
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import services
from .schema import Problems
from .sources import Resolved

#: length of an ID in hexadecimal digits
LENGTH = 12
#: what of an app and of its service makes a release; not what differs between hosts, nor what only says where it is
_APP = ("directory", "python", "requirements", "extra_requirements", "server_requirements", "packages", "files",
        "framework", "callable", "manage", "static", "static_remote", "media")
_SERVICE = ("server", "user", "directory", "bin", "callable", "config", "units", "settings", "health", "check")
#: raised when the way a release is built changes, so that releases are made anew
FORMAT = 1


def pinned(record: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the record's source; a git reference that was resolved earlier in this run stays at that commit."""
    source = dict(record["source"])
    if source["kind"] == "git" and record["root"] in known:
        source["commit"] = known[record["root"]]
    return source


def look_inside(record: Mapping[str, Any], source: Resolved, environment: str, problems: Problems) -> None:
    """Refuse, before a host is touched, what the files of the source show to be wrong."""
    if "callable" not in record:
        if not record["built"]:
            lock = posixpath.normpath(posixpath.join(record["directory"], "package-lock.json"))
            if source.read(lock) is None:
                problems.add(f"{record['origin']}.source", f"has no {lock}: a site is built from its lock file, so "
                             "that it is the same each time. Run `npm install` and add the file.")
        return
    _words(record["health"], record["origin"], source, problems)
    module = record["callable"].partition(":")[0]
    for name in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"):
        text = source.read(posixpath.normpath(posixpath.join(record["directory"], name)))
        if text is not None and environment == "production":
            _no_server_at_import(record, name, text, problems)


def _words(health: Mapping[str, Any], origin: str, source: Resolved, problems: Problems) -> list[str]:
    """Return `health.contains` with what the source knows filled in; what it does not know is a mistake."""
    known = {"release": services.RELEASE, **source.words}
    found = []
    for index, text in enumerate(health["contains"]):
        for word in re.findall(r"\{(version|commit|release)\}", text):
            if word not in known:
                has = " and ".join(f"`{{{key}}}`" for key in known)
                problems.add(f"{origin}.health.contains[{index}]", f"has {{{word}}}, and this kind of source has none. "
                                                                   f"It knows {has}; or write the text itself.")
        found.append(re.sub(r"\{(version|commit|release)\}", lambda match: known.get(match[1], match[0]), text))
    return found


def _no_server_at_import(record: Mapping[str, Any], name: str, text: str, problems: Problems) -> None:
    """An ``app.run()`` that runs on import starts Flask's development server instead of handing over the app."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # said with a better message when the release is tried
    objects = {record["callable"].partition(":")[2].removesuffix("()"), "app", "application"}
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr) else None
        if (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "run"
                and isinstance(call.func.value, ast.Name) and call.func.value.id in objects):
            problems.add(f"{record['origin']}.callable", f"{name}, line {node.lineno}, starts a development server as "
                         'soon as it is imported. Write `if __name__ == "__main__":` before the line '
                         f"`{call.func.value.id}.run(...)`, and indent it.")


def give(record: dict[str, Any], source: Resolved, plan: Mapping[str, Any], cache: Path) -> None:
    """Set ``release``, ``label``, ``archive`` (and for apps ``package``), and put the ID where texts wait for it."""
    record["label"], record["commit"] = source.label, source.words.get("commit", "")
    name = _digest([FORMAT, source.digest, record["source"]["kind"]])
    record["source_id"] = name
    archive = cache / "archives" / f"{record['name']}-{name}.tar.gz"
    if source.pack and not archive.is_file():
        source.pack(archive)
    record["archive"] = str(archive) if source.pack else ""
    if "callable" in record:
        _give_app(record, source, plan, cache)
    else:
        _give_vue(record, source, cache)


def _give_app(record: dict[str, Any], source: Resolved, plan: Mapping[str, Any], cache: Path) -> None:
    name = record["name"]
    contains = _words(record["health"], record["origin"], source, Problems())
    record["health"] = {**record["health"], "contains": contains}
    service = plan["services"][name]
    service["health"] = {**service["health"], "contains": contains}
    release = _digest([
        FORMAT, source.digest, plan["environment"] == "production",
        {key: record.get(key) for key in _APP}, {key: service[key] for key in _SERVICE},
        _secret(record["env"]),
    ])
    env = dict(record["env"])
    record.update(services.with_release(record, release), release=release)
    record["package"] = record["source"].get("package", "").replace(" ", "")
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = env["PYTHONPATH"].replace(services.RELEASE, release)
    record["env"] = env
    record["static_copy"] = str(cache / "static" / f"{name}-{release}.tar.gz")
    plan["services"][name] = {**services.with_release(service, release), "release": release, "env": env}


def give_by_hand(service: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Give a service that was written by hand its identity: what it is made of is in its own record."""
    release = _digest([FORMAT, services.content(service), _secret(service["env"])])
    plan["services"][service["name"]] = services.with_release(service, release)


def _give_vue(record: dict[str, Any], source: Resolved, cache: Path) -> None:
    build = _digest([FORMAT, source.digest, record["build"], record["directory"], record["built"]])
    record["dist"] = (record["archive"] if record["built"] else
                      str(cache / "archives" / f"{record['name']}-{build}.dist.tar.gz"))
    # The settings are files of the release, and no reason to build the site again.
    record["release"] = _digest([build, record["settings"], record["settings_file"]])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:LENGTH]


def _secret(env: Mapping[str, str]) -> str:
    data = json.dumps(env, sort_keys=True).encode()
    return hashlib.scrypt(data, salt=b"frontdesk.webstack environment", n=2**12, r=8, p=1, dklen=16).hex()
