# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``python_release``: it brings the sources."""

from __future__ import annotations

from typing import ClassVar

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.upload import UploadAction


class ActionModule(UploadAction):
    ENVIRONMENTS = True
    ACCESS = True
    LOCKS = "apps"
    FIELDS: ClassVar = {"apps": (
        "name", "origin", "framework", "user", "root", "release", "label", "python", "archive", "package", "directory",
        "requirements", "extra_requirements", "packages", "server_requirements", "files", "source_id", "commit",
        "asked", "unpinned")}
    ARCHIVES: ClassVar = {"apps": "archive"}
