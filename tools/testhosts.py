#!/usr/bin/env python3
"""Bring up test hosts: Debian with a real systemd and a real SSH, as podman containers.

One implementation for the demo and for Molecule. The hosts are listed in tests/hosts.toml; whatever
is made lies under .cache/hosts and in podman objects that carry a hash of the checkout's path, so
that two checkouts on one machine never touch each other's hosts.

Files for others to read, all in .cache/hosts:
  checkout     whose folder it is
  ssh_config   `ssh -F .cache/hosts/ssh_config NAME`
  id_ed25519   the key of the user `deploy`
  subnet       the first three octets of the hosts' addresses, such as 10.213.7
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "hosts"
CHECKOUT = "wst" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
# Where Ansible shares its SSH connections; the Makefile and tools/test.sh name the same folder.
CONNECTIONS = Path.home() / ".ansible" / f"cp-{CHECKOUT.removeprefix('wst')}"
IMAGES = f"localhost/{CHECKOUT}"
SSH = ["ssh", "-F", str(CACHE / "ssh_config")]
CA_CERTIFICATES = Path("/usr/local/share/ca-certificates")

SUITES = {"12": "bookworm", "13": "trixie", "testing": "testing"}
PACKAGES = ["openssh-server", "python3", "python3-apt", "sudo", "dbus", "systemd-sysv", "iproute2"]
PACKAGES += ["ca-certificates", "iputils-ping", "less", "procps"]
WANTED = {"podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "ssh": "openssh-client"}

# Runs on the finished root file system ($1), from the folder that holds the key and the certificates.
CUSTOMISE = r"""#!/bin/sh
set -eu
useradd --root "$1" --create-home --shell /bin/bash deploy
install -d -m 700 "$1/home/deploy/.ssh"
install -m 600 authorized_keys "$1/home/deploy/.ssh/authorized_keys"
chroot "$1" chown -R deploy:deploy /home/deploy/.ssh
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/deploy"
chmod 440 "$1/etc/sudoers.d/deploy"
echo 'LANG=C.UTF-8' > "$1/etc/default/locale"
printf '%s\n' 'PermitRootLogin no' 'PasswordAuthentication no' > "$1/etc/ssh/sshd_config.d/test.conf"

