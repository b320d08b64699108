"""Changing the resources of a running pod in place (KEP-1287): what the node grants of what the spec asks.

The node grants all of a pod's resize or nothing. What is granted is applied to running containers one by one; what is
not shows as the condition PodResizePending and is tried again whenever the node has room. Pure: `Room` says what the
node has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, PodFacts, Room
from seatrial.control.lifecycle.transitions import Resize
from seatrial.kube.objects import Container, Pod
from seatrial.kube.objects.pods import ResourceRequirements
from seatrial.kube.quantities import Quantity

SINCE_MINOR = 33
RESOURCES = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Allocation:
    """The pod with the resources that the node grants; why not those of its spec; whether they are being applied."""

    pod: Pod
    pending_reason: str = ""
    pending_message: str = ""
    in_progress: bool = False


def wanted(pod: Pod, facts: PodFacts) -> bool:
    """The spec asks for other resources than some container was given: `PodFacts.room` matters."""
    return any(
        _differs(fact.resources, container.resources)
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for fact in facts.containers
        if fact.name == container.name and fact.resources is not None
    )


def allocate(pod: Pod, facts: PodFacts, *, minor: int) -> Allocation:
    if minor < SINCE_MINOR or not wanted(pod, facts):
        return Allocation(pod)
    given = {fact.name: fact.resources for fact in sorted(facts.containers, key=lambda fact: fact.attempt)}
    reason, message = _refusal(pod, facts.room, minor)
    if reason:
        kept = {
            part: tuple(
                msgspec.structs.replace(each, resources=given.get(each.name) or each.resources)
                for each in getattr(pod.spec, part)
            )
            for part in ("init_containers", "containers")
        }
        return Allocation(msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, **kept)), reason, message)
    running = {fact.name for fact in facts.containers if fact.phase is ContainerPhase.RUNNING}
    behind = (
        each.name in running and _differs(given.get(each.name), each.resources)
        for each in (*pod.spec.init_containers, *pod.spec.containers)
    )
    return Allocation(pod, in_progress=any(behind))


def needed(container: Container, fact: ContainerFact) -> Resize:
    """What a running container needs so that it has the resources of `container`, which are granted."""
    given, asked = fact.resources, container.resources
    if given is None or not _differs(given, asked):
        return Resize.NONE
    restarted = {each.resource_name for each in container.resize_policy if each.restart_policy == "RestartContainer"}
    for name in RESOURCES:
        changed = given.requests.get(name) != asked.requests.get(name) or given.limits.get(name) != asked.limits.get(
            name
        )
        if changed and name in restarted:
            return Resize.RESTART
    return Resize.UPDATE


def requests(pod: Pod) -> dict[str, Quantity]:
    """What a pod is promised: `aggregate` of the requests, and the overhead."""
    found = aggregate(pod, lambda each: each.resources.requests)
    for name, amount in pod.spec.overhead.items():
        found[name] = found[name] + amount if name in found else amount
    return found


def aggregate(pod: Pod, amounts: Callable[[Container], Mapping[str, Quantity]]) -> dict[str, Quantity]:
    """Of a pod's containers and sidecars together; init containers count where they need more."""
    total: dict[str, Quantity] = {}
    sidecars: dict[str, Quantity] = {}
    peaks: dict[str, Quantity] = {}
    for each in pod.spec.init_containers:
        for name, amount in amounts(each).items():
            before = sidecars.get(name)
            together = amount if before is None else before + amount
            peaks[name] = max(peaks.get(name, together), together)
            if each.restart_policy == "Always":
                sidecars[name] = together
    for part in (sidecars, *(amounts(each) for each in pod.spec.containers)):
        for name, amount in part.items():
            total[name] = total[name] + amount if name in total else amount
    return {
        name: max(total.get(name, peaks.get(name, amount)), peaks.get(name, amount))
        for name, amount in {**peaks, **total}.items()
    }


def _refusal(pod: Pod, room: Room | None, minor: int) -> tuple[str, str]:
    if room is None:
        return "", ""
    asked = requests(pod)
    if minor < 36:
        for name in RESOURCES:
            if name in asked and name in room.allocatable and room.allocatable[name] < asked[name]:
                amounts = f"requested: {_number(name, asked[name])}, capacity: {_number(name, room.allocatable[name])}"
                return "Infeasible", f"Node didn't have enough capacity: {name}, {amounts}"
    for name in RESOURCES:
        if name not in asked or name not in room.allocatable:
            continue
        used = room.used.get(name, Quantity.parse("0"))
        if room.allocatable[name] < used + asked[name]:
            amounts = f"requested: {_number(name, asked[name])}, used: {_number(name, used)}"
            amounts += f", capacity: {_number(name, room.allocatable[name])}"
            return "Deferred", f"Node didn't have enough resource: {name}, {amounts}"
    return "", ""


def _number(name: str, amount: Quantity) -> int:
    return amount.milli if name == "cpu" else amount.value


def _differs(given: ResourceRequirements | None, asked: ResourceRequirements) -> bool:
    if given is None:
        return False
    return _resizable(given.requests) != _resizable(asked.requests) or _resizable(given.limits) != _resizable(
        asked.limits
    )


def _resizable(amounts: Mapping[str, Quantity]) -> dict[str, Quantity]:
    return {name: amount for name, amount in amounts.items() if name in RESOURCES}
