"""The HorizontalPodAutoscaler controller: every 15 seconds, as many replicas as the metrics ask for.

A sync reads the target's scale, asks each metric for a proposal (`metrics`, with the arithmetic in `calculation`),
takes the highest, and follows it as far as windows, policies and bounds allow (`limits`). It looks when its time has
come: no change of pods or metrics wakes it, only a new spec. What upstream keeps in its process, recent recommendations
and scale events, is the decision's memory: gone after a restart, as there.
Semantics: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.autoscaler import limits
from seatrial.control.autoscaler.calculation import Tolerance
from seatrial.control.autoscaler.limits import Bounds, History, Recommendation
from seatrial.control.autoscaler.metrics import Failure, Proposal, measure
from seatrial.control.autoscaler.targets import SCALABLE, NoScaleError, Target, find
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import RecordEvent, Update, UpdateStatus, Write
from seatrial.kube.objects import CustomResource, CustomResourceDefinition, HorizontalPodAutoscaler, Object, Pod
from seatrial.kube.objects.autoscaling import (
    ExternalMetricValue,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    HPAScalingRules,
    MetricStatus,
    MetricValue,
    PodMetrics,
)
from seatrial.kube.objects.pods import PodSpec, PodStatus
from seatrial.kube.quantities import Quantity

SYNC_PERIOD: Final = timedelta(seconds=15)
"""`--horizontal-pod-autoscaler-sync-period`."""
TOLERANCE: Final = 0.1
"""`--horizontal-pod-autoscaler-tolerance`."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What upstream's process knows of one autoscaler: `generation` is the spec's that was decided on last."""

    next_sync: datetime
    generation: int
    history: History


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, HorizontalPodAutoscaler)
    known = seen.memory if isinstance(seen.memory, Memory) else None
    if known is None and seen.minor < 37:  # the first look is only due after a period
        known = Memory(seen.now + SYNC_PERIOD, subject.metadata.generation, History())
    is_edited = known is not None and seen.minor >= 37 and subject.metadata.generation != known.generation
    if known is not None and seen.now < known.next_sync and not is_edited and not seen.refused:
        return Decision(wake_at=known.next_sync, memory=known)
    history = History() if known is None else known.history
    if seen.refused:
        if isinstance(seen.refused[0].write, UpdateStatus):
            event = RecordEvent(subject, "Warning", "FailedUpdateStatus", seen.refused[0].message)
            return Decision((event,), None if known is None else known.next_sync, known)
        history = history.without_newest()
    sync = _Sync(seen, subject, history)
    sync.run()
    # An edit is followed at once and leaves the rhythm as it is.
    due = seen.now + SYNC_PERIOD if known is None or known.next_sync <= seen.now else known.next_sync
    return Decision(tuple(sync.writes), due, Memory(due, subject.metadata.generation, sync.history))


