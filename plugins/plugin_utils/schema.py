# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check nested data against options written as an Ansible argument spec, and fill in its defaults.

ansible-core checks a role's arguments too, but its messages carry no index (``nginx_sites[2]``) and it does not
fill in nested defaults. The options come from the same ``meta/argument_specs.yml``, so the two cannot disagree.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_TRUE = {"yes", "true", "on", "1"}
_FALSE = {"no", "false", "off", "0"}
_KIND = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list",
         "dict": "a dictionary", "path": "a path", "raw": "anything"}


@dataclass(frozen=True)
class Problem:
    """One mistake in what a user wrote: where (``nginx_sites[2].routes[0].path``) and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass
class Problems:
    """All mistakes found so far; checking goes on after the first, so that users mend them in one go."""

    items: list[Problem] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        problem = Problem(path, message)
        if problem not in self.items:
            self.items.append(problem)

    def __bool__(self) -> bool:
        return bool(self.items)


class InventoryError(Exception):
    """The inventory has mistakes; ``problems`` lists them."""

    def __init__(self, problems: Problems):
        self.problems = problems.items
        count = len(self.problems)
        lines = [f"The inventory has {count} mistake{'s' if count > 1 else ''}; no host was touched."]
        lines += [f"  - {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))


def suggest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known word, or "" where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    near = near or [name for name in known if len(str(word)) > 2 and str(name).startswith(str(word))]
    return f" Did you mean {near[0]!r}?" if near else ""


def apply(value: Any, options: Mapping[str, Mapping[str, Any]], path: str, problems: Problems) -> dict[str, Any]:
    """Return the dictionary ``value`` with its types converted and its defaults filled in.

    ``options`` maps a key to its spec (``type``, ``elements``, ``required``, ``default``, ``choices``, ``options``,
    ``apply_defaults``). Mistakes are added to ``problems`` under ``path``; a key in error gets its default or None,
    so that later checks can go on.
    """
    if not isinstance(value, Mapping):
        # Where something in it is secret, it may be that secret alone.
        secret = any(spec.get("no_log") for spec in options.values())
        shown = _sort(value) if secret and value is not None else describe(value)
        problems.add(path, f"is {shown}, and must be a dictionary with the keys {', '.join(options)}.")
        return {key: _default(spec, _below(path, key), problems) for key, spec in options.items()}
    for key in value:
        if key not in options:
            hint = suggest(key, options) or f" Known here: {', '.join(sorted(options))}."
            problems.add(_below(path, key), f"is not known.{hint}")
    result = {}
    for key, spec in options.items():
        where = _below(path, key)
        given = value.get(key)
        if given is None:
            if spec.get("required"):
                problems.add(where, f"is missing. {_first_sentence(spec)}")
            result[key] = _default(spec, where, problems)
        else:
            result[key] = _convert(given, spec, where, problems)
    return result


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)


def _default(spec: Mapping[str, Any], path: str, problems: Problems) -> Any:
    default = spec.get("default")
    if spec.get("options") and spec.get("type") == "dict" and (default is not None or spec.get("apply_defaults")):
        return apply(default or {}, spec["options"], path, problems)
    if default is None and not spec.get("required"):
        return None
    return _copy(default)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value


def _convert(value: Any, spec: Mapping[str, Any], path: str, problems: Problems) -> Any:
    kind = spec.get("type", "str")
    try:
        result = _CONVERT[kind](value)
    except (TypeError, ValueError):
        # What should have been a dictionary or a list is not shown: it may be a whole environment, with its secrets.
        shown = describe(value) if kind not in ("dict", "list") or value is None else _sort(value)
        problems.add(path, f"is {shown}, and must be {_KIND[kind]}.")
        return _default(spec, path, problems)
    if kind == "list":
        if spec.get("options"):
            return [apply(item, spec["options"], f"{path}[{index}]", problems) for index, item in enumerate(result)]
        if spec.get("elements", "raw") != "raw":
            inner = {"type": spec["elements"], "choices": spec.get("choices")}
            items = [_item(item, inner, f"{path}[{index}]", problems) for index, item in enumerate(result)]
            # Dictionaries keep their places, for the paths of later messages; of the rest only what is right goes on.
            return items if spec["elements"] == "dict" else [item for item in items if item is not None]
        return result
    if kind == "dict" and spec.get("options"):
        return apply(result, spec["options"], path, problems)
    choices = spec.get("choices")
    if choices and result not in choices:
        words = [str(choice) for choice in choices]
        problems.add(path, f"is {describe(value)}, and must be one of {', '.join(words)}.{suggest(str(value), words)}")
    return result


def _item(value: Any, spec: Mapping[str, Any], path: str, problems: Problems) -> Any:
    if value is None:
        problems.add(path, f"is empty, and must be {_KIND[spec['type']]}.")
        return None
    return _convert(value, spec, path, problems)


def _text(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        raise TypeError
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or isinstance(value, float) and not value.is_integer():
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    word = str(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _list(value: Any) -> list[Any]:
    # A lone word is not taken for a list of one: YAML users forget the dash, and "a,b" would be guessed wrong.
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return list(value)


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return dict(value)


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "str": _text, "path": _text, "int": _whole, "float": _number, "bool": _boolean, "list": _list, "dict": _dict,
    "raw": lambda value: value,
}


def describe(value: Any) -> str:
    """Say what ``value`` is, for a message; long text is cut, and nothing inside a container is shown."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _sort(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return describe(value)
    return "true or false" if isinstance(value, bool) else "a number" if isinstance(value, (int, float)) else "text"


def _first_sentence(spec: Mapping[str, Any]) -> str:
    description = spec.get("description", "")
    if not isinstance(description, str):
        description = description[0] if description else ""
    return description
