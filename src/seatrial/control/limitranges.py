"""LimitRanges at the door (the LimitRanger admission plug-in): what containers get that ask for nothing, and how much
containers, pods and claims may ask for. The words of a refusal are upstream's.

A LimitRange's own defaults (a default from its max, a default request from its default or min) are those of
`admission`. Where several are in a namespace each is applied, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from seatrial.control.podsizes import total
from seatrial.kube.objects import JsonObject, LimitRange, Object, PersistentVolumeClaim, Pod
from seatrial.kube.objects.policy import LimitRangeItem
from seatrial.kube.quantities import ZERO, Quantity

ANNOTATION: Final = "kubernetes.io/limit-ranger"
Sizes = Mapping[str, Quantity]


def defaulted(pod: JsonObject, ranges: Sequence[LimitRange]) -> JsonObject:
    """A new pod with the sizes that its containers lack, and an annotation that says which they were given."""
    for limits in ranges:
        requests: dict[str, str] = {}
        maxima: dict[str, str] = {}
        for item in limits.spec.limits:
            if item.type == "Container":
                requests |= {name: str(size) for name, size in item.default_request.items()}
                maxima |= {name: str(size) for name, size in item.default.items()}
        said: list[str] = []
        spec = dict(pod["spec"])
        for field, title in (("containers", "container"), ("initContainers", "init container")):
            if spec.get(field):
                spec[field] = [_filled(each, requests, maxima, title, said) for each in spec[field]]
        pod = {**pod, "spec": spec}
        if said:
            metadata = pod["metadata"]
            text = f"LimitRanger plugin set: {'; '.join(said)}"
            annotations = {**(metadata.get("annotations") or {}), ANNOTATION: text}
            pod["metadata"] = {**metadata, "annotations": annotations}
    return pod


def _filled(
    container: JsonObject, requests: Mapping[str, str], maxima: Mapping[str, str], title: str, said: list[str]
) -> JsonObject:
    resources: dict[str, Any] = dict(container.get("resources") or {})
    for field, defaults, word in (("requests", requests, "request"), ("limits", maxima, "limit")):
        have = resources.get(field) or {}
        new = sorted(name for name in defaults if name not in have)
        if new:
            resources[field] = {**have, **{name: defaults[name] for name in new}}
            said.append(f"{', '.join(new)} {word} for {title} {container['name']}")
    return {**container, "resources": resources}


def refusal(obj: Object, ranges: Sequence[LimitRange]) -> str:
    """Why the object may not be, in the words of the API; empty if it may."""
    for limits in ranges:
        errors = list(dict.fromkeys(error for item in limits.spec.limits for error in _errors(obj, item)))
        if errors:
            return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return ""


def _errors(obj: Object, item: LimitRangeItem) -> Iterator[str]:
    match obj, item.type:
        case Pod(), "Container":
            for container in (*obj.spec.containers, *obj.spec.init_containers):
                yield from _judged(item, container.resources.requests, container.resources.limits)
        case Pod(), "Pod":
            requests = total(obj.spec, "requests", overhead=False, hugepages=False)
            yield from _judged(item, requests, total(obj.spec, "limits", overhead=False, hugepages=False))
        case PersistentVolumeClaim(), "PersistentVolumeClaim":
            asked = obj.spec.resources.requests
            for name, size in sorted(item.min.items()):
                yield from _least(item.type, name, size, asked, {})
            for name, size in sorted(item.max.items()):
                yield from _most_of_a_claim(item.type, name, size, asked)


def _judged(item: LimitRangeItem, requests: Sizes, limits: Sizes) -> Iterator[str]:
    for name, size in sorted(item.min.items()):
        yield from _least(item.type, name, size, requests, limits)
    for name, size in sorted(item.max.items()):
        yield from _most(item.type, name, size, requests, limits)
    for name, size in sorted(item.max_limit_request_ratio.items()):
        yield from _ratio(item.type, name, size, requests, limits)


def _least(kind: str, name: str, size: Quantity, requests: Sizes, limits: Sizes) -> Iterator[str]:
    rule = f"minimum {name} usage per {kind} is {size}"
    request, limit = requests.get(name), limits.get(name)
    if request is None:
        yield f"{rule}.  No request is specified"
    elif request.milli < size.milli:
        yield f"{rule}, but request is {request}"
    elif limit is not None and limit.milli < size.milli:
        yield f"{rule}, but limit is {limit}"


def _most(kind: str, name: str, size: Quantity, requests: Sizes, limits: Sizes) -> Iterator[str]:
    rule = f"maximum {name} usage per {kind} is {size}"
    request, limit = requests.get(name), limits.get(name)
    if limit is None:
        yield f"{rule}.  No limit is specified"
    elif limit.milli > size.milli:
        yield f"{rule}, but limit is {limit}"
    elif request is not None and request.milli > size.milli:
        yield f"{rule}, but request is {request}"


def _most_of_a_claim(kind: str, name: str, size: Quantity, requests: Sizes) -> Iterator[str]:
    rule = f"maximum {name} usage per {kind} is {size}"
    request = requests.get(name)
    if request is None:
        yield f"{rule}.  No request is specified"
    elif request.milli > size.milli:
        yield f"{rule}, but request is {request}"


def _ratio(kind: str, name: str, size: Quantity, requests: Sizes, limits: Sizes) -> Iterator[str]:
    rule = f"{name} max limit to request ratio per {kind} is {size}"
    request, limit = requests.get(name, ZERO), limits.get(name, ZERO)
    if not request:
        yield f"{rule}, but no request is specified or request is 0"
    elif not limit:
        yield f"{rule}, but no limit is specified or limit is 0"
    elif limit.milli / request.milli * 1000 > size.milli:
        yield f"{rule}, but provided ratio is {limit.milli / request.milli:f}"
