# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service records: texts, placeholders, hosts, settings; and a server that is added by one file."""

from __future__ import annotations

import ast
import configparser

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import servers, services
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError

HOST = "app1"


def app(**more):
    return {"name": "shop", "origin": "flask_apps[0]", "server": "gunicorn", "framework": "flask", "hosts": [HOST],
            "user": "ws-shop", "root": "/srv/webstack/apps/shop", "directory": "", "callable": "shop:app",
            "settings": {}, "health": {}, "listen": {HOST: ["/run/webstack/shop.sock", "10.0.0.2:21000"]},
            "allow": {HOST: ["10.0.0.1"]}, **more}


def by_hand(**more):
    item = {**app(), "virtualenv": "/opt/shop/venv", "directory": "/opt/shop", "env": {"A": "@RELEASE@"}, **more}
    del item["root"]
    return item


def finished(record, release="1f0c"):
    return services.for_host(services.with_release(record, release), HOST)


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi", "development"])
def test_no_placeholder_is_left(server):
    record = finished(services.service_record(app(server=server)))
    words = ("@RELEASE@", "@LISTEN@", "@ALLOW@", "@ADDRESS@", "@IP@", "@PORT@")
    assert not [word for word in words if word in str(record)]
    for name, text in record["units"].items():
        assert text.endswith("\n")
        assert name.startswith("webstack-shop")


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_all_servers_share_the_units(server):
    record = finished(services.service_record(app(server=server)))
    socket, service = record["units"]["webstack-shop.socket"], record["units"]["webstack-shop@.service"]
    assert "ListenStream=/run/webstack/shop.sock\nListenStream=10.0.0.2:21000\n" in socket
    assert "Service=webstack-shop@1f0c.service\n" in socket
    assert "IPAddressDeny=any\nIPAddressAllow=10.0.0.1\n" in socket
    assert "TriggerLimitIntervalSec=0\n" in socket
    assert f"/releases/%i/venv/bin/{server} " in service
    assert "StartLimitIntervalSec=0\n" in service
    assert "Restart=always\n" in service


def test_units_differ_between_servers_in_few_lines():
    texts = [services.service_record(app(server=name))["units"]["webstack-shop@.service"].splitlines()
             for name in ("gunicorn", "uwsgi")]
    assert {line.split("=")[0] for line in set(texts[0]) ^ set(texts[1])} <= {"ExecStart", "NotifyAccess"}


def test_the_release_is_no_part_of_the_unit():
    record = services.service_record(app())
    one, two = (services.with_release(record, name)["units"]["webstack-shop@.service"] for name in ("a", "b"))
    assert one == two


def test_gunicorn_configuration_is_python():
    text = finished(services.service_record(app(settings={"workers": 3, "extra": {"limit_request_line": 8190}})))[
        "config"]["text"]
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(text).body
              if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)}
    assert values["wsgi_app"] == "shop:app"
    assert values["workers"] == 3
    assert values["limit_request_line"] == 8190
    assert values["forwarded_allow_ips"] == "10.0.0.1"
    assert values["chdir"] == "/srv/webstack/apps/shop/releases/1f0c/source"
    assert values["control_socket_disable"] is True


def test_uwsgi_configuration():
    settings = {"extra": {"offload-threads": 1, "thunder-lock": True, "static-map": ["/a=/b", "/c=/d"]}}
    text = finished(services.service_record(app(server="uwsgi", settings=settings)))["config"]["text"]
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.read_string(text)
    section = parser["uwsgi"]
    assert section["need-app"] == section["strict"] == section["master"] == "true"
    assert section["thunder-lock"] == "true"
    assert section["harakiri"] == "30"
    assert text.count("\nstatic-map = ") == 2
    assert not {"vacuum", "lazy-apps", "socket", "listen"} & set(section)


