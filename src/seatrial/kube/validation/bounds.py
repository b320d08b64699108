"""What the API server refuses of what bounds workloads (autoscalers, disruption budgets, quotas) beyond the schema.

Wording and order are upstream's (`pkg/apis/autoscaling`, `policy` and `core` validation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import Quantity
from seatrial.kube.validation.fields import (
    NO_NEGATIVE,
    amount,
    at_most_all,
    forbidden,
    invalid,
    label_selector,
    negative,
    qualified_name,
    required,
    unsupported,
)

_NOUGHT: Final = Quantity.parse("0")
_NANOS: Final = 10**9
_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_LONGEST_WINDOW_S: Final = 3600
_LONGEST_PERIOD_S: Final = 1800
_OBJECT_COUNTS: Final = frozenset(
    {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"}
    | {"persistentvolumeclaims", "services.nodeports", "services.loadbalancers"}
)
_STANDARD: Final = (
    frozenset({"cpu", "memory", "storage", "ephemeral-storage"})
    | {f"{part}.{what}" for part in ("requests", "limits") for what in ("cpu", "memory", "ephemeral-storage")}
    | {"requests.storage"}
    | _OBJECT_COUNTS
)
_SCOPES: Final = frozenset(
    {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"}
    | {"VolumeAttributesClass"}
)
_OPPOSITES: Final = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_ONLY_EXISTS: Final = _SCOPES - {"PriorityClass", "VolumeAttributesClass"}


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """Why a write of this object is refused; nothing for other kinds and for an unchanged spec."""
    spec = raw.get("spec")
    if not isinstance(spec, dict) or (before is not None and before.get("spec") == spec):
        return
    match kind:
        case "HorizontalPodAutoscaler":
            yield from _autoscaler(spec)
        case "PodDisruptionBudget":
            yield from _budget(spec)
        case "ResourceQuota":
            yield from _quota(spec)


def _autoscaler(spec: JsonObject) -> Iterator[Fault]:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    yield from negative(spec, ("minReplicas",), "spec")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    if "maxReplicas" in spec and most == 0:
        yield required("spec.maxReplicas")
    elif most < 0:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to 1")
    target = spec.get("scaleTargetRef") or {}
    yield from _reference(target, "spec.scaleTargetRef")
    version = target.get("apiVersion", "")
    if "/" not in version and (version, target.get("kind")) != ("v1", "ReplicationController"):
        yield invalid("spec.scaleTargetRef.apiVersion", version, "apiVersion must specify API group")
    metrics = spec.get("metrics") or ()
    for number, metric in enumerate(metrics):
        yield from _metric(metric, f"spec.metrics[{number}]")
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        yield forbidden(
            "spec.metrics", "must specify at least one Object or External metric to support scaling to zero replicas"
        )
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            yield from _rules(rules, f"spec.behavior.{direction}")


def _reference(ref: JsonObject, path: str) -> Iterator[Fault]:
    for name in ("kind", "name"):
        value = ref.get(name)
        if not value:
            yield required(f"{path}.{name}")
        else:
            yield from _segment(value, f"{path}.{name}")


def _segment(value: str, path: str) -> Iterator[Fault]:
    if value in (".", ".."):
        yield invalid(path, value, f"may not be '{value}'")
    for forbidden_part in ("/", "%"):
        if forbidden_part in value:
            yield invalid(path, value, f"may not contain '{forbidden_part}'")


def _metric(metric: JsonObject, path: str) -> Iterator[Fault]:
    kind = metric.get("type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        yield unsupported(f"{path}.type", kind, tuple(_SOURCES))
        return
    wanted = _SOURCES[kind]
    yield from (
        forbidden(f"{path}.{name}", "must populate the given metric source only")
        for name in ("object", "external", "pods", "resource", "containerResource")
        if name != wanted and metric.get(name) is not None
    )
    source = metric.get(wanted)
    if source is None:
        yield required(f"{path}.{wanted}", "must populate information for the given metric source")
        return
    path = f"{path}.{wanted}"
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            yield required(f"{path}.name", "must specify a resource name")
        if kind == "ContainerResource" and not source.get("container"):
            yield required(f"{path}.container", "must specify a container")
        yield from _target(source, path)
        yield from _utilisation_or_value(source.get("target") or {}, f"{path}.target")
        return
    if kind == "Object":
        yield from _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    name = (source.get("metric") or {}).get("name")
    if not name:
        yield required(f"{path}.metric.name", "must specify a metric name")
    else:
        yield from _segment(name, f"{path}.metric.name")
    yield from _target(source, path)
    target, path = source.get("target") or {}, f"{path}.target"
    value, average = target.get("value"), target.get("averageValue")
    if kind == "Pods":
        if average is None:
            yield required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif value is None and average is None:
        yield required(f"{path}.averageValue", "must set either a target value for metric or a per-pod target")
    elif kind == "External" and value is not None and average is not None:
        yield forbidden(f"{path}.value", "may not set both a target value for metric and a per-pod target")


def _target(source: JsonObject, path: str) -> Iterator[Fault]:
    target, path = source.get("target") or {}, f"{path}.target"
    kind = target.get("type")
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    elif kind not in ("Utilization", "Value", "AverageValue"):
        yield invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    utilisation = target.get("averageUtilization")
    if utilisation is not None and utilisation < 1:
        yield invalid(f"{path}.averageUtilization", utilisation, "must be greater than 0")
    for name in ("value", "averageValue"):
        if target.get(name) is not None and not _parsed(target[name]) > _NOUGHT:
            yield invalid(f"{path}.{name}", str(_parsed(target[name])), "must be positive")


def _utilisation_or_value(target: JsonObject, path: str) -> Iterator[Fault]:
    utilisation, average = target.get("averageUtilization"), target.get("averageValue")
    if utilisation is None and average is None:
        yield required(f"{path}.averageUtilization", "must set either a target raw value or a target utilization")
    if utilisation is not None and average is not None:
        yield forbidden(f"{path}.averageValue", "may not set both a target raw value and a target utilization")


def _rules(rules: JsonObject, path: str) -> Iterator[Fault]:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > _LONGEST_WINDOW_S:
        why = f"must be less than or equal to {_LONGEST_WINDOW_S}"
        yield invalid(f"{path}.stabilizationWindowSeconds", window, why)
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in ("Max", "Min", "Disabled"):
        yield unsupported(f"{path}.selectPolicy", choice, ("Disabled", "Max", "Min"))
    policies = rules.get("policies") or ()
    if not policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for number, policy in enumerate(policies):
        place = f"{path}.policies[{number}]"
        if policy.get("type") not in ("Pods", "Percent"):
            yield unsupported(f"{place}.type", policy.get("type", ""), ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if (policy.get(name) or 0) <= 0:
                yield invalid(f"{place}.{name}", policy.get(name, 0), "must be greater than zero")
        if (policy.get("periodSeconds") or 0) > _LONGEST_PERIOD_S:
            why = f"must be less than or equal to {_LONGEST_PERIOD_S}"
            yield invalid(f"{place}.periodSeconds", policy["periodSeconds"], why)
    tolerance = rules.get("tolerance")
    if tolerance is not None and _parsed(tolerance) < _NOUGHT:
        yield invalid(f"{path}.tolerance", str(_parsed(tolerance)), NO_NEGATIVE)


def _budget(spec: JsonObject) -> Iterator[Fault]:
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    selector, policy = spec.get("selector"), spec.get("unhealthyPodEvictionPolicy")
    if least is not None and most is not None:
        shown = {"MinAvailable": least, "Selector": selector, "MaxUnavailable": most}
        shown["UnhealthyPodEvictionPolicy"] = policy
        yield invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for name, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            yield from amount(f"spec.{name}", value)
            yield from at_most_all(f"spec.{name}", value)
    yield from label_selector("spec.selector", selector or {})
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        yield unsupported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))


def _quota(spec: JsonObject) -> Iterator[Fault]:
    for name, text in (spec.get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        yield from _counted_name(name, path)
        value = _parsed(text)
        if value < _NOUGHT:
            yield invalid(path, str(value), NO_NEGATIVE)
        if name in _OBJECT_COUNTS and value.nanos % _NANOS:
            yield invalid(path, str(value), "must be an integer")
    scopes = spec.get("scopes") or []
    if scopes and not set(scopes) <= _SCOPES:
        yield invalid("spec.scopes", scopes, "unsupported scope")
    for opposites in _OPPOSITES:
        if opposites <= set(scopes):
            yield invalid("spec.scopes", scopes, "conflicting scopes")
    for item in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        yield from _scope(item, "spec.scopeSelector.matchExpressions")


def _counted_name(name: str, path: str) -> Iterator[Fault]:
    faults = list(qualified_name(path, name))
    yield from faults
    if "/" in name or name in _STANDARD or name.startswith(("hugepages-", "requests.hugepages-")):
        return
    if not faults:
        yield invalid(path, name, "must be a standard resource type or fully qualified")
    yield invalid(path, name, "must be a standard resource for quota")


def _scope(item: Mapping[str, object], path: str) -> Iterator[Fault]:
    scope, operator, values = item.get("scopeName"), item.get("operator"), item.get("values") or []
    if scope not in _SCOPES:
        yield invalid(f"{path}.scopeName", scope, "unsupported scope")
    if scope in _ONLY_EXISTS and operator != "Exists":
        yield invalid(
            f"{path}.operator",
            operator,
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
            "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
            "ResourceQuotaScopeCrossNamespacePodAffinity",
        )
    elif operator in ("In", "NotIn"):
        if not values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{path}.values", why)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield invalid(f"{path}.values", values, why)
    else:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def _parsed(value: object) -> Quantity:
    return Quantity.parse(str(value))
