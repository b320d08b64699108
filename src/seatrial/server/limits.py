"""LimitRanges at the door: `control.limitranges` decides what an object is given and whether it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seatrial.control import limitranges
from seatrial.kube.objects import JsonObject, LimitRange, parse, parse_as
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.resources import storage_key

if TYPE_CHECKING:
    from seatrial.server.api import Api


def default(api: Api, pod: JsonObject) -> JsonObject:
    """A new pod with the sizes that the LimitRanges of its namespace give it."""
    return limitranges.defaulted(pod, _ranges(api, pod))


def check(api: Api, resource: Resource, raw: JsonObject) -> None:
    """Raises `StatusError` (403) for a pod or a claim that the LimitRanges of its namespace do not allow."""
    ranges = _ranges(api, raw) if resource.native in ("Pod", "PersistentVolumeClaim") else ()
    if not ranges:
        return
    try:
        obj = parse(raw)
    except msgspec.ValidationError:
        return
    why = "" if obj is None else limitranges.refusal(obj, ranges)
    if why:
        raise errors.forbidden(resource.plural, resource.group, raw["metadata"]["name"], why)


def _ranges(api: Api, raw: JsonObject) -> tuple[LimitRange, ...]:
    stored = api.store.all(storage_key(api.kind("v1", "LimitRange")))
    namespace = raw["metadata"].get("namespace", "")
    return tuple(parse_as(LimitRange, each.raw) for place, each in sorted(stored.items()) if place[0] == namespace)
