"""What the API server refuses of claims, volumes and classes beyond their schema, in upstream's wording and order.

Upstream ends the message about a claim's changed spec with a diff of Go structs; ours does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.patches import same
from seatrial.kube.quantities import Quantity
from seatrial.kube.validation import fields

_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES: Final = ("Block", "Filesystem")
_POLICIES: Final = ("Delete", "Recycle", "Retain")
_NO_SOURCES: Final = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)
"""What a volume's spec holds beside its source."""
_FIXED_IN_CLASS: Final = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
_IMMUTABLE: Final = "field is immutable"


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """Why a write of this object is refused; nothing for other kinds. A status write validates no spec."""
    match kind:
        case "PersistentVolumeClaim" if before is None or before.get("spec") != raw.get("spec"):
            yield from _claim(raw.get("spec") or {})
            if before is not None:
                yield from _changed_claim(raw, before)
        case "PersistentVolume" if before is None or before.get("spec") != raw.get("spec"):
            yield from _volume(raw.get("spec") or {})
            if before is not None:
                yield from _changed_volume(raw["spec"], before["spec"])
        case "StorageClass" if before is not None:
            for name in _FIXED_IN_CLASS:
                if not same(raw.get(name), before.get(name)):
                    yield fields.invalid(name, None, _IMMUTABLE)


def _claim(spec: JsonObject) -> Iterator[Fault]:
    modes = spec.get("accessModes") or ()
    if not modes:
        yield fields.required("spec.accessModes", "at least 1 access mode is required")
    yield from _access_modes(modes)
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        yield fields.required("spec.resources[storage]", "")
    else:
        yield from _positive("spec.resources[storage]", requests["storage"])
    if spec.get("volumeMode") not in (None, *_VOLUME_MODES):
        yield fields.unsupported("spec.volumeMode", spec["volumeMode"], _VOLUME_MODES)


def _changed_claim(raw: JsonObject, before: JsonObject) -> Iterator[Fault]:
    """A volume's name may come once, a class where there was none; a bound claim may ask for another size."""
    old, new = dict(before["spec"]), dict(raw["spec"])
    bound = (raw.get("status") or {}).get("phase") == "Bound"
    old_size, new_size = _storage(old), _storage(new)
    if not old.get("volumeName"):
        old["volumeName"] = new.get("volumeName", "")
    if old.get("storageClassName") is None and _class_may_come(before, new.get("storageClassName")):
        old["storageClassName"] = new.get("storageClassName")
    if bound:
        new["resources"] = {**(new.get("resources") or {}), "requests": (old.get("resources") or {}).get("requests")}
        new["volumeAttributesClassName"] = old.get("volumeAttributesClassName")
    if not same(_without_nothing(old), _without_nothing(new)):
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield fields.forbidden("spec", why)
    if new_size < old_size and new_size <= _quantity(
        ((before.get("status") or {}).get("capacity") or {}).get("storage")
    ):
        yield fields.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    if before["spec"].get("volumeMode") != raw["spec"].get("volumeMode"):
        yield fields.invalid("volumeMode", raw["spec"].get("volumeMode"), _IMMUTABLE)
    current = (before.get("status") or {}).get("currentVolumeAttributesClassName")
    if current is not None and before["spec"].get("volumeAttributesClassName"):
        wanted = raw["spec"].get("volumeAttributesClassName")
        if not wanted:
            what = "nil" if wanted is None else "empty string"
            why = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
            yield fields.forbidden("spec.volumeAttributesClassName", why)


def _class_may_come(before: JsonObject, name: str | None) -> bool:
    annotated = (before["metadata"].get("annotations") or {}).get(_BETA_CLASS)
    return name is not None and annotated in (None, name)


def _volume(spec: JsonObject) -> Iterator[Fault]:
    modes, capacity = spec.get("accessModes") or (), spec.get("capacity") or {}
    if not modes:
        yield fields.required("spec.accessModes", "")
    yield from _access_modes(modes)
    if not capacity:
        yield fields.required("spec.capacity", "")
    if "storage" not in capacity or len(capacity) > 1:
        shown = ",".join(f'"{name}":"{amount}"' for name, amount in sorted(capacity.items()))
        yield _unsupported_text("spec.capacity", "{" + shown + "}", ("storage",))
    for name, amount in sorted(capacity.items()):
        if _quantity(amount).value < 0:
            yield fields.invalid(f"spec.capacity[{name}]", _quantity(amount).value, "must be a valid resource quantity")
        yield from _positive(f"spec.capacity[{name}]", amount)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _POLICIES:
        yield fields.unsupported("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    sources = [name for name in spec if name not in _NO_SOURCES and spec[name] is not None]
    for name in sources[1:]:
        yield fields.forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    if not sources:
        yield fields.required("spec", "must specify a volume type")
    if "local" in sources and not (spec.get("nodeAffinity") or {}).get("required"):
        yield fields.required("spec.nodeAffinity", "Local volume requires node affinity")
    if spec.get("volumeMode") not in (None, *_VOLUME_MODES):
        yield fields.unsupported("spec.volumeMode", spec["volumeMode"], _VOLUME_MODES)


def _changed_volume(new: JsonObject, old: JsonObject) -> Iterator[Fault]:
    before, after = ({key: value for key, value in each.items() if key not in _NO_SOURCES} for each in (old, new))
    if not same(_without_nothing(before), _without_nothing(after)):
        yield fields.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if old.get("volumeMode") != new.get("volumeMode"):
        yield fields.invalid("volumeMode", new.get("volumeMode"), _IMMUTABLE)


def _access_modes(modes: JsonObject | tuple[str, ...]) -> Iterator[Fault]:
    for mode in modes:
        if mode not in _MODES:
            yield fields.unsupported("spec.accessModes", mode, _MODES)
    known = {mode for mode in modes if mode in _MODES}
    if "ReadWriteOncePod" in known and len(known) > 1:
        yield fields.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


def _positive(path: str, amount: object) -> Iterator[Fault]:
    if _quantity(amount).nanos <= 0:
        yield fields.invalid(path, str(_quantity(amount)), "must be greater than zero")


def _storage(spec: JsonObject) -> Quantity:
    return _quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage"))


def _quantity(raw: object) -> Quantity:
    """Zero for what is missing; what is no quantity was refused by the schema."""
    try:
        return Quantity.parse("0" if raw is None else raw)
    except ValueError:
        return Quantity.parse("0")


def _without_nothing(spec: Mapping[str, object]) -> JsonObject:
    return {key: value for key, value in spec.items() if value not in (None, "", {}, [])}


def _unsupported_text(path: str, shown: str, known: tuple[str, ...]) -> Fault:
    supported = ", ".join(f'"{each}"' for each in known)
    return Fault("FieldValueNotSupported", path, f"Unsupported value: {shown}: supported values: {supported}")
