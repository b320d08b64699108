"""One pod in time: its life cycle as a timed automaton, every choice of what runs in it left open.

A state holds the pod as reported and the facts of its containers, with ages in place of times: the present is always
the same moment, what lies further back than any decision looks is as old as that (`_oldest`), and of restarts only the
last two are told apart. So a container that is killed and restarted for ever is a circle of finitely many states. What
to do is asked of `lifecycle.sync`; what it asks for is done at once. Where nothing is to be done time passes to the
moment at which the life cycle asks to be called again, to the second.

What a probe finds is the environment's: `Answers` gives every outcome that is possible for a container of some age.
Rejected: one step per second (a period of 300 s would be 300 states of nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from seatrial.check.model.pool import NOW, with_metadata
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.lifecycle import backoff, sync
from seatrial.control.lifecycle import probes as probed
from seatrial.control.lifecycle.facts import (
    Action,
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodFacts,
    ProbeFact,
    ProbeOutcome,
    RunProbe,
    SandboxFact,
    StartContainer,
    StopContainer,
    StopReason,
)
from seatrial.kube.objects import Container, Pod, PodStatus, Probe

TERMINATED: Final = 143
"""The exit code of a process that ends by SIGTERM."""
Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the environment may say when containers are probed: `up` is whether the container serves from now on."""

    label: str
    outcome: ProbeOutcome
    up: bool


Answers = Callable[[Container, float, bool], Sequence[Answer]]
"""The answers that are possible for a container, its age in seconds, and whether it was up at the last probe."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A state, by what it is known by (`key`); `up` are the containers that serve."""

    key: bytes
    pod: Pod
    facts: PodFacts
    up: frozenset[str]
    happened: tuple[str, ...] = ()
    """What the move into it was, for a story; no part of what it is known by."""

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and other.key == self.key


class PodTime:
    """The model of one pod on a node, for `explore`; a state in which it is `over` is not gone on from."""

    def __init__(self, pod: Pod, answers: Answers, over: Callable[[Moment], bool], minor: int = NEWEST_MINOR) -> None:
        named = with_metadata(pod, name=pod.metadata.name or "pod", uid=pod.metadata.uid or "pod")
        spec = msgspec.structs.replace(named.spec, node_name=named.spec.node_name or "node")
        self._answers = answers
        self._minor = minor
        self._over = over
        self._oldest = _oldest(spec.containers, spec.init_containers)
        status = PodStatus(phase="Pending")
        self.initial = self._moment(msgspec.structs.replace(named, spec=spec, status=status), PodFacts(), frozenset())

    def moves(self, state: Moment) -> list[tuple[Label, Moment]]:
        if self._over(state):
            return []
        decision = sync(state.pod, state.facts, NOW, minor=self._minor)
        pod = msgspec.structs.replace(state.pod, status=decision.status)
        if decision.actions:
            return list(self._done(pod, state, decision.actions))
        if pod != state.pod:
            return [(("node", "reports"), self._moment(pod, state.facts, state.up))]
        if decision.wake_at is None:
            return []
        passes = max(decision.wake_at - NOW, timedelta(seconds=1))
        seconds = int(passes.total_seconds())
        after = self._moment(_shifted(pod, passes), _shifted(state.facts, passes), state.up, f"{seconds} s pass")
        return [(("time", "passes"), after)]

    def age(self, state: Moment, container: str) -> float | None:
        """For how many seconds the container has been running; None if it is not."""
        fact = _latest(state.facts, container)
        if fact is None or fact.phase is not ContainerPhase.RUNNING or fact.started_at is None:
            return None
        return (NOW - fact.started_at).total_seconds()

    def _done(self, pod: Pod, state: Moment, actions: Sequence[Action]) -> Iterator[tuple[Label, Moment]]:
        """The first of the actions that change the containers, or else the probes of one container."""
        probes = [action for action in actions if isinstance(action, RunProbe)]
        others = [action for action in actions if not isinstance(action, RunProbe)]
        if others:
            facts, up, told = self._performed(state, others[0])
            yield ("node", type(others[0]).__name__), self._moment(pod, facts, up, told)
            return
        name = probes[0].container
        container = next(c for c in (*pod.spec.init_containers, *pod.spec.containers) if c.name == name)
        age_s = self.age(state, name)
        assert age_s is not None, "only what runs is probed"
        for answer in self._answers(container, age_s, name in state.up):
            facts = state.facts
            for probe in probes:
                if probe.container == name:
                    facts = _probed(facts, probe, answer.outcome, probed.of(container, probe.kind))
            up = state.up | {name} if answer.up else state.up - {name}
            kinds = " and ".join(probe.kind.value.lower() for probe in probes if probe.container == name)
            told = f"{age_s:.0f} s after the start of {name}: {kinds} probe: {answer.outcome.value}"
            yield ("environment", answer.label), self._moment(pod, facts, up, told)

    def _performed(self, state: Moment, action: Action) -> tuple[PodFacts, frozenset[str], str]:
        facts, up = state.facts, state.up
        match action:
            case CreateSandbox():
                return replace(facts, sandbox=SandboxFact("10.0.0.1", "10.0.0.2", NOW)), up, ""
            case StartContainer(name=name, attempt=attempt, back_off_s=wait_s):
                fact = ContainerFact(name, attempt, ContainerPhase.RUNNING, started_at=NOW, back_off_s=wait_s)
                kept = tuple(f for f in facts.containers if f.name != name or f.attempt == attempt - 1)
                probes = tuple(probe for probe in facts.probes if probe.container != name)
                stops = {key: stop for key, stop in facts.stops.items() if key != name}
                after = replace(facts, containers=(*kept, fact), probes=probes, stops=stops)
                return after, up - {name}, f"starts {name}"
            case StopContainer(name=name, reason=reason):
                ended = tuple(
                    replace(
                        fact, phase=ContainerPhase.EXITED, finished_at=NOW, exit_code=TERMINATED, stopped_for=reason
                    )
                    if fact is _latest(facts, name)
                    else fact
                    for fact in facts.containers
                )
                why = "a probe has failed too often" if reason is StopReason.UNHEALTHY else reason.value
                return replace(facts, containers=ended), up - {name}, f"stops {name}: {why}"
            case _:
                raise AssertionError(f"a pod that is neither deleted nor resized is asked to {action}")

    def _moment(self, pod: Pod, facts: PodFacts, up: frozenset[str], told: str = "") -> Moment:
        """The state in its normal form: no age beyond the oldest that matters, attempts counted from the last two."""
        oldest = NOW - self._oldest
        pod, facts = _clamped(pod, oldest), _clamped(facts, oldest)
        shift = {fact.name: max(0, _last(facts, fact.name) - 1) for fact in facts.containers}
        facts = replace(
            facts,
            containers=tuple(replace(fact, attempt=fact.attempt - shift[fact.name]) for fact in facts.containers),
            probes=tuple(replace(p, attempt=p.attempt - shift[p.container], message="") for p in facts.probes),
        )
        status = pod.status
        renumbered = msgspec.structs.replace(
            status,
            container_statuses=_renumbered(status.container_statuses, shift),
            init_container_statuses=_renumbered(status.init_container_statuses, shift),
        )
        pod = msgspec.structs.replace(pod, status=renumbered)
        key = msgspec.json.encode((renumbered, facts.sandbox, facts.containers, facts.probes, sorted(up)), enc_hook=str)
        return Moment(key, pod, facts, up, (told,) if told else ())


