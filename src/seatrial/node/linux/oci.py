"""A `Sandbox` as an OCI runtime configuration (`config.json`, runtime-spec 1.0.2, as runc 1.1 reads it)."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from seatrial.control.sandbox import CPU_PERIOD_US, Limits, Sandbox

UNLIMITED = -1
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
    "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(f"CAP_{name}" for name in str.split(_NAMES))
"""By their bit in a capability set (linux/capability.h)."""
PIDS_LIMIT = 0
"""No limit: the kubelet sets none by default."""


def config(sandbox: Sandbox, *, rootfs: Path, namespaces: Path, cgroup: str, unified: bool) -> dict[str, Any]:
    """The configuration; `namespaces` is the directory with the pod's `net`, `ipc` and `uts`."""
    spaces: list[dict[str, str]] = [{"type": "mount"}]
    if not sandbox.host_pid:
        spaces.append({"type": "pid"})
    if not sandbox.host_ipc:
        spaces.append({"type": "ipc", "path": str(namespaces / "ipc")})
    if not sandbox.host_network:
        spaces.append({"type": "network", "path": str(namespaces / "net")})
        spaces.append({"type": "uts", "path": str(namespaces / "uts")})
    if unified:
        spaces.append({"type": "cgroup"})
    held = _held()
    # Privileged is all that can be given, as with containerd; what is asked for by name and cannot be is an error.
    capabilities = [name for name in sandbox.capabilities if not sandbox.privileged or name in held]
    limited = {
        part: {key: value for key, value in amounts.items() if value != UNLIMITED}
        for part, amounts in resources(sandbox.limits).items()
    }
    linux: dict[str, Any] = {
        "namespaces": spaces,
        "cgroupsPath": cgroup,
        "resources": {
            "devices": [{"allow": sandbox.privileged, "access": "rwm"}],
            **{part: amounts for part, amounts in limited.items() if amounts},
        },
        "maskedPaths": list(sandbox.masked_paths),
        "readonlyPaths": list(sandbox.readonly_paths),
        "rootfsPropagation": "rslave",
    }
    if sandbox.sysctls:
        linux["sysctl"] = dict(sandbox.sysctls)
    if sandbox.privileged:
        linux["devices"] = _host_devices()
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs), "readonly": sandbox.read_only_root},
        "process": {
            "terminal": sandbox.terminal,
            "user": {
                "uid": sandbox.user.uid,
                "gid": sandbox.user.gid,
                "additionalGids": list(sandbox.user.groups),
            },
            "args": list(sandbox.args),
            "env": list(sandbox.env),
            "cwd": sandbox.cwd,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": sandbox.no_new_privileges,
            "oomScoreAdj": max(sandbox.limits.oom_score_adj, _least_oom_score_adj()),
        },
        "mounts": [
            {
                "destination": mount.destination,
                "source": mount.source,
                "type": mount.type,
                "options": list(mount.options),
            }
            for mount in sandbox.mounts
        ],
        "linux": linux,
    }


def resources(limits: Limits) -> dict[str, dict[str, int]]:
    """cgroup settings as `runc update` reads them."""
    return {
        "cpu": {
            "shares": limits.cpu_shares,
            "quota": limits.cpu_quota_us or UNLIMITED,
            "period": CPU_PERIOD_US,
        },
        "memory": {"limit": limits.memory_bytes or UNLIMITED},
    }


@cache
def _least_oom_score_adj() -> int:
    """Without CAP_SYS_RESOURCE (in a confined container, say) no process can be spared more than its parent is."""
    return -1000 if "CAP_SYS_RESOURCE" in _held() else int(Path("/proc/self/oom_score_adj").read_text())


@cache
def _held() -> frozenset[str]:
    """The capabilities of this process, and so the most that a container can have."""
    status = Path("/proc/self/status").read_text()
    bits = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return frozenset(name for bit, name in enumerate(CAPABILITIES) if bits >> bit & 1)


def _host_devices() -> list[dict[str, Any]]:
    """The machine's devices, for privileged containers; what runc makes itself is left out."""
    own = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    found = []
    for entry in sorted(os.scandir("/dev"), key=lambda item: item.name):
        state = entry.stat(follow_symlinks=False)
        if entry.name in own or not (stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode)):
            continue
        found.append(
            {
                "path": entry.path,
                "type": "c" if stat.S_ISCHR(state.st_mode) else "b",
                "major": os.major(state.st_rdev),
                "minor": os.minor(state.st_rdev),
                "fileMode": stat.S_IMODE(state.st_mode),
                "uid": state.st_uid,
                "gid": state.st_gid,
            }
        )
    return found
