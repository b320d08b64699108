"""What a node agent needs of the machine below it: something that runs pods, and a clock.

The agent decides nothing itself: `control.lifecycle` says what to do, a `PodRuntime` does it, and what became of it
comes back as facts. Rules: `perform` starts an action and never blocks; failure is a fact (a problem, an exit), never
an exception; asking twice for an action that is under way is harmless. All calls happen on one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from seatrial.control.lifecycle.eviction import PodUsage
from seatrial.control.lifecycle.facts import Action, PodFacts
from seatrial.control.lifecycle.pressure import Observation
from seatrial.kube.objects import Pod


class Timer(Protocol):
    """Something that will happen, and how to prevent it."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The time (aware, UTC), and calls at later times. `cluster` has a real and a virtual one."""

    def now(self) -> datetime: ...

    def call_at(self, when: datetime, call: Callable[[], None]) -> Timer:
        """Call `call` at `when`, or as soon as possible if that has passed; never from within `call_at`."""


class PodRuntime(Protocol):
    """Runs pods: Linux (`node.linux`) or a simulation (`cluster.simulated`)."""

    on_change: Callable[[str], None]
    """Set by the agent; called on the event loop with a pod's uid after each change of its facts."""

    on_signals: Callable[[], None]
    """Set by the agent; called when a signal may have changed, by a runtime that knows."""

    @property
    def image_disk(self) -> bool:
        """Images and the containers' own layers are on another disk than volumes and logs."""

    def signals(self) -> Mapping[str, Observation]:
        """The machine's signals that are known (`configuration.SIGNALS`)."""

    def usage(self, pod: Pod) -> PodUsage | None:
        """What a pod uses of the machine; None if nothing is known."""

    def power_off(self) -> None:
        """The machine goes off. A real one takes this process with it."""

    def facts(self, pod: Pod) -> PodFacts:
        """All that is known of the pod now; empty facts for a pod never seen."""

    def perform(self, pod: Pod, action: Action) -> None:
        """Start the action; its outcome appears in `facts` later. `RemoveFromApi` never gets here."""

    def uids(self) -> Sequence[str]:
        """The pods of which something is known."""

    def forget(self, uid: str) -> None:
        """The pod is gone from the API: drop what is known, and stop and remove what may still be there."""
