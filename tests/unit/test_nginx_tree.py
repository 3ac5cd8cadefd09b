# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change of nginx's configuration, with an nginx that is made of a few lines of Python."""

from __future__ import annotations

import grp
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree

ORIGINAL = "# as Debian ships it\n"
FILES = {"main.conf": "include webstack/http.conf;\n", "http.conf": "number @GENERATION@;\n"}
ORIGINS = {"http.conf": [[1, "nginx_sites[0]"], [3, "nginx_sites[0].directives"]]}


class Host:
    """A host with an nginx: a folder, and files that say what runs, so that they outlive a killed process."""

    def __init__(self, folder):
        self.folder = folder
        self.etc = folder / "etc"
        self.etc.mkdir()
        (self.etc / "nginx.conf").write_text(ORIGINAL)
        (self.etc / "mime.types").write_text("")
        (folder / "nginx").write_text("")
        (folder / "nginx").chmod(0o755)
        (folder / "error.log").write_text("")
        self.deaf = False  # reload exits 0 and keeps the old configuration
        self.start("0")

    def start(self, number):
        (self.folder / "running").write_text(number)

    @property
    def running(self):
        text = (self.folder / "running").read_text()
        return int(text) if text else 0

    def run(self, command):
        if command[1:] == ["-V"]:
            return 0, "nginx version: nginx/1.26.3\nbuilt with OpenSSL 3.5.1 1 Jul 2025\n"
        if "-t" in command:
            conf = command[command.index("-c") + 1]
            return self.check(os.path.dirname(conf))
        if command[1] == "show":
            return 0, f"ActiveState={'active' if (self.folder / 'running').read_text() else 'failed'}\n" \
                      "UnitFileState=enabled\n"
        if command[1] in ("reload", "start", "reload-or-restart"):
            text = (self.etc / "webstack" / "http.conf").read_text() if (self.etc / "webstack").exists() else ""
            if self.deaf and "deaf" in text:
                with (self.folder / "error.log").open("a") as log:
                    log.write("2026/11/22 17:00:00 [emerg] 1#1: still could not bind()\n")
                return 0, ""
            ours = (self.etc / "nginx.conf").read_text() == nginx_tree.NGINX_CONF
            number = re.search(r"number (\d+);", text)
            self.start(number[1] if ours and number else "0")
            return 0, ""
        raise AssertionError(command)

    def check(self, folder):
        for path in ("nginx.conf", "mime.types", "webstack/main.conf"):
            assert os.path.exists(os.path.join(folder, path))
        lines = Path(folder, "webstack", "http.conf").read_text().split("\n")
        for number, line in enumerate(lines, 1):
            if "bad" in line:
                return 1, f'nginx: [emerg] unknown directive "bad" in {folder}/webstack/http.conf:{number}\n'
        return 0, "nginx: test is successful\n"

    def tree(self):
        paths = nginx_tree.Paths(etc=str(self.etc), binary=str(self.folder / "nginx"),
                                 error_log=str(self.folder / "error.log"), cache=str(self.folder / "cache"),
                                 group=grp.getgrgid(os.getgid()).gr_name)
        tree = nginx_tree.Tree(paths, self.run, timeout=0.5)
        tree.running = lambda: self.running
        return tree

    def snapshot(self):
        found = {}
        for base, folders, names in os.walk(self.etc):
            for name in [*folders, *names]:
                path = os.path.join(base, name)
                if name != ".lock":
                    found[os.path.relpath(path, self.etc)] = (
                        os.readlink(path) if os.path.islink(path) else
                        Path(path).read_bytes() if os.path.isfile(path) else oct(os.stat(path).st_mode))
        return found


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def changed(files, text):
    return {**files, "http.conf": files["http.conf"] + text}


def test_first_and_second_run(host):
    assert host.tree().go_live(FILES, ORIGINS) == (True, 1)
    assert host.running == 1
    assert (host.etc / "nginx.conf.before-webstack").read_text() == ORIGINAL
    assert (host.etc / "webstack" / "http.conf").read_text() == "number 1;\n"
    assert host.tree().look(FILES).same
    before = host.snapshot()
    assert host.tree().go_live(FILES, ORIGINS) == (False, 1)
    assert host.snapshot() == before


