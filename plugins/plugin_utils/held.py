# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is held back on one host of an app is not given to another one either.

A host that came to the app after somebody had gone back has no record of it. What the records of all hosts say is known
from the release stage (``records`` of ``python_release``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError


def refuse(records: list[Mapping[str, Any]], task_vars: Mapping[str, Any]) -> None:
    """Raise AnsibleError where this host would get a release that another host of the app holds back."""
    here = task_vars["inventory_hostname"]
    texts = []
    for record in records:
        mine = _record(here, record["name"], task_vars)
        if record.get("asked") or mine.get("live") == record["release"] or mine.get("held"):
            continue
        for host in record.get("hosts") or []:
            other = _record(host, record["name"], task_vars) if host in task_vars["ansible_play_hosts_all"] else {}
            held = other.get("held") or {}
            if held.get("release") == record["release"] != other["live"]:
                texts.append(
                    f"{record['origin']}: {held['version'] or held['release']} is held back on {host} since "
                    f"{held['at']}, when {held['by']} went to release {other['live']}. {here} came to the app later, "
                    "and does not get it. Write in the inventory what should run, or run "
                    f"`deploy.yml -e app={record['name']}`.")
                break
    if texts:
        raise AnsibleError("\n".join(texts))


def _record(host: str, name: str, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
    found = task_vars["hostvars"][host].get("python_app_found") or {}
    return (found.get("records") or {}).get(name) or {}
