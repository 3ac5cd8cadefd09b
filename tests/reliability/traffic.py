"""A strict client: it sends at a steady rate, never repeats a request, and checks every answer's status and content.

In a test:

    with Traffic("192.0.2.11", host="shop.example.com", rate=500) as traffic:
        with traffic.window("deploy"):
            ...
    assert not traffic.report.failures, traffic.report.table()

By hand, against an app of your own (GET alone, unless told):

    python -m tests.reliability.traffic --url http://192.0.2.11/ --host shop.example.com --rate 500 --seconds 60

It ends with a table, and with exit code 1 where one request was lost. It needs nothing but Python, and sends from a
process of its own, so that what a test does meanwhile does not hold it up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import bisect
import contextlib
import gc
import hashlib
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

KINDS = ("get", "post", "slow")
CONNECTIONS = ("kept", "new")
LATE = 0.1  # seconds after its time that a request counts as late: the client was too slow, not the server
MOST_FAILURES = 1000  # that are told in words; all are counted
IN_FLIGHT = 2000  # more are not begun: they count as late, and as lost


@dataclass
class Settings:
    """What to send, and where."""

    address: str
    port: int = 80
    host: str = ""
    rate: float = 500  # requests a second, slow ones and WebSockets not counted
    kinds: tuple[str, ...] = KINDS  # get, post, slow, websocket
    connections: tuple[str, ...] = CONNECTIONS
    app: str = "echo"  # what the app understands: see APPS
    prefix: str = "/"  # of the paths
    slow: int = 4  # slow requests at any time
    slow_seconds: float = 5
    websockets: int = 1
    patience: float = 30  # seconds for an answer
    limit: float = 3600  # seconds; no run of traffic is endless
    tls: bool = False
    insecure: bool = False
    contains: tuple[str, ...] = ()  # for `app="any"`: what an answer must have
    release: str = ""  # for `app="any"`: an expression whose group is the release
    status: int = 200


@dataclass
class Request:
    """One request, and what its answer has to be: `check` returns what is wrong, and the (version, release)."""

    method: str
    path: str
    body: bytes | None
    check: Callable[[int, bytes, bytes], tuple[str, tuple[str, str]]]


NOBODY = ("", "")


def _json_check(expected: Callable[[dict], Any], text: str, status: int = 200) -> Callable:
    def check(got: int, _head: bytes, body: bytes) -> tuple[str, tuple[str, str]]:
        if got != status:
            return f"status {got}: {body[:160].decode(errors='replace')!r}", NOBODY
        try:
            content = json.loads(body)
            value = expected(content)
        except (ValueError, KeyError, TypeError):
            return f"not the content that was asked for: {body[:80]!r}", NOBODY
        if value != text:
            return f"asked for {text!r}, got {value!r}", NOBODY
        return "", (str(content.get("version") or ""), str(content.get("release") or ""))

    return check


def echo(settings: Settings, kind: str, number: int) -> Request:
    """Return a request to the app of tests/reliability/app, or to another one with its three paths."""
    text = f"number-{number}"
    check = _json_check(lambda content: content["text"], text)
    if kind == "post":
        return Request("POST", f"{settings.prefix}echo", text.encode(), check)
    if kind == "slow":
        return Request("GET", f"{settings.prefix}slow?seconds={settings.slow_seconds:g}&text={text}", None, check)
    return Request("GET", f"{settings.prefix}echo?text={text}", None, check)


def httpbin(settings: Settings, kind: str, number: int) -> Request:
    """Return a request to httpbin, which echoes; it has no version."""
    text = f"number-{number}"
    if kind == "post":
        return Request("POST", f"{settings.prefix}post", text.encode(), _json_check(lambda c: c["data"], text))
    path = f"delay/{settings.slow_seconds:g}" if kind == "slow" else "get"
    return Request("GET", f"{settings.prefix}{path}?text={text}", None, _json_check(lambda c: c["args"]["text"], text))


def guestbook(settings: Settings, kind: str, number: int) -> Request:
    """Return a request to the guestbook of the examples as it is, which reads its database for it; GET alone."""
    return Request("GET", "/api/health/", None, _json_check(lambda content: content["status"], "ok"))


def any_app(settings: Settings, kind: str, number: int) -> Request:
    """Return a request to an app that we do not know."""

    def check(got: int, head: bytes, body: bytes) -> tuple[str, tuple[str, str]]:
        if got != settings.status:
            return f"status {got}", NOBODY
        missing = [text for text in settings.contains if text.encode() not in body]
        if missing:
            return f"the answer has no {missing[0]!r}: {body[:80]!r}", NOBODY
        found = re.search(settings.release.encode(), head + body) if settings.release else None
        release = found[found.re.groups and 1].decode(errors="replace") if found else ""
        return "", (release, release)

    method, body = ("POST", f"number={number}".encode()) if kind == "post" else ("GET", None)
    return Request(method, settings.prefix, body, check)


APPS = {"echo": echo, "httpbin": httpbin, "guestbook": guestbook, "any": any_app}


# -- what came of it -------------------------------------------------------------------------------------------------

@dataclass
class Window:
    """What was answered in a stretch of time: latencies in seconds, slow requests left out."""

    name: str
    begin: float
    end: float
    requests: int = 0
    failed: int = 0
    p50: float = 0.0
    p99: float = 0.0
    slowest: float = 0.0


@dataclass
class Report:
    """What the client saw. Times are of `time.monotonic`."""

    sent: int = 0
    good: int = 0
    lost: int = 0
    late: int = 0  # requests that the client itself could not send in time
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    why: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)
    by_version: Counter = field(default_factory=Counter)
    by_release: Counter = field(default_factory=Counter)
    sockets: Counter = field(default_factory=Counter)  # WebSockets: opened, echoes, closed politely
    closed: int = 0  # kept connections that the server closed while nothing was asked on them
    quiet: Window | None = None  # outside of all marked windows
    windows: list[Window] = field(default_factory=list)
    switches: list[Window] = field(default_factory=list)  # seen by the answers: from the first new to the last old one
    moments: dict[str, int] = field(default_factory=dict)  # requests in flight then
    failed_at: list[float] = field(default_factory=list)

    @property
    def slowest(self) -> float:
        """Return the longest time that an answer took, in seconds."""
        return max((window.slowest for window in [*self.windows, *([self.quiet] if self.quiet else [])]), default=0.0)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (f"{self.sent} requests ({kinds}), {self.good} good, {self.lost} failed, {self.late} late, slowest "
                f"{self.slowest * 1000:.0f} ms")

    def table(self) -> str:
        """Return all of it as a table."""
        rate = self.sent / self.seconds if self.seconds else 0
        lines = [f"{self.sent} requests in {self.seconds:.1f} s ({rate:.0f}/s), {self.lost} lost, {self.late} late, "
                 f"{self.closed} idle connections closed by the server", ""]
        lines += [f"  {kind:24} {count:8}" for kind, count in sorted(self.kinds.items())]
        lines += [f"  WebSocket {what:14} {count:8}" for what, count in sorted(self.sockets.items())]
        lines += [f"  lost: {what:18} {count:8}" for what, count in self.why.most_common()]
        lines += [f"  release {name or '(does not tell)':16} {count:8}" for name, count in self.by_release.items()]
        rows = [*([self.quiet] if self.quiet else []), *self.windows, *self.switches]
        if rows:
            lines += ["", f"  {'when':32} {'requests':>8} {'lost':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}"]
            lines += [f"  {row.name:32} {row.requests:8} {row.failed:6} {row.p50 * 1000:8.1f} {row.p99 * 1000:8.1f} "
                      f"{row.slowest * 1000:8.1f}" for row in rows]
        if self.failures:
            lines += ["", *(f"  {failure}" for failure in self.failures[:20])]
        return "\n".join(lines)

    def as_json(self) -> str:
        return json.dumps(vars(self), default=asdict)

    @classmethod
    def of_json(cls, text: str) -> Report:
        content = json.loads(text)
        for name in ("why", "kinds", "by_version", "by_release", "sockets"):
            content[name] = Counter(content[name])
        for name in ("windows", "switches"):
            content[name] = [Window(**window) for window in content[name]]
        content["quiet"] = Window(**content["quiet"]) if content["quiet"] else None
        return cls(**content)


class Samples:
    """Every request with its times; small, for there may be millions. They are in the order in which they ended."""

    def __init__(self) -> None:
        self.begin, self.end = array("d"), array("d")
        self.slow, self.version = array("b"), array("h")
        self.versions: dict[str, int] = {}
        self.longest = 0.0

    def add(self, begin: float, end: float, slow: bool, version: str | None) -> None:
        """Note a request; no version (None) means that it was lost."""
        self.begin.append(begin)
        self.end.append(end)
        self.slow.append(slow)
        self.version.append(-1 if version is None else self.versions.setdefault(version, len(self.versions)))
        self.longest = max(self.longest, end - begin)

    def between(self, since: float, until: float) -> list[int]:
        """Return which were in flight at some time in between."""
        first = bisect.bisect_left(self.end, since)
        last = bisect.bisect_right(self.end, until + self.longest)
        return [index for index in range(first, last) if self.begin[index] <= until]

    def window(self, window: Window, which: Iterable[int]) -> Window:
        """Fill in the figures of a window."""
        times = []
        for index in which:
            window.requests += 1
            if self.version[index] < 0:
                window.failed += 1
            elif not self.slow[index]:
                times.append(self.end[index] - self.begin[index])
        if times:
            times.sort()
            window.p50, window.slowest = times[len(times) // 2], times[-1]
            window.p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        return window

    def windows(self, marks: list[tuple[str, float, float]]) -> tuple[Window, list[Window]]:
        """Return what was in flight outside of all marks, and in each."""
        marked = bytearray(len(self.end))
        found = []
        for name, begin, end in marks:
            which = self.between(begin, end)
            for index in which:
                marked[index] = 1
            found.append(self.window(Window(name, begin, end), which))
        return self.window(Window("quiet", 0, 0), (i for i, mark in enumerate(marked) if not mark)), found

    def switches(self, gap: float = 1.0, around: float = 1.0) -> list[tuple[str, float, float]]:
        """Return the switches that the answers tell of: from the first of a version to the last of the one before.

        A version that has not answered for `gap` seconds is gone; should it come again, somebody went back to it.
        """
        names = list(self.versions)
        found: list[list] = []
        now = None
        for at, slow, version in zip(self.end, self.slow, self.version, strict=True):
            if version < 0 or slow:
                continue
            if now is None:
                now = version
            elif version != now:
                if found and found[-1][2] == version and at - found[-1][4] < gap:
                    found[-1][4] = at  # the old one still answers too
                    continue
                found.append([names[now], names[version], now, at, at])
                now = version
        return [(f"{old or '-'} -> {new or '-'}", first - around, last + around)
                for old, new, _old, first, last in found]


# -- the client ------------------------------------------------------------------------------------------------------

class Lost(Exception):
    """A request that was not answered as it should have been."""

    def __init__(self, why: str, text: str):
        self.why = why
        super().__init__(text)


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.answer: asyncio.Future | None = None
        self.gone = ""
        self.length = -2  # of the body; -2: the head is not there yet, -1: until the end, -3: in chunks
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = f"{type(error).__name__}" if error else "closed"
        if self.answer and not self.answer.done():
            if self.length == -1:
                self._done(bytes(self.buffer))
                return
            got = f"after {len(self.head) + len(self.buffer)} bytes of the answer"
            why = "reset" if error else "closed"
            self.answer.set_exception(Lost(why, f"the connection was {why} {got}"))

    def eof_received(self) -> bool:
        return False

    def ask(self, data: bytes) -> asyncio.Future:
        """Send a request; the answer is (status, head, body)."""
        self.buffer.clear()
        self.length, self.head = -2, b""
        self.answer = asyncio.get_running_loop().create_future()
        if self.gone or not self.transport:
            self.answer.set_exception(Lost("closed", "the connection was closed before the request"))
        else:
            self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        if not self.answer or self.answer.done():
            self.gone = "unasked data"
            self.close()
            return
        self.buffer += data
        if self.length == -2:
            head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
            if not end:
                return
            self.head, self.buffer = head, bytearray(rest)
            low = head.lower()
            found = re.search(rb"\r\ncontent-length:\s*(\d+)", low)
            self.length = int(found[1]) if found else -3 if b"transfer-encoding: chunked" in low else -1
        if self.length >= 0:
            if len(self.buffer) >= self.length:
                self._done(bytes(self.buffer[:self.length]))
        elif self.length == -3:
            body = self._chunks()
            if body is not None:
                self._done(body)

    def _chunks(self) -> bytes | None:
        at, body, data = 0, b"", bytes(self.buffer)
        while True:
            end = data.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(data[at:end].split(b";")[0], 16)
            if len(data) < end + 2 + size + 2:
                return None
            if size == 0:
                return body
            body += data[end + 2:end + 2 + size]
            at = end + 2 + size + 2

    def _done(self, body: bytes) -> None:
        if self.answer and not self.answer.done():
            try:
                status = int(self.head.split(b" ", 2)[1])
            except (IndexError, ValueError):
                self.answer.set_exception(Lost("content", f"no HTTP: {self.head[:60]!r}"))
                return
            self.answer.set_result((status, self.head, body))

    @property
    def reusable(self) -> bool:
        """Say whether the server leaves the connection open."""
        low = self.head.lower()
        return (not self.gone and self.length != -1 and b"\r\nconnection: close" not in low
                and self.head.startswith(b"HTTP/1.1"))

    def close(self) -> None:
        if self.transport:
            self.transport.close()


class Client:
    """All of the traffic, in one event loop."""

    def __init__(self, settings: Settings):
        self.settings, self.report, self.samples = settings, Report(), Samples()
        self.idle: deque[Connection] = deque()
        self.tasks: set[asyncio.Task] = set()
        self.end = asyncio.Event()
        self.numbers = itertools.count()
        self.make = APPS[settings.app]
        self.started = time.monotonic()
        self.tls = None
        if settings.tls:
            self.tls = ssl.create_default_context()
            if settings.insecure:
                self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        name = settings.host or settings.address
        self.name = name if settings.port in (80, 443) or ":" in name else f"{name}:{settings.port}"

    def head(self, request: Request, kept: bool) -> bytes:
        lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {self.name}", "User-Agent: webstack-traffic",
                 "Accept: */*", f"Connection: {'keep-alive' if kept else 'close'}"]
        if request.body is not None:
            lines += ["Content-Type: text/plain", f"Content-Length: {len(request.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + (request.body or b"")

    async def open(self) -> Connection:
        loop = asyncio.get_running_loop()
        name = (self.settings.host or self.settings.address) if self.tls else None
        try:
            _transport, connection = await loop.create_connection(
                Connection, self.settings.address, self.settings.port, ssl=self.tls, server_hostname=name)
        except OSError as error:
            raise Lost("refused", f"cannot connect: {error}") from None
        return connection

    async def one(self, kind: str, kept: bool) -> None:
        """Send one request, once, and look at what comes back."""
        number = next(self.numbers)
        request = self.make(self.settings, kind, number)
        begin = time.monotonic()
        connection, version, problem = None, None, ""
        patience = self.settings.patience + (self.settings.slow_seconds if kind == "slow" else 0)
        try:
            async with asyncio.timeout(patience):
                while kept and self.idle:
                    connection = self.idle.popleft()
                    if not connection.gone:
                        break
                    self.report.closed += 1
                    connection = None
                connection = connection or await self.open()
                status, head, body = await connection.ask(self.head(request, kept))
            problem, (version, release) = request.check(status, head, body)
            if problem:
                why, version = f"status {status}" if status != self.settings.status else "content", None
            else:
                self.report.by_version[version] += 1
                self.report.by_release[release or version] += 1
        except TimeoutError:
            why, problem = "no answer", f"no answer within {patience:g} s"
        except Lost as error:
            why, problem = error.why, str(error)
        end = time.monotonic()
        if connection:
            if kept and not problem and connection.reusable and len(self.idle) < 64:
                self.idle.append(connection)
            else:
                connection.close()
        label = f"{request.method} {'slow ' if kind == 'slow' else ''}{'kept' if kept else 'new'}"
        self.samples.add(begin, end, kind == "slow", version)
        self.report.sent += 1
        self.report.kinds[label] += 1
        if problem:
            self.lost(begin, label, why, problem, end - begin)
        else:
            self.report.good += 1

    def lost(self, begin: float, label: str, why: str, problem: str, took: float) -> None:
        self.report.lost += 1
        self.report.why[why] += 1
        self.report.failed_at.append(begin)
        if len(self.report.failures) < MOST_FAILURES:
            self.report.failures.append(f"at {begin - self.started:.2f} s, {label}: {problem} (after {took:.2f} s)")

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def steady(self) -> None:
        """Send at the rate, whatever the answers do."""
        mix = [(kind, how == "kept") for how in self.settings.connections for kind in self.settings.kinds
               if kind in ("get", "post")]
        turns = itertools.cycle(mix)
        for number in itertools.count():
            due = self.started + number / self.settings.rate
            now = time.monotonic()
            while due > now and not self.end.is_set():
                await asyncio.sleep(min(due - now, 0.5))
                now = time.monotonic()
            if now - due > LATE:
                self.report.late += 1
                # After a standstill of the client itself it goes on from here, and does not make up for it at once.
                if now - due > 1:
                    missed = int((now - due) * self.settings.rate)
                    self.report.late += missed
                    self.started += missed / self.settings.rate
            if self.end.is_set():
                return
            kind, kept = next(turns)
            if len(self.tasks) > IN_FLIGHT:
                self.lost(now, kind, "too many", f"{IN_FLIGHT} requests wait for their answers already", 0)
                continue
            self.spawn(self.one(kind, kept))

    async def slowly(self, index: int) -> None:
        """Keep one slow request in flight."""
        await asyncio.sleep(index * self.settings.slow_seconds / max(self.settings.slow, 1))
        while not self.end.is_set():
            await self.one("slow", index % 2 == 0)

    # -- WebSocket -------------------------------------------------------------------------------------------------

    async def websocket(self) -> None:
        """Keep a WebSocket open; after a polite close by the server open the next one at once."""
        while not self.end.is_set():
            begin = time.monotonic()
            try:
                await self.one_websocket()
            except Lost as error:
                self.report.sent += 1
                self.report.kinds["WebSocket"] += 1
                self.lost(begin, "WebSocket", error.why, str(error), time.monotonic() - begin)
                await asyncio.sleep(1)

    async def one_websocket(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        try:
            reader, writer = await asyncio.open_connection(
                self.settings.address, self.settings.port, ssl=self.tls,
                server_hostname=(self.settings.host or self.settings.address) if self.tls else None)
        except OSError as error:
            raise Lost("refused", f"cannot connect: {error}") from None
        try:
            writer.write((f"GET {self.settings.prefix}ws HTTP/1.1\r\nHost: {self.name}\r\nUpgrade: websocket\r\n"
                          f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
                          f"Origin: http://{self.name}\r\n\r\n").encode())
            async with asyncio.timeout(self.settings.patience):
                head = await reader.readuntil(b"\r\n\r\n")
            accept = base64.b64encode(hashlib.sha1(  # noqa: S324  (the protocol's own, no secret)
                f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
            if not head.startswith(b"HTTP/1.1 101") or accept not in head:
                raise Lost("no upgrade", f"no WebSocket: {head[:80]!r}")
            self.report.sockets["opened"] += 1
            while not self.end.is_set():
                text = f"number-{next(self.numbers)}".encode()
                await self.send(writer, 1, text)
                begin = time.monotonic()
                async with asyncio.timeout(self.settings.patience):
                    kind, data = await self.receive(reader, writer)
                if kind == 8:
                    self.closed(data, writer)
                    return
                self.report.sent += 1
                self.report.kinds["WebSocket echo"] += 1
                told = NOBODY
                if data != text:  # an app may tell its version with the echo
                    problem, told = _json_check(lambda c: c["text"], text.decode())(200, b"", data)
                    if problem:
                        raise Lost("content", problem)
                self.report.good += 1
                self.report.by_release[told[1] or told[0]] += 1
                self.report.sockets["echoes"] += 1
                self.samples.add(begin, time.monotonic(), True, told[0])
                # A close of the server's may come while nothing is asked.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        kind, data = await self.receive(reader, writer)
                        if kind == 8:
                            self.closed(data, writer)
                            return
        except TimeoutError:
            raise Lost("no answer", f"WebSocket: no echo within {self.settings.patience:g} s") from None
        except asyncio.IncompleteReadError:
            raise Lost("closed", "WebSocket: the connection ended without a close frame") from None
        except OSError as error:
            raise Lost("reset", f"WebSocket: {type(error).__name__}") from None
        finally:
            writer.close()

    def closed(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
        if code not in (1000, 1001, 1012):
            raise Lost("closed", f"WebSocket: closed with code {code}")
        with contextlib.suppress(OSError):
            writer.write(self.frame(8, data[:2]))
        self.report.sockets[f"closed ({code})"] += 1

    @staticmethod
    def frame(kind: int, data: bytes) -> bytes:
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        return bytes([0x80 | kind]) + size + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    async def send(self, writer: asyncio.StreamWriter, kind: int, data: bytes) -> None:
        writer.write(self.frame(kind, data))
        await writer.drain()

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
        while True:
            first, second = await reader.readexactly(2)
            size = second & 127
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            data = await reader.readexactly(size)
            if first & 15 == 9:
                await self.send(writer, 10, data)
            elif first & 15 != 10:
                return first & 15, data

    # -- the whole -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until `end` is set, then wait for the answers that are due."""
        if any(kind in ("get", "post") for kind in self.settings.kinds):
            self.spawn(self.steady())
        if "slow" in self.settings.kinds and self.settings.app in ("echo", "httpbin"):
            for index in range(self.settings.slow):
                self.spawn(self.slowly(index))
        if "websocket" in self.settings.kinds:
            for _index in range(self.settings.websockets):
                self.spawn(self.websocket())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.limit):
                await self.end.wait()
        self.end.set()
        stopped = time.monotonic()
        while self.tasks and time.monotonic() < stopped + self.settings.patience + self.settings.slow_seconds + 5:
            await asyncio.wait(self.tasks, timeout=1)
        for connection in self.idle:
            connection.close()
        self.report.seconds = stopped - self.started

    def finish(self, marks: list, moments: list) -> Report:
        self.report.quiet, self.report.windows = self.samples.windows([tuple(mark) for mark in marks])
        _quiet, self.report.switches = self.samples.windows(self.samples.switches(max(1.0, 50 / self.settings.rate)))
        self.report.moments = {name: len(self.samples.between(since, until)) for name, since, until in moments}
        return self.report


