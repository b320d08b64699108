"""Nodes without machines: a `PodRuntime` whose containers exist in (virtual) time only.

Behaviour is a value per container: how long a start takes, when it becomes ready, whether and how it exits. By default
a container starts after a second, is ready at once and runs until it is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodFacts,
    ProbeFact,
    ProbeKind,
    Problem,
    RemoveFromApi,
    RemoveSandbox,
    RunProbe,
    SandboxFact,
    StartContainer,
    StopContainer,
)
from seatrial.kube.objects import Container, Pod
from seatrial.node.runtime import Clock


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one container behaves. `exits_after_s` None: only when stopped. Probes fail before `ready_after_s`."""

    start_s: float = 1.0
    ready_after_s: float = 0.0
    exits_after_s: float | None = None
    exit_code: int = 0
    stop_s: float = 1.0
    problem: Problem | None = None


Behaves = Callable[[Pod, Container], Behaviour]


def usual(pod: Pod, container: Container) -> Behaviour:
    """Init containers finish after a second; all others run until stopped."""
    once = container in pod.spec.init_containers and container.restart_policy != "Always"
    return Behaviour(exits_after_s=1.0 if once else None)


@dataclass(slots=True)
class _Pod:
    facts: PodFacts = field(default_factory=PodFacts)


class SimulatedRuntime:
    """`subnet` is the first three numbers of the node's pod addresses, e.g. "10.244.1"."""

    on_change: Callable[[str], None]

    def __init__(self, clock: Clock, *, subnet: str, host_ip: str, behaves: Behaves = usual) -> None:
        self.on_change = lambda _: None
        self.behaves = behaves
        self._clock = clock
        self._subnet = subnet
        self._host_ip = host_ip
        self._pods: dict[str, _Pod] = {}
        self._addresses = 1

    def facts(self, pod: Pod) -> PodFacts:
        known = self._pods.get(pod.metadata.uid)
        return known.facts if known is not None else PodFacts()

    def forget(self, pod: Pod) -> None:
        self._pods.pop(pod.metadata.uid, None)

    def perform(self, pod: Pod, action: Action) -> None:
        self._pods.setdefault(pod.metadata.uid, _Pod())
        match action:
            case CreateSandbox():
                self._after(pod, 0.5, self._create_sandbox)
            case StartContainer(name=name, attempt=attempt):
                behaviour = self._behaviour(pod, name)
                self._after(pod, behaviour.start_s, lambda p: self._start(p, name, attempt))
            case StopContainer(name=name, attempt=attempt, grace_s=grace_s):
                self._stop(pod, name, attempt, grace_s)
            case RunProbe():
                self._probe(pod, action)
            case RemoveSandbox():
                self._after(pod, 0.5, lambda p: self._change(p, PodFacts()))
            case RemoveFromApi():
                raise AssertionError("the agent deletes objects itself")

    def _behaviour(self, pod: Pod, name: str) -> Behaviour:
        containers = (*pod.spec.init_containers, *pod.spec.containers)
        return self.behaves(pod, next(c for c in containers if c.name == name))

    def _after(self, pod: Pod, delay_s: float, then: Callable[[Pod], None]) -> None:
        def call() -> None:
            if pod.metadata.uid in self._pods:
                then(pod)

        self._clock.call_at(self._clock.now() + timedelta(seconds=delay_s), call)

    def _change(self, pod: Pod, facts: PodFacts) -> None:
        self._pods[pod.metadata.uid].facts = facts
        self.on_change(pod.metadata.uid)

    def _create_sandbox(self, pod: Pod) -> None:
        facts = self.facts(pod)
        if facts.sandbox is None:
            self._addresses += 1
            ip = self._host_ip if pod.spec.host_network else f"{self._subnet}.{self._addresses}"
            self._change(pod, replace(facts, sandbox=SandboxFact(ip, self._host_ip, self._clock.now())))

    def _start(self, pod: Pod, name: str, attempt: int) -> None:
        facts, behaviour, now = self.facts(pod), self._behaviour(pod, name), self._clock.now()
        if facts.sandbox is None or any(f.name == name and f.attempt >= attempt for f in facts.containers):
            return
        problems = {key: problem for key, problem in facts.problems.items() if key != name}
        if behaviour.problem is not None:
            self._change(pod, replace(facts, problems={**problems, name: behaviour.problem}))
            return
        container = next(c for c in (*pod.spec.init_containers, *pod.spec.containers) if c.name == name)
        fact = ContainerFact(
            name=name,
            attempt=attempt,
            phase=ContainerPhase.RUNNING,
            id=f"simulated://{pod.metadata.uid}/{name}/{attempt}",
            image=container.image,
            image_id=container.image,
            started_at=now,
        )
        kept = tuple(f for f in facts.containers if f.name != name or f.attempt == attempt - 1)
        asked = {key: at for key, at in facts.stop_asked_at.items() if key != name}
        probes = tuple(p for p in facts.probes if p.container != name)
        self._change(
            pod,
            replace(facts, containers=(*kept, fact), problems=problems, stop_asked_at=asked, probes=probes),
        )
        if behaviour.exits_after_s is not None:
            self._after(pod, behaviour.exits_after_s, lambda p: self._exit(p, name, attempt, behaviour.exit_code))

    def _stop(self, pod: Pod, name: str, attempt: int, grace_s: int) -> None:
        facts, behaviour = self.facts(pod), self._behaviour(pod, name)
        asked: dict[str, datetime] = {name: self._clock.now(), **facts.stop_asked_at}
        self._change(pod, replace(facts, stop_asked_at=asked))
        killed = behaviour.stop_s > grace_s
        delay_s, code = (grace_s, 137) if killed else (behaviour.stop_s, 143)
        self._after(pod, delay_s, lambda p: self._exit(p, name, attempt, code))

    def _exit(self, pod: Pod, name: str, attempt: int, code: int) -> None:
        facts = self.facts(pod)
        ended = tuple(
            replace(f, phase=ContainerPhase.EXITED, finished_at=self._clock.now(), exit_code=code)
            if f.name == name and f.attempt == attempt and f.phase is ContainerPhase.RUNNING
            else f
            for f in facts.containers
        )
        if ended != facts.containers:
            asked = {key: at for key, at in facts.stop_asked_at.items() if key != name}
            self._change(pod, replace(facts, containers=ended, stop_asked_at=asked))

    def _probe(self, pod: Pod, action: RunProbe) -> None:
        facts, now = self.facts(pod), self._clock.now()
        fact = next((f for f in facts.containers if (f.name, f.attempt) == (action.container, action.attempt)), None)
        if fact is None or fact.started_at is None:
            return
        ready_at = fact.started_at + timedelta(seconds=self._behaviour(pod, action.container).ready_after_s)
        good = now >= ready_at or action.kind is ProbeKind.LIVENESS
        wanted = (action.container, action.attempt, action.kind)
        old = next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), ProbeFact(*wanted))
        new = replace(
            old,
            successes=old.successes + 1 if good else 0,
            failures=0 if good else old.failures + 1,
            last_at=now,
            message="" if good else "not ready yet (simulated)",
        )
        self._change(pod, replace(facts, probes=(*(p for p in facts.probes if p is not old), new)))
