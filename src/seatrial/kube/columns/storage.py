"""Columns of volumes, claims and classes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from seatrial.kube.columns import cells
from seatrial.kube.columns.cells import AGE, NAME, Cell, Column, at
from seatrial.kube.objects import JsonObject

_ACCESS_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(path: str) -> Cell:
    modes = at(path, ())
    return lambda raw, now: ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes(raw, now))


def _claim(raw: JsonObject, now: datetime) -> str:
    claim = at("spec.claimRef", {})(raw, now)
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _storage_class(raw: JsonObject, now: datetime) -> Any:
    beta = at("metadata.annotations", {})(raw, now).get("volume.beta.kubernetes.io/storage-class")
    return beta if beta is not None else at("spec.storageClassName", "")(raw, now)


def _storage_class_name(raw: JsonObject, now: datetime) -> str:
    """Upstream marks the one default that counts; a single row cannot tell, so every default is marked."""
    annotations = at("metadata.annotations", {})(raw, now)
    default = any(
        annotations.get(f"storageclass.{beta}kubernetes.io/is-default-class") == "true" for beta in ("", "beta.")
    )
    return f"{cells.name(raw, now)} (default)" if default else cells.name(raw, now)


def _audiences(raw: JsonObject, now: datetime) -> str:
    asked = (raw.get("spec") or {}).get("tokenRequests")
    return cells.UNSET if asked is None else ",".join(each.get("audience", "") for each in asked)


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "PersistentVolume": (
        NAME,
        Column("Capacity", at("spec.capacity.storage", "0")),
        Column("Access Modes", _access_modes("spec.accessModes")),
        Column("Reclaim Policy", at("spec.persistentVolumeReclaimPolicy", "")),
        Column("Status", cells.phase),
        Column("Claim", _claim),
        Column("StorageClass", _storage_class),
        Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", "<unset>")),
        Column("Reason", at("status.reason", "")),
        AGE,
        Column("VolumeMode", at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "PersistentVolumeClaim": (
        NAME,
        Column("Status", cells.phase),
        Column("Volume", at("spec.volumeName", "")),
        Column("Capacity", at("status.capacity.storage", "")),
        Column("Access Modes", _access_modes("status.accessModes")),
        Column("StorageClass", _storage_class),
        Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", "<unset>")),
        AGE,
        Column("VolumeMode", at("spec.volumeMode", "<unset>"), priority=1),
    ),
    "StorageClass": (
        Column("Name", _storage_class_name),
        Column("Provisioner", at("provisioner", "")),
        Column("ReclaimPolicy", at("reclaimPolicy", "Delete")),
        Column("VolumeBindingMode", at("volumeBindingMode", "Immediate")),
        Column("AllowVolumeExpansion", at("allowVolumeExpansion", False)),
        AGE,
    ),
    "VolumeAttributesClass": (NAME, Column("DriverName", at("driverName", "")), AGE),
    "VolumeAttachment": (
        NAME,
        Column("Attacher", at("spec.attacher", ""), format="name"),
        Column("PV", at("spec.source.persistentVolumeName", "")),
        Column("Node", at("spec.nodeName", "")),
        Column("Attached", at("status.attached", False), "boolean"),
        AGE,
    ),
    "CSINode": (NAME, Column("Drivers", cells.size("spec.drivers"), "integer"), AGE),
    "CSIDriver": (
        NAME,
        Column("AttachRequired", at("spec.attachRequired", True), "boolean"),
        Column("PodInfoOnMount", at("spec.podInfoOnMount", False), "boolean"),
        Column("StorageCapacity", at("spec.storageCapacity", False), "boolean"),
        Column("TokenRequests", _audiences),
        Column("RequiresRepublish", at("spec.requiresRepublish", False), "boolean"),
        Column("Modes", lambda raw, now: ",".join(at("spec.volumeLifecycleModes", ())(raw, now)) or cells.NONE),
        AGE,
    ),
    "CSIStorageCapacity": (
        NAME,
        Column("StorageClassName", at("storageClassName", "")),
        Column("Capacity", at("capacity", cells.UNSET)),
    ),
}
