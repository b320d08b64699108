"""A controller as a mover: its decisions on what a state shows it, each computed once.

A decision is remembered by as little as decides it. First it is asked with pods that hide where they are (`places`): if
it neither looks there nor writes to what it sees, it depends on nothing else of them, and how the pods are spread over
nodes is no part of what it is remembered by. Otherwise it is remembered by exactly the objects that its declared reads
relate to the subject: its own as they are, others by their views; where it writes to one of the others, the outcome
depends on the whole object, and then all whole objects are the key. A controller is a pure function of what it reads,
so what is not in the key cannot change it.

Objects without a name are called by their position while a decision looks at them. Names decide nothing but ties, and
each way in which these can be broken is a move of its own (`ties`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, permutations, product
from operator import itemgetter
from typing import Any, Final

from seatrial.check.model import ties
from seatrial.check.model.places import Looked
from seatrial.check.model.pool import NOW, Pool
from seatrial.check.model.space import ABSENT, FAULT, Effect, Memo, Slot, Space, State
from seatrial.check.model.ties import DrawnName
from seatrial.check.model.writing import Execution
from seatrial.control import relations
from seatrial.control.batches import execute
from seatrial.control.controller import NEWEST_MINOR, Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import RecordEvent, RefusedError
from seatrial.kube.objects import LimitRange, Object, PodDisruptionBudget, ResourceQuota, canonical

TIE_ORDERS: Final = 60
"""So many ways to break ties are tried; if there are more the verdict says so (`ties/sampled`)."""
ADMITTING: Final = (ResourceQuota, PodDisruptionBudget)
"""The kinds that the server looks at when it takes a write, whoever writes."""
ATTEMPTS: Final = 50


@dataclass(frozen=True, slots=True)
class Memory:
    """What a controller asked to be told again of a subject."""

    controller: str
    subject: tuple[str, str, str]
    value: Hashable


@dataclass(frozen=True, slots=True)
class _Glimpse:
    """How a subject sees one object: the numbers of its view, with places told and hidden."""

    number: int
    view: int
    unplaced: int
    own: bool
    drawn: bool
    """Its own, and without a name: only the names of the moment tell it from others."""

    @property
    def known_by(self) -> int:
        return self.number if self.own else self.view


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a subject sees of one kind: the objects, how it sees them, and what a decision is remembered by."""

    objects: Slot
    views: Slot
    unplaced: Slot
    """The views with places hidden, in the same order."""
    known_by: Slot
    others: frozenset[int]
    """Those that a decision is not remembered by as they are."""
    blurred: frozenset[int]
    """As `others`, when places are hidden."""
    drawn: frozenset[int]
    """Its own without a name, which only the names of the moment tell apart."""


@dataclass(slots=True)
class _Reading:
    """The reads of one kind: which objects of a slot a subject of some standing sees, and how."""

    kind: type[Object]
    reads: tuple[Read, ...]
    position: int
    """Of the kind's slot among those that the controller may look at; -1 for a kind that does not occur."""
    wanted: bool = False
    """Some decision has asked for the kind."""
    sights: dict[int, Memo[int, _Glimpse | None]] = field(default_factory=dict)
    """By standing."""
    unplaced: dict[tuple[int, Slot], Slot] = field(default_factory=dict)
    """By standing and slot: the views with places hidden, sorted."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a decision does, and the numbers and names of what it writes to."""

    effect: Effect | None
    written: tuple[tuple[int, str], ...]
    cut_short: tuple[Effect, ...] = ()
    """What is left where the controller stops between two writes."""

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return () if self.effect is None else self.effect.pairs

    def picked(self, things: Sequence[int]) -> frozenset[int]:
        """The positions of those of the nameless objects `things` that are written to."""
        numbers = frozenset(things)
        return frozenset(
            name.position for number, name in self.written if isinstance(name, DrawnName) and number in numbers
        )


