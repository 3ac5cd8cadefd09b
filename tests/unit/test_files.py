# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are old or new, never torn."""

from __future__ import annotations

import os

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import files


@pytest.mark.parametrize("text, mode", [("läden\n", 0o600), (b"\xff\0", 0o644), ("", 0o640)])
@pytest.mark.parametrize("before", [None, "old"])
def test_write(tmp_path, text, mode, before):
    path = tmp_path / "new" / "file"
    if before:
        files.write_file(path, before, mode=0o644)
    files.write_file(str(path), text, mode=mode, uid=os.getuid(), gid=os.getgid())
    assert path.read_bytes() == (text.encode() if isinstance(text, str) else text)
    assert path.stat().st_mode & 0o777 == mode
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("name", ["fsync", "replace", "fchmod"])
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, name):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_arguments):
        raise OSError("no space left")
    monkeypatch.setattr(files.os, name, fail)
    with pytest.raises(OSError, match="no space left"):
        files.write_file(path, "new", mode=0o644)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_secret_is_never_readable_for_others(tmp_path, monkeypatch):
    modes = []
    replace = os.replace
    monkeypatch.setattr(files.os, "replace", lambda old, new: modes.append(os.stat(old).st_mode & 0o777) or
                        replace(old, new))
    mask = os.umask(0)
    try:
        files.write_file(tmp_path / "env", "A=1", mode=0o600)
    finally:
        os.umask(mask)
    assert modes == [0o600]


@pytest.mark.parametrize("before", [None, "releases/a", "releases/b"])
def test_a_link_is_renamed_over(tmp_path, before):
    link = tmp_path / "current"
    if before:
        link.symlink_to(before)
    files.replace_link(link, "releases/b")
    assert os.readlink(link) == "releases/b"
    assert os.listdir(tmp_path) == ["current"]


def test_a_link_is_never_missing(tmp_path, monkeypatch):
    link = tmp_path / "current"
    link.symlink_to("a")
    seen = []
    for name in ("symlink", "replace", "unlink"):
        real = getattr(os, name)

        def watched(*arguments, real=real):
            result = real(*arguments)
            seen.append(os.readlink(link))
            return result
        monkeypatch.setattr(files.os, name, watched)
    files.replace_link(link, "b")
    assert seen == ["a", "b"]


def test_what_a_killed_run_left_is_no_obstacle(tmp_path):
    (tmp_path / f".current.{os.getpid()}").symlink_to("x")
    files.replace_link(tmp_path / "current", "a")
    assert os.listdir(tmp_path) == ["current"]
