# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uWSGI: the uwsgi protocol on the shared socket that systemd hands over."""

from __future__ import annotations

from . import Server

TEMPLATE = """\
; {{ service.name }}: uWSGI. Written by frontdesk.webstack; change the inventory instead.
[uwsgi]
strict = true
need-app = true
master = true
single-interpreter = true
enable-threads = true
auto-procname = true
procname-prefix-spaced = {{ service.name }}

chdir = {{ service.directory }}
virtualenv = {{ service.bin[:-4] }}
pythonpath = {{ service.directory }}
module = {{ service.callable }}

processes = {{ settings.workers }}
threads = {{ settings.threads }}
harakiri = {{ settings.timeout }}
socket-timeout = {{ settings.timeout }}
buffer-size = {{ settings.buffer_size }}
{% if settings.max_requests %}
max-requests = {{ settings.max_requests }}
; Not all at the same time: a worker that is replaced answers nobody.
max-requests-delta = {{ [settings.max_requests // 10, 1] | max }}
{% endif %}

; The app is loaded before the workers are forked (no lazy-apps): "ready" means loaded. The socket belongs to systemd,
; and so does its queue: no listen, no chmod-socket, and no vacuum, which would unlink it under the next release.
; SIGTERM lets the requests in hand finish.
hook-master-start = unix_signal:15 gracefully_kill_them_all
worker-reload-mercy = {{ settings.graceful_timeout }}
reload-mercy = {{ settings.graceful_timeout }}

; nginx logs the requests; the rest goes to the journal.
disable-logging = true
{% if service.public %}

; Nothing stands before the public router: what clients say about themselves is not believed.
route-run = setscheme:http
{% for name in ["PROTO", "FOR", "HOST", "PORT", "PREFIX", "SSL", "SERVER"] %}
route-run = addvar:HTTP_X_FORWARDED_{{ name }}=
{% endfor %}
route-run = addvar:HTTP_FORWARDED=
route-run = addvar:HTTP_X_REAL_IP=
add-header = X-Content-Type-Options: nosniff
{% endif %}
{% for key, value in settings.extra | dictsort %}
{% for item in (value if value is sequence and value is not string else [value]) %}
{{ key }} = {{ item | lower if item is boolean else item }}
{% endfor %}
{% endfor %}
"""

SERVER = Server(
    name="uwsgi",
    protocol="uwsgi",
    config_name="uwsgi.ini",
    template=TEMPLATE,
    exec_start=lambda service: [f"{service['bin']}/uwsgi", "--ini", service["config"]["path"]],
    check=lambda service: [f"{service['bin']}/uwsgi", "--strict", "--need-app", "--no-server", "--ini",
                           service["config"]["path"]],
    requirements=("uwsgi==2.0.31",),
    # Built from source; without PCRE it has no internal routing.
    packages=("gcc", "python3-dev", "libpcre2-dev"),
    options={
        "buffer_size": {"type": "int", "default": 32768,
                        "description": "How many bytes the headers of a request may have."},
    },
    # To the master alone: it lets the workers finish.
    unit=("KillMode=mixed",),
    reserved={
        "socket": "`port`: the address belongs to the socket unit",
        "http": "`public: {listen: ADDRESS}`", "http-socket": "`public: {listen: ADDRESS}`",
        "http-to": "`public: {listen: ADDRESS}`",
        "module": "`callable`", "wsgi-file": "`callable`", "mount": "`callable`", "chdir": "`directory`",
        "pythonpath": "`directory`", "virtualenv": "`virtualenv`", "home": "`virtualenv`",
        "processes": "`settings.workers`", "workers": "`settings.workers`", "threads": "`settings.threads`",
        "harakiri": "`settings.timeout`", "max-requests": "`settings.max_requests`",
        "max-requests-delta": "`settings.max_requests`",
        "worker-reload-mercy": "`settings.graceful_timeout`", "reload-mercy": "`settings.graceful_timeout`",
        "buffer-size": "`settings.buffer_size`", "env": "`env`", "uid": "`user`", "gid": "`user`",
        "vacuum": "nothing: it would remove the shared socket", "listen": "nothing: the queue belongs to the socket",
        "daemonize": "nothing: systemd watches the process", "pidfile": "nothing: systemd knows the process",
        "lazy": "nothing: a broken release would count as ready", "master": "nothing: it is on",
        "lazy-apps": "nothing: a broken release would count as ready", "strict": "nothing: it is on",
        "need-app": "nothing: it is on", "die-on-term": "nothing: SIGTERM stops it, gracefully",
        "py-autoreload": "`server: development`",
    },
    public=True,
)
