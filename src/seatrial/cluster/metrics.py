"""What containers use, and what else autoscalers look at: kept in memory, taken every 15 s as metrics-server does.

Rules: a container is measured once it has run for a while, and a pod once all its containers are; what has not been
measured is missing. Metrics of other things (custom.metrics.k8s.io, external.metrics.k8s.io) are set from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from seatrial.cluster.objects import Objects
from seatrial.control.lifecycle.origins import uid_on_node
from seatrial.kube.objects import Container, LabelSelector, Object, ObjectMeta, Pod
from seatrial.kube.objects.autoscaling import (
    ContainerMetrics,
    CustomMetricIdentifier,
    ExternalMetricValue,
    MetricValue,
    NodeMetrics,
    PodMetrics,
)
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.quantities import Quantity
from seatrial.node.runtime import Clock, Timer

RESOLUTION: Final = timedelta(seconds=15)
"""metrics-server's `--metric-resolution`."""
YOUNGEST: Final = timedelta(seconds=10)
"""A container of this age at a measurement is in it; a younger one is in the next."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container uses at a time: cores and bytes (the working set)."""

    cores: float = 0.0
    memory_bytes: int = 0


Load = Callable[[Pod, Container, datetime], Usage]
"""The programmed load of simulated containers."""


def idle(pod: Pod, container: Container, at: datetime) -> Usage:
    return Usage()


class MetricSource(Protocol):
    """Where measurements of pods come from: the machine, or a simulation."""

    def pods(self) -> Sequence[PodMetrics]:
        """The last measurement of each pod that has one."""


