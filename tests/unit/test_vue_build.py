# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds on the controller: in a clean copy, whole or not at all. The npm here is a small script."""

from __future__ import annotations

import os
import tarfile

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import vue_build
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import _files

NPM = """#!/bin/sh
[ "$1" = ci ] || exit 9
[ -f package-lock.json ] || { echo 'npm error no lock file' >&2; exit 1; }
mkdir node_modules
"""
BUILD = "mkdir -p dist/assets && echo page > dist/index.html && echo $API > dist/assets/app.js"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that makes the record of a site, with its source packed."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "npm").write_text(NPM)
    (bin_folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")

    def make(command=BUILD, output="dist", directory="", lock=True, env=None):
        source = tmp_path / "source"
        (source / directory).mkdir(parents=True, exist_ok=True)
        (source / directory / "package.json").write_text("{}")
        if lock:
            (source / directory / "package-lock.json").write_text("{}")
        archive = tmp_path / "source.tar.gz"
        _files.pack(source, _files.listed(source), archive)
        return {"name": "web", "origin": "vue_sites[0]", "archive": str(archive), "directory": directory,
                "dist": str(tmp_path / "out" / "dist.tar.gz"),
                "build": {"command": command, "output": output, "env": env or {}}}
    return make


def built(site):
    vue_build.build(site)
    with tarfile.open(site["dist"]) as archive:
        return {item.name: archive.extractfile(item).read().decode().strip() for item in archive}


def refuse(site):
    with pytest.raises(vue_build.BuildError) as caught:
        vue_build.build(site)
    assert not os.path.exists(site["dist"])
    return str(caught.value)


@pytest.mark.parametrize("more", [{}, {"directory": "web"}, {"output": "./dist/"}])
def test_a_site_is_built(site, more):
    assert built(site(env={"API": 7}, **more)) == {"index.html": "page", "assets/app.js": "7"}


def test_a_build_is_the_same_each_time(site, tmp_path):
    archives = []
    for _ in range(2):
        built(site())
        archives.append((tmp_path / "out" / "dist.tar.gz").read_bytes())
    assert archives[0] == archives[1]


def test_the_users_folder_is_left_alone(site, tmp_path):
    record = site()
    built(record)
    assert sorted(os.listdir(tmp_path / "source")) == ["package-lock.json", "package.json"]


@pytest.mark.parametrize("more, words", [
    ({"lock": False}, ["vue_sites[0].source: `npm ci` cannot install", "no lock file"]),
    ({"command": "echo \"\033[31mred error\033[0m\" >&2; exit 2"},
     ["vue_sites[0].build.command: `", "fails.", "\n    red error"]),
    ({"command": "for i in $(seq 40); do echo line $i; done; exit 1"}, ["line 40"]),
    ({"command": "mkdir dist && echo x > dist/app.js"},
     ["vue_sites[0].build.output: the build made no dist/index.html", "Write the folder that it makes"]),
    ({"output": "public"}, ["vue_sites[0].build.output: the build made no public/index.html"]),
])
def test_a_build_that_fails_leaves_no_archive(site, more, words):
    message = refuse(site(**more))
    assert [word for word in words if word not in message] == []
    assert "line 20\n" not in message


def test_a_build_that_does_not_end(site, monkeypatch):
    monkeypatch.setattr(vue_build, "_TIMEOUT", 1)
    assert "fails. It took more than 1 s." in refuse(site(command="sleep 20"))


def test_without_npm(site, monkeypatch):
    record = site()
    monkeypatch.setenv("PATH", "/nonexistent")
    message = refuse(record)
    assert message.startswith("vue_sites[0].source: the controller has no npm")
    assert "vue_sites[0].dist" in message
