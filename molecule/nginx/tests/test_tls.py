# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of TLS, and clients with a certificate of their own."""

from __future__ import annotations

import base64
import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from window import TLS_PORT, Window, make_site

MODERN_PORT, CLIENT_PORT = TLS_PORT + 1, TLS_PORT + 2
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

# One connection, or two of which the second one wants to go on with the session of the first one.
CLIENT = """\
import base64, json, socket, ssl, sys
wanted = json.loads(base64.b64decode(sys.argv[1]))
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if wanted["version"]:
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, wanted["version"])
if wanted["cert"]:
    context.load_cert_chain("/srv/nginxtest/" + wanted["cert"])

def ask(name, host, session):
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", wanted["port"]), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=name or None, session=session) as client:
                lines = ["GET %s HTTP/1.1" % wanted["path"], "Host: " + host, "Connection: close", *wanted["headers"]]
                client.sendall("\\r\\n".join([*lines, "", ""]).encode())
                while piece := client.recv(65536):
                    answer += piece
                found = client.version(), client.session, client.session_reused
    except (ssl.SSLError, ConnectionResetError) as error:
        return {"status": 0, "body": str(error)}, None
    head, _empty, body = answer.decode().partition("\\r\\n\\r\\n")
    return {"status": int(head.split()[1]), "body": body, "version": found[0], "reused": found[2]}, found[1]

found, session = ask(wanted["name"], wanted["host"], None)
if wanted["then"]:
    found, session = ask(wanted["then"], wanted["then"], session)
print(json.dumps(found))
"""


