"""Whatever happens to a pod, in whatever order: the invariants of docs/explanation/pod-life-cycle.md hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    CreateSandbox,
    Eviction,
    PodFacts,
    ProbeFact,
    ProbeOutcome,
    Problem,
    RemoveContainers,
    RemoveSandbox,
    ResizeContainer,
    RunPreStop,
    RunProbe,
    SandboxFact,
    StartContainer,
    Stop,
    StopContainer,
    StopSandbox,
)
from seatrial.control.lifecycle.invariants import INVARIANTS, Observed
from seatrial.kube.objects import Container, ObjectMeta, Pod, PodSpec, Probe
from seatrial.kube.objects.pods import (
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    Lifecycle,
    LifecycleHandler,
    ResourceRequirements,
    SleepAction,
)
from seatrial.kube.quantities import Quantity

T0 = datetime(2026, 1, 1, tzinfo=UTC)
probes = st.one_of(
    st.none(),
    st.builds(
        Probe,
        initial_delay_seconds=st.integers(0, 3),
        period_seconds=st.integers(1, 5),
        failure_threshold=st.integers(1, 3),
        success_threshold=st.just(1),
    ),
)
hooks = st.sampled_from(
    [None, Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=3))), Lifecycle(stop_signal="SIGINT")]
)


def rules(action: str) -> tuple[ContainerRestartRule, ...]:
    codes = ContainerRestartRuleOnExitCodes(operator="In", values=(7,))
    return (ContainerRestartRule(action=action, exit_codes=codes),)


@st.composite
def containers(draw: st.DrawFn, name: str, *, init: bool) -> Container:
    sidecar = init and draw(st.booleans())
    policy = "Always" if sidecar else draw(st.sampled_from(["", "", "Never", "OnFailure"]))
    action = draw(st.sampled_from(["Restart", "RestartAllContainers"])) if policy and not sidecar else ""
    probed = not init or sidecar
    return Container(
        name=name,
        image="web:1",
        restart_policy=policy,
        restart_policy_rules=rules(action) if action else (),
        startup_probe=draw(probes) if probed else None,
        liveness_probe=draw(probes) if probed else None,
        readiness_probe=draw(probes) if probed else None,
        lifecycle=draw(hooks) if probed else None,
        resources=ResourceRequirements(requests={"cpu": Quantity.parse("100m")}),
    )


@st.composite
def specs(draw: st.DrawFn) -> PodSpec:
    return PodSpec(
        init_containers=tuple(draw(containers(f"i{n}", init=True)) for n in range(draw(st.integers(0, 3)))),
        containers=tuple(draw(containers(f"a{n}", init=False)) for n in range(draw(st.integers(1, 2)))),
        restart_policy=draw(st.sampled_from(["Always", "OnFailure", "Never"])),
        termination_grace_period_seconds=draw(st.sampled_from([None, 1, 10, 60])),
        active_deadline_seconds=draw(st.sampled_from([None, None, 30])),
    )


class Life(RuleBasedStateMachine):
    """A node that may answer any order late, and a world in which anything may happen in between."""

    pod: Pod
    seen: Observed | None = None
    gone = False

    @initialize(spec=specs(), minor=st.sampled_from([29, 33, 35, 37]))
    def begin(self, spec: PodSpec, minor: int) -> None:
        self.pod = Pod(metadata=ObjectMeta(name="web", namespace="shop", uid="u1", generation=1), spec=spec)
        self.minor = minor
        self.facts = PodFacts()
        self.now = T0
        self.look()

    def look(self) -> None:
        decision = sync(self.pod, self.facts, self.now, minor=self.minor)
        self.seen = Observed(self.pod, self.facts, self.now, decision)
        assert sync(self.pod, self.facts, self.now, minor=self.minor) == decision
        for each in INVARIANTS:
            assert each.holds(self.seen), f"{each.name}: {each.text}"
        self.pod = msgspec.structs.replace(self.pod, status=decision.status)

    @property
    def actions(self) -> tuple[Any, ...]:
        return self.seen.decision.actions if self.seen is not None else ()

    @precondition(lambda self: bool(self.actions))
    @rule(data=st.data(), late_s=st.sampled_from([0, 0, 1, 5]))
    def the_node_obeys(self, data: st.DataObject, late_s: int) -> None:
        action = data.draw(st.sampled_from(self.actions))
        self.now += timedelta(seconds=late_s)
        facts = self.facts
        match action:
            case CreateSandbox():
                facts = replace(facts, sandbox=SandboxFact("10.0.0.2", "192.0.2.1", self.now))
            case StartContainer(name=name, attempt=attempt, back_off_s=back_off_s):
                if data.draw(st.integers(0, 9)) == 0:
                    reason = data.draw(st.sampled_from(["ErrImagePull", "CreateContainerConfigError"]))
                    facts = replace(facts, problems={**facts.problems, name: Problem(reason, "no", self.now)})
                else:
                    fact = ContainerFact(
                        name,
                        attempt,
                        ContainerPhase.RUNNING,
                        started_at=self.now,
                        back_off_s=back_off_s,
                        hook_running=data.draw(st.integers(0, 9)) == 0,
                        resources=self.container(name).resources,
                    )
                    kept = tuple(f for f in facts.containers if f.name != name or f.attempt == attempt - 1)
                    problems = {key: each for key, each in facts.problems.items() if key != name}
                    facts = replace(facts, containers=(*kept, fact), problems=problems)
            case RunPreStop(name=name):
                facts = replace(facts, stops={name: Stop(self.now), **facts.stops})
            case StopContainer(name=name, grace_s=grace_s):
                stop = facts.stops.get(name, Stop(self.now))
                kill_at = min(self.now + timedelta(seconds=grace_s), stop.kill_at or datetime.max.replace(tzinfo=UTC))
                facts = replace(facts, stops={**facts.stops, name: replace(stop, kill_at=kill_at)})
            case RunProbe(container=name, attempt=attempt, kind=kind):
                wanted = (name, attempt, kind)
                old = next((p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted), ProbeFact(*wanted))
                new = old.after(data.draw(st.sampled_from(ProbeOutcome)), "said", self.now)
                facts = replace(facts, probes=(*(p for p in facts.probes if p is not old), new))
            case ResizeContainer(name=name):
                given = self.container(name).resources
                changed = tuple(replace(f, resources=given) if f.name == name else f for f in facts.containers)
                facts = replace(facts, containers=changed)
            case RemoveContainers():
                facts = replace(facts, containers=(), probes=(), stops={})
            case StopSandbox():
                facts = replace(facts, sandbox=None)
            case RemoveSandbox():
                facts = PodFacts()
        self.facts = facts
        self.look()

    def container(self, name: str) -> Container:
        return next(c for c in (*self.pod.spec.init_containers, *self.pod.spec.containers) if c.name == name)

    def running(self) -> list[ContainerFact]:
        return [f for f in self.facts.containers if f.phase is ContainerPhase.RUNNING]

    @precondition(lambda self: bool(self.running()))
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1, 7, 137]))
    def a_container_ends(self, data: st.DataObject, code: int) -> None:
        fact = data.draw(st.sampled_from(self.running()))
        ended = replace(fact, phase=ContainerPhase.EXITED, finished_at=self.now, exit_code=code)
        stops = {name: stop for name, stop in self.facts.stops.items() if name != fact.name}
        kept = tuple(ended if each is fact else each for each in self.facts.containers)
        self.facts = replace(self.facts, containers=kept, stops=stops)
        self.look()

    @precondition(lambda self: any(f.hook_running for f in self.running()))
    @rule()
    def hooks_end(self) -> None:
        self.facts = replace(
            self.facts, containers=tuple(replace(f, hook_running=False) for f in self.facts.containers)
        )
        self.look()

    @rule(seconds=st.sampled_from([1, 3, 12, 90, 700]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.look()

    @rule(grace_s=st.sampled_from([0, 1, 5, 30]))
    def somebody_deletes_it(self, grace_s: int) -> None:
        until, before = self.now + timedelta(seconds=grace_s), self.pod.metadata.deletion_timestamp
        meta = msgspec.structs.replace(self.pod.metadata, deletion_timestamp=min(until, before or until))
        self.pod = msgspec.structs.replace(self.pod, metadata=meta)
        self.look()

    @precondition(lambda self: self.facts.eviction is None)
    @rule(chance=st.integers(0, 5))
    def the_node_evicts_it(self, chance: int) -> None:
        if chance == 0:
            self.facts = replace(self.facts, eviction=Eviction("Evicted", "The node was low", self.now, 1))
        self.look()

    @rule(cpu=st.sampled_from(["100m", "200m"]))
    def somebody_resizes_it(self, cpu: str) -> None:
        asked = ResourceRequirements(requests={"cpu": Quantity.parse(cpu)})
        apps = tuple(msgspec.structs.replace(c, resources=asked) for c in self.pod.spec.containers)
        spec = msgspec.structs.replace(self.pod.spec, containers=apps)
        self.pod = msgspec.structs.replace(self.pod, spec=spec)
        self.look()

    @rule()
    def the_machine_restarts(self) -> None:
        lost = tuple(
            replace(f, phase=ContainerPhase.EXITED, finished_at=self.now, exit_code=255, reason="Unknown")
            if f.phase is ContainerPhase.RUNNING
            else f
            for f in self.facts.containers
        )
        self.now += timedelta(seconds=1)
        self.facts = replace(self.facts, containers=lost, sandbox=None, stops={}, probes=())
        self.look()

    @invariant()
    def the_phase_is_one_of_upstreams(self) -> None:
        if self.seen is not None:
            assert self.seen.decision.status.phase in ("Pending", "Running", "Succeeded", "Failed")


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
