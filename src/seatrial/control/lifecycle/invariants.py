"""What holds for every pod, whatever happens to it: each a statement about one decision, or about two that follow each
other. The page docs/explanation/pod-life-cycle.md lists them and a state machine test checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from seatrial.control.lifecycle.facts import (
    ContainerPhase,
    CreateSandbox,
    PodDecision,
    PodFacts,
    ResizeContainer,
    RunProbe,
    StartContainer,
    StopContainer,
)
from seatrial.control.lifecycle.pods import all_containers, succeeded
from seatrial.control.lifecycle.transitions import Role
from seatrial.kube.objects import ContainerStatus, Pod, PodStatus
from seatrial.kube.times import after

DONE = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Observed:
    """One call of `sync`: the pod as it was (with the status reported before), the facts, the time, the answer."""

    pod: Pod
    facts: PodFacts
    now: datetime
    decision: PodDecision


@dataclass(frozen=True, slots=True)
class Invariant:
    name: str
    text: str
    holds: Callable[[Observed], bool]


def _statuses(status: PodStatus) -> Mapping[str, ContainerStatus]:
    return {s.name: s for s in (*status.init_container_statuses, *status.container_statuses)}


def _condition(status: PodStatus, kind: str) -> str:
    return next((c.status for c in status.conditions if c.type == kind), "Unknown")


def _starts(seen: Observed) -> list[str]:
    return [action.name for action in seen.decision.actions if isinstance(action, StartContainer)]


def _running(facts: PodFacts) -> set[str]:
    return {fact.name for fact in facts.containers if fact.phase is ContainerPhase.RUNNING}


def _init_first(seen: Observed) -> bool:
    roles = {container.name: role for container, role in all_containers(seen.pod)}
    latest = {fact.name: fact for fact in sorted(seen.facts.containers, key=lambda fact: fact.attempt)}
    if not any(roles[name] is Role.APP for name in _starts(seen)) or any(roles[n] is Role.APP for n in latest):
        return True
    inits = [name for name, role in roles.items() if role is Role.INIT]
    return all(name in latest and succeeded(latest[name]) for name in inits)


def _never_again(seen: Observed) -> bool:
    over = seen.pod.status.phase in DONE or seen.pod.metadata.deletion_timestamp is not None
    beginnings = (StartContainer, CreateSandbox, ResizeContainer)
    return not over or not any(isinstance(action, beginnings) for action in seen.decision.actions)


def _phase_final(seen: Observed) -> bool:
    return seen.pod.status.phase not in DONE or seen.decision.status.phase == seen.pod.status.phase


def _final_when_nothing_runs(seen: Observed) -> bool:
    became = seen.decision.status.phase in DONE and seen.pod.status.phase not in DONE
    apps = {c.name for c in seen.pod.spec.containers}
    return not became or not (_running(seen.facts) & apps)


def _restarts_grow(seen: Observed) -> bool:
    before, after = _statuses(seen.pod.status), _statuses(seen.decision.status)
    return all(after[name].restart_count >= status.restart_count for name, status in before.items())


def _ready_implies(seen: Observed) -> bool:
    status = seen.decision.status
    return _condition(status, "Ready") != "True" or _condition(status, "ContainersReady") == "True"


def _ready_containers(seen: Observed) -> bool:
    status = seen.decision.status
    if _condition(status, "ContainersReady") != "True":
        return True
    return all(each.ready and each.started for each in status.container_statuses)


def _ready_runs(seen: Observed) -> bool:
    running = _running(seen.facts)
    return all(each.name in running for each in seen.decision.status.container_statuses if each.ready)


def _one_state(seen: Observed) -> bool:
    return all(
        s.state is not None
        and sum(each is not None for each in (s.state.waiting, s.state.running, s.state.terminated)) == 1
        for s in _statuses(seen.decision.status).values()
    )


def _grace_never_grows(seen: Observed) -> bool:
    for action in seen.decision.actions:
        stop = seen.facts.stops.get(action.name) if isinstance(action, StopContainer) else None
        if isinstance(action, StopContainer) and stop is not None and stop.kill_at is not None:
            late = seen.now >= stop.kill_at
            if not late and after(seen.now, action.grace_s) > stop.kill_at:
                return False
    return True


def _sidecars_last(seen: Observed) -> bool:
    roles = {container.name: role for container, role in all_containers(seen.pod)}
    over = seen.pod.metadata.deletion_timestamp
    if over is None or seen.now >= over or seen.facts.eviction is not None:
        return True
    stopped = [a.name for a in seen.decision.actions if isinstance(a, StopContainer)]
    apps = {name for name in _running(seen.facts) if roles[name] is Role.APP}
    return not apps or not any(roles[name] is Role.SIDECAR and name not in seen.facts.stops for name in stopped)


def _one_action_each(seen: Observed) -> bool:
    names = [a.name for a in seen.decision.actions if isinstance(a, StartContainer | StopContainer | ResizeContainer)]
    return len(names) == len(set(names))


def _starts_what_does_not_run(seen: Observed) -> bool:
    return not set(_starts(seen)) & _running(seen.facts)


def _attempts_rise(seen: Observed) -> bool:
    known = {(fact.name, fact.attempt) for fact in seen.facts.containers}
    starts = [a for a in seen.decision.actions if isinstance(a, StartContainer)]
    return all(a.attempt > attempt for a in starts for name, attempt in known if name == a.name)


def _probes_of_the_living(seen: Observed) -> bool:
    running = _running(seen.facts)
    return all(a.container in running for a in seen.decision.actions if isinstance(a, RunProbe))


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("Init first", "No app container is started before every init container has succeeded.", _init_first),
    Invariant(
        "Never again", "Nothing is started or resized in a pod that is deleted or whose phase is final.", _never_again
    ),
    Invariant("The end is final", "A phase Succeeded or Failed never changes.", _phase_final),
    Invariant("The end is the end", "A phase becomes final only when no app container runs.", _final_when_nothing_runs),
    Invariant("Restarts are counted", "No `restartCount` ever falls.", _restarts_grow),
    Invariant("Ready means ContainersReady", "The condition Ready is true only with ContainersReady.", _ready_implies),
    Invariant(
        "ContainersReady means containers",
        "ContainersReady is true only if every app container is started and ready.",
        _ready_containers,
    ),
    Invariant("Ready means running", "A container that is ready runs.", _ready_runs),
    Invariant(
        "One state", "Every container is shown waiting, running or terminated, and one of these only.", _one_state
    ),
    Invariant("Grace never grows", "A container that was told to stop is never given more time.", _grace_never_grows),
    Invariant(
        "Sidecars last",
        "Within the grace period of a deletion no restartable init container is stopped while an app container runs.",
        _sidecars_last,
    ),
    Invariant(
        "One thing at a time", "A container is started, stopped or resized, never two of these.", _one_action_each
    ),
    Invariant("Once", "A container that runs is not started.", _starts_what_does_not_run),
    Invariant("Attempts rise", "A start is numbered higher than every attempt before it.", _attempts_rise),
    Invariant("Probes of the living", "Only containers that run are probed.", _probes_of_the_living),
)
