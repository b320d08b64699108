"""Disruption budgets: how many pods may go voluntarily, whether this one may, and what happens to stale intentions.

`CONTROLLER` keeps each PodDisruptionBudget's status, and looks when the budget or its pods change, not when their
owners are scaled or a pod gets other labels; `OVERLAPS` warns of a pod that several budgets select; `evict` is what the
eviction subresource decides, on the pod and the budgets as they are; `CLEANING` takes back a DisruptionTarget condition
whose pod was not deleted after all.
A budget that is not up to date allows nothing: that is the safe side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.kinds import served
from seatrial.control.ownership import is_ready
from seatrial.control.rollout import scaled
from seatrial.control.writes import RecordEvent, UpdateStatus, Write
from seatrial.kube import selectors
from seatrial.kube.objects import (
    CustomResource,
    CustomResourceDefinition,
    Deployment,
    LabelSelector,
    Object,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodDisruptionBudget,
    PodStatus,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from seatrial.kube.objects.pods import PodCondition
from seatrial.kube.objects.policy import PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from seatrial.kube.objects.services import Condition
from seatrial.kube.objects.workloads import DeploymentSpec, ReplicaSetSpec, ReplicationControllerSpec, StatefulSetSpec

DELETION_TIMEOUT: Final = timedelta(minutes=2)
"""How long an evicted pod counts as leaving before its budget takes it back."""
MAX_DISRUPTED: Final = 2000
DISRUPTION_TARGET: Final = "DisruptionTarget"
_ALLOWED: Final = "DisruptionAllowed"

Scaled = Deployment | ReplicaSet | ReplicationController | StatefulSet | CustomResource


class _CountError(Exception):
    """The pods' owners do not say how many there should be."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An eviction that may not happen: `code` and texts as the API answers; `retry_after_s` 0 says nothing of when."""

    code: int
    message: str
    cause: str = ""
    budget: str = ""
    retry_after_s: int = 0


def reconcile(seen: Seen) -> Decision:
    budget = seen.subject
    assert isinstance(budget, PodDisruptionBudget)
    pods = seen.all(Pod)
    told: list[Write] = []
    if not pods:
        told.append(RecordEvent(budget, "Normal", "NoPods", "No matching pods found"))
    try:
        expected, desired, unmanaged = _expected(budget, pods, seen)
    except _CountError as error:
        why = f"Failed to calculate the number of expected pods: {error}"
        told.append(RecordEvent(budget, "Warning", "CalculateExpectedPodCountFailed", why))
        observed = budget.status.observed_generation
        status = _with_condition(replace(budget.status, disruptions_allowed=0), "SyncFailed", str(error), seen.now)
        return _written(budget, replace(status, observed_generation=observed), told)
    if unmanaged:
        told.append(RecordEvent(budget, "Warning", "UnmanagedPods", _unmanaged(budget)))
    leaving, recheck_at = _leaving(budget, pods, seen.now, told)
    healthy = sum(
        pod.metadata.deletion_timestamp is None and pod.metadata.name not in leaving and is_ready(pod) for pod in pods
    )
    status = PodDisruptionBudgetStatus(
        conditions=budget.status.conditions,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        disrupted_pods=leaving,
        disruptions_allowed=allowed(healthy, desired, expected),
        observed_generation=budget.metadata.generation,
    )
    return _written(budget, _judged(status, seen.now), told, recheck_at)


