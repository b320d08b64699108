"""Pods placed with their claims: the binder and the scheduler at work on the volumes that files hold.

Claims are bound by the binder that runs, at once or when the scheduler has chosen a node. What no volume of the files
answers is provisioned: by whoever the class names, or, where files do not speak of the class, by whoever it is; such a
volume is reached from every node. Pods come in the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.model.pool import NOW, with_metadata
from seatrial.check.system import Entry, System
from seatrial.control import relations, retention, scheduler
from seatrial.control.scheduler import Reason
from seatrial.control.volumes import binder, matching
from seatrial.control.writes import Bind, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    CSIDriver,
    CSINode,
    Node,
    Object,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    StatefulSet,
    StorageClass,
)
from seatrial.kube.objects.storage import CSIPersistentVolumeSource, PersistentVolumeSpec, PersistentVolumeStatus

REASONS: Final = frozenset(
    {
        Reason.DISK_CONFLICT,
        Reason.CLAIM_IN_USE,
        Reason.VOLUME_LIMIT,
        Reason.NO_DRIVER,
        Reason.VOLUME_AFFINITY,
        Reason.NO_VOLUME,
        Reason.NO_STORAGE,
        Reason.VOLUME_MISSING,
        Reason.VOLUME_ZONE,
        Reason.POD,
    }
)
"""Why a node is refused for volumes."""
_STEPS: Final = 5
"""Between a pod's first look and its binding there are fewer decisions than that."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A pod that finds no node because of its volumes."""

    owner: Entry
    index: int
    message: str


