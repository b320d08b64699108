"""Whom a node that is short of something ends, and what it says: upstream's ranking, limits and messages.

Rules: for memory and disk, first who uses more than was requested, then who has the lower priority, then who exceeds
the request by more; for process ids only priority and number. Of whom nothing is known goes first. Limits of local
storage (a volume's `sizeLimit`, ephemeral-storage of containers and pods) end a pod whatever the node has left.
Semantics: `pkg/kubelet/eviction/helpers.go` of 1.37.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto

from seatrial.control import qos
from seatrial.control.lifecycle import resize
from seatrial.kube.objects import Container, Pod
from seatrial.kube.objects.volumes import Volume
from seatrial.kube.quantities import ZERO, Quantity


@dataclass(frozen=True, slots=True)
class DiskUsage:
    bytes: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What one container uses; None: not measured."""

    memory_bytes: int | None = None
    layer: DiskUsage | None = None
    logs: DiskUsage | None = None


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What one pod uses, by container and by volume."""

    memory_bytes: int = 0
    processes: int = 0
    containers: Mapping[str, ContainerUsage] = field(default_factory=dict)
    volumes: Mapping[str, DiskUsage] = field(default_factory=dict)
    ephemeral_bytes: int = 0
    """Of local storage together: layers, logs and local volumes."""


class Measure(Flag):
    """What counts for a signal. Disks: the containers' layers, their logs, local volumes; bytes or inodes."""

    MEMORY = auto()
    PROCESSES = auto()
    LAYERS = auto()
    LOGS = auto()
    VOLUMES = auto()
    INODES = auto()

    @classmethod
    def of(cls, signal: str, *, image_disk: bool) -> Measure:
        if signal == "memory.available":
            return cls.MEMORY
        if signal == "pid.available":
            return cls.PROCESSES
        unit = cls.INODES if signal.endswith("inodesFree") else cls(0)
        if not image_disk:
            return cls.LAYERS | cls.LOGS | cls.VOLUMES | unit
        return (cls.LAYERS if signal.startswith("imagefs") else cls.LOGS | cls.VOLUMES) | unit


Usage = Callable[[Pod], PodUsage | None]


def ranked(pods: Iterable[Pod], usage: Usage, measure: Measure) -> tuple[Pod, ...]:
    """The pods, the first to be evicted first; equals stay in their order."""

    def rank(pod: Pod) -> tuple[object, ...]:
        seen = usage(pod)
        priority = pod.spec.priority or 0
        if Measure.PROCESSES in measure:
            return (priority, seen is not None, -seen.processes if seen else 0)
        if seen is None:
            return (False, False, priority, 0)
        if Measure.MEMORY in measure:
            used, exceeding = seen.memory_bytes, requested(pod, "memory")
            asked = exceeding
        else:
            used = _disk(pod, seen, measure)
            asked = requested(pod, "ephemeral-storage")
            exceeding = requested(pod, "inodes") if Measure.INODES in measure else asked
        nanos = used * 10**9
        return (True, nanos <= exceeding.nanos, priority, asked.nanos - nanos)

    return tuple(sorted(pods, key=rank))


def message(pod: Pod, seen: PodUsage | None, resource: str, threshold: str, available: str) -> str:
    """Why `pod` is evicted, as its status and an event say it."""
    text = f"The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. "
    if seen is None:
        return text
    held = pod.spec.resources
    if resource == "memory" and resource in held.requests and qos.has_pod_level(pod.spec.resources):
        used = Quantity(seen.memory_bytes * 10**9, "BinarySI")
        text += f"Pod {pod.metadata.name} was using {used}, request is {held.requests[resource]}, "
        text += f"has larger consumption of {resource}. "
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        amount = _used(seen.containers.get(container.name), resource)
        asked = container.resources.requests.get(resource, ZERO)
        if amount is not None and amount * 10**9 > asked.nanos:
            used = Quantity(amount * 10**9, "BinarySI")
            text += f"Container {container.name} was using {used}, request is {asked}, "
            text += f"has larger consumption of {resource}. "
    return text


def has_limits(pod: Pod) -> bool:
    """`exceeded_limit` has something to measure."""
    sized = any(each.empty_dir is not None and each.empty_dir.size_limit is not None for each in pod.spec.volumes)
    return sized or any("ephemeral-storage" in each.resources.limits for each in _counted(pod))


def exceeded_limit(pod: Pod, usage: Usage, *, image_disk: bool) -> str:
    """What a pod is ended for that uses more local storage than it may; empty if it does not."""
    seen = usage(pod) if has_limits(pod) else None
    if seen is None:
        return ""
    for volume in pod.spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        used = seen.volumes.get(volume.name)
        if limit is not None and limit.nanos > 0 and used is not None and used.bytes * 10**9 > limit.nanos:
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    most = _limit(pod)
    if most is not None and seen.ephemeral_bytes * 10**9 > most.nanos:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {most}. "
    for container in _counted(pod):
        most = container.resources.limits.get("ephemeral-storage")
        amounts = seen.containers.get(container.name)
        if not most or amounts is None:
            continue
        used_bytes = amounts.logs.bytes if amounts.logs is not None else 0
        if not image_disk and amounts.layer is not None:
            used_bytes += amounts.layer.bytes
        if used_bytes * 10**9 > most.nanos:
            return f'Container {container.name} exceeded its local ephemeral storage limit "{most}". '
    return ""


def requested(pod: Pod, resource: str) -> Quantity:
    """What counts as requested: of the pod where it says so, else of its containers; overhead on top of something."""
    if qos.has_pod_level(pod.spec.resources):
        counts = resource in ("cpu", "memory") or resource.startswith("hugepages-")
        total = pod.spec.resources.requests.get(resource, ZERO) if counts else ZERO
    else:
        total = resize.aggregate(pod, lambda each: each.resources.requests).get(resource, ZERO)
    return total + pod.spec.overhead[resource] if total and resource in pod.spec.overhead else total


def is_local(volume: Volume) -> bool:
    """The volume's content lies on the node's own disk and counts there."""
    in_memory = volume.empty_dir is not None and volume.empty_dir.medium
    return (
        volume.host_path is not None
        or volume.git_repo is not None
        or volume.config_map is not None
        or (volume.empty_dir is not None and not in_memory)
    )


def _disk(pod: Pod, seen: PodUsage, measure: Measure) -> int:
    parts: list[DiskUsage | None] = []
    for each in seen.containers.values():
        parts += [each.layer] if Measure.LAYERS in measure else []
        parts += [each.logs] if Measure.LOGS in measure else []
    if Measure.VOLUMES in measure:
        parts += [seen.volumes.get(volume.name) for volume in pod.spec.volumes if is_local(volume)]
    inodes = Measure.INODES in measure
    return sum((each.inodes if inodes else each.bytes) for each in parts if each is not None)


def _used(seen: ContainerUsage | None, resource: str) -> int | None:
    if seen is None:
        return None
    if resource == "memory":
        return seen.memory_bytes
    if resource == "ephemeral-storage" and seen.layer is not None and seen.logs is not None:
        return seen.layer.bytes + seen.logs.bytes
    return None


def _counted(pod: Pod) -> tuple[Container, ...]:
    """Containers and restartable init containers: those that run for as long as the pod does."""
    return (*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always"))


def _limit(pod: Pod) -> Quantity | None:
    """The pod's limit of ephemeral storage: of its containers together, or of an init container that may use more."""
    total = resize.aggregate(pod, lambda each: each.resources.limits).get("ephemeral-storage")
    over = pod.spec.overhead.get("ephemeral-storage")
    return total + over if total and over is not None else total
