"""A controller: what it reads, declared; what it decides, a pure function of exactly that.

From the declared reads three things follow without further code: which changes wake the controller (the cluster),
what a decision may be memoised on (the checker), and the arrows of the architecture picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeVar, cast

from seatrial.control.writes import Write
from seatrial.kube.objects import Object

T = TypeVar("T", bound=Object)


class Relation(Enum):
    """How the objects that a controller reads belong to its subject."""

    OWNED = "owned"  # their controlling owner reference has the subject's uid
    SELECTED = "selected"  # same namespace, and the subject's spec.selector matches their labels
    LABELLED = "labelled"  # same namespace, and the label `Read.label` has the subject's name
    SIBLING = "sibling"  # as SELECTED, with the subject's selector without its pod-template-hash
    OWNER = "owner"  # an owner reference of the subject has their uid
    DEPENDENT = "dependent"  # any of their owner references has the subject's uid
    WITHIN = "within"  # the subject is the namespace they are in
    ALL = "all"  # every object of the kind


@dataclass(frozen=True, slots=True)
class Read:
    """One declared read. Several reads of one kind are seen as their union, without repetition.

    `view` cuts an object down to what the decision looks at; a change outside the view wakes nobody.
    """

    kind: type[Object]
    relation: Relation
    label: str = ""
    view: Callable[[Object], Object] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: the subject, the objects read (each kind sorted by namespace and name), the time (UTC)."""

    subject: Object
    objects: Mapping[type[Object], tuple[Object, ...]]
    now: datetime

    def all(self, kind: type[T]) -> tuple[T, ...]:
        return cast("tuple[T, ...]", self.objects.get(kind, ()))


@dataclass(frozen=True, slots=True)
class Decision:
    """All writes for one observation, in the order to make them, and when to look again though nothing changed."""

    writes: tuple[Write, ...] = ()
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Controller:
    """`name` is upstream's component name (events' source); `actor` is how a trace calls it."""

    name: str
    actor: str
    subject: type[Object]
    reads: tuple[Read, ...]
    reconcile: Callable[[Seen], Decision] = field(repr=False)
