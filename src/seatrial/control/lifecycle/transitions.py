"""The transition table of one container: waiting, running, terminated.

Rules: the state is read off the facts, never stored. The first row of a state whose guard holds says what to do; a row
without an action is taken by the runtime (a container exits) or only explains why nothing is done. The diagram in
docs/reference/pod-life-cycle.md is generated from these rows. Probes that are due run beside them (`probes`).
Semantics: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, Problem
from seatrial.kube.objects import Container


class State(Enum):
    WAITING = "Waiting"
    RUNNING = "Running"
    TERMINATED = "Terminated"


class Effect(Enum):
    """What a row asks the runtime to do."""

    NOTHING = ""
    START = "StartContainer"
    STOP = "StopContainer"


class Role(Enum):
    INIT = "init container"
    SIDECAR = "restartable init container"
    APP = "app container"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the guards look at for one container.

    `turn`: the sandbox is up and everything that must come before has. `restarts`: the restart policy wants the exited
    attempt run again. `back_off_until`: not before then. `stopping`: the pod is ending and it is this container's turn
    to be stopped. `ending`: the pod is ending or has ended. `unhealthy`: the failed probe's word, "liveness"/"startup".
    """

    container: Container
    role: Role
    fact: ContainerFact | None
    now: datetime
    turn: bool
    restarts: bool
    back_off_until: datetime | None
    ending: bool
    stopping: bool
    stop_asked: bool
    overdue: bool
    unhealthy: str
    problem: Problem | None

    @property
    def state(self) -> State:
        if self.fact is None:
            return State.WAITING
        return State.RUNNING if self.fact.phase is ContainerPhase.RUNNING else State.TERMINATED

    @property
    def next_attempt(self) -> int:
        return 0 if self.fact is None else self.fact.attempt + 1

    @property
    def backing_off(self) -> bool:
        return self.back_off_until is not None and self.now < self.back_off_until


@dataclass(frozen=True, slots=True)
class Transition:
    source: State
    event: str
    guard: Callable[[Situation], bool]
    target: State
    effect: Effect = Effect.NOTHING
    reason: str = ""
    """The waiting or terminated reason that the status shows, where the row decides it."""


def _never(_: Situation) -> bool:
    return False  # taken by the runtime: the facts show the new state


TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        State.WAITING, "the pod ends first", lambda s: s.ending, State.TERMINATED, reason="ContainerStatusUnknown"
    ),
    Transition(State.WAITING, "sandbox or init containers not done", lambda s: not s.turn, State.WAITING),
    Transition(
        State.WAITING,
        "cannot be started",
        lambda s: s.problem is not None,
        State.WAITING,
        Effect.START,
        "ErrImageNeverPull, CreateContainerConfigError, ...",
    ),
    Transition(State.WAITING, "its turn", lambda s: s.turn, State.RUNNING, Effect.START),
    Transition(State.RUNNING, "exits", _never, State.TERMINATED, reason="Completed, Error, OOMKilled, ..."),
    Transition(
        State.RUNNING,
        "grace period over",
        lambda s: s.stopping and s.stop_asked and s.overdue,
        State.TERMINATED,
        Effect.STOP,
    ),
    Transition(State.RUNNING, "asked to stop", lambda s: s.stop_asked, State.RUNNING),
    Transition(State.RUNNING, "the pod ends", lambda s: s.stopping, State.TERMINATED, Effect.STOP),
    Transition(
        State.RUNNING,
        "startup or liveness probe failed",
        lambda s: bool(s.unhealthy) and not s.ending,
        State.TERMINATED,
        Effect.STOP,
    ),
    Transition(State.TERMINATED, "the pod ends", lambda s: s.ending, State.TERMINATED),
    Transition(State.TERMINATED, "restart policy says no", lambda s: not s.restarts, State.TERMINATED),
    Transition(State.TERMINATED, "sandbox not there", lambda s: not s.turn, State.WAITING),
    Transition(State.TERMINATED, "to be restarted", lambda s: s.backing_off, State.WAITING, reason="CrashLoopBackOff"),
    Transition(
        State.TERMINATED,
        "cannot be started",
        lambda s: s.problem is not None,
        State.WAITING,
        Effect.START,
        "ErrImageNeverPull, CreateContainerConfigError, ...",
    ),
    Transition(State.TERMINATED, "back-off over", lambda s: s.restarts, State.RUNNING, Effect.START),
)


def step(situation: Situation) -> Transition | None:
    """The row that applies now, if any."""
    rows = (row for row in TRANSITIONS if row.source is situation.state)
    return next((row for row in rows if row.guard(situation)), None)
