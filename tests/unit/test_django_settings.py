# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings module before a Django app's own one: rendered, and run before settings of several kinds."""

from __future__ import annotations

import sys
import types

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import django_settings

APP = {
    "name": "blog", "settings_module": "blog_settings", "root": "/srv/webstack/apps/blog", "env": {}, "files": {},
    "names": ["www.example.com", "*.example.com", r"~^a\d$"], "public": None,
    "origins": ["https://www.example.com", "https://*.example.com"], "static": True, "static_url": "/static/",
    "media": True, "media_url": "/media/", "media_root": "/srv/webstack/apps/blog/shared/media", "media_by_app": False,
}
WRAPPER = "webstack/webstack_settings.py"
PROXY = ("HTTP_X_FORWARDED_PROTO", "https")


def app_with(**more):
    app = {**APP, "env": {}, "files": {}, **more}
    django_settings.add_to(app)
    return app


def run(monkeypatch, own, **more):
    """Return the names that the wrapper defines before the app's ``own`` settings."""
    module = types.ModuleType("blog_settings")
    vars(module).update({"ROOT_URLCONF": "blog.urls", **own})
    monkeypatch.setitem(sys.modules, "blog_settings", module)
    names = {}
    exec(compile(app_with(**more)["files"][WRAPPER], WRAPPER, "exec"), names)  # noqa: S102
    return names


@pytest.mark.parametrize("own, more, name, value", [
    # what follows from the sites, where the app's own settings say nothing
    ({}, {}, "ALLOWED_HOSTS", ["www.example.com", ".example.com"]),
    ({"ALLOWED_HOSTS": []}, {}, "ALLOWED_HOSTS", ["www.example.com", ".example.com"]),
    ({}, {}, "CSRF_TRUSTED_ORIGINS", ["https://www.example.com", "https://*.example.com"]),
    ({}, {}, "SECURE_PROXY_SSL_HEADER", PROXY),
    # what the app says stands
    ({"ALLOWED_HOSTS": ["x"]}, {}, "ALLOWED_HOSTS", ["x"]),
    ({"CSRF_TRUSTED_ORIGINS": ["https://x"]}, {}, "CSRF_TRUSTED_ORIGINS", ["https://x"]),
    ({"SECURE_PROXY_SSL_HEADER": ("HTTP_X", "on")}, {}, "SECURE_PROXY_SSL_HEADER", ("HTTP_X", "on")),
    ({"DEBUG": False}, {}, "DEBUG", False),
    ({"SECRET_KEY": "s"}, {}, "SECRET_KEY", "s"),
    # nothing is made up without a site; nobody's header is believed without nginx
    ({}, {"names": [], "origins": []}, "ALLOWED_HOSTS", None),
    ({}, {"names": ["~^x$"], "origins": []}, "ALLOWED_HOSTS", None),
    ({}, {"names": [], "origins": []}, "SECURE_PROXY_SSL_HEADER", None),
    ({}, {"public": {"listen": "0.0.0.0:80"}}, "SECURE_PROXY_SSL_HEADER", None),
    # files
    ({"STATIC_ROOT": "/x"}, {}, "STATIC_ROOT", "/srv/webstack/apps/blog/releases/@RELEASE@/static"),
    ({"STATIC_URL": "x/"}, {}, "STATIC_URL", "/static/"),
    ({"STATIC_URL": "x/"}, {"static": False}, "STATIC_URL", "x/"),
    ({}, {"static": False}, "STATIC_ROOT", None),
    ({"MEDIA_ROOT": "/x"}, {}, "MEDIA_ROOT", "/srv/webstack/apps/blog/shared/media"),
    ({}, {"media_root": '/mnt/a "b"\\c'}, "MEDIA_ROOT", '/mnt/a "b"\\c'),
    ({"MEDIA_ROOT": "/x"}, {"media": False}, "MEDIA_ROOT", "/x"),
    ({}, {}, "ROOT_URLCONF", "blog.urls"),
    ({}, {"media_by_app": True}, "ROOT_URLCONF", "webstack_urls"),
    ({}, {"media_by_app": True}, "WEBSTACK_URLCONF", "blog.urls"),
])
def test_settings(monkeypatch, own, more, name, value):
    assert run(monkeypatch, own, **more).get(name) == value


@pytest.mark.parametrize("env, module, path", [
    ({}, "webstack_settings", "/srv/webstack/apps/blog/releases/@RELEASE@/webstack"),
    ({"DJANGO_SETTINGS_MODULE": "mine"}, "mine", "/srv/webstack/apps/blog/releases/@RELEASE@/webstack"),
    ({"PYTHONPATH": "/x"}, "webstack_settings", "/srv/webstack/apps/blog/releases/@RELEASE@/webstack:/x"),
])
def test_the_environment_names_the_wrapper_unless_the_user_names_another(env, module, path):
    app = app_with(env=dict(env))
    assert (app["env"]["DJANGO_SETTINGS_MODULE"], app["env"]["PYTHONPATH"]) == (module, path)


@pytest.mark.parametrize("by_app, names", [
    (False, ["webstack/webstack_settings.py"]), (True, ["webstack/webstack_settings.py", "webstack/webstack_urls.py"]),
])
def test_the_files_are_python(by_app, names):
    files = app_with(media_by_app=by_app)["files"]
    assert sorted(files) == names
    for name, text in files.items():
        compile(text, name, "exec")
