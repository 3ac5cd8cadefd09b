# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release folders of Python apps: user, source, virtual environment, environment file.

A release is a folder named after its ID. Its ``release.json`` is written last; a folder without one is what a run
that was killed has left, and is made again. Nothing here touches what is live.
"""

from __future__ import annotations

import dataclasses
import grp
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.env_file import format_env_file
from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

SCHEMA = 1
ETC = Path("/etc/webstack")
CACHE = Path("/var/cache/webstack")
BUILDER = "webstack-build"
#: what making a virtual environment takes on Debian
PACKAGES = ("python3-venv", "ca-certificates")
#: the group of nginx's workers on Debian: they may pass through an app's shared folder and read its uploads
WINDOW_GROUP = "www-data"
UV = "uv>=0.9,<1"
_TIMEOUT = 1800


class ReleaseError(Exception):
    """A release cannot be made; ``path`` is the user's variable."""

    def __init__(self, path: str, message: str):
        self.path = path
        super().__init__(f"{path}: {message}")


@dataclasses.dataclass
class Release:
    """One release of one app on this host."""

    app: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.app["root"]) / "releases" / self.app["release"]

    @property
    def record(self) -> dict[str, Any]:
        """Return the content of ``release.json``; empty where the release is not whole."""
        try:
            record = json.loads((self.folder / "release.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if record.get("schema") == SCHEMA else {}

    @property
    def env_file(self) -> Path:
        return ETC / self.app["name"] / self.app["release"] / "env"

    def mark(self, step: str) -> None:
        """Note in ``release.json`` that ``step`` is done."""
        record = self.record
        record.setdefault("steps", {})[step] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write_file(self.folder / "release.json", json.dumps(record, indent=2) + "\n", mode=0o644)

    def environment_is_written(self) -> bool:
        try:
            status = self.env_file.stat()
            return (self.env_file.read_text(encoding="utf-8") == format_env_file(self.app["env"])
                    and status.st_mode & 0o777 == 0o600 and status.st_uid == 0)
        except OSError:
            return False

    def complete(self) -> bool:
        return bool(self.record) and self.environment_is_written()


def missing_packages(wanted: Iterable[str], status_file: Path = Path("/var/lib/dpkg/status")) -> list[str]:
    """Return those packages that dpkg does not have installed; a name that another package provides counts as had."""
    wanted = sorted(set(wanted))
    if not wanted:
        return []
    installed = set()
    for block in status_file.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        # The first word is what is wanted: "install", or "hold" after apt-mark hold.
        if not re.search(r"^Status: \w+ ok installed$", block, re.M):
            continue
        for line in block.splitlines():
            key, _colon, value = line.partition(": ")
            if key == "Package":
                installed.add(value)
            elif key == "Provides":
                installed.update(item.split()[0] for item in value.split(","))
    return [name for name in wanted if name.split("=")[0].split(":")[0] not in installed]


def packages_of(apps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the operating-system packages that the apps and their environments need."""
    if not apps:
        return []
    # A Python of the host's own choice, python3.13 say, has a venv package of that name.
    pythons = {os.path.basename(app["python"]) for app in apps if os.path.dirname(app["python"]) in ("", "/usr/bin")}
    own = {f"{python}-venv" for python in pythons if re.fullmatch(r"python3\.\d+", python)}
    return sorted({*PACKAGES, *own, *(name for app in apps for name in app["packages"])})


def build(release: Release, archive: str) -> None:
    """Make the release; raises ReleaseError and leaves no half release behind."""
    app = release.app
    folder = release.folder
    if app["release"] in in_use(app) and (folder / "venv" / "bin" / "python").exists() and (folder / "source").is_dir():
        # It serves, or is what a rollback goes to: only its record was lost, and is written again. Its static files are
        # not collected a second time under the running app; migrations are repeatable, and are left to be run again.
        _write_record(release)
        if app["framework"] == "django":
            release.mark("checked")
            if (folder / "static").is_dir():
                release.mark("static")
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        user = pwd.getpwnam(app["user"])
        # The folder stays root's: what the app's user runs while it is built cannot put links in root's way.
        folder.mkdir(parents=True)
        os.chown(folder, 0, user.pw_gid)
        os.chmod(folder, 0o750)
        for name, text in app["files"].items():
            write_file(folder / name, text, mode=0o644)
        _unpack(app, archive, folder / "source", user)
        venv = folder / "venv"
        venv.mkdir()
        os.chown(venv, user.pw_uid, user.pw_gid)
        _environment(app, folder, user)
        give_to_root(folder, user.pw_gid)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _write_record(release)


def _write_record(release: Release) -> None:
    app = release.app
    write_environment(release)
    record = {
        "schema": SCHEMA, "app": app["name"], "release": app["release"], "source": app["label"],
        "framework": app["framework"], "steps": {},
    }
    write_file(release.folder / "release.json", json.dumps(record, indent=2) + "\n", mode=0o644)
    release.mark("built")


def write_environment(release: Release) -> None:
    """Write the environment file, which only root reads: systemd hands its content on."""
    folder = release.env_file.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_file(release.env_file, format_env_file(release.app["env"]), mode=0o600)


def prepare_host(apps: Sequence[Mapping[str, Any]]) -> bool:
    """Make the users and folders of the apps; return whether anything was missing."""
    changed = False
    wanted = {app["user"]: app for app in apps}
    absent = [user for user in [BUILDER, *wanted] if not _user_exists(user)]
    if absent:
        for user in absent:
            name = wanted[user]["name"] if user in wanted else "build"
            home = wanted[user]["root"] if user in wanted else str(CACHE)
            write_file(Path(f"/etc/sysusers.d/{user}.conf"),
                       f'u {user} - "web app {name}" {home} /usr/sbin/nologin\n', mode=0o644)
        _run(["systemd-sysusers"], "webstack")
        changed = True
    window = grp.getgrnam(WINDOW_GROUP).gr_gid
    for app in apps:
        user = pwd.getpwnam(app["user"])
        root = Path(app["root"])
        for folder, uid, gid, mode in (
            (root, 0, 0, 0o755),
            (root / "releases", 0, user.pw_gid, 0o750),
            # Others may pass, not list: nginx reads the uploads below, and nothing else.
            (root / "shared", user.pw_uid, window, 0o710),
            (root / "shared" / "media", user.pw_uid, window, 0o2750),
        ):
            try:
                changed |= _folder(folder, uid, gid, mode)
            except ReleaseError as error:
                raise ReleaseError(app["origin"], str(error)) from None
    return changed


def in_use(app: Mapping[str, Any]) -> set[str]:
    """Return the IDs of the live release and of the one before it, as the app's record has them."""
    # What starts at boot counts too: a run that was killed in the switch has not written the record yet.
    boot = Path("/etc/systemd/system/multi-user.target.wants").glob(f"webstack-{app['name']}@*.service")
    used = {link.name.partition("@")[2].removesuffix(".service") for link in boot}
    try:
        record = json.loads(Path(app["root"], "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return used
    return used | {record.get("live"), record.get("previous")} - {None}


def prune(app: Mapping[str, Any], keep: int) -> list[str]:
    """Remove the oldest releases beyond ``keep``, and return their IDs. The live and the last good one stay."""
    root = Path(app["root"])
    protected = {app["release"], *in_use(app)}
    folders = sorted((path for path in (root / "releases").iterdir() if path.is_dir()), key=_age, reverse=True)
    removable = [path for path in folders if path.name not in protected]
    surplus = removable[max(0, keep - (len(folders) - len(removable))):]
    for path in surplus:
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(ETC / app["name"] / path.name, ignore_errors=True)
    return [path.name for path in surplus]


def _age(folder: Path) -> str:
    # By what the record says: a folder's own time changes for many reasons.
    try:
        return json.loads((folder / "release.json").read_text(encoding="utf-8"))["steps"]["built"]
    except (OSError, ValueError, KeyError):
        return ""


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _folder(path: Path, uid: int, gid: int, mode: int) -> bool:
    """Make the folder, or give it its owner and mode back; return whether there was anything to do."""
    changed = not os.path.lexists(path)
    if changed:
        path.mkdir(parents=True)
    try:
        # Some of these lie in a folder of the app's: root must not follow a link that the app has put there.
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise ReleaseError(str(path), "is no folder, but a link or a file. Put a folder there; uploads that lie "
                                      "elsewhere are named by `media_root`.") from None
    try:
        status = os.fstat(handle)
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.fchown(handle, uid, gid)
            changed = True
        if status.st_mode & 0o7777 != mode or changed:
            os.fchmod(handle, mode)
            changed = True
    finally:
        os.close(handle)
    return changed


def _unpack(app: Mapping[str, Any], archive: str, target: Path, user: pwd.struct_passwd) -> None:
    target.mkdir()
    if archive:
        try:
            with tarfile.open(archive) as source:
                # Python 3.11.2, Debian 12's, has no filters yet; the archive is the controller's own.
                safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                source.extractall(target, **safely)  # noqa: S202
        except (tarfile.TarError, OSError) as error:
            raise ReleaseError(f"{app['origin']}.source", f"cannot be unpacked: {error}") from None
        if app["directory"] and not (target / app["directory"]).is_dir():
            raise ReleaseError(f"{app['origin']}.directory", f"the source has no folder {app['directory']!r}.")
    for path in reversed([target, *target.rglob("*")]):  # from below: a folder is root's until all in it are done
        os.lchown(path, user.pw_uid, user.pw_gid)


def _environment(app: Mapping[str, Any], folder: Path, user: pwd.struct_passwd) -> None:
    """Make the virtual environment: the server first, then what the app asks for."""
    origin = app["origin"]
    interpreter = shutil.which(app["python"])
    if interpreter is None:
        raise ReleaseError(f"{origin}.python", f"this host has no {app['python']}. Write one that it has, or add its "
                                               f"package to {origin}.packages.")
    uv = _tools(interpreter)
    cache = CACHE / "apps" / app["name"]
    _folder(cache.parent, 0, 0, 0o755)
    if cache.is_dir() and cache.stat().st_uid != user.pw_uid:  # its user was removed, and made anew with another number
        shutil.rmtree(cache)
    _folder(cache, user.pw_uid, user.pw_gid, 0o700)
    venv = folder / "venv"
    environment = _build_environment(cache)

    def run(arguments: list[str], key: str, hint: str) -> None:
        _run(arguments, f"{origin}.{key}", hint, user=user, environment=environment, cwd=folder)

    run([uv, "venv", "--allow-existing", "--python", interpreter, str(venv)], "python",
        "This interpreter makes no virtual environment.")
    install = [uv, "pip", "install", "--python", str(venv / "bin" / "python"), "--compile-bytecode",
               "--link-mode", "copy"]
    if app["server_requirements"]:
        wheels = _wheels(app, uv, interpreter)
        run([*install, "--find-links", str(wheels), *app["server_requirements"]], "server",
            "The app server cannot be installed.")
    if app["package"]:
        run([*install, app["package"]], "source.package", "The package cannot be installed.")
    elif app["requirements"]:
        requirements = folder / "source" / app["directory"] / app["requirements"]
        if not requirements.is_file():
            raise ReleaseError(f"{origin}.requirements", f"the source has no {app['requirements']!r} in "
                               f"{app['directory'] or 'its top folder'}. Write its path, or \"\" for an app without.")
        run([*install, "--requirements", str(requirements)], "requirements", "They cannot be installed.")
    if app["extra_requirements"]:
        run([*install, *app["extra_requirements"]], "extra_requirements", "They cannot be installed.")
    if app["server_requirements"]:
        _server_survived(app, uv, venv, user, environment)
    # The app cannot write beside its code later, so its bytecode is made now. What does not compile is found, with a
    # better message, when the app is imported.
    subprocess.run([str(venv / "bin" / "python"), "-m", "compileall", "-q", str(folder / "source")], check=False,
                   capture_output=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[], env=environment)


def _server_survived(app, uv, venv, user, environment) -> None:
    """Refuse requirements that bring another version of the app server than the one that was tested."""
    answer = _run([uv, "pip", "freeze", "--python", str(venv / "bin" / "python")], f"{app['origin']}.requirements",
                  user=user, environment=environment)
    have = {line.partition("==")[0].lower(): line for line in answer.splitlines()}
    for wanted in app["server_requirements"]:
        name = re.split(r"[=<>\[ ]", wanted)[0].lower()
        if "==" in wanted and have.get(name, "").lower() != wanted.lower():
            raise ReleaseError(f"{app['origin']}.requirements", f"they bring {have.get(name, 'no ' + name)}, and the "
                               f"server is run with {wanted}. Take {name} out of the requirements.")


def _tools(interpreter: str) -> str:
    """Return the path of uv, installed once per host and Python in an environment of its own."""
    builder = pwd.getpwnam(BUILDER)
    tag = _tag(interpreter)
    _folder(CACHE, 0, 0, 0o755)
    base = CACHE / "tools"
    _folder(base, 0, 0, 0o755)
    folder = base / f"{tag}-{os.uname().machine}"
    uv = folder / "bin" / "uv"
    if uv.exists():
        return str(uv)
    # Of this run alone: two may be at it, for the test hosts of a Debian release share this folder.
    partial = Path(f"{folder}.{os.uname().nodename}-{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _folder(partial, builder.pw_uid, builder.pw_gid, 0o755)
    environment = _build_environment(None)
    options = {"user": builder, "environment": environment, "cwd": partial}
    _run([interpreter, "-m", "venv", str(partial)], "webstack", "python3-venv does not work on this host.", **options)
    _run([str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", UV], "webstack",
         "uv, which makes the environments, cannot be installed.", **options)
    give_to_root(partial, 0, folder_mode=0o755)
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not uv.exists():
            raise
    return str(uv)


def _wheels(app: Mapping[str, Any], uv: str, interpreter: str) -> Path:
    """Build the app server once per host; the apps install it from there. uWSGI is compiled for most of a minute."""
    builder = pwd.getpwnam(BUILDER)
    folder = CACHE / "wheels" / f"{_tag(interpreter)}-{os.uname().machine}"
    for path in (folder.parent, folder):
        _folder(path, 0, 0, 0o755)
    for requirement in app["server_requirements"]:
        mark = folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', requirement)}.done"
        if mark.exists():
            continue
        # On the file system of the wheels, so that they arrive by rename.
        partial = folder.parent / f".build-{os.getpid()}-{os.uname().nodename}"
        shutil.rmtree(partial, ignore_errors=True)
        _folder(partial, builder.pw_uid, builder.pw_gid, 0o700)
        try:
            tools = Path(uv).parent / "python"
            _run([str(tools), "-m", "pip", "wheel", "--quiet", "--use-pep517", "--no-deps", "--no-cache-dir",
                  "--wheel-dir", str(partial / "wheels"), requirement], f"{app['origin']}.server",
                 f"{requirement} cannot be built.",
                 user=builder, environment={**_build_environment(None), "HOME": str(partial)}, cwd=partial)
            for wheel in (partial / "wheels").iterdir():
                os.chown(wheel, 0, 0)
                os.replace(wheel, folder / wheel.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        mark.touch()
    return folder


def _tag(interpreter: str) -> str:
    return _run([interpreter, "-c", "import sys; print(sys.implementation.cache_tag)"], "webstack").strip()


def _build_environment(cache: Path | None) -> dict[str, str]:
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
        "HOME": str(cache or "/nonexistent"), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    if cache:
        environment["UV_CACHE_DIR"] = str(cache / "uv")
    if os.path.exists(bundle):
        # The host's own list of authorities, so that a company's internal one counts.
        environment |= {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle}
    return environment


def give_to_root(folder: Path, gid: int, folder_mode: int = 0o750) -> None:
    """Make root the owner and the group the reader: an app must not change its own code."""
    # From above, by open folders: as soon as a folder is root's, nobody else can swap what is in it for a link.
    for _root, folders, files, handle in os.fwalk(folder):
        os.fchown(handle, 0, gid)
        os.fchmod(handle, folder_mode)
        for name in [*folders, *files]:  # links to folders are among the folders
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                continue  # its turn comes
            os.chown(name, 0, gid, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                os.chmod(name, 0o755 if status.st_mode & 0o100 else 0o644, dir_fd=handle)


def _run(arguments: Sequence[str], path: str, hint: str = "", user: pwd.struct_passwd | None = None,
         environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return its output; raises ReleaseError with the end of what it said."""
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    try:
        answer = subprocess.run(list(arguments), capture_output=True, text=True, errors="replace", check=False,
                                stdin=subprocess.DEVNULL, timeout=_TIMEOUT, env=environment, cwd=cwd or "/",
                                umask=0o022,
                                **identity)
    except FileNotFoundError:
        raise ReleaseError(path, f"{arguments[0]} is not on this host.") from None
    except subprocess.TimeoutExpired:
        raise ReleaseError(path, f"{os.path.basename(arguments[0])} took more than {_TIMEOUT} s.") from None
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-12:]
        said = [re.sub(r"(\w+://)[^/@\s]+@", r"\1", line) for line in said]
        raise ReleaseError(path, "\n    ".join([hint or f"{arguments[0]} failed.", *said]))
    return answer.stdout
