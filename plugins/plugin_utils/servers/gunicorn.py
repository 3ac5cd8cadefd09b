# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gunicorn: HTTP on the shared socket that systemd hands over."""

from __future__ import annotations

from . import Server

TEMPLATE = '''\
# {{ service.name }}: Gunicorn. Written by frontdesk.webstack; change {{ service.origin }} instead.
import mmap
import os
import socket

wsgi_app = {{ service.callable | py }}
chdir = {{ service.directory | py }}
proc_name = {{ service.name | py }}

workers = {{ settings.workers }}
threads = {{ settings.threads }}
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
    if worker.age > workers:
        return
    _LOADED[worker.age - 1] = 1
    if _NOTIFY and all(_LOADED[:]):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\\0" + _NOTIFY[1:] if _NOTIFY.startswith("@") else _NOTIFY)
            channel.sendall(b"READY=1")


def post_worker_init(worker):
    """Let REMOTE_ADDR be the client's address, as the edge tells it, and note that the worker is warm."""
    application = getattr(worker, "wsgi", None)

    def client_address(environ, start_response):
        if "HTTP_X_REAL_IP" in environ and environ.get("REMOTE_ADDR", "") in _EDGES:
            environ["REMOTE_ADDR"] = environ["HTTP_X_REAL_IP"]
        return application(environ, start_response)

    # An ASGI worker has no WSGI app to wrap, and reads the peer by itself.
    if application is not None and not hasattr(worker, "asgi"):
        worker.wsgi = client_address
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
                         "description": "The kind of worker; `asgi` for an ASGI app."},
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
