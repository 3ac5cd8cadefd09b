# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what users write to the plan, and what is said to them where they err."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import normalise
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError, Problems

#: one edge, two hosts for apps, one host that is both; each has an address
GROUPS = {
    "all": ["edge1", "app1", "app2", "both"], "ungrouped": [], "webstack_edge": ["edge1"],
    "webstack_app": ["app1"], "farm": ["app1", "app2"], "alone": ["both"], "empty": [],
}
ADDRESSES = {
    "edge1": {"ansible_host": "192.0.2.1"}, "app1": {"ansible_host": "192.0.2.11"},
    "app2": {"webstack_address": "192.0.2.12", "ansible_host": "app2.example.net"},
    "both": {"webstack_address": "192.0.2.20"},
}


def flask(**more):
    return {"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}, **more}


def django(**more):
    return {"name": "blog", "settings_module": "blog.settings", "source": {"folder": "blog"}, **more}


def site(*routes, **more):
    return {"name": "site", "server_names": ["www.example.com"], "routes": list(routes), **more}


def make(*, groups=None, hosts=None, addresses=ADDRESSES, **variables):
    """Return the plan; ``variables`` are those of all hosts, ``hosts`` has more for some."""
    groups = {**GROUPS, **(groups or {})}
    return normalise.normalise(
        {host: {**addresses.get(host, {}), **variables, **(hosts or {}).get(host, {})} for host in groups["all"]}, groups)


def refuse(**variables):
    """Return [(path, message)] of the mistakes."""
    with pytest.raises(InventoryError) as caught:
        make(**variables)
    return [(problem.path, problem.message) for problem in caught.value.problems]


# -- mistakes: each is found alone, under the user's path, and the message says what to write ----------------------


def app_case(key, value, path, words, **more):
    return pytest.param({"flask_apps": [flask(**{key: value}, **more)]}, f"flask_apps[0].{path}", words,
                        id=f"{path}={json.dumps(value)[:40]}")


def django_case(key, value, path, words, **more):
    return pytest.param({"django_apps": [django(**{key: value}, **more)]}, f"django_apps[0].{path}", words,
                        id=f"django {path}={json.dumps(value)[:40]}")


def vue_case(item, path, words):
    return pytest.param({"vue_sites": [{"name": "web", **item}]}, f"vue_sites[0]{path}", words,
                        id=f"vue {json.dumps(item)[:50]}")


def site_case(route, path, words, **more):
    return pytest.param({"flask_apps": [flask()], "nginx_sites": [site(route, **more)]}, f"nginx_sites[0]{path}", words,
                        id=f"site {json.dumps(route)[:30]} {json.dumps(more)[:30]}")


@pytest.mark.parametrize("variables, path, words", [
    # keys and types
    app_case("calable", "x:y", "calable", ["is not known", "'callable'"]),
    app_case("name", None, "name", ["is missing", "name: shop"]),
    app_case("callable", None, "callable", ["is missing", "shop.main:app"]),
    app_case("source", None, "source", ["is missing", "folder: PATH"]),
    app_case("env", "A=1", "env", ["is text", "a dictionary"]),
    app_case("packages", "gcc", "packages", ["is text", "a list"]),
    app_case("hosts", ["app1"], "hosts", ["is a list", "must be text"]),
    app_case("health", {"status": ["ok"]}, "health.status[0]", ["'ok'", "a whole number"]),
    app_case("settings", {"wrkers": 3}, "settings.wrkers", ["is not known", "'workers'"]),
    app_case("settings", {"workers": "many"}, "settings.workers", ["a whole number"]),
    pytest.param({"flask_apps": {"name": "shop"}}, "flask_apps", ["a dictionary", "must be a list"], id="list as dict"),
    pytest.param({"flask_apps": "shop"}, "flask_apps", ["must be a list"], id="list as text"),
    pytest.param({"flask_apps": ["shop"]}, "flask_apps[0]", ["'shop'", "must be a dictionary with the keys name"],
                 id="item as text"),
    # names
    *(app_case("name", name, "name", [repr(name), "small letters", "my-shop"])
      for name in ("Shop", "my_shop", "1st", "-x", "a" * 25, "shop\n", "../etc", "läden", "")),
    # servers
    app_case("server", "gunicron", "server", ["no app server", "gunicorn, uwsgi", "Did you mean 'gunicorn'?"]),
    app_case("server", "development", "server", ["neither safe nor fast", "server: gunicorn",
                                                 "webstack_environment: staging"]),
    app_case("public", {"listen": "0.0.0.0:8080"}, "public", ["server: uwsgi"]),
    # callables
    *(app_case("callable", text, "callable", [repr(text), "development server", "server: gunicorn"])
      for text in ("python manage.py runserver", "flask run", "flask  run --host 0.0.0.0", "shop:app.run()")),
    *(app_case("callable", text, "callable", [repr(text), "module:object"])
      for text in ("shop", "shop.py", "shop/main:app", "shop:app; rm", "shop:", ":app", "shop:app\n")),
    # groups
    app_case("hosts", "webstack_apps", "hosts", ["no group of the inventory", "'webstack_app'"]),
    app_case("hosts", "empty", "hosts", ["'empty' has no hosts"]),
    # environment
    *(app_case("env", {key: "v"}, f"env.{key}", ["is no name of an environment variable"])
      for key in ("A-B", "1A", "A B", "A=B", "Ä")),
    app_case("env", {"A": None}, "env.A", ["must be text or a number"]),
    app_case("env", {"A": ["x"]}, "env.A", ["must be text or a number"]),
    app_case("env", {"A": {"x": 1}}, "env.A", ["must be text or a number"]),
    app_case("env", {"A": "x\0y"}, "env.A", ["control character", "base64"]),
    app_case("env", {"A": "x\r\n"}, "env.A", ["control character", "base64"]),
    app_case("env", {"A": "\ud800"}, "env.A", ["is not valid text"]),
    # sources
    app_case("source", {}, "source", ["exactly one of the keys folder, git, package"]),
    app_case("source", "shop", "source", ["is text", "a dictionary"]),
    app_case("source", {"fodler": "shop"}, "source", ["exactly one", "Did you mean 'folder'?"]),
    app_case("source", {"folder": "shop", "git": "shop.git"}, "source", ["exactly one"]),
    app_case("source", {"folder": ""}, "source.folder", ["is empty"]),
    app_case("source", {"folder": "shop", "version": "1"}, "source.version", ["is not known"]),
    app_case("source", {"git": "--upload-pack=x"}, "source.git", ["must not start with a dash"]),
    app_case("source", {"git": "x", "version": "-x"}, "source.version", ["must not start with a dash"]),
    *(app_case("source", {"package": text}, "source.package", [repr(text), "pin one version", "httpbin==0.10.4"])
      for text in ("httpbin", "httpbin>=1", "httpbin==1.*", "httpbin==1,<2", "httpbin @ file:///x", "-r x")),
    # paths and ports
    *(app_case(key, text, key, [repr(text), "a path inside the source"])
      for key in ("directory", "requirements") for text in ("/etc", "../x", "a/../../x")),
    app_case("port", "http", "port", ["a whole number"]),
    app_case("port", 70000, "port", ["70000", "from 1 to 65535"]),
    app_case("port", 0, "port", ["from 1 to 65535"]),
    # Django
    django_case("settings_module", None, "settings_module", ["is missing", "shop.settings"]),
    django_case("settings_module", "blog/settings.py", "settings_module", ["as Python imports it", "shop.settings"]),
    django_case("settings_module", "blog\nimport os", "settings_module", ["as Python imports it"]),
    django_case("callable", "manage.py runserver", "callable", ["development server"]),
    django_case("manage", "/x/manage.py", "manage", ["a path inside the source"]),
    django_case("static_url", "static/", "static_url", ["a slash at both ends", "`/static/`", "static: false"]),
    django_case("media_url", "https://cdn.example.com/m/", "media_url", ["a slash at both ends", "media: false"]),
    django_case("static_url", "/", "static_url", ["a slash at both ends"]),
    django_case("media_url", "/static/", "media_url", ["as is `static_url`"]),
    django_case("media_root", "uploads", "media_root", ["an absolute path"]),
    django_case("hosts", "farm", "media_root", ["app1, app2", "a folder that they share", "media: false"]),
    django_case("media_root", "/srv/webstack/apps/blog/up", "media_root", ["a folder that they share"], hosts="farm"),
    # Vue
    vue_case({}, "", ["either a `source`", "`dist`"]),
    vue_case({"source": {"folder": "x"}, "dist": "y"}, "", ["either a `source`", "`dist`"]),
    vue_case({"source": {"package": "x==1"}}, ".source.package", ["from a folder or from git"]),
    vue_case({"source": {"git": "x", "folder": "y"}}, ".source", ["exactly one"]),
    vue_case({"dist": "x", "directory": "/web"}, ".directory", ["inside the source"]),
    vue_case({"dist": "x", "build": {"output": "../x"}}, ".build.output", ["inside the source"]),
    vue_case({"dist": "x", "settings_file": "../x"}, ".settings_file", ["inside the site"]),
    *(vue_case({"source": {"folder": "x"}, "build": {"command": text}}, ".build.command",
               [repr(text), "development server", "npm run build", "route `vue: NAME`"])
      for text in ("vite", "npx vite", "vite --host", "vite dev", "vite preview", "npm run dev", "npm start",
                   "npm run serve", "pnpm dev", "yarn dev", "npm ci && npm run dev", "vue-cli-service serve")),
    # sites
    site_case({"app": "shp"}, ".routes[0].app", ["no app named 'shp'", "Did you mean 'shop'?"]),
    site_case({"app": "x"}, ".routes[0].app", ["no app named 'x'", "Add it to flask_apps"]),
    site_case({"vue": "web"}, ".routes[0].vue", ["no vue named 'web'", "Add it to vue_sites"]),
    site_case("shop", ".routes[0]", ["must be a dictionary"]),
    site_case({"ap": "shop"}, ".routes[0]", ["Did you mean 'app'?"]),
    site_case({"app": "shop", "vue": "web"}, ".routes[0]", ["a route does one thing"]),
    site_case({"app": "shop", "path": "x"}, ".routes[0].path", ["must start with a slash"]),
    site_case({"app": "shop", "timout": 3}, ".routes[0].timout", ["is not known", "'timeout'"]),
    site_case({"app": "shop"}, ".listen[0]", ["'http'", "'192.0.2.1:8080'"], listen=["http"]),
    site_case({"app": "shop"}, ".listen", ["is text", "a list"], listen="80"),
    site_case({"app": "shop"}, ".listen", ["8404", "is taken"], listen=["8404"]),
    site_case({"app": "shop"}, ".server_names[0]", ["host name alone", "'example.com'"],
              server_names=["https://example.com/"]),
    site_case({"app": "shop"}, ".server_names[1]", ["a list", "must be text"], server_names=["a.example.com", ["b"]]),
    site_case({"app": "shop"}, ".tls.key", ["is missing"], tls={"certificate": "/etc/ssl/a.pem"}),
    site_case({"app": "shop"}, ".tls.key", ["is missing"], tls={"certificate": "/etc/ssl/a.pem", "key": None}),
    site_case({"app": "shop"}, ".directives", ["line 2", "$undefined", "`set` or `map`"],
              directives="set $mine 1;\nadd_header X $mine$undefined;"),
    site_case({"app": "shop", "directives": "return 200 $nope;"}, ".routes[0].directives", ["line 1", "$nope"]),
    site_case({"app": "shop"}, ".directives", ["is not closed"], directives="gzip on"),
    # settings of all hosts
    pytest.param({"webstack_environment": "prod"}, "webstack_environment",
                 ["'prod'", "production, staging, development", "Did you mean 'production'?"], id="environment"),
    pytest.param({"webstack_root": "srv"}, "webstack_root", ["an absolute path", "/srv/webstack"], id="root"),
    pytest.param({"webstack_keep_releases": "all"}, "webstack_keep_releases", ["a whole number"], id="keep"),
    pytest.param({"nginx_hsts": "long"}, "nginx_hsts", ["'long'", "a whole number"], id="nginx setting"),
    pytest.param({"nginx_directives": "map $nope $x {}"}, "nginx_directives", ["$nope"], id="nginx directives"),
    # services by hand
    pytest.param({"gunicorn_services": [{"name": "old", "user": "u", "virtualenv": "/v", "callable": "a:b"}]},
                 "gunicorn_services[0].directory", ["is missing"],
                 id="service without all"),
])
def test_a_mistake_is_told_once_by_its_path_and_with_what_to_write(variables, path, words):
    problems = refuse(**variables)
    assert [where for where, _message in problems] == [path], problems
    message = problems[0][1]
    assert [word for word in words if word not in message] == [], message
    assert message.rstrip("`").endswith((".", "?"))
