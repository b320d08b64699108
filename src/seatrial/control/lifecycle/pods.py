"""What a pod needs next: `sync(pod, facts, now) -> PodDecision`, a pure function called after every change.

Order: the sandbox; init containers one after the other (a restartable one counts as done once it has started); app
containers together. A pod ends because it is deleted, evicted by its node, outlives `activeDeadlineSeconds`, or all its
app containers are done: then all containers are stopped but the restartable init containers, after them these, last
first, each for as long as the grace period lasts. A finished pod keeps its dead containers so that their logs can be
read; a deleted pod's are removed, and with them gone the object.

The only memory between calls is the facts and the status that was reported last. Rejected: a separate record of
back-offs and thresholds, which would be lost when the process restarts and would enlarge the checker's states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.lifecycle import backoff, news, probes, resize, statuses
from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodDecision,
    PodEvent,
    PodFacts,
    RemoveContainers,
    RemoveFromApi,
    RemoveSandbox,
    ResizeContainer,
    RunPreStop,
    RunProbe,
    StartContainer,
    StopContainer,
    StopReason,
    StopSandbox,
)
from seatrial.control.lifecycle.transitions import Effect, Resize, Role, Situation, step
from seatrial.kube.objects import Container, ContainerStatus, Pod
from seatrial.kube.times import after

DEFAULT_GRACE_S = 30
LEAST_GRACE_S = 2
"""Upstream's least time between the stop signal and SIGKILL."""
INSISTENCE = timedelta(seconds=2)
"""How long after the end of the grace period a container that is still there is killed once more."""
DONE = ("Succeeded", "Failed")
RESTART_RULES_SINCE, RESTART_ALL_SINCE = 35, 36


@dataclass(frozen=True, slots=True)
class Look:
    """The pod as `sync` sees it: who is who, and the latest attempts by name."""

    pod: Pod
    facts: PodFacts
    now: datetime
    minor: int
    containers: tuple[tuple[Container, Role], ...]
    latest: Mapping[str, ContainerFact]
    before: Mapping[str, ContainerFact]
    reported: Mapping[str, ContainerStatus]

    def running(self, container: Container) -> bool:
        fact = self.latest.get(container.name)
        return fact is not None and fact.phase is ContainerPhase.RUNNING

    @property
    def any_running(self) -> bool:
        return any(fact.phase is ContainerPhase.RUNNING for fact in self.latest.values())

    def begun(self, container: Container) -> ContainerFact | None:
        """The latest attempt in this sandbox; those before a sandbox was lost do not count."""
        fact, sandbox = self.latest.get(container.name), self.facts.sandbox
        if fact is None or sandbox is None or None in (fact.started_at, sandbox.created_at):
            return fact
        assert fact.started_at is not None
        assert sandbox.created_at is not None
        return fact if fact.started_at >= sandbox.created_at else None

    def started(self, container: Container) -> bool:
        name = container.name
        return probes.started(container, self.latest.get(name), self.facts, self.reported.get(name))

    def init_done(self, container: Container, role: Role) -> bool:
        fact = self.begun(container)
        if role is Role.SIDECAR:
            return self.started(container) and fact is not None and not fact.hook_running
        return fact is not None and fact.phase is ContainerPhase.EXITED and succeeded(fact)

    def restarts(self, container: Container, role: Role) -> bool:
        """The restart rules and policies want an exited container run again (the pod's end aside)."""
        fact = self.latest.get(container.name) or self._forgotten(container)
        if fact is None or fact.phase is ContainerPhase.RUNNING or role is Role.EPHEMERAL:
            return False
        if role is Role.SIDECAR:
            return True
        if role is Role.INIT and succeeded(fact):
            return False
        if self.wants_all_restarted(container):
            return True
        policy = self.pod.spec.restart_policy or "Always"
        if self.minor >= RESTART_RULES_SINCE and container.restart_policy:
            policy = container.restart_policy
            if _matching_rule(container, fact) == "Restart":
                return True
        if fact.stopped_for is StopReason.RESIZE:
            return True
        if fact.stopped_for is StopReason.UNHEALTHY:
            return policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and fact.exit_code != 0)

    def _forgotten(self, container: Container) -> ContainerFact | None:
        """The end of a container that the runtime knows no more: as reported, or unknown if it was running."""
        reported = self.reported.get(container.name)
        end = statuses.end(reported) if reported is not None else None
        if reported is not None and reported.state is not None and reported.state.running is not None:
            end = statuses.UNKNOWN_END
        if reported is None or end is None:
            return None
        name, attempt = container.name, reported.restart_count
        return ContainerFact(name, attempt, ContainerPhase.EXITED, exit_code=end.exit_code, reason=end.reason)

    def wants_all_restarted(self, container: Container) -> bool:
        fact = self.latest.get(container.name)
        if fact is None or fact.phase is ContainerPhase.RUNNING or self.minor < RESTART_ALL_SINCE:
            return False
        return _matching_rule(container, fact) == "RestartAllContainers"

    def next_attempt(self, container: Container) -> int:
        fact, reported = self.latest.get(container.name), self.reported.get(container.name)
        if fact is not None:
            return fact.attempt + 1
        if reported is None:
            return 0
        return reported.restart_count + (reported.state is not None and reported.state.waiting is None)


