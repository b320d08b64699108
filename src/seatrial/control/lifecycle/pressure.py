"""Whom a node under pressure evicts, and in which order a node that shuts down ends its pods.

Pure: usage and signals come from the node. Rules, upstream's: for memory and disk, first who uses more than was
requested, then who has the lower priority, then who exceeds the request by more; for process ids only priority and
number. One pod is evicted at a time; critical pods never are.
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.control.lifecycle import resize
from seatrial.control.lifecycle.facts import Eviction
from seatrial.kube.objects import Pod
from seatrial.kube.quantities import Quantity

CRITICAL_PRIORITY = 2_000_000_000
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
SOURCE_ANNOTATION = "kubernetes.io/config.source"
HARD_MEMORY_BYTES = 100 * 1024 * 1024
"""The default hard threshold `memory.available<100Mi`."""
SHUTDOWN_MESSAGE = "Pod was terminated in response to imminent node shutdown."


@dataclass(frozen=True, slots=True)
class Usage:
    """What one pod uses; by container where a message names containers."""

    memory_bytes: int = 0
    disk_bytes: int = 0
    processes: int = 0
    container_memory_bytes: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """A signal below its threshold: `resource` is memory, ephemeral-storage or pids."""

    resource: str
    threshold: str = ""
    available: str = ""


def is_critical(pod: Pod) -> bool:
    """A static pod, its mirror, or one of a system priority."""
    annotations = pod.metadata.annotations
    if MIRROR_ANNOTATION in annotations or annotations.get(SOURCE_ANNOTATION, "api") != "api":
        return True
    return (pod.spec.priority or 0) >= CRITICAL_PRIORITY


def ranked(pods: Iterable[Pod], usage: Mapping[str, Usage], resource: str) -> tuple[Pod, ...]:
    """The pods, the first to be evicted first. `usage` is by uid; a pod of which nothing is known goes first."""

    def rank(pod: Pod) -> tuple[object, ...]:
        seen = usage.get(pod.metadata.uid)
        priority = pod.spec.priority or 0
        if resource == "pids":
            return (priority, seen is not None, -seen.processes if seen else 0)
        if seen is None:
            return (False, False, priority, 0)
        used = seen.memory_bytes if resource == "memory" else seen.disk_bytes
        requested = resize.requests(pod).get(resource, Quantity.parse("0")).value
        return (True, used <= requested, priority, requested - used)

    return tuple(sorted(pods, key=rank))


def choose(
    pods: Iterable[Pod], usage: Mapping[str, Usage], shortage: Shortage, now: datetime
) -> tuple[Pod, Eviction] | None:
    """The one pod that a hard threshold makes the node evict, without grace."""
    running = [pod for pod in pods if pod.status.phase not in ("Succeeded", "Failed")]
    for pod in ranked(running, usage, shortage.resource):
        if not is_critical(pod):
            message = _message(pod, usage.get(pod.metadata.uid), shortage)
            return pod, Eviction("Evicted", message, now, 1)
    return None


def _message(pod: Pod, seen: Usage | None, shortage: Shortage) -> str:
    message = f"The node was low on resource: {shortage.resource}. "
    if shortage.threshold:
        message += f"Threshold quantity: {shortage.threshold}, available: {shortage.available}. "
    if shortage.resource != "memory" or seen is None:
        return message
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        used = (seen.container_memory_bytes or {}).get(container.name)
        requested = container.resources.requests.get("memory", Quantity.parse("0"))
        if used is not None and used > requested.value:
            amounts = f"was using {used // 1024}Ki, request is {requested}"
            message += f"Container {container.name} {amounts}, has larger consumption of memory. "
    return message


def shutdown(
    pods: Sequence[Pod], now: datetime, *, total_s: int, critical_s: int
) -> tuple[tuple[tuple[Pod, Eviction], ...], ...]:
    """The two groups in which a node that shuts down ends its pods: ordinary ones, then critical ones."""
    ordinary = tuple((pod, _ended(pod, now, total_s - critical_s)) for pod in pods if not is_critical(pod))
    critical = tuple((pod, _ended(pod, now, critical_s)) for pod in pods if is_critical(pod))
    return ordinary, critical


def _ended(pod: Pod, now: datetime, limit_s: int) -> Eviction:
    asked_s = pod.spec.termination_grace_period_seconds
    return Eviction("Terminated", SHUTDOWN_MESSAGE, now, limit_s if asked_s is None else min(asked_s, limit_s))
