# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sites and routes say beside where requests go: where it holds, and what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options


class Context:
    """The normaliser, as far as features know it."""

    def __init__(self):
        self.errors = []

    def error(self, path, message):
        self.errors.append((path, message))


def test_every_feature_has_its_options_in_the_argument_spec():
    for name in features.load():
        assert site_options()[name]["description"]


def test_a_feature_of_routes_has_no_default():
    # With one, a route that says nothing could not be told from one that says the default.
    for name, feature in features.load().items():
        if feature.routes:
            assert site_options()[name].get("default") is None, name


@pytest.mark.parametrize("of_site, of_route, expected", [
    (None, None, None),
    ({"allow": ["192.0.2.1"], "deny": []}, None, ["192.0.2.1"]),
    ({"allow": ["192.0.2.1"], "deny": []}, {"allow": ["10.0.0.0/8"], "deny": []}, ["10.0.0.0/8"]),
    ({"allow": ["192.0.2.1"], "deny": []}, {"allow": [], "deny": []}, None),
])
def test_what_a_route_says_wins(of_site, of_route, expected):
    context = Context()
    own = features.resolve_site({"access": of_site}, "nginx_sites[0]", context)
    route = features.resolve_route({"access": of_route}, "app", "nginx_sites[0].routes[0]", context)
    found = features.effective(own, "app", route).get("access")
    assert (found and found["allow"]) == expected
    assert not context.errors


@pytest.mark.parametrize("text", ["192.0.2", "192.0.2.1/24", "example.com", "all", ""])
def test_access_wants_addresses(text):
    context = Context()
    features.resolve_site({"access": {"allow": ["10.0.0.1", text], "deny": []}}, "nginx_sites[0]", context)
    [(path, message)] = context.errors
    assert path == "nginx_sites[0].access.allow[1]"
    assert "write an address or a network" in message


def test_every_kind_of_route_has_gates():
    gates = {name for name, feature in features.load().items() if feature.gate}
    assert {"access", "auth_request", "basic_auth", "bots", "methods"} <= gates
    for kind in routes.load().values():
        assert gates <= routes.options(kind).keys(), kind.name


@pytest.mark.parametrize("path, of_route, holds", [
    ("/", None, True), ("/.well-known/", None, True), ("/.well-known/acme-challenge/", None, False),
    ("/.well-known/acme-challenge/x", {"allow": ["192.0.2.1"], "deny": []}, True),
])
def test_who_may_pass_is_nothing_for_certificate_authorities(path, of_route, holds):
    context = Context()
    own = features.resolve_site({"access": {"allow": ["192.0.2.1"], "deny": []}}, "nginx_sites[0]", context)
    route = features.resolve_route({"access": of_route}, "answer", "nginx_sites[0].routes[0]", context)
    assert ("access" in features.effective(own, "answer", route, path)) == holds