def sync(pod: Pod, facts: PodFacts, now: datetime, *, minor: int = NEWEST_MINOR) -> PodDecision:
    """Decide for one pod that is bound to this node. Call again at `wake_at` and after every change of pod or facts."""
    if pod.status.phase in DONE and facts == PodFacts():  # over, or never taken: nothing of it is here
        gone = (RemoveFromApi(),) if pod.metadata.deletion_timestamp is not None else ()
        return PodDecision(gone, pod.status, pod)
    allocation = resize.allocate(pod, facts, minor=minor)
    look = _look(allocation.pod, facts, now, minor)
    deleted = pod.metadata.deletion_timestamp is not None
    deadline = _deadline(pod)
    expired = deadline is not None and now >= deadline and pod.status.phase not in DONE
    finished = pod.status.phase in DONE or _finished(look)
    ending = deleted or expired or finished or facts.eviction is not None
    end_at = _end_at(look, expired=expired, finished=finished) if ending else None
    restarting_all = not ending and any(look.wants_all_restarted(c) for c, _ in look.containers)
    actions: list[Action] = []
    events: list[PodEvent] = []
    wakes: list[datetime] = [] if deadline is None or ending else [deadline]
    if facts.sandbox is None and not ending and not restarting_all:
        actions.append(CreateSandbox())
        events += news.of_sandbox(facts)
    waiting: dict[str, str] = {}
    for container, role in look.containers:
        situation = _situation(look, container, role, ending=ending, end_at=end_at, restarting_all=restarting_all)
        fact = situation.fact
        events += news.of_container(look.facts, look.reported.get(container.name), pod, situation, minor)
        wakes += _probe(look, situation, actions)
        stop = facts.stops.get(container.name)
        if stop is not None and stop.kill_at is not None:
            wakes.append(stop.kill_at + INSISTENCE)
        row = step(situation)
        if row is None:
            continue
        if row.reason == "CrashLoopBackOff" and situation.back_off_until is not None and fact is not None:
            waiting[container.name] = f"back-off {backoff.text(fact.back_off_s)} {news.restarting(pod, container)}"
            wakes.append(situation.back_off_until)
        if situation.image_backing_off and row.reason.startswith("ErrImagePull") and situation.retry_at is not None:
            wakes.append(situation.retry_at)
            shown_until = backoff.shown_until(situation.problem)
            wakes += [shown_until] if shown_until is not None and now < shown_until else []
        if ending and situation.state.name == "RUNNING" and not situation.told_to_stop and end_at is not None:
            wakes += [end_at] if row.effect is not Effect.STOP else []
        match row.effect:
            case Effect.START:
                before = look.before.get(container.name)
                actions.append(StartContainer(container.name, situation.next_attempt, backoff.following(fact, before)))
            case Effect.RESIZE if fact is not None:
                actions.append(ResizeContainer(container.name, fact.attempt))
            case Effect.PRE_STOP if fact is not None:
                actions.append(RunPreStop(container.name, fact.attempt, _grace_s(look, end_at)))
            case Effect.STOP if fact is not None and row.stop_reason is not None:
                actions.append(_stop(look, situation, fact, row.stop_reason, end_at))
                events += news.of_stop(look.pod, situation, row.stop_reason, fact, minor)
    if not look.any_running:
        if deleted:
            actions = [RemoveSandbox() if facts.sandbox is not None else RemoveFromApi()]
        elif ending and facts.sandbox is not None:
            actions = [StopSandbox()]
        elif restarting_all and facts.containers:
            actions = [RemoveContainers()]
    status = statuses.report(
        pod,
        allocation,
        facts,
        now,
        minor=minor,
        back_offs=waiting,
        ending=ending,
        expired=expired,
        restarting_all=restarting_all,
        restarts={c.name: look.restarts(c, r) for c, r in look.containers},
        begun=frozenset(c.name for c, _ in look.containers if look.begun(c)),
    )
    events += news.of_pod(pod, status, allocation, minor)
    return PodDecision(tuple(actions), status, allocation.pod, tuple(events), min(wakes, default=None))


