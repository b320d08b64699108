"""Which pods differ from their recommendation so much that they are updated, and which of them first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.addons.vpa.policies import Amounts, current, policy_of, recommendations
from seatrial.kube.objects import Pod, VerticalPodAutoscaler
from seatrial.kube.objects.pods import ContainerStateTerminated
from seatrial.kube.objects.verticalscaling import EvictionRequirement, RecommendedContainerResources
from seatrial.kube.quantities import ZERO

OBSERVED: Final = "vpaObservedContainers"
"""The annotation with the containers that the admission saw: others were put in after it and are left alone."""
SEPARATOR: Final = ", "
LIFETIME: Final = timedelta(hours=12)
LEAST_CHANGE: Final = 0.1
QUICK_OOM: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Priority:
    """Pods that want to grow come first, then those that differ most."""

    outside: bool
    grows: bool
    difference: float


def due(pods: Iterable[Pod], autoscaler: VerticalPodAutoscaler, now: datetime) -> list[Pod]:
    """The pods to update, the most urgent first."""
    policy = autoscaler.spec.update_policy
    requirements = () if policy is None else policy.eviction_requirements
    found = []
    for pod in pods:
        wanted = recommendations(autoscaler, pod)
        priority = priority_of(pod, wanted)
        if _is_due(pod, autoscaler, priority, now):
            found.append((priority, pod, wanted))
    found.sort(key=lambda each: (not each[0].grows, -each[0].difference))
    return [pod for _, pod, wanted in found if policy is None or _admits(pod, wanted, requirements)]


def priority_of(pod: Pod, wanted: Mapping[str, RecommendedContainerResources]) -> Priority:
    outside, grows = False, False
    requested, recommended = Counter[str](), Counter[str]()
    for container in pod.spec.containers:
        mine = wanted.get(container.name)
        if mine is None or not _is_observed(pod, container.name):
            continue
        for name, target in mine.target.items():
            recommended[name] += target.milli
            request = current(pod, container).requests.get(name)
            if request is None:
                outside = grows = True
                continue
            requested[name] += request.milli
            grows = grows or target.milli > request.milli
            lower, upper = mine.lower_bound.get(name), mine.upper_bound.get(name)
            outside = outside or (lower is not None and request < lower) or (upper is not None and request > upper)
    difference = 0.0
    for name, total in recommended.items():
        has = max(float(requested[name]), 1.0)
        difference += abs(has - float(total)) / has
    return Priority(outside, grows, difference)


def _is_due(pod: Pod, autoscaler: VerticalPodAutoscaler, priority: Priority, now: datetime) -> bool:
    """Outside of the bounds at once, within them only what is old and differs, unless it was soon out of memory."""
    quick = _quickly_killed(pod, autoscaler, now)
    if not priority.outside and not quick:
        started = pod.status.start_time
        return started is not None and now >= started + LIFETIME and priority.difference >= LEAST_CHANGE
    return not quick or priority.difference != 0


def _quickly_killed(pod: Pod, autoscaler: VerticalPodAutoscaler, now: datetime) -> bool:
    for status in pod.status.container_statuses:
        policy = policy_of(autoscaler.spec.resource_policy, status.name)
        off = policy is not None and policy.mode == "Off"
        end = None if status.last_state is None else status.last_state.terminated
        if end is not None and not off and _is_observed(pod, status.name) and _is_quick(end, now):
            return True
    return False


def _is_quick(end: ContainerStateTerminated, now: datetime) -> bool:
    if end.reason != "OOMKilled" or end.finished_at is None or end.started_at is None:
        return False
    return end.finished_at - end.started_at < QUICK_OOM and now - end.finished_at < QUICK_OOM


def _is_observed(pod: Pod, container: str) -> bool:
    said = pod.metadata.annotations.get(OBSERVED)
    return said is None or container in said.split(SEPARATOR)


def _admits(
    pod: Pod, wanted: Mapping[str, RecommendedContainerResources], requirements: Iterable[EvictionRequirement]
) -> bool:
    """All requirements hold for at least one container. One without requests is always updated."""
    return any(
        not {"cpu", "memory"} <= current(pod, container).requests.keys()
        or all(_holds(each, current(pod, container).requests, wanted[container.name]) for each in requirements)
        for container in pod.spec.containers
        if container.name in wanted
    )


def _holds(requirement: EvictionRequirement, requests: Amounts, wanted: RecommendedContainerResources) -> bool:
    def changes(name: str) -> bool:
        request = requests.get(name, ZERO).milli
        target = wanted.target.get(name, ZERO).milli
        if requirement.change_requirement == "TargetHigherThanRequests":
            return target > request
        return requirement.change_requirement == "TargetLowerThanRequests" and target < request

    return any(changes(name) for name in requirement.resources)
