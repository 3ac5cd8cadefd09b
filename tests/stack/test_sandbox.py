"""What an app may do on its host, and what runs beside it: processes, timers, single commands, their logs.

Two hosts, Debian 12 and 13. nginx on the second one reaches the apps of the first over TCP, also those that have no
network of their own.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse

import pytest
from stack import ROOT, Stack, address, ask, ssh

HOSTS = ["sandbox-12", "sandbox-13"]
SSH_CONFIG = ROOT / ".cache/hosts/ssh_config"
SECRET = "a-word-that-nobody-may-see"
ADDED = "another-word-that-nobody-may-see"
#: what the issue of hardening allows an app that needs no network
EXPOSURE = {"gunicorn": 0.5, "uwsgi": 0.7}


def app(name, **more):
    return {"name": name, "source": {"folder": str(ROOT / "tests/stack/sandbox")}, "callable": "probe:app",
            "env": {"SECRET_WORD": SECRET}, **more}


def everything(worker: dict | None = None, processes: bool = True, **env):
    """Return the variables of all apps."""
    beside = {
        "processes": [{"name": "worker", "command": "worker.py worker 3", "stop_timeout": 20, **(worker or {})},
                      {"name": "beat", "command": "python worker.py beat 1", "singleton": True}],
        "timers": [{"name": "often", "command": "job.py", "every": "2s", "singleton": False},
                   {"name": "nightly", "command": "job.py", "on_calendar": "*-*-* 03:30"}],
    } if processes else {}
    flask = [
        app("open", limits={"memory": "512M", "tasks": 100, "cpu": 1.5}, env={"SECRET_WORD": SECRET, **env}, **beside),
        app("closed", hosts="first", outbound=[]),
        app("closed-u", hosts="first", outbound=[], server="uwsgi"),
        app("near", hosts="first", outbound=["localhost"]),
    ]
    django = {"name": "blog", "hosts": "first", "source": {"folder": str(ROOT / "examples/guestbook/api")},
              "settings_module": "guestbook.settings", "health": {"path": "/api/health/"}, "media": False,
              "timers": [{"name": "sessions", "command": "manage.py clearsessions", "on_calendar": "daily"}],
              "env": {"DJANGO_ALLOWED_HOSTS": "localhost", "DJANGO_SECRET_KEY": "of-the-tests-and-long-enough-" * 2,
                      "DATABASE_URL": "sqlite:////srv/webstack/apps/blog/shared/db.sqlite3"}}
    sites = [{"name": name, "server_names": [f"{name}.example.com"], "routes": [{"path": "/", "app": name}]}
             for name in ("open", "closed", "closed-u", "near")]
    return {"flask_apps": flask, "django_apps": [django], "nginx_sites": sites}


@pytest.fixture(scope="module")
def stack(tmp_path_factory, bring_up):
    bring_up(*HOSTS)
    lines = ["---", "all:", "  vars:", "    ansible_user: deploy",
             f"    ansible_ssh_common_args: -F {SSH_CONFIG}", "  hosts:"]
    for host in HOSTS:
        lines += [f"    {host}:", f"      ansible_host: {address(host)}"]
    lines += ["  children:", "    webstack_app:", "      hosts: {sandbox-12: , sandbox-13: }",
              "    webstack_edge:", "      hosts: {sandbox-13: }", "    first:", "      hosts: {sandbox-12: }"]
    path = tmp_path_factory.mktemp("sandbox") / "hosts.yml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = Stack([str(path)])
    made.said = ""

    def site(good=True, changed=None, playbook="playbooks/site.yml", **variables):
        run = made.play("--diff", playbook=playbook, variables=variables or everything())
        made.said += run.output
        assert (run.code == 0) is good, run.output[-6000:]
        assert changed is None or run.changed() == changed, run.output[-6000:]
        return run

    made.site = site
    site()
    return made


def try_to(name: str, do: str, **arguments) -> dict:
    """Let the app do something, by way of nginx."""
    query = urllib.parse.urlencode(arguments)
    status, _headers, text = ask(address("sandbox-13"), f"/{do}?{query}", f"{name}.example.com")
    assert status == 200, text
    return json.loads(text)


def live(host: str, name: str) -> str:
    return json.loads(ssh(host, f"cat /srv/webstack/apps/{name}/record.json"))["live"]


def journal(host: str, name: str) -> str:
    return ssh(host, f"sudo journalctl --namespace=webstack -t webstack-{name} --quiet --no-pager --output=cat")


def running(host: str, pattern: str) -> list[str]:
    return sorted(line.split()[0] for line in ssh(
        host, f"systemctl list-units --plain --no-legend --state=active '{pattern}'").splitlines())


# -- the sandbox -----------------------------------------------------------------------------------------------------

@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(("name", "server"), [("closed", "gunicorn"), ("closed-u", "uwsgi")])
def test_an_app_without_network_serves_and_is_hardly_exposed(name, server):
    for _number in range(50):
        assert ask(address("sandbox-13"), "/", f"{name}.example.com")[0] == 200
    body = "x" * 200_000
    assert ask(address("sandbox-13"), "/echo", f"{name}.example.com", "POST", body)[2] == body
    said = ssh("sandbox-12", f"systemd-analyze security --no-pager webstack-{name}@{live('sandbox-12', name)}.service")
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
    print(f"exposure of {name} ({server}, Debian 12): {exposure}")
    assert exposure <= EXPOSURE[server]


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("host", HOSTS)
def test_an_app_with_network_is_little_exposed(host):
    for kind in ("open@", "open.worker@"):
        said = ssh(host, f"systemd-analyze security --no-pager webstack-{kind}{live(host, 'open')}.service")
        exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
        print(f"exposure of {kind} ({host}): {exposure}")
        assert exposure <= 1.3


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("path", ["/usr/x", "/etc/x", "/etc/webstack/x", "/var/lib/x", "/srv/webstack/apps/open/x",
                                  "/srv/webstack/apps/near/shared/x", "/home/x", "/run/webstack/x"])
def test_an_app_writes_nowhere_but_to_its_own_folders(path):
    answer = try_to("open", "write", path=path)
    assert not answer["done"], answer
    assert try_to("open", "write", path="/srv/webstack/apps/open/shared/x")["done"]


@pytest.mark.usefixtures("stack")
def test_an_app_connects_only_where_it_may():
    where = {"host": address("sandbox-13"), "port": 22}
    assert try_to("open", "connect", **where)["done"]
    for name in ("closed", "closed-u", "near"):
        answer = try_to(name, "connect", **where)
        assert not answer["done"], answer
    here = {"host": "127.0.0.1", "port": 22}
    assert try_to("near", "connect", **here)["done"]
    for name in ("closed", "closed-u"):
        assert not try_to(name, "connect", **here)["done"]


@pytest.mark.usefixtures("stack")
def test_an_app_reads_nothing_of_others():
    release, own = live("sandbox-12", "near"), live("sandbox-12", "open")
    ssh("sandbox-12", "sudo install -d -m 755 /etc/ssl/shop && echo key | sudo install -m 600 /dev/stdin "
                    "/etc/ssl/shop/key.pem && sudo install -m 644 /etc/ssl/shop/key.pem /etc/ssl/private/key.pem")
    for path in (f"/etc/webstack/near/{release}/env", f"/etc/webstack/open/{own}/env", "/etc/ssl/shop/key.pem",
                 "/etc/ssl/private/key.pem", "/etc/shadow", f"/srv/webstack/apps/near/releases/{release}/release.json",
                 "/proc/1/environ"):
        for name in ("closed", "closed-u"):
            answer = try_to(name, "read", path=path)
            assert not answer["done"], (path, answer)
    for path in ("/srv/webstack/apps/near/shared", "/srv/webstack/apps/near/releases", "/root", "/home/deploy"):
        assert not try_to("closed", "list", path=path)["done"], path
    # No process but its own.
    seen = {int(name) for name in try_to("closed", "list", path="/proc")["said"] if name.isdigit()}
    owners = {ssh("sandbox-12", f"ps -o user= -p {pid}", check=False).strip() for pid in seen}
    assert owners - {""} == {"ws-closed"}, owners


@pytest.mark.usefixtures("stack")
def test_nobody_else_talks_to_the_socket():
    script = ("import socket; s = socket.socket(socket.AF_UNIX); "
              "s.connect('/run/webstack/open.sock'); print('connected')")
    for user in ("ws-near", "nobody", "deploy"):
        assert "connected" not in ssh("sandbox-12", f"sudo runuser -u {user} -- python3 -c \"{script}\"", check=False)
    assert "connected" in ssh("sandbox-12", f"sudo runuser -u www-data -- python3 -c \"{script}\"")
    # Over TCP the edge alone: not the controller, nor the app's host itself.
    [listen] = re.findall(r"ListenStream=(\d\S+)", ssh("sandbox-12", "cat /etc/systemd/system/webstack-open.socket"))
    port = listen.rpartition(":")[2]
    script = (f"import socket; s = socket.create_connection(('{address('sandbox-12')}', {port}), 2); "
              "s.settimeout(2); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(len(s.recv(99)))")
    assert ssh("sandbox-13", f"python3 -c \"{script}\"").strip() != "0"
    assert not ssh("sandbox-12", f"python3 -c \"{script}\" 2>&1 | grep -v Error", check=False).strip().isdigit()


# -- processes, timers, commands -------------------------------------------------------------------------------------

def test_processes_run_where_they_should(stack):
    release = live("sandbox-12", "open")
    assert running("sandbox-12", "webstack-open.*") == [
        f"webstack-open.beat@{release}.service", "webstack-open.nightly.timer", "webstack-open.often.timer",
        "webstack-open.socket", f"webstack-open.worker@{release}.service"]
    assert running("sandbox-13", "webstack-open.*") == [
        "webstack-open.often.timer", "webstack-open.socket", f"webstack-open.worker@{release}.service"]
    for host in HOSTS:
        unit = f"webstack-open.worker@{release}.service"
        pid = ssh(host, f"systemctl show -P MainPID {unit}").strip()
        assert ssh(host, f"ps -o user= -p {pid}").strip() == "ws-open"
        assert ssh(host, f"systemctl is-enabled {unit}").strip() == "enabled"
        said = journal(host, "open")
        for words in (f"worker {release} begins", f"job of {release}", "gunicorn 2"):
            assert words in said.replace("Starting gunicorn", "gunicorn"), said[-2000:]
        assert "MaxRetentionSec=30day" in ssh(host, "cat /etc/systemd/journald@webstack.conf")
    stack.site(changed=0)


def test_processes_follow_a_deploy(stack):
    old = live("sandbox-12", "open")
    stack.site(**everything(NEW="1"))
    new = live("sandbox-12", "open")
    assert new != old
    for host in HOSTS:
        said = journal(host, "open")
        begins = float(re.search(rf"worker {new} begins at ([\d.]+)", said)[1])
        ends = float(re.search(rf"worker {old} has finished at ([\d.]+)", said)[1])
        assert begins < ends, "the old worker had its time, beside the new one"
        assert running(host, f"webstack-open*@{old}.service") == []
        ends = time.monotonic() + 30
        while f"job of {new}" not in journal(host, "open") and time.monotonic() < ends:
            time.sleep(1)
        jobs = [line for line in journal(host, "open").splitlines() if line.startswith("job of ")]
        assert jobs[-1] == f"job of {new}"
    said = journal("sandbox-12", "open")
    begins = float(re.search(rf"beat {new} begins at ([\d.]+)", said)[1])
    assert float(re.search(rf"beat {old} has finished at ([\d.]+)", said)[1]) < begins, "never two of a singleton"
    stack.site(changed=0, **everything(NEW="1"))


def test_a_process_that_dies_undoes_the_switch(stack):
    before = live("sandbox-12", "open")
    output = stack.site(good=False, **everything(NEW="1", WORKER_DIES="1")).output
    assert "flask_apps[0].processes (worker): webstack-open.worker@" in output
    assert "no queue at (value of SECRET_WORD)" in output
    assert "This was undone" in output
    for host in HOSTS:
        assert live(host, "open") == before
        assert f"webstack-open.worker@{before}.service" in running(host, "webstack-open.worker@*")
        assert running(host, "webstack-open@*") == [f"webstack-open@{before}.service"]
    assert running("sandbox-12", "webstack-open.beat@*") == [f"webstack-open.beat@{before}.service"]
    stack.site(changed=0, **everything(NEW="1"))


def test_a_program_that_is_not_there_is_found_before_the_switch(stack):
    before = live("sandbox-13", "open")
    output = stack.site(good=False, **everything(NEW="1", worker={"command": "celrey -A shop worker"})).output
    assert "there is no program 'celrey'" in " ".join(output.replace("''", "'").split())
    assert [live(host, "open") for host in HOSTS] == [before, before]


def test_a_stopped_process_is_started_again(stack):
    unit = running("sandbox-13", "webstack-open.worker@*")[0]
    ssh("sandbox-13", f"sudo systemctl stop {unit} webstack-open.often.timer")
    assert stack.site(**everything(NEW="1")).recap()["sandbox-13"]["changed"] == 1
    assert running("sandbox-13", "webstack-open.*")[0] == "webstack-open.often.timer"
    assert unit in running("sandbox-13", "webstack-open.*")


def test_a_command_runs_in_the_apps_environment(stack):
    release = live("sandbox-12", "blog")
    run = stack.site(playbook="playbooks/run.yml", app="blog",
                     command='manage.py shell -c "import os; print(os.environ[\'WEBSTACK_RELEASE\'], 7 * 6)"')
    assert f"{release} 42" in run.output
    code = "import os; from django.contrib.auth.models import User; print(User.objects.count())"
    stack.site(playbook="playbooks/run.yml", app="blog", command="manage.py createsuperuser --noinput", command_env={
        "DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_EMAIL": "r@example.com",
        "DJANGO_SUPERUSER_PASSWORD": ADDED})
    assert "    1\n" in stack.site(playbook="playbooks/run.yml", app="blog",
                                   command=f'manage.py shell -c "{code}"').output
    assert "touch: cannot touch '/etc/x'" in stack.site(
        good=False, playbook="playbooks/run.yml", app="blog", command="touch /etc/x").output.replace("''", "'")
    output = stack.site(good=False, playbook="playbooks/run.yml", app="blgo", command="manage.py check").output
    assert "Did you mean ''blog''?" in " ".join(output.split())
    assert ssh("sandbox-12", "ls -A /run/webstack_run; ls /run/systemd/system | grep webstack", check=False) == ""


def test_secrets_are_in_no_log_and_no_readable_file(stack):
    for secret in (SECRET, ADDED):
        assert secret not in stack.said
    for host in HOSTS:
        # The process that died said it of itself, and only in the journal of the apps.
        assert SECRET not in ssh(host, "sudo journalctl --quiet --no-pager -o cat")
        assert ADDED not in ssh(host, "sudo journalctl --namespace='*' --quiet --no-pager -o cat")
        assert SECRET not in ssh(host, "ps -eo args")
        found = ssh(host, f"sudo grep -rlF {SECRET} /etc /run /srv/webstack /var/log /tmp /var/tmp "
                          "--exclude-dir=journal 2>/dev/null", check=False).split()
        assert all(re.fullmatch(r"/etc/webstack/[a-z-]+/[0-9a-f]+/env", path) for path in found), found
        modes = ssh(host, f"sudo stat -c '%a %U' {' '.join(found)}").split("\n")
        assert set(modes) - {""} == {"600 root"}, modes


def test_what_is_taken_out_is_stopped_and_removed(stack):
    stack.site(**everything(NEW="1", processes=False))
    for host in HOSTS:
        assert running(host, "webstack-open.*") == ["webstack-open.socket"]
        assert "webstack-open." not in ssh(
            host, "ls /etc/systemd/system /etc/systemd/system/*.wants | grep -v open.socket", check=False)
        assert ssh(host, "systemctl --failed --no-legend --plain") == ""
    stack.site(changed=0, **everything(NEW="1", processes=False))
