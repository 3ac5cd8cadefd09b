# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx remembers of an app's answers, and that equal requests at once cost the app one (its cache and its lock).

Only answers to clients that nobody knows are remembered: a session cookie, `Authorization`, a client certificate, a
body or an upgrade lead past the cache, in both directions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .. import role_options
from . import Context, Feature, Piece, Use

#: Each zone has a folder of its own; nginx makes the last level of a path by itself, at every start.
FOLDER = "/var/cache/webstack"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# As nginx has it where no status is named.
_PLAIN = ("200", "301", "302")
# What a client may send that is no part of the key and changes the answer, or must not wait for somebody else's.
_ALWAYS_PAST = ("http_authorization", "http_upgrade", "http_content_length", "http_transfer_encoding",
                "ssl_client_s_dn")
_STALE = {"proxy": "error timeout invalid_header updating http_500 http_502 http_503 http_504",
          "uwsgi": "error timeout invalid_header updating http_500 http_503"}


def _seconds(text: Any) -> int | None:
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", str(text))
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _time(value: Any, path: str, context: Context) -> str:
    if _seconds(value) is None:
        context.error(path, f"is {value!r}; write a number and s, m, h or d, such as 30s or 10m.")
    return str(value)


def _valid(given: Any, origin: str, context: Context) -> dict[str, str]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(_PLAIN, _time(given, origin, context))
    found = {}
    for status, time in given.items():
        if not re.fullmatch(r"[2-5][0-9]{2}|any", str(status)):
            context.error(origin, f"has {str(status)!r}; write a status such as 200 or 404, or `any`.")
        found[str(status)] = _time(time, f"{origin}.{status}", context)
    return found


def _names(given: Sequence[str], pattern: str, what: str, origin: str, context: Context) -> list[str]:
    for index, name in enumerate(given):
        if not re.fullmatch(pattern, name):
            context.error(f"{origin}[{index}]", f"is {name!r}; write {what}.")
    return list(given)


def _resolve(values: Any, origin: str, context: Context) -> dict[str, Any] | None:
    if not values:
        return None
    if values["valid"] is None:
        if any(values[key] != option.get("default") for key, option in role_options.site_options()["cache"][
                "options"].items() if key not in ("vary_on", "bypass")):
            context.error(f"{origin}.valid", "is missing: write how long answers are good for, such as 10m or "
                                             "{200: 10m, 404: 1m}; {} means only as long as the app itself says.")
        return None  # in a route: nothing is remembered, whatever the site says
    valid = _valid(values["valid"], f"{origin}.valid", context)
    header = r"[A-Za-z0-9-]+"
    vary, bypass = values["vary_on"], values["bypass"]
    record = {
        "valid": valid,
        "key": _names(values["key"], r"\$[a-z0-9_]+|\$\{[a-z0-9_]+\}", "one of nginx's variables, such as $arg_page",
                      f"{origin}.key", context),
        "vary_headers": _names(vary["headers"], header, "the name of a header, such as Accept-Language",
                               f"{origin}.vary_on.headers", context),
        "vary_cookies": _names(vary["cookies"], r"[A-Za-z0-9_]+", "the name of a cookie, of letters, digits and _",
                               f"{origin}.vary_on.cookies", context),
        "bypass_cookies": _names(bypass["cookies"], r"[A-Za-z0-9_.-]+", "the name of a cookie, such as sessionid",
                                 f"{origin}.bypass.cookies", context),
        "bypass_headers": _names(bypass["headers"], header, "the name of a header, such as Authorization",
                                 f"{origin}.bypass.headers", context),
        "ignore": values["ignore"] or [],
        **{key: values[key] for key in ("stale", "lock", "lock_timeout", "min_uses", "status_header")},
    }
    for key, least, most in (("lock_timeout", 1, 3600), ("min_uses", 1, 1_000_000)):
        if not least <= values[key] <= most:
            context.error(f"{origin}.{key}", f"is {values[key]}; write a number from {least} to {most}.")
    for key in ("size", "zone"):
        record[key] = values[key].lower()
        if not re.fullmatch(r"[1-9][0-9]*[kmg]", record[key]):
            context.error(f"{origin}.{key}", f"is {values[key]!r}; write a number and k, m or g, such as 512m.")
    # An old answer goes to those who come while one request fetches the new one. How old it may be follows from how
    # long answers that nobody asks for are kept.
    longest = max((_seconds(time) or 0 for time in valid.values()), default=0) or 600
    record["inactive"] = _time(values["inactive"] or ("1d" if values["stale"] else f"{longest}s"),
                               f"{origin}.inactive", context)
    return record


def _check(use: Use) -> str:
    if use.route is not None and not use.route["buffering"] and use.record["origin"].startswith(use.route["origin"]):
        return "does nothing without buffering: leave it out, or `buffering: false`."
    if use.route is not None and use.route.get("features", {}).get("auth_request"):
        return ("remembers answers for everybody, where `auth_request` lets each client see its own: write `cache: {}` "
                f"or `auth_request: {{}}` in {use.route['origin']}.")
    return ""


