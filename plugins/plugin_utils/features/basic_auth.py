# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pass, by name and password (ngx_http_auth_basic_module)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from . import EVERY, Context, Feature, Piece, Use, secret_file

_CHARS = "[./0-9A-Za-z]"
# What Debian's nginx takes: $apr1$ by itself, the others by crypt(3). A hash is worked out for each request, in the
# worker that serves everybody else too, so what takes long on purpose is refused.
_HASHES = re.compile(
    rf"\$apr1\${_CHARS}{{1,8}}\${_CHARS}{{22}}"
    rf"|\$5\$(?:rounds=(?P<five>\d{{1,9}})\$)?{_CHARS}{{1,16}}\${_CHARS}{{43}}"
    rf"|\$6\$(?:rounds=(?P<six>\d{{1,9}})\$)?{_CHARS}{{1,16}}\${_CHARS}{{86}}"
    rf"|\$y\${_CHARS}+\${_CHARS}{{1,86}}\${_CHARS}{{43}}"
    rf"|\$2[aby]\$(?P<two>\d\d)\${_CHARS}{{53}}")
_MOST_ROUNDS, _MOST_COST = 100_000, 8
_MAKE_ONE = "write one that `openssl passwd -6` or `mkpasswd -m yescrypt` makes"


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if values is None:
        return None
    realm, users, file = values["realm"], values["users"], values["file"]
    if users is None and not file and not realm:
        return None  # in a route: everybody, whatever the site says
    mistakes: list[tuple[str, str]] = []
    if realm and (realm == "off" or not re.fullmatch(r'[^\x00-\x1f\x7f"\\$]{1,200}', realm)):
        mistakes.append((f"{origin}.realm", f"is {realm!r}; write a few words that the browser shows, without quotes, "
                                            "backslashes and dollar signs, and not 'off'."))
    if file and users is not None:
        mistakes.append((f"{origin}.file", "stands beside `users`: write one of them."))
    elif file and not re.fullmatch(r'/[^\x00-\x1f"\\{};$]+', file):
        mistakes.append((f"{origin}.file", f"is {file!r}; write the absolute path of a file on the edge host."))
    elif not file and not users:
        mistakes.append((f"{origin}.users", "has nobody in it, so nobody could pass: write who may, or `file`."))
    seen: dict[str, int] = {}
    for index, user in enumerate(users or []):
        where, name = f"{origin}.users[{index}]", user["name"]
        if name is None or user["password_hash"] is None:
            continue  # is told already
        if not re.fullmatch(r"[^\x00-\x1f\x7f:#][^\x00-\x1f\x7f:]*", name):
            mistakes.append((f"{where}.name", f"is {name!r}; write a name without colons and control characters, which "
                                              "does not begin with '#'."))
        elif seen.setdefault(name, index) != index:
            mistakes.append((f"{where}.name", f"is that of users[{seen[name]}] too: write each name once."))
        wrong = _wrong_hash(user["password_hash"])
        if wrong:
            mistakes.append((f"{where}.password_hash", wrong))
    for path, message in mistakes:
        context.error(path, message)
    if mistakes:
        return None
    return {"realm": realm or "Restricted", "file": file or "",
            "users": [[user["name"], user["password_hash"]] for user in users or []]}


def _wrong_hash(text: str) -> str:
    """Return what is wrong with a hash, and never a part of it."""
    match = _HASHES.fullmatch(text)
    if not match:
        sort = "is a bare digest, which is found out in no time" if re.fullmatch(
            r"[0-9a-fA-F]{32,128}|\{\w+\}.*", text) else "is no hash that nginx takes ($6$, $5$, $y$, $2b$ or $apr1$)"
        return f"{sort}: {_MAKE_ONE}."
    rounds = int(match["five"] or match["six"] or 0)
    if rounds > _MOST_ROUNDS or int(match["two"] or 0) > _MOST_COST:
        return ("takes too long: it is worked out for each request, and the worker serves nobody else meanwhile. Write "
                f"one with at most {_MOST_ROUNDS} rounds ($5$, $6$), or a cost of at most {_MOST_COST} ($2b$).")
    return ""


def _name(use: Use) -> str:
    """Return the name of the file with the users: it does not move when other sites come and go."""
    if use.route is None or use.record["origin"] == f"{use.site['origin']}.basic_auth":
        return str(use.site["name"])
    words = f"{use.route['match']} {use.route['path']}"
    return f"{use.site['name']}.{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def _location(use: Use) -> Piece:
    file = use.record["file"]
    lines = [f'auth_basic "{use.record["realm"]}";']
    if file:
        lines += [f'#@needs secret "{file}"', f'auth_basic_user_file "{file}";']
    else:
        lines += [f"auth_basic_user_file {secret_file('users.' + _name(use))};"]
    # The password is nothing for the app.
    return Piece(lines, sent={"Authorization": "", "X-Remote-User": "$remote_user"})


def _secrets(uses: Sequence[Use]) -> dict[str, str]:
    return {f"users.{_name(use)}": "".join(f"{name}:{hashed}\n" for name, hashed in use.record["users"])
            for use in uses if use.record["users"]}


FEATURE = Feature("basic_auth", _resolve, kinds=EVERY, gate=True, after_return=True, location=_location,
                  secrets=_secrets)
