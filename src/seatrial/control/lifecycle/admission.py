"""Whether a node takes a pod that is bound to it: the scheduler's own filters, asked by the node for itself alone.

Two schedulers, a `nodeName` or a race can bind more to a node than it holds; what comes too late fails at once and for
good (`rejection.status`). Rules: what other pods hold counts if they were taken and have not ended; an extended
resource that the node does not know is somebody else's business; of all reasons the first is told. A critical pod is
not refused for want of resources: others go, of the lowest quality of service first and as few as possible.
Semantics: `pkg/kubelet/lifecycle/predicate.go` and `pkg/kubelet/preemption` of 1.37, in the order of its handlers:
pressure, fit, shutdown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatrial.control import qos
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.lifecycle import eviction, rejection
from seatrial.control.lifecycle.facts import Eviction
from seatrial.control.lifecycle.origins import is_critical, is_static
from seatrial.control.lifecycle.pods import grace_s
from seatrial.control.lifecycle.rejection import Rejection
from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import Board
from seatrial.control.scheduler.demand import amount
from seatrial.control.scheduler.filters import Filters
from seatrial.control.scheduler.placement import Obstacle, Reason
from seatrial.control.scheduler.profiles import Profile
from seatrial.kube.objects import Node, Pod

OS: Final = "kubernetes.io/os"
PREEMPTED: Final = "Preempting"
PREEMPTED_MESSAGE: Final = "Preempted in order to admit critical pod"
DISRUPTION_MESSAGE: Final = "Pod was preempted by Kubelet to accommodate a critical pod."
_LEAST_WAIT_S: Final = 10
_PROFILE: Final = Profile(filters=("NodeResourcesFit", "NodePorts"), spread=())
_RESOURCES: Final = (Reason.TOO_MANY_PODS, Reason.INSUFFICIENT)
_Need = tuple[str, int]
"""A resource, and how much of it is missing."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The pod is taken, once `preempted` have gone; or it is rejected."""

    rejection: Rejection | None = None
    preempted: tuple[Pod, ...] = ()


def admit(
    pod: Pod,
    node: Node,
    others: Sequence[Pod],
    *,
    pressures: Collection[str] = (),
    shutting_down: bool = False,
    minor: int = NEWEST_MINOR,
) -> Admission:
    """`others` are the pods that the node has taken and that have not ended, with the resources it grants them."""
    found = rejection.of(pod, pressures, shutting_down=False)
    admission = Admission(found) if found is not None else _fit(pod, node, others, minor)
    if admission.rejection is None and shutting_down:
        return Admission(rejection.of(pod, (), shutting_down=True))
    return admission


def preemption(pod: Pod, now: datetime) -> Eviction:
    return Eviction(PREEMPTED, PREEMPTED_MESSAGE, now, grace_s(pod), disruption_message=DISRUPTION_MESSAGE)


