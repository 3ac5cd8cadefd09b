# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on an edge host: puts the right configuration live, then tries mutant after mutant while clients come and go.

    python3 on_host.py FOLDER        (FOLDER has the module utilities, and payload.json)

Prints a report as JSON. At the end the host has the configuration that it had before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree

FOLDER = "/srv/mutants"


class _App(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        with contextlib.suppress(OSError):  # somebody who only looks whether we listen has gone
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\napp")


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128


def serve(sockets: list[str], taken: int) -> None:
    """Be the apps, and the other program whose port is taken."""
    for path in sockets:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = _Unix(path, _App)
        os.chmod(path, 0o666)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("0.0.0.0", taken))
    other.listen()
    signal.pause()


ASKED = [(80, "plain.example.com", "/", b"app"), (8081, "plain.example.com", "/files/a.txt", b"static"),
         (80, "shop.example.com", "/", b"301 Moved"), (443, "shop.example.com", "/static/a.txt", b"static"),
         (443, "shop.example.com", "/", b"app")]


def clients(stop: threading.Event, counts: dict) -> None:
    """Ask over new connections, one after the other, without ever trying again."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    number = 0
    while not stop.is_set():
        port, name, path, wanted = ASKED[number % len(ASKED)]
        number += 1
        answer, start = b"", time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                if port == 443:
                    client = stack.enter_context(context.wrap_socket(client, server_hostname=name))
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                while piece := client.recv(65536):
                    answer += piece
        except OSError as error:
            answer += repr(error).encode()
        counts["asked"] += 1
        counts["slowest"] = max(counts["slowest"], time.monotonic() - start)
        if wanted not in answer:
            counts["lost"].append(f"{name}:{port}{path}: {answer[-200:].decode(errors='replace')}")
        time.sleep(0.02)


def snapshot(folder: str) -> dict:
    """Return everything below the folder, byte for byte, with its mode."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(base, name)
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path) and not content:
                with open(path, "rb") as stream:
                    content = stream.read()
            found[path] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def certificate(path: str, names: str) -> None:
    """Make a certificate for the names."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=x", "-keyout", f"{path}.key", "-out", f"{path}.pem", "-addext",
                    f"subjectAltName={names}", "-days", "30"], check=True, capture_output=True)


def prepare(files: dict) -> list:
    """Make what the right configuration needs; return its sockets."""
    os.makedirs(f"{FOLDER}/static", exist_ok=True)
    certificate(f"{FOLDER}/a", "DNS:shop.example.com,DNS:*.shop.example.com")
    certificate(f"{FOLDER}/other", "DNS:shop.example.com")
    # Of the same key, and for another name.
    subprocess.run(["openssl", "req", "-x509", "-new", "-key", f"{FOLDER}/a.key", "-subj", "/CN=x", "-days", "30",
                    "-addext", "subjectAltName=DNS:other.example.com", "-out", f"{FOLDER}/wrong.pem"], check=True,
                   capture_output=True)
    # Of the same key, and over since yesterday.
    done = subprocess.run(["openssl", "req", "-new", "-key", f"{FOLDER}/a.key", "-subj", "/CN=x"], check=True,
                          capture_output=True)
    with open(f"{FOLDER}/names", "w", encoding="ascii") as stream:
        stream.write("subjectAltName=DNS:shop.example.com,DNS:*.shop.example.com\n")
    # OpenSSL took a negative number of days until it got a way to say when.
    for until in (["-days", "-1"], ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"]):
        made = subprocess.run(["openssl", "x509", "-req", "-signkey", f"{FOLDER}/a.key", *until, "-extfile",
                               f"{FOLDER}/names", "-out", f"{FOLDER}/expired.pem"], input=done.stdout, check=False,
                              capture_output=True)
        if made.returncode == 0:
            break
    made.check_returncode()
    sockets = []
    for kind, what in nginx_tree.needs(files):
        if kind == "folder":
            os.makedirs(what, exist_ok=True)
        if kind == "socket":
            sockets += [one[5:] for one in what.split() if one.startswith("unix:")]
    with open(f"{FOLDER}/static/a.txt", "w", encoding="ascii") as stream:
        stream.write("static")
    return sockets


def attempt(tree: nginx_tree.Tree, name: str, files: dict, right: dict, counts: dict) -> dict:
    """Try one mutant; return what came of it."""
    before, running, asked, start = snapshot("/etc/nginx"), tree.running(), counts["asked"], time.monotonic()
    found = {"name": name, "refused": False, "message": ""}
    try:
        tree.go_live(files, {}, 100)
    except nginx_tree.Refused as refused:
        found.update(refused=True, message=str(refused))
    found["seconds"] = round(time.monotonic() - start, 2)
    found["same"] = snapshot("/etc/nginx") == before and tree.running() == running
    if not found["refused"] or not found["same"]:
        tree.go_live(right, {}, 100)
    deadline = time.monotonic() + 5
    while counts["asked"] < asked + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    found["served"] = counts["asked"] - asked
    return found


def main() -> None:
    """Do it all, and print the report."""
    with open(os.path.join(sys.argv[1], "payload.json"), encoding="utf-8") as stream:
        payload = json.load(stream)
    sockets = prepare(payload["files"])
    child = os.fork()
    if not child:
        serve(sockets, payload["taken"])
    tree = nginx_tree.Tree(timeout=4)
    first, kept = tree.live(), tree.kept()
    report = {"mutants": [], "start": first}
    stop, counts = threading.Event(), {"asked": 0, "lost": [], "slowest": 0.0}
    asking = threading.Thread(target=clients, args=(stop, counts))
    try:
        time.sleep(1)
        tree.go_live(payload["files"], {}, 100)
        asking.start()
        for name, changed in payload["mutants"]:
            report["mutants"].append(attempt(tree, name, {**payload["files"], **changed}, payload["files"], counts))
    finally:
        stop.set()
        if asking.ident:
            asking.join()
        with contextlib.suppress(nginx_tree.Refused):
            tree.go_back(first)
        report["end"] = tree.running()
        for number in tree.kept():
            if number not in (*kept, tree.live()):
                shutil.rmtree(tree.paths.generation(number))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shutil.rmtree(FOLDER)
        for path in sockets:
            os.unlink(path)
    print(json.dumps({**report, **counts}))


if __name__ == "__main__":
    main()
