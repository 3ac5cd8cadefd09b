# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a whole nginx configuration live in one step, or leave everything as it was.

    /etc/nginx/nginx.conf                  ours, and always the same: it includes webstack/main.conf
    /etc/nginx/webstack -> webstack.d/N    swapped by rename
    /etc/nginx/webstack.d/N/               a generation, finished once it has its manifest.json

What is to be done follows from what is found on the host, never from what an earlier run meant to do: a run that was
killed anywhere is finished by the next one.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_sizes
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import lock

NGINX_CONF = """\
# Written by Ansible (frontdesk.webstack.nginx): changes made here are undone.
# All else is in webstack/, a link to the generation that is live.
pid /run/nginx.pid;
include webstack/main.conf;
"""

MANIFEST = "manifest.json"
#: Certificates that are made by us (site_certificates) are in this folder.
MADE_HERE = "/etc/nginx/webstack.tls/"
#: The folder of a generation whose files only root and the workers read.
SECRETS = "secrets"
NUMBER = "@GENERATION@"

_NOT_SHOWN, _OTHER_NOT_SHOWN = "(not shown)\n", "(not shown, and different)\n"

_ONE = r"(?:ipv6|module:\w+|(?:nginx|openssl)(?:>=|<)[\d.]+)"
_CONDITIONAL = re.compile(rf"^([ \t]*)#@({_ONE}(?:,{_ONE})*) (.*)$", re.MULTILINE)
_CONDITION = re.compile(r"(\w+)(?:(>=|<)([\d.]+))?")
_MODULE = re.compile(r"^\s*load_module\s+\S*?ngx_(\w+)_module\.so", re.MULTILINE)
# What is remembered of a site's answers (features/cache.py): each zone has a folder, and nginx makes it.
_CACHE = re.compile(r"webstack\.[a-z0-9-]+\.[0-9a-f]{12}")
_DIGEST = re.compile(r"^([ \t]*)#@digest (.+)$", re.MULTILINE)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_NEEDS = re.compile(r"^[ \t]*#@needs (folder|socket|certificate|secret) (.+)$")
_PLACE = re.compile(r" in (\S+?):(\d+)$")
_LEVEL = re.compile(r"^(?:nginx: )?(?:\S+ \S+ )?\[(\w+)\] (?:\d+#\d+: )?(?:\*\d+ )?(.*)$")


class Refused(Exception):
    """nginx does not take the configuration; `errors` says where and why."""

    def __init__(self, message: str, errors: list[dict] | None = None):
        super().__init__(message)
        self.errors = errors or []


# -- the text of a generation --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """What the host has, for lines that depend on it; a version is () where it is not known."""

    nginx: tuple[int, ...] = ()
    openssl: tuple[int, ...] = ()
    ipv6: bool = False
    limits: nginx_sizes.Limits = field(default_factory=nginx_sizes.Limits)
    modules: frozenset[str] = frozenset()  # those that are loaded, such as http_brotli_static

    def has(self, conditions: str) -> bool:
        """Tell whether all conditions hold, such as `ipv6,nginx>=1.25.1`."""
        return all(self._holds(condition) for condition in conditions.split(","))

    def _holds(self, condition: str) -> bool:
        if condition.startswith("module:"):
            return condition.partition(":")[2] in self.modules
        match = _CONDITION.fullmatch(condition)
        have = getattr(self, match[1])
        if not match[2]:
            return bool(have)
        wanted = version(match[3])
        return bool(have) and (have >= wanted if match[2] == ">=" else have < wanted)


