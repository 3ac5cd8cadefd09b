# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites for the tests of features: what a user writes, and nginx's configuration or the mistakes that come of it."""

from __future__ import annotations

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, nginx_syntax, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply


class Context:
    """The normaliser, as far as sites know it: the apps `http` and `uwsgi`, named after what they speak."""

    def __init__(self):
        self.problems = Problems()

    def app(self, name):
        known = {"protocol": name, "servers": [f"unix:/run/{name}.sock"], "settings": {}}
        return known if name in ("http", "uwsgi") else None

    def vue(self, name):
        return {"root": f"/srv/{name}"}

    def names(self, kind):
        return ["http", "uwsgi"]

    def error(self, path, message):
        self.problems.add(path, message)


def make(written, name="shop", index=0, **values):
    """Return (record, mistakes) of one site with these routes."""
    context, origin = Context(), f"nginx_sites[{index}]"
    values = {"name": name, "server_names": [f"{name}.example.com"], **values}
    site = {**apply(values, site_options(), origin, context.problems), "origin": origin}
    own = features.resolve_site(site, origin, context)
    made = [routes.resolve(route, f"{origin}.routes[{number}]", context) for number, route in enumerate(written)]
    record = {**site, "features": own, "listen": nginx_render.listeners(site, context.problems), "routes": [
        {**one, "features": features.effective(own, one["kind"], one["features"], one["path"])} for one in made if one]}
    return record, [(problem.path, problem.message) for problem in context.problems.items]


def render(*sites, file="", settings=None):
    """Return the text of a file, that of the first site where none is named; nothing may be wrong with them."""
    assert nginx_render.check_sites(sites, settings or {}) == []
    files, _origins = nginx_render.render(sites, settings or {})
    for path, text in files.items():
        if path.endswith(".conf"):
            nginx_syntax.statements(text)
    return files[file or f"sites/{sites[0]['name']}.conf"]


def rendered(written, file="", **values):
    """Return the text of a file for one site with these routes."""
    site, mistakes = make(written, **values)
    assert mistakes == []
    return render(site, file=file)


def block(text, start):
    """Return the text of the block that begins with this line, without the spaces at the start of its lines."""
    lines = text[text.index(start):].split("\n")
    depth, found = 0, []
    for line in lines:
        depth += line.count("{") - line.count("}") if '"' not in line or line.rstrip().endswith("{") else 0
        found.append(line.strip())
        if depth == 0:
            break
    return "\n".join(found)
