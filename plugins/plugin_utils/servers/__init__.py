# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""App servers. One file per server; each defines ``SERVER``, a ``Server``: data, and one template of its configuration.

Everything else (units, sockets, the switch from one release to the next) is shared, see ``services.py``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: The settings that every server understands, with their defaults: the only place that has them.
COMMON: dict[str, dict[str, Any]] = {
    "workers": {"type": "int", "default": 2, "description": "How many processes answer requests."},
    "threads": {"type": "int", "default": 4, "description": "How many threads each process has."},
    "timeout": {"type": "int", "default": 30,
                "description": "How many seconds a request may take before its process is ended."},
    "graceful_timeout": {"type": "int", "default": 30,
                         "description": "How many seconds the requests of an old release may go on after a switch."},
    "max_requests": {"type": "int", "default": 0,
                     "description": "Replace a process after so many requests; 0 for never."},
    "extra": {"type": "dict", "default": {},
              "description": "More options of the server, by its own names. What is set here already cannot be given."},
}


@dataclass(frozen=True)
class Server:
    """What is different from one app server to the next."""

    name: str
    protocol: str  # what is spoken on the socket: "http" or "uwsgi"
    config_name: str  # file name of the configuration; "" where there is none
    template: str  # of the configuration; a Jinja text that gets `app`, `service`, `settings`, `allow`
    exec_start: Callable[[Mapping[str, Any]], list[str]]  # draft of the service record -> argv
    check: Callable[[Mapping[str, Any]], list[str]]  # the dry run; an empty list where there is none
    requirements: tuple[str, ...] = ()  # Python packages in the app's own environment
    packages: tuple[str, ...] = ()  # operating-system packages, needed to install them
    options: Mapping[str, Mapping[str, Any]] = None  # of the user's `settings`, as an argument spec
    shared_socket: bool = True  # False: binds its own address, and is stopped before the next release starts
    notify: bool = True  # tells systemd when it is ready
    unit: tuple[str, ...] = ()  # more lines of the unit's [Service] section
    reserved: Mapping[str, str] = None  # native options that `extra` may not set -> what to write instead
    development: bool = False  # not for production
    public: bool = False  # can face the public without nginx

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", {**COMMON, **(self.options or {})})
        object.__setattr__(self, "reserved", dict(self.reserved or {}))


def load(*folders: str | Path) -> dict[str, Server]:
    """Return all servers by name: those of this folder, and those of the extra ``folders``."""
    found = dict(_own())
    for folder in folders:
        for path in sorted(Path(folder).glob("[!_]*.py")):
            spec = importlib.util.spec_from_file_location(f"{__name__}.extra_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            module.__package__ = __name__  # so that the file may import `from . import Server`
            spec.loader.exec_module(module)
            found[module.SERVER.name] = module.SERVER
    return found


@cache
def _own() -> dict[str, Server]:
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    servers = [importlib.import_module(f"{__name__}.{name}").SERVER for name in names]
    return {server.name: server for server in servers}
