# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections, open files and waiting clients nginx gets on a host, from the load that is expected.

`@WORKER_CONNECTIONS 4096@` in a configuration becomes the figure for 4096 clients at the same time on this host, and
so do `@OPEN_FILES 4096@` and `@BACKLOG 4096@`.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

_SIZE = re.compile(r"@(WORKER_CONNECTIONS|OPEN_FILES|BACKLOG) (\d+)@")

# What a worker needs besides those of clients and apps: listeners, logs, the connections of its neighbours.
_SPARE = 512
# Without accept_mutex the kernel wakes workers as it likes, and one of them may carry some times its share.
_UNEVEN = 4
# With TLS and an answer in its buffers, roughly.
_MEMORY_OF_A_CLIENT = 32 * 1024


@dataclass(frozen=True)
class Limits:
    """What a host has; 0 is unknown, and then no limit."""

    cores: int = 1
    memory: int = 0  # bytes
    open_files: int = 0  # of one process of nginx
    backlog: int = 0  # of one listener


def limits(unit_files: str) -> Limits:
    """Return what this host has; ``unit_files`` is the unit's LimitNOFILE as systemd shows it."""
    most = [_number("/proc/sys/fs/nr_open"), int(unit_files) if unit_files.isdigit() else 0]
    memory = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Limits(os.cpu_count() or 1, memory, min([figure for figure in most if figure], default=0),
                  _number("/proc/sys/net/core/somaxconn"))


def _number(path: str) -> int:
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return 0


def sizes(expected: int, has: Limits) -> dict[str, int]:
    """Return the figures for so many clients at the same time, within what the host has."""
    # A client whose request is with an app holds two connections.
    connections = _SPARE + min(2 * expected, -(-2 * expected * _UNEVEN // has.cores))
    # A connection may have a file beside it: one that is sent, or a body that is too large for memory.
    files = 2 * connections + 1024
    backlog = max(511, expected)
    return {"WORKER_CONNECTIONS": connections, "OPEN_FILES": min(files, has.open_files or files),
            "BACKLOG": min(backlog, has.backlog or backlog)}


def fill_in(text: str, has: Limits) -> str:
    """Return the text with the figures of this host."""
    return _SIZE.sub(lambda match: str(sizes(int(match[2]), has)[match[1]]), text)


def complaints(text: str, has: Limits) -> list[str]:
    """Return what the host cannot give, with what to do about it."""
    expected = max((int(match[2]) for match in _SIZE.finditer(text)), default=0)
    if not expected:
        return []
    want, get = sizes(expected, Limits(has.cores)), sizes(expected, has)
    found = []
    if get["OPEN_FILES"] < want["OPEN_FILES"]:
        found.append(f"a worker of nginx needs {want['OPEN_FILES']} open files, and gets {get['OPEN_FILES']}: raise "
                     "LimitNOFILE= of nginx.service (and the sysctl fs.nr_open, where it is lower)")
    if get["BACKLOG"] < want["BACKLOG"]:
        found.append(f"{want['BACKLOG']} clients may wait for a connection at the same time, and the kernel lets "
                     f"{get['BACKLOG']} do so: raise the sysctl net.core.somaxconn")
    if has.memory and expected * _MEMORY_OF_A_CLIENT > has.memory // 2:
        found.append(f"so many connections need about {expected * _MEMORY_OF_A_CLIENT >> 20} MiB, and the host has "
                     f"{has.memory >> 20} MiB")
    return [f"nginx_expected_connections is {expected}, but {reason}; or expect fewer." for reason in found]
