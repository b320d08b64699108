"""Pod Security at the door, as `control.podsecurity` decides it: pods are refused, whoever writes a template is warned,
and who makes a namespace stricter is told which of its pods would not do.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from seatrial.control import podsecurity
from seatrial.control.podsecurity import Enforced
from seatrial.kube.objects import JsonObject, Pod, parse_as
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.requests import Options

if TYPE_CHECKING:
    from seatrial.server.api import Api

_MOST_PODS: Final = 3000
_TEMPLATES: Final = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "PodTemplate": ("template",),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}
_WITH_CONTAINERS: Final = ("", "ephemeralcontainers", "resize")
_PREFIX: Final = "pod-security.kubernetes.io/"


def admit(api: Api, resource: Resource, raw: JsonObject, before: JsonObject | None, options: Options) -> None:
    """Adds warnings. Raises `StatusError`: 403 for a pod that its namespace does not have, 422 for a namespace."""
    if "PodSecurity" in api.disabled_plugins:
        return
    if resource.native == "Namespace" and not options.subresource:
        _of_namespace(api, raw, before, options)
    elif resource.native == "Pod" and options.subresource in _WITH_CONTAINERS:
        _of_pod(api, raw, before, options)
    elif resource.native in _TEMPLATES and not options.subresource and not options.trusted:
        template: Any = raw
        for name in _TEMPLATES[resource.native]:
            template = template.get(name) or {}
        labels = _labels(api, raw)
        if template and labels:
            _warn(api, template, labels, options)


def _labels(api: Api, raw: JsonObject) -> dict[str, str]:
    """What the namespace of an object says of Pod Security."""
    stored = api.store.get("/namespaces", "", raw["metadata"].get("namespace", ""))
    labels = {} if stored is None else stored.raw["metadata"].get("labels") or {}
    return {key: value for key, value in labels.items() if key.startswith(_PREFIX)}


def _of_pod(api: Api, raw: JsonObject, before: JsonObject | None, options: Options) -> None:
    labels = _labels(api, raw)
    pod = _typed(raw) if labels else None
    if pod is None:
        return
    old = None if before is None else _typed(before)
    if old is not None and not podsecurity.is_looked_at_again(pod.spec, old.spec):
        return
    enforced = podsecurity.enforced(labels, api.minor)
    if why := podsecurity.refusal(enforced, pod.spec, pod.metadata.annotations):
        raise errors.forbidden("pods", "", raw["metadata"].get("name", ""), why)
    _warn(api, raw, labels, options)


def _typed(raw: JsonObject) -> Pod | None:
    """A pod or a template as a pod; None for one in the store whose shape is of another time."""
    try:
        return parse_as(Pod, {"metadata": raw.get("metadata") or {}, "spec": raw.get("spec") or {}})
    except msgspec.ValidationError:
        return None


def _warn(api: Api, raw: JsonObject, labels: dict[str, str], options: Options) -> None:
    pod = _typed(raw)
    if pod is not None:
        why = podsecurity.refusal(podsecurity.warned(labels, api.minor), pod.spec, pod.metadata.annotations)
        options.warnings += [f"would {why.replace('violates', 'violate', 1)}"] if why else []


def _of_namespace(api: Api, raw: JsonObject, before: JsonObject | None, options: Options) -> None:
    labels = raw["metadata"].get("labels") or {}
    old = {} if before is None else before["metadata"].get("labels") or {}
    faults = list(podsecurity.label_faults(labels))
    if faults and (before is None or faults != list(podsecurity.label_faults(old))):
        raise errors.invalid("Namespace", "", raw["metadata"]["name"], faults)
    new, had = podsecurity.enforced(labels, api.minor), podsecurity.enforced(old, api.minor)
    levels = podsecurity.LEVELS
    stricter = new.version != had.version or levels.index(new.level) > levels.index(had.level)
    if before is not None and new.level != levels[0] and stricter:
        options.warnings += _of_those_that_are_there(api, raw["metadata"]["name"], new)


def _of_those_that_are_there(api: Api, namespace: str, level: Enforced) -> list[str]:
    pods = [each.raw for each in api.store.all("/pods").values() if each.raw["metadata"].get("namespace") == namespace]
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for pod in filter(None, map(_typed, pods[:_MOST_PODS])):
        found = podsecurity.violations(level, pod.spec, pod.metadata.annotations)
        if found:
            reason = ", ".join(each.reason for each in found)
            reasons[reason] += 1
            first[reason] = min(first.get(reason, pod.metadata.name), pod.metadata.name)
    warnings = []
    if len(pods) > _MOST_PODS:
        what = f"only checked against the first {_MOST_PODS} of {len(pods)} existing pods"
        warnings.append(f"new PodSecurity enforce level {what}")
    if reasons:
        what = f'violate the new PodSecurity enforce level "{level}"'
        warnings.append(f'existing pods in namespace "{namespace}" {what}')
    return [*warnings, *sorted(f"{first[reason]}{_more(count)}: {reason}" for reason, count in reasons.items())]


def _more(count: int) -> str:
    return {1: "", 2: " (and 1 other pod)"}.get(count, f" (and {count - 1} other pods)")
