"""What becomes of a decision's writes, as the API server makes it: admission, generations, graceful deletion, quotas.

Rules: the writes of one decision are executed one after the other on the objects as they are by then; an update carries
over what the decision changed and leaves what somebody else did; what the server refuses raises `RefusedError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from seatrial.check.model.pool import NOW, Pool, with_metadata
from seatrial.check.model.space import ABSENT
from seatrial.control import admission, disruption, limitranges, quota
from seatrial.control.writes import (
    Bind,
    Create,
    Delete,
    Evict,
    Propagation,
    RecordEvent,
    RefusedError,
    Update,
    UpdateStatus,
    Write,
)
from seatrial.kube.objects import (
    LimitRange,
    Object,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ResourceQuota,
    canonical,
    parse_as,
    to_wire,
)

T = TypeVar("T")
Named = tuple[type, str, str]
_FINALIZERS: Final = {Propagation.FOREGROUND: "foregroundDeletion", Propagation.ORPHAN: "orphan"}
_FINISHED: Final = ("Succeeded", "Failed")


class Execution:
    """The writes of one decision; `named` are the objects it saw, with their numbers."""

    def __init__(
        self,
        pool: Pool,
        named: Mapping[Named, tuple[int, Object]],
        stops_at_once: bool = False,
        limits: tuple[LimitRange, ...] = (),
    ) -> None:
        self._pool = pool
        self._stops_at_once = stops_at_once
        self._limits = limits
        self._named = named
        self._now: dict[Named, Object | None] = {}
        self._born: list[Object] = []

    @property
    def changed(self) -> bool:
        return bool(self._now or self._born)

    @property
    def written(self) -> tuple[tuple[int, str], ...]:
        """The numbers and names of the objects that were written to, changed or not."""
        return tuple((self._named[name][0], name[2]) for name in self._now)

    def pairs(self) -> Iterator[tuple[int, int]]:
        for name, after in self._now.items():
            old = self._named[name][0]
            new = ABSENT if after is None else self._pool.intern(after)
            if old != new:
                yield old, new
        for item in self._born:
            yield ABSENT, self._pool.intern(item)

    def make(self, write: Write) -> None:
        """Raises `RefusedError` if it is not taken."""
        match write:
            case RecordEvent():
                return
            case Create(object=item):
                self._create(write, item)
            case Update(before=before, after=after) | UpdateStatus(before=before, after=after):
                current = self._current(before)
                if current is None:
                    return
                changed = carry(current, before, after)
                if isinstance(write, Update) and _spec(changed) != _spec(current) and current.metadata.generation:
                    changed = with_metadata(changed, generation=current.metadata.generation + 1)
                going = changed.metadata.deletion_timestamp is not None
                gone = going and not changed.metadata.finalizers and not isinstance(changed, Pod)
                self._now[_name(before)] = None if gone else changed
            case Delete(object=item):
                current = self._current(item)
                if current is not None:
                    grace_s = 0 if self._stops_at_once else write.grace_period_s
                    self._now[_name(item)] = deleted(current, grace_s, write.propagation)
            case Evict(pod=pod):
                self._evict(write, pod)
            case Bind(pod=pod, node_name=node):
                current = self._current(pod)
                if isinstance(current, Pod):
                    spec = msgspec.structs.replace(current.spec, node_name=node)
                    self._now[_name(pod)] = msgspec.structs.replace(current, spec=spec)

    def _current(self, item: Object) -> Object | None:
        name = _name(item)
        if name in self._now:
            return self._now[name]
        found = self._named.get(name)
        return None if found is None else found[1]

    def _all(self, kind: type[Object]) -> list[Any]:
        there = (self._current(item) for (each, _, _), (_, item) in self._named.items() if each is kind)
        return [item for item in there if item is not None]

    def _create(self, write: Write, item: Object) -> None:
        if item.metadata.name and self._current(item) is not None:
            raise RefusedError(f'{item.kind.lower()}s "{item.metadata.name}" already exists')
        made = born(item, self._limits)
        if isinstance(made, Pod | PersistentVolumeClaim) and (why := limitranges.refusal(made, self._limits)):
            raise RefusedError(f'{item.kind.lower()}s "{item.metadata.generate_name}" is forbidden: {why}')
        quotas = [each for each in self._all(ResourceQuota) if each.metadata.namespace == made.metadata.namespace]
        try:
            charged = quota.charge(quotas, made, None, NOW) if quotas else ()
        except quota.QuotaError as error:
            name = item.metadata.name or item.metadata.generate_name
            raise RefusedError(f'{item.kind.lower()}s "{name}" is forbidden: {error}') from error
        for each in charged:
            self._now[_name(each.after)] = each.after
        self._born.append(made)

    def _evict(self, write: Write, pod: Pod) -> None:
        current = self._current(pod)
        if not isinstance(current, Pod):
            return
        budgets = [b for b in self._all(PodDisruptionBudget) if b.metadata.namespace == pod.metadata.namespace]
        answer = disruption.evict(current, budgets, NOW)
        if isinstance(answer, disruption.Refused):
            raise RefusedError(answer.message)
        if answer is not None:
            self._now[_name(answer)] = answer
        marked = disruption.evicted(current, NOW, "EvictionByEvictionAPI", "Eviction API: evicting")
        self._now[_name(pod)] = deleted(marked, None, Propagation.BACKGROUND)


_births: dict[tuple[type, bytes, tuple[bytes, ...]], Object] = {}


def born(item: Object, limits: tuple[LimitRange, ...] = ()) -> Object:
    """A new object as the server stores it: admitted, without a drawn name, of the present."""
    meta = item.metadata
    key = (type(item), canonical(item), tuple(canonical(each) for each in limits))
    found = _births.get(key)
    if found is None:
        wire = to_wire(item)
        if isinstance(item, Pod):
            wire = limitranges.defaulted(wire, limits)
        admitted = parse_as(type(item), admission.admit(wire, now=NOW))
        uid = "/".join((item.kind, meta.namespace, meta.name)) if meta.name else ""
        found = with_metadata(admitted, uid=uid, generation=1, creation_timestamp=NOW, resource_version="")
        _births[key] = found
    return found


def deleted(item: Object, grace_period_s: int | None, propagation: Propagation) -> Object | None:
    """What a deletion leaves: pods on a node have time to end, finalizers hold everything."""
    finalizers = item.metadata.finalizers
    holds = _FINALIZERS.get(propagation)
    if holds is not None and holds not in finalizers:
        finalizers = (*finalizers, holds)
    lives_on = (
        isinstance(item, Pod)
        and bool(item.spec.node_name)
        and grace_period_s != 0
        and item.status.phase not in _FINISHED
    )
    if not lives_on and not finalizers:
        return None
    if item.metadata.deletion_timestamp is not None:
        return item
    return with_metadata(item, deletion_timestamp=NOW, finalizers=finalizers)


def _name(item: Object) -> Named:
    return (type(item), item.metadata.namespace, item.metadata.name)


def _spec(item: Object) -> object:
    return getattr(item, "spec", None)


def carry(current: T, before: Any, after: Any) -> T:
    """`current` with the difference between `before` and `after`, field by field as a patch would."""
    if current is before:
        return cast(T, after)
    if before == after:
        return current
    if isinstance(current, msgspec.Struct) and isinstance(before, type(current)) and isinstance(after, type(current)):
        changes = {
            name: carry(getattr(current, name), getattr(before, name), getattr(after, name))
            for name in type(current).__struct_fields__
            if getattr(before, name) != getattr(after, name)
        }
        return msgspec.structs.replace(current, **changes)
    return cast(T, after)