def test_files_are_for_root_to_write(host):
    host.tree().go_live({**FILES, "sites/a.conf": ""}, ORIGINS)
    for path in host.etc.glob("webstack.d/1/**/*"):
        wanted = 0o755 if path.is_dir() else 0o600 if path.name == "manifest.json" else 0o644
        assert path.stat().st_mode & 0o777 == wanted, path


SECRET = {**FILES, "secrets/users": "bob:$6$salt$horse\n#@nginx>=1 a @GENERATION@\n#@needs folder /none\n"}


def test_a_secret_file(host):
    assert host.tree().go_live(SECRET, ORIGINS) == (True, 1)
    path = host.etc / "webstack" / "secrets" / "users"
    assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o640, os.getgid())
    assert path.read_text() == SECRET["secrets/users"]
    assert host.tree().look(SECRET).same
    assert host.tree().go_live(SECRET, ORIGINS) == (False, 1)


@pytest.mark.parametrize("spoil", [
    lambda path: path.chmod(0o644), lambda path: path.write_text("eve:x\n"), lambda path: path.unlink()])
def test_a_secret_file_is_mended(host, spoil):
    host.tree().go_live(SECRET, ORIGINS)
    spoil(host.etc / "webstack" / "secrets" / "users")
    state = host.tree().look(SECRET)
    assert (state.differs, state.edited, state.same) == (["secrets/users"], ["secrets/users"], False)
    assert host.tree().go_live(SECRET, ORIGINS) == (True, 2)
    assert host.tree().look(SECRET).same


@pytest.mark.parametrize("before, after, shown", [
    (FILES, SECRET, ("", "(not shown)\n")),
    (SECRET, {**SECRET, "secrets/users": "eve"}, ("(not shown)\n", "(not shown, and different)\n")),
    (SECRET, FILES, ("(not shown)\n", "")),
])
def test_the_diff_shows_no_secrets(host, before, after, shown):
    host.tree().go_live(before, ORIGINS)
    (part,) = host.tree().diff(after)
    assert (part["before"], part["after"]) == shown
    assert part["after_header"].endswith("/secrets/users")
    assert host.tree().diff(before) == []


def test_no_error_quotes_a_secret():
    [error] = nginx_tree.translate('nginx: [emerg] cannot load "bob:$6$"', SECRET, {})
    assert "text" not in error
    assert "horse" not in str(error)


def test_a_file_that_the_workers_read_must_be_there(host, tmp_path):
    files = changed(FILES, f'#@needs secret "{tmp_path}/users"\n')
    with pytest.raises(nginx_tree.Refused, match="there is no file"):
        host.tree().go_live(files, ORIGINS)
    (tmp_path / "users").write_text("")
    assert host.tree().go_live(files, ORIGINS) == (True, 1)


@pytest.mark.parametrize("first", [True, False])
def test_refused_leaves_everything_as_it_was(host, first):
    if not first:
        host.tree().go_live(FILES, ORIGINS)
    (host.etc / "webstack.d").mkdir(exist_ok=True)
    before = host.snapshot()
    with pytest.raises(nginx_tree.Refused) as refused:
        host.tree().go_live(changed(FILES, "\nfine\nbad thing;\n"), ORIGINS)
    assert host.snapshot() == before
    assert 'nginx_sites[0].directives, line 2: unknown directive "bad" (bad thing;) [http.conf:4]' in str(refused.value)
    assert refused.value.errors[0]["line"] == 4


@pytest.mark.parametrize("first", [True, False])
def test_a_reload_that_changes_nothing_is_noticed_and_undone(host, first):
    if not first:
        host.tree().go_live(FILES, ORIGINS)
    running = host.running
    (host.etc / "webstack.d").mkdir(exist_ok=True)
    before = host.snapshot()
    host.deaf = True
    with pytest.raises(nginx_tree.Refused, match="still could not bind"):
        host.tree().go_live(changed(FILES, "deaf;"), ORIGINS)
    assert host.snapshot() == before
    assert host.running == running


def test_hand_edits_are_seen_and_mended(host):
    host.tree().go_live(FILES, ORIGINS)
    (host.etc / "webstack" / "http.conf").write_text("hand\n")
    (host.etc / "webstack" / "extra.conf").write_text("hand\n")
    state = host.tree().look(FILES)
    assert state.edited == ["extra.conf", "http.conf"]
    assert not state.same
    assert host.tree().go_live(FILES, ORIGINS) == (True, 2)
    assert host.tree().look(FILES).same