@dataclass(slots=True)
class _Sync:
    """One decision in the making."""

    seen: Seen
    autoscaler: HorizontalPodAutoscaler
    history: History
    status: HorizontalPodAutoscalerStatus = field(init=False)
    writes: list[Write] = field(default_factory=list)
    reason: str = ""
    """Why to rescale."""

    def __post_init__(self) -> None:
        self.status = self.autoscaler.status

    @property
    def bounds(self) -> Bounds:
        spec = self.autoscaler.spec
        return Bounds(1 if spec.min_replicas is None else spec.min_replicas, spec.max_replicas)

    @property
    def now(self) -> datetime:
        return self.seen.now

    @property
    def scales_to_zero(self) -> bool:
        """HPAScaleToZero is on by default."""
        return self.seen.minor >= 37

    def run(self) -> None:
        try:
            target = find(self.seen, self.autoscaler)
        except NoScaleError as error:
            self.warn("FailedGetScale", str(error))
            said = f"the HPA controller was unable to get the target's current scale: {error}"
            self.set_condition("AbleToScale", False, "FailedGetScale", said)
            self.write_status()
            return
        said = "the HPA controller was able to get the target's current scale"
        self.set_condition("AbleToScale", True, "SucceededGetScale", said)
        current = target.replicas
        if not self.history.recommendations:
            self.history = History((Recommendation(current, self.now),), self.history.ups, self.history.downs)
        wanted: int | None
        metrics: tuple[MetricStatus, ...] = ()
        if current == 0 and not self.wakes_from_zero():
            wanted = 0
            said = "scaling is disabled since the replica count of the target is zero"
            self.set_condition("ScalingActive", False, "ScalingDisabled", said)
            if self.seen.minor >= 36 and not self.scales_to_zero:
                self.drop_condition("ScaledToZero")
        elif current > self.bounds.max:
            wanted, self.reason = self.bounds.max, "Current number of replicas above Spec.MaxReplicas"
        elif 0 < current < self.bounds.min:
            wanted, self.reason = self.bounds.min, "Current number of replicas below Spec.MinReplicas"
        else:
            wanted, metrics = self.follow_metrics(target)
            if wanted is None:
                return
        if wanted == current:
            self.set_status(current, wanted, metrics)
        else:
            self.rescale(target, wanted, metrics)
        self.write_status()

    def wakes_from_zero(self) -> bool:
        """Whether a target without replicas is looked at: only one that its autoscaler has scaled to zero itself."""
        if self.seen.minor < 36:
            return self.bounds.min == 0
        if not self.scales_to_zero or not self.is_true("ScaledToZero"):
            return False
        return self.bounds.min != 0 or self.is_driven_from_outside()

    def is_driven_from_outside(self) -> bool:
        return any(metric.type in ("Object", "External") for metric in self.autoscaler.spec.metrics)

    # From metrics to a size

    def follow_metrics(self, target: Target) -> tuple[int | None, tuple[MetricStatus, ...]]:
        """The size that metrics and limits lead to, None if that cannot be said, and the metrics' status."""
        current = target.replicas
        problem = self.problem_with_selector(target)
        if problem is not None:
            return self.give_up(current, problem, ())
        results = [measure(self.seen, target, spec, self.tolerance) for spec in self.autoscaler.spec.metrics]
        failures = [result for result in results if isinstance(result, Failure)]
        for failure in failures:
            self.warn(failure.reason, failure.message)
        statuses = tuple(MetricStatus() if isinstance(result, Failure) else result.status for result in results)
        best: Proposal | None = None
        for result in results:
            if isinstance(result, Proposal) and (best is None or best.replicas == 0 or result.replicas > best.replicas):
                best = result
        if best is None or (failures and best.replicas < current):
            first = failures[0] if failures else Failure("InvalidMetricSourceType", "no metrics", "no metrics")
            said = f"the HPA was unable to compute the replica count: {first.message}"
            self.set_condition("ScalingActive", False, first.reason, said)
            counts = f"{len(failures)} invalid out of {len(results)}"
            return self.give_up(current, f"invalid metrics ({counts}), first error is: {first.error}", statuses)
        said = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self.set_condition("ScalingActive", True, "ValidMetricFound", said)
        wanted = max(0, best.replicas)
        if wanted > current:
            self.reason = f"{best.name} above target"
        elif wanted < current:
            self.reason = "All metrics below target"
        wanted = self.within_limits(current, wanted)
        if current == 0 and self.seen.minor >= 36 and self.is_true("ScaledToZero") and wanted < self.bounds.min:
            wanted = self.bounds.min
            self.reason = self.reason or "Current number of replicas below Spec.MinReplicas"
        return wanted, statuses

    def give_up(
        self, current: int, error: str, statuses: tuple[MetricStatus, ...]
    ) -> tuple[None, tuple[MetricStatus, ...]]:
        self.set_status(current, self.status.desired_replicas, statuses)
        self.write_status()
        self.warn("FailedComputeMetricsReplicas", error)
        return None, statuses

    @property
    def tolerance(self) -> Tolerance:
        """HPAConfigurableTolerance (KEP-4951) is on by default since 1.35."""
        behavior = self.autoscaler.spec.behavior
        if behavior is None or self.seen.minor < 35:
            return Tolerance(TOLERANCE, TOLERANCE)

        def of(rules: HPAScalingRules | None) -> float:
            return TOLERANCE if rules is None or rules.tolerance is None else _approximately(rules.tolerance)

        return Tolerance(of(behavior.scale_down), of(behavior.scale_up))

    def problem_with_selector(self, target: Target) -> str | None:
        selector = target.selector
        if not selector:
            self.warn("SelectorRequired", "selector is required")
            said = "the HPA target's scale is missing a selector"
            self.set_condition("ScalingActive", False, "InvalidSelector", said)
            return "selector is required"
        pods = [pod for pod in self.seen.all(Pod) if target.selects(pod.metadata.labels)]
        claimants = self.claimants(pods, target)
        if len(claimants) < 2:
            return None
        if self.seen.minor >= 37:
            by = f"more than one HPA (e.g. [{' '.join(claimants[:2])}])"
        else:
            by = f"multiple HPAs: [{' '.join(claimants)}]"
        said = f"pods by selector {selector} are controlled by {by}"
        self.warn("AmbiguousSelector", said)
        self.set_condition("ScalingActive", False, "AmbiguousSelector", said)
        return said

    def claimants(self, pods: list[Pod], target: Target) -> list[str]:
        """The autoscalers whose targets select any of `pods`; others count once they have looked at metrics."""
        labels = [pod.metadata.labels for pod in pods]
        found = []
        for other in self.seen.all(HorizontalPodAutoscaler):
            if other.metadata.name == self.autoscaler.metadata.name:
                theirs = target
            elif not _has_looked(other):
                continue
            else:
                try:
                    theirs = find(self.seen, other)
                except NoScaleError:
                    continue
            if any(theirs.selects(each) for each in labels):
                found.append(f"{other.metadata.namespace}/{other.metadata.name}")
        return found

    def within_limits(self, current: int, wanted: int) -> int:
        behavior = self.autoscaler.spec.behavior
        if behavior is None:
            stable, self.history = limits.stabilise_legacy(self.history, wanted, self.now)
            allowed, (reason, message) = limits.limit_legacy(current, stable, self.bounds)
        else:
            up, down = behavior.scale_up or HPAScalingRules(), behavior.scale_down or HPAScalingRules()
            stable, history = limits.stabilise(self.history, current, wanted, up, down, self.now)
            allowed, (reason, message) = limits.limit(self.history, current, stable, self.bounds, up, down, self.now)
            self.history = history
        if stable == wanted:
            said = ("ReadyForNewScale", "recommended size matches current size")
        elif behavior is not None and wanted >= current:
            words = "recent recommendations were lower than current one, applying the lowest recent recommendation"
            said = ("ScaleUpStabilized", words)
        else:
            words = "recent recommendations were higher than current one, applying the highest recent recommendation"
            said = ("ScaleDownStabilized", words)
        self.set_condition("AbleToScale", True, *said)
        self.set_condition("ScalingLimited", allowed != stable, reason, message)
        return allowed

    # Writing

    def rescale(self, target: Target, wanted: int, metrics: tuple[MetricStatus, ...]) -> None:
        current, refused = target.replicas, self.seen.refused
        if refused:
            self.warn("FailedRescale", f"New size: {wanted}; reason: {self.reason}; error: {refused[0].message}")
            said = f"the HPA controller was unable to update the target scale: {refused[0].message}"
            self.set_condition("AbleToScale", False, "FailedUpdateScale", said)
            self.set_status(current, self.status.desired_replicas, metrics)
            return
        self.writes.append(Update(target.workload, target.scaled(wanted)))
        said = f"the HPA controller was able to update the target scale to {wanted}"
        self.set_condition("AbleToScale", True, "SucceededRescale", said)
        message = f"New size: {wanted}; reason: {self.reason}"
        self.writes.append(RecordEvent(self.autoscaler, "Normal", "SuccessfulRescale", message))
        behavior = self.autoscaler.spec.behavior
        if behavior is not None:
            up, down = behavior.scale_up or HPAScalingRules(), behavior.scale_down or HPAScalingRules()
            self.history = self.history.scaled(current, wanted, self.now, up, down)
        if self.scales_to_zero:
            if current > 0 and wanted == 0 and self.bounds.min == 0 and self.is_driven_from_outside():
                said = "the HPA controller scaled the workload to zero"
                self.set_condition("ScaledToZero", True, "ScaledToZero", said)
            else:
                said = "the HPA controller did not scale the workload to zero"
                self.set_condition("ScaledToZero", False, "NotScaledToZero", said)
        elif self.seen.minor >= 36:
            self.drop_condition("ScaledToZero")
        self.set_status(current, wanted, metrics)
        self.status = replace(self.status, last_scale_time=self.now.replace(microsecond=0))

    def warn(self, reason: str, message: str) -> None:
        self.writes.append(RecordEvent(self.autoscaler, "Warning", reason, message))

    def write_status(self) -> None:
        if self.status != self.autoscaler.status:
            self.writes.append(UpdateStatus(self.autoscaler, replace(self.autoscaler, status=self.status)))

    # The status

    def set_status(self, current: int, desired: int, metrics: tuple[MetricStatus, ...]) -> None:
        self.status = HorizontalPodAutoscalerStatus(
            current_replicas=current,
            desired_replicas=desired,
            last_scale_time=self.status.last_scale_time,
            current_metrics=metrics,
            conditions=self.status.conditions,
            observed_generation=self.autoscaler.metadata.generation if self.seen.minor >= 37 else None,
        )

    def is_true(self, name: str) -> bool:
        return any(each.type == name and each.status == "True" for each in self.status.conditions)

    def set_condition(self, name: str, holds: bool, reason: str, message: str) -> None:
        conditions, status = self.status.conditions, "True" if holds else "False"
        old = next((each for each in conditions if each.type == name), HorizontalPodAutoscalerCondition(type=name))
        changed = old.last_transition_time if old.status == status else self.now.replace(microsecond=0)
        new = replace(old, status=status, reason=reason, message=message, last_transition_time=changed)
        kept = tuple(new if each.type == name else each for each in conditions)
        self.status = replace(self.status, conditions=kept if old in conditions else (*conditions, new))

    def drop_condition(self, name: str) -> None:
        kept = tuple(each for each in self.status.conditions if each.type != name)
        self.status = replace(self.status, conditions=kept)


