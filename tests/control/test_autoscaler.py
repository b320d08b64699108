"""The HorizontalPodAutoscaler, scene by scene: metrics and pods in, a size, conditions and events out.

Sentences quoted are of https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from seatrial.control import autoscaler
from seatrial.control.autoscaler.targets import SCALABLE, Target
from seatrial.control.relations import observe
from seatrial.control.writes import RecordEvent, Refusal, Update, UpdateStatus
from seatrial.kube.objects import (
    KINDS,
    HorizontalPodAutoscaler,
    Object,
    Pod,
    parse_as,
)
from seatrial.kube.objects.autoscaling import ExternalMetricValue, MetricValue, PodMetrics

START = datetime(2030, 1, 1, tzinfo=UTC)
CPU_50 = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
CPU_100M = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "100m"}}}


def external(value: str = "10", **target: str) -> dict[str, Any]:
    target = target or {"type": "AverageValue", "averageValue": value}
    return {"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}


def rules(kind: str, value: int, period_s: int, **more: Any) -> dict[str, Any]:
    policy = {"type": kind, "value": value, "periodSeconds": period_s}
    return {"policies": [policy], "selectPolicy": "Max", "stabilizationWindowSeconds": 0, **more}


class Stage:
    """One autoscaler, its target and what it looks at; each pod requests 200m of cpu."""

    def __init__(self, replicas: int, *metrics: dict[str, Any], minor: int = 37, kind: str = "Deployment", **spec: Any):
        self.now = START
        self.minor = minor
        self.memory: Hashable | None = None
        self.events: list[str] = []
        self.refusal = ""
        self.version = "v1" if kind == "ReplicationController" else "apps/v1"
        self.kind = kind
        self.target: Object = self._target("web", replicas)
        self.pods: list[Pod] = []
        self.metrics: list[PodMetrics] = []
        self.others: list[Object] = []
        self.autoscaler = self.another("web", *metrics, **spec)

    def _target(self, name: str, replicas: int, labels: dict[str, str] | None = None) -> Object:
        labels = {"app": "web"} if labels is None else labels
        selector: Any = labels if self.kind == "ReplicationController" else {"matchLabels": labels}
        raw = {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"replicas": replicas, "selector": selector},
            "status": {"replicas": replicas},
        }
        return parse_as(KINDS[self.version, self.kind], raw)

    def another(self, name: str, *metrics: dict[str, Any], **spec: Any) -> HorizontalPodAutoscaler:
        reference = {"apiVersion": self.version, "kind": self.kind, "name": "web"}
        spec = {
            "scaleTargetRef": reference,
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": metrics or [CPU_50],
            **spec,
        }
        metadata = {"name": name, "namespace": "default", "generation": 1}
        return parse_as(HorizontalPodAutoscaler, {"metadata": metadata, "spec": spec})

    def edit(self, **spec: Any) -> None:
        """A new generation, as the API server counts it since 1.37."""
        new = self.another("web", *spec.pop("metrics", ()), **spec)
        meta = replace(new.metadata, generation=self.autoscaler.metadata.generation + 1)
        self.autoscaler = replace(new, metadata=meta, status=self.autoscaler.status)

    def uses(self, *milli: int | None, phase: str = "Running", age_s: int = 3600, ready: str = "True") -> Stage:
        """One pod for each number, which is its cpu; None is a pod without metrics."""
        for used in milli:
            name = f"web-{len(self.pods)}"
            started = (self.now - timedelta(seconds=age_s)).isoformat()
            meta = {"name": name, "namespace": "default", "labels": {"app": "web"}}
            condition = {"type": "Ready", "status": ready, "lastTransitionTime": started}
            containers = [{"name": "app", "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}}}]
            status = {"phase": phase, "startTime": started, "conditions": [condition]}
            raw = {"metadata": meta, "spec": {"containers": containers}, "status": status}
            self.pods.append(parse_as(Pod, raw))
            if used is not None:
                usage = [{"name": "app", "usage": {"cpu": f"{used}m", "memory": "512Mi"}}]
                when = {"timestamp": self.now.isoformat(), "window": "30s"}
                self.metrics.append(parse_as(PodMetrics, {"metadata": meta, **when, "containers": usage}))
        return self

    def now_use(self, *milli: int | None) -> Stage:
        self.pods, self.metrics = [], []
        return self.uses(*milli)

    def queue(self, value: str) -> Stage:
        meta = {"name": "queue", "namespace": "default"}
        raw = {"metadata": meta, "metricName": "queue", "value": value}
        self.others = [each for each in self.others if not isinstance(each, ExternalMetricValue)]
        self.others.append(parse_as(ExternalMetricValue, raw))
        return self

    def look(self) -> datetime | None:
        """One decision, its writes made; when the next is due."""
        objects: dict[type[Object], list[Object]] = {}
        for each in (self.target, self.autoscaler, *self.pods, *self.metrics, *self.others):
            objects.setdefault(type(each), []).append(each)
        seen = observe(autoscaler.CONTROLLER, self.autoscaler, objects, self.now)
        refused: tuple[Refusal, ...] = ()
        for _ in range(2):
            seen = dataclasses.replace(seen, minor=self.minor, memory=self.memory, refused=refused)
            decision = autoscaler.CONTROLLER.reconcile(seen)
            self.memory, refused = decision.memory, ()
            for write in decision.writes:
                match write:
                    case Update() if self.refusal:
                        refused = (Refusal(write, self.refusal),)
                        break
                    case Update():
                        self.target = write.after
                    case UpdateStatus(after=HorizontalPodAutoscaler() as after):
                        self.autoscaler = after
                    case RecordEvent():
                        self.events.append(f"{write.type} {write.reason}: {write.message}")
            if not refused:
                return decision.wake_at
        raise AssertionError("refused twice")

    def sync(self, after_s: float = 15) -> int:
        """The size after a sync; then time passes."""
        self.look()
        self.now += timedelta(seconds=after_s)
        return self.replicas

    def sizes(self, count: int) -> list[int]:
        return [self.sync() for _ in range(count)]

    @property
    def replicas(self) -> int:
        assert isinstance(self.target, SCALABLE)
        return Target(self.target).replicas

    def condition(self, name: str) -> tuple[str, str, str]:
        found = next(each for each in self.autoscaler.status.conditions if each.type == name)
        return found.status, found.reason, found.message


# The algorithm


def test_ratio() -> None:
    """desiredReplicas = ceil(currentReplicas x currentMetricValue / desiredMetricValue)."""
    stage = Stage(2).uses(200, 200)
    assert stage.sync() == 4
    assert stage.events == [
        "Normal SuccessfulRescale: New size: 4; reason: cpu resource utilization (percentage of request) above target"
    ]
    assert stage.condition("AbleToScale") == (
        "True",
        "SucceededRescale",
        "the HPA controller was able to update the target scale to 4",
    )
    assert stage.condition("ScalingActive") == (
        "True",
        "ValidMetricFound",
        (
            "the HPA was able to successfully calculate a replica count from cpu resource utilization "
            "(percentage of request)"
        ),
    )
    status = stage.autoscaler.status
    assert (status.current_replicas, status.desired_replicas, status.last_scale_time) == (2, 4, START)
    assert status.observed_generation == 1
    current = status.current_metrics[0].resource
    assert current is not None
    assert (current.current.average_utilization, str(current.current.average_value)) == (100, "200m")


@pytest.mark.parametrize(("milli", "size"), [(110, 2), (112, 3), (91, 2)])
def test_tolerance(milli: int, size: int) -> None:
    """The control plane skips any scaling action if the ratio is sufficiently close to 1.0 (0.1 by default)."""
    assert Stage(2).uses(milli, milli).sync() == size


def test_tolerance_by_direction() -> None:
    """`behavior.scaleUp.tolerance` (KEP-4951) counts since 1.35; before it is not looked at."""
    behavior = {"scaleUp": rules("Pods", 9, 15, tolerance="10m"), "scaleDown": rules("Pods", 9, 15)}
    assert Stage(2, CPU_100M, behavior=behavior).uses(104, 104).sync() == 3
    older = Stage(2, CPU_100M, behavior=behavior, minor=34).uses(104, 104)
    assert older.sizes(2) == [2, 2]


def test_the_highest_of_several_metrics() -> None:
    """If multiple metrics are specified, the largest of the desired replica counts is chosen."""
    stage = Stage(2, CPU_50, external("10")).uses(50, 50).queue("70")
    assert stage.sync() == 4  # seven were asked for, four is the most without `behavior`
    assert stage.events[-1].endswith("New size: 4; reason: external metric queue(nil) above target")
    assert stage.condition("ScalingLimited")[1] == "ScaleUpLimit"
    assert stage.sync() == 7


def test_a_metric_that_fails_forbids_scaling_down() -> None:
    """If any of these metrics cannot be converted and a scale down is suggested, scaling is skipped; up it is not."""
    stage = Stage(4, external("10"), CPU_50).uses(10, 10, 10, 10)
    assert stage.sync() == 4
    assert stage.condition("ScalingActive")[:2] == ("False", "FailedGetExternalMetric")
    missing = "unable to get external metric default/queue/nil: no metrics returned from external metrics API"
    attempted = "failed to get queue external metric value: failed to get queue external metric"
    assert stage.events == [
        f"Warning FailedGetExternalMetric: {missing}",
        (
            f"Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 2), first error is: "
            f"{attempted}: {missing}"
        ),
    ]
    stage.now_use(200, 200, 200, 200)
    assert stage.sync() == 8


# Pods that do not count


def test_missing_metrics_damp_a_scale_down() -> None:
    """Pods with missing metrics are assumed to consume 100% of the desired value in case of a scale down."""
    assert Stage(4).uses(10, 10, None, None).sizes(22)[-1] == 4
    assert Stage(4).uses(10, 10, 10, 10).sizes(22)[-1] == 1


def test_missing_metrics_damp_a_scale_up() -> None:
    """... and 0% in case of a scale up."""
    assert Stage(2).uses(200, None).sync() == 2
    assert Stage(2).uses(400, None).sync() == 4


def test_unready_pods_damp_a_scale_up() -> None:
    """Pods that are not yet ready are assumed to consume 0% when that scales up, and are set aside otherwise."""
    assert Stage(2).uses(200).uses(None, phase="Pending").sync() == 2
    assert Stage(2).uses(60).uses(None, phase="Pending").sizes(22)[-1] == 1


def test_cpu_of_a_starting_pod_does_not_count() -> None:
    """A pod within the cpu initialization period (5 minutes) counts only if it is ready and measured since."""
    assert Stage(2).uses(120).uses(2000, age_s=200, ready="False").sync() == 2
    assert Stage(2).uses(120).uses(2000, age_s=400, ready="True").sync() == 4


def test_terminating_and_failed_pods_are_discarded() -> None:
    """Pods with a deletion timestamp and failed pods are set aside."""
    stage = Stage(3).uses(100, 100).uses(9999, phase="Failed")
    assert stage.sync() == 3
    stage.now_use(100, 100, 100)
    assert stage.sync() == 3


def test_no_pods_no_metrics() -> None:
    stage = Stage(2)
    stage.sync()
    reason = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource"
    assert stage.condition("ScalingActive") == (
        "False",
        "FailedGetResourceMetric",
        f"the HPA was unable to compute the replica count: {reason} metrics API",
    )
    assert stage.condition("AbleToScale")[1] == "SucceededGetScale"


# Windows and policies


def test_down_only_after_five_minutes() -> None:
    """The downscale stabilization window is 300 seconds by default: the highest recommendation in it is used."""
    stage = Stage(4).uses(100, 100, 100, 100)
    stage.sync()
    stage.now_use(50, 50, 50, 50)
    sizes = stage.sizes(20)
    assert sizes == [4] * 19 + [2]
    assert stage.events[-1] == "Normal SuccessfulRescale: New size: 2; reason: All metrics below target"


def test_stabilised_condition() -> None:
    stage = Stage(4).uses(100, 100, 100, 100)
    stage.sync()
    stage.now_use(50, 50, 50, 50).sync()
    assert stage.condition("AbleToScale") == (
        "True",
        "ScaleDownStabilized",
        "recent recommendations were higher than current one, applying the highest recent recommendation",
    )


def test_a_window_for_scaling_up() -> None:
    """`behavior.scaleUp.stabilizationWindowSeconds`: the lowest recommendation of the window."""
    behavior = {"scaleUp": rules("Pods", 10, 15, stabilizationWindowSeconds=60), "scaleDown": rules("Pods", 1, 15)}
    stage = Stage(2, behavior=behavior).uses(100, 100)
    stage.sync()
    stage.now_use(200, 200)
    assert stage.sizes(4) == [2, 2, 2, 4]


def test_policy_of_pods_per_period() -> None:
    """The first policy (Pods) allows at most 4 replicas to be scaled down in one minute."""
    behavior = {"scaleUp": rules("Percent", 100, 15), "scaleDown": rules("Pods", 4, 60)}
    stage = Stage(10, behavior=behavior).uses(*[10] * 10)
    assert stage.sizes(9) == [6, 6, 6, 6, 2, 2, 2, 2, 1]
    assert stage.condition("ScalingLimited")[0] == "False"


def test_disabled_direction() -> None:
    """The selectPolicy value Disabled turns off scaling the given direction."""
    behavior = {"scaleUp": rules("Pods", 4, 15), "scaleDown": rules("Pods", 1, 15, selectPolicy="Disabled")}
    stage = Stage(3, behavior=behavior).uses(10, 10, 10)
    assert stage.sizes(30)[-1] == 3
    assert stage.condition("ScalingLimited")[:2] == ("True", "ScaleDownLimit")


def test_least_change() -> None:
    """selectPolicy Min: the policy that allows the smallest change."""
    policies = [{"type": "Pods", "value": v, "periodSeconds": 15} for v in (1, 5)]
    up = {"policies": policies, "selectPolicy": "Min", "stabilizationWindowSeconds": 0}
    behavior = {"scaleUp": up, "scaleDown": rules("Pods", 1, 15)}
    assert Stage(2, behavior=behavior).uses(400, 400).sizes(3) == [3, 4, 5]


def test_bounds() -> None:
    """A size outside the bounds is corrected without looking at metrics."""
    above, below = Stage(12), Stage(1, minReplicas=3)
    assert (above.sync(), below.sync()) == (10, 3)
    assert above.events == [
        "Normal SuccessfulRescale: New size: 10; reason: Current number of replicas above Spec.MaxReplicas"
    ]
    assert below.events == [
        "Normal SuccessfulRescale: New size: 3; reason: Current number of replicas below Spec.MinReplicas"
    ]
    stage = Stage(10).uses(*[400] * 10)
    stage.sync()
    assert stage.condition("ScalingLimited") == (
        "True",
        "TooManyReplicas",
        "the desired replica count is more than the maximum replica count",
    )


# Zero


def test_a_target_without_replicas_is_left_alone() -> None:
    """If the target's desired replicas are 0, the autoscaler stops adjusting it (ScalingActive is False)."""
    stage = Stage(0)
    assert stage.sync() == 0
    assert stage.condition("ScalingActive") == (
        "False",
        "ScalingDisabled",
        "scaling is disabled since the replica count of the target is zero",
    )


