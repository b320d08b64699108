"""How pods end and begin again: restart rules, sidecars, deadlines, eviction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from seatrial.control.lifecycle import resize, sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    ProbeFact,
    ProbeKind,
    RemoveContainers,
    RunPreStop,
    SandboxFact,
    StartContainer,
    Stop,
    StopContainer,
    StopReason,
)
from seatrial.kube.objects import Container, ObjectMeta, Pod, PodSpec, Probe
from seatrial.kube.objects.pods import (
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    Lifecycle,
    LifecycleHandler,
    PodReadinessGate,
    ResourceRequirements,
    SleepAction,
)
from seatrial.kube.quantities import Quantity
from tests.control.lifecycle.test_lifecycle import T0, Script, app

SANDBOX = SandboxFact("10.0.0.2", "192.0.2.1", T0)


def rule(action: str, *codes: int) -> tuple[ContainerRestartRule, ...]:
    return (
        ContainerRestartRule(action=action, exit_codes=ContainerRestartRuleOnExitCodes(operator="In", values=codes)),
    )


def running(name: str) -> ContainerFact:
    return ContainerFact(name, 0, ContainerPhase.RUNNING, started_at=T0)


def exited(name: str, code: int = 1, **fields: object) -> ContainerFact:
    fact = ContainerFact(name, 0, ContainerPhase.EXITED, started_at=T0, finished_at=T0, exit_code=code)
    return replace(fact, **fields)  # type: ignore[arg-type]


def pod(*containers: Container, **fields: object) -> Pod:
    spec = msgspec.structs.replace(PodSpec(containers=containers), **fields)
    return Pod(metadata=ObjectMeta(name="web", namespace="shop", uid="u1", generation=1), spec=spec)


@pytest.mark.parametrize(("minor", "phase"), [(34, "Failed"), (35, "Running")])
def test_a_restart_rule_restarts_a_container_of_a_pod_that_never_restarts(minor: int, phase: str) -> None:
    """KEP-5307, on by default since 1.35: the exit code decides before the policy does."""
    web = pod(app(restart_policy="Never", restart_policy_rules=rule("Restart", 42)), restart_policy="Never")
    decision = sync(web, PodFacts(SANDBOX, (exited("web", 42),)), T0, minor=minor)
    assert decision.status.phase == phase
    assert (StartContainer("web", 1, 10) in decision.actions) == (minor >= 35)


def test_restart_all_containers_stops_the_pod_and_begins_with_its_init_containers() -> None:
    """KEP-5532, on by default since 1.36."""
    trainer = app("trainer", restart_policy="Never", restart_policy_rules=rule("RestartAllContainers", 88))
    web = pod(trainer, app("helper"), init_containers=(app("one"),), restart_policy="Never")
    facts = PodFacts(SANDBOX, (exited("one", 0), exited("trainer", 88), running("helper")))
    first = sync(web, facts, T0)
    assert first.actions == (StopContainer("helper", 0, 30, StopReason.RESTART_ALL),)
    web = msgspec.structs.replace(web, status=first.status)
    facts = replace(facts, containers=(exited("one", 0), exited("trainer", 88), exited("helper", 143)))
    second = sync(web, facts, T0)
    assert second.actions == (RemoveContainers(),)
    web = msgspec.structs.replace(web, status=second.status)
    third = sync(web, PodFacts(SANDBOX), T0)
    assert third.actions == (StartContainer("one", 1),)
    assert [s.restart_count for s in third.status.container_statuses] == [1, 1]
    assert third.status.phase not in ("Succeeded", "Failed")


def test_a_sidecars_hook_begins_at_once_but_it_is_stopped_after_the_apps_or_when_time_is_over() -> None:
    """Sidecar termination order: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#termination-with-sidecars"""
    hook = Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=1)))
    web = pod(app(), init_containers=(app("side", restart_policy="Always", lifecycle=hook),))
    meta = msgspec.structs.replace(web.metadata, deletion_timestamp=T0 + timedelta(seconds=30))
    web = msgspec.structs.replace(web, metadata=meta)
    facts = PodFacts(SANDBOX, (running("web"), running("side")))
    assert set(sync(web, facts, T0).actions) == {
        StopContainer("web", 0, 30, StopReason.POD_ENDS),
        RunPreStop("side", 0, 30),
    }
    stops = {"web": Stop(T0, T0 + timedelta(seconds=30)), "side": Stop(T0)}
    waiting = sync(web, replace(facts, stops=stops), T0 + timedelta(seconds=5))
    assert waiting.actions == ()
    assert waiting.wake_at == T0 + timedelta(seconds=30)
    late = sync(web, replace(facts, stops=stops), T0 + timedelta(seconds=30))
    assert late.actions == (StopContainer("side", 0, 2, StopReason.POD_ENDS),)