def test_nginx_conf_replaced_by_hand(host):
    host.tree().go_live(FILES, ORIGINS)
    (host.etc / "nginx.conf").write_text("hand\n")
    assert host.tree().look(FILES).edited == ["nginx.conf"]
    assert host.tree().go_live(FILES, ORIGINS) == (True, 1)
    assert (host.etc / "nginx.conf.before-webstack").read_text() == ORIGINAL


def test_stopped_nginx_is_started(host):
    host.tree().go_live(FILES, ORIGINS)
    host.start("")
    assert not host.tree().look(FILES).same
    assert host.tree().go_live(FILES, ORIGINS) == (True, 1)
    assert host.running == 1


KEPT = [(5, [3, 4, 5, 6, 7]), (2, [6, 7]), (0, [6, 7]), (10, [1, 2, 3, 4, 5, 6, 7])]


@pytest.mark.parametrize(("keep", "left"), KEPT)
def test_old_generations_are_pruned(host, keep, left):
    for number in range(7):
        host.tree().go_live(changed(FILES, f"v{number}"), ORIGINS, keep)
    assert sorted(int(path.name) for path in host.etc.glob("webstack.d/[0-9]*")) == left


def test_foreign_files_are_reported(host):
    for path in ("conf.d/a.conf", "sites-enabled/b", "sites-enabled/default"):
        (host.etc / path).parent.mkdir(exist_ok=True)
        (host.etc / path).write_text("")
    assert host.tree().foreign() == [str(host.etc / "sites-enabled/b"), str(host.etc / "conf.d/a.conf")]


def test_modules_of_no_package_are_reported(host, tmp_path):
    folder = host.etc / "modules-enabled"
    folder.mkdir()
    (folder / "a.conf").symlink_to("/usr/share/nginx/modules-available/a.conf")
    (folder / "b.conf").symlink_to(tmp_path / "b.conf")
    (folder / "c.conf").write_text("")
    (folder / "c.conf.off").write_text("")
    assert host.tree().modules() == [str(folder / "b.conf"), str(folder / "c.conf")]


def lives(host, number):
    """Make generations 1 to `number` live, one after the other."""
    for one in range(1, number + 1):
        host.tree().go_live(changed(FILES, f"v{one}"), ORIGINS)


def test_going_back_and_forth(host):
    lives(host, 3)
    assert host.tree().earlier() == 2
    assert host.tree().go_back(2)
    assert (host.tree().live(), host.running) == (2, 2)
    assert host.tree().kept() == [1, 2, 3]
    assert not host.tree().go_back(2)
    assert host.tree().earlier() == 1
    # The next run brings what the inventory has, as a generation of its own; back from there is what was live before.
    assert host.tree().go_live(changed(FILES, "v3"), ORIGINS) == (True, 4)
    assert host.tree().earlier() == 2
    assert host.tree().go_back(3)
    assert host.running == 3


@pytest.mark.parametrize(("live", "number", "words"), [
    (0, 0, "nothing of ours is live on this host; kept are: none besides the live one"),
    (1, 0, "there is no generation before the live one"),
    (3, 7, "generation 7 is not on this host, or not as it was written; kept are: 1, 2."),
    (3, 2, "generation 2 is not on this host, or not as it was written; kept are: 1."),
])
def test_where_there_is_no_way_back(host, live, number, words):
    lives(host, live)
    if number == 2:
        (host.etc / "webstack.d" / "2" / "http.conf").write_text("by hand\n")
    before = host.snapshot()
    with pytest.raises(nginx_tree.Refused) as refused:
        host.tree().go_back(number or host.tree().earlier())
    assert words in str(refused.value)
    assert host.snapshot() == before


@pytest.mark.parametrize("fault", ["bad", "deaf", "needs"])
@pytest.mark.parametrize("try_only", [True, False])
def test_a_way_back_that_fails_is_undone(host, tmp_path, fault, try_only):
    text = {"bad": "old bad;", "deaf": "deaf;", "needs": f"\n#@needs folder {tmp_path}/gone\n"}[fault]
    (tmp_path / "gone").mkdir()
    check, host.check = host.check, lambda folder: (0, "")
    host.tree().go_live(changed(FILES, text), ORIGINS)
    host.tree().go_live(FILES, ORIGINS)
    host.check, host.deaf = check, True
    (tmp_path / "gone").rmdir()
    before = host.snapshot()
    if try_only and fault == "deaf":
        assert host.tree().go_back(1, try_only)  # only a reload shows it
    else:
        with pytest.raises(nginx_tree.Refused):
            host.tree().go_back(1, try_only)
    assert host.snapshot() == before
    assert host.running == 2


