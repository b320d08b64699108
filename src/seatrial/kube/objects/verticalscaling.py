"""VerticalPodAutoscaler: a custom kind, whose CustomResourceDefinition its users apply, and that an add-on follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.autoscaling import CrossVersionObjectReference
from seatrial.kube.objects.base import Object, Value
from seatrial.kube.quantities import Quantity


class ContainerResourcePolicy(Value, frozen=True):
    """`container_name` `*` is for the containers that have no policy of their own."""

    container_name: str = ""
    controlled_resources: tuple[str, ...] | None = None
    controlled_values: str = ""
    max_allowed: Mapping[str, Quantity] = {}
    min_allowed: Mapping[str, Quantity] = {}
    mode: str = ""


class PodResourcePolicy(Value, frozen=True):
    container_policies: tuple[ContainerResourcePolicy, ...] = ()


class EvictionRequirement(Value, frozen=True):
    change_requirement: str = ""
    resources: tuple[str, ...] = ()


class PodUpdatePolicy(Value, frozen=True):
    eviction_requirements: tuple[EvictionRequirement, ...] = ()
    min_replicas: int | None = None
    update_mode: str = ""


class VerticalPodAutoscalerRecommenderSelector(Value, frozen=True):
    name: str = ""


class VerticalPodAutoscalerSpec(Value, frozen=True):
    recommenders: tuple[VerticalPodAutoscalerRecommenderSelector, ...] = ()
    resource_policy: PodResourcePolicy = PodResourcePolicy()
    target_ref: CrossVersionObjectReference | None = None
    update_policy: PodUpdatePolicy | None = None


class RecommendedContainerResources(Value, frozen=True):
    container_name: str = ""
    lower_bound: Mapping[str, Quantity] = {}
    target: Mapping[str, Quantity] = {}
    uncapped_target: Mapping[str, Quantity] = {}
    upper_bound: Mapping[str, Quantity] = {}


class RecommendedPodResources(Value, frozen=True):
    container_recommendations: tuple[RecommendedContainerResources, ...] = ()


class VerticalPodAutoscalerCondition(Value, frozen=True):
    last_transition_time: datetime | None = None
    message: str = ""
    reason: str = ""
    status: str = ""
    type: str = ""


class VerticalPodAutoscalerStatus(Value, frozen=True):
    conditions: tuple[VerticalPodAutoscalerCondition, ...] = ()
    observed_generation: int = 0
    recommendation: RecommendedPodResources | None = None


class VerticalPodAutoscaler(Object, frozen=True):
    api_version: ClassVar[str] = "autoscaling.k8s.io/v1"
    kind: ClassVar[str] = "VerticalPodAutoscaler"

    spec: VerticalPodAutoscalerSpec = VerticalPodAutoscalerSpec()
    status: VerticalPodAutoscalerStatus = VerticalPodAutoscalerStatus()
