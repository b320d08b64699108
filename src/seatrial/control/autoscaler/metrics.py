"""What an autoscaler's metrics say: from observed metrics and pods to a proposal of replicas, or why there is none.

Rules: resource metrics come from PodMetrics, metrics of pods and other objects from MetricValue, all else from
ExternalMetricValue; a metric that is not there is missing, never zero. The words of a failure are upstream's, down to
the layer that noticed it, since people read them in conditions and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.autoscaler import calculation
from seatrial.control.autoscaler.calculation import MAX_INT64, Pods, Sample, Tolerance
from seatrial.control.autoscaler.targets import Target, group_of, resource_name, selector_text
from seatrial.control.controller import Seen
from seatrial.control.ownership import is_ready
from seatrial.kube import selectors
from seatrial.kube.objects import Container, LabelSelector, Pod, PodSpec
from seatrial.kube.objects.autoscaling import (
    ContainerResourceMetricStatus,
    ExternalMetricSource,
    ExternalMetricStatus,
    ExternalMetricValue,
    MetricIdentifier,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValue,
    MetricValueStatus,
    ObjectMetricSource,
    ObjectMetricStatus,
    PodMetrics,
    PodsMetricSource,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from seatrial.kube.quantities import ZERO, Quantity

CPU_INITIALIZATION: Final = timedelta(minutes=5)
INITIAL_READINESS: Final = timedelta(seconds=30)
"""`--horizontal-pod-autoscaler-cpu-initialization-period` and `--horizontal-pod-autoscaler-initial-readiness-delay`."""
DEFAULT_WINDOW: Final = timedelta(minutes=1)
"""Of a custom metric that names no window."""
_POD_LEVEL: Final = ("cpu", "memory")
_POD_LEVEL_PREFIX: Final = "hugepages-"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for; `name` is how events and conditions call the metric."""

    replicas: int
    name: str
    status: MetricStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one metric asks for nothing: `message` for an event and a condition, `error` with what was attempted."""

    reason: str
    message: str
    error: str


class UnmeasuredError(Exception):
    """There is no proposal; the message says why. `attempt` is said of it only where all errors are summed up."""

    def __init__(self, message: str, attempt: str = "") -> None:
        super().__init__(message)
        self.attempt = attempt


@dataclass(frozen=True, slots=True)
class _Usage:
    """One pod's metric, in thousandths, taken over `window` until `at`."""

    value: int
    at: datetime | None
    window: timedelta