def test_the_diff_of_going_back_has_no_manifest(host):
    lives(host, 2)
    [part] = host.tree().diff(host.tree().files_of(1))
    assert part["after_header"].endswith("http.conf")


def test_trying_to_go_back_changes_nothing(host):
    lives(host, 2)
    before = host.snapshot()
    assert host.tree().go_back(1, try_only=True)
    assert host.snapshot() == before
    assert host.running == 2


def test_check_touches_nothing(host):
    before = host.snapshot()
    assert host.tree().check(FILES, ORIGINS) == []
    with pytest.raises(nginx_tree.Refused):
        host.tree().check(changed(FILES, "bad"), ORIGINS)
    assert host.snapshot() == before


def test_diff_shows_what_differs_and_no_numbers(host):
    assert [part["after_header"].rpartition("/")[2] for part in host.tree().diff(FILES)] == [
        "http.conf", "main.conf", "nginx.conf"]
    host.tree().go_live(FILES, ORIGINS)
    assert host.tree().diff(FILES) == []
    (part,) = host.tree().diff(changed(FILES, "more\n"))
    assert (part["before"], part["after"]) == ("number 1;\n", "number 1;\nmore\n")


def test_a_route_that_leads_nowhere(host, tmp_path):
    files = changed(FILES, f"#@needs folder {tmp_path}/none\n#@needs socket unix:{tmp_path}/none.sock\n")
    before = None
    host.tree().go_live(FILES, ORIGINS)
    before = host.snapshot()
    with pytest.raises(nginx_tree.Refused, match="there is no folder"):
        host.tree().go_live(files, ORIGINS)
    assert host.snapshot() == before
    (tmp_path / "none").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/none.sock")
        server.listen()
        assert host.tree().go_live(files, ORIGINS) == (True, 2)
    # An app that is down is no reason against a change of something else.
    assert host.tree().go_live(changed(files, "more"), ORIGINS) == (True, 3)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "a.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", str(path.with_suffix(".key")), "-out", str(path), "-days", "10", "-subj", "/CN=x",
               "-addext", "subjectAltName=DNS:a.example.com,DNS:*.b.example.com"]
    subprocess.run(command, check=True, capture_output=True)
    return str(path)


DAY = 86400
CERTIFICATES = [
    (["a.example.com", "A.example.com", "x.b.example.com"], 0, ""),
    ([], 0, ""),
    (["b.example.com"], 0, "not for b.example.com"),
    (["x.y.b.example.com"], 0, "not for x.y.b.example.com"),
    (["a.example.com"], 11 * DAY, "has expired"),
    (["a.example.com"], -2 * DAY, "not valid before"),
]


@pytest.mark.parametrize(("names", "later", "words"), CERTIFICATES)
def test_certificate(certificate, names, later, words):
    fault = nginx_tree.certificate_fault(certificate, names, time.time() + later)
    assert words in fault if words else not fault


def test_a_certificate_that_expires_soon_is_told(certificate):
    files = {"sites/a.conf": f'#@needs certificate "{certificate}" a.example.com\n#@needs folder /srv\n'}
    (text,) = nginx_tree.expiring(files)
    assert certificate in text
    assert "in 10 days: renew it" in text
    assert nginx_tree.expiring(files, days=9) == []
    assert "has expired on" in nginx_tree.expiring(files, time.time() + 11 * DAY)[0]


def test_what_old_configurations_remembered_is_forgotten(host):
    def named(path):
        return changed(FILES, f"proxy_cache_path {path} levels=1:2;")

    zones = [host.folder / "cache" / f"webstack.shop.{number:012x}" for number in range(3)]
    for zone in zones:
        (zone / "1").mkdir(parents=True)
    (foreign := host.folder / "cache" / "webstack.shop").mkdir()
    host.tree().go_live(named(zones[0]), ORIGINS)
    assert [zone.exists() for zone in zones] == [True, False, False], "of no generation"
    zones[1].mkdir()
    host.tree().go_live(named(zones[1]), ORIGINS, keep=2)
    assert [zone.exists() for zone in zones] == [True, True, False], "workers may still write to it"
    host.tree().go_live(FILES, ORIGINS, keep=2)
    assert [zone.exists() for zone in zones] == [False, True, False]
    assert foreign.exists()


