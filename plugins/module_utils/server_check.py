# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check server configurations before they go live: what a server would pass over in silence is a finding too."""

from __future__ import annotations

import ast
import difflib
import os
import pwd
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: uWSGI's options that take a number: given a word, uWSGI takes it for 0 and says nothing.
NUMBERS = frozenset([
    "alarm-freq", "async", "backtrace-depth", "buffer-size", "cache", "cache-blocksize", "cheaper", "cheaper-initial",
    "cheaper-overload", "cheaper-rss-limit-hard", "cheaper-rss-limit-soft", "cheaper-step", "check-interval",
    "chunked-input-limit", "chunked-input-timeout", "cron-harakiri", "emperor-freq", "emperor-max-throttle",
    "emperor-required-heartbeat", "emperor-throttle", "evil-reload-on-as", "evil-reload-on-rss", "forkbomb-delay",
    "harakiri", "harakiri-graceful-signal", "harakiri-graceful-timeout", "harakiri-queue-threshold", "heartbeat",
    "http-buffer-size", "http-connect-timeout", "http-events", "http-headers-timeout", "http-processes",
    "http-timeout", "http-workers", "idle", "limit-as", "limit-nproc", "limit-post", "listen", "locks", "log-big",
    "log-master-bufsize", "log-maxsize", "log-slow", "max-apps", "max-fd", "max-requests", "max-worker-lifetime",
    "min-worker-lifetime", "mule-harakiri", "mule-reload-mercy", "offload-threads", "post-buffering",
    "post-buffering-bufsize", "processes", "py-autoreload", "queue", "queue-blocksize", "reload-mercy", "reload-on-as",
    "reload-on-rss", "response-headers-limit", "signal-bufsize", "socket-rcvbuf", "socket-send-timeout",
    "socket-sndbuf", "socket-timeout", "socket-write-timeout", "so-send-timeout", "so-write-timeout", "spooler-freq",
    "spooler-harakiri", "spooler-max-tasks", "spooler-processes", "static-cache-paths", "tcp-fast-open",
    "thread-stack-size", "threads", "threads-stacksize", "wait-for-socket-timeout", "websocket-ping-freq",
    "websockets-ping-freq", "worker-reload-mercy", "workers", "write-errors-tolerance",
])

_UNKNOWN = re.compile(r"\[strict-mode\] unknown config directive: (\S+)|unrecognized option '--([^'=]+)")


def finding(path: str, line: int, message: str) -> dict[str, Any]:
    """Return one finding; line 0 means that the place is not known."""
    return {"file": path, "line": line, "message": message}


def uwsgi_options(text: str) -> list[tuple[int, str, str]]:
    """Return (line, option, value) of the section that uWSGI reads; a bare word is an option without a value."""
    found, section = [], ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line[1:].partition("]")[0]
            continue
        if section == "uwsgi":
            key, _sign, value = line.partition("=")
            found.append((number, key.strip(), value.strip()))
    return found


def check_uwsgi_text(path: str, text: str) -> list[dict[str, Any]]:
    """Find what uWSGI itself does not say, in the text of an ini file."""
    problems = []
    options = uwsgi_options(text)
    if not options:
        problems.append(finding(path, 0, "has no section [uwsgi], and uWSGI reads no other one. Write `[uwsgi]` above "
                                         "the options."))
    for line, key, value in options:
        if key in NUMBERS and value and not re.fullmatch(r"-?\d+", value) and not re.search(r"[$%@]\(", value):
            problems.append(finding(path, line, f"{key} = {value}: uWSGI takes that for 0 without a word. Write a "
                                                "whole number."))
    return problems


def explain_uwsgi(path: str, text: str, output: str) -> list[dict[str, Any]]:
    """Turn what uWSGI said into findings with the line of the option."""
    lines = {key: line for line, key, _value in uwsgi_options(text)}
    problems = []
    for match in _UNKNOWN.finditer(output):
        key = match[1] or match[2]
        problems.append(finding(path, lines.get(key, 0), f"{key} is no option of this uWSGI. Correct its name, or take "
                                                         "it out."))
    if not problems:
        said = [line for line in output.splitlines() if line.strip() and not line.startswith(("***", "[uWSGI]"))]
        problems.append(finding(path, 0, "uWSGI refuses it: " + " / ".join(said[-6:])))
    return problems


