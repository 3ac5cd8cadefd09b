# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Gunicorn's configuration does around an app: the client's address, readiness, WebSockets at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import SimpleNamespace

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import services


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Return a function: the names of the configuration as Gunicorn has them, and what was said to systemd."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "notify"))
    channel.setblocking(False)

    def make(**settings):
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        record = services.service_record({
            "name": "shop", "origin": "flask_apps[0]", "server": "gunicorn", "hosts": ["app1"], "user": "ws-shop",
            "root": "/srv/webstack/apps/shop", "directory": "", "callable": "shop:app", "settings": settings,
            "health": {}, "listen": {"app1": ["/run/webstack/shop.sock"]}, "allow": {"app1": ["10.0.0.1"]}})
        names: dict = {}
        exec(record["config"]["text"], names)  # noqa: S102
        return names

    def ready() -> bool:
        try:
            return channel.recv(100) == b"READY=1"
        except BlockingIOError:
            return False

    make.ready = ready
    yield make
    channel.close()


def worker(age: int = 1, lifespan: str = "auto", **more):
    return SimpleNamespace(age=age, cfg=SimpleNamespace(asgi_lifespan=lifespan, backlog=2048), sockets=[],
                           notify=lambda: None, _shutdown=None, loop=SimpleNamespace(create_server=None), **more)


async def an_app(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await receive()
    else:
        await send({"type": "seen", "client": scope["client"], "scheme": scope["scheme"]})


async def no_lifespan(scope, receive, send):
    raise AssertionError(scope["type"])


async def refuses(scope, receive, send):
    await send({"type": "lifespan.startup.failed"})


@pytest.mark.parametrize(("app", "ready"), [(an_app, True), (no_lifespan, True), (refuses, False)])
def test_a_worker_is_warm_when_its_lifespan_has_started(config, app, ready):
    names = config(workers=1, worker_class="asgi")
    one = worker(asgi=app)
    names["post_worker_init"](one)
    assert not config.ready()

    async def nobody(_message=None):
        return {}

    async def run():
        with contextlib.suppress(AssertionError):
            await one.asgi({"type": "lifespan"}, nobody, nobody)

    asyncio.run(run())
    assert config.ready() is ready


def test_all_workers_must_be_warm(config):
    names = config(workers=2)
    for age in (1, 2):
        names["post_worker_init"](worker(age, wsgi=lambda environ, start_response: []))
        assert config.ready() is (age == 2)


def test_a_lifespan_that_is_off_is_not_waited_for(config):
    config(workers=1, worker_class="asgi")["post_worker_init"](worker(asgi=an_app, lifespan="off"))
    assert config.ready()


@pytest.mark.parametrize(("peer", "headers", "client", "scheme"), [
    (None, {"x-real-ip": "192.0.2.7", "x-forwarded-proto": "https"}, "192.0.2.7", "https"),  # the unix socket
    (("10.0.0.1", 5), {"x-real-ip": "192.0.2.7"}, "192.0.2.7", "http"),  # an edge
    (("10.9.9.9", 5), {"x-real-ip": "192.0.2.7", "x-forwarded-proto": "https"}, "10.9.9.9", "http"),
    (None, {"x-forwarded-proto": "gopher"}, None, "http"),
])
def test_only_edges_say_who_the_client_is(config, peer, headers, client, scheme):
    one = worker(asgi=an_app)
    config(workers=1, worker_class="asgi")["post_worker_init"](one)
    seen = []

    async def send(message):
        seen.append(message)

    scope = {"type": "http", "client": peer, "scheme": "http",
             "headers": [(key.encode(), value.encode()) for key, value in headers.items()]}
    asyncio.run(one.asgi(scope, None, send))
    assert ((seen[0]["client"] or [None])[0], seen[0]["scheme"]) == (client, scheme)
    assert scope["client"] == peer, "the server's own record was changed"


@pytest.mark.parametrize("leaves", [True, False])
def test_open_websockets_have_their_time_then_a_close_frame(config, leaves):
    names = config(workers=1, worker_class="asgi", graceful_timeout=2)
    said, steps = [], []

    async def stop():
        steps.append("stopped")

    one = worker(asgi=an_app)
    one._shutdown = stop
    names["post_worker_init"](one)

    async def send(message):
        said.append(message["type"])
        if message["type"] == "websocket.close":
            assert message["code"] == 1012
            gone.set()

    async def run():
        nonlocal gone
        gone = asyncio.Event()
        talk = asyncio.ensure_future(one.asgi({"type": "websocket", "headers": [], "client": None, "scheme": "ws"},
                                              gone.wait, send))
        await asyncio.sleep(0)
        begin = asyncio.get_running_loop().time()
        if leaves:
            asyncio.get_running_loop().call_later(0.4, gone.set)
        await one._shutdown()
        await talk
        return asyncio.get_running_loop().time() - begin

    gone = None
    took = asyncio.run(run())
    assert steps == ["stopped"]
    assert said == ["websocket.accept"] + ([] if leaves else ["websocket.close"])
    assert took < 1 if leaves else 1 <= took < 3


def test_threads_are_for_threads(config):
    assert config(worker_class="gthread", threads=3)["threads"] == 3
    assert "threads" not in config(worker_class="asgi")


def test_the_queue_of_the_shared_socket_stays_as_long_as_it_is(config):
    asked = []
    one = worker(asgi=an_app)
    one.loop.create_server = lambda *rest, **more: asked.append(more)
    config(workers=1, worker_class="asgi")["post_worker_init"](one)
    one.loop.create_server(None, sock=None)
    assert asked == [{"backlog": 2048, "sock": None}]
