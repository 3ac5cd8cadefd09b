# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that are shown in place of answers: files of the generation, named after what is in them."""

from __future__ import annotations

import hashlib
import http


def plain(status: int, text: str = "") -> str:
    """Return a short page for a status."""
    title = f"{status} {http.HTTPStatus(status).phrase}" if status in set(http.HTTPStatus) else str(status)
    return ("<!doctype html>\n"
            '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
            f"<title>{title}</title>\n<h1>{title}</h1>\n" + (f"<p>{text}</p>\n" if text else ""))


def name(text: str, prefix: str = "") -> str:
    """Return the name of a page."""
    return f"{prefix}{hashlib.sha256(text.encode()).hexdigest()[:16]}.html"
