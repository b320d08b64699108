"""The control loop: wakes controllers for the subjects that a change concerns, and executes what they decide.

Which changes concern whom follows from the controllers' declared reads (`control.relations`); the index of `Objects`
finds them without looking at everything. Rules: one decision at a time, on the objects as they are now; a conflict
means that somebody was faster, a refused write is an obstacle in the world: both are tried again after a back-off that
doubles and ends with the first decision that gets through; what a namespace does not take because it is going away is
dropped; nothing here knows any controller by name. A subject for which a controller writes without end (a million
replicas, two owners that undo each other's work) gets an allowance, so that a moment of virtual time always ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from seatrial.cluster.objects import Component, Objects, named
from seatrial.control import relations
from seatrial.control.batches import execute
from seatrial.control.controller import NEWEST_MINOR, Controller, Read, Relation, Seen
from seatrial.control.writes import ConflictError, Refusal
from seatrial.kube.objects import Key, Object, PersistentVolume, PersistentVolumeClaim, Pod
from seatrial.node.api import Change
from seatrial.node.runtime import Clock, Timer

logger = logging.getLogger(__name__)

FIRST_RETRY: Final = timedelta(milliseconds=5)
LAST_RETRY: Final = timedelta(seconds=1000)
"""Upstream's back-off of a work queue's item (client-go `DefaultTypedControllerRateLimiter`)."""
ALLOWANCE: Final = 2000
"""Writes for one subject that a controller may do at once; a decision without any counts as one."""
REFILL_PER_S: Final = 20
"""What is added to an allowance again: the default --kube-api-qps of kube-controller-manager."""

_Item = tuple[int, Key]
"""A controller's position and one of its subjects."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    wake_at: datetime | None = None
    failed: bool = False
    refused: tuple[Refusal, ...] = ()
    writes: int = 0
    keeps_back_off: bool = False


@dataclass(slots=True)
class _Allowance:
    left: float
    at: datetime
    told: bool = False

    def wait_s(self, now: datetime) -> float:
        """How long until something may be done again."""
        passed_s = max(0.0, (now - self.at).total_seconds())  # a clock that was set back refills nothing
        self.left, self.at = min(ALLOWANCE, self.left + passed_s * REFILL_PER_S), now
        return 0.0 if self.left >= 1 else (1 - self.left) / REFILL_PER_S


@dataclass(slots=True)
class _Trigger:
    """One way to be woken by a kind: the controllers that declare the same read of it, by their subjects' kind.

    Shared by the loops of one set of controllers.
    """

    read: Read
    controllers: dict[type[Object], list[int]] = field(default_factory=dict)


