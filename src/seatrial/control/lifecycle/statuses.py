"""The status that a node reports for a pod: container states, conditions and phase, from facts and the last report.

Semantics: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase and #pod-conditions. Rules: what
is not a node's to say (readiness gates' conditions, unknown conditions) is kept; `lastTransitionTime` moves only when a
condition's status does; a container whose facts are gone keeps the end that was reported; a phase becomes final only
when no container runs any more, and then stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from seatrial.control import qos
from seatrial.control.lifecycle import backoff, probes
from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, PodFacts
from seatrial.control.lifecycle.origins import is_static
from seatrial.control.lifecycle.resize import SINCE_MINOR as RESIZE_SINCE
from seatrial.control.lifecycle.resize import Allocation
from seatrial.kube.objects import Container, ContainerStatus, Pod, PodStatus
from seatrial.kube.objects.pods import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    HostIP,
    PodCondition,
    PodIP,
    VolumeMountStatus,
)

DONE = ("Succeeded", "Failed")
GENERATIONS_SINCE = 34
VOLUME_MOUNTS_SINCE = 31
SANDBOX_CONDITION_SINCE, SANDBOX_REASON_SINCE = 29, 37
RESTART_ALL_SINCE = 36
OWN = (
    "PodResizePending",
    "PodResizeInProgress",
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "AllContainersRestarting",
)
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
RESTARTING_ALL = "RestartingAllContainers"
_NOTHING = ContainerState()  # a last state is written even if there was none
FORGOTTEN = (
    "Unable to get init container status from container runtime and pod has been initialized, "
    "treat it as exited normally"
)
REMOVED = "The container is removed because RestartAllContainers in place"


def report(
    pod: Pod,
    allocation: Allocation,
    facts: PodFacts,
    now: datetime,
    *,
    minor: int,
    back_offs: Mapping[str, str],
    ending: bool,
    expired: bool,
    restarting_all: bool,
    restarts: Mapping[str, bool],
    begun: frozenset[str],
) -> PodStatus:
    """The whole status. `back_offs`: the message of each container that waits to be restarted."""
    whole_seconds = now.replace(microsecond=0)
    running = any(fact.phase is ContainerPhase.RUNNING for fact in facts.containers)
    terminal = ending and not running
    reporter = _Containers(allocation.pod, facts, now, back_offs, restarts, ending=ending, minor=minor)
    inits = [reporter.status(c) for c in pod.spec.init_containers]
    apps = [reporter.status(c) for c in pod.spec.containers]
    # A static pod that ends is not over: its node may begin it again.
    phase = _phase(pod, inits, apps, restarts=restarts, begun=begun, terminal=terminal and not is_static(pod))
    reason, message = pod.status.reason, pod.status.message
    if phase not in DONE and pod.status.phase in DONE:
        phase = pod.status.phase
    if expired:
        phase, reason, message = "Failed", "DeadlineExceeded", DEADLINE_MESSAGE
    elif facts.eviction is not None and pod.status.phase not in DONE:
        phase, reason, message = "Failed", facts.eviction.reason, facts.eviction.message
    if pod.status.phase in DONE:
        phase, reason, message = pod.status.phase, pod.status.reason, pod.status.message
    elif terminal and phase not in DONE and not is_static(pod):
        phase = "Failed"
    if terminal:
        inits, apps = _lost(pod, inits, apps)
    context = _Context(pod, allocation, facts, inits, apps, phase, whole_seconds, minor, terminal, restarting_all)
    conditions = context.conditions()
    if phase in DONE and pod.status.phase not in DONE and running:
        phase, reason, message = pod.status.phase or "Pending", pod.status.reason, pod.status.message
    sandbox = facts.sandbox
    ip = sandbox.ip if sandbox else (pod.status.pod_ip if ending else "")
    host_ip = sandbox.host_ip if sandbox else pod.status.host_ip
    return msgspec.structs.replace(
        pod.status,
        phase=phase,
        reason=reason,
        message=message,
        conditions=conditions,
        init_container_statuses=tuple(inits),
        container_statuses=_by_name(apps),
        ephemeral_container_statuses=_by_name(
            reporter.status(each.as_container(), ephemeral=True) for each in pod.spec.ephemeral_containers
        ),
        host_ip=host_ip,
        host_ips=(HostIP(ip=host_ip),) if host_ip else (),
        pod_ip=ip,
        pod_ips=(PodIP(ip=ip),) if ip else (),
        start_time=pod.status.start_time or whole_seconds,
        observed_generation=pod.metadata.generation if minor >= GENERATIONS_SINCE else 0,
        qos_class=qos.of(pod),
    )


def _by_name(statuses: Iterable[ContainerStatus]) -> tuple[ContainerStatus, ...]:
    """As upstream reports them; only init containers stay in their order."""
    return tuple(sorted(statuses, key=lambda each: each.name))


class _Containers:
    """Turns facts into container statuses."""

    def __init__(
        self,
        pod: Pod,
        facts: PodFacts,
        now: datetime,
        back_offs: Mapping[str, str],
        restarts: Mapping[str, bool],
        *,
        ending: bool,
        minor: int,
    ) -> None:
        status = pod.status
        shown = (*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses)
        granted = (*pod.spec.init_containers, *pod.spec.containers)
        self._pod = pod
        self._facts = facts
        self._now = now
        self._back_offs = back_offs
        self._restarts = restarts
        self._ending = ending
        self._minor = minor
        self._reported = {each.name: each for each in shown}
        self._resources = {each.name: each.resources for each in granted}
        self._ordinary_inits = tuple(c for c in pod.spec.init_containers if c.restart_policy != "Always")
        apps = {container.name for container in pod.spec.containers}
        self._any_app_made = any(fact.name in apps for fact in facts.containers)
        self._starting_over = any(
            c.type == "AllContainersRestarting" and c.status == "True" for c in pod.status.conditions
        )

    def status(self, container: Container, *, ephemeral: bool = False) -> ContainerStatus:
        attempts = sorted((f for f in self._facts.containers if f.name == container.name), key=lambda f: f.attempt)
        reported = self._reported.get(container.name)
        if not attempts:
            return self._without_facts(container, reported, ephemeral=ephemeral)
        fact = attempts[-1]
        running = fact.phase is ContainerPhase.RUNNING
        state = _running(fact) if running else _terminated(fact)
        last = self._last_state(attempts, reported)
        problem = self._facts.problems.get(container.name)
        succeeded_init = container in self._pod.spec.init_containers and not running and fact.exit_code == 0
        if succeeded_init:
            pass  # upstream shows its end, even of one that is to be restarted
        elif not running and container.name in self._back_offs:
            last, state = state, _waiting("CrashLoopBackOff", self._back_offs[container.name])
        elif not running and not self._ending and problem is not None and self._restarts.get(container.name):
            last, state = state, self._problem(container)
        completed_init = container in self._ordinary_inits and state.terminated is not None and fact.exit_code == 0
        is_started = probes.started(container, fact, self._facts, reported)
        given = self._resources.get(container.name)
        if self._minor < RESIZE_SINCE or given is None:
            resources: dict[str, object] = {}
        else:
            actual = fact.resources if running and fact.resources is not None else given
            resources = {"resources": actual, "allocated_resources": given.requests}
        return msgspec.structs.replace(
            ContainerStatus(name=container.name),
            image=fact.image or container.image,
            image_id=fact.image_id,
            container_id=fact.id,
            restart_count=max(fact.attempt, reported.restart_count if reported is not None else 0),
            started=None if ephemeral else is_started,
            ready=not ephemeral
            and (
                completed_init
                or (
                    running
                    and container not in self._ordinary_inits
                    and probes.ready(container, fact, self._facts, reported)
                )
            ),
            state=state,
            last_state=last or _NOTHING,
            volume_mounts=self._volume_mounts(container),
            **resources,
        )

    def _last_state(self, attempts: Sequence[ContainerFact], reported: ContainerStatus | None) -> ContainerState | None:
        fact = attempts[-1]
        before = [each for each in attempts[:-1] if each.phase is ContainerPhase.EXITED]
        if before:
            return _terminated(before[-1])
        if reported is None or not fact.attempt:
            return None
        if reported.restart_count < fact.attempt and reported.state is not None and reported.state.terminated:
            return reported.state
        return reported.last_state

    def _without_facts(
        self, container: Container, reported: ContainerStatus | None, *, ephemeral: bool
    ) -> ContainerStatus:
        if self._facts.problems.get(container.name) is not None:
            state = self._problem(container)
        else:
            initializing = bool(self._pod.spec.init_containers) and not ephemeral
            state = _waiting("PodInitializing" if initializing else "ContainerCreating", "")
        restarts, last = (reported.restart_count, reported.last_state) if reported is not None else (0, None)
        was = reported.state if reported is not None else None
        if was is not None and was.waiting is None and self._starting_over:
            removed = ContainerStateTerminated(exit_code=137, reason=RESTARTING_ALL, message=REMOVED)
            state, last = _waiting(RESTARTING_ALL, REMOVED), ContainerState(terminated=removed)
            restarts += 1
        elif reported is not None and was is not None and was.terminated is not None:
            if state.waiting is None or container.name not in self._facts.problems:
                completed = container in self._ordinary_inits and was.terminated.exit_code == 0
                return msgspec.structs.replace(reported, started=None if ephemeral else False, ready=completed)
            last = was
        elif was is not None and was.running is not None:
            last = ContainerState(terminated=UNKNOWN_END)
            restarts += self._pod.metadata.deletion_timestamp is None
        elif was is not None and was.waiting is not None and was.waiting.reason == RESTARTING_ALL:
            state = was
        if container in self._ordinary_inits and self._any_app_made and not self._starting_over:
            state = ContainerState(terminated=ContainerStateTerminated(reason="Completed", message=FORGOTTEN))
        return ContainerStatus(
            name=container.name,
            image=container.image,
            started=None if ephemeral else False,
            ready=state.terminated is not None,
            restart_count=restarts,
            state=state,
            last_state=last or _NOTHING,
            volume_mounts=self._volume_mounts(container),
        )

    def _problem(self, container: Container) -> ContainerState:
        problem = self._facts.problems[container.name]
        shown_until = backoff.shown_until(problem)
        if shown_until is not None and self._now >= shown_until:
            text = f'Back-off pulling image "{container.image}": {problem.reason}: {problem.message}'
            return _waiting("ImagePullBackOff", text)
        return _waiting(problem.reason, problem.message)

    def _volume_mounts(self, container: Container) -> tuple[VolumeMountStatus, ...]:
        if self._minor < VOLUME_MOUNTS_SINCE:
            return ()
        return tuple(
            VolumeMountStatus(
                name=each.name,
                mount_path=each.mount_path,
                read_only=each.read_only,
                recursive_read_only="Disabled" if each.read_only else "",
            )
            for each in container.volume_mounts
        )


def _waiting(reason: str, message: str) -> ContainerState:
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


def _unknown(message: str) -> ContainerStateTerminated:
    return ContainerStateTerminated(exit_code=137, reason="ContainerStatusUnknown", message=message)


UNKNOWN_END = _unknown("The container could not be located when the pod was deleted.  The container used to be Running")


def _second(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(microsecond=0)


def _lost(
    pod: Pod, inits: Sequence[ContainerStatus], apps: Sequence[ContainerStatus]
) -> tuple[list[ContainerStatus], list[ContainerStatus]]:
    """When a pod is over, what never ended or never began is of unknown state; app containers only once initialized."""
    ended = ContainerState(terminated=_unknown("The container could not be located when the pod was terminated"))

    def over(status: ContainerStatus) -> ContainerStatus:
        known = status.state is not None and status.state.terminated is not None
        return status if known else msgspec.structs.replace(status, state=ended, started=False, ready=False)

    tried = max((number for number, s in enumerate(inits, 1) if s.state and not s.state.waiting), default=1)
    initialized = not inits or not _incomplete(pod, inits) or any(s.state and not s.state.waiting for s in apps)
    initialized = initialized or any(s.last_state is not None and s.last_state.terminated is not None for s in apps)
    return (
        [over(s) if number <= tried else s for number, s in enumerate(inits, 1)],
        [over(s) if initialized else s for s in apps],
    )


def end(status: ContainerStatus) -> ContainerStateTerminated | None:
    """How it ended, or ended last if it waits to be restarted."""
    state, last = status.state, status.last_state
    if state is not None and state.terminated is not None:
        return state.terminated
    if state is not None and state.waiting is not None and last is not None:
        return last.terminated
    return None


def _phase(
    pod: Pod,
    inits: Sequence[ContainerStatus],
    apps: Sequence[ContainerStatus],
    *,
    restarts: Mapping[str, bool],
    begun: frozenset[str],
    terminal: bool,
) -> str:
    def runs(status: ContainerStatus) -> bool:
        return status.state is not None and status.state.running is not None

    def again(status: ContainerStatus, ended: ContainerStateTerminated) -> bool:
        return restarts.get(status.name, False) or ended.reason == RESTARTING_ALL

    running = [s for s in apps if runs(s)]
    pending = waiting = False
    initialized = any(c.name in begun for c in pod.spec.containers)
    for container, status in zip(pod.spec.init_containers, inits, strict=True):
        ended = end(status)
        if container.restart_policy == "Always":
            if runs(status):
                running.append(status)
                pending = pending or (not status.started and not initialized)
            elif ended is None:
                waiting = True
        elif ended is None:
            pending = True
        elif ended.exit_code != 0 and not again(status, ended):
            return "Failed"
    ends = [end(s) for s in apps if not runs(s)]
    waiting = waiting or None in ends
    if pending or waiting:
        return "Pending"
    if running:
        return "Running"
    if not ends:
        return "Pending"
    if not terminal and any((ended := end(s)) is not None and again(s, ended) for s in apps):
        return "Running"
    shown = (s.state.terminated if s.state is not None else None for s in apps)  # a waiting one has not succeeded
    return "Succeeded" if all(each is not None and each.exit_code == 0 for each in shown) else "Failed"


def _incomplete(pod: Pod, inits: Sequence[ContainerStatus]) -> list[str]:
    return [
        status.name
        for container, status in zip(pod.spec.init_containers, inits, strict=True)
        if not (status.started if container.restart_policy == "Always" else status.ready)
    ]


class _Context:
    """What the conditions are made of."""

    def __init__(
        self,
        pod: Pod,
        allocation: Allocation,
        facts: PodFacts,
        inits: Sequence[ContainerStatus],
        apps: Sequence[ContainerStatus],
        phase: str,
        now: datetime,
        minor: int,
        terminal: bool,
        restarting_all: bool,
    ) -> None:
        self._pod = pod
        self._allocation = allocation
        self._facts = facts
        self._inits = inits
        self._apps = apps
        self._phase = phase
        self._now = now
        self._minor = minor
        self._terminal = terminal
        self._restarting_all = restarting_all
        self._old = {condition.type: condition for condition in pod.status.conditions}

    def conditions(self) -> tuple[PodCondition, ...]:
        containers = self._containers_ready()
        others = {kind: each for kind, each in self._old.items() if kind not in OWN}
        eviction = self._facts.eviction
        if eviction is not None and eviction.disruption and self._terminal and self._pod.status.phase not in DONE:
            text = eviction.disruption_message or eviction.message
            others["DisruptionTarget"] = self._made("DisruptionTarget", "True", "TerminationByKubelet", text)
        conditions = [*others.values(), *self._resizes()]
        if self._minor >= SANDBOX_CONDITION_SINCE:
            conditions.append(self._sandbox())
        conditions.append(self._made("Initialized", *self._initialized()))
        conditions.append(self._made("Ready", *(self._gates() if containers[0] == "True" else containers)))
        conditions.append(self._made("ContainersReady", *containers))
        conditions.append(self._made("PodScheduled", "True"))
        if self._minor >= RESTART_ALL_SINCE and _could_restart_all(self._pod):
            conditions.append(self._restarting())
        return tuple(conditions)

    def _made(self, kind: str, status: str, reason: str = "", message: str = "") -> PodCondition:
        old = self._old.get(kind)
        return PodCondition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=old.last_transition_time if old is not None and old.status == status else self._now,
            observed_generation=self._pod.metadata.generation if self._minor >= GENERATIONS_SINCE else 0,
        )

    def _sandbox(self) -> PodCondition:
        if self._facts.sandbox is not None:
            return self._made("PodReadyToStartContainers", "True")
        if self._minor < SANDBOX_REASON_SINCE:
            return self._made("PodReadyToStartContainers", "False")
        never = not self._facts.containers and not self._pod.status.pod_ip
        why = "no pod sandbox exists" if never else "pod sandbox is not ready"
        return self._made("PodReadyToStartContainers", "False", "PodSandboxNotReady", why)

    def _initialized(self) -> tuple[str, str, str]:
        if self._phase == "Succeeded":
            return "True", "PodCompleted", ""
        begun = any(s.state and (s.state.running or s.state.terminated) for s in self._apps)
        incomplete = _incomplete(self._pod, self._inits)
        before = self._old.get("Initialized")
        stays = self._minor >= RESTART_ALL_SINCE and before is not None and before.status == "True"
        if begun or not incomplete or stays:
            return "True", "", ""
        return "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"

    def _containers_ready(self) -> tuple[str, str, str]:
        if self._phase == "Succeeded":
            return "False", "PodCompleted", ""
        if self._phase == "Failed":
            return "False", "PodFailed", ""
        sidecars = [
            s for c, s in zip(self._pod.spec.init_containers, self._inits, strict=True) if c.restart_policy == "Always"
        ]
        unready = [s.name for s in (*sidecars, *self._apps) if not s.ready]
        if unready:
            return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
        return "True", "", ""

    def _gates(self) -> tuple[str, str, str]:
        missing = []
        for gate in self._pod.spec.readiness_gates:
            kind = gate.condition_type
            found = self._old.get(kind)
            if found is None:
                missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
            elif found.status != "True":
                missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.status}')
        return ("False", "ReadinessGatesNotReady", ", ".join(missing)) if missing else ("True", "", "")

    def _resizes(self) -> list[PodCondition]:
        if self._terminal:
            return []
        found = []
        pending, running = self._old.get("PodResizePending"), self._old.get("PodResizeInProgress")
        if self._allocation.pending_reason:
            reason = self._allocation.pending_reason
            made = self._made("PodResizePending", "True", reason, self._allocation.pending_message)
            if pending is not None and pending.reason != reason:
                made = msgspec.structs.replace(made, last_transition_time=self._now)
            found.append(made)
        if self._allocation.in_progress:
            made = self._made("PodResizeInProgress", "True")
            if running is not None:
                made = msgspec.structs.replace(made, observed_generation=running.observed_generation)
            found.append(made)
        return found

    def _restarting(self) -> PodCondition:
        if self._phase in DONE:
            reason = "PodCompleted" if self._phase == "Succeeded" else "PodFailed"
            made = self._made("AllContainersRestarting", "False", reason)
        elif self._restarting_all:
            why = "container exited with restart policy rule"
            made = self._made("AllContainersRestarting", "True", "RestartAllContainersStarted", why)
        else:
            made = self._made("AllContainersRestarting", "False")
        return msgspec.structs.replace(made, observed_generation=0)


def _could_restart_all(pod: Pod) -> bool:
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    return any(rule.action == "RestartAllContainers" for c in containers for rule in c.restart_policy_rules)