def _approximately(quantity: Quantity) -> float:
    """As upstream converts it: the written integer times a power of ten, not the nearest number."""
    number, power = quantity.nanos, -9
    while number and number % 1000 == 0:
        number, power = number // 1000, power + 3
    return number * 10.0**power


def _has_looked(autoscaler: HorizontalPodAutoscaler) -> bool:
    active = (each for each in autoscaler.status.conditions if each.type == "ScalingActive")
    return any(each.reason != "ScalingDisabled" for each in active)


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    ready = tuple(each for each in pod.status.conditions if each.type == "Ready")
    spec = PodSpec(
        containers=pod.spec.containers,
        init_containers=pod.spec.init_containers,
        resources=pod.spec.resources,
        overhead=pod.spec.overhead,
    )
    status = PodStatus(phase=pod.status.phase, start_time=pod.status.start_time, conditions=ready)
    return replace(pod, spec=spec, status=status)


def _view_of_subject(autoscaler: Object) -> Object:
    """Its own status is no news to it."""
    assert isinstance(autoscaler, HorizontalPodAutoscaler)
    meta = replace(autoscaler.metadata, resource_version="")
    return replace(autoscaler, metadata=meta, status=HorizontalPodAutoscalerStatus())


CONTROLLER: Final = Controller(
    name="horizontal-pod-autoscaler",
    actor="HorizontalPodAutoscaler controller",
    subject=HorizontalPodAutoscaler,
    reads=(
        *(Read(kind, Relation.NEIGHBOUR, wakes=False) for kind in SCALABLE),
        Read(CustomResource, Relation.NEIGHBOUR, wakes=False),
        Read(CustomResourceDefinition, Relation.ALL, wakes=False),
        Read(Pod, Relation.NEIGHBOUR, view=_view_of_pod, wakes=False),
        Read(HorizontalPodAutoscaler, Relation.NEIGHBOUR, wakes=False),
        Read(PodMetrics, Relation.NEIGHBOUR, wakes=False),
        Read(MetricValue, Relation.NEIGHBOUR, wakes=False),
        Read(ExternalMetricValue, Relation.NEIGHBOUR, wakes=False),
    ),
    reconcile=reconcile,
    hears_refusals=True,
    view=_view_of_subject,
)