class ControlLoop:
    def __init__(
        self, controllers: Sequence[Controller], objects: Objects, clock: Clock, *, minor: int = NEWEST_MINOR
    ) -> None:
        self._controllers = tuple(controllers)
        self._objects = objects
        self._clock = clock
        self._minor = minor
        self._components = [Component(objects, controller.name) for controller in self._controllers]
        self._of_subject: dict[type[Object], list[int]] = {}
        for position, controller in enumerate(self._controllers):
            self._of_subject.setdefault(controller.subject, []).append(position)
        self._triggers = _triggers(self._controllers)
        self._concerned: dict[int, dict[Key, None]] = {
            position: {} for position, controller in enumerate(self._controllers) if controller.concerned is not None
        }
        self._queue: dict[_Item, None] = {}
        self._all: dict[int, None] = {}
        """Controllers of which every subject is to be looked at."""
        self._timers: dict[_Item, Timer] = {}
        self._failures: dict[_Item, int] = {}
        self._retries: dict[_Item, datetime] = {}
        """When what failed is tried again; as in upstream's queues what happens before then does not put it off."""
        self._memories: dict[_Item, Hashable] = {}
        self._allowances: dict[_Item, _Allowance] = {}
        self._held_back: set[_Item] = set()
        """Who has used up its allowance and has more to do."""
        self.lags: dict[str, timedelta] = {}
        """How late a controller, by its name, hears of changes; nothing is late unless somebody wants a fault."""
        self._lagging: set[_Item] = set()
        self._scheduled = False
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Look at every subject once and follow the changes from now on."""
        self._stop_watching = self._objects.subscribe(self._on_change)
        self._look_at_all()

    def start_over_soon(self) -> None:
        """Time took a step: what was remembered, and when, is worth nothing, as after a restart."""
        self._memories.clear()
        self._clock.call_at(self._clock.now(), self._look_at_all)

    def _look_at_all(self) -> None:
        for position, controller in enumerate(self._controllers):
            for subject in self._objects.all(controller.subject):
                self._consider(position, subject.key, subject)
                self._add(position, subject.key)

    def step(self, controller: str, subject: Key) -> None:
        """One decision, for who keeps the order of things himself instead of starting the loop."""
        for position, each in enumerate(self._controllers):
            if each.name == controller and isinstance(self._objects.index.at(subject), each.subject):
                outcome = self._attempt(position, subject, ())
                if outcome.refused and each.hears_refusals:
                    self._attempt(position, subject, outcome.refused)

    def stop(self) -> None:
        self._stop_watching()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queue.clear()

    def restless(self) -> tuple[str, ...]:
        """Who is held back at this time because it wrote more than anybody should, as a person would name it."""
        return tuple(self._complaint(item) for item in sorted(self._held_back))

    def _complaint(self, item: _Item) -> str:
        position, key = item
        name = self._controllers[position].name
        return f"{name}: {key} wants more than {ALLOWANCE} writes at once and {REFILL_PER_S} a second after that"

    def _on_change(self, change: Change) -> None:
        changed = change.after or change.before
        assert changed is not None, "a change has a side"
        shows = _Shows(change)
        for position in self._of_subject.get(type(changed), ()):
            controller = self._controllers[position]
            self._consider(position, changed.key, change.after)
            if change.after is None:
                self._forget_timer((position, changed.key))
                self._failures.pop((position, changed.key), None)
                self._retries.pop((position, changed.key), None)
                self._memories.pop((position, changed.key), None)
                self._allowances.pop((position, changed.key), None)
                self._held_back.discard((position, changed.key))
            if shows.within(controller.view):
                self._add(position, changed.key)
        sides = [side for side in (change.before, change.after) if side is not None]
        if len(sides) == 2 and _related_alike(*sides):
            del sides[0]
        for trigger in self._triggers.get(type(changed), ()):
            if change.before is None and not trigger.read.appears:
                continue
            if shows.within(trigger.read.view):
                for side in sides if trigger.read.leaves else sides[-1:]:
                    self._wake_related(trigger, change, side, None)
            elif len(sides) == 2:
                if trigger.read.leaves:
                    self._wake_related(trigger, change, sides[0], sides[1])
                self._wake_related(trigger, change, sides[1], sides[0])

    def _wake_related(self, trigger: _Trigger, change: Change, side: Object, other: Object | None) -> None:
        """Wake those that `side` is related to; with `other`, only those that this one is not related to."""
        if trigger.read.relation is Relation.ALL:
            if other is None:
                self._wake_all(trigger, change)
            return
        for subject in self._objects.index.subjects(trigger.read, trigger.controllers, side):
            if relations.related(trigger.read, subject, side) and not (
                other is not None and relations.related(trigger.read, subject, other)
            ):
                self._wake(trigger, change, subject)

    def _wake_all(self, trigger: _Trigger, change: Change) -> None:
        if trigger.read.notices is None:
            for positions in trigger.controllers.values():
                self._all.update(dict.fromkeys(positions))
            self._turn_soon()
            return
        for kind in trigger.controllers:
            for subject in self._objects.all(kind):
                self._wake(trigger, change, subject)

    def _wake(self, trigger: _Trigger, change: Change, subject: Object) -> None:
        notices = trigger.read.notices
        for position in trigger.controllers[type(subject)]:
            if notices is None or notices(self._seen(position, subject), change.before, change.after):
                self._add(position, subject.key)

    def _subjects(self, position: int) -> Iterable[Key]:
        concerned = self._concerned.get(position)
        if concerned is not None:
            return tuple(concerned)
        return [subject.key for subject in self._objects.all(self._controllers[position].subject)]

    def _consider(self, position: int, key: Key, subject: Object | None) -> None:
        """Keep the subjects that a controller is concerned about."""
        predicate = self._controllers[position].concerned
        if predicate is None:
            return
        if subject is not None and predicate(subject):
            self._concerned[position][key] = None
        else:
            self._concerned[position].pop(key, None)

    def _add(self, position: int, key: Key) -> None:
        concerned = self._concerned.get(position)
        if concerned is not None and key not in concerned:
            return
        lag = self.lags.get(self._controllers[position].name) if self.lags else None
        if lag is None:
            self._queue[position, key] = None
            self._turn_soon()
        elif (position, key) not in self._lagging:
            self._lagging.add((position, key))
            self._clock.call_at(self._clock.now() + lag, lambda: self._catch_up((position, key)))

    def _catch_up(self, item: _Item) -> None:
        self._lagging.discard(item)
        self._queue[item] = None
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_at(self._clock.now(), self._turn)

    def _turn(self) -> None:
        """One round: what is queued now; what these decisions wake is the next round's."""
        for position in self._all:
            for key in self._subjects(position):
                self._add(position, key)
        self._all.clear()
        self._scheduled = False
        queue, self._queue = self._queue, {}
        for item in queue:
            self._decide(item)

    def _decide(self, item: _Item) -> None:
        position, key = item
        self._forget_timer(item)
        now = self._clock.now()
        allowance = self._allowances.get(item)
        if allowance is not None and (wait_s := allowance.wait_s(now)):
            self._held_back.add(item)
            if not allowance.told:
                allowance.told = True
                logger.warning("%s", self._complaint(item))
            self._timers[item] = self._clock.call_at(now + timedelta(seconds=wait_s), lambda: self._add(position, key))
            return
        self._held_back.discard(item)
        if (retry_at := self._retries.get(item)) is not None and retry_at <= now:
            del self._retries[item]
        outcome = self._attempt(position, key, ())
        if allowance is None:
            allowance = self._allowances[item] = _Allowance(ALLOWANCE, now)
        allowance.left -= max(1, outcome.writes)
        wakes = [outcome.wake_at]
        if outcome.failed:
            if outcome.refused and self._controllers[position].hears_refusals:
                wakes = [self._attempt(position, key, outcome.refused).wake_at]
            failures = self._failures.get(item, 0)
            self._failures[item] = failures + 1
            retry_at = self._clock.now() + min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures, 20))
            self._retries[item] = min(retry_at, self._retries.get(item, retry_at))
        elif not outcome.keeps_back_off:
            self._failures.pop(item, None)
        wakes.append(self._retries.get(item))
        wake_at = min((at for at in wakes if at is not None), default=None)
        if wake_at is not None:
            self._timers[item] = self._clock.call_at(max(wake_at, self._clock.now()), lambda: self._look_again(item))

    def _look_again(self, item: _Item) -> None:
        """Upstream's queues know one time for each item, the earliest asked for: with it the others are gone."""
        self._retries.pop(item, None)
        self._add(*item)

    def _attempt(self, position: int, key: Key, refused: tuple[Refusal, ...]) -> _Outcome:
        """Observe, decide, write; stops where writes do not get through."""
        controller, component = self._controllers[position], self._components[position]
        subject = self._objects.get(controller.subject, key.namespace, key.name)
        if subject is None or (controller.concerned is not None and not controller.concerned(subject)):
            return _Outcome()
        seen = self._seen(position, subject, refused, self._memories.pop((position, key), None))
        decision = controller.reconcile(seen)
        if decision.memory is not None:
            self._memories[position, key] = decision.memory
        component.begin()
        try:
            now_refused = execute(decision, component.apply)
        except ConflictError:
            return _Outcome(decision.wake_at, failed=True, writes=len(decision.writes))
        if refused or not controller.hears_refusals:
            for refusal in now_refused:
                logger.warning("%s: %s: %s", controller.name, named(refusal.write), refusal.message)
        failed = bool(now_refused)
        return _Outcome(decision.wake_at, failed, now_refused, len(decision.writes), decision.keeps_back_off)

    def _seen(
        self, position: int, subject: Object, refused: tuple[Refusal, ...] = (), memory: Hashable | None = None
    ) -> Seen:
        return relations.gather(
            self._controllers[position],
            subject,
            self._objects.index,
            self._clock.now(),
            minor=self._minor,
            refused=refused,
            memory=memory,
        )

    def _forget_timer(self, item: _Item) -> None:
        timer = self._timers.pop(item, None)
        if timer is not None:
            timer.cancel()


