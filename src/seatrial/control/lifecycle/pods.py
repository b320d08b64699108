"""What a pod needs next: `sync(pod, facts, now) -> PodDecision`, a pure function called after every change.

Order: the sandbox; init containers one after the other (a restartable one counts as done once it has started); app
containers together. A pod ends because it is deleted, outlives `activeDeadlineSeconds`, or all its app containers are
done: then app containers are stopped, after them the restartable init containers, last first. Only a deleted pod's
sandbox is removed, and with it gone the object; a finished pod keeps its containers so that their logs can be read.

The only memory between calls is the facts and the status that was reported last. Rejected: a separate record of
back-offs and thresholds, which would be lost when the process restarts and would enlarge the checker's states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.control.lifecycle import backoff, probes, statuses
from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodDecision,
    PodEvent,
    PodFacts,
    RemoveFromApi,
    RemoveSandbox,
    RunProbe,
    StartContainer,
    StopContainer,
)
from seatrial.control.lifecycle.transitions import Effect, Role, Situation, State, step
from seatrial.kube.objects import Container, ContainerStatus, Pod

DEFAULT_GRACE_S = 30
DONE = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class _Look:
    """The pod as `sync` sees it: who is who, and the latest attempts by name."""

    pod: Pod
    facts: PodFacts
    now: datetime
    latest: Mapping[str, ContainerFact]
    before: Mapping[str, ContainerFact]
    reported: Mapping[str, ContainerStatus]

    def running(self, container: Container) -> bool:
        fact = self.latest.get(container.name)
        return fact is not None and fact.phase is ContainerPhase.RUNNING

    def started(self, container: Container) -> bool:
        name = container.name
        return probes.started(container, self.latest.get(name), self.facts, self.reported.get(name))

    def init_done(self, container: Container) -> bool:
        if role(self.pod, container) is Role.SIDECAR:
            return self.started(container)
        fact = self.latest.get(container.name)
        if fact is None:  # the runtime may drop init containers that ended long ago
            state = getattr(self.reported.get(container.name), "state", None)
            return bool(state and state.terminated and state.terminated.exit_code == 0)
        return fact.phase is ContainerPhase.EXITED and fact.exit_code == 0

    def restarts(self, container: Container) -> bool:
        """The restart policies want an exited container run again (the pod's end aside)."""
        fact = self.latest.get(container.name)
        if fact is None or fact.phase is ContainerPhase.RUNNING:
            return False
        for rule in container.restart_policy_rules:
            codes = rule.exit_codes
            if codes and (fact.exit_code in codes.values) == (codes.operator == "In"):
                return rule.action == "Restart"
        policy = container.restart_policy or self.pod.spec.restart_policy or "Always"
        if policy == "Always" and role(self.pod, container) is Role.INIT:
            policy = "OnFailure"
        return policy == "Always" or (policy == "OnFailure" and fact.exit_code != 0)


def sync(pod: Pod, facts: PodFacts, now: datetime) -> PodDecision:
    """Decide for one pod that is bound to this node. Call again at `wake_at` and after every change of pod or facts."""
    look = _look(pod, facts, now)
    deleted = pod.metadata.deletion_timestamp is not None
    deadline = _deadline(pod)
    finished = pod.status.phase in DONE or _finished(look)
    expired = deadline is not None and now >= deadline and not finished
    ending = deleted or expired or finished
    actions: list[Action] = []
    events: list[PodEvent] = []
    wakes: list[datetime] = [] if deadline is None or ending else [deadline]
    if facts.sandbox is None and not ending:
        actions.append(CreateSandbox())
        if "" in facts.problems:
            problem = facts.problems[""]
            events.append(PodEvent("Warning", problem.reason, problem.message))
    waiting: dict[str, str] = {}
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        situation = _situation(look, container, ending=ending)
        row = step(situation)
        fact = situation.fact
        events += _news(look, container, situation)
        if fact is not None and fact.phase is ContainerPhase.RUNNING:
            is_started = look.started(container)
            for kind, at in probes.next_runs(container, fact, facts, is_started=is_started, now=now, ending=ending):
                if at <= now:
                    actions.append(RunProbe(container.name, fact.attempt, kind))
                else:
                    wakes.append(at)
            kill_at = _kill_at(pod, facts, container)
            if ending and kill_at is not None and now < kill_at:
                wakes.append(kill_at)
        if row is None:
            continue
        if row.reason == "CrashLoopBackOff" and situation.back_off_until is not None:
            waiting[container.name] = row.reason
            wakes.append(situation.back_off_until)
        if row.effect is Effect.START:
            actions.append(StartContainer(container.name, situation.next_attempt))
        elif row.effect is Effect.STOP and fact is not None:
            stop, event = _stop(look, container, situation, fact)
            actions.append(stop)
            events.append(event)
    if deleted and not any(look.running(c) for c in (*pod.spec.init_containers, *pod.spec.containers)):
        actions = [RemoveSandbox() if facts.sandbox is not None else RemoveFromApi()]
    status = statuses.report(
        pod,
        facts,
        now,
        back_offs={name: _back_off_text(pod, name) for name in waiting},
        deleted=deleted,
        expired=expired,
        restarts={c.name: look.restarts(c) for c in (*pod.spec.init_containers, *pod.spec.containers)},
    )
    return PodDecision(tuple(actions), status, tuple(events), min(wakes, default=None))


def role(pod: Pod, container: Container) -> Role:
    if container in pod.spec.containers:
        return Role.APP
    return Role.SIDECAR if container.restart_policy == "Always" else Role.INIT


def _look(pod: Pod, facts: PodFacts, now: datetime) -> _Look:
    ordered = sorted(facts.containers, key=lambda fact: fact.attempt)
    latest = {fact.name: fact for fact in ordered}
    before = {fact.name: fact for fact in ordered if fact is not latest[fact.name]}
    reported = {s.name: s for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    return _Look(pod, facts, now, latest, before, reported)


def _finished(look: _Look) -> bool:
    """Every app container has ended for good, or an init container has failed for good."""
    spec = look.pod.spec
    for container in spec.init_containers:
        fact = look.latest.get(container.name)
        exited = fact is not None and fact.phase is ContainerPhase.EXITED
        if exited and not look.init_done(container) and not look.restarts(container):
            return True
    ended = (c.name in look.latest and not look.running(c) and not look.restarts(c) for c in spec.containers)
    return bool(spec.containers) and all(ended)


def _situation(look: _Look, container: Container, *, ending: bool) -> Situation:
    pod, facts, now = look.pod, look.facts, look.now
    fact = look.latest.get(container.name)
    running = look.running(container)
    mine = role(pod, container)
    failed = probes.failed(container, fact, facts) if fact is not None and running else None
    exited = fact is not None and not running
    stop_asked = container.name in facts.stop_asked_at
    kill_at = _kill_at(pod, facts, container)
    return Situation(
        container=container,
        role=mine,
        fact=fact,
        now=now,
        turn=facts.sandbox is not None and _turn(look, container, mine),
        restarts=look.restarts(container),
        back_off_until=backoff.until(fact, look.before.get(container.name)) if fact and exited else None,
        ending=ending,
        stopping=ending and not any(look.running(other) for other in _stopped_earlier(pod, container, mine)),
        stop_asked=stop_asked,
        overdue=stop_asked and kill_at is not None and now >= kill_at,
        unhealthy=failed[0].value.lower() if failed else "",
        problem=facts.problems.get(container.name),
    )


def _turn(look: _Look, container: Container, mine: Role) -> bool:
    spec = look.pod.spec
    if mine is not Role.APP:
        if mine is Role.INIT and any(c.name in look.latest for c in spec.containers):
            return False
        earlier: Iterable[Container] = spec.init_containers[: spec.init_containers.index(container)]
        return all(look.init_done(c) for c in earlier) or any(c.name in look.latest for c in spec.containers)
    return container.name in look.latest or all(look.init_done(c) for c in spec.init_containers)


def _stopped_earlier(pod: Pod, container: Container, mine: Role) -> tuple[Container, ...]:
    """Whoever must have ended before this container is asked to stop: for a sidecar, all that started after it."""
    if mine is not Role.SIDECAR:
        return ()
    inits = pod.spec.init_containers
    return (*inits[inits.index(container) + 1 :], *pod.spec.containers)


def _deadline(pod: Pod) -> datetime | None:
    started_at, limit_s = pod.status.start_time, pod.spec.active_deadline_seconds
    return None if started_at is None or limit_s is None else started_at + timedelta(seconds=limit_s)


def _grace_s(pod: Pod, now: datetime) -> int:
    if pod.metadata.deletion_timestamp is not None:
        return max(0, math.ceil((pod.metadata.deletion_timestamp - now).total_seconds()))
    grace_s = pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE_S if grace_s is None else grace_s


def _kill_at(pod: Pod, facts: PodFacts, container: Container) -> datetime | None:
    """When to insist on a container that was asked to stop: the runtime has had the grace period and two seconds."""
    if pod.metadata.deletion_timestamp is not None:
        return pod.metadata.deletion_timestamp + timedelta(seconds=2)
    asked_at = facts.stop_asked_at.get(container.name)
    if asked_at is None:
        return None
    grace_s = pod.spec.termination_grace_period_seconds
    return asked_at + timedelta(seconds=(DEFAULT_GRACE_S if grace_s is None else grace_s) + 2)


def _stop(
    look: _Look, container: Container, situation: Situation, fact: ContainerFact
) -> tuple[StopContainer, PodEvent]:
    pod, name = look.pod, container.name
    if situation.stopping:
        grace_s = 0 if situation.overdue else _grace_s(pod, look.now)
        at = pod.metadata.deletion_timestamp or _deadline(pod)
        event = PodEvent("Normal", "Killing", f"Stopping container {name}", at)
        return StopContainer(name, fact.attempt, grace_s, "Killing"), event
    failed = probes.failed(container, fact, look.facts)
    assert failed is not None, "a container is stopped in a pod that stays only for a failed probe"
    kind, _ = failed
    probe = probes.of(container, kind)
    grace_s = (
        DEFAULT_GRACE_S
        if pod.spec.termination_grace_period_seconds is None
        else (pod.spec.termination_grace_period_seconds)
    )
    if probe is not None and probe.termination_grace_period_seconds is not None:
        grace_s = probe.termination_grace_period_seconds
    text = f"Container {name} failed {kind.value.lower()} probe, will be restarted"
    return StopContainer(name, fact.attempt, grace_s, "Unhealthy"), PodEvent("Normal", "Killing", text, fact.started_at)


def _news(look: _Look, container: Container, situation: Situation) -> list[PodEvent]:
    """What happened to this container that people should hear of and that the reported status does not tell yet."""
    events = []
    name, fact = container.name, situation.fact
    if situation.problem is not None and situation.state is not State.RUNNING:
        problem = situation.problem
        if problem.reason == "ErrImageNeverPull":
            events.append(PodEvent("Warning", "ErrImageNeverPull", problem.message))
            events.append(PodEvent("Warning", "Failed", "Error: ErrImageNeverPull"))
        else:
            events.append(PodEvent("Warning", "Failed", f"Error: {problem.message}"))
    if fact is None:
        return events
    if not _told(look.reported.get(name), fact):
        at = fact.started_at
        image = container.image
        text = f'Container image "{image}" already present on machine and can be accessed by the pod'
        events.append(PodEvent("Normal", "Pulled", text, at))
        events.append(PodEvent("Normal", "Created", "Container created", at))
        if fact.reason == "StartError":
            events.append(PodEvent("Warning", "Failed", f"Error: {fact.message}", at))
        else:
            events.append(PodEvent("Normal", "Started", "Container started", at))
    for seen in look.facts.probes:
        if (seen.container, seen.attempt) == (name, fact.attempt) and seen.failures:
            text = f"{seen.kind.value} probe failed: {seen.message}"
            events.append(PodEvent("Warning", "Unhealthy", text, seen.last_at))
    if situation.backing_off and situation.restarts and not situation.ending:
        events.append(PodEvent("Warning", "BackOff", _back_off_event(look.pod, name), fact.finished_at))
    return events


def _told(status: ContainerStatus | None, fact: ContainerFact) -> bool:
    """The reported status already shows this attempt."""
    if status is None or status.state is None or status.restart_count < fact.attempt:
        return False
    state, last = status.state, status.last_state
    shown = state.running or state.terminated or (last and last.terminated)
    return status.restart_count > fact.attempt or bool(shown)


def _back_off_event(pod: Pod, name: str) -> str:
    meta = pod.metadata
    return f"Back-off restarting failed container {name} in pod {meta.name}_{meta.namespace}({meta.uid})"


def _back_off_text(pod: Pod, name: str) -> str:
    meta = pod.metadata
    return f"restarting failed container={name} pod={meta.name}_{meta.namespace}({meta.uid})"
