"""What PodDisruptionBudgets allow, asked of the controller and the eviction API that run.

A question is a crowd of pods, some of them ready: the disruption controller counts, the eviction API answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from seatrial.check import machines
from seatrial.check.machines import Workload
from seatrial.check.model.pool import LONG_AGO, NOW, with_metadata
from seatrial.check.system import Entry, System
from seatrial.control import disruption, relations
from seatrial.control.disruption import Refused
from seatrial.control.writes import UpdateStatus
from seatrial.kube import selectors
from seatrial.kube.objects import (
    Deployment,
    Object,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodDisruptionBudget,
    PodStatus,
    ReplicaSet,
)
from seatrial.kube.objects.pods import PodCondition

READY = PodStatus(
    phase="Running", conditions=(PodCondition(type="Ready", status="True", last_transition_time=LONG_AGO),)
)
BROKEN = PodStatus(
    phase="Running", conditions=(PodCondition(type="Ready", status="False", last_transition_time=LONG_AGO),)
)
WAITING = PodStatus(phase="Pending")


@dataclass(frozen=True, slots=True)
class Share:
    """Pods of one workload: how many are ready, how many run and are not, how many wait for a node."""

    workload: Workload | Pod
    ready: int
    broken: int = 0
    waiting: int = 0

    def pods(self) -> list[Pod]:
        if isinstance(self.workload, Pod):
            return [msgspec.structs.replace(self.workload, status=READY)]
        total = self.ready + self.broken + self.waiting
        states = [READY] * self.ready + [BROKEN] * self.broken + [WAITING] * self.waiting
        made = machines.pods_of(self.workload, total)
        return [msgspec.structs.replace(pod, status=status) for pod, status in zip(made, states, strict=True)]


@dataclass(slots=True)
class Budgets:
    """The budgets of a system that select pods of its workloads."""

    system: System
    entries: tuple[Entry, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.entries = tuple(each for each in self.system.entries if isinstance(each.typed, PodDisruptionBudget))

    def of(self, pod: Pod) -> list[Entry]:
        """The budgets that select the pod."""
        return [each for each in self.entries if selects(_typed(each), pod)]

    def status(self, entry: Entry, shares: Iterable[Share]) -> PodDisruptionBudget:
        """The budget as its controller leaves it when there are these pods."""
        shares = tuple(shares)
        objects: dict[type[Object], list[Object]] = {Pod: [pod for share in shares for pod in share.pods()]}
        for share in shares:
            for each in _owners(share.workload):
                objects.setdefault(type(each), []).append(each)
        budget = with_metadata(_typed(entry), uid=str(entry.key), generation=1)
        seen = relations.observe(disruption.CONTROLLER, budget, objects, NOW)
        told = [
            write.after for write in disruption.CONTROLLER.reconcile(seen).writes if isinstance(write, UpdateStatus)
        ]
        return next((each for each in told if isinstance(each, PodDisruptionBudget)), budget)

    def evicts(self, pod: Pod, shares: Sequence[Share]) -> Refused | None:
        """Why the eviction API refuses this pod; None if it does not."""
        mine = [self.status(each, shares) for each in self.of(pod)]
        answer = disruption.evict(pod, mine, NOW)
        return answer if isinstance(answer, Refused) else None


def selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    return budget.metadata.namespace == pod.metadata.namespace and selectors.matches(
        budget.spec.selector, pod.metadata.labels
    )


def _typed(entry: Entry) -> PodDisruptionBudget:
    assert isinstance(entry.typed, PodDisruptionBudget)
    return entry.typed


def _owners(workload: Workload | Pod) -> list[Object]:
    """The objects in which the disruption controller looks up how many pods there should be."""
    if isinstance(workload, Pod):
        return []
    uid = str(workload.key)
    if not isinstance(workload, Deployment):
        return [with_metadata(workload, uid=uid)]
    above = f"{uid} itself"
    owner = OwnerReference(
        api_version=Deployment.api_version, kind="Deployment", name=workload.metadata.name, uid=above, controller=True
    )
    meta = ObjectMeta(
        name=workload.metadata.name, namespace=workload.metadata.namespace, uid=uid, owner_references=(owner,)
    )
    return [with_metadata(workload, uid=above), ReplicaSet(metadata=meta)]