class SimulatedSource:
    """Measures the programmed load of the containers that run, at multiples of the resolution."""

    def __init__(self, objects: Objects, clock: Clock, load: Load = idle) -> None:
        self.load = load
        self._objects = objects
        self._clock = clock
        self._begin = clock.now()
        self._taken: tuple[datetime, tuple[PodMetrics, ...]] | None = None

    def pods(self) -> Sequence[PodMetrics]:
        at = self._begin + (self._clock.now() - self._begin) // RESOLUTION * RESOLUTION
        if self._taken is None or self._taken[0] != at:
            measured = (self._measure(pod, at) for pod in self._objects.all(Pod))
            self._taken = (at, tuple(each for each in measured if each is not None))
        there = {pod.metadata.uid for pod in self._objects.all(Pod)}
        return [each for each in self._taken[1] if each.metadata.uid in there]

    def _measure(self, pod: Pod, at: datetime) -> PodMetrics | None:
        started = running_since(pod)
        if not started or any(since is None or at - since < YOUNGEST for since in started.values()):
            return None
        containers = {each.name: each for each in (*pod.spec.init_containers, *pod.spec.containers)}
        usage = {name: self.load(pod, containers[name], at) for name in started}
        window = min(RESOLUTION, *(at - since for since in started.values() if since is not None))
        return pod_metrics(pod, usage, at, window)


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel has counted for one container: cpu since its start, and its working set now."""

    cpu_s: float
    memory_bytes: int


class CountedSource:
    """Measures containers by counters that are read every 15 seconds; a rate needs two readings, or a recent start.

    `read` takes a pod's uid and a container's id; None where nothing is counted (any more).
    """

    def __init__(self, objects: Objects, clock: Clock, read: Callable[[str, str], Counters | None]) -> None:
        self._objects = objects
        self._clock = clock
        self._read = read
        self._timer: Timer | None = None
        self._last: dict[str, tuple[datetime, Counters]] = {}
        self._measured: list[PodMetrics] = []

    def start(self) -> None:
        """Measure now and from then on."""
        self._scrape()
        self._timer = self._clock.call_at(self._clock.now() + RESOLUTION, self.start)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def pods(self) -> Sequence[PodMetrics]:
        there = {pod.metadata.uid for pod in self._objects.all(Pod)}
        return [each for each in self._measured if each.metadata.uid in there]

    def _scrape(self) -> None:
        at, before = self._clock.now(), self._last
        self._last, self._measured = {}, []
        for pod in self._objects.all(Pod):
            started = running_since(pod)
            usage: dict[str, Usage] = {}
            window = RESOLUTION
            for name, since in started.items():
                container_id = _id_of(pod, name)
                counters = self._read(uid_on_node(pod), container_id)
                if counters is None:
                    continue
                self._last[container_id] = (at, counters)
                past = before.get(container_id)
                if past is None and since is not None and YOUNGEST <= at - since < RESOLUTION:
                    past = (since, Counters(0.0, 0))
                if past is None or past[0] >= at:
                    continue
                window = at - past[0]
                cores = max(0.0, counters.cpu_s - past[1].cpu_s) / window.total_seconds()
                usage[name] = Usage(cores, counters.memory_bytes)
            if started and usage.keys() == started.keys():
                self._measured.append(pod_metrics(pod, usage, at, window))


def _id_of(pod: Pod, container: str) -> str:
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return next((each.container_id.rpartition("/")[2] for each in statuses if each.name == container), "")


class Metrics:
    """All that autoscalers and `kubectl top` see. A source measures pods, the values of other things are set here."""

    def __init__(self, clock: Clock) -> None:
        self._source: MetricSource | None = None
        self._all_pods: Callable[[], Iterable[Pod]] = lambda: ()
        self._clock = clock
        self._custom: dict[tuple[str, ...], MetricValue] = {}
        self._external: dict[tuple[object, ...], ExternalMetricValue] = {}

    def follow(self, objects: Objects, source: MetricSource) -> None:
        """Measure by `source` from now on, and let decisions see it."""
        self._source = source
        self._all_pods = lambda: objects.all(Pod)
        computed: dict[type[Object], Callable[[], Iterable[Object]]] = {
            PodMetrics: self.pods,
            MetricValue: self._custom.values,
            ExternalMetricValue: self._external.values,
        }
        objects.index.computed.update(computed)

    def pods(self) -> Sequence[PodMetrics]:
        return () if self._source is None else self._source.pods()

    def nodes(self) -> Sequence[NodeMetrics]:
        """A node uses what its pods use; one without measured pods has not been measured."""
        hosts = {pod.metadata.uid: pod.spec.node_name for pod in self._all_pods()}
        found: dict[str, list[PodMetrics]] = {}
        for each in self.pods():
            found.setdefault(hosts.get(each.metadata.uid, ""), []).append(each)
        return [_node_metrics(name, pods) for name, pods in sorted(found.items()) if name]

    def set_custom(
        self,
        kind: str,
        name: str,
        metric: str,
        value: str | float,
        *,
        namespace: str = "default",
        selector: LabelSelector | None = None,
    ) -> None:
        """A metric of an object, as an adapter for custom.metrics.k8s.io would serve it."""
        key = (namespace, kind, name, metric, str(selector))
        self._custom[key] = MetricValue(
            metadata=ObjectMeta(name="/".join(key[1:]), namespace=namespace),
            described_object=ObjectReference(kind=kind, name=name, namespace=namespace),
            metric=CustomMetricIdentifier(name=metric, selector=selector),
            timestamp=self._clock.now().replace(microsecond=0),
            value=Quantity.parse(value),
        )

    def set_external(
        self, metric: str, value: str | float, *, namespace: str = "default", labels: Mapping[str, str] | None = None
    ) -> None:
        """A metric of something outside, as an adapter for external.metrics.k8s.io would serve it."""
        labels = dict(labels or {})
        key = (namespace, metric, *sorted(labels.items()))
        self._external[key] = ExternalMetricValue(
            metadata=ObjectMeta(name=str(key[1:]), namespace=namespace),
            metric_name=metric,
            metric_labels=labels,
            timestamp=self._clock.now().replace(microsecond=0),
            value=Quantity.parse(value),
        )

    def forget(self) -> None:
        """The values that were set are gone, as when their adapter is."""
        self._custom.clear()
        self._external.clear()


def running_since(pod: Pod) -> dict[str, datetime | None]:
    """When each container of a running pod, sidecars too, was started; empty while one is not running."""
    if pod.status.phase != "Running":
        return {}
    sidecars = {each.name for each in pod.spec.init_containers if each.restart_policy == "Always"}
    started: dict[str, datetime | None] = {}
    for each in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if each.name in sidecars or each in pod.status.container_statuses:
            if each.state is None or each.state.running is None:
                return {}
            started[each.name] = each.state.running.started_at
    return started


def pod_metrics(pod: Pod, usage: Mapping[str, Usage], at: datetime, window: timedelta) -> PodMetrics:
    meta = pod.metadata
    return PodMetrics(
        metadata=ObjectMeta(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, labels=meta.labels, creation_timestamp=at
        ),
        timestamp=at.replace(microsecond=0),
        window=f"{round(window.total_seconds())}s",
        containers=tuple(
            ContainerMetrics(
                name=name,
                usage={
                    "cpu": Quantity(round(used.cores * 10**9)),
                    "memory": Quantity(used.memory_bytes // 1024 * 1024 * 10**9, "BinarySI"),
                },
            )
            for name, used in sorted(usage.items())
        ),
    )


def _node_metrics(name: str, pods: Sequence[PodMetrics]) -> NodeMetrics:
    total = {"cpu": Quantity(0), "memory": Quantity(0, "BinarySI")}
    for each in pods:
        for container in each.containers:
            total = {resource: amount + container.usage[resource] for resource, amount in total.items()}
    last = pods[-1]
    meta = ObjectMeta(name=name, creation_timestamp=last.metadata.creation_timestamp)
    return NodeMetrics(metadata=meta, timestamp=last.timestamp, window=last.window, usage=total)
