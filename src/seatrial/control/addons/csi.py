"""A stand-in for CSI drivers: on simulated nodes no driver's pod does its work, so this does, for each CSIDriver.

It plays what a driver brings along: the external provisioner, attacher and resizer beside the control plane, and the
registration with each node. It behaves as those programs do towards the API (finalizers, phases, events) and has no
storage behind it. How long things take and what fails are annotations of the CSIDriver, `Driver` in words of the API:

    metadata: {name: ebs.csi.aws.com, annotations: {seatrial/attach_s: "10", seatrial/attach_error: "no more slots"}}

A driver without a CSIDriver object is not installed: nobody answers for it, and pods wait for their volumes. Operations
that fail are tried again after a second, doubling to five minutes, as the programs do.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from msgspec.structs import replace as with_

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.volumes import expansion, matching
from seatrial.control.volumes.binder import reference
from seatrial.control.writes import Create, Delete, RecordEvent, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    CSIDriver,
    CSINode,
    Object,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from seatrial.kube.objects.storage import (
    CSINodeDriver,
    CSINodeSpec,
    CSIPersistentVolumeSource,
    PersistentVolumeClaimCondition,
    PersistentVolumeSpec,
    VolumeError,
    VolumeNodeResources,
)

T = TypeVar("T", bound=Object)

PREFIX: Final = "seatrial/"
FIRST_REST: Final = timedelta(seconds=1)
LONGEST_REST: Final = timedelta(minutes=5)
_FINALIZER: Final = "external-attacher/"


class UnreadableError(Exception):
    """An annotation of a CSIDriver that cannot be meant; the message says which, and what would be right."""


@dataclass(frozen=True, slots=True)
class Driver:
    """How a driver behaves. Times are seconds; an error is what it says instead of succeeding."""

    name: str
    provision_s: float = 1.0
    attach_s: float = 1.0
    detach_s: float = 1.0
    mount_s: float = 1.0
    expand_s: float = 1.0
    provision_error: str = ""
    attach_error: str = ""
    detach_error: str = ""
    mount_error: str = ""
    expand_error: str = ""
    volumes_per_node: int = 0
    """How many volumes a node takes (CSINode's allocatable); 0: any number."""

    @classmethod
    def of(cls, driver: CSIDriver) -> Driver:
        """Raises `UnreadableError`."""
        given: dict[str, Any] = {}
        for each in fields(cls):
            text = driver.metadata.annotations.get(PREFIX + each.name)
            if text is None or each.default is MISSING:
                continue
            kind = type(each.default)
            try:
                given[each.name] = kind(text)
            except ValueError:
                given[each.name] = -1
            value = given[each.name]
            if not isinstance(value, str) and not (value >= 0 and math.isfinite(value)):
                wanted = "whole number" if kind is int else "number of seconds"
                raise UnreadableError(
                    f'annotation {PREFIX}{each.name} of CSIDriver {driver.metadata.name}: "{text}" is no {wanted}'
                )
        return replace(cls(driver.metadata.name), **given)

    def installed(self, there: CSIDriver | None = None) -> CSIDriver:
        """The CSIDriver that says all this: `there`, or a new one."""
        said = {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }
        del said["name"]
        texts = {
            PREFIX + name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in said.items()
        }
        driver = there or CSIDriver(metadata=ObjectMeta(name=self.name))
        kept = {name: text for name, text in driver.metadata.annotations.items() if not name.startswith(PREFIX)}
        return with_(driver, metadata=with_(driver.metadata, annotations={**kept, **texts}))


@dataclass(frozen=True, slots=True)
class _Work:
    """What is under way for one object: begun when, failed how often, resting until."""

    what: str
    began_at: datetime
    failures: int = 0
    rests_until: datetime | None = None


def _work(seen: Seen, what: str, takes_s: float) -> tuple[_Work, datetime | None]:
    """The work as it stands, and when to look again if it is not yet done."""
    known = seen.memory if isinstance(seen.memory, _Work) and seen.memory.what == what else None
    work = known or _Work(what, seen.now)
    if work.rests_until is not None:
        if seen.now < work.rests_until:
            return work, work.rests_until
        work = replace(work, began_at=seen.now, rests_until=None)
    done_at = work.began_at + timedelta(seconds=takes_s)
    return work, done_at if seen.now < done_at else None


def _failed(work: _Work, seen: Seen) -> _Work:
    rest = min(LONGEST_REST, FIRST_REST * 2 ** min(work.failures, 10))
    return replace(work, failures=work.failures + 1, rests_until=seen.now + rest)


def _driver(seen: Seen, name: str) -> CSIDriver | None:
    return next((each for each in seen.all(CSIDriver) if each.metadata.name == name), None)


def _finalizer(driver: str) -> str:
    return _FINALIZER + driver.replace(".", "-")


def _with_finalizer(obj: T, finalizer: str, *, held: bool) -> T:
    others = tuple(each for each in obj.metadata.finalizers if each != finalizer)
    return with_(obj, metadata=with_(obj.metadata, finalizers=(*others, finalizer) if held else others))


# --- the external attacher ---


def _attach(seen: Seen) -> Decision:
    attachment = seen.subject
    assert isinstance(attachment, VolumeAttachment)
    driver = _driver(seen, attachment.spec.attacher)
    if driver is None:
        return Decision()
    if attachment.metadata.deletion_timestamp is not None:
        return _detach(attachment, driver, seen)
    if attachment.status.attached:
        return Decision()
    finalizer = _finalizer(driver.metadata.name)
    writes: list[Write] = []
    volume = next(iter(seen.all(PersistentVolume)), None)
    if finalizer not in attachment.metadata.finalizers:
        writes.append(Update(attachment, _with_finalizer(attachment, finalizer, held=True)))
    stays = volume is not None and volume.metadata.deletion_timestamp is None
    if volume is not None and stays and finalizer not in volume.metadata.finalizers:
        writes.append(Update(volume, _with_finalizer(volume, finalizer, held=True)))
    try:
        behaviour = Driver.of(driver)
        error = behaviour.attach_error
    except UnreadableError as unreadable:
        behaviour, error = Driver(driver.metadata.name), str(unreadable)
    work, look_at = _work(seen, "attach", behaviour.attach_s)
    if look_at is not None:
        return Decision(tuple(writes), look_at, work)
    error = error or _unattachable(attachment, volume, seen)
    if error:
        status = with_(attachment.status, attach_error=VolumeError(message=error, time=seen.now))
        work = _failed(work, seen)
        writes.append(UpdateStatus(attachment, with_(attachment, status=status)))
        return Decision(tuple(writes), work.rests_until, work)
    status = with_(attachment.status, attached=True, attach_error=None)
    return Decision((*writes, UpdateStatus(attachment, with_(attachment, status=status))))


def _unattachable(attachment: VolumeAttachment, volume: PersistentVolume | None, seen: Seen) -> str:
    if volume is None:
        return f'persistentvolume "{attachment.spec.source.persistent_volume_name}" not found'
    node = next((each for each in seen.all(CSINode) if each.metadata.name == attachment.spec.node_name), None)
    if node is None:
        return f'csinode.storage.k8s.io "{attachment.spec.node_name}" not found'
    if not any(each.name == attachment.spec.attacher for each in node.spec.drivers):
        return f"CSINode {attachment.spec.node_name} does not contain driver {attachment.spec.attacher}"
    return ""


def _detach(attachment: VolumeAttachment, driver: CSIDriver, seen: Seen) -> Decision:
    finalizer = _finalizer(driver.metadata.name)
    if finalizer not in attachment.metadata.finalizers:
        return Decision()
    try:
        behaviour = Driver.of(driver)
        error = behaviour.detach_error
    except UnreadableError as unreadable:
        behaviour, error = Driver(driver.metadata.name), str(unreadable)
    work, look_at = _work(seen, "detach", behaviour.detach_s)
    if look_at is not None:
        return Decision(wake_at=look_at, memory=work)
    if error:
        status = with_(attachment.status, detach_error=VolumeError(message=error, time=seen.now))
        work = _failed(work, seen)
        return Decision((UpdateStatus(attachment, with_(attachment, status=status)),), work.rests_until, work)
    status = with_(attachment.status, attached=False, detach_error=None)
    detached = with_(attachment, status=status)
    released = _with_finalizer(attachment, finalizer, held=False)
    return Decision((UpdateStatus(attachment, detached), Update(attachment, released)))


def _let_go(seen: Seen) -> Decision:
    """A volume may go when it is attached nowhere."""
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    assert volume.spec.csi is not None, "only CSI volumes concern a driver"
    finalizer = _finalizer(volume.spec.csi.driver)
    if finalizer not in volume.metadata.finalizers or seen.all(VolumeAttachment):
        return Decision()
    return Decision((Update(volume, _with_finalizer(volume, finalizer, held=False)),))


def _is_going(volume: Object) -> bool:
    assert isinstance(volume, PersistentVolume)
    return volume.spec.csi is not None and volume.metadata.deletion_timestamp is not None


# --- registration with the nodes ---


def _register(seen: Seen) -> Decision:
    node = seen.subject
    assert isinstance(node, CSINode)
    drivers = []
    for driver in seen.all(CSIDriver):
        try:
            most = Driver.of(driver).volumes_per_node
        except UnreadableError:
            most = 0
        room = VolumeNodeResources(count=most) if most else None
        drivers.append(CSINodeDriver(name=driver.metadata.name, node_id=node.metadata.name, allocatable=room))
    after = with_(node, spec=CSINodeSpec(drivers=tuple(drivers)))
    return Decision((Update(node, after),) if after != node else ())


# --- the external provisioner ---


def _provision(seen: Seen) -> Decision:
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    name = f"pvc-{claim.metadata.uid}"
    asked = _asked(claim)
    driver = _driver(seen, asked)
    chosen = next((each for each in seen.all(StorageClass) if each.metadata.name == matching.class_of(claim)), None)
    if driver is None or chosen is None or any(volume.metadata.name == name for volume in seen.all(PersistentVolume)):
        return Decision()
    if matching.is_delayed(chosen) and matching.SELECTED_NODE not in claim.metadata.annotations:
        return Decision()
    writes: list[Write] = []
    try:
        behaviour = Driver.of(driver)
        error = behaviour.provision_error
    except UnreadableError as unreadable:
        behaviour, error = Driver(driver.metadata.name), str(unreadable)
    if seen.memory is None:
        which = f"{claim.metadata.namespace}/{claim.metadata.name}"
        started = f'External provisioner is provisioning volume for claim "{which}"'
        writes.append(RecordEvent(claim, "Normal", "Provisioning", started))
    work, look_at = _work(seen, "provision", behaviour.provision_s)
    if look_at is not None:
        return Decision(tuple(writes), look_at, work)
    if "storage" not in claim.spec.resources.requests:
        error = "the claim requests no storage"
    if error:
        message = f'failed to provision volume with StorageClass "{chosen.metadata.name}": {error}'
        work = _failed(work, seen)
        event = RecordEvent(claim, "Warning", "ProvisioningFailed", message)
        return Decision((*writes, event), work.rests_until, work)
    volume = PersistentVolume(
        metadata=ObjectMeta(name=name, annotations={matching.PROVISIONED_BY: asked}),
        spec=PersistentVolumeSpec(
            access_modes=claim.spec.access_modes,
            capacity={"storage": claim.spec.resources.requests["storage"]},
            claim_ref=reference(claim),
            csi=CSIPersistentVolumeSource(driver=asked, volume_handle=name),
            mount_options=chosen.mount_options,
            persistent_volume_reclaim_policy=chosen.reclaim_policy or "Delete",
            storage_class_name=chosen.metadata.name,
            volume_attributes_class_name=claim.spec.volume_attributes_class_name or None,
            volume_mode=claim.spec.volume_mode or "Filesystem",
        ),
    )
    done = RecordEvent(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
    return Decision((*writes, Create(volume), done))


def _asked(claim: PersistentVolumeClaim) -> str:
    found = (claim.metadata.annotations.get(each) for each in reversed(matching.STORAGE_PROVISIONERS))
    return next((each for each in found if each), "")


def _is_to_provision(claim: Object) -> bool:
    assert isinstance(claim, PersistentVolumeClaim)
    return bool(_asked(claim)) and not claim.spec.volume_name and claim.metadata.deletion_timestamp is None


def _delete(seen: Seen) -> Decision:
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    assert volume.spec.csi is not None, "only CSI volumes concern a driver"
    return Decision((Delete(volume),) if _driver(seen, volume.spec.csi.driver) is not None else ())


def _is_to_delete(volume: Object) -> bool:
    assert isinstance(volume, PersistentVolume)
    csi = volume.spec.csi
    return (
        csi is not None
        and volume.metadata.annotations.get(matching.PROVISIONED_BY) == csi.driver
        and volume.status.phase == "Released"
        and volume.spec.persistent_volume_reclaim_policy == "Delete"
        and volume.metadata.deletion_timestamp is None
    )


# --- the external resizer ---


def _expand(seen: Seen) -> Decision:
    """As the resizer of a driver whose volumes grow without their node's help."""
    claim = seen.subject
    assert isinstance(claim, PersistentVolumeClaim)
    volume = next((each for each in seen.all(PersistentVolume) if each.metadata.name == claim.spec.volume_name), None)
    driver = _driver(seen, volume.spec.csi.driver) if volume is not None and volume.spec.csi is not None else None
    if volume is None or driver is None:
        return Decision()
    wanted = {"storage": claim.spec.resources.requests["storage"]}
    try:
        behaviour = Driver.of(driver)
        error = behaviour.expand_error
    except UnreadableError as unreadable:
        behaviour, error = Driver(driver.metadata.name), str(unreadable)
    writes: list[Write] = []
    if not any(each.type == "Resizing" for each in claim.status.conditions):
        message = f"External resizer is resizing volume {volume.metadata.name}"
        resizing = PersistentVolumeClaimCondition(type="Resizing", status="True", last_transition_time=seen.now)
        status = with_(
            claim.status,
            allocated_resources=wanted,
            allocated_resource_statuses={"storage": "ControllerResizeInProgress"},
            conditions=(*claim.status.conditions, resizing),
        )
        writes += [UpdateStatus(claim, with_(claim, status=status)), RecordEvent(claim, "Normal", "Resizing", message)]
    work, look_at = _work(seen, "expand", behaviour.expand_s)
    if look_at is not None:
        return Decision(tuple(writes), look_at, work)
    if error:
        resizer = driver.metadata.name
        message = f'resize volume "{volume.metadata.name}" by resizer "{resizer}" failed: {error}'
        work = _failed(work, seen)
        event = RecordEvent(claim, "Warning", "VolumeResizeFailed", message)
        return Decision((*writes, event), work.rests_until, work)
    if writes:  # it takes no time: the rest is the next decision's, which sees what this one writes
        return Decision(tuple(writes), seen.now, work)
    grown = with_(volume, spec=with_(volume.spec, capacity={**volume.spec.capacity, **wanted}))
    status = with_(
        claim.status,
        capacity={**claim.status.capacity, **wanted},
        allocated_resource_statuses={},
        conditions=tuple(each for each in claim.status.conditions if each.type != "Resizing"),
    )
    done = RecordEvent(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
    return Decision((Update(volume, grown), UpdateStatus(claim, with_(claim, status=status)), done))


def _wants_more(claim: Object) -> bool:
    assert isinstance(claim, PersistentVolumeClaim)
    return expansion.wants_more(claim)


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, CSINode)
    return CSINode(metadata=ObjectMeta(name=node.metadata.name), spec=node.spec)


_DRIVERS: Final = Read(CSIDriver, Relation.ALL)
CONTROLLERS: Final = (
    Controller(
        name="external-attacher",
        actor="CSI attacher",
        subject=VolumeAttachment,
        reads=(Read(PersistentVolume, Relation.STORAGE), Read(CSINode, Relation.ALL, view=_view_of_node), _DRIVERS),
        reconcile=_attach,
    ),
    Controller(
        name="external-attacher",
        actor="CSI attacher (volumes)",
        subject=PersistentVolume,
        reads=(Read(VolumeAttachment, Relation.STORAGE),),
        reconcile=_let_go,
        concerned=_is_going,
    ),
    Controller(name="kubelet", actor="CSI registration", subject=CSINode, reads=(_DRIVERS,), reconcile=_register),
    Controller(
        name="external-provisioner",
        actor="CSI provisioner",
        subject=PersistentVolumeClaim,
        reads=(Read(PersistentVolume, Relation.STORAGE), Read(StorageClass, Relation.ALL), _DRIVERS),
        reconcile=_provision,
        concerned=_is_to_provision,
    ),
    Controller(
        name="external-provisioner",
        actor="CSI provisioner (deletion)",
        subject=PersistentVolume,
        reads=(_DRIVERS,),
        reconcile=_delete,
        concerned=_is_to_delete,
    ),
    Controller(
        name="external-resizer",
        actor="CSI resizer",
        subject=PersistentVolumeClaim,
        reads=(Read(PersistentVolume, Relation.STORAGE), _DRIVERS),
        reconcile=_expand,
        concerned=_wants_more,
    ),
)
