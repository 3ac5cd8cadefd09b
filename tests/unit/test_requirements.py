# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file an app's packages come from, and which of them are left open."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import requirements
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import Resolved


def choose(files, wanted="auto", directory="", extra=(), installer="auto", kind="folder"):
    """Return (file, open versions, problems)."""
    record = {"origin": "flask_apps[0]", "requirements": wanted, "directory": directory, "source": {"kind": kind},
              "extra_requirements": list(extra), "access": {"installer": installer}}
    problems = Problems()
    requirements.choose(record, Resolved("digest", "label", None, files.get, tuple(files)), problems)
    return record["requirements"], record["unpinned"], problems.items


PINS = "flask==3.1.2\n"
PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["flask==3.1.2"]\n'
ALL = {"uv.lock": "", "pylock.toml": "", "requirements.txt": PINS, "pyproject.toml": PROJECT}


@pytest.mark.parametrize("files, wanted, directory, found", [
    (ALL, "auto", "", "uv.lock"),
    ({"pylock.toml": "", "requirements.txt": PINS}, "auto", "", "pylock.toml"),
    ({"requirements.txt": PINS, "pyproject.toml": PROJECT}, "auto", "", "requirements.txt"),
    ({"pyproject.toml": PROJECT}, "auto", "", "pyproject.toml"),
    ({"api/requirements.txt": PINS, "uv.lock": ""}, "auto", "api", "requirements.txt"),
    ({"api/requirements.txt": PINS}, "auto", "./api/", "requirements.txt"),
    (ALL, "requirements.txt", "", "requirements.txt"),
    ({"deploy/prod.txt": PINS}, "deploy/prod.txt", "", "deploy/prod.txt"),
    ({"pylock.prod.toml": ""}, "pylock.prod.toml", "", "pylock.prod.toml"),
    (ALL, "none", "", ""),
    (ALL, "", "", ""),
    ({}, "none", "", ""),
])
def test_the_file(files, wanted, directory, found):
    assert choose(files, wanted, directory) == (found, [], [])


def test_a_package_brings_what_it_needs():
    assert choose({}, kind="package") == ("", [], [])


@pytest.mark.parametrize("name, kind", [
    ("uv.lock", "uv.lock"), ("a/uv.lock", "uv.lock"), ("pylock.toml", "pylock"), ("pylock.prod.toml", "pylock"),
    ("pyproject.toml", "pyproject"), ("requirements.txt", "requirements"), ("pylock.a.b.toml", "requirements"),
    ("prod.lock", "requirements"),
])
def test_the_kind_follows_from_the_name(name, kind):
    assert requirements.kind_of(name) == kind


def test_a_folder_that_is_not_there():
    _file, _open, [problem] = choose({"api/requirements.txt": PINS, "web/x": ""}, directory="apo")
    assert problem.path == "flask_apps[0].directory"
    assert "no folder 'apo'. Did you mean 'api'? It has api, web." in problem.message


@pytest.mark.parametrize("how, words", [
    ({"files": {}}, ["none of uv.lock, pylock.toml, requirements.txt, pyproject.toml", "its top folder", "`none`"]),
    ({"files": {"api/a.py": ""}, "directory": "api"}, ["in api"]),
    ({"files": {"poetry.lock": ""}}, ["poetry export"]),
    ({"files": {"Pipfile.lock": ""}}, ["pipenv requirements"]),
    ({"files": {}, "wanted": "prod.txt"}, ["has no 'prod.txt'", "`none`"]),
    ({"files": {"uv.lock": ""}}, ["no pyproject.toml beside uv.lock"]),
    ({"files": {"pylock.toml": ""}, "installer": "pip"}, ["uv alone", "webstack_installer", "uv export"]),
    ({"files": {"pyproject.toml": "[project"}}, ["is no TOML"]),
])
def test_a_mistake(how, words):
    [problem] = choose(**how)[2]
    assert problem.path == "flask_apps[0].requirements"
    assert [word for word in words if word not in problem.message] == []


@pytest.mark.parametrize("text, names", [
    ("", []),
    ("flask==3.1.2\n", []),
    ("flask===3.1.2", []),
    ("flask (==3.1.2)", []),
    ("flask[async] == 3.1.2 ; python_version > '3.8'  # why", []),
    ("flask==3.1.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n", []),
    ("flask>=2,==3.1.2", []),
    ("flask", ["flask"]),
    ("flask>=3", ["flask"]),
    ("flask==3.*", ["flask"]),
    ("flask~=3.1 ; python_version == '3.11'", ["flask"]),
    ("# flask\n\n-i https://h/s\n--extra-index-url https://h/s\n--no-binary :all:\n", []),
    ("./vendor/x\n/opt/x\nfile:///x\n-e .\n", []),
    ("x @ https://h/x-1.0.tar.gz", []),
    ("x @ https://h/x#sha256=aa", []),
    ("x @ git+https://h/x@main", ["x"]),
    (f"x @ git+https://h/x@{'a' * 40}", []),
    ("git+https://user:horse@h/some.git@main#egg=thing", ["thing"]),
    ("git+https://user:horse@h/some.git", ["some.git"]),
    ("-e git+https://user:horse@h/some.git@main", ["some.git@main"]),
    ("https://h/x-1.0-py3-none-any.whl", []),
    ("-r more.txt\nflask==3.1.2", ["inner"]),
    ("-rmore.txt", ["inner"]),
    ("--requirement=more.txt", ["inner"]),
    ("--requirement more.txt\n-r more.txt", ["inner"]),
    ("-r gone.txt", []),
    ("-c pins.txt\nFlask\nother", ["other"]),
    ("flask\n-r loop.txt", ["flask"]),
])
def test_open_versions_of_a_requirements_file(text, names):
    files = {"deploy/requirements.txt": text, "deploy/more.txt": "inner\n",
             "deploy/pins.txt": "flask==3.1.2\nother>1\n", "deploy/loop.txt": "-r requirements.txt\n"}
    found = choose(files, "deploy/requirements.txt")
    assert found == ("deploy/requirements.txt", names, [])
    assert "horse" not in str(found)


@pytest.mark.parametrize("text, names", [
    (PROJECT, []),
    ('[project]\nname = "x"\nversion = "1"\ndependencies = ["flask>=3", "jinja2==3.1.6"]\n', ["flask"]),
    ('[project]\nname = "x"\nversion = "1"\n', []),
    ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', ["what pyproject.toml asks for"]),
    ('[tool.poetry]\nname = "x"\n', ["what pyproject.toml asks for"]),
])
def test_open_versions_of_a_project(text, names):
    assert choose({"pyproject.toml": text})[1] == names


def test_extra_requirements_count_too():
    assert choose({"uv.lock": "", "pyproject.toml": ""}, extra=["psycopg", "gevent==25.1.1"])[1] == ["psycopg"]
    assert choose({}, "none", extra=["psycopg"])[1] == ["psycopg"]


def test_the_finding_says_what_to_write():
    record = {"origin": "flask_apps[0]", "requirements": "requirements.txt", "unpinned": list("abcdefg")}
    text = requirements.finding(record)
    assert text.startswith("flask_apps[0].requirements: the version of a, b, c, d, e and 2 more is left open")
    assert "uv pip compile" in text and "pip freeze" in text
    assert requirements.finding({**record, "requirements": ""}).startswith("flask_apps[0].extra_requirements: ")
    assert requirements.finding({**record, "unpinned": []}) == ""
    assert requirements.finding({"origin": "vue_sites[0]"}) == ""