def evict(pod: Pod, budgets: Sequence[PodDisruptionBudget], now: datetime) -> PodDisruptionBudget | Refused | None:
    """Whether the pod may be evicted, given all budgets of its namespace.

    The budget as it is to be written before the deletion; None when no budget needs to know; or why not.
    """
    if pod.status.phase in {"Succeeded", "Failed", "Pending"} or pod.metadata.deletion_timestamp is not None:
        return None
    mine = [budget for budget in budgets if selectors.matches(budget.spec.selector, pod.metadata.labels)]
    if len(mine) > 1:
        why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        return Refused(500, why)
    if not mine:
        return None
    budget = mine[0]
    status = budget.status
    if not is_ready(pod):
        always = budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow"
        if always or status.current_healthy >= status.desired_healthy > 0:
            return None
    name = budget.metadata.name
    too_many = "Cannot evict pod as it would violate the pod's disruption budget."
    if status.observed_generation < budget.metadata.generation:
        cause = f"The disruption budget {name} is still being processed by the server."
        return Refused(429, too_many, cause, name, retry_after_s=10)
    cannot = f"The disruption budget {name} does not allow evicting pods currently"
    if status.disruptions_allowed < 0:
        why = "pdb disruptions allowed is negative"
        return Refused(403, why, f"{cannot}: {why}", name)
    if len(status.disrupted_pods) > MAX_DISRUPTED:
        cause = f"{cannot}: too many pending evictions not confirmed by PDB controller"
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        return Refused(403, why, cause, name)
    if status.disruptions_allowed == 0:
        return Refused(429, too_many, _why_none(budget, cannot), name)
    left = status.disruptions_allowed - 1
    leaving = {**status.disrupted_pods, pod.metadata.name: now.replace(microsecond=0)}
    after = replace(status, disruptions_allowed=left, disrupted_pods=leaving)
    return replace(budget, status=_judged(after, now) if not left else after)


def evicted(pod: Pod, now: datetime, reason: str, message: str) -> Pod:
    """The pod with the condition that says why it is about to be deleted."""
    since = now.replace(microsecond=0)
    condition = PodCondition(
        type=DISRUPTION_TARGET, status="True", reason=reason, message=message, last_transition_time=since
    )
    others = [each for each in pod.status.conditions if each.type != DISRUPTION_TARGET]
    previous = next((each for each in pod.status.conditions if each.type == DISRUPTION_TARGET), None)
    if previous is not None and previous.status == "True":
        condition = replace(condition, last_transition_time=previous.last_transition_time)
    return replace(pod, status=replace(pod.status, conditions=(*others, condition)))


def _written(
    budget: PodDisruptionBudget,
    status: PodDisruptionBudgetStatus,
    told: list[Write],
    wake_at: datetime | None = None,
) -> Decision:
    if status == budget.status:
        return Decision(tuple(told), wake_at)
    return Decision((*told, UpdateStatus(budget, replace(budget, status=status))), wake_at)


def _judged(status: PodDisruptionBudgetStatus, now: datetime) -> PodDisruptionBudgetStatus:
    return _with_condition(status, "SufficientPods" if status.disruptions_allowed > 0 else "InsufficientPods", "", now)


def _with_condition(
    status: PodDisruptionBudgetStatus, reason: str, message: str, now: datetime
) -> PodDisruptionBudgetStatus:
    now = now.replace(microsecond=0)
    allowed = "True" if reason == "SufficientPods" else "False"
    previous = next((each for each in status.conditions if each.type == _ALLOWED), None)
    same = previous is not None and previous.status == allowed
    condition = Condition(
        type=_ALLOWED,
        status=allowed,
        reason=reason,
        message=message,
        observed_generation=status.observed_generation,
        last_transition_time=previous.last_transition_time if previous is not None and same else now,
    )
    others = tuple(each for each in status.conditions if each.type != _ALLOWED)
    return replace(status, conditions=(*others, condition))


def _expected(budget: PodDisruptionBudget, pods: Sequence[Pod], seen: Seen) -> tuple[int, int, list[str]]:
    """How many pods there should be, how many of them healthy, and the pods without an owner. Raises `_CountError`."""
    at_most, at_least = budget.spec.max_unavailable, budget.spec.min_available
    if at_most is not None or isinstance(at_least, str):
        total, unmanaged = _scale(pods, seen)
        return total, wanted(at_least, at_most, total), unmanaged
    return (len(pods), at_least, []) if at_least is not None else (0, 0, [])


def wanted(at_least: int | str | None, at_most: int | str | None, total: int) -> int:
    """How many of `total` pods a budget wants healthy, by its minAvailable or its maxUnavailable."""
    if at_most is not None:
        return max(0, total - scaled(at_most, total, round_up=True))
    return scaled(at_least, total, round_up=True)


def allowed(healthy: int, desired: int, expected: int) -> int:
    """How many pods may go now."""
    return max(0, healthy - desired) if expected > 0 else 0


