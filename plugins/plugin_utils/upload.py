# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions whose records name archives of the controller: bring them to the host, then run the module of that name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from . import held, run_lock


class UploadAction(ActionBase):
    """Send only the fields that the module takes, and in its last state the archives too."""

    _supports_check_mode = True
    _supports_async = False
    TRANSFERS_FILES = True
    #: list argument -> its fields that the module takes
    FIELDS: Mapping[str, tuple[str, ...]] = {}
    #: whether the module takes the apps' environments
    ENVIRONMENTS = False
    #: whether the module installs packages, and takes what that needs
    ACCESS = False
    #: the list argument with the apps whose locks are taken before anything is made; "" for none
    LOCKS = ""
    #: list argument -> the field that names an archive
    ARCHIVES: Mapping[str, str] = {}

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments: dict[str, Any] = dict(self._task.args)
        query = arguments.get("state") in ("query", "here") or self._task.check_mode
        apps = arguments.get(self.LOCKS) or []
        try:
            if arguments.get("state") != "query":
                held.refuse(apps, task_vars)
            for name, fields in self.FIELDS.items():
                records = [{field: record[field] for field in fields if record.get(field) is not None}
                           for record in arguments.get(name) or []]
                for record in records if name in self.ARCHIVES else []:
                    local = record.get(self.ARCHIVES[name])
                    record[self.ARCHIVES[name]] = self._upload(local) if local and not query else ""
                if self.ENVIRONMENTS:
                    # As one secret text: of secrets inside of other arguments Ansible logs those that have a quote or
                    # a backslash in them, and it would blot out every short value ("1") wherever it stands.
                    arguments["environments"] = json.dumps(
                        {record["name"]: record.get("env") or {} for record in arguments.get(name) or []})
                if self.ACCESS and not query:
                    arguments["access"] = json.dumps(
                        {record["name"]: record.get("access") or {} for record in arguments.get(name) or []})
                arguments[name] = records
            module = f"frontdesk.webstack.{self._task.action.rpartition('.')[2]}"

            def execute(run):
                return self._execute_module(module_name=module, module_args=arguments | ({"run": run} if run else {}),
                                            task_vars=task_vars)

            if self.LOCKS and not query:
                arguments["locks"] = run_lock.names_to_lock(apps, task_vars)
                result.update(run_lock.with_lock(execute, run_lock.this_run(task_vars, self._templar)))
            else:
                result.update(execute({}))
        except AnsibleError as error:
            result.update(failed=True, msg=str(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _upload(self, local: str) -> str:
        local = str(Path(local).expanduser())
        if not Path(local).is_file():
            raise AnsibleError(f"{local} is gone from the controller; run again.")
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        return self._transfer_file(local, self._connection._shell.join_path(
            self._connection._shell.tmpdir, Path(local).name))
