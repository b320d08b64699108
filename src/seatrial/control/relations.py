"""Which objects a controller's declared reads mean: one answer, used by the cluster's control loop and by the checker.

A change wakes a subject exactly when the object is related to it before or after the change and its view differs;
`observe` collects exactly the related objects. What an object owns or is owned by is decided by uid alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from seatrial.control.controller import Controller, Read, Relation, Seen
from seatrial.kube import selectors
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Job,
    LabelSelector,
    Object,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)

POD_TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment tells the pods of its ReplicaSets apart."""


def related(read: Read, subject: Object, obj: Object) -> bool:
    """Whether `subject`'s controller sees `obj` by this read."""
    if not isinstance(obj, read.kind):
        return False
    match read.relation:
        case Relation.ALL:
            return True
        case Relation.OWNED:
            owner = obj.metadata.controller
            return owner is not None and bool(owner.uid) and owner.uid == subject.metadata.uid
        case Relation.SELECTED:
            return obj.metadata.namespace == subject.metadata.namespace and _selects(subject, obj, ())
        case Relation.SIBLING:
            return obj.metadata.namespace == subject.metadata.namespace and _selects(subject, obj, (POD_TEMPLATE_HASH,))
        case Relation.LABELLED:
            return (
                obj.metadata.namespace == subject.metadata.namespace
                and obj.metadata.labels.get(read.label) == subject.metadata.name
            )
        case Relation.OWNER:
            return any(owner.uid == obj.metadata.uid for owner in subject.metadata.owner_references)
        case Relation.DEPENDENT:
            return any(owner.uid == subject.metadata.uid for owner in obj.metadata.owner_references)
        case Relation.WITHIN:
            return obj.metadata.namespace == subject.metadata.name
        case Relation.NEIGHBOUR:
            return obj.metadata.namespace == subject.metadata.namespace
        case Relation.NAMESAKE:
            same_place = not subject.metadata.namespace or obj.metadata.namespace == subject.metadata.namespace
            return same_place and obj.metadata.name == subject.metadata.name
        case Relation.HOSTED:
            return isinstance(obj, Pod) and obj.spec.node_name == subject.metadata.name


def observe(
    controller: Controller, subject: Object, objects: Mapping[type[Object], Iterable[Object]], now: datetime
) -> Seen:
    """What `controller` sees of `subject`: for each kind the union of its reads, the first matching read's view."""
    seen: dict[type[Object], dict[tuple[str, str], Object]] = {}
    for read in controller.reads:
        of_kind = seen.setdefault(read.kind, {})
        for obj in objects.get(read.kind, ()):
            place = (obj.metadata.namespace, obj.metadata.name)
            if place not in of_kind and related(read, subject, obj):
                of_kind[place] = obj if read.view is None else read.view(obj)
    return Seen(subject, {kind: tuple(found[place] for place in sorted(found)) for kind, found in seen.items()}, now)


def _selects(subject: Object, obj: Object, ignored: tuple[str, ...]) -> bool:
    if isinstance(subject, Service | ReplicationController):
        selector = subject.spec.selector
        return bool(selector) and selectors.matches_labels(selector, obj.metadata.labels)
    if isinstance(subject, Deployment | ReplicaSet | StatefulSet | DaemonSet | Job | PodDisruptionBudget):
        return selectors.matches(_without(subject.spec.selector, ignored), obj.metadata.labels)
    raise TypeError(f"a {subject.kind} has no selector; its controller cannot declare a selected read")


def _without(selector: LabelSelector | None, ignored: tuple[str, ...]) -> LabelSelector | None:
    if selector is None or not ignored or not any(key in selector.match_labels for key in ignored):
        return selector
    labels = {key: value for key, value in selector.match_labels.items() if key not in ignored}
    return msgspec.structs.replace(selector, match_labels=labels)
