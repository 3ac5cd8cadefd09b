# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where code comes from: folders, git repositories, packages."""

from __future__ import annotations

import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import sources
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import SourceError, _files


def git(folder, *arguments):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    answer = subprocess.run(["git", "-C", str(folder), *arguments], env=environment, check=True, capture_output=True)
    return answer.stdout.decode().strip()


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def commit(folder, files, message="change"):
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    """A repository with a branch, a light tag, an annotated tag, and something put aside (refs/stash)."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commits = {"first": commit(folder, {"app.py": "1"})}
    git(folder, "tag", "light")
    commits["second"] = commit(folder, {"app.py": "2"})
    git(folder, "tag", "--annotate", "--message", "x", "v2")
    git(folder, "checkout", "--quiet", "-b", "work")
    commits["work"] = commit(folder, {"app.py": "3"})
    git(folder, "checkout", "--quiet", "main")
    commits["main"] = commit(folder, {"app.py": "4", "sub/b.py": "b"})
    write(folder, {"app.py": "5"})
    git(folder, "stash", "--quiet")
    return folder, commits


def resolve(source, tmp_path):
    return sources.resolve(source, tmp_path, tmp_path / "cache")


def refuse(source, tmp_path):
    with pytest.raises(SourceError) as caught:
        resolve(source, tmp_path)
    return caught.value.key, str(caught.value)


def packed(source, tmp_path):
    """Return {name: content} of the archive."""
    target = tmp_path / "out" / "archive.tar.gz"
    source.pack(target)
    with tarfile.open(target) as archive:
        return {item.name: archive.extractfile(item).read().decode() for item in archive if item.isfile()}


# -- folders -------------------------------------------------------------------------------------------------------


def folder(path):
    return {"kind": "folder", "folder": str(path)}


@pytest.mark.parametrize("path", ["shop", "./shop", "x/../shop"])
def test_a_folder_is_seen_from_the_inventory(tmp_path, path):
    write(tmp_path, {"shop/app.py": "1", "x/y": ""})
    found = resolve(folder(path), tmp_path)
    assert packed(found, tmp_path) == {"app.py": "1"}
    assert found.label == f"folder {found.digest[:8]}"


def test_a_folder_in_the_home_and_by_its_full_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, {"shop/app.py": "1"})
    assert resolve(folder("~/shop"), Path("/")).digest == resolve(folder(tmp_path / "shop"), Path("/")).digest


@pytest.mark.parametrize("files, path, words", [
    ({}, "nowhere", "there is no folder"),
    ({"file": ""}, "file", "there is no folder"),
    ({"shop/.env": "", "shop/__pycache__/a.pyc": ""}, "shop", "has no files"),
])
def test_a_folder_that_is_not_there_or_empty(tmp_path, files, path, words):
    write(tmp_path, files)
    key, message = refuse(folder(path), tmp_path)
    assert key == "folder"
    assert words in message
    assert str(tmp_path / path) in message


FILES = {"app.py": "1", "secret.txt": "x", "build/out.js": "x", ".gitignore": "/secret.txt\nbuild/\n", "b/.env": "x",
         "node_modules/x/index.js": "x", "venv/bin/python": "x", "b/__pycache__/a.pyc": "x", "b/b.py": "2"}


@pytest.mark.parametrize("inside, names", [
    (True, [".gitignore", "app.py", "b/b.py"]),
    (False, [".gitignore", "app.py", "b/b.py", "build/out.js", "secret.txt"]),
])
def test_what_git_ignores_stays_out(tmp_path, inside, names):
    if inside:
        git(tmp_path, "init", "--quiet")
    write(tmp_path / "shop", FILES)
    found = resolve(folder("shop"), tmp_path)
    assert sorted(packed(found, tmp_path)) == names
    assert found.read("app.py") == "1"
    assert found.read("nothing.py") is None
    assert (found.read("secret.txt") is None) == inside  # what the hosts do not get is not looked at


def test_what_is_ignored_does_not_change_the_digest(tmp_path):
    git(tmp_path, "init", "--quiet")
    shop = write(tmp_path / "shop", FILES)
    before = resolve(folder("shop"), tmp_path).digest
    write(shop, {"secret.txt": "y", "build/out.js": "y", "new.pyc": "z", "db.sqlite3": "z"})
    assert resolve(folder("shop"), tmp_path).digest == before


def test_a_site_that_is_built_already_is_taken_whole(tmp_path):
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {"web/.gitignore": "dist/", "web/dist/index.html": "1"})
    assert packed(resolve({**folder("web/dist"), "built": True}, tmp_path), tmp_path) == {"index.html": "1"}
    assert "git ignores them all" in refuse(folder("web/dist"), tmp_path)[1]


def test_without_gits_word_nothing_is_taken(tmp_path, monkeypatch):
    shop = write(tmp_path / "shop", FILES)
    write(tmp_path, {"bin/git": "#!/bin/sh\necho 'fatal: detected dubious ownership in repository' >&2; exit 128"})
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    key, message = refuse(folder(shop), tmp_path)
    assert key == "folder"
    assert "dubious ownership" in message


def test_a_tracked_file_that_was_deleted_is_gone(tmp_path):
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, {"a.py": "1", "b.py": "2"})
    (tmp_path / "b.py").unlink()
    assert packed(resolve(folder(tmp_path), tmp_path), tmp_path / "o") == {"a.py": "1"}


@pytest.mark.parametrize("change", [
    lambda shop: write(shop, {"app.py": "2"}),
    lambda shop: write(shop, {"new.py": ""}),
    lambda shop: (shop / "app.py").rename(shop / "main.py"),
    lambda shop: (shop / "app.py").chmod(0o755),
    lambda shop: (shop / "link").symlink_to("app.py"),
    lambda shop: (shop / "b" / "b.py").unlink(),
])
def test_a_change_of_the_files_changes_the_digest(tmp_path, change):
    shop = write(tmp_path / "shop", {"app.py": "1", "b/b.py": "1"})
    before = resolve(folder(shop), tmp_path).digest
    change(shop)
    assert resolve(folder(shop), tmp_path).digest != before


@pytest.mark.parametrize("change", [
    lambda shop: os.utime(shop / "app.py", (1, 1)),
    lambda shop: (shop / "app.py").chmod(0o600),
    lambda shop: (shop / "empty").mkdir(),
    lambda shop: os.mkfifo(shop / "pipe"),
])
def test_what_differs_between_laptops_does_not(tmp_path, change):
    shop = write(tmp_path / "shop", {"app.py": "1", "b/b.py": "1"})
    (shop / "b" / "link").symlink_to("b.py")
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    before = resolve(folder(shop), tmp_path)
    before.pack(first)
    change(shop)
    after = resolve(folder(shop), tmp_path)
    after.pack(second)
    assert after.digest == before.digest
    assert first.read_bytes() == second.read_bytes()


def test_an_archive_has_no_owners_and_is_nobody_elses_business(tmp_path):
    shop = write(tmp_path / "shop", {"app.py": "1", "run": "x"})
    (shop / "run").chmod(0o700)
    target = tmp_path / "new" / "archive.tar.gz"
    resolve(folder(shop), tmp_path).pack(target)
    with tarfile.open(target) as archive:
        assert {item.name: (item.uid, item.gid, item.uname, item.mtime, item.mode) for item in archive} == {
            "app.py": (0, 0, "", 0, 0o644), "run": (0, 0, "", 0, 0o755)}
    assert target.read_bytes()[4:8] == bytes(4)  # gzip has a time of its own
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.parent.stat().st_mode & 0o777 == 0o700


def test_an_archive_appears_when_it_is_whole(tmp_path):
    shop = write(tmp_path / "shop", {"a.py": "1", "b.py": "1"})
    with pytest.raises(FileNotFoundError):
        _files.pack(shop, ["a.py", "gone.py"], tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


def test_names_that_are_no_utf8(tmp_path):
    shop = write(tmp_path / "shop", {"app.py": "1"})
    (shop / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    found = resolve(folder(shop), tmp_path)
    assert len(packed(found, tmp_path)) == 2


# -- git -----------------------------------------------------------------------------------------------------------


def from_git(url, version="HEAD"):
    return {"kind": "git", "git": str(url), "version": version}


@pytest.mark.parametrize("version, which, content", [
    ("main", "main", "4"), ("HEAD", "main", "4"), ("work", "work", "3"), ("light", "first", "1"),
    ("v2", "second", "2"), ("refs/heads/work", "work", "3"),
])
def test_a_git_reference_is_a_commit(tmp_path, repository, version, which, content):
    url, commits = repository
    found = resolve(from_git(url, version), tmp_path)
    assert found.digest == commits[which]
    assert found.label == f"{version} {commits[which][:10]}"
    assert packed(found, tmp_path)["app.py"] == content
    assert found.read("app.py") == content
    assert found.read("nothing.py") is None


@pytest.mark.parametrize("which", ["first", "work", "main"])
def test_a_whole_commit_is_itself(tmp_path, repository, which):
    url, commits = repository
    found = resolve(from_git(url, commits[which]), tmp_path)
    assert (found.digest, found.label) == (commits[which], commits[which][:10])
    assert "app.py" in packed(found, tmp_path)


@pytest.mark.parametrize("url", ["repository", "file://{0}/repository"])
def test_a_repository_is_a_path_or_a_url(tmp_path, repository, url):
    assert resolve(from_git(url.format(tmp_path), "main"), tmp_path).digest == repository[1]["main"]


def test_a_branch_that_went_on_is_followed(tmp_path, repository):
    url, commits = repository
    resolve(from_git(url, "main"), tmp_path)
    later = commit(url, {"app.py": "6"})
    found = resolve(from_git(url, "main"), tmp_path)
    assert (found.digest, packed(found, tmp_path)["app.py"]) == (later, "6")
    old = resolve(from_git(url, commits["first"]), tmp_path)
    assert packed(old, tmp_path)["app.py"] == "1"


def test_archives_of_a_commit_are_the_same_everywhere(tmp_path, repository):
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    for cache, target in (("a", first), ("b", second)):
        sources.resolve(from_git(repository[0], "v2"), tmp_path, tmp_path / cache).pack(target)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_run_left_of_the_cache_is_mended(tmp_path, repository):
    resolve(from_git(repository[0]), tmp_path)
    [bare] = [path for path in (tmp_path / "cache" / "git").iterdir() if path.is_dir()]
    (bare / "HEAD").unlink()
    assert packed(resolve(from_git(repository[0], "work"), tmp_path), tmp_path)["app.py"] == "3"


def test_sources_of_one_repository_are_resolved_side_by_side(tmp_path, repository):
    url, commits = repository
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(lambda name: resolve(from_git(url, commits[name]), tmp_path), [*commits] * 2))
    assert [source.digest for source in found] == [*commits.values()] * 2
    assert all(source.read("app.py") for source in found)


@pytest.mark.parametrize("version, words", [
    ("maine", ["no branch or tag 'maine'", "light, main, v2, work", "in full"]),
    ("stash", ["no branch or tag 'stash'"]),
    ("0123456", ["no branch or tag '0123456'", "A commit must be written in full"]),
    ("0" * 40, ["no commit 0000000", "a branch, a tag or a whole commit ID"]),
])
def test_a_reference_that_is_not_there(tmp_path, repository, version, words):
    key, message = refuse(from_git(repository[0], version), tmp_path)
    assert key == "version"
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("url, words", [
    ("nowhere", "there is no repository"),
    ("empty", "git says: "),
    ("file:///nonexistent/x.git", "git says: "),
    ("https://user:hunter2@127.0.0.1:9/x.git", "git says: "),
])
def test_a_repository_that_is_not_there(tmp_path, url, words):
    (tmp_path / "empty").mkdir()
    key, message = refuse(from_git(url, "main"), tmp_path)
    assert key == "git"
    assert words in message
    assert "hunter2" not in message


def test_without_git(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refuse(from_git(repository[0]), tmp_path) == ("git", "the controller has no git. Install it.")


# -- packages ------------------------------------------------------------------------------------------------------


def test_a_package_is_left_to_pip(tmp_path):
    one, same, other = (resolve({"kind": "package", "package": text}, tmp_path)
                        for text in ("httpbin==0.10.4", "httpbin == 0.10.4", "httpbin==0.10.5"))
    assert one.digest == same.digest != other.digest
    assert (one.label, one.pack, one.read("httpbin.py")) == ("httpbin==0.10.4", None, None)
