"""The namespace controller: a deleted namespace loses its contents, pods first, and then its own finalizer.

Since 1.33 nothing else goes while a pod is there, so that its network policies outlive it (KEP-5080). Objects with
finalizers are waited for, pods as long as they may take to end; the conditions say which ones, in upstream's words.
Whoever stores kinds without a typed view removes them when the finalizer goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.garbage import FOREGROUND, ORPHAN, ownership_only
from seatrial.control.kinds import resource_of
from seatrial.control.writes import Delete, Update, UpdateStatus, Write
from seatrial.kube.objects import KINDS, CustomResource, Namespace, Node, Object, Pod, PodSpec, PodStatus
from seatrial.kube.objects.config import NamespaceCondition

FINALIZER: Final = "kubernetes"
PODS_FIRST_SINCE: Final = 33
_WELL: Final = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}
"""The conditions of a namespace that is being deleted, when there is nothing to report."""
_CONTENTS: Final[tuple[type[Object], ...]] = (
    *(kind for kind in KINDS.values() if kind not in {Namespace, Node}),
    CustomResource,
)


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, Namespace)
    if subject.metadata.deletion_timestamp is None or FINALIZER not in subject.spec.finalizers:
        return Decision()
    contents = [obj for kind in _CONTENTS for obj in seen.all(kind)]
    if not contents:
        kept = tuple(name for name in subject.spec.finalizers if name != FINALIZER)
        return Decision((Update(subject, replace(subject, spec=replace(subject.spec, finalizers=kept))),))
    pods = seen.all(Pod) if seen.minor >= PODS_FIRST_SINCE else ()
    writes: list[Write] = [Delete(obj) for obj in pods or contents if _is_to_be_deleted(obj)]
    # While pods are waited for, upstream has not looked at the rest and says that all is well.
    remaining = [] if pods else [obj for obj in contents if obj.metadata.finalizers or isinstance(obj, Pod)]
    patient_until = _patient_until(subject, contents)
    going = [obj for obj in contents if isinstance(obj, Pod) and obj.metadata.deletion_timestamp is not None]
    overdue = going if seen.now >= patient_until else []
    conditions = _conditions(remaining, overdue, subject, seen)
    status = replace(subject.status, phase="Terminating", conditions=conditions)
    if status != subject.status:
        writes.append(UpdateStatus(subject, replace(subject, status=status)))
    return Decision(tuple(writes), wake_at=patient_until if seen.now < patient_until else None)


def _patient_until(subject: Namespace, contents: Iterable[Object]) -> datetime:
    """When the last pod should have ended: those that have not by then are a failure, unless finalizers hold one."""
    asked_at = subject.metadata.deletion_timestamp
    assert asked_at is not None
    running = (obj for obj in contents if isinstance(obj, Pod) and obj.status.phase not in ("Succeeded", "Failed"))
    graces = (pod.spec.termination_grace_period_seconds for pod in running)
    return asked_at + timedelta(seconds=max((grace for grace in graces if grace is not None), default=0))


def _is_to_be_deleted(obj: Object) -> bool:
    """What is going already need not wait for its dependents, nor orphan them, any more."""
    return obj.metadata.deletion_timestamp is None or any(
        finalizer in (FOREGROUND, ORPHAN) for finalizer in obj.metadata.finalizers
    )


def _conditions(
    remaining: list[Object], overdue: list[Pod], subject: Namespace, seen: Seen
) -> tuple[NamespaceCondition, ...]:
    instances = Counter(map(_resource, remaining))
    listed = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(instances.items()))
    finalizers = Counter(name for obj in remaining for name in obj.metadata.finalizers)
    waiting = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    failure = ""
    if overdue and not any(pod.metadata.finalizers for pod in overdue):
        what = f"unexpected items still remain in namespace: {subject.metadata.name} for gvr: /v1, Resource=pods"
        failure = f"Failed to delete all resource types, 1 remaining: {what}"
    found = {
        "NamespaceDeletionContentFailure": ("ContentDeletionFailed", failure),
        "NamespaceContentRemaining": (
            "SomeResourcesRemain",
            f"Some resources are remaining: {listed}" if listed else "",
        ),
        "NamespaceFinalizersRemaining": (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {waiting}" if waiting else "",
        ),
    }
    before = {condition.type: condition for condition in subject.status.conditions}
    conditions = []
    for kind, (ok_reason, ok_message) in _WELL.items():
        reason, message = found.get(kind, ("", ""))
        status = "True" if message else "False"
        previous = before.get(kind)
        same = previous is not None and previous.status == status
        conditions.append(
            NamespaceCondition(
                type=kind,
                status=status,
                reason=reason if message else ok_reason,
                message=message or ok_message,
                last_transition_time=previous.last_transition_time
                if previous is not None and same
                else seen.now.replace(microsecond=0),
            )
        )
    return tuple(conditions)


def _resource(obj: Object) -> str:
    """As upstream prints it: core kinds have an empty group."""
    name = resource_of(obj)
    return name if "." in name else f"{name}."


def _pod(obj: Object) -> Object:
    """A pod as any object, and how long it may take to end."""
    assert isinstance(obj, Pod)
    viewed = ownership_only(obj)
    assert isinstance(viewed, Pod)
    spec = PodSpec(termination_grace_period_seconds=obj.spec.termination_grace_period_seconds)
    return replace(viewed, spec=spec, status=PodStatus(phase=obj.status.phase))


CONTROLLER = Controller(
    name="namespace-controller",
    actor="Namespace controller",
    subject=Namespace,
    reads=tuple(Read(kind, Relation.WITHIN, view=_pod if kind is Pod else ownership_only) for kind in _CONTENTS),
    reconcile=reconcile,
    concerned=lambda namespace: namespace.metadata.deletion_timestamp is not None,
)
