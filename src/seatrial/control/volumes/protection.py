"""What is in use outlives its deletion: a finalizer each, and when it goes.

Claims are used by pods, volumes by claims, VolumeAttributesClasses by both of these.

From 1.37 on a bound claim also says in a condition whether any pod refers to it (PersistentVolumeClaimUnusedSinceTime).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Update, UpdateStatus, Write
from seatrial.kube.objects import (
    Object,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    VolumeAttributesClass,
)
from seatrial.kube.objects.pods import PodSpec, PodStatus
from seatrial.kube.objects.storage import (
    PersistentVolumeClaimCondition,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from seatrial.kube.objects.volumes import PersistentVolumeClaimSpec

T = TypeVar("T", bound=Object)

CLAIM_FINALIZER: Final = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER: Final = "kubernetes.io/pv-protection"
CLASS_FINALIZER: Final = "kubernetes.io/vac-protection"


def _reconcile_claim(seen: Seen) -> Decision:
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    pods = seen.all(Pod)
    writes: list[Write] = []
    going = claim.metadata.deletion_timestamp is not None
    if seen.minor >= 37 and not going and claim.status.phase == "Bound":
        writes += _use_noted(claim, any(_refers(pod, claim) for pod in pods), seen)
    if not going:
        writes += _protected(claim, CLAIM_FINALIZER)
    elif not any(_holds(pod, claim) for pod in pods):
        writes += _released(claim, CLAIM_FINALIZER)
    return Decision(tuple(writes))


def _reconcile_volume(seen: Seen) -> Decision:
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    if volume.metadata.deletion_timestamp is None:
        return Decision(tuple(_protected(volume, VOLUME_FINALIZER)))
    return Decision(() if volume.status.phase == "Bound" else tuple(_released(volume, VOLUME_FINALIZER)))


def _reconcile_class(seen: Seen) -> Decision:
    attributes = seen.subject
    if attributes.metadata.deletion_timestamp is None:
        return Decision(tuple(_protected(attributes, CLASS_FINALIZER)))
    name = attributes.metadata.name
    used = any(name == volume.spec.volume_attributes_class_name for volume in seen.all(PersistentVolume)) or any(
        name in attributes_classes(claim) for claim in seen.all(PersistentVolumeClaim)
    )
    return Decision(() if used else tuple(_released(attributes, CLASS_FINALIZER)))


def attributes_classes(claim: PersistentVolumeClaim) -> tuple[str, ...]:
    """The VolumeAttributesClasses that a claim asks for, has, or is on its way to."""
    status = claim.status
    changing = status.modify_volume_status
    target = changing.target_volume_attributes_class_name if changing is not None else ""
    names = (claim.spec.volume_attributes_class_name, status.current_volume_attributes_class_name, target)
    return tuple(dict.fromkeys(name for name in names if name))


def _classes_of_volume(volume: Object) -> Object:
    assert isinstance(volume, PersistentVolume)
    spec = PersistentVolumeSpec(volume_attributes_class_name=volume.spec.volume_attributes_class_name)
    return PersistentVolume(metadata=ObjectMeta(name=volume.metadata.name), spec=spec)


def _classes_of_claim(claim: Object) -> Object:
    assert isinstance(claim, PersistentVolumeClaim)
    changing = claim.status.modify_volume_status
    return PersistentVolumeClaim(
        metadata=ObjectMeta(namespace=claim.metadata.namespace, name=claim.metadata.name),
        spec=PersistentVolumeClaimSpec(volume_attributes_class_name=claim.spec.volume_attributes_class_name),
        status=PersistentVolumeClaimStatus(
            current_volume_attributes_class_name=claim.status.current_volume_attributes_class_name,
            modify_volume_status=changing,
        ),
    )


def _protected(obj: T, finalizer: str) -> Iterable[Write]:
    if finalizer not in obj.metadata.finalizers:
        yield Update(obj, _with_finalizers(obj, (*obj.metadata.finalizers, finalizer)))


def _released(obj: T, finalizer: str) -> Iterable[Write]:
    if finalizer in obj.metadata.finalizers:
        yield Update(obj, _with_finalizers(obj, tuple(name for name in obj.metadata.finalizers if name != finalizer)))


def _with_finalizers(obj: T, finalizers: tuple[str, ...]) -> T:
    return replace(obj, metadata=replace(obj.metadata, finalizers=finalizers))


def _holds(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    """A pod on a node keeps the claim, even after it has ended; an ephemeral volume's only until its node is done."""
    if not pod.spec.node_name:
        return False
    done = pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds == 0
    return _names(pod, claim) or (not done and _owns(pod, claim))


def _refers(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    return pod.status.phase not in ("Succeeded", "Failed") and (_names(pod, claim) or _owns(pod, claim))


def _names(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    sources = (volume.persistent_volume_claim for volume in pod.spec.volumes)
    return any(source is not None and source.claim_name == claim.metadata.name for source in sources)


def _owns(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    owner = claim.metadata.controller
    return owner is not None and owner.uid == pod.metadata.uid


def _use_noted(claim: PersistentVolumeClaim, used: bool, seen: Seen) -> Iterable[Write]:
    wanted = "False" if used else "True"
    before = next((each for each in claim.status.conditions if each.type == "Unused"), None)
    if before is not None and before.status == wanted:
        return
    condition = PersistentVolumeClaimCondition(
        type="Unused",
        status=wanted,
        last_transition_time=seen.now.replace(microsecond=0),
        reason="PodUsingPVC" if used else "NoPodsUsingPVC",
        message=f"{'A pod is' if used else 'No pods are'} currently referencing this PVC",
    )
    conditions = (*(each for each in claim.status.conditions if each.type != "Unused"), condition)
    yield UpdateStatus(claim, replace(claim, status=replace(claim.status, conditions=conditions)))


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    meta = pod.metadata
    return Pod(
        metadata=ObjectMeta(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            deletion_timestamp=meta.deletion_timestamp,
            deletion_grace_period_seconds=meta.deletion_grace_period_seconds,
        ),
        spec=PodSpec(node_name=pod.spec.node_name, volumes=pod.spec.volumes),
        status=PodStatus(phase=pod.status.phase),
    )


CONTROLLERS: Final = (
    Controller(
        name="pvc-protection-controller",
        actor="Claim protection",
        subject=PersistentVolumeClaim,
        reads=(Read(Pod, Relation.STORAGE, view=_view_of_pod),),
        reconcile=_reconcile_claim,
    ),
    Controller(
        name="pv-protection-controller",
        actor="Volume protection",
        subject=PersistentVolume,
        reads=(),
        reconcile=_reconcile_volume,
    ),
    Controller(
        name="vac-protection-controller",
        actor="VolumeAttributesClass protection",
        subject=VolumeAttributesClass,
        reads=(
            Read(PersistentVolume, Relation.ALL, view=_classes_of_volume),
            Read(PersistentVolumeClaim, Relation.ALL, view=_classes_of_claim),
        ),
        reconcile=_reconcile_class,
    ),
)