def _renumbered(statuses: Sequence[Any], shift: Mapping[str, int]) -> tuple[Any, ...]:
    return tuple(
        msgspec.structs.replace(each, restart_count=max(0, each.restart_count - shift.get(each.name, 0)))
        for each in statuses
    )


def _probed(facts: PodFacts, probe: RunProbe, outcome: ProbeOutcome, of: Probe | None) -> PodFacts:
    """The facts after one run. How often a probe has succeeded or failed matters up to its threshold only."""
    wanted = (probe.container, probe.attempt, probe.kind)
    old = next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), ProbeFact(*wanted))
    new = old.after(outcome, "", NOW)
    most = (max(1, of.success_threshold), of.failure_threshold or 3) if of is not None else (1, 1)
    new = replace(new, successes=min(new.successes, most[0]), failures=min(new.failures, most[1]))
    return replace(facts, probes=(*(p for p in facts.probes if p is not old), new))


def _latest(facts: PodFacts, container: str) -> ContainerFact | None:
    found = [fact for fact in facts.containers if fact.name == container]
    return max(found, key=lambda fact: fact.attempt, default=None)


def _last(facts: PodFacts, container: str) -> int:
    latest = _latest(facts, container)
    return 0 if latest is None else latest.attempt


def _oldest(*groups: Sequence[Container]) -> timedelta:
    """Longer than any time that a decision about these containers compares an age with."""
    longest = backoff.RESET_AFTER.total_seconds() + backoff.MOST_S
    for container in (container for group in groups for container in group):
        for probe in (container.startup_probe, container.liveness_probe, container.readiness_probe):
            if probe is not None:
                window = probe.initial_delay_seconds + probe.period_seconds * (probe.failure_threshold + 1)
                longest = max(longest, window)
    return timedelta(seconds=longest + 1)


def _shifted(value: Any, by: timedelta) -> Any:
    """The value with every time in it so much further back."""
    return _each_time(value, lambda at: at - by)


def _clamped(value: Any, oldest: datetime) -> Any:
    return _each_time(value, lambda at: max(at, oldest))


def _each_time(value: Any, change: Callable[[datetime], datetime]) -> Any:
    if isinstance(value, datetime):
        return change(value)
    if isinstance(value, tuple):
        changed = tuple([_each_time(each, change) for each in value])
        return value if all(new is old for new, old in zip(changed, value, strict=True)) else changed
    if isinstance(value, msgspec.Struct):
        if isinstance(value, Pod):
            return msgspec.structs.replace(value, status=_each_time(value.status, change))
        found = {name: getattr(value, name) for name in value.__struct_fields__}
        new = {name: after for name, old in found.items() if (after := _each_time(old, change)) is not old}
        return msgspec.structs.replace(value, **new) if new else value
    if is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: getattr(value, each.name) for each in fields(value)}
        new = {name: after for name, old in parts.items() if (after := _each_time(old, change)) is not old}
        return replace(value, **new) if new else value
    if isinstance(value, dict):
        return {key: _each_time(each, change) for key, each in value.items()}
    return value
