# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``source: {folder: PATH}``: a folder of the controller; what git ignores stays out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import Place, Resolved, Source, SourceError, _files


def _resolve(source: Mapping[str, Any], place: Place) -> Resolved:
    folder = (place.base / Path(source["folder"]).expanduser()).resolve()
    if not folder.is_dir():
        raise SourceError("folder", f"there is no folder {folder} on the controller. Write its path, absolute or "
                                    "seen from the inventory's folder.")
    try:
        names = _files.listed(folder, ask_git=not source.get("built"))
    except _files.ListError as error:
        raise SourceError("folder", f"git cannot say which files of {folder} it ignores: {error}") from None
    if not names:
        raise SourceError("folder", f"{folder} has no files, or git ignores them all.")

    def read(name: str) -> str | None:
        # Only what is packed counts: the hosts do not get a file that git ignores.
        path = folder / name
        return path.read_text(encoding="utf-8", errors="replace") if name in names and path.is_file() else None

    content = _files.digest(folder, names)
    return Resolved(content, f"folder {content[:8]}", lambda target: _files.pack(folder, names, target), read,
                    names)


KIND = Source("folder", {
    "folder": {"type": "path", "required": True,
               "description": "A folder of the controller, absolute or seen from the inventory's folder."},
}, _resolve)
