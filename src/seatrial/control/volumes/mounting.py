"""How far a pod's claims are on their node: what can be mounted, what not yet and why, in the kubelet's words.

A claim passes three gates. It is *processed* when it is bound to a volume that knows it. A CSI volume is *attached*
when the node's status says so (`status.volumesAttached`), after the node itself has said that it uses it
(`status.volumesInUse`). Then it is *mounted*, which fails where the volume may not be used on this node or the driver
is not there. Only volumes that a container uses count. Everything else in a pod's volumes is its node's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from seatrial.control.lifecycle import all_containers
from seatrial.control.scheduler import machines
from seatrial.control.volumes import attachment
from seatrial.kube.objects import CSIDriver, CSINode, Node, Object, PersistentVolume, PersistentVolumeClaim, Pod
from seatrial.kube.objects.volumes import Volume

T = TypeVar("T", bound=Object)

PATIENCE: Final = timedelta(minutes=2, seconds=3)
"""How long the kubelet waits for volumes before it says so and begins anew (podAttachAndMountTimeout)."""
_PROTECTED: Final = "kubernetes.io/pvc-protection"


class Lookup(Protocol):
    """The cluster's objects by name."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None: ...


class NotMountableError(Exception):
    """The claim or its volume is not ready to be mounted; that may change."""


@dataclass(frozen=True, slots=True)
class Mounting:
    """A pod's claims on its node: the PersistentVolumes that are to be mounted by the pod's name for each, and what is
    in the way, by that name: not processed, not attached yet, not to be mounted.
    """

    volumes: dict[str, PersistentVolume]
    unprocessed: dict[str, str]
    unattached: tuple[str, ...]
    failures: dict[str, str]

    @property
    def is_ready(self) -> bool:
        return not (self.unprocessed or self.unattached or self.failures)

    def refusal(self) -> str:
        """Why it makes no sense to wait; empty if it does."""
        if self.unprocessed:
            return self._told("; ".join(self.unprocessed.values()))
        return next(iter(self.failures.values()), "")

    def timed_out(self) -> str:
        return self._told("context deadline exceeded")

    def _told(self, why: str) -> str:
        unmounted = sorted({*self.unprocessed, *self.unattached, *self.failures})
        return (
            f"Unable to attach or mount volumes: unmounted volumes=[{' '.join(unmounted)}], "
            f"unattached volumes=[{' '.join(sorted(self.unattached))}], "
            f"failed to process volumes=[{' '.join(sorted(self.unprocessed))}]: {why}"
        )


def look(pod: Pod, node_name: str, objects: Lookup, *, mounted_elsewhere: Iterable[str] = ()) -> Mounting:
    """`mounted_elsewhere` are the PersistentVolumes that other pods of the node have mounted."""
    volumes: dict[str, PersistentVolume] = {}
    unprocessed: dict[str, str] = {}
    unattached: list[str] = []
    failures: dict[str, str] = {}
    node = objects.get(Node, "", node_name)
    for volume in _claims(pod):
        try:
            bound = volume_of(pod, volume, objects)
        except NotMountableError as error:
            unprocessed[volume.name] = str(error)
            continue
        volumes[volume.name] = bound
        if not _is_attached(bound, node, objects):
            unattached.append(volume.name)
            continue
        failure = _failure(bound, node, objects, frozenset(mounted_elsewhere))
        if failure:
            failures[volume.name] = failure
    return Mounting(volumes, unprocessed, tuple(unattached), failures)


def in_use(pod: Pod, objects: Lookup) -> frozenset[str]:
    """What the pod adds to its node's `status.volumesInUse`: the attachable volumes that it mounts or is about to."""
    names = set()
    for volume in _claims(pod):
        try:
            bound = volume_of(pod, volume, objects)
        except NotMountableError:
            continue
        if bound.spec.csi is not None and attachment.is_attachable(bound, _driver(bound, objects)):
            names.add(attachment.unique_name(bound))
    return frozenset(names)


def is_claim(volume: Volume) -> bool:
    return volume.persistent_volume_claim is not None or volume.ephemeral is not None


