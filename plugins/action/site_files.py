# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``site_files``: it brings the built sites and the packed static files."""

from __future__ import annotations

from typing import ClassVar

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.upload import UploadAction


class ActionModule(UploadAction):
    FIELDS: ClassVar = {
        "vue": ("name", "origin", "root", "release", "settings", "settings_file", "dist", "asked"),
        "static": ("name", "origin", "root", "release", "static_folder", "static_archive"),
    }
    ARCHIVES: ClassVar = {"vue": "dist", "static": "static_archive"}

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        for text in result.get("held") or []:
            self._display.warning(text)
        return result
