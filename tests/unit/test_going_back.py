# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback goes back to, what it refuses, and what it does about migrations."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import going_back, status

FIRST, SECOND, THIRD = "app.0001_initial", "app.0002_price", "shop.0001_initial"


def release(name, version, good=True, migrations=(), migrated=False, live_at="", failed=""):
    return {"release": name, "version": version, "commit": "", "built": "", "live_at": live_at, "failed": failed,
            "migrations": None if migrations is None else list(migrations), "migrated": migrated, "good": good}


def app(live="ccc", previous="bbb", releases=(), **more):
    releases = list(releases) or [
        release("ccc", "v3 0123456789", live_at="3"), release("bbb", "v2 0123456789", live_at="2"),
        release("aaa", "v1 0123456789", live_at="1"),
        release("ddd", "v4 0123456789", good=False, failed="no module named x\nmore")]
    return {"app": "shop", "live": live, "previous": previous, "releases": releases, "held": None, "history": [],
            "reversing": None, "lock": None, "since": "", "state": "active", "server": "gunicorn", "version": "v3",
            **more}


def states(*apps, vue=(), static=()):
    return {f"host{number}": {"apps": [one], "vue": list(vue), "static": list(static)}
            for number, one in enumerate(apps, 1)}


def choose(wanted="", migrations="", found=None, name="shop"):
    return going_back.choose(name, wanted, migrations, found or states(app(), app()))


@pytest.mark.parametrize(("wanted", "release"), [
    ("", "bbb"), ("aaa", "aaa"), ("v1", "aaa"), ("v2 0123456789", "bbb"), ("ccc", "ccc")])
def test_the_one_before_or_the_one_that_is_named(wanted, release):
    answer = choose(wanted)
    assert (answer["release"], answer["left"], answer["hosts"]) == (release, "ccc", ["host1", "host2"])
    assert answer["reverse"] == []


def test_the_beginning_of_an_id_counts_after_versions_and_only_where_it_is_one_releases():
    found = states(app(releases=[release("ccc333", "v3"), release("2abc11", "v1"), release("2abd22", "2"),
                                 release("bbb444", "v2")]))
    assert choose("2", found=found)["release"] == "2abd22"
    assert choose("2abc", found=found)["release"] == "2abc11"
    with pytest.raises(going_back.NoWayBack, match="several releases"):
        choose("2ab", found=found)


def test_a_rollback_that_came_to_half_of_the_hosts_is_not_turned_around():
    found = states(app(live="bbb", previous="ccc"), app())
    with pytest.raises(going_back.NoWayBack, match=r"host1 runs bbb .*host2 runs ccc .*-e release=ID"):
        choose(found=found)
    assert choose("bbb", found=found)["release"] == "bbb"


def test_a_limit_does_not_pass_by_the_question_of_migrations():
    found = migrated()
    for item in found["host1"]["apps"][0]["releases"]:
        item["migrated"] = False
    with pytest.raises(going_back.NoWayBack, match=r"None of these hosts has made them.*without a limit"):
        choose(found=found)
    assert choose(migrations="leave", found=found)["release"] == "bbb"


def test_an_app_and_a_site_of_one_name():
    found = states(app(), vue=[{"name": "shop", "live": "x", "releases": ["x"]}])
    answer = choose(found=found)
    assert (answer["release"], answer["vue"]) == ("bbb", {})


def test_of_one_version_with_several_settings_the_last_one_that_was_live():
    found = states(app(releases=[release("ccc", "v3"), release("b1", "v2", live_at="2"), release("b2", "v2",
                                                                                              live_at="5")]))
    assert choose("v2", found=found)["release"] == "b2"


def test_the_version_of_a_package():
    found = states(app(releases=[release("ccc", "httpbin==2"), release("aaa", "httpbin==1")]))
    assert choose("1", found=found)["release"] == "aaa"


@pytest.mark.parametrize(("name", "wanted", "found", "words"), [
    ("", "", None, ["app: is missing", "-e app=NAME"]),
    ("shpo", "", None, ["'shpo'", "shop"]),
    ("shop", "v9", None, ["no release 'v9'", "aaa (v1", "bbb"]),
    ("shop", "v4", None, ["ddd never was live", "no module named x", "aaa (v1"]),
    ("shop", "ddd", None, ["ddd never was live"]),
    ("shop", "", states(app(previous=None)), ["no release before ccc"]),
    ("shop", "", states(app(previous="ddd")), ["no release before ccc"]),
    ("shop", "", states(app(), app(releases=[release("ccc", "v3")])), ["host2", "bbb", "-e release=ID"]),
])
def test_no_way_back(name, wanted, found, words):
    with pytest.raises(going_back.NoWayBack) as caught:
        choose(wanted, found=found, name=name)
    for word in words:
        assert word in str(caught.value)


def migrated(known=(FIRST,), applied=(FIRST, SECOND, THIRD)):
    return states(app(releases=[release("ccc", "v3", migrations=applied, migrated=True, live_at="3"),
                                release("bbb", "v2", migrations=known, migrated=True, live_at="2")]))


def test_migrations_between_are_named_and_the_choice_is_the_users():
    with pytest.raises(going_back.NoWayBack) as caught:
        choose(found=migrated())
    for word in (SECOND, THIRD, "migrations=leave", "migrations=reverse"):
        assert word in str(caught.value)
    assert FIRST not in str(caught.value)


@pytest.mark.parametrize(("how", "reverse", "gone"), [
    ("leave", [], []),
    ("reverse", [["shop", "zero"], ["app", "0001_initial"]], [SECOND, THIRD]),
    ("app.0001", [["app", "0001_initial"]], [SECOND]),
    ("app.0001_initial", [["app", "0001_initial"]], [SECOND]),
    ("app.zero", [["app", "zero"]], [FIRST, SECOND]),
])
def test_how_to_go(how, reverse, gone):
    answer = choose(migrations=how, found=migrated())
    assert (answer["reverse"], answer["gone"]) == (reverse, gone)
    assert answer["code"] == ("ccc" if reverse else "")


