# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nested data is checked against an argument spec, with paths that carry the index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import (
    InventoryError,
    Problems,
    apply,
    describe,
    suggest,
)

OPTIONS = {
    "name": {"type": "str", "required": True, "description": "Write a name."},
    "workers": {"type": "int", "default": 2},
    "ratio": {"type": "float"},
    "static": {"type": "bool", "default": True},
    "server": {"type": "str", "default": "gunicorn", "choices": ["gunicorn", "uwsgi"]},
    "packages": {"type": "list", "elements": "str", "default": []},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "routes": {"type": "list", "elements": "dict", "default": []},
    "peers": {"type": "list", "elements": "dict", "options": {"address": {"type": "str", "required": True}}},
    "env": {"type": "dict", "default": {}},
    "tls": {"type": "dict", "options": {"key": {"type": "path", "required": True}}},
    "health": {"type": "dict", "apply_defaults": True, "options": {"path": {"type": "str", "default": "/"}}},
    "build": {"type": "dict", "default": {}, "options": {"command": {"type": "str", "default": "make"}}},
    "extra": {"type": "raw"},
}
DEFAULTS = {
    "name": "shop", "workers": 2, "ratio": None, "static": True, "server": "gunicorn", "packages": [], "status": [200],
    "routes": [], "peers": None, "env": {}, "tls": None, "health": {"path": "/"}, "build": {"command": "make"},
    "extra": None,
}


def check(value, path="apps[0]"):
    problems = Problems()
    return apply(value, OPTIONS, path, problems), [str(problem) for problem in problems.items]


def test_defaults_are_filled_in_at_every_depth():
    assert check({"name": "shop"}) == (DEFAULTS, [])


def test_defaults_are_copies():
    first, _ = check({"name": "shop"})
    first["packages"].append("gcc")
    first["env"]["KEY"] = "value"
    assert check({"name": "shop"}) == (DEFAULTS, [])


@pytest.mark.parametrize("key, given, result", [
    ("name", 7, "7"),
    ("name", True, "true"),
    ("workers", "4", 4),
    ("workers", 4.0, 4),
    ("ratio", "0.5", 0.5),
    ("static", "no", False),
    ("static", "On", True),
    ("static", 0, False),
    ("packages", ("gcc", 7), ["gcc", "7"]),
    ("packages", [], []),
    ("status", ["200", 404], [200, 404]),
    ("routes", [{"app": "shop"}], [{"app": "shop"}]),
    ("peers", [{"address": "192.0.2.1"}], [{"address": "192.0.2.1"}]),
    ("env", {"A": 1}, {"A": 1}),
    ("env", None, {}),
    ("health", {}, {"path": "/"}),
    ("extra", [{"any": "thing"}], [{"any": "thing"}]),
])
def test_types_are_converted(key, given, result):
    value, problems = check({"name": "shop", key: given})
    assert problems == []
    assert value == {**DEFAULTS, key: result}


