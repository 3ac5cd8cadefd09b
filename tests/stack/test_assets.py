"""Files with a hash in their names, over releases: a page that was opened before a switch finds all that it asks for.

A browser of a few lines opens pages all the time, and some seconds later asks for what they name; pages, static files
and the app's code must agree at every moment.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections import deque

import pytest
from stack import ROOT, Stack, address, ask, ssh
from test_topologies import fine, guestbook_app

pytestmark = pytest.mark.parametrize("debian", ["12", "13"], scope="module")
NAME = "guestbook.example.com"


class Browser(threading.Thread):
    """Opens a page again and again, and loads what it names at once, and again after a while."""

    def __init__(self, where: str, page: str, later: float = 8):
        super().__init__(daemon=True)
        self.where, self.page, self.later = where, page, later
        self.end, self.failures, self.names, self.loaded = threading.Event(), [], set(), 0
        self.start()

    def run(self) -> None:
        opened: deque[tuple[float, list[str]]] = deque()
        while not self.end.is_set() or opened:
            if not self.end.is_set():
                status, headers, text = ask(self.where, self.page, NAME)
                names = re.findall(r'(?:src|href)="(/(?:assets|static)/[^"]+)"', text)
                if status != 200 or not names:
                    self.failures.append(f"{self.page}: {status}, names {names}")
                if not re.search(r"no-cache|no-store|max-age=0", headers.get("cache-control", "no-cache")):
                    self.failures.append(f"{self.page} is cached: {headers['cache-control']}")
                self.names.update(names)
                self._load(names, "at once")
                opened.append((time.monotonic() + self.later, names))
            while opened and (opened[0][0] <= time.monotonic()):
                self._load(opened.popleft()[1], "later")
            time.sleep(0.05)

    def _load(self, names: list[str], when: str) -> None:
        for name in names:
            status = ask(self.where, name, NAME)[0]
            self.loaded += 1
            if status != 200:
                self.failures.append(f"{name}: {status}, {when}")

    def stop(self) -> None:
        self.end.set()
        self.join(timeout=60)


@pytest.fixture(scope="module")
def place(debian, bring_up):
    bring_up(f"assets-{debian}")
    return f"assets-{debian}"


def test_pages_find_their_files_over_releases(place, overlay, tmp_path):
    plan, where = Stack([str(ROOT / "inventories/t4")], overlay(web1=place)), address(place)
    web, api = tmp_path / "web", tmp_path / "api"
    shutil.copytree(ROOT / "examples/guestbook/web", web, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copytree(ROOT / "examples/guestbook/api", api, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))

    def play(number: int):
        for path in (web / "src/style.css", api / "entries/static/entries/guestbook.css"):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(f"\n.release-{number} {{ color: #00000{number}; }}\n")
        with (web / "src/main.js").open("a", encoding="utf-8") as stream:
            stream.write(f"\nwindow.release = {number}\n")
        app = guestbook_app(place)
        app["source"]["folder"] = str(api)
        return fine(plan.play(variables={
            "django_apps": [app], "webstack_keep_releases": 3,
            "vue_sites": [{"name": "guestbook-web", "source": {"folder": str(web)}, "settings": {"apiBase": "/api"}}]}))

    play(0)
    first = [re.findall(r'(?:src|href)="(/(?:assets|static)/[^"]+)"', ask(where, page, NAME)[2])
             for page in ("/", "/guestbook/")]
    browsers = [Browser(where, "/"), Browser(where, "/write"), Browser(where, "/guestbook/")]
    for number in range(1, 3):
        play(number)
    time.sleep(2)
    # Of releases that are kept.
    assert [ask(where, name, NAME)[0] for names in first for name in names] == [200] * sum(map(len, first))
    for number in range(3, 5):
        play(number)
    for browser in browsers:
        browser.stop()
    print("; ".join(f"{one.page}: {one.loaded} files loaded, {len(one.names)} names" for one in browsers))
    assert not [failure for browser in browsers for failure in browser.failures][:10]
    # Each release had names of its own, and those of a release that is gone are gone.
    assert all(len(browser.names) >= 5 for browser in browsers), [browser.names for browser in browsers]
    assert ask(where, first[0][0], NAME)[0] == 404, "the first of five releases is still there, and three are kept"
    assert ssh(place, "ls /srv/webstack/vue/guestbook-web/releases | wc -l").strip() == "3"