def patience(preempted: Sequence[Pod]) -> timedelta:
    """How long a critical pod waits for the others to go before it begins all the same."""
    return timedelta(seconds=max(_LEAST_WAIT_S, *(grace_s(pod) * 3 // 2 for pod in preempted)))


def _fit(pod: Pod, node: Node, others: Sequence[Pod], minor: int) -> Admission:
    system = node.metadata.labels.get(OS) or "linux"
    if pod.metadata.labels.get(OS, system) != system:
        text = f"Failed to admit pod as the `{OS}` label doesn't match node label"
        return Admission(Rejection("PodOSSelectorNodeLabelDoesNotMatch", text))
    if pod.spec.os is not None and pod.spec.os.name != system:
        return Admission(Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"))
    short, refused = _obstacles(pod, node, others, minor)
    if short and is_critical(pod) and not refused:
        try:
            return Admission(preempted=_to_preempt(pod, others, [_need(each) for each in short]))
        except _TooLittleError as error:
            text = f"Unexpected error while attempting to recover from admission failure: {error}"
            return Admission(Rejection("UnexpectedAdmissionError", text))
    reasons = refused if is_critical(pod) else [*map(_told, short), *refused]
    return Admission(reasons[0] if reasons else None)


def _obstacles(pod: Pod, node: Node, others: Sequence[Pod], minor: int) -> tuple[list[Obstacle], list[Rejection]]:
    """The resources that are short, and all else that stands in the way."""
    board = Board.of([node], others, but=pod, minor=minor)
    found = [
        each
        for each in Filters(pod, board, _PROFILE).every(board.sites[0])
        if not (_is_extended(each.resource) and each.resource not in node.status.allocatable)
    ]
    refused = []
    if machines.affinity_conflicts(pod, node):
        refused.append(_predicate("NodeAffinity", Reason.NODE_AFFINITY.value))
    if any(each.reason is Reason.PORTS for each in found):
        refused.append(_predicate("NodePorts", Reason.PORTS.value))
    if not is_static(pod) and any(
        taint.effect == "NoExecute" and not machines.tolerates(pod.spec.tolerations, taint)
        for taint in node.spec.taints
    ):
        refused.append(_predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate"))
    return [each for each in found if each.reason in _RESOURCES], refused


def _is_extended(resource: str) -> bool:
    return "/" in resource and "kubernetes.io/" not in resource and not resource.startswith("requests.")


def _predicate(name: str, text: str) -> Rejection:
    return Rejection(name, f"Predicate {name} failed: {text}")


def _told(short: Obstacle) -> Rejection:
    name = short.resource or "pods"
    amounts = f"requested: {short.requested}, used: {short.used}, capacity: {short.allocatable}"
    return Rejection(f"OutOf{name}", f"Node didn't have enough resource: {name}, {amounts}")


# --- preemption for critical pods ------------------------------------------------------------------------------------


class _TooLittleError(Exception):
    """Not even without all that may be preempted is there enough."""

    def __init__(self, needs: Sequence[_Need]) -> None:
        text = "".join(f"(res: {name}, q: {missing}), " for name, missing in needs)
        super().__init__(
            "preemption: error finding a set of pods to preempt: "
            f"no set of running pods found to reclaim resources: [{text}]"
        )


def _need(short: Obstacle) -> _Need:
    return short.resource or "pods", short.requested - (short.allocatable - short.used)


def _to_preempt(pod: Pod, others: Sequence[Pod], needs: Sequence[_Need]) -> tuple[Pod, ...]:
    """As few of the better classes as all of the worse leave necessary."""
    by_class: dict[str, list[Pod]] = {qos.BEST_EFFORT: [], qos.BURSTABLE: [], qos.GUARANTEED: []}
    for other in others:
        if _preemptable(pod, other):
            by_class[qos.of(other)].append(other)
    best_effort, burstable, guaranteed = by_class.values()
    missing = _without(needs, [*best_effort, *burstable, *guaranteed])
    if missing:
        raise _TooLittleError(missing)
    of_guaranteed = _nearest(guaranteed, _without(needs, [*best_effort, *burstable]))
    of_burstable = _nearest(burstable, _without(needs, [*best_effort, *of_guaranteed]))
    of_best_effort = _nearest(best_effort, _without(needs, [*of_burstable, *of_guaranteed]))
    return (*of_best_effort, *of_burstable, *of_guaranteed)


def _preemptable(pod: Pod, other: Pod) -> bool:
    if is_critical(pod) and not is_critical(other):
        return True
    mine, its = pod.spec.priority, other.spec.priority
    return mine is not None and its is not None and mine > its


def _nearest(pods: Sequence[Pod], needs: Sequence[_Need]) -> list[Pod]:
    """Again and again the pod that leaves least to be found; of two the one that holds less."""
    left, chosen = list(pods), []
    while needs:
        if not left:
            raise _TooLittleError(needs)
        at = 0
        for index, pod in enumerate(left[1:], 1):
            nearer, best = _distance(pod, needs), _distance(left[at], needs)
            if nearer < best or (nearer == best and _size(pod) <= _size(left[at])):
                at = index
        chosen.append(left[at])
        needs = _without(needs, [left[at]])
        left[at] = left[-1]  # upstream's order, in which equal pods are looked at
        left.pop()
    return chosen


def _distance(pod: Pod, needs: Sequence[_Need]) -> float:
    rests = ((max(0, missing - _held(pod, name)), missing) for name, missing in needs)
    return sum((rest / missing) ** 2 for rest, missing in rests)


def _size(pod: Pod) -> tuple[int, int]:
    return _held(pod, "memory"), _held(pod, "cpu")


def _without(needs: Sequence[_Need], pods: Sequence[Pod]) -> list[_Need]:
    """What is still missing when `pods` have gone."""
    rests = ((name, missing - sum(_held(pod, name) for pod in pods)) for name, missing in needs)
    return [(name, rest) for name, rest in rests if rest > 0]


def _held(pod: Pod, resource: str) -> int:
    return 1 if resource == "pods" else amount(resource, eviction.requested(pod, resource))
