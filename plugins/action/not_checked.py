# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``not_checked``: say in check mode what it could not look at, because it is not there yet."""

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """``packages`` would be installed; ``items`` are more things that were not checked. No host is touched."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"packages", "items"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        packages, items = self._task.args.get("packages") or [], self._task.args.get("items") or []
        lines = [f"would install: {', '.join(packages)}"] if packages else []
        lines += [f"not checked: {item}" for item in items]
        if not lines:
            return {"changed": False, "skipped": True, "msg": "everything was checked"}
        return {"changed": bool(packages), "not_checked": items, "would_install": packages, "msg": lines,
                "_ansible_verbose_always": True}
