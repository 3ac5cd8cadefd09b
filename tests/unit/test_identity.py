# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's ID: the same for the same, another for anything else; and what the files of a source show."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import identity, normalise, servers, sources
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.sources import Resolved

GROUPS = {"all": ["edge1", "app1", "app2"], "webstack_edge": ["edge1"], "webstack_app": ["app1", "app2"],
          "first": ["app1"]}
ADDRESSES = {"edge1": "192.0.2.1", "app1": "192.0.2.11", "app2": "192.0.2.12"}


def planned(addresses=ADDRESSES, groups=GROUPS, **variables):
    return normalise.normalise(
        {host: {"webstack_address": addresses[host], **variables} for host in groups["all"]}, groups)


def resolved(folder, content="x = 1"):
    """A source of one file."""
    def pack(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w:gz"):
            pass
    return Resolved(hashlib.sha256(content.encode()).hexdigest(), "label", pack, lambda name: None)


def shop(**more):
    return {"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}, "env": {"A": "1"}, **more}


def blog(**more):
    return {"name": "blog", "settings_module": "blog.settings", "source": {"folder": "blog"}, "media": False, **more}


SITE = {"name": "site", "server_names": ["www.example.com"], "routes": [{"app": "shop"}]}


def release_of(tmp_path, item=None, content="x = 1", **variables):
    item = item or shop()
    kind = "django_apps" if "settings_module" in item else "flask_apps"
    plan = planned(**{kind: [item], **variables})
    record = plan["apps"][item["name"]]
    identity.give(record, resolved(tmp_path, content), plan, tmp_path / "cache")
    return record["release"]


@pytest.mark.parametrize("change", [
    {"content": "x = 2"},
    {"item": shop(callable="shop:create_app()")},
    {"item": shop(requirements="")},
    {"item": shop(extra_requirements=["flask==3.1.0"])},
    {"item": shop(packages=["libpq5"])},
    {"item": shop(directory="api")},
    {"item": shop(python="python3.13")},
    {"item": shop(server="uwsgi")},
    {"item": shop(settings={"workers": 3})},
    {"item": shop(settings={"extra": {"backlog": 64}})},
    {"item": shop(health={"path": "/up"})},
    {"item": shop(writable=["/mnt/files"])},
    {"item": shop(env={"A": "2"})},
    {"item": shop(env={"A": "1", "B": ""})},
    {"item": shop(env={})},
    {"webstack_root": "/srv/other"},
])
def test_each_ingredient_makes_another_release(tmp_path, change):
    before = release_of(tmp_path)
    assert release_of(tmp_path, **change) != before
    assert len(before) == identity.LENGTH


@pytest.mark.parametrize("change", [
    {},
    {"flask_apps__more": [shop(name="other")]},
    {"item": shop(port=21000)},
    {"item": shop(hosts="first")},
    {"webstack_keep_releases": 9},
    {"vue_sites": [{"name": "web", "dist": "x"}]},
])
def test_what_is_no_ingredient_makes_none(tmp_path, change):
    assert release_of(tmp_path, **change) == release_of(tmp_path)


@pytest.mark.parametrize("change", [
    {"item": blog(settings_module="blog.live")},
    {"item": blog(static=False)},
    {"item": blog(static_url="/s/")},
    {"item": blog(manage="tools/manage.py")},
    {"item": blog(media=True, media_root="/mnt/media")},
    {"nginx_sites": [{**SITE, "routes": [{"app": "blog"}]}]},
])
def test_what_django_is_told_makes_another_release(tmp_path, change):
    assert release_of(tmp_path, **{"item": blog(), **change}) != release_of(tmp_path, blog())


def test_another_version_of_the_server_makes_another_release(tmp_path, monkeypatch):
    before = release_of(tmp_path)
    monkeypatch.setattr(identity, "FORMAT", identity.FORMAT + 1)
    after = release_of(tmp_path)
    plan = planned(flask_apps=[shop()])
    plan["apps"]["shop"]["server_requirements"] = ["gunicorn==0.0.1"]
    identity.give(plan["apps"]["shop"], resolved(tmp_path), plan, tmp_path)
    assert len({before, after, plan["apps"]["shop"]["release"]}) == 3


@pytest.mark.parametrize("part, key", [
    *(("services", key) for key in ("server", "user", "directory", "bin", "callable", "config", "units", "settings",
                                    "health", "check")),
    *(("apps", key) for key in ("directory", "python", "requirements", "extra_requirements", "server_requirements",
                                "packages", "files", "framework", "callable")),
])
def test_a_change_of_the_collection_itself_makes_another_release(tmp_path, part, key):
    plan = planned(flask_apps=[shop()])
    plan[part]["shop"][key] = {"path": "/changed"} if key == "health" else "changed"
    app = plan["apps"]["shop"]
    identity.give(app, resolved(tmp_path), plan, tmp_path)
    assert app["release"] != release_of(tmp_path)


def test_the_order_of_keys_means_nothing(tmp_path):
    one, other = shop(env={"A": "1", "B": "2"}), shop(env={"B": "2", "A": "1"})
    assert release_of(tmp_path, one) == release_of(tmp_path, other)


def test_secrets_are_in_the_id_by_a_slow_digest_alone(tmp_path, monkeypatch):
    seen = []
    digest = identity._digest
    monkeypatch.setattr(identity, "_digest", lambda content: seen.append(json.dumps(content)) or digest(content))
    slow = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda data, **how: slow.append((data, how)) or scrypt(data, **how))
    release_of(tmp_path, shop(env={"PASSWORD": "correct-horse"}))
    assert not [text for text in seen if "correct-horse" in text]
    assert [b"correct-horse" in data and how["n"] * how["r"] >= 2**15 for data, how in slow] == [True]


@pytest.mark.parametrize("item", [shop(), shop(server="uwsgi"), blog(), blog(media=True, media_root="/mnt/media")],
                         ids=["flask", "uwsgi", "django", "media"])
def test_the_id_is_put_where_texts_wait_for_it(tmp_path, item):
    name = item["name"]
    plan = planned(**{"django_apps" if name == "blog" else "flask_apps": [item]})
    app = plan["apps"][name]
    identity.give(app, resolved(tmp_path), plan, tmp_path)
    service = plan["services"][name]
    assert (service["release"], service["directory"]) == (
        app["release"], f"/srv/webstack/apps/{name}/releases/{app['release']}/source")
    assert service["config"]["path"].startswith(f"/etc/webstack/{name}/{app['release']}/")
    # The one in the units is that of the instance, which is filled in when it is live.
    assert "@RELEASE@" not in json.dumps({**app, "units": None})
    assert "@RELEASE@" not in json.dumps({key: value for key, value in service.items() if key != "units"})


def test_a_users_environment_is_left_as_it_is(tmp_path):
    plan = planned(flask_apps=[shop(env={"MARK": "@RELEASE@"})])
    identity.give(plan["apps"]["shop"], resolved(tmp_path), plan, tmp_path)
    assert plan["apps"]["shop"]["env"]["MARK"] == "@RELEASE@"


def test_a_path_of_the_users_own_comes_behind_the_wrapper(tmp_path):
    plan = planned(django_apps=[blog(env={"PYTHONPATH": "/opt/lib"})])
    app = plan["apps"]["blog"]
    identity.give(app, resolved(tmp_path), plan, tmp_path)
    assert app["env"]["PYTHONPATH"] == f"/srv/webstack/apps/blog/releases/{app['release']}/webstack:/opt/lib"


def test_a_source_is_packed_once(tmp_path):
    count = []
    source = resolved(tmp_path)
    source = Resolved(source.digest, "label", lambda target: count.append(target) or source_pack(target), source.read)
    for _ in range(2):
        plan = planned(flask_apps=[shop()])
        identity.give(plan["apps"]["shop"], source, plan, tmp_path)
    assert count == [Path(plan["apps"]["shop"]["archive"])]


def source_pack(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"")


def test_a_package_has_no_archive(tmp_path):
    plan = planned(flask_apps=[shop(source={"package": "httpbin == 0.10.4"})])
    app = plan["apps"]["shop"]
    identity.give(app, sources.resolve(app["source"], tmp_path, tmp_path), plan, tmp_path)
    assert (app["archive"], app["package"], app["label"]) == ("", "httpbin==0.10.4", "httpbin==0.10.4")


# -- services written by hand --------------------------------------------------------------------------------------


def by_hand(**more):
    item = {"name": "old", "user": "u", "directory": "/opt/old", "virtualenv": "/opt/old/venv", "callable": "old:app",
            "env": {"A": "1"}, **more}
    plan = planned(gunicorn_services=[item])
    identity.give_by_hand(plan["services"]["old"], plan)
    return plan["services"]["old"]


@pytest.mark.parametrize("change", [
    {"callable": "old:other"}, {"directory": "/opt/new"}, {"virtualenv": "/opt/venv"}, {"user": "v"},
    {"settings": {"workers": 3}}, {"env": {"A": "2"}}, {"env": {}},
])
def test_each_ingredient_makes_another_release_of_a_service(change):
    assert by_hand()["release"] == by_hand(port=21000, hosts="first")["release"] != by_hand(**change)["release"]


def test_the_record_of_a_service_is_complete():
    record = by_hand(env={"MARK": "@RELEASE@"})
    assert record["config"]["path"] == f"/etc/webstack/old/{record['release']}/gunicorn.conf.py"
    assert record["env"] == {"MARK": "@RELEASE@"}
    assert "@RELEASE@" not in json.dumps({**record, "env": {}})


# -- Vue -----------------------------------------------------------------------------------------------------------


def web(tmp_path, content="x", **more):
    plan = planned(vue_sites=[{"name": "web", "source": {"folder": "web"}, **more}])
    record = plan["vue"]["web"]
    identity.give(record, resolved(tmp_path, content), plan, tmp_path)
    return record


@pytest.mark.parametrize("change, same_release, same_build", [
    ({}, True, True),
    ({"content": "y"}, False, False),
    ({"build": {"command": "make"}}, False, False),
    ({"build": {"env": {"VITE_X": "1"}}}, False, False),
    ({"directory": "app"}, False, False),
    ({"settings": {"api": "/api"}}, False, True),
    ({"settings_file": "config.json"}, False, True),
])
def test_settings_need_no_new_build(tmp_path, change, same_release, same_build):
    before, after = web(tmp_path), web(tmp_path, **change)
    assert (before["release"] == after["release"], before["dist"] == after["dist"]) == (same_release, same_build)


def test_a_site_that_is_built_already_is_its_own_build(tmp_path):
    record = web(tmp_path, source=None, dist="web/dist")
    assert record["dist"] == record["archive"] != ""


# -- one commit in one run -----------------------------------------------------------------------------------------


def test_a_branch_stays_where_it_was_found_in_this_run():
    items = {"source": {"git": "x.git", "version": "main"}}
    plan = planned(flask_apps=[shop(**items)], vue_sites=[{"name": "shop", **items}])
    app, site = plan["apps"]["shop"], plan["vue"]["shop"]
    known = {app["root"]: "a" * 40, site["root"]: "b" * 40}
    assert [identity.pinned(record, known)["commit"] for record in (app, site)] == ["a" * 40, "b" * 40]
    assert "commit" not in identity.pinned(app, {})
    assert app["source"]["version"] == "main"


# -- what files show -----------------------------------------------------------------------------------------------


GUARDED = 'app = Flask("x")\n\nif __name__ == "__main__":\n    app.run()\n'


@pytest.mark.parametrize("callable_, files, words", [
    ("shop:app", {"shop.py": "app = Flask('x')\napp.run()\n"}, ["shop.py, line 2", "app.run(...)", "__main__"]),
    ("shop:app", {"shop.py": "app.run(host='0.0.0.0', debug=True)"}, ["shop.py, line 1"]),
    ("shop:site", {"shop.py": "\n\nsite.run()"}, ["shop.py, line 3", "`site.run(...)`"]),
    ("shop.main:app", {"shop/main.py": "app.run()"}, ["shop/main.py, line 1"]),
    ("shop:app", {"shop/__init__.py": "app.run()"}, ["shop/__init__.py, line 1"]),
    ("wsgi:create_app()", {"wsgi.py": "application.run()"}, ["wsgi.py, line 1"]),
    ("shop:app", {"shop.py": GUARDED}, None),
    ("shop:app", {"shop.py": "def main():\n    app.run()\n"}, None),
    ("shop:app", {"shop.py": "# app.run()\ntext = 'app.run()'\n"}, None),
    ("shop:app", {"shop.py": "subprocess.run(['x'])\nloop.run()\n"}, None),
    ("shop:app", {"shop.py": "app.run("}, None),
    ("shop:app", {"shop.py": "\0"}, None),
    ("shop:app", {"other.py": "app.run()"}, None),
    ("shop:app", {}, None),
])
@pytest.mark.parametrize("directory", ["", "api", "./api/"])
def test_a_development_server_that_starts_on_import(tmp_path, callable_, files, words, directory):
    for name, text in {"README": "", **files}.items():
        path = tmp_path / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    source = sources.resolve({"kind": "folder", "folder": str(tmp_path)}, tmp_path, tmp_path)
    record = {"origin": "flask_apps[0]", "callable": callable_, "directory": directory, "health": {"contains": []}}
    problems = Problems()
    identity.look_inside(record, source, "production", problems)
    assert [problem.path for problem in problems.items] == (["flask_apps[0].callable"] if words else [])
    if words:
        assert [word for word in words if word not in problems.items[0].message] == []
        problems = Problems()
        identity.look_inside(record, source, "development", problems)
        assert not problems


@pytest.mark.parametrize("files, directory, built, fine", [
    ({"package-lock.json": "{}"}, "", False, True),
    ({"web/package-lock.json": "{}"}, "web", False, True),
    ({"web/package-lock.json": "{}"}, "./web/", False, True),
    ({"web/package-lock.json": "{}"}, "", False, False),
    ({"package.json": "{}"}, "", False, False),
    ({"index.html": ""}, "", True, True),
])
def test_a_site_is_built_from_its_lock_file(tmp_path, files, directory, built, fine):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    source = sources.resolve({"kind": "folder", "folder": str(tmp_path)}, tmp_path, tmp_path)
    problems = Problems()
    identity.look_inside({"origin": "vue_sites[0]", "directory": directory, "built": built}, source, "x", problems)
    assert [str(problem) for problem in problems.items] == ([] if fine else [
        "vue_sites[0].source: has no package-lock.json: a site is built from its lock file, so that it is the same "
        "each time. Run `npm install` and add the file."])


def test_all_servers_have_fixed_versions():
    wanted = [text for server in servers.load().values() for text in server.requirements]
    assert wanted
    assert [text for text in wanted if "==" not in text] == []


WORDS = {"version": "1.4.2", "commit": "c" * 40}


@pytest.mark.parametrize("words, contains, filled", [
    (WORDS, ["v{version}", "{commit}", "plain {json}"], ["v1.4.2", "c" * 40, "plain {json}"]),
    ({}, ["{release}"], None),
    ({"version": "2"}, ["{commit}"], "has {commit}, and this kind of source has none."),
])
def test_what_the_answer_must_have(tmp_path, words, contains, filled):
    plan = planned(flask_apps=[shop(health={"contains": contains})])
    app = plan["apps"]["shop"]
    source = dataclasses.replace(resolved(tmp_path), words=words)
    problems = Problems()
    identity.look_inside(app, source, "production", problems)
    if isinstance(filled, str):
        assert problems.items[0].path == "flask_apps[0].health.contains[0]"
        assert problems.items[0].message.startswith(filled)
        return
    assert not problems
    identity.give(app, source, plan, tmp_path)
    wanted = filled or [app["release"]]
    assert plan["services"]["shop"]["health"]["contains"] == wanted
    assert app["commit"] == words.get("commit", "") and app["source_id"]


def test_the_place_in_the_list_is_no_part_of_a_release(tmp_path):
    first = planned(flask_apps=[shop()])
    second = planned(flask_apps=[shop(name="other"), shop()])
    for plan in (first, second):
        identity.give(plan["apps"]["shop"], resolved(tmp_path), plan, tmp_path)
    assert second["apps"]["shop"]["origin"] == "flask_apps[1]"
    assert first["apps"]["shop"]["release"] == second["apps"]["shop"]["release"]
