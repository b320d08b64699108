"""What changes of a pod by its subresources, and why it may not."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.control import admission
from seatrial.kube.objects import JsonObject
from seatrial.server.errors import Cause

POD_PARTS = ("ephemeralcontainers", "resize")
"""The subresources by which what is frozen of a pod's spec may change."""


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
