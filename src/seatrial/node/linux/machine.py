"""What a cluster takes from the machine: names, addresses, what must be installed, and how it is given back.

Every Linux name derives from the cluster id (first six hex digits of the SHA-256 of the state directory), so that
clusters coexist and `cleanup` finds everything by name, whatever became of the process that made it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from seatrial.node.linux import mounts
from seatrial.node.linux.process import run_now

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
CGROUPS = Path("/sys/fs/cgroup")


class RequirementError(Exception):
    """This machine cannot run pods yet; the message says what to do."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Machine:
    """Names and paths of one cluster on this machine."""

    state: Path

    @property
    def id(self) -> str:
        return hashlib.sha256(str(self.state.absolute()).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        return f"st-{self.id}"

    @property
    def table(self) -> str:
        return f"seatrial-{self.id}"

    @property
    def cgroup(self) -> str:
        return f"/seatrial-{self.id}"

    @property
    def pods(self) -> Path:
        return self.state / "pods"

    @property
    def builds(self) -> Path:
        """Where an image build that was killed may have left a mount."""
        return self.state / "images" / "tmp"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def runc_root(self) -> Path:
        return self.run / "runc"

    @property
    def exits(self) -> Path:
        return self.run / "exits"


@dataclass(frozen=True, slots=True)
class Addresses:
    """A cluster's /16: nodes and DNS in the first /24, one /24 of pods for each node, Services in the upper half."""

    network: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The bridge's own address, where DNS listens and host-network pods are reached."""
        return str(self.network[1])

    @property
    def services(self) -> ipaddress.IPv4Network:
        return next(half for half in reversed(list(self.network.subnets(prefixlen_diff=1))))

    def node(self, index: int) -> str:
        return str(self.network[1 + index])

    def pods(self, index: int) -> ipaddress.IPv4Network:
        """The podCIDR of node number `index` (from 0); at most 127 nodes."""
        if not 0 <= index < 127:
            raise ValueError(f"node number {index}: one machine holds at most 127 nodes")
        return list(self.network.subnets(new_prefix=24))[1 + index]


def addresses(cluster_id: str) -> Addresses:
    """The /16 below 10/8 of this cluster: derived from its id, moved on while the host routes it elsewhere."""
    taken = _routed(f"st-{cluster_id}")
    start = int(cluster_id, 16)
    for step in range(256):
        network = ipaddress.ip_network(f"10.{(start + step) % 256}.0.0/16")
        if isinstance(network, ipaddress.IPv4Network) and not any(network.overlaps(other) for other in taken):
            return Addresses(network)
    raise RequirementError("every 10.x.0.0/16 is routed by this machine already: see `ip route`")


def _routed(own: str) -> list[ipaddress.IPv4Network]:
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, _, _, _, _, _, mask = line.split()[:8]
        network = ipaddress.IPv4Address(bytes.fromhex(destination)[::-1])
        bits = ipaddress.IPv4Address(bytes.fromhex(mask)[::-1])
        if name != own and int(bits):
            found.append(ipaddress.IPv4Network(f"{network}/{bits}", strict=False))
    for line in Path("/etc/resolv.conf").read_text().splitlines() if Path("/etc/resolv.conf").exists() else ():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
            found.append(ipaddress.IPv4Network(words[1]))
    return found


PACKAGES = {"runc": "runc", "conmon": "conmon", "nft": "nftables", "ip": "iproute2", "unshare": "util-linux"}


def requirements() -> list[str]:
    """What keeps this machine from running pods, as sentences that end in the command that helps; empty if nothing."""
    problems = []
    if os.geteuid() != 0:
        problems.append("pods need root (namespaces, mounts, nftables): use sudo, or the option --simulate")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None]
    if missing:
        problems.append(f"not installed: {', '.join(missing)}; run: apt-get install -y {' '.join(missing)}")
    if not any("overlay" in line for line in Path("/proc/filesystems").read_text().splitlines()):
        problems.append("the kernel does not offer overlayfs; run: modprobe overlay")
    if not CGROUPS.is_dir() or not (v2() or (CGROUPS / "memory").is_dir()):
        problems.append("no cgroups are mounted; run: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    return problems


def require() -> None:
    """Raises `RequirementError` with everything that is missing."""
    problems = requirements()
    if problems:
        raise RequirementError("this machine cannot run pods:\n" + "\n".join(f"  - {each}" for each in problems))


def v2() -> bool:
    """One unified cgroup hierarchy (otherwise version 1, or hybrid, which runc treats as version 1)."""
    return (CGROUPS / "cgroup.controllers").exists()


def cgroup_directories(path: str) -> list[Path]:
    """`path` in each hierarchy where it exists."""
    roots = [CGROUPS] if v2() else [each for each in CGROUPS.iterdir() if each.is_dir() and not each.is_symlink()]
    return [root / path.lstrip("/") for root in roots if (root / path.lstrip("/")).is_dir()]


def remove_cgroup(path: str) -> bool:
    """Remove `path` and what is below it in each hierarchy; False if something still lives there."""
    clean = True
    for top in cgroup_directories(path):
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                clean = False
    return clean


def cleanup(state: Path) -> None:
    """Remove every process, mount, namespace, link, rule and cgroup of the cluster in `state`, and its pods/ and run/.

    Works from names alone, so also after `kill -9`; doing it twice is harmless. The objects and images in `state` stay.
    """
    machine = Machine(state.absolute())
    _kill(machine)
    for target in (*mounts.below(machine.pods), *mounts.below(machine.run), *mounts.below(machine.builds)):
        mounts.unmount(target)
    for link in _links(machine.bridge):
        run_now(("ip", "link", "delete", link), check=False)
    if shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        run_now(("nft", "delete", "table", "ip", machine.table), check=False)
    deadline = time.monotonic() + 5
    while not remove_cgroup(machine.cgroup) and time.monotonic() < deadline:
        _kill(machine)
        time.sleep(0.02)
    before = machine.run / "ip_forward"
    others = bool(_links("st"))
    if before.exists() and not others:
        IP_FORWARD.write_text(before.read_text())
    shutil.rmtree(machine.pods, ignore_errors=True)
    shutil.rmtree(machine.run, ignore_errors=True)


def _links(bridge: str) -> list[str]:
    names = [path.name for path in Path("/sys/class/net").iterdir()]
    return [name for name in names if name == bridge or name.startswith(bridge + "-")]


def _kill(machine: Machine) -> None:
    """First the monitors, so that none restarts or records anything; then whatever is in the cgroups."""
    needle = f"{machine.pods}/".encode()
    own = os.getpid()
    for entry in (path.name for path in Path("/proc").iterdir()):
        if not entry.isdigit() or int(entry) == own:
            continue
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].rpartition(b"/")[2] in (b"conmon", b"runc") and any(word.startswith(needle) for word in words):
            _end(int(entry))
    for top in cgroup_directories(machine.cgroup):
        for directory, _, _ in os.walk(top):
            try:
                found = Path(directory, "cgroup.procs").read_text().split()
            except OSError:
                continue
            for pid in found:
                if int(pid) != own:
                    _end(int(pid))


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
