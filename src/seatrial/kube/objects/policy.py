"""PodDisruptionBudget, PriorityClass, ResourceQuota and LimitRange: what limits the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from seatrial.kube.objects.base import Object, Value
from seatrial.kube.objects.meta import LabelSelector
from seatrial.kube.objects.services import Condition
from seatrial.kube.quantities import Quantity


class PodDisruptionBudgetSpec(Value, frozen=True):
    max_unavailable: int | str | None = None
    min_available: int | str | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Value, frozen=True):
    conditions: tuple[Condition, ...] = ()
    current_healthy: int = 0
    desired_healthy: int = 0
    disrupted_pods: Mapping[str, datetime | None] = {}
    disruptions_allowed: int = 0
    expected_pods: int = 0
    observed_generation: int = 0


class PodDisruptionBudget(Object, frozen=True):
    api_version: ClassVar[str] = "policy/v1"
    kind: ClassVar[str] = "PodDisruptionBudget"

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class PriorityClass(Object, frozen=True):
    api_version: ClassVar[str] = "scheduling.k8s.io/v1"
    kind: ClassVar[str] = "PriorityClass"

    description: str = ""
    global_default: bool = False
    preemption_policy: str | None = None
    value: int = 0


class ScopedResourceSelectorRequirement(Value, frozen=True):
    operator: str = ""
    scope_name: str = ""
    values: tuple[str, ...] = ()


class ScopeSelector(Value, frozen=True):
    match_expressions: tuple[ScopedResourceSelectorRequirement, ...] = ()


class ResourceQuotaSpec(Value, frozen=True):
    hard: Mapping[str, Quantity] = {}
    scope_selector: ScopeSelector | None = None
    scopes: tuple[str, ...] = ()


class ResourceQuotaStatus(Value, frozen=True):
    hard: Mapping[str, Quantity] = {}
    used: Mapping[str, Quantity] = {}


class ResourceQuota(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ResourceQuota"

    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class LimitRangeItem(Value, frozen=True):
    default: Mapping[str, Quantity] = {}
    default_request: Mapping[str, Quantity] = {}
    max: Mapping[str, Quantity] = {}
    max_limit_request_ratio: Mapping[str, Quantity] = {}
    min: Mapping[str, Quantity] = {}
    type: str = ""


class LimitRangeSpec(Value, frozen=True):
    limits: tuple[LimitRangeItem, ...] = ()


class LimitRange(Object, frozen=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "LimitRange"

    spec: LimitRangeSpec = LimitRangeSpec()
