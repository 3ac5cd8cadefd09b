# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service records: all that a host needs to run an app, as plain data and finished texts.

The release's ID is a digest that covers these texts, so they are rendered before it is known and carry the placeholder
``@RELEASE@``; ``with_release`` fills it in. What differs between hosts (addresses, peers) is filled in by ``for_host``
and is no part of the release: all hosts run the same one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import jinja2

from ansible_collections.frontdesk.webstack.plugins.module_utils import processes

from . import servers
from .schema import InventoryError, Problems, describe

RELEASE = "@RELEASE@"
CONFIG_ROOT = "/etc/webstack"
ROUTER_PACKAGE = "uwsgi-core"
#: the servers that have a role of their own; the role app_server sees to all others
WITH_ROLE = ("gunicorn", "uwsgi")

_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
_ENVIRONMENT.filters["py"] = repr

_SOCKET = """\
# {{ name }}: the address of the app. It stays open while releases come and go. Written by frontdesk.webstack.
[Unit]
Description=Address of {{ name }}

[Socket]
@LISTEN@
# The window's group may connect, nobody else.
SocketUser=root
SocketGroup=www-data
SocketMode=0660
DirectoryMode=0755
Backlog=2048
FreeBind=yes
# The live instance: it is started by the next client should it be down.
Service=webstack-{{ name }}@@RELEASE@.service
# An app that crashes again and again must not take the address with it.
TriggerLimitIntervalSec=0
IPAddressDeny=any
@ALLOW@

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
# {{ name }}: {{ about }} one instance for each release. Written by frontdesk.webstack.
[Unit]
Description={{ name }}{{ ", " + role if role else "" }}, release %i
After=network.target
{% if socket %}
After=webstack-{{ name }}.socket
{% endif %}
# No start limit: it would fail the socket too, and no later release could start.
StartLimitIntervalSec=0

[Service]
Type={{ type }}
User={{ user }}
{% if socket %}
Sockets=webstack-{{ name }}.socket
{% endif %}
WorkingDirectory={{ directory }}
EnvironmentFile={{ env_file }}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WEBSTACK_RELEASE=%i
# The app's own programs come first.
Environment={{ path }}
ExecStart={{ exec_start }}
{% if type != "oneshot" %}
Restart=always
RestartSec=1
{% endif %}
TimeoutStartSec={{ start_timeout }}
TimeoutStopSec={{ stop_timeout }}
{% for line in unit %}
{{ line }}
{% endfor %}
SyslogIdentifier=webstack-{{ name }}
LogNamespace={{ namespace }}
LimitNOFILE=65536
{% for line in limits %}
{{ line }}
{% endfor %}
# The window's group reads uploads.
UMask=0027

ProtectSystem=strict
ProtectHome={{ protect_home }}
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
KeyringMode=private
{% for path in writable %}
ReadWritePaths=-{{ path }}
{% endfor %}
# The window's keys are not the app's business.
InaccessiblePaths=-/etc/ssl/private
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
{% for line in network %}
{{ line }}
{% endfor %}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

_TIMER = """\
# {{ name }}: when {{ role }} runs, with the live release. Written by frontdesk.webstack.
[Unit]
Description={{ name }}, {{ role }}

[Timer]
{% for line in times %}
{{ line }}
{% endfor %}
# A release that is not live is never started.
Unit=webstack-{{ name }}.{{ role }}@@RELEASE@.service

[Install]
WantedBy=timers.target
"""

_ROUTER = """\
# {{ name }}: uWSGI's HTTP router, for the public. It has no app: releases change behind it.
# Written by frontdesk.webstack.
[Unit]
Description={{ name }} for the public, {{ listen }}
After=network.target webstack-{{ name }}.socket
Wants=webstack-{{ name }}.socket
StartLimitIntervalSec=0

[Service]
Type=notify
DynamicUser=yes
# The group that may open the app's socket.
SupplementaryGroups=www-data
ExecStart=/usr/bin/uwsgi-core --plugin http --master --strict --die-on-term --http {{ listen }} \
    --http-to {{ socket }} --http-modifier1 0 --http-keepalive={{ keepalive }} --http-auto-chunked \
    --http-timeout {{ timeout }} --http-headers-timeout 10 --http-connect-timeout 5 --http-buffer-size 32768 \
    --buffer-size 32768 --disable-logging --listen 1024
Restart=always
RestartSec=1
KillMode=mixed
SyslogIdentifier=webstack-{{ name }}-http
LogNamespace={{ namespace }}
LimitNOFILE=65536

