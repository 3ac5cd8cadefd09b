# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what an app says of its other processes, its timers, its limits and its network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import processes

from .schema import Problems, describe

_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
_MEMORY = re.compile(r"[1-9]\d*[KMGT]?|[1-9]\d?%")
#: words of systemd for networks
_NETWORKS = ("localhost", "link-local", "multicast")


def complete(item: dict[str, Any], path: str, hosts: list[str], problems: Problems,
             hosts_of: Callable[[dict[str, Any], str], list[str]]) -> None:
    """Check `processes`, `timers`, `limits` and `outbound` of an app, and put the hosts' names for their groups.

    ``hosts`` are those of the app; ``hosts_of`` finds those of a group.
    """
    check_outbound(item["outbound"], path, problems)
    _check_limits(item["limits"], f"{path}.limits", problems)
    names: dict[str, str] = {}
    for kind in processes.LISTS:
        for index, one in enumerate(item[kind]):
            where = f"{path}.{kind}[{index}]"
            _check_name(one["name"], where, names, problems)
            _check_command(one["command"], where, problems)
            _check_limits(one["limits"], f"{where}.limits", problems)
            if kind == "timers":
                _check_times(one, where, problems)
            for key in ("stop_timeout", "timeout"):
                if one.get(key) is not None and one[key] < 1:
                    problems.add(f"{where}.{key}", f"is {one[key]}; write a number of seconds, 1 or more.")
            one["hosts"] = _hosts(one, where, hosts, problems, hosts_of)


def check_outbound(outbound: list[str] | None, path: str, problems: Problems) -> None:
    """Add to ``problems`` what systemd would not take for a network."""
    for index, peer in enumerate(outbound or []):
        if peer in _NETWORKS:
            continue
        try:
            ipaddress.ip_network(peer, strict=False)
        except ValueError:
            problems.add(f"{path}.outbound[{index}]", f"is {describe(peer)}; write an IP address or a network, such as "
                                                      "192.0.2.0/24, or `localhost`.")


def _check_name(name: str | None, where: str, names: dict[str, str], problems: Problems) -> None:
    if name is None:
        return
    if not _NAME.fullmatch(name):
        problems.add(f"{where}.name", f"is {describe(name)}; write up to 24 small letters, digits and dashes, a letter "
                                      "first, for example `worker`.")
    elif name in names:
        problems.add(f"{where}.name", f"{name!r} is taken by {names[name]}. Give each its own name.")
    names.setdefault(name, where)


def _check_command(command: str | None, where: str, problems: Problems) -> None:
    if command is None:
        return
    try:
        if any(ord(char) < 32 for char in command):
            raise ValueError("it has a line break or another control character")
        words = processes.argv(command, "/bin", "/")
        if words[0] == "/usr/bin/env" and (words[1].startswith("-") or "=" in words[1] or "/" in words[1]):
            raise ValueError("its first word is neither the name of a program nor an absolute path")
    except ValueError as error:
        problems.add(f"{where}.command", f"is {describe(command)}: {str(error).lower()}. Write a program and its "
                                         "arguments, without a shell, for example `celery -A shop worker`.")


def _check_times(timer: Mapping[str, Any], where: str, problems: Problems) -> None:
    given = [key for key in ("on_calendar", "every") if timer[key]]
    if len(given) != 1:
        problems.add(where, "needs either `on_calendar`, for example `*-*-* 03:30`, or `every`, for example `15min`.")
    for key in given:
        if not re.fullmatch(r"[\w*,./:~ +-]+", timer[key]):
            problems.add(f"{where}.{key}", f"is {describe(timer[key])}, and no time that systemd understands.")


def _check_limits(limits: Mapping[str, Any], where: str, problems: Problems) -> None:
    if limits["memory"] is not None and not _MEMORY.fullmatch(limits["memory"]):
        problems.add(f"{where}.memory", f"is {describe(limits['memory'])}; write a size, for example `512M` or `20%`.")
    if limits["tasks"] is not None and limits["tasks"] < 1:
        problems.add(f"{where}.tasks", f"is {limits['tasks']}; write a whole number, 1 or more.")
    if limits["cpu"] is not None and not 0.01 <= limits["cpu"] <= 10_000:
        problems.add(f"{where}.cpu", f"is {limits['cpu']:g}; write a number of processors, for example `1.5`.")


def _hosts(one: dict[str, Any], where: str, hosts: list[str], problems: Problems,
           hosts_of: Callable[[dict[str, Any], str], list[str]]) -> list[str]:
    if not one["hosts"]:
        return list(hosts)
    found = hosts_of(one, where)
    outside = [host for host in found if host not in hosts]
    if outside and hosts:
        problems.add(f"{where}.hosts", f"has {outside[0]}, where the app itself does not run. Write a group of the "
                                       "app's own hosts, or leave it out for all of them.")
    return found
