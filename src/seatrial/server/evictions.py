"""The eviction subresource: `control.disruption` decides, the budget is told first, then the pod is deleted."""

from __future__ import annotations

from dataclasses import replace

from seatrial.control import disruption
from seatrial.kube.objects import JsonObject, Pod, PodDisruptionBudget, parse_as, to_wire
from seatrial.kube.patches import diff_merge
from seatrial.server import errors
from seatrial.server.api import Api
from seatrial.server.requests import DeleteOptions, Filter


def evict(api: Api, namespace: str, name: str, options: DeleteOptions) -> None:
    """Delete the pod unless a budget forbids it. Raises `StatusError`: 429 when it would violate a budget."""
    pods, budgets = api.kind("v1", "Pod"), api.kind("policy/v1", "PodDisruptionBudget")
    raw = api.get(pods, namespace, name)
    pod = parse_as(Pod, raw)
    there = api.list(budgets, Filter(namespace=namespace)).items
    decided = disruption.evict(pod, [parse_as(PodDisruptionBudget, each) for each in there], api.now())
    if isinstance(decided, disruption.Refused):
        raise _error(decided)
    if not options.dry_run:
        if decided is not None:
            meta = decided.metadata
            before = next(each for each in there if each["metadata"]["name"] == meta.name)
            told: JsonObject = diff_merge({"status": before["status"]}, {"status": to_wire(decided)["status"]})
            told["metadata"] = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            api.patch(budgets, namespace, meta.name, told, subresource="status")
        marked = disruption.evicted(pod, api.now(), "EvictionByEvictionAPI", "Eviction API: evicting")
        if marked != pod:
            conditions = to_wire(marked)["status"]["conditions"]
            patch: JsonObject = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": conditions}}
            written = api.patch(pods, namespace, name, patch, subresource="status")
            if options.resource_version == pod.metadata.resource_version:
                options = replace(options, resource_version=written["metadata"]["resourceVersion"])
    api.delete(pods, namespace, name, options)


def _error(refused: disruption.Refused) -> errors.StatusError:
    details: JsonObject = {}
    if refused.cause:
        details["causes"] = [{"reason": "DisruptionBudget", "message": refused.cause}]
    if refused.retry_after_s:
        details["retryAfterSeconds"] = refused.retry_after_s
    match refused.code:
        case 429:
            return errors.failure(429, "TooManyRequests", refused.message, details)
        case 403:
            causes = [errors.Cause("DisruptionBudget", "", refused.cause)]
            return errors.forbidden("poddisruptionbudget", "policy", refused.budget, refused.message, causes)
        case code:
            return errors.failure(code, "", refused.message)