def test_public_router_is_a_unit_of_its_own():
    record = finished(services.service_record(app(server="uwsgi", public={"listen": "0.0.0.0:80"})))
    router = record["units"]["webstack-shop-http.service"]
    assert "--http-to /run/webstack/shop.uwsgi.sock" in router
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in router
    assert "setscheme:http" in record["config"]["text"]
    assert "webstack-shop-http.service" not in str(services.content(record))


@pytest.mark.parametrize(("change", "path"), [
    ({"settings": {"extra": {"bind": "0.0.0.0:80"}}}, "flask_apps[0].settings.extra.bind"),
    ({"settings": {"extra": {"a b": 1}}}, "flask_apps[0].settings.extra.a b"),
    ({"settings": {"extra": {"proc": "x\ny"}}}, "flask_apps[0].settings.extra.proc"),
    ({"settings": {"workers": 0}}, "flask_apps[0].settings.workers"),
    ({"server": "uwsgi", "public": {"listen": "http"}}, "flask_apps[0].public.listen"),
    ({"server": "uwsgi", "settings": {"extra": {"vacuum": True}}}, "flask_apps[0].settings.extra.vacuum"),
])
def test_mistakes_are_named(change, path):
    with pytest.raises(InventoryError) as caught:
        services.service_record(app(**change))
    assert path in str(caught.value)


def test_relative_folder_of_a_service_by_hand_is_refused():
    with pytest.raises(InventoryError, match="absolute"):
        services.service_record(by_hand(virtualenv="venv"))


def test_service_by_hand():
    record = services.service_record(by_hand())
    assert record["release"] is None
    record = finished(record, "77")
    assert record["release"] == "77"
    assert record["env"] == {"A": "@RELEASE@"}
    assert record["bin"] == "/opt/shop/venv/bin"
    assert record["env_file"] == "/etc/webstack/shop/77/env"
    assert "ReadWritePaths" not in record["units"]["webstack-shop@.service"]


def test_what_makes_a_release():
    base = services.content(services.service_record(app()))
    assert services.content(services.service_record(app(settings={"workers": 9}))) != base
    assert services.content(services.service_record(app(listen={HOST: ["/run/webstack/shop.sock"]}))) == base


def test_outbound_connections_can_be_limited():
    text = services.service_record(app(outbound=["10.1.0.0/16"]))["units"]["webstack-shop@.service"]
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\nIPAddressAllow=10.1.0.0/16\n" in text
    assert "IPAddressDeny" not in services.service_record(app())["units"]["webstack-shop@.service"]


def test_an_app_without_network_has_unix_sockets_alone():
    text = services.service_record(app(outbound=[]))["units"]["webstack-shop@.service"]
    assert "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any\n" in text
    assert "AF_INET" not in text
    # A server that binds its own address needs one.
    text = services.service_record(app(server="development", outbound=[]))["units"]["webstack-shop@.service"]
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in text
    assert "PrivateNetwork" not in text


def with_processes(**more):
    limits = {"memory": None, "tasks": None, "cpu": None}
    return app(hosts=[HOST, "app2"], limits={"memory": "1G", "tasks": 50, "cpu": None}, manage="manage.py", processes=[
        {"name": "worker", "command": "celery -A 50% worker", "singleton": False, "stop_timeout": 300,
         "stop_signal": "QUIT", "hosts": [HOST, "app2"], "limits": limits | {"memory": "2G", "cpu": 0.5}},
        {"name": "beat", "command": "manage.py beat", "singleton": True, "stop_timeout": 60, "stop_signal": "TERM",
         "hosts": ["app2", HOST], "limits": limits},
    ], timers=[{"name": "nightly", "command": "/usr/bin/true $HOME", "on_calendar": "*-*-* 03:30", "every": "",
                "timeout": 600, "singleton": True, "hosts": [HOST, "app2"], "limits": limits}], **more)


