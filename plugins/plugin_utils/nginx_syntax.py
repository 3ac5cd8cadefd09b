# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said about a piece of nginx configuration without nginx: its words, its braces, its variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# nginx's own variables, of the core and of all modules in its source tree (1.31).
_NAMES = """
ancient_browser args binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time
connections_active connections_reading connections_waiting connections_writing content_length content_type date_gmt
date_local document_root document_uri fastcgi_path_info fastcgi_script_name geoip_area_code geoip_city
geoip_city_continent_code geoip_city_country_code geoip_city_country_code3 geoip_city_country_name geoip_country_code
geoip_country_code3 geoip_country_name geoip_dma_code geoip_latitude geoip_longitude geoip_org geoip_postal_code
geoip_region geoip_region_name gzip_ratio host hostname http2 http3 https invalid_referer is_args is_request_port
limit_conn_status limit_rate limit_req_status memcached_key modern_browser msec msie nginx_version pid pipe
proxy_add_via proxy_add_x_forwarded_for proxy_host proxy_port proxy_protocol_addr proxy_protocol_port
proxy_protocol_server_addr proxy_protocol_server_port query_string realip_remote_addr realip_remote_port realpath_root
remote_addr remote_port remote_user request request_body request_body_file request_completion request_filename
request_id request_length request_method request_port request_time request_uri scheme secure_link secure_link_expires
server_addr server_name server_port server_protocol slice_range ssl_alpn_protocol ssl_cipher ssl_ciphers
ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint ssl_client_i_dn ssl_client_i_dn_legacy
ssl_client_raw_cert ssl_client_s_dn ssl_client_s_dn_legacy ssl_client_serial ssl_client_sigalg ssl_client_v_end
ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve ssl_curves ssl_early_data
ssl_ech_outer_server_name ssl_ech_status ssl_protocol ssl_server_name ssl_session_id ssl_session_reused ssl_sigalg
ssl_sigalgs status tcpinfo_rcv_space tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd time_iso8601 time_local uid_got
uid_reset uid_set upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_etag
upstream_cache_last_modified upstream_cache_status upstream_connect_time upstream_header_time
upstream_response_length upstream_response_time upstream_status uri
"""
_VARIABLES = frozenset(_NAMES.split())

_PREFIXES = ("arg_", "cookie_", "http_", "sent_http_", "sent_trailer_", "proxy_protocol_tlv_", "upstream_cookie_",
             "upstream_http_", "upstream_trailer_")

# Directives whose first or last word before the block or the semicolon is a new variable.
_DEFINE_FIRST = {"set", "auth_request_set", "perl_set", "js_set", "js_var", "set_by_lua_block", "set_by_lua_file",
                 "set_by_lua", "set_md5", "set_hmac_sha1", "set_random", "set_escape_uri", "set_unescape_uri"}
_DEFINE_LAST = {"map", "geo", "split_clients"}

_REFERENCE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_CAPTURE = re.compile(r"\(\?(?:P?<|')([A-Za-z_]\w*)[>']")


class SyntaxProblem(ValueError):
    """The text cannot be part of a configuration; `line` counts from 1."""

    def __init__(self, line: int, message: str):
        self.line = line
        super().__init__(message)


@dataclass(frozen=True)
class Statement:
    """One directive: its words, where it is, how deep in blocks, and whether a block follows."""

    words: tuple[str, ...]
    line: int
    last: int
    depth: int
    block: bool


def tokens(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield (first line, last line, word, whether it is text and no sign), in the way nginx reads."""
    position, line, size = 0, 1, len(text)
    while position < size:
        char = text[position]
        if char == "\n":
            line += 1
        elif char == "#":
            end = text.find("\n", position)
            position = size if end < 0 else end
            continue
        elif char in ";{}":
            yield line, line, char, False
        elif not char.isspace():
            position, word = _quoted(text, position, line) if char in "\"'" else _plain(text, position)
            first, line = line, line + word.count("\n")
            yield first, line, word, True
            continue
        position += 1


def _quoted(text: str, start: int, line: int) -> tuple[int, str]:
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    if position >= len(text):
        raise SyntaxProblem(line, f"a {text[start]} is opened and never closed")
    if position + 1 < len(text) and not text[position + 1].isspace() and text[position + 1] not in ";{)":
        raise SyntaxProblem(line, f"after the closing {text[start]} there must be a space, a ; or a {{")
    return position + 1, text[start + 1:position]


def _plain(text: str, start: int) -> tuple[int, str]:
    position = start
    while position < len(text) and not text[position].isspace() and text[position] not in ";{":
        if text[position] == "\\":
            position += 1
        elif text.startswith("${", position):
            end = text.find("}", position)
            position = end if end > 0 else position + 1
        position += 1
    # A } ends no word in nginx; only at its start is it a sign.
    return min(position, len(text)), text[start:position]


def statements(text: str) -> list[Statement]:
    """Return the directives of a text that stands inside a block of its own; raise SyntaxProblem with the line."""
    control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
    if control:
        raise SyntaxProblem(text.count("\n", 0, control.start()) + 1, "there is a control character")
    result: list[Statement] = []
    words: list[str] = []
    opened: list[tuple[int, str]] = []
    first = last = 0
    for line, end, word, is_text in tokens(text):
        if is_text:
            first = first if words else line
            last = end
            words.append(word)
            continue
        if word == "}":
            if words:
                raise SyntaxProblem(last, f"{words[0]!r} is not closed: write a ; after it")
            if not opened:
                raise SyntaxProblem(line, "this } closes more than was opened here")
            opened.pop()
            continue
        if not words:
            raise SyntaxProblem(line, f"there is a {word} without a directive before it")
        result.append(Statement(tuple(words), first, line, len(opened), word == "{"))
        if word == "{":
            opened.append((first, words[0]))
        words = []
    if words:
        raise SyntaxProblem(last, f"{words[0]!r} is not closed: write a ; after it")
    if opened:
        line, word = opened[-1]
        raise SyntaxProblem(line, f"the block of {word!r} is opened and never closed: write a }} after it")
    return result


def defined_variables(text: str) -> set[str]:
    """Return the names of the variables that the text makes, by set, map, geo, captures and the like."""
    names = set(_CAPTURE.findall(text))
    for statement in statements(text):
        words = statement.words
        if words[0] in _DEFINE_FIRST and len(words) > 1:
            names.add(words[1].lstrip("$"))
        elif words[0] in _DEFINE_LAST and statement.block and len(words) > 1:
            names.add(words[-1].lstrip("$"))
    return names


def undefined_variables(text: str, known: Iterable[str] = ()) -> list[tuple[int, str]]:
    """Return (line, name) of each variable in the text that nginx does not have and nothing here makes."""
    known = set(known) | defined_variables(text)
    found: dict[tuple[int, str], None] = {}
    for first, _last, word, is_text in tokens(text):
        if not is_text:
            continue
        for match in _REFERENCE.finditer(word):
            name = match[1] or match[2]
            lower = name.lower()  # nginx takes names in any case
            if name.isdigit() or lower in _VARIABLES or lower.startswith(_PREFIXES) or name in known or lower in known:
                continue
            found[first + word.count("\n", 0, match.start()), name] = None
    return list(found)
