"""Claims and volumes, from waiting to reclaimed.

Phases, annotations and events are those that a kube-controller-manager 1.37 gave for the same moves.
"""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.control import garbage
from seatrial.control.volumes import CONTROLLERS, matching, mounting, provisioner
from seatrial.kube.objects import Key, Object, PersistentVolume, PersistentVolumeClaim, Pod
from tests.control.harness import Harness

T = TypeVar("T", bound=Object)
NOBODY = "no persistent volumes available for this claim and no storage class is set"


class Storage(Harness):
    def __init__(self) -> None:
        super().__init__((*CONTROLLERS, *garbage.CONTROLLERS))

    def volume(
        self, name: str, size: str = "1Gi", *modes: str, labels: dict[str, str] | None = None, **spec: Any
    ) -> None:
        spec = {
            "capacity": {"storage": size},
            "accessModes": list(modes or ("ReadWriteOnce",)),
            "hostPath": {"path": f"/data/{name}"},
            "persistentVolumeReclaimPolicy": "Retain",
            **spec,
        }
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name, "labels": labels or {}},
                "spec": spec,
            }
        )
        self.settle()

    def claim(self, name: str, size: str = "1Gi", *modes: str, **spec: Any) -> None:
        spec = {
            "accessModes": list(modes or ("ReadWriteOnce",)),
            "resources": {"requests": {"storage": size}},
            "storageClassName": "",
            **spec,
        }
        spec = {key: value for key, value in spec.items() if value is not None}
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "default"},
                "spec": spec,
                "status": {"phase": "Pending"},
            }
        )
        self.settle()

    def storage_class(self, name: str, provisioner: str, *, delayed: bool = False, default: bool = False) -> None:
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
        self.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name, "annotations": annotations},
                "provisioner": provisioner,
                "reclaimPolicy": "Delete",
                "parameters": {"directory": "/srv/volumes"},
                "volumeBindingMode": "WaitForFirstConsumer" if delayed else "Immediate",
            }
        )
        self.settle()

    def pod(self, name: str, claim: str = "", *, node: str = "", ephemeral: dict[str, Any] | None = None) -> None:
        source = (
            {"ephemeral": {"volumeClaimTemplate": ephemeral}}
            if ephemeral is not None
            else {"persistentVolumeClaim": {"claimName": claim}}
        )
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "nodeName": node,
                    "containers": [{"name": "a", "image": "x"}],
                    "volumes": [{"name": "v", **source}],
                },
            }
        )
        self.settle()

    def annotate(self, claim: str, name: str, value: str) -> None:
        found = self.get(PersistentVolumeClaim, claim)
        meta = replace(found.metadata, annotations={**found.metadata.annotations, name: value})
        self.objects[found.key] = replace(found, metadata=meta)
        self.settle()

    def node(self, name: str) -> None:
        labels = {"kubernetes.io/hostname": name}
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})

    def remove(self, kind: str, name: str, *, force: bool = False) -> None:
        key = Key(kind, "" if kind == "PersistentVolume" else "default", name)
        if force:
            del self.objects[key]
        else:
            self.delete(key)
        self.settle()

    def bound(self, claim: str) -> tuple[str, str]:
        found = self.get(PersistentVolumeClaim, claim)
        return found.status.phase, found.spec.volume_name

    def phase(self, volume: str) -> str:
        return self.get(PersistentVolume, volume, "").status.phase

    def said(self) -> list[str]:
        said, self.events = self.events, []
        return said


def test_a_claim_gets_the_smallest_volume_that_suits_it() -> None:
    """Concepts, Persistent Volumes, Binding: 'the user will always get at least what they asked for'."""
    cluster = Storage()
    for name, size in (("small", "1Gi"), ("mid", "2Gi"), ("big", "5Gi")):
        cluster.volume(name, size)
    cluster.volume("shared", "1Gi", "ReadWriteOnce", "ReadWriteMany")
    cluster.volume("labelled", labels={"a": "b"}, storageClassName="x")
    assert cluster.phase("small") == "Available"
    cluster.claim("c1", "1500Mi")
    cluster.claim("c2", "1Gi", "ReadWriteMany")
    cluster.claim("c3", storageClassName="x", selector={"matchLabels": {"a": "b"}})
    cluster.claim("c4", "100Gi")
    assert [cluster.bound(name) for name in ("c1", "c2", "c3", "c4")] == [
        ("Bound", "mid"),
        ("Bound", "shared"),
        ("Bound", "labelled"),
        ("Pending", ""),
    ]
    claim, volume = cluster.get(PersistentVolumeClaim, "c1"), cluster.get(PersistentVolume, "mid", "")
    assert claim.metadata.annotations == {matching.BIND_COMPLETED: "yes", matching.BOUND_BY_CONTROLLER: "yes"}
    assert volume.metadata.annotations == {matching.BOUND_BY_CONTROLLER: "yes"}
    assert (claim.status.capacity, claim.status.access_modes) == (volume.spec.capacity, ("ReadWriteOnce",))
    assert volume.spec.claim_ref is not None
    assert (volume.spec.claim_ref.uid, cluster.phase("mid")) == (claim.metadata.uid, "Bound")
    assert cluster.said() == [f"Normal FailedBinding {NOBODY}"]
    assert [(c.type, c.status, c.reason) for c in claim.status.conditions] == [("Unused", "True", "NoPodsUsingPVC")]


