# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where code comes from: folders, git repositories, archives, packages."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import sources
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import SourceError, _files
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import git as git_source


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


def test_attributes_and_settings_of_the_controllers_git_do_not_matter(tmp_path, repository, monkeypatch):
    url, _commits = repository
    write(url, {".gitattributes": "*.txt text\nsecret export-ignore\n", "a.txt": "one\n", "secret": "x"})
    commit(url, {"b.py": "b"})
    before = packed(resolve(from_git(url, "main"), tmp_path), tmp_path)
    assert "secret" not in before
    write(tmp_path, {"home/.gitconfig": "[core]\n\tautocrlf = true\n\teol = crlf\n[tar]\n\tumask = 077\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert packed(sources.resolve(from_git(url, "main"), tmp_path, tmp_path / "other"), tmp_path) == before


@pytest.fixture
def nested(tmp_path):
    """A repository with a submodule that has one itself; return its folder and the commits of all three."""
    commits = {}
    for name, below in (("leaf", None), ("lib", "leaf"), ("top", "lib")):
        folder = tmp_path / "git" / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")
        if below:
            git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"../{below}",
                f"deps/{below}")
        commits[name] = commit(folder, {f"{name}.py": name})
    return tmp_path / "git" / "top", commits


def test_submodules_come_along(tmp_path, nested):
    url, commits = nested
    found = resolve(from_git(url, "main"), tmp_path)
    assert found.digest == commits["top"]
    files = packed(found, tmp_path)
    assert {name: text for name, text in files.items() if name.endswith(".py")} == {
        "top.py": "top", "deps/lib/lib.py": "lib", "deps/lib/deps/leaf/leaf.py": "leaf"}
    assert found.read("deps/lib/deps/leaf/leaf.py") == "leaf"
    assert found.read("deps/lib") is None


def test_submodules_stay_away_where_that_is_written(tmp_path, nested):
    url, commits = nested
    found = resolve({**from_git(url, "main"), "submodules": False}, tmp_path)
    assert found.digest != commits["top"]  # other files than with them
    assert found.words["commit"] == commits["top"]
    assert "deps/lib/lib.py" not in packed(found, tmp_path)


@pytest.mark.parametrize("modules, words", [
    ("", ["does not say where deps/lib comes from", "submodules: false"]),
    ('[submodule "x"]\n\tpath = deps/lib\n\turl = ../gone\n', ["deps/lib cannot be had", "submodules: false"]),
    ('[submodule "x"]\n\tpath = deps/lib\n\turl = ext::sh -c id\n', ["is no address of a server"]),
    ('[submodule "x"]\n\tpath = deps/lib\n\turl = -x\n', ["is no address of a server"]),
])
def test_a_submodule_that_cannot_be_had(tmp_path, nested, modules, words):
    url, _commits = nested
    commit(url, {".gitmodules": modules})
    key, message = refuse(from_git(url, "main"), tmp_path)
    assert key == "submodules"
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("parent, url, found", [
    ("https://h/a/shop.git", "../lib.git", "https://h/a/lib.git"),
    ("https://h/a/shop.git/", "../../b/lib.git", "https://h/b/lib.git"),
    ("https://h/a/shop.git", "./lib.git", "https://h/a/shop.git/lib.git"),
    ("git@h:a/shop.git", "../lib.git", "git@h:a/lib.git"),
    ("git@h:shop.git", "../lib.git", "git@h:lib.git"),
    ("/srv/shop.git", "../lib.git", "/srv/lib.git"),
    ("https://h/shop.git", "https://i/lib.git", "https://i/lib.git"),
    ("https://h/shop.git", "git@i:lib.git", "git@i:lib.git"),
    ("/srv/shop.git", "/srv/lib.git", "/srv/lib.git"),
    ("https://h/shop.git", "/srv/lib.git", None),
    ("git@h:shop.git", "file:///srv/lib.git", None),
    ("https://h/shop.git", "lib.git", None),
])
def test_where_a_submodule_comes_from(parent, url, found):
    if found:
        assert git_source._submodule_url(parent, url, "lib") == found
        return
    with pytest.raises(SourceError, match="no address of a server"):
        git_source._submodule_url(parent, url, "lib")


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nhorse\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def fake_git(tmp_path, monkeypatch):
    """A git that notes what it is called with, and the key that it finds, and fails."""
    write(tmp_path, {"bin/git": f"""#!/bin/sh
{{ echo "arguments: $*"; env | grep -E '^GIT_' ; for word in $GIT_SSH_COMMAND; do
[ -f "$word" ] && stat -c 'mode: %a' "$word" && cat "$word"; done; }} >> {tmp_path}/calls
echo 'fatal: Authentication failed for https://user:horse@h/x.git' >&2; exit 128
"""})
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    return tmp_path / "calls"


@pytest.mark.parametrize("given", [KEY, "keys/deploy", KEY + "\n\n"])
def test_a_deploy_key_is_in_a_file_for_as_long_as_it_is_needed(tmp_path, fake_git, given):
    write(tmp_path, {"keys/deploy": KEY})
    key, message = refuse({**from_git("git@h:x.git"), "key": given}, tmp_path)
    assert key == "git"
    assert "horse" not in message
    text = fake_git.read_text()
    assert f"mode: 600\n{KEY}\n" in text
    command = next(line for line in text.splitlines() if line.startswith("GIT_SSH_COMMAND="))
    assert "-o BatchMode=yes" in command and command.endswith("-o IdentitiesOnly=yes")
    path = Path(command.partition(" -i ")[2].split()[0])
    assert not path.exists() and not path.parent.exists()


@pytest.mark.parametrize("given, words", [
    ("keys/gone", "keys/gone cannot be read as a private key"),
    ("keys/deploy.pub", "without `.pub`"),
    ("horse\nbattery\n", "what is written cannot be read"),
])
def test_what_is_no_deploy_key(tmp_path, fake_git, given, words):
    write(tmp_path, {"keys/deploy.pub": "ssh-ed25519 AAAA"})
    key, message = refuse({**from_git("git@h:x.git"), "key": given}, tmp_path)
    assert key == "key"
    assert words in message
    assert "horse" not in message
    assert not fake_git.exists()


def test_a_password_is_no_argument_of_git(tmp_path, fake_git):
    refuse(from_git("https://user:ho%2Frse@h:8443/x.git"), tmp_path)
    text = fake_git.read_text()
    assert "arguments: ls-remote -- https://h:8443/x.git" in text
    header = base64.b64encode(b"user:ho/rse").decode()
    assert f"=Authorization: Basic {header}" in text
    assert "=http.https://h:8443/.extraHeader" in text
    assert "rse" not in "".join(line for line in text.splitlines() if not line.startswith("GIT_CONFIG_VALUE"))


def test_authorities_of_the_inventory_are_known_to_git(tmp_path, fake_git):
    with pytest.raises(SourceError):
        sources.resolve(from_git("https://h/x.git"), tmp_path, tmp_path / "cache", "ours")
    assert "GIT_SSL_CAINFO=" in fake_git.read_text()


# -- archives ------------------------------------------------------------------------------------------------------


def make_tar(path, entries, mode="w:gz"):
    """Write an archive; an entry is (name, text), or (name, type, target)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, what, *target in entries:
            info = tarfile.TarInfo(name)
            if target:
                info.type, info.linkname = what, target[0]
                archive.addfile(info)
            else:
                info.size, info.mtime, info.uid = len(what), 1234567, 1000
                archive.addfile(info, io.BytesIO(what.encode()))
    return path


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode[0] if mode else 0o100644) << 16
            archive.writestr(info, text)
    return path


def from_archive(given, checksum=""):
    return {"kind": "archive", "archive": str(given), "checksum": checksum}


def checksum_of(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


ENTRIES = [("shop-1.0/app.py", "1"), ("shop-1.0/b/b.py", "2")]


def test_equal_files_are_equal_in_whatever_they_come(tmp_path):
    made = [make_tar(tmp_path / f"x.tar.{kind}", ENTRIES, f"w:{kind}") for kind in ("gz", "xz", "bz2")]
    made.append(make_tar(tmp_path / "flat.tar", [("./b/b.py", "2"), ("./app.py", "1")], "w"))
    made.append(make_zip(tmp_path / "x.zip", ENTRIES))
    found = [resolve(from_archive(path.name), tmp_path) for path in made]
    assert len({source.digest for source in found}) == 1
    assert found[0].digest == resolve(folder(write(tmp_path / "same", {"app.py": "1", "b/b.py": "2"})), tmp_path).digest
    for number, source in enumerate(found):
        source.pack(tmp_path / f"{number}.out")
    assert len({(tmp_path / f"{number}.out").read_bytes() for number in range(len(found))}) == 1
    assert packed(found[0], tmp_path) == {"app.py": "1", "b/b.py": "2"}
    assert (found[0].read("app.py"), found[0].read("shop-1.0/app.py"), found[0].read("b")) == ("1", None, None)
    assert found[0].label == f"x.tar.gz {found[0].digest[:8]}"


def test_modes_and_links_of_an_archive_are_kept(tmp_path):
    path = make_tar(tmp_path / "x.tar.gz", [*ENTRIES, ("shop-1.0/b/up", tarfile.SYMTYPE, "../app.py"),
                                            ("shop-1.0/hard", tarfile.LNKTYPE, "shop-1.0/app.py")])
    target = tmp_path / "out.tar.gz"
    resolve(from_archive(path), tmp_path).pack(target)
    with tarfile.open(target) as archive:
        assert {item.name: (item.type, item.linkname) for item in archive} == {
            "app.py": (b"0", ""), "b/b.py": (b"0", ""), "b/up": (b"2", "../app.py"), "hard": (b"0", "")}
    assert target.stat().st_mode & 0o777 == 0o600
    path = make_zip(tmp_path / "x.zip", [("run", "x", 0o100755), ("link", "run", 0o120777), ("plain", "x")])
    resolve(from_archive(path), tmp_path).pack(target)
    with tarfile.open(target) as archive:
        assert {item.name: (item.type, item.mode) for item in archive if item.name != "link"} == {
            "run": (b"0", 0o755), "plain": (b"0", 0o644)}
        assert archive.getmember("link").linkname == "run"


@pytest.mark.parametrize("entries", [
    [("../x", "1")], [("/etc/x", "1")], [("a/../../x", "1")],
    [("a/link", tarfile.SYMTYPE, "../../x"), ("b", "")], [("link", tarfile.SYMTYPE, "/etc/passwd")],
    [("here", tarfile.SYMTYPE, "."), ("up", tarfile.SYMTYPE, "here/..")],
    [("link", tarfile.SYMTYPE, "elsewhere"), ("link/x", "1")],
    [("x", "1"), ("x/y", "1")],
    [("hard", tarfile.LNKTYPE, "/etc/passwd")], [("hard", tarfile.LNKTYPE, "gone")],
    [("device", tarfile.CHRTYPE, "x")], [("pipe", tarfile.FIFOTYPE, "x")],
])
def test_an_archive_that_reaches_out_is_refused(tmp_path, entries):
    path = make_tar(tmp_path / "x.tar.gz", [("other", "1"), *entries])
    key, message = refuse(from_archive(path), tmp_path)
    assert key == "archive"
    assert "is not safe to unpack" in message


@pytest.mark.parametrize("name, mode", [("..\\x", 0o100644), ("../x", 0o100644), ("pipe", 0o010644)])
def test_a_zip_that_reaches_out_is_refused(tmp_path, name, mode):
    path = make_zip(tmp_path / "x.zip", [(name, "", mode)])
    assert "is not safe to unpack" in refuse(from_archive(path), tmp_path)[1]


@pytest.mark.parametrize("content, words", [
    (b"no archive", "is not readable as tar.gz"), (b"", "is not readable as tar.gz"),
    (b"PK\5\6" + bytes(18), "has no files in it"), (b"PK\3\4 cut short", "is not readable"),
])
def test_what_is_no_archive(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    key, message = refuse(from_archive("x"), tmp_path)
    assert key == "archive"
    assert words in message


def test_the_checksum_of_a_file(tmp_path):
    path = make_tar(tmp_path / "x.tar.gz", ENTRIES)
    assert resolve(from_archive("x.tar.gz", checksum_of(path).upper().replace("SHA256", "sha256")), tmp_path).digest
    key, message = refuse(from_archive("x.tar.gz", "sha256:" + "a" * 64), tmp_path)
    assert key == "checksum"
    assert checksum_of(path) in message
    assert refuse(from_archive("gone.tar.gz"), tmp_path)[0] == "archive"


class Files(http.server.SimpleHTTPRequestHandler):
    """Hands out files to who has the password; `/moved/` leads to another server."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + self.path.removeprefix("/moved"))
            self.end_headers()
        elif self.server.wanted not in ("", self.headers.get("Authorization")):
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def web(tmp_path):
    """Two servers of one folder; the first wants a password."""
    served = tmp_path / "served"
    served.mkdir()
    made = []
    for wanted in (sources.basic("user", "ho/rse"), ""):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(served)))
        server.asked, server.wanted = [], wanted
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
    made[0].elsewhere = f"http://127.0.0.1:{made[1].server_address[1]}"
    yield served, made, f"http://user:ho%2Frse@127.0.0.1:{made[0].server_address[1]}"
    for server in made:
        server.shutdown()
        server.server_close()


