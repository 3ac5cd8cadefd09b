# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site says about TLS: what is rendered of it, and what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import nginx_render, site_tls
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.role_options import site_options
from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import Problems, apply

FILES = {"certificate": "/etc/ssl/a.pem", "key": "/etc/ssl/a.key"}
CLIENT = {"ca": "/etc/ssl/clients.pem"}


def make(tls, index=0, **values):
    """Return (site record, problems) of what a user writes as `tls`."""
    problems = Problems()
    origin = f"nginx_sites[{index}]"
    values = {"name": f"site{index}", "server_names": [f"s{index}.example.com"], "tls": tls, **values}
    draft = apply(values, site_options(), origin, problems)
    site = {**draft, "origin": origin, "routes": [], "features": {},
            "tls": site_tls.resolve(draft["tls"], draft, f"{origin}.tls", problems.add)}
    site["listen"] = nginx_render.listeners(site, problems)
    return site, [(problem.path, problem.message) for problem in problems.items]


def rendered(*sites):
    made = []
    for index, (tls, values) in enumerate(sites):
        site, problems = make(tls, index, **values)
        assert not problems
        made.append(site)
    assert nginx_render.check_sites(made) == []
    return nginx_render.render(made, {})[0]


def test_the_default_profile_is_in_the_http_block_alone():
    files = rendered((FILES, {}))
    assert files["http.conf"].count("ssl_protocols TLSv1.2 TLSv1.3;") == 1
    assert "DHE-RSA-AES128-GCM-SHA256" in files["http.conf"]
    assert "ssl_protocols" not in files["sites/site0.conf"]


def test_a_modern_site_and_what_answers_strangers_on_its_port():
    files = rendered(({**FILES, "profile": "modern"}, {}), (FILES, {"listen": ["192.0.2.1:443"]}))
    assert files["sites/site0.conf"].count("ssl_protocols TLSv1.3;") == 1
    assert "ssl_protocols" not in files["sites/site1.conf"]
    strangers = files["http.conf"].split("server {")
    modern = [block for block in strangers if "ssl_reject_handshake" in block and "ssl_protocols TLSv1.3;" in block]
    others = [block for block in strangers if "ssl_reject_handshake" in block and "ssl_protocols" not in block]
    assert (len(modern), len(others)) == (2, 1)  # IPv4 and IPv6; the address of the other site
    assert "listen 192.0.2.1:443 ssl" in others[0]


def test_clients_are_asked_for_a_certificate():
    text = rendered(({**FILES, "client": {**CLIENT, "crl": "/etc/ssl/x.crl", "verify_depth": 2}}, {}))[
        "sites/site0.conf"]
    for line in ("ssl_verify_client on;", "ssl_verify_depth 2;", 'ssl_client_certificate "/etc/ssl/clients.pem";',
                 'ssl_crl "/etc/ssl/x.crl";', '#@digest "/etc/ssl/clients.pem"', '#@digest "/etc/ssl/x.crl"',
                 '#@needs certificate "/etc/ssl/clients.pem"', '#@digest "/etc/ssl/a.pem"'):
        assert text.count(f"    {line}\n") == 1, line


def test_clients_may_come_without_a_certificate():
    text = rendered(({**FILES, "client": {**CLIENT, "required": False}}, {}))["sites/site0.conf"]
    assert "ssl_verify_client optional;" in text
    assert "ssl_crl" not in text


def test_what_an_app_hears_of_the_client_comes_from_nginx():
    files = rendered((FILES, {}))
    assert 'proxy_set_header X-Client-Verify "$ssl_client_verify";' in files["proxy.conf"]
    assert 'uwsgi_param HTTP_X_CLIENT_DN "$ssl_client_s_dn" if_not_empty;' in files["uwsgi.conf"]
    assert 'proxy_set_header X-SSL-Client-Verify "";' in files["proxy.conf"]
    assert 'uwsgi_param HTTP_CLIENT_CERT "" if_not_empty;' in files["uwsgi.conf"]


def test_a_certificate_that_is_made_here():
    site, problems = make({"issuer": "private"})
    assert not problems
    assert site["tls"]["certificate"] == site["tls"]["key"] == "/etc/nginx/webstack.tls/site0.pem"


