from __future__ import annotations

import os
import sys

import pytest
from stack import ROOT, Stack, address, hosts

# The traffic client is shared with tests/reliability.
sys.path.insert(0, str(ROOT / "tests/reliability"))


@pytest.fixture(scope="session")
def overlay(tmp_path_factory):
    """Return a function: an inventory that puts the hosts of an example inventory onto test hosts."""

    def make(**places: str):
        lines = ["---", "all:", "  vars:", "    ansible_user: deploy",
                 f"    ansible_ssh_common_args: -F {ROOT}/.cache/hosts/ssh_config", "  hosts:"]
        for host, place in places.items():
            lines += [f"    {host}:", f"      ansible_host: {address(place)}"]
        path = tmp_path_factory.mktemp("overlay") / "hosts.yml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def bring_up():
    """Return a function that makes test hosts anew, each once in a session; they go when it ends.

    A machine has room for some twenty of them at a time.
    """
    done: set[str] = set()

    def make(*names: str):
        missing = [name for name in names if name not in done]
        if missing:
            hosts("reset", *missing)
            done.update(missing)

    yield make
    if done and not os.environ.get("KEEP_HOSTS"):
        hosts("down", *done)


@pytest.fixture
def stack(request, overlay, bring_up):
    """Return a function: the topology on the pair's host, `stack-12` or `stack-13`."""
    debian = request.getfixturevalue("debian")
    name = f"stack-{debian}"
    bring_up(name)

    def make(topology: str):
        return Stack([str(ROOT / "inventories" / topology)], overlay(web1=name))

    make.host = name
    make.address = address(name)
    return make
