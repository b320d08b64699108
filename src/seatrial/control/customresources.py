"""CustomResourceDefinitions: whose names are whose, when a kind is served, and what becomes of its objects at the end.

Upstream has these controllers inside the API server (`naming_controller`, `establishing_controller`, `crd_finalizer`).
A name belongs to the definition that has it in `status.acceptedNames`; one that wants a name of another waits, and
serves meanwhile what it has. A deleted definition goes when its objects have gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.kinds import OBJECTS, resource_of
from seatrial.control.writes import Delete, Update, UpdateStatus, Write
from seatrial.kube import schemas
from seatrial.kube.customresources.definitions import CLEANUP_FINALIZER
from seatrial.kube.faults import quoted
from seatrial.kube.objects import CustomResource, CustomResourceDefinition, Object, ObjectMeta
from seatrial.kube.objects.custom import (
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)

PATIENCE: Final = timedelta(minutes=1)
"""How long objects may take to go before the definition says that they have not."""
POLL: Final = timedelta(seconds=5)


def name(seen: Seen) -> Decision:
    """Accept the names that are free; establish the kind once all are."""
    definition = seen.subject
    assert isinstance(definition, CustomResourceDefinition)
    status = definition.status
    if definition.spec.names != status.accepted_names:
        named = _named(definition, seen)
        if named.accepted_names != status.accepted_names or _differs(named, status, "NamesAccepted"):
            return Decision((UpdateStatus(definition, replace(definition, status=named)),))
    if status.holds("NamesAccepted") and not status.holds("Established"):
        text = "the initial names have been accepted"
        established = _with(status, "Established", "True", "InitialNamesAccepted", text, seen.now)
        return Decision((UpdateStatus(definition, replace(definition, status=established)),))
    return Decision()


def _named(definition: CustomResourceDefinition, seen: Seen) -> CustomResourceDefinitionStatus:
    status = definition.status
    wanted, accepted = definition.spec.names, status.accepted_names
    resources: set[str] = set()
    kinds: set[str] = set()
    for each in seen.all(CustomResourceDefinition):
        if each.spec.group == definition.spec.group:
            names = each.status.accepted_names
            resources |= {names.plural, names.singular, *names.short_names}
            kinds |= {names.kind, names.list_kind}
    conflict = ("", "")
    new = replace(accepted, categories=wanted.categories)
    for field, reason, used in (
        ("plural", "PluralConflict", resources),
        ("singular", "SingularConflict", resources),
        ("short_names", "ShortNamesConflict", resources),
        ("kind", "KindConflict", kinds),
        ("list_kind", "ListKindConflict", kinds),
    ):
        taken = _taken(getattr(wanted, field), getattr(accepted, field), used)
        if taken:
            conflict = reason, taken
        else:
            new = replace(new, **{field: getattr(wanted, field)})
    reason, message = conflict
    if reason:
        named = _with(status, "NamesAccepted", "False", reason, message, seen.now)
        if status.condition("Established") is None:
            text = "not all names are accepted"
            named = _with(named, "Established", "False", "NotAccepted", text, seen.now)
    else:
        named = _with(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", seen.now)
        if not status.holds("Established"):
            text = "the initial names have been accepted"
            named = _with(named, "Established", "False", "Installing", text, seen.now)
    return replace(named, accepted_names=new)


def _taken(wanted: str | tuple[str, ...], own: str | tuple[str, ...], used: set[str]) -> str:
    """Which of the wanted names others have, in upstream's words."""
    if wanted == own:
        return ""
    every = (wanted,) if isinstance(wanted, str) else tuple(each for each in wanted if each not in own)
    texts = [f"{quoted(each)} is already in use" for each in every if each in used]
    unique = list(dict.fromkeys(texts))
    return f"[{', '.join(unique)}]" if len(unique) > 1 else "".join(unique)


def _differs(one: CustomResourceDefinitionStatus, other: CustomResourceDefinitionStatus, kind: str) -> bool:
    conditions = one.condition(kind), other.condition(kind)
    said = [None if each is None else (each.status, each.reason, each.message) for each in conditions]
    return said[0] != said[1]


