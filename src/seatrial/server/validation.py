"""What the API server refuses in a workload's spec beyond its schema: the rules that relate fields to each other.

Wording and order are upstream's (`pkg/apis/apps/validation`), since users and tests match on them. One function per
rule; `workload` is all of them but those about sizes, which pods have, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.quantities import Quantity
from seatrial.server.errors import Cause

_COUNTS: Final = {
    "Deployment": ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"),
    "ReplicaSet": ("replicas", "minReadySeconds"),
    "ReplicationController": ("replicas", "minReadySeconds"),
    "StatefulSet": ("replicas", "minReadySeconds"),
    "DaemonSet": ("minReadySeconds", "revisionHistoryLimit"),
}


def workload(kind: str, raw: JsonObject) -> Iterator[Cause]:
    """The causes for which a write of this object is refused; none for other kinds."""
    spec = raw.get("spec")
    if kind not in _COUNTS or not isinstance(spec, dict):
        return
    yield from _negative_counts(kind, spec)
    yield from _selector(kind, spec)
    if kind == "Deployment":
        yield from _strategy(spec)
        yield from _deadline(spec)


_TEMPLATES: Final = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    **dict.fromkeys(_COUNTS, ("spec", "template", "spec")),
}
"""Where the kinds that make pods say how."""


def sizes(kind: str, raw: JsonObject) -> Iterator[Cause]:
    """No container requests more than its limit; what cannot be shared it requests exactly."""
    path = _TEMPLATES.get(kind, ())
    spec: object = raw if path else None
    for name in path:
        spec = spec.get(name) if isinstance(spec, dict) else None
    if not isinstance(spec, dict):
        return
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            resources = (container.get("resources") or {}) if isinstance(container, dict) else {}
            where = f"{'.'.join(path)}.{field}[{position}].resources"
            yield from _too_much(where, resources.get("requests") or {}, resources.get("limits") or {})


def _too_much(where: str, requests: JsonObject, limits: JsonObject) -> Iterator[Cause]:
    for name in sorted(requests):
        try:
            request, limit = Quantity.parse(requests[name]), Quantity.parse(limits[name]) if name in limits else None
        except ValueError:
            continue
        shared = "/" not in name and not name.startswith("hugepages-")
        if limit is None:
            if not shared:
                why = "Required value: Limit must be set for non overcommitable resources"
                yield Cause("FieldValueRequired", f"{where}.limits", why)
        elif not shared and request != limit:
            yield invalid(f"{where}.requests", str(request), f"must be equal to {name} limit of {limit}")
        elif request > limit:
            yield invalid(f"{where}.requests", str(request), f"must be less than or equal to {name} limit of {limit}")


_POD_SCOPES: Final = (
    "Terminating",
    "NotTerminating",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "BestEffort",
)
_OF_PODS: Final = frozenset(("pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"))
_STANDARD: Final = _OF_PODS | {
    "configmaps",
    "ephemeral-storage",
    "limits.ephemeral-storage",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "requests.ephemeral-storage",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
}


def quota_scopes(raw: JsonObject) -> Iterator[Cause]:
    """A quota with scopes may only name what its scopes can tell apart."""
    spec = raw.get("spec") or {}
    names = sorted(spec.get("hard") or {})
    for scope in spec.get("scopes") or ():
        for name in names:
            if not _tells_apart(scope, name):
                yield invalid("spec.scopes", spec["scopes"], "unsupported scope applied to resource")
    expressions = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    shown = {
        "MatchExpressions": [
            {"ScopeName": each.get("scopeName"), "Operator": each.get("operator"), "Values": each.get("values")}
            for each in expressions
        ]
    }
    for each in expressions:
        for name in names:
            if not _tells_apart(each.get("scopeName", ""), name):
                yield invalid("spec.scopeSelector.matchExpressions", shown, "unsupported scope applied to resource")


def _tells_apart(scope: str, name: str) -> bool:
    if name not in _STANDARD and not name.startswith(("hugepages-", "requests.hugepages-")):
        return True
    if scope == "BestEffort":
        return name == "pods"
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    return scope not in _POD_SCOPES or name in _OF_PODS


def invalid(path: str, value: object, why: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"))
    return Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {why}")


def _negative_counts(kind: str, spec: JsonObject) -> Iterator[Cause]:
    for name in _COUNTS[kind]:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield invalid(f"spec.{name}", value, "must be greater than or equal to 0")


def _selector(kind: str, spec: JsonObject) -> Iterator[Cause]:
    if kind == "ReplicationController":
        return
    selector = spec.get("selector") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if kind in ("Deployment", "ReplicaSet") and not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _strategy(spec: JsonObject) -> Iterator[Cause]:
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        if rolling is not None:
            why = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
            yield Cause("FieldValueForbidden", "spec.strategy.rollingUpdate", why)
        return
    surge, unavailable = ((rolling or {}).get(name, "25%") for name in ("maxSurge", "maxUnavailable"))
    path = "spec.strategy.rollingUpdate"
    for name, amount in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        if isinstance(amount, int) and amount < 0:
            yield invalid(f"{path}.{name}", amount, "must be greater than or equal to 0")
    if _amount(surge) == _amount(unavailable) == 0:
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and (_amount(unavailable) or 0) > 100:
        yield invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def _deadline(spec: JsonObject) -> Iterator[Cause]:
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= (spec.get("minReadySeconds") or 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _amount(value: object) -> int | None:
    """The number in a count or a percentage; None where there is none."""
    try:
        return int(str(value).removesuffix("%"))
    except ValueError:
        return None
