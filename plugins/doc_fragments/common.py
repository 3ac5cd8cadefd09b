# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules have."""

from __future__ import annotations


class ModuleDocFragment:
    ROOT = r"""
options:
  root:
    description: The folder of releases, C(webstack_root).
    type: path
    default: /srv/webstack
"""
    RUN = r"""
options:
  run:
    description: Which run this is, for the deploy lock. In a task leave it out.
    type: dict
    default: {}
"""
    LOCKS = r"""
options:
  locks:
    description: The apps whose deploy lock is on this host. In a task leave it out.
    type: list
    elements: str
    default: []
"""
