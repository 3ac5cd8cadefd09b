# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx remembers of an app's answers, for whom, and how often the app is asked.

The app says in `X-Asked` how often it was asked for an address, and nginx in `X-Cache` what the cache did.
"""

from __future__ import annotations

import inspect
import json
import time

import pytest
from window import Window, make_site

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_cache

BOTH = pytest.mark.parametrize("app", ["http", "uwsgi"])
SHORT = {"valid": "1s", "status_header": True}


def _sites():
    routes = []
    for app in ("http", "uwsgi"):
        routes += [
            {"app": app, "path": f"/{app}/"},
            {"app": app, "path": f"/{app}/short/", "cache": SHORT},
            {"app": app, "path": f"/{app}/each/", "cache": {**SHORT, "lock": False}},
            {"app": app, "path": f"/{app}/bound/", "cache": {**SHORT, "lock_timeout": 1}},
            {"app": app, "path": f"/{app}/stale/", "cache": {**SHORT, "stale": True}},
            {"app": app, "path": f"/{app}/never/", "cache": {}},
        ]
    routes += [
        {"app": "http", "path": "/kinds/", "cache": {**SHORT, "valid": "10m", "vary_on": {
            "headers": ["X-Kind"], "cookies": ["kind"]}}},
        {"app": "http", "path": "/ignore/", "cache": {**SHORT, "valid": "10m", "ignore": ["Set-Cookie"]}},
        {"app": "http", "path": "/own/", "cache": {**SHORT, "valid": {}}},
    ]
    long = {"valid": {200: "10m", 404: "10m"}, "status_header": True}
    return [make_site("shop", routes, cache=long, server_names=["shop.example.com", "www.example.com"]),
            make_site("two", [{"app": "http", "path": "/http/"}], cache=long)]


@pytest.fixture(scope="module")
def window(host):
    with Window(host, _sites()) as window:
        yield window


def look(window, path, **request):
    """Return (what the cache did, how often the app was asked so far), as the answer says."""
    status, headers, _body = window.ask(path, **request)
    assert status in (200, 404), (status, headers)
    return headers.get("x-cache", ""), int(headers["x-asked"])


@BOTH
def test_an_answer_is_remembered(window, app):
    assert look(window, f"/{app}/a") == ("MISS", 1)
    assert look(window, f"/{app}/a") == ("HIT", 1)
    assert look(window, f"/{app}/a?b") == ("MISS", 1)
    assert look(window, f"/{app}/a?status=404") == ("MISS", 1)
    assert look(window, f"/{app}/a?status=404") == ("HIT", 1)
    assert [look(window, f"/{app}/never/a")[1] for _time in range(2)] == [1, 2]


def test_no_two_hosts_share_an_answer(window):
    assert look(window, "/http/hosts") == ("MISS", 1)
    assert look(window, "/http/hosts", name="www.example.com") == ("MISS", 2)
    assert look(window, "/http/hosts", name="shop.example.com:18080") == ("MISS", 3)
    assert look(window, "/http/hosts", name="two.example.com") == ("MISS", 4)
    assert look(window, "/http/hosts", name="two.example.com") == ("HIT", 4)
    assert look(window, "/http/hosts", name="SHOP.example.com") == ("HIT", 1)


@BOTH
@pytest.mark.parametrize("header", ["Cookie: a=b; sessionid=0", "Cookie: session=x", "Authorization: Basic eDp5",
                                    "Authorization: 0", "Content-Length: 0", "Upgrade: websocket"])
def test_who_is_known_is_led_past(window, app, header):
    path = f"/{app}/past?{header[:24].replace(' ', '').replace(';', '')}"
    assert look(window, path, headers=[header]) == ("BYPASS", 1)
    assert look(window, path) == ("MISS", 2), "what the one got was kept for the others"
    assert look(window, path, headers=[header]) == ("BYPASS", 3)
    assert look(window, path, headers=["Cookie: theme=dark", "X-Other: 1"]) == ("HIT", 2)


@BOTH
def test_post_is_not_remembered(window, app):
    look(window, f"/{app}/post")
    assert [look(window, f"/{app}/post", method="POST", headers=["Content-Length: 0"])[1] for _time in "ab"] == [2, 3]
    assert look(window, f"/{app}/post") == ("HIT", 1)


@BOTH
def test_head_spoils_nothing(window, app):
    look(window, f"/{app}/head", method="HEAD")
    assert "/head" in window.ask(f"/{app}/head")[2]
    cache, asked = look(window, f"/{app}/head", method="HEAD")
    assert (cache, asked) == ("HIT", 1 if app == "http" else 2)


@pytest.mark.parametrize("header", ["Set-Cookie:a=b", "Cache-Control:private", "Cache-Control:no-store", "Vary:*",
                                    "Cache-Control:max-age=0", "Expires:Thu,+01+Jan+1970+00:00:01+GMT"])
@BOTH
def test_what_the_app_says_wins(window, app, header):
    assert [look(window, f"/{app}/says?header={header}") for _time in "ab"] == [("MISS", 1), ("MISS", 2)]


def test_only_what_the_app_says(window):
    assert [look(window, "/own/a")[1] for _time in "ab"] == [1, 2]
    assert [look(window, "/own/a?header=Cache-Control:max-age=60")[1] for _time in "ab"] == [1, 1]


def test_a_cookie_that_does_not_count_reaches_nobody(window):
    found = [window.ask("/ignore/a?header=Set-Cookie:a=b")[1] for _time in "ab"]
    assert [headers["x-cache"] for headers in found] == ["MISS", "HIT"]
    assert not [headers for headers in found if "set-cookie" in headers]


@BOTH
def test_vary(window, app):
    path = f"/{app}/vary?header=Vary:X-Lang"
    for number, language in enumerate(("de", "en"), 1):
        assert look(window, path, headers=[f"X-Lang: {language}"]) == ("MISS", number)
    for number, language in enumerate(("de", "en"), 1):
        assert look(window, path, headers=[f"X-Lang: {language}"]) == ("HIT", number)
    look(window, f"/{app}/same", headers=["X-Lang: de"])
    assert look(window, f"/{app}/same", headers=["X-Lang: en"]) == ("HIT", 1)


def test_vary_on(window):
    kinds = [[], ["X-Kind: a"], ["Cookie: kind=a"], ["X-Kind: a", "Cookie: kind=b"]]
    for number, headers in enumerate(kinds, 1):
        assert look(window, "/kinds/a", headers=headers) == ("MISS", number)
    for number, headers in enumerate(kinds, 1):
        assert look(window, "/kinds/a", headers=headers) == ("HIT", number)


def asked(window, path):
    """Return how often the app was asked before."""
    return look(window, path, headers=["Authorization: x"])[1] - 1


@BOTH
def test_equal_requests_at_once_cost_the_app_one(window, app):
    path = f"/{app}/short/crowd?sleep=0.8"
    statuses, slowest = window.crowd(path, 200)
    assert statuses == {200: 200}
    assert slowest < 5
    assert asked(window, path) == 1
    time.sleep(2.5)  # now there is an answer that is too old
    before = asked(window, path)
    assert window.crowd(path, 200)[0] == {200: 200}
    assert asked(window, path) - before == 2, "this question, and one of the crowd's"


@BOTH
def test_without_the_lock_the_app_is_asked_by_many(window, app):
    path = f"/{app}/each/crowd?sleep=0.8"
    assert window.crowd(path, 40)[0] == {200: 40}
    assert asked(window, path) > 20


@BOTH
def test_nobody_waits_longer_than_the_bound(window, app):
    statuses, slowest = window.crowd(f"/{app}/bound/a?sleep=3", 4)
    assert (statuses, asked(window, f"/{app}/bound/a?sleep=3")) == ({200: 4}, 4)
    assert 3.9 < slowest < 5, "one second of waiting, and then three"
    assert window.crowd(f"/{app}/short/a?sleep=3", 4)[0] == {200: 4}
    assert asked(window, f"/{app}/short/a?sleep=3") == 1


@BOTH
def test_old_answers_while_the_app_is_down(window, app):
    assert look(window, f"/{app}/stale/a") == ("MISS", 1)
    assert look(window, f"/{app}/short/down") == ("MISS", 1)
    time.sleep(2.1)
    with window.apps_down():
        found = [window.ask(f"/{app}/stale/a") for _time in "ab"]
        assert [(status, headers["x-asked"]) for status, headers, _body in found] == [(200, "1")] * 2
        assert {headers["x-cache"] for _status, headers, _body in found} <= {"STALE", "UPDATING"}
        assert window.ask(f"/{app}/short/down")[0] == 502
        assert window.ask(f"/{app}/stale/new")[0] == 502
        assert window.ask(f"/{app}/stale/a", headers=["Cookie: session=x"])[0] == 502
    # It is up again and counts anew: the answer is fetched in the background.
    window.ask(f"/{app}/stale/a")
    for _try in range(20):
        if window.ask(f"/{app}/stale/a")[1]["x-cache"] in ("HIT", "EXPIRED"):
            break
        time.sleep(0.2)
    else:
        pytest.fail("the old answer stays")


def test_nobody_waits_for_a_slow_app_where_there_is_an_old_answer(window):
    for path in ("/http/stale/slow?sleep=1", "/http/short/slow?sleep=1"):
        assert look(window, path) == ("MISS", 1)
    time.sleep(2.1)
    assert window.crowd("/http/stale/slow?sleep=1", 1)[1] < 0.5
    assert window.crowd("/http/short/slow?sleep=1", 1)[1] > 0.9


def purge(window, *paths):
    """Run the module's own code on the host."""
    text = inspect.getsource(nginx_cache) + f"\nprint(purge('shop', {list(paths)!r}, '/run/nginxtest/cache'))\n"
    return int(window.host.check_output("python3 - <<'END'\n" + text + "END"))