def test_a_reserved_volume_and_a_named_one() -> None:
    """Concepts, Persistent Volumes, Reserving a PersistentVolume: claimRef and volumeName."""
    cluster = Storage()
    cluster.volume("reserved", "3Gi", claimRef={"namespace": "default", "name": "c1"})
    cluster.volume("big", "5Gi")
    cluster.volume("small", "1Gi")
    cluster.claim("other", "3Gi")
    assert cluster.bound("other") == ("Bound", "big")
    cluster.claim("c1")
    assert cluster.bound("c1") == ("Bound", "reserved")
    assert cluster.get(PersistentVolume, "reserved", "").metadata.annotations == {}
    cluster.claim("named", volumeName="small")
    assert cluster.bound("named") == ("Bound", "small")
    assert cluster.get(PersistentVolumeClaim, "named").metadata.annotations == {matching.BIND_COMPLETED: "yes"}
    cluster.volume("tiny", "1Mi")
    cluster.claim("too-big", "9Gi", volumeName="tiny")
    cluster.claim("taken", volumeName="big")
    cluster.claim("missing", volumeName="nowhere")
    assert {cluster.bound(name)[0] for name in ("too-big", "taken", "missing")} == {"Pending"}
    assert cluster.said() == [
        'Warning VolumeMismatch Cannot bind to requested volume "tiny": requested PV is too small',
        'Warning FailedBinding volume "big" already bound to a different claim.',
    ]
    cluster.volume("nowhere")
    assert cluster.bound("missing") == ("Bound", "nowhere")


def test_a_volume_that_comes_later_is_found_within_fifteen_seconds() -> None:
    cluster = Storage()
    cluster.claim("c")
    cluster.volume("v")
    cluster.live(15)
    assert cluster.bound("c") == ("Bound", "v")


def test_a_claim_without_a_class_gets_the_default_one_even_later() -> None:
    """KEP-3333, retroactive default StorageClass assignment; of several the youngest is the default."""
    cluster = Storage()
    cluster.claim("c", storageClassName=None)
    assert cluster.said() == [f"Normal FailedBinding {NOBODY}"]
    cluster.storage_class("old", "their/provisioner", default=True)
    assert cluster.get(PersistentVolumeClaim, "c").spec.storage_class_name == "old"
    cluster.pass_time(1)
    cluster.storage_class("young", "their/provisioner", default=True)
    cluster.claim("d", storageClassName=None)
    assert cluster.get(PersistentVolumeClaim, "d").spec.storage_class_name == "young"
    cluster.claim("none")
    assert cluster.get(PersistentVolumeClaim, "none").spec.storage_class_name == ""


def test_provisioning_is_asked_for_or_its_lack_told() -> None:
    cluster = Storage()
    cluster.storage_class("theirs", "their/provisioner")
    cluster.storage_class("none", "kubernetes.io/no-provisioner")
    cluster.claim("asks", storageClassName="theirs")
    cluster.claim("cannot", storageClassName="none")
    cluster.claim("unknown", storageClassName="unknown")
    asked = cluster.get(PersistentVolumeClaim, "asks").metadata.annotations
    assert asked == dict.fromkeys(matching.STORAGE_PROVISIONERS, "their/provisioner")
    assert cluster.said() == [
        (
            "Normal ExternalProvisioning Waiting for a volume to be created either by the external provisioner "
            "'their/provisioner' or manually by the system administrator. If volume creation is delayed, please verify "
            "that the provisioner is running and correctly registered."
        ),
        "Warning ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner",
        'Warning ProvisioningFailed storageclass.storage.k8s.io "unknown" not found',
    ]