@pytest.mark.parametrize("how", ["app.0009", "nothing", "0001", "other.0001"])
def test_a_migration_that_is_not_there(how):
    with pytest.raises(going_back.NoWayBack, match="migrations: is"):
        choose(migrations=how, found=migrated())


def test_a_release_that_does_not_say_its_migrations_takes_a_word():
    with pytest.raises(going_back.NoWayBack, match="not known which migrations"):
        choose(found=migrated(known=None))
    assert choose(migrations="leave", found=migrated(known=None))["release"] == "bbb"


def test_migrations_of_a_release_that_failed_after_them_count_too():
    releases = [release("ccc", "v3", migrations=[FIRST], migrated=True), release("bbb", "v2", migrations=[FIRST]),
                release("ddd", "v4", good=False, migrations=[FIRST, SECOND], migrated=True)]
    with pytest.raises(going_back.NoWayBack, match="0002_price"):
        choose(found=states(app(releases=releases)))


def test_migrations_that_both_know_are_no_matter():
    assert choose(found=migrated(known=(FIRST, SECOND, THIRD)))["reverse"] == []


def stopped(**more):
    found = migrated()
    found["host1"]["apps"][0] |= {
        "live": "bbb", "previous": "ccc",
        "reversing": {"code": "ccc", "reverse": [["app", "0001_initial"]], "gone": [SECOND]}, **more}
    return found


@pytest.mark.parametrize("wanted", ["", "bbb", "v2"])
def test_a_rollback_that_was_stopped_is_finished_by_the_same_command(wanted):
    answer = choose(wanted, "reverse", stopped())
    assert (answer["release"], answer["first"], answer["code"]) == ("bbb", "host1", "ccc")
    assert (answer["reverse"], answer["gone"]) == ([["app", "0001_initial"]], [SECOND])
    assert (answer["lives"], answer["lock"]) == ({"host1": "bbb"}, "host1")


def test_a_rollback_that_was_stopped_between_two_hosts_is_finished():
    found = stopped() | {"host2": states(app())["host1"]}
    answer = choose(migrations="reverse", found=found)
    assert (answer["release"], answer["lives"]) == ("bbb", {"host1": "bbb", "host2": "ccc"})


@pytest.mark.parametrize(("wanted", "migrations"), [("", ""), ("ccc", "reverse"), ("bbb", "")])
def test_a_rollback_that_was_stopped_is_not_passed_by(wanted, migrations):
    with pytest.raises(going_back.NoWayBack, match=rf"stopped before {SECOND}.*-e release=bbb -e migrations=reverse"):
        choose(wanted, migrations, stopped())
    assert choose("ccc", "leave", stopped())["release"] == "ccc"


def test_the_lock_spans_what_takes_several_steps_or_hosts():
    assert choose(found=states(app()))["lock"] == ""
    assert choose()["lock"] == "host1"
    assert choose(migrations="reverse", found=migrated())["lock"] == "host1"
    edge = {"apps": [], "vue": [], "static": [{"name": "shop", "live": "ccc", "releases": ["ccc"]}]}
    assert choose(found=states(app()) | {"edge1": edge})["lock"] == "host1"


def test_what_was_decided_is_refused_when_it_is_something_else_by_now():
    decided = {**choose(), "changed": False}
    going_back.compare(decided, choose())
    with pytest.raises(going_back.NoWayBack, match=r"shop: has been changed by another run.*host2 runs ddd"):
        going_back.compare(decided, choose("aaa", found=states(app(), app(live="ddd"))))


def test_a_vue_site():
    site = {"name": "web", "live": "b", "releases": ["b", "a"]}
    found = {"edge1": {"apps": [], "vue": [site], "static": []}, "edge2": {"apps": [], "vue": [site], "static": []}}
    assert choose(name="web", found=found)["vue"] == {"edge1": "a", "edge2": "a"}
    found["edge2"]["vue"] = [{**site, "releases": ["b", "c"]}]
    with pytest.raises(going_back.NoWayBack, match="edge1: a, edge2: c"):
        choose(name="web", found=found)
    found["edge2"]["vue"] = [{**site, "releases": ["b"]}]
    with pytest.raises(going_back.NoWayBack, match="edge2 has no other release"):
        choose(name="web", found=found)


def test_static_files_go_with_the_app():
    found = states(app(), static=[{"name": "shop", "live": "ccc", "releases": ["ccc"]}])
    assert choose(found=found)["static"] == ["host1"]


# -- status ----------------------------------------------------------------------------------------------------------

def test_the_table_says_what_runs_where_and_what_is_odd():
    found = states(app(), app(live="bbb", held={"version": "v3", "release": "ccc", "by": "ann"},
                              lock={"who": "bob", "since": "noon"}),
                   vue=[{"name": "web", "live": "x", "held": "y", "releases": []}])
    found["host1"]["apps"][0]["reversing"] = {"gone": [SECOND]}
    found["host1"]["expiring"] = ["the certificate /a.pem expires soon: renew it."]
    answer = status.collect(found, ["host3"])
    assert [item["host"] for item in answer["apps"]] == ["host1", "host2"]
    text = status.table(answer)
    for words in ("app", "ccc", "differs between hosts", "v3 held back by ann", "bob is deploying since noon",
                  f"not taken back yet: {SECOND}", "web", "y held back", "host3: no answer",
                  "host1: the certificate /a.pem expires soon"):
        assert words in text
