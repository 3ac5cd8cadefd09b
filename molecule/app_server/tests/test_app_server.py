"""A framework's own server, for trying things out: it answers on loopback and is the app's user's, nothing more."""

import json

ROOT = "/srv/webstack/apps/httpbin"


def live_unit(host):
    units = host.check_output(
        "systemctl list-units --plain --no-legend --state=active 'webstack-httpbin@*.service'").splitlines()
    assert len(units) == 1, units
    return units[0].split()[0]


def main_pid(host):
    return host.check_output("systemctl show --property=MainPID --value %s", live_unit(host))


def address(host):
    """Return the one address that the server listens on."""
    lines = host.check_output("ss --no-header --listening --tcp --numeric --processes").splitlines()
    found = [line.split()[3] for line in lines if f"pid={main_pid(host)}," in line]
    assert len(found) == 1, lines
    return found[0]


def test_live_release_runs_and_starts_at_boot(host):
    release = json.loads(host.file(f"{ROOT}/record.json").content_string)["live"]
    unit = live_unit(host)
    assert unit == f"webstack-httpbin@{release}.service"
    assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled"


def test_it_listens_on_loopback_alone(host):
    assert address(host).startswith("127.0.0.1:")


def test_it_runs_as_the_apps_user(host):
    assert host.check_output("ps -o user= -p %s", main_pid(host)) == "ws-httpbin"


def test_it_is_the_frameworks_own_server(host):
    assert "flask --app httpbin:app run" in host.check_output("ps -o args= -p %s", main_pid(host))


def test_it_answers(host):
    script = f"import urllib.request as u; print(u.urlopen('http://{address(host)}/status/200', timeout=10).status)"
    assert host.check_output("python3 -c %s", script) == "200"


def test_host_has_no_failed_unit(host):
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
