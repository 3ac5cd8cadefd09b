# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``vue_build``: build on the controller the sites that hosts miss and that were not built before."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import vue_build


class ActionModule(ActionBase):
    """``sites``: the Vue records to have; no host is touched."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"sites"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        missing = [site for site in self._task.args["sites"] if not Path(site["dist"]).is_file()]
        if self._task.check_mode:
            return {"changed": False, "not_checked": [
                f"{site['origin']}: not built in check mode" for site in missing]}
        failures = []
        for site in missing:
            try:
                vue_build.build(site)
            except vue_build.BuildError as error:
                failures.append(str(error))
        if failures:
            return {"failed": True, "changed": False, "msg": "\n".join(["The live sites were not touched.", *failures])}
        return {"changed": False, "built": [site["name"] for site in missing]}
