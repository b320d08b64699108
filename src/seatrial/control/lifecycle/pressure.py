"""When a node is short of something: from its signals to its conditions and to the pods that it ends.

Pure: signals and usage come from the node. Rules, upstream's (`pkg/kubelet/eviction/eviction_manager.go` of 1.37): a
hard threshold counts at once, a soft one after its grace period; what has counted goes on counting until the least
amount is reclaimed on top; a condition lasts for the transition period after it was seen last. Pods above limits of
their own for local storage go first; otherwise one pod is ended at a time, chosen by `eviction`, and the node looks
again when it has gone. https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/

One rule is ours, for nodes that share a machine with everything else (`set_aside`): a threshold that was crossed before
the node looked for the first time is left aside until its signal has recovered once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.lifecycle import eviction
from seatrial.control.lifecycle.configuration import KubeletConfiguration, Threshold
from seatrial.control.lifecycle.eviction import PodUsage
from seatrial.control.lifecycle.facts import Eviction
from seatrial.control.lifecycle.origins import is_critical
from seatrial.kube.objects import Pod
from seatrial.kube.quantities import Quantity

INTERVAL: Final = timedelta(seconds=10)
"""How often a node looks (`evictionMonitoringPeriod`)."""
CLEANUP: Final = timedelta(seconds=30)
"""How long it waits for an evicted pod to be gone before it looks again (`podCleanupTimeout`)."""
IMMEDIATELY_S: Final = 1


@dataclass(frozen=True, slots=True)
class Observation:
    """One signal: what is available of how much, in bytes, inodes or processes; `at` if the measurement has a time."""

    available: int
    capacity: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What the node remembers from one look to the next."""

    first_met: Mapping[Threshold, datetime] = field(default_factory=dict)
    met: tuple[Threshold, ...] = ()
    condition_seen: Mapping[str, datetime] = field(default_factory=dict)
    measured: Mapping[str, datetime | None] = field(default_factory=dict)
    set_aside: tuple[Threshold, ...] | None = None
    """None until the node has looked."""

    @property
    def is_quiet(self) -> bool:
        """Nothing is short, nothing was short lately: only a change of a signal makes another look worth while."""
        return not (self.first_met or self.met or self.condition_seen)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What one look comes to."""

    memory: Memory
    conditions: tuple[str, ...]
    """Of MemoryPressure, DiskPressure and PIDPressure those that are true."""
    reclaiming: str = ""
    """The resource that is to be reclaimed now."""
    evict: tuple[tuple[Pod, Eviction], ...] = ()
    newly_set_aside: tuple[tuple[Threshold, Observation], ...] = ()


def look(
    memory: Memory,
    configuration: KubeletConfiguration,
    observations: Mapping[str, Observation],
    pods: Sequence[Pod],
    usage: Callable[[Pod], PodUsage | None],
    now: datetime,
    *,
    image_disk: bool = False,
    shared_machine: bool = False,
) -> Pressure:
    """One look of the node. `pods` are those that may still run; `usage` is asked only for pods that matter.

    `image_disk`: images and the containers' own layers are on a disk of their own.
    """
    thresholds = configuration.thresholds
    low = [each for each in thresholds if _is_met(each, observations)]
    aside = memory.set_aside
    if aside is None:
        aside = tuple(low) if shared_machine else ()
    new_aside = tuple((each, observations[each.signal]) for each in aside) if memory.set_aside is None else ()
    aside = tuple(each for each in aside if each in low)
    low = [each for each in low if each not in aside]
    low += [each for each in memory.met if each not in low and _is_met(each, observations, reclaiming=True)]
    first_met = {each: memory.first_met.get(each, now) for each in low}
    seen = {**memory.condition_seen, **{each.condition: now for each in low}}
    lasting = {kind: at for kind, at in seen.items() if now - at < configuration.pressure_transition}
    met = tuple(each for each in low if now - first_met[each] >= each.grace)
    fresh = [each for each in met if _is_fresh(each, observations, memory)]
    measured = {signal: each.at for signal, each in observations.items()}
    kept = Memory(first_met, met, lasting, measured, aside)
    conditions = tuple(kind for kind in ("MemoryPressure", "DiskPressure", "PIDPressure") if kind in lasting)
    beyond = tuple(
        (pod, Eviction("Evicted", message, now, IMMEDIATELY_S, disruption=False))
        for pod in pods
        if not is_critical(pod) and (message := eviction.exceeded_limit(pod, usage, image_disk=image_disk))
    )
    if beyond or not fresh:
        return Pressure(kept, conditions, "", beyond, new_aside)
    fresh.sort(key=lambda each: each.resource != "memory")
    first = fresh[0]
    measure = eviction.Measure.of(first.signal, image_disk=image_disk)
    for pod in eviction.ranked(pods, usage, measure):
        if is_critical(pod):
            continue
        grace_s = IMMEDIATELY_S
        if not first.is_hard:
            asked_s = pod.spec.termination_grace_period_seconds
            most_s = configuration.eviction_max_pod_grace_period
            grace_s = max(1, most_s if asked_s is None else min(most_s, asked_s))
        threshold = next(each for each in fresh if each.resource == first.resource)
        observed = observations[threshold.signal]
        available = Quantity(observed.available * 10**9, _family(threshold.signal))
        message = eviction.message(
            pod, usage(pod), first.resource, str(threshold.value.of(observed.capacity)), str(available)
        )
        evicted = (pod, Eviction("Evicted", message, now, grace_s))
        return Pressure(kept, conditions, first.resource, (evicted,), new_aside)
    return Pressure(kept, conditions, first.resource, (), new_aside)


def _is_met(threshold: Threshold, observations: Mapping[str, Observation], *, reclaiming: bool = False) -> bool:
    observed = observations.get(threshold.signal)
    if observed is None:
        return False
    least = threshold.value.of(observed.capacity)
    if reclaiming and threshold.least_reclaim is not None:
        least += threshold.least_reclaim.of(observed.capacity)
    return least.nanos > observed.available * 10**9


def _is_fresh(threshold: Threshold, observations: Mapping[str, Observation], memory: Memory) -> bool:
    """The signal was measured anew since the last look."""
    observed = observations.get(threshold.signal)
    if observed is None:
        return False
    before = memory.measured.get(threshold.signal)
    return observed.at is None or before is None or observed.at > before


def _family(signal: str) -> str:
    return "DecimalSI" if signal.endswith("inodesFree") or signal == "pid.available" else "BinarySI"


def set_aside_message(threshold: Threshold, observed: Observation) -> str:
    """What people hear of a threshold that this machine had crossed before the node began."""
    value = threshold.value.of(observed.capacity)
    return (
        f"{threshold.signal} was below its eviction threshold before this node began ({_short(observed.available)} "
        f"of {_short(observed.capacity)}, threshold {_short(value.value)}): no pod is evicted until it has recovered"
    )


def _short(amount: int) -> str:
    for suffix, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if amount >= 10 * size:
            return f"{amount // size}{suffix}"
    return str(Quantity(amount * 10**9))
