# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments of releases: what uv and pip are told, by which way, and what is told of what they say."""

from __future__ import annotations

import os
import pwd

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import python_environment as logic

INDEX = {"url": "https://robot:horse%2Fb@h/simple", "extra_urls": ["http://i:8080/s", "https://token@j/s"]}


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch, tmp_path):
    monkeypatch.setattr(logic, "BUNDLE", tmp_path / "bundle.crt")
    monkeypatch.setattr(logic, "CACHE", tmp_path)


@pytest.mark.parametrize("told, environment", [
    ({}, {}),
    ({"index": {"url": "", "extra_urls": []}, "proxy": {"http": "", "https": "", "no_proxy": ""}}, {}),
    ({"index": INDEX}, {
        "UV_DEFAULT_INDEX": INDEX["url"], "PIP_INDEX_URL": INDEX["url"], "UV_INDEX": "http://i:8080/s https://token@j/s",
        "PIP_EXTRA_INDEX_URL": "http://i:8080/s https://token@j/s", "PIP_TRUSTED_HOST": "i:8080"}),
    ({"tools_index": INDEX}, {}),
    ({"proxy": {"http": "http://p:1", "https": "http://p:2", "no_proxy": "a,b"}}, {
        "http_proxy": "http://p:1", "HTTP_PROXY": "http://p:1", "https_proxy": "http://p:2", "HTTPS_PROXY": "http://p:2",
        "no_proxy": "a,b", "NO_PROXY": "a,b"}),
])
def test_what_reaches_packages_is_in_the_environment(told, environment):
    assert logic.Access(told).environment() == environment


