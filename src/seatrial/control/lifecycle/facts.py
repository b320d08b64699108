"""What is known about a pod's containers, and what can be asked for: the two sides of the pod life cycle.

A node (real or simulated) and the checker hold `PodFacts`, hand them to `sync` with the pod and the time, carry out the
`Action`s and write the status. They report what happened by new facts; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from seatrial.kube.objects import PodStatus


class ContainerPhase(Enum):
    """What the runtime says of one attempt to run a container."""

    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerFact:
    """One attempt to run a container: attempt 0 is the first, attempt n the n-th restart.

    `reason` is the runtime's for an exit: Completed, Error, OOMKilled, StartError, ...
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


class ProbeKind(Enum):
    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


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


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container cannot be started yet: `ErrImageNeverPull`, `CreateContainerConfigError`, ..."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SandboxFact:
    """The pod's namespaces exist, its volumes are mounted and its network is up."""

    ip: str
    host_ip: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """All that is known of a pod on its node. `containers` holds, for each name, the latest attempt and the one before.

    `problems` are keyed by container name; the key "" is the sandbox itself (volumes, network).
    """

    sandbox: SandboxFact | None = None
    containers: tuple[ContainerFact, ...] = ()
    probes: tuple[ProbeFact, ...] = ()
    problems: Mapping[str, Problem] = field(default_factory=dict)
    stop_asked_at: Mapping[str, datetime] = field(default_factory=dict)
    """When each running container (by name) was asked to stop, if it was."""


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make namespaces, network and volumes; answered by `PodFacts.sandbox` or a problem under the key ""."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Run the container; answered by a `ContainerFact` of this attempt or a problem under its name."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    """preStop hook, then the stop signal, and after `grace_s` in all SIGKILL; answered by an exited fact."""

    name: str
    attempt: int
    grace_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Run the probe once, now; answered by a new `ProbeFact`."""

    container: str
    attempt: int
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Every container has ended: take down namespaces, network, volumes and dead containers."""


@dataclass(frozen=True, slots=True)
class RemoveFromApi:
    """Nothing of a deleted pod is left here: delete the object for good (grace period 0)."""


Action = CreateSandbox | StartContainer | StopContainer | RunProbe | RemoveSandbox | RemoveFromApi


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
    """What to do now, the status to report, what to tell people, and when to look again though nothing changed."""

    actions: tuple[Action, ...]
    status: PodStatus
    events: tuple[PodEvent, ...] = ()
    wake_at: datetime | None = None
