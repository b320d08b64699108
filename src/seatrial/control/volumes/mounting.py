"""Which PersistentVolume a pod's volume means to its node, or why it cannot be mounted yet, in the kubelet's words."""

from __future__ import annotations

from collections.abc import Callable

from seatrial.kube.objects import PersistentVolume, PersistentVolumeClaim, Pod
from seatrial.kube.objects.volumes import Volume


class NotMountableError(Exception):
    """The claim or its volume is not ready to be mounted; that may change."""


def volume_of(
    pod: Pod,
    volume: Volume,
    *,
    claim: Callable[[str, str], PersistentVolumeClaim | None],
    persistent_volume: Callable[[str], PersistentVolume | None],
) -> PersistentVolume | None:
    """None for a volume that is no claim. Raises `NotMountableError`."""
    if volume.persistent_volume_claim is not None:
        name = volume.persistent_volume_claim.claim_name
    elif volume.ephemeral is not None:
        name = f"{pod.metadata.name}-{volume.name}"
    else:
        return None
    namespace = pod.metadata.namespace
    found = claim(namespace, name)
    wrong = f"error processing PVC {namespace}/{name}: "
    if found is None:
        raise NotMountableError(
            f'{wrong}failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
        )
    if volume.ephemeral is not None:
        owner = found.metadata.controller
        if owner is None or owner.uid != pod.metadata.uid:
            raise NotMountableError(
                f"{wrong}PVC {namespace}/{name} was not created for pod {namespace}/{pod.metadata.name} "
                "(pod is not owner)"
            )
    if found.metadata.deletion_timestamp is not None:
        raise NotMountableError(f"{wrong}PVC is being deleted")
    if found.status.phase != "Bound" or not found.spec.volume_name:
        raise NotMountableError(f"{wrong}PVC is not bound")
    bound = persistent_volume(found.spec.volume_name)
    if bound is None:
        raise NotMountableError(
            f"{wrong}failed to fetch PV {found.spec.volume_name} from API server: persistentvolumes "
            f'"{found.spec.volume_name}" not found'
        )
    if bound.spec.claim_ref is None or bound.spec.claim_ref.uid != found.metadata.uid:
        uid = "" if bound.spec.claim_ref is None else bound.spec.claim_ref.uid
        raise NotMountableError(
            f'{wrong}PersistentVolume object {bound.metadata.name} has an unexpected claimRef.UID "{uid}"'
        )
    return bound
