# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several servers for one app of the `Window`: sound ones, a dead one, and one that takes requests and says nothing.

A site's app is named after those behind it: `one-two-dead`. Each writes down what it is asked.
"""

from __future__ import annotations

import base64
import collections
import json
import time

from window import PORT, write_files

SERVERS = """\
import http.server, os, socket, socketserver, ssl, threading, time, urllib.parse

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return ""
    def log_message(self, *_words):
        pass
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with open("/run/nginxtest/farm.log", "a") as log:
            log.write(f"{self.server.label} {self.command} {self.path}\\n")
        if self.server.label == "cut":
            self.close_connection = True
            return
        words = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        time.sleep(float(words.get("sleep", ["0"])[0]))
        body = self.server.label.encode()
        self.send_response(int(words.get("status", ["200"])[0]))
        self.send_header("X-Server", self.server.label)
        self.send_header("X-Path", self.path)
        self.send_header("X-Host", self.headers["Host"])
        self.send_header("X-Forwarded", self.headers.get("X-Forwarded-Host", ""))
        for header in words.get("header", []):
            self.send_header(*header.split(":", 1))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_HEAD = do_PUT = do_GET

class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 256

class Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

def serve(server, label):
    server.label = label
    threading.Thread(target=server.serve_forever).start()

for name in ("one", "two", "three", "spare", "drained", "cut"):
    serve(Unix(f"/run/nginxtest/{name}.sock", Handler), name)
    os.chmod(f"/run/nginxtest/{name}.sock", 0o666)
serve(Tcp(("127.0.0.1", 18081), Handler), "plain")
if os.path.exists("/srv/nginxtest/legacy.pem"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/srv/nginxtest/legacy.pem", "/srv/nginxtest/legacy.key")
    secured = Tcp(("127.0.0.1", 18444), Handler)
    secured.socket = context.wrap_socket(secured.socket, server_side=True)
    serve(secured, "secured")
with socket.socket(socket.AF_UNIX) as nobody:
    nobody.bind("/run/nginxtest/dead.sock")
os.chmod("/run/nginxtest/dead.sock", 0o666)
open("/run/nginxtest/farm.ready", "w").close()
"""

# Asks one request after the other, or all at once, and prints what came back.
MANY = """\
import base64, concurrent.futures, http.client, json, sys
port, count, width, method, path, name, headers = json.loads(base64.b64decode(sys.argv[1]))

def ask(_number):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request(method, path, b"x" if method == "POST" else None, {"Host": name, **headers})
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.headers.get("X-Server", ""), answer.headers.get("Set-Cookie", "")
    except OSError as error:
        return 0, type(error).__name__, ""

with concurrent.futures.ThreadPoolExecutor(width) as pool:
    print(json.dumps(list(pool.map(ask, range(count)))))
"""


def certificate(host):
    """Make that of the server that speaks TLS, before nginx is started."""
    host.check_output("mkdir -p /srv/nginxtest && openssl req -x509 -newkey ec -pkeyopt "
                      "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=legacy.example.com -addext "
                      "subjectAltName=DNS:legacy.example.com -keyout /srv/nginxtest/legacy.key "
                      "-out /srv/nginxtest/legacy.pem 2>&1")


def start(host):
    """Start the servers; the `Window` is open already, and takes their files with it."""
    write_files(host, {"/run/nginxtest/farm.py": SERVERS, "/run/nginxtest/many.py": MANY})
    host.check_output("systemctl stop nginxtest-farm; rm -f /run/nginxtest/farm.ready; "
                      "systemd-run -q --collect --unit=nginxtest-farm python3 /run/nginxtest/farm.py")
    for _try in range(50):
        if host.file("/run/nginxtest/farm.ready").exists:
            return
        time.sleep(0.1)
    raise AssertionError(host.check_output("journalctl -u nginxtest-farm -n 20 -o cat"))


def stop(host):
    """Stop the servers."""
    host.run("systemctl stop nginxtest-farm")


def words(path, count=1, method="GET", name="shop.example.com", headers=None, width=1, port=PORT):
    """Return how the program MANY is told."""
    return base64.b64encode(json.dumps([port, count, width, method, path, name, headers or {}]).encode()).decode()


def many(host, path, count=1, **more):
    """Return [(status, server, Set-Cookie), ...] of so many requests, `width` of them at a time."""
    done = host.check_output(f"python3 /run/nginxtest/many.py {words(path, count, **more)}")
    return [tuple(one) for one in json.loads(done)]


def spread(answers):
    """Return {server: how many answers came from it}; all of them must be sound."""
    assert {status for status, _server, _cookie in answers} == {200}, answers
    return dict(collections.Counter(server for _status, server, _cookie in answers))


def asked(host, path):
    """Return [(server, method), ...] of all requests for the path that reached a server."""
    lines = host.check_output("cat /run/nginxtest/farm.log 2>/dev/null || true").splitlines()
    return [(server, method) for server, method, uri in map(str.split, lines) if uri.split("?")[0] == path]
