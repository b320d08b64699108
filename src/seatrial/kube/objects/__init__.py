"""Typed, frozen Kubernetes objects. `parse(raw)` finds the type by `apiVersion` and `kind`."""

from __future__ import annotations

from seatrial.kube.objects import (
    access,
    autoscaling,
    batch,
    config,
    custom,
    events,
    networking,
    nodes,
    pods,
    policy,
    services,
    storage,
    workloads,
)
from seatrial.kube.objects.access import (
    CertificateSigningRequest,
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
    ServiceAccount,
)
from seatrial.kube.objects.autoscaling import HorizontalPodAutoscaler
from seatrial.kube.objects.base import (
    JsonObject,
    Key,
    Object,
    ObjectMeta,
    OwnerReference,
    Value,
    canonical,
    parse_as,
    to_wire,
)
from seatrial.kube.objects.batch import CronJob, Job
from seatrial.kube.objects.config import ConfigMap, Namespace, Secret
from seatrial.kube.objects.custom import CustomResource, CustomResourceDefinition
from seatrial.kube.objects.events import Event
from seatrial.kube.objects.meta import LabelSelector, LabelSelectorRequirement
from seatrial.kube.objects.networking import NetworkPolicy
from seatrial.kube.objects.nodes import Lease, Node, Taint
from seatrial.kube.objects.others import OTHERS
from seatrial.kube.objects.pods import Container, ContainerStatus, Pod, PodSpec, PodStatus, PodTemplateSpec, Probe
from seatrial.kube.objects.policy import LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota
from seatrial.kube.objects.services import Endpoint, Endpoints, EndpointSlice, Service
from seatrial.kube.objects.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
    VolumeAttributesClass,
)
from seatrial.kube.objects.verticalscaling import VerticalPodAutoscaler
from seatrial.kube.objects.workloads import (
    ControllerRevision,
    DaemonSet,
    Deployment,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)

_ALL: tuple[type[Object], ...] = (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    CertificateSigningRequest,
    ClusterRole,
    ClusterRoleBinding,
    ConfigMap,
    ControllerRevision,
    CronJob,
    CustomResourceDefinition,
    DaemonSet,
    Deployment,
    EndpointSlice,
    Endpoints,
    Event,
    HorizontalPodAutoscaler,
    Job,
    Lease,
    LimitRange,
    Namespace,
    NetworkPolicy,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PriorityClass,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    Role,
    RoleBinding,
    Secret,
    Service,
    ServiceAccount,
    StatefulSet,
    StorageClass,
    VerticalPodAutoscaler,
    VolumeAttachment,
    VolumeAttributesClass,
    *OTHERS,
)
KINDS: dict[tuple[str, str], type[Object]] = {(kind.api_version, kind.kind): kind for kind in _ALL}


def parse(raw: JsonObject) -> Object | None:
    """The typed view of `raw`, or None if its kind has none. Raises `msgspec.ValidationError` as `parse_as` does."""
    kind = KINDS.get((raw.get("apiVersion", ""), raw.get("kind", "")))
    return None if kind is None else parse_as(kind, raw)


__all__ = [
    "KINDS",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "Container",
    "ContainerStatus",
    "ControllerRevision",
    "CronJob",
    "CustomResource",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "Endpoint",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "HorizontalPodAutoscaler",
    "Job",
    "JsonObject",
    "Key",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Lease",
    "LimitRange",
    "Namespace",
    "NetworkPolicy",
    "Node",
    "Object",
    "ObjectMeta",
    "OwnerReference",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodSpec",
    "PodStatus",
    "PodTemplateSpec",
    "PriorityClass",
    "Probe",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
    "StorageClass",
    "Taint",
    "Value",
    "VerticalPodAutoscaler",
    "VolumeAttachment",
    "VolumeAttributesClass",
    "access",
    "autoscaling",
    "batch",
    "canonical",
    "config",
    "custom",
    "events",
    "networking",
    "nodes",
    "parse",
    "parse_as",
    "pods",
    "policy",
    "services",
    "storage",
    "to_wire",
    "workloads",
]
