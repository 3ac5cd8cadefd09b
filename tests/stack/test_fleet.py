"""Several hosts (T7 and the demo), and what a run costs with one app and with twenty."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from stack import ROOT, Stack, address, ask, ssh

HTTPBIN, GUESTBOOK = "httpbin.example.com", "guestbook.example.com"


def fine(run, changed=None):
    assert run.code == 0, run.output[-6000:]
    if changed is not None:
        assert run.changed() == changed, run.output[-6000:]
    return run


# -- T7: nginx on a host of its own, two app hosts -------------------------------------------------------------------

@pytest.fixture(scope="module")
def t7(overlay, bring_up):
    bring_up("t7-edge", "t7-app1", "t7-app2")
    return Stack([str(ROOT / "inventories/t7")], overlay(edge1="t7-edge", app1="t7-app1", app2="t7-app2"))


def test_t7_can_be_checked_on_bare_hosts(t7):
    output = fine(t7.play("--check", "--diff")).output
    for words in ("would install: ", "not checked: flask_apps[0]", "not checked: django_apps[0]"):
        assert words in output, output[-6000:]
    assert "postgresql" not in ssh("t7-app1", "dpkg -l")


def test_t7_answers(t7):
    fine(t7.play())
    edge = address("t7-edge")
    assert json.loads(ask(edge, "/get?a=1", HTTPBIN)[2])["args"] == {"a": "1"}
    assert json.loads(ask(edge, "/api/health/", GUESTBOOK)[2])["status"] == "ok"
    style = ask(edge, "/guestbook/", GUESTBOOK)[2].partition('href="/static/')[2].partition('"')[0]
    status, headers, _text = ask(edge, f"/static/{style}", GUESTBOOK)
    assert status == 200 and headers["content-type"].startswith("text/css")
    run = fine(t7.play(), changed=0)
    runs = Counter(host for host, _module in run.runs)
    print(f"T7, second run: module runs {dict(runs)}")
    assert max(runs.values()) <= 5


@pytest.mark.parametrize("app", ["httpbin", "guestbook"])
def test_t7_shares_the_load(t7, app):
    path, name = {"httpbin": ("/get", HTTPBIN), "guestbook": ("/api/health/", GUESTBOOK)}[app]
    before = ssh("t7-edge", "sudo cat /var/log/nginx/access.log | wc -l")
    for _number in range(20):
        assert ask(address("t7-edge"), path, name)[0] == 200
    lines = map(json.loads, ssh("t7-edge", f"sudo tail -n +{int(before) + 1} /var/log/nginx/access.log").splitlines())
    asked = Counter(line["upstream"].partition(":")[0] for line in lines if line["host"] == name)
    assert asked.keys() == {address("t7-app1"), address("t7-app2")} and min(asked.values()) >= 5, asked


def test_t7_app_hosts_let_only_the_edge_in(t7):
    for app_host in ("t7-app1", "t7-app2"):
        listening = ssh(app_host, "ss -Htln").splitlines()
        ports = [line.split()[3].rpartition(":")[2] for line in listening if address(app_host) in line.split()[3]]
        apps = [port for port in ports if 20000 <= int(port) < 30000]
        assert len(apps) == 2, listening
        for port in apps:
            assert "connected" in connect("t7-edge", app_host, port), "the edge itself cannot connect"
            other = "t7-app2" if app_host == "t7-app1" else "t7-app1"
            assert "TimeoutError" in connect(other, app_host, port), "another host was let in"


def httpbin(colour: str) -> dict:
    return {"flask_apps": [{
        "name": "httpbin", "server": "uwsgi", "source": {"package": "httpbin==0.10.4"}, "callable": "httpbin:app",
        "health": {"path": "/status/200", "watch": 6}, "env": {"COLOUR": colour}}]}


def deploy(t7, colour: str):
    return t7.play(playbook="playbooks/deploy.yml", variables={"app": "httpbin", **httpbin(colour)})


def rollback(t7, **more):
    return t7.play(playbook="playbooks/rollback.yml", variables={"app": "httpbin", **more})


def live() -> str:
    """Return what all hosts run; nobody has the lock."""
    found = {json.loads(ssh(host, "cat /srv/webstack/apps/httpbin/record.json"))["live"]
             for host in ("t7-app1", "t7-app2")}
    assert len(found) == 1, found
    assert "lock.json" not in ssh("t7-app1", "ls /srv/webstack/apps/httpbin")
    return found.pop()


def said(run) -> str:
    assert run.code != 0, run.output[-6000:]
    return " ".join(run.output.split())


def test_t7_two_that_only_switch_do_not_mix(t7):
    """The releases are there already, so nothing but the switch itself takes the lock, for both hosts."""
    releases = {}
    for colour in ("red", "green", "blue"):
        fine(deploy(t7, colour))
        releases[colour] = live()
    with ThreadPoolExecutor() as pool:
        runs = dict(zip(("red", "green"), pool.map(lambda colour: deploy(t7, colour), ("red", "green")), strict=True))
    (won,) = [colour for colour, run in runs.items() if run.code == 0]
    (lost,) = [run for run in runs.values() if run.code]
    assert "httpbin: is being deployed by" in said(lost)
    assert live() == releases[won]

    # A rollback into the middle of a deploy.
    with ThreadPoolExecutor() as pool:
        running = pool.submit(deploy, t7, "blue")
        while "lock.json" not in ssh("t7-app1", "ls /srv/webstack/apps/httpbin") and not running.done():
            time.sleep(0.2)
        assert "httpbin: is being deployed by" in said(rollback(t7, release=releases["green"]))
        fine(running.result())
    assert live() == releases["blue"]
    run = fine(rollback(t7))
    print(f"T7, rollback: module runs {dict(Counter(host for host, _module in run.runs))}")
    assert live() == releases[won]


def test_t7_the_lock_is_given_back_when_one_host_fails(t7):
    before = live()
    fine(deploy(t7, "white"))
    white = live()
    fine(rollback(t7))
    venv = f"/srv/webstack/apps/httpbin/releases/{white}/venv"
    ssh("t7-app2", f"sudo mv {venv} {venv}.away")
    try:
        assert f"there is no folder {venv}" in said(deploy(t7, "white"))
    finally:
        ssh("t7-app2", f"sudo mv {venv}.away {venv}")
    assert "lock.json" not in ssh("t7-app1", "ls /srv/webstack/apps/httpbin")
    assert "-e release=ID" in said(rollback(t7)), "half of a deploy is turned around"
    fine(rollback(t7, release=before))
    assert live() == before


def test_t7_a_host_that_comes_later_does_not_get_what_is_held(t7):
    before, record = live(), "/srv/webstack/apps/httpbin/record.json"
    ssh("t7-app2", f"sudo mv {record} {record}.away")
    try:
        text = said(t7.play(variables=httpbin("white")))
        for words in ("flask_apps[0]", "is held back on app1 since", "app2 came to the app later", "-e app=httpbin"):
            assert words in text, text[-6000:]
        assert "No such file" in ssh("t7-app2", f"cat {record} 2>&1", check=False)
    finally:
        ssh("t7-app2", f"sudo mv {record}.away {record}")
    assert live() == before
    run = fine(t7.play(variables=httpbin("white")), changed=0)
    assert "is held back since" in " ".join(run.output.split()) and live() == before
    fine(deploy(t7, "white"))
    assert live() != before


def connect(host: str, app_host: str, port: str) -> str:
    """Open a connection to the app's port from another host; say what came of it."""
    code = f"import socket; socket.create_connection(('{address(app_host)}', {port}), 3); print('connected')"
    return ssh(host, f'python3 -c "{code}" 2>&1', check=False)


