# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files, in the format that systemd's EnvironmentFile= reads."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = re.compile(r'(["\\`$])')
_LINE = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"\n', re.S)


def format_env_file(env: dict[str, str]) -> str:
    """Return the text of an environment file with all of ``env``, sorted by name.

    Raises ValueError, naming the variable and never its value, where systemd would drop it without a word.
    """
    lines = []
    for name in sorted(env):
        value = str(env[name])
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an environment variable: letters, digits and _.")
        if any(ord(char) < 32 and char not in "\t\n" or ord(char) == 127 for char in value):
            raise ValueError(f"{name} has a control character (a carriage return, for example), which systemd does "
                             "not let through. Encode it, in base64 for example.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} is not valid text. Encode it, in base64 for example.") from None
        lines.append('{}="{}"\n'.format(name, _ESCAPED.sub(r"\\\1", value)))
    return "".join(lines)


def parse_env_file(text: str) -> dict[str, str]:
    """Return the environment of a text that ``format_env_file`` made. Raises ValueError for any other one."""
    env = {}
    position = 0
    while position < len(text):
        match = _LINE.match(text, position)
        if not match:
            raise ValueError(f"line {text.count(chr(10), 0, position) + 1} is not as frontdesk.webstack writes it.")
        env[match[1]] = re.sub(r'\\(["\\`$])', r"\1", match[2])
        position = match.end()
    return env
