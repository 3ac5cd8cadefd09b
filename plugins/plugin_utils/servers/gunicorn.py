# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gunicorn: HTTP on the shared socket that systemd hands over."""

from __future__ import annotations

from . import Server

TEMPLATE = '''\
# {{ service.name }}: Gunicorn. Written by frontdesk.webstack; change the inventory instead.
import inspect
import mmap
import os
import socket
import sys

wsgi_app = {{ service.callable | py }}
chdir = {{ service.directory | py }}
proc_name = {{ service.name | py }}

workers = {{ settings.workers }}
{% if settings.worker_class in ("gthread", "sync") %}
threads = {{ settings.threads }}
{% endif %}
worker_class = {{ settings.worker_class | py }}
timeout = {{ settings.timeout }}
graceful_timeout = {{ settings.graceful_timeout }}
# Longer than nginx keeps an idle connection, so that it is never the app that closes one in use.
keepalive = {{ settings.keepalive }}
max_requests = {{ settings.max_requests }}
max_requests_jitter = {{ settings.max_requests // 10 }}

umask = 0o027
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
errorlog = "-"
accesslog = None  # nginx has it
loglevel = {{ settings.loglevel | py }}

# Whoever can open the unix socket is trusted; over TCP the edges alone are.
forwarded_allow_ips = {{ (allow | join(',') or '127.0.0.1') | py }}
{% for key, value in settings.extra | dictsort %}
{{ key }} = {{ value | py }}
{% endfor %}

_EDGES = frozenset(forwarded_allow_ips.split(",")) | {""}
# Gunicorn says "ready" before a worker has loaded the app. Here the last worker to load says it, so that the old
# release is stopped only when all of the new one is warm.
_NOTIFY = os.environ.pop("NOTIFY_SOCKET", None)
_LOADED = mmap.mmap(-1, max(workers, 1))


def _warm(worker):
    if worker.age > workers or _LOADED[worker.age - 1]:
        return
    _LOADED[worker.age - 1] = 1
    if _NOTIFY and all(_LOADED[:]):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\\0" + _NOTIFY[1:] if _NOTIFY.startswith("@") else _NOTIFY)
            channel.sendall(b"READY=1")


def _wsgi(application):
    """Let REMOTE_ADDR be the client's address, as the edge tells it."""
    def client_address(environ, start_response):
        if "HTTP_X_REAL_IP" in environ and environ.get("REMOTE_ADDR", "") in _EDGES:
            environ["REMOTE_ADDR"] = environ["HTTP_X_REAL_IP"]
        return application(environ, start_response)

    return client_address


def _asgi(worker, application, opened):
    """Let client and scheme be what the edge tells, note the WebSockets that are open, and say when the app is up."""
    async def started(scope, receive, send):
        refused = False

        async def listen(message):
            nonlocal refused
            refused = refused or message["type"] == "lifespan.startup.failed"
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                _warm(worker)

        try:
            await application(scope, receive, listen)
        finally:
            if not refused:  # an app that knows no lifespan
                _warm(worker)

    async def told(scope, receive, send):
        if scope["type"] == "lifespan":
            return await started(scope, receive, send)
        headers = dict(scope["headers"])
        if (scope.get("client") or ("",))[0] in _EDGES:
            address, scheme = headers.get(b"x-real-ip"), headers.get(b"x-forwarded-proto")
            scope = dict(scope)
            if address:
                scope["client"] = (address.decode("latin-1"), 0)
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode().replace("http", "ws" if scope["type"] == "websocket" else "http")
        if scope["type"] != "websocket":
            return await application(scope, receive, send)

        async def accept(message):
            await send(message)
            if message["type"] == "websocket.accept":
                opened.add(send)

        try:
            await application(scope, receive, accept)
        finally:
            opened.discard(send)

    return told


def _time_to_go(worker, opened, stop):
    """Stop in good order: no new connections, some time for open WebSockets, and a close frame for those that stay."""
    import asyncio

    async def close(send):
        try:
            await send({"type": "websocket.close", "code": 1012, "reason": "service restart"})
        except Exception:
            pass  # it went away by itself

    async def go(*arguments, **options):
        loop = asyncio.get_running_loop()
        for listener in worker.sockets:
            loop.remove_reader(listener.fileno())
        # What was taken in already becomes a request. A release's last seconds are kept for its requests.
        await asyncio.sleep(0.2)
        end = loop.time() + max(graceful_timeout - 5, graceful_timeout / 2)
        while opened and loop.time() < end:
            worker.notify()
            await asyncio.sleep(0.1)
        if opened:
            await asyncio.wait([asyncio.ensure_future(close(send)) for send in list(opened)], timeout=2)
        return await stop(*arguments, **options)

    return go


def post_worker_init(worker):
    """Make the app hear from the edge who the client is, and note that the worker is warm."""
    name = "asgi" if hasattr(worker, "asgi") else "wsgi"
    application = getattr(worker, name, None)
    entry = application if inspect.isroutine(application) else getattr(type(application), "__call__", None)
    if not inspect.iscoroutinefunction(entry):
        if application is not None and name == "wsgi":
            worker.wsgi = _wsgi(application)
        return _warm(worker)
    opened = set()
    setattr(worker, name, _asgi(worker, application, opened))
    lifespan = "off"
    if name == "asgi":
        worker._shutdown = _time_to_go(worker, opened, worker._shutdown)
        # asyncio would cut the queue of the shared socket down to 100, and whoever comes then is refused.
        listen = worker.loop.create_server
        worker.loop.create_server = lambda *rest, **more: listen(*rest, **{"backlog": worker.cfg.backlog, **more})
        lifespan = worker.cfg.asgi_lifespan
    elif any(kind.__module__.startswith("uvicorn") for kind in type(worker).__mro__):
        server = sys.modules["uvicorn.server"].Server
        stop = server.shutdown
        server.shutdown = lambda self, *rest, **more: _time_to_go(worker, opened, stop.__get__(self))(*rest, **more)
        lifespan = worker.config.lifespan
    if lifespan == "off":
        _warm(worker)
'''

