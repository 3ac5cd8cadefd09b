"""Each topology of `inventories/`, on Debian 12 and 13: a run from nothing, a second run, requests, releases, mistakes.

The tests of one Debian release share a host and build on each other, in the order of this file.
"""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from stack import ROOT, ask, ssh
from traffic import Traffic

pytestmark = pytest.mark.parametrize("debian", ["12", "13"])

SITE = "httpbin.example.com"
HTTPBIN = {"name": "httpbin", "source": {"package": "httpbin==0.10.4"}, "callable": "httpbin:app",
           "health": {"path": "/status/200"}}


def fine(run, changed=None):
    assert run.code == 0, run.output[-6000:]
    if changed is not None:
        assert run.changed() == changed, run.output[-6000:]
    return run


def live(host: str, app: str) -> str:
    return json.loads(ssh(host, f"cat /srv/webstack/apps/{app}/record.json"))["live"]


def three_releases(stack, topology: str, server: str, port: int = 80, **more):
    """Put three more releases in place under traffic, and return what the strict client saw."""
    plan = stack(topology)
    seen = {live(stack.host, "httpbin")}
    with Traffic(stack.address, port, SITE, rate=200, kinds=("get", "post"), app="httpbin") as traffic:
        time.sleep(2)
        for number in range(3):
            app = {**HTTPBIN, "server": server, "env": {"NUMBER": str(number)}, **more}
            fine(plan.play(variables={"flask_apps": [app]}))
            seen.add(live(stack.host, "httpbin"))
        time.sleep(2)
    print(f"{topology}, three releases: {traffic.report}")
    assert len(seen) == 4, seen
    assert traffic.report.sent > 500, "the client was too slow to tell anything"
    assert not traffic.report.failures, traffic.report.failures[:10]


# -- T3: nginx, Gunicorn, Flask --------------------------------------------------------------------------------------

def test_check_mode_on_a_bare_host_says_what_it_would_do(stack, debian):
    before = ssh(stack.host, "dpkg -l | md5sum; find /etc /srv /run/systemd/system -xdev | sort | md5sum")
    run = fine(stack("t3").play("--check", "--diff"))
    assert "would install: " in run.output and "nginx" in run.output
    assert "not checked: flask_apps[0]" in run.output
    assert ssh(stack.host, "dpkg -l | md5sum; find /etc /srv /run/systemd/system -xdev | sort | md5sum") == before


def test_t3_answers(stack, debian):
    begin = time.monotonic()
    fine(stack("t3").play())
    print(f"T3 from a bare host: {time.monotonic() - begin:.1f} s")
    status, _headers, text = ask(stack.address, "/get?a=1", SITE, headers={"X-Forwarded-For": "6.6.6.6"})
    assert status == 200 and json.loads(text)["args"] == {"a": "1"}
    assert "6.6.6.6" not in text
    assert json.loads(text)["url"] == f"http://{SITE}/get?a=1"


def test_t3_twice_is_once(stack, debian):
    begin = time.monotonic()
    run = fine(stack("t3").play(), changed=0)
    runs = Counter(host for host, _module in run.runs)
    print(f"T3, second run: {time.monotonic() - begin:.1f} s, module runs {dict(runs)}")
    assert runs["web1"] <= 5, run.runs
    run = fine(stack("t3").play("--check", "--diff"), changed=0)
    assert "not checked:" not in run.output


def test_an_unknown_host_gets_no_answer(stack, debian):
    with pytest.raises(OSError):
        ask(stack.address, "/", "unknown.example.com")


def test_t3_loses_nothing_in_three_releases(stack, debian):
    three_releases(stack, "t3", "gunicorn")


