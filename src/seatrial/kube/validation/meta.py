"""The metadata of every object (apimachinery's `ValidateObjectMeta` and `ValidateObjectMetaUpdate`)."""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    Rule,
    annotation_keys,
    forbidden,
    invalid,
    items,
    label_name,
    labels,
    part,
    qualified_name,
    required,
)
from seatrial.kube.validation.kinds import Rules

STANDARD_FINALIZERS: Final = ("kubernetes", "orphan", "foregroundDeletion")
_ONE_CONTROLLER: Final = "Only one reference can have Controller set to true."


def new(metadata: JsonObject, of_kind: Rules, name_rule: Rule, *, namespaced: bool) -> Faults:
    name, prefix = metadata.get("name") or "", metadata.get("generateName") or ""
    if prefix and of_kind.checks_prefix:
        masked = f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        yield from name_rule("metadata.generateName", masked)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from name_rule("metadata.name", name)
    if namespaced:
        yield from label_name("metadata.namespace", metadata.get("namespace") or "")
    yield from _as_such(metadata)
    yield from _finalizers(metadata)
    if of_kind.core:
        yield from core_finalizers(metadata)


def changed(metadata: JsonObject, before: JsonObject, *, core: bool) -> Faults:
    if before.get("deletionTimestamp"):
        more = sorted({*(metadata.get("finalizers") or ())} - {*(before.get("finalizers") or ())})
        if more:
            listed = ", ".join(f'"{name}"' for name in more)
            yield forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}",
            )
    yield from _as_such(metadata)
    yield from _finalizers(metadata)
    if core:
        yield from core_finalizers(metadata)


def _as_such(metadata: JsonObject) -> Faults:
    yield from labels("metadata.labels", part(metadata, "labels"))
    yield from annotation_keys("metadata.annotations", part(metadata, "annotations"))
    controller, seen = "", []
    for at, owner in items("metadata.ownerReferences", metadata, "ownerReferences"):
        if owner in seen:
            continue  # the server drops what is written twice
        seen.append(owner)
        version = owner.get("apiVersion") or ""
        if not version:
            yield required(f"{at}.apiVersion", "must not be empty")
        elif version.count("/") > 1 or version.endswith("/"):
            yield invalid(f"{at}.apiVersion", version, "must be <group>/<version> or <version>")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield required(f"{at}.{name}", "must not be empty")
        if version == "v1" and owner.get("kind") == "Event":
            yield invalid(at, None, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            mine = f"{owner.get('kind') or ''}/{owner.get('name') or ''}"
            if controller:
                found = f'Found "true" in references for {controller} and {mine}'
                yield invalid("metadata.ownerReferences", None, f"{_ONE_CONTROLLER} {found}")
            controller = controller or mine


def _finalizers(metadata: JsonObject) -> Faults:
    named = metadata.get("finalizers") or []
    for name in named:
        yield from qualified_name("metadata.finalizers", name or "")
    if "orphan" in named and "foregroundDeletion" in named:
        why = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid("metadata.finalizers", named, why)


def core_finalizers(metadata: JsonObject) -> Faults:
    for number, name in enumerate(metadata.get("finalizers") or ()):
        yield from standard_finalizer(f"metadata.finalizers[{number}]", name or "")


def standard_finalizer(path: str, name: str) -> Faults:
    if "/" not in name and name not in STANDARD_FINALIZERS:
        yield invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")
