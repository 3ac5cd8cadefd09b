# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL for the apps of the stack: who may connect from where, roles and databases.

The clear password stays in this process: what goes to the server is a SCRAM verifier, worked out here, on the standard
input of psql. Whether the server has the right one is found by working it out again with the salt that it has stored.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import ipaddress
import json
import os
import pwd
import re
import socket
import stringprep
import subprocess
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

ETC = Path("/etc/postgresql")
UNITS = Path("/etc/systemd/system")
#: Debian's name of the cluster that its package makes
CLUSTER = "main"
ADMIN = "postgres"
ITERATIONS = 4096
#: the settings that are ours
SETTINGS = ("listen_addresses", "password_encryption", "hba_file")
_TIMEOUT = 120
_RELOAD_TIMEOUT = 10

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RESERVED_DATABASES = {"postgres", "template0", "template1"}
_RESERVED_USERS = {"postgres", "public", "none"}
#: words with a meaning of their own in pg_hba.conf
_HBA_WORDS = {"all", "replication", "sameuser", "samerole", "samegroup"}
_VERIFIER = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]*):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_HEADER = "# Written by Ansible, role frontdesk.webstack.postgresql: changes made here are undone by the next run.\n"


class DatabaseError(Exception):
    """Something that the user has to mend; ``path`` is the variable, empty where none is to blame."""

    def __init__(self, path: str, message: str):
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


# -- what users wrote ------------------------------------------------------------------------------------------


