"""Autoscalers and disruption budgets (`pkg/apis/autoscaling/validation`, `pkg/apis/policy/validation`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import ZERO
from seatrial.kube.validation.fields import (
    NO_NEGATIVE,
    Faults,
    amount,
    at_most_all,
    forbidden,
    invalid,
    items,
    label_name,
    label_selector,
    negative,
    one_of,
    part,
    path_segment,
    quantity,
    required,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.resources import container_name

_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_LONGEST_WINDOW_S: Final = 3600
_LONGEST_PERIOD_S: Final = 1800


def _autoscaler(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    yield from negative(spec, ("minReplicas",), "spec")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    if most == 0:
        yield required("spec.maxReplicas")
    elif most < 0:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to 1")
    target = part(spec, "scaleTargetRef")
    yield from _reference("spec.scaleTargetRef", target)
    version = target.get("apiVersion") or ""
    if version.count("/") > 1:
        yield invalid("spec.scaleTargetRef.apiVersion", version, f"unexpected GroupVersion string: {version}")
    elif not version.partition("/")[0 if "/" in version else 1] and (version, target.get("kind")) != (
        "v1",
        "ReplicationController",
    ):
        yield invalid("spec.scaleTargetRef.apiVersion", version, "apiVersion must specify API group")
    for at, metric in items("spec.metrics", spec, "metrics"):
        yield from _metric(at, metric)
    if least == 0 and not any(each.get("type") in ("Object", "External") for _, each in items("", spec, "metrics")):
        yield forbidden(
            "spec.metrics", "must specify at least one Object or External metric to support scaling to zero replicas"
        )
    for direction in ("scaleUp", "scaleDown"):
        rules = part(spec, "behavior").get(direction)
        if rules is not None:
            yield from _rules(f"spec.behavior.{direction}", rules)


def _reference(path: str, ref: JsonObject) -> Faults:
    for name in ("kind", "name"):
        if not ref.get(name):
            yield required(f"{path}.{name}")
        else:
            yield from path_segment(f"{path}.{name}", ref[name])


def _metric(path: str, metric: JsonObject) -> Faults:
    kind, why = metric.get("type") or "", "must populate information for the given metric source"
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
    elif kind not in _SOURCES:
        yield unsupported(f"{path}.type", kind, tuple(_SOURCES))
    present = [name for name in _IN_ORDER if metric.get(name) is not None]
    wanted = _SOURCES.get(kind)
    if present:
        yield from _IN_ORDER[present[0]](f"{path}.{present[0]}", metric[present[0]])
    if wanted is not None and metric.get(wanted) is None:
        yield required(f"{path}.{wanted}", why)
    if len(present) != 1:
        yield from (
            forbidden(f"{path}.{name}", "must populate the given metric source only")
            for name in present
            if name != wanted
        )


def _object(path: str, source: JsonObject) -> Faults:
    yield from _reference(f"{path}.describedObject", part(source, "describedObject"))
    yield from _named(f"{path}.metric", source)
    yield from _target(f"{path}.target", part(source, "target"))
    if not _has(source, "value", "averageValue"):
        yield required(f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target")


def _external(path: str, source: JsonObject) -> Faults:
    yield from _named(f"{path}.metric", source)
    yield from _target(f"{path}.target", part(source, "target"))
    target = part(source, "target")
    if not _has(source, "value", "averageValue"):
        yield required(f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target")
    if target.get("value") is not None and target.get("averageValue") is not None:
        yield forbidden(f"{path}.target.value", "may not set both a target value for metric and a per-pod target")


def _pods(path: str, source: JsonObject) -> Faults:
    yield from _named(f"{path}.metric", source)
    yield from _target(f"{path}.target", part(source, "target"))
    if not _has(source, "averageValue"):
        yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def _resource(path: str, source: JsonObject) -> Faults:
    if not source.get("name"):
        yield required(f"{path}.name", "must specify a resource name")
    yield from _measured(path, source)


def _container_resource(path: str, source: JsonObject) -> Faults:
    if not source.get("name"):
        yield required(f"{path}.name", "must specify a resource name")
    else:
        yield from container_name(f"{path}.name", source["name"])
    if not source.get("container"):
        yield required(f"{path}.container", "must specify a container")
    else:
        yield from label_name(f"{path}.container", source["container"])
    yield from _measured(path, source)


def _measured(path: str, source: JsonObject) -> Faults:
    target, at = part(source, "target"), f"{path}.target"
    yield from _target(at, target)
    utilisation, average = target.get("averageUtilization"), target.get("averageValue")
    if utilisation is None and average is None:
        yield required(f"{at}.averageUtilization", "must set either a target raw value or a target utilization")
    if utilisation is not None and average is not None:
        yield forbidden(f"{at}.averageValue", "may not set both a target raw value and a target utilization")


def _has(source: JsonObject, *names: str) -> bool:
    return any(part(source, "target").get(name) is not None for name in names)


def _named(path: str, source: JsonObject) -> Faults:
    name = part(source, "metric").get("name") or ""
    if not name:
        yield required(f"{path}.name", "must specify a metric name")
    else:
        yield from path_segment(f"{path}.name", name)


def _target(path: str, target: JsonObject) -> Faults:
    kind = target.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        yield invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    utilisation = target.get("averageUtilization")
    if utilisation is not None and utilisation < 1:
        yield invalid(f"{path}.averageUtilization", utilisation, "must be greater than 0")
    for name in ("value", "averageValue"):
        if target.get(name) is not None and quantity(target[name]) <= ZERO:
            yield invalid(f"{path}.{name}", str(quantity(target[name])), "must be positive")


_IN_ORDER: Final[dict[str, Callable[[str, JsonObject], Faults]]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
"""The sources in the order in which upstream looks: it looks into the first one only."""


def _rules(path: str, rules: JsonObject) -> Faults:
    window, at = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        yield invalid(at, window, "must be greater than or equal to zero")
    if window is not None and window > _LONGEST_WINDOW_S:
        yield invalid(at, window, f"must be less than or equal to {_LONGEST_WINDOW_S}")
    if rules.get("selectPolicy") is not None:
        yield from one_of(f"{path}.selectPolicy", rules["selectPolicy"], ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for place, policy in items(f"{path}.policies", rules, "policies"):
        yield from one_of(f"{place}.type", policy.get("type"), ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if (policy.get(name) or 0) <= 0:
                yield invalid(f"{place}.{name}", policy.get(name) or 0, "must be greater than zero")
        if (policy.get("periodSeconds") or 0) > _LONGEST_PERIOD_S:
            why = f"must be less than or equal to {_LONGEST_PERIOD_S}"
            yield invalid(f"{place}.periodSeconds", policy["periodSeconds"], why)
    tolerance = quantity(rules.get("tolerance"))
    if tolerance < ZERO:
        yield invalid(f"{path}.tolerance", str(tolerance), NO_NEGATIVE)


def _budget(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    least, most, policy = (spec.get(name) for name in ("minAvailable", "maxUnavailable", "unhealthyPodEvictionPolicy"))
    if least is not None and most is not None:
        shown = {"MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most}
        shown["UnhealthyPodEvictionPolicy"] = policy
        yield invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for name, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            yield from amount(f"spec.{name}", value)
            yield from at_most_all(f"spec.{name}", value)
    yield from label_selector("spec.selector", spec.get("selector"))
    if policy is not None:
        yield from one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))


RULES: Final = {
    "HorizontalPodAutoscaler": Rules(valid=_autoscaler),
    "PodDisruptionBudget": Rules(valid=_budget, has_metadata_rules=False),
}