def test_a_pod_past_its_deadline_keeps_its_phase_until_nothing_runs() -> None:
    script = Script(PodSpec(containers=(app(),), active_deadline_seconds=20, restart_policy="Never"))
    script.run(1)
    decision = sync(script.pod, script.facts, T0 + timedelta(seconds=20))
    assert (decision.status.phase, decision.status.reason) == ("Running", "")
    assert script.condition("Ready") == "True"
    script.run(60)
    assert (script.pod.status.phase, script.pod.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_container_stopped_for_its_probe_starts_again_though_it_ended_well_unless_never() -> None:
    probe = Probe(period_seconds=5, failure_threshold=1)
    ended = exited("web", 0, stopped_for=StopReason.UNHEALTHY)
    for policy, again in (("OnFailure", True), ("Never", False)):
        web = pod(app(liveness_probe=probe), restart_policy=policy)
        actions = sync(web, PodFacts(SANDBOX, (ended,)), T0).actions
        assert any(isinstance(each, StartContainer) for each in actions) == again


def test_a_probes_own_grace_is_used_and_a_failed_probe_is_not_run_again() -> None:
    probe = Probe(period_seconds=1, failure_threshold=1, termination_grace_period_seconds=5)
    web = pod(app(liveness_probe=probe), termination_grace_period_seconds=60)
    seen = ProbeFact("web", 0, ProbeKind.LIVENESS, failures=1, last_at=T0, message="refused")
    decision = sync(web, PodFacts(SANDBOX, (running("web"),), (seen,)), T0 + timedelta(seconds=9))
    assert decision.actions == (StopContainer("web", 0, 5, StopReason.UNHEALTHY),)


def test_every_readiness_gate_that_is_not_met_is_named() -> None:
    gates = (PodReadinessGate(condition_type="a.io/x"), PodReadinessGate(condition_type="a.io/y"))
    status = sync(pod(app(), readiness_gates=gates), PodFacts(SANDBOX, (running("web"),)), T0).status
    ready = next(each for each in status.conditions if each.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "ReadinessGatesNotReady")
    assert ready.message.count("does not exist.") == 2


def test_a_pod_deleted_before_it_began_has_failed_and_its_containers_are_unknown() -> None:
    web = pod(app(), init_containers=(app("one"),))
    meta = msgspec.structs.replace(web.metadata, deletion_timestamp=T0 + timedelta(seconds=30))
    status = sync(msgspec.structs.replace(web, metadata=meta), PodFacts(), T0).status
    assert status.phase == "Failed"
    (init,), (main,) = status.init_container_statuses, status.container_statuses
    assert init.state is not None
    assert main.state is not None
    assert init.state.terminated is not None, "the first init container counts as tried"
    assert init.state.terminated.reason == "ContainerStatusUnknown"
    assert main.state.waiting is not None, "it was never initialized"


def test_what_a_pod_is_promised_counts_sidecars_and_the_neediest_init_container() -> None:
    def asks(name: str, memory: str, policy: str = "") -> Container:
        resources = ResourceRequirements(requests={"memory": Quantity.parse(memory)})
        return app(name, resources=resources, restart_policy=policy)

    both = pod(asks("web", "10Mi"), init_containers=(asks("side", "5Mi", "Always"), asks("big", "40Mi")))
    assert resize.requests(both)["memory"] == Quantity.parse("45Mi")
