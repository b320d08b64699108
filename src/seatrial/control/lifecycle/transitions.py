"""The transition table of one container: waiting, running, terminated.

Rules: the state is read off the facts, never stored. The first row of a state whose guard holds says what to do; a row
without an action is taken by the runtime (a container exits) or only explains why nothing is done. The diagram and the
tables of docs/explanation/pod-life-cycle.md are generated from these rows. Probes that are due run beside them
(`probes`). Semantics: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, Problem, StopReason
from seatrial.kube.objects import Container


class State(Enum):
    WAITING = "Waiting"
    RUNNING = "Running"
    TERMINATED = "Terminated"


class Effect(Enum):
    """What a row asks the runtime to do."""

    NOTHING = ""
    START = "StartContainer"
    RESIZE = "ResizeContainer"
    PRE_STOP = "RunPreStop"
    STOP = "StopContainer"


class Role(Enum):
    INIT = "init container"
    SIDECAR = "restartable init container"
    APP = "app container"
    EPHEMERAL = "ephemeral container"


class Resize(Enum):
    """What the node's grant asks of a running container."""

    NONE = ""
    UPDATE = "in place"
    RESTART = "by a restart"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the guards look at for one container."""

    container: Container
    role: Role
    fact: ContainerFact | None
    now: datetime
    next_attempt: int
    turn: bool
    """The sandbox is up and everything that must come before has."""
    restarts: bool
    """The restart policy wants the exited attempt run again."""
    back_off_until: datetime | None
    retry_at: datetime | None
    """An image that could not be pulled is not tried before then."""
    ending: bool
    """The pod is ending or has ended."""
    stopping: bool
    """The pod is ending and it is this container's turn to be stopped, or too late to wait for it."""
    told_to_stop: bool
    hook_due: bool
    """It has a preStop hook that has not begun."""
    sooner: bool
    """It was told to stop, and the time it was given has become shorter or is over."""
    unhealthy: str
    """The failed probe's word, "liveness" or "startup"."""
    resize: Resize
    restarting_all: bool
    problem: Problem | None

    @property
    def state(self) -> State:
        if self.fact is None:
            return State.WAITING
        return State.RUNNING if self.fact.phase is ContainerPhase.RUNNING else State.TERMINATED

    @property
    def backing_off(self) -> bool:
        return self.back_off_until is not None and self.now < self.back_off_until

    @property
    def image_backing_off(self) -> bool:
        return self.retry_at is not None and self.now < self.retry_at


@dataclass(frozen=True, slots=True)
class Transition:
    source: State
    event: str
    guard_text: str
    guard: Callable[[Situation], bool]
    target: State
    effect: Effect = Effect.NOTHING
    reason: str = ""
    """The waiting or terminated reason that the status shows, where the row decides it."""
    stop_reason: StopReason | None = None


def _by_runtime(_: Situation) -> bool:
    return False  # the facts show the new state


CANNOT_START = "ErrImageNeverPull, CreateContainerConfigError, PostStartHookError, ..."

TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        State.WAITING,
        "the pod ends first",
        "the pod ends",
        lambda s: s.ending,
        State.TERMINATED,
        reason="ContainerStatusUnknown",
    ),
    Transition(
        State.WAITING,
        "not its turn",
        "the sandbox is missing, or what must come before has not come",
        lambda s: not s.turn,
        State.WAITING,
        reason="ContainerCreating, PodInitializing",
    ),
    Transition(
        State.WAITING,
        "the pod starts over",
        "RestartAllContainers is under way",
        lambda s: s.restarting_all,
        State.WAITING,
        reason="RestartingAllContainers",
    ),
    Transition(
        State.WAITING,
        "its image cannot be pulled",
        "the pull's back-off is not over",
        lambda s: s.image_backing_off,
        State.WAITING,
        reason="ErrImagePull, ImagePullBackOff",
    ),
    Transition(
        State.WAITING,
        "could not be started",
        "the last try met a problem",
        lambda s: s.problem is not None,
        State.WAITING,
        Effect.START,
        CANNOT_START,
    ),
    Transition(State.WAITING, "its turn", "-", lambda s: s.turn, State.RUNNING, Effect.START),
    Transition(
        State.RUNNING, "exits", "-", _by_runtime, State.TERMINATED, reason="Completed, Error, OOMKilled, StartError"
    ),
    Transition(
        State.RUNNING,
        "has less time than it was told",
        "the grace period became shorter, or is over",
        lambda s: s.told_to_stop and s.sooner,
        State.TERMINATED,
        Effect.STOP,
        stop_reason=StopReason.POD_ENDS,
    ),
    Transition(State.RUNNING, "was told to stop", "it has not ended", lambda s: s.told_to_stop, State.RUNNING),
    Transition(
        State.RUNNING,
        "the pod ends",
        "it is its turn: whoever started after a restartable init container has ended, or the grace period has",
        lambda s: s.stopping,
        State.TERMINATED,
        Effect.STOP,
        stop_reason=StopReason.POD_ENDS,
    ),
    Transition(
        State.RUNNING,
        "the pod ends, others stop first",
        "its preStop hook has not begun",
        lambda s: s.ending and s.hook_due,
        State.RUNNING,
        Effect.PRE_STOP,
    ),
    Transition(State.RUNNING, "the pod ends, others stop first", "-", lambda s: s.ending, State.RUNNING),
    Transition(
        State.RUNNING,
        "the pod starts over",
        "a container exited with a code that means RestartAllContainers",
        lambda s: s.restarting_all,
        State.TERMINATED,
        Effect.STOP,
        stop_reason=StopReason.RESTART_ALL,
    ),
    Transition(
        State.RUNNING,
        "startup or liveness probe failed",
        "failureThreshold times in a row",
        lambda s: bool(s.unhealthy),
        State.TERMINATED,
        Effect.STOP,
        stop_reason=StopReason.UNHEALTHY,
    ),
    Transition(
        State.RUNNING,
        "granted other resources",
        "a resizePolicy says RestartContainer",
        lambda s: s.resize is Resize.RESTART,
        State.TERMINATED,
        Effect.STOP,
        stop_reason=StopReason.RESIZE,
    ),
    Transition(
        State.RUNNING,
        "granted other resources",
        "no resizePolicy says otherwise",
        lambda s: s.resize is Resize.UPDATE,
        State.RUNNING,
        Effect.RESIZE,
    ),
    Transition(State.TERMINATED, "the pod ends", "-", lambda s: s.ending, State.TERMINATED),
    Transition(
        State.TERMINATED,
        "the pod starts over",
        "RestartAllContainers is under way",
        lambda s: s.restarting_all,
        State.TERMINATED,
    ),
    Transition(
        State.TERMINATED,
        "stays as it is",
        "neither restart rules nor restart policy want it again",
        lambda s: not s.restarts,
        State.TERMINATED,
    ),
    Transition(
        State.TERMINATED,
        "not its turn",
        "the sandbox is missing, or what must come before has not come",
        lambda s: not s.turn,
        State.TERMINATED,
    ),
    Transition(
        State.TERMINATED,
        "to be restarted",
        "the back-off is not over",
        lambda s: s.backing_off,
        State.WAITING,
        reason="CrashLoopBackOff",
    ),
    Transition(
        State.TERMINATED,
        "its image cannot be pulled",
        "the pull's back-off is not over",
        lambda s: s.image_backing_off,
        State.WAITING,
        reason="ErrImagePull, ImagePullBackOff",
    ),
    Transition(
        State.TERMINATED,
        "could not be started",
        "the last try met a problem",
        lambda s: s.problem is not None,
        State.WAITING,
        Effect.START,
        CANNOT_START,
    ),
    Transition(State.TERMINATED, "to be restarted", "-", lambda s: s.restarts, State.RUNNING, Effect.START),
)


def step(situation: Situation) -> Transition | None:
    """The row that applies now, if any."""
    rows = (row for row in TRANSITIONS if row.source is situation.state)
    return next((row for row in rows if row.guard(situation)), None)
