"""Storage in a simulated cluster, through the API: admission, binding, provisioning, protection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import Cluster
from seatrial.control.manager import CONTROLLERS
from seatrial.control.volumes import matching
from seatrial.server.requests import Filter
from seatrial.server.store import Store


class Storage:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.cluster = Cluster(Store.open(":memory:"), nodes=("a",), controllers=CONTROLLERS, clock=self.clock)
        self.cluster.start()
        self.api = self.cluster.api

    def create(self, kind: str, name: str, **parts: Any) -> dict[str, Any]:
        resource = self.api.kind("v1", kind)
        namespace = "" if kind == "PersistentVolume" else "default"
        made = self.api.create(resource, namespace, {"metadata": {"name": name}, **parts})
        self.clock.run(timedelta(seconds=5))
        return made

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.api.get(self.api.kind("v1", kind), "" if kind == "PersistentVolume" else "default", name)

    def names(self, kind: str) -> list[str]:
        return [each["metadata"]["name"] for each in self.api.list(self.api.kind("v1", kind), Filter()).items]

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(self.api.kind("v1", kind), "" if kind == "PersistentVolume" else "default", name)
        self.clock.run(timedelta(seconds=5))


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def test_a_claim_is_provisioned_by_the_class_that_every_cluster_has() -> None:
    storage = Storage()
    made = storage.create("PersistentVolumeClaim", "data", spec=CLAIM)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert (made["spec"]["storageClassName"], made["status"]) == ("standard", {"phase": "Pending"})
    user = {
        "nodeName": "a",
        "containers": [{"name": "a", "image": "x"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    storage.create("Pod", "user", spec=user)
    as_the_scheduler = {"metadata": {"annotations": {matching.SELECTED_NODE: "a"}}}
    storage.api.patch(storage.api.kind("v1", "PersistentVolumeClaim"), "default", "data", as_the_scheduler)
    storage.clock.run(timedelta(seconds=5))
    claim = storage.get("PersistentVolumeClaim", "data")
    assert claim["status"]["phase"] == "Bound"
    assert claim["status"]["capacity"] == {"storage": "1Gi"}
    assert [(c["type"], c["status"]) for c in claim["status"]["conditions"]] == [("Unused", "False")]
    volume = storage.get("PersistentVolume", claim["spec"]["volumeName"])
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert (volume["status"]["phase"], volume["spec"]["persistentVolumeReclaimPolicy"]) == ("Bound", "Delete")
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]

    storage.delete("PersistentVolumeClaim", "data")
    assert storage.names("PersistentVolumeClaim") == ["data"], "its pod holds it"
    storage.delete("Pod", "user")
    storage.clock.run(timedelta(seconds=60))
    assert (storage.names("PersistentVolumeClaim"), storage.names("PersistentVolume")) == ([], [])
    storage.api.store.close()


def test_a_static_volume_is_bound_released_and_kept() -> None:
    storage = Storage()
    spec = {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}
    made = storage.create("PersistentVolume", "v", spec=spec)
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    available = storage.get("PersistentVolume", "v")["status"]
    assert (available["phase"], "lastPhaseTransitionTime" in available) == ("Available", True)
    storage.create("PersistentVolumeClaim", "c", spec={**CLAIM, "storageClassName": ""})
    assert storage.get("PersistentVolume", "v")["status"]["phase"] == "Bound"
    storage.delete("PersistentVolume", "v")
    assert storage.names("PersistentVolume") == ["v"], "its claim holds it"
    storage.delete("PersistentVolumeClaim", "c")
    assert (storage.names("PersistentVolumeClaim"), storage.names("PersistentVolume")) == ([], [])
    storage.api.store.close()


def test_a_claim_that_nobody_serves_waits_without_writing() -> None:
    storage = Storage()
    storage.create("PersistentVolumeClaim", "c", spec={**CLAIM, "storageClassName": ""})
    before = storage.get("PersistentVolumeClaim", "c")
    storage.clock.run(timedelta(hours=12))
    assert storage.get("PersistentVolumeClaim", "c") == before
    storage.api.store.close()
