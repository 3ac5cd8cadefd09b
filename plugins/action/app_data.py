# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``app_data``: it brings the packed parts here, and the parts of a backup there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import run_lock


class ActionModule(ActionBase):
    """See the module's documentation."""

    _supports_check_mode = True
    _supports_async = False
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        state, target = arguments.get("state"), arguments.get("folder")
        busy = state in ("packed", "unpacked") and not self._task.check_mode
        try:
            if busy and self._connection._shell.tmpdir is None:
                self._make_tmp_path()
            if busy and state == "packed":
                arguments["folder"] = self._connection._shell.tmpdir
            elif busy:
                arguments["parts"] = [self._sent(part) for part in arguments["parts"]]

            def execute(run):
                return self._execute_module(module_name="frontdesk.webstack.app_data",
                                            module_args={**arguments, "run": run}, task_vars=task_vars)

            result.update(run_lock.with_lock(execute, run_lock.this_run(task_vars, self._templar)))
            if busy and state == "packed" and not result.get("failed"):
                result["parts"] = [self._fetched(part, target) for part in result["parts"]]
        except AnsibleError as error:
            result.update(failed=True, msg=str(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _sent(self, part):
        local = part["file"]
        return {**part, "file": self._transfer_file(local, self._connection._shell.join_path(
            self._connection._shell.tmpdir, Path(local).name))}

    def _fetched(self, part, target):
        """Bring one part here. Not by way of a module's answer, which would hold all of it in memory."""
        local = os.path.join(target, f"{self._task._uuid}-{os.getpid()}-{os.path.basename(part['file'])}")
        os.close(os.open(local, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._connection.fetch_file(part["file"], local)
        digest = hashlib.sha256()
        with open(local, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != part["sha256"]:
            raise AnsibleError(f"{part['app']}: a part was damaged on its way. Run again.")
        return {**part, "file": local}