# The controller's own certificate authorities, for networks that inspect TLS. Debian's pip follows the system's
# list; uv and Node bring their own, unless told otherwise.
if ls certificates/*.crt > /dev/null 2>&1; then
    cp certificates/*.crt "$1/usr/local/share/ca-certificates/"
    chroot "$1" update-ca-certificates > /dev/null
    install -d "$1/etc/uv"
    echo 'native-tls = true' > "$1/etc/uv/uv.toml"
    echo 'NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' >> "$1/etc/environment"
    echo 'Defaults env_keep += "NODE_EXTRA_CA_CERTS"' >> "$1/etc/sudoers.d/deploy"
fi

# Units that fail in a container (the host would count as degraded), or that reach for the machine's own kernel.
for unit in systemd-modules-load.service systemd-sysctl.service getty.target e2scrub_reap.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
done

# Keep what apt downloads: the folder is seeded from, and harvested into, a cache of all hosts.
cat > "$1/etc/apt/apt.conf.d/90keep" <<'EOF'
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
EOF
# Nobody misses a test host's disk after a power cut: without its fsync calls dpkg is faster.
echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/fast"
: > "$1/etc/machine-id"
"""

# On cgroup v1 and hybrid machines newer systemd refuses to boot, so there it gets a cgroup v2 folder of its own;
# with a cgroup namespace below it, /proc/1/cgroup says "/", as on a real host.
HYBRID_INIT = "echo $$ > /sys/fs/cgroup/cgroup.procs && exec unshare --cgroup /sbin/init"
UNIFIED = Path("/sys/fs/cgroup/unified")


class Failed(Exception):
    """Something the user should read, without a traceback."""


def say(*words: object) -> None:
    """Print a line of progress at once, even into a pipe."""
    print(*words, flush=True)


def run(*command: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command quietly; if it fails, raise what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, text=True, capture_output=True, check=False, **options)
    if check and done.returncode:
        raise Failed(f"{shlex.join(words)}\nfailed ({done.returncode}):\n{(done.stderr or done.stdout).strip()}")
    return done


def podman(*words: object, check: bool = True) -> str:
    """Run podman and return its output."""
    return run("podman", *words, check=check).stdout.strip()


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock that other processes, and other threads, of this tool respect."""
    folder = CACHE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def give_to_owner(*paths: Path) -> None:
    """Hand files made under sudo to the owner of the checkout."""
    owner = ROOT.stat()
    for path in paths:
        os.chown(path, owner.st_uid, owner.st_gid)


# --- the table ------------------------------------------------------------------------------------


class Host:
    """One line of the table, and the names that follow from it."""

    def __init__(self, name: str, debian: str, address: int, **_: object) -> None:
        """Take a table entry; what is only for the reader (groups) is ignored."""
        if debian not in SUITES:
            raise Failed(f"tests/hosts.toml: {name}: debian must be one of {', '.join(SUITES)}, not {debian!r}")
        if not 2 <= address <= 254:
            raise Failed(f"tests/hosts.toml: {name}: address must be between 2 and 254, not {address}")
        self.name, self.debian, self.octet = name, debian, address
        self.container = f"{CHECKOUT}-{name}"
        self.archives = CACHE / "archives" / name  # its private /var/cache/apt/archives
        self.downloads = CACHE / f"debian-{debian}"  # shared by all hosts of the release
        self.cgroup = UNIFIED / self.container

    def __str__(self) -> str:
        """Show as the name."""
        return self.name

    @property
    def address(self) -> str:
        """The address, known once the network is there."""
        return f"{subnet()}.{self.octet}"

    @property
    def mac(self) -> str:
        """Fixed like the address: nobody's neighbour table is wrong when the host is made anew."""
        return f"02:{CHECKOUT[3:5]}:{CHECKOUT[5:7]}:{CHECKOUT[7:9]}:00:{self.octet:02x}"


def table() -> dict[str, Host]:
    """Read tests/hosts.toml."""
    data = tomllib.loads((ROOT / "tests" / "hosts.toml").read_text())
    hosts = {name: Host(name, **entry) for name, entry in data["hosts"].items()}
    octets: dict[int, str] = {}
    for host in hosts.values():
        if host.octet in octets:
            raise Failed(f"tests/hosts.toml: {host.name} and {octets[host.octet]} share the address {host.octet}")
        octets[host.octet] = host.name
    return hosts


def pick(names: list[str]) -> list[Host]:
    """Find hosts by name."""
    hosts = table()
    if unknown := [name for name in names if name not in hosts]:
        raise Failed(f"no such host: {', '.join(unknown)} (tests/hosts.toml has {', '.join(hosts)})")
    return [hosts[name] for name in dict.fromkeys(names)]


# --- the ground: podman's settings, key, network, ssh_config -----------------------------------------


def subnet() -> str:
    """Return the first three octets of the hosts' network."""
    return (CACHE / "subnet").read_text().strip()


def hybrid() -> bool:
    """Tell whether this machine lacks a pure cgroup v2 tree."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def see_whose(moved: bool = False) -> None:
    """Refuse a .cache/hosts that is another checkout's: what is changed in it would be changed for that one's hosts."""
    for path in (CACHE.parent, CACHE):
        if path.is_symlink():
            name = path.relative_to(ROOT)
            raise Failed(f"{name} is a symbolic link: another checkout's hosts may lie there. Remove it: rm {name}")
    owner = CACHE / "checkout"
    if not moved and owner.exists() and (found := owner.read_text().strip()) != CHECKOUT:
        raise Failed(
            f".cache/hosts is another checkout's ({found}), of which this one ({CHECKOUT}) is a copy, or it was moved. "
            f"Make it anew: make clean, or rm -r .cache/hosts. Hosts that are left from a checkout that was moved: "
            f"podman ps --all --filter label=checkout={found}"
        )


def prepare() -> None:
    """Check what is needed and make what all commands share."""
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise Failed("the test hosts need root: become root, or install sudo")
        os.execvp("sudo", ["sudo", "--", sys.executable, *sys.argv])
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [package for program, package in WANTED.items() if not shutil.which(program)]:
        raise Failed(f"missing programs; install them with: apt-get install {' '.join(missing)}  (or: make setup)")
    CACHE.mkdir(parents=True, exist_ok=True)
    give_to_owner(ROOT / ".cache", CACHE)
    replace(CACHE / "checkout", CHECKOUT + "\n")
    # crun refuses hybrid cgroups, and without a running systemd there is no systemd cgroup manager nor journal.
    settings = CACHE / "containers.conf"
    text = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    text += '[network]\nnetwork_backend = "netavark"\n'
    replace(settings, text)
    os.environ["CONTAINERS_CONF"] = str(settings)


def replace(path: Path, text: str) -> None:
    """Write a small file whole or not at all; parallel readers never see half of it."""
    if path.exists() and path.read_text() == text:
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text)
    give_to_owner(fresh)
    fresh.rename(path)


def ground() -> None:
    """Make the key, the network and the ssh_config, where they are not there yet."""
    with lock("ground"):
        key = CACHE / "id_ed25519"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test hosts", "-f", key)
            give_to_owner(key, key.with_suffix(".pub"))
        ensure_network()
        lines = [
            "# Written by tools/testhosts.py",
            *(f"Host {host.name}\n  HostName {host.address}" for host in table().values()),
            "Host *",
            "  User deploy",
            f'  IdentityFile "{key}"',
            "  IdentitiesOnly yes",
            "  BatchMode yes",
            "  StrictHostKeyChecking no",
            "  UserKnownHostsFile /dev/null",
            "  LogLevel ERROR",
        ]
        replace(CACHE / "ssh_config", "\n".join(lines) + "\n")


def ensure_network() -> None:
    """Make the checkout's own network on a /24 that nothing else on this machine uses."""
    found = json.loads(podman("network", "inspect", CHECKOUT, check=False) or "[]")
    if found:
        replace(CACHE / "subnet", found[0]["subnets"][0]["subnet"].rpartition(".")[0] + "\n")
        return
    routes = [route["dst"] for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all").stdout)]
    taken = [ipaddress.ip_network(route) for route in routes if re.fullmatch(r"[0-9./]+", route)]
    taken = [network for network in taken if network.prefixlen >= 8]  # a tunnel's 0.0.0.0/1 is not "in use"
    first = int(CHECKOUT[3:], 16)
    for offset in range(254):
        prefix = f"10.213.{(first + offset) % 254 + 1}"
        network = ipaddress.ip_network(f"{prefix}.0/24")
        if any(network.overlaps(other) for other in taken):
            continue
        # podman refuses subnets of its other networks, running or not.
        if podman("network", "create", "--disable-dns", f"--subnet={network}", CHECKOUT, check=False):
            say(f"network {network}")
            replace(CACHE / "subnet", prefix + "\n")
            return
    raise Failed("no free 10.213.N.0/24 network on this machine")


# --- images ----------------------------------------------------------------------------------------


def certificates() -> list[Path]:
    """List the certificate authorities that this machine trusts on top of Debian's."""
    return sorted(CA_CERTIFICATES.glob("*.crt"))


def image_name(debian: str) -> str:
    """Name the image after all that goes into it, so that a changed recipe makes a new one."""
    recipe = hashlib.sha256(" ".join([SUITES[debian], *PACKAGES, CUSTOMISE]).encode())
    recipe.update((CACHE / "id_ed25519.pub").read_bytes())
    for certificate in certificates():
        recipe.update(certificate.read_bytes())
    return f"{IMAGES}/debian-{debian}:{recipe.hexdigest()[:12]}"


def ensure_image(debian: str) -> str:
    """Make the image of a Debian release, unless it is there, and return its name."""
    name = image_name(debian)
    with lock(f"image-{debian}"):
        if run("podman", "image", "exists", name, check=False).returncode == 0:
            return name
        say(f"image debian-{debian}: making it (about half a minute)")
        start = time.monotonic()
        build = CACHE / f"build-{debian}"
        shutil.rmtree(build, ignore_errors=True)
        (build / "certificates").mkdir(parents=True)
        for certificate in certificates():
            shutil.copy(certificate, build / "certificates")
        shutil.copy(CACHE / "id_ed25519.pub", build / "authorized_keys")
        (build / "customise").write_text(CUSTOMISE)
        tree = build / "root.tar"
        # No mirror is named: mmdebstrap takes Debian's own, and leaves the image with the same. A testing mirror
        # may lag behind the date in its Release file.
        run(
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f'--customize-hook=cd {shlex.quote(str(build))} && sh ./customise "$1"',
            SUITES[debian], tree,
        )  # fmt: skip
        podman("import", tree, name)
        shutil.rmtree(build)
        for old in podman("images", "--format={{.Repository}}:{{.Tag}}", f"{IMAGES}/debian-{debian}").split():
            if old != name:  # one that a host still runs on stays: this is not forced
                podman("rmi", old, check=False)
        say(f"image debian-{debian}: made in {time.monotonic() - start:.0f} s")
    return name


# --- hosts -----------------------------------------------------------------------------------------


def containers() -> dict[str, dict]:
    """Return this checkout's containers by host name."""
    listing = podman("ps", "--all", f"--filter=label=checkout={CHECKOUT}", "--format=json")
    return {found["Labels"]["host"]: found for found in json.loads(listing or "[]")}


def share_archives(source: Path, target: Path) -> None:
    """Hard-link the packages in one folder into another: no copy, and apt never writes into a finished file."""
    target.mkdir(parents=True, exist_ok=True)
    for package in source.glob("*.deb"):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(package, target / package.name)


def harvest(hosts: list[Host]) -> None:
    """Put what hosts have downloaded into the cache of their release."""
    for host in hosts:
        if host.archives.is_dir():
            share_archives(host.archives, host.downloads / "apt")


def limits() -> list[str]:
    """Ask for no more than this machine's hard limits: raising them may not be allowed."""

    def hard(which: int, ceiling: int) -> int:
        value = resource.getrlimit(which)[1]
        return ceiling if value == resource.RLIM_INFINITY else min(value, ceiling)

    files, processes = hard(resource.RLIMIT_NOFILE, 1 << 20), hard(resource.RLIMIT_NPROC, 1 << 14)
    return [f"--ulimit=nofile={min(1024, files)}:{files}", f"--ulimit=nproc={processes}:{processes}"]


def remove(host: Host) -> None:
    """Remove a host, keeping what it downloaded."""
    podman("rm", "--force", "--time=0", "--ignore", host.container)
    # A host that is killed says no goodbye: a shared SSH connection to it would be taken for one to its successor.
    for shared in CONNECTIONS.glob("*"):
        shared.unlink(missing_ok=True)
    harvest([host])
    shutil.rmtree(host.archives, ignore_errors=True)
    if host.cgroup.is_dir():  # cgroup folders: only directories are to be removed, the deepest first
        for folder in sorted((path for path in host.cgroup.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        host.cgroup.rmdir()


def create(host: Host, image: str) -> None:
    """Start a fresh host from its image."""
    share_archives(host.downloads / "apt", host.archives)
    (host.archives / "partial").mkdir(exist_ok=True)
    # Root's folders alone: an app's own download cache is its user's, who has another number on every host.
    built = [host.downloads / "built" / name for name in ("tools", "wheels")]
    for folder in built:
        folder.mkdir(parents=True, exist_ok=True)
    how = ["--systemd=always"]
    what = ["/sbin/init"]
    if hybrid():
        host.cgroup.mkdir(exist_ok=True)
        how = ["--systemd=false", f"--volume={host.cgroup}:/sys/fs/cgroup:rw", "--tmpfs=/run:mode=755,exec"]
        how += ["--tmpfs=/run/lock", "--stop-signal=SIGRTMIN+3", "--env=container=podman"]
        what = ["/bin/sh", "-c", HYBRID_INIT]
    podman(
        "run", "--detach", "--privileged", *how, *limits(),
        f"--name={host.container}", f"--hostname={host.name}",
        f"--network={CHECKOUT}:ip={host.address},mac={host.mac}",
        "--sysctl=net.ipv4.ping_group_range=0 2147483647",  # ping without the file capability, which an import loses
        f"--label=checkout={CHECKOUT}", f"--label=host={host.name}", f"--label=made_of={image} {host.address}",
        f"--volume={host.archives}:/var/cache/apt/archives",
        *[f"--volume={folder}:/var/cache/webstack/{folder.name}" for folder in built],
        image, *what,
    )  # fmt: skip


def resume(host: Host) -> None:
    """Start a host that was stopped."""
    if hybrid():
        host.cgroup.mkdir(exist_ok=True)  # gone after a reboot of this machine
    podman("start", host.container)
    wait(host)


def wait(host: Host, seconds: int = 60) -> None:
    """Wait until the host takes SSH logins and all its units are up."""
    deadline = time.monotonic() + seconds
    while True:
        done = run(*SSH, "-oConnectTimeout=2", host.name, "systemctl is-system-running --wait", check=False)
        state = done.stdout.strip()
        if state == "running":
            return
        if state == "degraded":
            units = run(*SSH, host.name, "systemctl --failed --no-legend --plain", check=False).stdout
            raise Failed(f"{host.name}: units have failed:\n{units}")
        if time.monotonic() > deadline:
            raise Failed(f"{host.name}: not up after {seconds} s: {state or done.stderr.strip()}")
        time.sleep(0.1)


def each(work: Callable[[T], R], things: Iterable[T]) -> dict[T, R]:
    """Do something for several things at once; report every failure, not only the first."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = {thing: pool.submit(work, thing) for thing in things}
    errors = [f"{thing}: {error}" for thing, job in jobs.items() if (error := job.exception())]
    if errors:
        raise Failed("\n".join(errors))
    return {thing: job.result() for thing, job in jobs.items()}


# --- commands --------------------------------------------------------------------------------------


def up(names: list[str], fresh: bool = False) -> None:
    """Bring hosts up; with `fresh`, even those that run are made anew."""
    hosts = pick(names)
    ground()
    images = each(ensure_image, sorted({host.debian for host in hosts}))
    harvest(list(table().values()))

    def bring(host: Host) -> None:
        start = time.monotonic()
        with lock(f"host-{host.name}"):
            found = containers().get(host.name)
            image = images[host.debian]
            current = found and found["Labels"]["made_of"] == f"{image} {host.address}" and not fresh
            if current and found["State"] == "running":
                say(f"{host.name}: runs already ({host.address}, Debian {host.debian})")
                return
            if current and found["State"] == "exited":
                resume(host)
            else:
                remove(host)
                create(host, image)
                wait(host)
            say(f"{host.name}: up in {time.monotonic() - start:.1f} s ({host.address}, Debian {host.debian})")

    each(bring, hosts)


def down(names: list[str]) -> None:
    """Remove hosts."""

    def take(host: Host) -> None:
        with lock(f"host-{host.name}"):
            remove(host)
            say(f"{host.name}: gone")

    each(take, pick(names))


def down_all() -> None:
    """Remove every host of this checkout, also those that have left the table."""
    hosts = table()
    present = containers()
    for name in present.keys() - hosts.keys():
        podman("rm", "--force", "--time=0", f"{CHECKOUT}-{name}")
        say(f"{name}: gone")
    down([name for name in hosts if name in present])


def stop(names: list[str]) -> None:
    """Shut hosts down in an orderly way; their disks stay."""
    each(lambda host: podman("stop", "--time=20", host.container) and say(f"{host.name}: stopped"), pick(names))


def start(names: list[str]) -> None:
    """Start hosts that were stopped."""

    def begin(host: Host) -> None:
        resume(host)
        say(f"{host.name}: started")

    each(begin, pick(names))


def status() -> None:
    """Print a line for each host that there is."""
    hosts = table()
    present = containers()
    say(f"network {CHECKOUT} {subnet() if (CACHE / 'subnet').exists() else 'not made yet'}, {len(present)} host(s)")
    for name, found in sorted(present.items()):
        if name not in hosts:
            say(f"{name:16} {found['State']:8} no longer in tests/hosts.toml")
            continue
        host = hosts[name]
        current = found["Labels"]["made_of"] == f"{image_name(host.debian)} {host.address}"
        note = "" if current else "  outdated: `up` makes it anew"
        say(f"{name:16} {found['State']:8} {host.address:14} Debian {host.debian}{note}")


def clean() -> None:
    """Remove hosts, network, images and the cache of this checkout."""
    down_all()
    podman("network", "rm", "--force", CHECKOUT, check=False)
    for image in podman("images", "--quiet", f"{IMAGES}/*").split():
        podman("rmi", "--force", image, check=False)
    shutil.rmtree(CACHE)
    say("hosts, network, images and .cache/hosts are gone")


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Test hosts: Debian with systemd and SSH. See tests/hosts.toml.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, names: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if names:
            sub.add_argument("names", nargs=names, metavar="NAME")
        return sub

    command("up", "bring hosts up; those that run already are left alone", "+")
    command("down", "remove hosts", "*").add_argument("--all", action="store_true", help="every host of this checkout")
    command("reset", "make hosts anew from their image", "+")
    command("stop", "shut hosts down, keeping their disks", "+")
    command("start", "start hosts that were stopped", "+")
    command("reboot", "stop and start hosts", "+")
    command("image", "make the images of Debian releases (12 and 13 if none is named)", "*")
    command("status", "show the hosts that there are")
    sub = command("ssh", "log in to a host, or run a command on it")
    sub.add_argument("name")
    sub.add_argument("words", nargs=argparse.REMAINDER)
    command("clean", "remove hosts, network, images and cache of this checkout")
    options = parser.parse_args()

    see_whose(moved=options.command == "clean")  # which takes away what is this checkout's alone
    if options.command == "ssh":  # needs no root
        pick([options.name])
        os.execvp("ssh", [*SSH, options.name, *options.words])
    prepare()
    match options.command:
        case "up":
            up(options.names)
        case "reset":
            up(options.names, fresh=True)
        case "down":
            if options.all:
                down_all()
            elif options.names:
                down(options.names)
            else:
                parser.error("down: name hosts, or say --all")
        case "stop":
            stop(options.names)
        case "start":
            start(options.names)
        case "reboot":
            stop(options.names)
            start(options.names)
        case "image":
            if unknown := set(options.names) - set(SUITES):
                parser.error(f"image: {', '.join(unknown)}: not one of {', '.join(SUITES)}")
            ground()
            for name in each(ensure_image, options.names or ["12", "13"]).values():
                say(name)
        case "status":
            status()
        case "clean":
            clean()


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"testhosts: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
