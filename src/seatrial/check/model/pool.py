"""Interning: every distinct value that a state can hold once, known by a small number.

Rules: what no decision depends on is taken off before two objects are compared (`normal`), so that states which differ
in nothing else are one; objects whose names are drawn at random have no name here (`nameless`), so that those which
differ in name only are one object that occurs several times.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from seatrial.check.model.places import UnplacedSpec, unplaced, without_place
from seatrial.check.model.ties import Compared, DrawnName
from seatrial.kube.objects import Object, Pod, canonical

T = TypeVar("T", bound=Object)

NOW: Final = datetime(2000, 1, 1, 12, tzinfo=UTC)
"""The present of every state; the past of an object is told by how far before it its times lie."""
LONG_AGO: Final = NOW - timedelta(days=1)
DRAWN: Final = "drawn-"
"""Names for nameless objects while a decision looks at them: `drawn-000001` is the second of its kind."""


class Pool:
    """`forget` takes off what the question at hand does not depend on."""

    def __init__(self, forget: Callable[[Object], Object] = lambda item: item) -> None:
        self.values: list[Any] = []
        self.types: list[type] = []
        self._forget = forget
        self._ids: dict[Hashable, int] = {}
        self._named: dict[tuple[int, int], Object] = {}
        self.compared: Compared = set()
        """The drawn names that were put in order, by their positions."""

    def intern(self, item: Object) -> int:
        """The number of an object of a state."""
        return self._number(normal(self._forget(item)))

    def view(self, item: Object) -> int:
        """The number of what a decision sees of an object."""
        return self._number(item)

    def unplaced(self, number: int) -> int:
        """The number of what a decision sees of this view if it is not told where pods are."""
        item: Object = self.values[number]
        if not isinstance(item, Pod):
            return number
        key = (UnplacedSpec, canonical(without_place(item)))
        found = self._ids.get(key)
        return self._add(key, unplaced(item)) if found is None else found

    def fact(self, value: Hashable) -> int:
        """The number of a value that is no object: a controller's memory, how far a plan has come."""
        return self._number(value)

    def __getitem__(self, number: int) -> Any:
        return self.values[number]

    def named(self, number: int, position: int) -> Object:
        """The object, with a name of its own if it has none."""
        item: Object = self.values[number]
        if item.metadata.name:
            return item
        found = self._named.get((number, position))
        if found is None:
            name = DrawnName.of(f"{DRAWN}{position:06}", position, self.compared)
            found = self._named[number, position] = with_metadata(item, name=name, uid=name)
        return found

    def _number(self, value: Any) -> int:
        key = (type(value), canonical(value)) if isinstance(value, Object) else (type(value), value)
        found = self._ids.get(key)
        return self._add(key, value) if found is None else found

    def _add(self, key: Hashable, value: Any) -> int:
        number = self._ids[key] = len(self.values)
        self.values.append(value)
        self.types.append(type(value))
        return number


def normal(item: Object) -> Object:
    """The object without what no decision depends on: drawn names, resourceVersion, how often its spec was changed."""
    meta = item.metadata
    changes: dict[str, Any] = {"resource_version": "", "generate_name": ""}
    if meta.name.startswith(DRAWN):
        changes |= {"name": "", "uid": ""}
    status: Any = getattr(item, "status", None)
    observed = getattr(status, "observed_generation", None)
    if observed is not None and meta.generation:
        seen = 2 if observed >= meta.generation else min(observed, 1)
        if seen != observed:
            told = msgspec.structs.replace(status, observed_generation=seen)
            item = msgspec.structs.replace(item, status=told)
        changes["generation"] = 2
    else:
        changes["generation"] = 0
    return with_metadata(item, **changes)


def with_metadata(item: T, **changes: Any) -> T:
    metadata = msgspec.structs.replace(item.metadata, **changes)
    return item if metadata == item.metadata else msgspec.structs.replace(item, metadata=metadata)