async def _serve() -> None:
    """Do what the parent says, a JSON text in each line: settings first, then `stop` or `peek`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    client = Client(Settings(**json.loads(await reader.readline())))
    running = loop.create_task(client.run())
    while True:
        line = await reader.readline()
        order = json.loads(line) if line else {"do": "stop", "marks": [], "moments": []}
        if order["do"] == "peek":
            print(client.report.as_json(), flush=True)
            continue
        client.end.set()
        await running
        if line:
            print(client.finish(order["marks"], order["moments"]).as_json(), flush=True)
        return


class Traffic:
    """Steady traffic from a process of its own, until the block ends; then `report` says what it saw."""

    def __init__(self, address: str, port: int = 80, host: str = "", **settings: Any):
        """Take the settings of `Settings` by name."""
        self.settings = Settings(address, port, host, **settings)
        self._report: Report | None = None
        self._child: subprocess.Popen | None = None
        self._marks: list[tuple[str, float, float]] = []
        self.moments: list[tuple[str, float, float]] = []  # what was in flight then is counted

    def __enter__(self) -> Traffic:
        self._child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--child"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._tell(asdict(self.settings))
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _tell(self, order: dict) -> None:
        assert self._child and self._child.stdin
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()

    def _hear(self) -> Report:
        assert self._child and self._child.stdout
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("the traffic client has ended by itself: see its message above")
        return Report.of_json(line)

    def stop(self) -> Report:
        """Stop sending, wait for the answers that are due, and return the report."""
        if self._report is None and self._child:
            try:
                self._tell({"do": "stop", "marks": self._marks, "moments": self.moments})
                self._report = self._hear()
            finally:
                self._child.stdin.close()
                self._child.wait(timeout=60)
        assert self._report
        return self._report

    @property
    def report(self) -> Report:
        """Return what was seen: so far while it runs (counts and failures), all of it afterwards."""
        if self._report is not None:
            return self._report
        self._tell({"do": "peek"})
        return self._hear()

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Mark a stretch of time, which gets its own line in the report; the time outside of all marks is quiet."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._marks.append((name, begin, time.monotonic()))

    def moment(self, name: str) -> None:
        """Mark this moment: the report says how many requests were in flight."""
        self.moments.append((name, time.monotonic(), time.monotonic()))


# -- by hand ---------------------------------------------------------------------------------------------------------

def main(words: Iterable[str] | None = None) -> int:
    """Send traffic to an app, print a table, and return 1 where one request was lost."""
    parser = argparse.ArgumentParser(prog="traffic", description=(
        "Send requests at a steady rate, check every answer, and count what was lost. Deploy meanwhile."))
    parser.add_argument("--url", required=True, help="what to ask for, for example http://192.0.2.11/")
    parser.add_argument("--host", default="", help="the name to ask for, where the URL has an address")
    parser.add_argument("--rate", type=float, default=100, help="requests a second (default: 100)")
    parser.add_argument("--seconds", type=float, default=60, help="for how long (default: 60)")
    parser.add_argument("--status", type=int, default=200, help="the status that is right (default: 200)")
    parser.add_argument("--contains", action="append", default=[], help="a text that each answer must have")
    parser.add_argument("--release", default="", metavar="EXPRESSION",
                        help="a regular expression that finds the release in the answer, to count by it")
    parser.add_argument("--post", action="store_true", help="send POST requests too: only where that does no harm")
    parser.add_argument("--websocket", action="store_true", help="keep a WebSocket open at PATH/ws that echoes")
    parser.add_argument("--insecure", action="store_true", help="do not check the certificate")
    parser.add_argument("--app", choices=list(APPS), default="any", help=argparse.SUPPRESS)
    options = parser.parse_args(list(words) if words is not None else None)
    url = urlsplit(options.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        parser.error("--url: write http://ADDRESS/ or https://NAME/")
    kinds = ("get", *(["post"] if options.post else []), *(["websocket"] if options.websocket else []))
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    with Traffic(url.hostname, url.port or (443 if url.scheme == "https" else 80), options.host or url.netloc,
                 rate=options.rate, kinds=kinds, app=options.app, prefix=path, tls=url.scheme == "https",
                 insecure=options.insecure, contains=options.contains, release=options.release,
                 status=options.status, limit=options.seconds + 60) as traffic, contextlib.suppress(KeyboardInterrupt):
        time.sleep(options.seconds)
    print(traffic.report.table())
    return 1 if traffic.report.lost or not traffic.report.sent else 0


if __name__ == "__main__":
    if "--child" in sys.argv:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.set_threshold(100_000, 20, 100)
        with contextlib.suppress(OSError):
            os.nice(-5)  # where it may: a client that waits for the processor measures itself
        asyncio.run(_serve())
    else:
        sys.exit(main())
