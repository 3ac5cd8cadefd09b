# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an app: its schema, what is kept, and what is held back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.frontdesk.webstack.plugins.module_utils import record as logic


def check_schema(record):
    assert set(record) == {"schema", "app", "live", "previous", "held", "reversing", "history"}
    assert record["schema"] == 1
    assert isinstance(record["app"], str)
    for key in ("live", "previous"):
        assert record[key] is None or isinstance(record[key], str)
    if record["held"] is not None:
        assert set(record["held"]) == {"release", "version", "at", "by", "source_id"}
    for event in record["history"]:
        assert set(event) == {"release", "at", "event", "reason", "version"}
        assert event["event"] in ("live", "failed")
        assert event["at"].endswith("Z")


@pytest.fixture
def record():
    return logic.read(Path("/nowhere"), "shop")


def test_schema(tmp_path, record):
    check_schema(record)
    logic.note(record, "a", "live", version="v1")
    logic.note(record, "b", "failed", "because")
    logic.note(record, "b", "live")
    logic.note(record, "b", "live")
    check_schema(record)
    assert (record["live"], record["previous"]) == ("b", "a")
    logic.hold(record, {"release": "b"}, {}, "me")
    check_schema(record)
    for _ in range(200):
        logic.note(record, "c", "failed")
    assert len(record["history"]) == logic.HISTORY
    logic.write(tmp_path / "record.json", record)
    assert logic.read(tmp_path / "record.json", "shop") == record
    assert logic.read(tmp_path / "record.json", "other")["live"] is None


def test_a_record_of_the_first_version_holds_nothing(tmp_path):
    old = {"schema": 1, "app": "shop", "live": "a", "previous": None, "history": []}
    (tmp_path / "record.json").write_text(json.dumps(old))
    assert logic.read(tmp_path / "record.json", "shop") == {**old, "held": None, "reversing": None}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', "null"])
def test_a_damaged_record_counts_as_none(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    assert logic.read(tmp_path / "record.json", "shop")["live"] is None


def test_the_live_and_the_previous_configuration_are_never_pruned(record):
    for release in "abcdef":
        logic.note(record, release, "live")
    folders = list("abcdefgh")
    assert logic.superfluous(folders, record, "f", 1) == ["a", "b", "c", "d"]
    assert logic.superfluous(folders, record, "f", 3) == ["a", "b", "c"]
    assert logic.superfluous(folders, record, "f", 10) == []


OLD, NEW = {"release": "a", "source_id": "s1", "source": "v1"}, {"release": "b", "source_id": "s2", "source": "v2"}


def test_what_was_left_by_hand_is_held(record):
    logic.note(record, "a", "live")
    logic.note(record, "b", "live")
    logic.hold(record, NEW, OLD, "me@here")
    logic.note(record, "a", "live", "rollback")
    assert logic.is_held(record, "b")
    assert not logic.is_held(record, "a") and not logic.is_held(record, "c")
    assert (record["held"]["by"], record["held"]["version"]) == ("me@here", "v2")
    # The same code with other settings is held too, something newer is not.
    assert logic.held_source(record, "c", "s2")
    assert not logic.held_source(record, "c", "s3")
    assert not logic.held_source(record, "b", "s2"), "the release itself is left alone without an error"


def test_of_one_source_with_two_settings_only_the_release_is_held(record):
    logic.note(record, "a", "live")
    logic.hold(record, {**NEW, "source_id": "s1"}, OLD, "me")
    assert logic.is_held(record, "b")
    assert not logic.held_source(record, "c", "s1"), "the settings that mend it would be held"


def test_nothing_is_held_at_first(record):
    assert not logic.is_held(record, "a") and not logic.held_source(record, "a", "s")
