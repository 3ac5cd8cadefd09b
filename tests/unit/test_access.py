# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Indexes, proxies and authorities: what users write, what comes of it, and that no password is told."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import access
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems

NOTHING = {"url": "", "extra_urls": [], "username": "", "password": ""}


def index(**given):
    problems = Problems()
    return access.index({**NOTHING, **given}, "webstack_package_index", problems), problems.items


@pytest.mark.parametrize("given, url, extra", [
    ({}, "", []),
    ({"url": "https://h/simple"}, "https://h/simple", []),
    ({"extra_urls": ["https://h/one", "http://i:8080/two"]}, "", ["https://h/one", "http://i:8080/two"]),
    ({"url": "https://h/s", "username": "u", "password": "a/b@c:d%"}, "https://u:a%2Fb%40c%3Ad%25@h/s", []),
    ({"url": "https://x:y@h/s", "username": "u", "password": "p"}, "https://x:y@h/s", []),
    # the login is for the first server alone
    ({"url": "https://h/s", "extra_urls": ["https://H/t", "https://other/t"], "username": "u", "password": "p"},
     "https://u:p@h/s", ["https://u:p@H/t", "https://other/t"]),
    ({"url": "https://h/s", "extra_urls": ["https://h:8443/t"], "username": "u", "password": "p"},
     "https://u:p@h/s", ["https://h:8443/t"]),
    ({"extra_urls": ["https://h/t", "https://other/t"], "username": "u", "password": "p"}, "",
     ["https://u:p@h/t", "https://other/t"]),
    ({"url": "file:///srv/packages/simple"}, "file:///srv/packages/simple", []),
])
def test_an_index(given, url, extra):
    assert index(**given) == ({"url": url, "extra_urls": extra}, [])


@pytest.mark.parametrize("given, path, words", [
    ({"username": "u", "password": "horse"}, "url", "is missing"),
    ({"url": "https://h/s", "password": "horse"}, "username", "__token__"),
    ({"url": "packages.example.com/simple"}, "url", "begins with https://"),
    ({"url": "https://u:horse/battery@h/s"}, "url", "urlencode"),
    ({"url": "https://u:horse@h/s https://i/s"}, "url", "without spaces"),
    ({"url": "ftp://u:horse@h/s"}, "url", "begins with https://"),
    ({"extra_urls": ["https://h/s", "u:horse@h"]}, "extra_urls[1]", "no address"),
])
def test_a_mistake_in_an_index(given, path, words):
    [problem] = index(**given)[1]
    assert problem.path == f"webstack_package_index.{path}"
    assert words in problem.message
    assert "horse" not in problem.message


@pytest.mark.parametrize("given, found", [
    ({}, ("", "", "")),
    ({"http": "http://p:3128"}, ("http://p:3128", "http://p:3128", "")),
    ({"https": "p:3128"}, ("http://p:3128", "http://p:3128", "")),
    ({"http": "http://p:1", "https": "http://u:x@p:2", "no_proxy": "a, .b"}, ("http://p:1", "http://u:x@p:2", "a,.b")),
])
def test_a_proxy(given, found):
    problems = Problems()
    result = access.proxy({"http": "", "https": "", "no_proxy": "", **given}, problems)
    assert (result["http"], result["https"], result["no_proxy"]) == found
    assert not problems


@pytest.mark.parametrize("key, value", [("http", "socks5://u:horse@p:1"), ("https", "http://u:horse/x@p:1"),
                                        ("https", "http://u:horse@p:99999")])
def test_a_mistake_in_a_proxy(key, value):
    problems = Problems()
    access.proxy({"http": "", "https": "", "no_proxy": "", key: value}, problems)
    assert {problem.path for problem in problems.items} == {f"webstack_proxy.{key}"}
    assert "horse" not in str(problems.items)


def test_the_tools_keep_the_shared_index():
    settings = {"webstack_package_index": {**NOTHING, "url": "https://shared/s"}, "webstack_installer": "auto",
                "webstack_proxy": {"http": "", "https": "", "no_proxy": ""}}
    problems = Problems()
    own = access.of_app(settings, {**NOTHING, "url": "https://own/s"}, "flask_apps[0].index", problems)
    assert (own["index"]["url"], own["tools_index"]["url"]) == ("https://own/s", "https://shared/s")
    assert access.of_app(settings, None, "flask_apps[0].index", problems)["index"]["url"] == "https://shared/s"


@pytest.mark.parametrize("text, words", [
    (None, "cannot be read"),
    ("no certificate", "is no certificate in PEM form"),
    ("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "is no certificate in PEM form"),
    ("-----BEGIN PRIVATE KEY-----\nhorse", "has a private key in it"),
])
def test_a_file_of_authorities_that_is_none(tmp_path, text, words):
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    problems = Problems()
    assert access.authorities("ca.pem", tmp_path, problems) == ""
    [problem] = problems.items
    assert problem.path == "webstack_ca"
    assert words in problem.message
    assert "horse" not in problem.message


def test_a_file_of_authorities(tmp_path):
    known = access.known_authorities()
    if "-----END CERTIFICATE-----" not in known:
        pytest.skip("the controller has no list of authorities")
    one = known[known.index("-----BEGIN CERTIFICATE"):].partition("-----END CERTIFICATE-----")[0]
    (tmp_path / "ca.pem").write_text(f"# ours\n{one}-----END CERTIFICATE-----")
    problems = Problems()
    assert access.authorities(str(tmp_path / "ca.pem"), tmp_path, problems).endswith("-----END CERTIFICATE-----\n")
    assert access.authorities("", tmp_path, problems) == ""
    assert not problems