def test_processes_have_the_apps_sandbox_and_no_socket():
    units = finished(services.service_record(with_processes()))["units"]
    own, worker = units["webstack-shop@.service"], units["webstack-shop.worker@.service"]
    assert "ExecStart=/usr/bin/env celery -A 50%% worker\n" in worker
    for line in ("KillSignal=SIGQUIT", "TimeoutStopSec=300", "MemoryMax=2G", "TasksMax=50", "CPUQuota=50%", "Type=exec",
                 "SyslogIdentifier=webstack-shop", "Environment=PATH=/srv/webstack/apps/shop/releases/%i/venv/bin:"
                 "/usr/local/bin:/usr/bin:/bin"):
        assert f"{line}\n" in worker
    assert "MemoryMax=1G\n" in own
    assert "Sockets=" not in worker
    missing = {line for line in own.splitlines() if line} - set(worker.splitlines())
    assert {line.partition("=")[0] for line in missing if not line.startswith("#")} <= {
        "Description", "After", "Type", "Sockets", "ExecStart", "TimeoutStopSec", "NotifyAccess", "MemoryMax"}
    timer, job = units["webstack-shop.nightly.timer"], units["webstack-shop.nightly@.service"]
    assert "Unit=webstack-shop.nightly@1f0c.service\n" in timer
    assert "OnCalendar=*-*-* 03:30\n" in timer
    assert "Type=oneshot\n" in job and "TimeoutStartSec=600\n" in job and "Restart=" not in job
    assert "ExecStart=/usr/bin/true $$HOME\n" in job


def test_a_singleton_is_on_the_first_host_alone():
    record = services.with_release(services.service_record(with_processes()), "1f0c")
    first, second = services.for_host(record, HOST), services.for_host(record, "app2")
    here = [[item["name"] for item in one["processes"] if item["here"]] for one in (first, second)]
    assert here == [["worker", "nightly"], ["worker", "beat"]]
    assert "webstack-shop.nightly.timer" not in second["units"]
    assert "webstack-shop.beat@.service" in second["units"]
    assert ("/srv/webstack/apps/shop/releases/%i/venv/bin/python /srv/webstack/apps/shop/releases/%i/source/manage.py "
            "beat") in second["units"]["webstack-shop.beat@.service"]


def test_records_of_a_host_come_without_environments():
    record = services.with_release(services.service_record(by_hand(env={"A": "secret"})), "77")
    plan = {"hosts": {HOST: {"services": ["shop"]}}, "services": {"shop": record}}
    (got,) = services.services_of(plan, HOST, "gunicorn")
    assert "secret" not in str(got)
    assert services.environments_of(plan, HOST, "gunicorn") == {"shop": {"A": "secret"}}
    assert services.services_of(plan, HOST, "uwsgi") == []
    assert services.services_of(plan, "other", "gunicorn") == []


def test_every_setting_has_a_type_a_default_and_a_description():
    for server in servers.load().values():
        for key, spec in server.options.items():
            assert {"type", "default", "description"} <= set(spec), (server.name, key)


def test_a_server_is_added_by_one_file(tmp_path):
    (tmp_path / "dummy.py").write_text("""
from . import Server

SERVER = Server(
    name="dummy", protocol="http", config_name="dummy.conf", requirements=("dummy==1",),
    template="app = {{ service.callable }}, {{ settings.workers }} workers\\n",
    exec_start=lambda service: [f"{service['bin']}/dummy", "100%", "$HOME", service["config"]["path"]],
    check=lambda service: [f"{service['bin']}/dummy", "--check"],
    options={"colour": {"type": "str", "default": "red", "description": "Of the dummy."}},
)
""")
    server = servers.load(tmp_path)["dummy"]
    record = finished(services.service_record(app(server="dummy"), server=server))
    assert record["config"] == {"path": "/etc/webstack/shop/1f0c/dummy.conf", "text": "app = shop:app, 2 workers\n"}
    assert record["check"] == ["/srv/webstack/apps/shop/releases/1f0c/venv/bin/dummy", "--check"]
    assert ("/releases/%i/venv/bin/dummy 100%% $$HOME /etc/webstack/shop/%i/dummy.conf\n"
            in record["units"]["webstack-shop@.service"])
    assert record["settings"]["colour"] == "red"
    assert "dummy" not in servers.load()
