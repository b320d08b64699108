"""CSI volumes in a simulated cluster: attached before they are mounted, one node at a time; what a lost node holds."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.kube.objects import Node, PersistentVolume, PersistentVolumeClaim, Pod, VolumeAttachment
from seatrial.testing import Cluster

DRIVER = "disk.example.com"
IN_USE = 'Waiting for detach for volume "v" Volume is already used by pod(s) '


def driver(**how: str) -> dict[str, Any]:
    annotations = {f"seatrial/{name}": text for name, text in how.items()}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": DRIVER, "annotations": annotations},
        "spec": {},
    }


def volume(name: str = "v", mode: str = "ReadWriteOnce") -> list[dict[str, Any]]:
    """A CSI volume and the claim `name` on it."""
    size = {"storage": "1Gi"}
    csi = {"driver": DRIVER, "volumeHandle": f"vol-{name}"}
    spec = {"capacity": size, "accessModes": [mode], "csi": csi, "persistentVolumeReclaimPolicy": "Retain"}
    claim = {"accessModes": [mode], "resources": {"requests": size}, "storageClassName": "", "volumeName": name}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim},
    ]


def pod(name: str, node: str, claim: str = "v") -> dict[str, Any]:
    mount = {"name": "data", "mountPath": "/data"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "app", "image": "app", "volumeMounts": [mount]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


def test_a_driver_is_programmed_from_python_too() -> None:
    with cluster(*volume()) as on:
        on.install_driver(DRIVER, mount_error="no such device")
        on.apply(pod("one", "node-1"))
        on.advance(60)
        told = 'Warning FailedMount MountVolume.MountDevice failed for volume "v" : no such device'
        assert told in on.events("one")
        on.install_driver(DRIVER)
        on.advance(30)
        assert phase(on, "one") == "Running"


def cluster(*objects: dict[str, Any], nodes: int = 2) -> Cluster:
    made = Cluster(nodes=nodes)
    made.apply([*objects])
    made.advance(1)
    return made


def phase(on: Cluster, name: str) -> str:
    found = on.get(Pod, name)
    return "gone" if found is None else found.status.phase


def attached(on: Cluster, node: str) -> list[str]:
    found = on.get(Node, node)
    assert found is not None
    return [each.name for each in found.status.volumes_attached]


def used(on: Cluster, node: str) -> tuple[str, ...]:
    found = on.get(Node, node)
    assert found is not None
    return found.status.volumes_in_use


def test_a_pod_starts_when_its_volume_is_attached() -> None:
    with cluster(driver(attach_s="30", mount_s="5"), *volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(20)
        (attachment,) = on.list(VolumeAttachment)
        assert attachment.spec.attacher == DRIVER
        assert (attachment.spec.node_name, attachment.spec.source.persistent_volume_name) == ("node-1", "v")
        assert (attachment.status.attached, attached(on, "node-1")) == (False, [])
        name = f"kubernetes.io/csi/{DRIVER}^vol-v"
        assert used(on, "node-1") == (name,), "what is about to be mounted is in use already"
        assert phase(on, "one") == "Pending"
        waiting = on.get(Pod, "one")
        assert waiting is not None
        assert waiting.status.container_statuses[0].state.waiting.reason == "ContainerCreating"  # type: ignore[union-attr]
        on.advance(14)
        assert attached(on, "node-1") == [name]
        assert phase(on, "one") == "Pending", "mounting takes its time too"
        on.advance(6)
        assert phase(on, "one") == "Running"
        assert 'Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "v" ' in on.events("one")

        on.delete("v1", "Pod", "one")
        on.advance(60)
        assert (phase(on, "one"), on.list(VolumeAttachment), attached(on, "node-1"), used(on, "node-1")) == (
            "gone",
            (),
            [],
            (),
        )


def test_nobody_answers_for_a_driver_that_is_not_installed() -> None:
    with cluster(*volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(140)
        assert phase(on, "one") == "Pending"
        said = on.events("one")
        assert (
            'Warning FailedAttachVolume AttachVolume.Attach failed for volume "v" : timed out waiting for '
            f"external-attacher of {DRIVER} CSI driver to attach volume vol-v"
        ) in said
        assert (
            "Warning FailedMount Unable to attach or mount volumes: unmounted volumes=[data], "
            "unattached volumes=[data], failed to process volumes=[]: context deadline exceeded"
        ) in said
        on.apply(driver())
        on.advance(300)
        assert phase(on, "one") == "Running", "and it goes on when somebody does"


def test_what_the_driver_says_is_told_and_tried_again() -> None:
    with cluster(driver(attach_error="no more slots"), *volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(30)
        text = 'Warning FailedAttachVolume AttachVolume.Attach failed for volume "v" : no more slots'
        assert text in on.events("one")
        on.apply(driver(attach_error=""))
        on.advance(300)
        assert phase(on, "one") == "Running"


def test_an_unreadable_annotation_is_what_the_driver_says() -> None:
    with cluster(driver(attach_s="soon"), *volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(30)
        assert (
            'Warning FailedAttachVolume AttachVolume.Attach failed for volume "v" : annotation seatrial/attach_s of '
            f'CSIDriver {DRIVER}: "soon" is no number of seconds'
        ) in on.events("one")


def test_an_exclusive_volume_waits_for_the_other_node() -> None:
    with cluster(driver(), *volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(30)
        on.apply(pod("two", "node-2"))
        on.advance(600)
        assert (phase(on, "one"), phase(on, "two")) == ("Running", "Pending")
        told = [text for text in on.events("two") if "FailedAttachVolume" in text]
        assert told == [f"Warning FailedAttachVolume {IN_USE}one"], "once is enough"
        on.delete("v1", "Pod", "one")
        on.advance(200)
        assert phase(on, "two") == "Running"
        assert (attached(on, "node-1"), len(attached(on, "node-2"))) == ([], 1)


def test_older_versions_call_that_an_error() -> None:
    with Cluster(nodes=2, version="1.36") as on:
        on.apply([driver(), *volume()])
        on.apply(pod("one", "node-1"))
        on.advance(30)
        on.apply(pod("two", "node-2"))
        on.advance(30)
        text = 'Warning FailedAttachVolume Multi-Attach error for volume "v" Volume is already used by pod(s) one'
        assert text in on.events("two")


def test_a_volume_for_many_is_on_both_nodes() -> None:
    with cluster(driver(), *volume(mode="ReadWriteMany")) as on:
        on.apply([pod("one", "node-1"), pod("two", "node-2")])
        on.advance(30)
        assert (phase(on, "one"), phase(on, "two")) == ("Running", "Running")
        assert len(on.list(VolumeAttachment)) == 2


def test_a_driver_that_needs_no_attaching_gets_none() -> None:
    plain = driver()
    plain["spec"] = {"attachRequired": False}
    with cluster(plain, *volume()) as on:
        on.apply(pod("one", "node-1"))
        on.advance(30)
        assert (phase(on, "one"), on.list(VolumeAttachment), used(on, "node-1")) == ("Running", (), ())


def test_a_node_that_manages_its_volumes_itself_is_left_alone() -> None:
    with cluster(driver(), *volume()) as on:
        mark = "volumes.kubernetes.io/controller-managed-attach-detach"
        on.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "annotations": {mark: None}}})
        on.apply(pod("one", "node-1"))
        on.advance(60)
        assert (phase(on, "one"), on.list(VolumeAttachment)) == ("Pending", ())


def lost(on: Cluster) -> None:
    """A pod runs on node-1, which is cut off; the pod is evicted and forgotten; another waits on node-2."""
    on.apply(pod("one", "node-1"))
    on.advance(30)
    assert phase(on, "one") == "Running"
    on.fail_node("node-1")
    on.apply(pod("two", "node-2"))
    on.advance(60)
    assert phase(on, "two") == "Pending"


def test_a_lost_nodes_volume_is_taken_away_after_six_minutes() -> None:
    with cluster(driver(), *volume()) as on:
        lost(on)
        on.delete("v1", "Pod", "one", grace_s=0)
        on.advance(355)
        assert phase(on, "two") == "Pending", "the node may still write to it"
        on.advance(30)
        assert (phase(on, "two"), attached(on, "node-1")) == ("Running", [])


def test_out_of_service_takes_it_away_at_once() -> None:
    with cluster(driver(), *volume()) as on:
        lost(on)
        taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
        node = on.raw("v1", "Node", "node-1")
        taints = [*node["spec"].get("taints", []), taint]
        on.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"taints": taints}})
        on.advance(60)
        assert (phase(on, "one"), phase(on, "two")) == ("gone", "Running")


def test_a_claim_of_the_drivers_class_gets_a_volume_and_loses_it() -> None:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "disk"},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "disk",
        },
    }
    user = pod("one", "", "c")
    del user["spec"]["nodeName"]
    with cluster(driver(), storage_class, claim, user) as on:
        on.advance(30)
        assert phase(on, "one") == "Running"
        bound = on.get(PersistentVolumeClaim, "c")
        assert bound is not None
        made = on.get(PersistentVolume, bound.spec.volume_name)
        assert made is not None
        assert made.spec.csi is not None
        assert set(made.metadata.finalizers) == {"kubernetes.io/pv-protection", "external-attacher/disk-example-com"}
        on.delete("v1", "PersistentVolumeClaim", "c")
        on.delete("v1", "Pod", "one")
        on.advance(120)
        assert (on.list(PersistentVolume), on.list(VolumeAttachment)) == ((), ())


@pytest.mark.parametrize("most", [1, 2])
def test_the_scheduler_counts_what_a_node_may_take(most: int) -> None:
    pods = [pod(f"p{number}", "", f"v{number}") for number in range(3)]
    for each in pods:
        del each["spec"]["nodeName"]
    objects = [each for number in range(3) for each in volume(f"v{number}")]
    with cluster(driver(volumes_per_node=str(most)), *objects, nodes=1) as on:
        on.apply(pods)
        on.advance(60)
        assert sum(phase(on, f"p{number}") == "Running" for number in range(3)) == most