def test_scaled_to_zero_and_back() -> None:
    """HPAScaleToZero (KEP-2021): a target that the autoscaler itself took to zero is woken by an outside metric."""
    stage = Stage(1, external("10"), minReplicas=0).uses(10).queue("0")
    assert stage.sizes(21)[-1] == 0
    assert stage.condition("ScaledToZero")[:2] == ("True", "ScaledToZero")
    stage.pods = []
    assert stage.sizes(2) == [0, 0]
    stage.queue("25")
    assert stage.sync() == 3
    assert stage.condition("ScaledToZero")[:2] == ("False", "NotScaledToZero")


def test_zero_by_hand_stays() -> None:
    stage = Stage(0, external("10"), minReplicas=0).queue("25")
    assert stage.sizes(3) == [0, 0, 0]


# What it scales


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"])
def test_targets(kind: str) -> None:
    stage = Stage(2, kind=kind).uses(200, 200)
    assert stage.sync() == 4
    assert stage.target.kind == kind


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (("apps/v1", "Deployment", "gone"), 'deployments.apps "gone" not found'),
        (("apps/v1", "DaemonSet", "web"), "the server could not find the requested resource"),
        (("example.org/v1", "Rocket", "web"), 'no matches for kind "Rocket" in group "example.org"'),
    ],
)
def test_no_scale(reference: tuple[str, str, str], words: str) -> None:
    where = dict(zip(("apiVersion", "kind", "name"), reference, strict=True))
    stage = Stage(2, scaleTargetRef=where)
    stage.sync()
    assert stage.events == [f"Warning FailedGetScale: {words}"]
    assert stage.condition("AbleToScale") == (
        "False",
        "FailedGetScale",
        f"the HPA controller was unable to get the target's current scale: {words}",
    )


