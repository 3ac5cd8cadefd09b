"""A Django app: checked, migrated, its static files collected, ready to be served."""

import json
from types import SimpleNamespace

import pytest


@pytest.fixture
def app(host):
    """Return where the app of this host is; each host has one of its own."""
    name = f"guestbook-{host.system_info.release.split('.')[0]}"
    root = f"/srv/webstack/apps/{name}"
    releases = host.file(f"{root}/releases").listdir()
    assert len(releases) == 1, releases
    release = f"{root}/releases/{releases[0]}"
    return SimpleNamespace(name=name, user=f"ws-{name}", root=root, release=release,
                           env=f"/etc/webstack/{name}/{releases[0]}/env")


def in_app(host, app, script):
    """Run Python in the app's environment, as its service will."""
    return host.check_output(
        f"systemd-run --quiet --wait --pipe --uid={app.user} --property=EnvironmentFile={app.env} "
        f"--working-directory={app.release}/source {app.release}/venv/bin/python -c %s", script)


def test_all_steps_are_done(host, app):
    record = json.loads(host.file(f"{app.release}/release.json").content_string)
    assert record["framework"] == "django"
    assert sorted(record["steps"]) == ["built", "checked", "migrated", "static"]


def test_database_is_migrated_and_the_apps_own(host, app):
    database = host.file(f"{app.root}/shared/db.sqlite3")
    assert (database.user, database.group) == (app.user, app.user)
    assert database.mode & 0o007 == 0
    # The second migration writes an entry.
    assert in_app(host, app, "import django; django.setup(); from entries.models import Entry; "
                             "print(Entry.objects.count())") == "1"


def test_static_files_are_collected_with_their_manifest(host, app):
    manifest = json.loads(host.file(f"{app.release}/static/staticfiles.json").content_string)
    for name in ("entries/guestbook.css", "admin/css/base.css"):
        file = host.file(f"{app.release}/static/{manifest['paths'][name]}")
        assert file.is_file
        assert (file.user, oct(file.mode)) == ("root", "0o644")
    assert host.check_output(f"find {app.release}/static ! -user root") == ""


def test_settings_know_where_the_files_are(host, app):
    said = json.loads(in_app(host, app, "import django, json; django.setup(); from django.conf import settings as s; "
                                        "print(json.dumps([str(s.STATIC_ROOT), str(s.MEDIA_ROOT), s.DEBUG]))"))
    assert said == [f"{app.release}/static", f"{app.root}/shared/media", False]


def test_uploads_can_be_written_and_nothing_else(host, app):
    def may_write(path):
        return host.run(f"runuser -u {app.user} -- touch {path}/new").rc == 0

    assert may_write(f"{app.root}/shared/media")
    host.check_output(f"rm {app.root}/shared/media/new")
    for folder in (app.release, f"{app.release}/source", f"{app.release}/static", f"{app.release}/venv",
                   f"{app.release}/webstack", f"/etc/webstack/{app.name}"):
        assert not may_write(folder), folder
    assert host.check_output(f"find {app.release} ! -user root -o ! -type l -perm /022") == ""


def test_environment_file_is_roots_alone(host, app):
    env = host.file(app.env)
    assert (env.user, env.group, oct(env.mode)) == ("root", "root", "0o600")


def test_app_answers_in_its_own_process(host, app):
    said = in_app(host, app, "import django; django.setup(); from django.test import Client; "
                             "print(Client(headers={'host': 'localhost'}).get('/api/health/').status_code)")
    assert said.splitlines()[-1] == "200"
