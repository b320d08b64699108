"""Which probes of a running container are due, and what their latest runs mean.

Rules: the startup probe runs until it succeeds once and holds the others back; a liveness or startup probe that fails
`failureThreshold` times in a row stops the container and is not run again on it; readiness changes only when a
threshold is reached, so between thresholds the status that was reported for this attempt stands.
`initialDelaySeconds` counts from the start of the container. A pod that is ending is still probed for readiness.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from seatrial.control.lifecycle.facts import ContainerFact, ContainerPhase, PodFacts, ProbeFact, ProbeKind
from seatrial.kube.objects import Container, ContainerStatus, Probe


def of(container: Container, kind: ProbeKind) -> Probe | None:
    return {
        ProbeKind.STARTUP: container.startup_probe,
        ProbeKind.LIVENESS: container.liveness_probe,
        ProbeKind.READINESS: container.readiness_probe,
    }[kind]


def result(facts: PodFacts, fact: ContainerFact, kind: ProbeKind) -> ProbeFact | None:
    wanted = (fact.name, fact.attempt, kind)
    return next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), None)


def started(
    container: Container, fact: ContainerFact | None, facts: PodFacts, reported: ContainerStatus | None
) -> bool:
    """The container runs and its startup probe, if it has one, has succeeded."""
    if fact is None or fact.phase is not ContainerPhase.RUNNING:
        return False
    if container.startup_probe is None or (_same_attempt(reported, fact) and bool(reported and reported.started)):
        return True
    seen = result(facts, fact, ProbeKind.STARTUP)
    return seen is not None and seen.successes >= max(1, container.startup_probe.success_threshold)


def ready(container: Container, fact: ContainerFact | None, facts: PodFacts, reported: ContainerStatus | None) -> bool:
    if fact is None or not started(container, fact, facts, reported):
        return False
    probe = container.readiness_probe
    if probe is None:
        return True
    seen = result(facts, fact, ProbeKind.READINESS)
    if seen is not None and seen.successes >= max(1, probe.success_threshold):
        return True
    if seen is not None and seen.failures >= _failures(probe):
        return False
    return _same_attempt(reported, fact) and bool(reported and reported.ready)


def failed(container: Container, fact: ContainerFact, facts: PodFacts) -> ProbeKind | None:
    """The probe whose failures mean that this attempt must be stopped."""
    for kind in (ProbeKind.LIVENESS, ProbeKind.STARTUP):
        probe, seen = of(container, kind), result(facts, fact, kind)
        if probe is not None and seen is not None and seen.failures >= _failures(probe):
            return kind
    return None


def next_runs(
    container: Container, fact: ContainerFact, facts: PodFacts, *, is_started: bool, now: datetime, ending: bool
) -> tuple[tuple[ProbeKind, datetime], ...]:
    """Each probe that is to be run for this attempt, and when; a time that has passed means now."""
    kinds: tuple[ProbeKind, ...] = (ProbeKind.LIVENESS, ProbeKind.READINESS) if is_started else (ProbeKind.STARTUP,)
    if ending or failed(container, fact, facts):
        kinds = (ProbeKind.READINESS,) if is_started else ()
    runs = []
    for kind in kinds:
        probe = of(container, kind)
        if probe is None:
            continue
        seen = result(facts, fact, kind)
        if seen is not None and seen.last_at is not None:
            runs.append((kind, seen.last_at + timedelta(seconds=probe.period_seconds or 10)))
        else:
            runs.append((kind, (fact.started_at or now) + timedelta(seconds=probe.initial_delay_seconds)))
    return tuple(runs)


def _failures(probe: Probe) -> int:
    return probe.failure_threshold or 3  # upstream's default, for objects that were not defaulted


def _same_attempt(reported: ContainerStatus | None, fact: ContainerFact) -> bool:
    return (
        reported is not None
        and reported.restart_count == fact.attempt
        and bool(reported.state and reported.state.running)
    )