class Authority:
    """Who issues the certificates of clients."""

    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self.name, self.key.public_key(), NOW + DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = made.sign(self.key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject, key, until):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
                .serial_number(x509.random_serial_number()).not_valid_before(NOW - 2 * DAY).not_valid_after(until))

    def issue(self, subject, until=NOW + DAY):
        """Return (the serial number, the key and the certificate) for a subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(x509.Name.from_rfc4514_string(subject), key.public_key(), until).sign(
            self.key, hashes.SHA256())
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()) + made.public_bytes(serialization.Encoding.PEM)
        return made.serial_number, pem.decode()

    def revoke(self, serial):
        """Return the list of what does not count any more."""
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build()
        return (x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW - DAY)
                .next_update(NOW + DAY).add_revoked_certificate(entry).sign(self.key, hashes.SHA256())
                .public_bytes(serialization.Encoding.PEM).decode())


def _files():
    staff, partners = Authority("Staff"), Authority("Partners")
    lost, lost_pem = staff.issue("CN=lost")
    return {
        "staff.pem": staff.pem, "partners.pem": partners.pem, "staff.crl": staff.revoke(lost), "lost.pem": lost_pem,
        "alice.pem": staff.issue("CN=alice,O=Example")[1], "bob.pem": staff.issue("CN=bob,O=Example")[1],
        "sly.pem": staff.issue("O=x\\,CN=alice")[1], "old.pem": staff.issue("CN=alice", NOW - DAY)[1],
        "partner.pem": partners.issue("CN=alice")[1], "static/a.txt": "static",
    }


@pytest.fixture(scope="module")
def window(host):
    own = {"certificate": "/srv/nginxtest/a.pem", "key": "/srv/nginxtest/a.key"}
    staff = {"ca": "/srv/nginxtest/staff.pem", "crl": "/srv/nginxtest/staff.crl"}
    here = [f"127.0.0.1:{CLIENT_PORT}"]
    app = [{"app": "http"}]
    sites = [
        make_site("usual", app, tls=own, listen=[f"127.0.0.1:{TLS_PORT}"]),
        make_site("modern", app, tls={**own, "profile": "modern"}, listen=[f"127.0.0.1:{MODERN_PORT}"]),
        make_site("public", app, tls=own, listen=here),
        make_site("staff", [*app, {"app": "uwsgi", "path": "/uwsgi/"}], tls={**own, "client": staff}, listen=here),
        make_site("partners", app, tls={**own, "client": {"ca": "/srv/nginxtest/partners.pem"}}, listen=here),
        make_site("mixed", [
            {"app": "http", "client_certificate": {}},
            {"app": "uwsgi", "path": "/uwsgi/", "client_certificate": {}},
            {"app": "http", "path": "/any/"},
            {"folder": "/srv/nginxtest/static", "path": "/files/"},
            {"app": "http", "path": "/alice/", "client_certificate": {"allow": ["CN=carol", "O=Example,CN=alice"]}},
        ], tls={**own, "client": {**staff, "required": False}}, listen=here, client_certificate={"required": True}),
    ]
    with Window(host, sites, _files()) as window:
        yield window


def ask(window, name, path="/", port=CLIENT_PORT, cert="", version="", sni=None, then="", headers=()):
    name = f"{name}.example.com"
    wanted = {"name": name if sni is None else sni, "host": name, "path": path, "port": port,
              "cert": cert and f"{cert}.pem", "version": version, "then": then and f"{then}.example.com",
              "headers": list(headers)}
    words = [base64.b64encode(text.encode()).decode() for text in (CLIENT, json.dumps(wanted))]
    done = window.host.run(f"python3 -c \"import base64; exec(base64.b64decode('{words[0]}'))\" {words[1]}")
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name, port, version, status", [
    ("usual", TLS_PORT, "TLSv1_2", 200), ("usual", TLS_PORT, "TLSv1_3", 200), ("usual", TLS_PORT, "TLSv1_1", 0),
    ("modern", MODERN_PORT, "TLSv1_2", 0), ("modern", MODERN_PORT, "TLSv1_3", 200),
])
def test_versions(window, name, port, version, status):
    assert ask(window, name, port=port, version=version)["status"] == status


@pytest.mark.parametrize("cert, status", [
    ("alice", 200), ("bob", 200), ("", 400), ("partner", 400), ("old", 400), ("lost", 400)])
def test_a_site_that_requires_a_certificate(window, cert, status):
    assert ask(window, "staff", cert=cert)["status"] == status


@pytest.mark.parametrize("path, cert, status", [
    ("/", "", 200), ("/", "bob", 200), ("/", "partner", 400), ("/any/", "", 403), ("/any/", "bob", 200),
    ("/files/a.txt", "", 403), ("/files/a.txt", "bob", 200), ("/alice/", "", 403), ("/alice/", "bob", 403),
    ("/alice/", "sly", 403), ("/alice/", "alice", 200)])
def test_routes_that_want_a_certificate(window, path, cert, status):
    assert ask(window, "mixed", path, cert=cert)["status"] == status


FORGED = ["X-Client-Verify: SUCCESS", "X-Client-DN: CN=root", "X-SSL-Client-Verify: SUCCESS", "Client-Cert: :eA==:",
          "X_Client_DN: CN=root"]


@pytest.mark.parametrize("name, cert, expected", [
    ("staff", "alice", {"x-client-verify": "SUCCESS", "x-client-dn": "O=Example,CN=alice"}),
    ("mixed", "", {"x-client-verify": "NONE"}),
    ("public", "alice", {"x-client-verify": "NONE"}),
])
def test_what_the_app_hears(window, name, cert, expected):
    heard = json.loads(ask(window, name, cert=cert, headers=FORGED)["body"])[2]
    got = {key.lower().replace("_", "-"): value for key, value in heard if "lient" in key}
    assert sorted(got["x-client-dn"].split(",") if "x-client-dn" in got else []) == sorted(
        expected.get("x-client-dn", "").split(",") if "x-client-dn" in expected else [])
    assert {**got, "x-client-dn": ""} == {**expected, "x-client-dn": ""}


@pytest.mark.parametrize("name, cert, verify", [("staff", "bob", "SUCCESS"), ("mixed", "", "NONE")])
def test_the_same_by_the_uwsgi_protocol(window, name, cert, verify):
    heard = json.loads(ask(window, name, "/uwsgi/", cert=cert, headers=FORGED)["body"])
    got = {key: value for key, value in heard.items() if "CLIENT" in key}
    assert got.pop("HTTP_X_CLIENT_VERIFY") == verify
    assert "CN=bob" in got.pop("HTTP_X_CLIENT_DN") if cert else "HTTP_X_CLIENT_DN" not in got
    assert got == {}


def test_plain_http_has_no_such_headers(window):
    # The listener of the other tests is TLS alone; what nginx knows of no client is not sent.
    heard = json.loads(ask(window, "public", headers=FORGED)["body"])[2]
    assert not [key for key, value in heard if "lient" in key and value not in ("NONE",)]


@pytest.mark.parametrize("cert", ["", "partner"])
def test_the_handshake_names_the_site(window, cert):
    assert ask(window, "staff", cert=cert, sni="public.example.com")["status"] == 421
    assert ask(window, "staff", cert=cert, sni="")["status"] == 0


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_no_session_goes_over_to_another_site(window, version):
    again = ask(window, "partners", cert="partner", version=version, then="partners")
    assert (again["status"], again["reused"]) == (200, True)
    over = ask(window, "partners", cert="partner", version=version, then="staff")
    assert over["status"] in (0, 400, 421)
