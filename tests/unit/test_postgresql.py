# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: verifiers, the list of who may connect, and names that must not reach SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import postgresql

OWN = "192.0.2.20"


def database(name="shop", **values):
    return {"origin": f"postgresql_databases[{name}]", "name": name, "user": name, "password": "secret",
            "addresses": {}, **values}


def paths(*databases):
    return [path for path, _message in postgresql.problems(databases)]


# -- passwords: the exchange that RFC 7677 prints, section 3 ---------------------------------------------------

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
EXCHANGE = (f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={NONCE}").encode()
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_a_verifier_takes_the_proof_of_rfc_7677_and_signs_as_it_does():
    head, _dollar, keys = postgresql.scram_verifier("pencil", SALT, 4096).rpartition("$")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    assert head == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    assert hmac.digest(server, EXCHANGE, "sha256") == SIGNATURE
    client_key = bytes(a ^ b for a, b in zip(PROOF, hmac.digest(stored, EXCHANGE, "sha256"), strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def test_a_verifier_is_known_by_its_own_salt():
    verifier = postgresql.scram_verifier("pencil", b"another salt....")
    assert postgresql.verifies("pencil", verifier)
    assert not postgresql.verifies("Pencil", verifier)


@pytest.mark.parametrize("stored", [
    None, "", "md5c0b3a5f2b5a4d4e1e5f5a4d4e1e5f5a4", "SCRAM-SHA-256$4096:x$y:z", "SCRAM-SHA-256$x",
    postgresql.scram_verifier("pencil", SALT, 1000),  # weaker than what is made today
])
def test_other_and_weaker_secrets_are_replaced(stored):
    assert not postgresql.verifies("pencil", stored)


@pytest.mark.parametrize(("password", "prepared"), [
    ("plain \\'\" text", "plain \\'\" text"),
    ("I\u00adX", "IX"),  # RFC 4013, section 3
    ("\u00aa", "a"),
    ("\u2168", "IX"),
    ("a\u00a0b", "a b"),
    ("e\u0301", "\u00e9"),
    ("\u0627\u0031", "\u0627\u0031"),  # refused there, and taken as it is
    ("\u00e9\u0007", "\u00e9\u0007"),
    ("\u00ad", "\u00ad"),
])
def test_passwords_are_prepared_as_clients_do(password, prepared):
    assert postgresql.saslprep(password) == prepared


# -- files -----------------------------------------------------------------------------------------------------


def hba(*databases):
    return [line for line in postgresql.render_hba(databases).splitlines() if line and not line.startswith("#")]


def test_without_databases_only_the_administrator_is_let_in():
    assert hba() == ["local  all  postgres  peer"]


def test_each_user_is_let_in_to_its_own_database():
    clients = {"app1": "192.0.2.11", "app2": "2001:db8::12", "alias": "192.0.2.11"}
    assert hba(database(user="seller", addresses=clients), database("blog")) == [
        "local  all  postgres  peer",
        "local  shop  seller  scram-sha-256",
        "host   shop  seller  127.0.0.1/32  scram-sha-256",
        "host   shop  seller  ::1/128  scram-sha-256",
        "host   shop  seller  192.0.2.11/32  scram-sha-256  # app1, alias",
        "host   shop  seller  2001:db8::12/128  scram-sha-256  # app2",
        "local  blog  blog  scram-sha-256",
        "host   blog  blog  127.0.0.1/32  scram-sha-256",
        "host   blog  blog  ::1/128  scram-sha-256",
    ]


def test_no_secret_is_in_a_file():
    records = [database(password="hunter2", addresses={"app1": "192.0.2.11"})]
    assert "hunter2" not in postgresql.render_hba(records) + postgresql.render_settings("/hba", records, OWN)


@pytest.mark.parametrize(("addresses", "listen"), [
    ({}, "localhost"),
    ({"db1": OWN}, "localhost"),
    ({"app1": "192.0.2.11"}, f"localhost,{OWN}"),
    ({"db1": OWN, "app1": "192.0.2.11"}, f"localhost,{OWN}"),
])
def test_the_server_listens_for_other_hosts_only_where_there_are_some(addresses, listen):
    text = postgresql.render_settings("/hba", [database(addresses=addresses)], OWN)
    assert f"listen_addresses = '{listen}'\n" in text
    assert "password_encryption = 'scram-sha-256'\n" in text
    assert "hba_file = '/hba'\n" in text


# -- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop", "_shop", "shop_2", "a", "a" * 63])
def test_good_names(name):
    assert paths(database(name)) == []


@pytest.mark.parametrize("name", [
    "", "Shop", "2shop", "my-shop", "shop;", "shop' OR '1", 'shop"', "shop\n", "shöp", "a" * 64, "a b",
    "postgres", "template1", "all", "replication", "sameuser"])
def test_bad_names_are_reported_once_and_by_path(name):
    assert paths(database(name)) == [f"postgresql_databases[{name}].name"]


@pytest.mark.parametrize("user", ["Shop", "shop'", "postgres", "public", "pg_monitor", "all", "none"])
def test_bad_users(user):
    assert paths(database(user=user)) == ["postgresql_databases[shop].user"]


@pytest.mark.parametrize("password", ["", "a\0b"])
def test_bad_passwords(password):
    assert paths(database(password=password)) == ["postgresql_databases[shop].password"]


def test_a_database_is_written_once():
    assert paths(database(), database()) == ["postgresql_databases[shop].name"]


def test_a_shared_user_has_one_password():
    assert paths(database(user="both"), database("blog", user="both")) == []
    found = postgresql.problems([database(user="both"), database("blog", user="both", password="hunter2")])
    assert [path for path, _message in found] == ["postgresql_databases[blog].password"]
    assert "hunter2" not in str(found)
