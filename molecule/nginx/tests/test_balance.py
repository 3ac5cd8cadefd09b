# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several servers is asked, and what becomes of a request whose server fails."""

from __future__ import annotations

import itertools

import farm
import pytest
from window import Window, make_site

ROUTES = [
    {"app": "one-two-three", "path": "/round/"},
    {"app": "one-two-three", "path": "/weights/", "balance": {"weights": {"one": 4}}},
    {"app": "one-two", "path": "/least/", "balance": {"method": "least_conn"}},
    {"app": "one-two-three", "path": "/random/", "balance": {"method": "random"}},
    {"app": "one-two-three", "path": "/address/", "balance": {"method": "ip_hash"}},
    {"app": "one-two-three", "path": "/key/", "balance": {"method": "hash", "key": "$arg_key"}},
    {"app": "one-two-three", "path": "/cookie/", "balance": {"method": "cookie"}},
    {"app": "one-dead", "path": "/lame-cookie/", "balance": {"method": "cookie"}},
    {"app": "one-spare", "path": "/spare/", "balance": {"backup": ["spare"]}},
    {"app": "dead-spare", "path": "/failed/", "balance": {"backup": ["spare"]}},
    {"app": "one-two-dead", "path": "/dead/"},
    {"app": "dead-two", "path": "/once/", "balance": {"tries": 1, "max_fails": 0}},
    {"app": "cut-two", "path": "/cut/", "balance": {"max_fails": 0}},
    {"app": "dead-one", "path": "/refused/", "balance": {"max_fails": 0}},
    {"app": "one-drained", "path": "/drained/"},
    {"app": "drained-cut-spare", "path": "/drained-hash/", "balance": {"method": "hash", "key": "$arg_key"}},
    {"app": "dead", "path": "/alone/"},
]


@pytest.fixture(scope="module")
def servers(host):
    with Window(host, [make_site("shop", ROUTES)]):
        farm.start(host)
        yield host
        farm.stop(host)


def get(host, path, count=1, **more):
    return farm.many(host, path, count, **more)


# Each worker counts for itself only until it has read what all know: a few requests more or less are no fault.
def test_each_in_turn(servers):
    found = farm.spread(get(servers, "/round/", 30))
    assert found.keys() == {"one", "two", "three"}
    assert max(found.values()) - min(found.values()) <= 2


def test_weights(servers):
    found = farm.spread(get(servers, "/weights/", 30))
    assert 18 <= found["one"] <= 22
    assert found.keys() == {"one", "two", "three"}


def test_the_one_with_the_fewest_requests(servers):
    # Asked together with a slow one, the quick ones all go to the other server; in turn they would meet it again.
    servers.check_output("systemd-run -q --collect --unit=nginxtest-slow python3 /run/nginxtest/many.py "
                         + farm.words("/least/?sleep=5"))
    for _try in range(40):
        busy = [server for server, _method in farm.asked(servers, "/least/")]
        if busy:
            break
    quick = farm.spread(get(servers, "/least/", 10))
    assert quick == {({"one", "two"} - set(busy)).pop(): 10}


def test_by_chance(servers):
    answers = get(servers, "/random/", 60)
    assert farm.spread(answers).keys() == {"one", "two", "three"}
    # In turn, nobody would come twice in a row.
    order = [server for _status, server, _cookie in answers]
    assert [one for one, following in itertools.pairwise(order) if one == following]


@pytest.mark.parametrize("path", ["/address/", "/key/?key=a"])
def test_a_client_stays(servers, path):
    assert len(farm.spread(get(servers, path, 12))) == 1


def test_keys_are_spread(servers):
    found = {next(iter(farm.spread(get(servers, f"/key/?key={key}")))) for key in range(20)}
    assert found == {"one", "two", "three"}


def test_a_cookie_leads_back(servers):
    first = get(servers, "/cookie/", 12)
    assert farm.spread(first).keys() == {"one", "two", "three"}
    for _status, server, cookie in first[:6]:
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
        again = get(servers, "/cookie/", 4, headers={"Cookie": cookie.partition(";")[0]})
        assert [(one, said) for _status, one, said in again] == [(server, "")] * 4


def test_a_cookie_of_nobodys_is_replaced(servers):
    [(_status, _server, cookie)] = get(servers, "/cookie/", headers={"Cookie": "lb_one_two_three=x"})
    assert cookie.startswith("lb_one_two_three=")


def test_a_client_whose_server_died_goes_to_another(servers):
    for _status, _server, cookie in get(servers, "/lame-cookie/", 8):
        again = get(servers, "/lame-cookie/", 2, headers={"Cookie": cookie.partition(";")[0]})
        assert farm.spread(again) == {"one": 2}


def test_a_spare_waits(servers):
    assert farm.spread(get(servers, "/spare/", 20)) == {"one": 20}


def test_a_spare_takes_over(servers):
    assert farm.spread(get(servers, "/failed/", 20)) == {"spare": 20}


def test_a_dead_server_costs_no_request(servers):
    assert farm.spread(get(servers, "/dead/", 40, width=4)).keys() == {"one", "two"}


def test_without_a_second_try_it_does(servers):
    assert {status for status, _server, _cookie in get(servers, "/once/", 10)} == {200, 502}


def test_an_app_on_one_host_that_is_dead(servers):
    assert {status for status, _server, _cookie in get(servers, "/alone/", 5)} == {502}


def test_what_was_sent_with_post_is_never_sent_again(servers):
    answers = get(servers, "/cut/", 20, method="POST")
    reached = farm.asked(servers, "/cut/")
    assert len(reached) == 20
    assert {status for status, _server, _cookie in answers} == {200, 502}
    assert [server for server, _method in reached].count("cut") == [one[0] for one in answers].count(502)


def test_a_get_may_be_repeated(servers):
    before = len(farm.asked(servers, "/cut/"))
    assert farm.spread(get(servers, "/cut/", 20)) == {"two": 20}
    assert len(farm.asked(servers, "/cut/")) - before > 20


def test_a_post_that_could_not_be_sent_goes_to_the_next(servers):
    assert farm.spread(get(servers, "/refused/", 20, method="POST")) == {"one": 20}
    assert farm.asked(servers, "/refused/") == [("one", "POST")] * 20


def test_a_drained_host_gets_nothing(servers):
    assert farm.spread(get(servers, "/drained/", 20)) == {"one": 20}
    for key in range(6):
        get(servers, f"/drained-hash/?key={key}")
    assert "drained" not in {server for server, _method in farm.asked(servers, "/drained-hash/")}
    # It would have answered.
    assert servers.run("python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); "
                       "s.connect('/run/nginxtest/drained.sock')\"").rc == 0
