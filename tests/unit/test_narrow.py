# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan that is narrowed to one app, and to a version of it."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.narrow import narrow
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError


@pytest.fixture
def plan():
    def app(name, **source):
        return {"name": name, "origin": f"flask_apps[{name}]", "source": source}

    return {
        "apps": {"shop": app("shop", kind="git", git="url", version="v1"), "blog": app("blog", kind="folder"),
                 "bin": app("bin", kind="package", package="httpbin == 1")},
        "services": {name: {"name": name, "origin": f"x[{name}]"} for name in ("shop", "blog", "bin", "wiki")},
        "vue": {"web": app("web", kind="git", git="url", version="v1")},
        "hosts": {"a": {"apps": ["shop", "blog"], "services": ["shop", "blog", "wiki"], "vue": ["web"],
                        "static": ["shop"]},
                  "b": {"apps": ["bin"], "services": ["bin"], "vue": [], "static": []}},
    }


def test_no_name_leaves_the_plan_as_it_is(plan):
    before = repr(plan)
    narrow(plan, "")
    assert repr(plan) == before


def test_one_app(plan):
    narrow(plan, "shop")
    assert plan["hosts"]["a"] == {"apps": ["shop"], "services": ["shop"], "vue": [], "static": ["shop"]}
    assert plan["hosts"]["b"] == {"apps": [], "services": [], "vue": [], "static": []}
    assert plan["apps"]["shop"]["asked"] == plan["services"]["shop"]["asked"] == "name"
    assert plan["apps"]["blog"]["left_out"] and plan["vue"]["web"]["left_out"]
    assert plan["apps"]["shop"]["source"]["version"] == "v1"


@pytest.mark.parametrize("name", ["web", "wiki"])
def test_a_vue_site_and_a_service_have_names_too(plan, name):
    narrow(plan, name)
    assert [item for host in plan["hosts"].values() for key in host for item in host[key]] == [name]


def test_another_version(plan):
    narrow(plan, "shop", "v2")
    assert plan["apps"]["shop"]["source"]["version"] == "v2"
    assert plan["apps"]["shop"]["asked"] == "version"


def test_another_version_of_a_package(plan):
    narrow(plan, "bin", "2")
    assert plan["apps"]["bin"]["source"]["package"] == "httpbin==2"


@pytest.mark.parametrize(("name", "version", "words"), [
    ("shpo", "", ["app: 'shpo' is no app", "shop, blog", "Did you mean 'shop'?"]),
    ("", "v2", ["version: is of one app", "-e app=NAME"]),
    ("blog", "v2", ["version: flask_apps[blog] has no source with versions"]),
    ("wiki", "v2", ["version: x[wiki] has no source with versions"]),
    ("shop", "--upload-pack=x", ["must not start with a dash"]),
])
def test_what_cannot_be_deployed(plan, name, version, words):
    with pytest.raises(InventoryError) as caught:
        narrow(plan, name, version)
    for word in words:
        assert word in str(caught.value)
