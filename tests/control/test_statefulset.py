"""StatefulSets: stable names, order, rollouts, claims and history, each as documentation or KEP says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.control import garbage, statefulset
from seatrial.control.writes import Create, Propagation
from seatrial.kube.objects import ControllerRevision, Key, PersistentVolumeClaim, Pod, StatefulSet
from seatrial.kube.objects.pods import PodStatus
from tests.control.harness import Harness

LABELS = {"app": "db"}
CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def stateful_set(replicas: int = 3, image: str = "db:1", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": LABELS},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10,
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "db", "image": image}]}},
            **spec,
        },
    }


def rolling(**fields: object) -> dict[str, object]:
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, **fields}}


def new_cluster(minor: int = 37) -> Harness:
    cluster = Harness([statefulset.CONTROLLER])
    cluster.minor = minor
    return cluster


def pods(cluster: Harness) -> list[str]:
    """The pods as `ordinal:image`, with a ! while they go."""
    return [
        f"{pod.metadata.name[3:]}:{pod.spec.containers[0].image[3:]}{'!' if pod.metadata.deletion_timestamp else ''}"
        for pod in cluster.all(Pod)
    ]


def story(cluster: Harness, rounds: int = 30) -> list[list[str]]:
    """What pods there are whenever the controller rests, while every pod becomes ready and leaves when told."""
    told: list[list[str]] = []
    for _ in range(rounds):
        cluster.settle()
        if told and told[-1] == pods(cluster) and not any(pod.metadata.deletion_timestamp for pod in cluster.all(Pod)):
            return told
        told.append(pods(cluster))
        cluster.run_pods()
    raise AssertionError(f"no end: {told}")


def status(cluster: Harness) -> Any:
    return cluster.get(StatefulSet, "db").status


def test_pods_come_one_after_the_other_each_with_a_name_of_its_own() -> None:
    """Documentation, Ordered Pod Creation: "db-1 is not launched until db-0 is Running and Ready"."""
    cluster = new_cluster()
    cluster.apply(stateful_set())
    assert story(cluster) == [["0:1"], ["0:1", "1:1"], ["0:1", "1:1", "2:1"]]
    pod = cluster.get(Pod, "db-1")
    (revision,) = cluster.all(ControllerRevision)
    assert pod.metadata.labels == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-1",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": revision.metadata.name,
    }
    assert (pod.spec.hostname, pod.spec.subdomain, pod.metadata.generate_name) == ("db-1", "db", "db-")
    assert cluster.events[0] == "Normal SuccessfulCreate Create Pod db-0 in StatefulSet db successful"
    now = status(cluster)
    assert (now.replicas, now.ready_replicas, now.current_replicas, now.updated_replicas) == (3, 3, 3, 3)
    assert now.current_revision == now.update_revision == revision.metadata.name


def test_the_name_of_a_revision_is_upstreams() -> None:
    """Computed by a real kube-controller-manager 1.37.2 for this template, as defaulted by the API."""
    cluster = new_cluster()
    made = stateful_set()
    made["spec"]["template"]["spec"] = {
        "containers": [
            {
                "name": "db",
                "image": "db:1",
                "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    cluster.apply(made)
    cluster.settle()
    assert [revision.metadata.name for revision in cluster.all(ControllerRevision)] == ["db-6bcb98b9b4"]


def test_in_parallel_all_come_at_once_and_go_at_once() -> None:
    """Documentation, Parallel Pod Management: "launch or terminate all Pods in parallel"."""
    cluster = new_cluster()
    cluster.apply(stateful_set(podManagementPolicy="Parallel"))
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:1", "2:1"]
    cluster.run_pods()
    cluster.apply(stateful_set(1, podManagementPolicy="Parallel"))
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:1!", "2:1!"]


def test_pods_go_from_the_highest_down_and_only_while_the_rest_is_well() -> None:
    """Documentation: "Before a Pod is terminated, all of its successors must be completely shutdown"."""
    cluster = new_cluster()
    cluster.apply(stateful_set())
    story(cluster)
    cluster.apply(stateful_set(0))
    assert story(cluster) == [["0:1", "1:1", "2:1!"], ["0:1", "1:1!"], ["0:1!"], []]


def test_an_unready_pod_holds_up_the_removal_of_those_above_it() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set())
    story(cluster)
    ill = cluster.get(Pod, "db-0")
    cluster.objects[ill.key] = replace(ill, status=PodStatus(phase="Running"))
    cluster.apply(stateful_set(1))
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:1", "2:1"]
    cluster.run_pods()
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:1", "2:1!"]


def test_ordinals_start_where_they_are_told_to() -> None:
    """KEP-3335: pods are numbered from `.spec.ordinals.start`; moving it moves the range."""
    cluster = new_cluster()
    cluster.apply(stateful_set(2, ordinals={"start": 3}))
    story(cluster)
    assert pods(cluster) == ["3:1", "4:1"]
    cluster.apply(stateful_set(2, ordinals={"start": 4}))
    assert story(cluster)[-1] == ["4:1", "5:1"]


def test_a_rollout_goes_from_the_highest_ordinal_down() -> None:
    """Documentation, Rolling Updates: "from the largest ordinal to the smallest, updating each Pod one at a time"."""
    cluster = new_cluster()
    cluster.apply(stateful_set())
    story(cluster)
    cluster.apply(stateful_set(image="db:2"))
    assert story(cluster) == [
        ["0:1", "1:1", "2:1!"],
        ["0:1", "1:1", "2:2"],
        ["0:1", "1:1!", "2:2"],
        ["0:1", "1:2", "2:2"],
        ["0:1!", "1:2", "2:2"],
        ["0:2", "1:2", "2:2"],
    ]
    now = status(cluster)
    assert now.current_revision == now.update_revision
    assert (now.current_replicas, now.updated_replicas) == (3, 3)


def test_pods_below_the_partition_stay_and_are_remade_as_they_were() -> None:
    """Documentation, Partitioned rolling updates: "even if they are deleted, they will be recreated" as they were."""
    cluster = new_cluster()
    cluster.apply(stateful_set())
    story(cluster)
    cluster.apply(stateful_set(image="db:2", updateStrategy=rolling(partition=2)))
    assert story(cluster)[-1] == ["0:1", "1:1", "2:2"]
    assert (status(cluster).current_replicas, status(cluster).updated_replicas) == (2, 1)
    cluster.delete(Key("Pod", "default", "db-0"))
    assert story(cluster)[-1] == ["0:1", "1:1", "2:2"]


def test_max_unavailable_replaces_several_at_once_from_1_37_on() -> None:
    """KEP-961: on by default since 1.37; before, one pod at a time whatever the field says."""
    several = stateful_set(5, image="db:2", updateStrategy=rolling(maxUnavailable=2))
    for minor, first in ((37, ["0:1", "1:1", "2:1", "3:1!", "4:1!"]), (36, ["0:1", "1:1", "2:1", "3:1", "4:1!"])):
        cluster = new_cluster(minor)
        cluster.apply(stateful_set(5))
        story(cluster)
        cluster.apply(several)
        assert story(cluster)[0] == first
        assert pods(cluster) == ["0:2", "1:2", "2:2", "3:2", "4:2"]


def test_on_delete_only_replaces_what_somebody_deletes() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(2, updateStrategy={"type": "OnDelete"}))
    story(cluster)
    cluster.apply(stateful_set(2, image="db:2", updateStrategy={"type": "OnDelete"}))
    assert story(cluster)[-1] == ["0:1", "1:1"]
    cluster.delete(Key("Pod", "default", "db-0"))
    assert story(cluster)[-1] == ["0:2", "1:1"]


def test_a_rollout_that_never_gets_ready_stays_stuck_after_the_template_is_repaired() -> None:
    """Documentation, Forced rollback: "it will continue to wait for the broken Pod to become Ready"."""
    cluster = new_cluster()
    cluster.apply(stateful_set(2))
    story(cluster)
    cluster.apply(stateful_set(2, image="db:broken"))
    cluster.settle()
    cluster.finish_deleted()
    cluster.settle()
    cluster.run_pods(ready=False)
    cluster.apply(stateful_set(2))
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:broken"]
    cluster.delete(Key("Pod", "default", "db-1"))
    assert story(cluster)[-1] == ["0:1", "1:1"]


def test_min_ready_seconds_delays_the_next_pod() -> None:
    """KEP-2599."""
    cluster = new_cluster()
    cluster.apply(stateful_set(2, minReadySeconds=10))
    cluster.settle()
    cluster.run_pods()
    cluster.settle()
    assert pods(cluster) == ["0:1"]
    assert (status(cluster).ready_replicas, status(cluster).available_replicas) == (1, 0)
    (at,) = (at for at in cluster.wakes.values() if at is not None)
    cluster.now = at
    cluster.settle()
    assert pods(cluster) == ["0:1", "1:1"]


def test_a_failed_pod_is_deleted_and_made_again() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(1))
    story(cluster)
    pod = cluster.get(Pod, "db-0")
    cluster.objects[pod.key] = replace(pod, status=PodStatus(phase="Failed"))
    assert story(cluster)[-1] == ["0:1"]
    assert cluster.get(Pod, "db-0").metadata.uid != pod.metadata.uid
    assert not any("Recreating" in event for event in cluster.events), "no version since 1.29 tells"


def test_history_is_kept_reused_on_the_way_back_and_cut() -> None:
    cluster = new_cluster()
    for image in ("db:1", "db:2", "db:1"):
        cluster.apply(stateful_set(1, image=image))
        story(cluster)
    revisions = cluster.all(ControllerRevision)
    assert sorted(revision.revision for revision in revisions) == [2, 3]
    for number in range(3, 7):
        cluster.apply(stateful_set(1, image=f"db:{number}", revisionHistoryLimit=1))
        story(cluster)
    assert sorted(revision.revision for revision in cluster.all(ControllerRevision)) == [6, 7]


def test_a_taken_name_is_avoided_and_counted() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(1))
    cluster.settle()
    (revision,) = cluster.all(ControllerRevision)
    other = new_cluster()
    other.create(replace(revision, data=None, metadata=replace(revision.metadata, owner_references=(), labels={})))
    other.apply(stateful_set(1))
    other.settle()
    assert len(other.all(ControllerRevision)) == 2
    assert status(other).collision_count == 1


def test_each_pod_has_claims_of_its_own_that_outlive_it() -> None:
    """Documentation, Stable Storage: claims "are not deleted when the Pods, or StatefulSet are deleted"."""
    cluster = new_cluster()
    cluster.apply(stateful_set(2, volumeClaimTemplates=[CLAIM]))
    story(cluster)
    assert [claim.metadata.name for claim in cluster.all(PersistentVolumeClaim)] == ["data-db-0", "data-db-1"]
    assert cluster.all(PersistentVolumeClaim)[0].metadata.labels == LABELS
    (volume,) = cluster.get(Pod, "db-1").spec.volumes
    assert volume.persistent_volume_claim is not None
    assert (volume.name, volume.persistent_volume_claim.claim_name) == ("data", "data-db-1")
    assert "Normal SuccessfulCreate Create Claim data-db-0 Pod db-0 in StatefulSet db success" in cluster.events
    cluster.apply(stateful_set(1, volumeClaimTemplates=[CLAIM]))
    story(cluster)
    assert len(cluster.all(PersistentVolumeClaim)) == 2


@pytest.mark.parametrize(
    ("deleted", "scaled", "after_scaling", "after_deletion"),
    [("Retain", "Retain", 2, 2), ("Retain", "Delete", 1, 1), ("Delete", "Retain", 2, 0), ("Delete", "Delete", 1, 0)],
)
def test_claims_go_as_the_retention_policy_says(
    deleted: str, scaled: str, after_scaling: int, after_deletion: int
) -> None:
    """KEP-1847."""
    cluster = Harness([statefulset.CONTROLLER, *garbage.CONTROLLERS])
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    fields: dict[str, Any] = {"volumeClaimTemplates": [CLAIM], "persistentVolumeClaimRetentionPolicy": policy}
    cluster.apply(stateful_set(2, **fields))
    story(cluster)
    cluster.apply(stateful_set(1, **fields))
    story(cluster)
    assert len(cluster.all(PersistentVolumeClaim)) == after_scaling
    cluster.delete(Key("StatefulSet", "default", "db"), Propagation.BACKGROUND)
    story(cluster)
    assert len(cluster.all(PersistentVolumeClaim)) == after_deletion


def test_a_claim_that_is_going_must_be_gone_before_its_pod_comes() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(1, volumeClaimTemplates=[CLAIM]))
    story(cluster)
    claim = cluster.get(PersistentVolumeClaim, "data-db-0")
    meta = replace(claim.metadata, finalizers=("kubernetes.io/pvc-protection",), deletion_timestamp=cluster.now)
    cluster.objects[claim.key] = replace(claim, metadata=meta)
    cluster.delete(Key("Pod", "default", "db-0"))
    cluster.finish_deleted()
    (subject,) = cluster.all(StatefulSet)
    cluster.step(statefulset.CONTROLLER, subject)
    expected = "Create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"
    assert f"Warning FailedCreate {expected}" in cluster.events
    assert pods(cluster) == []


def test_a_refused_pod_is_told_of_and_tried_again() -> None:
    cluster = new_cluster()
    cluster.refuse = lambda write: "no room" if isinstance(write, Create) and isinstance(write.object, Pod) else ""
    cluster.apply(stateful_set(1))
    cluster.settle()
    assert cluster.events == ["Warning FailedCreate Create Pod db-0 in StatefulSet db failed error: no room"]
    cluster.refuse = lambda write: ""
    assert story(cluster)[-1] == ["0:1"]


def test_orphans_of_the_right_name_are_adopted_and_strangers_block() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(2))
    story(cluster)
    cluster.delete(Key("StatefulSet", "default", "db"), Propagation.ORPHAN)
    for obj in [*cluster.all(Pod), *cluster.all(ControllerRevision)]:
        cluster.objects[obj.key] = replace(obj, metadata=replace(obj.metadata, owner_references=()))
    cluster.objects.pop(Key("StatefulSet", "default", "db"))
    uids = [pod.metadata.uid for pod in cluster.all(Pod)]
    cluster.apply(stateful_set(2))
    story(cluster)
    assert [pod.metadata.uid for pod in cluster.all(Pod)] == uids
    assert all(pod.metadata.controller is not None for pod in cluster.all(Pod))


def test_a_huge_set_is_made_in_small_steps() -> None:
    cluster = new_cluster()
    cluster.apply(stateful_set(2**31 - 1, podManagementPolicy="Parallel"))
    (subject,) = cluster.all(StatefulSet)
    cluster.step(statefulset.CONTROLLER, subject)
    assert len(cluster.all(Pod)) == statefulset.BURST


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 3), st.integers(0, 5), st.integers(1, 3)),
        min_size=1,
        max_size=6,
    ),
)
def test_any_history_ends_with_the_pods_that_were_asked_for(ordered: bool, steps: list[tuple[int, ...]]) -> None:
    cluster = new_cluster()
    policy = "OrderedReady" if ordered else "Parallel"
    for replicas, image, partition, started, unavailable in steps:
        strategy = rolling(partition=partition, maxUnavailable=unavailable)
        fields: dict[str, Any] = {"updateStrategy": strategy, "podManagementPolicy": policy}
        cluster.apply(stateful_set(replicas, image=f"db:{image}", **fields))
        cluster.settle()
        cluster.run_pods(started)
        now = status(cluster)
        assert 0 <= now.available_replicas <= now.ready_replicas <= now.replicas
    assert [name.partition(":")[0] for name in story(cluster, 60)[-1]] == [str(number) for number in range(replicas)]
    updated = [pod for pod in pods(cluster) if int(pod[0]) >= partition]
    assert all(pod.endswith(f":{image}") for pod in updated)
