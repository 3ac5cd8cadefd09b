"""What users write wrong is refused by `site.yml` before any host is touched, with the path of their own variable."""

from __future__ import annotations

from pathlib import Path

import pytest
from stack import ROOT, Stack

APP = {"name": "shop", "source": {"package": "httpbin==0.10.4"}, "callable": "httpbin:app"}
SITE = {"name": "shop", "server_names": ["shop.example.com"], "routes": [{"path": "/", "app": "shop"}]}


def nowhere(name: str) -> Stack:
    """Return the example with a host that cannot be reached: a closed port of this machine."""
    return Stack([str(ROOT / "inventories" / name)], extra=Path(__file__).with_name("nowhere.yml"))


def app(**more):
    return {"flask_apps": [{**APP, **more}]}


def site(**more):
    return {"flask_apps": [APP], "nginx_sites": [{**SITE, **more}]}


# what it is, the inventory's variables, what the message has to say
MISTAKES = [
    ("an unknown key", app(workres=2), ["flask_apps[0].workres: is not known"]),
    ("an unknown setting", app(settings={"worker": 2}), ["flask_apps[0].settings.worker", "'workers'"]),
    ("a missing name", {"flask_apps": [{k: v for k, v in APP.items() if k != "name"}]},
     ["flask_apps[0].name: is missing", "name: shop"]),
    ("two apps of one name", {"flask_apps": [APP, APP | {"python": "python3.11"}]},
     ["flask_apps[1].name", "flask_apps[0]"]),
    ("two apps of one name in two lists", {"flask_apps": [APP], "flask_apps__more": [APP | {"python": "python3.11"}]},
     ["flask_apps__more[0].name", "flask_apps[0]"]),
    ("two public listeners on one address", {"flask_apps": [
        APP | {"server": "uwsgi", "public": {"listen": "0.0.0.0:8080"}},
        APP | {"name": "two", "server": "uwsgi", "public": {"listen": "0.0.0.0:8080"}}]},
     ["flask_apps[1].public.listen", "flask_apps[0]"]),
    ("a public listener on nginx's address", {"flask_apps": [
        APP | {"server": "uwsgi", "public": {"listen": "0.0.0.0:80"}}], "nginx_sites": [SITE]},
     ["flask_apps[0].public.listen", "nginx_sites[0]"]),
    ("two sites of one name on one address", {"flask_apps": [APP], "nginx_sites": [SITE, SITE | {"name": "two"}]},
     ["nginx_sites[1].server_names[0]", "nginx_sites[0]"]),
    ("two apps on one port", {"flask_apps": [APP | {"port": 9000}, APP | {"name": "two", "port": 9000}]},
     ["flask_apps[1].port", "flask_apps[0]"]),
    ("TLS and plain HTTP on one address", {"flask_apps": [APP], "nginx_sites": [
        SITE | {"listen": ["8443"], "tls": {"certificate": "/c", "key": "/k"}},
        SITE | {"name": "two", "server_names": ["two.example.com"], "listen": ["8443"]}]}, ["nginx_sites[1].listen"]),
    ("a route to an app that is not there", site(routes=[{"path": "/", "app": "shpo"}]),
     ["nginx_sites[0].routes[0].app", "Did you mean 'shop'?"]),
    ("a route of no kind", site(routes=[{"path": "/"}]), ["nginx_sites[0].routes[0]", "exactly one of"]),
    ("an undefined variable of Jinja", site(directives="add_header X-A {{ nowhere }};"),
     ["nginx_sites[0].directives", "nowhere"]),
    ("an undefined variable of nginx", site(routes=[
        {"path": "/", "app": "shop", "directives": "add_header X-A $nowhere;"}]),
     ["nginx_sites[0].routes[0].directives", "$nowhere"]),
    ("a brace that is not closed", site(directives="if ($request_method = PUT) {"), ["nginx_sites[0].directives"]),
    ("a development server", app(server="development"), ["flask_apps[0].server", "server: gunicorn", "staging"]),
    ("runserver", app(callable="manage.py runserver"), ["flask_apps[0].callable", "server: gunicorn"]),
    ("flask run", app(callable="flask run"), ["flask_apps[0].callable", "server: gunicorn"]),
    ("vite", {"vue_sites": [{"name": "web", "source": {"folder": str(ROOT / "examples/guestbook/web")},
                             "build": {"command": "npm run dev"}}]},
     ["vue_sites[0].build.command", "npm run build"]),
    ("a package without a version", app(source={"package": "httpbin"}), ["flask_apps[0].source.package", "=="]),
    ("a folder that is not there", app(source={"folder": "/nowhere"}), ["flask_apps[0].source.folder", "/nowhere"]),
    ("a group that is not there", app(hosts="webstack_ap"), ["flask_apps[0].hosts", "'webstack_app'"]),
    ("a list that is none", {"flask_apps": {"shop": APP}}, ["flask_apps", "must be a list"]),
]


@pytest.mark.parametrize(("variables", "words"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_refused_before_any_host_is_touched(variables, words):
    run = nowhere("t3").play(variables={"flask_apps": [], "nginx_sites": [], **variables})
    assert run.code != 0, run.output[-2000:]
    assert run.runs == [], run.runs
    for word in words:
        assert word in run.output, run.output[-3000:]


def test_an_app_that_runs_its_own_server_on_import_is_refused(tmp_path):
    (tmp_path / "shop.py").write_text("from flask import Flask\napp = Flask(__name__)\napp.run(debug=True)\n")
    variables = app(source={"folder": str(tmp_path)}, callable="shop:app", requirements="")
    run = nowhere("t3").play(variables={**variables, "nginx_sites": []})
    assert run.code != 0 and run.runs == []
    assert "flask_apps[0].callable: shop.py, line 3" in run.output
    assert '__name__ == "__main__"' in run.output


@pytest.mark.parametrize("name", ["prod", "demo", "t1", "t2", "t3", "t4", "t5", "t6", "t7"])
def test_every_example_inventory_is_good(name):
    run = Stack([str(ROOT / "inventories" / name)]).play(playbook="playbooks/plan.yml")
    assert run.code == 0, run.output[-3000:]
    assert run.runs == []
