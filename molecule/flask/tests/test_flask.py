"""A Flask app that comes as a package, ready to be served."""

import json

ROOT = "/srv/webstack/apps/httpbin"


def release_of(host):
    releases = host.file(f"{ROOT}/releases").listdir()
    assert len(releases) == 1, releases
    return f"{ROOT}/releases/{releases[0]}"


def test_release_is_whole(host):
    record = json.loads(host.file(f"{release_of(host)}/release.json").content_string)
    assert (record["app"], record["framework"]) == ("httpbin", "flask")
    assert list(record["steps"]) == ["built"]


def test_package_has_the_version_that_was_asked_for(host):
    said = host.check_output(f"{release_of(host)}/venv/bin/python -c "
                             "'import importlib.metadata as m; print(m.version(\"httpbin\"))'")
    assert said == "0.10.4"


def test_app_answers_in_its_own_process(host):
    release = release_of(host)
    script = "import httpbin; print(httpbin.app.test_client().get('/status/200').status_code)"
    said = host.check_output(
        f"runuser -u ws-httpbin -- env -C {release}/source {release}/venv/bin/python -c \"{script}\"")
    assert said.splitlines()[-1] == "200"


def test_release_cannot_be_changed_by_the_app(host):
    release = release_of(host)
    assert host.check_output(f"find {release} ! -user root -o ! -type l -perm /022") == ""
    assert host.run(f"runuser -u ws-httpbin -- touch {release}/venv/new").rc != 0


def test_environment_file_is_roots_alone(host):
    env = host.file(f"/etc/webstack/httpbin/{release_of(host).rpartition('/')[2]}/env")
    assert (env.user, env.group, oct(env.mode)) == ("root", "root", "0o600")
    assert "GREETING" in env.content_string


def test_nothing_serves_it_yet(host):
    # This role makes releases; serving them is the next stage's.
    assert host.check_output("systemctl list-units --all --plain --no-legend 'webstack-*'") == ""