def test_two_autoscalers_on_the_same_pods() -> None:
    """Neither scales while both select the pods."""
    stage = Stage(2).uses(200, 200)
    other = Stage(2).uses(200, 200)
    other.sync()
    stage.others.append(replace(other.autoscaler, metadata=stage.another("twin").metadata))
    assert stage.sync() == 2
    words = "pods by selector app=web are controlled by more than one HPA (e.g. [default/twin default/web])"
    assert stage.condition("ScalingActive") == ("False", "AmbiguousSelector", words)
    assert stage.events == [
        f"Warning AmbiguousSelector: {words}",
        f"Warning FailedComputeMetricsReplicas: {words}",
    ]


def test_custom_metrics() -> None:
    """Pods: an average over the pods; Object with Value: by the ready pods."""
    hits = {
        "type": "Pods",
        "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    }
    stage = Stage(2, hits).uses(1, 1)
    for name in ("web-0", "web-1"):
        about = {"kind": "Pod", "name": name}
        raw = {"metadata": {"name": name, "namespace": "default"}, "describedObject": about, "value": "15"}
        stage.others.append(parse_as(MetricValue, {**raw, "metric": {"name": "hits"}}))
    assert stage.sync() == 3
    door = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "door"}
    target = {"type": "Value", "value": "100"}
    metric = {"type": "Object", "object": {"metric": {"name": "rate"}, "describedObject": door, "target": target}}
    stage = Stage(2, metric).uses(1, 1)
    stage.sync()
    assert stage.condition("ScalingActive")[2].endswith(
        "unable to get metric rate on Ingress default/door: unable to fetch metrics from custom metrics API: "
        "the server could not find the metric rate for ingresses.networking.k8s.io door"
    )
    raw = {"metadata": {"name": "rate", "namespace": "default"}, "describedObject": door, "value": "190"}
    stage.others.append(parse_as(MetricValue, {**raw, "metric": {"name": "rate"}}))
    assert stage.sync() == 4


