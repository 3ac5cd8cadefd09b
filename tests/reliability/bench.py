"""One app on test hosts in one of the topologies, and what tests do to it under traffic."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/stack"))

from stack import Run, Stack, address, ask, hosts, ssh  # noqa: E402, F401
from traffic import Traffic  # noqa: E402

NAME = "shop"
SITE = "shop.example.com"
#: so many requests a second; what two cores hold beside the hosts, which run on the same ones
RATE = 500.0
SSH_CONFIG = ROOT / ".cache/hosts/ssh_config"
#: another installed copy of the collection, to compare
COLLECTIONS = Path(os.environ["COLLECTIONS"]) if os.environ.get("COLLECTIONS") else None


@dataclass
class Topology:
    """Where the app runs, and what stands before it."""

    name: str
    inventory: str  # the example whose hosts are taken
    server: str
    framework: str = "flask"
    places: dict[str, str] = field(default_factory=lambda: {"web1": "rel-{debian}"})
    public: bool = False
    edge: str = "web1"
    prefix: str = "/"
    source: str = "app"  # a folder beside this file
    settings: dict[str, Any] = field(default_factory=lambda: {"workers": 2, "threads": 8})
    kinds: tuple[str, ...] = ("get", "post", "slow")


TOPOLOGIES = {topology.name: topology for topology in (
    Topology("T1", "t1", "uwsgi"),
    Topology("T2", "t2", "uwsgi", public=True),
    Topology("T3", "t3", "gunicorn"),
    # An ASGI app; its WebSockets are given six seconds at a switch, then closed with a word.
    Topology("T3-ASGI", "t3", "gunicorn", source="asgi", kinds=("get", "post", "slow", "websocket"),
             settings={"workers": 2, "worker_class": "asgi", "graceful_timeout": 6}),
    Topology("T4", "t4", "gunicorn", framework="django", prefix="/api/", source="guestbook"),
    # Another server under Django, on the hosts of T4.
    Topology("T5", "t4", "uwsgi", framework="django", prefix="/api/", source="guestbook"),
    Topology("T7", "t7", "uwsgi", places={"edge1": "rel-edge", "app1": "rel-app1", "app2": "rel-app2"}, edge="edge1"),
)}


class Bench:
    """The app of one topology: its source is a copy that tests write into."""

    def __init__(self, topology: str, debian: str = "13", rate: float = RATE):
        self.topology, self.debian, self.rate = TOPOLOGIES[topology], debian, rate
        self.folder = Path(tempfile.mkdtemp(prefix=f"reliability-{topology}-{debian}-"))
        self.source = self.folder / "source"
        self.number = 0
        self.version = ""  # of the source as it is written
        self.origin = f"{'django' if self.topology.framework == 'django' else 'flask'}_apps[0]"
        self.places = {host: place.format(debian=debian) for host, place in self.topology.places.items()}
        self.app_hosts = [place for host, place in self.places.items() if host.startswith(("web", "app"))]
        self.address = address(self.places[self.topology.edge])
        overlay = ["---", "all:", "  vars:", "    ansible_user: deploy",
                   f"    ansible_ssh_common_args: -F {SSH_CONFIG}", "  hosts:"]
        for host, place in self.places.items():
            overlay += [f"    {host}:", f"      ansible_host: {address(place)}"]
        (self.folder / "hosts.yml").write_text("\n".join(overlay) + "\n", encoding="utf-8")
        # The groups of the example, without its apps.
        shutil.copy(ROOT / "inventories" / self.topology.inventory / "hosts.yml", self.folder / "groups.yml")
        self.stack = Stack([str(self.folder / "groups.yml")], self.folder / "hosts.yml")
        self.settings = dict(self.topology.settings)
        self.env: dict[str, str] = {}
        self.more: dict[str, Any] = {}
        self.write()

    # -- the source ------------------------------------------------------------------------------------------------

    def write(self, files: dict[str, str | bytes | None] | None = None, version: str | None = None) -> str:
        """Make the source anew: the good one, with the next version and these files (None: away with it)."""
        self.number += 1
        self.version = version = version or str(self.number)
        shutil.rmtree(self.source, ignore_errors=True)
        if self.topology.framework == "django":
            shutil.copytree(ROOT / "examples/guestbook/api", self.source,
                            ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
        shutil.copytree(ROOT / "tests/reliability" / self.topology.source, self.source, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in {"VERSION": version + "\n", **(files or {})}.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            elif isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(text, encoding="utf-8")
        return version

    # -- runs ------------------------------------------------------------------------------------------------------

    def app(self, **changes: Any) -> dict[str, Any]:
        """Return the item of `flask_apps` or `django_apps`."""
        topology = self.topology
        app = {"name": NAME, "server": topology.server, "source": {"folder": str(self.source)},
               "settings": dict(self.settings), "env": dict(self.env), "health": {"path": "/health"}, **self.more}
        if topology.framework == "django":
            host = "127.0.0.1" if len(self.app_hosts) == 1 else address(self.app_hosts[0])
            app |= {"settings_module": "reliability_settings", "callable": "guestbook.wsgi:application",
                    "health": {"path": "/api/well"}, "env": {
                "DJANGO_SECRET_KEY": "change-me-a-long-random-text-of-at-least-fifty-characters",
                "DATABASE_URL": f"postgres://guestbook:change-me-too@{host}/guestbook", **self.env}}
        else:
            app["callable"] = "app:app"
        if topology.public:
            app["public"] = {"listen": "0.0.0.0:80"}
        for key, value in changes.items():
            app[key] = {**app[key], **value} if isinstance(value, dict) and isinstance(app.get(key), dict) else value
        return app

    def variables(self, **changes: Any) -> dict[str, Any]:
        """Return the whole inventory."""
        django = self.topology.framework == "django"
        values: dict[str, Any] = {"django_apps" if django else "flask_apps": [self.app(**changes)]}
        if django:
            values["postgresql_databases"] = [{"name": "guestbook", "password": "change-me-too"}]
        if not self.topology.public:
            values["nginx_sites"] = [{"name": NAME, "server_names": [SITE], "routes": [{"path": "/", "app": NAME}]}]
        if self.topology.name == "T4":
            values["vue_sites"] = [{"name": "web", "source": {"folder": str(ROOT / "examples/guestbook/web")},
                                    "settings": {"apiBase": "/api", "title": "Guestbook", "version": "1.0.0"}}]
            values["nginx_sites"][0]["routes"] = [{"path": "/", "vue": "web"}, {"path": "/api/", "app": NAME}]
        return values

    def play(self, playbook: str, *arguments: str, **changes: Any) -> Run:
        path = f"playbooks/{playbook}.yml"
        if COLLECTIONS:
            path = str(COLLECTIONS / "ansible_collections/frontdesk/webstack" / path)
        return self.stack.play(*arguments, playbook=path, variables=self.variables(**changes), collections=COLLECTIONS)

    def site(self, **changes: Any) -> Run:
        """Run the whole stack."""
        return self.play("site", **changes)

    def deploy(self, **changes: Any) -> Run:
        """Deploy the app as it is written now."""
        return self.play("deploy", "-e", f"app={NAME}", **changes)

    def rollback(self, *arguments: str, **changes: Any) -> Run:
        """Go back."""
        return self.play("rollback", "-e", f"app={NAME}", *arguments, **changes)

    def bring_up(self, fresh: bool = False) -> None:
        """Bring up the hosts, and put the first release on them."""
        hosts("reset" if fresh else "up", *sorted(set(self.places.values())))
        for host in self.app_hosts:
            # A disk of its own for the releases, which a test can fill.
            ssh(host, "mountpoint -q /srv || sudo mount -t tmpfs -o size=700m,mode=755 tmpfs /srv")
        run = self.site()
        assert run.code == 0, f"the first run failed:\n{run.output[-6000:]}"

    # -- looking ---------------------------------------------------------------------------------------------------

    def record(self, host: str | None = None) -> dict[str, Any]:
        """Return the app's record on a host."""
        return json.loads(ssh(host or self.app_hosts[0], f"cat /srv/webstack/apps/{NAME}/record.json"))

    def live(self) -> str:
        """Return the live release: the same on all hosts, and the only one that runs."""
        found = {self.record(host)["live"] for host in self.app_hosts}
        assert len(found) == 1, f"the hosts have different releases live: {found}"
        live = found.pop()
        for host in self.app_hosts:
            units = [line.split()[0] for line in ssh(
                host, f"systemctl list-units --plain --no-legend --state=active,activating,deactivating,reloading "
                      f"'webstack-{NAME}@*' 'webstack_*'").splitlines()]
            assert units == [f"webstack-{NAME}@{live}.service"], f"{host}: {units} run, and {live} is live"
        return live

    @contextlib.contextmanager
    def traffic(self, **settings: Any) -> Iterator[Traffic]:
        """Send traffic from outside of the hosts; it is quiet for a moment before and after the block."""
        wanted = {"rate": self.rate, "prefix": self.topology.prefix, "kinds": self.topology.kinds, **settings}
        with Traffic(self.address, 80, SITE, **wanted) as traffic:
            time.sleep(2)
            yield traffic
            time.sleep(2)

    def recover(self) -> None:
        """Put a good release live again after something went wrong, so that the next test has one."""
        self.settings, self.env = dict(self.topology.settings), {}
        self.write()
        with contextlib.suppress(Exception):
            self.site()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