@pytest.mark.parametrize("given, problem", [
    ({}, "apps[0].name: is missing. Write a name."),
    ({"name": None}, "apps[0].name: is missing. Write a name."),
    ({"name": "a", "worker": 1}, "apps[0].worker: is not known. Did you mean 'workers'?"),
    ({"name": "a", 7: 1}, "apps[0].7: is not known. Known here: build, env, extra"),
    ({"name": ["a"]}, "apps[0].name: is a list, and must be text."),
    ({"name": "a", "workers": "many"}, "apps[0].workers: is 'many', and must be a whole number."),
    ({"name": "a", "workers": 1.5}, "apps[0].workers: is '1.5', and must be a whole number."),
    ({"name": "a", "workers": True}, "apps[0].workers: is 'True', and must be a whole number."),
    ({"name": "a", "ratio": "half"}, "apps[0].ratio: is 'half', and must be a number."),
    ({"name": "a", "static": "maybe"}, "apps[0].static: is 'maybe', and must be true or false."),
    ({"name": "a", "server": "uwgsi"},
     "apps[0].server: is 'uwgsi', and must be one of gunicorn, uwsgi. Did you mean 'uwsgi'?"),
    ({"name": "a", "packages": "gcc"}, "apps[0].packages: is text, and must be a list."),
    ({"name": "a", "packages": {"gcc": 1}}, "apps[0].packages: is a dictionary, and must be a list."),
    ({"name": "a", "packages": ["gcc", {}]}, "apps[0].packages[1]: is a dictionary, and must be text."),
    ({"name": "a", "packages": [None]}, "apps[0].packages[0]: is empty, and must be text."),
    ({"name": "a", "status": ["ok"]}, "apps[0].status[0]: is 'ok', and must be a whole number."),
    ({"name": "a", "routes": ["/"]}, "apps[0].routes[0]: is text, and must be a dictionary."),
    ({"name": "a", "peers": ["x"]}, "apps[0].peers[0]: is 'x', and must be a dictionary with the keys address."),
    ({"name": "a", "peers": [{"address": "x"}, {}]}, "apps[0].peers[1].address: is missing."),
    ({"name": "a", "tls": {}}, "apps[0].tls.key: is missing."),
    ({"name": "a", "health": {"pth": "/"}}, "apps[0].health.pth: is not known. Did you mean 'path'?"),
])
def test_mistakes_are_told_by_path(given, problem):
    problems = check(given)[1]
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize("value", ["shop", 7, ["name"], None])
def test_an_item_must_be_a_dictionary(value):
    problems = check(value)[1]
    assert problems[0].startswith("apps[0]: is ")
    assert "must be a dictionary with the keys name, workers" in problems[0]


@pytest.mark.parametrize("key, given", [("env", "PASSWORD=horse"), ("packages", "horse"), ("env", ["horse"])])
def test_what_should_be_a_container_is_not_shown(key, given):
    problems = check({"name": "shop", key: given})[1]
    assert len(problems) == 1
    assert "horse" not in problems[0]


def test_a_list_keeps_the_right_ones_and_dictionaries_their_places():
    value, problems = check({"name": "shop", "packages": ["a", {}, "b"], "routes": ["/", {"app": "shop"}]})
    assert (value["packages"], value["routes"]) == (["a", "b"], [None, {"app": "shop"}])
    assert len(problems) == 2


def test_at_the_top_the_path_is_the_variable_alone():
    assert check({"name": [], "wrkers": 1}, path="")[1] == [
        "wrkers: is not known. Did you mean 'workers'?", "name: is a list, and must be text."]


def test_all_mistakes_come_in_one_error():
    problems = Problems()
    problems.add("a", "is wrong.")
    problems.add("b", "is wrong too.")
    problems.add("a", "is wrong.")
    assert str(InventoryError(problems)) == (
        "The inventory has 2 mistakes; no host was touched.\n  - a: is wrong.\n  - b: is wrong too.")


def test_a_single_mistake_is_no_mistakes():
    problems = Problems()
    assert not problems
    problems.add("a", "is wrong.")
    assert problems
    assert str(InventoryError(problems)).startswith("The inventory has 1 mistake; ")


@pytest.mark.parametrize("word, result", [
    ("gunicron", " Did you mean 'gunicorn'?"), ("apache", ""), ("", ""), (None, ""), (7, ""),
])
def test_suggest(word, result):
    assert suggest(word, ["gunicorn", "uwsgi"]) == result


@pytest.mark.parametrize("value, result", [
    (None, "empty"), ({}, "a dictionary"), ([1], "a list"), ("x", "'x'"), (7, "'7'"),
    ("x" * 61, repr("x" * 57 + "...")),
])
def test_describe(value, result):
    assert describe(value) == result


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*OPTIONS, "path", "x"]), inner),
    max_leaves=12)


@given(JSON)
def test_nothing_a_user_can_write_breaks_the_check(value):
    result, problems = check(value)
    assert list(result) == list(OPTIONS)
    assert all(problem.startswith("apps[0]") for problem in problems)
    assert problems or check(result) == (result, [])  # what is right stays as it is
