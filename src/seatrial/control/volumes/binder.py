"""The PersistentVolume controller: claims find volumes, volumes follow their claims, and what becomes of them after.

A binding is two references, from the volume to the claim (with its uid) and back; whoever reads either alone must be
able to tell what is meant, so the volume's is written first. A claim without a match is looked at again every 15 s,
as upstream does; its events are recorded when what they say is new rather than every time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control.controller import NEWEST_MINOR, Controller, Decision, Read, Relation, Seen
from seatrial.control.volumes import matching
from seatrial.control.volumes.matching import BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY
from seatrial.control.volumes.protection import VOLUME_FINALIZER
from seatrial.control.writes import Delete, RecordEvent, Update, UpdateStatus, Write
from seatrial.kube.objects import Object, ObjectMeta, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass
from seatrial.kube.objects.pods import PodSpec, PodStatus
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.quantities import Quantity

T = TypeVar("T", bound=Object)

_DELETABLE: Final = re.compile("/tmp/.+")
"""Anywhere in the path, as upstream has it."""
_HOST_PATH: Final = "kubernetes.io/host-path"
_ATTRIBUTES_SINCE: Final = 34  # minor version: VolumeAttributesClass
_PRE_RESIZE: Final = "volume.alpha.kubernetes.io/pre-resize-capacity"
RESYNC: Final = timedelta(seconds=15)

# --- claims ---


def _reconcile_claim(seen: Seen) -> Decision:
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    asked = (claim.metadata.annotations.get(each) for each in reversed(matching.STORAGE_PROVISIONERS))
    moved = _migrated(claim, next((each for each in asked if each is not None), None))
    if moved is not None:
        return Decision((Update(claim, moved),))
    volumes = {volume.metadata.name: volume for volume in seen.all(PersistentVolume)}
    named = volumes.get(claim.spec.volume_name) if claim.spec.volume_name else None
    if BIND_COMPLETED in claim.metadata.annotations:
        if named is not None and named.spec.claim_ref is None and named.metadata.deletion_timestamp is not None:
            since = seen.memory if isinstance(seen.memory, datetime) else seen.now
            if seen.now < since + RESYNC:  # nothing protects it now: it goes before upstream would look again
                return Decision((), since + RESYNC, since)
        return Decision(tuple(_keep(claim, named, seen)))
    if not claim.spec.volume_name:
        return _find(claim, seen)
    if named is None:
        return Decision(tuple(_pending(claim)))
    if named.spec.claim_ref is None:
        wrong = matching.unsuitable(named, claim)
        if wrong:
            message = f'Cannot bind to requested volume "{named.metadata.name}": {wrong}'
            return _wait(seen, _pending(claim), RecordEvent(claim, "Warning", "VolumeMismatch", message))
        return Decision(tuple(_bind(named, claim, seen)))
    if matching.is_for(named, claim):
        return Decision(tuple(_bind(named, claim, seen)))
    message = f'volume "{named.metadata.name}" already bound to a different claim.'
    pending = [] if BOUND_BY_CONTROLLER in claim.metadata.annotations else _pending(claim)
    return _wait(seen, pending, RecordEvent(claim, "Warning", "FailedBinding", message))


def _keep(claim: PersistentVolumeClaim, volume: PersistentVolume | None, seen: Seen) -> list[Write]:
    """A claim that was bound once is bound, or lost; it never gets another volume."""
    if volume is not None:
        ref = volume.spec.claim_ref
        if ref is None or ref.uid == claim.metadata.uid:
            return _bind(volume, claim, seen)
        reason, message = "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"
    elif claim.spec.volume_name:
        reason, message = "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    else:
        message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        reason = "ClaimLost"
    if claim.status.phase == "Lost":
        return []
    return [*_phase(claim, "Lost", None), RecordEvent(claim, "Warning", reason, message)]


def _find(claim: PersistentVolumeClaim, seen: Seen) -> Decision:
    classes = {each.metadata.name: each for each in seen.all(StorageClass)}
    name = matching.class_of(claim)
    delayed = matching.is_delayed(classes.get(name))
    volume = matching.best(claim, seen.all(PersistentVolume), delayed=delayed)
    if volume is not None:
        return Decision(tuple(_bind(volume, claim, seen)))
    if not matching.has_class(claim):
        default = matching.default_class(classes.values())
        if default is not None:
            spec = replace(claim.spec, storage_class_name=default.metadata.name)
            return Decision((Update(claim, replace(claim, spec=spec)),))
    if delayed and matching.SELECTED_NODE not in claim.metadata.annotations:
        return _wait(seen, _pending(claim), _unscheduled(claim, seen.all(Pod)), again=False)
    if not name:
        message = "no persistent volumes available for this claim and no storage class is set"
        return _wait(seen, _pending(claim), RecordEvent(claim, "Normal", "FailedBinding", message))
    storage_class = classes.get(name)
    if storage_class is None:
        message = f'storageclass.storage.k8s.io "{name}" not found'
        return _wait(seen, [], RecordEvent(claim, "Warning", "ProvisioningFailed", message))
    if is_in_tree(storage_class.provisioner):
        message = f"no volume plugin matched name: {storage_class.provisioner}"
        return _wait(seen, [], RecordEvent(claim, "Warning", "ProvisioningFailed", message))
    return _ask_provisioner(claim, storage_class, seen, again=not delayed)


def _unscheduled(claim: PersistentVolumeClaim, pods: tuple[Pod, ...]) -> RecordEvent:
    names = [
        pod.metadata.name for pod in pods if not pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed")
    ]
    if not names:
        message = "waiting for first consumer to be created before binding"
        return RecordEvent(claim, "Normal", "WaitForFirstConsumer", message)
    which = f"pod {names[0]}" if len(names) == 1 else f"pods {','.join(names)}"
    return RecordEvent(claim, "Normal", "WaitForPodScheduled", f"waiting for {which} to be scheduled")


def _ask_provisioner(claim: PersistentVolumeClaim, storage_class: StorageClass, seen: Seen, *, again: bool) -> Decision:
    provisioner = matching.MIGRATED.get(storage_class.provisioner, storage_class.provisioner)
    writes: list[Write] = []
    if claim.metadata.annotations.get(matching.STORAGE_PROVISIONERS[-1]) != provisioner:
        asked = dict.fromkeys(matching.STORAGE_PROVISIONERS, provisioner)
        writes.append(Update(claim, _annotated(claim, {**claim.metadata.annotations, **asked})))
    message = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    return _wait(seen, writes, RecordEvent(claim, "Normal", "ExternalProvisioning", message), again=again)


def _wait(seen: Seen, writes: list[Write], event: RecordEvent, *, again: bool = True) -> Decision:
    said = (event.reason, event.message)
    if seen.memory != said:
        writes = [*writes, event]
    return Decision(tuple(writes), seen.now + RESYNC if again else None, said)


def _pending(claim: PersistentVolumeClaim) -> list[Write]:
    return _phase(claim, "Pending", None)


def _phase(
    claim: PersistentVolumeClaim, phase: str, volume: PersistentVolume | None, minor: int = NEWEST_MINOR
) -> list[Write]:
    """A claim's phase, and with it what its volume has; the driver's resizer alone says what changes after binding."""
    status = replace(claim.status, phase=phase)
    if volume is None:
        status = replace(status, access_modes=(), capacity={}, current_volume_attributes_class_name=None)
    else:
        status = replace(status, access_modes=volume.spec.access_modes)
        if claim.status.phase != phase:
            status = replace(status, capacity=_capacity(volume))
        if minor >= _ATTRIBUTES_SINCE and claim.status.phase == "Pending" and phase == "Bound":
            attributes = volume.spec.volume_attributes_class_name
            status = replace(status, current_volume_attributes_class_name=attributes)
    return [] if status == claim.status else [UpdateStatus(claim, replace(claim, status=status))]


def _capacity(volume: PersistentVolume) -> Mapping[str, Quantity]:
    """Before its file system is resized a volume offers what it offered."""
    before = volume.metadata.annotations.get(_PRE_RESIZE)
    if before is not None:
        try:
            return {"storage": Quantity.parse(before)}
        except ValueError:
            pass
    return volume.spec.capacity


def _bind(volume: PersistentVolume, claim: PersistentVolumeClaim, seen: Seen) -> list[Write]:
    writes: list[Write] = []
    reserved = matching.is_for(volume, claim)
    ref = volume.spec.claim_ref
    if ref is None or ref.uid != claim.metadata.uid or not reserved:
        spec = replace(volume.spec, claim_ref=reference(claim))
        annotations = volume.metadata.annotations
        if not reserved:
            annotations = {**annotations, BOUND_BY_CONTROLLER: "yes"}
        writes.append(Update(volume, replace(_annotated(volume, annotations), spec=spec)))
    writes += _volume_phase(volume, "Bound", seen)
    bound = claim
    annotations = claim.metadata.annotations
    if claim.spec.volume_name != volume.metadata.name:
        bound = replace(bound, spec=replace(bound.spec, volume_name=volume.metadata.name))
        annotations = {**annotations, BOUND_BY_CONTROLLER: "yes"}
    if BIND_COMPLETED not in annotations:
        annotations = {**annotations, BIND_COMPLETED: "yes"}
    bound = _annotated(bound, annotations)
    if bound != claim:
        writes.append(Update(claim, bound))
    return [*writes, *_phase(claim, "Bound", volume, seen.minor)]


def reference(claim: PersistentVolumeClaim) -> ObjectReference:
    meta = claim.metadata
    return ObjectReference(
        api_version=claim.api_version,
        kind=claim.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _annotated(obj: T, annotations: Mapping[str, str]) -> T:
    return replace(obj, metadata=replace(obj.metadata, annotations=annotations))


def _migrated(obj: T, provisioner: str | None) -> T | None:
    """The object with the driver that has taken its provisioner's place, if it does not say that yet."""
    annotations = dict(obj.metadata.annotations)
    if provisioner is None:
        return None
    driver, said = matching.MIGRATED.get(provisioner), annotations.pop(matching.MIGRATED_TO, None)
    if driver == said or (driver is None and not said):
        return None
    return _annotated(obj, annotations if driver is None else {**annotations, matching.MIGRATED_TO: driver})


