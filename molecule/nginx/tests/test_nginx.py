# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role put on the host, and what every kind of route does with good and with bad requests."""

from __future__ import annotations

import json

import pytest
from window import PORT, TLS_PORT, Window, ask, make_site

# -- what the role put there -----------------------------------------------------------------------------------------


def test_service(host):
    assert host.service("nginx").is_running
    assert host.service("nginx").is_enabled


def test_the_workers_run_the_live_generation(host):
    live = host.run("readlink /etc/nginx/webstack").stdout.strip()
    status, _headers, body = ask(host, "/generation", "localhost", 8404)
    assert (status, f"webstack.d/{body.strip()}") == (200, live)
    assert "Active connections" in ask(host, "/status", "localhost", 8404)[2]


def test_the_status_is_for_the_host_alone(host):
    listening = host.run("ss -Hltn 'sport = :8404'").stdout.split()
    assert "127.0.0.1:8404" in listening
    assert "0.0.0.0:8404" not in listening


def test_only_root_writes_the_configuration(host):
    found = host.run("find -L /etc/nginx/webstack /etc/nginx/webstack.d /etc/nginx/nginx.conf "
                     "\\( -not -user root -o -perm /022 \\) -print")
    assert found.rc == 0
    assert found.stdout == ""


def test_the_digests_of_the_manifest_hold(host):
    manifest = json.loads(host.file("/etc/nginx/webstack/manifest.json").content_string)
    for path, digest in manifest["digests"].items():
        assert host.file(f"/etc/nginx/webstack/{path}").sha256sum == digest


def test_the_original_is_kept(host):
    assert host.file("/etc/nginx/nginx.conf.before-webstack").contains("sites-enabled")


@pytest.mark.parametrize("name", ["nobody.example.org", "", "127.0.0.1"])
def test_an_unknown_host_gets_no_answer(host, name):
    status, _headers, rest = ask(host, "/", name)
    # Without a name the request itself is wrong, and that is said.
    assert (status, rest) == (0, "") if name else status in (0, 400)


# -- every kind of route ---------------------------------------------------------------------------------------------


def _sites():
    shop = [
        {"app": "http", "path": "/api/"},
        {"app": "uwsgi", "path": "/uwsgi/"},
        {"app": "http", "path": "/mine/", "directives": "proxy_set_header X-Forwarded-Proto mine;"},
        {"folder": "/srv/nginxtest/static", "path": "/static", "cache_control": "public, max-age=60"},
        {"folder": "/srv/nginxtest/media", "path": "/media/", "uploads": True},
        {"redirect": "https://new.example.com$request_uri", "path": "/old/"},
        {"redirect": "/new/$1", "path": "^/moved/(.*)$", "match": "regex", "code": 308},
        {"answer": 200, "path": "/hello", "match": "exact", "body": 'it costs $5, "now"'},
    ]
    tls = {"certificate": "/srv/nginxtest/a.pem", "key": "/srv/nginxtest/a.key", "redirect": True}
    return [
        make_site("shop", shop, directives='add_header X-Site "yes" always;'),
        make_site("front", [{"vue": "front"}]),
        make_site("safe", [{"answer": 200, "body": "safe"}], tls=tls, listen=[f"127.0.0.1:{TLS_PORT}"]),
    ]


FILES = {
    "static/a.txt": "static", "static/.git/config": "secret", "static_secret": "secret", "secret/x": "secret",
    "media/x.html": "<script>", "media/x.txt": "text", "front/releases/1/index.html": "index",
    "front/releases/1/settings.json": "{}", "front/releases/1/.env": "secret", "front/assets/old.js": "old",
}


@pytest.fixture(scope="module")
def window(host):
    with Window(host, _sites(), FILES):
        host.check_output("cd /srv/nginxtest && ln -sfn releases/1 front/current && ln -sfn /etc/passwd media/link && "
                          "chown -h www-data media/link")
        yield host


FORGED = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example",
          "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6", "X_Forwarded_For: 6.6.6.6",
          "X-Forwarded-Ssl: on", "X-Forwarded-Prefix: /evil",
          "Proxy: evil", "X-Forwarded-Port: 666", "X-Script-Name: /evil")


def test_an_app_hears_the_truth_about_the_client(window):
    status, _headers, body = ask(window, "/api/a%2Fb?c=d", port=PORT, headers=FORGED)
    assert status == 200
    version, path, headers = json.loads(body)[:3]
    assert (version, path) == ("HTTP/1.1", "/api/a%2Fb?c=d")
    assert not [name for name, value in headers if "6.6.6.6" in value or "evil" in value or value in ("on", "666")]
    got = {name.lower(): value for name, value in headers}
    assert len(got) == len(headers), "a header came twice"
    expected = {"host": "shop.example.com", "x-real-ip": "127.0.0.1", "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http", "x-forwarded-host": "shop.example.com",
                "x-forwarded-port": str(PORT), "connection": "close"}
    assert expected.items() <= got.items()


def test_the_same_by_the_uwsgi_protocol(window):
    status, _headers, body = ask(window, "/uwsgi/x?c=d", port=PORT, headers=FORGED)
    assert status == 200
    got = json.loads(body)
    assert not [name for name, value in got.items() if "6.6.6.6" in value or "evil" in value or value in ("on", "666")]
    expected = {"HTTP_HOST": "shop.example.com", "REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1",
                "UWSGI_SCHEME": "http", "PATH_INFO": "/uwsgi/x", "QUERY_STRING": "c=d", "REQUEST_METHOD": "GET",
                "SERVER_NAME": "shop.example.com", "SERVER_PORT": str(PORT)}
    assert expected.items() <= got.items()
    assert "HTTPS" not in got


