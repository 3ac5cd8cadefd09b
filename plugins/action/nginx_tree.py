# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render nginx's configuration on the controller and hand it to the module of the same name."""

from __future__ import annotations

import json

from ansible.plugins.action import ActionBase

from ..plugin_utils import nginx_render


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        """Render unless files were given, then run the module."""
        super().run(tmp, task_vars)
        values = dict(self._task.args)
        if values.get("files") is None and values.get("state") != "back":
            files, origins, secrets = self._render(values, task_vars or {})
            if files is None:
                return {"failed": True, "msg": origins}
            values["files"], values["origins"] = files, origins
            if secrets:
                # As one secret text: of secrets inside of other arguments Ansible logs some, and it would blot out
                # every short value wherever it stands. So also no empty one: "{}" is in every message.
                values["secrets"] = json.dumps(secrets, sort_keys=True)
        values.pop("sites", None)
        values.pop("settings", None)
        return self._execute_module(module_args=values, task_vars=task_vars)

    def _render(self, values, task_vars):
        host = task_vars.get("inventory_hostname", "")
        plan = task_vars.get("webstack_plan")
        plan = self._templar.template(plan) if plan is not None else None
        sites = values.get("sites")
        if sites is None:
            if not plan:
                return None, ("there are no sites to render: run the role frontdesk.webstack.plan first, or write "
                              "`sites` or `files`."), None
            if host not in plan["sites"]:
                return None, f"the plan has no sites for {host}: add the host to the group webstack_edge.", None
            sites = plan["sites"][host]
        settings = values.get("settings")
        if settings is None:
            settings = ((plan or {}).get("nginx") or {}).get(host) or {}
        return *nginx_render.render(sites, settings), nginx_render.secrets(sites)