@BOTH
def test_purge(window, app):
    paths = [f"/{app}/purge/a", f"/{app}/purge/a?b=1", f"/{app}/purge/caf%C3%A9", f"/{app}/purgeb"]
    for path in paths:
        assert look(window, path) == ("MISS", 1)
    assert purge(window, f"/{app}/purge/a") == 2
    assert [look(window, path) for path in paths] == [("MISS", 2), ("MISS", 2), ("HIT", 1), ("HIT", 1)]
    assert purge(window, f"/{app}/purge/*") == 3
    assert [look(window, path) for path in paths] == [("MISS", 3), ("MISS", 3), ("MISS", 2), ("HIT", 1)]
    window.ask(f"/{app}/vary2?header=Vary:X-Lang", headers=["X-Lang: de"])
    window.ask(f"/{app}/vary2?header=Vary:X-Lang", headers=["X-Lang: en"])
    assert purge(window, f"/{app}/vary2") == 2
    look(window, "/http/purge", name="two.example.com")
    assert purge(window) >= 4
    assert look(window, paths[3]) == ("MISS", 2)
    assert "webstack.two." in window.host.check_output("find /run/nginxtest/cache -type f")


def test_only_the_workers_read_what_is_remembered(window):
    look(window, "/http/private")
    text = window.host.check_output("find /run/nginxtest/cache -mindepth 1 -printf '%u %m %y\\n' | sort -u")
    assert {line for line in text.splitlines() if line != "root 644 f"} == {"www-data 700 d", "www-data 600 f"}
    assert json.loads(window.ask("/http/private")[2])
