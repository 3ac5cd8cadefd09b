# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn what users wrote in the inventory into the plan: app, service, Vue and site records.

Pure Python: in go the variables of all hosts, out comes the plan of ``docs/architecture.md`` or an ``InventoryError``
that lists every mistake by its path. The keys, types and defaults are those of the roles' argument specs.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import posixpath
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.env_file import format_env_file

from . import (
    access,
    app_processes,
    django_settings,
    features,
    nginx_render,
    routes,
    servers,
    services,
    site_tls,
    sources,
)
from .role_options import role_options
from .schema import InventoryError, Problems, apply, describe, suggest

SCHEMA = 1

#: list variable -> the role that documents its items
LISTS = {
    "flask_apps": "flask", "django_apps": "django", "vue_sites": "vue", "nginx_sites": "nginx",
    "gunicorn_services": "gunicorn", "uwsgi_services": "uwsgi",
}
APPS = {"flask_apps": "flask", "django_apps": "django"}
SERVICES = {"gunicorn_services": "gunicorn", "uwsgi_services": "uwsgi"}
EDGE = "webstack_edge"
APP = "webstack_app"

# At most 24 characters, so that "ws-NAME" stays within the 32 of a user name.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_URL_PATH = re.compile(r"/([\w.~-]+/)+")
_CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\(\))?")
_DEVELOPMENT = re.compile(r"runserver|flask\s+run|\.run\b")
_VITE = re.compile(r"\bvite(\s+(dev|serve|preview)\b|\s*$|\s+-)|\bvue-cli-service\s+serve\b|"
                   r"(npm|yarn|bun)\s+(run\s+)?(dev|serve|start|preview)(?![\w:-])")


#: The `webstack_*` settings that hosts have of their own.
OF_HOSTS = ("webstack_address", "webstack_drained")


def wanted(names: Iterable[str]) -> list[str]:
    """Return those of the variable ``names`` that the normaliser reads."""
    known = set(LISTS) | set(role_options("plan")) | set(role_options("nginx"))
    return [name for name in names if name in known or name.split("__")[0] in LISTS and "__" in name]


#: earlier names, and what has come in their place
_RENAMED = {"nginx_worker_connections": "nginx_expected_connections, the clients at the same time"}