# --- volumes ---


def _reconcile_volume(seen: Seen) -> Decision:
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    moved = _migrated(volume, volume.metadata.annotations.get(PROVISIONED_BY))
    if moved is not None:
        return Decision((Update(volume, moved),))
    ref = volume.spec.claim_ref
    if ref is None or not ref.uid:
        return Decision(tuple(_volume_phase(volume, "Available", seen)))
    claim = next((each for each in seen.all(PersistentVolumeClaim) if each.metadata.uid == ref.uid), None)
    if claim is None:
        return Decision(tuple(_released(volume, seen)))
    name = volume.metadata.name
    if claim.spec.volume_name == name:
        return Decision(tuple(_volume_phase(volume, "Bound", seen)))
    if not claim.spec.volume_name:
        if matching.same_mode(volume, claim):
            return Decision()  # the claim is about to be bound
        to_volume = (
            f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{claim.metadata.name}" '
            "due to incompatible volumeMode."
        )
        to_claim = (
            f'Cannot bind PersistentVolume "{name}" to requested PersistentVolumeClaim due to incompatible volumeMode.'
        )
        events = (
            RecordEvent(volume, "Warning", "VolumeMismatch", to_volume),
            RecordEvent(claim, "Warning", "VolumeMismatch", to_claim),
        )
        return Decision(() if seen.memory == to_volume else events, memory=to_volume)
    if PROVISIONED_BY in volume.metadata.annotations and volume.spec.persistent_volume_reclaim_policy == "Delete":
        return Decision(tuple(_released(volume, seen)))
    return Decision(tuple(_unbound(volume, seen)))