def volume_of(pod: Pod, volume: Volume, objects: Lookup) -> PersistentVolume:
    """The volume behind a pod's claim. Raises `NotMountableError`."""
    if volume.persistent_volume_claim is not None:
        name = volume.persistent_volume_claim.claim_name
    else:
        name = f"{pod.metadata.name}-{volume.name}"
    namespace = pod.metadata.namespace
    claim = objects.get(PersistentVolumeClaim, namespace, name)
    wrong = f"error processing PVC {namespace}/{name}: "
    if claim is None:
        raise NotMountableError(
            f'{wrong}failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
        )
    if claim.metadata.deletion_timestamp is not None and _PROTECTED not in claim.metadata.finalizers:
        raise NotMountableError(f"{wrong}PVC is being deleted")
    if claim.status.phase != "Bound":
        raise NotMountableError(f"{wrong}PVC is not bound")
    if not claim.spec.volume_name:
        raise NotMountableError(f"{wrong}PVC has empty pvc.Spec.VolumeName")
    owner = claim.metadata.controller
    if volume.ephemeral is not None and (owner is None or owner.uid != pod.metadata.uid):
        raise NotMountableError(
            f"PVC {namespace}/{name} was not created for pod {namespace}/{pod.metadata.name} (pod is not owner)"
        )
    bound = objects.get(PersistentVolume, "", claim.spec.volume_name)
    if bound is None:
        raise NotMountableError(
            f"{wrong}failed to fetch PV {claim.spec.volume_name} from API server: persistentvolumes "
            f'"{claim.spec.volume_name}" not found'
        )
    found = f"{wrong}found PV object {bound.metadata.name} but "
    if bound.spec.claim_ref is None:
        raise NotMountableError(f"{found}it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim")
    if bound.spec.claim_ref.uid != claim.metadata.uid:
        raise NotMountableError(
            f"{found}its pv.Spec.ClaimRef.UID {bound.spec.claim_ref.uid} does not point to claim.UID "
            f"{claim.metadata.uid}"
        )
    mode = bound.spec.volume_mode or "Filesystem"
    if mode != "Filesystem" and volume.name in _mounted(pod):
        raise NotMountableError(f"volume {volume.name} has volumeMode {mode}, but is specified in volumeMounts")
    if mode != "Block" and volume.name in _used_as_device(pod):
        raise NotMountableError(f"volume {volume.name} has volumeMode {mode}, but is specified in volumeDevices")
    return bound


def _claims(pod: Pod) -> Iterator[Volume]:
    claims = [volume for volume in pod.spec.volumes if is_claim(volume)]
    if claims:
        used = _mounted(pod) | _used_as_device(pod)
        yield from (volume for volume in claims if volume.name in used)


def _mounted(pod: Pod) -> set[str]:
    return {mount.name for container, _ in all_containers(pod) for mount in container.volume_mounts}


def _used_as_device(pod: Pod) -> set[str]:
    return {device.name for container, _ in all_containers(pod) for device in container.volume_devices}


def _driver(volume: PersistentVolume, objects: Lookup) -> CSIDriver | None:
    return None if volume.spec.csi is None else objects.get(CSIDriver, "", volume.spec.csi.driver)


def _is_attached(volume: PersistentVolume, node: Node | None, objects: Lookup) -> bool:
    if volume.spec.csi is None or not attachment.is_attachable(volume, _driver(volume, objects)):
        return True
    if node is None:
        return False
    name = attachment.unique_name(volume)
    return name in node.status.volumes_in_use and any(each.name == name for each in node.status.volumes_attached)


def _failure(volume: PersistentVolume, node: Node | None, objects: Lookup, mounted_elsewhere: frozenset[str]) -> str:
    name = volume.metadata.name
    affinity = volume.spec.node_affinity
    if affinity is not None and affinity.required is not None:
        labels = node.metadata.labels if node is not None else {}
        if not any(machines.matches_labels_of(term, labels) for term in affinity.required.node_selector_terms):
            return f'MountVolume.NodeAffinity check failed for volume "{name}" : no matching NodeSelectorTerms'
    if volume.spec.access_modes == ("ReadWriteOncePod",) and name in mounted_elsewhere:
        return (
            f'MountVolume.SetUp failed for volume "{name}" : volume uses the ReadWriteOncePod access mode and is '
            "already in use by another pod"
        )
    csi = volume.spec.csi
    if csi is not None:
        registered = objects.get(CSINode, "", node.metadata.name) if node is not None else None
        if registered is None or not any(each.name == csi.driver for each in registered.spec.drivers):
            missing = f"driver name {csi.driver} not found in the list of registered CSI drivers"
            return (
                f'MountVolume.MountDevice failed for volume "{name}" : kubernetes.io/csi: attacher.MountDevice failed '
                f"to create newCsiDriverClient: {missing}"
            )
    return ""