AmbientCapabilities={{ capability }}
CapabilityBoundingSet={{ capability }}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def service_record(app: Mapping[str, Any], shared: Mapping[str, Any] | None = None, *,
                   server: servers.Server | None = None) -> dict[str, Any]:
    """Return the service record of an app record, or of an item of ``gunicorn_services`` and ``uwsgi_services``.

    ``app`` has `name`, `origin`, `server`, `hosts`, `user`, `callable`, `settings` (with defaults), `health`, `listen`
    and `allow`; an app has `root` and a `directory` inside its source, an item written by hand an absolute
    `directory`, a `virtualenv` and `env`. The release of the record is None, and its texts carry the placeholder, until
    ``with_release`` fills it in. Raises InventoryError.
    """
    server = server or servers.load()[app["server"]]
    by_hand = bool(app.get("virtualenv"))
    name = app["name"]
    root = app.get("root") or posixpath.join((shared or {}).get("webstack_root") or "/srv/webstack", "apps", name)
    release = posixpath.join(root, "releases", RELEASE)
    config = posixpath.join(CONFIG_ROOT, name, RELEASE)
    settings = {key: spec.get("default") for key, spec in server.options.items()}
    settings.update({key: value for key, value in (app.get("settings") or {}).items() if value is not None})
    draft = {
        "name": name,
        "origin": app["origin"],
        "framework": app.get("framework") or "",
        "server": server.name,
        "hosts": list(app["hosts"]),
        "release": None,
        "user": app["user"],
        "root": root,
        "directory": (app["directory"] if by_hand else
                      posixpath.join(release, "source", app.get("directory") or "").rstrip("/")),
        "bin": posixpath.join(app["virtualenv"] if by_hand else posixpath.join(release, "venv"), "bin"),
        "callable": app["callable"],
        "config": {"path": posixpath.join(config, server.config_name) if server.config_name else "", "text": ""},
        "env_file": posixpath.join(config, "env"),
        "env": dict(app.get("env") or {}) if by_hand else {},
        "by_hand": by_hand,
        "listen": {host: list(addresses) for host, addresses in (app.get("listen") or {}).items()},
        "allow": {host: list(peers) for host, peers in (app.get("allow") or {}).items()},
        "protocol": server.protocol,
        "shared_socket": server.shared_socket,
        "public": dict(app.get("public") or {}),
        "processes": [processes.record(item, kind) for kind in processes.LISTS for item in app.get(kind) or []],
        "asked": app.get("asked") or "",
        "manage": app.get("manage") or "",
        "health": {"path": "/", "status": [200], "host": "localhost", "https": False, "timeout": 10, "contains": [],
                   "watch": 2,
                   **(app.get("health") or {})},
        "settings": settings,
    }
    _check(draft, app, server)
    if server.template:
        peers = sorted({peer for group in draft["allow"].values() for peer in group})
        draft["config"]["text"] = _ENVIRONMENT.from_string(server.template).render(
            service=draft, settings=settings, allow=peers)
    draft["check"] = server.check(draft)
    draft["units"] = _units(draft, app, server)
    return draft


def content(record: Mapping[str, Any]) -> list[Any]:
    """Return what of the record makes its release what it is: where it listens, and for whom, does not."""
    units = {name: text for name, text in record["units"].items() if name.endswith("@.service")}
    return [record["server"], record["user"], record["directory"], record["callable"], record["config"], units]