def test_the_port_is_told_where_the_client_named_it(window):
    _status, _headers, body = ask(window, "/api/", f"shop.example.com:{PORT}", PORT)
    assert dict(json.loads(body)[2])["Host"] == f"shop.example.com:{PORT}"
    _status, _headers, body = ask(window, "/api/", "shop.example.com:666", PORT)
    assert dict(json.loads(body)[2])["Host"] == "shop.example.com"


def test_overriding_one_header_keeps_the_others(window):
    _status, _headers, body = ask(window, "/mine/", port=PORT, headers=FORGED)
    got = json.loads(body)[2]
    assert [value for name, value in got if name == "X-Forwarded-Proto"] == ["mine"]
    assert dict(got)["X-Forwarded-For"] == "127.0.0.1"


def test_a_connection_can_be_upgraded(window):
    _status, _headers, body = ask(window, "/api/", port=PORT, headers=["Upgrade: websocket"])
    got = dict(json.loads(body)[2])
    assert (got["Upgrade"], got["Connection"]) == ("websocket", "upgrade")


def test_a_folder(window):
    status, headers, body = ask(window, "/static/a.txt", port=PORT)
    assert (status, body) == (200, "static")
    assert headers["cache-control"] == "public, max-age=60"
    assert headers["x-content-type-options"] == "nosniff"


TRAVERSALS = ["/static../static_secret", "/static../secret/x", "/static_secret", "/static/../secret/x",
              "/static/..%2fsecret/x", "/static/%2e%2e/secret/x", "/static//../secret/x", "/static/.git/config",
              "/static/%2egit/config", "/media/link", "/media../secret/x"]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_nobody_leaves_a_folder(window, path):
    status, _headers, body = ask(window, path, port=PORT)
    assert status in (403, 404) if path == "/media/link" else status == 404
    assert "secret" not in body
    assert "root:" not in body


def test_uploads_are_no_pages(window):
    _status, headers, _body = ask(window, "/media/x.html", port=PORT)
    assert headers["content-disposition"] == "attachment"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    _status, headers, _body = ask(window, "/media/x.txt", port=PORT)
    assert "content-disposition" not in headers


@pytest.mark.parametrize("path", ["/static/a.txt", "/static/none", "/media/x.txt", "/old/", "/hello", "/none", "/api/"])
def test_headers_of_the_site_are_everywhere(window, path):
    assert ask(window, path, port=PORT)[1]["x-site"] == "yes"


def test_redirects(window):
    assert ask(window, "/old/x?y", port=PORT)[:2][1]["location"] == "https://new.example.com/old/x?y"
    status, headers, _body = ask(window, "/moved/x", port=PORT)
    assert (status, headers["location"].partition("example.com")[2]) == (308, f":{PORT}/new/x")


def test_a_redirect_writes_no_header_of_the_clients(window):
    for path in ("/old/%0d%0aX-Evil:1", "/moved/%0d%0aX-Evil:1", "/moved/%0dX-Evil:1"):
        assert "x-evil" not in ask(window, path, port=PORT)[1]


def test_an_answer(window):
    status, headers, body = ask(window, "/hello", port=PORT)
    assert (status, body, headers["content-type"]) == (200, 'it costs $5, "now"', "text/plain")


def test_a_vue_site(window):
    def front(path):
        return ask(window, path, "front.example.com", PORT)

    for path in ("/", "/index.html", "/any/page"):
        status, headers, body = front(path)
        assert (status, body, headers["cache-control"]) == (200, "index", "no-cache"), path
    assert front("/settings.json")[1]["cache-control"] == "no-store"
    status, headers, body = front("/assets/old.js")
    assert (status, body) == (200, "old")
    assert "immutable" in headers["cache-control"]
    status, headers, _body = front("/assets/none.js")
    assert status == 404
    assert "cache-control" not in headers
    assert front("/.env")[0] == 404


def test_tls(window):
    status, headers, body = ask(window, "/", "safe.example.com", TLS_PORT, tls="safe.example.com")
    assert (status, body) == (200, "safe")
    assert headers["strict-transport-security"] == "max-age=63072000"


def test_tls_of_strangers(window):
    assert ask(window, "/", "other.example.com", TLS_PORT, tls="other.example.com")[2].startswith("SSL ")
    # The name of a site in the handshake, and another one in the request.
    status, _headers, body = ask(window, "/", "other.example.com", TLS_PORT, tls="safe.example.com")
    assert (status, body) in ((0, ""), (421, body))


@pytest.mark.parametrize("headers", [
    ["Transfer-Encoding: chunked", "Content-Length: 5"], ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length: -1"], ["Content-Length: +5"], ["Transfer-Encoding: xchunked"], ["Host: shop.example.com"],
])
def test_ambiguous_requests_are_not_passed_on(window, headers):
    assert ask(window, "/api/", port=PORT, headers=headers, method="POST")[0] in (400, 501)


def test_long_requests(window):
    assert ask(window, "/api/" + "a" * 9000, port=PORT)[0] == 414
    assert ask(window, "/api/", port=PORT, headers=["X: " + "a" * 9000])[0] == 400
    assert ask(window, "/api/", port=PORT, method="TRACE")[0] == 405


def test_the_version_is_nobodys_business(window):
    status, headers, body = ask(window, "/none", port=PORT)
    assert (status, headers["server"]) == (404, "nginx")
    assert "nginx/" not in body
