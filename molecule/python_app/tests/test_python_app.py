"""Releases of two apps: whole, the app's to read and nobody's to change, and closed to the other app."""

import json

import pytest

ROOT = "/srv/webstack/apps"
APPS = ["alpha", "beta"]
# What inventory.yml gives to both.
SECRET = 'it\'s a "secret" of $HOME \\ 100% #1'


def release_of(host, app):
    """Return the path of the app's only release."""
    releases = host.file(f"{ROOT}/{app}/releases").listdir()
    assert len(releases) == 1, releases
    return f"{ROOT}/{app}/releases/{releases[0]}"


def as_user(host, app, command):
    """Run a command as the app's user, and return whether it succeeded."""
    return host.run(f"runuser -u ws-{app} -- {command}").rc == 0


def owner(host, path):
    file = host.file(path)
    return file.user, file.group, oct(file.mode)


@pytest.mark.parametrize("app", APPS)
def test_user_cannot_log_in(host, app):
    user = host.user(f"ws-{app}")
    assert user.shell == "/usr/sbin/nologin"
    assert user.home == f"{ROOT}/{app}"
    assert user.groups == [f"ws-{app}"]


@pytest.mark.parametrize("app", APPS)
def test_folders_have_their_owners(host, app):
    assert owner(host, f"{ROOT}/{app}") == ("root", "root", "0o755")
    assert owner(host, f"{ROOT}/{app}/releases") == ("root", f"ws-{app}", "0o750")
    assert owner(host, f"{ROOT}/{app}/shared") == (f"ws-{app}", "www-data", "0o710")
    assert owner(host, f"{ROOT}/{app}/shared/media") == (f"ws-{app}", "www-data", "0o2750")
    assert owner(host, release_of(host, app)) == ("root", f"ws-{app}", "0o750")


@pytest.mark.parametrize("app", APPS)
def test_release_cannot_be_changed_by_the_app(host, app):
    release = release_of(host, app)
    assert host.check_output(f"find {release} ! -user root") == ""
    # A link's own mode says nothing.
    assert host.check_output(f"find {release} ! -type l -perm /022") == ""
    assert not as_user(host, app, f"touch {release}/source/new")
    assert not as_user(host, app, f"touch {release}/venv/new")
    assert as_user(host, app, f"touch {ROOT}/{app}/shared/new")
    host.check_output(f"rm {ROOT}/{app}/shared/new")


@pytest.mark.parametrize(("app", "other"), [APPS, APPS[::-1]])
def test_other_app_sees_nothing(host, app, other):
    release = release_of(host, other)
    for path in (f"{release}/source/hello.py", f"{release}/release.json", f"{release}/venv/bin/python",
                 f"/etc/webstack/{other}/{release.rpartition('/')[2]}/env"):
        assert host.file(path).exists, path
        assert not as_user(host, app, f"cat {path}"), path
    for folder in (f"{ROOT}/{other}/releases", f"{ROOT}/{other}/shared"):
        assert not as_user(host, app, f"ls {folder}"), folder
    assert not as_user(host, app, f"touch {ROOT}/{other}/shared/media/new")


@pytest.mark.parametrize("app", APPS)
def test_environment_file_is_roots_alone(host, app):
    path = f"/etc/webstack/{app}/{release_of(host, app).rpartition('/')[2]}/env"
    assert owner(host, path) == ("root", "root", "0o600")
    assert not as_user(host, app, f"cat {path}")


@pytest.mark.parametrize("app", APPS)
def test_systemd_reads_the_environment_as_it_was_written(host, app):
    path = f"/etc/webstack/{app}/{release_of(host, app).rpartition('/')[2]}/env"
    said = host.check_output(f"systemd-run --quiet --wait --pipe --property=EnvironmentFile={path} printenv SECRET")
    assert said == SECRET


@pytest.mark.parametrize("app", APPS)
def test_app_can_be_imported_by_its_user(host, app):
    release = release_of(host, app)
    assert as_user(host, app, f"env -C {release}/source {release}/venv/bin/python -c 'import hello; hello.app'")


@pytest.mark.parametrize(("app", "packages"), [("alpha", {"gunicorn": "27.0.1"}),
                                               ("beta", {"uwsgi": None, "itsdangerous": "2.2.0"})])
def test_environment_has_the_server_and_the_requirements(host, app, packages):
    python = f"{release_of(host, app)}/venv/bin/python"
    script = ("import importlib.metadata as m, json;"
              "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))")
    found = json.loads(host.check_output(f"{python} -c \"{script}\""))
    for name, version in packages.items():
        assert name in found
        assert version in (None, found[name])


@pytest.mark.parametrize("app", APPS)
def test_release_says_what_it_is(host, app):
    record = json.loads(host.file(f"{release_of(host, app)}/release.json").content_string)
    assert record["schema"] == 1
    assert record["app"] == app
    assert record["framework"] == "flask"
    assert record["release"] == release_of(host, app).rpartition("/")[2]
    assert "built" in record["steps"]
    assert record["unpinned"] == []
    assert len(record["environment"]) == 64


def test_nothing_is_left_of_the_build(host):
    assert host.check_output("find /srv/webstack /var/cache/webstack -name '*.partial' -o -name 'build-*'") == ""


def test_no_secret_in_the_journal(host):
    assert "it's a" not in host.check_output("journalctl --no-pager --quiet --since=-1h")