def _units(draft: Mapping[str, Any], app: Mapping[str, Any], server: servers.Server) -> dict[str, str]:
    name, settings = draft["name"], draft["settings"]
    writable = list(app.get("writable") or [])
    if not draft["by_hand"]:
        writable.insert(0, posixpath.join(draft["root"], "shared"))
    at_home = any(path.startswith(("/home/", "/root/")) for path in (draft["directory"], draft["bin"], *writable))
    values = {
        "name": name,
        "namespace": processes.NAMESPACE,
        "user": draft["user"],
        "directory": _word(draft["directory"]),
        "env_file": _word(draft["env_file"]),
        "path": _word(f"PATH={draft['bin']}:/usr/local/bin:/usr/bin:/bin"),
        "protect_home": "read-only" if at_home else "yes",
        "writable": [_word(path) for path in writable],
        "network": _network(app.get("outbound"), server),
        "start_timeout": 120,
    }
    serves = {
        **values,
        "about": "the app server,", "role": "",
        "socket": server.shared_socket,
        "type": "notify" if server.notify else "exec",
        "unit": server.unit,
        "exec_start": _command(server.exec_start(draft)),
        "stop_timeout": settings["graceful_timeout"] + 10,
        "limits": _limits(app.get("limits") or {}),
    }
    # The instance is the release: one text for all of them.
    units = {f"webstack-{name}@.service":
             _ENVIRONMENT.from_string(_SERVICE).render(serves).replace(RELEASE, "%i")}
    if server.shared_socket:
        units[f"webstack-{name}.socket"] = _ENVIRONMENT.from_string(_SOCKET).render(values)
    for item in draft["processes"]:
        units.update(_process_units(item, draft, values, app))
    if draft["public"]:
        listen = draft["public"]["listen"]
        low = int(listen.rpartition(":")[2]) < 1024
        units[f"webstack-{name}-http.service"] = _ENVIRONMENT.from_string(_ROUTER).render(
            name=name, socket=app.get("socket") or f"/run/webstack/{name}.uwsgi.sock", listen=listen,
            capability="CAP_NET_BIND_SERVICE" if low else "",
            # The app's own timeout ends what takes too long. The router keeps out of it, for it would have to be
            # started anew to hear of a change.
            keepalive=75, timeout=max(300, settings["timeout"] + 5), namespace=processes.NAMESPACE)
    return units


def _process_units(item: Mapping[str, Any], draft: Mapping[str, Any], values: Mapping[str, Any],
                   app: Mapping[str, Any]) -> dict[str, str]:
    """Return the units of another process of the app, or of a timer: the app's own sandbox without its socket."""
    given = next(one for one in app[item["list"]] if one["name"] == item["name"])
    timer = item["list"] == "timers"
    argv = processes.argv(given["command"], draft["bin"], draft["directory"], app.get("manage") or "")
    stem = f"webstack-{draft['name']}.{item['name']}"
    text = _ENVIRONMENT.from_string(_SERVICE).render(
        values, about=f"{'what the timer' if timer else 'the process'} {item['name']}{' starts' if timer else ''},",
        role=item["name"], socket=False, type="oneshot" if timer else "exec",
        # To the main process alone: it lets its children finish.
        unit=["KillMode=mixed", f"KillSignal=SIG{item['stop_signal']}"],
        exec_start=_command(argv), limits=_limits({**(app.get("limits") or {}), **{
            key: value for key, value in (given["limits"] or {}).items() if value is not None}}),
        **({"start_timeout": item["timeout"]} if timer else {}), stop_timeout=item["stop_timeout"])
    units = {f"{stem}@.service": text.replace(RELEASE, "%i")}
    if timer:
        units[f"{stem}.timer"] = _ENVIRONMENT.from_string(_TIMER).render(
            values, role=item["name"], times=processes.times(given))
    return units


def _command(argv: list[str]) -> str:
    return " ".join(_word(word).replace("$", "$$") for word in argv)


