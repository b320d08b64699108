"""Which objects could be related to which, found without looking at all of them.

`control.relations` says what a declared read means; this narrows where it has to look, in both directions: the objects
that a subject may see (`candidates`) and the subjects that may see an object (`subjects`). Both may give too much and
never too little; a test compares them with looking at everything. Every object lies in a few buckets (its namespace,
its labels, its owners, ...), and one with a selector lies in one more, under a label that the selector demands.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final, TypeVar, cast

from seatrial.control import relations
from seatrial.control.controller import Read, Relation
from seatrial.kube.objects import Key, Object, Pod

T = TypeVar("T", bound=Object)
View = Callable[[Object], Object]
_ANY: Final = ("", "")
"""The bucket of selectors that demand no label: expressions only, or nothing at all."""
_SELECTING: Final = (Relation.SELECTED, Relation.SIBLING)


class Index:
    """Typed objects by kind and key, and the buckets they lie in."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Object]] = {}
        self._buckets: dict[Hashable, dict[Key, None]] = {}
        self._places: dict[Key, tuple[Hashable, ...]] = {}
        self._wholes: dict[str, dict[View | None, _Whole]] = {}
        self.computed: dict[type[Object], Callable[[], Iterable[Object]]] = {}
        """Kinds that are not put here but worked out when somebody looks, such as metrics."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        return cast("T | None", self._objects.get(kind.kind, {}).get(Key(kind.kind, namespace, name)))

    def at(self, key: Key) -> Object | None:
        return self._objects.get(key.kind, {}).get(key)

    def all(self, kind: type[T]) -> Sequence[T]:
        return cast("Sequence[T]", tuple(self._objects.get(kind.kind, {}).values()))

    def put(self, obj: Object) -> None:
        key = obj.key
        of_kind = self._objects.setdefault(key.kind, {})
        before = of_kind.get(key)
        of_kind[key] = obj
        for whole in self._wholes.get(key.kind, {}).values():
            whole.put(obj)
        if before is not None and _placed_alike(before, obj):
            return
        if before is not None:
            self._leave(key)
        places = (*_places(obj), *self._selecting_places(obj))
        self._places[key] = places
        for place in places:
            self._buckets.setdefault(place, {})[key] = None

    def remove(self, key: Key) -> None:
        if self._objects.get(key.kind, {}).pop(key, None) is not None:
            self._leave(key)
            for whole in self._wholes.get(key.kind, {}).values():
                whole.remove(key)

    def everything(self, read: Read) -> tuple[Object, ...]:
        """All of a kind as a view shows them, by namespace and name; kept, so that asking again costs nothing."""
        wholes = self._wholes.setdefault(read.kind.kind, {})
        whole = wholes.get(read.view)
        if whole is None:
            whole = wholes[read.view] = _Whole(read.view)
            for obj in self._objects.get(read.kind.kind, {}).values():
                whole.put(obj)
        return whole.all()

    def candidates(self, read: Read, subject: Object) -> Iterable[Object]:
        """What `subject` may see by `read`."""
        kind, meta = read.kind.kind, subject.metadata
        if read.kind in self.computed:
            return self.computed[read.kind]()
        match read.relation:
            case Relation.ALL:
                return self._objects.get(kind, {}).values()
            case Relation.OWNED | Relation.DEPENDENT:
                return self._in((kind, "owner", meta.uid))
            case Relation.SELECTED | Relation.SIBLING:
                labels = relations.demanded(read, subject)
                places: list[Hashable] = [(kind, meta.namespace, *label) for label in labels.items()]
                return self._in(self._smallest(places) if places else (kind, "namespace", meta.namespace))
            case Relation.LABELLED:
                return self._in((kind, meta.namespace, read.label, meta.name))
            case Relation.OWNER:
                uids = dict.fromkeys(owner.uid for owner in meta.owner_references)
                return [obj for uid in uids for obj in self._in((kind, "uid", uid))]
            case Relation.WITHIN:
                return self._in((kind, "namespace", meta.name))
            case Relation.NEIGHBOUR:
                return self._in((kind, "namespace", meta.namespace))
            case Relation.NAMESAKE if meta.namespace:
                return self._there(Key(kind, meta.namespace, meta.name))
            case Relation.NAMESAKE:
                return self._in((kind, "name", meta.name))
            case Relation.HOSTED:
                return self._in((kind, "node", meta.name))
            case Relation.STORAGE:
                return [obj for place in relations.storage(subject) for obj in self._in((kind, *place))]

    def subjects(self, read: Read, kinds: Iterable[type[Object]], obj: Object) -> Iterator[Object]:
        """Who of these kinds may see `obj` by `read`; some perhaps twice."""
        meta = obj.metadata
        for each in kinds:
            kind = each.kind
            match read.relation:
                case Relation.ALL:
                    yield from tuple(self._objects.get(kind, {}).values())
                case Relation.OWNED | Relation.DEPENDENT:
                    for owner in meta.owner_references:
                        yield from self._in((kind, "uid", owner.uid))
                case Relation.SELECTED | Relation.SIBLING:
                    for label in (*meta.labels.items(), _ANY):
                        yield from self._in((kind, read.relation, meta.namespace, label))
                case Relation.LABELLED:
                    yield from self._there(Key(kind, meta.namespace, meta.labels.get(read.label, "")))
                case Relation.OWNER:
                    yield from self._in((kind, "owner", meta.uid))
                case Relation.WITHIN:
                    yield from self._there(Key(kind, "", meta.namespace))
                case Relation.NEIGHBOUR:
                    yield from self._in((kind, "namespace", meta.namespace))
                case Relation.NAMESAKE:
                    yield from self._there(Key(kind, meta.namespace, meta.name))
                    yield from self._there(Key(kind, "", meta.name))
                case Relation.HOSTED:
                    if isinstance(obj, Pod):
                        yield from self._there(Key(kind, "", obj.spec.node_name))
                case Relation.STORAGE:
                    for place in relations.storage(obj):
                        yield from self._in((kind, *place))

    def _in(self, place: Hashable) -> list[Object]:
        bucket = self._buckets.get(place)
        return [] if bucket is None else [self._objects[key.kind][key] for key in bucket]

    def _there(self, key: Key) -> tuple[Object, ...]:
        found = self.at(key)
        return () if found is None else (found,)

    def _smallest(self, places: Sequence[Hashable]) -> Hashable:
        return min(places, key=lambda place: len(self._buckets.get(place, ())))

    def _leave(self, key: Key) -> None:
        for place in self._places.pop(key):
            bucket = self._buckets[place]
            del bucket[key]
            if not bucket:
                del self._buckets[place]

    def _selecting_places(self, subject: Object) -> Iterator[Hashable]:
        """Where an object with a selector is found by the labels of what it selects."""
        for relation in _SELECTING:
            labels = relations.demanded(Read(type(subject), relation), subject)
            key, namespace = subject.kind, subject.metadata.namespace
            places = [(key, relation, namespace, label) for label in labels.items()]
            yield self._smallest(places) if places else (key, relation, namespace, _ANY)


class _Whole:
    """All objects of a kind through one view, in order."""

    def __init__(self, view: View | None) -> None:
        self._view = view
        self._viewed: dict[Key, Object] = {}
        self._order: list[Key] = []
        self._all: tuple[Object, ...] | None = None

    def put(self, obj: Object) -> None:
        key, viewed = obj.key, obj if self._view is None else self._view(obj)
        before = self._viewed.get(key)
        if before == viewed:
            return
        if before is None:
            insort(self._order, key)
        self._viewed[key] = viewed
        self._all = None

    def remove(self, key: Key) -> None:
        del self._viewed[key]
        del self._order[bisect_left(self._order, key)]
        self._all = None

    def all(self) -> tuple[Object, ...]:
        if self._all is None:
            self._all = tuple(map(self._viewed.__getitem__, self._order))
        return self._all


def _placed_alike(before: Object, after: Object) -> bool:
    """A change that moves nothing between buckets: of the status, mostly."""
    old, new = before.metadata, after.metadata
    if old.uid != new.uid or old.labels != new.labels or old.owner_references != new.owner_references:
        return False
    return getattr(before, "spec", None) == getattr(after, "spec", None)


def _places(obj: Object) -> Iterator[Hashable]:
    kind, meta = obj.kind, obj.metadata
    yield (kind, "uid", meta.uid)
    yield (kind, "name", meta.name)
    yield (kind, "namespace", meta.namespace)
    for uid in {owner.uid for owner in meta.owner_references}:  # one may be named twice
        yield (kind, "owner", uid)
    for label in meta.labels.items():
        yield (kind, meta.namespace, *label)
    for place in relations.storage(obj):
        yield (kind, *place)
    if isinstance(obj, Pod):
        yield (kind, "node", obj.spec.node_name)
