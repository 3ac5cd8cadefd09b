# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `plan` in real runs: templates of all kinds, sources, and what users read when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

COLLECTIONS = Path(__file__).resolve().parents[2] / ".cache" / "collections"
PLAYBOOK = [{
    "hosts": "all", "gather_facts": False, "tasks": [
        {"name": "Check", "frontdesk.webstack.plan": {"publish": False}, "run_once": True, "register": "checked"},
        {"name": "Plan", "frontdesk.webstack.plan": {"resolved": "{{ checked.resolved }}"}, "run_once": True,
         "register": "plan", "no_log": True},
        {"name": "Keep it", "ansible.builtin.copy": {"content": "{{ plan | to_json }}", "dest": "{{ result }}",
                                                     "mode": "0600"}, "run_once": True}]}]
HOSTS = {"edge1": {"webstack_address": "192.0.2.1"}, "app1": {"webstack_address": "192.0.2.11"},
         "app2": {"webstack_address": "192.0.2.12"}}
GROUPS = {"webstack_edge": ["edge1"], "webstack_app": ["app1", "app2"]}


def run(folder, variables):
    """Run the plan on an inventory below ``folder``; return (exit code, output, plan)."""
    result = folder / "plan.json"
    result.unlink(missing_ok=True)
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "result": str(result),
              "webstack_cache": str(folder / "cache"), **variables}
    inventory = {"all": {"hosts": HOSTS, "vars": shared, "children": {
        name: {"hosts": dict.fromkeys(members)} for name, members in GROUPS.items()}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(yaml.safe_dump(PLAYBOOK))
    answer = ansible(folder, "ansible-playbook", "--inventory", "hosts.yml", "play.yml")
    plan = json.loads(result.read_text()) if result.exists() else None
    return answer.returncode, answer.stdout + answer.stderr, plan


def ansible(folder, *arguments):
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_VAULT_PASSWORD_FILE": "vault_password",
    }
    return subprocess.run(arguments, cwd=folder, env=environment, check=False, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a Flask app, a Django app, a Vue site and a git repository."""
    top = tmp_path_factory.mktemp("inventory")
    for name, text in {
        "shop/shop.py": "app = None\n", "shop/requirements.txt": "", "blog/blog/wsgi.py": "application = None\n",
        "blog/requirements.txt": "django==5.2.19\n",
        "web/package-lock.json": "{}", "bad/bad.py": "app = None\napp.run()\n", "repository/app.py": "app = None\n",
        "repository/package-lock.json": "{}", "vault_password": "key of the vault",
        "web/dist/index.html": "", "web/.gitignore": "dist/\n",
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    for arguments in (["init", "--quiet", "--initial-branch", "main"], ["add", "--all"],
                      ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "x"]):
        subprocess.run(["git", "-C", str(top / "repository"), *arguments], check=True)
    return top


# -- mistakes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unreadable(folder):
    return run(folder, {
        "colour": "{{ shade }}",
        "flask_apps": [
            {"name": "{{ prefix }}-shop", "callable": "shop:app", "source": {"folder": "shop"},
             "env": {"PASSWORD": "{{ vault_password }}", "GOOD": "{{ 1 + 1 }}"},
             "extra_requirements": ["flask", "{{ pin }}"]},
            "{{ whole_app }}"],
        "nginx_sites": [{"name": "site", "server_names": ["a.example.com"], "directives": "add_header X {{ colour }};",
                         "routes": [{"answer": 200}, {"answer": 200, "path": "/x", "body": "{{ 1 / 0 }}"},
                                    {"answer": 200, "path": "/y", "body": "{{ open"}]}],
        "vue_sites__more": "{{ sites_of_another_file }}",
        "webstack_root": "{{ hostvars['nobody'].root }}",
    })


@pytest.mark.parametrize("path, words", [
    ("flask_apps[0].name", "'prefix' is undefined"),
    ("flask_apps[0].env.PASSWORD", "'vault_password' is undefined"),
    ("flask_apps[0].extra_requirements[1]", "'pin' is undefined"),
    ("flask_apps[1]", "'whole_app' is undefined"),
    ("nginx_sites[0].directives", "'shade' is undefined"),
    ("nginx_sites[0].routes[1].body", "division by zero"),
    ("nginx_sites[0].routes[2].body", "unexpected end of template"),
    ("vue_sites__more", "'sites_of_another_file' is undefined"),
    ("webstack_root", "hostvars['nobody'] is undefined."),
])
def test_what_cannot_be_read_is_told_by_its_path(unreadable, path, words):
    code, output, plan = unreadable
    assert (code, plan) == (2, None)
    # Ansible itself may show a message twice.
    [line] = {line.strip() for line in output.splitlines() if line.strip().startswith(f"- {path}: cannot be read: ")}
    assert words in line
    assert "Set the variable, or write the text without" in line


def test_nothing_else_is_told_then(unreadable):
    output = unreadable[1]
    assert "The inventory has 9 mistakes; no host was touched." in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def wrong(folder):
    source = {"source": {"folder": "shop"}}
    return run(folder, {
        "flask_apps": [{"name": "a", "callable": "manage.py runserver", **source},
                       {"name": "b", "callable": "b:b", "server": "development", **source},
                       {"name": "c", "callable": "c:c", "env": {"TOKEN": ["correct-horse"]}, **source}],
        "flask_apps__a": [{"name": "d", "callable": "d:d", **source}],
        "flask_apps__b": [{"name": "d", "callable": "d:d", **source}],
        "django_apps": {"name": "x"},
        "vue_sites": [{"name": "web", "source": {"folder": "web"}, "build": {"command": "npm run dev"}}],
        "nginx_sites": [{"name": "site", "routes": [{"app": "aa"}], "directives": "add_header X $nothing;"}],
    })


@pytest.mark.parametrize("line", [
    "flask_apps[0].callable: is 'manage.py runserver', which starts a development server. Write the app object",
    "flask_apps[1].server: is 'development', a framework's own server",
    "flask_apps[2].env.TOKEN: must be text or a number",
    "flask_apps__b[0].name: 'd' is taken by flask_apps__a[0]. Give each its own name.",
    "django_apps: is a dictionary, and must be a list of dictionaries with a `name`.",
    "vue_sites[0].build.command: is 'npm run dev', which starts a development server.",
    "nginx_sites[0].routes[0].app: there is no app named 'aa'.",
])
def test_mistakes_are_told_together(wrong, line):
    code, output, plan = wrong
    assert (code, plan) == (2, None)
    assert f"  - {line}" in output


def test_secrets_are_not_told(wrong):
    assert "correct-horse" not in wrong[1]


@pytest.fixture(scope="module")
def sourceless(folder):
    app = {"callable": "shop:app", "requirements": ""}
    return run(folder, {
        "flask_apps": [{"name": "a", **app, "source": {"folder": "nowhere"}},
                       {"name": "b", **app, "source": {"git": "repository", "version": "v9"}},
                       {"name": "c", **app, "source": {"git": "repository", "version": "0" * 40}},
                       {"name": "d", **app, "source": {"git": "gone", "version": "main"}},
                       {"name": "e", **app, "callable": "bad:app", "source": {"folder": "bad"}}],
        "vue_sites": [{"name": "w", "source": {"folder": "shop"}}, {"name": "x", "dist": "web/nothing"}],
    })


@pytest.mark.parametrize("path, words", [
    ("flask_apps[0].source.folder", "there is no folder"),
    ("flask_apps[1].source.version", "there is no branch or tag 'v9'"),
    ("flask_apps[2].source.version", "there is no commit 00000"),
    ("flask_apps[3].source.git", "there is no repository"),
    ("vue_sites[1].dist", "there is no folder"),
    ("flask_apps[4].callable", "bad.py, line 2, starts a development server"),
    ("vue_sites[0].source", "has no package-lock.json"),
])
def test_sources_are_looked_at_before_a_host_is(sourceless, path, words):
    code, output, plan = sourceless
    assert (code, plan) == (2, None)
    assert f"  - {path}: {words}" in output
    assert "Traceback" not in output


# -- open versions -------------------------------------------------------------------------------------------------


OPEN = "flask_apps[0].extra_requirements: the version of flask is left open"


@pytest.mark.parametrize("settings, code, words", [
    ({}, 0, f"[WARNING]: {OPEN}"),
    ({"webstack_unpinned": "refuse"}, 2, f"  - {OPEN}"),
    ({"webstack_unpinned": "allow"}, 0, None),
    ({"webstack_unpinned": "refuse", "webstack_environment": "staging"}, 0, None),
])
def test_open_versions_are_found_in_production(folder, settings, code, words):
    app = {"name": "a", "callable": "shop:app", "source": {"folder": "shop"}, "requirements": "none",
           "extra_requirements": ["flask>=3"]}
    found, output, plan = run(folder, {**settings, "flask_apps": [app]})
    assert found == code, output
    text = " ".join(output.split())
    assert text.count(OPEN) == (1 if words else 0) or code  # Ansible itself may show an error twice
    assert not words or " ".join(words.split()) in text
    if plan:
        assert plan["apps"]["a"]["unpinned"] == ["flask"]


def test_passwords_of_indexes_are_not_told(folder):
    app = {"name": "a", "callable": "shop:app", "source": {"folder": "shop"}, "requirements": "none",
           "index": {"url": "https://u:correct-horse@packages.example.com"}}
    index = {"url": "https://packages.example.com/simple", "username": "u", "password": "battery-staple"}
    code, output, plan = run(folder, {"flask_apps": [app], "webstack_package_index": index})
    assert code == 0, output
    assert plan["apps"]["a"]["access"]["tools_index"]["url"] == "https://u:battery-staple@packages.example.com/simple"
    index["url"] = ["battery-staple"]
    code, more, _plan = run(folder, {"flask_apps": [app], "webstack_package_index": index,
                                     "webstack_proxy": "http://u:battery-staple@p:1"})
    assert code == 2
    assert "correct-horse" not in output + more and "battery-staple" not in output + more


# -- a good inventory ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(folder):
    # The output is the YAML of a variable: a tag, and lines below it.
    encrypted = ansible(folder, "ansible-vault", "encrypt_string", "--name", "password", "correct-horse").stdout
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(encrypted)
    variables = {
        "colour": "{{ shade }}", "shade": "blue", "workers": 3, "domain": "example.com",
        "more_routes": [{"app": "blog", "path": "/blog/"}],
        "flask_apps": [{"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}, "hosts": "webstack_app",
                        "settings": {"workers": "{{ workers }}"},
                        "env": {"PASSWORD": "{{ password }}", "COLOUR": "{{ colour }}", "N": 7,
                                "RAW": "{% raw %}{{ x }}{% endraw %}",
                                "PEER": "{{ hostvars['app2'].webstack_address }}"}}],
        "django_apps": [{"name": "blog", "settings_module": "blog.settings", "source": {"folder": "blog"},
                         "hosts": "app1", "server": "uwsgi"}],
        "gunicorn_services": [{"name": "old", "user": "u", "directory": "/d", "virtualenv": "/v", "callable": "a:b"}],
        "vue_sites": [{"name": "shop", "source": {"git": "repository", "version": "main"}, "directory": "."},
                      {"name": "done", "dist": "web/dist"}],
        "nginx_sites": [{"name": "site", "server_names": ["www.{{ domain }}"], "directives": "# {{ colour }}",
                         "routes": "{{ [{'app': 'shop', 'path': '/api/'}] + more_routes + [{'vue': 'done'}] }}"}],
    }
    first, second = run(folder, variables), run(folder, variables)
    assert first[2] == second[2]
    return first


def test_a_good_inventory_is_planned(good):
    code, output, plan = good
    assert code == 0, output
    assert plan["changed"] is False
    assert {"apps", "services", "vue", "sites", "hosts"} <= set(plan)


def test_templates_are_resolved_to_plain_text(good):
    env = good[2]["apps"]["shop"]["env"]
    assert env == {"PASSWORD": "correct-horse", "COLOUR": "blue", "RAW": "{{ x }}", "PEER": "192.0.2.12", "N": "7",
                   "WEBSTACK_SHARED": "/srv/webstack/apps/shop/shared"}
    plan = good[2]
    assert plan["apps"]["shop"]["settings"]["workers"] == 3
    [site] = plan["sites"]["edge1"]
    assert (site["server_names"], site["directives"]) == (["www.example.com"], "# blue")
    assert [route["path"] for route in site["routes"]] == ["/api/", "/blog/", "/static/", "/media/", "/"]


def test_secrets_of_a_good_inventory_are_not_told(good):
    assert "correct-horse" not in good[1]


def test_every_record_has_its_release_and_its_archive(good):
    plan = good[2]
    records = [*plan["apps"].values(), *plan["vue"].values()]
    assert all(len(record["release"]) == 12 and Path(record["archive"]).is_file() for record in records)
    assert all(len(service["release"]) == 12 for service in plan["services"].values())
    assert plan["services"]["shop"]["release"] == plan["apps"]["shop"]["release"]
    assert "@RELEASE@" not in json.dumps({name: service["config"] for name, service in plan["services"].items()})
