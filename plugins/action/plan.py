# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``plan``: from the variables of all hosts to the plan, without touching a host."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import (
    access,
    identity,
    narrow,
    normalise,
    requirements,
    sources,
)
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError, Problems


class ActionModule(ActionBase):
    """Check what users wrote (``publish: false``), or check it and return the plan."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"publish", "resolved", "only", "version"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        publish = self._task.args.get("publish", True)
        try:
            plan = self._plan(task_vars)
            narrow.narrow(plan, self._task.args.get("only") or "", self._task.args.get("version") or "")
            resolved = self._resolve(plan, self._task.args.get("resolved") or {}, task_vars)
            if publish:
                return {"changed": False, **plan}
        except InventoryError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        return {"changed": False, "resolved": resolved, **({"warnings": self.findings} if self.findings else {})}

    def _plan(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        hostvars, groups = task_vars["hostvars"], task_vars["groups"]
        problems = Problems()
        variables = {}
        for host in groups["all"]:
            raw = hostvars.raw_get(host)
            # A template may speak of other hosts, as everywhere in Ansible.
            reader = _Reader(Templar(loader=self._loader, variables={**raw, "hostvars": hostvars}), problems)
            for name, message in normalise.misspelt(raw):
                problems.add(name, message)
            names = [*normalise.wanted(raw), "ansible_host"]
            variables[host] = {name: reader.plain(raw[name], name) for name in names if name in raw}
        if problems:
            # What cannot be read cannot be checked; the rest would be errors that follow from this one.
            raise InventoryError(problems)
        return normalise.normalise(variables, groups)

    def _resolve(self, plan: dict[str, Any], known: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Resolve the sources side by side and give every record its identity; return what was found out."""
        base = Path(task_vars.get("inventory_dir") or ".")
        cache = Path(plan["cache"]).expanduser()
        problems = Problems()
        authorities = access.authorities(plan["authorities"], base, problems)
        records = [record for record in (*plan["apps"].values(), *plan["vue"].values()) if not record.get("left_out")]

        def resolve(record):
            try:
                return sources.resolve(identity.pinned(record, known), base, cache, authorities)
            except sources.SourceError as error:
                key = "dist" if record.get("built") else f"source.{error.key}".rstrip(".")
                problems.add(f"{record['origin']}.{key}", str(error))
            return None

        with ThreadPoolExecutor(max_workers=8) as pool:
            found = list(pool.map(resolve, records))
        for record, source in zip(records, found, strict=True):
            if source:
                identity.look_inside(record, source, plan["environment"], problems)
                if "requirements" in record:
                    record["access"]["authorities"] = authorities
                    requirements.choose(record, source, problems)
        found_open = [text for text in map(requirements.finding, records) if text]
        if plan["environment"] == "production" and plan["unpinned"] == "refuse":
            for text in found_open:
                problems.add(*text.split(": ", 1))
        if problems:
            raise InventoryError(problems)
        for record, source in zip(records, found, strict=True):
            identity.give(record, source, plan, cache)
        for service in list(plan["services"].values()):
            if service["by_hand"] and not service.get("left_out"):
                identity.give_by_hand(service, plan)
        # By their folders: an app and a Vue site may have the same name.
        self.findings = found_open if plan["environment"] == "production" and plan["unpinned"] == "warn" else []
        return {record["root"]: source.words.get("commit", source.digest)
                for record, source in zip(records, found, strict=True)}


class _Reader:
    """Template a variable leaf by leaf, so that a mistake is reported by its path."""

    def __init__(self, templar: Templar, problems: Problems):
        self._templar = templar
        self._problems = problems

    def plain(self, value: Any, path: str) -> Any:
        """Return ``value`` with all templates resolved, as ordinary Python objects."""
        if isinstance(value, Mapping):
            return {str(key): self.plain(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        try:
            result = self._templar.template(value)
            if result is None or isinstance(result, (bool, int, float)):
                return result
            if isinstance(result, (Mapping, list, tuple)):
                return self.plain(result, path)
            return "".join(str(result))
        except AnsibleError as error:
            self._problems.add(path, f"cannot be read: {_reason(error)} Set the variable, or write the text without "
                                     "{{ }} where none is meant.")
            return None


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if " " not in text:
        text = f"{text} is undefined"  # nothing but the name, such as hostvars['x']
    return text if text.endswith(".") else f"{text}."
