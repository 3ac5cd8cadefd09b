# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual environment of a release, made with uv, or with pip where uv cannot be had.

What it takes to reach packages, a company's index and its password say, is given to the tools by their environment and
stays in no file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import tomllib
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.frontdesk.webstack.plugins.module_utils.files import write_file

CACHE = Path("/var/cache/webstack")
BUILDER = "webstack-build"
UV = "uv>=0.9,<1"
#: the host's own list of authorities, so that one that an administrator has added counts
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: raised when the way an environment is made changes, so that it is made anew
BASIS = 1
_TIMEOUT = 1800


class ReleaseError(Exception):
    """A release cannot be made; ``path`` is the user's variable."""

    def __init__(self, path: str, message: str):
        self.path = path
        super().__init__(f"{path}: {message}")


@dataclasses.dataclass(frozen=True)
class Access:
    """How packages are reached: ``access`` of an app record."""

    told: Mapping[str, Any]

    @property
    def installer(self) -> str:
        return self.told.get("installer") or "auto"

    def environment(self, which: str = "index") -> dict[str, str]:
        """Return the variables for uv and pip; ``which`` is the app's ``index`` or the ``tools_index`` of all apps."""
        index = self.told.get(which) or {}
        url, extra = index.get("url", ""), index.get("extra_urls") or []
        found = {}
        if url:
            found |= {"UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}
        if extra:
            found |= {"UV_INDEX": " ".join(extra), "PIP_EXTRA_INDEX_URL": " ".join(extra)}
        # An index that the user has written with http:// is meant; pip asks for it twice.
        plain = [urllib.parse.urlsplit(one).netloc.rpartition("@")[2]
                 for one in [url, *extra] if one.startswith("http:")]
        if plain:
            found["PIP_TRUSTED_HOST"] = " ".join(plain)
        for name, value in (self.told.get("proxy") or {}).items():
            # Some read the one, some the other.
            key = name if name == "no_proxy" else f"{name}_proxy"
            found |= {key: value, key.upper(): value} if value else {}
        bundle = self._bundle()
        if bundle:
            found |= {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle}
        return found

    def _bundle(self) -> str:
        """Return the file of authorities: the host's own, and with them those of the inventory."""
        more = self.told.get("authorities") or ""
        if not more:
            return str(BUNDLE) if BUNDLE.exists() else ""
        known = BUNDLE.read_text(encoding="utf-8", errors="replace") if BUNDLE.exists() else ""
        text, path = f"{known}\n{more}", CACHE / "authorities.pem"
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_file(path, text, mode=0o644)
        return str(path)

    def hide(self, text: str) -> str:
        """Return ``text`` without the passwords, however a tool has written them."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "***")
        return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)

    def _secrets(self) -> Iterator[str]:
        known = [self.told.get(which) or {} for which in ("index", "tools_index")]
        urls = [url for index in known for url in [index.get("url", ""), *index.get("extra_urls", [])]]
        for url in [*urls, *(self.told.get("proxy") or {}).values()]:
            login, _at, _host = url.partition("://")[2].partition("/")[0].rpartition("@")
            for part in {login, *(login.split(":", 1)[1:])} - {""}:
                yield part
                yield urllib.parse.unquote(part)


@dataclasses.dataclass(frozen=True)
class Runner:
    """Runs commands for one app as one user, and tells what goes wrong by the user's variable."""

    origin: str
    access: Access
    user: pwd.struct_passwd
    environment: Mapping[str, str]
    cwd: Path

    def __call__(self, arguments: Sequence[str], key: str, hint: str = "", cwd: Path | None = None,
                 **more: str) -> str:
        path = f"{self.origin}.{key}" if self.origin else key
        return run(arguments, path, hint, user=self.user, environment={**self.environment, **more},
                   cwd=cwd or self.cwd, hide=self.access.hide)


def make(app: Mapping[str, Any], folder: Path, user: pwd.struct_passwd) -> tuple[list[str], str]:
    """Make the virtual environment, the server first, then what the app asks for.

    Return what is to be said, and the digest of what the environment is made of: a release with the same one has its
    copy. It is "" where another day could bring another environment.
    """
    origin, access = app["origin"], Access(app.get("access") or {})
    interpreter = shutil.which(app["python"])
    if interpreter is None:
        raise ReleaseError(f"{origin}.python", f"this host has no {app['python']}. Write one that it has, or add its "
                                               f"package to {origin}.packages.")
    project = folder / "source" / app["directory"]
    file = project / app["requirements"] if app["requirements"] and not app["package"] else None
    if file and not file.is_file():
        raise ReleaseError(f"{origin}.requirements", f"the source has no {app['requirements']!r} in "
                           f"{app['directory'] or 'its top folder'}. Write its path, or `none` for an app without.")
    basis, venv = _basis(app, file, interpreter), folder / "venv"
    earlier = _earlier(folder, basis)
    if earlier:
        _copy(earlier / "venv", venv)
        _compile(folder, user)
        return [], basis
    tools, uv, why = _tools(interpreter, access)
    cache = CACHE / "apps" / app["name"]
    make_folder(cache.parent, 0, 0, 0o755)
    if cache.is_dir() and cache.stat().st_uid != user.pw_uid:  # its user was removed, and made anew with another number
        shutil.rmtree(cache)
    make_folder(cache, user.pw_uid, user.pw_gid, 0o700)
    runner = Runner(origin, access, user, {**_build_environment(cache), **access.environment()}, folder)
    maker = _Uv(uv, venv, runner) if uv else _Pip(tools, venv, runner)
    maker.venv(interpreter)
    if app["server_requirements"]:
        wheels = _wheels(app, tools, interpreter, access)
        maker.install(["--find-links", str(wheels), *app["server_requirements"]], "server",
                      "The app server cannot be installed.")
    if app["package"]:
        maker.install([app["package"]], "source.package", "The package cannot be installed.")
    elif file:
        _install_file(maker, file, bool(uv), origin, why)
    if app["extra_requirements"]:
        maker.install(app["extra_requirements"], "extra_requirements", "They cannot be installed.")
    if app["server_requirements"]:
        server_survived(app, maker.freeze())
    _compile(folder, user)
    said = [f"{origin}: pip made the environment, because uv cannot be had on this host. {why}"] if why else []
    return said, basis


def _compile(folder: Path, user: pwd.struct_passwd) -> None:
    # The app cannot write beside its code later, so its bytecode is made now. What does not compile is found, with a
    # better message, when the app is imported.
    subprocess.run([str(folder / "venv" / "bin" / "python"), "-m", "compileall", "-q", str(folder / "source")],
                   check=False, capture_output=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[],
                   env=_build_environment(None))


#: what a file says of other files and folders of the source, by its kind
_ELSEWHERE = {
    "requirements": re.compile(r"^\s*(-[rce]|--(requirement|constraint|editable)\b|\.|/|file:)|@\s*(file:|\.|/)",
                               re.M),
    "uv.lock": re.compile(r"source = \{[^}]*\b(editable|directory|path)\b"),
    "pylock": re.compile(r"\bdirectory\b|\bpath\s*="),
    "pyproject": re.compile(r""),
}


def _basis(app: Mapping[str, Any], file: Path | None, interpreter: str) -> str:
    """Return the digest of what the environment is made of, "" where that is not all to be seen, or open."""
    if app.get("unpinned"):
        return ""
    text = file.read_text(encoding="utf-8", errors="replace") if file else ""
    if file and _ELSEWHERE[_kind_of(file.name)].search(text):
        return ""
    if file and file.name == "uv.lock":
        text += (file.parent / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    version = run([interpreter, "-c", "import sys; print(sys.version)"], "webstack")
    content = [BASIS, os.path.realpath(interpreter), version, app["package"], file.name if file else "", text,
               app["extra_requirements"], app["server_requirements"], app["packages"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _earlier(folder: Path, basis: str) -> Path | None:
    """Return the folder of a whole release of the app with the same environment."""
    for record in folder.parent.glob("*/release.json") if basis else ():
        try:
            same = json.loads(record.read_text(encoding="utf-8")).get("environment") == basis
        except (OSError, ValueError, AttributeError):
            continue
        if same and record.parent != folder and (record.parent / "venv" / "bin" / "python").exists():
            return record.parent
    return None


def _copy(source: Path, target: Path) -> None:
    """Copy an environment, and put its new place into its scripts.

    The files are root's, and nobody writes to them again: both releases have the same ones, by hard links.
    """
    copy, places = ["cp", "--archive", "--no-target-directory"], [str(source), str(target)]
    target.rmdir()
    try:
        run([*copy, "--link", *places], "webstack")
    except ReleaseError:  # a file system without hard links
        shutil.rmtree(target, ignore_errors=True)
        run([*copy, *places], "webstack", "An environment cannot be copied.")
    old, new = str(source).encode(), str(target).encode()
    for path in [target / "pyvenv.cfg", *(target / "bin").iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if old in data and b"\0" not in data:
            mode = stat.S_IMODE(path.stat().st_mode)
            path.unlink()  # not the other release's
            path.write_bytes(data.replace(old, new))
            path.chmod(mode)


def _kind_of(name: str) -> str:
    """Return how a file of requirements is read; the controller goes by the same names."""
    if name in ("uv.lock", "pyproject.toml"):
        return name.removesuffix(".toml")
    return "pylock" if re.fullmatch(r"pylock(\.[^.]+)?\.toml", name) else "requirements"


class _Uv:
    """uv, and what it is told each time."""

    def __init__(self, uv: str, venv: Path, runner: Runner):
        self.uv, self.folder, self.runner = uv, venv, runner
        self.python = str(venv / "bin" / "python")

    def venv(self, interpreter: str) -> None:
        self.runner([self.uv, "venv", "--allow-existing", "--python", interpreter, str(self.folder)],
                    "python", "This interpreter makes no virtual environment.")

    def install(self, arguments: Sequence[str], key: str, hint: str, cwd: Path | None = None) -> None:
        self.runner([self.uv, "pip", "install", "--python", self.python, "--compile-bytecode", "--link-mode", "copy",
                     *arguments], key, hint, cwd=cwd)

    def sync(self, cwd: Path, key: str, hint: str) -> None:
        """Install what ``uv.lock`` says, and leave the app server where it is."""
        self.runner([self.uv, "sync", "--frozen", "--inexact", "--no-dev", "--no-editable", "--python", self.python,
                     "--compile-bytecode", "--link-mode", "copy"], key, hint, cwd=cwd,
                    UV_PROJECT_ENVIRONMENT=str(self.folder))

    def freeze(self) -> str:
        return self.runner([self.uv, "pip", "freeze", "--python", self.python], "requirements")


class _Pip:
    """pip of the tools' environment, so that the release's own is the same as with uv."""

    def __init__(self, tools: Path, venv: Path, runner: Runner):
        self.folder, self.runner = venv, runner
        self.pip = [str(tools / "bin" / "python"), "-m", "pip", "--python", str(venv / "bin" / "python")]

    def venv(self, interpreter: str) -> None:
        self.runner([interpreter, "-m", "venv", "--without-pip", str(self.folder)], "python",
                    "This interpreter makes no virtual environment.")

    def install(self, arguments: Sequence[str], key: str, hint: str, cwd: Path | None = None) -> None:
        self.runner([*self.pip, "install", "--quiet", *arguments], key, hint, cwd=cwd)

    def freeze(self) -> str:
        return self.runner([*self.pip, "freeze", "--all"], "requirements")


def _install_file(maker: _Uv | _Pip, file: Path, uv: bool, origin: str, why: str) -> None:
    """Install what the file says; its kind follows from its name, as on the controller."""
    key, hint, project = "requirements", f"What {file.name} names cannot be installed.", file.parent
    if _kind_of(file.name) in ("uv.lock", "pylock"):
        if not uv:
            raise ReleaseError(f"{origin}.requirements", f"{file.name} is read by uv alone, and this host has none. "
                               f"{why} Export it as a requirements.txt (`uv export --format requirements-txt`).")
        if file.name == "uv.lock":
            maker.sync(project, key, hint)
        else:
            maker.install(["--requirements", str(file)], key, hint, cwd=project)
    elif file.name == "pyproject.toml":
        told = tomllib.loads(file.read_text(encoding="utf-8"))
        if "build-system" in told:
            maker.install([str(project)], key, hint, cwd=project)
        elif told.get("project", {}).get("dependencies"):
            # A folder that is no package: only what it asks for.
            maker.install(told["project"]["dependencies"], key, hint, cwd=project)
    else:
        # With one hash in the file all must have one; pip sees to it by itself.
        hashed = uv and re.search(r"\s--hash[= ]", file.read_text(encoding="utf-8", errors="replace"))
        maker.install([*(["--require-hashes"] if hashed else []), "--requirement", str(file)], key, hint, cwd=project)


def server_survived(app: Mapping[str, Any], frozen: str) -> None:
    """Refuse requirements that bring another version of the app server than the one that was tested."""
    have = {line.partition("==")[0].lower(): line for line in frozen.splitlines()}
    for wanted in app["server_requirements"]:
        name = re.split(r"[=<>\[ ]", wanted)[0].lower()
        if "==" in wanted and have.get(name, "").lower() != wanted.lower():
            raise ReleaseError(f"{app['origin']}.requirements", f"they bring {have.get(name, 'no ' + name)}, and the "
                               f"server is run with {wanted}. Take {name} out of the requirements.")


def _tools(interpreter: str, access: Access) -> tuple[Path, str, str]:
    """Return the folder of the tools, uv ("" for none) and why there is none.

    They are installed once per host and Python in an environment of their own.
    """
    builder = pwd.getpwnam(BUILDER)
    make_folder(CACHE, 0, 0, 0o755)
    base = CACHE / "tools"
    make_folder(base, 0, 0, 0o755)
    folder = base / f"{_tag(interpreter)}-{os.uname().machine}"
    uv = folder / "bin" / "uv"
    if access.installer == "pip":
        # Beside those with uv: another app of the host may want it.
        folder = folder.with_name(f"{folder.name}-pip")
        if (folder / "bin" / "pip").exists():
            return folder, "", ""
    elif uv.exists():
        return folder, str(uv), ""
    # Of this run alone: two may be at it, for the test hosts of a Debian release share this folder.
    partial = Path(f"{folder}.{os.uname().nodename}-{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial, builder.pw_uid, builder.pw_gid, 0o755)
    runner = Runner("", access, builder, {**_build_environment(None), **access.environment("tools_index")}, partial)
    runner([interpreter, "-m", "venv", str(partial)], "webstack", "python3-venv does not work on this host.")
    why = ""
    if access.installer != "pip":
        try:
            runner([str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir",
                    "--only-binary", ":all:", UV], "webstack", "uv, which makes the environments, cannot be installed.")
        except ReleaseError as error:
            if access.installer == "uv":
                shutil.rmtree(partial, ignore_errors=True)
                raise
            why = " ".join(str(error).split())
            folder = folder.with_name(f"{folder.name}-pip")
    give_to_root(partial, 0, folder_mode=0o755)
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not (folder / "bin" / "python").exists():
            raise
    return folder, "" if why or access.installer == "pip" else str(uv), why


def _wheels(app: Mapping[str, Any], tools: Path, interpreter: str, access: Access) -> Path:
    """Build the app server once per host; the apps install it from there. uWSGI is compiled for most of a minute."""
    builder = pwd.getpwnam(BUILDER)
    folder = CACHE / "wheels" / f"{_tag(interpreter)}-{os.uname().machine}"
    for path in (folder.parent, folder):
        make_folder(path, 0, 0, 0o755)
    for requirement in app["server_requirements"]:
        mark = folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', requirement)}.done"
        if mark.exists():
            continue
        # On the file system of the wheels, so that they arrive by rename.
        partial = folder.parent / f".build-{os.getpid()}-{os.uname().nodename}"
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial, builder.pw_uid, builder.pw_gid, 0o700)
        try:
            environment = {**_build_environment(None), **access.environment("tools_index"), "HOME": str(partial)}
            runner = Runner(app["origin"], access, builder, environment, partial)
            runner([str(tools / "bin" / "python"), "-m", "pip", "wheel", "--quiet", "--use-pep517", "--no-deps",
                    "--no-cache-dir", "--wheel-dir", str(partial / "wheels"), requirement], "server",
                   f"{requirement} cannot be built.")
            for wheel in (partial / "wheels").iterdir():
                os.chown(wheel, 0, 0)
                os.replace(wheel, folder / wheel.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        mark.touch()
    return folder


def _tag(interpreter: str) -> str:
    return run([interpreter, "-c", "import sys; print(sys.implementation.cache_tag)"], "webstack").strip()


def _build_environment(cache: Path | None) -> dict[str, str]:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
        "HOME": str(cache or "/nonexistent"), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "GIT_TERMINAL_PROMPT": "0",
    }
    if cache:
        environment |= {"UV_CACHE_DIR": str(cache / "uv"), "PIP_CACHE_DIR": str(cache / "pip")}
    return environment


def make_folder(path: Path, uid: int, gid: int, mode: int) -> bool:
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


def run(arguments: Sequence[str], path: str, hint: str = "", user: pwd.struct_passwd | None = None,
        environment: Mapping[str, str] | None = None, cwd: Path | None = None,
        hide: Callable[[str], str] = Access({}).hide) -> str:
    """Run a command and return its output; raises ReleaseError with the end of what it said."""
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    try:
        answer = subprocess.run(list(arguments), capture_output=True, text=True, errors="replace", check=False,
                                stdin=subprocess.DEVNULL, timeout=_TIMEOUT, env=environment, cwd=cwd or "/",
                                umask=0o022, **identity)
    except FileNotFoundError:
        raise ReleaseError(path, f"{arguments[0]} is not on this host.") from None
    except subprocess.TimeoutExpired:
        raise ReleaseError(path, f"{os.path.basename(arguments[0])} took more than {_TIMEOUT} s.") from None
    if answer.returncode:
        said = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-12:]
        raise ReleaseError(path, "\n    ".join([hint or f"{arguments[0]} failed.", *map(hide, said)]))
    return answer.stdout
