# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy that browsers report on and do not enforce (Content-Security-Policy-Report-Only)."""

from __future__ import annotations

from .csp import make

FEATURE = make("csp_report_only", "Content-Security-Policy-Report-Only")