@dataclass(frozen=True, slots=True)
class _Groups:
    """The names of a target's pods by what their metrics are worth; `ready` counts those that count."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]

    def counts(self, name: str) -> bool:
        return name not in self.ignored and name not in self.unready


def measure(seen: Seen, target: Target, spec: MetricSpec, tolerance: Tolerance) -> Proposal | Failure:
    """What one metric of the autoscaler asks for."""
    reading = _Reading(seen, target, tolerance)
    try:
        if spec.type == "Resource" and spec.resource is not None:
            of = spec.resource
            reason, attempt = "FailedGetResourceMetric", f"failed to get {of.name} resource metric value"
            return reading.resource(of.name, of.target)
        if spec.type == "ContainerResource" and spec.container_resource is not None:
            inside = spec.container_resource
            reason = "FailedGetContainerResourceMetric"
            attempt = f"failed to get {inside.container} container metric value"
            return reading.resource(inside.name, inside.target, inside.container)
        if spec.type == "Pods" and spec.pods is not None:
            reason, attempt = "FailedGetPodsMetric", "failed to get pods metric value"
            return reading.pods_metric(spec.pods)
        if spec.type == "Object" and spec.object is not None:
            reason, attempt = "FailedGetObjectMetric", "failed to get object metric value"
            return reading.object(spec.object)
        if spec.type == "External" and spec.external is not None:
            reason = "FailedGetExternalMetric"
            attempt = f"failed to get {spec.external.metric.name} external metric value"
            return reading.external(spec.external)
    except UnmeasuredError as error:
        return Failure(reason, str(error), ": ".join(part for part in (attempt, error.attempt, str(error)) if part))
    text = f'unknown metric source type "{spec.type}"'
    return Failure("InvalidMetricSourceType", text, text)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One autoscaler's view of the metrics."""

    seen: Seen
    target: Target
    tolerance: Tolerance

    # Metrics that each pod has

    def resource(self, name: str, wanted: MetricTarget, container: str = "") -> Proposal:
        """A resource of the pods, or of one container in each of them."""
        if wanted.average_value is not None:
            usage = self._resource_usage(name, container, f"failed to get {name} usage")
            replicas, milli = self._plain(usage, _milli(wanted.average_value), name, f"failed to get {name} usage: ")
            return _resource_proposal(replicas, f"{name} resource", name, container, _amount(self.seen, name, milli))
        if wanted.average_utilization is None:
            raise UnmeasuredError(
                "invalid resource metric source: neither an average utilization target nor an average value (usage) "
                "target was set"
            )
        attempt = f"failed to get {name} utilization"
        usage = self._resource_usage(name, container, attempt)
        replicas, percent, milli = self._utilization(usage, wanted.average_utilization, name, container, attempt)
        of_container = "container " if container else ""
        called = f"{name} {of_container}resource utilization (percentage of request)"
        status = MetricValueStatus(
            average_utilization=percent, average_value=_amount(self.seen, name, milli).average_value
        )
        return _resource_proposal(replicas, called, name, container, status)

    def pods_metric(self, source: PodsMetricSource) -> Proposal:
        metric, wanted = source.metric, source.target.average_value
        values = [v for v in self.seen.all(MetricValue) if v.described_object.kind == "Pod" and _answers(v, metric)]
        names = {pod.metadata.name for pod in self._pods()}
        usage = {
            value.described_object.name: _Usage(
                _milli(value.value),
                value.timestamp,
                DEFAULT_WINDOW if value.window_seconds is None else timedelta(seconds=value.window_seconds),
            )
            for value in values
            if value.described_object.name in names
        }
        if not usage:
            raise UnmeasuredError(f"unable to get metric {metric.name}: no metrics returned from custom metrics API")
        replicas, milli = self._plain(usage, 0 if wanted is None else _milli(wanted), "", "")
        status = PodsMetricStatus(metric=metric, current=MetricValueStatus(average_value=_quantity(milli)))
        return Proposal(replicas, f"pods metric {metric.name}", MetricStatus(type="Pods", pods=status))

    def _resource_usage(self, name: str, container: str, attempt: str) -> dict[str, _Usage]:
        """Each pod's usage, by the pod's name."""
        prefix = f"{attempt}: unable to get metrics for resource {name}"
        found = [each for each in self.seen.all(PodMetrics) if self.target.selects(each.metadata.labels)]
        if not found:
            raise UnmeasuredError(f"{prefix}: no metrics returned from resource metrics API")
        usage = {}
        for each in found:
            containers = [one for one in each.containers if not container or one.name == container]
            if container and not containers and self.seen.minor < 33:
                where = f"{each.metadata.namespace}/{each.metadata.name}"
                raise UnmeasuredError(
                    f"{prefix}: failed to get container metrics: container {container} not present in metrics for pod "
                    f"{where}"
                )
            amounts = [one.usage.get(name) for one in containers]
            known = [_milli(amount) for amount in amounts if amount is not None]
            if amounts and len(known) == len(amounts):
                usage[each.metadata.name] = _Usage(sum(known), each.timestamp, _duration(each.window))
        return usage

    def _plain(self, usage: Mapping[str, _Usage], target: int, resource: str, prefix: str) -> tuple[int, int]:
        """The replicas for an average per pod, and the average now."""
        groups = self._grouped(usage, resource, prefix)
        measured = tuple(Sample(each.value) for name, each in usage.items() if groups.counts(name))
        pods = Pods(
            groups.ready,
            measured,
            unready=tuple(Sample(0) for _ in groups.unready),
            missing=tuple(Sample(target) for _ in groups.missing),
        )

        def ratio(samples: Sequence[Sample]) -> float:
            return calculation.quotient(calculation.average(samples), target)

        replicas = calculation.proposal(self.target.replicas, pods, ratio, self.tolerance)
        return replicas, calculation.average(measured)

    def _utilization(
        self, usage: Mapping[str, _Usage], target: int, resource: str, container: str, attempt: str
    ) -> tuple[int, int, int]:
        """The replicas for a percentage of the requests, the percentage now, and the average usage now."""
        groups = self._grouped(usage, resource, f"{attempt}: ")
        try:
            requests = {
                pod.metadata.name: _requested(pod, container, resource, self.seen.minor) for pod in self._pods()
            }
        except UnmeasuredError as error:
            raise UnmeasuredError(f"{attempt}: {error}") from error
        at_target = max(100, target)
        measured = tuple(Sample(each.value, requests.get(name)) for name, each in usage.items() if groups.counts(name))
        pods = Pods(
            groups.ready,
            measured,
            unready=tuple(Sample(0, requests[name]) for name in groups.unready),
            missing=tuple(Sample(requests[name] * at_target // 100, requests[name]) for name in groups.missing),
        )

        def found(samples: Sequence[Sample]) -> tuple[int, int]:
            both = calculation.utilization(samples)
            if both is None:
                raise UnmeasuredError(f"{attempt}: no metrics returned matched known pods")
            return both

        percent, milli = found(measured)

        def ratio(samples: Sequence[Sample]) -> float:
            return calculation.quotient(found(samples)[0], target)

        return calculation.proposal(self.target.replicas, pods, ratio, self.tolerance), percent, milli

    def _grouped(self, usage: Mapping[str, _Usage], resource: str, prefix: str) -> _Groups:
        pods = self._pods()
        if not pods:
            raise UnmeasuredError(f"{prefix}no pods returned by selector while calculating replica count")
        groups = _grouped(pods, usage, resource, self.seen.now)
        if not any(groups.counts(name) for name in usage):
            raise UnmeasuredError(f"{prefix}did not receive metrics for targeted pods (pods might be unready)")
        return groups

    # Metrics of something else

    def object(self, source: ObjectMetricSource) -> Proposal:
        metric, described = source.metric, source.described_object
        place = f"{described.kind} {self._namespace}/{described.name}"

        def value() -> int:
            for each in self.seen.all(MetricValue):
                about = each.described_object
                name = self._namespace if described.kind == "Namespace" else described.name
                if (about.kind, about.name) == (described.kind, name) and _answers(each, metric):
                    return _milli(each.value)
            resource = resource_name(described.kind, group_of(described))
            found = f"the server could not find the metric {metric.name} for {resource} {described.name}"
            cause = f"unable to fetch metrics from custom metrics API: {found}"
            if self.seen.minor < 37:  # an argument too early, so that upstream's words came in this order
                shifted = f"{described.kind} on {self._namespace} {described.name}/{cause}"
                raise UnmeasuredError(f"unable to get metric {metric.name}: {shifted}")
            raise UnmeasuredError(f"unable to get metric {metric.name} on {place}: {cause}")

        if source.target.type == "Value" and source.target.value is not None:
            total = value()
            replicas = self._for_total(total, _milli(source.target.value))
            called = f"{described.kind} metric {metric.name}"
            current = MetricValueStatus(value=_quantity(total))
        elif source.target.type == "AverageValue" and source.target.average_value is not None:
            try:
                total = value()
            except UnmeasuredError as error:
                raise UnmeasuredError(str(error), f"failed to get {metric.name} object metric") from error
            replicas, share = calculation.proposal_per_pod(
                self.target.status_replicas,
                total,
                _milli(source.target.average_value),
                self.tolerance,
                saturates=False,
            )
            called = f"external metric {metric.name}({_go_text(metric.selector)})"
            current = MetricValueStatus(average_value=_quantity(share))
        else:
            raise UnmeasuredError(
                "invalid object metric source: neither a value target nor an average value target was set"
            )
        status = ObjectMetricStatus(metric=metric, described_object=described, current=current)
        if self.seen.minor < 33 and current.average_value is not None:
            status = ObjectMetricStatus(metric=metric, current=current)
        return Proposal(replicas, called, MetricStatus(type="Object", object=status))

    def external(self, source: ExternalMetricSource) -> Proposal:
        metric, wanted = source.metric, source.target
        called = f"external metric {metric.name}({_go_text(metric.selector)})"
        if wanted.average_value is not None:
            values = self._external_values(metric, f"failed to get {metric.name} external metric")
            total = sum(values)
            if self.seen.minor >= 34 and _overflows(values):
                total = MAX_INT64
            replicas, share = calculation.proposal_per_pod(
                self.target.status_replicas, total, _milli(wanted.average_value), self.tolerance, saturates=True
            )
            current = MetricValueStatus(average_value=_quantity(share))
        elif wanted.value is not None:
            attempt = f"failed to get external metric {metric.name}"
            total = min(MAX_INT64, sum(self._external_values(metric, attempt)))
            try:
                replicas = self._for_total(total, _milli(wanted.value))
            except UnmeasuredError as error:
                raise UnmeasuredError(str(error), attempt) from error
            current = MetricValueStatus(value=_quantity(total))
        else:
            raise UnmeasuredError(
                "invalid external metric source: neither a value target nor an average value target was set"
            )
        status = ExternalMetricStatus(metric=metric, current=current)
        return Proposal(replicas, called, MetricStatus(type="External", external=status))

    def _external_values(self, metric: MetricIdentifier, attempt: str) -> list[int]:
        values = [
            _milli(each.value)
            for each in self.seen.all(ExternalMetricValue)
            if each.metric_name == metric.name
            and (metric.selector is None or selectors.matches(metric.selector, each.metric_labels))
        ]
        if not values:
            name = f"{self._namespace}/{metric.name}/{_go_text(metric.selector)}"
            raise UnmeasuredError(
                f"unable to get external metric {name}: no metrics returned from external metrics API", attempt
            )
        return values

    def _for_total(self, total: int, target: int) -> int:
        current, pods = self.target.replicas, self._pods()
        outside = not self.tolerance.holds(calculation.quotient(total, target))
        if current != 0 and outside and not pods:
            raise UnmeasuredError(
                "unable to calculate ready pods: no pods returned by selector while calculating replica count"
            )
        ready = sum(pod.status.phase == "Running" and is_ready(pod) for pod in pods)
        return calculation.proposal_for_total(current, total, target, ready, self.tolerance)

    @property
    def _namespace(self) -> str:
        return self.seen.subject.metadata.namespace

    def _pods(self) -> Sequence[Pod]:
        return [pod for pod in self.seen.all(Pod) if self.target.selects(pod.metadata.labels)]


def _grouped(pods: Iterable[Pod], usage: Mapping[str, _Usage], resource: str, now: datetime) -> _Groups:
    """Terminating and failed pods are ignored; pending ones are unready, for cpu also those that are starting."""
    unready, missing, ignored, ready = set(), set(), set(), 0
    for pod in pods:
        name, phase = pod.metadata.name, pod.status.phase
        if pod.metadata.deletion_timestamp is not None or phase == "Failed":
            ignored.add(name)
        elif phase == "Pending":
            unready.add(name)
        elif name not in usage:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, usage[name], now):
            unready.add(name)
        else:
            ready += 1
    return _Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_starting(pod: Pod, usage: _Usage, now: datetime) -> bool:
    """The pod's cpu tells of its start rather than of its work."""
    condition = next((each for each in pod.status.conditions if each.type == "Ready"), None)
    started = pod.status.start_time
    if condition is None or started is None:
        return True
    changed, is_unready = condition.last_transition_time, condition.status == "False"
    if started + CPU_INITIALIZATION > now:
        early = changed is not None and (usage.at is None or usage.at < changed + usage.window)
        return is_unready or early
    return is_unready and (changed is None or started + INITIAL_READINESS > changed)


def _requested(pod: Pod, container: str, resource: str, minor: int) -> int:
    """What the pod, or one of its containers, requests, in thousandths. Raises `UnmeasuredError`."""
    spec = pod.spec
    whole = {} if spec.resources is None else spec.resources.requests
    if minor >= 34 and not container and any(_is_pod_level(name) for name in whole):
        return _requested_by_pod(pod, resource)
    sidecars = tuple(each for each in spec.init_containers if each.restart_policy == "Always")
    containers = [each for each in (*spec.containers, *sidecars) if not container or each.name == container]
    if not containers and container:
        raise UnmeasuredError(f"container {container} not found in Pod {pod.metadata.name}")
    total = 0
    for each in containers:
        amount = each.resources.requests.get(resource)
        if amount is None:
            raise UnmeasuredError(f"missing request for {resource} in container {each.name} of Pod {pod.metadata.name}")
        total += _milli(amount)
    return total


def _requested_by_pod(pod: Pod, resource: str) -> int:
    """Pod-level requests (KEP-2837) stand before the sum of the containers', and overhead comes on top."""
    spec = pod.spec
    whole = {} if spec.resources is None else spec.resources.requests
    everybody = (*spec.containers, *spec.init_containers)
    amount = _of_containers(spec, resource)
    if resource in whole and _is_pod_level(resource):
        amount = _milli(whole[resource])
    elif resource not in spec.overhead and not any(resource in each.resources.requests for each in everybody):
        raise UnmeasuredError(f"missing pod-level request for {resource} in Pod {pod.metadata.name}")
    return amount + _milli(spec.overhead.get(resource, ZERO))


def _of_containers(spec: PodSpec, resource: str) -> int:
    """Containers run together with the sidecars; an ordinary init container with the sidecars before it."""

    def of(container: Container) -> int:
        return _milli(container.resources.requests.get(resource, ZERO))

    sidecars, starting = 0, 0
    for each in spec.init_containers:
        if each.restart_policy == "Always":
            sidecars += of(each)
        starting = max(starting, sidecars + (0 if each.restart_policy == "Always" else of(each)))
    return max(starting, sidecars + sum(of(each) for each in spec.containers))


def _is_pod_level(resource: str) -> bool:
    return resource in _POD_LEVEL or resource.startswith(_POD_LEVEL_PREFIX)


def _overflows(values: Iterable[int]) -> bool:
    """Upstream takes a sum below zero for one that wrapped; it may be the metric that is negative."""
    total = 0
    for value in values:
        total += value
        if total > MAX_INT64 or total < 0:
            return True
    return False


def _answers(value: MetricValue, metric: MetricIdentifier) -> bool:
    same = selector_text(value.metric.selector) == selector_text(metric.selector)
    return value.metric.name == metric.name and same


def _resource_proposal(replicas: int, called: str, name: str, container: str, current: MetricValueStatus) -> Proposal:
    if container:
        inside = ContainerResourceMetricStatus(name=name, container=container, current=current)
        return Proposal(replicas, called, MetricStatus(type="ContainerResource", container_resource=inside))
    of_pods = ResourceMetricStatus(name=name, current=current)
    return Proposal(replicas, called, MetricStatus(type="Resource", resource=of_pods))


def _amount(seen: Seen, resource: str, milli: int) -> MetricValueStatus:
    binary = resource == "memory" and seen.minor >= 34
    return MetricValueStatus(average_value=Quantity(milli * 10**6, "BinarySI" if binary else "DecimalSI"))


def _milli(quantity: Quantity) -> int:
    """Thousandths in 64 bits; upstream takes what does not fit for nothing."""
    return quantity.milli if abs(quantity.milli) <= MAX_INT64 else 0


def _quantity(milli: int) -> Quantity:
    return Quantity(milli * 10**6)


def _duration(text: str) -> timedelta:
    """A Go duration of the form that metrics carry, such as 30s, 1m0s or 12.5s; zero for anything else."""
    total, number = 0.0, ""
    for letter in text.replace("ms", "x"):
        if letter.isdigit() or letter == ".":
            number += letter
        else:
            unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "x": 0.001}.get(letter)
            if unit is None or not number:
                return timedelta()
            total, number = total + float(number) * unit, ""
    return timedelta(seconds=total)


def _go_text(selector: LabelSelector | None) -> str:
    """A selector as Go prints it, which is how upstream names external metrics."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{item.key},Operator:{item.operator},Values:[{' '.join(item.values)}],}},"
        for item in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
