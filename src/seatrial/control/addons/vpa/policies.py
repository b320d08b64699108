"""What a VerticalPodAutoscaler's policy and a pod's limits make of a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from seatrial.kube.objects import Container, Pod
from seatrial.kube.objects.pods import ResourceRequirements
from seatrial.kube.objects.verticalscaling import (
    ContainerResourcePolicy,
    PodResourcePolicy,
    RecommendedContainerResources,
    VerticalPodAutoscaler,
)
from seatrial.kube.quantities import Quantity

_ALL: Final = "*"
_LARGEST: Final = 2**63 - 1
Amounts = Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container gets; `notes` say, in upstream's words, what could not be as recommended."""

    requests: Amounts
    limits: Amounts
    notes: tuple[str, ...] = ()


def current(pod: Pod, container: Container) -> ResourceRequirements:
    """What the container has by its status, as after a resize; by its spec before it runs."""
    status = next((each for each in pod.status.container_statuses if each.name == container.name), None)
    if status is None or status.resources == ResourceRequirements():
        return container.resources
    return status.resources


def update_mode(autoscaler: VerticalPodAutoscaler) -> str:
    policy = autoscaler.spec.update_policy
    return "Recreate" if policy is None or not policy.update_mode else policy.update_mode


def policy_of(policy: PodResourcePolicy, container: str) -> ContainerResourcePolicy | None:
    by_name = {each.container_name: each for each in reversed(policy.container_policies)}
    everywhere = next((each for each in reversed(policy.container_policies) if each.container_name == _ALL), None)
    return by_name.get(container, everywhere)


def capped(amounts: Amounts, policy: ContainerResourcePolicy | None) -> dict[str, Quantity]:
    return _capped(amounts, policy)[0]


def recommendations(autoscaler: VerticalPodAutoscaler, pod: Pod) -> dict[str, RecommendedContainerResources]:
    """The recommendation for each container of the pod that has one, within policy and limits."""
    return {name: found for name, (found, _) in _recommendations(autoscaler, pod).items()}


def resources(autoscaler: VerticalPodAutoscaler, pod: Pod) -> dict[str, Resources]:
    """What the containers of the pod that have a recommendation get: requests, and limits in the same proportion."""
    found = {}
    known = _recommendations(autoscaler, pod)
    for container in pod.spec.containers:
        if container.name not in known:
            continue
        recommendation, notes = known[container.name]
        mine = policy_of(autoscaler.spec.resource_policy, container.name)
        limits: dict[str, Quantity] = {}
        if mine is None or mine.controlled_values != "RequestsOnly":
            limits, said = _proportional(current(pod, container), recommendation.target)
            notes = (*notes, *said) if limits else notes
        found[container.name] = Resources(recommendation.target, limits, notes)
    return found


def _recommendations(
    autoscaler: VerticalPodAutoscaler, pod: Pod
) -> dict[str, tuple[RecommendedContainerResources, tuple[str, ...]]]:
    containers = {each.name: each for each in pod.spec.containers}
    recommendation, found = autoscaler.status.recommendation, {}
    for each in () if recommendation is None else recommendation.container_recommendations:
        name = each.container_name
        if name not in containers or name in found:
            continue
        mine = policy_of(autoscaler.spec.resource_policy, name)
        target, notes = _capped(each.target, mine)
        lower, upper = capped(each.lower_bound, mine), capped(each.upper_bound, mine)
        if mine is not None and mine.controlled_values == "RequestsOnly":
            limits = current(pod, containers[name]).limits
            target, more = _below(target, limits)
            notes = (*notes, *more)
            lower, upper = _below(lower, limits)[0], _below(upper, limits)[0]
        found[name] = replace(each, target=target, lower_bound=lower, upper_bound=upper), notes
    return found


def _capped(amounts: Amounts, policy: ContainerResourcePolicy | None) -> tuple[dict[str, Quantity], tuple[str, ...]]:
    """A bound of nothing is none; the upper bound counts last."""
    found, notes = dict(amounts), []
    if policy is not None:
        for name in amounts:
            least, most = policy.min_allowed.get(name), policy.max_allowed.get(name)
            if least and found[name] < least:
                found[name] = least
                notes.append(f"{name} capped to minAllowed")
            if most and found[name] > most:
                found[name] = most
                notes.append(f"{name} capped to maxAllowed")
    return found, tuple(notes)


def _below(amounts: Amounts, limits: Amounts) -> tuple[dict[str, Quantity], tuple[str, ...]]:
    found, notes = dict(amounts), []
    for name, limit in limits.items():
        if name in found and found[name].milli > limit.milli:
            found[name] = limit
            notes.append(f"{name} capped to container limit")
    return found, tuple(notes)


def _proportional(before: ResourceRequirements, recommended: Amounts) -> tuple[dict[str, Quantity], tuple[str, ...]]:
    limits, notes = {}, []
    for name in ("cpu", "memory"):
        limit, note = _limit(name, before, recommended.get(name))
        if limit is not None:
            limits[name] = limit
        if note:
            notes.append(note)
    return limits, tuple(notes)


def _limit(name: str, before: ResourceRequirements, recommended: Quantity | None) -> tuple[Quantity | None, str]:
    """As much more than the recommendation as the limit was more than the request."""
    limit, request = before.limits.get(name), before.requests.get(name)
    if not limit:
        return None, f"{name}: limit NOT set since originalLimit is nil or 0"
    if not recommended:
        return None, f"{name}: limit NOT set since recommendedRequest is nil or 0"
    if not request or request.milli == limit.milli:
        return recommended, ""
    if name == "cpu":
        scaled, unit = limit.milli * recommended.milli // request.milli, 10**6
    else:
        scaled, unit = limit.value * recommended.value // request.value, 10**9
    note = f"{name}: failed to keep limit to request ratio; capping limit to int64" if scaled > _LARGEST else ""
    return Quantity(min(scaled, _LARGEST) * unit, limit.family), note