def test_the_local_provisioner_waits_for_the_scheduler_and_cleans_up() -> None:
    """WaitForFirstConsumer: the scheduler's annotation selected-node starts the provisioning; Delete ends it all."""
    cluster = Storage()
    cluster.node("n1")
    cluster.storage_class("standard", provisioner.PROVISIONER, delayed=True, default=True)
    cluster.claim("data", storageClassName=None)
    cluster.pod("user", "data")
    assert cluster.said() == [
        "Normal WaitForFirstConsumer waiting for first consumer to be created before binding",
        "Normal WaitForPodScheduled waiting for pod user to be scheduled",
    ]
    cluster.annotate("data", matching.SELECTED_NODE, "n1")
    claim = cluster.get(PersistentVolumeClaim, "data")
    name = f"pvc-{claim.metadata.uid}"
    assert cluster.bound("data") == ("Bound", name)
    volume = cluster.get(PersistentVolume, name, "")
    assert volume.spec.local is not None
    assert volume.spec.local.path == f"/srv/volumes/{name}_default_data"
    assert volume.spec.node_affinity is not None
    assert volume.spec.node_affinity.required is not None
    (term,) = volume.spec.node_affinity.required.node_selector_terms
    assert [(e.key, e.operator, e.values) for e in term.match_expressions] == [
        ("kubernetes.io/hostname", "In", ("n1",))
    ]
    said = cluster.said()
    assert [line.split()[1] for line in said] == ["ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"]
    assert said[1:] == [
        'Normal Provisioning External provisioner is provisioning volume for claim "default/data"',
        f"Normal ProvisioningSucceeded Successfully provisioned volume {name}",
    ]
    pod = cluster.get(Pod, "user")
    cluster.objects[pod.key] = replace(pod, spec=replace(pod.spec, node_name="n1"))
    cluster.remove("PersistentVolumeClaim", "data")
    claim = cluster.get(PersistentVolumeClaim, "data")
    assert claim.metadata.deletion_timestamp is not None, "a pod on a node uses it"
    assert [(c.type, c.status, c.reason) for c in claim.status.conditions] == [("Unused", "False", "PodUsingPVC")]
    cluster.remove("Pod", "user", force=True)
    assert not cluster.all(PersistentVolumeClaim)
    assert not cluster.all(PersistentVolume)


def test_what_the_local_provisioner_cannot_do_it_says_once() -> None:
    cluster = Storage()
    cluster.node("n1")
    cluster.storage_class("standard", provisioner.PROVISIONER, delayed=True)
    cluster.claim("shared", "1Gi", "ReadWriteMany", storageClassName="standard")
    cluster.annotate("shared", matching.SELECTED_NODE, "n1")
    cluster.claim("lost", storageClassName="standard")
    cluster.annotate("lost", matching.SELECTED_NODE, "gone")
    failed = [line for line in cluster.said() if "ProvisioningFailed" in line]
    assert failed == [
        (
            'Warning ProvisioningFailed failed to provision volume with StorageClass "standard": NodePath only '
            "supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
        ),
        'Warning ProvisioningFailed failed to provision volume with StorageClass "standard": node "gone" not found',
    ]


def test_a_released_volume_is_retained_or_fails() -> None:
    """Concepts, Persistent Volumes, Reclaiming."""
    cluster = Storage()
    for name, policy in (("keep", "Retain"), ("drop", "Delete"), ("clean", "Recycle")):
        cluster.volume(name, persistentVolumeReclaimPolicy=policy)
        cluster.claim(f"c-{name}", volumeName=name)
        cluster.remove("PersistentVolumeClaim", f"c-{name}")
    assert [cluster.phase(name) for name in ("keep", "drop", "clean")] == ["Released", "Failed", "Failed"]
    assert cluster.said() == [
        "Warning VolumeFailedDelete host_path deleter only supports /tmp/.+ but received provided /data/drop",
        "Warning VolumeFailedRecycle No recycler plugin found for the volume!",
    ]
    cluster.claim("again")
    cluster.live(60)
    assert cluster.bound("again") == ("Pending", ""), "a released volume is not given to the next"