def succeeded(fact: ContainerFact) -> bool:
    """An init container's end lets the next one begin."""
    return fact.exit_code == 0 and fact.reason != "OOMKilled"


def all_containers(pod: Pod) -> tuple[tuple[Container, Role], ...]:
    return (
        *((c, Role.SIDECAR if c.restart_policy == "Always" else Role.INIT) for c in pod.spec.init_containers),
        *((c, Role.APP) for c in pod.spec.containers),
        *((c.as_container(), Role.EPHEMERAL) for c in pod.spec.ephemeral_containers),
    )


def _look(pod: Pod, facts: PodFacts, now: datetime, minor: int) -> Look:
    ordered = sorted(facts.containers, key=lambda fact: fact.attempt)
    latest = {fact.name: fact for fact in ordered}
    before = {fact.name: fact for fact in ordered if fact is not latest[fact.name]}
    status = pod.status
    shown = (*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses)
    reported = {each.name: each for each in shown}
    return Look(pod, facts, now, minor, all_containers(pod), latest, before, reported)


def _matching_rule(container: Container, fact: ContainerFact) -> str:
    """The action of the first restart rule that the exit code meets."""
    for rule in container.restart_policy_rules if container.restart_policy else ():
        codes = rule.exit_codes
        if codes and (fact.exit_code in codes.values) == (codes.operator == "In"):
            return rule.action
    return ""


def _finished(look: Look) -> bool:
    """Every app container has ended for good, or an init container has failed for good."""
    for container, role in look.containers:
        fact = look.begun(container)
        exited = fact is not None and fact.phase is ContainerPhase.EXITED
        failed = role is Role.INIT and exited and not look.init_done(container, role)
        if failed and not look.restarts(container, role):
            return True
    apps = [c for c, role in look.containers if role is Role.APP]
    ended = (c.name in look.latest and not look.running(c) and not look.restarts(c, Role.APP) for c in apps)
    return bool(apps) and all(ended)


def _situation(
    look: Look, container: Container, role: Role, *, ending: bool, end_at: datetime | None, restarting_all: bool
) -> Situation:
    name, facts, now = container.name, look.facts, look.now
    fact, problem = look.latest.get(name), look.facts.problems.get(name)
    running = look.running(container)
    failed = probes.failed(container, fact, facts) if fact is not None and running else None
    exited = fact is not None and not running
    stop = facts.stops.get(name) if running else None
    told = stop is not None and stop.kill_at is not None
    hook = container.lifecycle.pre_stop if container.lifecycle else None
    return Situation(
        container=container,
        role=role,
        fact=fact,
        now=now,
        next_attempt=look.next_attempt(container),
        turn=facts.sandbox is not None and _turn(look, container, role),
        restarts=look.restarts(container, role) or (exited and look.begun(container) is None and role is Role.INIT),
        back_off_until=backoff.until(fact, look.before.get(name)) if fact and exited else None,
        retry_at=backoff.pull(problem) if problem is not None else None,
        ending=ending,
        stopping=ending and (_turn_to_stop(look, container, role) or (end_at is not None and now >= end_at)),
        told_to_stop=told,
        hook_due=hook is not None and stop is None,
        sooner=told and _sooner(look, name, end_at),
        unhealthy=failed.value.lower() if failed else "",
        resize=resize.needed(container, fact) if fact is not None and running else Resize.NONE,
        restarting_all=restarting_all,
        problem=problem,
    )


def _turn(look: Look, container: Container, role: Role) -> bool:
    """Whatever must come before `container` has, in this sandbox."""
    if role is Role.EPHEMERAL:
        return True
    apps = [c for c, r in look.containers if r is Role.APP]
    inits = [(c, r) for c, r in look.containers if r in (Role.INIT, Role.SIDECAR)]
    apps_begun = any(look.begun(c) for c in apps)
    if role is Role.APP:
        earlier = apps[: apps.index(container)]
        if any((fact := look.latest.get(c.name)) is not None and fact.hook_running for c in earlier):
            return False
        return apps_begun or not inits or look.init_done(*inits[-1])
    place = next(number for number, (c, _) in enumerate(inits) if c is container)
    if apps_begun or any(look.begun(c) for c, _ in inits[place + 1 :]):
        return role is Role.SIDECAR
    return look.begun(container) is not None or place == 0 or look.init_done(*inits[place - 1])


