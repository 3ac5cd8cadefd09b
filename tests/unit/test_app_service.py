# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the serve stage: environment files, records, trials, the probe, configuration checks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import (
    deploy_lock,
    env_file,
    record,
    server_check,
    service,
    wsgi_probe,
)

HEALTH = {"path": "/", "status": [200], "host": "localhost", "https": False, "timeout": 2}
UNIT = """\
[Unit]
Description=shop, release %i
After=webstack-shop.socket

[Service]
Type=notify
NotifyAccess=all
User=ws-shop
Sockets=webstack-shop.socket
EnvironmentFile=/etc/webstack/shop/%i/env
ExecStart=/srv/venv/bin/gunicorn
Restart=always
TimeoutStartSec=120
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize("value", [
    "", "plain", "with blank", 'quo"te', "apo'strophe", "$HOME ${HOME} $$", "back\\slash \\n", "`id`", "line\nbreak\n",
    "tab\there", "#no comment", "; nor this", "häßlich ✓ 日本", "%i %%", "=", " leading and trailing ", "\\", '\\"',
])
def test_environment_survives(value):
    text = env_file.format_env_file({"A": value, "B": "2"})
    assert env_file.parse_env_file(text) == {"A": value, "B": "2"}


@pytest.mark.parametrize("env", [{"A": "a\rb"}, {"A": "\0"}, {"A": "\x1b["}, {"1A": ""}, {"A B": ""}, {"A": "\udc80"}])
def test_what_systemd_would_drop_is_refused_without_its_value(env):
    with pytest.raises(ValueError, match=next(iter(env))) as caught:
        env_file.format_env_file(env)
    assert next(iter(env.values())) == "" or next(iter(env.values())) not in str(caught.value)


@pytest.mark.parametrize("text", ["A=1\n", 'A="1', 'A="1"\nB\n', 'A="1" \n'])
def test_a_foreign_environment_file_is_not_guessed(text):
    with pytest.raises(ValueError, match="line"):
        env_file.parse_env_file(text)


def test_trial_of_a_command():
    text = service.trial_unit(UNIT, "shop", "check", Path("/run/x"), ["/bin/a b", "50%"], 60)
    assert "Type=oneshot\n" in text
    assert "ExecStart='/bin/a b' '50%%'\n" in text or "ExecStart='/bin/a b' 50%%\n" in text
    for word in ("Sockets=", "Restart=always", "NotifyAccess", "WantedBy", "After="):
        assert word not in text
    for word in ("User=ws-shop", "EnvironmentFile=", "NoNewPrivileges=yes"):
        assert word in text


def test_trial_behind_a_private_socket():
    text = service.trial_unit(UNIT, "shop", "probe", Path("/run/x"), None, 60)
    assert "Sockets=webstack_probe-shop.socket\n" in text
    assert "Sockets=webstack-shop.socket" not in text
    assert "Type=notify\n" in text
    assert "Restart=no\n" in text
    assert "ExecStart=/srv/venv/bin/gunicorn\n" in text


def test_systemctl_show():
    units = service.parse_show("Id=a.socket\nListen=/run/a\nListen=10.0.0.1:1\n\nId=b@1.service\nX=a=b\n")
    assert units["a.socket"]["Listen"] == "/run/a\n10.0.0.1:1"
    assert units["b@1.service"]["X"] == "a=b"


def test_what_the_host_listens_on(tmp_path):
    (tmp_path / "unix").write_text(
        "Num RefCount Protocol Flags Type St Inode Path\n"
        "0: 00000002 00000000 00010000 0001 01 77 /run/webstack/shop.sock\n"
        "0: 00000003 00000000 00000000 0001 03 78 /run/other.sock\n")
    (tmp_path / "tcp").write_text("  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0 0\n"
                                  "   1: 0100007F:0016 0100007F:1000 01 0 0\n")
    (tmp_path / "tcp6").write_text("  sl  local_address rem_address   st\n"
                                   "   0: 00000000000000000000000001000000:1F91 0:0000 0A 0 0\n")
    assert service.listening(tmp_path) == {"/run/webstack/shop.sock", "127.0.0.1:8080", "[::1]:8081"}


def probe(tmp_path, source, target="shop:app", **more):
    (tmp_path / "shop.py").write_text(source)
    (tmp_path / "probe.py").write_text(wsgi_probe.SCRIPT)
    (tmp_path / "probe.json").write_text(json.dumps({"directory": str(tmp_path), "callable": target, **HEALTH, **more}))
    done = subprocess.run([sys.executable, str(tmp_path / "probe.py"), str(tmp_path / "probe.json")], text=True,
                          capture_output=True, timeout=30, check=False)
    return wsgi_probe.read_report(done.stdout)


GOOD = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n"

ASGI = """async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
LIFESPAN = f"""import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["up"] = True
        await send({{"type": "lifespan.startup.complete"}})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    assert scope["state"]["up"] and (await receive())["type"] == "http.request"
    await asyncio.sleep(0)
{ASGI.partition("NotImplementedError")[2].strip(chr(10))}
"""


