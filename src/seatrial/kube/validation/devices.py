"""Dynamic resources: claims, their templates, classes of devices, what a node offers (`pkg/apis/resource/validation`).
CEL expressions have to be there; whether they compile is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.affinity import node_selector
from seatrial.kube.validation.fields import (
    Faults,
    annotation_keys,
    byte_length,
    duplicate,
    forbidden,
    identifier,
    invalid,
    items,
    label_name,
    label_value,
    labels,
    one_of,
    part,
    qualified_name,
    required,
    same,
    subdomain,
    too_long,
    too_many,
    unchanged,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.resources import is_extended
from seatrial.kube.validation.volumes import driver_name

_MOST: Final = 32
_MOST_SUB_REQUESTS: Final = 8
_MOST_TOLERATIONS: Final = 16
_MOST_TAINTS: Final = 16
_MOST_DEVICES: Final = 128
_MOST_ADVANCED_DEVICES: Final = 64
_LONGEST_POOL: Final = 253
_LONGEST_DOMAIN: Final = 63
_LONGEST_ID: Final = 32
_LONGEST_VALUE: Final = 64
_VERSION: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_NO_REQUEST: Final = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)

Requests = Mapping[str, frozenset[str]]


# --- claims ---


def _claim(raw: JsonObject, minor: int) -> Faults:
    return _devices("spec.devices", part(part(raw, "spec"), "devices"))


def _template(raw: JsonObject, minor: int) -> Faults:
    spec, path = part(raw, "spec"), "spec.metadata"
    metadata = part(spec, "metadata")
    yield from annotation_keys(f"{path}.annotations", part(metadata, "annotations"))
    yield from labels(f"{path}.labels", part(metadata, "labels"))
    yield from _bare(path, metadata)
    yield from _devices("spec.spec.devices", part(part(spec, "spec"), "devices"))


def _bare(path: str, metadata: JsonObject) -> Faults:
    for name in metadata:
        if name not in ("annotations", "labels") and (metadata[name] or isinstance(metadata[name], list)):
            yield forbidden(f"{path}.{name}", "cannot be set")


def _fixed_template(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    metadata = part(part(raw, "spec"), "metadata")
    yield from annotation_keys("spec.metadata.annotations", part(metadata, "annotations"))
    yield from _bare("spec.metadata", metadata)
    yield from _fixed_spec(raw, before, minor)


def _devices(path: str, held: JsonObject) -> Faults:
    names: Requests = {
        each.get("name") or "": frozenset(sub.get("name") or "" for _, sub in items("", each, "firstAvailable"))
        for _, each in items("", held, "requests")
    }
    yield from _sized(f"{path}.requests", held, "requests", _MOST)
    yield from _unique(f"{path}.requests", held, "requests")
    for at, request in items(f"{path}.requests", held, "requests"):
        yield from _request(at, request)
    yield from _sized(f"{path}.constraints", held, "constraints", _MOST)
    for at, constraint in items(f"{path}.constraints", held, "constraints"):
        yield from _named_requests(f"{at}.requests", constraint, names)
        match, distinct = constraint.get("matchAttribute"), constraint.get("distinctAttribute")
        if match is not None:
            yield from _attribute_name(f"{at}.matchAttribute", match)
        if distinct is not None:
            yield from _attribute_name(f"{at}.distinctAttribute", distinct)
        if match is None and distinct is None:
            why = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
            yield required(at, why)
    yield from _sized(f"{path}.config", held, "config", _MOST)
    for at, config in items(f"{path}.config", held, "config"):
        yield from _named_requests(f"{at}.requests", config, names)
        yield from _configuration(at, config)


def _sized(path: str, held: JsonObject, name: str, most: int) -> Faults:
    if len(held.get(name) or ()) > most:
        yield too_many(path, len(held[name]), most)


def _unique(path: str, held: JsonObject, name: str, key: str = "name") -> Faults:
    seen: set[str] = set()
    for at, each in items(path, held, name):
        mine = each.get(key) or ""
        if mine in seen:
            yield duplicate(at, mine)
        seen.add(mine)


def _label(path: str, name: str) -> Faults:
    if not name:
        yield required(path)
    else:
        yield from label_name(path, name)


def _request(path: str, request: JsonObject) -> Faults:
    yield from _label(f"{path}.name", request.get("name") or "")
    exactly, first = request.get("exactly"), request.get("firstAvailable")
    if exactly is not None and first:
        why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        yield invalid(path, None, why)
    elif exactly is not None:
        yield from _exact(f"{path}.exactly", exactly)
    elif first:
        at = f"{path}.firstAvailable"
        yield from _sized(at, request, "firstAvailable", _MOST_SUB_REQUESTS)
        yield from _unique(at, request, "firstAvailable")
        for place, each in items(at, request, "firstAvailable"):
            yield from _label(f"{place}.name", each.get("name") or "")
            yield from _exact(place, each)
    else:
        yield required(path, "exactly one of `exactly` or `firstAvailable` is required")


def _exact(path: str, held: JsonObject) -> Faults:
    if not held.get("deviceClassName"):
        yield required(f"{path}.deviceClassName")
    else:
        yield from subdomain(f"{path}.deviceClassName", held["deviceClassName"])
    yield from _selectors(f"{path}.selectors", held)
    mode, count = held.get("allocationMode") or "ExactCount", held.get("count") or 0
    if mode == "ExactCount" and not count and not held.get("allocationMode"):
        count = 1
    if mode == "All" and count:
        yield invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and (count or 1) <= 0:
        yield invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in ("All", "ExactCount"):
        yield from one_of(f"{path}.allocationMode", mode, ("All", "ExactCount"))
    yield from _sized(f"{path}.tolerations", held, "tolerations", _MOST_TOLERATIONS)
    for at, each in items(f"{path}.tolerations", held, "tolerations"):
        yield from _toleration(at, each)


def _toleration(path: str, each: JsonObject) -> Faults:
    key, operator, value, effect = (each.get(name) or "" for name in ("key", "operator", "value", "effect"))
    operator = operator or "Equal"
    if key:
        yield from qualified_name(f"{path}.key", key)
    if operator == "Exists":
        if value:
            yield invalid(f"{path}.value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        yield from label_value(f"{path}.value", value)
        if not key:
            yield required(f"{path}.key", "must be set for operator `Equal`")
    else:
        yield from one_of(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect:
        yield from one_of(f"{path}.effect", effect, ("NoExecute", "NoSchedule", "None"))


def _selectors(path: str, held: JsonObject) -> Faults:
    yield from _sized(path, held, "selectors", _MOST)
    for at, selector in items(path, held, "selectors"):
        if selector.get("cel") is None:
            yield required(f"{at}.cel")


def _named_requests(path: str, held: JsonObject, known: Requests) -> Faults:
    named = held.get("requests") or ()
    yield from _sized(path, held, "requests", _MOST)
    for number, name in enumerate(named):
        at, name = f"{path}[{number}]", name or ""
        if name in named[:number]:
            yield duplicate(at, name)
        parts = name.split("/")
        if len(parts) > 2:
            yield invalid(at, name, _NO_REQUEST)
            continue
        for each in parts:
            yield from _label(at, each)
        if parts[0] not in known or (len(parts) == 2 and parts[1] not in known[parts[0]]):
            yield invalid(at, name, _NO_REQUEST)


def _configuration(path: str, config: JsonObject) -> Faults:
    opaque = config.get("opaque")
    if opaque is None:
        yield required(f"{path}.opaque")
        return
    yield from driver_name(f"{path}.opaque.driver", opaque.get("driver") or "")
    if opaque.get("parameters") is None:
        yield required(f"{path}.opaque.parameters")


def _attribute_name(path: str, name: str) -> Faults:
    """A domain and a C identifier (`validateFullyQualifiedName`)."""
    if not name:
        yield required(path, "name required")
    elif "/" not in name:
        yield invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")
    yield from _qualified(path, name)


def _qualified(path: str, name: str) -> Faults:
    parts = name.split("/")
    if not name:
        yield required(path, "name required")
    elif len(parts) == 1:
        yield from _id(path, name)
    elif len(parts) == 2:
        if not parts[0]:
            yield required(path, "the domain must not be empty")
        else:
            if byte_length(parts[0]) > _LONGEST_DOMAIN:
                yield too_long(path, _LONGEST_DOMAIN)
            yield from subdomain(path, parts[0])
        if not parts[1]:
            yield required(path, "the name must not be empty")
        else:
            yield from _id(path, parts[1])
    else:
        yield from _id(path, parts[-1])


def _id(path: str, name: str) -> Faults:
    if byte_length(name) > _LONGEST_ID:
        yield too_long(path, _LONGEST_ID)
    yield from identifier(path, name)


def _without_gated(value: Any) -> Any:
    """Without the field whose gate is off: the API drops it."""
    if isinstance(value, dict):
        return {name: _without_gated(each) for name, each in value.items() if name != "derivedAttributes"}
    return [_without_gated(each) for each in value] if isinstance(value, list) else value


def _fixed_spec(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    if not same(_without_gated(part(raw, "spec")), _without_gated(part(before, "spec"))):
        yield invalid("spec", None, "field is immutable")


# --- classes ---


def _class(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from _selectors("spec.selectors", spec)
    yield from _sized("spec.config", spec, "config", _MOST)
    for at, config in items("spec.config", spec, "config"):
        yield from _configuration(at, config)
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        yield invalid("spec.extendedResourceName", name, "must be a valid extended resource name")


# --- slices ---

_PLACES: Final = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")


def _slice(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    pool = part(spec, "pool")
    yield from driver_name("spec.driver", spec.get("driver") or "")
    yield from _pool_name("spec.pool.name", pool.get("name") or "")
    if (pool.get("resourceSliceCount") or 0) <= 0:
        yield invalid("spec.pool.resourceSliceCount", pool.get("resourceSliceCount") or 0, "must be greater than zero")
    if (pool.get("generation") or 0) < 0:
        yield invalid("spec.pool.generation", pool["generation"], "must be greater than or equal to zero")
    yield from _places("spec", spec, _PLACES, "must be either unset or set to a non-empty string")
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        yield invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    devices = [each for _, each in items("", spec, "devices")]
    advanced = any(each.get("taints") or each.get("consumesCounters") for each in devices)
    yield from _sized("spec.devices", spec, "devices", _MOST_ADVANCED_DEVICES if advanced else _MOST_DEVICES)
    yield from _unique("spec.devices", spec, "devices")
    for at, device in items("spec.devices", spec, "devices"):
        yield from _device(at, device, placed=spec.get("perDeviceNodeSelection") is True)
    yield from _unique("spec.sharedCounters", spec, "sharedCounters")
    for at, each in items("spec.sharedCounters", spec, "sharedCounters"):
        yield from _label(f"{at}.name", each.get("name") or "")
        yield from _counters(f"{at}.counters", part(each, "counters"))


def _pool_name(path: str, name: str) -> Faults:
    if not name:
        yield required(path)
        return
    if byte_length(name) > _LONGEST_POOL:
        yield too_long(path, _LONGEST_POOL)
    for each in name.split("/"):
        yield from subdomain(path, each)


def _places(path: str, held: JsonObject, names: tuple[str, ...], empty: str) -> Faults:
    """Where devices are: said in one way."""
    given = []
    for name in names:
        value, at = held.get(name), f"{path}.{name}"
        if value is None:
            continue
        if value == "":
            yield invalid(at, value, empty)
        elif value is False:
            yield invalid(at, value, "must be either unset or set to true")
        else:
            given.append(f"`{name}`")
        if name == "nodeName" and value:
            yield from subdomain(at, value)
        elif name == "nodeSelector":
            yield from node_selector(at, value)
            if len(value.get("nodeSelectorTerms") or ()) != 1 and path == "spec":
                terms = value.get("nodeSelectorTerms")
                yield invalid(f"{at}.nodeSelectorTerms", terms, "must have exactly one node selector term")
    listed = ", ".join(f"`{name}`" for name in names)
    if not given:
        yield required(path, f"exactly one of {listed} is required")
    elif len(given) > 1:
        why = f"exactly one of {listed} is required, but multiple fields are set"
        yield invalid(path, f"{{{', '.join(given)}}}", why)


def _device(path: str, device: JsonObject, *, placed: bool) -> Faults:
    yield from label_name(f"{path}.name", device.get("name") or "")
    attributes, capacity = part(device, "attributes"), part(device, "capacity")
    if len(attributes) + len(capacity) > _MOST:
        why = f"the total number of attributes and capacities must not exceed {_MOST}"
        yield invalid(path, len(attributes) + len(capacity), why)
    for name, value in attributes.items():
        yield from _qualified(f"{path}.attributes", name)
        yield from _attribute(f"{path}.attributes[{name}]", value or {})
    for name in capacity:
        yield from _qualified(f"{path}.capacity", name)
    yield from _sized(f"{path}.taints", device, "taints", _MOST_TAINTS)
    for at, taint in items(f"{path}.taints", device, "taints"):
        yield from qualified_name(f"{at}.key", taint.get("key") or "")
        if taint.get("value"):
            yield from label_value(f"{at}.value", taint["value"])
        if not taint.get("effect"):
            yield required(f"{at}.effect")
        else:
            yield from one_of(f"{at}.effect", taint["effect"], ("NoExecute", "NoSchedule", "None"))
    yield from _unique(f"{path}.consumesCounters", device, "consumesCounters", "counterSet")
    for at, each in items(f"{path}.consumesCounters", device, "consumesCounters"):
        yield from _label(f"{at}.counterSet", each.get("counterSet") or "")
        yield from _counters(f"{at}.counters", part(each, "counters"))
    if placed:
        yield from _places(path, device, _PLACES[:3], "must not be empty")
    elif any(device.get(name) is not None for name in _PLACES[:3]):
        why = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in"
            " the ResourceSlice spec"
        )
        yield invalid(path, None, why)
    yield from _binding(path, device)


def _binding(path: str, device: JsonObject) -> Faults:
    ready, failed = (device.get(name) or () for name in ("bindingConditions", "bindingFailureConditions"))
    for name, given in (("bindingConditions", ready), ("bindingFailureConditions", failed)):
        for number, each in enumerate(given):
            yield from qualified_name(f"{path}.{name}[{number}]", each or "")
    if bool(ready) != bool(failed):
        lacking = "bindingFailureConditions" if ready else "bindingConditions"
        yield required(f"{path}.{lacking}", f"{lacking} are required to use the other")


def _attribute(path: str, value: Mapping[str, Any]) -> Faults:
    given = [name for name in ("bool", "int", "string", "version") if value.get(name) is not None]
    if len(given) != 1:
        yield invalid(path, "", "exactly one value must be specified")
    for name in ("string", "version"):
        text = value.get(name)
        if text is None:
            continue
        if name == "version" and not _VERSION.fullmatch(text):
            yield invalid(f"{path}.version", text, "must be a string compatible with semver.org spec 2.0.0")
        if byte_length(text) > _LONGEST_VALUE:
            yield too_long(f"{path}.{name}", _LONGEST_VALUE)


def _counters(path: str, counters: Mapping[str, Any]) -> Faults:
    if not counters:
        yield required(path)
    for name in counters:
        yield from label_name(path, name)


def _fixed_slice(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    yield from unchanged("spec.pool.name", part(new, "pool").get("name"), part(old, "pool").get("name"))
    for name in ("driver", "nodeName"):
        yield from unchanged(f"spec.{name}", new.get(name), old.get(name))


RULES: Final = {
    "ResourceClaim": Rules(new=_claim, fixed=_fixed_spec, remeta=True),
    "ResourceClaimTemplate": Rules(new=_template, fixed=_fixed_template),
    "DeviceClass": Rules(valid=_class, checks_prefix=False, remeta=True),
    "ResourceSlice": Rules(valid=_slice, fixed=_fixed_slice),
}
