# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An nginx of its own beside the host's, on loopback ports, with a configuration that is rendered here.

So everything that a site may say is asked on the real nginx of each Debian release, whatever the scenario's inventory
has. `Window` brings it up with two apps behind it, one that is asked by HTTP and one by the uwsgi protocol.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import sys
import tarfile
import time

sys.path += os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, routes, site_tls
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply

PORT, TLS_PORT, STATUS_PORT = 18080, 18443, 18404
ETC = "/run/nginxtest/etc"

# Asks with exactly these bytes and prints the answer; runs on the host, which needs no curl.
ASK = """\
import base64, socket, ssl, sys
port, name, request = int(sys.argv[1]), sys.argv[2], base64.b64decode(sys.argv[3])
client = socket.create_connection(("127.0.0.1", port), timeout=10)
answer = b""
try:
    if name:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname=name)
    client.sendall(request)
    while piece := client.recv(65536):
        answer += piece
except ssl.SSLError as error:
    answer = b"SSL " + str(error.reason).encode()
except ConnectionResetError:
    pass
print(base64.b64encode(answer).decode())
"""

# Asks for each of the given requests and prints the whole answers, none of them shortened to one header of a name.
ASK_MANY = """\
import base64, json, socket, ssl, sys
answers = []
for port, name, request in json.loads(base64.b64decode(sys.argv[1])):
    client, answer = socket.create_connection(("127.0.0.1", port), timeout=10), b""
    if name:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname=name)
    try:
        client.sendall(request.encode())
        while piece := client.recv(65536):
            answer += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    answers.append(answer.decode("latin-1"))
print(json.dumps(answers))
"""

# Asks many times at once; prints how often each status came, and the seconds of the slowest.
CROWD = """\
import collections, http.client, json, sys, threading, time
port, name, path, number = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
found, slowest, start = collections.Counter(), [], threading.Barrier(number)
def one():
    start.wait()
    began = time.monotonic()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", path, headers={"Host": name})
    answer = client.getresponse()
    answer.read()
    found[answer.status] += 1
    slowest.append(time.monotonic() - began)
threads = [threading.Thread(target=one) for _ in range(number)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([found, max(slowest)]))
"""

# An app that answers with what it was told: by HTTP on one socket, by the uwsgi protocol on another one. It counts how
# often it is asked for each address, and does what the query says: ?sleep=SECONDS&status=404&header=Name:value. Asked
# for /auth/check it does what the header X-Do says, and what it heard there is its answer at /heard.
ECHO = """\
import collections, http.server, json, os, socketserver, struct, threading, time, urllib.parse

asked = collections.Counter()
heard = []

def answer(protocol, uri, do, told):
    asked[protocol, uri] += 1
    if uri == "/auth/check":
        heard[:] = told
        uri += "?" + (do or "status=401")
    elif uri.startswith("/heard"):
        told[:] = heard
    headers = [("X-Asked", str(asked[protocol, uri]))]
    words = urllib.parse.parse_qs(urllib.parse.urlsplit(uri).query)
    time.sleep(float(words.get("sleep", ["0"])[0]))
    headers += [header.split(":", 1) for header in words.get("header", [])]
    return int(words.get("status", ["200"])[0]), headers

class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return ""
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = [self.request_version, self.path, self.headers.items(), self.command]
        status, headers = answer("http", self.path, self.headers.get("X-Do"), told)
        body = json.dumps(told).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_OPTIONS = do_POST = do_GET

class Uwsgi(socketserver.StreamRequestHandler):
    def handle(self):
        size = struct.unpack("<H", self.rfile.read(4)[1:3])[0]
        data, position, words = self.rfile.read(size), 0, []
        while position < size:
            length = struct.unpack("<H", data[position:position + 2])[0]
            words.append(data[position + 2:position + 2 + length].decode())
            position += 2 + length
        told = dict(zip(words[::2], words[1::2]))
        rest = [told]
        status, headers = answer("uwsgi", told["REQUEST_URI"], told.get("HTTP_X_DO"), rest)
        body = json.dumps(rest[0]).encode()
        head = [f"HTTP/1.1 {status} OK", *map(": ".join, headers), f"Content-Length: {len(body)}", "", ""]
        self.wfile.write("\\r\\n".join(head).encode() + (b"" if told["REQUEST_METHOD"] == "HEAD" else body))

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024

for path in ("http", "uwsgi"):
    if os.path.exists(f"/run/nginxtest/{path}.sock"):
        os.unlink(f"/run/nginxtest/{path}.sock")
os.umask(0)  # who waits for a socket may use it at once
servers = [Server("/run/nginxtest/http.sock", Http), Server("/run/nginxtest/uwsgi.sock", Uwsgi)]
for path in ("http", "uwsgi"):
    os.chmod(f"/run/nginxtest/{path}.sock", 0o666)
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""


def ask(host, path="/", name="shop.example.com", port=80, headers=(), method="GET", tls=""):
    """Return (status, {header: value}, body) of one request, or (0, {}, what came instead)."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {name}", "Connection: close", *headers, "", ""]
    request = base64.b64encode("\r\n".join(lines).encode(errors="surrogateescape")).decode()
    program = base64.b64encode(ASK.encode()).decode()
    done = host.run(f"python3 -c \"import base64; exec(base64.b64decode('{program}'))\" {port} '{tls}' {request}")
    assert done.rc == 0, done.stderr
    head, _empty, body = base64.b64decode(done.stdout).decode().partition("\r\n\r\n")
    if not head.startswith("HTTP/1.1 "):
        return 0, {}, head
    first, *rest = head.split("\r\n")
    return int(first.split()[1]), {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in rest}, body


