# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of sites on their host, each in one file with its key, so that the two change in one step.

    FOLDER/NAME.pem        key, certificate and chain, for root alone: nginx reads it before it gives its rights up
    FOLDER/NAME.pem.new    a key whose certificate is being made
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.frontdesk.webstack.plugins.module_utils import files

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n?", re.DOTALL)


class Failed(Exception):
    """The host cannot do it; the message says why."""


def read(path: str) -> str:
    """Return the certificate of a file, or "" where it cannot be used."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    found = _CERTIFICATE.search(text)
    whole = found and _KEY.search(text) and os.stat(path).st_mode & 0o077 == 0
    return found[0] if whole else ""


def request(path: str) -> str:
    """Make a new key beside the file, and return a request for a certificate. Raises Failed."""
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-subj", "/CN=webstack", "-keyout", "-", "-out", "-"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8", "OPENSSL_CONF": _defaults()})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"openssl: {error}") from None
    key = _KEY.search(done.stdout)
    if done.returncode or not key:
        raise Failed(f"openssl req: {done.stderr.strip() or 'no key came out'}")
    files.write_file(f"{path}.new", key[0], 0o600)
    os.chmod(os.path.dirname(path), 0o700)
    return done.stdout.replace(key[0], "").strip() + "\n"


def _defaults() -> str:
    # What an administrator has in openssl.cnf for requests would come into ours.
    return os.devnull


def install(certificates: Mapping[str, str]) -> None:
    """Put certificates in place, by path, with the keys that they were asked for with. Raises Failed."""
    for path, certificate in certificates.items():
        try:
            key = Path(f"{path}.new").read_text(encoding="ascii")
        except OSError as error:
            raise Failed(f"{path}.new: {error.strerror}; run it again") from None
        files.write_file(path, key.rstrip("\n") + "\n" + certificate, 0o600)
        os.unlink(f"{path}.new")
