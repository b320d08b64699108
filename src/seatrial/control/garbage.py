"""The garbage collector: what becomes of an object when its owners go, and of an owner that waits for its dependents.

There is one controller for each kind, and each decides about one object from its owners and its dependents, all known
by uid. A reference that is right in its uid and wrong in the rest refers to nothing. An object with an owner whose kind
is not served stays, as the owner cannot be looked up. Deleting with propagation Orphan or Foreground puts a finalizer
on the owner (the server does that); it is taken off here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.kinds import OBJECTS, scopes
from seatrial.control.writes import Delete, Propagation, RecordEvent, Update, Write
from seatrial.kube.objects import CustomResource, CustomResourceDefinition, Object, ObjectMeta, OwnerReference
from seatrial.kube.objects.custom import CustomResourceDefinitionCondition

T = TypeVar("T", bound=Object)

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"


class _Memory(Struct, frozen=True):
    """Of an object with wrong owners, which ones were looked at: people are told about one at most, and when it is new.

    `stood`: all dependents have seen this owner waiting. They look first, also those that do not block it: what has
    dependents of its own then waits for them in turn.
    """

    owners: tuple[str, ...] = ()
    stood: bool = False

    def worth_keeping(self) -> _Memory | None:
        return self if self.owners or self.stood else None


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    meta = subject.metadata
    related = [obj for kind in OBJECTS for obj in seen.all(kind)]
    before = seen.memory
    assert before is None or isinstance(before, _Memory)
    told = _misplaced(subject, related, () if before is None else before.owners)
    said: list[Write] = [told] if told is not None else []
    memory = _Memory()
    if (before is not None and before.owners) or _has_wrong_owner(subject, related):
        memory = _Memory(tuple(ref.uid for ref in meta.owner_references))
    dependents = [obj for obj in related if any(ref.uid == meta.uid for ref in obj.metadata.owner_references)]
    if meta.deletion_timestamp is not None:
        memory = replace(memory, stood=FOREGROUND in meta.finalizers)
        if memory.stood and (before is None or not before.stood) and not all(map(_is_going, dependents)):
            return Decision(tuple(said), wake_at=seen.now, memory=memory)
        return Decision((*said, *_let_go(subject, dependents)), memory=memory.worth_keeping())
    known = scopes(seen.all(CustomResourceDefinition))
    return Decision((*said, *_collect(subject, related, dependents, known)), memory=memory.worth_keeping())


def _collect(
    subject: Object, related: list[Object], dependents: list[Object], scopes: Mapping[tuple[str, str], bool]
) -> list[Write]:
    """What becomes of an object with owners: it goes when none of them is left that stays."""
    meta = subject.metadata
    solid, waiting = [], False
    for ref in meta.owner_references:
        if not _is_known(ref, subject, scopes):
            return []
        owner = next((obj for obj in related if _is_meant(ref, obj, subject)), None)
        if owner is None:
            continue
        if owner.metadata.deletion_timestamp is not None and FOREGROUND in owner.metadata.finalizers:
            waiting = True
        else:
            solid.append(ref)
    if len(solid) == len(meta.owner_references):
        return []
    if solid:
        return [Update(subject, _owned_by(subject, tuple(solid)))]
    if waiting and dependents:
        writes: list[Write] = []
        if any(FOREGROUND in each.metadata.finalizers and _is_going(each) for each in dependents):
            # They own each other: who waits for whom has to be undone.
            free = tuple(
                replace(ref, block_owner_deletion=False) if ref.block_owner_deletion else ref
                for ref in meta.owner_references
            )
            writes.append(Update(subject, _owned_by(subject, free)))
        return [*writes, Delete(subject, propagation=Propagation.FOREGROUND)]
    propagation = Propagation.BACKGROUND
    if ORPHAN in meta.finalizers:
        propagation = Propagation.ORPHAN
    elif FOREGROUND in meta.finalizers:
        propagation = Propagation.FOREGROUND
    return [Delete(subject, propagation=propagation)]


def _is_going(obj: Object) -> bool:
    return obj.metadata.deletion_timestamp is not None


def _is_known(ref: OwnerReference, subject: Object, scopes: Mapping[tuple[str, str], bool]) -> bool:
    """Whether it can be told if the owner is there. A namespaced one of an object of the whole cluster never can."""
    namespaced = scopes.get((ref.api_version, ref.kind))
    return namespaced is not None and (bool(subject.metadata.namespace) or not namespaced)


def _is_meant(ref: OwnerReference, obj: Object, subject: Object) -> bool:
    """An owner is looked up by its kind and name, beside its dependent if it is namespaced, and has to have the uid."""
    meta, (api_version, kind) = obj.metadata, obj.identity
    same_group = ref.api_version.rpartition("/")[0] == api_version.rpartition("/")[0]
    return (
        same_group
        and (ref.uid, ref.name, ref.kind) == (meta.uid, meta.name, kind)
        and meta.namespace in ("", subject.metadata.namespace)
    )


def _has_wrong_owner(subject: Object, related: list[Object]) -> bool:
    owners = {obj.metadata.uid: obj for obj in related}
    known = ((ref, owners[ref.uid]) for ref in subject.metadata.owner_references if ref.uid in owners)
    return any(not _is_meant(ref, owner, subject) for ref, owner in known)


def _misplaced(subject: Object, related: list[Object], looked_at: tuple[str, ...]) -> RecordEvent | None:
    """What people are told of a new owner in another namespace."""
    meta = subject.metadata
    owners = {obj.metadata.uid: obj for obj in related}
    for ref in meta.owner_references:
        owner = owners.get(ref.uid) if ref.uid not in looked_at else None
        if owner is not None and owner.metadata.namespace not in ("", meta.namespace):
            place = f"{ref.api_version}/{ref.kind}, namespace: {meta.namespace}, name: {ref.name}, uid: {ref.uid}"
            message = f'ownerRef [{place}] does not exist in namespace "{meta.namespace}"'
            return RecordEvent(subject, "Warning", "OwnerRefInvalidNamespace", message)
        if owner is not None and not _is_meant(ref, owner, subject):
            return None  # upstream looks no further
    return None


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
    kept = ObjectMeta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        owner_references=meta.owner_references,
        finalizers=meta.finalizers,
        deletion_timestamp=meta.deletion_timestamp,
    )
    return replace(obj, metadata=kept, scale=None) if isinstance(obj, CustomResource) else type(obj)(metadata=kept)


def _definition(obj: Object) -> Object:
    """A definition as one that may own, be owned, and serves a kind."""
    assert isinstance(obj, CustomResourceDefinition)
    viewed = ownership_only(obj)
    assert isinstance(viewed, CustomResourceDefinition)
    return replace(viewed, spec=obj.spec, status=replace(obj.status, conditions=_established(obj)))


def _established(obj: CustomResourceDefinition) -> tuple[CustomResourceDefinitionCondition, ...]:
    return tuple(each for each in obj.status.conditions if each.type == "Established")


def _is_owned_or_going(subject: Object) -> bool:
    return bool(subject.metadata.owner_references) or subject.metadata.deletion_timestamp is not None


_READS: Final = (
    Read(CustomResourceDefinition, Relation.ALL, view=_definition, wakes=False),
    *(
        Read(kind, relation, view=ownership_only)
        for kind in OBJECTS
        for relation in (Relation.OWNER, Relation.DEPENDENT)
    ),
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
    for kind in OBJECTS
)
