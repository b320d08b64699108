"""What the API does to claims, volumes and what is around them: the default class (DefaultStorageClass), finalizers of
what is in use (StorageObjectInUseProtection), who may grow (PersistentVolumeClaimResize), a volume's phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seatrial.control.volumes import matching, protection
from seatrial.kube.objects import JsonObject, PersistentVolumeClaim, StorageClass, parse_as
from seatrial.kube.quantities import Quantity
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api

_FINALIZERS: Final = {
    "PersistentVolumeClaim": protection.CLAIM_FINALIZER,
    "PersistentVolume": protection.VOLUME_FINALIZER,
    "VolumeAttributesClass": protection.CLASS_FINALIZER,
}
_TIMED_SINCE: Final = 29  # minor version: a volume says since when it has its phase
_NOTHING: Final = Quantity.parse("0")


def admit(api: Api, kind: str, raw: JsonObject, now: str) -> JsonObject:
    """A new claim, volume or VolumeAttributesClass as it is stored."""
    finalizers = raw["metadata"].get("finalizers") or []
    if _FINALIZERS[kind] not in finalizers:
        raw = {**raw, "metadata": {**raw["metadata"], "finalizers": [*finalizers, _FINALIZERS[kind]]}}
    match kind:
        case PersistentVolumeClaim.kind:
            raw = {**raw, "status": {"phase": "Pending"}}
            if not matching.has_class(parse_as(PersistentVolumeClaim, raw)):
                default = matching.default_class(_classes(api))
                if default is not None:
                    raw = {**raw, "spec": {**raw["spec"], "storageClassName": default.metadata.name}}
        case "PersistentVolume":
            raw = with_phase(api, {**raw, "status": {"phase": "Pending"}}, None, now)
    return raw


def with_phase(api: Api, raw: JsonObject, before: JsonObject | None, now: str) -> JsonObject:
    """A volume whose status says since when, if a write of it did not; without the class that stands for none."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    if spec.get("storageClassName") == "":
        raw = {**raw, "spec": {key: value for key, value in spec.items() if key != "storageClassName"}}
    if int(api.version.partition(".")[2]) < _TIMED_SINCE:
        return raw
    old = {} if before is None else before.get("status") or {}
    since, known = status.get("lastPhaseTransitionTime"), old.get("lastPhaseTransitionTime")
    if old.get("phase") == status.get("phase"):
        since = since or known
    elif since is None or since == known:
        since = now
    return raw if since is None else {**raw, "status": {**status, "lastPhaseTransitionTime": since}}


def check_growth(api: Api, resource: Resource, after: JsonObject, before: JsonObject) -> None:
    """Raises 403: only what is bound, and of a class that says so, may ask for more."""
    old, new = (parse_as(PersistentVolumeClaim, raw) for raw in (before, after))
    sizes = [claim.spec.resources.requests.get("storage", _NOTHING) for claim in (old, new)]
    if sizes[1] <= sizes[0]:
        return
    name = new.metadata.name
    if old.status.phase != "Bound":
        why = "Only bound persistent volume claims can be expanded"
        raise errors.forbidden(resource.plural, resource.group, name, why)
    found = next((each for each in _classes(api) if each.metadata.name == matching.class_of(new)), None)
    if found is None or matching.class_of(old) != matching.class_of(new) or not found.allow_volume_expansion:
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
            "resize"
        )
        raise errors.forbidden(resource.plural, resource.group, name, why)


def _classes(api: Api) -> list[StorageClass]:
    stored = api.store.all(storage_key(api.kind(StorageClass.api_version, StorageClass.kind))).values()
    return [parse_as(StorageClass, each.raw) for each in stored]
