"""The life cycle of pods, driven by a tiny scripted runtime in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from seatrial.control.lifecycle import diagram, sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    PodDecision,
    PodFacts,
    ProbeFact,
    ProbeKind,
    Problem,
    RemoveContainers,
    RemoveFromApi,
    RemoveSandbox,
    RunProbe,
    SandboxFact,
    StartContainer,
    Stop,
    StopContainer,
    StopSandbox,
)
from seatrial.kube.objects import Container, ObjectMeta, Pod, PodSpec, Probe

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Script:
    """Carries out actions at once; `exits` names the exit codes of each container's attempts, "" never exits."""

    def __init__(self, spec: PodSpec, *, exits: Mapping[str, list[int]] | None = None, healthy: bool = True) -> None:
        meta = ObjectMeta(name="web", namespace="shop", uid="u1", generation=1)
        self.pod = Pod(metadata=meta, spec=spec)
        self.facts = PodFacts()
        self.now = T0
        self.exits = {name: list(codes) for name, codes in (exits or {}).items()}
        self.healthy = healthy
        self.log: list[tuple[float, str]] = []
        self.events: list[str] = []
        self.removed = False

    def run(self, seconds: float) -> PodDecision:
        """Call sync until nothing is to be done, jumping to wake-ups, for `seconds`."""
        end = self.now + timedelta(seconds=seconds)
        for _ in range(1000):
            decision = sync(self.pod, self.facts, self.now)
            self.pod = msgspec.structs.replace(self.pod, status=decision.status)
            self.events += [f"{event.reason}: {event.message}" for event in decision.events]
            if decision.actions:
                for action in decision.actions:
                    self._do(action)
                if self.removed:
                    return decision
                continue
            if decision.wake_at is None or decision.wake_at > end:
                self.now = end
                return decision
            self.now = decision.wake_at
        raise AssertionError("sync never comes to rest")

    def _do(self, action: object) -> None:
        facts = self.facts
        at = (self.now - T0).total_seconds()
        match action:
            case CreateSandbox():
                facts = replace(facts, sandbox=SandboxFact("10.0.0.2", "192.0.2.1", self.now))
            case StartContainer(name=name, attempt=attempt, back_off_s=back_off_s):
                self.log.append((at, f"start {name} {attempt}"))
                fact = ContainerFact(name, attempt, ContainerPhase.RUNNING, started_at=self.now, back_off_s=back_off_s)
                if self.exits.get(name):
                    code = self.exits[name].pop(0)
                    fact = replace(fact, phase=ContainerPhase.EXITED, finished_at=self.now, exit_code=code)
                kept = tuple(f for f in facts.containers if f.name != name or f.attempt == attempt - 1)
                facts = replace(facts, containers=(*kept, fact))
            case StopContainer(name=name, grace_s=grace_s, reason=reason):
                self.log.append((at, f"stop {name} {grace_s}"))
                ended = tuple(
                    replace(f, phase=ContainerPhase.EXITED, finished_at=self.now, exit_code=143, stopped_for=reason)
                    if f.name == name
                    else f
                    for f in facts.containers
                )
                facts = replace(facts, containers=ended)
            case RunProbe(container=name, attempt=attempt, kind=kind):
                self.log.append((at, f"probe {kind.value}"))
                wanted = (name, attempt, kind)
                old = next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), ProbeFact(*wanted))
                new = replace(
                    old,
                    successes=old.successes + 1 if self.healthy else 0,
                    failures=0 if self.healthy else old.failures + 1,
                    last_at=self.now,
                    message="refused",
                )
                facts = replace(facts, probes=(*(p for p in facts.probes if p is not old), new))
            case StopSandbox():
                facts = replace(facts, sandbox=None)
            case RemoveContainers():
                facts = replace(facts, containers=(), probes=())
            case RemoveSandbox():
                self.log.append((at, "remove sandbox"))
                facts = PodFacts()
            case RemoveFromApi():
                self.log.append((at, "remove"))
                self.removed = True
        self.facts = facts

    def condition(self, kind: str) -> str:
        return next(c.status for c in self.pod.status.conditions if c.type == kind)


