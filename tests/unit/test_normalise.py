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
    "webstack_app": ["app1", "app2", "both"], "first": ["app1"], "farm": ["app1", "app2"], "alone": ["both"],
    "empty": [],
}
ADDRESSES = {
    "edge1": {"ansible_host": "192.0.2.1"}, "app1": {"ansible_host": "192.0.2.11"},
    "app2": {"webstack_address": "192.0.2.12", "ansible_host": "app2.example.net"},
    "both": {"webstack_address": "192.0.2.20"},
}


def flask(**more):
    return {"name": "shop", "callable": "shop:app", "source": {"folder": "shop"}, "hosts": "first", **more}


def django(**more):
    return {"name": "blog", "settings_module": "blog.settings", "source": {"folder": "blog"}, "hosts": "first", **more}


def site(*routes, **more):
    return {"name": "site", "server_names": ["www.example.com"], "routes": list(routes), **more}


def make(*, groups=None, hosts=None, addresses=ADDRESSES, **variables):
    """Return the plan; ``variables`` are those of all hosts, ``hosts`` has more for some."""
    groups = {**GROUPS, **(groups or {})}
    own = hosts or {}
    return normalise.normalise(
        {host: {**addresses.get(host, {}), **variables, **own.get(host, {})} for host in groups["all"]}, groups)


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
    app_case("source", {}, "source", ["exactly one of the keys archive, folder, git, package"]),
    app_case("source", "shop", "source", ["is text", "a dictionary"]),
    app_case("source", {"fodler": "shop"}, "source", ["exactly one", "Did you mean 'folder'?"]),
    app_case("source", {"folder": "shop", "git": "shop.git"}, "source", ["exactly one"]),
    app_case("source", {"folder": ""}, "source.folder", ["is empty"]),
    app_case("source", {"folder": "shop", "version": "1"}, "source.version", ["is not known"]),
    app_case("source", {"git": "--upload-pack=x", "version": "v1"}, "source.git", ["must not start with a dash"]),
    app_case("source", {"git": "x"}, "source.version", ["is missing", "version: v1.4.2"]),
    app_case("source", {"git": "x", "version": "-x"}, "source.version", ["must not start with a dash"]),
    app_case("source", {"archive": "https://h/x.tar.gz"}, "source.checksum", ["is missing", "sha256sum"]),
    app_case("source", {"archive": "ftp://h/x.tar.gz", "checksum": "sha256:" + "a" * 64}, "source.archive",
             ["ftp://", "https://"]),
    *(app_case("source", {"archive": "x.tar.gz", "checksum": text}, "source.checksum", ["sha256: and the 64 digits"])
      for text in ("abc", "a" * 64, "sha256:abc", "md5:" + "a" * 64)),
    # indexes
    app_case("index", {"url": "packages"}, "index.url", ["is no address", "https://"]),
    app_case("index", {"url": "https://h/s", "password": "x"}, "index.username", ["is missing", "__token__"]),
    app_case("index", {"username": "x"}, "index.url", ["is missing"]),
    *(app_case("source", {"package": text}, "source.package", [repr(text), "pin one version", "httpbin==0.10.4"])
      for text in ("httpbin", "httpbin>=1", "httpbin==1.*", "httpbin==1,<2", "httpbin @ file:///x", "-r x")),
    # paths and ports
    *(app_case(key, text, key, [repr(text), "a path inside the source"])
      for key in ("directory", "requirements") for text in ("/etc", "../x", "a/../../x")),
    app_case("port", "http", "port", ["a whole number"]),
    app_case("port", 70000, "port", ["70000", "from 1 to 65535"]),
    app_case("port", 0, "port", ["from 1 to 65535"]),
    # processes, timers, limits, network
    app_case("processes", [{"command": "x"}], "processes[0].name", ["is missing", "name: worker"]),
    app_case("processes", [{"name": "w"}], "processes[0].command", ["is missing", "celery -A shop worker"]),
    *(app_case("processes", [{"name": name, "command": "x"}], "processes[0].name", [repr(name), "small letters"])
      for name in ("Worker", "a.b", "a@b", "", "w" * 25)),
    *(app_case("processes", [{"name": "w", "command": text}], "processes[0].command", ["without a shell"])
      for text in ("", "x 'y", "x\ny", "-x", "A=1 x", "bin/x")),
    app_case("processes", [{"name": "w", "command": "x", "stop_signal": "SIGTERM"}], "processes[0].stop_signal",
             ["'SIGTERM'", "TERM, INT"]),
    app_case("processes", [{"name": "w", "command": "x", "stop_timeout": 0}], "processes[0].stop_timeout",
             ["1 or more"]),
    app_case("processes", [{"name": "w", "command": "x", "hosts": "farm"}], "processes[0].hosts",
             ["app2", "the app itself does not run"]),
    app_case("processes", [{"name": "w", "command": "x", "hosts": "fram"}], "processes[0].hosts",
             ["no group of the inventory", "'farm'"]),
    app_case("processes", [{"name": "w", "command": "x"}, {"name": "w", "command": "y"}], "processes[1].name",
             ["'w' is taken by flask_apps[0].processes[0]"]),
    app_case("timers", [{"name": "w", "command": "x", "every": "5min"}], "timers[0].name",
             ["is taken by flask_apps[0].processes[0]"], processes=[{"name": "w", "command": "x"}]),
    app_case("timers", [{"name": "t", "command": "x"}], "timers[0]", ["either `on_calendar`", "or `every`"]),
    app_case("timers", [{"name": "t", "command": "x", "every": "1h", "on_calendar": "daily"}], "timers[0]",
             ["either `on_calendar`"]),
    app_case("timers", [{"name": "t", "command": "x", "on_calendar": "daily; x"}], "timers[0].on_calendar",
             ["no time that systemd understands"]),
    *(app_case("limits", {"memory": text}, "limits.memory", [repr(text), "`512M`"])
      for text in ("512 MB", "0", "x", "1.5G")),
    app_case("limits", {"tasks": 0}, "limits.tasks", ["1 or more"]),
    app_case("limits", {"cpu": -1}, "limits.cpu", ["a number of processors"]),
    app_case("limits", {"cpu": float("nan")}, "limits.cpu", ["a number of processors"]),
    app_case("outbound", ["db.example.com"], "outbound[0]", ["'db.example.com'", "192.0.2.0/24"]),
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
    vue_case({"source": {"package": "x==1"}}, ".source.package", ["from a folder, from git or from an archive"]),
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
    pytest.param({"webstack_log_days": 0}, "webstack_log_days", ["1 or more"], id="log days"),
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