def misspelt(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, what to do) for variables that nearly are ones of ours: a run without them would say nothing."""
    shared, nginx = set(role_options("plan")), set(role_options("nginx"))
    found = []
    for name in names:
        stem = name.split("__")[0]
        if stem in LISTS or name in shared | nginx | {"webstack_plan"}:
            continue
        if name in _RENAMED:
            found.append((name, f"is no longer known. Write {_RENAMED[name]}."))
            continue
        near = difflib.get_close_matches(stem, [*LISTS, *shared, *nginx], n=1, cutoff=0.88)
        if near:
            found.append((name, f"is not known. Did you mean {near[0]!r}?"))
        elif name.startswith("webstack_"):
            found.append((name, f"is not known. The collection knows {', '.join(sorted(shared))}."))
    return found


def normalise(variables: Mapping[str, Mapping[str, Any]], groups: Mapping[str, list[str]],
              problems: Problems | None = None) -> dict[str, Any]:
    """Return the plan.

    ``variables`` maps each host to its variables, ``groups`` each group to its hosts in inventory order.
    ``problems`` may hold mistakes found before. Raises InventoryError with all mistakes found.
    """
    return _Normaliser(variables, groups, problems or Problems()).run()


class _Normaliser:
    def __init__(self, variables, groups, problems):
        self.variables = variables
        self.groups = groups
        self.problems = problems
        self.settings: dict[str, Any] = {}
        self.drained: set[str] = set()
        self.apps: dict[str, dict[str, Any]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.vue: dict[str, dict[str, Any]] = {}
        self.sites: dict[str, list[dict[str, Any]]] = {}
        self.names: dict[str, str] = {}  # of apps and services: they share unit names
        self.routed: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # app or Vue name -> (edge, site)

    def run(self) -> dict[str, Any]:
        self.settings = self._shared_settings()
        drafts = {variable: self._items(variable, role) for variable, role in LISTS.items()}
        for variable, framework in APPS.items():
            for path, item, _hosts in drafts[variable]:
                self._app(path, item, framework)
        for variable, server in SERVICES.items():
            for path, item, _hosts in drafts[variable]:
                self._hand_written(path, item, server)
        for path, item, _hosts in drafts["vue_sites"]:
            self._vue(path, item)
        self._find_routes(drafts["nginx_sites"])
        for app in self.apps.values():
            self._complete(app)
        for service in self.services.values():
            self._place(service)
        self._sites(drafts["nginx_sites"])
        self._listeners_clash()
        certificates = self._certificates()
        if self.problems:
            raise InventoryError(self.problems)
        for record in [*self.apps.values(), *self.services.values()]:
            self.services[record["name"]] = services.service_record(record, self.settings)
        return {
            "schema": SCHEMA,
            "environment": self.settings["webstack_environment"],
            "root": self.settings["webstack_root"],
            "keep": self.settings["webstack_keep_releases"],
            "log_days": self.settings["webstack_log_days"],
            "cache": self.settings["webstack_cache"],
            "authorities": self.settings["webstack_ca"],
            "unpinned": self.settings["webstack_unpinned"],
            "apps": self.apps,
            "services": self.services,
            "vue": self.vue,
            "sites": self.sites,
            "nginx": self.nginx_settings,
            "certificates": certificates,
            "private_ca": self.settings["webstack_private_ca"],
            "hosts": {host: self._host(host) for host in self.variables},
        }

    # -- reading what users wrote ------------------------------------------------------------------------------

    def _shared_settings(self) -> dict[str, Any]:
        """Return the ``webstack_*`` settings; all but those ``OF_HOSTS`` must be the same on every host."""
        options = role_options("plan")
        nginx = {key: spec for key, spec in role_options("nginx").items() if key != "nginx_sites"}
        result: dict[str, Any] = {}
        for name in options:
            given = {}
            for host, variables in self.variables.items():
                if variables.get(name) is not None:
                    given.setdefault(json.dumps(variables[name], default=str), (host, variables[name]))
            if name not in OF_HOSTS and len(given) > 1:
                hosts = [host for host, _value in given.values()]
                self.problems.add(name, f"differs between {' and '.join(hosts[:2])}. Write it once, for all hosts, "
                                        "for example in group_vars/all.yml.")
            if name not in OF_HOSTS and given:
                result[name] = next(iter(given.values()))[1]
        name = "webstack_drained"
        self.drained = {host for host, variables in self.variables.items()
                        if apply({name: variables.get(name)}, {name: options[name]}, "", self.problems)[name]}
        checked = apply(result, options, "", self.problems)
        self.nginx_settings = {
            host: apply({k: v for k, v in self.variables[host].items() if k in nginx}, nginx, "", self.problems)
            for host in self.groups.get(EDGE, []) if host in self.variables}
        if checked["webstack_keep_releases"] < 1:
            self.problems.add("webstack_keep_releases", "must be 1 or more; from 2 on there is one to go back to.")
        if checked["webstack_log_days"] < 1:
            self.problems.add("webstack_log_days", "must be 1 or more.")
        if not str(checked["webstack_root"]).startswith("/"):
            self.problems.add("webstack_root", "must be an absolute path, such as /srv/webstack.")
        return checked

    def _items(self, variable: str, role: str) -> list[tuple[str, dict[str, Any], list[str]]]:
        """Return (path, item, hosts that know it) for the list and for all lists named ``variable__SUFFIX``.

        Hosts usually share a list by way of group_vars; the same item on several hosts is one item.
        """
        options = role_options(role)[variable]["options"]
        seen: dict[tuple[str, str], tuple[str, dict[str, Any], list[str]]] = {}
        names: dict[str, tuple[str, str]] = {}
        for host, variables in self.variables.items():
            for key in sorted(name for name in variables if name == variable or name.startswith(f"{variable}__")):
                value = variables[key]
                if value is None:
                    continue
                if not isinstance(value, (list, tuple)):
                    self.problems.add(key, f"is {describe(value)}, and must be a list of dictionaries with a `name`.")
                    continue
                for index, item in enumerate(value):
                    path = f"{key}[{index}]"
                    content = json.dumps(item, sort_keys=True, default=str)
                    if (path, content) in seen:
                        seen[path, content][2].append(host)
                        continue
                    checked = apply(item, options, path, self.problems)
                    seen[path, content] = (path, checked, [host])
                    name = checked.get("name")
                    if name is None:
                        continue
                    if not _NAME.fullmatch(name):
                        self.problems.add(f"{path}.name", f"is {describe(name)}; write up to 24 small letters, digits "
                                                          "and dashes, a letter first, for example `my-shop`.")
                    elif name in names and variable != "nginx_sites":
                        other, other_host = names[name]
                        self.problems.add(f"{path}.name", f"{name!r} is taken by {other}" + (
                            f" (host {other_host}, and differs on {host}: an app is the same on all its hosts)."
                            if other == path else ". Give each its own name."))
                    names.setdefault(name, (path, host))
        return list(seen.values())

    # -- apps and services -------------------------------------------------------------------------------------

    def _claim(self, name: str | None, path: str) -> bool:
        """Reserve the unit name; say so where another list has it already."""
        if name is None:
            return False
        if name in self.names:
            # Twice in lists of one kind: `_items` has said so.
            if re.split(r"\[|__", self.names[name])[0] != re.split(r"\[|__", path)[0]:
                self.problems.add(f"{path}.name", f"{name!r} is taken by {self.names[name]}. Apps and services share "
                                                  "the names of their units: give each its own.")
            return False
        self.names[name] = path
        return True

    def _hosts_of(self, item: dict[str, Any], path: str) -> list[str]:
        group = item["hosts"]
        if group not in self.groups and group not in self.variables:
            known = [name for name in self.groups if name not in ("all", "ungrouped")]
            self.problems.add(f"{path}.hosts", f"{group!r} is no group of the inventory.{suggest(group, known)}")
            return []
        hosts = self.groups.get(group, [group])
        outside = [host for host in hosts if host not in self.groups.get(APP, [])]
        if outside:
            self.problems.add(f"{path}.hosts", f"{outside[0]} is not in the group {APP}, so nothing would run there. "
                                               "Add it to that group.")
        if not hosts:
            self.problems.add(f"{path}.hosts", f"the group {group!r} has no hosts.")
        return list(hosts)

    def _server(self, name: str, path: str) -> servers.Server | None:
        known = servers.load()
        if name not in known:
            self.problems.add(f"{path}.server", f"{name!r} is no app server. Write one of "
                                                f"{', '.join(sorted(known))}.{suggest(name, known)}")
            return None
        server = known[name]
        if server.development and self.settings["webstack_environment"] == "production":
            self.problems.add(
                f"{path}.server", "is 'development', a framework's own server: it is neither safe nor fast, and "
                "stops for every release. In production write `server: gunicorn` (or `uwsgi`); to try things out "
                "keep it, and write `webstack_environment: staging`.")
        return server

    def _app(self, path: str, item: dict[str, Any], framework: str) -> None:
        if not self._claim(item["name"], path):
            return
        name = item["name"]
        server = self._server(item["server"], path)
        given = item.pop("source")
        source = sources.check(given, f"{path}.source", self.problems) if given is not None else {}
        self._check_inside(item, ("directory", "requirements", "manage"), path)
        if framework == "django":
            self._check_django(item, path)
        self._check_callable(item["callable"], path)
        self._check_env(item["env"], path)
        self._check_port(item["port"], path)
        root = posixpath.join(self.settings["webstack_root"], "apps", name)
        index = item.pop("index")
        app = {
            **item,
            "access": access.of_app(self.settings, index, f"{path}.index", self.problems),
            "origin": path, "framework": framework, "user": f"ws-{name}", "root": root, "source": source,
            "hosts": self._hosts_of(item, path),
            "env": {key: _word(value) for key, value in item["env"].items()},
            "port": item["port"] or default_port(name),
            "files": {}, "release": None, "archive": "",
        }
        app_processes.complete(app, path, app["hosts"], self.problems, self._hosts_of)
        if server:
            app["settings"] = apply(item["settings"], server.options, f"{path}.settings", self.problems)
            app["server_requirements"] = list(server.requirements)
            router = [services.ROUTER_PACKAGE] if item["public"] else []
            app["packages"] = sorted({*item["packages"], *server.packages, *router})
            if item["public"] and not server.public:
                self.problems.add(f"{path}.public", f"{server.name} does not face the public by itself. Write "
                                                    "`server: uwsgi`, or leave `public` out and route a site to it.")
        if framework == "django":
            app["media_root"] = item["media_root"] or f"{root}/shared/media"
            app["writable"] = [*item["writable"], *([item["media_root"]] if item["media_root"] else [])]
        self.apps[name] = app

    def _check_inside(self, item: Mapping[str, Any], keys: Iterable[str], path: str, what: str = "the source") -> None:
        for key in keys:
            if item.get(key) and (item[key].startswith("/") or ".." in item[key].split("/")):
                self.problems.add(f"{path}.{key}", f"is {describe(item[key])}; write a path inside {what}.")

    def _check_django(self, item: dict[str, Any], path: str) -> None:
        """Check what the settings' wrapper is made from, and fill in the callable."""
        module = item["settings_module"]
        if module and not _MODULE.fullmatch(module):
            self.problems.add(f"{path}.settings_module", f"is {describe(module)}; write the module as Python imports "
                                                         "it, for example `shop.settings`.")
        elif module and not item["callable"]:
            item["callable"] = f"{module.rpartition('.')[0]}.wsgi:application".lstrip(".")
        for key in ("static", "media"):
            url = item[f"{key}_url"]
            if item[key] and not _URL_PATH.fullmatch(url):
                self.problems.add(f"{path}.{key}_url", f"is {describe(url)}; write a path with a slash at both ends, "
                                                       f"such as `/{key}/`, or `{key}: false` where others serve it.")
        if item["static"] and item["media"] and item["static_url"] == item["media_url"]:
            self.problems.add(f"{path}.media_url", f"is {describe(item['media_url'])}, as is `static_url`. Write "
                                                   "another one.")
        if item["media_root"] and not item["media_root"].startswith("/"):
            self.problems.add(f"{path}.media_root", f"is {describe(item['media_root'])}; write an absolute path on the "
                                                    "app's hosts.")

    def _check_port(self, port: int | None, path: str) -> None:
        if port is not None and not 1 <= port <= 65535:
            self.problems.add(f"{path}.port", f"is {port}; write a port from 1 to 65535, or leave it out.")

    def _check_callable(self, value: str | None, path: str) -> None:
        if not value or _CALLABLE.fullmatch(value):
            return
        message = f"is {describe(value)}; write `module:object`, for example `shop.main:app`."
        if _DEVELOPMENT.search(value):
            message = (f"is {describe(value)}, which starts a development server. Write the app object that a "
                       "production server loads, `callable: shop.main:app`, and with it `server: gunicorn`.")
        self.problems.add(f"{path}.callable", message)

    def _check_env(self, env: Mapping[str, Any], path: str) -> None:
        for key, value in env.items():
            if value is None or isinstance(value, (Mapping, list, tuple)):
                self.problems.add(f"{path}.env.{key}", "must be text or a number; write \"\" for an empty one.")
                continue
            try:
                format_env_file({str(key): value})
            except ValueError as error:
                self.problems.add(f"{path}.env.{key}", str(error))

    def _hand_written(self, path: str, item: dict[str, Any], server_name: str) -> None:
        if not self._claim(item["name"], path):
            return
        server = servers.load()[server_name]
        self._check_callable(item["callable"], path)
        self._check_env(item["env"], path)
        self._check_port(item["port"], path)
        app_processes.check_outbound(item["outbound"], path, self.problems)
        self.services[item["name"]] = {
            **item,
            "origin": path, "server": server_name, "hosts": self._hosts_of(item, path),
            "env": {key: _word(value) for key, value in item["env"].items()},
            "port": item["port"] or default_port(item["name"]),
            "settings": apply(item["settings"], server.options, f"{path}.settings", self.problems),
        }

    def _vue(self, path: str, item: dict[str, Any]) -> None:
        name = item["name"]
        if name is None or name in self.vue:
            return
        given, dist = item.pop("source"), item["dist"]
        if bool(given) == bool(dist):
            self.problems.add(path, "needs either a `source` to build from or a `dist` folder that is built already.")
        self._check_inside(item, ("directory",), path)
        self._check_inside(item["build"], ("output",), f"{path}.build")
        self._check_inside(item, ("settings_file",), path, "the site")
        # What is built is what git ignores, as a rule.
        source = {"kind": "folder", "folder": dist, "built": True}
        if given:
            source = sources.check(given, f"{path}.source", self.problems)
            if source.get("kind") == "package":
                self.problems.add(f"{path}.source.package", "a site is built from a folder, from git or from an "
                                                            "archive.")
        command = item["build"]["command"]
        if _VITE.search(command):
            self.problems.add(f"{path}.build.command", f"is {describe(command)}, which starts a development server. "
                                                       "Write `command: npm run build`, and leave the serving to "
                                                       "nginx with a route `vue: NAME`.")
        self.vue[name] = {
            **item, "origin": path, "source": source, "built": bool(dist),
            "root": posixpath.join(self.settings["webstack_root"], "vue", name),
            "release": None, "archive": "",
        }

    def _listeners_clash(self) -> None:
        """Refuse two programs on one address of one host: the second one to start would fail, or never answer."""
        taken: dict[tuple[str, int], list[tuple[str, str]]] = {}  # (host, port) -> [(address, the user's variable)]
        for edge, sites in self.sites.items():
            # Sites share nginx's own listeners; what is wrong among them is found by nginx_render.
            for site in sites:
                for listen in site["listen"]:
                    taken.setdefault((edge, listen["port"]), []).append((listen["address"], site["origin"]))
            if sites:
                taken.setdefault((edge, nginx_render.STATUS_PORT), []).append(
                    (nginx_render.STATUS_ADDRESS, "the loopback listener of nginx"))
        for record in [*self.apps.values(), *self.services.values()]:
            wanted = [(record["port"], "", f"{record['origin']}.port")]
            if (record.get("public") or {}).get("listen"):
                address, _colon, port = record["public"]["listen"].rpartition(":")
                if port.isdigit():
                    wanted.append((int(port), address.strip("[]"), f"{record['origin']}.public.listen"))
            for host in record["hosts"]:
                for port, address, path in wanted:
                    others = taken.setdefault((host, port), [])
                    clash = next((other for known, other in others if _same_address(known, address)), None)
                    if clash and clash != path:
                        key = f"listen: {address}:{port + 1}" if address else f"port: {port + 1}"
                        self.problems.add(path, f"{port} on {host} is taken by {clash}. Write another one, for "
                                                f"example `{key}`.")
                    others.append((address, path))

    # -- who talks to whom -------------------------------------------------------------------------------------

    def _find_routes(self, drafts) -> None:
        """Note for each app and Vue site the edges and sites that send requests to it."""
        for _path, site, hosts in drafts:
            for edge in hosts:
                if edge not in self.groups.get(EDGE, []):
                    continue
                for route in [site, *(site["routes"] or [])]:
                    if not isinstance(route, Mapping):
                        continue
                    # An app that says who may pass is asked by the edge too.
                    asked = [route.get("auth_request"), {} if route is site else route]
                    for name in (place.get(kind) for place in asked if isinstance(place, Mapping)
                                 for kind in ("app", "vue")):
                        if isinstance(name, str):
                            self.routed.setdefault(name, []).append((edge, site))

    def address(self, host: str, why: str) -> str:
        """Return the IP address of ``host``; it is a mistake not to have one, and ``why`` says who needs it."""
        variables = self.variables.get(host, {})
        for name in ("webstack_address", "ansible_host"):
            if variables.get(name):
                break
        text = str(variables.get(name) or host)
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            self.problems.add("webstack_address", f"is missing for host {host}: {why}, and {text!r} is no IP address. "
                                                  f"Write it in host_vars/{host}.yml.")
            return ""

    def _place(self, record: dict[str, Any]) -> None:
        """Work out where the app listens, and who may reach it: the one place where addresses are made."""
        name = record["name"]
        edges = sorted({edge for edge, _site in self.routed.get(name, [])})
        server = servers.load().get(record["server"])
        # Named after what is spoken on it: an app that changes its server also changes its address, so that nobody
        # ever speaks one protocol to the other.
        speaks = "uwsgi." if server and server.protocol == "uwsgi" else ""
        record["socket"] = f"/run/webstack/{name}.{speaks}sock"
        record["listen"], record["allow"] = {}, {}
        for host in record["hosts"]:
            remote = [edge for edge in edges if edge != host]
            record["listen"][host] = [record["socket"]]
            if server and not server.shared_socket:
                record["listen"][host] = [f"127.0.0.1:{record['port']}"]
                if remote:
                    self.problems.add(f"{record['origin']}.server", f"{record['server']!r} answers on its own host "
                                      f"alone, and {remote[0]} routes to it from another one.")
                continue
            if remote:
                why = f"{remote[0]} sends requests to {name} on {host}"
                record["listen"][host].append(_join(self.address(host, why), record["port"]))
                record["allow"][host] = [self.address(edge, why) for edge in remote]
        if not record["hosts"] and not edges:
            record["listen"] = {}

    def upstream(self, record: dict[str, Any], edge: str) -> list[tuple[str, str]]:
        """Return where the window on ``edge`` finds the app, and on which host: a unix socket on its own, else TCP."""
        result = []
        for host in record["hosts"]:
            addresses = record["listen"].get(host, [])
            local = edge == host
            for address in addresses:
                if address.startswith("/") == local or not address.startswith("/") and len(addresses) == 1:
                    result.append((f"unix:{address}" if address.startswith("/") else address, host))
        return result

    def _complete(self, app: dict[str, Any]) -> None:
        """Add what follows from the sites: host names, scheme, allowed hosts and origins, health."""
        self._place(app)
        sites = []
        for edge, site in self.routed.get(app["name"], []):
            if site not in [known for _edge, known in sites]:
                sites.append((edge, site))
        app["names"] = list(dict.fromkeys(name for _edge, site in sites for name in site["server_names"] or []))
        app["https"] = any(site.get("tls") for _edge, site in sites)
        concrete = [name for name in app["names"] if not name.startswith(("*", ".", "~"))]
        app["health"] = {**app["health"], "host": concrete[0] if concrete else "localhost", "https": app["https"]}
        remote = any(edge not in app["hosts"] for edge, _site in sites) or len(app["hosts"]) > 1
        if app["framework"] == "django":
            if app["media"] and len(app["hosts"]) > 1 and app["media_root"].startswith(app["root"] + "/"):
                self.problems.add(f"{app['origin']}.media_root", "is a folder of one host, and each of the hosts "
                                  f"{', '.join(app['hosts'])} would keep uploads of its own. Write a folder that they "
                                  "share, or `media: false`.")
            app["static_folder"] = self.static_folder(app["name"])
            app["static_remote"] = any(edge not in app["hosts"] for edge, _site in sites)
            app["media_by_app"] = bool(app["media"] and remote)
            origins = [f"{'https' if site.get('tls') else 'http'}://{host}{port}" for _edge, site in sites
                       for name in site["server_names"] or [] for host in _hosts_of_name(name)
                       for port in _ports(site)]
            app["origins"] = list(dict.fromkeys(origins))
            django_settings.add_to(app)
        app["env"].setdefault("WEBSTACK_SHARED", f"{app['root']}/shared")

    # -- sites -------------------------------------------------------------------------------------------------

    def _sites(self, drafts) -> None:
        for edge in self.groups.get(EDGE, []):
            self.sites[edge] = []
        for path, draft, hosts in drafts:
            for edge in hosts:
                if edge in self.sites:
                    self.sites[edge].append(self._site(path, draft, edge))
            if not self.sites.keys() & hosts:
                self.problems.add(path, f"belongs on no host: none that has it is in the group {EDGE}. Add the hosts "
                                        "that run nginx to this group.")
        for edge, sites in self.sites.items():
            # A site that is wrong in itself cannot be compared with others.
            whole = [site for site in sites if not self._in_error(site["origin"])]
            for path, message in nginx_render.check_sites(whole, self.nginx_settings.get(edge)):
                self.problems.add(path, message)

    def _certificates(self) -> dict[str, list[dict[str, Any]]]:
        """Return the sites of each edge whose certificate is made by the authority of one's own."""
        found = {}
        for edge, sites in self.sites.items():
            own = [site for site in sites if site["tls"] and site["tls"]["issuer"] == "private"]
            if own:
                found[edge] = [{"name": site["name"], "path": site["tls"]["certificate"],
                                "names": site_tls.subject_names(site["server_names"])} for site in own]
        authority = self.settings["webstack_private_ca"]
        if found and not authority["passphrase"]:
            self.problems.add("webstack_private_ca.passphrase", "is missing, and a site says `issuer: private`. Write "
                              "the words that the key of the authority is encrypted with, by ansible-vault.")
        if not 7 <= authority["days"] <= 397:
            self.problems.add("webstack_private_ca.days", f"is {authority['days']}; write 7 to 397.")
        if not 1 <= len(authority["name"]) <= 64:
            self.problems.add("webstack_private_ca.name", "must have 1 to 64 characters.")
        return found

    def _in_error(self, path: str) -> bool:
        return any(problem.path == path or problem.path.startswith((f"{path}.", f"{path}["))
                   for problem in self.problems.items)

    def _site(self, path: str, draft: dict[str, Any], edge: str) -> dict[str, Any]:
        context = _RouteContext(self, edge)
        own = features.resolve_site(draft, path, context)
        resolved = []
        for index, route in enumerate(draft["routes"] or []):
            where = f"{path}.routes[{index}]"
            record = routes.resolve(route, where, context) if route is not None else None
            if record:
                resolved.append(record)
        resolved = [{**route, "features": features.effective(own, route["kind"], route["features"],
                                                               route["path"])}
                    for route in self._with_files(resolved)]
        site = {**{key: value for key, value in draft.items() if key not in features.load()},
                "origin": path, "routes": resolved, "features": own}
        site["tls"] = site_tls.resolve(draft["tls"], draft, f"{path}.tls", self.problems.add)
        site["listen"] = nginx_render.listeners(site, self.problems)
        return site

    def _with_files(self, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the routes of a site and those that follow from its Django apps: static files and uploads.

        A route of the user's own to the same path wins; two apps with one path are a mistake.
        """
        own = {route["path"].rstrip("/") for route in given if route["match"] == "prefix"}
        made: dict[str, str] = {}
        result = []
        for route in given:
            result.append(route)
            app = self.apps.get(route.get("app", ""))
            for key, url, folder in self._folders(app) if app else ():
                other = made.setdefault(url, app["name"])
                if not folder and any(one.get("app") == app["name"] and one["match"] == "prefix"
                                      and url.startswith(one["path"]) for one in given):
                    continue
                if url.rstrip("/") in own or url in [one["path"] for one in result if other == app["name"]]:
                    continue
                if other != app["name"]:
                    self.problems.add(f"{app['origin']}.{key}_url", f"{url} is that of {other} too, on one site "
                                      f"({route['origin']}). Write another one, in the app's settings and here.")
                    continue
                origin = f"{route['origin']}.app"
                same = {"features": features.of_files(route["features"])}
                result.append({**routes.folder_route(origin, url, folder, uploads=key == "media"), **same} if folder
                              else {**route, "origin": origin, "path": url, "match": "prefix", "directives": "",
                                    **same})
        return result

    def _folders(self, app: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return (key, URL path, folder) of an app's files; no folder means that the app hands them out itself."""
        found = []
        if app.get("static"):
            found.append(("static", app["static_url"], self.static_folder(app["name"])))
        if app.get("media"):
            found.append(("media", app["media_url"], "" if app["media_by_app"] else app["media_root"]))
        return found

    def static_folder(self, name: str) -> str:
        return posixpath.join(self.settings["webstack_root"], "static", name)

    def _host(self, host: str) -> dict[str, Any]:
        on_edge = [record for site in self.sites.get(host, []) for record in site["routes"]]
        apps = {record["app"] for record in on_edge if record["kind"] == "app"} & set(self.apps)
        return {
            "apps": [name for name, app in self.apps.items() if host in app["hosts"]],
            "services": [name for name, service in self.services.items() if host in service["hosts"]],
            "vue": sorted({record["vue"] for record in on_edge if record["kind"] == "vue"}),
            "static": sorted(name for name in apps if self.apps[name].get("static")),
        }


class _RouteContext:
    """What the kinds of routes may ask while they are resolved."""

    def __init__(self, normaliser: _Normaliser, edge: str):
        self._normaliser = normaliser
        self.edge = edge

    def app(self, name: str) -> dict[str, Any] | None:
        """Return the app or service of that name with ``servers``, its addresses as seen from this edge."""
        record = self._normaliser.apps.get(name) or self._normaliser.services.get(name)
        if record is None:
            return None
        server = servers.load().get(record["server"])
        found = self._normaliser.upstream(record, self.edge)
        drained = [address for address, host in found if host in self._normaliser.drained]
        if found and len(drained) == len(found):
            self.error("webstack_drained", f"is true on {' and '.join(host for _address, host in found)}, and nobody "
                                           f"would answer for {name}: leave it out on one host, or close the site "
                                           "with the playbook `maintenance`.")
        return {**record, "servers": [address for address, _host in found], "drained": drained,
                "server_hosts": [host for _address, host in found],
                "protocol": server.protocol if server else "http"}

    def vue(self, name: str) -> dict[str, Any] | None:
        return self._normaliser.vue.get(name)

    def names(self, kind: str) -> list[str]:
        """Return the names that exist, for suggestions."""
        if kind == "vue":
            return list(self._normaliser.vue)
        return [*self._normaliser.apps, *self._normaliser.services]

    def error(self, path: str, message: str) -> None:
        self._normaliser.problems.add(path, message)


def _word(value: Any) -> str:
    """Return an environment variable's text; what YAML reads as true stays what the user wrote, "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def default_port(name: str) -> int:
    """Return the app's TCP port, from its name alone: it does not move when other apps come and go."""
    return 20000 + zlib.crc32(name.encode()) % 10000


def _hosts_of_name(name: str) -> list[str]:
    """Return the hosts of an origin for one of nginx's names: ".x" is x and all below it, "~x" could be anything."""
    return [] if name.startswith("~") else [name[1:], f"*{name}"] if name.startswith(".") else [name]


def _same_address(one: str, other: str) -> bool:
    """Tell whether two listeners of one port are in each other's way; "", "*", 0.0.0.0 and :: are all addresses."""
    every = {"", "*", "0.0.0.0", "::", "[::]"}
    return one == other or one in every or other in every


def _ports(site: Mapping[str, Any]) -> list[str]:
    """Return the ports that a browser's origin shows: ":8080", or "" for the scheme's own."""
    own = "443" if site.get("tls") else "80"
    ports = [str(item).rpartition(":")[2] for item in site.get("listen") or []]
    if site.get("tls"):
        ports = [port for port in ports if port != "80"]  # always plain: it leads to HTTPS
    return list(dict.fromkeys("" if port == own else f":{port}" for port in ports)) or [""]


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
