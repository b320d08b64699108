"""Whole rollouts: Deployment and ReplicaSet controllers against a store that is a dict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.control import rollout
from seatrial.control.manager import CONTROLLERS
from seatrial.control.ownership import is_ready
from seatrial.control.writes import Create, Propagation
from seatrial.kube.objects import Deployment, ObjectMeta, Pod, ReplicaSet
from tests.control.harness import REVISION, Harness, deployment


def progressing(cluster: Harness) -> str:
    return next(c.reason for c in cluster.get(Deployment, "web").status.conditions if c.type == "Progressing")


def test_a_first_rollout_creates_one_replica_set_and_becomes_available() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment())
    assert cluster.roll_out() == ["1:3"]
    web = cluster.get(Deployment, "web")
    assert (web.status.replicas, web.status.available_replicas, web.status.updated_replicas) == (3, 3, 3)
    assert web.status.unavailable_replicas == 0
    assert web.metadata.annotations[REVISION] == "1"
    assert {c.type: c.reason for c in web.status.conditions} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    (rs,) = cluster.all(ReplicaSet)
    digest = rs.metadata.labels["pod-template-hash"]
    assert rs.metadata.name == f"web-{digest}"
    assert rs.metadata.annotations["deployment.kubernetes.io/max-replicas"] == "4"
    assert cluster.events[0] == f"Normal ScalingReplicaSet Scaled up replica set web-{digest} from 0 to 3"
    assert cluster.events[1] == f"Normal SuccessfulCreate Created pod: {cluster.all(Pod)[0].metadata.name}"


def test_a_rolling_update_goes_one_surge_at_a_time_and_an_undo_moves_the_old_replica_set_to_a_new_revision() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment())
    cluster.roll_out()
    cluster.apply(deployment("app:2"))
    assert cluster.roll_out() == ["1:3 2:1", "1:2 2:2", "1:1 2:3", "1:0 2:3"]
    cluster.apply(deployment("app:1"))
    cluster.roll_out()
    assert {rs.metadata.annotations[REVISION] for rs in cluster.all(ReplicaSet)} == {"2", "3"}
    active = next(rs for rs in cluster.all(ReplicaSet) if rs.spec.replicas)
    assert active.spec.template.spec.containers[0].image == "app:1"
    assert active.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert cluster.get(Deployment, "web").metadata.annotations[REVISION] == "3"


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment(strategy={"type": "Recreate"}))
    cluster.roll_out()
    cluster.apply(deployment("app:2", strategy={"type": "Recreate"}))
    cluster.settle()
    assert all(pod.metadata.deletion_timestamp for pod in cluster.all(Pod))
    assert len(cluster.all(ReplicaSet)) == 1
    cluster.finish_deleted()
    cluster.settle()
    assert [pod.spec.containers[0].image for pod in cluster.all(Pod)] == ["app:2"] * 3


def test_without_progress_the_deadline_is_reported_when_it_is_over_and_not_before() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment(progressDeadlineSeconds=60))
    cluster.settle()
    assert progressing(cluster) in {"NewReplicaSetCreated", "ReplicaSetUpdated"}
    assert cluster.wake_at is not None
    cluster.pass_time(60)
    cluster.settle()
    assert progressing(cluster) != "ProgressDeadlineExceeded"
    cluster.now = cluster.wake_at
    cluster.settle()
    assert progressing(cluster) == "ProgressDeadlineExceeded"
    cluster.roll_out()
    assert progressing(cluster) == "NewReplicaSetAvailable"


def test_a_paused_deployment_scales_in_proportion_and_does_not_roll() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment(replicas=10))
    cluster.roll_out()
    cluster.apply(deployment("app:2", replicas=10))
    cluster.settle()
    assert [rs.spec.replicas for rs in cluster.by_revision()] == [8, 5]
    cluster.apply(deployment("app:2", replicas=20, paused=True))
    cluster.settle()
    assert [rs.spec.replicas for rs in cluster.by_revision()] == [15, 10]
    assert progressing(cluster) == "DeploymentPaused"


def test_available_means_ready_for_min_ready_seconds() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment(minReadySeconds=30))
    cluster.settle()
    cluster.run_pods()
    cluster.settle()
    assert cluster.get(Deployment, "web").status.available_replicas == 0
    cluster.pass_time(30)
    cluster.settle()
    assert cluster.get(Deployment, "web").status.available_replicas == 3


def test_old_replica_sets_beyond_the_history_limit_are_deleted() -> None:
    cluster = Harness(CONTROLLERS)
    for number in range(1, 5):
        cluster.apply(deployment(f"app:{number}", revisionHistoryLimit=1))
        cluster.roll_out()
    assert [rs.metadata.annotations[REVISION] for rs in cluster.by_revision()] == ["3", "4"]


def test_an_orphaned_replica_set_is_adopted_with_its_pods() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment())
    cluster.roll_out()
    (rs,) = cluster.all(ReplicaSet)
    cluster.delete(cluster.get(Deployment, "web").key, propagation=Propagation.ORPHAN)
    cluster.settle()
    (orphan,) = cluster.all(ReplicaSet)
    assert orphan.metadata.owner_references == ()
    cluster.apply(deployment())
    cluster.settle()
    (adopted,) = cluster.all(ReplicaSet)
    assert adopted.metadata.uid == rs.metadata.uid
    assert adopted.metadata.controller is not None
    assert len(cluster.all(Pod)) == 3


@settings(max_examples=30, deadline=None)
@given(
    replicas=st.integers(1, 6),
    surge=st.sampled_from([0, 1, 2, "25%", "50%"]),
    unavailable=st.sampled_from([0, 1, 2, "25%", "50%"]),
)
def test_a_rollout_ends_and_keeps_its_bounds(replicas: int, surge: int | str, unavailable: int | str) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    limits = rollout.bounds(replicas, surge, unavailable)
    cluster = Harness(CONTROLLERS[:2])
    cluster.apply(deployment(replicas=replicas, strategy=strategy))
    cluster.roll_out()
    cluster.apply(deployment("app:2", replicas=replicas, strategy=strategy))
    for _ in range(200):
        wrote = cluster.step_once()
        pods = [pod for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None]
        assert len(pods) <= limits.max_total
        assert sum(is_ready(pod) for pod in pods) >= limits.min_available
        if not wrote:
            if all(pod.status.conditions for pod in pods):
                break
            cluster.run_pods(1)
    assert progressing(cluster) == "NewReplicaSetAvailable"
    assert {pod.spec.containers[0].image for pod in pods} == {"app:2"}


def test_a_replica_set_that_cannot_be_created_is_told_of() -> None:
    """The condition Progressing turns False with the reason ReplicaSetCreateError."""
    cluster = Harness([CONTROLLERS[0]])
    cluster.refuse = lambda write: "admission webhook said no" if isinstance(write, Create) else ""
    cluster.apply(deployment())
    cluster.settle()
    (condition,) = cluster.get(Deployment, "web").status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Progressing", "False", "ReplicaSetCreateError")
    assert condition.message.endswith('": admission webhook said no')
    assert cluster.events == [f"Warning ReplicaSetCreateError {condition.message}"]


def test_a_replica_set_of_the_wanted_name_that_is_not_ours_makes_the_hash_differ() -> None:
    """status.collisionCount: "used as a collision avoidance mechanism"."""
    cluster = Harness([CONTROLLERS[0]])
    cluster.apply(deployment())
    cluster.settle()
    (taken,) = (rs.metadata.name for rs in cluster.all(ReplicaSet))
    other = Harness([CONTROLLERS[0]])
    other.create(ReplicaSet(metadata=ObjectMeta(name=taken, namespace="default")))
    other.refuse = lambda write: (
        f'replicasets.apps "{taken}" already exists'
        if isinstance(write, Create) and write.object.metadata.name == taken
        else ""
    )
    other.apply(deployment())
    other.settle()
    assert other.get(Deployment, "web").status.collision_count == 1
    other.settle()
    assert len(other.all(ReplicaSet)) == 2
