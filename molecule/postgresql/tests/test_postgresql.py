# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of the inventory let their own users in, and nobody else.

What is asserted follows from the inventory: `postgresql_databases`, and whether any of its clients is another host. Its
values have to be plain text, for testinfra does not resolve templates.
"""

from __future__ import annotations

import pytest

FAILED = 2  # what psql says when it is not let in


@pytest.fixture(scope="module")
def variables(host):
    return host.ansible.get_variables()


@pytest.fixture(scope="module")
def databases(variables):
    return [{"user": item["name"], "clients": ["webstack_app"], **item} for item in variables["postgresql_databases"]]


@pytest.fixture(scope="module")
def remote(databases, variables):
    """Tell whether any client is on another host."""
    clients = set()
    for item in databases:
        for name in [item["clients"]] if isinstance(item["clients"], str) else item["clients"]:
            clients |= set(variables["groups"].get(name, [name] if name in variables["groups"]["all"] else []))
    return bool(clients - {variables["inventory_hostname"]})


@pytest.fixture(scope="module")
def folder(host):
    """Return the folder of the one cluster there is."""
    return host.check_output("ls -d /etc/postgresql/*/main")


def psql(host, address, name, user, password, query="SELECT current_user"):
    return host.run("PGPASSWORD=%s psql -XAtw -h %s -U %s -d %s -c %s", password, address, user, name, query)


def as_admin(host, query):
    with host.sudo("postgres"):
        return host.check_output("psql -XAt -c %s", query)


def test_the_server_runs_and_starts_at_boot(host):
    assert host.service("postgresql").is_enabled
    assert as_admin(host, "SELECT 1") == "1"


@pytest.mark.parametrize("address", ["127.0.0.1", "/var/run/postgresql"])
def test_a_user_logs_in_with_its_password(host, databases, address):
    for item in databases:
        answer = psql(host, address, item["name"], item["user"], item["password"])
        assert answer.stdout.strip() == item["user"], answer.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "/var/run/postgresql"])
def test_a_wrong_password_is_refused(host, databases, address):
    for item in databases:
        answer = psql(host, address, item["name"], item["user"], item["password"] + "x")
        assert answer.rc == FAILED and "password authentication failed" in answer.stderr


def test_a_user_makes_tables_in_its_own_database(host, databases):
    for item in databases:
        answer = psql(host, "127.0.0.1", item["name"], item["user"], item["password"],
                      "CREATE TABLE webstack_try (text text); DROP TABLE webstack_try")
        assert answer.rc == 0, answer.stderr


def test_a_user_gets_into_no_other_database(host, databases):
    for item in databases:
        others = [other["name"] for other in databases if other["user"] != item["user"]]
        for name in ["postgres", "template1", *others]:
            answer = psql(host, "127.0.0.1", name, item["user"], item["password"])
            assert answer.rc == FAILED and "no pg_hba.conf entry" in answer.stderr


def test_the_administrator_gets_in_through_the_socket_alone(host):
    answer = psql(host, "127.0.0.1", "postgres", "postgres", "postgres")
    assert answer.rc == FAILED and "no pg_hba.conf entry" in answer.stderr
    answer = psql(host, "/var/run/postgresql", "postgres", "postgres", "postgres")  # as another system user
    assert answer.rc == FAILED and "Peer authentication failed" in answer.stderr


def test_databases_belong_to_their_users(host, databases):
    for item in databases:
        found = as_admin(host, "SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), "
                               "has_database_privilege('public', oid, 'CONNECT') FROM pg_database").splitlines()
        assert f"{item['name']}|{item['user']}|UTF8|f" in found


def test_what_is_stored_is_a_verifier(host, databases):
    for item in databases:
        found = as_admin(host, "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, "
                               "substr(rolpassword, 1, 19) FROM pg_authid").splitlines()
        assert f"{item['user']}|f|f|f|SCRAM-SHA-256$4096:" in found


@pytest.mark.parametrize(("name", "mode"), [("webstack_hba.conf", 0o640), ("conf.d/webstack.conf", 0o644)])
def test_files_are_the_servers_own(host, folder, name, mode):
    with host.sudo():
        file = host.file(f"{folder}/{name}")
        assert (file.mode, file.user, file.group) == (mode, "postgres", "postgres")


def test_the_server_runs_the_files(host, folder):
    assert as_admin(host, "SHOW hba_file") == f"{folder}/webstack_hba.conf"
    assert as_admin(host, "SHOW password_encryption") == "scram-sha-256"
    assert as_admin(host, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    assert as_admin(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"


def test_the_server_listens_where_it_is_needed_and_nowhere_else(host, remote):
    lines = host.check_output("ss --no-header --listening --tcp --numeric 'sport = :5432'").splitlines()
    found = {line.split()[3].rpartition(":")[0].strip("[]") for line in lines} - {"::1"}
    others = found - {"127.0.0.1"}
    assert "127.0.0.1" in found
    assert others <= set(host.check_output("hostname -I").split())  # its own, and never all of them at once (0.0.0.0)
    assert len(others) == (1 if remote else 0)


def test_no_password_is_in_a_log(host, databases):
    with host.sudo():
        calls = host.check_output("journalctl --quiet --no-pager --output cat --grep "
                                  "'Invoked with .*state=(query|present).*postgresql_databases'").splitlines()
        log = host.check_output("cat /var/log/postgresql/*.log")
    assert calls
    for line in calls:
        assert "passwords=NOT_LOGGING_PARAMETER" in line
        assert line.count("'password': ") == line.count("'password': None")
    assert "SCRAM-SHA-256$" not in log
    assert not [item["name"] for item in databases if item["password"] in log]
