"""What the API server refuses of an object beyond its schema: the rules of the fields of every built-in kind.

Pure: an object as it would be stored (decoded, defaulted) and what is there before, faults in upstream's words out. The
server answers with them, `seatrial check` finds their lines. Each module has the rules of an API group, or of a part of
one, and is imported when a kind of it comes.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import meta
from seatrial.kube.validation.fields import path_segment
from seatrial.kube.validation.kinds import Rules

NEWEST_MINOR: Final = 37
_MODULES: Final = {
    "batch": ("CronJob", "Job"),
    "certificates": ("CertificateSigningRequest", "ClusterTrustBundle"),
    "cluster": ("APIService", "Lease", "Node", "PriorityClass", "RuntimeClass", "StorageVersionMigration"),
    "config": ("ConfigMap", "LimitRange", "Namespace", "ResourceQuota", "Secret", "ServiceAccount"),
    "devices": ("DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"),
    "events": ("Event",),
    "flowcontrol": ("FlowSchema", "PriorityLevelConfiguration"),
    "networking": ("IPAddress", "Ingress", "IngressClass", "NetworkPolicy", "ServiceCIDR"),
    "pods": ("Pod",),
    "rbac": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "scaling": ("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    "services": ("EndpointSlice", "Endpoints", "Service"),
    "storage": (
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    ),
    "webhooks": (
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ),
    "workloads": (
        "ControllerRevision",
        "DaemonSet",
        "Deployment",
        "PodTemplate",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
    ),
}
_MODULE_OF: Final = {kind: name for name, kinds in _MODULES.items() for kind in kinds}


@cache
def rules(kind: str) -> Rules | None:
    """The rules of a built-in kind."""
    name = _MODULE_OF.get(kind)
    if name is None:
        return None
    found: Rules = import_module(f"{__name__}.{name}").RULES[kind]
    return found


def faults(
    kind: str,
    raw: JsonObject,
    before: JsonObject | None = None,
    *,
    namespaced: bool,
    minor: int = NEWEST_MINOR,
    allowed: JsonObject | None = None,
) -> list[Fault]:
    """Why a write of this object is refused; nothing for kinds that are not built in.

    `allowed` is what is there before with those changes that this write may make, though others may not.
    """
    of_kind = rules(kind)
    if of_kind is None:
        return []
    metadata = raw.get("metadata") or {}
    found: list[Fault] = []
    afresh = before is None or (of_kind.remeta and metadata != before.get("metadata"))
    if afresh and of_kind.has_metadata_rules:
        found += meta.new(metadata, of_kind, of_kind.name_rule(minor), namespaced=namespaced)
    if before is None:
        found += of_kind.valid(raw, minor)
        found += of_kind.new(raw, minor)
    else:
        core = of_kind.core and of_kind.has_metadata_rules
        found += meta.changed(metadata, before.get("metadata") or {}, core=core)
        if _contents(raw) != _contents(before):
            found += of_kind.valid(raw, minor)
            found += of_kind.fixed(raw, allowed or before, minor)
    if before is None and not found and not (of_kind.has_metadata_rules and of_kind.checks_prefix):
        found += meta.new(metadata, _ANY, path_segment, namespaced=namespaced)
    return found


_ANY: Final = Rules(core=False)
"""What is asked of the metadata of kinds for which nothing was asked before."""


def _contents(raw: JsonObject) -> JsonObject:
    """What the rules of a kind look at."""
    metadata = raw.get("metadata") or {}
    fields = {name: value for name, value in raw.items() if name not in ("metadata", "status", "apiVersion")}
    return {**fields, "labels": metadata.get("labels") or {}, "annotations": metadata.get("annotations") or {}}
