"""Our own provisioner: directories on the node that the scheduler has chosen, as PersistentVolumes of type local.

It behaves as the common external provisioner library does and accepts what the well-known local-path provisioner
accepts. The directories themselves are made and removed by the nodes; where they lie is a parameter of the class.
"""

from __future__ import annotations

from typing import Final

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.volumes import matching
from seatrial.control.volumes.binder import reference
from seatrial.control.writes import Create, Delete, RecordEvent
from seatrial.kube.objects import Node, Object, ObjectMeta, PersistentVolume, PersistentVolumeClaim, StorageClass
from seatrial.kube.objects.pods import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from seatrial.kube.objects.storage import LocalVolumeSource, PersistentVolumeSpec, VolumeNodeAffinity

PROVISIONER: Final = "seatrial/local"
DIRECTORY: Final = "directory"
"""The class's parameter: below it each volume has a directory of its own."""
_HOSTNAME: Final = "kubernetes.io/hostname"


def storage_class(directory: str) -> StorageClass:
    """The class that every cluster has from the start."""
    return StorageClass(
        metadata=ObjectMeta(name="standard", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
        provisioner=PROVISIONER,
        parameters={DIRECTORY: directory},
        reclaim_policy="Delete",
        volume_binding_mode="WaitForFirstConsumer",
    )


def is_ours(volume: PersistentVolume) -> bool:
    return volume.metadata.annotations.get(matching.PROVISIONED_BY) == PROVISIONER


def _provision(seen: Seen) -> Decision:
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    name = f"pvc-{claim.metadata.uid}"
    if any(volume.metadata.name == name for volume in seen.all(PersistentVolume)):
        return Decision()
    by_name = {each.metadata.name: each for each in seen.all(StorageClass)}
    chosen = by_name.get(matching.class_of(claim))
    if chosen is None:
        return Decision()
    node_name = claim.metadata.annotations.get(matching.SELECTED_NODE, "")
    if matching.is_delayed(chosen) and not node_name:
        return Decision()
    node = next((each for each in seen.all(Node) if each.metadata.name == node_name), None)
    wrong = _refused(claim, chosen, node_name, node)
    if wrong:
        message = f'failed to provision volume with StorageClass "{chosen.metadata.name}": {wrong}'
        event = RecordEvent(claim, "Warning", "ProvisioningFailed", message)
        return Decision(() if seen.memory == message else (event,), memory=message)
    assert node is not None, "a missing node is refused"
    directory = chosen.parameters[DIRECTORY].rstrip("/")
    place = f"{directory}/{name}_{claim.metadata.namespace}_{claim.metadata.name}"
    here = NodeSelectorRequirement(
        key=_HOSTNAME, operator="In", values=(node.metadata.labels.get(_HOSTNAME, node_name),)
    )
    affinity = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(here,)),))
    volume = PersistentVolume(
        metadata=ObjectMeta(name=name, annotations={matching.PROVISIONED_BY: PROVISIONER}),
        spec=PersistentVolumeSpec(
            access_modes=claim.spec.access_modes,
            capacity={"storage": claim.spec.resources.requests["storage"]},
            claim_ref=reference(claim),
            local=LocalVolumeSource(path=place),
            mount_options=chosen.mount_options,
            node_affinity=VolumeNodeAffinity(required=affinity),
            persistent_volume_reclaim_policy=chosen.reclaim_policy or "Delete",
            storage_class_name=chosen.metadata.name,
            volume_mode=claim.spec.volume_mode or "Filesystem",
        ),
    )
    which = f"{claim.metadata.namespace}/{claim.metadata.name}"
    started = f'External provisioner is provisioning volume for claim "{which}"'
    return Decision(
        (
            RecordEvent(claim, "Normal", "Provisioning", started),
            Create(volume),
            RecordEvent(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}"),
        )
    )


def _refused(claim: PersistentVolumeClaim, chosen: StorageClass, node_name: str, node: Node | None) -> str:
    if not chosen.parameters.get(DIRECTORY, "").startswith("/"):
        return f"parameter {DIRECTORY} must be an absolute path"
    if "storage" not in claim.spec.resources.requests:
        return "the claim requests no storage"
    if claim.spec.selector is not None:
        return "claim.Spec.Selector is not supported"
    if any(mode not in ("ReadWriteOnce", "ReadWriteOncePod") for mode in claim.spec.access_modes):
        return "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
    if claim.spec.volume_mode == "Block":
        return "Block volume mode is not supported"
    if not node_name:
        return "configuration error, no node was specified"
    return "" if node is not None else f'node "{node_name}" not found'


def _delete(seen: Seen) -> Decision:
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    return Decision((Delete(volume),))


def _is_to_provision(claim: Object) -> bool:
    assert isinstance(claim, PersistentVolumeClaim)
    asked = any(claim.metadata.annotations.get(each) == PROVISIONER for each in matching.STORAGE_PROVISIONERS)
    return asked and not claim.spec.volume_name and claim.metadata.deletion_timestamp is None


def _is_to_delete(volume: Object) -> bool:
    assert isinstance(volume, PersistentVolume)
    return (
        is_ours(volume)
        and volume.status.phase == "Released"
        and volume.spec.persistent_volume_reclaim_policy == "Delete"
        and volume.metadata.deletion_timestamp is None
    )


def _view_of_node(node: Object) -> Object:
    meta = node.metadata
    labels = {_HOSTNAME: meta.labels[_HOSTNAME]} if _HOSTNAME in meta.labels else {}
    return Node(metadata=ObjectMeta(name=meta.name, labels=labels))


CONTROLLERS: Final = (
    Controller(
        name=PROVISIONER,
        actor="Local provisioner",
        subject=PersistentVolumeClaim,
        reads=(
            Read(PersistentVolume, Relation.STORAGE),
            Read(StorageClass, Relation.ALL),
            Read(Node, Relation.ALL, view=_view_of_node),
        ),
        reconcile=_provision,
        concerned=_is_to_provision,
    ),
    Controller(
        name=PROVISIONER,
        actor="Local provisioner (deletion)",
        subject=PersistentVolume,
        reads=(),
        reconcile=_delete,
        concerned=_is_to_delete,
    ),
)
