# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass with a password: where the hashes are, and what is refused."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from sites import block, make, render, rendered

from ansible_collections.frontdesk.webstack.plugins.action.nginx_tree import ActionModule
from ansible_collections.frontdesk.webstack.plugins.modules import nginx_tree
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render

# Of the password "pass".
HASHES = {
    "apr1": "$apr1$abcdefgh$rK/lObuciIG5ziaV8BdHR/",
    "sha256": "$5$abcdefgh$HzzE/l7JTvo/KwUuQ1gnXciE10UWdO477E3KxyYElr4",
    "sha512": "$6$abcdefgh$.Wd8gKGVv/NncIZyKrLIzwkMBRaL8yZnKz4uttpMUnlKvNdwooVmeCTgyWEOW0Smhyp/TUAtWmcz4ptHHh/u1/",
    "yescrypt": "$y$j9T$abcdefgh12345678$xNkxRgc.j6i8zwMEKuTZ07.XWshN4kBkr77nbaCSGT5",
    "bcrypt": "$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K",
}


def user(name="bob", password_hash=HASHES["sha512"]):
    return {"name": name, "password_hash": password_hash}


@pytest.mark.parametrize("sort", HASHES)
def test_a_hash(sort):
    site, mistakes = make([{"answer": 200}], basic_auth={"users": [user(password_hash=HASHES[sort])]})
    assert mistakes == []
    assert nginx_render.secrets([site]) == {"secrets/users.shop": f"bob:{HASHES[sort]}\n"}


def test_no_hash_is_in_the_files_that_everybody_reads():
    site, _mistakes = make([{"app": "http"}], basic_auth={"users": [user()]})
    files, origins = nginx_render.render([site], {})
    assert "$6$" not in str(files) + str(origins)


def test_the_module_gets_the_hashes_as_one_text_that_is_not_logged(monkeypatch):
    site, _mistakes = make([{"app": "http"}], basic_auth={"users": [user()]})
    other, _mistakes = make([{"app": "http"}])
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    action = ActionModule.__new__(ActionModule)
    action._execute_module = lambda module_args, task_vars: module_args
    action._task = SimpleNamespace(args={"state": "live", "sites": [site], "settings": {}})
    values = action.run()
    assert json.loads(values.pop("secrets")) == nginx_render.secrets([site])
    assert "$6$" not in str(values)
    action._task = SimpleNamespace(args={"state": "live", "sites": [other], "settings": {}})
    assert "secrets" not in action.run()

    def spec(argument_spec, **_rest):
        assert argument_spec["secrets"] == {"type": "str", "no_log": True}
        raise SystemExit

    monkeypatch.setattr(nginx_tree, "AnsibleModule", spec)
    with pytest.raises(SystemExit):
        nginx_tree.main()


@pytest.mark.parametrize("written", [
    {"app": "http"}, {"app": "uwsgi"}, {"folder": "/srv/x"}, {"vue": "x"}, {"answer": 200}, {"redirect": "/x"}])
def test_every_kind_of_route(written):
    text = rendered([{"path": "/a/", **written}], basic_auth={"realm": "Staging", "users": [user()]})
    found = [block(text, location) for location in re.findall(r"^    location [^@\n]*\"/a/.*$", text, re.MULTILINE)]
    assert found
    for location in found:
        assert 'auth_basic "Staging";\n' in location
        assert "auth_basic_user_file /etc/nginx/webstack.d/@GENERATION@/secrets/users.shop;\n" in location
        # `return` comes before any question.
        assert not re.search(r"^return (200|30\d)", location, re.MULTILINE)