SERVER = Server(
    name="gunicorn",
    protocol="http",
    config_name="gunicorn.conf.py",
    template=TEMPLATE,
    exec_start=lambda service: [f"{service['bin']}/gunicorn", "--config", service["config"]["path"]],
    check=lambda service: [f"{service['bin']}/gunicorn", "--check-config", "--config", service["config"]["path"]],
    requirements=("gunicorn==27.0.1",),
    options={
        "worker_class": {"type": "str", "default": "gthread",
                         "description": "The kind of worker; `asgi` for an ASGI app and its WebSockets."},
        "keepalive": {"type": "int", "default": 75,
                      "description": "How many seconds an idle connection of the window stays open."},
        "loglevel": {"type": "str", "default": "info", "choices": ["debug", "info", "warning", "error", "critical"],
                     "description": "How much the server itself says in the journal."},
    },
    # The workers report that they are ready, see the template.
    unit=("KillMode=mixed", "NotifyAccess=all"),
    reserved={
        "bind": "`port`: the address belongs to the socket unit",
        "wsgi_app": "`callable`", "chdir": "`directory`", "workers": "`settings.workers`",
        "threads": "`settings.threads`", "timeout": "`settings.timeout`", "worker_class": "`settings.worker_class`",
        "graceful_timeout": "`settings.graceful_timeout`", "max_requests": "`settings.max_requests`",
        "keepalive": "`settings.keepalive`", "loglevel": "`settings.loglevel`", "user": "`user`", "group": "`user`",
        "raw_env": "`env`", "forwarded_allow_ips": "nothing: the edges follow from the sites",
        "daemon": "nothing: systemd watches the process", "pidfile": "nothing: systemd knows the process",
        "reload": "`server: development`", "control_socket_disable": "nothing: releases cannot be written to",
        "post_worker_init": "nothing: it is used already", "preload_app": "nothing: all workers are warm at a switch",
        "reuse_port": "nothing: the socket is shared already", "umask": "nothing: it is set",
    },
)
