# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site says about TLS: its certificate, which versions it speaks, and whether clients show a certificate."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Where certificates that are made here lie on an edge: NAME.pem has the key, the certificate and its chain.
FOLDER = "/etc/nginx/webstack.tls"

#: Mozilla's server side TLS, guidelines 5.8 and 6.0; what both have in common is in the http block.
PROFILES: dict[str, dict[str, str]] = {
    "intermediate": {
        "ssl_protocols": "TLSv1.2 TLSv1.3",
        "ssl_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                       "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
    },
    "modern": {"ssl_protocols": "TLSv1.3"},
}
DEFAULT = "intermediate"


def profile(site: Mapping[str, Any]) -> str:
    """Return the name of the profile of a site with TLS."""
    return site["tls"].get("profile") or DEFAULT


def profile_lines(name: str) -> list[str]:
    """Return the directives of a profile."""
    return [f"{directive} {value};" for directive, value in PROFILES[name].items()]


def own_lines(name: str) -> list[str]:
    """Return the directives of a profile for a server block; the http block has those of the default one."""
    return [] if name == DEFAULT else profile_lines(name)


def client_lines(client: Mapping[str, Any] | None) -> list[str]:
    """Return the directives that ask clients for a certificate. A changed file is noticed by its digest."""
    if not client:
        return []
    lines = [f"ssl_verify_client {'on' if client['required'] else 'optional'};",
             f"ssl_verify_depth {client['verify_depth']};"]
    for directive, path in (("ssl_client_certificate", client["ca"]), ("ssl_crl", client["crl"])):
        if path:
            lines += [f'{directive} "{path}";', f'#@digest "{path}"']
    return [*lines, f'#@needs certificate "{client["ca"]}"']


def resolve(values: Mapping[str, Any] | None, site: Mapping[str, Any], origin: str,
            error: Callable[[str, str], None]) -> dict[str, Any] | None:
    """Return the record of what a user wrote at `origin`, with the paths of a certificate that is made here."""
    if values is None:
        return None
    record = dict(values)
    if record["issuer"]:
        for key in ("certificate", "key"):
            if record[key]:
                error(f"{origin}.{key}", "is for a certificate that is there already, and "
                                         f"`issuer: {record['issuer']}` makes one. Write one of the two.")
        for index, name in enumerate(site["server_names"]):
            if not _nameable(name):
                error(f"{origin}.issuer", f"no certificate can be made for {name!r} (server_names[{index}]): write "
                                          "whole names, or '*.example.com', or files of your own.")
        if not site["server_names"]:
            error(f"{origin}.issuer", "no certificate can be made without names: write server_names.")
        record["certificate"] = record["key"] = posixpath.join(FOLDER, f"{site['name']}.pem")
    for key, what in (("certificate", "certificate and its chain"), ("key", "key")):
        if not record[key]:
            error(f"{origin}.{key}", f"is missing. Write the path of the {what} on the edge host, or "
                                     "`issuer: private` for one that is made.")
        elif _special(record[key]):
            error(f"{origin}.{key}", f"{record[key]!r} must be an absolute path, without special characters.")
    if record["client"]:
        _check_client(record["client"], f"{origin}.client", error)
    return record


def _check_client(client: Mapping[str, Any], origin: str, error: Callable[[str, str], None]) -> None:
    for key in ("ca", "crl"):
        if client[key] and _special(client[key]):
            error(f"{origin}.{key}", f"{client[key]!r} must be an absolute path, without special characters.")
    if not 1 <= client["verify_depth"] <= 10:
        error(f"{origin}.verify_depth", f"is {client['verify_depth']}; write a number from 1 to 10.")


def _special(path: str) -> bool:
    return not path.startswith("/") or bool(re.search(r"[\x00-\x1f$\"\\{};]", path))


def _nameable(name: str) -> bool:
    return not name.startswith("~") and not name.endswith(".*") and "_" not in name


def subject_names(server_names: Iterable[str]) -> list[str]:
    """Return the names of a certificate for a site: nginx's ".example.com" is two of them."""
    found = []
    for name in server_names:
        found += [name[1:], f"*{name}"] if name.startswith(".") else [name]
    return list(dict.fromkeys(name.lower() for name in found))


def concrete(name: str) -> bool:
    """Tell whether a client can ask for exactly this name, or address."""
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return bool(re.fullmatch(r"[\w-]+(\.[\w-]+)+", name))


def check_sites(sites: Iterable[Mapping[str, Any]],
                sockets: Callable[[Mapping[str, Any]], Mapping[tuple[str, int], bool]]) -> list[tuple[str, str]]:
    """Return (path, message) of what the sites of one edge cannot have beside each other.

    `sockets(site)` returns {socket: whether it speaks TLS}. nginx takes the versions, and everything for a client that
    names no host, from the one server of a socket that is its default.
    """
    found = []
    by_socket: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for site in sites:
        if not site.get("tls"):
            continue
        client = site["tls"].get("client")
        if client and client["required"] and site["tls"].get("redirect") is False \
                and not all(sockets(site).values()):
            found.append((f"{site['origin']}.tls.redirect", "is false, so that anybody comes in by plain HTTP, and "
                          "`client` asks for certificates. Leave `redirect` out, or port 80 out of `listen`."))
        for socket, speaks in sockets(site).items():
            if speaks:
                by_socket.setdefault(socket, []).append(site)
    for (address, port), group in by_socket.items():
        first = group[0]
        where = f"port {port}" if address in ("0.0.0.0", "[::]") else f"{address}:{port}"
        for site in group[1:]:
            if profile(site) != profile(first):
                found.append((f"{site['origin']}.tls.profile", f"is {profile(site)!r} here and {profile(first)!r} in "
                              f"{first['origin']}, both on {where}, and nginx has one set of TLS versions for all "
                              "sites there. Write the same, or give one of them an address or a port of its own in "
                              "`listen`."))
        every = next((site for site in group if not site["server_names"]), None)
        asked = every and every["tls"].get("client")
        for site in group if asked else ():
            client = site["tls"].get("client")
            if client and client != asked:
                found.append((f"{site['origin']}.tls.client", f"differs from that of {every['origin']}, which answers "
                              f"every host name on {where}: who has a certificate for that one comes in here "
                              "by naming no host in the handshake. Write the same, write server_names there, or "
                              "another port."))
    return list(dict.fromkeys(found))
