# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the window hands out by itself: built Vue sites, and the static files of Django apps.

A Vue site is a release folder behind the link ``current``, swapped by rename. Files with a hash in their name
(``assets/``, Django's static files) are laid over those of earlier releases: a page that was opened before the switch
still finds what it asks for. ``.webstack/ID.json`` lists the files of each release; what none of the kept ones lists
goes away.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.files import replace_link, write_file

SCHEMA = 1
#: the folder of a Vue build whose files have a hash in their names
ASSETS = "assets"


class SiteError(Exception):
    """A site cannot be put in place; ``path`` is the user's variable."""

    def __init__(self, path: str, message: str):
        super().__init__(f"{path}: {message}")


def vue_is_live(site: Mapping[str, Any]) -> bool:
    root = Path(site["root"])
    try:
        if held(root) == site["release"] != os.path.basename(os.readlink(root / "current")) and not site.get("asked"):
            return True  # somebody has left it by hand, and the inventory does not know yet
        return (os.readlink(root / "current") == f"releases/{site['release']}"
                and _manifest(root, site["release"]) is not None
                and (root / "current" / "index.html").is_file()
                and _overlay_is_whole(root / ASSETS, root, site["release"]))
    except OSError:
        return False


def held(root: Path) -> str:
    """Return the release that somebody has left by hand, or ""."""
    try:
        return (root / ".webstack" / "held").read_text(encoding="utf-8")
    except OSError:
        return ""


def let_go(site: Mapping[str, Any]) -> None:
    """Forget what is held back, when the inventory has come to want what is live."""
    root = Path(site["root"])
    if held(root) not in ("", site["release"]) and vue_is_live(site) and site.get("asked") != "version":
        (root / ".webstack" / "held").unlink(missing_ok=True)


def static_is_live(app: Mapping[str, Any]) -> bool:
    root = Path(app["static_folder"])
    return _live(root) == app["release"] and _overlay_is_whole(root, root, app["release"])


def static_is_here(app: Mapping[str, Any]) -> bool:
    """Say whether the app runs on this very host, and all files of its release have been collected."""
    path = Path(app["root"], "releases", app["release"], "release.json")
    try:
        return "static" in json.loads(path.read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError):
        return False


def put_vue(site: Mapping[str, Any], archive: str, keep: int) -> None:
    """Put a built site in place and switch to it; raises SiteError, and then nothing that is live has changed."""
    root = Path(site["root"])
    folder = root / "releases" / site["release"]
    if not (folder / "index.html").is_file():
        # Made beside and renamed: a release folder is whole, or not there.
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        _folders(root, partial)
        try:
            _unpack(archive, partial, f"{site['origin']}.dist")
            if not (partial / "index.html").is_file():
                raise SiteError(f"{site['origin']}.build.output", "has no index.html. Write the folder that the build "
                                                                  "makes.")
            settings = json.dumps(site["settings"], indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            if site["settings"]:
                write_file(partial / site["settings_file"], settings, mode=0o644)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    left = os.path.basename(os.readlink(root / "current")) if (root / "current").is_symlink() else ""
    files = _lay_over(folder / ASSETS, root / ASSETS) if (folder / ASSETS).is_dir() else []
    _write_manifest(root, site["release"], files)
    by_hand = site.get("asked") == "version"
    if by_hand and held(root) not in ("", site["release"]):
        pass  # what the inventory wants is held back already
    elif by_hand and left and not held(root):
        write_file(root / ".webstack" / "held", left, mode=0o644)
    else:
        (root / ".webstack" / "held").unlink(missing_ok=True)
    replace_link(root / "current", f"releases/{site['release']}")
    kept = _prune(root, root / ASSETS, site["release"], keep)
    for path in (root / "releases").iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def put_static(app: Mapping[str, Any], archive: str, keep: int, in_use: Collection[str] = ()) -> None:
    """Lay an app's static files over the earlier ones; ``archive`` is "" where the app runs on this very host.

    Those of the releases ``in_use`` stay: the app may never switch to the one that is put here.
    """
    root = Path(app["static_folder"])
    _folders(root)
    own = Path(app["root"], "releases", app["release"], "static")
    if archive:
        own = root / ".webstack" / f"{app['release']}.partial"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        _unpack(archive, own, f"{app['origin']}.static")
    if not own.is_dir():
        raise SiteError(f"{app['origin']}.static", f"{own} is missing: the app's host has to be done first.")
    files = _lay_over(own, root)
    if archive:
        shutil.rmtree(own)
    _write_manifest(root, app["release"], files)
    write_file(root / ".webstack" / "live", app["release"], mode=0o644)
    _prune(root, root, app["release"], keep, in_use)


def _unpack(archive: str, folder: Path, path: str) -> None:
    try:
        with tarfile.open(archive) as source:
            # Static files come from an app's host, which need not be trusted. Python 3.11.2, Debian 12's, has no
            # filters yet: there, files and folders below this one, and nothing else.
            if hasattr(tarfile, "data_filter"):
                source.extractall(folder, filter="data")
            else:
                source.extractall(folder, [item for item in source  # noqa: S202
                                           if (item.isfile() or item.isdir()) and _is_below(item.name)])
    except (tarfile.TarError, OSError) as error:
        raise SiteError(path, f"cannot be unpacked: {error}") from None
    for root, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            item = os.path.join(root, name)
            os.lchown(item, 0, 0)
            if not os.path.islink(item):
                os.chmod(item, 0o755 if os.path.isdir(item) else 0o644)
                # The archive has no times, so that it is the same each time. Browsers ask by them: two versions of a
                # page that have one size must not have one time too.
                os.utime(item)


def _is_below(name: str) -> bool:
    return not name.startswith("/") and ".." not in Path(name).parts


def _folders(root: Path, *folders: Path) -> None:
    """Make the folders, which nginx's workers read, from ``webstack_root`` (two above ``root``) down."""
    for folder in (root, *folders):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.parents):
            if path.stat().st_mode & 0o055 != 0o055:
                os.chmod(path, path.stat().st_mode | 0o055)
            if path == root.parent.parent:
                break


def _lay_over(source: Path, target: Path) -> list[str]:
    """Copy the files of ``source`` into ``target``, each by rename, and return their relative paths."""
    names = sorted(str((Path(root) / name).relative_to(source)) for root, _folders_, files in os.walk(source)
                   for name in files if stat.S_ISREG(os.lstat(os.path.join(root, name)).st_mode))
    # Links and pipes could lead anywhere; and what is ours beside the files is not the app's to write.
    names = [name for name in names if Path(name).parts[0] != ".webstack"]
    for name in names:
        old, new = target / name, source / name
        if old.is_file() and old.stat().st_size == new.stat().st_size and old.read_bytes() == new.read_bytes():
            continue
        old.parent.mkdir(parents=True, exist_ok=True)
        for folder in old.parent.relative_to(target).parents:
            os.chmod(target / folder, 0o755)
        os.chmod(old.parent, 0o755)
        partial = old.with_name(f".{old.name}.{os.getpid()}")
        shutil.copyfile(new, partial)
        os.chmod(partial, 0o644)
        os.replace(partial, old)
    return names


def _overlay_is_whole(target: Path, root: Path, release: str) -> bool:
    files = _manifest(root, release)
    return files is not None and all((target / name).is_file() for name in files)


def _manifest(root: Path, release: str) -> list[str] | None:
    try:
        content = json.loads((root / ".webstack" / f"{release}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content["files"] if content.get("schema") == SCHEMA else None


def _write_manifest(root: Path, release: str, files: list[str]) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_file(root / ".webstack" / f"{release}.json",
               json.dumps({"schema": SCHEMA, "release": release, "at": at, "files": files}) + "\n", mode=0o644)


def _live(root: Path) -> str:
    try:
        return (root / ".webstack" / "live").read_text(encoding="utf-8")
    except OSError:
        return ""


def _prune(root: Path, overlay: Path, live: str, keep: int, in_use: Collection[str] = ()) -> set[str]:
    """Forget the oldest releases beyond ``keep``, remove the files that no kept one lists, return the kept IDs."""
    manifests = {}
    for path in (root / ".webstack").glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            manifests[content["release"]] = (content["at"], path, set(filter(_is_below, content["files"])))
        except (ValueError, KeyError):
            path.unlink()  # torn or foreign: its files stay
    order = sorted(manifests, key=lambda release: (release == live, manifests[release][0]), reverse=True)
    kept = set(order[:max(1, keep)]) | (set(in_use) & set(order))
    surplus = [release for release in order if release not in kept]
    needed = set().union(*(manifests[release][2] for release in kept))
    for release in surplus:
        for name in manifests[release][2] - needed:
            (overlay / name).unlink(missing_ok=True)
        manifests[release][1].unlink(missing_ok=True)
    return kept