# What is wrong, and what the message has to name. Each is tried with the app of the test before in service.
GOOD = 'from flask import Flask\napp = Flask(__name__)\n@app.get("/")\ndef home():\n    return "version {}"\n'
BROKEN = {
    "a callable that does not exist": ({"callable": "shop:nothing"}, None, "flask_apps[0].callable"),
    "a syntax error": ({}, "def oh no(:\n", "flask_apps[0].callable"),
    "an exception on import": ({}, "raise RuntimeError('boom')\n", "flask_apps[0].callable"),
    "a module that is not installed": ({}, "import not_there\n", "not_there"),
    "a health page that fails": ({}, GOOD.format(9) + "    raise RuntimeError\n@app.before_request\n"
                                 "def oh():\n    raise RuntimeError('sick')\n", "flask_apps[0].health"),
    "requirements that cannot be installed": ({"extra_requirements": ["surely-not-a-package==99.99"]}, None,
                                              "flask_apps[0].extra_requirements"),
    "a missing requirements file": ({"requirements": "nowhere.txt"}, None, "flask_apps[0].requirements"),
}


@pytest.fixture
def shop(tmp_path, stack):
    """Return a function that deploys a small Flask app of ours in place of httpbin; its server is the first word."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "requirements.txt").write_text("flask==3.1.2\n", encoding="utf-8")

    def deploy(server: str, code: str, **more):
        (folder / "shop.py").write_text(code, encoding="utf-8")
        app = {"name": "shop", "server": server, "source": {"folder": str(folder)}, "callable": "shop:app", **more}
        return stack("t3").play(variables={"flask_apps": [app], "nginx_sites": [
            {"name": "shop", "server_names": ["shop.example.com"], "routes": [{"path": "/", "app": "shop"}]}]})

    return deploy


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_a_broken_release_never_serves(stack, debian, shop, server):
    fine(shop(server, GOOD.format(1)))
    assert ask(stack.address, "/", "shop.example.com")[2] == "version 1"
    first = live(stack.host, "shop")
    for what, (settings, code, named) in BROKEN.items():
        run = shop(server, code or GOOD.format(2), **settings)
        assert run.code != 0, f"{what} was let through"
        assert named in run.output, f"{what}: {run.output[-3000:]}"
        assert ask(stack.address, "/", "shop.example.com")[2] == "version 1", what
        assert live(stack.host, "shop") == first, what
        units = ssh(stack.host, "systemctl list-units --plain --no-legend 'webstack-shop*'").splitlines()
        assert sorted(line.split()[0] for line in units) == ["webstack-shop.socket", f"webstack-shop@{first}.service"]
    fine(shop(server, GOOD.format(3)))
    assert ask(stack.address, "/", "shop.example.com")[2] == "version 3"
    fine(shop(server, GOOD.format(3)), changed=0)


# -- T1: nginx, uWSGI, Flask -----------------------------------------------------------------------------------------

def test_t1_answers_and_loses_nothing_in_three_releases(stack, debian):
    fine(stack("t1").play())
    status, _headers, text = ask(stack.address, "/get?a=1", SITE, headers={"X-Forwarded-For": "6.6.6.6"})
    assert status == 200 and json.loads(text)["args"] == {"a": "1"} and "6.6.6.6" not in text
    fine(stack("t1").play(), changed=0)
    three_releases(stack, "t1", "uwsgi")


# -- T4: nginx and Vue, Gunicorn, Django, PostgreSQL -----------------------------------------------------------------

def test_t4_answers(stack, debian):
    fine(stack("t4").play())
    host = "guestbook.example.com"
    assert ask(stack.address, "/", host)[0] == 200
    status, headers, text = ask(stack.address, "/write", host)
    assert status == 200 and "no-cache" in headers["cache-control"] and '<div id="app"' in text
    assert json.loads(ask(stack.address, "/settings.json", host)[2])["apiBase"] == "/api"
    assert ask(stack.address, "/assets/nothing.js", host)[0] == 404
    status, _headers, text = ask(stack.address, "/api/health/", host)
    assert status == 200 and json.loads(text)["version"] == "1.0.0"
    status, _headers, text = ask(stack.address, "/guestbook/", host)
    style = text.partition('href="/static/')[2].partition('"')[0]
    status, headers, _text = ask(stack.address, f"/static/{style}", host)
    assert status == 200 and headers["content-type"].startswith("text/css")
    fine(stack("t4").play(), changed=0)


def test_t4_in_a_browser(stack, debian, tmp_path):
    """See data of PostgreSQL through Django in the Vue page, follow a route, reload it there, send the form."""
    from playwright.sync_api import expect, sync_playwright

    host = "guestbook.example.com"
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[
            "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--host-resolver-rules=MAP {host} {stack.address}"])
        page = browser.new_page()
        errors, asked = [], set()
        page.on("pageerror", lambda error: errors.append(error))
        page.on("request", lambda request: asked.add(request.url.split("/")[2]))
        page.goto(f"http://{host}/")
        expect(page.locator("[data-test=version]")).to_have_text("1.0.0")
        expect(page.locator("[data-test=entries] [data-test=entry]").first).to_be_visible()
        page.locator("[data-test=write-link]").click()
        expect(page).to_have_url(f"http://{host}/write")
        page.reload()
        page.locator("[data-test=name]").fill("A browser")
        page.locator("[data-test=message]").fill(f"Hello from Debian {debian}")
        page.locator("[data-test=picture]").set_input_files(picture)
        page.locator("[data-test=submit]").click()
        page.wait_for_url("**/entry/*")
        expect(page.get_by_text(f"Hello from Debian {debian}")).to_be_visible()
        page.reload()
        expect(page.get_by_text(f"Hello from Debian {debian}")).to_be_visible()
        browser.close()
    assert not errors, errors
    assert asked == {host}, asked
    # What the form sent is in PostgreSQL, not in a page's memory.
    rows = ssh(stack.host, "sudo -u postgres psql -At guestbook -c 'select message from entries_entry'")
    assert f"Hello from Debian {debian}" in rows


def upload(where: str, host: str, name: str) -> str:
    """Write an entry with a picture, as the form does, and return the picture's path."""
    _status, headers, text = ask(where, "/api/csrf/", host)
    token, cookie = json.loads(text), headers["set-cookie"].partition(";")[0]
    token = token.get("token") or token.get("csrfToken") or next(iter(token.values()))
    picture = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
    parts = [f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
             for key, value in (("name", name), ("message", "hello"))]
    parts.append(b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n'
                 b"Content-Type: image/png\r\n\r\n" + picture + b"\r\n--b--\r\n")
    status, _headers, text = ask(where, "/api/entries/", host, "POST", b"".join(parts), {
        "Content-Type": "multipart/form-data; boundary=b", "Cookie": cookie, "X-CSRFToken": token,
        "Origin": f"http://{host}", "Referer": f"http://{host}/"})
    assert status == 201, text
    return json.loads(text)["picture"]


