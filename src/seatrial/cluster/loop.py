"""The control loop: wakes controllers for the subjects that a change concerns, and executes what they decide.

Which changes concern whom follows from the controllers' declared reads (`control.relations`). Rules: one decision at a
time, on the objects as they are now; a conflict means that somebody was faster, so the subject is looked at again; a
refused write is an obstacle in the world and is tried again after `RETRY`; nothing here knows any controller by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from seatrial.cluster.objects import Component, Objects
from seatrial.control import relations
from seatrial.control.controller import Controller, Read
from seatrial.control.writes import ConflictError, RefusedError
from seatrial.kube.objects import Key, Object
from seatrial.node.api import Change
from seatrial.node.runtime import Clock, Timer

logger = logging.getLogger(__name__)

AGAIN = timedelta(milliseconds=50)
"""After a conflict: long enough that the faster writer's change has arrived."""
RETRY = timedelta(seconds=5)


class ControlLoop:
    def __init__(self, controllers: Sequence[Controller], objects: Objects, clock: Clock) -> None:
        self._controllers = tuple(controllers)
        self._objects = objects
        self._clock = clock
        self._components = [Component(objects, controller.name) for controller in self._controllers]
        self._queue: dict[tuple[int, Key], None] = {}
        self._timers: dict[tuple[int, Key], Timer] = {}
        self._scheduled = False
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Look at every subject once and follow the changes from now on."""
        self._stop_watching = self._objects.subscribe(self._on_change)
        for index, controller in enumerate(self._controllers):
            for subject in self._objects.all(controller.subject):
                self._add(index, subject.key)

    def stop(self) -> None:
        self._stop_watching()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queue.clear()

    def _on_change(self, change: Change) -> None:
        changed = change.after or change.before
        assert changed is not None, "a change has a side"
        for index, controller in enumerate(self._controllers):
            if isinstance(changed, controller.subject):
                self._add(index, changed.key)
            for read in controller.reads:
                if isinstance(changed, read.kind) and _shows(read, change):
                    self._wake_related(index, read, change)

    def _wake_related(self, index: int, read: Read, change: Change) -> None:
        sides = [side for side in (change.before, change.after) if side is not None]
        for subject in self._objects.all(self._controllers[index].subject):
            if any(relations.related(read, subject, side) for side in sides):
                self._add(index, subject.key)

    def _add(self, index: int, key: Key) -> None:
        self._queue[index, key] = None
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_at(self._clock.now(), self._turn)

    def _turn(self) -> None:
        """One round: what is queued now; what these decisions wake is the next round's."""
        self._scheduled = False
        queue, self._queue = self._queue, {}
        for index, key in queue:
            self._decide(index, key)

    def _decide(self, index: int, key: Key) -> None:
        timer = self._timers.pop((index, key), None)
        if timer is not None:
            timer.cancel()
        controller = self._controllers[index]
        subject = self._objects.get(controller.subject, key.namespace, key.name)
        if subject is None:
            return
        objects: dict[type[Object], Sequence[Object]] = {
            read.kind: self._objects.all(read.kind) for read in controller.reads
        }
        now = self._clock.now()
        decision = controller.reconcile(relations.observe(controller, subject, objects, now))
        wake_at = decision.wake_at
        self._components[index].begin()
        for write in decision.writes:
            try:
                self._components[index].apply(write)
            except ConflictError:
                wake_at = now + AGAIN
                break
            except RefusedError as error:
                logger.warning("%s: %s", controller.name, error)
                wake_at = now + RETRY
                break
        if wake_at is not None:
            self._timers[index, key] = self._clock.call_at(max(wake_at, now), lambda: self._add(index, key))


def _shows(read: Read, change: Change) -> bool:
    """The change is within what the read looks at."""
    if read.view is None or change.before is None or change.after is None:
        return True
    return read.view(change.before) != read.view(change.after)