def check_gunicorn_text(path: str, text: str, known: Sequence[str]) -> list[dict[str, Any]]:
    """Find settings that Gunicorn would ignore because it does not know their names."""
    try:
        tree = ast.parse(text, path)
    except SyntaxError as error:
        return [finding(path, error.lineno or 0, f"is no valid Python: {error.msg}.")]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    problems = []
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else []:
            if not isinstance(target, ast.Name) or target.id.startswith("_") or target.id in known:
                continue
            # A name that the file itself uses is a helper, not a setting.
            if target.id in used:
                continue
            near = difflib.get_close_matches(target.id, known, n=1, cutoff=0.7)
            problems.append(finding(path, node.lineno, f"{target.id} is no setting, and Gunicorn ignores it."
                                    + (f" Did you mean {near[0]!r}?" if near else
                                       " Correct its name, or put an underscore before it if it is a helper.")))
    return problems


def explain_gunicorn(path: str, output: str) -> list[dict[str, Any]]:
    """Turn what Gunicorn said into a finding; its last traceback line in the file names the line."""
    line = 0
    for match in re.finditer(rf'File "{re.escape(path)}", line (\d+)', output):
        line = int(match[1])
    said = [text for text in output.splitlines() if text.strip() and not text.startswith(("  ", "Traceback"))]
    return [finding(path, line, "Gunicorn refuses it: " + " / ".join(said[-4:]))]


def run_as(argv: Sequence[str], user: str, environment: Mapping[str, str], directory: str,
           timeout: float) -> tuple[int, str]:
    """Run a command as ``user`` (empty for oneself) with ``environment`` and nothing else; return (code, output)."""
    options: dict[str, Any] = {}
    home = "/"
    if user and os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        home = entry.pw_dir
        options = {"user": entry.pw_uid, "group": entry.pw_gid,
                   "extra_groups": os.getgrouplist(user, entry.pw_gid)}
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, "PYTHONDONTWRITEBYTECODE": "1",
           **environment}
    try:
        done = subprocess.run(list(argv), env=env, cwd=directory or "/", timeout=timeout, text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    except subprocess.TimeoutExpired:
        return 124, f"no end within {timeout:g} s"
    except OSError as error:
        return 127, f"{argv[0]}: {error.strerror}"
    return done.returncode, done.stdout


def gunicorn_settings(python: str, user: str) -> list[str]:
    """Return the names of the settings of the Gunicorn that is installed for ``python``."""
    _code, output = run_as([python, "-c", "from gunicorn import config; print(*sorted(config.KNOWN_SETTINGS and "
                                          "[s.name for s in config.KNOWN_SETTINGS]))"], user, {}, "/", 30)
    return output.split() if "bind" in output.split() else []


def check_uwsgi(program: str, path: str, *, user: str = "", environment: Mapping[str, str] | None = None,
                directory: str = "/", timeout: float = 60) -> list[dict[str, Any]]:
    """Check an ini file with the uWSGI at ``program``, which loads the app too."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    problems = check_uwsgi_text(path, text)
    code, output = run_as([program, "--strict", "--need-app", "--no-server", "--ini", path], user, environment or {},
                          directory, timeout)
    return problems + (explain_uwsgi(path, text, output) if code else [])


def check_gunicorn(program: str, path: str, *, user: str = "", environment: Mapping[str, str] | None = None,
                   directory: str = "/", timeout: float = 60) -> list[dict[str, Any]]:
    """Check a configuration file with the Gunicorn at ``program``, which imports the app too."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    known = gunicorn_settings(str(Path(program).parent / "python"), user)
    problems = check_gunicorn_text(path, text, known) if known else []
    code, output = run_as([program, "--check-config", "--config", path], user, environment or {}, directory, timeout)
    return problems + (explain_gunicorn(path, output) if code else [])