def test_check_leaves_no_folder_that_nginx_made_for_its_test(host, monkeypatch):
    zones = [host.folder / "cache" / f"webstack.shop.{number:012x}" for number in range(2)]
    zones[0].mkdir(parents=True)
    tree, test = host.tree(), nginx_tree.Tree.test
    monkeypatch.setattr(tree, "test", lambda *args: (zones[1].mkdir(), test(tree, *args)))
    assert tree.check(FILES, ORIGINS) == []
    assert [zone.exists() for zone in zones] == [True, False]


@pytest.mark.parametrize("text, expected", [
    ("load_module modules/ngx_http_brotli_static_module.so;\n", {"http_brotli_static"}),
    ("# load_module modules/ngx_http_x_module.so;\nload_module /usr/lib/ngx_stream_module.so;", {"stream"}),
    ("", set()),
])
def test_which_modules_are_loaded(text, expected):
    found = nginx_tree.loaded(text)
    assert found == expected
    filled = nginx_tree.fill_in("#@module:http_brotli_static brotli_static on;", nginx_tree.Features(modules=found), 1)
    assert (filled == "brotli_static on;") == ("http_brotli_static" in expected)


def test_the_live_certificates_that_expire_soon(host, certificate):
    assert host.tree().expiring() == []
    host.tree().go_live(changed(FILES, f'#@needs certificate "{certificate}" a.example.com'), ORIGINS)
    (text,) = host.tree().expiring()
    assert "in 10 days" in text


def test_check_mode_says_which_certificates_are_not_made_yet(host):
    files = changed(FILES, '#@needs certificate "/etc/nginx/webstack.tls/none.pem" a.example.com')
    (found,) = host.tree().check(files, ORIGINS)
    assert "/etc/nginx/webstack.tls/none.pem is made by the run itself" in found["message"]
    # Otherwise it is a certificate like others.
    (found,) = host.tree().lacking({"x": '#@needs folder /none\n#@needs certificate "/none.pem" a.example.com\n'}, {})
    assert found["message"] == "there is no folder /none"


def test_a_changed_certificate_is_a_change(host, tmp_path):
    path = tmp_path / "a.pem"
    files = changed(FILES, f'#@digest "{path}"')
    block = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    assert host.tree().go_live(files, ORIGINS) == (True, 1)
    path.write_text("one key\n" + block.format("one"))
    assert host.tree().go_live(files, ORIGINS) == (True, 2)
    assert host.tree().go_live(files, ORIGINS) == (False, 2)
    path.write_text("another key\n" + block.format("one"))  # the digest is for everybody to read
    assert host.tree().go_live(files, ORIGINS) == (False, 2)
    path.write_text("one key\n" + block.format("two"))
    assert host.tree().go_live(files, ORIGINS) == (True, 3)
    live = (host.etc / "webstack" / "http.conf").read_text()
    assert f'# "{path}" sha256 ' in live


# What a run does to the host, step by step; after each of them it is killed once.
STEPS = ["_write", "_swap_link", "_sync_folder", "write_files", "os.rename", "os.link", "os.symlink", "os.makedirs",
         "shutil.rmtree", "run"]