def apps(*names, **more):
    return [flask(name=name, port=21000 + index, **more) for index, name in enumerate(names)]


@pytest.mark.parametrize("variables, path, words", [
    ({"flask_apps": apps("a", "b", "a")}, "flask_apps[2].name", ["'a' is taken by flask_apps[0]"]),
    ({"flask_apps__a": apps("a"), "flask_apps__b": apps("a")}, "flask_apps__b[0].name",
     ["'a' is taken by flask_apps__a[0]"]),
    ({"flask_apps": apps("a"), "flask_apps__b": apps("a")}, "flask_apps__b[0].name", ["'a' is taken by flask_apps[0]"]),
    ({"flask_apps": [flask(name="a")], "django_apps": [django(name="a")]}, "django_apps[0].name",
     ["'a' is taken by flask_apps[0]", "share the names of their units"]),
    ({"flask_apps": [flask(name="a")], "uwsgi_services": [
        {"name": "a", "user": "u", "directory": "/d", "virtualenv": "/v", "callable": "a:b"}]},
     "uwsgi_services[0].name", ["'a' is taken by flask_apps[0]"]),
    ({"vue_sites": [{"name": "a", "dist": "x"}, {"name": "a", "dist": "y"}]}, "vue_sites[1].name",
     ["'a' is taken by vue_sites[0]"]),
    ({"nginx_sites": [site(), site(server_names=["b.example.com"])]}, "nginx_sites[1].name",
     ["'site' is taken by nginx_sites[0]"]),
    ({"nginx_sites": [site(), site(name="b")]}, "nginx_sites[1].server_names[0]",
     ["'www.example.com'", "nginx_sites[0].server_names[0]", "Write it once"]),
    ({"nginx_sites": [site(server_names=[]), site(name="b", server_names=[], listen=["80"])]},
     "nginx_sites[1].server_names", ["nginx_sites[0].server_names", "same port"]),
    ({"nginx_sites": [site(listen=["8443"], tls={"certificate": "/c", "key": "/k"}),
                      site(name="b", server_names=["b.example.com"], listen=["8443"])]},
     "nginx_sites[1].listen", ["is plain here and speaks TLS in nginx_sites[0].listen"]),
    ({"flask_apps": [flask(name="a", port=21000), flask(name="b", port=21000)]}, "flask_apps[1].port",
     ["21000 on app1 is taken by flask_apps[0]", "`port: 21001`"]),
    ({"flask_apps": [flask()], "nginx_sites": [site({"app": "shop"}, {"app": "shop"})]}, "nginx_sites[0].routes[1]",
     ["'/'", "nginx_sites[0].routes[0]", "Write each path once"]),
    ({"django_apps": [django(), django(name="wiki", settings_module="wiki.settings", media=False)],
      "nginx_sites": [site({"app": "blog"}, {"app": "wiki", "path": "/wiki/"})], "hosts": {}},
     "django_apps[1].static_url", ["/static/ is that of blog too", "nginx_sites[0].routes[1]"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_two_of_one(variables, path, words):
    problems = refuse(**variables)
    assert [where for where, _message in problems] == [path], problems
    assert [word for word in words if word not in problems[0][1]] == [], problems[0][1]


def test_an_app_is_the_same_on_all_its_hosts():
    hosts = {"app1": {"flask_apps": [flask(callable="a:b")]}, "app2": {"flask_apps": [flask(callable="b:b")]}}
    [(path, message)] = refuse(hosts=hosts)
    assert path == "flask_apps[0].name"
    assert "differs on app2" in message


def test_a_setting_of_all_hosts_is_written_once():
    [(path, message)] = refuse(hosts={"app1": {"webstack_root": "/srv/a"}, "app2": {"webstack_root": "/srv/b"}})
    assert path == "webstack_root"
    assert "differs between app1 and app2" in message


@pytest.mark.parametrize("groups, hosts", [
    ({"webstack_edge": []}, {}),
    ({}, {"app1": {"nginx_sites": [site()]}}),
])
def test_a_site_that_belongs_on_no_host(groups, hosts):
    everywhere = {} if hosts else {"nginx_sites": [site()]}
    [(path, message)] = refuse(groups=groups, hosts=hosts, **everywhere)
    assert path == "nginx_sites[0]"
    assert "in the group webstack_edge" in message


@pytest.mark.parametrize("addresses, host", [
    ({**ADDRESSES, "app1": {}}, "app1"),
    ({**ADDRESSES, "app1": {"ansible_host": "app1.example.com"}}, "app1"),
    ({**ADDRESSES, "app1": {"webstack_address": "192.0.2.300"}}, "app1"),
    ({**ADDRESSES, "edge1": {}}, "edge1"),
])
def test_an_address_is_needed_where_the_window_is_on_another_host(addresses, host):
    [(path, message)] = refuse(addresses=addresses, flask_apps=[flask()], nginx_sites=[site({"app": "shop"})])
    assert path == "webstack_address"
    assert f"is missing for host {host}" in message
    assert "edge1 sends requests to shop on app1" in message
    assert f"host_vars/{host}.yml" in message


def test_no_address_is_needed_on_one_host():
    groups = {"webstack_edge": ["both"]}
    plan = make(addresses={}, groups=groups, flask_apps=[flask(hosts="alone")], nginx_sites=[site({"app": "shop"})])
    assert plan["apps"]["shop"]["listen"] == {"both": ["/run/webstack/shop.sock"]}


def test_a_development_server_for_a_window_elsewhere():
    [(path, message)] = refuse(webstack_environment="staging", flask_apps=[flask(server="development")],
                               nginx_sites=[site({"app": "shop"})])
    assert path == "flask_apps[0].server"
    assert "edge1 routes to it from another one" in message


def test_a_development_server_outside_production():
    plan = make(webstack_environment="development", flask_apps=[flask(server="development", port=5000, hosts="alone")])
    assert plan["services"]["shop"]["listen"] == {"both": ["127.0.0.1:5000"]}


def test_all_mistakes_are_told_in_one_go():
    problems = refuse(flask_apps=[flask(callable="x"), flask(name="b", hosts="nobody"), {"nam": "c"}],
                      nginx_sites=[site({"app": "nope"})], webstack_root="srv")
    assert {path for path, _message in problems} == {
        "webstack_root", "flask_apps[0].callable", "flask_apps[1].hosts", "flask_apps[2].nam", "flask_apps[2].name",
        "flask_apps[2].source", "flask_apps[2].callable", "nginx_sites[0].routes[0].app"}


def test_mistakes_found_before_are_told_too():
    problems = Problems()
    problems.add("flask_apps[0].env.A", "cannot be read.")
    with pytest.raises(InventoryError, match="cannot be read"):
        normalise.normalise({"app1": {}}, {"all": ["app1"]}, problems)


def test_no_secret_is_shown():
    secret = "correct horse battery"
    problems = refuse(flask_apps=[flask(env=f"PASSWORD={secret}"), flask(name="b", env={"A": [secret], "B-": secret,
                                                                                       "C": secret + "\0"})])
    assert problems
    assert secret not in str(problems)


# -- the plan: the joint between the stages; who changes a key here changes docs/architecture.md -------------------


APP = {
    "name", "origin", "framework", "server", "hosts", "user", "root", "source", "directory", "callable", "requirements",
    "extra_requirements", "python", "packages", "env", "server_requirements", "files", "names", "https", "health",
    "release", "archive", "port", "socket", "listen", "allow", "public", "settings", "writable", "access",
    "outbound", "limits", "processes", "timers",
}
DJANGO = APP | {
    "settings_module", "manage", "migrate", "migrate_lock_timeout", "static",
    "static_url", "static_folder", "static_remote", "media",
    "media_url", "media_root", "media_by_app", "origins", "behind_proxy",
}
SERVICE = {
    "name", "origin", "framework", "server", "hosts", "release", "user", "root", "directory", "bin", "callable",
    "config", "env_file", "env", "by_hand", "units", "listen", "allow", "protocol", "shared_socket", "public", "check",
    "health", "settings", "processes", "manage", "asked",
}
VUE = {"name", "origin", "root", "source", "directory", "dist", "built", "build", "settings", "settings_file",
       "release", "archive"}
SITE = {"name", "origin", "server_names", "listen", "tls", "routes", "directives", "client_max_body_size",
        "features"}


@pytest.fixture(scope="module")
def whole():
    return make(
        flask_apps=[flask(hosts="farm", env={"KEY": "secret", "N": 1})],
        django_apps=[django(server="uwsgi")],
        gunicorn_services=[{"name": "old", "user": "u", "directory": "/opt/old", "virtualenv": "/opt/old/venv",
                            "callable": "old:app", "hosts": "alone", "env": {"A": "b"}}],
        vue_sites=[{"name": "web", "source": {"git": "https://git.example.com/web.git", "version": "v1"}}],
        nginx_sites=[site({"app": "shop", "path": "/api/"}, {"app": "blog", "path": "/blog/"},
                          {"app": "old", "path": "/old/"}, {"vue": "web"})])


def test_the_plan_has_these_keys(whole):
    assert set(whole) == {"schema", "environment", "root", "keep", "cache", "apps", "services", "vue", "sites", "nginx",
                          "hosts", "authorities", "unpinned", "log_days", "certificates", "private_ca"}
    assert whole["schema"] == 1
    assert (whole["environment"], whole["root"], whole["keep"]) == ("production", "/srv/webstack", 5)


@pytest.mark.parametrize("part, name, keys", [
    ("apps", "shop", APP), ("apps", "blog", DJANGO), ("services", "shop", SERVICE), ("services", "blog", SERVICE),
    ("services", "old", SERVICE), ("vue", "web", VUE), ("sites", "edge1", SITE),
])
def test_a_record_has_these_keys(whole, part, name, keys):
    record = whole[part][name]
    assert set(record[0] if part == "sites" else record) == keys


def test_the_plan_is_plain_data(whole):
    assert json.loads(json.dumps(whole)) == whole


def test_what_belongs_on_which_host(whole):
    assert whole["hosts"] == {
        "edge1": {"apps": [], "services": [], "vue": ["web"], "static": ["blog"]},
        "app1": {"apps": ["shop", "blog"], "services": ["shop", "blog"], "vue": [], "static": []},
        "app2": {"apps": ["shop"], "services": ["shop"], "vue": [], "static": []},
        "both": {"apps": [], "services": ["old"], "vue": [], "static": []},
    }


PRIVATE = {"tls": {"issuer": "private"}, "server_names": [".example.com"]}


def test_certificates_of_an_authority_of_ones_own():
    plan = make(nginx_sites=[site(**PRIVATE)], webstack_private_ca={"passphrase": "x"})
    assert plan["certificates"] == {"edge1": [{
        "name": "site", "path": "/etc/nginx/webstack.tls/site.pem", "names": ["example.com", "*.example.com"]}]}
    assert plan["private_ca"] == {"folder": "ca", "passphrase": "x", "name": "Private CA", "days": 90}


@pytest.mark.parametrize("settings, key, words", [
    ({}, "passphrase", "is missing, and a site says `issuer: private`"),
    ({"passphrase": "x", "days": 3}, "days", "write 7 to 397"),
    ({"passphrase": "x", "name": ""}, "name", "1 to 64 characters"),
])
def test_what_an_authority_needs(settings, key, words):
    with pytest.raises(InventoryError) as caught:
        make(nginx_sites=[site(**PRIVATE)], webstack_private_ca=settings)
    [problem] = caught.value.problems
    assert problem.path == f"webstack_private_ca.{key}"
    assert words in problem.message


def test_an_app_record(whole):
    shop = whole["apps"]["shop"]
    assert {key: shop[key] for key in ("origin", "framework", "hosts", "user", "root", "env", "names", "release")} == {
        "origin": "flask_apps[0]", "framework": "flask", "hosts": ["app1", "app2"], "user": "ws-shop",
        "root": "/srv/webstack/apps/shop", "names": ["www.example.com"], "release": None,
        "env": {"KEY": "secret", "N": "1", "WEBSTACK_SHARED": "/srv/webstack/apps/shop/shared"}}
    assert shop["health"] == {"path": "/", "status": [200], "timeout": 10, "host": "www.example.com", "https": False,
                              "contains": [], "watch": 2}
    assert shop["server_requirements"] == ["gunicorn==27.0.1"]


#: What holds without a word.
HEADERS = {"headers": {"defaults": True, "add": {}, "hide": [], "origin": "nginx_sites[0].headers"}}


def test_a_route_has_what_the_window_needs_and_nothing_else(whole):
    [record] = whole["sites"]["edge1"]
    assert record["listen"] == [{"address": "*", "port": 80, "tls": False}]
    by_path = {route["path"]: route for route in record["routes"]}
    port = whole["apps"]["shop"]["port"]
    assert by_path["/api/"] == {
        "origin": "nginx_sites[0].routes[0]", "kind": "app", "path": "/api/", "match": "prefix", "directives": "",
        "app": "shop", "protocol": "http", "servers": [f"192.0.2.11:{port}", f"192.0.2.12:{port}"], "timeout": 35,
        "hosts": ["app1", "app2"], "drained": [], "buffering": True, "mount": "",
        "features": HEADERS}
    assert by_path["/blog/"]["protocol"] == "uwsgi"
    assert by_path["/static/"]["folder"] == "/srv/webstack/static/blog"
    assert by_path["/static/"]["origin"] == "nginx_sites[0].routes[1].app"
    # The window is elsewhere and cannot read the uploads: the app hands them out.
    assert by_path["/media/"] == {**by_path["/blog/"], "path": "/media/", "origin": "nginx_sites[0].routes[1].app"}
    assert by_path["/"]["root"] == "/srv/webstack/vue/web"


# -- where apps listen ---------------------------------------------------------------------------------------------


UNIX = "/run/webstack/shop.sock"


@pytest.mark.parametrize("edges, hosts, listen, allow, servers", [
    (["both"], "alone", {"both": [UNIX]}, {}, {"both": [f"unix:{UNIX}"]}),
    (["edge1"], "first", {"app1": [UNIX, "192.0.2.11:21000"]}, {"app1": ["192.0.2.1"]},
     {"edge1": ["192.0.2.11:21000"]}),
    (["edge1"], "farm", {"app1": [UNIX, "192.0.2.11:21000"], "app2": [UNIX, "192.0.2.12:21000"]},
     {"app1": ["192.0.2.1"], "app2": ["192.0.2.1"]}, {"edge1": ["192.0.2.11:21000", "192.0.2.12:21000"]}),
    (["edge1", "both"], "alone", {"both": [UNIX, "192.0.2.20:21000"]}, {"both": ["192.0.2.1"]},
     {"edge1": ["192.0.2.20:21000"], "both": [f"unix:{UNIX}"]}),
    (["both", "app1"], "farm", {"app1": [UNIX, "192.0.2.11:21000"], "app2": [UNIX, "192.0.2.12:21000"]},
     {"app1": ["192.0.2.20"], "app2": ["192.0.2.11", "192.0.2.20"]},
     {"both": ["192.0.2.11:21000", "192.0.2.12:21000"], "app1": [f"unix:{UNIX}", "192.0.2.12:21000"]}),
    (["edge1"], "app2", {"app2": [UNIX, "192.0.2.12:21000"]}, {"app2": ["192.0.2.1"]}, {"edge1": ["192.0.2.12:21000"]}),
])
def test_the_socket_is_unix_on_one_host_and_tcp_between_hosts(edges, hosts, listen, allow, servers):
    plan = make(groups={"webstack_edge": edges}, flask_apps=[flask(hosts=hosts, port=21000)],
                nginx_sites=[site({"app": "shop"})])
    for record in (plan["apps"]["shop"], plan["services"]["shop"]):
        assert (record["listen"], {host: sorted(peers) for host, peers in record["allow"].items()}) == (listen, allow)
    assert {edge: plan["sites"][edge][0]["routes"][0]["servers"] for edge in edges} == servers


@pytest.mark.parametrize("of_site", [True, False])
def test_an_app_that_is_asked_who_may_pass_is_reached_like_any_other(of_site):
    asked = {"auth_request": {"app": "shop", "path": "/check"}}
    written = {**site({"answer": 200, **({} if of_site else asked)}), **(asked if of_site else {})}
    plan = make(groups={"webstack_edge": ["edge1"]}, flask_apps=[flask(hosts="first", port=21000)],
                nginx_sites=[written])
    assert plan["apps"]["shop"]["allow"] == {"app1": ["192.0.2.1"]}
    [record] = plan["sites"]["edge1"]
    assert record["routes"][0]["features"]["auth_request"]["servers"] == ["192.0.2.11:21000"]


def test_without_a_site_only_the_unix_socket():
    plan = make(flask_apps=[flask()], addresses={})
    assert plan["apps"]["shop"]["listen"] == {"app1": [UNIX]}


def test_ipv6_addresses_have_brackets():
    addresses = {**ADDRESSES, "app1": {"webstack_address": "2001:DB8:0::11"}}
    plan = make(addresses=addresses, flask_apps=[flask(port=21000)], nginx_sites=[site({"app": "shop"})])
    assert plan["sites"]["edge1"][0]["routes"][0]["servers"] == ["[2001:db8::11]:21000"]


def test_a_port_does_not_move_when_apps_come_and_go():
    alone = make(flask_apps=[flask()])["apps"]["shop"]["port"]
    among = make(flask_apps=[flask(name="a"), flask(), flask(name="b")])["apps"]["shop"]["port"]
    assert alone == among
    assert 20000 <= alone < 30000


# -- what follows from the sites -----------------------------------------------------------------------------------


TLS = {"certificate": "/c.pem", "key": "/k.pem"}


@pytest.mark.parametrize("sites, names, origins, host, https", [
    ([], [], [], "localhost", False),
    ([{}], ["www.example.com"], ["http://www.example.com"], "www.example.com", False),
    ([{"tls": TLS}], ["www.example.com"], ["https://www.example.com"], "www.example.com", True),
    ([{"listen": ["8080"]}], ["www.example.com"], ["http://www.example.com:8080"], "www.example.com", False),
    ([{"listen": ["80", "192.0.2.1:81"]}], ["www.example.com"], ["http://www.example.com", "http://www.example.com:81"],
     "www.example.com", False),
    ([{"listen": ["[::]:443"], "tls": TLS}], ["www.example.com"], ["https://www.example.com"], "www.example.com", True),
    ([{"listen": ["80", "8443"], "tls": TLS}], ["www.example.com"], ["https://www.example.com:8443"],
     "www.example.com", True),
    ([{"server_names": ["*.example.com", "example.com"]}], ["*.example.com", "example.com"],
     ["http://*.example.com", "http://example.com"], "example.com", False),
    ([{"server_names": [".example.com"]}], [".example.com"], ["http://example.com", "http://*.example.com"],
     "localhost", False),
    ([{"server_names": [r"~^a\d\.example\.com$", "a.example.com"]}], [r"~^a\d\.example\.com$", "a.example.com"],
     ["http://a.example.com"], "a.example.com", False),
    ([{}, {"name": "b", "server_names": ["b.example.com"], "tls": TLS}], ["www.example.com", "b.example.com"],
     ["http://www.example.com", "https://b.example.com"], "www.example.com", True),
    ([{"server_names": []}], [], [], "localhost", False),
])
def test_names_and_origins_come_from_the_sites(sites, names, origins, host, https):
    app = make(django_apps=[django()], nginx_sites=[site({"app": "blog"}, **more) for more in sites])["apps"]["blog"]
    assert (app["names"], app["origins"]) == (names, origins)
    assert (app["health"]["host"], app["health"]["https"]) == (host, https)


@pytest.mark.parametrize("edges, more, folders, by_app", [
    (["both"], {}, {"/static/": "/srv/webstack/static/blog", "/media/": "/srv/webstack/apps/blog/shared/media"}, False),
    (["both"], {"media_root": "/mnt/up"}, {"/static/": "/srv/webstack/static/blog", "/media/": "/mnt/up"}, False),
    (["both"], {"media": False}, {"/static/": "/srv/webstack/static/blog"}, False),
    (["both"], {"static": False}, {"/media/": "/srv/webstack/apps/blog/shared/media"}, False),
    (["both"], {"static_url": "/s/", "media_url": "/m/"},
     {"/s/": "/srv/webstack/static/blog", "/m/": "/srv/webstack/apps/blog/shared/media"}, False),
    (["edge1"], {}, {"/static/": "/srv/webstack/static/blog"}, True),
])
def test_the_window_hands_out_the_files_of_a_django_app(edges, more, folders, by_app):
    plan = make(groups={"webstack_edge": edges}, django_apps=[django(hosts="alone", **more)],
                nginx_sites=[site({"app": "blog"})])
    found = [route for route in plan["sites"][edges[0]][0]["routes"] if route["kind"] == "folder"]
    assert {route["path"]: route["folder"] for route in found} == folders
    assert [route["uploads"] for route in found] == [path in ("/media/", "/m/") for path in folders]
    assert plan["apps"]["blog"]["media_by_app"] is by_app


@pytest.mark.parametrize("routes", [
    [{"app": "blog"}, {"folder": "/srv/own", "path": "/static/"}],
    [{"folder": "/srv/own", "path": "/static"}, {"app": "blog"}],
])
def test_a_route_of_the_users_own_wins_in_any_order(routes):
    plan = make(django_apps=[django()], nginx_sites=[site(*routes)])
    folders = [route["folder"] for route in plan["sites"]["edge1"][0]["routes"] if route["kind"] == "folder"]
    assert folders == ["/srv/own"]


def test_an_app_with_two_routes_has_its_files_once():
    plan = make(django_apps=[django()], nginx_sites=[site({"app": "blog"}, {"app": "blog", "path": "/slow/"})])
    assert [route["path"] for route in plan["sites"]["edge1"][0]["routes"]] == ["/", "/static/", "/slow/"]


# -- what may be written in several ways ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, meant", [
    ("nginx_site", "nginx_sites"), ("flask_app", "flask_apps"), ("djang_apps", "django_apps"),
    ("vue_site", "vue_sites"),
    ("webstack_enviroment", "webstack_environment"), ("nginx_hst", "nginx_hsts"), ("nginx_site__shop", "nginx_sites"),
    ("nginx_worker_connections", "nginx_expected_connections"),
    ("webstack_colour", "webstack_environment"),
    ("nginx_sites", None), ("flask_apps__shop", None), ("webstack_plan", None), ("my_apps", None), ("app_port", None),
    ("vue_records", None), ("guestbook_db_password", None), ("postgresql_databases", None), ("python_app_found", None),
])
def test_a_variable_that_nearly_is_ours_is_told(name, meant):
    found = normalise.misspelt([name])
    assert [word for word, _message in found] == ([name] if meant else [])
    assert not meant or meant in found[0][1]


def test_lists_with_a_suffix_are_appended():
    plan = make(flask_apps=apps("a"), flask_apps__later=[flask(name="c")], flask_apps__b=[flask(name="b")])
    assert {name: app["origin"] for name, app in plan["apps"].items()} == {
        "a": "flask_apps[0]", "b": "flask_apps__b[0]", "c": "flask_apps__later[0]"}


@pytest.mark.parametrize("name, result", [
    ("flask_apps", True), ("flask_apps__x", True), ("nginx_sites__shop", True), ("webstack_root", True),
    ("nginx_hsts", True), ("flask_apps_x", False), ("nginx_packages__x", False), ("my_flask_apps", False),
    ("ansible_user", False),
])
def test_which_variables_are_read(name, result):
    assert normalise.wanted([name]) == ([name] if result else [])


def test_a_list_of_one_group_counts_for_its_hosts():
    plan = make(hosts={"app1": {"flask_apps": [flask()]}, "edge1": {"nginx_sites": [site({"app": "shop"})]}})
    assert list(plan["apps"]) == ["shop"]
    assert plan["sites"]["edge1"][0]["routes"][0]["app"] == "shop"


def test_a_host_may_stand_for_a_group():
    assert make(flask_apps=[flask(hosts="app2")])["apps"]["shop"]["hosts"] == ["app2"]


def test_nothing_written_is_an_empty_plan():
    plan = make(flask_apps=None, nginx_sites=[])
    assert (plan["apps"], plan["services"], plan["vue"], plan["sites"]) == ({}, {}, {}, {"edge1": []})


@pytest.mark.parametrize("more, callable_", [
    ({}, "blog.wsgi:application"), ({"settings_module": "blog.settings.live"}, "blog.settings.wsgi:application"),
    ({"settings_module": "settings"}, "wsgi:application"), ({"callable": "x:y"}, "x:y"),
])
def test_the_callable_of_a_django_app(more, callable_):
    assert make(django_apps=[django(**more)])["apps"]["blog"]["callable"] == callable_


@pytest.mark.parametrize("text", ["shop:app", "shop.main:app", "shop:create_app()", "_a.b1:_c"])
def test_good_callables(text):
    assert make(flask_apps=[flask(callable=text)])["apps"]["shop"]["callable"] == text


@pytest.mark.parametrize("command", [
    "npm run build", "vite build", "npx vite build --mode live", "npm run build:dev", "npm run dev:build", "make",
    "vue-cli-service build", "vitepress build",
])
def test_good_build_commands(command):
    item = {"name": "web", "source": {"folder": "x"}, "build": {"command": command}}
    assert make(vue_sites=[item])["vue"]["web"]["build"] == {"command": command, "output": "dist", "env": {}}


@pytest.mark.parametrize("text", ["httpbin==0.10.4", "httpbin [flasgger] == 0.10.4", "a.b-c_d==1!2.0rc1+x"])
def test_good_packages(text):
    assert make(flask_apps=[flask(source={"package": text})])["apps"]["shop"]["source"] == {
        "kind": "package", "package": text}


def test_variables_made_in_nginx_directives_are_known_in_sites():
    plan = make(nginx_directives="map $http_x $mine { default 1; }", nginx_sites=[site(directives="return 200 $mine;")])
    assert plan["nginx"]["edge1"]["nginx_directives"].startswith("map")


# -- anything at all -----------------------------------------------------------------------------------------------


WORDS = ["shop", "a:b", "/", "80", "webstack_app", "both", "nobody", "gunicorn", "uwsgi", "$x", "~^(", "example.com",
         "", "x\0", "[::]:80", "{", "prod"]
KEYS = sorted({*APP, *DJANGO, *VUE, *SITE, "app", "path", "match", "folder", "git", "package", "version", "vue",
               "processes", "timers", "limits", "every", "cpu", "memory",
               "answer", "redirect", "certificate", "key", "status", "command", "extra", "workers", "virtualenv"})
LEAF = (st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS)
        | st.text(max_size=6))
JSON = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6), max_leaves=10)


