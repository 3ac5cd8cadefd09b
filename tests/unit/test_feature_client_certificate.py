# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients with a certificate of their own may pass: what is rendered, and what is refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import features

FEATURE = features.load()["client_certificate"]


class Context:
    def __init__(self):
        self.errors = []

    def error(self, path, message):
        self.errors.append((path, message))


def resolve(allow=(), required=False):
    context = Context()
    record = FEATURE.resolve({"allow": list(allow), "required": required}, "nginx_sites[0].client_certificate", context)
    return record, context.errors


def pattern(allow):
    """Return the regular expression as PCRE gets it: nginx takes a backslash before a backslash away."""
    (line,) = [line for line in FEATURE.http([features.Use(resolve(allow)[0], {})]) if '"~' in line]
    return re.compile(re.fullmatch(r'\s*"~(.*)" 1;', line)[1].replace("\\\\", "\\"))


def test_it_can_be_turned_off_in_a_route():
    assert resolve() == (None, [])
    assert FEATURE.resolve(None, "x", Context()) is None


@pytest.mark.parametrize("allow, subject, passes", [
    (["CN=alice"], "CN=alice", True),
    (["CN=alice"], "CN=alice,O=Example", True),
    (["CN=alice"], "O=Example,CN=alice", True),
    (["CN=alice"], "CN=alice2", False),
    (["CN=alice"], "CN=malice", False),
    (["CN=alice"], "OU=CN=alice", False),
    (["CN=alice"], r"O=x\,CN=alice", False),  # a value that wants to be a part
    (["CN=alice"], r"CN=alice\,evil", False),
    (["CN=alice"], "cn=alice", False),
    (["CN=a.b"], "CN=axb", False),
    (["CN=a.b"], "CN=a.b", True),
    (["CN=a^(b)*"], "CN=a^(b)*", True),
    (["O=Example, OU=Operations"], "OU=Operations,CN=bob,O=Example", True),
    (["O=Example,OU=Operations"], "CN=bob,O=Example", False),
    (["CN=Jörg Müller"], "CN=Jörg Müller", True),
])
def test_subjects(allow, subject, passes):
    assert bool(pattern(allow).match(f"SUCCESS {subject}")) == passes
    assert not pattern(allow).match(f"FAILED:expired {subject}")
    assert not pattern(allow).match("NONE ")


def test_any_certificate_will_do():
    (record, errors) = resolve(required=True)
    assert not errors
    text = "\n".join(FEATURE.http([features.Use(record, {})]))
    assert '"~^SUCCESS " 1;' in text


def test_a_location_and_its_map_have_one_variable():
    record = resolve(["CN=alice"])[0]
    use, other = features.Use(record, {}), features.Use(resolve(["CN=bob"])[0], {})
    [first, *_rest] = FEATURE.location(use).lines
    name = re.search(r"\$(\w+)", first)[1]
    assert FEATURE.http([use, use, other])[0].endswith(f"${name} {{")
    assert sum("map " in line for line in FEATURE.http([use, use, other])) == 2
    assert FEATURE.location(other).lines[0] != first


@pytest.mark.parametrize("text", ["alice", "", "CN=", "CN=a,b", "CN=a\\,b", 'CN="a"', "CN=a;O=b", "CN=a+OU=b"])
def test_refused(text):
    [(path, message)] = resolve(["CN=alice", text])[1]
    assert path == "nginx_sites[0].client_certificate.allow[1]"
    assert "write parts of a subject" in message


@pytest.mark.parametrize("tls, words", [(None, "no client of this site"), ({"client": None}, "`tls: {client"),
                                        ({"client": {"ca": "/x"}}, "")])
def test_it_needs_a_site_that_asks(tls, words):
    message = FEATURE.check(features.Use({}, {"tls": tls}))
    assert words in message if words else not message
