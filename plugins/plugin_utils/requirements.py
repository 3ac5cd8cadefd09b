# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file says what a Python app needs, and whether it says so in one version each.

Looked at on the controller: mistakes are told before a host is touched, and the choice is part of the release.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .schema import Problems, suggest
from .sources import Resolved

#: the first of these that is there is taken: what pins most comes first
KNOWN = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml")
AUTO, NONE = "auto", ("", "none")
_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
#: locks of other tools, and how they are turned into one that is read
_FOREIGN = {"poetry.lock": "poetry export --output requirements.txt",
            "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
            "pdm.lock": "pdm export --output requirements.txt"}
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*(.*)")
_FIXED_URL = re.compile(r"@[0-9a-f]{40}\b|#.*\b(sha256|sha512|md5)=|\.(whl|tar\.\w+|zip)([?#]|$)")


def kind_of(name: str) -> str:
    """Return how the file is read: uv.lock, pylock, pyproject or requirements."""
    base = posixpath.basename(name)
    if base in ("uv.lock", "pyproject.toml"):
        return base.removesuffix(".toml")
    return "pylock" if _PYLOCK.fullmatch(base) else "requirements"


def choose(record: dict[str, Any], source: Resolved, problems: Problems) -> None:
    """Set ``requirements`` to the file to install from ("" for none), and ``unpinned`` to what it leaves open."""
    where = f"{record['origin']}.requirements"
    wanted, record["unpinned"] = record["requirements"], []
    if record["source"]["kind"] == "package" or wanted in NONE:
        record["requirements"] = ""
        record["unpinned"] = sorted(set(_open("\n".join(record["extra_requirements"]), lambda name: None, "", set())))
        return

    directory = posixpath.normpath(record["directory"] or ".")
    if directory != "." and not any(name.startswith(f"{directory}/") for name in source.names):
        folders = sorted({name.partition("/")[0] for name in source.names if "/" in name})
        problems.add(f"{record['origin']}.directory", f"the source has no folder {record['directory']!r}."
                     f"{suggest(directory, folders)} It has {', '.join(folders[:8]) or 'no folders'}.")
        return

    def read(name: str) -> str | None:
        return source.read(posixpath.normpath(posixpath.join(record["directory"], name)))

    place = record["directory"] or "its top folder"
    if wanted == AUTO:
        wanted = next((name for name in KNOWN if read(name) is not None), "")
        if not wanted:
            foreign = next((f" It has a {name}; `{how}` makes a file of it that is read."
                            for name, how in _FOREIGN.items() if read(name) is not None), "")
            problems.add(where, f"the source has none of {', '.join(KNOWN)} in {place}.{foreign} Write the path of a "
                                "file that says what the app needs, or `none` for an app that needs nothing.")
            return
    elif read(wanted) is None:
        problems.add(where, f"the source has no {wanted!r} in {place}. Write its path, or `none` for an app without.")
        return
    record["requirements"] = wanted
    kind = kind_of(wanted)
    if kind == "uv.lock" and read(posixpath.join(posixpath.dirname(wanted), "pyproject.toml")) is None:
        problems.add(where, f"there is no pyproject.toml beside {wanted}. The two belong together: add it.")
    if kind in ("uv.lock", "pylock") and record["access"]["installer"] == "pip":
        problems.add(where, f"{wanted} is read by uv alone, and `webstack_installer` says pip. Export it, `uv export "
                            "--format requirements-txt --no-dev --no-emit-project -o requirements.txt`, and write "
                            "`requirements: requirements.txt`.")
    record["unpinned"] = sorted(set(_unpinned(wanted, kind, record, read, problems)))


def finding(record: Mapping[str, Any]) -> str:
    """Return what to say of an app whose requirements leave versions open, "" where none does."""
    names = record.get("unpinned")
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    key = "requirements" if record["requirements"] else "extra_requirements"
    return (f"{record['origin']}.{key}: the version of {shown} is left open, so that the next release may get another "
            "one than was tested. Pin all of them, for example with `uv lock`, with `uv pip compile --generate-hashes "
            "requirements.in -o requirements.txt`, or with `pip freeze > requirements.txt`")


def _unpinned(name: str, kind: str, record: Mapping[str, Any], read: Callable[[str], str | None],
              problems: Problems) -> Iterator[str]:
    yield from _open("\n".join(record["extra_requirements"]), lambda _name: None, "", set())
    if kind == "requirements":
        yield from _open(read(name) or "", read, posixpath.dirname(name), {name})
    elif kind == "pyproject":
        try:
            project = tomllib.loads(read(name) or "").get("project", {})
        except tomllib.TOMLDecodeError as error:
            problems.add(f"{record['origin']}.requirements", f"{name} is no TOML: {error}.")
            return
        if "dependencies" in project.get("dynamic", []) or "name" not in project:
            yield f"what {name} asks for"  # known to its build system alone
        else:
            yield from _open("\n".join(project.get("dependencies", [])), lambda _name: None, "", set())


def _open(text: str, read: Callable[[str], str | None], folder: str, seen: set[str]) -> list[str]:
    """Return the names in a requirements file, and in those that it names, that have no one version."""
    found: list[str] = []
    constrained: set[str] = set()
    for line in _lines(text):
        option, _space, rest = line.partition(" ")
        option, equals, value = option.partition("=") if option.startswith("--") else (option, "", "")
        if re.match(r"-[rc]\S", option):
            option, rest = option[:2], option[2:]
        if option in ("-r", "--requirement", "-c", "--constraint"):
            name = posixpath.normpath(posixpath.join(folder, (value if equals else rest).strip()))
            if name in seen:
                continue
            below = read(name) or ""
            seen.add(name)
            if option in ("-r", "--requirement"):
                found += _open(below, read, posixpath.dirname(name), seen)
            else:
                constrained.update(_canonical(_NAME.match(one)[1]) for one in _lines(below)
                                   if _NAME.match(one) and _pinned(_NAME.match(one)[2]))
        elif option in ("-e", "--editable"):
            if "://" in line and not _FIXED_URL.search(line):
                found.append(_of_url(rest or value))
        elif line.startswith(("-", ".", "/", "file:")):
            continue  # settings of pip; folders of the source itself
        elif "://" in line.partition(" @ ")[0].partition(";")[0]:
            if not _FIXED_URL.search(line):
                found.append(_of_url(line))
        elif (match := _NAME.match(line)) and not _pinned(match[2]):
            found.append(match[1])
    return [name for name in found if _canonical(name) not in constrained]


def _lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if line:
            yield line


def _pinned(rest: str) -> bool:
    if rest.startswith("@"):
        return bool(_FIXED_URL.search(rest)) or "://" not in rest
    versions = re.split(r";|\s--", rest)[0].strip().strip("()").split(",")
    return any(re.fullmatch(r"\s*={2,3}\s*[^\s*]+\s*", version) for version in versions)


def _of_url(text: str) -> str:
    """Return a name for what is fetched from a URL, without its login."""
    match = re.search(r"[#&]egg=([\w.-]+)", text)
    return match[1] if match else re.sub(r"[?#;].*", "", text.strip().split(" ")[0]).rstrip("/").rpartition("/")[2]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
