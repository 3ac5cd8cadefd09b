"""A WebSocket client of a few lines: it says how a connection ended, a close frame with its code, or a reset."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Closed(Exception):
    """The connection has ended; `code` is that of the close frame, 0 where none came."""

    def __init__(self, code: int, why: str = ""):
        self.code = code
        super().__init__(f"closed with {code}" if code else f"ended without a close frame: {why}")


class WebSocket:
    def __init__(self, address: str, path: str, host: str, port: int = 80, timeout: float = 10, headers: str = ""):
        self._socket = socket.create_connection((address, port), timeout)
        self._rest = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = self._socket.recv(4096)
            if not part:
                raise Closed(0, f"in the handshake, after {head!r}")
            head += part
        head, _blank, self._rest = head.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        if self.status != 101:
            raise Closed(0, head.decode(errors="replace"))

    def send(self, text: str | bytes, kind: int = TEXT) -> None:
        data, mask = text.encode() if isinstance(text, str) else text, os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack("!BH", 0xFE, len(data))
        self._socket.sendall(bytes([0x80 | kind]) + length + mask
                             + bytes(byte ^ mask[index % 4] for index, byte in enumerate(data)))

    def receive(self) -> str:
        """Return the next text; pings are answered. Raises Closed, or TimeoutError."""
        while True:
            kind, data = self._frame()
            if kind == PING:
                self.send(data, PONG)
            elif kind == CLOSE:
                with contextlib.suppress(OSError):
                    self.send(data, CLOSE)
                self._socket.close()
                raise Closed(struct.unpack("!H", data[:2])[0] if data else 1005)
            elif kind == TEXT:
                return data.decode()

    def ask(self, text: str) -> str:
        self.send(text)
        return self.receive()

    def close(self) -> None:
        with contextlib.suppress(OSError, Closed):
            self.send(struct.pack("!H", 1000), CLOSE)
            while True:
                self.receive()
        self._socket.close()

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length > 125:
            length = struct.unpack("!H" if length == 126 else "!Q", self._exactly(2 if length == 126 else 8))[0]
        return first & 0x0F, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            try:
                part = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(0, str(error)) from None
            if not part:
                raise Closed(0, "the end of the stream")
            self._rest += part
        data, self._rest = self._rest[:count], self._rest[count:]
        return data
