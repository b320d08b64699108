"""What the kernel has counted for a container, from its cgroup."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from seatrial.node.linux import machine


@dataclass(frozen=True, slots=True)
class Account:
    """Cpu time since the container's start, and its working set: memory that the kernel could not drop at once."""

    cpu_s: float
    memory_bytes: int


def account(cgroup: str) -> Account | None:
    """The account of a cgroup path; None if it is gone or does not count."""
    try:
        if machine.v2():
            here = machine.CGROUPS / cgroup.lstrip("/")
            cpu_s = _field(here / "cpu.stat", "usage_usec") / 1e6
            used, idle = _number(here / "memory.current"), _field(here / "memory.stat", "inactive_file")
        else:
            cpu_s = _number(machine.CGROUPS / "cpuacct" / cgroup.lstrip("/") / "cpuacct.usage") / 1e9
            here = machine.CGROUPS / "memory" / cgroup.lstrip("/")
            used = _number(here / "memory.usage_in_bytes")
            idle = _field(here / "memory.stat", "total_inactive_file")
    except (OSError, ValueError, KeyError):
        return None
    return Account(cpu_s, max(0, used - idle))


def processes(cgroup: str) -> int:
    """How many processes live in a cgroup path and below."""
    root = machine.CGROUPS if machine.v2() else machine.CGROUPS / "memory"
    found = 0
    for directory, _, _ in os.walk(root / cgroup.lstrip("/")):
        with contextlib.suppress(OSError):
            found += len(Path(directory, "cgroup.procs").read_text().split())
    return found


def _number(file: Path) -> int:
    return int(file.read_text())


def _field(file: Path, name: str) -> int:
    return int(dict(line.split() for line in file.read_text().splitlines())[name])
