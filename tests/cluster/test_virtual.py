"""Simulated days are the same every time, and shortcuts on the way to the store change nothing that is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from seatrial.cluster.behaviours import Rule, by_rules
from seatrial.cluster.simulated import Behaviour
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control import admission
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.server import api

CRASHING = by_rules([Rule(Behaviour(exits_after_s=30, exit_code=1, failing_attempts=2), "app=worker")])


def workload(kind: str, name: str, image: str = "app:1", **spec: Any) -> JsonObject:
    labels = {"app": name}
    probe = {"httpGet": {"path": "/", "port": 80}}
    container = {"name": "main", "image": image, "readinessProbe": probe, "resources": {"requests": {"cpu": "0.1"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"name": name, "namespace": "default"}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def a_story(seed: int = 1) -> dict[str, list[JsonObject]]:
    """A rollout, crashes, the loss of a node and an eviction; everything that is stored in the end."""
    cluster = VirtualCluster(nodes=3, seed=seed, behaves=CRASHING)
    cluster.apply([workload("Deployment", "web", replicas=4), workload("ReplicaSet", "worker", replicas=2)])
    ports = [{"port": 80}]
    metadata = {"name": "web", "namespace": "default"}
    spec = {"selector": {"app": "web"}, "ports": ports}
    cluster.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}])
    cluster.advance(timedelta(minutes=5))
    cluster.apply([workload("Deployment", "web", image="app:2", replicas=3)])
    assert cluster.settle()
    cluster.cluster.fail_node("node-2")
    cluster.advance(timedelta(minutes=15))
    cluster.cluster.restore_node("node-2")
    cluster.advance(timedelta(minutes=5))
    store = cluster.api.store
    return {
        resource: [stored.raw for _, stored in sorted(store.all(resource).items())]
        for resource in sorted(store.resources())
    }


def test_the_same_seed_ends_in_the_same_state_to_the_last_byte() -> None:
    once, again, other = a_story(), a_story(), a_story(seed=2)
    assert msgspec.json.encode(once) == msgspec.json.encode(again)
    assert once != other
    assert len(once["/pods"]) == 5


def test_what_the_clusters_own_components_stored_without_checks_would_have_passed_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its shape is that of the schema, defaulting it again adds nothing, and the short way ends as the long one."""
    stored = a_story()
    for raw in (raw for objects in stored.values() for raw in objects):
        problems = schemas.validate(raw, schemas.load(schemas.NEWEST))
        unfilled = [each for each in problems if (each.kind, each.path[0]) != ("required", "status")]
        assert not unfilled, raw
        again = admission.admit(raw)
        assert {**again, "metadata": raw["metadata"]} == raw
    monkeypatch.setattr(api, "_differs_in_status_only", lambda before, after: False)
    assert a_story() == stored


def test_settle_says_when_it_does_not_come_to_rest() -> None:
    cluster = VirtualCluster(
        nodes=1, behaves=by_rules([Rule(Behaviour(ready_after_s=9, exits_after_s=5, exit_code=1))])
    )
    cluster.apply([workload("Deployment", "web", replicas=1)])
    began = cluster.clock.now()
    assert not cluster.settle(timedelta(minutes=5))
    assert cluster.clock.now() - began == timedelta(minutes=5)


def test_what_is_under_way_is_known_for_every_workload() -> None:
    """A job is until it has finished, the others until they have all their replicas."""
    cluster = VirtualCluster(nodes=2, behaves=by_rules([Rule(Behaviour(exits_after_s=30), "app=job")]))
    job = workload("Job", "job")
    template = job["spec"]["template"]
    template["spec"]["restartPolicy"] = "Never"
    del template["spec"]["containers"][0]["readinessProbe"]
    cluster.apply(
        [
            workload("StatefulSet", "db", replicas=2, serviceName="db"),
            workload("DaemonSet", "agent"),
            {**job, "apiVersion": "batch/v1", "spec": {"template": template}},
        ]
    )
    assert not cluster.is_settled()
    assert cluster.settle()
    (db,), (agent,), (done,) = (
        cluster.list(*kind) for kind in (("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"))
    )
    assert db["status"]["availableReplicas"] == 2
    assert agent["status"]["numberAvailable"] == 2
    assert done["status"]["succeeded"] == 1
