# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign on the controller what the module of the same name asks for on the host."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import private_ca


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        """Find out which certificates are wanted, and have them made: one module run where there are none."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if self._task.args.get("state", "present") != "present":
            return self._execute_module(task_vars=task_vars)
        plan = task_vars.get("webstack_plan")
        if plan is None:
            return {"failed": True, "msg": "there is no plan: run the role frontdesk.webstack.plan first."}
        plan = self._templar.template(plan)
        sites = plan["certificates"].get(task_vars.get("inventory_hostname", ""), [])
        try:
            return self._certificates(sites, plan["private_ca"], task_vars)
        except private_ca.AuthorityError as error:
            return {"failed": True, "msg": str(error)}

    def _step(self, task_vars, state, **values):
        return self._execute_module(module_args={"state": state, **values}, task_vars=task_vars)

    def _certificates(self, sites, settings, task_vars):
        folder = Path(task_vars.get("inventory_dir") or ".", Path(settings["folder"]).expanduser())
        days = settings["days"]
        done = self._step(task_vars, "read", paths=[site["path"] for site in sites])
        if done.get("failed"):
            return done
        authority = private_ca.Authority.open(folder, settings["passphrase"], settings["name"],
                                              make=not self._task.check_mode)
        wanted = {}
        for site in sites:
            pem = done["found"].get(site["path"], "")
            why = authority.wants_new(pem, site["names"], days) if authority else "there is no authority yet"
            if why:
                wanted[site["path"]] = {"site": site["name"], "names": site["names"], "why": why}
        result = {"changed": bool(wanted), "issued": list(wanted.values()),
                  "authority": str(private_ca.certificate_file(folder))}
        if wanted and self._task.diff:
            result["diff"] = [{"before": "", "after": f"{one['why']}: for {', '.join(one['names'])}\n",
                               "before_header": path, "after_header": path} for path, one in wanted.items()]
        warning = authority.ending(days) if authority else ""
        if warning:
            result["warnings"] = [warning]
        if not wanted or self._task.check_mode:
            return result
        done = self._step(task_vars, "request", paths=list(wanted))
        if not done.get("failed"):
            signed = {path: authority.sign(text, wanted[path]["names"], days)
                      for path, text in done["requests"].items()}
            done = self._step(task_vars, "install", certificates=signed)
        return {**result, **({"failed": True, "msg": done.get("msg", "")} if done.get("failed") else {})}