def test_authorities_come_to_those_of_the_host(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fchown", lambda *_arguments: None)
    assert logic.Access({}).environment() == {}
    logic.BUNDLE.write_text("known")
    assert set(logic.Access({}).environment().values()) == {str(logic.BUNDLE)}
    found = logic.Access({"authorities": "ours\n"}).environment()
    assert set(found) == {"PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
    assert (tmp_path / "authorities.pem").read_text() == "known\nours\n"
    assert (tmp_path / "authorities.pem").stat().st_mode & 0o777 == 0o644
    logic.BUNDLE.write_text("others")
    assert logic.Access({"authorities": "ours\n"}).environment() == found
    assert (tmp_path / "authorities.pem").read_text() == "others\nours\n"


@pytest.mark.parametrize("said", [
    "at https://robot:horse%2Fb@h/simple", "user robot with horse/b", "https://token@j/s", "login robot:horse/b",
    "by http://u:battery@p:1", "https://somebody:horse@else.example.com/",
])
def test_passwords_are_not_told(said):
    access = logic.Access({"index": INDEX, "proxy": {"http": "http://u:battery@p:1"}})
    assert not [word for word in ("horse", "token", "battery") if word in access.hide(said)]


# -- what the tools are told ---------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """Run nothing, and note (arguments, the user's variable, environment, folder)."""
    made = []

    def run(arguments, path, hint="", user=None, environment=None, cwd=None, hide=None):
        made.append((list(arguments), path, dict(environment), cwd))
        return ""
    monkeypatch.setattr(logic, "run", run)
    return made


def maker(kind, tmp_path):
    runner = logic.Runner("flask_apps[0]", logic.Access({"index": INDEX}), pwd.getpwuid(os.getuid()),
                          logic.Access({"index": INDEX}).environment(), tmp_path)
    venv = tmp_path / "venv"
    return logic._Uv("/uv", venv, runner) if kind == "uv" else logic._Pip(tmp_path, venv, runner)


FLAT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["flask==3.1.2", "gevent"]\n'


@pytest.mark.parametrize("kind, name, text, tail", [
    ("uv", "requirements.txt", "flask==3.1.2\n", ["--requirement", "{file}"]),
    ("uv", "requirements.txt", "flask==3.1.2 \\\n  --hash=sha256:aa\n",
     ["--require-hashes", "--requirement", "{file}"]),
    ("pip", "requirements.txt", "flask==3.1.2 --hash=sha256:aa\n", ["--quiet", "--requirement", "{file}"]),
    ("uv", "pylock.toml", "", ["--requirements", "{file}"]),
    ("uv", "pyproject.toml", FLAT, ["flask==3.1.2", "gevent"]),
    ("pip", "pyproject.toml", FLAT, ["flask==3.1.2", "gevent"]),
    ("uv", "pyproject.toml", FLAT + "[build-system]\nrequires = []\n", ["{folder}"]),
    ("pip", "pyproject.toml", FLAT + "[build-system]\nrequires = []\n", ["{folder}"]),
])
def test_a_file_is_installed_by_its_kind(tmp_path, calls, kind, name, text, tail):
    (tmp_path / name).write_text(text)
    logic._install_file(maker(kind, tmp_path), tmp_path / name, kind == "uv", "flask_apps[0]", "")
    [(arguments, path, environment, cwd)] = calls
    assert arguments[-len(tail):] == [word.format(file=tmp_path / name, folder=tmp_path) for word in tail]
    assert (path, cwd) == ("flask_apps[0].requirements", tmp_path)
    assert "horse" not in " ".join(arguments)
    assert environment["PIP_INDEX_URL"] == INDEX["url"]


def test_a_uv_lock_goes_into_the_releases_environment(tmp_path, calls):
    (tmp_path / "uv.lock").write_text("")
    logic._install_file(maker("uv", tmp_path), tmp_path / "uv.lock", True, "flask_apps[0]", "")
    [(arguments, _path, environment, cwd)] = calls
    assert {"sync", "--frozen", "--inexact", "--no-dev", "--no-editable"} <= set(arguments)
    assert (environment["UV_PROJECT_ENVIRONMENT"], cwd) == (str(tmp_path / "venv"), tmp_path)


def test_a_project_that_needs_nothing(tmp_path, calls):
    (tmp_path / "pyproject.toml").write_text("[tool.x]\n")
    logic._install_file(maker("uv", tmp_path), tmp_path / "pyproject.toml", True, "flask_apps[0]", "")
    assert calls == []


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "pylock.prod.toml"])
def test_what_pip_cannot_read(tmp_path, calls, name):
    (tmp_path / name).write_text("")
    with pytest.raises(logic.ReleaseError) as caught:
        logic._install_file(maker("pip", tmp_path), tmp_path / name, False, "flask_apps[0]", "No wheel.")
    assert caught.value.path == "flask_apps[0].requirements"
    assert f"{name} is read by uv alone, and this host has none. No wheel." in str(caught.value)
    assert calls == []


