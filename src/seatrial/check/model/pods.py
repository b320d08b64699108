"""What happens to pods: the scheduler binds them, the node starts them, what runs in them lives or fails.

`Placing` asks the scheduler that runs, for every one of the equally good nodes. `Running` is the node seen from afar:
a pod on a node becomes what the pod life cycle makes of the facts that its containers produce (`Outcome`), in one move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec

from seatrial.check.model.pool import DRAWN, LONG_AGO, NOW, Pool, with_metadata
from seatrial.check.model.space import ABSENT, Effect, Memo, Slot, Space, State
from seatrial.control import nodelifecycle, scheduler
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    ProbeFact,
    ProbeKind,
    SandboxFact,
)
from seatrial.control.ownership import ready_since
from seatrial.control.scheduler.scheduler import view_of_node
from seatrial.kube.objects import Container, Node, Pod
from seatrial.kube.objects.pods import PodCondition

FINISHED: Final = ("Succeeded", "Failed")


class Placing:
    """The scheduler: every pod without a node can be its next. `others` are pods that stand still.

    Volumes do not count: where a pod may go, its claims are taken as bound and attached.
    """

    name = "scheduler"

    def __init__(self, pool: Pool, space: Space, others: Sequence[Pod] = (), minor: int = NEWEST_MINOR) -> None:
        self._pool = pool
        self._others = tuple(others)
        self._minor = minor
        self.shown: tuple[int, ...] = (space.slots[Pod], space.slots[Node])
        self._waiting = Memo(self._waits)
        self._views = Memo(self._view)
        self._machines = Memo(self._looks)
        self._found: dict[tuple[int, Slot, Slot], tuple[Effect, ...]] = {}
        self._at: dict[tuple[int, str], int] = {}

    def effects(self, state: State) -> list[Effect]:
        pods, nodes = (state[slot] for slot in self.shown)
        waiting = [pod for pod in dict.fromkeys(pods) if self._waiting[pod]]
        if not waiting:
            return []
        bound = tuple(sorted(view for pod in pods if (view := self._views[pod]) != ABSENT))
        machines = self._machines[nodes]
        found: list[Effect] = []
        for pod in waiting:
            key = (pod, bound, machines)
            effects = self._found.get(key)
            if effects is None:
                effects = self._found[key] = self._place(*key)
            found += effects
        return found

    def _waits(self, pod: int) -> bool:
        item: Pod = self._pool[pod]
        return not item.spec.node_name and item.metadata.deletion_timestamp is None and not item.spec.scheduling_gates

    def _view(self, pod: int) -> int:
        """What of a pod on a node the scheduler counts; `ABSENT` for a pod without a node."""
        item: Pod = self._pool[pod]
        if not item.spec.node_name:
            return ABSENT
        status = type(item.status)(phase=item.status.phase if item.status.phase in FINISHED else "")
        return self._pool.view(with_metadata(msgspec.structs.replace(item, status=status), creation_timestamp=None))

    def _looks(self, nodes: Slot) -> Slot:
        return tuple(sorted(self._pool.view(view_of_node(self._pool[node])) for node in nodes))

    def _place(self, pod: int, bound: Slot, machines: Slot) -> tuple[Effect, ...]:
        item: Pod = self._pool[pod]
        there = [self._pool.named(number, position) for position, number in enumerate(bound)]
        placement = scheduler.schedule(
            with_metadata(item, name=item.metadata.name or f"{DRAWN}new", uid=item.metadata.uid or f"{DRAWN}new"),
            [self._pool[node] for node in machines],
            [*(each for each in there if isinstance(each, Pod)), *self._others],
            minor=self._minor,
        )
        if placement.best:
            return tuple(
                Effect((self.name, pod), ((pod, self._on(pod, node)),), "Scheduler", f"places a pod on {node}")
                for node in placement.best
            )
        known = next((c for c in item.status.conditions if c.type == "PodScheduled"), None)
        if known is not None and known.message == placement.message:
            return ()
        refused = PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=placement.message)
        status = msgspec.structs.replace(item.status, conditions=(refused,), phase="Pending")
        new = self._pool.intern(msgspec.structs.replace(item, status=status))
        return (Effect((self.name, pod), ((pod, new),), "Scheduler", placement.message, placement.message),)

    def _on(self, pod: int, node: str) -> int:
        found = self._at.get((pod, node))
        if found is None:
            item: Pod = self._pool[pod]
            spec = msgspec.structs.replace(item.spec, node_name=node)
            status = msgspec.structs.replace(item.status, conditions=())
            found = self._at[pod, node] = self._pool.intern(msgspec.structs.replace(item, spec=spec, status=status))
        return found


class Outcome(Enum):
    """What becomes of a pod that has been given to a node."""

    READY = "is ready"
    UNREADY = "runs, and is not ready"
    CRASHED = "has crashed and waits for its restart"
    SUCCEEDED = "has succeeded"
    FAILED = "has failed"


Behaves = Callable[[Pod], Sequence[Outcome]]
"""The outcomes that are possible for a pod as it is: of a ready one those that end its being ready."""


class Running:
    """The nodes: what is given to them starts, lives as `behaves` allows, and ends when it is asked to."""

    name = "node"

    def __init__(self, pool: Pool, space: Space, behaves: Behaves, minor: int = NEWEST_MINOR) -> None:
        self._pool = pool
        self._behaves = behaves
        self._minor = minor
        self.shown: tuple[int, ...] = (space.slots[Pod], *([space.slots[Node]] if Node in space.slots else []))
        self._steps = Memo(self._step)
        self._silent = Memo(self._silent_among)

    def effects(self, state: State) -> list[Effect]:
        pods, *nodes = [state[slot] for slot in self.shown]
        silent = self._silent[nodes[0]] if nodes else frozenset()
        found: list[Effect] = []
        for pod in dict.fromkeys(pods):
            if not silent or self._pool[pod].spec.node_name not in silent:
                found += self._steps[pod]
        return found

    def _silent_among(self, nodes: Slot) -> frozenset[str]:
        """The nodes that do not answer: nothing starts and nothing ends on them."""
        return frozenset(self._pool[node].metadata.name for node in nodes if nodelifecycle.is_silent(self._pool[node]))

    def _step(self, pod: int) -> tuple[Effect, ...]:
        item: Pod = self._pool[pod]
        if not item.spec.node_name:
            return ()
        where = f"the pod on {item.spec.node_name}"
        if item.metadata.deletion_timestamp is not None and not item.metadata.finalizers:
            return (Effect((f"{self.name} stops", pod), ((pod, ABSENT),), "Node", f"{where} has ended"),)
        if item.status.phase in FINISHED:
            return ()
        found = []
        for outcome in self._behaves(item):
            new = self.come_to(pod, outcome)
            if new != pod:
                label = (f"{self.name} {outcome.name}", pod)
                found.append(Effect(label, ((pod, new),), "Node", f"{where} {outcome.value}"))
        return tuple(found)

    def come_to(self, pod: int, outcome: Outcome) -> int:
        """The pod once its containers have come to this."""
        item: Pod = self._pool[pod]
        return self._pool.intern(msgspec.structs.replace(item, status=self._status(item, outcome)))

    def _status(self, pod: Pod, outcome: Outcome) -> object:
        """The status that the life cycle gives the pod once its containers have come to this."""
        named = with_metadata(pod, name="pod", uid="pod")
        status = sync(named, facts(named, outcome), NOW, minor=self._minor).status
        again = msgspec.structs.replace(named, status=status)
        return sync(again, facts(named, outcome), NOW, minor=self._minor).status


class Ageing:
    """Time, as far as it decides anything here: a pod that is ready has been ready for long enough."""

    name = "time"

    def __init__(self, pool: Pool, space: Space, min_ready_seconds: int) -> None:
        self._pool = pool
        self._seconds = min_ready_seconds
        self.shown: tuple[int, ...] = (space.slots[Pod],)

    def effects(self, state: State) -> list[Effect]:
        if not self._seconds:
            return []
        found = []
        for pod in dict.fromkeys(state[self.shown[0]]):
            item: Pod = self._pool[pod]
            if item.metadata.deletion_timestamp is None and ready_since(item) == NOW:
                conditions = tuple(
                    msgspec.structs.replace(each, last_transition_time=LONG_AGO) if each.type == "Ready" else each
                    for each in item.status.conditions
                )
                status = msgspec.structs.replace(item.status, conditions=conditions)
                new = self._pool.intern(msgspec.structs.replace(item, status=status))
                what = f"a pod has been ready for {self._seconds} s"
                found.append(Effect((self.name, pod), ((pod, new),), "Time", what))
        return found


def facts(pod: Pod, outcome: Outcome) -> PodFacts:
    """What a node would know of the pod's containers: init containers done, the others as the outcome says."""
    containers = [
        _running(container) if container.restart_policy == "Always" else _exited(container, 0)
        for container in pod.spec.init_containers
    ]
    for container in pod.spec.containers:
        match outcome:
            case Outcome.READY | Outcome.UNREADY:
                containers.append(_running(container))
            case Outcome.SUCCEEDED:
                containers.append(_exited(container, 0))
            case Outcome.CRASHED | Outcome.FAILED:
                containers.append(_exited(container, 1))
    passed = 0 if outcome is Outcome.UNREADY else 1_000
    probes = tuple(
        ProbeFact(container=container.name, attempt=0, kind=kind, successes=passed, last_at=NOW)
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for kind, probe in (
            (ProbeKind.STARTUP, container.startup_probe),
            (ProbeKind.LIVENESS, container.liveness_probe),
            (ProbeKind.READINESS, container.readiness_probe),
        )
        if probe is not None
    )
    sandbox = SandboxFact(ip="10.0.0.1", host_ip="10.0.0.2", created_at=LONG_AGO)
    return PodFacts(sandbox=sandbox, containers=tuple(containers), probes=probes)


def _running(container: Container) -> ContainerFact:
    return ContainerFact(name=container.name, attempt=0, phase=ContainerPhase.RUNNING, started_at=LONG_AGO)


def _exited(container: Container, code: int) -> ContainerFact:
    return ContainerFact(
        name=container.name,
        attempt=0,
        phase=ContainerPhase.EXITED,
        started_at=LONG_AGO,
        finished_at=NOW,
        exit_code=code,
        reason="Error" if code else "Completed",
    )
