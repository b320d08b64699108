"""What the API server refuses in a workload's spec beyond its schema: the rules that relate fields to each other.

Wording and order are upstream's (`pkg/apis/apps/validation`), since users and tests match on them. One function per
rule; `workload` is all of them but those about sizes, which pods have, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from seatrial.kube import selectors
from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject, LabelSelector
from seatrial.kube.objects.base import parse_as
from seatrial.kube.quantities import Quantity
from seatrial.kube.validation.fields import (
    LABEL,
    LABEL_RULE,
    amount,
    at_most_all,
    forbidden,
    invalid,
    label_selector,
    negative,
    number_in,
    required,
    unsupported,
)

_COUNTS: Final = {
    "Deployment": ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"),
    "ReplicaSet": ("replicas", "minReadySeconds"),
    "ReplicationController": ("replicas", "minReadySeconds"),
    "StatefulSet": ("replicas", "minReadySeconds"),
    "DaemonSet": ("minReadySeconds", "revisionHistoryLimit"),
}
_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_LONGEST: Final = 2**31 - 1


def workload(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """The causes for which a write of this object is refused; none for other kinds and for a spec that stays."""
    spec = raw.get("spec")
    if kind not in _COUNTS or not isinstance(spec, dict) or (before is not None and before.get("spec") == spec):
        return
    yield from negative(spec, _COUNTS[kind], "spec")
    match kind:
        case "Deployment":
            yield from _strategy(spec.get("strategy") or {})
            yield from _deadline(spec)
        case "StatefulSet":
            yield from _stateful_set(spec)
        case "DaemonSet":
            yield from _daemon_update(spec.get("updateStrategy") or {})
    if kind == "ReplicationController":
        yield from _plain_selector(spec)
    else:
        yield from _selector(kind, spec)
    yield from _template(kind, spec)


_TEMPLATES: Final = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    **dict.fromkeys(_COUNTS, ("spec", "template", "spec")),
}
"""Where the kinds that make pods say how."""


def sizes(kind: str, raw: JsonObject) -> Iterator[Fault]:
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


def _too_much(where: str, requests: JsonObject, limits: JsonObject) -> Iterator[Fault]:
    for name in sorted(requests):
        try:
            request, limit = Quantity.parse(requests[name]), Quantity.parse(limits[name]) if name in limits else None
        except ValueError:
            continue
        shared = "/" not in name and not name.startswith("hugepages-")
        if limit is None:
            if not shared:
                why = "Required value: Limit must be set for non overcommitable resources"
                yield Fault("FieldValueRequired", f"{where}.limits", why)
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


def quota_scopes(raw: JsonObject) -> Iterator[Fault]:
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


def _selector(kind: str, spec: JsonObject) -> Iterator[Fault]:
    selector, path = spec.get("selector"), "spec.selector"
    if selector is None:
        yield _mismatch(spec)  # the schema says that it is required
        return
    faults = list(label_selector(path, selector))
    yield from faults
    if faults:
        if kind != "DaemonSet":
            yield invalid(path, selector, "" if kind == "StatefulSet" else "invalid label selector")
        return
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        named = "deployment" if kind == "ReplicaSet" else kind.lower()
        yield invalid(path, selector, f"empty selector is invalid for {named}")
    elif not selectors.matches(parse_as(LabelSelector, selector), _labels(spec) or {}):
        yield _mismatch(spec)


def _plain_selector(spec: JsonObject) -> Iterator[Fault]:
    if not spec.get("selector"):
        yield required("spec.selector")
    elif not selectors.matches_labels(spec["selector"], _labels(spec) or {}):
        yield _mismatch(spec)


def _labels(spec: JsonObject) -> dict[str, str] | None:
    labels: dict[str, str] | None = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    return labels


def _mismatch(spec: JsonObject) -> Fault:
    return invalid("spec.template.metadata.labels", _labels(spec), "`selector` does not match template `labels`")


def _template(kind: str, spec: JsonObject) -> Iterator[Fault]:
    """Pods that are to be there for ever."""
    pod, path = (spec.get("template") or {}).get("spec") or {}, "spec.template.spec"
    policy, deadline_s = pod.get("restartPolicy") or "Always", pod.get("activeDeadlineSeconds")
    if policy not in _RESTART_POLICIES:
        yield unsupported(f"{path}.restartPolicy", policy, _RESTART_POLICIES)
    if deadline_s is not None and not 1 <= deadline_s <= _LONGEST:
        yield invalid(f"{path}.activeDeadlineSeconds", deadline_s, f"must be between 1 and {_LONGEST}, inclusive")
    if policy != "Always":
        yield unsupported(f"{path}.restartPolicy", policy, ("Always",))
    if deadline_s is not None:
        named = "ReplicaSet" if kind == "Deployment" else kind
        yield forbidden(f"{path}.activeDeadlineSeconds", f"activeDeadlineSeconds in {named} is not Supported")


def _strategy(strategy: JsonObject) -> Iterator[Fault]:
    rolling, path = strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate"
    kind = strategy.get("type") or "RollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    if kind != "RollingUpdate":
        yield unsupported("spec.strategy", {"Type": kind, "RollingUpdate": rolling}, ("Recreate", "RollingUpdate"))
        return
    surge, unavailable = ((rolling or {}).get(name, "25%") for name in ("maxSurge", "maxUnavailable"))
    yield from amount(f"{path}.maxUnavailable", unavailable)
    yield from amount(f"{path}.maxSurge", surge)
    if number_in(surge) == number_in(unavailable) == 0:
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    yield from at_most_all(f"{path}.maxUnavailable", unavailable)


def _deadline(spec: JsonObject) -> Iterator[Fault]:
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= (spec.get("minReadySeconds") or 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _stateful_set(spec: JsonObject) -> Iterator[Fault]:
    policy = spec.get("podManagementPolicy") or "OrderedReady"
    if policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    yield from _stateful_update(spec.get("updateStrategy") or {})
    for name, choice in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
        if choice not in ("Retain", "Delete"):
            yield unsupported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", choice, ("Retain", "Delete"))
    yield from negative(spec.get("ordinals") or {}, ("start",), "spec.ordinals")
    service = spec.get("serviceName")
    if service and not LABEL.fullmatch(service):
        yield invalid("spec.serviceName", service, LABEL_RULE)


def _stateful_update(strategy: JsonObject) -> Iterator[Fault]:
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete" and rolling is not None:
        shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": rolling.get("maxUnavailable")}
        yield invalid(path, shown, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind == "RollingUpdate" and rolling is not None:
        yield from negative(rolling, ("partition",), path)
        most = rolling.get("maxUnavailable")
        if most is not None:
            yield from amount(f"{path}.maxUnavailable", most)
            if number_in(most) == 0:
                yield invalid(f"{path}.maxUnavailable", most, "cannot be 0")
            yield from at_most_all(f"{path}.maxUnavailable", most)
    elif kind not in ("OnDelete", "RollingUpdate"):
        shown = {"Type": kind, "RollingUpdate": rolling}
        yield invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")


def _daemon_update(strategy: JsonObject) -> Iterator[Fault]:
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate") or {}
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}
        yield unsupported("spec.updateStrategy", shown, ("RollingUpdate", "OnDelete"))
        return
    unavailable, surge = rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)
    for check in (amount, at_most_all):
        yield from check(f"{path}.maxUnavailable", unavailable)
        yield from check(f"{path}.maxSurge", surge)
    if number_in(unavailable) and number_in(surge):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif not number_in(unavailable) and not number_in(surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