# -- one app and twenty ----------------------------------------------------------------------------------------------

def test_a_second_run_costs_the_same_for_one_app_and_for_twenty(overlay, bring_up, tmp_path):
    bring_up("flask-13")
    stack = Stack([str(ROOT / "inventories/t3")], overlay(web1="flask-13"))
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "hello.py").write_text(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n")

    def variables(count, **first):
        apps = [{"name": f"app{number}", "source": {"folder": str(folder)}, "callable": "hello:app",
                 "requirements": "", "settings": {"workers": 1, "threads": 1}} for number in range(count)]
        apps[0] |= first
        sites = [{"name": f"site{number}", "server_names": [f"app{number}.example.com"],
                  "routes": [{"path": "/", "app": f"app{number}"}]} for number in range(count)]
        return {"flask_apps": apps, "nginx_sites": sites}

    runs = {}
    for count in (1, 20):
        fine(stack.play(variables=variables(count)))
        assert ask(address("flask-13"), "/", f"app{count - 1}.example.com")[2] == "hello"
        run = fine(stack.play(variables=variables(count)), changed=0)
        runs[count] = Counter(run.runs)
        print(f"second run with {count} apps and sites: {sum(runs[count].values())} module runs")
    assert runs[1] == runs[20]

    # One app changed: only that app changes.

    before = units("flask-13")
    fine(stack.play(variables=variables(20, env={"COLOUR": "blue"})))
    after = units("flask-13")
    assert {name for name in before if before[name] != after[name]} == {"app0"}


def units(host: str) -> dict[str, str]:
    """Return the instance and main process of each app."""
    lines = ssh(host, "systemctl show -p Id,MainPID 'webstack-app*@*.service'").split("\n\n")
    found = {}
    for block in lines:
        values = dict(line.split("=", 1) for line in block.strip().splitlines())
        found[values["Id"].removeprefix("webstack-").partition("@")[0]] = values["Id"] + values["MainPID"]
    return found


# -- one more app server ---------------------------------------------------------------------------------------------

UVICORN = '''
from . import Server

SERVER = Server(
    name="uvicorn", protocol="http", config_name="", template="", requirements=("uvicorn==0.54.0",),
    exec_start=lambda service: [f"{service['bin']}/uvicorn", "--fd", "3", "--interface", "wsgi",
                                "--workers", str(service["settings"]["workers"]), service["callable"]],
    check=lambda service: [], notify=False,
)
'''


def test_an_app_server_is_added_by_one_file(overlay, bring_up, tmp_path):
    """A server that the collection does not know serves a real app, given nothing but its file."""
    bring_up("flask-12")
    tree = tmp_path / "ansible_collections" / "frontdesk" / "webstack"
    tree.mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    (tree / "plugins/plugin_utils/servers/uvicorn.py").write_text(UVICORN, encoding="utf-8")
    app = {"name": "httpbin", "server": "uvicorn", "source": {"package": "httpbin==0.10.4"},
           "callable": "httpbin:app", "health": {"path": "/status/200"}}
    stack = Stack([str(ROOT / "inventories/t3")], overlay(web1="flask-12"))
    for changed in (None, 0):
        fine(stack.play(playbook=str(tree / "playbooks/site.yml"), variables={"flask_apps": [app]},
                        collections=tmp_path), changed)
        assert json.loads(ask(address("flask-12"), "/get?a=1", HTTPBIN)[2])["args"] == {"a": "1"}
    assert "uvicorn" in ssh("flask-12", "ps -eo args")
