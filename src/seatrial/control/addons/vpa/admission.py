"""The admission: a new pod gets the requests that are recommended for its containers, and limits in proportion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from seatrial.control.addons.vpa.policies import Resources, resources, update_mode
from seatrial.control.addons.vpa.priority import OBSERVED, SEPARATOR
from seatrial.control.addons.vpa.targets import Workloads
from seatrial.kube.objects import JsonObject, Pod, VerticalPodAutoscaler, parse_as

UPDATES: Final = "vpaUpdates"


def admit(raw: JsonObject, autoscalers: Iterable[VerticalPodAutoscaler], workloads: Workloads) -> JsonObject:
    """The pod as it is to be made. One that is not valid is left to those who say so."""
    active = [each for each in autoscalers if update_mode(each) != "Off"]
    if not active:
        return raw
    try:
        pod = parse_as(Pod, raw)
    except (msgspec.ValidationError, ValueError):
        return raw
    autoscaler = workloads.controlling(pod, active)
    if autoscaler is None:
        return raw
    names = [container.name for container in pod.spec.containers]
    found = resources(autoscaler, pod)
    containers = [
        _with(container, found[name]) if name in found else container
        for name, container in zip(names, raw["spec"]["containers"], strict=True)
    ]
    annotations = {**(raw["metadata"].get("annotations") or {}), OBSERVED: SEPARATOR.join(names)}
    updates = [
        f"container {number}: {', '.join(_told(found[name]))}" for number, name in enumerate(names) if name in found
    ]
    if updates:
        said = "; ".join(updates)
        annotations[UPDATES] = f"Pod resources updated by {autoscaler.metadata.name}: {said}"
    metadata = {**raw["metadata"], "annotations": annotations}
    return {**raw, "metadata": metadata, "spec": {**raw["spec"], "containers": containers}}


def _with(container: JsonObject, found: Resources) -> JsonObject:
    before: JsonObject = container.get("resources") or {}
    parts: dict[str, Any] = {}
    for part, amounts in (("requests", found.requests), ("limits", found.limits)):
        if amounts:
            changed = {name: str(amount) for name, amount in amounts.items()}
            parts[part] = {**(before.get(part) or {}), **changed}
    return {**container, "resources": {**before, **parts}}


def _told(found: Resources) -> list[str]:
    return [
        *found.notes,
        *(f"{name} request" for name in sorted(found.requests)),
        *(f"{name} limit" for name in sorted(found.limits)),
    ]
