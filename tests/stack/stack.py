"""Run the collection's playbooks against test hosts, and talk to what they made."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@dataclass
class Run:
    """What one run of a playbook said."""

    code: int
    output: str
    runs: list[tuple[str, str]]  # (host, module) of each module execution

    def recap(self) -> dict[str, dict[str, int]]:
        found = {}
        for line in self.output.partition("PLAY RECAP")[2].splitlines():
            match = re.match(r"(\S+)\s+: (.*)", line)
            if match:
                found[match[1]] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match[2])}
        return found

    def changed(self) -> int:
        return sum(host["changed"] for host in self.recap().values())


@dataclass
class Stack:
    """A topology of `inventories/` on test hosts."""

    inventories: list[str]
    extra: Path | None = None  # an inventory file laid over the others

    def play(self, *arguments: str, playbook: str = "playbooks/site.yml", variables: dict | None = None,
             collections: Path | None = None) -> Run:
        sources = [*self.inventories, *([str(self.extra)] if self.extra else [])]
        command = [str(BIN / "ansible-playbook"), str(ROOT / playbook)]
        command += [word for source in sources for word in ("-i", source)]
        if variables:
            command += ["-e", json.dumps(variables)]
        counts = ROOT / ".cache" / f"module-runs-{os.getpid()}"
        environment = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/plugins/callback"), "MODULE_RUNS": str(counts),
            "ANSIBLE_COLLECTIONS_PATH": str(collections or ROOT / ".cache/collections"),
            "ANSIBLE_CACHE_PLUGIN": "memory", "ANSIBLE_CALLBACKS_ENABLED": "module_runs", "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
        }
        answer = subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
                                check=False, stdin=subprocess.DEVNULL, timeout=1200)
        lines = counts.read_text(encoding="utf-8").splitlines() if counts.exists() else []
        counts.unlink(missing_ok=True)
        return Run(answer.returncode, answer.stdout + answer.stderr, [tuple(line.split(" ", 1)) for line in lines])


def address(host: str) -> str:
    """Return the address of a test host."""
    import tomllib

    hosts = tomllib.loads((ROOT / "tests/hosts.toml").read_text(encoding="utf-8"))["hosts"]
    return f"{(ROOT / '.cache/hosts/subnet').read_text(encoding='utf-8').strip()}.{hosts[host]['address']}"


def hosts(command: str, *names: str) -> None:
    """Run `tools/testhosts.py COMMAND NAME...`."""
    subprocess.run([sys.executable, str(ROOT / "tools/testhosts.py"), command, *names], check=True, cwd=ROOT,
                   capture_output=True, text=True)


def ssh(host: str, command: str, check: bool = True) -> str:
    answer = subprocess.run(["ssh", "-F", str(ROOT / ".cache/hosts/ssh_config"), host, command], check=False,
                            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    if check and answer.returncode:
        raise AssertionError(f"{host}: {command}: {answer.stdout}{answer.stderr}")
    return answer.stdout


def ask(where: str, path: str = "/", host: str = "", method: str = "GET", body: bytes | str | None = None,
        headers: dict[str, str] | None = None, port: int = 80) -> tuple[int, dict[str, str], str]:
    """Return (status, headers, text) of one request."""
    connection = http.client.HTTPConnection(where, port, timeout=20)
    try:
        connection.request(method, path, body=body, headers={**({"Host": host} if host else {}), **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode(
            errors="replace")
    finally:
        connection.close()
