"""Storage as people break it: what cannot be is refused, the rest converges, and nothing goes round in circles."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.kube.objects import PersistentVolume, PersistentVolumeClaim, Pod, VolumeAttachment
from seatrial.server.errors import StatusError
from seatrial.testing import Cluster

CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "disk"},
    "provisioner": "disk.example.com",
}


def claim(name: str, size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": ""}
    meta = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": {**wanted, **spec}}


def volume(name: str, size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "hostPath": {"path": "/srv"}}
    meta = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": {**wanted, **spec}}


def pod(name: str, claim_name: str) -> dict[str, Any]:
    container = {"name": "app", "image": "app", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": claim_name}}]
    spec = {"containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def claim_phase(on: Cluster, name: str) -> str:
    found = on.get(PersistentVolumeClaim, name)
    return "gone" if found is None else found.status.phase


def volume_phase(on: Cluster, name: str) -> str:
    found = on.get(PersistentVolume, name)
    return "gone" if found is None else found.status.phase


def is_calm(on: Cluster) -> bool:
    """An hour passes in which nobody writes to a claim, a volume or an attachment."""
    kinds = (("v1", "PersistentVolumeClaim"), ("v1", "PersistentVolume"), ("storage.k8s.io/v1", "VolumeAttachment"))
    before = [on.raw_list(*kind) for kind in kinds]
    on.advance(3600)
    return before == [on.raw_list(*kind) for kind in kinds]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (claim("c", "0"), 'spec.resources[storage]: Invalid value: "0": must be greater than zero'),
        (claim("c", "-5Gi"), 'spec.resources[storage]: Invalid value: "-5Gi": must be greater than zero'),
        (claim("c", resources={}), "spec.resources[storage]: Required value"),
        (claim("c", accessModes=[]), "spec.accessModes: Required value: at least 1 access mode is required"),
        (
            claim("c", accessModes=["ReadWriteOncePod", "ReadWriteMany"]),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (volume("v", "0"), 'spec.capacity[storage]: Invalid value: "0": must be greater than zero'),
        (volume("v", csi={"driver": "d", "volumeHandle": "h"}), "may not specify more than 1 volume type"),
        (volume("v", hostPath=None), "spec: Required value: must specify a volume type"),
        (
            volume("v", hostPath=None, local={"path": "/srv"}),
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ),
        (volume("v", persistentVolumeReclaimPolicy="Burn"), 'Unsupported value: "Burn"'),
    ],
)
def test_what_makes_no_sense_is_refused(made: dict[str, Any], says: str) -> None:
    with Cluster() as on, pytest.raises(StatusError) as refused:
        on.apply(made)
    assert says in str(refused.value)
    assert refused.value.code == 422


def test_an_absurd_size_only_waits() -> None:
    with Cluster() as on:
        on.apply([volume("v"), claim("c", "7Ei"), claim("d", "999999999999999999999999999999")])
        on.advance(60)
        assert [claim_phase(on, name) for name in "cd"] == ["Pending", "Pending"]
        assert volume_phase(on, "v") == "Available"
        assert is_calm(on)


def test_a_circle_of_reservations_is_told_and_stands_still() -> None:
    """v1 is for c1, which wants v2, which is for c2, which wants v1."""
    with Cluster() as on:
        for number, other in ((1, 2), (2, 1)):
            ref = {"namespace": "default", "name": f"c{number}"}
            on.apply([volume(f"v{number}", claimRef=ref), claim(f"c{number}", volumeName=f"v{other}")])
        on.advance(60)
        for number, other in ((1, 2), (2, 1)):
            assert claim_phase(on, f"c{number}") == "Pending"
            text = f'Warning FailedBinding volume "v{other}" already bound to a different claim.'
            assert text in on.events(f"c{number}")
        assert is_calm(on)
        on.apply(volume("v1", claimRef=None))
        on.advance(30)
        assert claim_phase(on, "c2") == "Bound", "and is broken by whoever lets go"


def test_a_volume_that_is_torn_away_loses_its_claim_for_good() -> None:
    with Cluster() as on:
        on.apply([volume("v"), claim("c")])
        on.advance(20)
        assert claim_phase(on, "c") == "Bound"
        on.delete("v1", "PersistentVolume", "v")
        assert volume_phase(on, "v") == "Bound", "it is protected"
        on.apply({**volume("v"), "metadata": {"name": "v", "finalizers": None}})
        on.advance(20)
        assert (volume_phase(on, "v"), claim_phase(on, "c")) == ("gone", "Lost")
        lost = "Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        assert on.events("c").count(lost) == 1
        on.apply(pod("user", "c"))
        on.advance(60)
        said = " ".join(on.events("user"))
        assert 'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"' in said
        assert is_calm(on)


def test_a_class_may_go_and_come_while_a_claim_waits_for_it() -> None:
    with Cluster() as on:
        on.install_driver("disk.example.com", provision_s=30)
        on.apply([CLASS, claim("c", storageClassName="disk")])
        on.advance(5)
        on.delete("storage.k8s.io/v1", "StorageClass", "disk")
        on.advance(120)
        assert claim_phase(on, "c") == "Pending"
        assert 'Warning ProvisioningFailed storageclass.storage.k8s.io "disk" not found' in on.events("c")
        assert is_calm(on)
        on.apply(CLASS)
        on.advance(60)
        assert claim_phase(on, "c") == "Bound"


def test_edited_bindings_are_made_good() -> None:
    """Upstream puts back what the pair of references still says, and never gives a bound claim another volume."""
    with Cluster() as on:
        on.apply([volume("v"), claim("c")])
        on.advance(20)
        on.apply(volume("v", claimRef=None))
        on.advance(20)
        bound = on.get(PersistentVolume, "v")
        assert bound is not None
        assert bound.spec.claim_ref is not None
        assert (bound.spec.claim_ref.name, bound.status.phase) == ("c", "Bound")
        done = "pv.kubernetes.io/bind-completed"
        on.apply({**claim("c"), "metadata": {"name": "c", "annotations": {done: None}}})
        on.advance(20)
        found = on.get(PersistentVolumeClaim, "c")
        assert found is not None
        assert found.metadata.annotations[done] == "yes"
        with pytest.raises(StatusError, match="spec is immutable after creation"):
            on.apply(claim("c", volumeName="other"))
        assert is_calm(on)


def test_a_foreign_finalizer_holds_what_it_is_on_and_nothing_else() -> None:
    with Cluster() as on:
        on.apply([volume("v", persistentVolumeReclaimPolicy="Retain"), claim("c")])
        on.advance(20)
        on.apply({**claim("c"), "metadata": {"name": "c", "finalizers": ["example.com/held"]}})
        on.delete("v1", "PersistentVolumeClaim", "c")
        on.advance(20)
        assert (claim_phase(on, "c"), volume_phase(on, "v")) == ("Bound", "Bound"), "it is there until it is gone"
        assert is_calm(on)
        on.apply({**claim("c"), "metadata": {"name": "c", "finalizers": None}})
        on.advance(20)
        assert (claim_phase(on, "c"), volume_phase(on, "v")) == ("gone", "Released")


def test_an_attachment_that_never_goes_does_not_hold_the_next_pod_for_ever() -> None:
    """The driver was taken away while it was to detach: after two minutes upstream holds the volume for free."""
    csi = {"driver": "disk.example.com", "volumeHandle": "h"}
    disk = volume("v", hostPath=None, csi=csi)
    with Cluster(nodes=2) as on:
        on.install_driver("disk.example.com")
        on.apply([disk, claim("c", volumeName="v"), pod("one", "c")])
        on.advance(30)
        first = on.get(Pod, "one")
        assert first is not None
        assert first.status.phase == "Running"
        on.install_driver("disk.example.com", detach_error="stuck")
        on.delete("v1", "Pod", "one")
        on.advance(60)
        other = pod("two", "c")
        other["spec"]["nodeName"] = "node-2" if first.spec.node_name == "node-1" else "node-1"
        on.apply(other)
        on.advance(600)
        attachments = {each.spec.node_name: each for each in on.list(VolumeAttachment)}
        assert attachments[first.spec.node_name].metadata.deletion_timestamp is not None
        second = on.get(Pod, "two")
        assert second is not None
        assert second.status.phase == "Running"


def test_only_what_may_grow_grows() -> None:
    growing = {**CLASS, "allowVolumeExpansion": True}

    def asks(size: str) -> dict[str, Any]:
        return claim("c", size, storageClassName="disk")

    with Cluster() as on:
        on.install_driver("disk.example.com", provision_s=30, expand_s=20)
        on.apply([growing, asks("1Gi")])
        with pytest.raises(StatusError, match="spec is immutable after creation"):
            on.apply(asks("3Gi"))
        on.advance(60)
        on.apply(asks("3Gi"))
        on.advance(5)
        found = on.get(PersistentVolumeClaim, "c")
        assert found is not None
        assert [each.type for each in found.status.conditions if each.status == "True"] == ["Unused", "Resizing"]
        assert str(found.status.allocated_resources["storage"]) == "3Gi"
        assert "Normal ExternalExpanding waiting for an external controller to expand this PVC" in on.events("c")
        on.advance(20)
        found = on.get(PersistentVolumeClaim, "c")
        assert found is not None
        assert str(found.status.capacity["storage"]) == "3Gi"
        grown = on.get(PersistentVolume, found.spec.volume_name)
        assert grown is not None
        assert str(grown.spec.capacity["storage"]) == "3Gi"
        assert "Normal VolumeResizeSuccessful Resize volume succeeded" in on.events("c")
        on.apply({**growing, "allowVolumeExpansion": False})
        with pytest.raises(StatusError, match="the storageclass that provisions the pvc must support resize"):
            on.apply(asks("4Gi"))
        with pytest.raises(StatusError, match=r"field can not be less than status\.capacity"):
            on.apply(asks("1Gi"))
        assert is_calm(on)
