"""The namespace controller: a deleted namespace loses its contents, pods first, and then its own finalizer.

Only kinds with a typed view are seen here; whoever stores further kinds removes them when the finalizer goes. Objects
with finalizers are waited for; the conditions say which ones, in upstream's words.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.garbage import ownership_only
from seatrial.control.writes import Delete, Update, UpdateStatus, Write
from seatrial.kube.objects import KINDS, Namespace, Node, Object, Pod
from seatrial.kube.objects.config import NamespaceCondition

FINALIZER: Final = "kubernetes"
_WAITING: Final = "Some content in the namespace has finalizers remaining"
_FINISHED: Final = "All content-preserving finalizers finished"
_CONTENTS: Final = tuple(kind for kind in KINDS.values() if kind not in {Namespace, Node})


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, Namespace)
    if subject.metadata.deletion_timestamp is None or FINALIZER not in subject.spec.finalizers:
        return Decision()
    contents = [obj for kind in _CONTENTS for obj in seen.all(kind)]
    if not contents:
        kept = tuple(name for name in subject.spec.finalizers if name != FINALIZER)
        return Decision((Update(subject, replace(subject, spec=replace(subject.spec, finalizers=kept))),))
    pods = seen.all(Pod)
    now_due = pods or contents
    writes: list[Write] = [Delete(obj) for obj in now_due if obj.metadata.deletion_timestamp is None]
    conditions = _conditions(contents, subject, seen)
    status = replace(subject.status, phase="Terminating", conditions=conditions)
    if status != subject.status:
        writes.append(UpdateStatus(subject, replace(subject, status=status)))
    return Decision(tuple(writes))


def _conditions(contents: list[Object], subject: Namespace, seen: Seen) -> tuple[NamespaceCondition, ...]:
    instances = Counter(_resource(obj) for obj in contents)
    remaining = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(instances.items()))
    finalizers = Counter(name for obj in contents for name in obj.metadata.finalizers)
    waiting = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    said = (
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {remaining}"),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", f"{_WAITING}: {waiting}")
        if waiting
        else ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", _FINISHED),
    )
    before = {condition.type: condition for condition in subject.status.conditions}
    conditions = []
    for kind, status, reason, message in said:
        previous = before.get(kind)
        same = previous is not None and previous.status == status
        since = previous.last_transition_time if previous is not None and same else seen.now.replace(microsecond=0)
        conditions.append(
            NamespaceCondition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)
        )
    return tuple(conditions)


def _resource(obj: Object) -> str:
    group = obj.api_version.rpartition("/")[0]
    return f"{obj.kind.lower()}s.{group}"


CONTROLLER = Controller(
    name="namespace-controller",
    actor="Namespace controller",
    subject=Namespace,
    reads=tuple(Read(kind, Relation.WITHIN, view=ownership_only) for kind in _CONTENTS),
    reconcile=reconcile,
)
