# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny client that asks an app server for one path, over a unix or TCP socket, in HTTP or in the uwsgi protocol."""

from __future__ import annotations

import socket
import struct
import time

_MOST = 1 << 20


class NoAnswer(Exception):
    """No complete answer came; the text says why."""


def request(address: str, protocol: str = "http", path: str = "/", host: str = "localhost", https: bool = False,
            timeout: float = 10) -> tuple[int, bytes]:
    """Ask for ``path`` and return (status, start of the body). ``timeout`` counts for the whole exchange.

    ``address`` is a path, or HOST:PORT. Raises NoAnswer.
    """
    deadline = time.monotonic() + timeout
    message = (_uwsgi if protocol == "uwsgi" else _http)(path, host, https)
    try:
        with _connect(address, timeout) as connection:
            connection.sendall(message)
            answer = _read(connection, deadline)
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise NoAnswer(f"{address}: {error.strerror or error}") from None
    return _status(answer)


def _connect(address: str, timeout: float) -> socket.socket:
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection
    name, _colon, port = address.rpartition(":")
    return socket.create_connection((name.strip("[]"), int(port)), timeout)


def _http(path: str, host: str, https: bool) -> bytes:
    scheme = "https" if https else "http"
    return (f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: webstack-health\r\nX-Forwarded-Proto: {scheme}\r\n"
            f"X-Real-IP: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n").encode()


def _uwsgi(path: str, host: str, https: bool) -> bytes:
    path_info, _mark, query = path.partition("?")
    variables = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": path, "PATH_INFO": path_info, "QUERY_STRING": query,
        "CONTENT_TYPE": "", "CONTENT_LENGTH": "", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": host,
        "SERVER_PORT": "443" if https else "80", "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "0", "HTTP_HOST": host,
        "HTTP_USER_AGENT": "webstack-health", "HTTP_X_FORWARDED_PROTO": "https" if https else "http",
        "REQUEST_SCHEME": "https" if https else "http",
    }
    if https:
        variables["HTTPS"] = "on"
    body = b"".join(struct.pack("<H", len(item)) + item
                    for pair in variables.items() for item in (part.encode() for part in pair))
    return struct.pack("<BHB", 0, len(body), 0) + body


def _read(connection: socket.socket, deadline: float) -> bytes:
    answer = b""
    while len(answer) < _MOST:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(65536)
        if not chunk:
            break
        answer += chunk
    return answer


def _status(answer: bytes) -> tuple[int, bytes]:
    head, _blank, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise NoAnswer("the connection was closed without an answer" if not answer else
                       f"the answer is no HTTP: {answer[:60]!r}")
    return int(words[1]), body
