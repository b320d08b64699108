"""ConfigMaps, Secrets, Namespaces, ServiceAccounts, and what bounds a namespace: LimitRanges and ResourceQuotas."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import Quantity
from seatrial.kube.validation.fields import (
    IMMUTABLE,
    Faults,
    byte_length,
    data_key,
    duplicate,
    forbidden,
    invalid,
    items,
    label_name,
    part,
    qualified_name,
    quantity,
    required,
    same,
    too_long,
    unchanged,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.meta import standard_finalizer
from seatrial.kube.validation.resources import (
    any_name,
    container_name,
    is_standard_of_quotas,
    may_overcommit,
    quota_name,
    size,
)

_LARGEST: Final = 1024 * 1024
_SEALED: Final = "field is immutable when `immutable` is set"


def _config_map(raw: JsonObject, minor: int) -> Faults:
    texts, binary = part(raw, "data"), part(raw, "binaryData")
    for key in texts:
        yield from data_key(f"data[{key}]", key)
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from data_key(f"binaryData[{key}]", key)
    total = sum(byte_length(text or "") for text in texts.values()) + sum(map(_decoded_length, binary.values()))
    if total > _LARGEST:
        yield too_long("", _LARGEST)


def _decoded_length(encoded: str | None) -> int:
    text = "".join((encoded or "").split())
    return len(text) * 3 // 4 - text.count("=", -2)


def _sealed(*fields: str) -> Any:
    """What stays of an object that was made immutable."""

    def check(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
        if "type" in fields:
            yield from unchanged("type", raw.get("type") or "Opaque", before.get("type") or "Opaque")
        if before.get("immutable") is not True:
            return
        if raw.get("immutable") is not True:
            yield forbidden("immutable", _SEALED)
        for name in fields:
            if name != "type" and not same(raw.get(name), before.get(name)):
                yield forbidden(name, _SEALED)

    return check


_ACCOUNT: Final = "kubernetes.io/service-account.name"
_DOCKER: Final = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def _secret(raw: JsonObject, minor: int) -> Faults:
    data, kind = part(raw, "data"), raw.get("type") or "Opaque"
    for key in data:
        yield from data_key(f"data[{key}]", key)
    if sum(map(_decoded_length, data.values())) > _LARGEST:
        yield too_long("data", _LARGEST)
    if kind == "kubernetes.io/service-account-token":
        if not part(part(raw, "metadata"), "annotations").get(_ACCOUNT):
            yield required(f"metadata.annotations[{_ACCOUNT}]")
    elif kind in _DOCKER:
        key = _DOCKER[kind]
        if key not in data:
            yield required(f"data[{key}]")
        elif why := _no_object(data[key] or ""):
            yield invalid(f"data[{key}]", "<secret contents redacted>", why)
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            yield required("data[username]")
            yield required("data[password]")
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            yield required("data[ssh-privatekey]")
    elif kind == "kubernetes.io/tls":
        for key in ("tls.crt", "tls.key"):
            if key not in data:
                yield required(f"data[{key}]")


def _no_object(encoded: str) -> str:
    """Why the content of a Secret is no JSON object; nothing if it is one."""
    try:
        content = json.loads(base64.b64decode(encoded))
    except (ValueError, binascii.Error):
        return "invalid character" if encoded else "unexpected end of JSON input"
    return "" if content is None or isinstance(content, dict) else "json: cannot unmarshal into Go value of type map"


def _namespace(raw: JsonObject, minor: int) -> Faults:
    for name in part(raw, "spec").get("finalizers") or ():
        yield from qualified_name("spec.finalizers", name or "")
        yield from standard_finalizer("spec.finalizers", name or "")


# --- limits ---

_TYPES: Final = ("Pod", "Container", "PersistentVolumeClaim")
_SIDES: Final = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_ONE: Final = Quantity.parse("1")


def _limit_range(raw: JsonObject, minor: int) -> Faults:
    seen: set[str] = set()
    for at, limit in items("spec.limits", part(raw, "spec"), "limits"):
        kind = limit.get("type") or ""
        faults = list(qualified_name(f"{at}.type", kind))
        yield from faults
        if not faults and "/" not in kind and kind not in _TYPES:
            yield invalid(f"{at}.type", kind, "must be a standard limit type or fully qualified")
        if kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        yield from _limit(at, kind, limit)


def _limit(path: str, kind: str, limit: JsonObject) -> Faults:
    sides = {side: part(limit, side) for side in _SIDES}
    if kind == "Pod":
        for side in ("default", "defaultRequest"):
            if sides[side]:
                yield forbidden(f"{path}.{side}", "may not be specified when `type` is 'Pod'")
                sides[side] = {}
    rule = container_name if kind in ("Pod", "Container") else any_name
    for side in _SIDES:
        for name in sides[side]:
            yield from rule(f"{path}.{side}[{name}]", name)
    if kind == "PersistentVolumeClaim" and "storage" not in sides["min"] and "storage" not in sides["max"]:
        why = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{path}.limits", why)
    for name in dict.fromkeys(name for side in _SIDES for name in sides[side]):
        sizes = {side: quantity(held[name]) for side, held in sides.items() if name in held}
        yield from _in_order(path, name, sizes)


_ORDER: Final = (
    ("min", "max", "min", "min", "max"),
    ("min", "defaultRequest", "defaultRequest", "min", "default request"),
    ("defaultRequest", "max", "defaultRequest", "default request", "max"),
    ("defaultRequest", "default", "defaultRequest", "default request", "default limit"),
    ("min", "default", "default", "min", "default"),
    ("default", "max", "default", "default", "max"),
)
"""Which side may not be above which, under which field that is told, and how both are called."""


def _in_order(path: str, name: str, sizes: Mapping[str, Quantity]) -> Faults:
    for low, high, field, low_name, high_name in _ORDER:
        if low in sizes and high in sizes and sizes[low] > sizes[high]:
            why = f"{low_name} value {sizes[low]} is greater than {high_name} value {sizes[high]}"
            yield invalid(f"{path}.{field}[{name}]", str(sizes[field]), why)
    ratio, at = sizes.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None and ratio < _ONE:
        yield invalid(at, str(ratio), f"ratio {ratio} is less than 1")
    if ratio is not None and "min" in sizes and "max" in sizes:
        least, largest = sizes["min"].milli, sizes["max"].milli
        most = largest / least if least else float("inf") if largest > 0 else float("nan")
        if ratio.milli / 1000 > most:
            yield invalid(at, str(ratio), f"ratio {ratio} is greater than max/min = {most:.6f}")
    default, request = sizes.get("default"), sizes.get("defaultRequest")
    if not may_overcommit(name) and default is not None and request is not None and default != request:
        why = f"default value {default} must equal to defaultRequest value {request} in {name}"
        yield invalid(f"{path}.defaultRequest[{name}]", str(request), why)


# --- quotas ---

_SCOPES: Final = frozenset(
    {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"}
    | {"VolumeAttributesClass"}
)
_OPPOSITES: Final = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_ONLY_EXISTS: Final = _SCOPES - {"PriorityClass", "VolumeAttributesClass"}
_POD_SCOPES: Final = _SCOPES - {"BestEffort", "VolumeAttributesClass"}
_OF_PODS: Final = frozenset(("pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"))
_NOT_TOLD_APART: Final = "unsupported scope applied to resource"


def _quota(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    names = sorted(part(spec, "hard"))
    for name in names:
        yield from quota_name(f"spec.hard[{name}]", name)
        yield from size(f"spec.hard[{name}]", name, spec["hard"][name])
    scopes = spec.get("scopes") or ()
    for scope in scopes:
        if scope not in _SCOPES:
            yield invalid("spec.scopes", scopes, "unsupported scope")
        for name in names:
            if not _tells_apart(scope or "", name):
                yield invalid("spec.scopes", scopes, _NOT_TOLD_APART)
    for pair in _OPPOSITES:
        if pair <= {*scopes}:
            yield invalid("spec.scopes", scopes, "conflicting scopes")
    if spec.get("scopeSelector") is not None:
        yield from _scope_selector(spec, names)


def _scope_selector(spec: JsonObject, names: list[str]) -> Faults:
    path, seen = "spec.scopeSelector.matchExpressions", set()
    expressions = [each or {} for each in spec["scopeSelector"].get("matchExpressions") or ()]
    shown = {
        "MatchExpressions": [
            {"ScopeName": each.get("scopeName"), "Operator": each.get("operator"), "Values": each.get("values")}
            for each in expressions
        ]
    }
    for each in expressions:
        scope, operator, values = each.get("scopeName") or "", each.get("operator") or "", each.get("values") or ()
        if scope not in _SCOPES:
            yield invalid(f"{path}.scopeName", scope, "unsupported scope")
        for name in names:
            if not _tells_apart(scope, name):
                yield invalid(path, shown, _NOT_TOLD_APART)
        if scope in _ONLY_EXISTS and operator != "Exists":
            why = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating,"
                " ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            yield invalid(f"{path}.operator", operator, why)
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield required(f"{path}.values", why)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                yield invalid(f"{path}.values", values, why)
        else:
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")
        seen.add(scope)
    for pair in _OPPOSITES:
        if pair <= seen:
            yield invalid(path, spec.get("scopes"), "conflicting scopes")


def _tells_apart(scope: str, name: str) -> bool:
    """Whether a scope can be about a resource: a quota with scopes names only what they can tell apart."""
    if not is_standard_of_quotas(name):
        return True
    if scope == "BestEffort":
        return name == "pods"
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    return scope not in _POD_SCOPES or name in _OF_PODS


def _fixed_quota(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = (part(each, "spec").get("scopes") or [] for each in (raw, before))
    if {*new} != {*old}:
        yield invalid("spec.scopes", new, IMMUTABLE)


RULES: Final = {
    "ConfigMap": Rules(valid=_config_map, fixed=_sealed("data", "binaryData"), remeta=True),
    "Secret": Rules(valid=_secret, fixed=_sealed("type", "data"), remeta=True),
    "ServiceAccount": Rules(remeta=True),
    "Namespace": Rules(new=_namespace, named=label_name),
    "LimitRange": Rules(valid=_limit_range, remeta=True),
    "ResourceQuota": Rules(valid=_quota, fixed=_fixed_quota),
}
