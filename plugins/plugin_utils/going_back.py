# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what a rollback goes back to, from what the hosts say of themselves (``app_status``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class NoWayBack(Exception):
    """There is nothing to go back to, or the user has to say how; the text has the choice."""


def choose(name: str, wanted: str, migrations: str, states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is to be done: `release`, `version`, `left`, `hosts`, `vue`, `static` (hosts), `first`, `reverse`.

    `lives` is what each host leaves; `lock` is the host whose lock is taken for all steps, "" where one step does all.
    ``wanted`` is the ID (or its beginning) or the version of a release, or "" for the one before the live one.
    ``migrations`` is "", "leave", "reverse" or "APPLABEL.MIGRATION". ``states`` are the hosts' answers. Raises
    NoWayBack.
    """
    if not name:
        raise NoWayBack("app: is missing. Write `-e app=NAME`.")
    apps = {host: app for host, state in states.items() for app in state["apps"] if app["app"] == name and app["live"]}
    sites = {host: site for host, state in states.items() for site in state["vue"] if site["name"] == name}
    if not apps and not sites:
        known = sorted({app["app"] for state in states.values() for app in state["apps"]}
                       | {site["name"] for state in states.values() for site in state["vue"]})
        raise NoWayBack(f"app: {name!r} runs on none of these hosts. They have {', '.join(known) or 'no apps'}.")
    result: dict[str, Any] = {"app": name, "release": "", "version": "", "left": "", "hosts": [], "first": "",
                              "reverse": [], "code": "", "gone": [], "lives": {}, "lock": "",
                              "static": [host for host, state in states.items()
                                         if any(item["name"] == name for item in state["static"])] if apps else []}
    if apps:
        result.update(_app(name, wanted, migrations, apps))
        if result["reverse"] or len({*result["hosts"], *result["static"]}) > 1:
            result["lock"] = result["hosts"][0]
    # An app and a Vue site may have the same name: it is the app that is meant.
    result["vue"] = _site(name, wanted, sites) if sites and not apps else {}
    return result


def compare(decided: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Raise NoWayBack where ``decided`` is not what would be chosen now: a run that came before has changed it."""
    if any(decided.get(key) != value for key, value in plan.items()):
        lives = ", ".join(f"{host} runs {live}" for host, live in plan["lives"].items())
        raise NoWayBack(f"{plan['app']}: has been changed by another run since this one looked: {lives}. Nothing was "
                        "changed here. Look at it with status.yml, and run this again.")


def _app(name: str, wanted: str, migrations: str, apps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    first = next(iter(apps))
    stopped = next((host for host, app in apps.items() if app["reversing"]), "")
    if stopped and migrations != "leave":
        return _finish(name, wanted, migrations, stopped, apps)
    if not wanted and len({app["live"] for app in apps.values()}) > 1:
        # A rollback that came to half of the hosts, say: what came before is another release on each.
        lives = ", ".join(f"{host} runs {app['live']} ({app['version']})" for host, app in apps.items())
        raise NoWayBack(f"{name}: {lives}. Name the release that all of them shall run: `-e release=ID`.")
    target = _target(name, wanted, apps[first])
    migrating = next((host for host, app in apps.items() if any(item["migrated"] for item in app["releases"])), first)
    return {**_everywhere(name, target, apps), "first": migrating,
            **_migrations(name, migrations, target, apps[migrating])}


def _finish(name: str, wanted: str, migrations: str, stopped: str, apps: Mapping[str, Mapping[str, Any]]
            ) -> dict[str, Any]:
    """Return the end of a rollback that was stopped before all migrations were taken back."""
    app = apps[stopped]
    target = _target(name, app["live"], app)
    if not migrations or wanted and _target(name, wanted, app) != target:
        raise NoWayBack(
            f"{name}: a rollback to release {app['live']} was stopped before {', '.join(app['reversing']['gone'])} had "
            f"been taken back. Finish it: `-e release={app['live']} -e migrations=reverse`; or deploy what should run; "
            "or write `-e migrations=leave`, where the code gets on with the database as it is.")
    return {**_everywhere(name, target, apps), "first": stopped, **app["reversing"]}


def _everywhere(name: str, target: Mapping[str, Any], apps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the hosts leave for ``target``, which all of them have to have."""
    first = next(iter(apps))
    for host, app in apps.items():
        good = {item["release"] for item in app["releases"] if item["good"]}
        if target["release"] not in good:
            raise NoWayBack(f"{name}: {host} does not have release {target['release']}, to which {first} goes back. "
                            f"It has {_listed(app)}. Name one that all hosts have: `-e release=ID`.")
    return {"release": target["release"], "version": target["version"], "left": apps[first]["live"],
            "hosts": list(apps), "lives": {host: app["live"] for host, app in apps.items()}}


def _target(name: str, wanted: str, app: Mapping[str, Any]) -> Mapping[str, Any]:
    good = [item for item in app["releases"] if item["good"]]
    if not wanted:
        found = [item for item in good if item["release"] == app["previous"]]
        if not found:
            raise NoWayBack(f"{name}: there is no release before {app['live']} to go back to.")
        return found[0]
    named = [item for item in app["releases"] if item["release"] == wanted] or [
        item for item in app["releases"] if wanted in (item["version"], item["version"].split(" ")[0],
                                                       item["version"].rpartition("==")[2])]
    if not named and len(wanted) >= 3:
        named = [item for item in app["releases"] if item["release"].startswith(wanted)]
        if len(named) > 1:
            raise NoWayBack(f"{name}: {wanted!r} is the beginning of several releases. Write all of an ID: "
                            f"{_listed(app)}.")
    found = [item for item in named if item["good"]]
    if not found and named:
        raise NoWayBack(f"{name}: release {named[0]['release']} never was live"
                        f"{': ' + named[0]['failed'].splitlines()[0] if named[0]['failed'] else ''}. "
                        f"Go back to one that was: {_listed(app)}.")
    if not found:
        raise NoWayBack(f"{name}: there is no release {wanted!r}. There are {_listed(app)}.")
    if len({item["release"] for item in found}) > 1 and not any(item["release"] == wanted for item in found):
        # One version with several settings: the last one that was live.
        found = sorted(found, key=lambda item: item["live_at"], reverse=True)
    return found[0]


def _listed(app: Mapping[str, Any]) -> str:
    return ", ".join(f"{item['release']} ({item['version']})" for item in app["releases"] if item["good"]) or "none"


def _migrations(name: str, how: str, target: Mapping[str, Any], app: Mapping[str, Any]) -> dict[str, Any]:
    """Return which migrations lie between, and what takes them back."""
    migrated = [item for item in app["releases"] if item["migrated"]]
    applied: list[str] = []
    for item in reversed(migrated):
        applied += [one for one in item["migrations"] or [] if one not in applied]
    known = target["migrations"]
    if not migrated:  # not by us, or on a host that a limit leaves out
        applied = next((item["migrations"] or [] for item in app["releases"] if item["release"] == app["live"]), [])
    later = [one for one in applied if one not in (known or [])]
    if how == "leave" or not later and (known is not None or not migrated):
        return {}
    if not migrated:
        raise NoWayBack(f"{name}: release {app['live']} has migrations that {target['release']} does not know: "
                        f"{', '.join(later)}. None of these hosts has made them. Run this without a limit, or with "
                        "`-e migrations=leave`, where the old code gets on with the database of today.")
    listed = ", ".join(later)
    if known is None:
        raise NoWayBack(f"{name}: it is not known which migrations release {target['release']} has. Go back with "
                        "`-e migrations=leave`, where the code gets on with the database of today.")
    if not how:
        raise NoWayBack(
            f"{name}: the database has migrations that release {target['release']} does not know: {listed}. Nothing "
            "was changed. Say how to go: `-e migrations=leave` where the old code gets on with the database of today; "
            "`-e migrations=reverse` to take them back after the switch, with the data that they brought; or "
            "`-e migrations=APPLABEL.MIGRATION` to take one app back to that one.")
    code = next((item for item in app["releases"] if set(later) <= set(item["migrations"] or [])), None)
    if code is None:
        raise NoWayBack(f"{name}: no release on the host has the code of all of {listed}. Go back with "
                        "`-e migrations=leave`, or restore a backup.")
    if how == "reverse":
        labels = dict.fromkeys(one.partition(".")[0] for one in reversed(later))
        reverse = [[label, next((one.partition(".")[2] for one in reversed(known)
                                 if one.partition(".")[0] == label), "zero")] for label in labels]
        return {"reverse": reverse, "code": code["release"], "gone": later}
    label, dot, migration = how.partition(".")
    names = [one for one in applied if one.partition(".")[0] == label]
    match = [one for one in names if re.match(rf"{re.escape(migration)}($|_)", one.partition(".")[2])]
    if not dot or not (match or migration == "zero"):
        raise NoWayBack(f"migrations: is {how!r}. Write leave, reverse or one of {', '.join(names or applied)}.")
    last = names.index(match[0]) if match else -1
    return {"reverse": [[label, match[0].partition(".")[2] if match else "zero"]], "code": code["release"],
            "gone": names[last + 1:]}


def _site(name: str, wanted: str, sites: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the release that each edge goes back to with a Vue site."""
    result = {}
    for host, site in sites.items():
        older = [release for release in site["releases"] if release != site["live"]]
        found = [release for release in site["releases"] if wanted and release.startswith(wanted)] if wanted else older
        if not found:
            raise NoWayBack(f"{name}: {host} has no {'such release' if wanted else 'other release'}. It has "
                            f"{', '.join(site['releases'])}.")
        result[host] = found[0]
    if len(set(result.values())) > 1:
        raise NoWayBack(f"{name}: the edges would go to different releases "
                        f"({', '.join(f'{host}: {release}' for host, release in result.items())}). Name one that all "
                        "have: `-e release=ID`.")
    return result