def version(text: str) -> tuple[int, ...]:
    """Return (1, 26, 3) for "1.26.3"."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def fill_in(text: str, features: Features, number: int) -> str:
    """Return the text of a file for this host; no line is added or taken away."""
    text = _CONDITIONAL.sub(lambda m: m[1] + m[3] if features.has(m[2]) else m[0], text)
    return nginx_sizes.fill_in(text, features.limits).replace(NUMBER, str(number))


def loaded(text: str) -> frozenset[str]:
    """Return the modules that a file loads, such as http_brotli_static."""
    return frozenset(_MODULE.findall(text))


def digest(text: str) -> str:
    """Return the digest that stands in a manifest."""
    return hashlib.sha256(text.encode()).hexdigest()


def fill_in_digests(text: str) -> str:
    """Write what the files that nginx reads once have in them: where it has changed, this is another configuration."""
    return _DIGEST.sub(lambda m: f"{m[1]}# {m[2]} {_public_digest(shlex.split(m[2])[0])}", text)


def _public_digest(path: str) -> str:
    # Of a file with a key in it the certificates alone: everybody may read the configuration.
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError:
        return "is not there"
    return "sha256 " + hashlib.sha256(b"\n".join(_CERTIFICATE.findall(data)) or data).hexdigest()


# -- what nginx says -----------------------------------------------------------------------------------------------


def origin_of(origins: list, line: int) -> tuple[str, int]:
    """Return (the user's variable, the line in it) for a line of a file: the nearest entry before it."""
    first, origin = 1, ""
    for start, name in origins:
        if start > line:
            break
        first, origin = start, name
    return origin, line - first + 1


def translate(output: str, files: dict[str, str], origins: dict[str, list]) -> list[dict]:
    """Return nginx's errors as dictionaries with message, file, line and the user's variable, the worst first.

    Warnings that mean that a part of the configuration is dropped are errors too.
    """
    found = []
    files = {path: text for path, text in files.items() if not is_secret(path)}
    for text in output.splitlines():
        match = _LEVEL.match(text.strip())
        if not match:
            continue
        level, message = match[1], match[2]
        dropped = level == "warn" and re.search(r"conflicting server name|duplicate", message)
        if level not in ("emerg", "alert", "crit", "error") and not dropped:
            continue
        place = _PLACE.search(message)
        file, line = (place[1], int(place[2])) if place else ("", 0)
        path = file.partition("/webstack/")[2]
        if not path:
            path, line = _find_quoted(message, files) or ("", line)
        error = {"message": _PLACE.sub("", message), "file": path or file, "line": line, "variable": ""}
        if path in files and line:
            name, inner = origin_of(origins.get(path, []), line)
            error["variable"] = name
            error["variable_line"] = inner if name.endswith("directives") else 0
            lines = files[path].split("\n")
            error["text"] = lines[line - 1].strip() if line <= len(lines) else ""
        if error not in found:
            found.append(error)
    return sorted(found, key=lambda error: not error["variable"])


def _find_quoted(message: str, files: dict[str, str]) -> tuple[str, int] | None:
    """Find what a message quotes, such as the path of a certificate, where nginx names no file and line."""
    for quoted in re.findall(r'"([^"]*)"', message):
        if len(quoted) < 3:
            continue
        # The last one: of two that clash it is the one that nginx leaves out.
        for path, text in sorted(files.items(), reverse=True):
            for number, line in reversed(list(enumerate(text.split("\n"), 1))):
                if quoted in line and not line.lstrip().startswith("#"):
                    return path, number
    address = re.search(r"bind\(\) to (\S+):(\d+) failed", message)
    if address:
        for path, text in sorted(files.items(), reverse=True):
            for number, line in enumerate(text.split("\n"), 1):
                if re.search(rf"^\s*listen (\S*:)?{address[2]}\b", line):
                    return path, number
    return None


def describe(error: dict) -> str:
    """Return one error as a line for the user."""
    where = error["variable"]
    if where and error.get("variable_line"):
        where += f", line {error['variable_line']}"
    place = f"{error['file']}:{error['line']}" if error["line"] else error["file"]
    text = f" ({error['text']})" if error.get("text") else ""
    return f"{where + ': ' if where else ''}{error['message']}{text}" + (f" [{place}]" if place else "")


# -- what must be there ---------------------------------------------------------------------------------------------


def needs(files: dict[str, str]) -> dict[tuple[str, str], tuple[str, int]]:
    """Return {(folder, socket, certificate or secret, what): (file, line)}: nginx itself does not look after these."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for path, text in sorted(files.items()):
        for number, line in enumerate(text.split("\n"), 1):
            match = None if is_secret(path) else _NEEDS.match(line)
            if match:
                found.setdefault((match[1], match[2]), (path, number))
    return found


def absent(kind: str, what: str) -> str:
    """Return why a folder, all of an app's sockets, a certificate or a file that the workers read cannot be used."""
    if kind == "certificate":
        path, *names = shlex.split(what)
        return certificate_fault(path, names)
    if kind == "secret":
        (path,) = shlex.split(what)
        return "" if os.path.isfile(path) else f"there is no file {path}"
    if kind == "folder":
        return "" if os.path.isdir(what) else f"there is no folder {what}"
    reasons = []
    for address in what.split():
        try:
            _connect(address)
        except OSError as error:
            reasons.append(f"{address}: {error.strerror or error}")
        else:
            return ""
    return f"nobody listens for the app ({'; '.join(reasons)})"


def certificate_fault(path: str, names: list[str], now: float | None = None) -> str:
    """Return why clients will not take the certificate for these host names, or ""; nginx takes it all the same."""
    try:
        # There is no public way to read a certificate in the standard library.
        found = ssl._ssl._test_decode_cert(path)
    except (AttributeError, OSError, ValueError):
        return ""  # nginx has read it, so it is no certificate that this Python cannot read
    expires = ssl.cert_time_to_seconds(found["notAfter"])
    now = time.time() if now is None else now
    if expires < now:
        return f"the certificate {path} has expired on {found['notAfter']}: renew it"
    if ssl.cert_time_to_seconds(found["notBefore"]) > now:
        return f"the certificate {path} is not valid before {found['notBefore']}: set the clock, or take another one"
    has = [value for kind, value in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    has = has or [value for part in found.get("subject", ()) for kind, value in part if kind == "commonName"]
    wrong = [name for name in names if not any(_covers(pattern.lower(), name.lower()) for pattern in has)]
    if wrong:
        return (f"the certificate {path} is for {', '.join(has) or 'no host name'} and not for {', '.join(wrong)}: "
                "take another one, or leave the name out of server_names")
    return ""


def made_here(files: dict[str, str]) -> list[str]:
    """Return the certificates that are made by us (site_certificates)."""
    found = [shlex.split(what)[0] for kind, what in needs(files) if kind == "certificate"]
    return [path for path in found if path.startswith(MADE_HERE)]


def expiring(files: dict[str, str], now: float | None = None, days: int = 21) -> list[str]:
    """Return a sentence for each certificate that clients will not take for much longer."""
    now = time.time() if now is None else now
    said = []
    for kind, what in needs(files):
        path = shlex.split(what)[0] if kind == "certificate" else ""
        try:
            until = ssl._ssl._test_decode_cert(path)["notAfter"] if path else ""
        except (AttributeError, OSError, ValueError):
            continue
        left = ssl.cert_time_to_seconds(until) - now if until else days * 86400
        if left < days * 86400:
            when = f"expires on {until}, in {left / 86400:.0f} days" if left > 0 else f"has expired on {until}"
            said.append(f"the certificate {path} {when}: renew it.")
    return list(dict.fromkeys(said))


def _covers(pattern: str, name: str) -> bool:
    return pattern == name or pattern.startswith("*.") and pattern[2:] == name.partition(".")[2]


def _connect(address: str) -> None:
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(3)
            client.connect(address[5:])
        return
    host, _colon, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()


# -- the tree ------------------------------------------------------------------------------------------------------


@dataclass
class Paths:
    """Where things are on the host; tests put them elsewhere."""

    etc: str = "/etc/nginx"
    binary: str = "/usr/sbin/nginx"
    error_log: str = "/var/log/nginx/error.log"
    status: str = "127.0.0.1:8404"
    group: str = "www-data"  # of the workers
    cache: str = "/var/cache"

    @property
    def conf(self) -> str:
        """nginx's main file."""
        return os.path.join(self.etc, "nginx.conf")

    @property
    def original(self) -> str:
        """The main file as it was before us."""
        return os.path.join(self.etc, "nginx.conf.before-webstack")

    @property
    def link(self) -> str:
        """The link to the live generation."""
        return os.path.join(self.etc, "webstack")

    @property
    def store(self) -> str:
        """The folder of all generations."""
        return os.path.join(self.etc, "webstack.d")

    def generation(self, number: int) -> str:
        """Return the folder of a generation."""
        return os.path.join(self.store, str(number))


Run = Callable[[list], "tuple[int, str]"]


def run(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit status and all it said."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, timeout=120,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
    except FileNotFoundError as error:
        return 127, str(error)
    except subprocess.TimeoutExpired as error:
        return 124, f"{' '.join(command)}: no end after {error.timeout} s"
    return done.returncode, done.stdout


def _sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: str, text: str, mode: int = 0o644, group: int = -1) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fchown(stream.fileno(), -1, group)
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def write_files(folder: str, files: dict[str, str], group: str = "www-data") -> None:
    """Write files below a new folder, and make sure that they are on the disk; secret ones are for root and a group."""
    folders = {folder, *(os.path.dirname(os.path.join(folder, path)) for path in files)}
    for path in sorted(folders):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)
    for path, text in files.items():
        if is_secret(path):
            _write(os.path.join(folder, path), text, 0o640, grp.getgrnam(group).gr_gid)
        else:
            _write(os.path.join(folder, path), text)
    for path in sorted(folders, reverse=True):
        _sync_folder(path)


def is_secret(path: str) -> bool:
    """Tell whether nobody may see what is in this file of a generation."""
    return path.startswith(f"{SECRETS}/")


def _guarded(path: str, group: str) -> bool:
    """Tell whether root and the group read a file, and nobody else."""
    found = os.stat(path)
    wanted = (0o640, os.geteuid(), grp.getgrnam(group).gr_gid)
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == wanted


def read_files(folder: str) -> dict[str, str]:
    """Return all files below a folder."""
    found = {}
    for base, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = _read(path) or ""
    return found


def _swap_link(link: str, target: str) -> None:
    """Point the link elsewhere; there is no moment without it."""
    fresh = f"{link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.rename(fresh, link)
    _sync_folder(os.path.dirname(link))


@dataclass
class State:
    """What is found on the host."""

    installed: bool = False
    version: str = ""
    live: int = 0  # the generation that the link names
    running: int = 0  # the generation that the workers have
    active: bool = False
    enabled: bool = False
    missing: list[str] = field(default_factory=list)  # packages
    differs: list[str] = field(default_factory=list)  # live files that are not as wanted
    edited: list[str] = field(default_factory=list)  # live files that are not as we wrote them
    foreign: list[str] = field(default_factory=list)  # configuration that our nginx.conf does not include
    modules: list[str] = field(default_factory=list)  # what is loaded besides the modules of packages
    complaints: list[str] = field(default_factory=list)  # why the expected load is too much for the host

    @property
    def same(self) -> bool:
        """Tell whether there is nothing to do."""
        return (self.installed and self.active and self.enabled and self.live > 0 and self.live == self.running
                and not self.missing and not self.differs)


class Tree:
    """nginx on this host."""

    def __init__(self, paths: Paths | None = None, run: Run = run, timeout: float = 10.0):
        self.paths = paths or Paths()
        self.run = run
        self.timeout = timeout

    # -- looking ---------------------------------------------------------------------------------------------------

    def features(self) -> Features:
        """Return what the host's nginx has."""
        code, text = self.run([self.paths.binary, "-V"])
        nginx = re.search(r"nginx version: \w+/([\d.]+)", text)
        openssl = re.search(r"running with OpenSSL ([\d.]+)", text) or re.search(r"built with OpenSSL ([\d.]+)", text)
        ipv6 = os.path.exists("/proc/net/if_inet6")
        if code or not nginx:
            return Features(ipv6=ipv6)
        _code, files = self.run(["systemctl", "show", "nginx.service", "--property=LimitNOFILE", "--value"])
        return Features(version(nginx[1]), version(openssl[1]) if openssl else (), ipv6,
                        nginx_sizes.limits(files.strip()), self._loaded())

    def _loaded(self) -> frozenset[str]:
        folder, found = os.path.join(self.paths.etc, "modules-enabled"), set()
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                found |= loaded(_read(os.path.join(folder, name)) or "" if name.endswith(".conf") else "")
        return frozenset(found)

    def live(self) -> int:
        """Return the number of the generation that the link names, or 0."""
        try:
            name = os.path.basename(os.readlink(self.paths.link))
        except OSError:
            return 0
        return int(name) if name.isdigit() and os.path.isdir(self.paths.generation(int(name))) else 0

    def expiring(self) -> list[str]:
        """Return a sentence for each certificate of the live generation that expires soon."""
        live = self.live()
        return expiring(read_files(self.paths.generation(live))) if live else []

    def running(self) -> int:
        """Return the number of the generation that a worker answers with, or 0."""
        connection = http.client.HTTPConnection(self.paths.status, timeout=2)
        try:
            connection.request("GET", "/generation", headers={"Host": "webstack.localhost"})
            answer = connection.getresponse()
            text = answer.read(64).decode("ascii", "replace").strip()
            return int(text) if answer.status == 200 and text.isdigit() else 0
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def service(self) -> tuple[bool, bool]:
        """Return whether the unit is active, and whether it starts at boot."""
        _code, text = self.run(["systemctl", "show", "nginx.service", "--property=ActiveState,UnitFileState"])
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return values.get("ActiveState") in ("active", "reloading"), values.get("UnitFileState") == "enabled"

    def missing(self, packages: list[str]) -> list[str]:
        """Return those packages that are not installed."""
        if not packages:
            return []
        _code, text = self.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *packages])
        have = {line.split()[0] for line in text.splitlines() if line.endswith(" installed")}
        return [package for package in packages if package.split("=")[0].split(":")[0] not in have]

    def foreign(self) -> list[str]:
        """Return what other people put where Debian's own nginx.conf looks for it: ours does not include it."""
        found = []
        for folder in ("sites-enabled", "conf.d"):
            with contextlib.suppress(OSError):
                found += [os.path.join(self.paths.etc, folder, name)
                          for name in sorted(os.listdir(os.path.join(self.paths.etc, folder)))]
        return [path for path in found if not path.endswith("/sites-enabled/default")]

    def modules(self) -> list[str]:
        """Return what is in modules-enabled, which is included, and came with no package."""
        folder, found = os.path.join(self.paths.etc, "modules-enabled"), []
        with contextlib.suppress(OSError):
            found = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
        return [path for path in found if not os.path.realpath(path).startswith("/usr/share/nginx/")]

    def look(self, files: dict[str, str], packages: list[str] | None = None) -> State:
        """Return what there is, compared with what is wanted."""
        state = State(installed=os.access(self.paths.binary, os.X_OK), live=self.live())
        state.missing = self.missing(packages or [])
        if state.installed:
            features = self.features()
            state.version = ".".join(str(part) for part in features.nginx)
            state.complaints = nginx_sizes.complaints(files.get("main.conf", ""), features.limits)
            state.running = self.running()
            state.active, state.enabled = self.service()
            state.foreign, state.modules = self.foreign(), self.modules()
        state.differs, state.edited = self._compare(files, state.live)
        return state

    def _compare(self, files: dict[str, str], live: int) -> tuple[list[str], list[str]]:
        have = read_files(self.paths.generation(live)) if live else {}
        manifest = self._manifest(live)
        have.pop(MANIFEST, None)
        wanted = self._filled(files, live)
        bare = {path for path in have if is_secret(path)
                and not _guarded(os.path.join(self.paths.generation(live), path), self.paths.group)}
        differs = sorted(path for path in {*have, *wanted} if have.get(path) != wanted.get(path) or path in bare)
        digests = manifest.get("digests", {})
        edited = sorted(path for path in {*have, *digests} if digests and (
            path not in have or digest(have[path]) != digests.get(path) or path in bare))
        if _read(self.paths.conf) != NGINX_CONF:
            differs.append("nginx.conf")
            if live and os.path.exists(self.paths.original):
                edited.append("nginx.conf")
        if live and not digests:
            differs.append(MANIFEST)
        return differs, edited

    def _manifest(self, number: int) -> dict:
        text = _read(os.path.join(self.paths.generation(number), MANIFEST)) if number else None
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _filled(self, files: dict[str, str], number: int) -> dict[str, str]:
        features = self.features()
        return {path: text if is_secret(path) else fill_in_digests(fill_in(text, features, number))
                for path, text in files.items()}

    def diff(self, files: dict[str, str]) -> list[dict]:
        """Return Ansible's diff, a part for each file; a generation's number is no difference."""
        live = self.live()
        have = read_files(self.paths.generation(live)) if live else {}
        have.pop(MANIFEST, None)
        wanted = self._filled(files, live)
        have["nginx.conf"], wanted["nginx.conf"] = _read(self.paths.conf) or "", NGINX_CONF
        parts = []
        for path in sorted({*have, *wanted}):
            before, after = have.get(path, ""), wanted.get(path, "")
            if before != after and is_secret(path):
                before, after = before and _NOT_SHOWN, after and (_OTHER_NOT_SHOWN if before else _NOT_SHOWN)
            if before != after:
                name = self.paths.conf if path == "nginx.conf" else os.path.join(self.paths.link, path)
                parts.append({"before_header": name, "after_header": name, "before": before, "after": after})
        return parts

    # -- testing ---------------------------------------------------------------------------------------------------

    def test(self, folder: str, generation: str, files: dict[str, str], origins: dict[str, list]) -> None:
        """Let nginx test a generation as a whole, in a copy of /etc/nginx that `folder` (a new one) stands for.

        The live files are not touched: includes are relative to the main file, and everything else in /etc/nginx is
        there by links. Raises Refused.
        """
        os.makedirs(folder)
        for name in os.listdir(self.paths.etc):
            if not name.startswith(("nginx.conf", "webstack")):
                os.symlink(os.path.join(self.paths.etc, name), os.path.join(folder, name))
        os.symlink(generation, os.path.join(folder, "webstack"))
        # `nginx -t` makes its pid file, as root: it gets one of its own.
        _write(os.path.join(folder, "nginx.conf"), NGINX_CONF.replace("/run/nginx.pid", os.path.join(folder, "pid")))
        code, output = self.run([self.paths.binary, "-t", "-e", "stderr", "-c", os.path.join(folder, "nginx.conf")])
        output = output.replace(f"{folder}/", f"{self.paths.etc}/")
        errors = translate(output, files, origins)
        if code or errors:
            lines = [describe(error) for error in errors] or [output.strip() or f"nginx -t exits with {code}"]
            raise Refused("nginx refuses the configuration; its live one is untouched.\n" + "\n".join(lines), errors)

    def lacking(self, files: dict[str, str], origins: dict[str, list]) -> list[dict]:
        """Return what new routes need and is not there. An app that is down already is no reason to refuse."""
        live = self.live()
        known = needs(read_files(self.paths.generation(live))) if live else {}
        found = []
        for (kind, what), (path, line) in needs(files).items():
            reason = "" if (kind, what) in known else absent(kind, what)
            if reason:
                name, _inner = origin_of(origins.get(path, []), line)
                found.append({"message": reason, "file": path, "line": line, "variable": name})
        return found

    def check(self, files: dict[str, str], origins: dict[str, list]) -> list[dict]:
        """Test what would be written, in a temporary folder; return what is lacking still. Raises Refused."""
        unmade = [path for path in made_here(files) if not os.path.exists(path)]
        if unmade:
            return [{"message": f"nginx -t: {path} is made by the run itself, so the configuration could not be tested",
                     "file": "", "line": 0, "variable": ""} for path in unmade]
        with tempfile.TemporaryDirectory(prefix="webstack-nginx-") as folder:
            filled = self._filled(files, self.live() + 1)
            write_files(os.path.join(folder, "generation"), filled, self.paths.group)
            before = self._caches()
            try:
                self.test(os.path.join(folder, "etc"), os.path.join(folder, "generation"), filled, origins)
            finally:
                for path in self._caches() - before:  # its own test has nginx make them
                    os.rmdir(path)
        return self.lacking(filled, origins)

    def check_path(self, path: str) -> list[dict]:
        """Return what nginx says against a whole configuration: a main file, or a folder with an nginx.conf."""
        conf = os.path.join(path, "nginx.conf") if os.path.isdir(path) else path
        if not os.path.isfile(conf):
            return [{"message": "there is no such file", "file": conf, "line": 0, "variable": ""}]
        with tempfile.TemporaryDirectory(prefix="webstack-nginx-") as folder:
            # A pid of its own, unless the file names one: `nginx -t` makes the file, as root.
            own = [] if re.search(r"^\s*pid\s", _read(conf) or "", re.MULTILINE) else ["-g", f"pid {folder}/pid;"]
            code, output = self.run([self.paths.binary, "-t", "-e", "stderr", "-c", os.path.abspath(conf), *own])
        errors = translate(output, {}, {})
        if code and not errors:
            errors = [{"message": output.strip() or f"nginx -t exits with {code}", "file": conf, "line": 0,
                       "variable": ""}]
        return errors

    # -- putting live ----------------------------------------------------------------------------------------------

    def go_live(self, files: dict[str, str], origins: dict[str, list], keep: int = 5) -> tuple[bool, int]:
        """Make the files live and prove it; return (whether anything changed, the generation). Raises Refused."""
        os.makedirs(self.paths.store, mode=0o755, exist_ok=True)
        with self._lock():
            self._tidy()
            state = self.look(files)
            if state.same:
                self._prune(keep, state.live, 0)
                return False, state.live
            before = _Before.of(self, state)
            number = state.live
            if state.differs and state.differs != ["nginx.conf"]:
                number = self._stage(files, origins, state.live)
            elif state.differs or state.live != state.running:
                self._test_again(state.live, origins)
            self._change(before, number, self._filled(files, number), origins, made=number != state.live)
            self._prune(keep, number, before.running or before.live)
            return True, number

    def kept(self) -> list[int]:
        """Return the generations that are on the host as they were written."""
        with contextlib.suppress(FileNotFoundError):
            return [number for number in self._numbers() if self._whole(number)]
        return []

    def files_of(self, number: int) -> dict[str, str]:
        """Return the files of a generation, without its manifest."""
        have = read_files(self.paths.generation(number))
        have.pop(MANIFEST, None)
        return have

    def _whole(self, number: int) -> bool:
        digests = self._manifest(number).get("digests", {})
        return bool(digests) and {path: digest(text) for path, text in self.files_of(number).items()} == digests

    def earlier(self) -> int:
        """Return the generation that was live before the live one and is kept, or 0."""
        live, kept = self.live(), self.kept()
        previous = self._manifest(live).get("previous")
        older = [number for number in kept if number < live]
        return previous if previous in older else max(older, default=0)

    def go_back(self, number: int, try_only: bool = False) -> bool:
        """Put an earlier generation live again and prove it; return whether anything changed. Raises Refused."""
        live, kept = self.live(), self.kept()
        if number not in kept:
            known = ", ".join(str(one) for one in kept if one != live) or "none besides the live one"
            what = f"generation {number} is not on this host, or not as it was written" if number else (
                "there is no generation before the live one" if live else "nothing of ours is live on this host")
            raise Refused(f"{what}; kept are: {known}. Nothing was changed.")
        if number == live == self.running():
            return False
        files = self.files_of(number)
        if try_only:
            with tempfile.TemporaryDirectory(prefix="webstack-nginx-") as folder:
                self.test(os.path.join(folder, "etc"), self.paths.generation(number), files, {})
                self._need(files, {})
            return True
        with self._lock():
            self._tidy()
            self._test_again(number, {})
            self._need(files, {})
            state = State(live=self.live(), running=self.running(), active=self.service()[0])
            self._change(_Before.of(self, state), number, files, {}, made=False)
        return True

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        busy = Refused("another run is changing nginx on this host for a minute already; try again later.")
        return lock(os.path.join(self.paths.store, ".lock"), 60, busy)

    def _change(self, before: _Before, number: int, files: dict[str, str], origins: dict[str, list],
                made: bool) -> None:
        """Swap, apply and prove; where that fails, undo it, and remove the generation if this run made it."""
        try:
            self._swap(number)
            self._apply(number, files, origins)
        except BaseException as error:
            undone = before.restore()
            if made and number not in (before.live, before.running):
                shutil.rmtree(self.paths.generation(number), ignore_errors=True)
            if isinstance(error, Refused):
                raise Refused(f"{error}\n{undone}", error.errors) from None
            raise

    def _need(self, files: dict[str, str], origins: dict[str, list]) -> None:
        """Refuse what cannot work, though nginx would take it."""
        lacking = self.lacking(files, origins)
        if lacking:
            raise Refused("nginx would take this, but it cannot work; its live configuration is untouched.\n"
                          + "\n".join(describe(error) for error in lacking), lacking)

    def _numbers(self) -> list[int]:
        return sorted(int(name) for name in os.listdir(self.paths.store) if name.isdigit())

    def _tidy(self) -> None:
        """Remove what runs that were killed left behind."""
        live = self.live()
        for name in os.listdir(self.paths.store):
            path = os.path.join(self.paths.store, name)
            unfinished = name.isdigit() and int(name) != live and not os.path.exists(os.path.join(path, MANIFEST))
            if name.endswith(".test") or unfinished:
                shutil.rmtree(path)
        for path in (f"{self.paths.link}.new", f"{self.paths.conf}.new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _stage(self, files: dict[str, str], origins: dict[str, list], live: int) -> int:
        """Write the next generation and test it; nothing stays of one that is refused."""
        number = max([live, self.running(), *self._numbers()]) + 1
        folder = self.paths.generation(number)
        filled = self._filled(files, number)
        try:
            write_files(folder, filled, self.paths.group)
            self.test(f"{folder}.test", folder, filled, origins)
            self._need(filled, origins)
            manifest = {"generation": number, "previous": live,
                        "digests": {path: digest(text) for path, text in sorted(filled.items())}}
            # For root alone: what is secret may be short enough to be guessed from its digest.
            _write(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=1) + "\n", 0o600)
            _sync_folder(folder)
            _sync_folder(self.paths.store)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(f"{folder}.test", ignore_errors=True)
        return number

    def _test_again(self, live: int, origins: dict[str, list]) -> None:
        """Test the generation that is there: between the runs a certificate may have gone."""
        folder = self.paths.generation(live)
        try:
            self.test(f"{folder}.test", folder, read_files(folder), origins)
        finally:
            shutil.rmtree(f"{folder}.test", ignore_errors=True)

    def _swap(self, number: int) -> None:
        target = os.path.join(os.path.basename(self.paths.store), str(number))
        if self.live() != number:
            _swap_link(self.paths.link, target)
        if _read(self.paths.conf) != NGINX_CONF:
            if os.path.exists(self.paths.conf) and not os.path.exists(self.paths.original):
                os.link(self.paths.conf, self.paths.original)
            _write(f"{self.paths.conf}.new", NGINX_CONF)
            os.rename(f"{self.paths.conf}.new", self.paths.conf)
            _sync_folder(self.paths.etc)

    def _apply(self, number: int, files: dict[str, str], origins: dict[str, list]) -> None:
        """Make nginx run the generation that is live, and ask its workers."""
        active, enabled = self.service()
        mark = self._log_size()
        if active:
            code, output = self.run(["systemctl", "reload", "nginx.service"])
        else:
            code, output = self.run(["systemctl", "start", "nginx.service"])
        if code == 0 and not enabled:
            code, output = self.run(["systemctl", "enable", "nginx.service"])
        if code == 0 and self._prove(number, mark):
            return
        log = self._log_since(mark)
        if code and not active:
            log += "\n" + self.run(["journalctl", "-u", "nginx.service", "-n", "20", "--no-pager", "-o", "cat"])[1]
        errors = translate(log, files, origins)
        lines = [describe(error) for error in errors[:5]] or [output.strip() or "its error log says nothing"]
        verb = "reload" if active else "start"
        raise Refused(f"nginx does not take the configuration, though its own test passes ({verb}):\n"
                      + "\n".join(lines), errors)

    def _prove(self, number: int, mark: int) -> bool:
        """Ask for the generation until it is the new one. nginx exits 0 also where it keeps the old configuration."""
        deadline = time.monotonic() + self.timeout
        right = 0
        while time.monotonic() < deadline:
            right = right + 1 if self.running() == number else 0
            # Old workers listen a little longer than new ones take to start: one right answer is not enough.
            if right >= 3:
                return True
            if not right:
                if self._gave_up(mark):
                    return False
                time.sleep(0.1)
        return False

    def _gave_up(self, mark: int) -> str:
        """Return the log lines that say that nginx has given up; failing to bind it tries five times."""
        lines = self._log_since(mark).splitlines()
        return "\n".join(line for line in lines if "[emerg]" in line and " bind() to " not in line)

    def _log_size(self) -> int:
        try:
            return os.path.getsize(self.paths.error_log)
        except OSError:
            return 0

    def _log_since(self, mark: int) -> str:
        try:
            with open(self.paths.error_log, encoding="utf-8", errors="replace") as stream:
                stream.seek(mark if os.path.getsize(self.paths.error_log) >= mark else 0)
                return stream.read(65536)
        except OSError:
            return ""

    def _prune(self, keep: int, live: int, previous: int) -> None:
        """Remove old generations, never the live one or the one before it."""
        others = [number for number in self._numbers() if number not in (live, previous)]
        spare = max(keep - len({live, previous} - {0}), 0)
        for number in others[:max(len(others) - spare, 0)]:
            shutil.rmtree(self.paths.generation(number))
        kept = "".join(_read(os.path.join(self.paths.generation(number), "http.conf")) or ""
                       for number in self._numbers())
        for path in self._caches():
            if f" {path} " not in kept:
                shutil.rmtree(path)

    def _caches(self) -> set[str]:
        """Return the folders of remembered answers that are there, of this and of earlier configurations."""
        names = os.listdir(self.paths.cache) if os.path.isdir(self.paths.cache) else []
        return {os.path.join(self.paths.cache, name) for name in names if _CACHE.fullmatch(name)}


