"""API versions that Kubernetes no longer serves, and those on their way out: since when, and what to use.

Facts of upstream's deprecation guide and of the `APILifecycleDeprecated` of k8s.io/api.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_REMOVED: Final[Mapping[str, tuple[int, str, tuple[str, ...]]]] = {
    "admissionregistration.k8s.io/v1beta1": (
        22,
        "admissionregistration.k8s.io/v1",
        ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    ),
    "apiextensions.k8s.io/v1beta1": (22, "apiextensions.k8s.io/v1", ("CustomResourceDefinition",)),
    "apiregistration.k8s.io/v1beta1": (22, "apiregistration.k8s.io/v1", ("APIService",)),
    "apps/v1beta1": (16, "apps/v1", ("ControllerRevision", "Deployment", "StatefulSet")),
    "apps/v1beta2": (16, "apps/v1", ("ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")),
    "autoscaling/v2beta1": (25, "autoscaling/v2", ("HorizontalPodAutoscaler",)),
    "autoscaling/v2beta2": (26, "autoscaling/v2", ("HorizontalPodAutoscaler",)),
    "batch/v1beta1": (25, "batch/v1", ("CronJob",)),
    "batch/v2alpha1": (21, "batch/v1", ("CronJob",)),
    "certificates.k8s.io/v1beta1": (22, "certificates.k8s.io/v1", ("CertificateSigningRequest",)),
    "coordination.k8s.io/v1beta1": (22, "coordination.k8s.io/v1", ("Lease",)),
    "discovery.k8s.io/v1beta1": (25, "discovery.k8s.io/v1", ("EndpointSlice",)),
    "events.k8s.io/v1beta1": (25, "events.k8s.io/v1", ("Event",)),
    "extensions/v1beta1": (16, "apps/v1", ("DaemonSet", "Deployment", "ReplicaSet")),
    "flowcontrol.apiserver.k8s.io/v1beta1": (
        26,
        "flowcontrol.apiserver.k8s.io/v1",
        ("FlowSchema", "PriorityLevelConfiguration"),
    ),
    "flowcontrol.apiserver.k8s.io/v1beta2": (
        29,
        "flowcontrol.apiserver.k8s.io/v1",
        ("FlowSchema", "PriorityLevelConfiguration"),
    ),
    "flowcontrol.apiserver.k8s.io/v1beta3": (
        32,
        "flowcontrol.apiserver.k8s.io/v1",
        ("FlowSchema", "PriorityLevelConfiguration"),
    ),
    "networking.k8s.io/v1beta1": (22, "networking.k8s.io/v1", ("Ingress", "IngressClass")),
    "node.k8s.io/v1beta1": (25, "node.k8s.io/v1", ("RuntimeClass",)),
    "policy/v1beta1": (25, "policy/v1", ("PodDisruptionBudget",)),
    "rbac.authorization.k8s.io/v1beta1": (
        22,
        "rbac.authorization.k8s.io/v1",
        ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    ),
    "scheduling.k8s.io/v1beta1": (22, "scheduling.k8s.io/v1", ("PriorityClass",)),
    "storage.k8s.io/v1beta1": (22, "storage.k8s.io/v1", ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment")),
}
_OTHERS: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    ("extensions/v1beta1", "Ingress"): (22, "networking.k8s.io/v1"),
    ("extensions/v1beta1", "NetworkPolicy"): (16, "networking.k8s.io/v1"),
    ("extensions/v1beta1", "PodSecurityPolicy"): (16, ""),
    ("policy/v1beta1", "PodSecurityPolicy"): (25, ""),
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity"): (27, "storage.k8s.io/v1"),
}
"""Those that went at another time, or for something else, than the rest of their version."""
_DEPRECATED: Final[Mapping[tuple[str, str], tuple[int, str]]] = {
    ("v1", "ComponentStatus"): (19, ""),
    ("v1", "Endpoints"): (33, "discovery.k8s.io/v1 EndpointSlice"),
}


def removal(api_version: str, kind: str) -> str:
    """Since when a kind is no longer served in a version, and what is; empty if it is not one that once was."""
    minor, instead, kinds = _REMOVED.get(api_version, (0, "", ()))
    if kind not in kinds:
        minor, instead = _OTHERS.get((api_version, kind), (0, ""))
    if not minor:
        return ""
    return f"removed in v1.{minor}" + (f"; use {instead}" if instead else "; nothing takes its place")


def deprecation(api_version: str, kind: str, minor: int) -> str:
    """What a client is told who uses a kind on a server of version 1.`minor`; empty if all is well."""
    since, instead = _DEPRECATED.get((api_version, kind), (None, ""))
    if since is None or minor < since:
        return ""
    return f"{api_version} {kind} is deprecated in v1.{since}+" + (f"; use {instead}" if instead else "")
