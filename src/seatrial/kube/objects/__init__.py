"""Typed, frozen Kubernetes objects. `parse(raw)` finds the type by `apiVersion` and `kind`."""

from __future__ import annotations

from seatrial.kube.objects import config, events, nodes, pods, services, workloads
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
from seatrial.kube.objects.config import ConfigMap, Namespace, Secret
from seatrial.kube.objects.events import Event
from seatrial.kube.objects.meta import LabelSelector, LabelSelectorRequirement
from seatrial.kube.objects.nodes import Node, Taint
from seatrial.kube.objects.pods import Container, ContainerStatus, Pod, PodSpec, PodStatus, PodTemplateSpec, Probe
from seatrial.kube.objects.services import Endpoint, EndpointSlice, Service
from seatrial.kube.objects.workloads import Deployment, ReplicaSet

KINDS: dict[tuple[str, str], type[Object]] = {
    (kind.api_version, kind.kind): kind
    for kind in (ConfigMap, Deployment, EndpointSlice, Event, Namespace, Node, Pod, ReplicaSet, Secret, Service)
}


def parse(raw: JsonObject) -> Object | None:
    """The typed view of `raw`, or None if its kind has none. Raises `msgspec.ValidationError` as `parse_as` does."""
    kind = KINDS.get((raw.get("apiVersion", ""), raw.get("kind", "")))
    return None if kind is None else parse_as(kind, raw)


__all__ = [
    "KINDS",
    "ConfigMap",
    "Container",
    "ContainerStatus",
    "Deployment",
    "Endpoint",
    "EndpointSlice",
    "Event",
    "JsonObject",
    "Key",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Namespace",
    "Node",
    "Object",
    "ObjectMeta",
    "OwnerReference",
    "Pod",
    "PodSpec",
    "PodStatus",
    "PodTemplateSpec",
    "Probe",
    "ReplicaSet",
    "Secret",
    "Service",
    "Taint",
    "Value",
    "canonical",
    "config",
    "events",
    "nodes",
    "parse",
    "parse_as",
    "pods",
    "services",
    "to_wire",
    "workloads",
]