# Rhythm and memory


def test_every_fifteen_seconds() -> None:
    """Between syncs nothing is decided, whatever the metrics say."""
    stage = Stage(2).uses(100, 100)
    assert stage.look() == START + timedelta(seconds=15)
    stage.now_use(200, 200)
    stage.now += timedelta(seconds=14)
    assert stage.look() == START + timedelta(seconds=15)
    assert stage.replicas == 2
    stage.now += timedelta(seconds=1)
    stage.look()
    assert stage.replicas == 4


def test_an_edit_is_followed_at_once() -> None:
    """Since 1.37 (HPAGeneration) a new spec does not wait for its turn, and leaves the rhythm as it is."""
    stage = Stage(2).uses(100, 100)
    stage.look()
    stage.now += timedelta(seconds=5)
    stage.edit(minReplicas=3)
    assert stage.look() == START + timedelta(seconds=15)
    assert stage.replicas == 3


def test_before_1_37_the_first_look_is_after_a_period() -> None:
    stage = Stage(2, minor=36).uses(200, 200)
    assert stage.look() == START + timedelta(seconds=15)
    assert stage.replicas == 2
    stage.now += timedelta(seconds=15)
    stage.look()
    assert stage.replicas == 4


def test_a_restart_forgets_the_window() -> None:
    """Upstream keeps recommendations in its process: a new one starts from the size that it finds."""
    stage = Stage(4).uses(100, 100, 100, 100)
    stage.sync()
    stage.now_use(50, 50, 50, 50).sizes(18)
    stage.memory = None
    assert stage.sizes(20) == [4] * 20
    assert stage.sync() == 2


def test_a_refused_scale_is_said_and_tried_again() -> None:
    stage = Stage(2, behavior={"scaleUp": rules("Pods", 1, 60), "scaleDown": rules("Pods", 1, 15)}).uses(400, 400)
    stage.refusal = "denied by policy"
    assert stage.sync() == 2
    words = (
        "New size: 3; reason: cpu resource utilization (percentage of request) above target; error: denied by policy"
    )
    assert stage.events == [f"Warning FailedRescale: {words}"]
    assert stage.condition("AbleToScale")[:2] == ("False", "FailedUpdateScale")
    stage.refusal = ""
    assert stage.sync() == 3  # what was refused does not count as a scale event
