# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How packages are reached: a company's own index, its certificate authority, its proxy.

All of it may have passwords in it. It travels as one secret text, counts for nothing in a release's identity, and is
given to the tools by their environment: what is among the arguments of a process all users of a host can read.
"""

from __future__ import annotations

import functools
import os
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .schema import Problems

_SCHEMES = ("http", "https", "file")


def of_app(settings: Mapping[str, Any], own_index: Mapping[str, Any] | None, path: str,
           problems: Problems) -> dict[str, Any]:
    """Return what an app's environment is made with; ``own_index`` is its own, ``path`` the user's variable of it.

    The shared index stays that of the tools, which all apps of a host have in common.
    """
    shared = index(settings["webstack_package_index"], "webstack_package_index", problems)
    return {
        "installer": settings["webstack_installer"],
        "index": index(own_index, path, problems) if own_index else shared,
        "tools_index": shared,
        "proxy": proxy(settings["webstack_proxy"], problems),
        "authorities": "",  # their text, when the controller has read it
    }


def index(given: Mapping[str, Any], path: str, problems: Problems) -> dict[str, Any]:
    """Return ``url`` ("" for the one that everybody uses) and ``extra_urls``, with their logins in them."""
    user, password = given["username"], given["password"]
    urls = [(f"{path}.url", given["url"])] if given["url"] else []
    urls += [(f"{path}.extra_urls[{number}]", url) for number, url in enumerate(given["extra_urls"])]
    if (user or password) and not urls:
        problems.add(f"{path}.url", "is missing, so there is nothing that the user and password are for. Write the "
                                    "address of the index, for example `url: https://packages.example.com/simple`.")
    if password and not user:
        problems.add(f"{path}.username", "is missing: there is a password. Where the index wants a token alone, write "
                                         "`username: __token__`.")
    with_login = []
    # The login is for one server, and not handed to others.
    server = _server(urls[0][1]) if urls else ""
    for where, url in urls:
        if not _good(url):
            # The address itself is not shown: it may have a password in it.
            problems.add(where, "is no address of a package index. Write one that begins with https://, without "
                                "spaces; what is special in a user or password is written as in "
                                "`{{ password | urlencode }}`.")
            with_login.append("")
            continue
        parts = urllib.parse.urlsplit(url)
        if user and "@" not in parts.netloc and _server(url) == server:
            login = ":".join(urllib.parse.quote(text, safe="") for text in (user, password))
            url = urllib.parse.urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))
        with_login.append(url)
    return {"url": with_login[0] if given["url"] else "", "extra_urls": with_login[bool(given["url"]):]}


def proxy(given: Mapping[str, str], problems: Problems) -> dict[str, str]:
    """Return the proxies for both schemes, and the names that need none; one proxy alone is for both."""
    found = {}
    for scheme, other in (("http", "https"), ("https", "http")):
        url = given[scheme] or given[other]
        url = f"http://{url}" if url and "://" not in url else url
        if url and not _good(url, ("http", "https")):
            problems.add(f"webstack_proxy.{scheme if given[scheme] else other}",
                         "is no address of a proxy. Write for example `http://proxy.example.com:3128`.")
        found[scheme] = url
    return {**found, "no_proxy": given["no_proxy"].replace(" ", "")}


def _good(url: str, schemes: tuple[str, ...] = _SCHEMES) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        _port = parts.port  # a wrong one raises ValueError; so does a "/" in a password that is not quoted
    except ValueError:
        return False
    return (parts.scheme in schemes and bool(parts.hostname or parts.scheme == "file") and url.isprintable()
            and " " not in url)


def _server(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2].lower() if _good(url) else ""


def authorities(given: str, base: Path, problems: Problems) -> str:
    """Return the text of the file of certificates that ``webstack_ca`` names, "" without one."""
    if not given:
        return ""
    path = base / Path(given).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        problems.add("webstack_ca", f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}. "
                                    "Write the path of a file of the controller, absolute or seen from the inventory.")
        return ""
    if "PRIVATE KEY" in text:
        problems.add("webstack_ca", f"{path} has a private key in it, which is nobody else's business. Write the path "
                                    "of the certificate alone.")
        return ""
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        problems.add("webstack_ca", f"{path} is no certificate in PEM form (-----BEGIN CERTIFICATE-----).")
        return ""
    return text.strip() + "\n"


@functools.cache
def known_authorities() -> str:
    """Return the certificates that the controller itself trusts."""
    paths = [ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"]
    for path in paths:
        if path and os.path.isfile(path):
            return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""