def test_a_claim_whose_volume_is_gone_is_lost() -> None:
    cluster = Storage()
    cluster.volume("v")
    cluster.claim("c")
    cluster.remove("PersistentVolume", "v")
    assert cluster.phase("v") == "Bound", "protected while it is bound"
    cluster.remove("PersistentVolume", "v", force=True)
    claim = cluster.get(PersistentVolumeClaim, "c")
    assert (claim.status.phase, claim.status.capacity, claim.status.access_modes) == ("Lost", {}, ())
    assert cluster.said() == [
        "Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    ]


def test_an_ephemeral_volume_is_a_claim_of_the_pod() -> None:
    """Concepts, Ephemeral Volumes, generic ephemeral volumes: named pod-volume, owned by the pod, never another's."""
    template = {
        "metadata": {"labels": {"l": "1"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster = Storage()
    cluster.volume("v")
    cluster.pod("p", ephemeral=template)
    claim = cluster.get(PersistentVolumeClaim, "p-v")
    owner = claim.metadata.controller
    assert owner is not None
    assert (owner.name, claim.metadata.labels, claim.status.phase) == ("p", {"l": "1"}, "Bound")
    cluster.claim("q-v", "1Ti")
    cluster.said()
    cluster.pod("q", ephemeral=template)
    refusal = "ephemeral volume v: PVC default/q-v was not created for pod default/q (pod is not owner)"
    assert cluster.said() == [f"Warning FailedBinding {refusal}"]
    cluster.remove("Pod", "p", force=True)
    assert [claim.metadata.name for claim in cluster.all(PersistentVolumeClaim)] == ["q-v"]


def test_a_node_mounts_only_what_is_bound_to_the_very_claim() -> None:
    cluster = Storage()
    cluster.pod("p", "c", node="n1")
    assert mounted(cluster, "p") == (
        'error processing PVC default/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found'
    )
    cluster.claim("c")
    assert mounted(cluster, "p") == "error processing PVC default/c: PVC is not bound"
    cluster.volume("v")
    cluster.live(15)
    assert mounted(cluster, "p") == "v"
    cluster.remove("PersistentVolumeClaim", "c")
    assert mounted(cluster, "p") == "v", "the protection holds it"
    claim = cluster.get(PersistentVolumeClaim, "c")
    cluster.objects[claim.key] = replace(claim, metadata=replace(claim.metadata, finalizers=()))
    assert mounted(cluster, "p") == "error processing PVC default/c: PVC is being deleted"


def mounted(cluster: Storage, pod: str) -> str:
    found = cluster.get(Pod, pod)

    class Objects:
        def get(self, kind: type[T], namespace: str, name: str) -> T | None:
            there = cluster.objects.get(Key(kind.kind, namespace, name))
            return there if isinstance(there, kind) else None

    try:
        return mounting.volume_of(found, found.spec.volumes[0], Objects()).metadata.name
    except mounting.NotMountableError as error:
        return str(error)


SIZES = st.sampled_from(["1Gi", "2Gi", "3Gi"])
MODES = st.sets(st.sampled_from(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]), min_size=1).map(sorted)
CLASSES = st.sampled_from(["", "a"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_binding_is_mutual_and_suits_whatever_comes_and_goes(data: st.DataObject) -> None:
    """Never two claims on one volume, never a volume that does not suit; and the controllers come to rest."""
    cluster = Storage()
    for step in range(data.draw(st.integers(1, 10))):
        what = data.draw(st.sampled_from(["volume", "claim", "claim", "delete", "wait"]))
        if what == "volume":
            policy = data.draw(st.sampled_from(["Retain", "Delete", "Recycle"]))
            cluster.volume(
                f"v{step}",
                data.draw(SIZES),
                *data.draw(MODES),
                storageClassName=data.draw(CLASSES),
                persistentVolumeReclaimPolicy=policy,
            )
        elif what == "claim":
            cluster.claim(f"c{step}", data.draw(SIZES), *data.draw(MODES), storageClassName=data.draw(CLASSES))
        elif what == "delete" and (claims := cluster.all(PersistentVolumeClaim)):
            cluster.remove("PersistentVolumeClaim", data.draw(st.sampled_from(claims)).metadata.name)
        else:
            cluster.live(15)
    cluster.live(15)
    volumes = {volume.metadata.name: volume for volume in cluster.all(PersistentVolume)}
    for claim in cluster.all(PersistentVolumeClaim):
        if claim.status.phase == "Bound":
            volume = volumes[claim.spec.volume_name]
            assert volume.spec.claim_ref is not None
            assert volume.spec.claim_ref.uid == claim.metadata.uid
            assert matching.unsuitable(volume, claim) == ""
        else:
            assert matching.best(claim, volumes.values(), delayed=False) is None
    used = [claim.spec.volume_name for claim in cluster.all(PersistentVolumeClaim) if claim.spec.volume_name]
    assert len(used) == len(set(used))
