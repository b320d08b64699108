"""The status that a node reports for a pod: container states, conditions and phase, from facts and the last report.

Semantics: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase and #pod-conditions. Rules: what
is not a node's to say (readiness gates' conditions, unknown conditions) is kept; `lastTransitionTime` moves only when a
condition's status does; a container whose facts are gone keeps the end that was reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from seatrial.control.lifecycle import probes
from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, PodFacts
from seatrial.kube.objects import Container, ContainerStatus, Pod, PodStatus
from seatrial.kube.objects.pods import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    HostIP,
    PodCondition,
    PodIP,
)
from seatrial.kube.quantities import Quantity


def report(
    pod: Pod,
    facts: PodFacts,
    now: datetime,
    *,
    back_offs: Mapping[str, str],
    deleted: bool,
    expired: bool,
    restarts: Mapping[str, bool],
) -> PodStatus:
    """The whole status. `back_offs`: the message of each container that waits to be restarted."""
    now = now.replace(microsecond=0)
    reporter = _Containers(pod, facts, back_offs, gone=deleted and facts.sandbox is None)
    inits = tuple(reporter.status(c) for c in pod.spec.init_containers)
    apps = tuple(reporter.status(c) for c in pod.spec.containers)
    phase = _phase(pod, inits, apps, deleted=deleted, expired=expired, restarts=restarts)
    sandbox = facts.sandbox
    ip = sandbox.ip if sandbox else ""
    host_ip = sandbox.host_ip if sandbox else pod.status.host_ip
    return msgspec.structs.replace(
        pod.status,
        phase=phase,
        reason="DeadlineExceeded" if expired else pod.status.reason,
        message="Pod was active on the node longer than the specified deadline" if expired else pod.status.message,
        conditions=_conditions(pod, inits, apps, phase, has_sandbox=sandbox is not None, now=now),
        init_container_statuses=inits,
        container_statuses=apps,
        host_ip=host_ip,
        host_ips=(HostIP(ip=host_ip),) if host_ip else (),
        pod_ip=ip,
        pod_ips=(PodIP(ip=ip),) if ip else (),
        start_time=pod.status.start_time or now,
        observed_generation=pod.metadata.generation,
        qos_class=pod.status.qos_class or qos_class(pod),
    )


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort (defaulted requests assumed)."""
    zero = Quantity.parse("0")
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    resources = [container.resources for container in containers]
    asked = [q for r in resources for part in (r.requests, r.limits) for n, q in part.items() if n in ("cpu", "memory")]
    if all(quantity == zero for quantity in asked):
        return "BestEffort"
    for r in resources:
        for name in ("cpu", "memory"):
            limit = r.limits.get(name)
            if limit is None or limit == zero or r.requests.get(name, limit) != limit:
                return "Burstable"
    return "Guaranteed"


class _Containers:
    """Turns facts into container statuses."""

    def __init__(self, pod: Pod, facts: PodFacts, back_offs: Mapping[str, str], *, gone: bool) -> None:
        self._pod = pod
        self._facts = facts
        self._back_offs = back_offs
        self._gone = gone
        self._reported = {s.name: s for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)}

    def status(self, container: Container) -> ContainerStatus:
        attempts = sorted((f for f in self._facts.containers if f.name == container.name), key=lambda f: f.attempt)
        reported = self._reported.get(container.name)
        if not attempts:
            return self._without_facts(container, reported)
        fact = attempts[-1]
        running = fact.phase is ContainerPhase.RUNNING
        state = _running(fact) if running else _terminated(fact)
        before = [f for f in attempts[:-1] if f.phase is ContainerPhase.EXITED]
        last = _terminated(before[-1]) if before else None
        if last is None and reported is not None and reported.restart_count == fact.attempt and fact.attempt:
            last = reported.last_state
        problem = self._facts.problems.get(container.name)
        if not running and container.name in self._back_offs:
            last, state = state, _waiting("CrashLoopBackOff", self._back_offs[container.name])
        elif not running and problem is not None:
            last, state = state, _waiting(problem.reason, problem.message)
        completed_init = (
            container in self._pod.spec.init_containers
            and container.restart_policy != "Always"
            and not running
            and fact.exit_code == 0
        )
        is_started = probes.started(container, fact, self._facts, reported)
        return ContainerStatus(
            name=container.name,
            image=fact.image or container.image,
            image_id=fact.image_id,
            container_id=fact.id,
            restart_count=fact.attempt,
            started=is_started,
            ready=completed_init or probes.ready(container, fact, self._facts, reported),
            state=state,
            last_state=last,
        )

    def _without_facts(self, container: Container, reported: ContainerStatus | None) -> ContainerStatus:
        if reported is not None and reported.state is not None and reported.state.terminated is not None:
            return reported
        if self._gone:
            unknown = ContainerStateTerminated(
                exit_code=137,
                reason="ContainerStatusUnknown",
                message="The container could not be located when the pod was terminated",
            )
            return ContainerStatus(
                name=container.name, image=container.image, started=False, state=ContainerState(terminated=unknown)
            )
        problem = self._facts.problems.get(container.name)
        reason = "PodInitializing" if self._pod.spec.init_containers else "ContainerCreating"
        state = _waiting(problem.reason, problem.message) if problem else _waiting(reason, "")
        return ContainerStatus(name=container.name, image=container.image, started=False, state=state)