def broken(good):
    """Take a good item, and put anything in the place of some of its keys."""
    return st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3).map(lambda more: {**good, **more}) | JSON


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({}, optional={
    "flask_apps": st.lists(broken(flask()), max_size=2) | JSON,
    "django_apps": st.lists(broken(django()), max_size=2) | JSON,
    "vue_sites": st.lists(broken({"name": "web", "dist": "x"}), max_size=2) | JSON,
    "nginx_sites": st.lists(broken(site({"app": "shop"}, {"vue": "web", "path": "/w/"})), max_size=3) | JSON,
    "gunicorn_services": st.lists(broken({"name": "old", "user": "u", "directory": "/d", "virtualenv": "/v",
                                          "callable": "a:b"}), max_size=2) | JSON,
    "webstack_environment": JSON, "webstack_root": JSON, "webstack_keep_releases": JSON, "webstack_address": JSON,
    "nginx_directives": JSON, "nginx_hsts": JSON, "webstack_ca": JSON, "webstack_installer": JSON,
    "webstack_package_index": JSON | st.fixed_dictionaries({}, optional={
        "url": JSON, "extra_urls": JSON, "username": JSON}),
    "webstack_private_ca": JSON | st.fixed_dictionaries({}, optional={"passphrase": JSON, "name": JSON, "days": JSON}),
    "webstack_proxy": JSON | st.fixed_dictionaries({}, optional={"http": JSON, "https": JSON, "no_proxy": JSON}),
}))
def test_nothing_a_user_can_write_breaks_the_normaliser(variables):
    try:
        plan = make(**variables)
    except InventoryError as error:
        assert error.problems
        assert all(problem.path and problem.message.endswith((".", "?", "`")) for problem in error.problems)
    else:
        json.dumps(plan)
