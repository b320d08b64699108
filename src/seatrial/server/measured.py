"""metrics.k8s.io: what pods and nodes use, served read-only beside the store (`kubectl top`).

The values are the cluster's last measurements; they have no resourceVersion, cannot be watched and are never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from seatrial.kube.objects import JsonObject, to_wire
from seatrial.kube.objects.autoscaling import NodeMetrics, PodMetrics
from seatrial.kube.schemas import Resource

GROUP: Final = "metrics.k8s.io"
RESOURCES: Final = tuple(
    Resource(
        group=GROUP,
        version="v1beta1",
        kind=kind,
        plural=plural,
        singular="",
        short_names=(),
        namespaced=namespaced,
        categories=(),
        subresources=(),
        verbs=("get", "list"),
    )
    for kind, plural, namespaced in (("NodeMetrics", "nodes", False), ("PodMetrics", "pods", True))
)


class Measurements(Protocol):
    """The last measurements; what has not been measured is not in them."""

    def pods(self) -> Sequence[PodMetrics]: ...

    def nodes(self) -> Sequence[NodeMetrics]: ...


def all_of(resource: Resource, measurements: Measurements) -> dict[tuple[str, str], JsonObject]:
    """What is measured of a resource, by namespace and name."""
    found: Iterable[PodMetrics | NodeMetrics]
    found = measurements.pods() if resource.kind == "PodMetrics" else measurements.nodes()
    return {(each.metadata.namespace, each.metadata.name): _shown(each) for each in found}


def _shown(item: PodMetrics | NodeMetrics) -> JsonObject:
    return to_wire(replace(item, metadata=replace(item.metadata, uid="")))
