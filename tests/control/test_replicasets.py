"""ReplicaSets and ReplicationControllers: what they make, what they tell, what they do when the API says no."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.control import replicaset, replicationcontroller
from seatrial.control.writes import Create, Delete, Write
from seatrial.kube.objects import Pod, ReplicaSet, ReplicationController
from tests.control.harness import Harness

QUOTA = 'pods "web-1" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'


def replica_set(replicas: int, kind: str = "ReplicaSet", **spec: object) -> dict[str, object]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1" if kind == "ReplicaSet" else "v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels} if kind == "ReplicaSet" else labels,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}},
            **spec,
        },
    }


def test_a_quota_shows_as_a_condition_that_goes_with_the_next_success() -> None:
    """ReplicaFailure: "added in a replica set when one of its pods fails to be created due to insufficient quota"."""
    cluster = Harness([replicaset.CONTROLLER])

    def refuse(write: Write) -> str:
        return QUOTA if isinstance(write, Create) and len(cluster.all(Pod)) >= 2 else ""

    cluster.refuse = refuse
    cluster.apply(replica_set(3))
    cluster.settle()
    (condition,) = cluster.get(ReplicaSet, "web").status.conditions
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    assert condition.message == QUOTA
    assert cluster.events[-1] == f"Warning FailedCreate Error creating: {QUOTA}"
    assert cluster.get(ReplicaSet, "web").status.replicas == 2
    cluster.refuse = lambda write: ""
    cluster.settle()
    status = cluster.get(ReplicaSet, "web").status
    assert (status.replicas, status.conditions) == (3, ())


def test_a_pod_that_cannot_be_deleted_is_told_of() -> None:
    cluster = Harness([replicaset.CONTROLLER])
    cluster.apply(replica_set(1))
    cluster.settle()
    cluster.apply(replica_set(0))
    cluster.refuse = lambda write: "no" if isinstance(write, Delete) else ""
    cluster.settle()
    (condition,) = cluster.get(ReplicaSet, "web").status.conditions
    assert (condition.reason, condition.message) == ("FailedDelete", "unable to delete pods: no")
    assert cluster.events[-1] == "Warning FailedDelete Error deleting: no"


def test_nobody_is_told_that_a_namespace_which_ends_takes_no_pods() -> None:
    cluster = Harness([replicaset.CONTROLLER])
    end = "unable to create new content in namespace default because it is being terminated"
    cluster.refuse = lambda write: end if isinstance(write, Create) else ""
    cluster.apply(replica_set(2))
    cluster.settle()
    assert cluster.events == []
    assert cluster.get(ReplicaSet, "web").status.conditions == ()


@pytest.mark.parametrize(("minor", "told"), [(34, None), (35, 2)])
def test_terminating_pods_are_counted_from_1_35_on(minor: int, told: int | None) -> None:
    """KEP-3973: `.status.terminatingReplicas` is on by default since 1.35."""
    cluster = Harness([replicaset.CONTROLLER])
    cluster.minor = minor
    cluster.apply(replica_set(2))
    cluster.settle()
    cluster.run_pods()
    cluster.apply(replica_set(0))
    cluster.settle()
    assert cluster.get(ReplicaSet, "web").status.terminating_replicas == told


def test_a_replication_controller_does_as_a_replica_set_does() -> None:
    cluster = Harness([replicationcontroller.CONTROLLER])
    cluster.apply(replica_set(3, "ReplicationController"))
    cluster.settle()
    cluster.run_pods(2)
    cluster.settle()
    status = cluster.get(ReplicationController, "web").status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 2)
    owner = cluster.all(Pod)[0].metadata.controller
    assert owner is not None
    assert (owner.api_version, owner.kind) == ("v1", "ReplicationController")
    stray = cluster.all(Pod)[0]
    cluster.objects[stray.key] = replace(stray, metadata=replace(stray.metadata, labels={"app": "debug"}))
    cluster.settle()
    assert cluster.objects[stray.key].metadata.owner_references == ()
    assert len(cluster.all(Pod)) == 4
    cluster.refuse = lambda write: QUOTA if isinstance(write, Create) else ""
    cluster.apply(replica_set(9, "ReplicationController"))
    cluster.settle()
    assert [c.reason for c in cluster.get(ReplicationController, "web").status.conditions] == ["FailedCreate"]


def test_pods_become_available_after_min_ready_seconds_and_the_controller_looks_then() -> None:
    cluster = Harness([replicaset.CONTROLLER])
    cluster.apply(replica_set(1, minReadySeconds=10))
    cluster.settle()
    cluster.run_pods()
    cluster.settle()
    assert cluster.get(ReplicaSet, "web").status.available_replicas == 0
    (at,) = (at for at in cluster.wakes.values() if at is not None)
    cluster.now = at
    cluster.settle()
    assert cluster.get(ReplicaSet, "web").status.available_replicas == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=6))
def test_any_scaling_ends_with_as_many_pods_as_asked_for(steps: list[tuple[int, int]]) -> None:
    cluster = Harness([replicaset.CONTROLLER])
    cluster.apply(replica_set(2))
    for size, started in steps:
        cluster.apply(replica_set(size))
        cluster.settle()
        cluster.run_pods(started)
        cluster.settle()
        status = cluster.get(ReplicaSet, "web").status
        staying = [pod for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None]
        assert status.replicas == len(staying) == size
        assert status.available_replicas <= status.ready_replicas <= status.replicas