@pytest.mark.parametrize(("source", "target", "words"), [
    ("import nothere\n", "shop:app", ["flask_apps[0].requirements", "'nothere'", "shop.py:1"]),
    ("import os\nos.environ['KEY']\n", "shop:app", ["flask_apps[0].env", "'KEY'", "shop.py:2"]),
    (GOOD, "shop:application", ["flask_apps[0].callable", "callable: shop:app"]),
    (GOOD, "shopp:app", ["flask_apps[0].callable", "no module 'shopp'"]),
    ("def x(:\n", "shop:app", ["SyntaxError", "shop.py:1"]),
    ("app = 3\n", "shop:app", ["flask_apps[0].callable", "cannot be called"]),
    ("raise SystemExit(3)\n", "shop:app", ["SystemExit"]),
    ("def app(e, s):\n    raise ValueError('broken')\n", "shop:app", ["health.path", "broken", "shop.py:2"]),
    ("def app(e, s):\n    s('500 No', [])\n    return []\n", "shop:app", ["health", "500", "answer 200"]),
    ("def app(e, s):\n    s('400 No', [])\n    return []\n", "shop:app", ["ALLOWED_HOSTS"]),
    ("import time\ndef app(e, s):\n    time.sleep(20)\n", "shop:app", ["no answer within", "timeout"]),
    (ASGI.replace("200", "500"), "shop:app", ["health", "500", "answer 200"]),
    (ASGI.replace("    await send", "    raise ValueError('broken')\n    await send", 1), "shop:app",
     ["health.path", "broken", "shop.py:4"]),
    (ASGI.replace("    await send", "    import time; time.sleep(20)\n    await send", 1), "shop:app",
     ["no answer within", "timeout"]),
    (LIFESPAN.replace("complete", "failed"), "shop:app", ["cannot be imported", "lifespan.startup.failed"]),
    ("async def app(scope, receive, send):\n    pass\n", "shop:app", ["answered nothing"]),
])
def test_what_is_wrong_with_an_app_is_said(tmp_path, source, target, words):
    report = probe(tmp_path, source, target, timeout=1)
    assert not report["ok"]
    text = wsgi_probe.explain(report, "flask_apps[0]", target, HEALTH)
    assert not [word for word in words if word not in text], text


@pytest.mark.parametrize(("source", "target"), [
    (GOOD, "shop:app"), (f"{GOOD}def make():\n    return app\n", "shop:make()"),
    (ASGI, "shop:app"), (LIFESPAN, "shop:app"),
    (f"class App:\n    async def __call__(self, *more):\n        return await app(*more)\n{ASGI}", "shop:App()"),
    ("print('noise')\n" + GOOD, "shop:app"),
])
def test_a_good_app_is_good(tmp_path, source, target):
    assert probe(tmp_path, source, target)["ok"]


@pytest.mark.parametrize(("server", "worker", "wanted"), [
    ("gunicorn", "gthread", False), ("gunicorn", "asgi", True), ("gunicorn", "uvicorn_worker.UvicornWorker", True),
    ("gunicorn", "shop.workers.Own", None), ("uwsgi", "", False), ("development", "", None),
])
def test_the_worker_says_what_kind_of_app_it_runs(server, worker, wanted):
    assert wsgi_probe.wants_asgi(server, {"worker_class": worker}) is wanted


