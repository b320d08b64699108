"""A controller: what it reads, declared; what it decides, a pure function of exactly that.

From the declared reads three things follow without further code: which changes wake the controller (the cluster),
what a decision may be memoised on (the checker), and the arrows of the architecture picture.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Final, TypeVar, cast

from seatrial.control.writes import Refusal, Write
from seatrial.kube.objects import Object

T = TypeVar("T", bound=Object)

NEWEST_MINOR: Final = 37

Batch = tuple[int, ...]
"""Among a decision's writes, where each step of a batch begins, and where the last one ends."""


class Relation(Enum):
    """How the objects that a controller reads belong to its subject."""

    OWNED = "owned"  # their controlling owner reference has the subject's uid
    SELECTED = "selected"  # same namespace, and the subject's spec.selector matches their labels
    LABELLED = "labelled"  # same namespace, and the label `Read.label` has the subject's name
    SIBLING = "sibling"  # as SELECTED, with the subject's selector without its pod-template-hash
    OWNER = "owner"  # an owner reference of the subject has their uid
    DEPENDENT = "dependent"  # any of their owner references has the subject's uid
    WITHIN = "within"  # the subject is the namespace they are in
    NEIGHBOUR = "neighbour"  # in the subject's namespace
    NAMESAKE = "namesake"  # of the subject's name, and in its namespace if it has one
    HOSTED = "hosted"  # pods that run on the subject, a node
    STORAGE = "storage"  # about the same claim or volume: the claim, its volume, the pods that mount it
    ALL = "all"  # every object of the kind


@dataclass(frozen=True, slots=True)
class Read:
    """One declared read. Several reads of one kind are seen as their union, without repetition.

    `view` cuts an object down to what the decision looks at; a change outside the view wakes nobody. With `wakes` False
    no change does: the controller looks when its time has come, as autoscalers do. With `appears` False a new object
    does not: only its later changes and its end. With `leaves` False one that is not related any more does not, unless
    it is gone. With `notices` a change wakes only those subjects for which that holds, told what a decision would see,
    the object before (None: it is new) and as it is now (None: it is gone). The first of several reads that finds an
    object decides how it is seen, so a whole object that wakes by little of it is read twice: without waking, and by a
    view.
    """

    kind: type[Object]
    relation: Relation
    label: str = ""
    view: Callable[[Object], Object] | None = None
    wakes: bool = True
    appears: bool = True
    leaves: bool = True
    notices: Callable[[Seen, Object | None, Object | None], bool] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: the subject, the objects read (each kind sorted by namespace and name), the time (UTC).

    `minor` is the Kubernetes version 1.x whose behaviour is asked for. `refused` are the writes of the decision just
    before this one that the API did not take; only controllers that hear refusals are told. `memory` is what the
    decision before this one asked to be told again.
    """

    subject: Object
    objects: Mapping[type[Object], tuple[Object, ...]]
    now: datetime
    minor: int = NEWEST_MINOR
    refused: tuple[Refusal, ...] = ()
    memory: Hashable | None = None

    def all(self, kind: type[T]) -> tuple[T, ...]:
        return cast("tuple[T, ...]", self.objects.get(kind, ()))


@dataclass(frozen=True, slots=True)
class Decision:
    """All writes for one observation, in the order to make them, and when to look again though nothing changed.

    `memory` is handed to the subject's next decision, even if a write fails: what upstream's controller keeps in its
    process, and loses with it. A decision without it forgets.

    A decision that `keeps_back_off` is none of upstream's syncs: what failed before is not mended by it.

    `batches` are stretches of the writes that upstream makes side by side (`slow_start`). There a refusal ends only the
    step it is in; the decision ends with the batch. Elsewhere a refusal ends the decision at once.
    """

    writes: tuple[Write, ...] = ()
    wake_at: datetime | None = None
    memory: Hashable | None = None
    batches: tuple[Batch, ...] = ()
    keeps_back_off: bool = False

    def stages(self) -> Iterator[tuple[tuple[Write, ...], ...]]:
        """The writes in order: each batch as its steps, what is between them as one step."""
        reached = 0
        for batch in self.batches:
            yield (self.writes[reached : batch[0]],)
            yield tuple(self.writes[start:end] for start, end in pairwise(batch))
            reached = batch[-1]
        yield (self.writes[reached:],)


@dataclass(frozen=True, slots=True, eq=False)
class Controller:
    """`name` is upstream's component name (events' source); `actor` is how a trace calls it.

    A controller that `hears_refusals` is asked once more, with `Seen.refused`, after the API refused writes: it then
    says so (a condition, events) and does not repeat them. It is asked anew, without, after a back-off.

    Two declarations save asking in vain: subjects that are not `concerned` have nothing to be decided, and a change of
    the subject that `view` does not show does not wake. Without them every subject and each of its changes counts.

    A controller is equal to itself only, so that sets of them are found quickly.
    """

    name: str
    actor: str
    subject: type[Object]
    reads: tuple[Read, ...]
    reconcile: Callable[[Seen], Decision] = field(repr=False)
    hears_refusals: bool = False
    concerned: Callable[[Object], bool] | None = None
    view: Callable[[Object], Object] | None = None