def problems(databases: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (path, message) for each mistake; each database has ``origin``, ``name``, ``user``, ``password``."""
    found: list[tuple[str, str]] = []
    names: dict[str, str] = {}
    users: dict[str, tuple[str, str]] = {}
    for item in databases:
        origin, name, user, password = item["origin"], item["name"], item["user"], item["password"]
        for key, value, reserved in (("name", name, _RESERVED_DATABASES), ("user", user, _RESERVED_USERS)):
            if key == "user" and value == name and found and found[-1][0] == f"{origin}.name":
                continue  # it was not written, and the name is at fault
            if not _NAME.fullmatch(value):
                found.append((f"{origin}.{key}", f"is {value!r}; write up to 63 small letters, digits and underscores, "
                              "no digit first, for example `my_shop`."))
            elif value in reserved | _HBA_WORDS or key == "user" and value.startswith("pg_"):
                found.append((f"{origin}.{key}", f"{value!r} is a name of PostgreSQL's own. Write another one."))
        if not password or "\0" in password:
            found.append((f"{origin}.password", "is empty. Write one, in a file that ansible-vault encrypts."
                          if not password else "holds a NUL character, which no client can send."))
        if name in names:
            found.append((f"{origin}.name", f"{name!r} is taken by {names[name]}. Write each database once."))
        elif user in users and password and users[user][1] != password:
            found.append((f"{origin}.password", f"differs from that of {users[user][0]}, and both are of the user "
                          f"{user!r}. Write the same one, or another user."))
        names.setdefault(name, origin)
        users.setdefault(user, (origin, password))
    return found


# -- passwords -------------------------------------------------------------------------------------------------


def saslprep(password: str) -> str:
    """Return the password as clients send it (RFC 4013); one that RFC 4013 refuses is taken as it is, as they do."""
    if password.isascii():
        return password
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in password
                     if stringprep.in_table_c12(char) or not stringprep.in_table_b1(char))
    text = unicodedata.normalize("NFKC", mapped)
    tables = (stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
              stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
              stringprep.in_table_c9, stringprep.in_table_a1)
    if not text or any(table(char) for char in text for table in tables):
        return password
    if any(stringprep.in_table_d1(char) for char in text):
        both_ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not both_ends or any(stringprep.in_table_d2(char) for char in text):
            return password
    return text


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Return what PostgreSQL stores for ``password`` (RFC 5802, RFC 7677; ``pg_authid.rolpassword``)."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (salt, hashlib.sha256(client_key).digest(), server_key)
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


def verifies(password: str, verifier: str | None) -> bool:
    """Tell whether ``verifier`` is the one of ``password``, and no weaker than one that would be made today."""
    match = _VERIFIER.fullmatch(verifier or "")
    if not match or int(match[1]) < ITERATIONS:
        return False
    try:
        salt = base64.b64decode(match[2], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(scram_verifier(password, salt, int(match[1])), match[0])


# -- files -----------------------------------------------------------------------------------------------------


def is_remote(databases: Iterable[Mapping[str, Any]], address: str) -> bool:
    """Tell whether anybody connects from another host; ``address`` is this host's own."""
    return any(client != address for item in databases for client in item["addresses"].values())


def render_settings(hba_file: str, databases: Sequence[Mapping[str, Any]], address: str) -> str:
    """Return the settings that are ours, for the folder conf.d of the cluster."""
    listen = f"localhost,{address}" if is_remote(databases, address) else "localhost"
    return (f"{_HEADER}\nlisten_addresses = '{listen}'\npassword_encryption = 'scram-sha-256'\n"
            f"hba_file = '{hba_file}'\n")


def render_hba(databases: Sequence[Mapping[str, Any]]) -> str:
    """Return who may connect: each database its own user, from this host and from its clients."""
    lines = [_HEADER, "# The server's own administrator, through the socket and as the system user of that name",
             f"local  all  {ADMIN}  peer"]
    for item in databases:
        who = f"{item['name']}  {item['user']}"
        lines += ["", f"# {item['origin']}", f"local  {who}  scram-sha-256"]
        places = ["127.0.0.1", "::1", *dict.fromkeys(item["addresses"].values())]
        for place in places:
            ip = ipaddress.ip_address(place)
            hosts = ", ".join(host for host, address in item["addresses"].items() if address == place)
            lines.append(f"host   {who}  {ip}/{ip.max_prefixlen}  scram-sha-256{f'  # {hosts}' if hosts else ''}")
    return "\n".join(lines) + "\n"


def render_unit() -> str:
    """Return the drop-in that makes the server wait for the address that it listens on."""
    return f"{_HEADER}[Unit]\nWants=network-online.target\nAfter=network-online.target\n"


@dataclass(frozen=True)
class File:
    """A file that is to be there; without ``text`` it is to be gone."""

    path: Path
    text: str | None
    mode: int
    owner: str

    def current(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def same(self) -> bool:
        if self.current() != self.text:
            return False
        if self.text is None:
            return True
        status = self.path.stat()
        user = pwd.getpwnam(self.owner)
        return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (self.mode, user.pw_uid, user.pw_gid)

    def write(self, text: str | None) -> None:
        if text is None:
            self.path.unlink(missing_ok=True)
            return
        user = pwd.getpwnam(self.owner)
        write_file(self.path, text, self.mode, user.pw_uid, user.pw_gid)

    def diff(self) -> dict[str, str]:
        before, after = self.current(), self.text
        if before == after:  # only mode or owner
            return {"before": f"{self.path}: another mode or owner\n",
                    "after": f"{self.path}: {self.mode:04o} {self.owner}\n"}
        return {"before": before or "", "after": after or "", "before_header": str(self.path),
                "after_header": str(self.path)}


# -- the server ------------------------------------------------------------------------------------------------


@dataclass
class State:
    """What was found; ``differs`` says, in words for the user, what is not as wanted. Empty: nothing to do."""

    version: str = ""
    running: bool = False
    differs: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    reload: bool = False
    restart: bool = False


class Server:
    """Debian's PostgreSQL cluster ``main`` on this host, and what the databases of the stack want from it."""

    def __init__(self, databases: Sequence[Mapping[str, Any]], address: str, etc: Path = ETC):
        self.databases = databases
        self.address = address
        self.etc = etc
        self.version = self._version()
        self.folder = etc / self.version / CLUSTER
        self.unit = f"postgresql@{self.version}-{CLUSTER}.service"
        #: user name -> its first database; several may have the same one
        self.users: dict[str, Mapping[str, Any]] = {}
        for item in databases:
            self.users.setdefault(item["user"], item)

    def _version(self) -> str:
        found = sorted(path.parent.parent.name for path in self.etc.glob(f"*/{CLUSTER}/postgresql.conf"))
        if not found:
            raise DatabaseError("", f"PostgreSQL is installed, but has no cluster named {CLUSTER!r}; make one with "
                                    f"`pg_createcluster VERSION {CLUSTER} --start`.")
        if len(found) > 1:
            raise DatabaseError("", f"this host has several clusters named {CLUSTER!r}, of the versions "
                                    f"{', '.join(found)}. Finish the upgrade (pg_upgradecluster), and drop the one "
                                    "that is not needed (pg_dropcluster).")
        return found[0]

    @property
    def remote(self) -> bool:
        return is_remote(self.databases, self.address)

    def files(self) -> list[File]:
        """Return all files that are ours."""
        hba = self.folder / "webstack_hba.conf"
        return [
            File(hba, render_hba(self.databases), 0o640, ADMIN),
            File(self.folder / "conf.d" / "webstack.conf",
                 render_settings(str(hba), self.databases, self.address), 0o644, ADMIN),
            File(UNITS / f"{self.unit}.d" / "webstack.conf", render_unit() if self.remote else None, 0o644, "root"),
        ]

    def look(self) -> State:
        """Compare the host with what is wanted; changes nothing."""
        if self.remote:
            _own_address(self.address)
        state = State(version=self.version)
        state.files = [item for item in self.files() if not item.same()]
        state.differs = [f"file {item.path}" for item in state.files]
        try:
            found = json.loads(self._psql(self._question()))
        except DatabaseError as error:
            # Down, or its files keep even the administrator out; either way the next steps mend what can be mended.
            state.differs.append(f"no answer from the server: {error}")
            state.roles, state.databases = list(self.users), [item["name"] for item in self.databases]
            return state
        state.running = True
        self._compare_settings(state, found)
        self._compare_roles(state, found["roles"] or {})
        self._compare_databases(state, found["databases"] or {})
        return state

    def apply(self, state: State) -> dict[str, bool]:
        """Make it so; return whether the server was reloaded and restarted. Raises DatabaseError."""
        done = {"reloaded": False, "restarted": False}
        before = [(item, item.current()) for item in state.files]
        for item in state.files:
            item.write(item.text)
        if any(item.path.is_relative_to(UNITS) for item in state.files):
            _run(["systemctl", "daemon-reload"])
        if not state.running and _run(["systemctl", "is-active", "--quiet", self.unit], check=False)[0]:
            self._start("start", before)
            done["restarted"] = True
        elif state.files or state.reload:
            self._reload()
            done["reloaded"] = True
        # Asked anew: the server may just have been started, and only after a reload it says what needs a restart.
        now = self.look()
        if not now.running:
            raise DatabaseError("", "\n".join(now.differs))
        if now.roles or now.databases:
            self._psql(self._orders(now))
        if now.restart:
            self._fit_to_restart()
            self._start("restart", before)
            done["restarted"] = True
        left = self.look().differs
        if left:
            raise DatabaseError("", "after all was done this is still not as wanted:\n" + "\n".join(
                f"  - {line}" for line in left))
        return done

    # -- comparing ---------------------------------------------------------------------------------------------

    def _question(self) -> str:
        users = ", ".join(f"'{name}'" for name in self.users)
        names = ", ".join(f"'{item['name']}'" for item in self.databases)
        settings = ", ".join(f"'{name}'" for name in SETTINGS)
        # All names were checked by `problems`, and psql takes no parameters here.
        return f"""
SELECT json_build_object(
  'loaded', extract(epoch FROM pg_conf_load_time()),
  'settings', (SELECT json_object_agg(name, json_build_object(
      'value', setting, 'pending', pending_restart, 'file', sourcefile)) FROM pg_settings WHERE name IN ({settings})),
  'roles', (SELECT json_object_agg(rolname, json_build_object(
      'login', rolcanlogin, 'super', rolsuper, 'password', rolpassword,
      'expired', coalesce(rolvaliduntil < now(), false)))
    FROM pg_authid WHERE rolname IN ({users or "''"})),
  'databases', (SELECT json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'public', has_database_privilege('public', oid, 'CONNECT') OR has_database_privilege('public', oid, 'TEMPORARY')))
    FROM pg_database WHERE datname IN ({names or "''"})));
"""  # noqa: S608

    def _compare_settings(self, state: State, found: Mapping[str, Any]) -> None:
        files = [item for item in self.files() if item.path.is_relative_to(self.folder)]
        wanted = dict(re.findall(r"^(\w+) = '(.*)'$", files[1].text or "", re.MULTILINE))
        if state.files:
            return  # what the server runs says nothing until they are written
        written = max(item.path.stat().st_mtime for item in files)
        if found["loaded"] < written:
            state.reload = True
            state.differs.append("the server has not read its files since they were changed")
        for name in SETTINGS:
            setting = found["settings"][name]
            if setting["pending"]:
                state.restart = True
                state.differs.append(f"setting {name}: waits for a restart")
            elif setting["value"] != wanted[name] and not state.reload:
                where = f", from {setting['file']}" if setting["file"] else ""
                state.differs.append(f"setting {name}: is {setting['value']!r}{where}, not {wanted[name]!r}. Take it "
                                     "out there (ALTER SYSTEM RESET), and see that postgresql.conf includes conf.d.")

    def _compare_roles(self, state: State, found: Mapping[str, Mapping[str, Any]]) -> None:
        for name, item in self.users.items():
            role = found.get(name)
            if role and role["super"]:
                raise DatabaseError(f"{item['origin']}.user", f"{name!r} is a superuser of this server, and an app "
                                                              "must not be one. Write another user.")
            if role is None:
                state.differs.append(f"user {name}: is not there")
            elif not role["login"] or role["expired"]:
                state.differs.append(f"user {name}: may not log in")
            elif not verifies(item["password"], role["password"]):
                state.differs.append(f"user {name}: has another password")
            else:
                continue
            state.roles.append(name)

    def _compare_databases(self, state: State, found: Mapping[str, Mapping[str, Any]]) -> None:
        for item in self.databases:
            name, database = item["name"], found.get(item["name"])
            if database and database["encoding"] != "UTF8":
                raise DatabaseError(f"{item['origin']}.name", f"the database {name!r} is there with the encoding "
                                    f"{database['encoding']}, which cannot be changed. Make it anew with UTF8, from a "
                                    "dump, or write another name.")
            if database is None:
                state.differs.append(f"database {name}: is not there")
            elif database["owner"] != item["user"]:
                state.differs.append(f"database {name}: belongs to {database['owner']}, not to {item['user']}")
            elif database["public"]:
                state.differs.append(f"database {name}: every user may connect")
            else:
                continue
            state.databases.append(name)

    def _orders(self, state: State) -> str:
        """Return the SQL that mends what ``state`` found. All names in it were checked by `problems`."""
        lines = [
            # Verifiers are no passwords, but need not be in the server's log either.
            "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';",
            "SET client_min_messages = 'warning';",
        ]
        for name in state.roles:
            verifier = scram_verifier(self.users[name]["password"], os.urandom(16))
            lines += [
                f"SELECT 'CREATE ROLE \"{name}\"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}')",  # noqa: S608
                "\\gexec",
                f"ALTER ROLE \"{name}\" LOGIN VALID UNTIL 'infinity' PASSWORD '{verifier}';",
            ]
        owners = {item["name"]: item["user"] for item in self.databases}
        for name in state.databases:
            # C.UTF-8 is on every Debian, sorts the same on all of them, and does not change with an upgrade.
            lines += [
                f"SELECT 'CREATE DATABASE \"{name}\" OWNER \"{owners[name]}\" TEMPLATE template0 ENCODING ''UTF8'' "  # noqa: S608
                f"LOCALE ''C.UTF-8''' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')",
                "\\gexec",
                f'ALTER DATABASE "{name}" OWNER TO "{owners[name]}";',
                f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;',
            ]
        return "\n".join(lines) + "\n"

    # -- doing -------------------------------------------------------------------------------------------------

    def _psql(self, text: str) -> str:
        user = pwd.getpwnam(ADMIN)
        code, output = _run(
            ["psql", "--cluster", f"{self.version}/{CLUSTER}", "--no-psqlrc", "--no-password", "--quiet", "--no-align",
             "--tuples-only", "--set", "ON_ERROR_STOP=1", "--dbname", "postgres"],
            check=False, text=text, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/")
        if code:
            # psql shows the line that failed, and there may be a verifier in it.
            raise DatabaseError("", re.sub(r"SCRAM-SHA-256\$\S*", "SCRAM-SHA-256$...", output))
        return output

    def _reload(self) -> None:
        """Let the server read its files, and wait until it says that it did."""
        since = time.time()
        _run(["systemctl", "reload", self.unit])
        while time.time() < since + _RELOAD_TIMEOUT:
            try:
                if float(self._psql("SELECT extract(epoch FROM pg_conf_load_time());")) >= since:
                    break
            except DatabaseError:
                pass  # not let in until the new files are read
            time.sleep(0.05)
        else:
            raise DatabaseError("", f"the server did not take its files:\n{self._journal()}")

    def _fit_to_restart(self) -> None:
        """Raise DatabaseError where a setting of somebody else's would keep the server from coming up again."""
        # A setting that merely waits for a restart is an error there too.
        broken = self._psql("SELECT format('%s:%s: %s: %s', f.sourcefile, f.sourceline, f.name, f.error) "
                            "FROM pg_file_settings f LEFT JOIN pg_settings s ON s.name = lower(f.name) "
                            "WHERE f.error IS NOT NULL AND NOT coalesce(s.pending_restart, false);").splitlines()
        if broken:
            raise DatabaseError("", "\n".join([
                "the server has to be restarted, and would not come up again, so it was left running. Mend these "
                "settings, and run again:", *(f"  - {line}" for line in broken)]))

    def _start(self, verb: str, before: Sequence[tuple[File, str | None]]) -> None:
        code, _output = _run(["systemctl", verb, self.unit], check=False)
        # The unit counts as started when the server has answered once.
        if code == 0:
            return
        journal = self._journal()
        for item, text in before:
            item.write(text)
        _run(["systemctl", "daemon-reload"], check=False)
        again, _output = _run(["systemctl", "restart", self.unit], check=False)
        fate = "and is still down" if again else "and runs again with the files that were there before"
        raise DatabaseError("", f"the server did not {verb}, {fate}. It said:\n{journal}")

    def _journal(self) -> str:
        log = Path(f"/var/log/postgresql/postgresql-{self.version}-{CLUSTER}.log")
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            said = _run(["journalctl", "--unit", self.unit, "--lines", "12", "--no-pager"], check=False)[1]
            lines = said.splitlines()
        return "\n".join(f"    {re.sub(r'SCRAM-SHA-256[$][^ ]*', 'SCRAM-SHA-256$...', line)}" for line in lines[-12:])


def diff(server: Server, state: State) -> list[dict[str, str]]:
    """Return what changes, without anything secret: files as they are, users and databases in words."""
    result = [item.diff() for item in state.files]
    lines = [line for line in state.differs if line.startswith(("user ", "database "))]
    if lines:
        after = [f"user {name}: may log in, has the password of {server.users[name]['origin']}" for name in state.roles]
        after += [f"database {item['name']}: belongs to {item['user']}, UTF8, others may not connect"
                  for item in server.databases if item["name"] in state.databases]
        result.append({"before": "".join(f"{line}\n" for line in lines), "before_header": "users and databases",
                       "after": "".join(f"{line}\n" for line in after), "after_header": "users and databases"})
    return result


def _own_address(address: str) -> None:
    """Raise DatabaseError unless this host has ``address``: the server could not listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise DatabaseError("webstack_address", f"{address} is no address of this host, and the server has to "
                                "listen on it. Write the one under which the clients reach this host in its "
                                "host_vars.") from None


def _run(arguments: Sequence[str], check: bool = True, text: str = "", **options: Any) -> tuple[int, str]:
    """Run a command; return its exit code and what it said (its output, and where it failed its errors)."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    try:
        answer = subprocess.run(list(arguments), capture_output=True, text=True, errors="replace", check=False,
                                input=text, timeout=_TIMEOUT, env=environment, **options)
    except FileNotFoundError:
        raise DatabaseError("", f"{arguments[0]} is not on this host.") from None
    except subprocess.TimeoutExpired:
        raise DatabaseError("", f"{os.path.basename(arguments[0])} took more than {_TIMEOUT} s.") from None
    said = answer.stdout if answer.returncode == 0 else (answer.stderr.strip() or answer.stdout.strip())
    if check and answer.returncode:
        raise DatabaseError("", f"{' '.join(arguments)} failed: {said}")
    return answer.returncode, said