def run_python(host, program, *arguments):
    """Run a Python program on the host and return what it prints."""
    encoded = base64.b64encode(program.encode()).decode()
    words = " ".join(f"'{word}'" for word in arguments)
    return host.check_output(f"python3 -c \"import base64; exec(base64.b64decode('{encoded}'))\" {words}")


def ask_many(host, requests, name="shop.example.com", port=PORT, tls=False):
    """Return [(status, [(header in small letters, value)], body)] for (method, path, headers, body) of each request.

    All of them are one command on the host, and a header that comes twice is there twice.
    """
    made = []
    for method, path, headers, body in requests:
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{method} {path} HTTP/1.1", f"Host: {name}", "Connection: close", *length, *headers, "", body]
        made.append([port, name if tls else "", "\r\n".join(lines)])
    answers = json.loads(run_python(host, ASK_MANY, base64.b64encode(json.dumps(made).encode()).decode()))
    result = []
    for answer in answers:
        head, _empty, rest = answer.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        pairs = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines]
        result.append((int(first.split()[1]), [(key.lower(), value) for key, value in pairs], rest))
    return result


class _Context:
    """The normaliser, as far as sites know it: the apps `http` and `uwsgi`, those of a `farm`, and any Vue site."""

    def app(self, name):
        hosts = name.split("-")
        sockets = [f"unix:/run/nginxtest/{host}.sock" for host in hosts]
        return {"protocol": "uwsgi" if name == "uwsgi" else "http", "servers": sockets, "server_hosts": hosts,
                "drained": [socket for socket in sockets if "drained" in socket], "settings": {}}

    def vue(self, name):
        return {"root": f"/srv/nginxtest/{name}"}

    def names(self, kind):
        return []

    def error(self, path, message):
        raise AssertionError(f"{path}: {message}")

    add = error


def make_site(name, written, **values):
    """Return the plan's record of a site NAME.example.com with these routes, as a user would write them."""
    values = {"name": name, "server_names": [f"{name}.example.com"], "listen": [f"127.0.0.1:{PORT}"], **values}
    problems, context = Problems(), _Context()
    site = {**apply(values, site_options(), name, problems), "origin": name}
    assert not problems, [str(problem) for problem in problems.items]
    site["tls"] = site_tls.resolve(site["tls"], site, f"{name}.tls", context.error)
    own = features.resolve_site(site, name, context)
    made = [routes.resolve(route, f"{name}.routes[{index}]", context) for index, route in enumerate(written)]
    site |= {"features": own, "routes": [
        {**route, "features": features.effective(own, route["kind"], route["features"], route["path"])}
        for route in made]}
    return {**site, "listen": nginx_render.listeners(site, context)}