@dataclass(slots=True)
class Storage:
    """The volumes and claims of a system while its pods are placed."""

    system: System
    nodes: Sequence[Node]
    minor: int
    _board: scheduler.Scheduler = field(init=False)
    _claims: dict[tuple[str, str], PersistentVolumeClaim] = field(default_factory=dict)
    _volumes: dict[str, PersistentVolume] = field(default_factory=dict)

    def __post_init__(self) -> None:
        system = self.system
        self._board = scheduler.Scheduler(minor=self.minor)
        standing, _ = machines.standing(system, self.nodes)
        known: list[Object] = [*self.nodes, *machines.around(system), *standing]
        for kind in (StorageClass, CSINode, CSIDriver):
            known += system.all(kind)
        for item in known:
            self._board.change(None, item, NOW)
        free = PersistentVolumeStatus(phase="Available")
        for volume in system.all(PersistentVolume):
            self._put_volume(msgspec.structs.replace(volume, status=free))
        for claim in system.all(PersistentVolumeClaim):
            self._add(claim)

    def unplaced(self) -> Iterator[Unplaced]:
        """Every owner's first pod that its volumes keep from all nodes."""
        for entry in self.system.entries:
            for index, pod in enumerate(self._pods(entry)):
                refused = self._place(pod)
                if refused is not None:
                    if refused:
                        yield Unplaced(entry, index, refused)
                    break

    def _pods(self, entry: Entry) -> Iterator[Pod]:
        workload = entry.typed
        if isinstance(workload, Pod):
            if not workload.spec.node_name:
                yield workload
            return
        if not isinstance(workload, machines.WORKLOADS) or machines.template_of(workload).spec.node_name:
            return
        for index, pod in enumerate(machines.pods_of(workload, min(machines.replicas(workload), 500))):
            volumes = list(pod.spec.volumes)
            if isinstance(workload, StatefulSet):
                for claim in retention.claims_for(workload, index):
                    self._add(claim)
                volumes = list(retention.volumes_for(workload, index, pod.spec.volumes))
            kept = tuple(each for each in volumes if each.ephemeral is None)
            spec = msgspec.structs.replace(pod.spec, volumes=kept, scheduler_name=scheduler.NAME)
            yield msgspec.structs.replace(pod, spec=spec)

    def _place(self, pod: Pod) -> str | None:
        """None when it has a node; else why it has none, if that is for its volumes."""
        for name in relations.claim_names(pod):
            if (pod.metadata.namespace, name) not in self._claims:
                return ""  # `references/exist` speaks of it
        for _ in range(_STEPS):
            decision = self._board.place(pod, NOW)
            bind = next((write for write in decision.writes if isinstance(write, Bind)), None)
            if bind is not None:
                self._board.change(None, machines.on(pod, bind.node_name), NOW)
                return None
            if not any(isinstance(write, Update) for write in decision.writes):
                placement = self._board.placement(pod)
                for_volumes = any(obstacle.reason in REASONS for obstacle in placement.obstacles)
                return placement.message if for_volumes else ""
            self._apply(decision.writes)
        return ""

    def _add(self, claim: PersistentVolumeClaim) -> None:
        """A claim that appears; the binder looks at it."""
        key = (claim.metadata.namespace, claim.metadata.name)
        if key in self._claims:
            return
        self._put_claim(with_metadata(claim, uid=f"{key[0]}/{key[1]}"))
        self._settle(key)

    def _settle(self, key: tuple[str, str]) -> None:
        """Let the binder decide on a claim until nothing changes; what asks for provisioning gets a volume."""
        for _ in range(_STEPS):
            before = self._claims[key]
            objects: dict[type[Object], Sequence[Object]] = {
                PersistentVolume: tuple(self._volumes.values()),
                StorageClass: self.system.all(StorageClass),
            }
            decision = binder.CONTROLLERS[0].reconcile(relations.observe(binder.CONTROLLERS[0], before, objects, NOW))
            self._apply_all(decision.writes)
            claim = self._claims[key]
            if claim == before:
                break
        claim = self._claims[key]
        if matching.BIND_COMPLETED in claim.metadata.annotations or claim.spec.volume_name:
            return
        storage_class = class_of(self.system, claim)
        waits = matching.is_delayed(storage_class) and matching.SELECTED_NODE not in claim.metadata.annotations
        static = storage_class is not None and storage_class.provisioner == "kubernetes.io/no-provisioner"
        if not waits and not static and (storage_class is not None or not is_classless(claim)):
            self._provision(claim, storage_class)

    def _provision(self, claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> None:
        name = f"pvc-{claim.metadata.namespace}-{claim.metadata.name}"
        driver = storage_class.provisioner if storage_class is not None else "somebody"
        spec = PersistentVolumeSpec(
            access_modes=claim.spec.access_modes,
            capacity=claim.spec.resources.requests,
            claim_ref=binder.reference(claim),
            csi=CSIPersistentVolumeSource(driver=driver, volume_handle=name),
            storage_class_name=matching.class_of(claim),
            volume_mode=claim.spec.volume_mode,
        )
        self._put_volume(
            PersistentVolume(metadata=ObjectMeta(name=name), spec=spec, status=PersistentVolumeStatus(phase="Bound"))
        )
        annotations = {**claim.metadata.annotations, matching.BIND_COMPLETED: "yes"}
        bound = with_metadata(claim, annotations=annotations)
        status = msgspec.structs.replace(bound.status, phase="Bound")
        self._put_claim(
            msgspec.structs.replace(bound, spec=msgspec.structs.replace(bound.spec, volume_name=name), status=status)
        )

    def _apply(self, writes: Sequence[Write]) -> None:
        """Writes of the scheduler, and what the binder makes of them."""
        self._apply_all(writes)
        for key in list(self._claims):
            self._settle(key)

    def _apply_all(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if not isinstance(write, Update | UpdateStatus):
                continue
            after = write.after
            if isinstance(after, PersistentVolume):
                known = self._volumes[after.metadata.name]
                changed = msgspec.structs.replace(known, status=after.status)
                self._put_volume(changed if isinstance(write, UpdateStatus) else with_status(after, known))
            elif isinstance(after, PersistentVolumeClaim):
                claim = self._claims[after.metadata.namespace, after.metadata.name]
                told = msgspec.structs.replace(claim, status=after.status)
                self._put_claim(told if isinstance(write, UpdateStatus) else with_claim_status(after, claim))

    def _put_volume(self, volume: PersistentVolume) -> None:
        name = volume.metadata.name
        self._board.change(self._volumes.get(name), volume, NOW)
        self._volumes[name] = volume

    def _put_claim(self, claim: PersistentVolumeClaim) -> None:
        key = (claim.metadata.namespace, claim.metadata.name)
        self._board.change(self._claims.get(key), claim, NOW)
        self._claims[key] = claim


def class_of(system: System, claim: PersistentVolumeClaim) -> StorageClass | None:
    """The class of a claim, as far as files speak of it."""
    classes = system.all(StorageClass)
    if not matching.has_class(claim):
        return matching.default_class(classes)
    return next((each for each in classes if each.metadata.name == matching.class_of(claim)), None)


def is_classless(claim: PersistentVolumeClaim) -> bool:
    """It says itself that nobody provisions for it: the empty class."""
    return matching.has_class(claim) and not matching.class_of(claim)


def with_status(after: PersistentVolume, known: PersistentVolume) -> PersistentVolume:
    return msgspec.structs.replace(after, status=known.status)


def with_claim_status(after: PersistentVolumeClaim, known: PersistentVolumeClaim) -> PersistentVolumeClaim:
    return msgspec.structs.replace(after, status=known.status)
