# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases in a company's closed network: all kinds of sources and locks, from its own index, by its own proxy.

The index is behind HTTPS with a certificate of an authority that nobody else knows, wants a user and a password, and
has a name that its proxy alone can find. Its password must be nowhere afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import package_server
import pytest
import yaml
from stack import ROOT, Stack, address, ssh

HOSTS = ["python-app-12", "python-app-13"]
USER, PASSWORD = "robot", "horse/b@ttery:st%ple"
PROXY_PASSWORD = "proxy-staple"
QUOTED = urllib.parse.quote(PASSWORD, safe="")
HELLO = "import wstdemo\n\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"
#: those that are released again with other settings
AGAIN = ["uv-lock", "pylock", "hashed", "package"]
#: what must be found nowhere
SECRETS = [PASSWORD, QUOTED, PROXY_PASSWORD]


def write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *settings, "-C", str(folder), *words], check=True, capture_output=True,
                          text=True).stdout.strip()


def repositories(folder: Path, served: Path) -> None:
    """Make a repository whose one file is in a submodule of another, and put both where they are served."""
    for name, files in (("lib", {"inside/part.py": "PART = 1\n"}), ("shop", {"hello.py": HELLO})):
        write(folder / name, {**files, "requirements.txt": "wstdemo==1.0\n"})
        git(folder / name, "init", "--quiet", "--initial-branch", "main")
        if name == "shop":
            git(folder / name, "submodule", "--quiet", "add", str(folder / "lib"), "vendor/lib")
            write(folder / name, {".gitmodules": '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib.git\n'})
        git(folder / name, "add", "--all")
        git(folder / name, "commit", "--quiet", "--message", "x")
        git(folder, "clone", "--quiet", "--bare", str(folder / name), str(served / f"{name}.git"))
        git(served / f"{name}.git", "update-server-info")


@pytest.fixture(scope="module")
def network(tmp_path_factory, bring_up):
    """The servers, on the controller's address in the hosts' network."""
    bring_up(*HOSTS)
    bridge = address(HOSTS[0]).rpartition(".")[0] + ".1"
    top = tmp_path_factory.mktemp("network")
    files = top / "served"
    (files / "files").mkdir(parents=True)
    _wheel, digest = package_server.wheel(files / "files", "wstdemo", "1.0")
    package_server.wheel(files / "files", "wstapp", "2.0", ("wstdemo",))
    # What runs the apps comes from this index too: there is no other.
    sys.path.insert(0, str(ROOT / ".cache/collections"))
    from ansible_collections.frontdesk.webstack.plugins.plugin_utils import servers

    for wanted in [*servers.load()["gunicorn"].requirements, "uv>=0.9,<1", "packaging", "setuptools", "wheel"]:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                        "--dest", str(files / "files"), wanted], check=True)
    for path in (files / "files").glob("*.whl"):
        project = files / "simple" / path.name.partition("-")[0].lower().replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        os.link(path, project / path.name)
    source = package_server.sdist_of({"hello.py": HELLO, "requirements.txt": "wstdemo==1.0\n"}, "shop-1.0")
    (files / "files" / "shop-1.0.tar.gz").write_bytes(source)
    repositories(top, files)
    authority, chain = package_server.authority(top, bridge)
    found = package_server.Network(files, chain, bridge, USER, PASSWORD, f"proxy:{PROXY_PASSWORD}")
    found.authority, found.wheel_digest, found.files = authority, digest, files
    yield found
    found.stop()


def apps(folder: Path, network) -> list[dict]:
    """Return an app for each kind of source and of lock."""
    base = f"https://{package_server.NAME}:{network.port}"
    wheel = f"{base}/files/wstdemo-1.0-py3-none-any.whl"
    project = '[project]\nname = "shop"\nversion = "0.1.0"\nrequires-python = ">=3.11"\ndependencies = ["wstdemo"]\n'
    uv_lock = f"""version = 1
requires-python = ">=3.11"

[[package]]
name = "shop"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "wstdemo" }}]

[package.metadata]
requires-dist = [{{ name = "wstdemo" }}]

[[package]]
name = "wstdemo"
version = "1.0"
source = {{ registry = "{base}/simple" }}
wheels = [{{ url = "{wheel}", hash = "sha256:{network.wheel_digest}" }}]
"""
    pylock = f"""lock-version = "1.0"
created-by = "test"

[[packages]]
name = "wstdemo"
version = "1.0"
index = "{base}/simple"
[[packages.wheels]]
name = "wstdemo-1.0-py3-none-any.whl"
url = "{wheel}"
hashes = {{ sha256 = "{network.wheel_digest}" }}
"""
    hashed = f"wstdemo==1.0 --hash=sha256:{network.wheel_digest}\n"
    kinds = {
        "uv-lock": {"uv.lock": uv_lock, "pyproject.toml": project, "requirements.txt": "nothing-such==1"},
        "pylock": {"pylock.toml": pylock, "pyproject.toml": project},
        "hashed": {"requirements.txt": hashed},
        "pyproject": {"pyproject.toml": project},
    }
    result = [{"name": name, "callable": "hello:app",
               "source": {"folder": write(folder / name, {**files, "hello.py": HELLO})}}
              for name, files in kinds.items()]
    here = f"https://{USER}:{QUOTED}@{network.address}:{network.port}"
    tarball = network.files / "files" / "shop-1.0.tar.gz"
    digest = subprocess.run(["sha256sum", str(tarball)], check=True, capture_output=True, text=True).stdout.split()[0]
    return [
        *result,
        {"name": "archive", "callable": "hello:app",
         "source": {"archive": f"{here}/files/shop-1.0.tar.gz", "checksum": f"sha256:{digest}"}},
        {"name": "git", "callable": "hello:app", "source": {"git": f"{here}/shop.git", "version": "main"}},
        {"name": "package", "callable": "wstapp:VERSION", "source": {"package": "wstapp==2.0"}},
        {"name": "none", "callable": "hello:app", "requirements": "none", "source": {"folder": str(folder / "hashed")},
         "extra_requirements": ["wstdemo==1.0"]},
    ]


