"""A strict client: it sends at a steady rate, never repeats a request, and checks every answer's status and content."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    sent: int = 0
    good: int = 0
    late: int = 0  # requests that the client itself could not send in time
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    kinds: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (f"{self.sent} requests ({kinds}), {self.good} good, {len(self.failures)} failed, slowest "
                f"{self.slowest * 1000:.0f} ms")


class Traffic:
    """GET and POST in turn, on kept and on new connections, against httpbin's echoes, until `stop`."""

    def __init__(self, address: str, port: int, host: str, rate: float = 200, threads: int = 12, limit: float = 300):
        self.address, self.port, self.host, self.rate = address, port, host, rate
        self.report = Report()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._numbers = itertools.count()
        self._start = time.monotonic()
        self._limit = limit  # seconds; no run of traffic is endless
        self._threads = [threading.Thread(target=self._work, args=(index,), daemon=True) for index in range(threads)]

    def __enter__(self) -> Traffic:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _work(self, index: int) -> None:
        kept: http.client.HTTPConnection | None = None
        while not self._end.is_set():
            number = next(self._numbers)
            due = self._start + number / self.rate
            pause = due - time.monotonic()
            if due - self._start > self._limit:
                return
            if pause > 0:
                time.sleep(pause)
            keep = index % 2 == 0
            connection = kept if keep and kept else http.client.HTTPConnection(self.address, self.port, timeout=20)
            kind = f"{'POST' if number % 2 else 'GET'} {'kept' if keep else 'new'}"
            begin = time.monotonic()
            try:
                error = self._ask(connection, number)
            except (OSError, http.client.HTTPException) as problem:
                error = f"{type(problem).__name__}: {problem}"
            took = time.monotonic() - begin
            if keep and error is None:
                kept = connection
            else:
                connection.close()
                kept = None if keep else kept
            with self._lock:
                self.report.sent += 1
                self.report.kinds[kind] += 1
                self.report.slowest = max(self.report.slowest, took)
                if error is None:
                    self.report.good += 1
                else:
                    self.report.failures.append(f"at {begin - self._start:.2f} s, {kind}: {error}")

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> str | None:
        text = f"number-{number}"
        if number % 2:
            connection.request("POST", "/post", body=text, headers={"Host": self.host, "Content-Type": "text/plain"})
        else:
            connection.request("GET", f"/get?text={text}", headers={"Host": self.host})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return f"status {answer.status}"
        content = json.loads(body)
        got = content["data"] if number % 2 else content["args"]["text"]
        return None if got == text else f"asked for {text}, got {got}"