class _Shown(Mapping[type[Object], tuple[Object, ...]]):
    """What a controller is given to see; notes which kinds that occur it looks at."""

    __slots__ = ("_readings", "objects")

    def __init__(self, readings: Sequence[_Reading]) -> None:
        self._readings = readings
        self.objects: dict[type[Object], tuple[Object, ...]] = {reading.kind: () for reading in readings}

    def __getitem__(self, kind: type[Object]) -> tuple[Object, ...]:
        for reading in self._readings:
            if reading.kind is kind and reading.position != ABSENT:
                reading.wanted = True
        return self.objects[kind]

    def __iter__(self) -> Iterator[type[Object]]:
        for reading in self._readings:
            reading.wanted = reading.position != ABSENT
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)


def _look(slots: Sequence[int]) -> Callable[[State], Any]:
    return itemgetter(*slots) if slots else lambda state: ()


class Control:
    """`shown` are the slots that it looks at, its subject's first.

    `fixed` are objects that it sees and that are no part of a state; `ignores` are reads that decide nothing here;
    `limits` give new pods their sizes.
    """

    remembers = True

    def __init__(
        self,
        controller: Controller,
        pool: Pool,
        space: Space,
        minor: int = NEWEST_MINOR,
        *,
        fixed: Sequence[Object] = (),
        ignores: Sequence[Relation] = (),
        stops_at_once: bool = False,
        limits: Sequence[LimitRange] = (),
        stops_between_writes: bool = False,
    ) -> None:
        self.name = controller.name
        self._stops_between_writes = stops_between_writes
        self._execute = partial(Execution, pool, stops_at_once=stops_at_once, limits=tuple(limits))
        self._controller = controller
        self._pool = pool
        self._minor = minor
        self._fixed = tuple(fixed)
        reads = [read for read in controller.reads if read.relation not in ignores]
        kinds = tuple(dict.fromkeys(read.kind for read in reads))
        shown = [space.slots[controller.subject]]
        self._readings = []
        for kind in kinds:
            slot = space.slots.get(kind)
            if slot is not None and slot not in shown:
                shown.append(slot)
            of_kind = tuple(read for read in reads if read.kind is kind)
            self._readings.append(_Reading(kind, of_kind, ABSENT if slot is None else shown.index(slot)))
        self._door = tuple(len(shown) + n for n, kind in enumerate(ADMITTING) if kind in space.slots)
        shown += [space.slots[kind] for kind in ADMITTING if kind in space.slots]
        self._memories = ABSENT
        if Memory in space.slots:
            self._memories = len(shown)
            shown.append(space.slots[Memory])
        self._slots = tuple(shown)
        self._always = (shown[0], *(shown[n] for n in self._door), *shown[len(shown) - (self._memories != ABSENT) :])
        self.shown = self._always
        self.sampled_ties = False
        self._attempts_left = ATTEMPTS
        """To decide without looking where pods are; a controller that never does is asked for this no more."""
        self._look = _look(self._always[1:])
        self._at: dict[tuple[int, Any], tuple[Effect, ...]] = {}
        """By subject and the slots that were looked at."""
        self._looked_at: tuple[_Reading, ...] = ()
        """The kinds that decisions have looked at so far: what they are remembered by."""
        self._standings: dict[Hashable, int] = {}
        self._standing_of = Memo(self._standing)
        self._concerned = Memo(self._is_concerned)
        self._roughly: dict[tuple[Any, ...], tuple[Effect, ...] | None] = {}
        self._known: dict[tuple[Any, ...], tuple[Effect, ...] | None] = {}
        self._exactly: dict[tuple[Any, ...], tuple[Effect, ...]] = {}

    def effects(self, state: State) -> list[Effect]:
        found: list[Effect] = []
        looked_at = self._look(state)
        for subject in dict.fromkeys(state[self._slots[0]]):
            try:
                found += self._at[subject, looked_at]
            except KeyError:
                effects: tuple[Effect, ...] = ()
                if self._concerned[subject]:
                    effects = self._decide(subject, [state[slot] for slot in self._slots])
                self._at[subject, self._look(state)] = effects
                looked_at = self._look(state)
                found += effects
        return found

    def _is_concerned(self, subject: int) -> bool:
        ask = self._controller.concerned
        return ask is None or ask(self._pool[subject])

    def _decide(self, subject: int, parts: Sequence[Slot]) -> tuple[Effect, ...]:
        standing = self._standing_of[subject]
        memory = self._memory(subject, parts) if self._memories != ABSENT else ABSENT
        door = tuple(parts[position] for position in self._door) if self._door else ()
        roughly = None
        if self._attempts_left:
            unplaced = [self._unplaced(each, subject, standing, parts[each.position]) for each in self._looked_at]
            roughly = (subject, memory, door, *unplaced)
            found = self._roughly.get(roughly)
            if found is not None:
                return found
        sights = [self._sight(each, subject, standing, parts[each.position]) for each in self._looked_at]
        if roughly is not None and roughly not in self._roughly:
            found = self._ask_without_places(subject, memory, door, sights)
            if self._looks_further():
                return self._decide(subject, parts)
            self._roughly[roughly] = found
            if found is not None:
                return found
        key = (subject, memory, door, *[sight.known_by for sight in sights])
        found = self._known.get(key)
        if found is not None:
            return found
        exactly = (subject, memory, door, *[sight.objects for sight in sights])
        if key in self._known:
            found = self._exactly.get(exactly)
            if found is not None:
                return found
        found, writes_to_others = self._ask(subject, memory, door, sights)
        if self._looks_further():
            return self._decide(subject, parts)
        if writes_to_others:
            self._known[key] = None
            self._exactly[exactly] = found
        else:
            self._known[key] = found
        return found

    def _looks_further(self) -> bool:
        """Whether a decision has looked at kinds that none before it looked at: then it is asked again, with them."""
        wanted = tuple(reading for reading in self._readings if reading.wanted)
        if len(wanted) == len(self._looked_at):
            return False
        self._looked_at = wanted
        self._at.clear()
        self._roughly.clear()
        self._known.clear()
        self._exactly.clear()
        positions = [self._slots[reading.position] for reading in wanted]
        self.shown = tuple(dict.fromkeys((*self._always, *positions)))
        self._look = _look(tuple(dict.fromkeys((*self._always[1:], *positions))))
        return True

    def _unplaced(self, reading: _Reading, subject: int, standing: int, slot: Slot) -> Slot:
        found = reading.unplaced.get((standing, slot))
        if found is None:
            seen = self._glimpses(reading, subject, standing, slot)
            found = reading.unplaced[standing, slot] = tuple(sorted([glimpse.unplaced for glimpse in seen]))
        return found

    def _glimpses(self, reading: _Reading, subject: int, standing: int, slot: Slot) -> list[_Glimpse]:
        glimpses = reading.sights.get(standing)
        if glimpses is None:
            glimpses = reading.sights[standing] = Memo(partial(self._glimpse, reading, subject))
        return [glimpse for number in slot if (glimpse := glimpses[number]) is not None]

    def _sight(self, reading: _Reading, subject: int, standing: int, slot: Slot) -> _Sight:
        seen = self._glimpses(reading, subject, standing, slot)
        return _Sight(
            tuple([glimpse.number for glimpse in seen]),
            tuple([glimpse.view for glimpse in seen]),
            tuple([glimpse.unplaced for glimpse in seen]),
            tuple(sorted([glimpse.known_by for glimpse in seen])),
            frozenset([glimpse.number for glimpse in seen if glimpse.number != glimpse.view and not glimpse.own]),
            frozenset([glimpse.number for glimpse in seen if glimpse.number != glimpse.unplaced or glimpse.drawn]),
            frozenset([glimpse.number for glimpse in seen if glimpse.drawn]),
        )

    def _glimpse(self, reading: _Reading, subject: int, number: int) -> _Glimpse | None:
        """How the subject sees an object; None if the two are not related."""
        whole: Object = self._pool[number]
        for read in reading.reads:
            if relations.related(read, self._pool[subject], self._pool.named(number, 0)):
                view = number if read.view is None else self._pool.view(read.view(whole))
                owner = whole.metadata.controller
                own = owner is not None and owner.uid == self._pool[subject].metadata.uid
                return _Glimpse(number, view, self._pool.unplaced(view), own, own and not whole.metadata.name)
        return None

    def _fixed_seen(self, reading: _Reading, subject: int) -> Iterator[Object]:
        for item in self._fixed:
            if isinstance(item, reading.kind):
                for read in reading.reads:
                    if relations.related(read, self._pool[subject], item):
                        yield item if read.view is None else read.view(item)
                        break

    def _standing(self, subject: int) -> int:
        """What of a subject decides which objects are related to it: identity, owners, selector, storage."""
        item: Any = self._pool[subject]
        meta = item.metadata
        selector = getattr(getattr(item, "spec", None), "selector", None)
        selects = tuple(sorted(selector.items())) if isinstance(selector, dict) else selector and canonical(selector)
        key = (meta.namespace, meta.name, meta.uid, meta.owner_references, selects, relations.storage(item))
        return self._standings.setdefault(key, len(self._standings))

    def _memory(self, subject: int, parts: Sequence[Slot]) -> int:
        place = _place(self._pool[subject])
        for number in parts[self._memories]:
            memory: Memory = self._pool[number]
            if memory.controller == self.name and memory.subject == place:
                return number
        return ABSENT

    def _ask_without_places(
        self, subject: int, memory: int, door: Sequence[Slot], sights: Sequence[_Sight]
    ) -> tuple[Effect, ...] | None:
        """The effects of the decision if it is the same wherever the pods are; None if they have to be looked at."""
        seen = [list(zip(sight.objects, sight.unplaced, strict=True)) for sight in sights]
        try:
            answer = self._call(subject, memory, door, seen)
        except Looked:
            answer = None
        if answer is None or any(number in sight.blurred for sight in sights for number, _ in answer.written):
            self._attempts_left -= 1
            return None
        self._attempts_left = ATTEMPTS
        return () if answer.effect is None else (answer.effect, *answer.cut_short)

    def _ask(
        self, subject: int, memory: int, door: Sequence[Slot], sights: Sequence[_Sight]
    ) -> tuple[tuple[Effect, ...], bool]:
        """The effects of the decision however ties are broken, and whether it writes to others' objects."""
        seen = [list(zip(sight.objects, sight.views, strict=True)) for sight in sights]
        self._pool.compared.clear()
        answers = [self._call(subject, memory, door, seen)]
        drawn = [position for position, sight in enumerate(sights) if sight.drawn]
        if any(number in sights[position].drawn for position in drawn for number, _ in answers[0].written):
            tied = ties.groups(self._pool.compared)
            answers = self._by_groups(subject, memory, door, seen, drawn, tied, answers[0])
            if not answers:
                answers = self._in_all_orders(subject, memory, door, seen, drawn)
        others = frozenset().union(*[sight.others for sight in sights])
        found: dict[tuple[tuple[int, int], ...], Effect] = {}
        for answer in answers:
            if answer.effect is not None:
                for effect in (answer.effect, *answer.cut_short):
                    found.setdefault(effect.pairs, effect)
        return tuple(found.values()), any(number in others for answer in answers for number, _ in answer.written)

    def _by_groups(
        self,
        subject: int,
        memory: int,
        door: Sequence[Slot],
        seen: Sequence[list[tuple[int, int]]],
        drawn: Sequence[int],
        tied: Sequence[Sequence[int]],
        first: _Answer,
    ) -> list[_Answer]:
        """Every choice among those tied; nothing if the decision does not choose so."""
        if len(drawn) > 1:
            return []
        (kind,) = drawn
        things = [number for number, _ in seen[kind]]
        picked = first.picked(things)
        answers = [first]
        before = tuple(sorted(things[position] for position in picked))
        for order, expected in ties.orders(things, tied, picked):
            if expected == before:
                continue
            if len(answers) == TIE_ORDERS:
                self.sampled_ties = True
                break
            answer = self._call(subject, memory, door, _ordered(seen, {kind: order}))
            if tuple(sorted(things[order[position]] for position in answer.picked(things))) != expected:
                return []
            answers.append(answer)
        if (
            len(answers) == 1
        ):  # no names were asked for: then neither may the order in which the objects are shown matter
            backwards = self._call(subject, memory, door, _ordered(seen, {kind: range(len(things))[::-1]}))
            return answers if backwards.pairs == first.pairs else []
        return answers

    def _in_all_orders(
        self,
        subject: int,
        memory: int,
        door: Sequence[Slot],
        seen: Sequence[list[tuple[int, int]]],
        drawn: Sequence[int],
    ) -> list[_Answer]:
        answers: list[_Answer] = []
        kinds = [permutations(range(len(seen[position]))) for position in drawn]
        for each in product(*kinds):
            if len(answers) == TIE_ORDERS:
                self.sampled_ties = True
                break
            orders = {position: list(order) for position, order in zip(drawn, each, strict=True)}
            answers.append(self._call(subject, memory, door, _ordered(seen, orders)))
        return answers

    def _call(
        self, subject: int, memory: int, door: Sequence[Slot], seen: Sequence[Sequence[tuple[int, int]]]
    ) -> _Answer:
        """The decision on these objects: for each kind looked at, their numbers and those of what is seen of them.

        Objects without a name are called by their positions.
        """
        pool = self._pool
        named: dict[tuple[type, str, str], tuple[int, Object]] = {}
        shown = _Shown(self._readings)
        for reading, pairs in zip(self._looked_at, seen, strict=True):
            objects = []
            for position, (number, view) in enumerate(pairs):
                item = pool.named(number, position)
                meta = item.metadata
                named[type(item), meta.namespace, meta.name] = (number, item)
                objects.append(item if view == number else pool.named(view, position))
            objects += self._fixed_seen(reading, subject)
            shown.objects[reading.kind] = tuple(sorted(objects, key=_by_name)) if len(objects) > 1 else tuple(objects)
        for number in chain.from_iterable(door):
            item = pool[number]
            named.setdefault((type(item), item.metadata.namespace, item.metadata.name), (number, item))
        item = pool[subject]
        named[type(item), item.metadata.namespace, item.metadata.name] = (subject, item)
        told = None if memory == ABSENT else pool[memory].value
        decision = self._controller.reconcile(Seen(item, shown, NOW, self._minor, (), told))
        execution = self._execute(named)
        refused = execute(decision, execution.make)
        if refused and self._controller.hears_refusals and not execution.changed:
            decision = self._controller.reconcile(Seen(item, shown, NOW, self._minor, refused, told))
            execution = self._execute(named)
            execute(decision, execution.make)
        pairs_found = list(execution.pairs())
        if self._memories != ABSENT:
            new = ABSENT
            if decision.memory is not None:
                new = pool.fact(Memory(self.name, _place(item), decision.memory))
            if new != memory:
                pairs_found.append((memory, new))
        if not pairs_found:
            return _Answer(None, execution.written)
        events = [write for write in decision.writes if isinstance(write, RecordEvent)]
        effect = Effect(
            (self.name, subject),
            tuple(sorted(pairs_found)),
            self._controller.actor,
            "; ".join(dict.fromkeys(event.message for event in events)),
            "; ".join(dict.fromkeys(event.message for event in events if event.type == "Warning")),
        )
        cut_short = self._cut_short(subject, memory, named, decision) if self._stops_between_writes else ()
        return _Answer(effect, execution.written, tuple(each for each in cut_short if each.pairs != effect.pairs))

    def _cut_short(
        self, subject: int, memory: int, named: dict[tuple[type, str, str], tuple[int, Object]], decision: Decision
    ) -> Iterator[Effect]:
        """The effects of the first writes only. What the controller was to be told again is lost with it."""
        writes = [write for write in decision.writes if not isinstance(write, RecordEvent)]
        for count in range(1, len(writes)):
            execution = self._execute(named)
            try:
                for write in writes[:count]:
                    execution.make(write)
            except RefusedError:
                return
            pairs = [*execution.pairs(), *([(memory, ABSENT)] if memory != ABSENT else [])]
            if pairs:
                what = f"stops after {count} of {len(writes)} writes"
                label = (FAULT, (self.name, subject, count))
                yield Effect(label, tuple(sorted(pairs)), self._controller.actor, what)


def _ordered(seen: Sequence[list[tuple[int, int]]], orders: Mapping[int, Sequence[int]]) -> list[list[tuple[int, int]]]:
    return [
        [pairs[position] for position in orders[kind]] if kind in orders else pairs for kind, pairs in enumerate(seen)
    ]


def _by_name(item: Object) -> tuple[str, str]:
    return (item.metadata.namespace, str(item.metadata.name))


def _place(item: Object) -> tuple[str, str, str]:
    return (item.kind, item.metadata.namespace, item.metadata.name)
