"""What may change of a pod that is there (`ValidatePodUpdate`): images, a shorter deadline, more tolerations, fewer
gates; of one that is gated also where it may go, if that gets narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import MOST, Faults, between, forbidden, invalid, items, part, required, same
from seatrial.kube.validation.security import APP_ARMOR

_MIRROR: Final = "kubernetes.io/config.mirror"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_MAPS: Final = (
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "metadata",
    "nodeSelector",
    "options",
    "overhead",
    "requests",
    "resources",
    "volumeAttributes",
)
"""And objects that Go has always, not behind a pointer."""
_TEXTS: Final = ("hostnameOverride", "runtimeClassName")
"""Which are something even when empty."""
_FROZEN: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def fixed_pod(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    yield from _annotations(part(raw, "metadata"), part(before, "metadata"))
    for kind in ("containers", "initContainers"):
        mine, had = new.get(kind) or (), old.get(kind) or ()
        if len(mine) != len(had):
            yield forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
        for at, container in items(f"spec.{kind}", new, kind):
            image = container.get("image") or ""
            if not image:
                yield required(f"{at}.image")
            if image != image.strip():
                yield invalid(f"{at}.image", image, "must not have leading or trailing whitespace")
    deadline, at = new.get("activeDeadlineSeconds"), "spec.activeDeadlineSeconds"
    had_s = old.get("activeDeadlineSeconds")
    if deadline is None and had_s is not None:
        yield invalid(at, None, "must not update from a positive integer to nil value")
    elif deadline is not None and not 0 <= deadline <= MOST:
        yield invalid(at, deadline, between(0, MOST))
        return
    elif deadline is not None and had_s is not None and had_s < deadline:
        yield invalid(at, deadline, "must be less than or equal to previous value")
        return
    yield from _tolerations(new, old)
    yield from _gates(new, old)
    kept = _without_free(new, old)
    if old.get("schedulingGates"):
        yield from _narrower(kept, old)
    if not _alike("", kept, old):
        yield forbidden("spec", _FROZEN)


def _alike(name: str, one: Any, other: Any) -> bool:
    """Whether both mean the same: an object without fields is one, while a map without entries is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_alike(each, one.get(each), other.get(each)) for each in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(_alike(name, *pair) for pair in zip(one, other, strict=True))
    for value, absent in ((one, other), (other, one)):
        if absent is None and isinstance(value, dict):
            return not value and name in _MAPS
    if name in _TEXTS and (one is None) != (other is None):
        return False
    return same(one, other)


def _annotations(metadata: JsonObject, before: JsonObject) -> Faults:
    new, old = part(metadata, "annotations"), part(before, "annotations")
    for key in old:
        if key in new and new[key] == old[key]:
            continue
        if key.startswith(APP_ARMOR):
            yield forbidden(f"metadata.annotations[{key}]", "may not remove or update AppArmor annotations")
        if key == _MIRROR:
            yield forbidden(f"metadata.annotations[{key}]", "may not remove or update mirror pod annotation")
    for key in new.keys() - old.keys():
        if key.startswith(APP_ARMOR):
            yield forbidden(f"metadata.annotations[{key}]", "may not add AppArmor annotations")
        if key == _MIRROR:
            yield forbidden(f"metadata.annotations[{key}]", "may not add mirror pod annotation")


def _tolerations(new: JsonObject, old: JsonObject) -> Faults:
    mine = [_without_seconds(each) for _, each in items("", new, "tolerations")]
    if any(_without_seconds(each) not in mine for _, each in items("", old, "tolerations")):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _without_seconds(toleration: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds" and value}


def _gates(new: JsonObject, old: JsonObject) -> Faults:
    had = {each.get("name") for _, each in items("", old, "schedulingGates")}
    for at, gate in items("spec.schedulingGates", new, "schedulingGates"):
        if gate.get("name") not in had:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name') or ''}'"
            yield forbidden(f"{at}.name", why)


def _without_free(new: JsonObject, old: JsonObject) -> JsonObject:
    """The new spec with what may change as it was."""
    kept = dict(new)
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        kept.pop(name, None)
        if name in old:
            kept[name] = old[name]
    for kind in ("containers", "initContainers"):
        pairs = zip(new.get(kind) or (), old.get(kind) or (), strict=True)
        kept[kind] = [{**(mine or {}), "image": (had or {}).get("image")} for mine, had in pairs]
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        kept["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    return kept


def _narrower(kept: JsonObject, old: JsonObject) -> Faults:
    """A gated pod may be bound to fewer nodes; `kept` gets what was there."""
    mine, had = part(kept, "nodeSelector"), part(old, "nodeSelector")
    if any(mine.get(key) != value for key, value in had.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid("spec.nodeSelector", mine, why)
    kept["nodeSelector"] = had
    affinity = part(kept, "affinity")
    new_nodes, old_nodes = part(affinity, "nodeAffinity"), part(part(old, "affinity"), "nodeAffinity")
    if not same(new_nodes, old_nodes):
        yield from _narrower_terms(part(new_nodes, _REQUIRED), part(old_nodes, _REQUIRED))
    if affinity or old_nodes:
        kept["affinity"] = {**affinity, "nodeAffinity": old_nodes}


def _narrower_terms(new: JsonObject, old: JsonObject) -> Faults:
    at = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    mine, had = new.get("nodeSelectorTerms") or [], old.get("nodeSelectorTerms") or []
    if had and len(had) != len(mine):
        yield invalid(at, mine or None, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for number, (one, other) in enumerate(zip(mine, had, strict=False)):
        if not _only_adds(one or {}, other or {}):
            why = "only additions are allowed (no mutations or deletions)"
            yield invalid(f"{at}[{number}]", one, why)


def _only_adds(new: JsonObject, old: JsonObject) -> bool:
    names = ("matchExpressions", "matchFields")
    if not any(old.get(name) for name in names):
        return not any(new.get(name) for name in names)
    return all(same((new.get(name) or [])[: len(old.get(name) or [])], old.get(name) or []) for name in names)
