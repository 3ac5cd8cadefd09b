# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``django_release``: it picks the fields that the module takes."""

from __future__ import annotations

from typing import ClassVar

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.upload import UploadAction


class ActionModule(UploadAction):
    ENVIRONMENTS = True
    LOCKS = "apps"
    FIELDS: ClassVar = {"apps": (
        "name", "origin", "user", "root", "release", "manage", "directory", "hosts", "migrate", "static",
        "static_remote", "migrate_lock_timeout")}