@pytest.mark.parametrize(("source", "asgi", "words"), [
    (ASGI, False, ["flask_apps[0].callable 'shop:app'", "settings: {worker_class: asgi}"]),
    (GOOD, True, ["flask_apps[0].settings.worker_class", "WSGI"]),
])
def test_an_app_of_the_other_kind_is_refused(tmp_path, source, asgi, words):
    report = probe(tmp_path, source, asgi=asgi)
    assert not report["ok"]
    text = wsgi_probe.explain(report, "flask_apps[0]", "shop:app", HEALTH)
    assert not [word for word in words if word not in text], text
    assert probe(tmp_path, source, asgi=not asgi)["ok"] and probe(tmp_path, source, asgi=None)["ok"]


def test_uwsgi_numbers_and_sections():
    text = "[uwsgi]\nharakiri = thirty\nthreads = 4\nworkers = %(cores)\n; post-buffering = true\nbuffer-size = true\n"
    assert [item["line"] for item in server_check.check_uwsgi_text("u.ini", text)] == [2, 6]
    assert server_check.check_uwsgi_text("u.ini", "[app]\nmaster = true\n")[0]["line"] == 0


def test_uwsgi_unknown_option_has_its_line():
    said = "[uWSGI] getting INI configuration from u.ini\n[strict-mode] unknown config directive: mastr\n"
    (found,) = server_check.explain_uwsgi("u.ini", "[uwsgi]\n\nmastr = true\n", said)
    assert (found["line"], "mastr" in found["message"]) == (3, True)


def test_gunicorn_names():
    known = ["bind", "accesslog", "workers"]
    text = "import os\nhelper = 2\nworkers = helper\naccess_log = '-'\n_own = 1\n"
    (found,) = server_check.check_gunicorn_text("g.py", text, known)
    assert (found["line"], "accesslog" in found["message"]) == (4, True)
    assert server_check.check_gunicorn_text("g.py", "workers = (\n", known)[0]["line"] == 1


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Return the record of an app whose release `a` is live, and one of which nothing else than its lock is tried."""
    monkeypatch.setattr(service, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(service, "Service", mock.Mock(side_effect=service.Failed("as far as this")))
    item = {"name": "shop", "root": str(tmp_path / "shop"), "release": "a"}
    live(item, "a")
    return item


def live(item, release):
    found = record.read(Path(item["root"], "record.json"), "shop")
    record.note(found, release, "live")
    record.write(Path(item["root"], "record.json"), found)


ONE = {"who": "ann", "controller": "boot 1", "pid": 1, "started": "1"}
TWO = {**ONE, "who": "bob", "pid": 2}


def test_nothing_to_switch_takes_no_lock(app):
    deploy_lock.acquire(app["root"], "shop", TWO)
    with pytest.raises(service.Failed, match="as far as this"):
        service.apply([app], {}, run=ONE, locks=["shop"], systemd=mock.Mock())


def test_what_has_gone_live_while_it_waited_takes_the_lock(app, monkeypatch):
    @contextlib.contextmanager
    def alone():
        live(app, "b")
        deploy_lock.acquire(app["root"], "shop", TWO)
        yield

    monkeypatch.setattr(service, "alone", alone)
    with pytest.raises(deploy_lock.Busy, match="is being deployed by bob"):
        service.apply([app], {}, run=ONE, locks=["shop"], systemd=mock.Mock())


@pytest.mark.parametrize(("locks", "left"), [(["shop"], False), ([], True)])
def test_the_lock_of_an_app_on_several_hosts_stays_until_all_are_done(app, locks, left):
    deploy_lock.acquire(app["root"], "shop", ONE)
    with pytest.raises(service.Failed):
        service.apply([{**app, "release": "b"}], {}, run=ONE, locks=locks, systemd=mock.Mock())
    assert Path(app["root"], "lock.json").exists() == left
