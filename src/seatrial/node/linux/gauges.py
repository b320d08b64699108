"""What the machine has left, and what pods take of it: the signals and the usage that node pressure is decided on.

As the kubelet's: available memory is what is free or could be dropped at once (inactive page cache); disks count what
ordinary users may still take; process ids are those of the whole machine. Disk usage costs a walk over the files, so
that of pods with limits is taken ahead by `measure`, in a thread, and that of others only when a disk is short.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from seatrial.control.lifecycle import pressure
from seatrial.control.lifecycle.configuration import KubeletConfiguration
from seatrial.control.lifecycle.eviction import ContainerUsage, DiskUsage, PodUsage, is_local
from seatrial.control.lifecycle.facts import ContainerFact
from seatrial.control.lifecycle.pressure import Observation
from seatrial.kube.objects import Pod
from seatrial.node.linux.accounting import account, processes
from seatrial.node.linux.machine import Machine

MEMINFO = Path("/proc/meminfo")


def signals(state: Path) -> dict[str, Observation]:
    """Every signal of the machine, for a cluster whose files are below `state`."""
    found = {}
    memory = {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in MEMINFO.read_text().splitlines() if len(line) > 1
    }
    available = memory["MemFree"] + memory.get("Inactive(file)", 0)
    found["memory.available"] = Observation(available, memory["MemTotal"])
    for name, path in (("nodefs", state), ("imagefs", images(state))):
        disk = os.statvfs(path)
        found[f"{name}.available"] = Observation(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
        if disk.f_files:  # some filesystems (btrfs) do not count them
            found[f"{name}.inodesFree"] = Observation(disk.f_ffree, disk.f_files)
    most = min(_number(Path("/proc/sys/kernel", name)) for name in ("pid_max", "threads-max"))
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    found["pid.available"] = Observation(most - running, most)
    return found


def short(state: Path, kubelet: KubeletConfiguration, now: datetime) -> list[str]:
    """What a node here would say of itself at its first look: the thresholds that are crossed already."""
    found = pressure.look(pressure.Memory(), kubelet, signals(state), (), lambda _: None, now, shared_machine=True)
    return [pressure.set_aside_message(threshold, observed) for threshold, observed in found.newly_set_aside]


def has_image_disk(state: Path) -> bool:
    return images(state).stat().st_dev != state.stat().st_dev


def images(state: Path) -> Path:
    path = state / "images"
    return path if path.is_dir() else state


class Gauges:
    """Usage of the pods of one node. Disk usage is as old as its last `measure`, if there was one."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._disks: dict[Path, DiskUsage] = {}

    def usage(self, pod: Pod, uid: str, containers: Iterable[ContainerFact], volumes: Mapping[str, str]) -> PodUsage:
        cgroup = f"{self._machine.cgroup}/pod{uid}"
        memory = {}
        for fact in containers:
            counted = account(f"{cgroup}/{fact.id}") if fact.id and fact.finished_at is None else None
            memory[fact.name] = None if counted is None else counted.memory_bytes
        found: dict[str, ContainerUsage] = {}
        for name, amount in memory.items():
            layer, logs = self._paths(uid, name)
            found[name] = ContainerUsage(amount, self._disk(layer), self._disk(logs))
        local = {name: self._disk(Path(path)) for name, path in volumes.items() if self._is_own(path, uid)}
        disks = [disk for each in found.values() for disk in (each.layer, each.logs) if disk is not None]
        disks += [local[volume.name] for volume in pod.spec.volumes if volume.name in local and is_local(volume)]
        return PodUsage(
            memory_bytes=sum(amount for amount in memory.values() if amount is not None),
            processes=processes(cgroup),
            containers=found,
            volumes=local,
            ephemeral_bytes=sum(disk.bytes for disk in disks),
        )

    def measure(self, uid: str, containers: Iterable[str], volumes: Mapping[str, str]) -> None:
        """Walk over a pod's files; may be called in a thread."""
        paths = [path for name in containers for path in self._paths(uid, name)]
        paths += [Path(path) for path in volumes.values() if self._is_own(path, uid)]
        for path in paths:
            self._disks[path] = measured(path)

    def forget(self, uid: str) -> None:
        own = self._machine.pods / uid
        self._disks = {path: disk for path, disk in self._disks.items() if not path.is_relative_to(own)}

    def _paths(self, uid: str, container: str) -> tuple[Path, Path]:
        own = self._machine.pods / uid
        return own / "containers" / container, own / "logs" / container

    def _is_own(self, path: str, uid: str) -> bool:
        """A directory of the pod's own: what a hostPath names is not counted as its."""
        return Path(path).is_relative_to(self._machine.pods / uid)

    def _disk(self, path: Path) -> DiskUsage:
        found = self._disks.get(path)
        return measured(path) if found is None else found


def measured(path: Path) -> DiskUsage:
    """What lies below `path` on its own filesystem, in allocated bytes; what vanishes meanwhile is left out."""
    try:
        device = path.lstat().st_dev
    except OSError:
        return DiskUsage()
    taken, count = 0, 0
    pending = [path]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if state.st_dev != device:
                continue
            taken += state.st_blocks * 512
            count += 1
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
    return DiskUsage(taken, count)


def _number(file: Path) -> int:
    return int(file.read_text())