def _waiting(reason: str, message: str) -> ContainerState:
    if reason == "CrashLoopBackOff":
        message = f"back-off {message}"
    return ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))


def _running(fact: ContainerFact) -> ContainerState:
    return ContainerState(running=ContainerStateRunning(started_at=_second(fact.started_at)))


def _terminated(fact: ContainerFact) -> ContainerState:
    ended = ContainerStateTerminated(
        container_id=fact.id,
        exit_code=fact.exit_code,
        signal=fact.signal,
        reason=fact.reason or ("Completed" if fact.exit_code == 0 else "Error"),
        message=fact.message,
        started_at=_second(fact.started_at),
        finished_at=_second(fact.finished_at),
    )
    return ContainerState(terminated=ended)


def _second(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(microsecond=0)


def _phase(
    pod: Pod,
    inits: Sequence[ContainerStatus],
    apps: Sequence[ContainerStatus],
    *,
    deleted: bool,
    expired: bool,
    restarts: Mapping[str, bool],
) -> str:
    if pod.status.phase in ("Succeeded", "Failed"):
        return pod.status.phase
    if expired:
        return "Failed"
    running = [s for s in apps if s.state and s.state.running]
    ends = [_end(s) for s in apps]
    if deleted and not running and all(end is not None for end in ends):
        return "Succeeded" if all(end is not None and end.exit_code == 0 for end in ends) else "Failed"
    for container, status in zip(pod.spec.init_containers, inits, strict=True):
        end = status.state.terminated if status.state else None
        if end is not None and end.exit_code != 0 and not restarts.get(container.name):
            return "Failed"
    begun = [s for s in apps if s.state and (s.state.running or _end(s) is not None)]
    if len(begun) < len(apps) or not _initialized(pod, inits, apps):
        return "Pending"
    if running or any(restarts.get(s.name) for s in apps):
        return "Running"
    return "Succeeded" if all(end is not None and end.exit_code == 0 for end in ends) else "Failed"


def _end(status: ContainerStatus) -> ContainerStateTerminated | None:
    for state in (status.state, status.last_state):
        if state is not None and state.terminated is not None:
            return state.terminated
    return None


def _incomplete(pod: Pod, inits: Sequence[ContainerStatus]) -> list[str]:
    names = []
    for container, status in zip(pod.spec.init_containers, inits, strict=True):
        end = status.state.terminated if status.state else None
        done = bool(status.started) if container.restart_policy == "Always" else end is not None and end.exit_code == 0
        if not done:
            names.append(container.name)
    return names


def _initialized(pod: Pod, inits: Sequence[ContainerStatus], apps: Sequence[ContainerStatus]) -> bool:
    return not _incomplete(pod, inits) or any((s.state and s.state.running) or _end(s) for s in apps)


def _conditions(
    pod: Pod,
    inits: Sequence[ContainerStatus],
    apps: Sequence[ContainerStatus],
    phase: str,
    *,
    has_sandbox: bool,
    now: datetime,
) -> tuple[PodCondition, ...]:
    sidecars = [s for c, s in zip(pod.spec.init_containers, inits, strict=True) if c.restart_policy == "Always"]
    unready = [s.name for s in (*sidecars, *apps) if not s.ready]
    if phase == "Succeeded":
        containers = ("False", "PodCompleted", "")
        initialized = ("True", "PodCompleted", "")
    elif phase == "Failed":
        containers = ("False", "PodFailed", "")
        initialized = ("True", "", "") if _initialized(pod, inits, apps) else ("False", "PodFailed", "")
    else:
        message = f"containers with unready status: [{' '.join(unready)}]"
        containers = ("False", "ContainersNotReady", message) if unready else ("True", "", "")
        incomplete = _incomplete(pod, inits)
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        done = _initialized(pod, inits, apps)
        initialized = ("True", "", "") if done else ("False", "ContainersNotInitialized", message)
    current = {condition.type: condition for condition in pod.status.conditions}
    ready = containers
    if containers[0] == "True":
        ready = _gates(pod, current)
    decided = {
        "PodReadyToStartContainers": ("True" if has_sandbox else "False", "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": ("True", "", ""),
    }
    conditions = []
    for kind, (status, reason, message) in decided.items():
        old = current.pop(kind, None)
        since = old.last_transition_time if old is not None and old.status == status else now
        conditions.append(
            PodCondition(
                type=kind,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=since,
                observed_generation=pod.metadata.generation,
            )
        )
    return (*conditions, *current.values())


def _gates(pod: Pod, current: Mapping[str, PodCondition]) -> tuple[str, str, str]:
    for gate in pod.spec.readiness_gates:
        kind = gate.condition_type
        if kind not in current:
            text = f'corresponding condition of pod readiness gate "{kind}" does not exist.'
            return ("False", "ReadinessGatesNotReady", text)
        if current[kind].status != "True":
            text = f'the status of pod readiness gate "{kind}" is not "True", but {current[kind].status}'
            return ("False", "ReadinessGatesNotReady", text)
    return ("True", "", "")