def test_an_archive_is_fetched_once(tmp_path, web):
    served, servers, url = web
    path = make_tar(served / "x.tar.gz", ENTRIES)
    for _ in range(2):
        found = resolve(from_archive(f"{url}/x.tar.gz?token=battery", checksum_of(path)), tmp_path)
        assert packed(found, tmp_path) == {"app.py": "1", "b/b.py": "2"}
    assert len(servers[0].asked) == 1
    assert [path.suffix for path in (tmp_path / "cache" / "sources").iterdir() if path.suffix == ".fetched"] == []
    everything = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert b"rse" not in everything and b"battery" not in everything


def test_a_password_is_not_for_the_next_server(tmp_path, web):
    served, servers, url = web
    path = make_tar(served / "x.tar.gz", ENTRIES)
    resolve(from_archive(f"{url}/moved/x.tar.gz", checksum_of(path)), tmp_path)
    assert servers[0].asked[0][1] is not None
    assert servers[1].asked == [("/x.tar.gz", None)]


@pytest.mark.parametrize("change, key, words", [
    (lambda url: f"{url}/gone.tar.gz?token=battery", "archive", "answers 404"),
    (lambda url: f"{url}/x.tar.gz?token=battery".replace("ho%2Frse", "horse"), "archive", "password wrong"),
    (lambda url: "https://user:horse@127.0.0.1:9/x.tar.gz?token=battery", "archive", "is not to be had"),
    (lambda url: "file:///nowhere/x.tar.gz", "archive", "is not to be had"),
    (lambda url: f"{url}/x.tar.gz?token=battery", "checksum", "has another file than this: sha256:"),
])
def test_an_archive_that_is_not_to_be_had(tmp_path, web, change, key, words):
    make_tar(web[0] / "x.tar.gz", ENTRIES)
    found, message = refuse(from_archive(change(web[2]), "sha256:" + "a" * 64), tmp_path)
    assert (found, words in message) == (key, True), message
    assert not [secret for secret in ("rse@", "horse", "battery", "ho/rse") if secret in message]


# -- packages ------------------------------------------------------------------------------------------------------


def test_a_package_is_left_to_pip(tmp_path):
    one, same, other = (resolve({"kind": "package", "package": text}, tmp_path)
                        for text in ("httpbin==0.10.4", "httpbin == 0.10.4", "httpbin==0.10.5"))
    assert one.digest == same.digest != other.digest
    assert (one.label, one.pack, one.read("httpbin.py")) == ("httpbin==0.10.4", None, None)
