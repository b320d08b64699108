"""Pods in time: the ages of the model against the seconds of a plain simulation, and against the simulated cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from seatrial import project
from seatrial.check import explore, judge
from seatrial.check.reading import startuptime
from seatrial.check.runs.podtime import Answer as Found
from seatrial.check.runs.podtime import PodTime
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
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
)
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import Container, Pod, parse_as
from seatrial.testing import Cluster

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "probe"
START = datetime(2024, 2, 29, tzinfo=UTC)


def pod_of(**probes: dict[str, int]) -> Pod:
    filled = {"periodSeconds": 10, "failureThreshold": 3, "successThreshold": 1, "timeoutSeconds": 1}
    container = {
        "name": "app",
        **{f"{kind}Probe": {"tcpSocket": {"port": 80}, **filled, **numbers} for kind, numbers in probes.items()},
    }
    raw = {
        "metadata": {"name": "pod", "uid": "pod"},
        "spec": {"nodeName": "node", "restartPolicy": "Always", "containers": [container]},
    }
    return parse_as(Pod, raw)


def killed_in_seconds(pod: Pod, start_s: int, seconds: int) -> bool:
    """The same pod second by second on a plain clock: whether its first start, as slow as it may be, is killed."""
    facts, now, end = PodFacts(), START, START + timedelta(seconds=seconds)
    while now < end:
        decision = sync(pod, facts, now)
        pod = changed(pod, status=decision.status)
        if not decision.actions:
            now += timedelta(seconds=1)
            continue
        match decision.actions[0]:
            case CreateSandbox():
                facts = PodFacts(sandbox=SandboxFact("10.0.0.1", "10.0.0.2", now))
            case StartContainer(name=name, attempt=attempt, back_off_s=wait_s):
                fact = ContainerFact(name, attempt, ContainerPhase.RUNNING, started_at=now, back_off_s=wait_s)
                facts = PodFacts(sandbox=facts.sandbox, containers=(fact,))
            case RunProbe(container=name, attempt=attempt, kind=kind):
                started_at = facts.containers[0].started_at
                assert started_at is not None
                serves = now >= started_at + timedelta(seconds=start_s)
                old = next((each for each in facts.probes if each.kind is kind), ProbeFact(name, attempt, kind))
                new = old.after(ProbeOutcome.SUCCESS if serves else ProbeOutcome.FAILURE, "", now)
                kept = tuple(each for each in facts.probes if each is not old)
                facts = PodFacts(sandbox=facts.sandbox, containers=facts.containers, probes=(*kept, new))
            case StopContainer():
                return True
    return False


def never_up(pod: Pod, start_s: int) -> bool:
    def answers(_: Container, age_s: float, up: bool) -> tuple[Found, ...]:
        serves = Found("serves", ProbeOutcome.SUCCESS, up=True)
        return (serves,) if up or age_s >= start_s else (Found("starts", ProbeOutcome.FAILURE, up=False), serves)

    graph = explore.explore(PodTime(pod, answers, lambda moment: bool(moment.up)), max_states=5_000)
    assert graph.complete
    return explore.misses(graph, lambda moment: bool(moment.up)) is not None


numbers = st.fixed_dictionaries(
    {
        "initialDelaySeconds": st.integers(0, 15),
        "periodSeconds": st.integers(1, 12),
        "failureThreshold": st.integers(1, 4),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries({"liveness": numbers}, optional={"startup": numbers, "readiness": numbers}),
    st.integers(0, 60),
)
def test_ages_find_what_seconds_find(probes: Any, start_s: int) -> None:
    pod = pod_of(**probes)
    assert never_up(pod, start_s) == killed_in_seconds(pod, start_s, 150)


def test_a_killed_container_is_a_circle_of_few_states() -> None:
    """Back-offs grow to their most and stay there; a start that takes an hour is no hour of states."""
    pod = pod_of(liveness={"initialDelaySeconds": 5})
    answers = lambda *_: (Found("starts", ProbeOutcome.FAILURE, up=False),)  # noqa: E731
    graph = explore.explore(PodTime(pod, answers, lambda _: False), max_states=5_000)
    assert graph.complete
    assert len(graph.states) < 250
    endless = explore.misses(graph, lambda _: False)
    assert endless is not None
    assert not endless.stuck


def verdict(twin: Path, name: str) -> Verdict:
    (found,) = (v for v in judge.judge(project.load([twin]), [name]).verdicts if v.subject.startswith("Deployment"))
    return found


@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_the_simulated_cluster_kills_the_same_starts(twin: str) -> None:
    told = verdict(SCENARIOS / "slow-start" / twin, "probe/startup-time")
    with Cluster(nodes=1) as cluster:
        cluster.behave("app=lakefs", ready_after_s=60, live_after_s=60)
        cluster.apply(SCENARIOS / "slow-start" / twin)
        cluster.advance(1800)
        (pod,) = cluster.list(Pod)
        assert is_ready(pod) == (told.verdict is Answer.PROVED)
        restarts = pod.status.container_statuses[0].restart_count
        assert restarts == 0 if told.verdict is Answer.PROVED else restarts > 5


@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_the_simulated_cluster_restarts_all_at_once(twin: str) -> None:
    """The database is away: whoever asks for it fails, which in the repaired twin is the readiness probe alone."""
    told = verdict(SCENARIOS / "database-liveness" / twin, "probe/cascade")
    with Cluster(nodes=1) as cluster:
        if told.verdict is Answer.REFUTED:
            cluster.behave("app=api", hangs_after_s=60, failing_attempts=1)
        else:
            cluster.behave("app=api", ready_for_s=60, unready_for_s=120)
        cluster.apply(SCENARIOS / "database-liveness" / twin)
        cluster.advance(170)
        pods = cluster.list(Pod, labels="app=api")
        assert len(pods) == 3
        assert {pod.status.container_statuses[0].restart_count for pod in pods} == {
            1 if told.verdict is Answer.REFUTED else 0
        }


def container(text: dict[str, Any]) -> Container:
    return parse_as(Container, {"name": "app", **text})


PROBE = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10, "failureThreshold": 3}
SHELL = ["sh", "-c"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ({"livenessProbe": PROBE}, 5),
        ({"livenessProbe": PROBE, "readinessProbe": {**PROBE, "initialDelaySeconds": 40}}, 40),
        ({"livenessProbe": PROBE, "readinessProbe": {**PROBE, "failureThreshold": 30}}, 300),
        ({"livenessProbe": PROBE, "readinessProbe": {**PROBE, "httpGet": {}, "initialDelaySeconds": 40}}, 5),
        ({"command": [*SHELL, "sleep 20; exec app"]}, 25),
        ({"command": SHELL, "args": ["echo wait; sleep 1m && exec app"]}, 65),
        ({"command": [*SHELL, "app & sleep 60; wait"]}, 5),
        ({"command": [*SHELL, "sleep 60"]}, 5),
        ({"command": ["java", "-jar", "app.jar"]}, 30),
        ({"env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"}]}, 30),
    ],
)  # fmt: skip
def test_what_the_files_say_of_a_start(text: dict[str, Any], seconds: int) -> None:
    assert startuptime.allowed(container(text), 5, 30).seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        {"initialDelaySeconds": 3, "periodSeconds": 3},
        {"initialDelaySeconds": 5, "periodSeconds": 5},
        {"initialDelaySeconds": 15, "periodSeconds": 20},
        {},
        {"periodSeconds": 5},
    ],
)
def test_the_liveness_probes_of_kubernetes_own_pages_are_no_alarm(text: dict[str, int]) -> None:
    """https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/"""
    assert not never_up(pod_of(liveness=text), 5)
