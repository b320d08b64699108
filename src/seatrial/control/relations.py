"""Which objects a controller's declared reads mean: one answer, used by the cluster's control loop and by the checker.

A change wakes a subject exactly when the object is related to it before or after the change and its view differs;
`observe` collects exactly the related objects. What an object owns or is owned by is decided by uid alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from seatrial.control.controller import NEWEST_MINOR, Controller, Read, Relation, Seen
from seatrial.control.writes import Refusal
from seatrial.kube import selectors
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Job,
    Key,
    LabelSelector,
    Object,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    VolumeAttachment,
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
        case Relation.SELECTED | Relation.SIBLING:
            return obj.metadata.namespace == subject.metadata.namespace and _selects(subject, obj, _ignored(read))
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
        case Relation.STORAGE:
            return not set(storage(subject)).isdisjoint(storage(obj))


def storage(obj: Object) -> tuple[tuple[str, str, str], ...]:
    """The claims and volumes that an object is about, as kind, namespace and name."""
    meta = obj.metadata
    if isinstance(obj, Pod):
        return tuple((PersistentVolumeClaim.kind, meta.namespace, name) for name in claim_names(obj))
    if isinstance(obj, PersistentVolumeClaim):
        own = (obj.kind, meta.namespace, meta.name)
        return (own, (PersistentVolume.kind, "", obj.spec.volume_name)) if obj.spec.volume_name else (own,)
    if isinstance(obj, PersistentVolume):
        claim = obj.spec.claim_ref
        own = (obj.kind, "", meta.name)
        return (own,) if claim is None else (own, (PersistentVolumeClaim.kind, claim.namespace, claim.name))
    if isinstance(obj, VolumeAttachment):
        name = obj.spec.source.persistent_volume_name
        return ((PersistentVolume.kind, "", name),) if name else ()
    return ()


def claim_names(pod: Pod) -> tuple[str, ...]:
    """The PersistentVolumeClaims that a pod mounts; a generic ephemeral volume's is named after pod and volume."""
    return tuple(
        f"{pod.metadata.name}-{volume.name}"
        if volume.persistent_volume_claim is None
        else volume.persistent_volume_claim.claim_name
        for volume in pod.spec.volumes
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None
    )


class Source(Protocol):
    """Where an observation comes from."""

    def candidates(self, read: Read, subject: Object) -> Iterable[Object]:
        """Objects that `subject` may see by `read`: more than what is related perhaps, never less."""

    def everything(self, read: Read) -> tuple[Object, ...]:
        """Every object of the kind, as the read's view shows it, by namespace and name."""


def observe(
    controller: Controller, subject: Object, objects: Mapping[type[Object], Iterable[Object]], now: datetime
) -> Seen:
    """What `controller` sees of `subject` among `objects`."""
    return gather(controller, subject, _Given(objects), now)


def gather(
    controller: Controller,
    subject: Object,
    source: Source,
    now: datetime,
    *,
    minor: int = NEWEST_MINOR,
    refused: tuple[Refusal, ...] = (),
    memory: Hashable | None = None,
) -> Seen:
    """What `controller` sees of `subject`: for each kind the union of its reads, the first matching read's view."""
    whole: dict[type[Object], tuple[Object, ...]] = {}
    some: dict[type[Object], dict[Key, Object]] = {}
    for read in controller.reads:
        if read.kind in whole:
            continue
        if read.relation is Relation.ALL and not some.get(read.kind):
            whole[read.kind] = source.everything(read)
            continue
        of_kind = some.setdefault(read.kind, {})
        for obj in source.candidates(read, subject):
            place = obj.key
            if place not in of_kind and related(read, subject, obj):
                of_kind[place] = obj if read.view is None else read.view(obj)
    objects = {kind: tuple(found[place] for place in sorted(found)) for kind, found in some.items()}
    return Seen(subject, {**objects, **whole}, now, minor, refused, memory)


@dataclass(frozen=True, slots=True)
class _Given:
    """Objects in hand, without an index."""

    objects: Mapping[type[Object], Iterable[Object]]

    def candidates(self, read: Read, _: Object) -> Iterable[Object]:
        return self.objects.get(read.kind, ())

    def everything(self, read: Read) -> tuple[Object, ...]:
        found = {obj.key: obj for obj in self.objects.get(read.kind, ())}
        return tuple(found[place] if read.view is None else read.view(found[place]) for place in sorted(found))


def demanded(read: Read, subject: Object) -> Mapping[str, str]:
    """Labels of everything that `subject` sees by this SELECTED or SIBLING read: what an index can be kept by."""
    if isinstance(subject, Service | ReplicationController):
        return subject.spec.selector
    if isinstance(subject, Deployment | ReplicaSet | StatefulSet | DaemonSet | Job | PodDisruptionBudget):
        selector = _without(subject.spec.selector, _ignored(read))
        return selector.match_labels if selector is not None else {}
    return {}


def _ignored(read: Read) -> tuple[str, ...]:
    return (POD_TEMPLATE_HASH,) if read.relation is Relation.SIBLING else ()


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