@dataclass
class _Before:
    """What was there before a change, and how to go back to it."""

    tree: Tree
    target: str | None  # of the link
    live: int
    running: int
    active: bool
    conf: str | None
    had_original: bool

    @classmethod
    def of(cls, tree: Tree, state: State) -> _Before:
        """Remember."""
        try:
            target = os.readlink(tree.paths.link)
        except OSError:
            target = None
        # After a run that was killed between swap and reload, what works is what the workers run.
        if state.running and state.running != state.live and os.path.isdir(tree.paths.generation(state.running)):
            target = os.path.join(os.path.basename(tree.paths.store), str(state.running))
        return cls(tree, target, state.live, state.running, state.active, _read(tree.paths.conf),
                   os.path.exists(tree.paths.original))

    def restore(self) -> str:
        """Go back; return a sentence that says how that went."""
        paths = self.tree.paths
        if self.target is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(paths.link)
        else:
            _swap_link(paths.link, self.target)
        if not self.had_original and os.path.exists(paths.original):
            os.rename(paths.original, paths.conf)
        elif self.conf is not None and _read(paths.conf) != self.conf:
            _write(f"{paths.conf}.new", self.conf)
            os.rename(f"{paths.conf}.new", paths.conf)
        _sync_folder(paths.etc)
        if not self.active:
            return "The files are as they were before; nginx was not running then, and is not now."
        code, output = self.tree.run(["systemctl", "reload-or-restart", "nginx.service"])
        if code or self.running and not self.tree._prove(self.running, self.tree._log_size()):
            return f"The files are as they were before, but nginx does not take them again: {output.strip()}"
        return "The files are as they were before, and nginx runs them."
