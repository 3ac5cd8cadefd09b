# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that pick a host's records out of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils import django_release
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import run_lock, services


def apps_of(plan: Mapping[str, Any], host: str, framework: str) -> list[dict[str, Any]]:
    """Return the records of the apps of ``framework`` that belong on ``host``."""
    names = plan["hosts"].get(host, {}).get("apps", [])
    return [plan["apps"][name] for name in names if plan["apps"][name]["framework"] == framework]


def django_pending(apps: list[dict[str, Any]], host: str, steps: Mapping[str, Mapping[str, str]],
                   play_hosts: list[str]) -> list[dict[str, Any]]:
    """Return the Django apps whose release is not checked, migrated or collected yet, by the ``steps`` of the host.

    Their ``hosts`` are those that take part in the run: with a limit, too, one of them migrates.
    """
    present = [{**app, "hosts": [name for name in app["hosts"] if name in play_hosts] or app["hosts"]} for app in apps]
    return [app for app in present if django_release.pending(app, host, steps.get(app["name"], {}))]


def vue_of(plan: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """Return the records of the Vue sites that ``host`` hands out."""
    return [plan["vue"][name] for name in plan["hosts"].get(host, {}).get("vue", [])]


def static_of(plan: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    """Return the records of the apps whose static files ``host`` hands out.

    ``static_archive`` names the controller's copy of the files, "" where the app runs on ``host`` itself.
    """
    apps = [plan["apps"][name] for name in plan["hosts"].get(host, {}).get("static", [])]
    # Not the environments: what is fetched is shown.
    fields = ("name", "origin", "root", "release", "hosts", "static_folder")
    return [{**{field: app[field] for field in fields},
             "static_archive": "" if host in app["hosts"] else app["static_copy"]} for app in apps]


def shared_of(plan: Mapping[str, Any], host: str, server: str, play_hosts: list[str],
              found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return name and root of the services of ``server`` that several hosts of the play have, ``host`` first.

    Those of which ``found`` (host -> name -> record) says that all hosts have the wanted release live are left out.
    """
    return [{"name": item["name"], "root": item["root"]} for item in services.of(plan, host, server)
            if run_lock.is_shared(item, play_hosts) and run_lock.is_first(item, host, play_hosts)
            and any(found.get(one, {}).get(item["name"], {}).get("live") != item["release"]
                    for one in item["hosts"] if one in play_hosts)]


class FilterModule:
    def filters(self):
        return {"apps_of": apps_of, "django_pending": django_pending, "vue_of": vue_of, "static_of": static_of,
                "shared_of": shared_of}