def test_t4_uploads_survive_the_next_release(stack, debian):
    host = "guestbook.example.com"
    picture = upload(stack.address, host, "before")
    path = picture if picture.startswith("/") else "/" + picture.split("/", 3)[3]
    assert ask(stack.address, path, host)[0] == 200
    before = live(stack.host, "guestbook")
    api = guestbook_app(stack)
    api["env"]["EXTRA"] = "1"
    fine(stack("t4").play(variables={"django_apps": [api]}))
    assert live(stack.host, "guestbook") != before
    assert ask(stack.address, path, host)[0] == 200
    assert '"before"' in ask(stack.address, "/api/entries/", host)[2]


def guestbook_app(stack) -> dict:
    import yaml

    values = yaml.safe_load((ROOT / "inventories/t4/group_vars/all.yml").read_text(encoding="utf-8"))
    app = values["django_apps"][0]
    app["source"]["folder"] = str(ROOT / "examples/guestbook/api")
    app["env"] = {"DJANGO_SECRET_KEY": values["guestbook_secret_key"],
                  "DATABASE_URL": f"postgres://guestbook:{values['guestbook_db_password']}@127.0.0.1/guestbook"}
    return app


def test_t4_refuses_an_unreachable_database(stack, debian):
    before = live(stack.host, "guestbook")
    app = guestbook_app(stack)
    app["env"]["DATABASE_URL"] = "postgres://guestbook:not-the-password@127.0.0.1/guestbook"
    run = stack("t4").play(variables={"django_apps": [app]})
    assert run.code != 0 and "django_apps[0].env" in run.output, run.output[-3000:]
    assert "not-the-password" not in run.output
    assert live(stack.host, "guestbook") == before
    assert ask(stack.address, "/api/health/", "guestbook.example.com")[0] == 200


