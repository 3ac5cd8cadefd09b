# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An nginx of its own beside the host's, on loopback ports, with a configuration that is rendered here.

So everything that a site may say is asked on the real nginx of each Debian release, whatever the scenario's inventory
has. `Window` brings it up with two apps behind it, one that is asked by HTTP and one by the uwsgi protocol.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import tarfile
import time

sys.path += os.environ["ANSIBLE_COLLECTIONS_PATH"].split(":")

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_tree
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features, nginx_render, routes
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply

PORT, TLS_PORT, STATUS_PORT = 18080, 18443, 18404

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

# An app that answers with what it was told: by HTTP on one socket, by the uwsgi protocol on another one.
ECHO = """\
import http.server, json, os, socketserver, struct, threading

class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return ""
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps([self.request_version, self.path, self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET

class Uwsgi(socketserver.StreamRequestHandler):
    def handle(self):
        size = struct.unpack("<H", self.rfile.read(4)[1:3])[0]
        data, position, words = self.rfile.read(size), 0, []
        while position < size:
            length = struct.unpack("<H", data[position:position + 2])[0]
            words.append(data[position + 2:position + 2 + length].decode())
            position += 2 + length
        body = json.dumps(dict(zip(words[::2], words[1::2]))).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

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
    request = base64.b64encode("\r\n".join(lines).encode()).decode()
    program = base64.b64encode(ASK.encode()).decode()
    done = host.run(f"python3 -c \"import base64; exec(base64.b64decode('{program}'))\" {port} '{tls}' {request}")
    assert done.rc == 0, done.stderr
    head, _empty, body = base64.b64decode(done.stdout).decode().partition("\r\n\r\n")
    if not head.startswith("HTTP/1.1 "):
        return 0, {}, head
    first, *rest = head.split("\r\n")
    return int(first.split()[1]), {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in rest}, body


class _Context:
    """The normaliser, as far as sites know it: the apps `http` and `uwsgi`, and any Vue site."""

    def app(self, name):
        return {"protocol": name, "servers": [f"unix:/run/nginxtest/{name}.sock"], "settings": {}}

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
    own = features.resolve_site(site, name, context)
    made = [routes.resolve(route, f"{name}.routes[{index}]", context) for index, route in enumerate(written)]
    site |= {"features": own, "routes": [
        {**route, "features": features.effective(own, route["kind"], route["features"])} for route in made]}
    return {**site, "listen": nginx_render.listeners(site, context)}


def _write(host, files):
    """Write all files in one go: each command is a login of its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    host.check_output(f"echo {base64.b64encode(stream.getvalue()).decode()} | base64 -d | tar -xzC /")


class Window:
    """The nginx, its apps and their files; use it as a context."""

    def __init__(self, host, sites, files=None, settings=None):
        self.host, self.sites, self.files, self.settings = host, sites, files or {}, settings or {}

    def __enter__(self):
        host = self.host
        version = nginx_tree.version(host.check_output("nginx -v 2>&1").rpartition("/")[2])
        assert nginx_render.check_sites(self.sites, self.settings) == []
        rendered, _origins = nginx_render.render(self.sites, self.settings)
        there = {
            "/run/nginxtest/etc/nginx.conf": nginx_tree.NGINX_CONF.replace("/run/nginx.pid",
                                                                           "/run/nginxtest/nginx.pid"),
            "/run/nginxtest/echo.py": ECHO,
            "/srv/nginxtest/started": "",
            **{f"/srv/nginxtest/{path}": text for path, text in self.files.items()},
        }
        for path, text in {**rendered, **nginx_render.secrets(self.sites)}.items():
            filled = nginx_tree.fill_in(text, nginx_tree.Features(version), 1)
            there[f"/run/nginxtest/etc/webstack/{path}"] = filled.replace(":8404", f":{STATUS_PORT}").replace(
                "/var/log/nginx/", "/run/nginxtest/")
        _write(host, there)
        if not host.exists("openssl"):
            host.check_output("apt-get -qq update && apt-get -qq install openssl > /dev/null")
        host.check_output("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                          "-subj /CN=x -keyout /srv/nginxtest/a.key -out /srv/nginxtest/a.pem 2>&1")
        host.check_output("nginx -t -c /run/nginxtest/etc/nginx.conf 2>&1")
        host.check_output("systemd-run -q --collect --unit=nginxtest-app python3 /run/nginxtest/echo.py && "
                          "systemd-run -q --collect --unit=nginxtest nginx -e stderr -g 'daemon off;' "
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

    def heard(self, path="/", **request):
        """Return {header in small letters: value} of what the app `http` has heard."""
        status, _headers, body = self.ask(path, **request)
        assert status == 200, (status, body)
        return {name.lower(): value for name, value in json.loads(body)[2]}
