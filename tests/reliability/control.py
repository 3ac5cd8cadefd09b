"""The negative control: the same app and the same client, behind a unit that owns its socket and is restarted."""

from __future__ import annotations

import time

from bench import NAME, SITE, Bench, ssh
from traffic import Report, Traffic

PORT = 8099
UNIT = f"""\
[Service]
Type=notify
User=ws-{NAME}
WorkingDirectory=/srv/webstack/apps/{NAME}/releases/{{live}}/source
ExecStart=/srv/webstack/apps/{NAME}/releases/{{live}}/venv/bin/{{command}}
KillMode=mixed
"""
COMMANDS = {
    "gunicorn": f"gunicorn --bind 0.0.0.0:{PORT} --workers 2 --threads 8 --worker-class gthread app:app",
    "uwsgi": f"uwsgi --http-socket 0.0.0.0:{PORT} --master --processes 2 --threads 8 --module app:app --need-app "
             "--die-on-term --disable-logging",
}


def restarted(bench: Bench, times: int = 3) -> Report:
    """Restart a unit as most guides write it, under traffic; return what the client saw."""
    host, live = bench.app_hosts[0], bench.record()["live"]
    unit = UNIT.format(live=live, command=COMMANDS[bench.topology.server])
    ssh(host, f"printf '%s' '{unit}' | sudo tee /run/systemd/system/control.service >/dev/null; "
              "sudo systemctl daemon-reload; sudo systemctl restart control")
    try:
        with Traffic(bench.address, PORT, SITE, rate=bench.rate, kinds=["get", "post"]) as traffic:
            time.sleep(2)
            for number in range(times):
                with traffic.window(f"restart {number + 1}"):
                    ssh(host, "sudo systemctl restart control")
                    time.sleep(1)
            time.sleep(1)
    finally:
        ssh(host, "sudo systemctl stop control; sudo rm /run/systemd/system/control.service; "
                  "sudo systemctl daemon-reload")
    return traffic.report
