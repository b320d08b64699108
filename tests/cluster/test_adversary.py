"""Somebody edits an object between each look at it and the write that follows: who writes comes through in the end."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from seatrial.cluster import loop
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.controller import Controller, Decision, Seen
from seatrial.control.writes import Update
from seatrial.kube.objects import ConfigMap, JsonObject, Object, ObjectMeta
from seatrial.kube.schemas import Resource

ROUNDS = 60


class Adversary:
    """Touches objects of one kind just before a component of the cluster writes them, so many times."""

    def __init__(self, cluster: VirtualCluster, kind: str, rounds: float) -> None:
        self.attempts: dict[str, list[datetime]] = defaultdict(list)
        self._cluster, self._kind, self._left = cluster, kind, rounds
        self._busy = False
        cluster.api.on_request = self._on_request

    def _on_request(self, verb: str, resource: Resource, namespace: str, name: str) -> None:
        objects = self._cluster.objects
        if verb != "patch" or resource.kind != self._kind or self._busy or not objects.own_write or self._left <= 0:
            return
        self._left -= 1
        self.attempts[name].append(self._cluster.clock.now())
        number = sum(map(len, self.attempts.values()))
        touched = {"metadata": {"annotations": {"example.com/touched": str(number)}}}
        self._busy, objects.own_write = True, False
        self._cluster.api.patch(resource, namespace, name, touched)
        self._busy, objects.own_write = False, True


def workload(kind: str, **spec: Any) -> JsonObject:
    labels = {"app": "web"}
    template: JsonObject = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}}
    api_version = "apps/v1"
    if kind == "Job":
        api_version, template["spec"]["restartPolicy"] = "batch/v1", "Never"
        spec = {"completions": 2, **spec}
    else:
        spec = {"selector": {"matchLabels": labels}, **spec}
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {"template": template, **spec}}


def statuses(cluster: VirtualCluster, kind: str) -> list[JsonObject]:
    found = cluster.list("batch/v1" if kind == "Job" else "apps/v1", kind)
    kept = ("replicas", "readyReplicas", "updatedReplicas", "numberReady", "desiredNumberScheduled", "succeeded")
    return [{key: raw["status"].get(key) for key in kept} for raw in found if raw["spec"].get("replicas") != 0]


@pytest.mark.parametrize(
    ("kind", "touched", "spec"),
    [
        ("Deployment", "Deployment", {"replicas": 3}),
        ("Deployment", "ReplicaSet", {"replicas": 3}),
        ("Deployment", "Pod", {"replicas": 3}),
        ("StatefulSet", "StatefulSet", {"replicas": 3, "serviceName": "web"}),
        ("DaemonSet", "DaemonSet", {}),
        ("Job", "Job", {}),
        ("Deployment", "EndpointSlice", {"replicas": 3}),
    ],
)
def test_after_many_conflicts_the_cluster_is_what_it_would_have_been(kind: str, touched: str, spec: JsonObject) -> None:
    def play(rounds: int) -> tuple[Adversary, list[JsonObject]]:
        cluster = VirtualCluster(nodes=2)
        adversary = Adversary(cluster, touched, rounds)
        service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        metadata = {"name": "web", "namespace": "default"}
        cluster.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}])
        cluster.apply([workload(kind, **spec)])
        assert cluster.settle(timedelta(days=3)), cluster.unsettled()
        if kind == "Deployment":
            changed = workload(kind, **spec)
            changed["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
            cluster.apply([changed])
            assert cluster.settle(timedelta(days=3)), cluster.unsettled()
        cluster.advance(timedelta(days=1))
        assert cluster.is_settled()
        return adversary, statuses(cluster, kind)

    undisturbed, expected = play(0)
    disturbed, found = play(12)
    assert not undisturbed.attempts
    assert sum(map(len, disturbed.attempts.values())) == 12
    assert found == expected


def test_who_is_never_let_through_and_hears_of_each_edit_is_held_back_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An edit wakes at once, as upstream's: what bounds it is the allowance, and people are told."""
    monkeypatch.setattr(loop, "ALLOWANCE", 40)
    cluster = VirtualCluster(nodes=1)
    adversary = Adversary(cluster, "Deployment", float("inf"))
    cluster.apply([workload("Deployment", replicas=2)])
    cluster.advance(timedelta(seconds=20))
    assert 40 < len(adversary.attempts["web"]) <= 40 + 20 * loop.REFILL_PER_S
    assert not cluster.settle(timedelta(seconds=5))
    told = cluster.unsettled()
    assert any(each.startswith("deployment-controller: Deployment default/web wants more than") for each in told)


def test_who_does_not_hear_of_the_edits_tries_ever_more_seldom() -> None:
    """5 ms, doubling to 1,000 s: client-go's rate limiter, for conflicts as for refusals."""

    def reconcile(seen: Seen) -> Decision:
        before = seen.subject
        assert isinstance(before, ConfigMap)
        done = Decision((Update(before, replace(before, data={"done": "yes"})),))
        return done if "done" not in before.data else Decision()

    def view(obj: Object) -> Object:
        assert isinstance(obj, ConfigMap)
        return replace(obj, metadata=ObjectMeta(name=obj.metadata.name))

    controller = Controller(
        "c", "C", ConfigMap, (), reconcile, concerned=lambda obj: obj.metadata.name == "x", view=view
    )
    cluster = VirtualCluster(controllers=(controller,), nodes=0)
    adversary = Adversary(cluster, "ConfigMap", 30)
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}])
    cluster.advance(timedelta(days=1))
    times = adversary.attempts["x"]
    gaps = [round((after - before).total_seconds() * 1000) for before, after in itertools.pairwise(times)]
    assert gaps == [min(5 * 2**number, 1_000_000) for number in range(29)]
    (found,) = [raw for raw in cluster.list("v1", "ConfigMap") if raw["metadata"]["name"] == "x"]
    assert found["data"] == {"done": "yes"}


def test_a_kubelets_word_about_its_pods_does_not_hang_on_what_others_write() -> None:
    """It patches statuses without saying which version it saw."""
    cluster = VirtualCluster(nodes=1)
    Adversary(cluster, "Pod", float("inf"))
    cluster.apply([workload("Deployment", replicas=2)])
    assert cluster.settle(timedelta(minutes=1)), cluster.unsettled()
    (found,) = cluster.list("apps/v1", "Deployment")
    assert found["status"]["readyReplicas"] == 2


def test_conflicts_of_one_object_do_not_keep_others_waiting() -> None:
    cluster = VirtualCluster(nodes=1)
    Adversary(cluster, "ReplicaSet", ROUNDS)
    other = workload("StatefulSet", replicas=2, serviceName="db")
    other["metadata"]["name"] = "db"
    cluster.apply([workload("Deployment", replicas=2), other])
    cluster.advance(timedelta(seconds=60))
    (database,) = cluster.list("apps/v1", "StatefulSet")
    assert database["status"]["readyReplicas"] == 2
