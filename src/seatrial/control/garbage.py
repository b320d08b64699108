"""The garbage collector: what becomes of an object when its owners go, and of an owner that waits for its dependents.

There is one controller for each kind, and each decides about one object from its owners and its dependents, all known
by uid. Kinds without a typed view cannot be seen from here: an owner of such a kind counts as existing. Deleting with
propagation Orphan or Foreground puts a finalizer on the owner (the server does that); it is taken off here.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Delete, Propagation, Update, Write
from seatrial.kube.objects import KINDS, Event, Object, ObjectMeta, OwnerReference

T = TypeVar("T", bound=Object)

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
_COLLECTED: Final = tuple(kind for kind in KINDS.values() if kind is not Event)


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    meta = subject.metadata
    related = [obj for kind in _COLLECTED for obj in seen.all(kind)]
    dependents = [obj for obj in related if any(ref.uid == meta.uid for ref in obj.metadata.owner_references)]
    if meta.deletion_timestamp is not None:
        return Decision(tuple(_let_go(subject, dependents)))
    owners = {obj.metadata.uid: obj for obj in related}
    solid, waiting = [], False
    for ref in meta.owner_references:
        owner = owners.get(ref.uid)
        if owner is None:
            if (ref.api_version, ref.kind) not in KINDS:
                solid.append(ref)
        elif owner.metadata.deletion_timestamp is not None and FOREGROUND in owner.metadata.finalizers:
            waiting = True
        else:
            solid.append(ref)
    if len(solid) == len(meta.owner_references):
        return Decision()
    if solid:
        return Decision((Update(subject, _owned_by(subject, tuple(solid))),))
    if ORPHAN in meta.finalizers:
        propagation = Propagation.ORPHAN
    elif FOREGROUND in meta.finalizers or (waiting and dependents):
        propagation = Propagation.FOREGROUND
    else:
        propagation = Propagation.BACKGROUND
    return Decision((Delete(subject, propagation=propagation),))


def _let_go(subject: Object, dependents: list[Object]) -> list[Write]:
    """What a deleted owner still has to do: orphan its dependents, or wait until those that block it are gone."""
    meta = subject.metadata
    if ORPHAN in meta.finalizers:
        orphaned: list[Write] = []
        for dependent in dependents:
            others = tuple(ref for ref in dependent.metadata.owner_references if ref.uid != meta.uid)
            orphaned.append(Update(dependent, _owned_by(dependent, others)))
        return [*orphaned, Update(subject, _without_finalizer(subject, ORPHAN))]
    if FOREGROUND in meta.finalizers:
        refs = (ref for dependent in dependents for ref in dependent.metadata.owner_references)
        if not any(ref.uid == meta.uid and ref.block_owner_deletion for ref in refs):
            return [Update(subject, _without_finalizer(subject, FOREGROUND))]
    return []


def _owned_by(obj: T, owners: tuple[OwnerReference, ...]) -> T:
    return replace(obj, metadata=replace(obj.metadata, owner_references=owners))


def _without_finalizer(obj: T, finalizer: str) -> T:
    kept = tuple(name for name in obj.metadata.finalizers if name != finalizer)
    return replace(obj, metadata=replace(obj.metadata, finalizers=kept))


def ownership_only(obj: Object) -> Object:
    """What garbage collection looks at: who an object is, whose it is, and whether it is going."""
    meta = obj.metadata
    return type(obj)(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            owner_references=meta.owner_references,
            finalizers=meta.finalizers,
            deletion_timestamp=meta.deletion_timestamp,
        )
    )


def _is_owned_or_going(subject: Object) -> bool:
    return bool(subject.metadata.owner_references) or subject.metadata.deletion_timestamp is not None


_READS: Final = tuple(
    Read(kind, relation, view=ownership_only)
    for kind in _COLLECTED
    for relation in (Relation.OWNER, Relation.DEPENDENT)
)

CONTROLLERS: Final = tuple(
    Controller(
        name="garbage-collector-controller",
        actor="Garbage collector",
        subject=kind,
        reads=_READS,
        reconcile=reconcile,
        concerned=_is_owned_or_going,
        view=ownership_only,
    )
    for kind in _COLLECTED
)
