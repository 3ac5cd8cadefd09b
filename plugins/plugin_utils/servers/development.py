# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that the framework brings along, for trying things out: not safe, not fast, no shared socket."""

from __future__ import annotations

from . import Server


def _exec_start(service):
    python = f"{service['bin']}/python"
    # Each host has its own address: it is filled in with the record of a host.
    if service.get("framework") == "django":
        return [python, "-m", "django", "runserver", "--noreload", "@ADDRESS@"]
    return [python, "-m", "flask", "--app", service["callable"], "run", "--no-reload", "--host", "@IP@",
            "--port", "@PORT@"]


SERVER = Server(
    name="development",
    protocol="http",
    config_name="",
    template="",
    exec_start=_exec_start,
    check=lambda service: [],
    shared_socket=False,
    notify=False,
    unit=("KillMode=mixed",),
    development=True,
)
