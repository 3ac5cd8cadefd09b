# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of one's own: its key stays on the controller, encrypted, and only signs.

    FOLDER/root.key    encrypted with the passphrase, 0600
    FOLDER/root.pem    the certificate, for everybody who shall trust it

The keys of sites are made on their hosts and never leave them: what comes here is a request, and what goes back is a
certificate. The names in it are those of the inventory, whatever the request says.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.frontdesk.webstack.plugins.module_utils import files

ROOT_DAYS = 3650
_KEY, _CERTIFICATE = "root.key", "root.pem"
_SLACK = datetime.timedelta(hours=1)  # for hosts whose clock is behind


class AuthorityError(Exception):
    """The authority cannot be used; `key` is that of `webstack_private_ca` to look at."""

    def __init__(self, key: str, message: str):
        super().__init__(f"webstack_private_ca.{key}: {message}")


def certificate_file(folder: Path) -> Path:
    """Return where the certificate of the authority is."""
    return folder / _CERTIFICATE


def now() -> datetime.datetime:
    """Return the time, in whole seconds as certificates have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class Authority:
    """The root: it signs the certificates of sites by itself."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate):
        self._key = key
        self.certificate = certificate

    @classmethod
    def open(cls, folder: Path, passphrase: str, name: str, make: bool = True) -> Authority | None:
        """Return the authority of the folder; where there is none it is made, or None. Raises AuthorityError."""
        if not make and not certificate_file(folder).exists():
            return None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Several edges at once: one process for each, and one root for all.
            with files.lock(folder / ".lock", 60, AuthorityError("folder", f"another run holds {folder}; try again.")):
                return cls._open(folder, passphrase, name)
        except OSError as error:
            raise AuthorityError("folder", f"{error.filename or folder}: {error.strerror or error}") from None

    @classmethod
    def _open(cls, folder: Path, passphrase: str, name: str) -> Authority:
        key_file, public_file = folder / _KEY, certificate_file(folder)
        if key_file.exists():
            key = _read_key(key_file, passphrase)
        elif public_file.exists():
            raise AuthorityError("folder", f"{public_file} is there and {key_file} is not. Put the key back from a "
                                           "backup; or remove the certificate too, for a new authority that all "
                                           "clients must be told to trust.")
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            # The key first: a run that is killed in between makes the certificate from it the next time.
            files.write_file(key_file, key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase.encode())), 0o600, os.geteuid(), os.getegid())
        if not public_file.exists():
            files.write_file(public_file, _pem(_root(key, name)), 0o644, os.geteuid(), os.getegid())
        try:
            certificate = x509.load_pem_x509_certificate(public_file.read_bytes())
        except ValueError as error:
            raise AuthorityError("folder", f"{public_file} is no certificate: {error}") from None
        if certificate.public_key() != key.public_key():
            raise AuthorityError("folder", f"{public_file} does not belong to {key_file}. Put the two of one backup "
                                           "there.")
        if certificate.not_valid_after_utc <= now():
            raise AuthorityError("folder", f"the authority has expired on {certificate.not_valid_after_utc:%Y-%m-%d}. "
                                           f"Move {folder} away for a new one, and tell all clients to trust that.")
        return cls(key, certificate)

    def sign(self, request: str, names: Iterable[str], days: int) -> str:
        """Return a certificate for the key of a request; it ends with the authority at the latest."""
        csr = x509.load_pem_x509_csr(request.encode())
        if not csr.is_signature_valid:
            raise ValueError("the request is not signed with its own key")
        names, begin = list(names), now()
        until = min(begin + datetime.timedelta(days=days), self.certificate.not_valid_after_utc)
        key = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        # A common name has 64 characters at most, and nobody reads it where there are other names.
        common = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names[:1] if len(name) <= 64]
        built = (
            x509.CertificateBuilder().subject_name(x509.Name(common)).issuer_name(self.certificate.subject)
            .public_key(csr.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(max(begin - _SLACK, self.certificate.not_valid_before_utc)).not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=not common)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key), critical=False))
        return _pem(built.sign(self._key, hashes.SHA256())).decode()

    def wants_new(self, pem: str, names: Iterable[str], days: int, at: datetime.datetime | None = None) -> str:
        """Return why a site needs another certificate than this one, or ""."""
        if not pem:
            return "there is none yet"
        at = at or now()
        try:
            found = x509.load_pem_x509_certificate(pem.encode())
            found.verify_directly_issued_by(self.certificate)
            has = _names(found)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return "it is not from this authority"
        if has != {_general(name).value for name in names}:
            return "its names are others"
        end = found.not_valid_after_utc
        # One that ends with the authority cannot be had longer by asking again.
        if end - at < datetime.timedelta(days=days) / 3 and end < self.certificate.not_valid_after_utc:
            return f"it ends on {end:%Y-%m-%d}"
        return ""

    def ending(self, days: int, at: datetime.datetime | None = None) -> str:
        """Return a warning where the authority itself ends before certificates of this many days would."""
        end = self.certificate.not_valid_after_utc
        if end - (at or now()) > datetime.timedelta(days=max(days, 180)):
            return ""
        return (f"webstack_private_ca.folder: the authority ends on {end:%Y-%m-%d}, and all its certificates with it. "
                "Make a new one in another folder in time, and tell all clients to trust both.")


def _root(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    subject, begin = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), now()
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _SLACK).not_valid_after(begin + datetime.timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256()))


def _usage(**what: bool) -> x509.KeyUsage:
    every = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                           "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**every, **what})


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> set:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {one.value for one in found}


def _read_key(path: Path, passphrase: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except ValueError:
        raise AuthorityError("passphrase", f"does not open {path}.") from None
    except TypeError:
        raise AuthorityError("folder", f"{path} is not encrypted. Encrypt it with the passphrase: openssl pkey "
                                       "-aes256.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError("folder", f"{path} is no key of an elliptic curve.")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
