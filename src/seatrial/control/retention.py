"""The claims of a StatefulSet's pods: their names, and who owns them by its retention policy (KEP-1847).

A claim that is to go with the set has the set as its controller; one that is to go because its pod is beyond the set's
size has that pod. What another controller manages, or an earlier object of the same name did, is left alone.
"""

from __future__ import annotations

from msgspec.structs import replace

from seatrial.control.ownership import controller_reference
from seatrial.kube.objects import Object, ObjectMeta, OwnerReference, PersistentVolumeClaim, Pod, StatefulSet
from seatrial.kube.objects.storage import PersistentVolumeClaimStatus
from seatrial.kube.objects.volumes import PersistentVolumeClaimVolumeSource, Volume
from seatrial.kube.objects.workloads import StatefulSetPersistentVolumeClaimRetentionPolicy as Policy

_RETAIN = Policy(when_deleted="Retain", when_scaled="Retain")


def policy_of(owner: StatefulSet) -> Policy:
    return owner.spec.persistent_volume_claim_retention_policy or _RETAIN


def name_of(owner: StatefulSet, template: PersistentVolumeClaim, ordinal: int) -> str:
    return f"{template.metadata.name}-{owner.metadata.name}-{ordinal}"


def claims_for(owner: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
    """The claims that the pod of this ordinal needs, as they are created."""
    labels = {} if owner.spec.selector is None else owner.spec.selector.match_labels
    return [
        PersistentVolumeClaim(
            metadata=replace(
                template.metadata,
                name=name_of(owner, template, ordinal),
                namespace=owner.metadata.namespace,
                labels={**template.metadata.labels, **labels},
            ),
            spec=template.spec,
            status=PersistentVolumeClaimStatus(),
        )
        for template in owner.spec.volume_claim_templates
    ]


def volumes_for(owner: StatefulSet, ordinal: int, volumes: tuple[Volume, ...]) -> tuple[Volume, ...]:
    """A pod's volumes, those of the claims first and in place of others of the same name."""
    claimed = tuple(
        Volume(
            name=template.metadata.name,
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=name_of(owner, template, ordinal)),
        )
        for template in owner.spec.volume_claim_templates
    )
    names = {volume.name for volume in claimed}
    return (*claimed, *(volume for volume in volumes if volume.name not in names))


def is_stale(owner: StatefulSet, claim: PersistentVolumeClaim, pod: Pod) -> bool:
    """The claim is about to go with an earlier pod of this name; a new pod must wait for that."""
    return policy_of(owner).when_scaled != "Retain" and _names_another(claim, pod)


def is_contested(owner: StatefulSet, claim: PersistentVolumeClaim, pod: Pod) -> bool:
    """Something else manages the claim, so that the policy is not applied to it."""
    if policy_of(owner) == _RETAIN:
        return False
    for ref in claim.metadata.owner_references:
        if _is_named(ref, owner) or _is_named(ref, pod):
            if ref.uid not in (owner.metadata.uid, pod.metadata.uid):
                return True
        elif ref.controller:
            return True
    return False


def follows_policy(owner: StatefulSet, claim: PersistentVolumeClaim, pod: Pod, *, beyond: bool) -> bool:
    """Whether the claim's owners are as the policy has it; `beyond`: the pod is outside the set's ordinals."""
    if _names_another(claim, owner) or _names_another(claim, pod):
        return True
    ours = [ref for ref in claim.metadata.owner_references if ref.uid in (owner.metadata.uid, pod.metadata.uid)]
    if is_contested(owner, claim, pod):
        return not ours
    if any(not ref.controller for ref in ours):
        return False
    return {ref.uid for ref in ours} == {wanted.metadata.uid for wanted in _owners(owner, pod, beyond)}


def following_policy(
    owner: StatefulSet, claim: PersistentVolumeClaim, pod: Pod, *, beyond: bool
) -> PersistentVolumeClaim:
    others = [r for r in claim.metadata.owner_references if not _is_named(r, owner) and not _is_named(r, pod)]
    if not is_contested(owner, claim, pod):
        others += [controller_reference(wanted) for wanted in _owners(owner, pod, beyond)]
    return replace(claim, metadata=replace(claim.metadata, owner_references=tuple(others)))


def _owners(owner: StatefulSet, pod: Pod, beyond: bool) -> list[Object]:
    policy = policy_of(owner)
    if policy.when_scaled == "Delete" and beyond:
        return [pod]
    return [owner] if policy.when_deleted == "Delete" else []


def _is_named(ref: OwnerReference, obj: Object) -> bool:
    return (ref.api_version, ref.kind, ref.name) == (obj.api_version, obj.kind, obj.metadata.name)


def _names_another(claim: PersistentVolumeClaim, obj: Object) -> bool:
    """The first owner called as `obj` is another object."""
    ref = next((ref for ref in claim.metadata.owner_references if _is_named(ref, obj)), None)
    return ref is not None and ref.uid != obj.metadata.uid


def view(claim: Object) -> Object:
    """Who a claim is, whose it is, and whether it is going."""
    meta = claim.metadata
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            owner_references=meta.owner_references,
            deletion_timestamp=meta.deletion_timestamp,
        )
    )
