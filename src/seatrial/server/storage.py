"""What the API does to new claims and volumes: the default class (DefaultStorageClass), the finalizers that protect
them while they are used (StorageObjectInUseProtection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seatrial.control.volumes import matching, protection
from seatrial.kube.objects import JsonObject, PersistentVolumeClaim, StorageClass, parse_as
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api

_FINALIZERS: Final = {
    "PersistentVolumeClaim": protection.CLAIM_FINALIZER,
    "PersistentVolume": protection.VOLUME_FINALIZER,
}


def admit(api: Api, kind: str, raw: JsonObject) -> JsonObject:
    """A new claim or volume as it is stored."""
    finalizers = raw["metadata"].get("finalizers") or []
    if _FINALIZERS[kind] not in finalizers:
        raw = {**raw, "metadata": {**raw["metadata"], "finalizers": [*finalizers, _FINALIZERS[kind]]}}
    if kind == PersistentVolumeClaim.kind and not matching.has_class(parse_as(PersistentVolumeClaim, raw)):
        stored = api.store.all(storage_key(api.kind(StorageClass.api_version, StorageClass.kind))).values()
        default = matching.default_class([parse_as(StorageClass, each.raw) for each in stored])
        if default is not None:
            raw = {**raw, "spec": {**raw["spec"], "storageClassName": default.metadata.name}}
    return raw
