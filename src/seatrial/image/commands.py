"""A command run in a root file system while an image is built: one runc container that is gone afterwards.

It shares the machine's network unless told otherwise, sees the machine's resolv.conf, and has the capabilities that
Docker gives by default. runc hands its output and its errors on through two pipes, so that lines of the one can
overtake lines of the other. What had to be created only to mount something leaves no trace in the layer.
"""

from __future__ import annotations

import os
import shlex
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from seatrial.image import process, tars
from seatrial.image.errors import BuildError

HOSTNAME = "build"

# In the order of their numbers in capability.h, which is also that of the bits in /proc/self/status.
_CAPABILITIES = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_SETGID": 6,
    "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13, "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27, "CAP_AUDIT_WRITE": 29, "CAP_SETFCAP": 31,
}  # fmt: skip
_HOSTS = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_MOUNTED = ("dev", "proc", "sys", "etc/resolv.conf", "etc/hosts")


@dataclass(frozen=True, slots=True)
class Mount:
    """Something a command sees that stays out of the layer; without a source it is an empty tmpfs."""

    target: str
    source: Path | None = None
    read_only: bool = False
    size: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    workdir: str
    network: bool

    def by_hand(self) -> str:
        return f"cd {shlex.quote(self.workdir)} && {shlex.join(self.argv)}"


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def owner(root: Path, text: str) -> Owner:
    """`user`, `user:group` or numbers, names looked up in the image. Raises ValueError if one is not there."""
    user, _, group = text.partition(":")
    users, groups = _table(root, "etc/passwd", 6), _table(root, "etc/group", 4)
    row = next((row for row in users if user in (row[0], row[2])), None) if user else None
    if row is not None:
        uid, gid, home = int(row[2]), int(row[3]), row[5] or "/"
    elif not user or user.isdigit():
        uid, gid, home = int(user or 0), 0, "/root" if int(user or 0) == 0 else "/"
    else:
        raise ValueError(f"there is no user {user!r} in the image's /etc/passwd")
    if group:
        found = next((line for line in groups if group in (line[0], line[2])), None)
        if found is None and not group.isdigit():
            raise ValueError(f"there is no group {group!r} in the image's /etc/group")
        gid = int(found[2]) if found else int(group)
    extra = () if group or row is None else tuple(int(line[2]) for line in groups if row[0] in line[3].split(","))
    return Owner(uid, gid, extra, home)


def _table(root: Path, name: str, width: int) -> list[list[str]]:
    path = tars.resolve_in(root, name)
    if not path.is_file():
        return []
    rows = (line.split(":") for line in path.read_text(errors="replace").splitlines())
    return [row for row in rows if len(row) >= width and row[2].isdigit()]


def run(
    command: Command,
    *,
    rootfs: Path,
    directory: Path,
    mounts: Sequence[Mount] = (),
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run `command` in `rootfs`; `directory` is empty and ours.

    Raises `process.CommandFailed`, and BuildError where a container cannot be started at all.
    """
    created = [path for name in (*_MOUNTED, *(m.target for m in mounts)) for path in _absent(rootfs, name)]
    resolv = directory / "resolv.conf"
    try:
        resolv.write_bytes(Path("/etc/resolv.conf").read_bytes())
    except OSError:
        resolv.write_bytes(b"")
    (directory / "hosts").write_text(_HOSTS)
    (directory / "config.json").write_bytes(msgspec.json.encode(_config(command, rootfs, directory, mounts)))
    name = f"st-build-{uuid.uuid4().hex[:12]}"
    runc = ["runc", "--root", str(directory / "runc")]

    def stop() -> None:
        process.run([*runc, "delete", "--force", name])

    try:
        process.run([*runc, "run", "--bundle", str(directory), name], on_line=on_line, stop=stop)
    finally:
        for path in reversed(created):
            _forget(path)


def _absent(rootfs: Path, name: str) -> list[Path]:
    """What of the path is not there yet, outermost first."""
    path = tars.resolve_in(rootfs, name)
    missing = [part for part in (path, *path.parents) if part.is_relative_to(rootfs) and not part.exists()]
    return missing[::-1]


def _forget(path: Path) -> None:
    if path.is_symlink() or not path.exists():
        return
    if path.is_dir():
        if not any(path.iterdir()):
            path.rmdir()
    elif path.stat().st_size == 0:
        path.unlink()


def _config(command: Command, rootfs: Path, directory: Path, mounts: Sequence[Mount]) -> dict[str, Any]:
    try:
        who = owner(rootfs, command.user)
    except ValueError as error:
        raise BuildError(str(error), hint="create it in an earlier RUN, or use its number") from error
    env = {"HOME": who.home, **command.env}
    capabilities = _available()
    spaces = ["pid", "ipc", "uts", "mount", *([] if command.network else ["network"])]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
            "args": list(command.argv),
            "env": [f"{key}={value}" for key, value in env.items()],
            "cwd": command.workdir,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities if who.uid == 0 else [],
                "permitted": capabilities if who.uid == 0 else [],
            },
        },
        "root": {"path": str(rootfs), "readonly": False},
        "hostname": HOSTNAME,
        "mounts": [
            _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
            _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
            _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            _mount("/etc/resolv.conf", "bind", "rbind", "ro", source=directory / "resolv.conf"),
            _mount("/etc/hosts", "bind", "rbind", "ro", source=directory / "hosts"),
            *(_extra(mount) for mount in mounts),
        ],
        "linux": {
            "namespaces": [{"type": space} for space in spaces],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _mount(target: str, kind: str, *options: str, source: Path | None = None) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": str(source or kind), "options": list(options)}


def _extra(mount: Mount) -> dict[str, Any]:
    if mount.source is None:
        return _mount(mount.target, "tmpfs", "nosuid", "nodev", *([f"size={mount.size}"] if mount.size else []))
    return _mount(mount.target, "bind", "rbind", "ro" if mount.read_only else "rw", source=mount.source)


def _available() -> list[str]:
    """Docker's default capabilities, less those that this process does not have itself."""
    bits = -1
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if bits >> bit & 1]


def missing() -> str:
    """Why commands cannot be run here; empty if they can."""
    if os.geteuid() != 0:
        return "building an image needs root (overlayfs, owners of files); run it with sudo"
    if shutil.which("runc") is None:
        return "RUN needs runc: apt-get install runc"
    return ""