def _run_and_be_killed(host, files, steps):
    """Run in a child that dies before its n-th step; return whether it died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = steps
    try:
        def mortal(function):
            def wrapped(*args, **kwargs):
                nonlocal left
                if left == 0:
                    os._exit(9)
                left -= 1
                return function(*args, **kwargs)
            return wrapped

        for name in STEPS[:4]:
            setattr(nginx_tree, name, mortal(getattr(nginx_tree, name)))
        for name in STEPS[4:-1]:
            owner = getattr(nginx_tree, name.split(".")[0])
            setattr(owner, name.split(".")[1], mortal(getattr(owner, name.split(".")[1])))
        host.run = mortal(host.run)
        host.tree().go_live(files, ORIGINS)
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("wanted", ["the new one", "the old one"])
def test_killed_anywhere_the_next_run_converges(tmp_path, first, wanted):
    died = 0
    for steps in range(200):
        folder = tmp_path / str(steps)
        folder.mkdir()
        host = Host(folder)
        if not first:
            host.tree().go_live(FILES, ORIGINS)
        files = changed(FILES, "new;\n")
        killed = _run_and_be_killed(host, files, steps)
        again = files if wanted == "the new one" else FILES
        host.tree().go_live(again, ORIGINS)
        live = host.tree().live()
        assert host.tree().look(again).same, steps
        assert host.running == live
        text = again["http.conf"].replace("@GENERATION@", str(live))
        assert (host.etc / "webstack" / "http.conf").read_text() == text
        assert (host.etc / "nginx.conf.before-webstack").read_text() == ORIGINAL
        left = {path.name for path in host.etc.iterdir()} | {path.name for path in host.etc.glob("webstack.d/*")}
        assert not [name for name in left if name.endswith((".new", ".test"))], steps
        before = host.snapshot()
        assert host.tree().go_live(again, ORIGINS) == (False, live)
        assert host.snapshot() == before
        if not killed:
            break
        died += 1
    assert died > 15
    assert not killed


# -- pure parts ----------------------------------------------------------------------------------------------------

FEATURES = nginx_tree.Features((1, 26, 3), (3, 5, 1), ipv6=True)

CONDITIONS = [
    ("  #@nginx>=1.25.1 a;", "  a;"),
    ("#@nginx<1.25.1 a;", "#@nginx<1.25.1 a;"),
    ("#@nginx>=1.26.3 a;", "a;"),
    ("#@ipv6 a;", "a;"),
    ("#@ipv6,nginx<1.25.1 a;", "#@ipv6,nginx<1.25.1 a;"),
    ("#@openssl>=3.5 a;", "a;"),
    ("#@openssl<3.5 a;", "#@openssl<3.5 a;"),
    ("#@needs folder /x", "#@needs folder /x"),
    ("#@a note of mine", "#@a note of mine"),
    ("x @GENERATION@;\n\n#@ipv6 b;", "x 7;\n\nb;"),
]


@pytest.mark.parametrize(("text", "expected"), CONDITIONS)
def test_fill_in(text, expected):
    assert nginx_tree.fill_in(text, FEATURES, 7) == expected


def test_nothing_holds_where_the_version_is_unknown():
    unknown = nginx_tree.Features()
    assert not unknown.has("nginx>=1.0")
    assert not unknown.has("nginx<9.0")


TEXTS = {"sites/a.conf": "server {\n  ssl_certificate \"/etc/ssl/a.pem\";\n  listen 8081;\n  server_name a.org;\n"}
WHERE = {"sites/a.conf": [[2, "s[0].tls.certificate"], [3, "s[0].listen"], [4, "s[0].server_names"]]}

MESSAGES = [
    ('nginx: [emerg] unknown directive "x" in /etc/nginx/webstack/sites/a.conf:3', "s[0].listen", 3),
    ('nginx: [emerg] cannot load certificate "/etc/ssl/a.pem": BIO_new_file() failed', "s[0].tls.certificate", 2),
    ('nginx: [warn] conflicting server name "a.org" on 0.0.0.0:80, ignored', "s[0].server_names", 4),
    ("2026/11/22 17:00:00 [emerg] 12#12: bind() to 0.0.0.0:8081 failed (98: Address already in use)", "s[0].listen", 3),
    ('nginx: [emerg] open() "/etc/nginx/modules-enabled/x.conf" failed in /etc/nginx/nginx.conf:2', "", 2),
]


@pytest.mark.parametrize(("output", "variable", "line"), MESSAGES)
def test_translate(output, variable, line):
    (error,) = nginx_tree.translate(output, TEXTS, WHERE)
    assert (error["variable"], error["line"]) == (variable, line)
    assert nginx_tree.describe(error).startswith(f"{variable}: " if variable else "open()")


def test_harmless_words_are_no_errors():
    output = ('nginx: [warn] the "listen ... http2" directive is deprecated in /etc/nginx/x:1\n'
              "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
              "2026/11/22 17:00:00 [notice] 1#1: signal process started\n")
    assert nginx_tree.translate(output, TEXTS, WHERE) == []
