# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings module that stands before a Django app's own one.

An app that was written on a laptop knows neither its host names nor that nginx stands before it. The wrapper imports
the app's settings, lets all they say stand, and fills in what they leave out.
"""

from __future__ import annotations

from typing import Any

import jinja2

#: the module's name, and the folder of the release that holds it
MODULE = "webstack_settings"
FOLDER = "webstack"

_SETTINGS = '''\
"""{{ app.name }}: {{ app.settings_module }}, and what follows from the sites that it answers for."""

from {{ app.settings_module }} import *  # noqa: F401,F403
from {{ app.settings_module }} import __dict__ as _own

{% if allowed %}
# Only what the app's own settings leave empty: the host names of its sites and their origins.
ALLOWED_HOSTS = _own.get("ALLOWED_HOSTS") or {{ allowed | pprint }}
CSRF_TRUSTED_ORIGINS = _own.get("CSRF_TRUSTED_ORIGINS") or {{ app.origins | pprint }}
{% endif %}
{% if app.behind_proxy %}
# nginx overwrites this header on every request, so that no client can forge it.
SECURE_PROXY_SSL_HEADER = _own.get("SECURE_PROXY_SSL_HEADER") or ("HTTP_X_FORWARDED_PROTO", "https")
{% endif %}
{% if app.static %}
# Each release has static files of its own, so that they never disagree with the code.
STATIC_ROOT = {{ (app.root ~ "/releases/@RELEASE@/static") | pprint }}
STATIC_URL = {{ app.static_url | pprint }}
{% endif %}
{% if app.media %}
# Uploads outlive the release.
MEDIA_ROOT = {{ app.media_root | pprint }}
MEDIA_URL = {{ app.media_url | pprint }}
{% endif %}
{% if app.media_by_app %}
# The window is on another host and cannot see the uploads: this app hands them out.
WEBSTACK_URLCONF = _own["ROOT_URLCONF"]
ROOT_URLCONF = "webstack_urls"
{% endif %}
'''

_URLS = '''\
"""The app's own URLs, and before them the uploads: the window on another host cannot read this host's files."""

import os
from importlib import import_module

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.http import FileResponse, Http404
from django.urls import include, path
from django.utils._os import safe_join
from django.views.decorators.http import require_safe


@require_safe
def _upload(request, name):
    try:
        full = safe_join(settings.MEDIA_ROOT, name)
    except (SuspiciousFileOperation, ValueError):
        raise Http404 from None
    if not os.path.isfile(full):
        raise Http404
    answer = FileResponse(open(full, "rb"))
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return answer


urlpatterns = [
    path(settings.MEDIA_URL.lstrip("/") + "<path:name>", _upload),
    path("", include(settings.WEBSTACK_URLCONF)),
]

# The app's own error pages go on.
for _name in ("handler400", "handler403", "handler404", "handler500"):
    _handler = getattr(import_module(settings.WEBSTACK_URLCONF), _name, None)
    if _handler is not None:
        globals()[_name] = _handler
'''


def add_to(app: dict[str, Any]) -> None:
    """Add the wrapper to the app record's ``files`` and ``env``; a DJANGO_SETTINGS_MODULE of the user's wins."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pprint"] = repr
    # nginx's ~ is a regular expression, which Django has no word for.
    allowed = [name.replace("*.", ".", 1) for name in app["names"] if not name.startswith("~")]
    app["behind_proxy"] = bool(app["names"]) and not app["public"]
    app["files"][f"{FOLDER}/{MODULE}.py"] = environment.from_string(_SETTINGS).render(
        app=app, allowed=allowed)
    if app["media_by_app"]:
        app["files"][f"{FOLDER}/webstack_urls.py"] = _URLS
    folder = f"{app['root']}/releases/@RELEASE@/{FOLDER}"
    own = app["env"].get("PYTHONPATH")
    app["env"]["PYTHONPATH"] = f"{folder}:{own}" if own else folder
    app["env"].setdefault("DJANGO_SETTINGS_MODULE", MODULE)
