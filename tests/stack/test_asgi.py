"""An ASGI app with WebSockets behind nginx, with Gunicorn's own worker and with uvicorn's, on Debian 12 and 13.

At a switch open WebSockets go on for their time, then they are closed by a close frame (1012: the service restarts,
connect again); none is ever reset, and no request is lost.
"""

from __future__ import annotations

import json
import threading
import time

import pytest
from stack import ROOT, Stack, address, ask, ssh
from traffic import Traffic
from websocket import Closed, WebSocket

NAME = "live.example.com"
GRACE = 8
UVICORN = "uvicorn_worker.UvicornWorker"
WORKERS = {"asgi": [], UVICORN: ["uvicorn==0.54.0", "uvicorn-worker==0.4.0", "websockets==17.4"]}


@pytest.fixture(scope="module", params=["12", "13"])
def host(request, bring_up):
    name = f"gunicorn-{request.param}"
    bring_up(name)
    return name


@pytest.fixture
def deploy(host, overlay):
    stack = Stack([str(ROOT / "inventories/t3")], overlay(web1=host))

    def run(worker: str = "asgi", good: bool = True, settings: dict | None = None, **env):
        app = {"name": "live", "server": "gunicorn", "source": {"folder": str(ROOT / "tests/stack/asgi")},
               "callable": "live:app", "extra_requirements": WORKERS.get(worker, []), "env": env,
               "settings": {"worker_class": worker, "graceful_timeout": GRACE, **(settings or {})}}
        site = {"name": "live", "server_names": [NAME], "routes": [
            {"path": "/", "app": "live"}, {"path": "/ws", "app": "live", "timeout": 3600}]}
        done = stack.play(variables={"flask_apps": [app], "nginx_sites": [site]})
        assert (done.code == 0) is good, done.output[-5000:]
        return done

    return run


def ask_on(socket: WebSocket, text: str) -> dict:
    return json.loads(socket.ask(text))


class Echo(threading.Thread):
    """Sends something every 50 ms, and notes how the connection ended."""

    def __init__(self, where: str, quiet: bool = False):
        super().__init__(daemon=True)
        self.socket, self.quiet = WebSocket(where, "/ws", NAME, timeout=60), quiet
        self.first = ask_on(self.socket, "hello")
        self.answers, self.end, self.ended_at = 0, None, 0.0
        self.start()

    def run(self) -> None:
        try:
            while self.quiet:
                self.socket.receive()
            while True:
                answer = ask_on(self.socket, f"number {self.answers}")
                assert answer == {**self.first, "text": f"number {self.answers}"}, answer
                self.answers += 1
                time.sleep(0.05)
        except (Closed, OSError, AssertionError) as error:
            self.end, self.ended_at = error, time.monotonic()


@pytest.mark.parametrize("worker", WORKERS)
def test_an_asgi_app_is_served_and_switched_politely(host, deploy, worker):
    where = address(host)
    deploy(worker, VERSION="1")
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Forwarded-Proto": "https"}
    answer = json.loads(ask(where, "/?text=a", NAME, headers=forged)[2])
    client = answer.pop("client")
    assert answer == {"version": "1", "scheme": "http", "started": True, "text": "a"}
    assert client.count(".") == 3 and client != "6.6.6.6"
    once = WebSocket(where, "/ws", NAME)
    assert ask_on(once, "who") == {"version": "1", "client": client, "scheme": "ws", "text": "who"}
    once.close()
    assert deploy(worker, VERSION="1").changed() == 0
    # The queue is as long as the socket's unit says: asyncio's own is 100.
    assert ssh(host, "ss -xlH src /run/webstack/live.sock").split()[3] == "2048"

    open_ones = [Echo(where, quiet=number % 2 == 1) for number in range(6)]
    with Traffic(where, 80, NAME, rate=150, kinds=("get", "post", "slow", "websocket"), websockets=3) as traffic:
        time.sleep(1)
        begin = time.monotonic()
        deploy(worker, VERSION="2")
        for echo in open_ones:
            echo.join(timeout=30)
        time.sleep(1)
    print(f"Debian {host[-2:]}, {worker}: {traffic.report}; {dict(traffic.report.sockets)}; "
          f"{', '.join(str(echo.end) for echo in open_ones)}; {open_ones[0].answers} echoes on the first")
    assert not traffic.report.lost, traffic.report.table()
    assert set(traffic.report.by_version) == {"1", "2"}
    assert [getattr(echo.end, "code", echo.end) for echo in open_ones] == [1012] * 6
    assert {echo.first["version"] for echo in open_ones} == {"1"}
    # They had their time, while new ones came to the new release.
    assert max(echo.ended_at for echo in open_ones) - begin > GRACE / 2
    assert ask_on(WebSocket(where, "/ws", NAME), "x")["version"] == "2"


def test_a_slow_start_keeps_nobody_waiting(host, deploy):
    where = address(host)
    deploy(VERSION="1")
    with Traffic(where, 80, NAME, rate=50, kinds=("get", "post")) as traffic:
        deploy(VERSION="2", STARTS_FOR="4")
    assert not traffic.report.lost, traffic.report.table()
    assert traffic.report.slowest < 1.5, traffic.report
    assert json.loads(ask(where, "/", NAME)[2])["version"] == "2"


@pytest.mark.parametrize(("worker", "env", "words"), [
    ("asgi", {"STARTS_NOT": "1"}, ["flask_apps[0].callable", "no queue to read from"]),
    ("gthread", {}, ["flask_apps[0].callable", "worker_class: asgi"]),
])
def test_a_release_that_does_not_start_is_refused(host, deploy, worker, env, words):
    where = address(host)
    deploy(VERSION="1")
    before = WebSocket(where, "/ws", NAME)
    done = deploy(worker, good=False, VERSION="2", **env)
    assert not [word for word in words if word not in done.output], done.output[-3000:]
    assert ask_on(before, "x")["version"] == "1"
    assert json.loads(ask(where, "/", NAME)[2])["version"] == "1"