def _scale(pods: Sequence[Pod], seen: Seen) -> tuple[int, list[str]]:
    kinds: tuple[type[Scaled], ...] = (Deployment, ReplicaSet, ReplicationController, StatefulSet, CustomResource)
    known: dict[str, Scaled] = {each.metadata.uid: each for kind in kinds for each in seen.all(kind)}
    counted: dict[str, int] = {}
    unmanaged: list[str] = []
    for pod in pods:
        owner = pod.metadata.controller
        if owner is None:
            unmanaged.append(pod.metadata.name)
            continue
        found = known.get(owner.uid)
        if found is None:
            raise _CountError(_without_scale(owner, pod, seen))
        above = found.metadata.controller
        if isinstance(found, ReplicaSet) and above is not None and isinstance(known.get(above.uid), Deployment):
            found = known[above.uid]
        counted[found.metadata.uid] = _size(found, owner, pod, seen)
    return sum(counted.values()), unmanaged


def _size(found: Scaled, owner: OwnerReference, pod: Pod, seen: Seen) -> int:
    """How many pods an owner asks for. Raises `_CountError`."""
    if not isinstance(found, CustomResource):
        return 1 if found.spec.replicas is None else found.spec.replicas
    if found.scale is None:
        raise _CountError(_without_scale(owner, pod, seen))
    if found.scale.replicas is None:
        path = "." + ".".join(found.scale.path)
        raise _CountError(f'Internal error occurred: the spec replicas field "{path}" does not exist')
    return found.scale.replicas


def _without_scale(owner: OwnerReference, pod: Pod, seen: Seen) -> str:
    resource = served(seen.all(CustomResourceDefinition)).get((owner.api_version, owner.kind))
    if resource is not None:
        return f"{resource} does not implement the scale subresource"
    group = owner.api_version.rpartition("/")[0]
    if (group, owner.kind) in {("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("", "ReplicationController")}:
        return f'found no controllers for pod "{pod.metadata.name}"'
    plural = f"{owner.kind.lower()}s"
    return f"{plural}.{group} does not implement the scale subresource"


def _unmanaged(budget: PodDisruptionBudget) -> str:
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {_in_go(budget.spec.selector)}) were found to be "
        "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
        'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
    )