def _turn_to_stop(look: Look, container: Container, role: Role) -> bool:
    """Whoever must have ended before has: for a sidecar, the apps and the sidecars that started after it."""
    if role is not Role.SIDECAR:
        return True
    names = [c.name for c, _ in look.containers]
    later = (
        c
        for c, r in look.containers
        if r is Role.APP or (r is Role.SIDECAR and names.index(c.name) > names.index(container.name))
    )
    return not any(look.running(c) for c in later)


def _deadline(pod: Pod) -> datetime | None:
    started_at, limit_s = pod.status.start_time, pod.spec.active_deadline_seconds
    return None if started_at is None or limit_s is None else after(started_at, limit_s)


def grace_s(pod: Pod) -> int:
    asked_s = pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE_S if asked_s is None else asked_s


def _end_at(look: Look, *, expired: bool, finished: bool) -> datetime | None:
    """When the time is over that the containers of an ending pod are given; None: it begins now."""
    pod, eviction = look.pod, look.facts.eviction
    ends: list[datetime] = []
    if pod.metadata.deletion_timestamp is not None:
        ends.append(_deleted_at(pod, pod.metadata.deletion_timestamp, look))
    if eviction is not None:
        ends.append(after(eviction.at, eviction.grace_s))
    deadline = _deadline(pod)
    if expired and deadline is not None:
        ends.append(after(deadline, grace_s(pod)))
    if finished:
        finishes = [f.finished_at for f in look.latest.values() if f.finished_at is not None]
        ends += [after(max(finishes), grace_s(pod))] if finishes and not ends else []
    told = [stop.kill_at for stop in look.facts.stops.values() if stop.kill_at is not None]
    return min(ends, default=max(told, default=None))


def _deleted_at(pod: Pod, api_says: datetime, look: Look) -> datetime:
    """When a deleted pod's containers have to have ended.

    If the deletion was given less time while containers were already stopping, then that much time from now, as the
    kubelet has it; the API counts from when the deletion began.
    """
    kills = [stop.kill_at for stop in look.facts.stops.values() if stop.kill_at is not None]
    told = max(kills, default=api_says)
    if told <= api_says + timedelta(seconds=1):
        return api_says
    return min(told, after(look.now, max(LEAST_GRACE_S, pod.metadata.deletion_grace_period_seconds or 0)))


def _sooner(look: Look, name: str, end_at: datetime | None) -> bool:
    stop = look.facts.stops[name]
    assert stop.kill_at is not None, "told to stop"
    if look.now >= stop.kill_at + INSISTENCE:
        return True
    if end_at is None:
        return False
    return look.now + timedelta(seconds=_grace_s(look, end_at)) < stop.kill_at - timedelta(seconds=1)


def _grace_s(look: Look, end_at: datetime | None) -> int:
    if end_at is None:
        return max(LEAST_GRACE_S, grace_s(look.pod))
    return max(LEAST_GRACE_S, math.ceil((end_at - look.now).total_seconds()))


def _stop(
    look: Look, situation: Situation, fact: ContainerFact, reason: StopReason, end_at: datetime | None
) -> StopContainer:
    name = situation.container.name
    if reason is StopReason.POD_ENDS:
        stop = look.facts.stops.get(name)
        late = stop is not None and stop.kill_at is not None and look.now >= stop.kill_at + INSISTENCE
        return StopContainer(name, fact.attempt, 0 if late else _grace_s(look, end_at), reason)
    allowed_s = grace_s(look.pod)
    if reason is StopReason.UNHEALTHY:
        kind = probes.failed(situation.container, fact, look.facts)
        probe = probes.of(situation.container, kind) if kind is not None else None
        if probe is not None and probe.termination_grace_period_seconds is not None:
            allowed_s = probe.termination_grace_period_seconds
    return StopContainer(name, fact.attempt, max(LEAST_GRACE_S, allowed_s), reason)


def _probe(look: Look, situation: Situation, actions: list[Action]) -> Iterable[datetime]:
    """Adds the probes that are due, and gives the times of the others."""
    container, fact = situation.container, situation.fact
    if fact is None or fact.phase is not ContainerPhase.RUNNING or situation.role in (Role.INIT, Role.EPHEMERAL):
        return ()
    later = []
    is_started = look.started(container)
    ending = situation.ending
    for kind, at in probes.next_runs(container, fact, look.facts, is_started=is_started, now=look.now, ending=ending):
        if at <= look.now:
            actions.append(RunProbe(container.name, fact.attempt, kind))
        else:
            later.append(at)
    return later
