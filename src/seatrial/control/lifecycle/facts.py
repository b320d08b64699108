"""What is known about a pod's containers, and what can be asked for: the two sides of the pod life cycle.

A node (real or simulated) and the checker hold `PodFacts`, hand them to `sync` with the pod and the time, carry out the
`Action`s and write the status. They report what happened by new facts; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from seatrial.kube.objects import Pod, PodStatus
from seatrial.kube.objects.pods import ResourceRequirements
from seatrial.kube.quantities import Quantity


class ContainerPhase(Enum):
    """What the runtime says of one attempt to run a container."""

    RUNNING = "running"
    EXITED = "exited"


class StopReason(Enum):
    """Why this node stopped a container."""

    POD_ENDS = "the pod ends"
    UNHEALTHY = "a probe failed"
    RESIZE = "its resources change"
    RESTART_ALL = "the whole pod restarts"
    POST_START = "its postStart hook failed"


@dataclass(frozen=True, slots=True)
class ContainerFact:
    """One attempt to run a container: attempt 0 is the first, attempt n the n-th restart.

    `reason` is the runtime's for an exit: Completed, Error, OOMKilled, StartError, ... `back_off_s` is what
    `StartContainer` said; `stopped_for` what `StopContainer` said, None if the container ended by itself. `resources`
    are those it runs with, None where the runtime does not say.
    """

    name: str
    attempt: int
    phase: ContainerPhase
    id: str = ""
    image: str = ""
    image_id: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    back_off_s: int = 0
    stopped_for: StopReason | None = None
    hook_running: bool = False
    """Its postStart hook has not ended."""
    resources: ResourceRequirements | None = None


class ProbeKind(Enum):
    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class ProbeOutcome(Enum):
    """How one run of a probe ended. A warning is a success that people hear of; an error says nothing of the container
    (a port name that nobody declares) and leaves the counts alone.
    """

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ProbeFact:
    """How the latest runs of one probe of one attempt ended: the length of the current run of successes or failures."""

    container: str
    attempt: int
    kind: ProbeKind
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None
    message: str = ""
    outcome: ProbeOutcome | None = None

    def after(self, outcome: ProbeOutcome, message: str, at: datetime) -> ProbeFact:
        """This fact once the probe has run again."""
        match outcome:
            case ProbeOutcome.SUCCESS | ProbeOutcome.WARNING:
                successes, failures = self.successes + 1, 0
            case ProbeOutcome.FAILURE:
                successes, failures = 0, self.failures + 1
            case ProbeOutcome.ERROR:
                successes, failures = self.successes, self.failures
        return ProbeFact(self.container, self.attempt, self.kind, successes, failures, at, message, outcome)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container cannot be started yet: `ErrImagePull`, `CreateContainerConfigError`, ...

    `at` is when it was last met and `times` how often in a row: an image's next pull waits for that.
    """

    reason: str
    message: str
    at: datetime | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class SandboxFact:
    """The pod's namespaces exist, its volumes are mounted and its network is up."""

    ip: str
    host_ip: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """A running container is on its way out: its preStop hook has begun; `kill_at` is None until it is told to stop."""

    asked_at: datetime
    kill_at: datetime | None = None
    hook_failed: bool = False


@dataclass(frozen=True, slots=True)
class Eviction:
    """The node itself ends the pod: pressure, preemption by a critical pod, shutdown."""

    reason: str
    message: str
    at: datetime
    grace_s: int
    disruption: bool = True
    """It shows as a DisruptionTarget condition."""
    disruption_message: str = ""
    """What that condition says, if not `message`."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the node has for its pods, and what the others among them are promised: decides a resize."""

    allocatable: Mapping[str, Quantity]
    used: Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """All that is known of a pod on its node. `containers` holds, for each name, the latest attempt and the one before.

    `problems` are keyed by container name; the key "" is the sandbox itself (volumes, network). `stops` are keyed by
    the name of a running container. `room` need be given only while `resize.wanted` says that it matters.
    """

    sandbox: SandboxFact | None = None
    containers: tuple[ContainerFact, ...] = ()
    probes: tuple[ProbeFact, ...] = ()
    problems: Mapping[str, Problem] = field(default_factory=dict)
    stops: Mapping[str, Stop] = field(default_factory=dict)
    eviction: Eviction | None = None
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make namespaces, network and volumes; answered by `PodFacts.sandbox` or a problem under the key ""."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Run the container; answered by a `ContainerFact` of this attempt or a problem under its name."""

    name: str
    attempt: int
    back_off_s: int = 0
    """What the restart after this attempt will wait; the fact hands it back."""


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give the running container the resources of its spec; answered by `ContainerFact.resources`."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunPreStop:
    """Begin the preStop hook, before the container's turn to be stopped; answered by a `Stop` without `kill_at`."""

    name: str
    attempt: int
    grace_s: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    """preStop hook (unless begun), then the stop signal, and `grace_s` from now SIGKILL; answered by an exited fact.

    Asked again with less grace, the end comes sooner; with more, nothing changes.
    """

    name: str
    attempt: int
    grace_s: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Run the probe once, now; answered by a new `ProbeFact`."""

    container: str
    attempt: int
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class RemoveContainers:
    """Every container has ended and the pod starts over: forget them; answered by no container facts."""


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """The pod has finished: take down namespaces and network, keep the dead containers; answered by no sandbox."""


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Every container of a deleted pod has ended: take down namespaces, network, volumes and dead containers."""


@dataclass(frozen=True, slots=True)
class RemoveFromApi:
    """Nothing of a deleted pod is left here: delete the object for good (grace period 0)."""


Action = (
    CreateSandbox
    | StartContainer
    | ResizeContainer
    | RunPreStop
    | StopContainer
    | RunProbe
    | RemoveContainers
    | StopSandbox
    | RemoveSandbox
    | RemoveFromApi
)


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An event to record about the pod, e.g. `Normal Started`, `Warning BackOff`.

    `at` names the occurrence: equal events with equal `at` are one and are told once.
    """

    type: str
    reason: str
    message: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodDecision:
    """What to do now, the status to report, what to tell people, and when to look again though nothing changed.

    The actions are about `allocated`: the pod with the resources that the node has granted.
    """

    actions: tuple[Action, ...]
    status: PodStatus
    allocated: Pod
    events: tuple[PodEvent, ...] = ()
    wake_at: datetime | None = None