def app(name: str = "web", **fields: object) -> Container:
    return msgspec.structs.replace(Container(name=name, image="web:1"), **fields)


def test_containers_start_in_order_and_the_pod_becomes_ready() -> None:
    """Init containers one after the other, a restartable one counts once started, then the apps."""
    spec = PodSpec(
        init_containers=(app("one"), app("side", restart_policy="Always"), app("two")), containers=(app("a"), app("b"))
    )
    script = Script(spec, exits={"one": [0], "two": [0]})
    script.run(1)
    assert [what for _, what in script.log] == ["start one 0", "start side 0", "start two 0", "start a 0", "start b 0"]
    status = script.pod.status
    assert (status.phase, status.pod_ip, script.condition("Ready")) == ("Running", "10.0.0.2", "True")
    assert "Started: Container started" in script.events


def test_a_crashing_container_waits_ten_seconds_then_twice_as_long_up_to_five_minutes() -> None:
    script = Script(PodSpec(containers=(app(),)), exits={"web": [1] * 10})
    script.run(1100)
    starts = [at for at, _ in script.log]
    assert [b - a for a, b in pairwise(starts)] == [0, 10, 20, 40, 80, 160, 300, 300]
    state = script.pod.status.container_statuses[0].state
    assert state is not None
    assert state.waiting is not None
    assert state.waiting.reason == "CrashLoopBackOff"
    assert "BackOff: Back-off restarting failed container web in pod web_shop(u1)" in script.events
    assert script.pod.status.phase == "Running"


def test_ten_good_minutes_forget_the_back_off() -> None:
    script = Script(PodSpec(containers=(app(),)), exits={"web": [1, 1, 1]})
    script.run(700)
    (latest,) = (f for f in script.facts.containers if f.attempt == 3)
    ended = replace(latest, phase=ContainerPhase.EXITED, finished_at=script.now, exit_code=1)
    script.facts = replace(script.facts, containers=(ended,))
    script.run(1)
    assert script.log[-1] == (700, "start web 4")


@pytest.mark.parametrize(
    ("policy", "code", "phase", "starts"),
    [
        ("Never", 0, "Succeeded", 1),
        ("Never", 1, "Failed", 1),
        ("OnFailure", 0, "Succeeded", 1),
        ("OnFailure", 1, "Running", 2),
        ("Always", 0, "Running", 2),
    ],
)
def test_restart_policy_decides_what_an_exit_means(policy: str, code: int, phase: str, starts: int) -> None:
    script = Script(PodSpec(containers=(app(),), restart_policy=policy), exits={"web": [code]})
    script.run(5)
    assert (script.pod.status.phase, len(script.log)) == (phase, starts)


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    script = Script(
        PodSpec(init_containers=(app("one"),), containers=(app(),), restart_policy="Never"), exits={"one": [3]}
    )
    script.run(5)
    assert script.pod.status.phase == "Failed"
    assert [what for _, what in script.log] == ["start one 0"]


def test_the_startup_probe_holds_the_others_back_until_it_succeeds() -> None:
    probe = Probe(initial_delay_seconds=3, period_seconds=5, failure_threshold=3, success_threshold=1)
    ready = Probe(period_seconds=7, failure_threshold=1, success_threshold=2)
    script = Script(PodSpec(containers=(app(startup_probe=probe, readiness_probe=ready),)))
    script.run(12)
    probes = [(at, what) for at, what in script.log if what.startswith("probe")]
    assert probes == [(3, "probe Startup"), (3, "probe Readiness"), (10, "probe Readiness")]
    assert script.condition("ContainersReady") == "True"


def test_liveness_failures_kill_and_restart_the_container() -> None:
    probe = Probe(period_seconds=5, failure_threshold=2, success_threshold=1)
    script = Script(PodSpec(containers=(app(liveness_probe=probe),), termination_grace_period_seconds=7), healthy=False)
    script.run(6)
    assert (5, "stop web 7") in script.log
    assert (5, "start web 1") in script.log
    assert "Unhealthy: Liveness probe failed: refused" in script.events
    assert "Killing: Container web failed liveness probe, will be restarted" in script.events