class Watch:
    """Reads the arguments of all processes, of the controller and of the hosts, while something goes on."""

    def __enter__(self):
        loop = ("touch /tmp/watch; while test -e /tmp/watch; do ps -eww -o args; sleep 0.1; done"
                " | sort -u > /tmp/seen")
        for host in HOSTS:
            ssh(host, f"rm -f /tmp/seen; nohup sh -c '{loop}' > /dev/null 2>&1 &")
        self.seen: set[str] = set()
        self.going = True
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self):
        while self.going:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_text(errors="replace").replace("\0", " "))
                except OSError:
                    continue
            time.sleep(0.02)

    def __exit__(self, *_error):
        self.going = False
        self.thread.join()
        for host in HOSTS:
            ssh(host, "rm /tmp/watch; sleep 1")
            self.seen.update(ssh(host, "cat /tmp/seen").splitlines())


def inventory(folder: Path, variables: dict) -> Stack:
    hosts = {host: {"ansible_host": address(host), "ansible_user": "deploy",
                    "ansible_ssh_common_args": f"-F {ROOT}/.cache/hosts/ssh_config"} for host in HOSTS}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"webstack_app": {"hosts": hosts}, "all": {"vars": {
        "webstack_cache": str(folder / "cache"), **variables}}}), encoding="utf-8")
    return Stack([str(path)])


def failure(run) -> str:
    """Return what went wrong, from all that -vvv says."""
    return run.output[max(run.output.find("fatal: "), 0):][:4000]


def settings(network) -> dict:
    proxy = f"http://proxy:{PROXY_PASSWORD}@{network.address}:{network.proxy_port}"
    return {
        "webstack_package_index": {"url": f"https://{package_server.NAME}:{network.port}/simple", "username": USER,
                                   "password": PASSWORD},
        "webstack_proxy": {"https": proxy}, "webstack_ca": str(network.authority),
    }


