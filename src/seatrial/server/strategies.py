"""What the API does for single kinds when an object is written (the registry strategies of kube-apiserver):
the state of a new object, what counts as a new generation, how long a deletion lets it live.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

from seatrial.control import admission
from seatrial.control.statefulset import MAX_UNAVAILABLE_MINOR
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.kube.schemas.resources import SCHEMALESS
from seatrial.kube.times import after
from seatrial.server import (
    accounts,
    addresses,
    certificates,
    customresources,
    limits,
    priorities,
    runtimeclasses,
    storage,
)
from seatrial.server.requests import DeleteOptions, Options
from seatrial.server.resources import storage_key
from seatrial.server.times import wire_time

if TYPE_CHECKING:
    from seatrial.server.api import Api

DEFAULT_POD_GRACE_S = 30
_GATED: JsonObject = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None,
}


_WITH_GENERATION = frozenset(
    (
        "CronJob",
        "CustomResourceDefinition",
        "DaemonSet",
        "Deployment",
        "EndpointSlice",
        "HorizontalPodAutoscaler",
        "Ingress",
        "IngressClass",
        "Job",
        "MutatingWebhookConfiguration",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "PodTemplate",
        "PriorityClass",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    )
)
"""Whose changes `metadata.generation` counts; other built-in kinds have none."""


def changes_nothing(resource: Resource, before: JsonObject, after: JsonObject) -> bool:
    """Whether both are stored as the same bytes: in protobuf an empty list is none. What is kept as JSON says more."""
    if resource.custom or customresources.is_definition(resource) or resource.native == "ControllerRevision":
        return after == before
    return _alike(before, after)


def _alike(one: Any, other: Any) -> bool:
    if one == other or (one in (None, []) and other in (None, [])):
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_alike(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(map(_alike, one, other))
    return False


def has_generation(resource: Resource) -> bool:
    return resource.custom or resource.kind in _WITH_GENERATION or (resource.api_version, resource.kind) in SCHEMALESS


def prepare(api: Api, resource: Resource, raw: JsonObject, before: JsonObject | None, options: Options) -> JsonObject:
    """Defaulting, then what the strategies of single kinds do."""
    if resource.custom:
        return {**raw, "metadata": _told(raw["metadata"])}
    if customresources.is_definition(resource):
        raw = customresources.prepare_definition(raw)
    if resource.native == "Pod" and before is None:
        raw = priorities.resolve(api, raw)
        if "ServiceAccount" not in api.disabled_plugins:
            raw = accounts.admit(api, raw)
        raw = runtimeclasses.admit(api, raw)
        raw = api.pod_webhook(raw)
    without_account = resource.native == "Pod" and "ServiceAccount" in api.disabled_plugins and not _has_account(raw)
    raw = admission.admit(raw, version=api.version, now=api.now())
    if without_account:
        raw["spec"] = {key: value for key, value in raw["spec"].items() if key not in _ACCOUNT}
    raw["metadata"] = _told(raw["metadata"])
    if resource.native == "PersistentVolumeClaim":
        admission.agree_on_source(raw)
    match resource.native:
        case "Namespace" if before is None:
            spec = raw.get("spec") or {}
            given = spec.get("finalizers") or []
            raw["spec"] = {**spec, "finalizers": given if "kubernetes" in given else [*given, "kubernetes"]}
            raw["status"] = {"phase": "Active"}
        case "Pod" if before is None:
            raw = limits.default(api, raw)
            if _minor(api) >= admission.POD_LEVEL_LIMITS_SINCE:
                admission.fill_pod_level(raw["spec"], _minor(api))
            raw["status"] = {"phase": "Pending", "qosClass": admission.qos_class(raw.get("spec", {}))}
            if raw["spec"].get("schedulingGates"):
                raw["status"]["conditions"] = [{**_GATED, "lastTransitionTime": wire_time(api.now())}]
            raw = of_its_node(api, raw)
        case "LimitRange" if before is None and not raw["metadata"].get("name"):
            raw["metadata"]["name"] = api.new_uid()
        case "PriorityClass":
            priorities.check(api, raw, new=before is None)
        case "CertificateSigningRequest" if before is None:
            raw = certificates.created(raw, options.user)
        case "Job" if before is None:
            admission.select_own_pods(raw)
        case "StatefulSet" if api.minor < MAX_UNAVAILABLE_MINOR:
            raw["spec"] = _without_max_unavailable(raw["spec"])
        case "DaemonSet":
            raw["metadata"] = _with_template_generation(raw, before)
        case "PersistentVolume" | "PersistentVolumeClaim" | "VolumeAttributesClass" if before is None:
            raw = storage.admit(api, resource.kind, raw, wire_time(api.now()))
        case "PersistentVolume":
            raw = storage.with_phase(api, raw, before, wire_time(api.now()))
        case "VolumeAttachment" if before is None:
            raw["status"] = {"attached": False}
        case "CSINode":
            raw["spec"] = {"drivers": [], **(raw.get("spec") or {})}
        case "Service":
            raw = addresses.allocate(api.store, api.network, raw, before, api.minor, dry_run=options.dry_run)
        case "Secret" if raw.get("stringData"):
            encoded = {key: base64.b64encode(text.encode()).decode() for key, text in raw["stringData"].items()}
            raw["data"] = {**(raw.get("data") or {}), **encoded}
    if resource.native == "Secret":
        raw.pop("stringData", None)
        raw.setdefault("type", "Opaque")
    if resource.native == "Namespace":
        labels = raw["metadata"].get("labels") or {}
        name = raw["metadata"].get("name", "")
        raw["metadata"] = {**raw["metadata"], "labels": {**labels, "kubernetes.io/metadata.name": name}}
    return raw


_ACCOUNT = ("serviceAccountName", "serviceAccount")


def _has_account(pod: JsonObject) -> bool:
    return any((pod.get("spec") or {}).get(name) for name in _ACCOUNT)


def _minor(api: Api) -> int:
    return int(api.version.partition(".")[2])


def of_its_node(api: Api, pod: JsonObject) -> JsonObject:
    """A pod with the labels that its node, if it has one, gives it."""
    name = pod["spec"].get("nodeName")
    node = api.store.get(storage_key(api.kind("v1", "Node")), "", name) if name else None
    return admission.labelled_as(None if node is None else node.raw, pod, _minor(api))


def _told(metadata: JsonObject) -> JsonObject:
    return {key: value for key, value in metadata.items() if value not in (None, {}, [], "")}


def _without_max_unavailable(spec: JsonObject) -> JsonObject:
    """The spec of a StatefulSet without a field that is off: the API drops it."""
    strategy: JsonObject = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if "maxUnavailable" not in rolling:
        return spec
    kept = {name: value for name, value in rolling.items() if name != "maxUnavailable"}
    return {**spec, "updateStrategy": {**strategy, "rollingUpdate": kept}}


def _with_template_generation(raw: JsonObject, before: JsonObject | None) -> JsonObject:
    """The metadata of a DaemonSet, whose templates are counted in an annotation."""
    name = "deprecated.daemonset.template.generation"
    metadata: JsonObject = raw["metadata"]
    given = ((before or raw)["metadata"].get("annotations") or {}).get(name, "1")
    generation = max(1, int(given)) if given.isdecimal() else 1
    if before is not None and raw["spec"].get("template") != before["spec"].get("template"):
        generation += 1
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), name: str(generation)}}


def generation_counts(kind: str, before: JsonObject, after: JsonObject, options: Options) -> bool:
    """Whether a write is one that `metadata.generation` counts."""
    if before.get("spec") != after.get("spec"):
        return True
    if kind == "PodTemplate":
        return before.get("template") != after.get("template")
    if kind == "EndpointSlice":
        (old, old_labels), (new, new_labels) = _contents(before), _contents(after)
        return old != new or old_labels != new_labels
    # A Deployment's annotations travel to its ReplicaSets, so upstream counts them; but not the revision, which its
    # controller writes with the status.
    if options.trusted:
        return False
    annotations = [item["metadata"].get("annotations") or {} for item in (before, after)]
    return kind == "Deployment" and annotations[0] != annotations[1]


def _contents(raw: JsonObject) -> tuple[JsonObject, JsonObject]:
    return {key: value for key, value in raw.items() if key != "metadata"}, raw["metadata"].get("labels") or {}


def grace_s(resource: Resource, raw: JsonObject, options: DeleteOptions) -> int:
    """How long a deletion lets the object live: pods on a node have time to end, everything else goes at once."""
    if resource.native != "Pod":
        return 0
    spec, metadata = raw.get("spec", {}), raw["metadata"]
    wanted_s = options.grace_period_s
    if wanted_s is None:
        wanted_s = spec.get("terminationGracePeriodSeconds")
    if wanted_s is None:
        wanted_s = DEFAULT_POD_GRACE_S
    if wanted_s < 0:
        wanted_s = 1
    if metadata.get("deletionTimestamp"):
        # Grace can only be shortened once deletion has begun.
        return min(int(wanted_s), metadata.get("deletionGracePeriodSeconds") or 0)
    if not spec.get("nodeName") or raw.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(wanted_s)


def sooner(metadata: JsonObject, grace_s: int, now: datetime) -> JsonObject:
    """When a deletion that is under way ends, with less grace: it counts from when the deletion began.

    Where that is over, and grace was asked for, whoever ends the object still has a second.
    """
    ends_at = datetime.fromisoformat(metadata["deletionTimestamp"])
    until = after(ends_at, grace_s - metadata["deletionGracePeriodSeconds"])
    if until < now:
        until, grace_s = now, min(1, grace_s)
    return {"deletionTimestamp": wire_time(until), "deletionGracePeriodSeconds": grace_s}


def is_under_way(resource: Resource, raw: JsonObject, options: DeleteOptions) -> bool:
    """A pod that has time to end is deleted once: a second deletion changes nothing, unless it leaves less time."""
    left_s = raw["metadata"].get("deletionGracePeriodSeconds") or 0
    wanted_s = options.grace_period_s
    return resource.native == "Pod" and left_s > 0 and (wanted_s is None or (1 if wanted_s < 0 else wanted_s) >= left_s)