def _in_go(selector: LabelSelector | None) -> str:
    """A selector as upstream's messages print it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each.key},Operator:{each.operator},Values:[{' '.join(each.values)}],}},"
        for each in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _leaving(
    budget: PodDisruptionBudget, pods: Sequence[Pod], now: datetime, told: list[Write]
) -> tuple[dict[str, datetime | None], datetime | None]:
    """The evicted pods that are still expected to go, and when the first of them is given up."""
    leaving: dict[str, datetime | None] = {}
    recheck_at: datetime | None = None
    for pod in pods:
        since = budget.status.disrupted_pods.get(pod.metadata.name)
        if since is None or pod.metadata.deletion_timestamp is not None:
            continue
        until = since + DELETION_TIMEOUT
        if until < now:
            namespace = budget.metadata.namespace
            why = f"Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't"
            told.append(RecordEvent(pod, "Warning", "NotDeleted", why))
            continue
        leaving[pod.metadata.name] = since
        recheck_at = until if recheck_at is None else min(until, recheck_at)
    return leaving, recheck_at + timedelta(seconds=1) if recheck_at is not None else None


def _why_none(budget: PodDisruptionBudget, cannot: str) -> str:
    status, name = budget.status, budget.metadata.name
    condition = next((each for each in status.conditions if each.type == _ALLOWED and each.status == "False"), None)
    if condition is not None and condition.message and condition.reason == "SyncFailed":
        return f"{cannot} because it failed sync: {condition.message}"
    if status.current_healthy <= status.desired_healthy:
        wanted, there = status.desired_healthy, status.current_healthy
        return f"The disruption budget {name} needs {wanted} healthy pods and has {there} currently"
    if condition is not None and condition.message:
        return f"{cannot} ({condition.reason}): {condition.message}"
    return cannot


def _forget(seen: Seen) -> Decision:
    """A pod that somebody meant to disrupt and did not: after two minutes its condition says False."""
    pod = seen.subject
    assert isinstance(pod, Pod)
    condition = next((each for each in pod.status.conditions if each.type == DISRUPTION_TARGET), None)
    if condition is None or condition.status != "True" or condition.reason == "TerminationByKubelet":
        return Decision()
    if pod.metadata.deletion_timestamp is not None or pod.status.phase in {"Succeeded", "Failed"}:
        return Decision()
    since = condition.last_transition_time or seen.now
    if seen.now < since + DELETION_TIMEOUT:
        return Decision(wake_at=since + DELETION_TIMEOUT)
    since = seen.now.replace(microsecond=0)
    reset = PodCondition(type=DISRUPTION_TARGET, status="False", last_transition_time=since)
    conditions = tuple(reset if each is condition else each for each in pod.status.conditions)
    return Decision((UpdateStatus(pod, replace(pod, status=replace(pod.status, conditions=conditions))),))


def _warn(seen: Seen) -> Decision:
    pod = seen.subject
    mine = [
        budget.metadata.name
        for budget in seen.all(PodDisruptionBudget)
        if selectors.matches(budget.spec.selector, pod.metadata.labels)
    ]
    if len(mine) < 2:
        return Decision()
    about = f'Pod "{pod.metadata.namespace}"/"{pod.metadata.name}" matches multiple PodDisruptionBudgets.'
    why = f'{about}  Chose "{mine[0]}" arbitrarily.'
    return Decision((RecordEvent(pod, "Warning", "MultiplePodDisruptionBudgets", why),))


def _budget_view(budget: Object) -> Object:
    assert isinstance(budget, PodDisruptionBudget)
    meta = ObjectMeta(name=budget.metadata.name, namespace=budget.metadata.namespace, uid=budget.metadata.uid)
    return PodDisruptionBudget(metadata=meta, spec=PodDisruptionBudgetSpec(selector=budget.spec.selector))


def _labelled_view(pod: Object) -> Object:
    shown = _pod_view(pod)
    return replace(shown, metadata=replace(shown.metadata, labels=pod.metadata.labels))


def _pod_view(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    meta = pod.metadata
    ready = tuple(PodCondition(type=c.type, status=c.status) for c in pod.status.conditions if c.type == "Ready")
    return Pod(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            owner_references=meta.owner_references,
            deletion_timestamp=meta.deletion_timestamp,
        ),
        status=PodStatus(phase=pod.status.phase, conditions=ready),
    )


def _scale_view(obj: Object) -> Object:
    meta = ObjectMeta(
        name=obj.metadata.name,
        namespace=obj.metadata.namespace,
        uid=obj.metadata.uid,
        owner_references=obj.metadata.owner_references,
    )
    match obj:
        case CustomResource():
            return replace(obj, metadata=meta)
        case Deployment():
            return Deployment(metadata=meta, spec=DeploymentSpec(replicas=obj.spec.replicas))
        case ReplicaSet():
            return ReplicaSet(metadata=meta, spec=ReplicaSetSpec(replicas=obj.spec.replicas))
        case StatefulSet():
            return StatefulSet(metadata=meta, spec=StatefulSetSpec(replicas=obj.spec.replicas))
        case ReplicationController():
            return ReplicationController(metadata=meta, spec=ReplicationControllerSpec(replicas=obj.spec.replicas))
    raise TypeError(f"a {obj.kind} has no scale here")


CONTROLLER: Final = Controller(
    name="controllermanager",
    actor="Disruption controller",
    subject=PodDisruptionBudget,
    reads=(
        Read(Pod, Relation.SELECTED, view=_pod_view, leaves=False),
        Read(Deployment, Relation.NEIGHBOUR, view=_scale_view, wakes=False),
        Read(ReplicaSet, Relation.NEIGHBOUR, view=_scale_view, wakes=False),
        Read(ReplicationController, Relation.NEIGHBOUR, view=_scale_view, wakes=False),
        Read(StatefulSet, Relation.NEIGHBOUR, view=_scale_view, wakes=False),
        Read(CustomResource, Relation.NEIGHBOUR, view=_scale_view, wakes=False),
        Read(CustomResourceDefinition, Relation.ALL, wakes=False),
    ),
    reconcile=reconcile,
)

OVERLAPS: Final = Controller(
    name="controllermanager",
    actor="Disruption controller",
    subject=Pod,
    reads=(Read(PodDisruptionBudget, Relation.NEIGHBOUR, view=_budget_view, wakes=False),),
    reconcile=_warn,
    view=_labelled_view,
)

CLEANING: Final = Controller(
    name="controllermanager",
    actor="Disruption controller",
    subject=Pod,
    reads=(),
    reconcile=_forget,
    concerned=lambda pod: (
        isinstance(pod, Pod) and any(each.type == DISRUPTION_TARGET for each in pod.status.conditions)
    ),
)
