"""HorizontalPodAutoscaler, and the metrics that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.base import Object, Value
from seatrial.kube.objects.meta import LabelSelector
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.quantities import Quantity

ZERO = Quantity.parse("0")


class CrossVersionObjectReference(Value, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""


class MetricTarget(Value, frozen=True):
    average_utilization: int | None = None
    average_value: Quantity | None = None
    type: str = ""
    value: Quantity | None = None


class MetricIdentifier(Value, frozen=True):
    name: str = ""
    selector: LabelSelector | None = None


class ObjectMetricSource(Value, frozen=True):
    described_object: CrossVersionObjectReference = CrossVersionObjectReference()
    metric: MetricIdentifier = MetricIdentifier()
    target: MetricTarget = MetricTarget()


class PodsMetricSource(Value, frozen=True):
    metric: MetricIdentifier = MetricIdentifier()
    target: MetricTarget = MetricTarget()


class ResourceMetricSource(Value, frozen=True):
    name: str = ""
    target: MetricTarget = MetricTarget()


class ContainerResourceMetricSource(Value, frozen=True):
    container: str = ""
    name: str = ""
    target: MetricTarget = MetricTarget()


class ExternalMetricSource(Value, frozen=True):
    metric: MetricIdentifier = MetricIdentifier()
    target: MetricTarget = MetricTarget()


class MetricSpec(Value, frozen=True):
    container_resource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None
    type: str = ""


class HPAScalingPolicy(Value, frozen=True):
    period_seconds: int = 0
    type: str = ""
    value: int = 0


class HPAScalingRules(Value, frozen=True):
    policies: tuple[HPAScalingPolicy, ...] = ()
    select_policy: str | None = None
    stabilization_window_seconds: int | None = None
    tolerance: Quantity | None = None


class HorizontalPodAutoscalerBehavior(Value, frozen=True):
    scale_down: HPAScalingRules | None = None
    scale_up: HPAScalingRules | None = None


class HorizontalPodAutoscalerSpec(Value, frozen=True):
    behavior: HorizontalPodAutoscalerBehavior | None = None
    max_replicas: int = 0
    metrics: tuple[MetricSpec, ...] = ()
    min_replicas: int | None = None
    scale_target_ref: CrossVersionObjectReference = CrossVersionObjectReference()


class MetricValueStatus(Value, frozen=True):
    average_utilization: int | None = None
    average_value: Quantity | None = None
    value: Quantity | None = None


class ObjectMetricStatus(Value, frozen=True):
    current: MetricValueStatus = MetricValueStatus()
    described_object: CrossVersionObjectReference = CrossVersionObjectReference()
    metric: MetricIdentifier = MetricIdentifier()


class PodsMetricStatus(Value, frozen=True):
    current: MetricValueStatus = MetricValueStatus()
    metric: MetricIdentifier = MetricIdentifier()


class ResourceMetricStatus(Value, frozen=True):
    current: MetricValueStatus = MetricValueStatus()
    name: str = ""


class ContainerResourceMetricStatus(Value, frozen=True):
    container: str = ""
    current: MetricValueStatus = MetricValueStatus()
    name: str = ""


class ExternalMetricStatus(Value, frozen=True):
    current: MetricValueStatus = MetricValueStatus()
    metric: MetricIdentifier = MetricIdentifier()


class MetricStatus(Value, frozen=True):
    container_resource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None
    type: str = ""


class HorizontalPodAutoscalerCondition(Value, frozen=True):
    last_transition_time: datetime | None = None
    message: str = ""
    observed_generation: int | None = None
    reason: str = ""
    status: str = ""
    type: str = ""


class HorizontalPodAutoscalerStatus(Value, frozen=True):
    conditions: tuple[HorizontalPodAutoscalerCondition, ...] = ()
    current_metrics: tuple[MetricStatus, ...] = ()
    current_replicas: int = 0
    desired_replicas: int = 0
    last_scale_time: datetime | None = None
    observed_generation: int | None = None


class HorizontalPodAutoscaler(Object, frozen=True):
    api_version: ClassVar[str] = "autoscaling/v2"
    kind: ClassVar[str] = "HorizontalPodAutoscaler"

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class ContainerMetrics(Value, frozen=True):
    name: str = ""
    usage: Mapping[str, Quantity] = {}


class PodMetrics(Object, frozen=True):
    api_version: ClassVar[str] = "metrics.k8s.io/v1beta1"
    kind: ClassVar[str] = "PodMetrics"

    containers: tuple[ContainerMetrics, ...] = ()
    timestamp: datetime | None = None
    window: str = ""


class NodeMetrics(Object, frozen=True):
    api_version: ClassVar[str] = "metrics.k8s.io/v1beta1"
    kind: ClassVar[str] = "NodeMetrics"

    timestamp: datetime | None = None
    usage: Mapping[str, Quantity] = {}
    window: str = ""


class CustomMetricIdentifier(Value, frozen=True):
    name: str = ""
    selector: LabelSelector | None = None


class MetricValue(Object, frozen=True):
    api_version: ClassVar[str] = "custom.metrics.k8s.io/v1beta2"
    kind: ClassVar[str] = "MetricValue"

    described_object: ObjectReference = ObjectReference()
    metric: CustomMetricIdentifier = CustomMetricIdentifier()
    timestamp: datetime | None = None
    value: Quantity = ZERO
    window_seconds: int | None = None


class ExternalMetricValue(Object, frozen=True):
    api_version: ClassVar[str] = "external.metrics.k8s.io/v1beta1"
    kind: ClassVar[str] = "ExternalMetricValue"

    metric_labels: Mapping[str, str] = {}
    metric_name: str = ""
    timestamp: datetime | None = None
    value: Quantity = ZERO
    window: int | None = None
