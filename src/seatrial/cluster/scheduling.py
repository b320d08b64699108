"""Scheduling in a running cluster: tells the scheduler what changes and executes what it decides, pod by pod.

The scheduler keeps its board and queue itself (`control.scheduler.Scheduler`). A write that is not taken puts the pod
back with a back-off; of equally good nodes one is drawn, by the cluster's seed if it has one.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from seatrial.cluster.objects import Component, Objects, named
from seatrial.control import scheduler
from seatrial.control.scheduler.profiles import DEFAULT, Profile
from seatrial.control.writes import ConflictError, RefusedError
from seatrial.kube.objects import KINDS
from seatrial.node.api import Change
from seatrial.node.runtime import Clock, Timer

logger = logging.getLogger(__name__)

TURN: Final = 100
"""How many pods are tried before others get their turn."""


class SchedulingLoop:
    """`profiles` are those of one kube-scheduler; each has a name of its own, which is the source of its events."""

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        *,
        minor: int,
        seed: int | None = None,
        profiles: Sequence[Profile] = (DEFAULT,),
    ) -> None:
        draws = random.Random(seed)
        self._scheduler = scheduler.Scheduler(profiles, minor=minor, choose=draws.choice)
        self._objects = objects
        self._clock = clock
        self._components = {profile.name: Component(objects, profile.name) for profile in profiles}
        self._timer: Timer | None = None
        self._soon = False
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Look at every object once and follow the changes from now on."""
        now = self._clock.now()
        self._stop_watching = self._objects.subscribe(self._on_change)
        for kind in KINDS.values():
            for item in self._objects.all(kind):
                self._scheduler.change(None, item, now)
        self._arm()

    def stop(self) -> None:
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_change(self, change: Change) -> None:
        self._scheduler.change(change.before, change.after, self._clock.now())
        self._arm()

    def _arm(self) -> None:
        if not self._soon:
            self._soon = True
            self._clock.call_at(self._clock.now(), self._turn)

    def _turn(self) -> None:
        self._soon = False
        for _ in range(TURN):
            if not self._try_one():
                break
        else:
            self._arm()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._scheduler.queue.wake_at()
        if due is not None:
            self._timer = self._clock.call_at(max(due, self._clock.now()), self._turn)

    def _try_one(self) -> bool:
        now = self._clock.now()
        pod = self._scheduler.next(now)
        if pod is None:
            return False
        component = self._components[pod.spec.scheduler_name or scheduler.NAME]
        component.begin()
        for write in self._scheduler.place(pod, now).writes:
            try:
                component.apply(write)
            except (ConflictError, RefusedError) as error:
                if isinstance(error, RefusedError):
                    logger.warning("%s: %s: %s", scheduler.NAME, named(write), error)
                self._scheduler.failed(pod, now)
                break
        return True