@pytest.mark.parametrize("names, expected", [
    (["a.example.com", "A.example.com"], ["a.example.com"]),
    ([".example.com", "*.example.org"], ["example.com", "*.example.com", "*.example.org"]),
    (["192.0.2.1"], ["192.0.2.1"]),
])
def test_the_names_of_a_certificate(names, expected):
    assert site_tls.subject_names(names) == expected


REFUSED = [
    ({"key": "/k"}, {}, "certificate", "is missing. Write the path of the certificate and its chain"),
    ({"certificate": "/c"}, {}, "key", "is missing. Write the path of the key"),
    ({}, {}, "key", "`issuer: private`"),
    ({**FILES, "key": "a.key"}, {}, "key", "'a.key' must be an absolute path"),
    ({**FILES, "certificate": "/a;b"}, {}, "certificate", "without special characters"),
    ({**FILES, "issuer": "private"}, {}, "certificate", "Write one of the two"),
    ({"issuer": "private"}, {"server_names": []}, "issuer", "write server_names"),
    ({"issuer": "private"}, {"server_names": ["x.example.com", "~^a"]}, "issuer", "'~^a' (server_names[1])"),
    ({"issuer": "private"}, {"server_names": ["www.example.*"]}, "issuer", "write whole names"),
    ({"issuer": "public"}, {}, "issuer", "must be one of private"),
    ({**FILES, "profile": "old"}, {}, "profile", "must be one of intermediate, modern"),
    ({**FILES, "client": {}}, {}, "client.ca", "is missing"),
    ({**FILES, "client": {"ca": "x"}}, {}, "client.ca", "must be an absolute path"),
    ({**FILES, "client": {**CLIENT, "crl": "x"}}, {}, "client.crl", "must be an absolute path"),
    ({**FILES, "client": {**CLIENT, "verify_depth": 0}}, {}, "client.verify_depth", "from 1 to 10"),
]


@pytest.mark.parametrize("tls, values, key, words", REFUSED)
def test_refused(tls, values, key, words):
    found = make(tls, **values)[1]
    assert [message for path, message in found if path == f"nginx_sites[0].tls.{key}" and words in message], found


OTHER = {**FILES, "client": {"ca": "/etc/ssl/others.pem"}}
BESIDE = [
    # (a site, another one, the mistake)
    (({**FILES, "profile": "modern"}, {}), (FILES, {}), ("nginx_sites[1].tls.profile", "in nginx_sites[0]")),
    (({**FILES, "profile": "modern"}, {}), (FILES, {"listen": ["8443"]}), None),
    (({**FILES, "profile": "modern"}, {}), (FILES, {"listen": ["192.0.2.1:443"]}), None),
    (({**FILES, "profile": "modern"}, {}), (None, {}), None),
    (({**FILES, "client": CLIENT}, {}), (OTHER, {}), None),
    (({**FILES, "client": CLIENT}, {"server_names": []}), (OTHER, {}),
     ("nginx_sites[1].tls.client", "by naming no host in the handshake")),
    ((OTHER, {}), ({**FILES, "client": CLIENT}, {"server_names": []}),
     ("nginx_sites[0].tls.client", "differs from that of nginx_sites[1]")),
    (({**FILES, "client": CLIENT}, {"server_names": []}), ({**FILES, "client": CLIENT}, {}), None),
    ((FILES, {"server_names": []}), (OTHER, {}), None),
    (({**FILES, "client": CLIENT, "redirect": False}, {}), (None, {}),
     ("nginx_sites[0].tls.redirect", "comes in by plain HTTP")),
    (({**FILES, "client": CLIENT, "redirect": False}, {"listen": ["443"]}), (None, {}), None),
    (({**FILES, "client": {**CLIENT, "required": False}, "redirect": False}, {}), (None, {}), None),
]


@pytest.mark.parametrize("one, other, expected", BESIDE)
def test_what_sites_cannot_have_beside_each_other(one, other, expected):
    sites = [make(tls, index, **values)[0] for index, (tls, values) in enumerate((one, other))]
    found = nginx_render.check_sites(sites)
    if expected is None:
        assert found == []
    else:
        [(path, message)] = found
        assert path == expected[0]
        assert expected[1] in message
