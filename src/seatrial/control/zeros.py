"""Nulls and zero values as Go reads and writes them, which is how every API server keeps objects.

A null leaves what it stands for at its zero value: a field is as if it was not there, an item of a list and a value of
a map are "", 0, false or an empty object. An optional field with a zero value (`omitempty`) is not written again,
unless Go has a pointer there, for which "set to zero" is not "not set"; an object is written even if it is empty.
"""

from __future__ import annotations

from typing import Any, Final

from seatrial.kube import protobuf, schemas
from seatrial.kube.quantities import Quantity

_OF_TYPE: Final = {"string": "", "integer": 0, "number": 0, "boolean": False}
_WRITTEN: Final = {
    "io.k8s.api.apps.v1.ControllerRevision": ("revision",),
    "io.k8s.api.apps.v1.StatefulSetOrdinals": ("start",),
    "io.k8s.api.apps.v1.StatefulSetSpec": ("serviceName",),
    "io.k8s.api.apps.v1.StatefulSetStatus": ("availableReplicas",),
    "io.k8s.api.autoscaling.v2.HPAScalingRules": ("policies",),  # an empty list is refused, none is the default
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus": ("currentMetrics",),
    "io.k8s.api.core.v1.ContainerImage": ("names",),
    "io.k8s.api.core.v1.Event": ("reportingComponent", "reportingInstance"),
    "io.k8s.api.core.v1.NodeRuntimeHandler": ("name",),
    "io.k8s.api.core.v1.ProjectedVolumeSource": ("sources",),
    "io.k8s.api.discovery.v1.EndpointSlice": ("endpoints", "ports"),
    "io.k8s.api.policy.v1.PodDisruptionBudgetStatus": (
        "currentHealthy",
        "desiredHealthy",
        "disruptionsAllowed",
        "expectedPods",
    ),
    "io.k8s.api.rbac.v1.ClusterRole": ("rules",),
    "io.k8s.api.rbac.v1.Role": ("rules",),
    "io.k8s.api.rbac.v1.RoleRef": ("apiGroup",),
    "io.k8s.api.scheduling.v1.PriorityClass": ("value",),
    "io.k8s.api.storage.v1.CSINodeDriver": ("topologyKeys",),
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": ("labels",),  # who refuses a template's tells {} from none
}
"""Fields without `omitempty` that the schema calls optional all the same."""


def canonical(value: Any, node: schemas.SchemaNode | None) -> Any:
    """A deep copy, with quantities in canonical form; what the schema does not know stays as it is."""
    if node is not None and node.is_quantity:
        try:
            return str(Quantity.parse(value))
        except ValueError:
            return value
    if isinstance(value, dict):
        found = {}
        for name, each in value.items():
            child = node.field(name) if node is not None else None
            if child is not None and node is not None and not each and is_left_out(node, name, each, child):
                continue
            found[name] = canonical(each if each is not None or child is None else _zero(child), child)
        return found
    if isinstance(value, list):
        items = node.items if node is not None else None
        return [canonical(each if each is not None or items is None else _zero(items), items) for each in value]
    return value


def is_left_out(node: schemas.SchemaNode, name: str, value: Any, child: schemas.SchemaNode) -> bool:
    """Whether this null or zero value of a field is not written."""
    if name not in node.properties:
        return False  # a map writes all its values
    if value is None:
        return True
    if (
        name in node.required
        or name in _WRITTEN.get(node.definition, ())
        or child.is_quantity
        or child.is_int_or_string
    ):
        return False
    if child.type == "object":
        return child.values is not None
    return name in protobuf.plain_fields(node.definition)


def _zero(node: schemas.SchemaNode) -> Any:
    if node.is_quantity:
        return "0"
    if node.is_int_or_string:
        return 0
    if node.type == "object":
        return {}
    return _OF_TYPE.get(node.type)
