# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx gets on a host for the load that is expected."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils.nginx_sizes import (
    Limits,
    complaints,
    fill_in,
    limits,
    sizes,
)
from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render

SIZES = [
    (4096, Limits(), (8704, 18432, 4096)),
    (4096, Limits(cores=4), (8704, 18432, 4096)),
    (4096, Limits(cores=64), (1024, 3072, 4096)),
    (1, Limits(), (514, 2052, 511)),
    (100000, Limits(cores=2), (200512, 402048, 100000)),
    (100000, Limits(cores=2, open_files=65536, backlog=4096), (200512, 65536, 4096)),
    (4096, Limits(open_files=524288, backlog=4096), (8704, 18432, 4096)),
]


@pytest.mark.parametrize(("expected", "has", "figures"), SIZES)
def test_sizes(expected, has, figures):
    assert tuple(sizes(expected, has).values()) == figures


def test_figures_of_the_host_are_filled_in():
    text = "worker_connections @WORKER_CONNECTIONS 100@; @OPEN_FILES 100@ @BACKLOG 100@ @NAME 1@"
    assert fill_in(text, Limits(cores=2)) == "worker_connections 712; 2448 511 @NAME 1@"


COMPLAINTS = [
    (4096, Limits(2, 1 << 30, 524288, 4096), []),
    (4096, Limits(2, 0, 8192, 4096), ["LimitNOFILE"]),
    (4096, Limits(2, 0, 0, 128), ["net.core.somaxconn"]),
    (4096, Limits(2, 200 << 20), ["128 MiB, and the host has 200 MiB"]),
    (400000, Limits(2, 1 << 30, 65536, 4096), ["LimitNOFILE", "net.core.somaxconn", "MiB"]),
]


@pytest.mark.parametrize(("expected", "has", "words"), COMPLAINTS)
def test_what_a_host_cannot_give_is_said(expected, has, words):
    found = complaints(f"x @OPEN_FILES {expected}@;", has)
    assert len(found) == len(words)
    for message, word in zip(found, words, strict=True):
        assert message.startswith(f"nginx_expected_connections is {expected}, but ")
        assert word in message


def test_nothing_is_said_without_sizes():
    assert complaints("worker_connections 10;", Limits(backlog=1)) == []


@pytest.mark.parametrize("text", ["524288", "infinity", ""])
def test_what_this_host_has(text):
    found = limits(text)
    assert found.cores > 0
    assert found.memory > 1 << 20
    assert found.open_files > 0
    assert found.open_files <= 524288 or not text.isdigit()


def _listens(*addresses):
    return [{"address": address, "port": port, "tls": False} for address, port in addresses]


def _site(index, *addresses, names=("a.example.com",)):
    return {"name": f"s{index}", "origin": f"nginx_sites[{index}]", "server_names": list(names), "tls": None,
            "listen": _listens(*addresses), "routes": [], "directives": "", "client_max_body_size": ""}


BACKLOGS = [
    # each socket has it once, in the block that answers strangers
    ([_site(0, ("*", 80)), _site(1, ("*", 80))], ["80", "[::]:80"]),
    ([_site(0, ("*", 80), names=()), _site(1, ("*", 80))], ["80", "[::]:80"]),
    # beside all addresses one of them is not bound for itself
    ([_site(0, ("*", 80)), _site(1, ("192.0.2.1", 80))], ["80", "[::]:80"]),
    ([_site(0, ("*", 80)), _site(1, ("192.0.2.1", 81))], ["192.0.2.1:81", "80", "[::]:80"]),
    ([_site(0, ("192.0.2.1", 80)), _site(1, ("[::1]", 80))], ["192.0.2.1:80", "[::1]:80"]),
]


@pytest.mark.parametrize(("sites", "expected"), BACKLOGS)
def test_which_listeners_have_a_queue_of_their_own(sites, expected):
    text = "\n".join(nginx_render.render(sites, {})[0].values())
    assert sorted(re.findall(r"listen (\S+) default_server backlog=@BACKLOG 4096@;", text)) == expected
    assert text.count("backlog") == len(expected)


@pytest.mark.parametrize("wrong", [0, -1, 1000001])
def test_an_expectation_must_be_one(wrong):
    [(path, message)] = nginx_render.check_sites([], {"nginx_expected_connections": wrong})
    assert path == "nginx_expected_connections"
    assert "from 1 to 1000000" in message