def write_files(host, files):
    """Write all files in one go: each command is a login of its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    host.check_output(f"echo {base64.b64encode(stream.getvalue()).decode()} | base64 -d | tar -xzC /")


START_APPS = "systemd-run -q --collect --unit=nginxtest-app python3 /run/nginxtest/echo.py"


class Window:
    """The nginx, its apps and their files; use it as a context."""

    def __init__(self, host, sites, files=None, settings=None):
        self.host, self.sites, self.files, self.settings = host, sites, files or {}, settings or {}

    def __enter__(self):
        host = self.host
        version = nginx_tree.version(host.check_output("nginx -v 2>&1").rpartition("/")[2])
        assert nginx_render.check_sites(self.sites, self.settings) == []
        rendered, _origins = nginx_render.render(self.sites, self.settings)
        loaded = nginx_tree.loaded(host.run("cat /etc/nginx/modules-enabled/*.conf").stdout)
        there = {
            "/run/nginxtest/etc/nginx.conf": nginx_tree.NGINX_CONF.replace("/run/nginx.pid",
                                                                           "/run/nginxtest/nginx.pid"),
            "/run/nginxtest/echo.py": ECHO,
            "/run/nginxtest/cache/started": "",
            "/srv/nginxtest/started": "",
            **{f"/srv/nginxtest/{path}": text for path, text in self.files.items()},
        }
        for path, text in {**rendered, **nginx_render.secrets(self.sites)}.items():
            filled = nginx_tree.fill_in(text, nginx_tree.Features(version, ipv6=True, modules=loaded), 1)
            there[f"/run/nginxtest/etc/webstack/{path}"] = filled.replace(":8404", f":{STATUS_PORT}").replace(
                "/var/log/nginx/", "/run/nginxtest/").replace("/var/cache/", "/run/nginxtest/cache/").replace(
                    "/etc/nginx/webstack.d/1/", f"{ETC}/webstack/").replace("/etc/nginx/webstack", f"{ETC}/webstack")
        write_files(host, there)
        if nginx_render.secrets(self.sites):
            host.check_output(f"chgrp www-data {ETC}/webstack/secrets/* && chmod 640 {ETC}/webstack/secrets/*")
        if not host.exists("openssl"):
            host.check_output("apt-get -qq update && apt-get -qq install openssl > /dev/null")
        host.check_output("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                          "-subj /CN=x -keyout /srv/nginxtest/a.key -out /srv/nginxtest/a.pem 2>&1")
        host.check_output("nginx -t -c /run/nginxtest/etc/nginx.conf 2>&1")
        host.check_output(f"{START_APPS} && systemd-run -q --collect --unit=nginxtest nginx -e stderr -g 'daemon off;' "
                          "-c /run/nginxtest/etc/nginx.conf")
        for _try in range(50):
            if host.run(f"test -S /run/nginxtest/uwsgi.sock && ss -Hltn 'sport = :{STATUS_PORT}' | grep -q .").rc == 0:
                break
            time.sleep(0.1)
        return self

    def __exit__(self, *_error):
        self.host.run("systemctl stop nginxtest nginxtest-app; rm -rf /run/nginxtest /srv/nginxtest")

    def ask(self, path="/", name="shop.example.com", port=PORT, headers=(), method="GET", tls=""):
        """Return (status, {header: value}, body) of one request."""
        return ask(self.host, path, name, port, headers, method, tls)

    def crowd(self, path, number, name="shop.example.com", port=PORT):
        """Ask many times at once; return ({status: how often}, the seconds of the slowest)."""
        program = base64.b64encode(CROWD.encode()).decode()
        text = self.host.check_output(f"python3 -c \"import base64; exec(base64.b64decode('{program}'))\" {port} "
                                      f"{name} '{path}' {number}")
        statuses, slowest = json.loads(text)
        return {int(status): count for status, count in statuses.items()}, slowest

    @contextlib.contextmanager
    def apps_down(self):
        """Stop both apps for a while."""
        self.host.check_output("systemctl stop nginxtest-app; rm -f /run/nginxtest/http.sock /run/nginxtest/uwsgi.sock")
        try:
            yield
        finally:
            self.host.check_output(f"{START_APPS}; for i in $(seq 50); do test -S /run/nginxtest/uwsgi.sock && break; "
                                   "sleep 0.1; done")

    def heard(self, path="/", **request):
        """Return {header in small letters: value} of what the app `http` has heard."""
        status, _headers, body = self.ask(path, **request)
        assert status == 200, (status, body)
        return {name.lower(): value for name, value in json.loads(body)[2]}
