# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company's network for tests: an index of packages behind HTTPS and a login, its own authority, and a proxy.

The name ``packages.internal`` is known to the proxy alone, so that whoever reaches it came through the proxy.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import select
import socket
import socketserver
import ssl
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

NAME = "packages.internal"


def authority(folder: Path, *addresses: str) -> tuple[Path, Path]:
    """Make an authority and a certificate for `NAME` and the addresses; return the files (authority, server's)."""
    names = ",".join([f"DNS:{NAME}", *(f"IP:{address}" for address in addresses)])
    (folder / "server.ext").write_text(f"subjectAltName={names}\n")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={NAME}")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "server.ext", "-out", "server.pem")
    chain = folder / "chain.pem"
    chain.write_text((folder / "server.pem").read_text() + (folder / "server.key").read_text())
    return folder / "ca.pem", chain


def wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> tuple[Path, str]:
    """Put a wheel with one module into the folder; return its path and its SHA-256."""
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(member, (2026, 1, 1, 0, 0, 0)), text)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def sdist_of(files: dict[str, str], top: str) -> bytes:
    """Return a tar.gz of the files below one folder, as code hosts pack them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            item = tarfile.TarInfo(f"{top}/{name}")
            item.size = len(text)
            archive.addfile(item, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Network:
    """The servers, each in a thread; `asked` and `tunnels` say who asked for what."""

    def __init__(self, files: Path, chain: Path, address: str, user: str, password: str, proxy_login: str = ""):
        self.asked: list[tuple[str, str, int]] = []  # (client, path, status)
        self.tunnels: list[tuple[str, str]] = []  # (client, wanted host:port)
        self.address = address
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._proxy_login = "Basic " + base64.b64encode(proxy_login.encode()).decode() if proxy_login else ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.index = _Server((address, 0), self._index_handler(files))
        self.index.socket = context.wrap_socket(self.index.socket, server_side=True, do_handshake_on_connect=False)
        self.proxy = _Server((address, 0), self._proxy_handler())
        self.port, self.proxy_port = self.index.server_address[1], self.proxy.server_address[1]
        for server in (self.index, self.proxy):
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        for server in (self.index, self.proxy):
            server.shutdown()
            server.server_close()

    def _index_handler(self, files: Path):
        network = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(files))

            def do_GET(self):
                if self.headers.get("Authorization") != network._login:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                folder = files / self.path.strip("/")
                if self.path.startswith("/simple/") and folder.is_dir():
                    links = "".join(f'<a href="/files/{name}#sha256={total}">{name}</a>\n'
                                    for name, total in _wheels(folder))
                    body = f"<!DOCTYPE html><html><body>\n{links}</body></html>".encode()
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                super().do_GET()

            def log_request(self, code="-", size="-"):
                network.asked.append((self.client_address[0], self.path, int(code)))

            def log_message(self, *_arguments):
                pass

        return Handler

    def _proxy_handler(self):
        network = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self):
                if network._proxy_login and self.headers.get("Proxy-Authorization") != network._proxy_login:
                    self.send_response(407)
                    self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
                    self.end_headers()
                    return
                network.tunnels.append((self.client_address[0], self.path))
                host, _colon, port = self.path.rpartition(":")
                host = network.address if host == NAME else host
                try:
                    other = socket.create_connection((host, int(port)), timeout=20)
                except OSError:
                    self.send_error(502)
                    return
                self.send_response(200)
                self.end_headers()
                with other:
                    _pass_on(self.connection, other)
                self.close_connection = True

            def log_message(self, *_arguments):
                pass

        return Handler


def _wheels(folder: Path):
    """A project's page lists the files that its folder has links to."""
    for path in sorted(folder.iterdir()):
        yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            for ready in select.select([one, other], [], [], 60)[0] or [None]:
                data = ready.recv(65536) if ready else b""
                if not data:
                    return
                (other if ready is one else one).sendall(data)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that does not trust the certificate