def test_a_readiness_failure_makes_unready_and_restarts_nothing() -> None:
    probe = Probe(period_seconds=5, failure_threshold=2, success_threshold=1)
    script = Script(PodSpec(containers=(app(readiness_probe=probe),)))
    script.run(1)
    since = {c.type: c.last_transition_time for c in script.pod.status.conditions}
    assert script.condition("Ready") == "True"
    script.healthy = False
    script.run(6)
    assert script.condition("Ready") == "True", "one failure is below the threshold"
    script.run(5)
    assert script.condition("Ready") == "False"
    now = {c.type: c.last_transition_time for c in script.pod.status.conditions}
    assert now["Initialized"] == since["Initialized"]
    assert now["Ready"] == T0 + timedelta(seconds=10)


def test_a_deleted_pod_stops_apps_then_sidecars_then_the_sandbox_then_itself() -> None:
    spec = PodSpec(init_containers=(app("side", restart_policy="Always"),), containers=(app(),))
    script = Script(spec)
    script.run(10)
    script.log.clear()
    meta = msgspec.structs.replace(
        script.pod.metadata, deletion_timestamp=script.now + timedelta(seconds=30), deletion_grace_period_seconds=30
    )
    script.pod = msgspec.structs.replace(script.pod, metadata=meta)
    script.run(10)
    assert [what for _, what in script.log] == ["stop web 30", "stop side 30", "remove sandbox", "remove"]
    assert "Killing: Stopping container web" in script.events
    assert script.pod.status.phase == "Failed", "the app was ended by a signal"


def test_a_container_that_cannot_start_shows_why() -> None:
    script = Script(PodSpec(containers=(app(),)))
    script.facts = PodFacts(
        sandbox=SandboxFact("10.0.0.2", "192.0.2.1"), problems={"web": Problem("ErrImageNeverPull", "no image web:1")}
    )
    decision = sync(script.pod, script.facts, T0)
    state = decision.status.container_statuses[0].state
    assert state is not None
    assert state.waiting is not None
    assert state.waiting.reason == "ErrImageNeverPull"
    assert decision.actions == (StartContainer("web", 0),), "it is tried again"
    assert decision.status.phase == "Pending"


def test_the_active_deadline_ends_the_pod() -> None:
    script = Script(PodSpec(containers=(app(),), active_deadline_seconds=20))
    script.run(60)
    assert (20, "stop web 30") in script.log
    assert (script.pod.status.phase, script.pod.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_pod_that_finished_in_time_stays_so_when_its_deadline_passes() -> None:
    spec = PodSpec(containers=(app(),), restart_policy="Never", active_deadline_seconds=20)
    script = Script(spec, exits={"web": [0]})
    script.run(60)
    decision = script.run(1)
    assert (decision.status.phase, decision.status.reason) == ("Succeeded", "")


def test_only_readiness_is_probed_while_a_pod_ends() -> None:
    probe = Probe(period_seconds=1, failure_threshold=1)
    spec = PodSpec(containers=(app(liveness_probe=probe, readiness_probe=probe),))
    meta = ObjectMeta(name="web", namespace="shop", deletion_timestamp=T0 + timedelta(seconds=30))
    fact = ContainerFact("web", 0, ContainerPhase.RUNNING, started_at=T0)
    facts = PodFacts(SandboxFact("10.0.0.2", ""), (fact,), stops={"web": Stop(T0, T0 + timedelta(seconds=30))})
    decision = sync(Pod(metadata=meta, spec=spec), facts, T0 + timedelta(seconds=2))
    assert decision.actions == (RunProbe("web", 0, ProbeKind.READINESS),)


def test_the_page_is_generated_from_the_table() -> None:
    """Regenerate: python tools/generate_docs.py."""
    page = Path(__file__).parents[3] / "docs" / "explanation" / "pod-life-cycle.md"
    assert page.read_text() == diagram.page()