class _Shows:
    """Whether a change is within a view; asked often with the same few views."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._known: dict[Callable[[Object], Object], bool] = {}

    def within(self, view: Callable[[Object], Object] | None) -> bool:
        before, after = self._change.before, self._change.after
        if view is None or before is None or after is None:
            return True
        if view not in self._known:
            self._known[view] = view(before) != view(after)
        return self._known[view]


@lru_cache(maxsize=16)
def _triggers(controllers: tuple[Controller, ...]) -> dict[type[Object], list[_Trigger]]:
    """What a change of each kind may wake; controllers that read alike are one trigger.

    They read thousands of kinds together, and most clusters of a process have the same controllers.
    """
    found: dict[type[Object], dict[tuple[object, ...], _Trigger]] = {}
    for position, controller in enumerate(controllers):
        for read in controller.reads:
            if read.wakes:
                alike = (read.relation, read.label, read.view, read.appears, read.leaves, read.notices)
                trigger = found.setdefault(read.kind, {}).setdefault(alike, _Trigger(read))
                positions = trigger.controllers.setdefault(controller.subject, [])
                if position not in positions:
                    positions.append(position)
    return {kind: list(triggers.values()) for kind, triggers in found.items()}


def _related_alike(before: Object, after: Object) -> bool:
    """Whatever is related to one side is related to the other: nothing that relations look at differs."""
    old, new = before.metadata, after.metadata
    if old.uid != new.uid or old.labels != new.labels or old.owner_references != new.owner_references:
        return False
    if isinstance(before, PersistentVolume | PersistentVolumeClaim):
        return relations.storage(before) == relations.storage(after)
    return not isinstance(before, Pod) or not isinstance(after, Pod) or before.spec.node_name == after.spec.node_name
