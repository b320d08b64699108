"""Which volume suits a claim: class, size, access modes, selector, mode; and who is bound to whom.

The annotations are upstream's contract between the binder, the scheduler and provisioners.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from seatrial.kube import selectors
from seatrial.kube.objects import PersistentVolume, PersistentVolumeClaim, StorageClass
from seatrial.kube.quantities import Quantity

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONERS: Final = (
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)
MIGRATED_TO: Final = "pv.kubernetes.io/migrated-to"
MIGRATED: Final = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
}
"""What was in Kubernetes once, and the CSI driver that has taken its place."""
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_NOTHING: Final = Quantity.parse("0")
_NEVER: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    beta = obj.metadata.annotations.get(_BETA_CLASS)
    return (obj.spec.storage_class_name or "") if beta is None else beta


def has_class(claim: PersistentVolumeClaim) -> bool:
    """An empty name is a class too: no provisioning."""
    return _BETA_CLASS in claim.metadata.annotations or claim.spec.storage_class_name is not None


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """Of several default classes the youngest, and among those the first by name."""
    defaults = [each for each in classes if any(each.metadata.annotations.get(a) == "true" for a in _DEFAULT_CLASS)]
    defaults.sort(key=lambda each: each.metadata.name)
    return max(defaults, key=lambda each: each.metadata.creation_timestamp or _NEVER, default=None)


def is_delayed(storage_class: StorageClass | None) -> bool:
    return storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """The volume is bound to the claim, or somebody reserved it for a claim of this name."""
    ref = volume.spec.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.metadata.namespace, claim.metadata.name):
        return False
    return not ref.uid or ref.uid == claim.metadata.uid


def same_mode(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return (volume.spec.volume_mode or "Filesystem") == (claim.spec.volume_mode or "Filesystem")


def best(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], *, delayed: bool
) -> PersistentVolume | None:
    """The volume reserved for the claim; else, unless the scheduler is to choose, the smallest that suits it.

    Volumes with fewer access modes come first. Equally good ones are ordered by name, where upstream's order is random.
    """
    wanted = set(claim.spec.access_modes)
    suitable = [
        volume
        for volume in volumes
        if wanted <= set(volume.spec.access_modes)
        and (volume.spec.claim_ref is None or is_for(volume, claim))
        and _size(volume) >= _request(claim)
        and same_mode(volume, claim)
        and (volume.spec.volume_attributes_class_name or "") == claim.spec.volume_attributes_class_name
        and volume.metadata.deletion_timestamp is None
        and (is_for(volume, claim) or (not delayed and _is_free_for(volume, claim)))
    ]

    def rank(volume: PersistentVolume) -> tuple[int, bool, Quantity, str]:
        modes = len(set(volume.spec.access_modes))
        return modes, not is_for(volume, claim), _size(volume), volume.metadata.name

    return min(suitable, key=rank, default=None)


def _is_free_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return (
        volume.status.phase == "Available"
        and (claim.spec.selector is None or selectors.matches(claim.spec.selector, volume.metadata.labels))
        and class_of(volume) == class_of(claim)
    )


def unsuitable(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why a claim that names this volume cannot have it, in upstream's words; empty if it can."""
    if volume.metadata.deletion_timestamp is not None:
        return f'the volume is marked for deletion "{volume.metadata.name}"'
    if _size(volume) < _request(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (volume.spec.volume_attributes_class_name or "") != claim.spec.volume_attributes_class_name:
        return "volumeAttributesClassName does not match"
    if not same_mode(volume, claim):
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def _size(volume: PersistentVolume) -> Quantity:
    return volume.spec.capacity.get("storage", _NOTHING)


def _request(claim: PersistentVolumeClaim) -> Quantity:
    return claim.spec.resources.requests.get("storage", _NOTHING)