def test_a_route_has_users_of_its_own_or_none():
    site, mistakes = make([
        {"app": "http"}, {"app": "http", "path": "/open/", "basic_auth": {}},
        {"app": "http", "path": "/own/", "basic_auth": {"users": [user("eve")]}},
    ], basic_auth={"users": [user()]})
    assert mistakes == []
    secrets = nginx_render.secrets([site])
    assert sorted(text.partition(":")[0] for text in secrets.values()) == ["bob", "eve"]
    text = render(site)
    assert "secrets/users.shop;" in block(text, '    location "/" {')
    assert "auth_basic" not in block(text, '    location "/open/" {')
    own = re.search(r"secrets/users\.shop\.\w+", block(text, '    location "/own/" {'))
    assert secrets[own[0]].startswith("eve:")


def test_files_do_not_move_when_sites_come_and_go():
    names = set()
    for index in (0, 3):
        site, _mistakes = make([{"app": "http", "basic_auth": {"users": [user()]}}], index=index)
        names |= nginx_render.secrets([site]).keys()
    assert len(names) == 1


def test_a_file_of_the_users_own():
    text = rendered([{"answer": 200}], basic_auth={"file": "/etc/users"})
    assert 'auth_basic_user_file "/etc/users";' in text
    assert '#@needs secret "/etc/users"' in text


@pytest.mark.parametrize("app, lines", [
    ("http", ['proxy_set_header Authorization "";', 'proxy_set_header X-Remote-User "$remote_user";']),
    ("uwsgi", ['uwsgi_param HTTP_AUTHORIZATION "" if_not_empty;',
               'uwsgi_param HTTP_X_REMOTE_USER "$remote_user" if_not_empty;']),
])
def test_the_app_hears_the_name_and_no_password(app, lines):
    location = block(rendered([{"app": app}], basic_auth={"users": [user()]}), '    location "/" {')
    for line in lines:
        assert location.count(line.split(" ")[1]) == 1
        assert line in location
    assert "$host$webstack_port" in location


SECRETS = ["horse", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "{SHA}W6ph5Mm5Pz8Ggi",
           HASHES["sha512"][:-1], "$2b$12$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K",
           HASHES["sha512"].replace("$6$", "$6$rounds=5000000$"), HASHES["apr1"] + "\neve:x"]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_is_no_good_hash_is_refused_and_not_told(secret):
    [(path, message)] = make([{"answer": 200}], basic_auth={"users": [user("eve"), user("bob", secret)]})[1]
    assert path == "nginx_sites[0].basic_auth.users[1].password_hash"
    assert secret not in message
    assert "Write one with" in message if "takes too long" in message else "write one that `openssl passwd" in message


@pytest.mark.parametrize("written, path, words", [
    ({"users": []}, "users", "nobody could pass"),
    ({"realm": "Staging"}, "users", "nobody could pass"),
    ({"users": [user()], "file": "/etc/users"}, "file", "write one of them"),
    ({"file": "users"}, "file", "absolute path"),
    ({"users": [user()], "realm": "off"}, "realm", "not 'off'"),
    ({"users": [user()], "realm": 'a"b'}, "realm", "without quotes"),
    ({"users": [user(), user("eve"), user()]}, "users[2].name", "is that of users[0] too"),
    ({"users": [user("a:b")]}, "users[0].name", "without colons"),
    ({"users": [user("#a")]}, "users[0].name", "does not begin with '#'"),
    ({"users": [user("a\nb")]}, "users[0].name", "control characters"),
    ({"users": [{"name": "bob"}]}, "users[0].password_hash", "is missing"),
])
def test_mistake(written, path, words):
    [(where, message)] = make([{"answer": 200}], basic_auth=written)[1]
    assert where == f"nginx_sites[0].basic_auth.{path}"
    assert words in message


@pytest.mark.parametrize("written", ["bob:$6$horse", ["bob:$6$horse"], {"users": "bob:$6$horse"},
                                     {"users": ["bob:$6$horse"]}, {"users": [{"bob": "$6$horse"}]}])
def test_a_hash_in_the_wrong_place_is_not_told(written):
    _record, mistakes = make([{"answer": 200}], basic_auth=written)
    assert mistakes
    assert "horse" not in str(mistakes)