@pytest.fixture(scope="module")
def deployed(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    variables = {"flask_apps": apps(folder, network), **settings(network)}
    with Watch() as watch:
        run = inventory(folder, variables).play("-vvv", "--diff", playbook="playbooks/release.yml")
    assert run.code == 0, failure(run)
    return {"folder": folder, "variables": variables, "run": run, "seen": watch.seen,
            "names": [app["name"] for app in variables["flask_apps"]]}


def python(host: str, app: str, script: str) -> str:
    folder = f"/srv/webstack/apps/{app}/releases/*/source"
    return ssh(host, f"sudo sh -c 'cd {folder} && ../venv/bin/python -c \"{script}\"'")


@pytest.mark.parametrize("host", HOSTS)
def test_all_kinds_are_installed(host, deployed):
    for name in deployed["names"]:
        module = "wstapp" if name == "package" else "hello"
        script = f"import {module}, wstdemo, gunicorn; print(wstdemo.VERSION)"
        assert python(host, name, script).strip() == "1.0", name
    assert "PART" in ssh(host, "sudo sh -c 'cat /srv/webstack/apps/git/releases/*/source/vendor/lib/inside/part.py'")


def test_everything_came_through_the_proxy(network, deployed):
    hosts = {address(host) for host in HOSTS}
    assert hosts <= {client for client, _path in network.tunnels}
    assert not [entry for entry in network.asked if entry[0] in hosts]


def test_open_versions_are_told_once_and_noted(deployed):
    output = deployed["run"].output
    [line] = [line for line in output.splitlines() if "left open" in line]
    assert "WARNING" in line and "flask_apps[3].requirements: the version of wstdemo" in line
    for name in deployed["names"]:
        record = json.loads(ssh(HOSTS[0], f"sudo sh -c 'cat /srv/webstack/apps/{name}/releases/*/release.json'"))
        assert record["unpinned"] == (["wstdemo"] if name == "pyproject" else []), name


def test_no_secret_is_in_a_process_list(deployed):
    assert any("gunicorn" in line and "install" in line for line in deployed["seen"])
    assert any("remote-https" in line for line in deployed["seen"])
    assert [line for line in deployed["seen"] if any(secret in line for secret in SECRETS)] == []


def test_no_secret_is_in_the_output(deployed):
    assert [line for line in deployed["run"].output.splitlines() if any(secret in line for secret in SECRETS)] == []


@pytest.mark.parametrize("host", HOSTS)
def test_no_secret_is_on_the_host(host, deployed):
    # By way of a file: sudo writes what it is called with to the journal.
    coded = base64.b64encode("\n".join(SECRETS).encode()).decode()
    ssh(host, f"echo {coded} | base64 -d > /tmp/secrets")
    assert ssh(host, "sudo grep -c horse /tmp/secrets") == "2\n"
    assert ssh(host, "sudo grep -rlaFf /tmp/secrets /srv/webstack /var/cache/webstack /etc /var/log /run/log /home"
                     " /root 2> /dev/null", check=False) == ""
    assert ssh(host, "sudo journalctl --no-pager --quiet | grep -Ff /tmp/secrets", check=False) == ""


def test_nothing_of_it_makes_another_release(deployed, network):
    """A new password, and no proxy: the same releases."""
    variables = {**deployed["variables"], "webstack_proxy": {}, "webstack_ca": "",
                 "webstack_package_index": {"url": "https://packages.example.com/simple"}}
    sources = [app for app in variables["flask_apps"] if app["name"] not in ("git", "archive")]
    run = inventory(deployed["folder"], {**variables, "flask_apps": sources}).play(playbook="playbooks/release.yml")
    assert run.code == 0, failure(run)
    assert run.changed() == 0


def test_the_same_requirements_are_not_fetched_again(deployed, network):
    variables = {**deployed["variables"], "flask_apps": [
        {**app, "env": {"AGAIN": "1"}} for app in deployed["variables"]["flask_apps"] if app["name"] in AGAIN]}
    before = len(network.tunnels)
    run = inventory(deployed["folder"], variables).play(playbook="playbooks/release.yml")
    assert run.code == 0, failure(run)
    assert run.changed() == len(HOSTS)
    assert len(network.tunnels) == before
    for host in HOSTS:
        for name in AGAIN:
            folders = ssh(host, f"sudo sh -c 'ls -d /srv/webstack/apps/{name}/releases/*'").split()
            assert len(folders) == 2
            for folder in folders:
                tool = f"{folder}/venv/bin/gunicorn"
                said = ssh(host, f"sudo sh -c '{tool} --version; head -1 {tool}'")
                assert said.startswith("gunicorn") and f"{folder}/venv" in said
            assert ssh(host, f"sudo find {folders[0]} {folders[1]} ! -user root") == ""


def test_pip_makes_the_same(deployed, network):
    variables = {**deployed["variables"], "webstack_installer": "pip", "flask_apps": [
        {**app, "packages": ["ca-certificates"]} for app in deployed["variables"]["flask_apps"]
        if app["name"] in ("hashed", "pyproject", "package")]}
    run = inventory(deployed["folder"], variables).play("-vvv", playbook="playbooks/release.yml")
    assert run.code == 0, failure(run)
    for host in HOSTS:
        for name in ("hashed", "pyproject", "package"):
            listed = ("import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))")
            folders = ssh(host, f"sudo sh -c 'ls -d /srv/webstack/apps/{name}/releases/*'").split()
            assert len(folders) in (2, 3)
            found = {ssh(host, f"cd /tmp; sudo {folder}/venv/bin/python -c \"{listed}\"") for folder in folders}
            assert len(found) == 1, found
    assert not [secret for secret in SECRETS if secret in run.output]


def test_what_needs_uv_says_so(deployed):
    variables = {**deployed["variables"], "webstack_installer": "pip", "flask_apps": [
        app for app in deployed["variables"]["flask_apps"] if app["name"] in ("uv-lock", "pylock")]}
    run = inventory(deployed["folder"], variables).play(playbook="playbooks/release.yml")
    assert run.code != 0 and run.runs == []
    for index, name in enumerate(["uv.lock", "pylock.toml"]):
        assert f"flask_apps[{index}].requirements: {name} is read by uv alone" in run.output


@pytest.mark.parametrize(("change", "path", "words"), [
    ({"webstack_package_index": {"url": "https://{name}:{port}/simple", "username": USER, "password": "wrong-horse"}},
     "flask_apps[0].requirements", "401"),
    ({"webstack_ca": ""}, "flask_apps[0].requirements", "certificate"),
])
def test_what_goes_wrong_is_told_without_the_password(deployed, network, change, path, words):
    text = json.dumps(change).replace("{name}", package_server.NAME).replace("{port}", str(network.port))
    app = {"name": "broken", "callable": "hello:app", "source": {"folder": str(deployed["folder"] / "hashed")},
           "server": "development"}
    run = inventory(deployed["folder"], {**deployed["variables"], "webstack_environment": "staging",
                                         **json.loads(text), "flask_apps": [app]}).play(
        "-vvv", "--limit", HOSTS[1], playbook="playbooks/release.yml")
    assert run.code != 0
    assert f"{path}: What requirements.txt names cannot be installed." in run.output, run.output[-3000:]
    assert words in run.output.lower()
    assert "wrong-horse" not in run.output and not [secret for secret in SECRETS if secret in run.output]