def _network(outbound: list[str] | None, server: servers.Server) -> list[str]:
    """Return what the app may connect to: everything, these networks and its own host, or nothing but unix sockets."""
    if outbound == [] and server.shared_socket:
        # It goes on answering on what systemd hands it, TCP too.
        return ["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "IPAddressDeny=any"]
    lines = ["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"]
    if outbound is not None:
        peers = dict.fromkeys(["localhost", *outbound])
        lines += ["IPAddressDeny=any", *[f"IPAddressAllow={peer}" for peer in peers]]
    return lines


def _limits(limits: Mapping[str, Any]) -> list[str]:
    lines = []
    if limits.get("memory"):
        lines.append(f"MemoryMax={limits['memory']}")
    if limits.get("tasks"):
        lines.append(f"TasksMax={limits['tasks']}")
    if limits.get("cpu"):
        lines.append(f"CPUQuota={round(limits['cpu'] * 100)}%")
    return lines


def _word(text: str) -> str:
    """Return a word as a unit file has it: no specifiers, and in quotes where it has blanks."""
    text = text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if any(char.isspace() or char in "\"';" for char in text) else text


def _check(draft: Mapping[str, Any], app: Mapping[str, Any], server: servers.Server) -> None:
    problems = Problems()
    check_extra(server, draft["settings"], f"{draft['origin']}.settings", problems)
    for key in ("directory", "virtualenv", "user"):
        if any(ord(char) < 32 for char in str(app.get(key) or "")):
            problems.add(f"{draft['origin']}.{key}", "has a line break or another control character.")
    if draft["by_hand"]:
        for key in ("directory", "virtualenv"):
            if not str(app.get(key) or "").startswith("/"):
                problems.add(f"{draft['origin']}.{key}", f"is {describe(app.get(key))}; write an absolute path.")
    for key, least in (("workers", 1), ("threads", 1), ("timeout", 1), ("graceful_timeout", 1), ("max_requests", 0)):
        value = draft["settings"].get(key)
        if not isinstance(value, int) or value < least:
            problems.add(f"{draft['origin']}.settings.{key}", f"is {describe(value)}; write a whole number, "
                                                              f"{least} or more.")
    listen = str(draft["public"].get("listen") or "")
    if draft["public"] and not listen.rpartition(":")[2].isdigit():
        problems.add(f"{draft['origin']}.public.listen", f"is {describe(listen)}; write an address and a port, for "
                                                         "example `0.0.0.0:8080`.")
    if problems:
        raise InventoryError(problems)


def check_extra(server: servers.Server, settings: Mapping[str, Any], path: str, problems: Problems) -> None:
    """Add to ``problems`` what is wrong with ``settings.extra``."""
    for key, value in (settings.get("extra") or {}).items():
        where = f"{path}.extra.{key}"
        if not str(key).replace("-", "_").isidentifier():
            problems.add(where, f"is no name of an option of {server.name}.")
        if key in server.reserved:
            problems.add(where, f"is set by the collection already. Write {server.reserved[key]}.")
        for item in value if isinstance(value, list) else [value]:
            if value is None or isinstance(item, str) and any(ord(char) < 32 and char != "\t" for char in item):
                problems.add(where, "must be one line of text, a number, true, false or a list of these.")


def _replace(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
        return value
    if isinstance(value, Mapping):
        return {key: _replace(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, words) for item in value]
    return value


def with_release(record: Mapping[str, Any], release: str) -> dict[str, Any]:
    """Return the record with the release's ID in the place of the placeholder."""
    # The environment is the user's own text: nothing is replaced in it.
    return {**_replace(record, {RELEASE: release}), "release": release, "env": dict(record.get("env") or {})}


def for_host(record: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the record as one host needs it.

    `listen` and `allow` are lists, the units have their addresses, and what runs elsewhere is left out.
    """
    listen = list(record["listen"].get(host, []))
    allow = list(record["allow"].get(host, []))
    ip, _colon, port = (listen[0] if listen else "").rpartition(":")
    words = {
        "@LISTEN@": "\n".join(f"ListenStream={address}" for address in listen),
        "@ALLOW@\n": "".join(f"IPAddressAllow={peer}\n" for peer in allow),
        "@ADDRESS@": listen[0] if listen else "",
        "@IP@": ip.strip("[]"),
        "@PORT@": port,
    }
    units = _replace(record["units"], words)
    items = [{**item, "here": host in (item["hosts"][:1] if item["singleton"] else item["hosts"])}
             for item in record["processes"]]
    for item in items:
        for unit in [] if item["here"] else processes.units_of(record["name"], item):
            units.pop(unit, None)
    return {**record, "listen": listen, "allow": allow, "units": units, "processes": items}


#: what the module `app_service` takes
_FOR_MODULE = (
    "name", "origin", "framework", "server", "release", "user", "root", "directory", "bin", "callable", "config",
    "env_file", "by_hand", "units", "listen", "allow", "protocol", "shared_socket", "public", "check", "health",
    "settings", "asked", "hosts", "manage", "processes")


def services_of(plan: Mapping[str, Any], host: str, server: str) -> list[dict[str, Any]]:
    """Return the records of the services that ``server`` runs on ``host``, without the environments.

    No server ("") means all that have no role of their own.
    """
    records = [for_host(record, host) for record in of(plan, host, server)]
    return [{key: record[key] for key in _FOR_MODULE} for record in records]


def environments_of(plan: Mapping[str, Any], host: str, server: str) -> dict[str, dict[str, str]]:
    """Return the environments of the services that were written by hand; the release stage writes those of apps."""
    return {record["name"]: dict(record["env"]) for record in of(plan, host, server) if record["by_hand"]}


def of(plan: Mapping[str, Any], host: str, server: str) -> list[Mapping[str, Any]]:
    """Return the plan's own records of the services that ``server`` runs on ``host``."""
    names = plan["hosts"].get(host, {}).get("services", [])
    records = [plan["services"][name] for name in names]
    return [record for record in records
            if record["server"] == server or not server and record["server"] not in WITH_ROLE]
