# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority of one's own, the certificates it makes, and their files on a host."""

from __future__ import annotations

import datetime
import ipaddress
import os
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.frontdesk.webstack.plugins.module_utils import certificates
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import private_ca

WORDS = "correct horse battery"
NAMES = ["shop.example.com", "*.shop.example.com", "192.0.2.1"]
DAY = datetime.timedelta(days=1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ca"


@pytest.fixture
def authority(folder):
    return private_ca.Authority.open(folder, WORDS, "Test CA")


@pytest.fixture
def request_text(tmp_path):
    return certificates.request(str(tmp_path / "shop.pem"))


def test_the_key_is_for_its_owner_alone_and_encrypted(authority, folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "root.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "root.pem").stat().st_mode) == 0o644
    assert b"ENCRYPTED" in (folder / "root.key").read_bytes()


def test_opened_again_it_is_the_same(authority, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = private_ca.Authority.open(folder, WORDS, "Another name")
    assert again.certificate == authority.certificate
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_it_is_not_made_in_check_mode(folder):
    assert private_ca.Authority.open(folder, WORDS, "Test CA", make=False) is None
    assert not folder.exists()


def test_a_run_that_was_killed_goes_on_with_its_key(authority, folder):
    (folder / "root.pem").unlink()
    again = private_ca.Authority.open(folder, WORDS, "Test CA")
    assert again.certificate.public_key() == authority.certificate.public_key()


def _other_root(folder):
    private_ca.Authority.open(folder.with_name("other"), WORDS, "Other")
    (folder / "root.pem").write_bytes((folder.with_name("other") / "root.pem").read_bytes())


def _plain_key(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "root.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _rsa_key(folder):
    key = rsa.generate_private_key(65537, 2048)
    (folder / "root.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(WORDS.encode())))


@pytest.mark.parametrize("spoil, words, key, message", [
    (lambda folder: None, "wrong", "passphrase", "does not open"),
    (lambda folder: (folder / "root.key").unlink(), WORDS, "folder", "Put the key back from a backup"),
    (lambda folder: (folder / "root.key").write_text("x"), WORDS, "passphrase", "does not open"),
    (lambda folder: (folder / "root.pem").write_text("x"), WORDS, "folder", "is no certificate"),
    (_other_root, WORDS, "folder", "does not belong to"),
    (_plain_key, WORDS, "folder", "is not encrypted"),
    (_rsa_key, WORDS, "folder", "no key of an elliptic curve"),
])
def test_refused(authority, folder, spoil, words, key, message):
    spoil(folder)
    with pytest.raises(private_ca.AuthorityError, match=message) as caught:
        private_ca.Authority.open(folder, words, "Test CA")
    assert str(caught.value).startswith(f"webstack_private_ca.{key}: ")
    assert WORDS not in str(caught.value)


def test_an_authority_that_has_expired(authority, folder, monkeypatch):
    later = private_ca.now() + (private_ca.ROOT_DAYS + 1) * DAY
    monkeypatch.setattr(private_ca, "now", lambda: later)
    with pytest.raises(private_ca.AuthorityError, match="has expired on"):
        private_ca.Authority.open(folder, WORDS, "Test CA")


def test_a_certificate(authority, request_text):
    made = x509.load_pem_x509_certificate(authority.sign(request_text, NAMES, 90).encode())
    made.verify_directly_issued_by(authority.certificate)
    assert made.public_key() == x509.load_pem_x509_csr(request_text.encode()).public_key()
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [one.value for one in names] == [*NAMES[:2], ipaddress.ip_address("192.0.2.1")]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert abs(made.not_valid_after_utc - private_ca.now() - 90 * DAY) < datetime.timedelta(minutes=1)
    assert made.not_valid_before_utc < private_ca.now()


def test_openssl_takes_it(authority, folder, request_text, tmp_path):
    (tmp_path / "a.pem").write_text(authority.sign(request_text, NAMES, 90))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "x.shop.example.com",
               "-CAfile", str(folder / "root.pem"), str(tmp_path / "a.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_certificate_ends_with_its_authority(authority, request_text, monkeypatch):
    end = authority.certificate.not_valid_after_utc
    monkeypatch.setattr(private_ca, "now", lambda: end - 10 * DAY)
    pem = authority.sign(request_text, NAMES, 90)
    assert x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc == end
    assert authority.wants_new(pem, NAMES, 90) == ""  # not again in each run
    assert "the authority ends on" in authority.ending(90)
    assert authority.ending(90, end - 200 * DAY) == ""


def test_when_a_site_wants_another_certificate(authority, request_text, tmp_path):
    pem = authority.sign(request_text, NAMES, 90)
    now = private_ca.now()
    assert authority.wants_new(pem, NAMES[::-1], 90) == ""
    assert authority.wants_new("", NAMES, 90) == "there is none yet"
    assert authority.wants_new("x", NAMES, 90) == "it is not from this authority"
    assert authority.wants_new(pem, NAMES[:1], 90) == "its names are others"
    assert authority.wants_new(pem, [*NAMES, "b.example.com"], 90) == "its names are others"
    assert authority.wants_new(pem, NAMES, 90, now + 59 * DAY) == ""
    assert "it ends on" in authority.wants_new(pem, NAMES, 90, now + 61 * DAY)
    other = private_ca.Authority.open(tmp_path / "other", WORDS, "Test CA")
    assert other.wants_new(pem, NAMES, 90) == "it is not from this authority"


def test_a_request_that_is_not_of_its_key(authority, request_text):
    der = bytearray(x509.load_pem_x509_csr(request_text.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(ValueError, match="own key"):
        authority.sign(forged, NAMES, 90)


# -- on the host -----------------------------------------------------------------------------------------------------


def test_a_file_is_key_and_certificate(authority, tmp_path):
    path = tmp_path / "tls" / "shop.pem"
    signed = authority.sign(certificates.request(str(path)), NAMES, 90)
    assert certificates.read(str(path)) == ""
    certificates.install({str(path): signed})
    assert certificates.read(str(path)) == signed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["shop.pem"]
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert key.public_key() == x509.load_pem_x509_certificate(signed.encode()).public_key()


def test_a_request_leaves_what_is_there(authority, tmp_path):
    path = tmp_path / "tls" / "shop.pem"
    certificates.install({str(path): authority.sign(certificates.request(str(path)), NAMES, 90)})
    before = path.read_bytes()
    certificates.request(str(path))
    assert path.read_bytes() == before
    assert stat.S_IMODE((path.parent / "shop.pem.new").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_used_counts_for_nothing(authority, tmp_path):
    path = tmp_path / "tls" / "shop.pem"
    certificates.install({str(path): authority.sign(certificates.request(str(path)), NAMES, 90)})
    path.chmod(0o640)
    assert certificates.read(str(path)) == ""
    path.chmod(0o600)
    path.write_text(path.read_text().partition("-----BEGIN CERTIFICATE")[2])
    assert certificates.read(str(path)) == ""


def test_a_certificate_without_a_request(tmp_path):
    with pytest.raises(certificates.Failed, match="run it again"):
        certificates.install({str(tmp_path / "shop.pem"): "x"})


def test_a_host_without_openssl(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(certificates.Failed, match="openssl"):
        certificates.request(str(tmp_path / "shop.pem"))
