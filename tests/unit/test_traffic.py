"""The client of tests/reliability has to find what it is there for: every request that is lost, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reliability"))

from traffic import Report, Samples, Traffic  # noqa: E402


def ok(text: str, version: str = "1", **more) -> bytes:
    body = json.dumps({"text": text, "version": version, "release": f"r{version}", **more}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@contextlib.contextmanager
def server(answer):
    """Answer each request with what `answer(number, text)` returns; None closes the connection at once."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    numbers = iter(range(10**9))

    def talk(connection):
        with contextlib.suppress(OSError), connection:
            stream = connection.makefile("rb")
            while line := stream.readline():
                length, key = 0, ""
                while (header := stream.readline().strip()):
                    name, _colon, value = header.decode().partition(": ")
                    length = int(value) if name == "Content-Length" else length
                    key = value if name == "Sec-WebSocket-Key" else key
                path = line.split()[1].decode()
                if key:
                    websocket(connection, stream, key)
                    return
                text = stream.read(length).decode() if length else parse_qs(urlsplit(path).query).get("text", [""])[0]
                data = answer(next(numbers), text)
                if data is None:
                    return
                connection.sendall(data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listener.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def websocket(connection, stream, key):
    """Echo once, then close as a server does that goes away; then, the next time, without a word."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())  # noqa: S324  (as the protocol says)
    accept = base64.b64encode(digest.digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    head = stream.read(2)
    mask, data = stream.read(4), stream.read(head[1] & 127)
    data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    connection.sendall(bytes([0x81, len(data)]) + data)
    websocket.times += 1
    if websocket.times % 2:
        connection.sendall(b"\x88\x02" + (1012).to_bytes(2, "big"))


websocket.times = 0


def drive(answer, seconds=1.0, **settings) -> Report:
    with server(answer) as port, Traffic("127.0.0.1", port, "shop", **{
            "rate": 100, "kinds": ["get", "post"], "patience": 2, **settings}) as traffic:
        time.sleep(seconds)
    return traffic.report


def test_all_is_well():
    report = drive(lambda number, text: ok(text))
    assert report.sent > 50 and report.good == report.sent and not report.failures, report.table()
    assert set(report.kinds) == {"GET kept", "GET new", "POST kept", "POST new"}
    assert report.by_release == {"r1": report.sent} and report.by_version == {"1": report.sent}
    assert report.quiet.requests == report.sent and 0 < report.quiet.p50 <= report.quiet.p99 <= report.slowest


BAD = {
    "another status": (lambda text: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "status 502"),
    "the answer to another request": (lambda text: ok("number-x"), "content"),
    "no JSON": (lambda text: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "content"),
    "half an answer": (lambda text: b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nhi", "no answer"),
    "no answer, and closed": (lambda text: None, "closed"),
}


@pytest.mark.parametrize("what", BAD)
def test_every_loss_is_found(what):
    answer, why = BAD[what]
    seen = []

    def sometimes(number, text):
        if number % 10 == 5:
            seen.append(number)
            return answer(text)
        return ok(text)

    report = drive(sometimes)
    assert report.lost == len(seen) == report.why[why] > 3, report.table()
    assert report.good == report.sent - report.lost


def test_nobody_there_is_a_loss():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Traffic("127.0.0.1", port, rate=50, kinds=["get"]) as traffic:
        time.sleep(0.5)
    assert traffic.report.lost == traffic.report.sent == traffic.report.why["refused"] > 5


def test_chunks_and_a_server_that_says_goodbye():
    def answer(number, text):
        body = ok(text).partition(b"\r\n\r\n")[2]
        if number % 3 == 0:
            return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5]
                + b"\r\n%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n")

    report = drive(answer)
    assert report.good == report.sent > 50, report.table()


def test_a_switch_is_seen_by_the_answers():
    begin = time.monotonic()
    with server(lambda number, text: ok(text, "1" if time.monotonic() - begin < 1 else "2")) as port, Traffic(
            "127.0.0.1", port, rate=100, kinds=["get"]) as traffic:
        time.sleep(1.2)
        with traffic.window("later"):
            time.sleep(0.5)
        assert traffic.report.sent > 50  # while it runs
    assert [switch.name for switch in traffic.report.switches] == ["1 -> 2"]
    assert traffic.report.windows[0].name == "later" and traffic.report.windows[0].requests > 20


def test_a_websocket_may_be_closed_with_a_word_and_not_without():
    websocket.times = 0
    report = drive(lambda number, text: ok(text), 1.5, kinds=["websocket"])
    assert report.sockets["opened"] >= 2 and report.sockets["closed (1012)"] >= 1, report.table()
    assert report.lost == report.why["closed"] >= 1


def test_what_was_in_flight():
    samples = Samples()
    for begin, end in ((0, 1), (0.5, 1.5), (2, 3), (0, 4)):
        samples.add(begin, end, False, "1")
    assert [len(samples.between(*span)) for span in ((0.7, 0.7), (1.6, 1.9), (2.5, 9), (5, 6))] == [3, 1, 2, 0]


def test_a_rollback_right_after_a_deploy_is_a_switch_of_its_own():
    samples = Samples()
    for number in range(1200):  # 100 a second: 1, both, 2, both, 1
        second = number / 100
        versions = {0: "1", 1: "1", 2: "12", 3: "2", 4: "2", 5: "2", 6: "12"}.get(int(second), "1")
        samples.add(second - 0.01, second, False, versions[number % len(versions)])
    assert [(name, round(begin), round(end)) for name, begin, end in samples.switches()] == [
        ("1 -> 2", 1, 4), ("2 -> 1", 5, 8)]


def test_by_hand():
    with server(lambda number, text: ok("home")) as port:
        command = [sys.executable, "-m", "tests.reliability.traffic", "--url", f"http://127.0.0.1:{port}/",
                   "--rate", "50", "--seconds", "1", "--release", '"version": "(.*?)"']
        for more, code in (([], 0), (["--contains", "home"], 0), (["--contains", "something else"], 1)):
            done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            assert "p99 ms" in done.stdout
        assert "lost: content" in done.stdout