def test_the_environments_of_both_have_no_pip(tmp_path, calls):
    for kind in ("uv", "pip"):
        maker(kind, tmp_path).venv("/usr/bin/python3")
    (uv, *_rest), (pip, *_rest) = calls
    assert uv[:2] == ["/uv", "venv"] and "--seed" not in uv
    assert pip == ["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "venv")]


# -- the tools -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """Return a function: which uv `_tools` finds, by the installer and whether uv can be had."""
    user = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(logic.pwd, "getpwnam", lambda _name: user)
    monkeypatch.setattr(logic, "_tag", lambda _interpreter: "cpython-311")
    monkeypatch.setattr(logic, "give_to_root", lambda *_arguments, **_how: None)
    monkeypatch.setattr(logic, "make_folder", lambda path, *_rest: path.mkdir(parents=True, exist_ok=True))

    def found(installer, had=True):
        tried = []

        def run(arguments, path, hint="", **how):
            tried.append(list(arguments))
            bin_folder = how["cwd"] / "bin"
            bin_folder.mkdir(exist_ok=True)
            if logic.UV in arguments:
                if not had:
                    raise logic.ReleaseError(path, hint)
                (bin_folder / "uv").write_text("")
            else:
                for name in ("python", "pip"):
                    (bin_folder / name).write_text("")
            return ""
        monkeypatch.setattr(logic, "run", run)
        folder, uv, why = logic._tools("python3", logic.Access({"installer": installer}))
        assert (folder / "bin" / "python").exists()
        assert list(folder.parent.glob("*.partial")) == []
        return folder.name, bool(uv), why, len(tried)
    return found


MACHINE = os.uname().machine


def test_uv_is_installed_once(tools):
    assert tools("auto") == (f"cpython-311-{MACHINE}", True, "", 2)
    assert tools("auto") == (f"cpython-311-{MACHINE}", True, "", 0)
    assert tools("uv") == (f"cpython-311-{MACHINE}", True, "", 0)


def test_pip_is_taken_where_it_is_wanted(tools):
    assert tools("pip") == (f"cpython-311-{MACHINE}-pip", False, "", 1)
    assert tools("pip") == (f"cpython-311-{MACHINE}-pip", False, "", 0)
    assert tools("auto")[1]


def test_pip_is_taken_where_uv_cannot_be_had(tools):
    name, uv, why, _count = tools("auto", had=False)
    assert (name, uv) == (f"cpython-311-{MACHINE}-pip", False)
    assert "uv, which makes the environments, cannot be installed" in why
    assert tools("auto", had=False)[1] is False  # over what the first one left
    assert tools("auto")[1] is True  # and uv as soon as it can


def test_uv_is_insisted_on_where_that_is_written(tools):
    with pytest.raises(logic.ReleaseError, match=r"^webstack: uv, which"):
        tools("uv", had=False)


# -- environments that are there already ---------------------------------------------------------------------------


def basis(tmp_path, text="flask==3.1.2\n", name="requirements.txt", **more):
    app = {"package": "", "extra_requirements": [], "server_requirements": ["gunicorn==27.0.1"], "packages": [],
              "unpinned": [], **more}
    (tmp_path / name).write_text(text)
    (tmp_path / "pyproject.toml").touch()
    return logic._basis(app, None if more.get("package") else tmp_path / name, "/bin/echo")


@pytest.mark.parametrize("change", [
    {"text": "flask==3.1.3\n"}, {"name": "other.txt"}, {"extra_requirements": ["x==1"]}, {"packages": ["libpq5"]},
    {"server_requirements": ["uwsgi==2.0.31"]}, {"package": "httpbin==0.10.4"},
])
def test_another_ingredient_is_another_environment(tmp_path, change):
    assert basis(tmp_path, **change) not in ("", basis(tmp_path))
    assert basis(tmp_path) == basis(tmp_path)


LOCK = '[[package]]\nname = "x"\nsource = { %s = "." }\n'


@pytest.mark.parametrize("name, text, known", [
    ("requirements.txt", "flask==3.1.2 \\\n    --hash=sha256:aa\n", True),
    ("requirements.txt", "-r more.txt\n", False), ("requirements.txt", "  -c pins.txt\n", False),
    ("requirements.txt", "-e .\n", False), ("requirements.txt", "./vendor/x\n", False),
    ("requirements.txt", "x @ file:///x.whl\n", False),
    ("uv.lock", LOCK % "virtual", True), ("uv.lock", LOCK % "registry", True), ("uv.lock", LOCK % "editable", False),
    ("uv.lock", LOCK % "directory", False), ("uv.lock", LOCK % "path", False),
    ("pylock.toml", 'index = "https://h/s"\n', True), ("pylock.toml", "[packages.directory]\npath = 'x'\n", False),
    ("pyproject.toml", "", False),
])
def test_what_lies_elsewhere_makes_it_unknown(tmp_path, name, text, known):
    assert bool(basis(tmp_path, text, name)) == known
    assert basis(tmp_path, text, name, unpinned=["flask"]) == ""


def test_an_earlier_environment_is_copied_to_its_new_place(tmp_path):
    old, new = tmp_path / "releases" / "old", tmp_path / "releases" / "new"
    for path, data in {
        "bin/python": b"\x7fELF\0", "bin/tool": f"#!{old}/venv/bin/python\n".encode(),
        "bin/binary": f"\0{old}/venv".encode(), "pyvenv.cfg": f"command = venv {old}/venv\n".encode(),
        "lib/x.py": f"'{old}/venv'".encode(),
    }.items():
        (old / "venv" / path).parent.mkdir(parents=True, exist_ok=True)
        (old / "venv" / path).write_bytes(data)
    (old / "venv" / "bin" / "tool").chmod(0o755)
    os.utime(old / "venv" / "lib" / "x.py", (1, 1))
    (new / "venv").mkdir(parents=True)
    assert logic._earlier(new, "b") is None
    (old / "release.json").write_text('{"environment": "b"}')
    (new / "release.json").write_text('{"environment": "b"}')
    assert (logic._earlier(new, ""), logic._earlier(new, "other"), logic._earlier(new, "b")) == (None, None, old)
    logic._copy(old / "venv", new / "venv")
    assert (new / "venv/bin/tool").read_text() == f"#!{new}/venv/bin/python\n"
    assert os.access(new / "venv/bin/tool", os.X_OK)
    assert (old / "venv/bin/tool").read_text() == f"#!{old}/venv/bin/python\n"
    assert (new / "venv/lib/x.py").samefile(old / "venv/lib/x.py")
    assert (new / "venv/pyvenv.cfg").read_text() == f"command = venv {new}/venv\n"
    for path in ("bin/binary", "lib/x.py"):
        assert (new / "venv" / path).read_bytes() == (old / "venv" / path).read_bytes()
    assert (new / "venv/lib/x.py").stat().st_mtime == 1  # or its bytecode would count as stale
    (old / "release.json").write_text("[]")
    assert logic._earlier(new, "b") is None


# -- what is told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, frozen, words", [
    (["gunicorn==27.0.1"], "flask==3.1.0\ngunicorn==27.0.1\n", None),
    (["uWSGI==2.0.31"], "uwsgi==2.0.31\n", None),
    (["gunicorn==27.0.1"], "gunicorn==21.2.0\n", ["bring gunicorn==21.2.0", "run with gunicorn==27.0.1",
                                                 "Take gunicorn out of the requirements"]),
    (["gunicorn==27.0.1"], "flask==3.1.0\n", ["no gunicorn"]),
])
def test_requirements_must_not_bring_another_server(wanted, frozen, words):
    record = {"origin": "flask_apps[0]", "server_requirements": wanted}
    if words is None:
        return logic.server_survived(record, frozen)
    with pytest.raises(logic.ReleaseError) as caught:
        logic.server_survived(record, frozen)
    assert caught.value.path == "flask_apps[0].requirements"
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("script, words", [
    ("echo out; echo 'no such package' >&2; exit 1", ["flask_apps[0].env: It fails.", "no such package"]),
    ("echo 'only out'; exit 1", ["only out"]),
    ("echo 'at https://user:horse@packages.example.com/simple' >&2; exit 1", ["at https://packages.example.com/simple"]),
    ("for i in $(seq 40); do echo line $i; done; exit 1", ["line 29\n", "line 40"]),
])
def test_what_a_command_said_is_told(script, words):
    with pytest.raises(logic.ReleaseError) as caught:
        logic.run(["/bin/sh", "-c", script], "flask_apps[0].env", "It fails.")
    text = str(caught.value)
    assert [word for word in words if word not in text] == []
    assert "horse" not in text
    assert "line 28\n" not in text


def test_a_command_that_is_not_there():
    with pytest.raises(logic.ReleaseError, match=r"^flask_apps\[0\].python: /nonexistent/x is not on this host"):
        logic.run(["/nonexistent/x"], "flask_apps[0].python")