def _protocol(use: Use) -> str:
    return "uwsgi" if use.route["protocol"] == "uwsgi" else "proxy"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _zone(use: Use) -> tuple[str, str]:
    """Return the name of the zone and its folder. No two sites share one, nor do the two protocols."""
    name, record = use.site["name"], use.record
    digest = _digest(name, _protocol(use), *(record[key] for key in ("size", "zone", "inactive")))
    return f"webstack_cache_{name}_{digest}", f"{FOLDER}.{name}.{digest}"


def _past(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the variables that say that a request is led past the cache."""
    return (f"webstack_past_{_digest(record['bypass_headers'])}",
            f"webstack_known_{_digest(record['bypass_cookies'])}" if record["bypass_cookies"] else "")


def _places(uses: Sequence[Use]) -> list[Use]:
    return [use for use in uses if use.route is not None and use.route["buffering"]]


def _http(uses: Sequence[Use]) -> list[str]:
    zones: dict[str, str] = {}
    maps: dict[str, list[str]] = {}
    for use in _places(uses):
        record = use.record
        zone, folder = _zone(use)
        zones[zone] = (f"{_protocol(use)}_cache_path {folder} levels=1:2 keys_zone={zone}:{record['zone']} "
                       f"max_size={record['size']} inactive={record['inactive']} use_temp_path=off;")
        past, known = _past(record)
        more = [f"http_{name.lower().replace('-', '_')}" for name in record["bypass_headers"]]
        headers = dict.fromkeys([*_ALWAYS_PAST, *more])
        asked = "".join(f"${name}" for name in headers)
        # By way of a map, for nginx takes the value "0" for none.
        maps[past] = [f'map "{asked}" ${past} {{', "    default 1;", '    "" "";', "}"]
        if known:
            names = "|".join(name.replace(".", "[.]") for name in record["bypass_cookies"])
            # Apps do not agree on what may stand around a cookie's name: rather a few requests too many.
            maps[known] = [f"map $http_cookie ${known} {{", '    default "";',
                           f'    "~(?:^|[^A-Za-z0-9_.-])(?:{names})[^A-Za-z0-9_;=]*=" 1;', "}"]
    if any(_protocol(use) == "uwsgi" for use in _places(uses)):
        # Over HTTP nginx asks the app for the whole page; here HEAD goes to the app, and its empty answer is not kept.
        maps["webstack_head"] = ["map $request_method $webstack_head {", '    default "";', "    HEAD 1;", "}"]
    return [*zones.values(), *(line for lines in maps.values() for line in lines)]


def _early(use: Use) -> list[str]:
    known = [_past(one.record)[1] for one in _places([use])]
    return [f"set $webstack_early ${name};" for name in known if name]


def _key(use: Use) -> str:
    record = use.record
    # The address first, on a line of its own, since a purge reads it. No header has a line break, so that two sets of
    # parts never look the same; and a route that is given to another app has none of the old one's answers.
    parts = ["$scheme://$host$webstack_port$request_uri", "$server_port", use.route["app"],
             *(f"${{http_{name.lower().replace('-', '_')}}}" for name in record["vary_headers"]),
             *(f"${{cookie_{name}}}" for name in record["vary_cookies"]), *record["key"]]
    return '"' + "\\n".join(parts) + '"'


def _location(use: Use) -> Piece:
    if not use.route["buffering"]:
        return Piece()
    record, p = use.record, _protocol(use)
    past = " ".join(f"${name}" for name in _past(record) if name)
    times: dict[str, list[str]] = {}
    for status, time in record["valid"].items():
        times.setdefault(time, []).append(status)
    lines = [
        f"{p}_cache {_zone(use)[0]};",
        f"{p}_cache_key {_key(use)};",
        *(f"{p}_cache_valid {' '.join(statuses)} {time};" for time, statuses in times.items()),
        f"{p}_cache_bypass {past};",
        f"{p}_no_cache {past}{' $webstack_head' if p == 'uwsgi' else ''};",
        f"{p}_cache_min_uses {record['min_uses']};",
    ]
    if record["lock"]:
        lines += [f"{p}_cache_lock on;", f"{p}_cache_lock_timeout {record['lock_timeout']}s;",
                  f"{p}_cache_lock_age {record['lock_timeout']}s;"]
    if record["stale"]:
        lines += [f"{p}_cache_use_stale {_STALE[p]};", f"{p}_cache_background_update on;"]
    elif record["lock"]:
        # The lock is for what is not there yet. Without this, all who come when an answer is too old ask the app.
        lines.append(f"{p}_cache_use_stale updating;")
    if record["ignore"]:
        lines.append(f"{p}_ignore_headers {' '.join(record['ignore'])};")
    if "Set-Cookie" in record["ignore"]:
        # One client's cookie would go to all others.
        lines.append(f"{p}_hide_header Set-Cookie;")
    return Piece(lines, {"X-Cache": "$upstream_cache_status"} if record["status_header"] else {})


FEATURE = Feature("cache", _resolve, files_too=False, kinds=("app",), early=_early, http=_http, location=_location,
                  check=_check)
