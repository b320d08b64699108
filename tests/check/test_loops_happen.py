"""What the scenarios of loops say happens on the simulated cluster: the same controllers, every event, a real clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from seatrial import project
from seatrial.check.model.load import PROBED_S, STARTS_S
from seatrial.cluster import loop
from seatrial.cluster.behaviours import Rule, by_rules
from seatrial.cluster.cluster import NodeShape
from seatrial.cluster.metrics import Usage, idle
from seatrial.cluster.simulated import Behaviour
from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import Container, Deployment, HorizontalPodAutoscaler, Pod

SCENARIOS = Path(__file__).parents[1] / "scenarios"
MINUTE = timedelta(minutes=1)


class Trial:
    """The files of a scenario on their own nodes; `demand` cores are shared by the pods of `web` that are running."""

    def __init__(self, scenario: str, twin: str, demand: float = 0.0, burst: float = 0.0) -> None:
        objects = [dict(entry.written) for entry in project.load([SCENARIOS / scenario / twin]).entries]
        shapes = [shape(each) for each in objects if each["kind"] == "Node"]
        self.demand, self.burst = demand, burst
        behaves = by_rules([Rule(Behaviour(start_s=STARTS_S[0], ready_after_s=PROBED_S), "", "", "")])
        self.cluster = VirtualCluster(nodes=shapes or 3, load=self._load if demand else idle, behaves=behaves)
        namespaces = {each["metadata"].get("namespace", "default") for each in objects}
        have = {each["metadata"]["name"] for each in self.cluster.list("v1", "Namespace")}
        missing = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in namespaces - have]
        self.cluster.apply([*missing, *(each for each in objects if each["kind"] != "Node")])

    def _load(self, pod: Pod, container: Container, at: datetime) -> Usage:
        if not pod.metadata.name.startswith("web-"):
            return Usage(0.0, 0)
        ready = [
            each
            for each in self.cluster.objects.all(Pod)
            if each.metadata.deletion_timestamp is None
            and any(c.type == "Ready" and c.status == "True" for c in each.status.conditions)
        ]
        started = pod.status.start_time
        busy = self.burst if started is not None and at - started < MINUTE else 0.0
        return Usage(self.demand / max(1, len(ready)) + busy, 50 << 20)

    @property
    def replicas(self) -> int:
        (found,) = [each for each in self.cluster.objects.all(Deployment) if each.metadata.name == "web"]
        return found.spec.replicas or 0

    def counts(self, minutes: int) -> list[int]:
        """The replicas every five seconds."""
        found = []
        for _ in range(12 * minutes):
            self.cluster.advance(timedelta(seconds=5))
            found.append(self.replicas)
        return found

    def pods_made(self, duration: timedelta, every: timedelta = MINUTE) -> int:
        """How many pods appear that were not there before."""
        known = {each.metadata.uid for each in self.cluster.objects.all(Pod)}
        before = len(known)
        passed = timedelta()
        while passed < duration:
            self.cluster.advance(every)
            passed += every
            known |= {each.metadata.uid for each in self.cluster.objects.all(Pod)}
        return len(known) - before


def shape(node: dict[str, Any]) -> NodeShape:
    spec = node.get("spec") or {}
    capacity = node["status"]["allocatable"]
    return NodeShape(node["metadata"]["name"], capacity, node["metadata"]["labels"], spec.get("taints", ()))


def changes(counts: list[int]) -> int:
    return sum(one != other for one, other in pairwise(counts))


@pytest.mark.parametrize(
    ("scenario", "demand", "lowest"),
    [("scale/nodes-against-load", 1.12, 4), ("scale/no-window", 0.168, 2)],
)
def test_the_count_never_rests_and_that_of_the_twin_does(scenario: str, demand: float, lowest: int) -> None:
    broken = Trial(scenario, "broken", demand)
    broken.counts(10)
    late = broken.counts(10)
    assert changes(late) > 10
    assert min(late) == lowest
    repaired = Trial(scenario, "repaired", demand)
    repaired.counts(10)
    assert changes(repaired.counts(10)) == 0


def test_what_pods_use_while_they_start_takes_them_to_the_most() -> None:
    assert max(Trial("scale/busy-start", "broken", 0.02, burst=0.9).counts(5)) == 10


def test_an_autoscaler_without_requests_cannot_act() -> None:
    for twin, active in (("broken", "False"), ("repaired", "True")):
        trial = Trial("scale/nothing-requested", twin, 0.3)
        trial.counts(10)
        (found,) = trial.cluster.objects.all(HorizontalPodAutoscaler)
        assert [each.status for each in found.status.conditions if each.type == "ScalingActive"] == [active]


@pytest.mark.parametrize(
    "scenario",
    ["duplicates-without-room", "soft-spread-against-preference", "utilization-against-preference"],
)
def test_a_descheduler_evicts_at_every_round_and_that_of_the_twin_rests(scenario: str) -> None:
    broken, repaired = (Trial(f"evict/{scenario}", twin) for twin in ("broken", "repaired"))
    for trial in (broken, repaired):
        trial.cluster.advance(timedelta(hours=1))
    assert broken.pods_made(timedelta(hours=1)) >= 11
    assert repaired.pods_made(timedelta(hours=1)) == 0


def full(trial: Trial) -> None:
    trial.cluster.advance(timedelta(seconds=30))
    trial.cluster.cluster.set_pressure("node-1", {"nodefs.available": "1%"})


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [("names-a-tainted-node", lambda trial: None), ("tolerates-a-full-disk", full)],
)
def test_pods_are_made_and_ended_without_end(
    scenario: str, fault: Callable[[Trial], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ALLOWANCE", 100)  # writes of one controller before it is slowed down
    for twin in ("broken", "repaired"):
        trial = Trial(f"evict/{scenario}", twin)
        fault(trial)
        trial.cluster.advance(timedelta(seconds=15))
        made = trial.pods_made(timedelta(seconds=2), every=timedelta(seconds=1))
        assert (made > 5) == (twin == "broken")
