"""HorizontalPodAutoscalers in autoscaling/v1, which knows one metric: cpu in percent of the requests.

They are stored as autoscaling/v2. What v1 cannot say (other metrics, behavior, conditions) is not shown in it and stays
as it is when somebody writes in v1; upstream carries it in annotations.
"""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import JsonObject

V1: Final = "autoscaling/v1"
V2: Final = "autoscaling/v2"
_SAME_STATUS: Final = ("currentReplicas", "desiredReplicas", "lastScaleTime", "observedGeneration")


def shown(raw: JsonObject) -> JsonObject:
    """The v1 form of a v2 autoscaler."""
    spec, status = dict(raw.get("spec") or {}), raw.get("status") or {}
    spec.pop("behavior", None)
    wanted = [each["resource"]["target"] for each in spec.pop("metrics", ()) if _is_cpu(each)]
    if wanted and "averageUtilization" in wanted[0]:
        spec["targetCPUUtilizationPercentage"] = wanted[0]["averageUtilization"]
    short = {key: status[key] for key in _SAME_STATUS if key in status}
    for each in status.get("currentMetrics") or ():
        percent = each["resource"].get("current", {}).get("averageUtilization") if _is_cpu(each) else None
        if percent is not None:
            short["currentCPUUtilizationPercentage"] = percent
    return {**raw, "apiVersion": V1, "spec": spec, "status": short}


def stored(raw: JsonObject, before: JsonObject | None) -> JsonObject:
    """The v2 form of a v1 autoscaler that takes the place of `before`."""
    spec, old = dict(raw.get("spec") or {}), (before or {}).get("spec") or {}
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    others = [each for each in old.get("metrics") or () if not _is_cpu(each)]
    target = {"type": "Utilization", "averageUtilization": percent}
    cpu = [] if percent is None else [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    kept = {"behavior": old["behavior"]} if "behavior" in old else {}
    if cpu or others:
        kept["metrics"] = [*others, *cpu]
    status = {**((before or {}).get("status") or {})}
    return {**raw, "apiVersion": V2, "spec": {**spec, **kept}, "status": status}


def _is_cpu(metric: JsonObject) -> bool:
    resource = metric.get("resource") or {}
    part = resource.get("target", resource.get("current")) or {}
    return bool(resource.get("name") == "cpu" and "averageUtilization" in part)