def _with(
    status: CustomResourceDefinitionStatus, kind: str, holds: str, reason: str, message: str, now: datetime
) -> CustomResourceDefinitionStatus:
    old = status.condition(kind)
    since = old.last_transition_time if old is not None and old.status == holds else None
    new = CustomResourceDefinitionCondition(
        type=kind,
        status=holds,
        reason=reason,
        message=message,
        last_transition_time=since or now.replace(microsecond=0),
    )
    if old is None:
        return replace(status, conditions=(*status.conditions, new))
    return replace(status, conditions=tuple(new if each is old else each for each in status.conditions))


def clean(seen: Seen) -> Decision:
    """Delete the objects of a deleted definition, wait until they are gone, let the definition go."""
    definition = seen.subject
    assert isinstance(definition, CustomResourceDefinition)
    meta, status = definition.metadata, definition.status
    if meta.deletion_timestamp is None or CLEANUP_FINALIZER not in meta.finalizers:
        return Decision()
    if not definition.serves:
        return _gone(definition, "NeverEstablished", "resource was never established", seen.now)
    instances = list(_instances(definition, seen))
    if not instances and seen.memory is not None:
        # What went has woken its dependents: they must find the kind served to know that their owner is gone.
        return Decision(wake_at=seen.now)
    if not instances:
        return _gone(definition, "InstanceDeletionCompleted", "removed all instances", seen.now)
    writes: list[Write] = []
    reason, message = "InstanceDeletionInProgress", "CustomResource deletion is in progress"
    if seen.now >= meta.deletion_timestamp + PATIENCE:
        reason = "InstanceDeletionCheck"
        message = "could not confirm zero CustomResources remaining: context deadline exceeded"
    told = _with(status, "Terminating", "True", reason, message, seen.now)
    if told != status:
        writes.append(UpdateStatus(definition, replace(definition, status=told)))
    deletions = [Delete(each) for each in instances if each.metadata.deletion_timestamp is None]
    return Decision((*writes, *deletions), seen.now if deletions else seen.now + POLL, memory=bool(deletions) or None)


def _instances(definition: CustomResourceDefinition, seen: Seen) -> Iterable[Object]:
    every = (each for kind in _OF_CUSTOM_KINDS for each in seen.all(kind))
    return (each for each in every if resource_of(each) == definition.metadata.name)


def _gone(definition: CustomResourceDefinition, reason: str, message: str, now: datetime) -> Decision:
    meta = definition.metadata
    kept = tuple(each for each in meta.finalizers if each != CLEANUP_FINALIZER)
    status = _with(definition.status, "Terminating", "False", reason, message, now)
    return Decision(
        (
            UpdateStatus(definition, replace(definition, status=status)),
            Update(definition, replace(definition, metadata=replace(meta, finalizers=kept))),
        )
    )


def identity_only(obj: Object) -> Object:
    """What an object is of a kind and whether it is going, without what people write into it."""
    meta = obj.metadata
    kept = ObjectMeta(
        name=meta.name, namespace=meta.namespace, uid=meta.uid, deletion_timestamp=meta.deletion_timestamp
    )
    if isinstance(obj, CustomResource):
        return replace(obj, metadata=kept, scale=None)
    return type(obj)(metadata=kept)


def _names_only(obj: Object) -> Object:
    assert isinstance(obj, CustomResourceDefinition)
    meta = ObjectMeta(name=obj.metadata.name)
    accepted = CustomResourceDefinitionStatus(accepted_names=obj.status.accepted_names)
    spec = replace(obj.spec, names=CustomResourceDefinitionNames(), versions=(), scope="")
    return CustomResourceDefinition(metadata=meta, spec=spec, status=accepted)


_OF_CUSTOM_KINDS: Final = tuple(
    kind for kind in OBJECTS if kind is CustomResource or schemas.is_custom(kind.api_version, kind.kind)
)
"""The kinds that only exist by a definition, or may."""

NAMING: Final = Controller(
    name="crd-naming-controller",
    actor="Naming controller",
    subject=CustomResourceDefinition,
    reads=(Read(CustomResourceDefinition, Relation.ALL, view=_names_only),),
    reconcile=name,
)

CLEANING: Final = Controller(
    name="crd-finalizer",
    actor="CustomResource finalizer",
    subject=CustomResourceDefinition,
    reads=tuple(Read(kind, Relation.ALL, view=identity_only, wakes=False) for kind in _OF_CUSTOM_KINDS),
    reconcile=clean,
    concerned=lambda definition: definition.metadata.deletion_timestamp is not None,
)

CONTROLLERS: Final = (NAMING, CLEANING)
