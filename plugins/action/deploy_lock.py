# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``deploy_lock``: it says which run this is."""

from __future__ import annotations

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.run_lock import RunAction


class ActionModule(RunAction):
    """See the module's documentation."""
