"""What a claim may ask for: in a PersistentVolumeClaim, in a StatefulSet's templates, in a pod's ephemeral volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO
from seatrial.kube.validation.fields import (
    NO_POSITIVE,
    Faults,
    forbidden,
    invalid,
    label_selector,
    one_of,
    part,
    quantity,
    required,
    subdomain,
    unsupported,
)

MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Block", "Filesystem")


def claim_spec(path: str, spec: JsonObject) -> Faults:
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from label_selector(f"{path}.selector", spec.get("selector"))
    yield from access_modes(f"{path}.accessModes", spec.get("accessModes") or ())
    requests = part(part(spec, "resources"), "requests")
    if "storage" not in requests:
        yield required(f"{path}.resources[storage]")
    else:
        yield from positive_size(f"{path}.resources[storage]", requests["storage"])
    if spec.get("storageClassName"):
        yield from subdomain(f"{path}.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode") is not None:
        yield from one_of(f"{path}.volumeMode", spec["volumeMode"], VOLUME_MODES)
    yield from _sources(path, spec)
    if spec.get("volumeAttributesClassName"):
        yield from subdomain(f"{path}.volumeAttributesClassName", spec["volumeAttributesClassName"])


def _sources(path: str, spec: JsonObject) -> Faults:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, held in (("dataSource", source), ("dataSourceRef", reference)):
        if held is None:
            continue
        at, kind, group = f"{path}.{name}", held.get("kind") or "", held.get("apiGroup") or ""
        for field in ("name", "kind"):
            if not held.get(field):
                yield required(f"{at}.{field}")
        if not group and kind != "PersistentVolumeClaim":
            yield invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
        if group:
            yield from subdomain(f"{at}.apiGroup", group)
    if reference is not None and source is not None:
        told = [(each.get("apiGroup"), each.get("kind") or "", each.get("name") or "") for each in (source, reference)]
        if told[0] != told[1]:
            yield invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def access_modes(path: str, modes: Sequence[str]) -> Faults:
    for mode in modes:
        if mode not in MODES:
            yield unsupported(path, mode or "", MODES)
    known = {mode for mode in modes if mode in MODES}
    if "ReadWriteOncePod" in known and len(known) > 1:
        yield forbidden(path, "may not use ReadWriteOncePod with other access modes")


def positive_size(path: str, amount: object) -> Faults:
    size = quantity(amount)
    if size <= ZERO:
        yield invalid(path, str(size), NO_POSITIVE)