def _released(volume: PersistentVolume, seen: Seen) -> list[Write]:
    """Its claim is gone: what the reclaim policy says. A provisioner deletes what it has made; nobody else can here.

    First it says so. What follows is decided anew: a volume that is to go, and is no more protected, may have gone.
    """
    if volume.status.phase not in ("Released", "Failed"):
        return _volume_phase(volume, "Released", seen)
    if volume.metadata.deletion_timestamp is not None and VOLUME_FINALIZER in volume.metadata.finalizers:
        return []
    match volume.spec.persistent_volume_reclaim_policy:
        case "Retain":
            return []
        case "Delete":
            return _deleted(volume, seen)
        case "Recycle":
            return _recycled(volume, seen)
        case _:
            message = "Volume has unrecognized PersistentVolumeReclaimPolicy"
            return _failed(volume, "VolumeUnknownReclaimPolicy", message, seen)


def _recycled(volume: PersistentVolume, seen: Seen) -> list[Write]:
    """Nothing recycles here; upstream says the same of every volume but hostPath and NFS."""
    users = sorted(
        f"{pod.metadata.namespace}/{pod.metadata.name}"
        for pod in seen.all(Pod)
        if pod.status.phase not in ("Succeeded", "Failed")
    )
    if users and not seen.all(PersistentVolumeClaim):
        return [RecordEvent(volume, "Normal", "VolumeFailedRecycle", f"Volume is used by pods: {','.join(users)}")]
    return _failed(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!", seen)


def is_in_tree(provisioner: str) -> bool:
    """Kubernetes itself is meant, in which nothing provisions any more."""
    return provisioner.startswith("kubernetes.io/") and provisioner not in matching.MIGRATED


def _deleted(volume: PersistentVolume, seen: Seen) -> list[Write]:
    by = volume.metadata.annotations.get(PROVISIONED_BY, "")
    if is_in_tree(by) and by != _HOST_PATH:
        return _failed(volume, "VolumeFailedDelete", f"no volume plugin matched name: {by}", seen)
    if (by and by != _HOST_PATH) or matching.MIGRATED_TO in volume.metadata.annotations or volume.spec.csi is not None:
        return []
    host_path = volume.spec.host_path
    if host_path is None:
        name = volume.metadata.name
        message = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
        return _failed(volume, "VolumeFailedDelete", message, seen)
    if not _DELETABLE.search(host_path.path):
        message = f"host_path deleter only supports /tmp/.+ but received provided {host_path.path}"
        return _failed(volume, "VolumeFailedDelete", message, seen)
    return [Delete(volume)] if volume.metadata.deletion_timestamp is None else []


def _failed(volume: PersistentVolume, reason: str, message: str, seen: Seen) -> list[Write]:
    if volume.status.phase == "Failed":
        return []
    return [*_volume_phase(volume, "Failed", seen, message), RecordEvent(volume, "Warning", reason, message)]


def _unbound(volume: PersistentVolume, seen: Seen) -> list[Write]:
    """The claim has taken another volume: this one is free again, or reserved as its maker wrote it."""
    ref, annotations = volume.spec.claim_ref, dict(volume.metadata.annotations)
    assert ref is not None, "it was bound"
    ours = annotations.pop(BOUND_BY_CONTROLLER, None) is not None
    spec = replace(volume.spec, claim_ref=None if ours else replace(ref, uid=""))
    after = replace(_annotated(volume, annotations), spec=spec)
    return [Update(volume, after), *_volume_phase(volume, "Available", seen)]


def _volume_phase(volume: PersistentVolume, phase: str, seen: Seen, message: str = "") -> list[Write]:
    if volume.status.phase == phase:
        return []
    status = replace(
        volume.status,
        phase=phase,
        message=message,
        last_phase_transition_time=seen.now if seen.minor >= 29 else None,
    )
    return [UpdateStatus(volume, replace(volume, status=status))]


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    return Pod(
        metadata=ObjectMeta(namespace=pod.metadata.namespace, name=pod.metadata.name),
        spec=PodSpec(node_name=pod.spec.node_name, volumes=pod.spec.volumes),
        status=PodStatus(phase=pod.status.phase),
    )


CONTROLLERS: Final = (
    Controller(
        name="persistentvolume-controller",
        actor="PersistentVolume controller (claims)",
        subject=PersistentVolumeClaim,
        reads=(
            Read(PersistentVolume, Relation.STORAGE),
            Read(PersistentVolume, Relation.ALL, wakes=False),
            Read(StorageClass, Relation.ALL),
            Read(Pod, Relation.STORAGE, view=_view_of_pod),
        ),
        reconcile=_reconcile_claim,
    ),
    Controller(
        name="persistentvolume-controller",
        actor="PersistentVolume controller (volumes)",
        subject=PersistentVolume,
        reads=(Read(PersistentVolumeClaim, Relation.STORAGE), Read(Pod, Relation.STORAGE, view=_view_of_pod)),
        reconcile=_reconcile_volume,
    ),
)
