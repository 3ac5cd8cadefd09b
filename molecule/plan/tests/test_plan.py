"""The plan is made without touching a host, the same on every one, and a mistake is told by its path."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCENARIO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def plan():
    """Return the plan that converge.yml wrote."""
    return json.loads(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "plan.json").read_text(encoding="utf-8"))


def converge(*arguments):
    """Run converge.yml with more variables, and return its exit code and what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_BECOME"}
    answer = subprocess.run(
        ["ansible-playbook", f"--inventory={SCENARIO / 'inventory.yml'}", "converge.yml", "--check", *arguments],
        cwd=SCENARIO, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout + answer.stderr


def test_lists_with_a_suffix_are_appended(plan):
    assert set(plan["apps"]) == {"shop", "desk"}
    assert plan["apps"]["desk"]["origin"] == "flask_apps__more[0]"


def test_apps_are_on_the_hosts_of_their_group(plan):
    assert plan["apps"]["shop"]["hosts"] == ["app-a", "app-b"]
    assert plan["apps"]["desk"]["hosts"] == ["app-b"]
    assert plan["hosts"]["app-a"]["services"] == ["shop"]
    assert plan["hosts"]["app-b"]["services"] == ["shop", "desk"]


def test_app_and_window_agree_on_the_address(plan):
    for app, address, socket in (("shop", "192.0.2.2", "shop.sock"), ("desk", "192.0.2.3", "desk.uwsgi.sock")):
        host = plan["apps"][app]["hosts"][0]
        port = plan["apps"][app]["port"]
        listen = plan["services"][app]["listen"][host]
        assert listen == [f"/run/webstack/{socket}", f"{address}:{port}"]
        routes = [route for route in plan["sites"]["edge"][0]["routes"] if route.get("app") == app]
        assert f"{address}:{port}" in routes[0]["servers"]
        assert plan["services"][app]["allow"][host] == ["192.0.2.1"]


def test_protocol_of_a_route_is_the_servers(plan):
    assert [route["protocol"] for route in plan["sites"]["edge"][0]["routes"]] == ["http", "uwsgi"]


def test_every_app_has_a_release(plan):
    releases = [app["release"] for app in plan["apps"].values()]
    assert all(releases)
    assert len(set(releases)) == len(releases)


@pytest.mark.parametrize(("variables", "path", "advice"), [
    ({"flask_apps": [{"name": "Shop!"}]}, "flask_apps[0].name", "small letters"),
    ({"flask_apps": [{"name": "shop", "callabel": "a:b"}]}, "flask_apps[0].callabel", "Did you mean 'callable'?"),
    ({"nginx_sites": [{"name": "shop", "routes": [{"app": "shpo"}]}]}, "nginx_sites[0].routes[0].app", "'shop'"),
    ({"webstack_environment": "prod"}, "webstack_environment", "production"),
])
def test_a_mistake_is_told_by_its_path(variables, path, advice):
    code, said = converge("--extra-vars", json.dumps(variables))
    assert code != 0
    assert path in said
    assert advice in said
    assert "unreachable=1" not in said
