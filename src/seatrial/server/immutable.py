"""Which fields of a stored object may not change any more, in upstream's words."""

from __future__ import annotations

import json
from collections.abc import Iterator

from seatrial.control import admission
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import batch
from seatrial.kube.validation.fields import forbidden, invalid
from seatrial.server.errors import Cause

_FREE_POD_PARTS = ("activeDeadlineSeconds", "schedulingGates", "tolerations")
POD_PARTS = ("ephemeralcontainers", "resize")
"""The subresources by which what is frozen of a pod's spec may change."""


_OF_STATEFUL_SETS = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def causes(kind: str, before: JsonObject, after: JsonObject, minor: int) -> Iterator[Cause]:
    """Why `after` may not replace `before` in Kubernetes 1.`minor`."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    if old is new and kind not in ("ConfigMap", "Secret"):
        return
    if kind == "StatefulSet":
        yield from _stateful_set_causes(old, new, minor)
    if kind in ("Deployment", "ReplicaSet", "DaemonSet") and old.get("selector") != new.get("selector"):
        shown = json.dumps(new.get("selector"), separators=(",", ":"))
        yield Cause("FieldValueInvalid", "spec.selector", f"Invalid value: {shown}: field is immutable")
    if kind == "Job":
        yield from _job_causes(old, new)
        yield from batch.template_causes(before, after)
    if kind in ("ConfigMap", "Secret") and before.get("immutable"):
        for part in ("data", "binaryData", "immutable"):
            if before.get(part) != after.get(part):
                why = "Forbidden: field is immutable when `immutable` is set"
                yield Cause("FieldValueForbidden", part, why)
    if kind == "Pod":
        yield from _gate_causes(old, new)
    if kind == "Pod" and _frozen_pod_part(old) != _frozen_pod_part(new):
        why = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)"
        )
        yield Cause("FieldValueForbidden", "spec", why)
    addresses = {old.get("clusterIP"), new.get("clusterIP")} - {None, ""}
    if kind == "Service" and len(addresses) > 1 and new.get("type") != "ExternalName":
        message = f'Invalid value: "{new["clusterIP"]}": field is immutable'
        yield Cause("FieldValueInvalid", "spec.clusterIPs[0]", message)


def _stateful_set_causes(old: JsonObject, new: JsonObject, minor: int) -> Iterator[Cause]:
    """Until 1.36 all in one message; until 1.32 the length of the history stayed, too."""
    frozen = _OF_STATEFUL_SETS if minor >= 33 else (*_OF_STATEFUL_SETS, "revisionHistoryLimit")
    changed = [name for name in frozen if old.get(name) != new.get(name)]
    if minor >= 37:
        yield from (invalid(f"spec.{name}", new.get(name), "field is immutable") for name in changed)
    elif changed:
        history = "'revisionHistoryLimit', " if minor >= 33 else ""
        yield forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            f"{history}'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


def _job_causes(old: JsonObject, new: JsonObject) -> Iterator[Cause]:
    """The fields of a Job that stay; an Indexed Job may change its completions together with its parallelism."""
    completions = new.get("completions")
    elastic = new.get("completionMode") == "Indexed" and completions is not None
    if elastic and completions != old.get("completions") and completions != new.get("parallelism"):
        why = f"Invalid value: {completions}: can only be modified in tandem with spec.parallelism"
        yield Cause("FieldValueInvalid", "spec.completions", why)
    fixed = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
    for name in fixed if elastic else ("completions", *fixed):
        if old.get(name) != new.get(name):
            shown = json.dumps(new.get(name), separators=(",", ":"))
            yield Cause("FieldValueInvalid", f"spec.{name}", f"Invalid value: {shown}: field is immutable")


def _gate_causes(old: JsonObject, new: JsonObject) -> Iterator[Cause]:
    had = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in had:
            why = f"Forbidden: only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield Cause("FieldValueForbidden", f"spec.schedulingGates[{index}].name", why)


def with_pod_part(spec: JsonObject, sent: JsonObject, part: str) -> JsonObject:
    """`spec` with what `sent` says of ephemeral containers, or of its containers' resources."""
    if part == "ephemeralcontainers":
        return {**spec, "ephemeralContainers": sent.get("ephemeralContainers", [])}
    changed = dict(spec)
    for key in ("containers", "initContainers"):
        asked = {item.get("name"): item for item in sent.get(key) or ()}
        for number, item in enumerate(spec.get(key) or ()):
            if item["name"] in asked:
                resized = {k: v for k, v in asked[item["name"]].items() if k in ("resources", "resizePolicy")}
                changed[key] = [*changed[key][:number], {**item, **resized}, *changed[key][number + 1 :]]
    return changed


def resize_causes(before: JsonObject, after: JsonObject) -> Iterator[Cause]:
    """Why a pod may not get these resources in place: neither its quality of service nor what is named may go."""
    quality = (before.get("status") or {}).get("qosClass") or admission.qos_class(before["spec"])
    if admission.qos_class(after["spec"]) != quality:
        why = f'Invalid value: "{quality}": Pod QOS Class may not change as a result of resizing'
        yield Cause("FieldValueInvalid", "spec", why)
    for key in ("initContainers", "containers"):
        sides = zip(before["spec"].get(key) or (), after["spec"].get(key) or (), strict=True)
        for number, (old, new) in enumerate(sides):
            for part in ("requests", "limits"):
                had, has = ((side.get("resources") or {}).get(part) or {} for side in (old, new))
                if not had.keys() <= has.keys():
                    why = f"Forbidden: resource {part} cannot be removed"
                    yield Cause("FieldValueForbidden", f"spec.{key}[{number}].resources.{part}", why)


def _frozen_pod_part(spec: JsonObject) -> JsonObject:
    frozen = {key: value for key, value in spec.items() if key not in _FREE_POD_PARTS}
    for part in ("containers", "initContainers"):
        if part in frozen:
            frozen[part] = [{key: value for key, value in item.items() if key != "image"} for item in frozen[part]]
    return frozen