def test_t4_refuses_debug_in_production(stack, debian):
    app = guestbook_app(stack)
    app["env"]["DJANGO_DEBUG"] = "1"
    run = stack("t4").play(variables={"django_apps": [app]})
    assert run.code != 0 and "django_apps[0].settings_module: DEBUG is on" in run.output, run.output[-3000:]
    assert ask(stack.address, "/api/health/", "guestbook.example.com")[0] == 200


def test_t4_refuses_a_vue_build_that_fails(stack, debian, tmp_path):
    import shutil

    web = tmp_path / "web"
    shutil.copytree(ROOT / "examples/guestbook/web", web, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (web / "src" / "main.js").write_text("import nothing from './not-there.js'\nnothing()\n", encoding="utf-8")
    page = ask(stack.address, "/", "guestbook.example.com")[2]
    run = stack("t4").play(variables={"vue_sites": [{"name": "guestbook-web", "source": {"folder": str(web)}}]})
    assert run.code != 0 and "vue_sites[0].build.command" in run.output, run.output[-3000:]
    assert "not-there.js" in run.output
    assert ask(stack.address, "/", "guestbook.example.com")[2] == page
    fine(stack("t4").play())


# -- T5: nginx and Vue, uWSGI, Django --------------------------------------------------------------------------------

def test_t5_answers(stack, debian):
    fine(stack("t5").play())
    host = "guestbook.example.com"
    assert json.loads(ask(stack.address, "/api/health/", host)[2])["status"] == "ok"
    picture = upload(stack.address, host, "t5")
    assert ask(stack.address, picture if picture.startswith("/") else "/" + picture.split("/", 3)[3], host)[0] == 200
    assert ask(stack.address, "/entry/1", host)[0] == 200
    fine(stack("t5").play(), changed=0)


# -- T6: nginx and Vue, Django's own server --------------------------------------------------------------------------

def test_t6_is_refused_in_production(stack, debian):
    run = stack("t6").play(variables={"webstack_environment": "production"})
    assert run.code != 0
    assert "django_apps[0].server" in run.output and "server: gunicorn" in run.output
    assert {host for host, _module in run.runs} == set(), "a host was touched"


def test_t6_answers(stack, debian):
    fine(stack("t6").play())
    host = "guestbook.example.com"
    assert json.loads(ask(stack.address, "/api/health/", host)[2])["status"] == "ok"
    assert ask(stack.address, "/entry/1", host)[0] == 200
    assert "runserver" in ssh(stack.host, "ps -eo args")
    fine(stack("t6").play(), changed=0)


# -- T2: uWSGI alone -------------------------------------------------------------------------------------------------

def test_t2_is_refused_where_nginx_holds_its_port(stack, debian):
    before = ask(stack.address, "/api/health/", "guestbook.example.com")
    run = stack("t2").play()
    assert run.code != 0 and "flask_apps[0].public.listen: 0.0.0.0:80 cannot be had" in run.output, run.output[-3000:]
    assert "nginx" in run.output
    assert before[0] == 200 and ask(stack.address, "/api/health/", "guestbook.example.com")[0] == 200
    assert "webstack-httpbin-http" not in ssh(stack.host, "systemctl list-units --all --plain 'webstack-*'")


def test_t2_answers_and_loses_nothing_in_three_releases(stack, debian):
    # From a bare host: nothing that nginx left may help.
    from stack import hosts

    hosts("reset", stack.host)
    fine(stack("t2").play())
    status, _headers, text = ask(stack.address, "/get?a=1", SITE, headers={"X-Forwarded-Proto": "https"})
    assert status == 200 and json.loads(text)["args"] == {"a": "1"}
    assert json.loads(text)["url"].startswith("http://"), "a client's own X-Forwarded-Proto was believed"
    assert "nginx" not in ssh(stack.host, "ps -eo comm")
    fine(stack("t2").play(), changed=0)
    three_releases(stack, "t2", "uwsgi", public={"listen": "0.0.0.0:80"})
