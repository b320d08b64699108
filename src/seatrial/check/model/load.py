"""What autoscalers make of one workload: a timed model of counts, in which every decision is the autoscalers' own.

A timed automaton: the present is always `NOW`, and letting time pass makes every time in a state older, what
autoscalers remember included, up to the age beyond which nothing is decided by it (`Autoscaling._oldest`). Time passes
until the next autoscaler looks; that look is a move. A loop is then a cycle of a finite graph.

Two things are summed up instead of explored. Pods follow the count that is asked for before the next look, the
youngest go first, and each is ready some time after it was made; pods of one age are one number. Load is an amount of
work that the ready pods share equally, in tenths of what one pod does at its target. It stands still: what autoscalers
do while it moves is covered by starting from many counts, not by following it. A rollout is one look at pods as the
workload's strategy allows them to be in the middle of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

import msgspec

from seatrial.check import machines
from seatrial.check.model.pool import LONG_AGO, NOW, Pool, with_metadata
from seatrial.control import autoscaler
from seatrial.control.addons import proportional
from seatrial.control.addons.vpa import admission as vpa_admission
from seatrial.control.addons.vpa import priority, recommendation
from seatrial.control.addons.vpa.histogram import CPU, MEMORY, Histogram
from seatrial.control.addons.vpa.targets import Workloads
from seatrial.control.addons.vpa.usage import Usage
from seatrial.control.autoscaler import limits
from seatrial.control.autoscaler.limits import History, Recommendation
from seatrial.control.controller import Decision, Seen
from seatrial.control.ownership import controller_reference
from seatrial.control.writes import Update, UpdateStatus
from seatrial.kube.objects import (
    ConfigMap,
    Container,
    Deployment,
    HorizontalPodAutoscaler,
    Node,
    Object,
    Pod,
    PodStatus,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    VerticalPodAutoscaler,
    canonical,
    parse_as,
    to_wire,
)
from seatrial.kube.objects.autoscaling import (
    ContainerMetrics,
    CustomMetricIdentifier,
    ExternalMetricValue,
    MetricIdentifier,
    MetricSpec,
    MetricValue,
    PodMetrics,
)
from seatrial.kube.objects.pods import PodCondition
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.objects.verticalscaling import VerticalPodAutoscalerStatus
from seatrial.kube.quantities import Quantity

Scalable = Deployment | StatefulSet | ReplicaSet | ReplicationController
SCALABLE: Final = (Deployment, StatefulSet, ReplicaSet, ReplicationController)

STARTS_S: Final = (1, 10)
"""From a pod's making to its containers' running: soon enough to be measured at the next look, and not."""
PROBED_S: Final = 1
"""From there to its being ready, on top of what its probes wait for, if it has any."""
WINDOW_S: Final = 15
"""What a measurement of a pod is taken over."""
YOUNGEST_S: Final = 10
"""A container that has run for less is not measured (metrics-server)."""
LATE_S: Final = 60
"""How long a new pod may be without a metric of its own."""
BURST_S: Final = 60
"""How long a container may be busy with its start."""
BURST_MILLI: Final = 1000
"""What it then uses if it has no limit."""
FULL: Final = 10
"""One pod's work, in tenths."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A workload and all that scales it; `neighbours` are the other workloads and autoscalers of its namespace."""

    target: Scalable
    pod: Pod
    """As one of its pods is made."""
    horizontal: tuple[HorizontalPodAutoscaler, ...] = ()
    proportional: tuple[Deployment, ...] = ()
    vertical: tuple[VerticalPodAutoscaler, ...] = ()
    neighbours: tuple[Object, ...] = ()
    config_maps: tuple[ConfigMap, ...] = ()
    nodes: tuple[Node, ...] = ()
    minor: int = 37

    @property
    def asked(self) -> tuple[Hashable, ...]:
        """What it is about: two with the same run in the same way."""
        parts = (
            (self.target, self.pod),
            self.horizontal,
            self.proportional,
            self.vertical,
            self.neighbours,
            self.config_maps,
            self.nodes,
        )
        return (self.minor, *(tuple(canonical(each) for each in part) for part in parts))


@dataclass(frozen=True, slots=True)
class Rolling:
    """Pods in the middle of a rollout: how many are ready, starting, on their way out, and ready without a metric."""

    ready: int
    starting: int
    leaving: int
    unmeasured: int


@dataclass(frozen=True, slots=True)
class Look:
    """When an autoscaler looks next, and what it remembers."""

    due_s: int = 0
    memory: Hashable | None = None


@dataclass(frozen=True, slots=True)
class _Sight:
    """A pod as an autoscaler finds it; `works`: it is ready, and has its share of the load."""

    age_s: int
    works: bool
    measured: bool
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """A state. `pods` are ages in seconds and how many have them, the oldest first.

    `load` -1: nothing has begun. `late`: new pods are without metrics for a while. `said`: the autoscalers' statuses,
    by number. `size`: what the pods request, by number. `start_s`: how long new pods take to run, while
    there are any. `rollouts`: how many may still come.
    """

    load: int
    replicas: int = 0
    pods: tuple[tuple[int, int], ...] = ()
    looks: tuple[Look, ...] = ()
    said: tuple[int, ...] = ()
    size: int = 0
    start_s: int = 0
    late: bool = False
    rollouts: int = 0
    rolling: Rolling | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """A move: who, and whether it has to be taken when it always can be."""

    actor: str
    which: Hashable = None
    optional: bool = False


class Autoscaling:
    """The model. `loads` are in tenths of a pod, `starts` the counts from which it is run under each."""

    def __init__(self, scene: Scene, loads: Sequence[int], starts: Sequence[int]) -> None:
        self.scene = scene
        self.initial = Moment(-1)
        self._loads, self._starts = tuple(loads), tuple(starts)
        self._pool = Pool(_timeless)
        self._pods: dict[Hashable, Pod] = {}
        self._sights: dict[Moment, tuple[Object, ...]] = {}
        self._metrics = tuple(_distinct(scene.horizontal))
        self._seen: dict[Hashable, tuple[Decision, int]] = {}
        probes = [c.readiness_probe or c.startup_probe for c in scene.pod.spec.containers]
        delays = [PROBED_S + (probe.initial_delay_seconds or 0) for probe in probes if probe]
        self.probed_s = max(delays, default=0)
        self.burst_milli = _burst(scene)
        self.can_be_late = any(metric.type == "Pods" for each in scene.horizontal for metric in each.spec.metrics)
        windows = [limits.DOWNSCALE_STABILISATION_S]
        for each in scene.horizontal:
            for rules in (
                each.spec.behavior and each.spec.behavior.scale_up,
                each.spec.behavior and each.spec.behavior.scale_down,
            ):
                if rules:
                    windows += [rules.stabilization_window_seconds or 0, *(p.period_seconds for p in rules.policies)]
        self._oldest = timedelta(seconds=max(windows) + 1)
        self._windows = [_windows(each) for each in scene.horizontal]
        self._old_s = (
            max(STARTS_S)
            + self.probed_s
            + max(WINDOW_S, BURST_S if self.burst_milli else 0, LATE_S if self.can_be_late else 0)
        )

    # Moves

    def moves(self, moment: Moment) -> list[tuple[Act, Moment]]:
        if moment.load < 0:
            return [(Act("Load", begun, optional=True), begun) for begun in self._beginnings()]
        found: list[tuple[Act, Moment]] = []
        due = min(look.due_s for look in moment.looks)
        there = self._later(moment, due)
        for index, look in enumerate(there.looks):
            if look.due_s == 0:
                after = self._after_look(there, index)
                if after.pods[-1:] != there.pods[-1:] and after.pods and after.pods[-1][0] == 0 and not there.start_s:
                    for start_s in STARTS_S:
                        slow = dataclasses.replace(after, start_s=start_s)
                        found.append((Act(self.actors[index], (index, start_s)), slow))
                else:
                    found.append((Act(self.actors[index], index), after))
        rests = len(found) == 1 and found[0][1] == moment and moment.pods
        if rests and moment.pods[-1][0] >= self._old_s:
            if moment.rollouts:
                found += self._rollouts(moment)
            found += self._resized(moment)
        return found

    def _beginnings(self) -> Iterator[Moment]:
        said = tuple(self._pool.intern(each) for each in self.scene.horizontal)
        size = self._pool.intern(with_metadata(self.scene.pod, name="pod"))
        count = len(self.scene.horizontal) + len(self.scene.proportional)
        for late in (False, True) if self.can_be_late else (False,):
            for load, start in product(self._loads, self._starts):
                pods = ((self._old_s, start),) if start else ()
                yield Moment(load, start, pods, (Look(),) * count, said, size, late=late, rollouts=1)

    @property
    def actors(self) -> tuple[str, ...]:
        scaling = tuple(f"HorizontalPodAutoscaler {each.metadata.name}" for each in self.scene.horizontal)
        return (
            *scaling,
            *(f"Cluster-proportional autoscaler {each.metadata.name}" for each in self.scene.proportional),
        )

    def _later(self, moment: Moment, seconds: int) -> Moment:
        if not seconds:
            return moment
        passed = timedelta(seconds=seconds)
        pods: dict[int, int] = {}
        for age, count in moment.pods:
            pods[min(age + seconds, self._old_s)] = pods.get(min(age + seconds, self._old_s), 0) + count
        looks = tuple(Look(each.due_s - seconds, older(each.memory, passed, self._oldest)) for each in moment.looks)
        start_s = 0 if min(pods, default=self._old_s) >= self._old_s else moment.start_s
        return dataclasses.replace(moment, pods=tuple(pods.items()), looks=looks, start_s=start_s)

    def _after_look(self, moment: Moment, index: int) -> Moment:
        horizontal = index < len(self.scene.horizontal)
        key = (index, dataclasses.replace(moment, looks=moment.looks[index : index + 1], rollouts=0))
        known = self._seen.get(key)
        if known is None:
            decision = self._scaled(moment, index) if horizontal else self._in_proportion(moment, index)
            said = moment.said[index] if horizontal else 0
            for write in decision.writes:
                if isinstance(write, UpdateStatus):
                    said = self._pool.intern(write.after)
            known = self._seen[key] = (decision, said)
        decision, said = known
        replicas = moment.replicas
        for write in decision.writes:
            if isinstance(write, Update) and isinstance(write.after, SCALABLE):
                replicas = write.after.spec.replicas or 0
        assert decision.wake_at is not None, "autoscalers look again"
        memory = decision.memory
        if isinstance(memory, autoscaler.Memory):
            memory = dataclasses.replace(memory, history=needed(memory.history, *self._windows[index]))
        look = Look(int((decision.wake_at - NOW).total_seconds()), memory)
        looks = (*moment.looks[:index], look, *moment.looks[index + 1 :])
        told = (*moment.said[:index], said, *moment.said[index + 1 :]) if horizontal else moment.said
        return dataclasses.replace(
            moment, replicas=replicas, pods=_followed(moment.pods, replicas), looks=looks, said=told, rolling=None
        )

    def _rollouts(self, moment: Moment) -> Iterator[tuple[Act, Moment]]:
        """The pods in the middle of a rollout, at a look of the autoscalers: as far as the strategy goes each way."""
        for rolling in rollings(self.scene.target, moment.replicas, late=self.can_be_late):
            looks = tuple(
                Look(0, older(look.memory, timedelta(seconds=look.due_s), self._oldest)) for look in moment.looks
            )
            there = dataclasses.replace(moment, rollouts=0, rolling=rolling, looks=looks)
            yield Act("User", rolling, optional=True), there

    def _resized(self, moment: Moment) -> list[tuple[Act, Moment]]:
        """What pods request after the load has been like this for days."""
        found = []
        for each in self.scene.vertical:
            size = self._new_size(each, moment)
            if size != moment.size:
                found.append(
                    (Act(f"VerticalPodAutoscaler {each.metadata.name}"), dataclasses.replace(moment, size=size))
                )
        return found

    # What autoscalers see

    def _scaled(self, moment: Moment, index: int) -> Decision:
        subject = self.autoscalers(moment)[index]
        objects: dict[type[Object], tuple[Object, ...]] = {}
        crowd = dataclasses.replace(moment, looks=(), said=(), replicas=0, rollouts=0)
        sight = self._sights.get(crowd)
        if sight is None:
            sight = self._sights[crowd] = tuple(self._observed(crowd))
        observed = [self._target(moment), *self.autoscalers(moment), *self.scene.neighbours, *sight]
        for item in observed:
            objects[type(item)] = (*objects.get(type(item), ()), item)
        memory = moment.looks[index].memory
        if memory is None:  # since when it looks does not matter: it is due
            memory = autoscaler.Memory(NOW, subject.metadata.generation, History())
        return autoscaler.reconcile(Seen(subject, objects, NOW, self.scene.minor, memory=memory))

    def _in_proportion(self, moment: Moment, index: int) -> Decision:
        subject = self.scene.proportional[index - len(self.scene.horizontal)]
        target = self._target(moment)
        objects: dict[type[Object], tuple[Object, ...]] = {
            ConfigMap: self.scene.config_maps,
            Node: self.scene.nodes,
            Deployment: (subject,),
        }
        objects[type(target)] = (*objects.get(type(target), ()), target)
        return proportional.reconcile(Seen(subject, objects, NOW, self.scene.minor))

    def autoscalers(self, moment: Moment) -> tuple[HorizontalPodAutoscaler, ...]:
        return tuple(self._pool[number] for number in moment.said)

    def pod(self, moment: Moment) -> Pod:
        """A pod as it is made now."""
        found: Pod = self._pool[moment.size]
        return found

    def _target(self, moment: Moment) -> Scalable:
        target = self.scene.target
        there = sum(count for _, count in moment.pods)
        if moment.rolling is not None:
            there = moment.rolling.ready + moment.rolling.starting
        if isinstance(target, Deployment):
            status = msgspec.structs.replace(target.status, replicas=there)
            spec = msgspec.structs.replace(target.spec, replicas=moment.replicas)
            return msgspec.structs.replace(target, spec=spec, status=status)
        return _with_counts(target, moment.replicas, there)

    def _observed(self, moment: Moment) -> Iterator[Object]:
        """The pods and what is measured of them."""
        crowd = list(self._crowd(moment))
        ready = sum(pod.works and not pod.leaves for pod in crowd)
        for position, each in enumerate(crowd):
            pod = self._named(moment.size, position, each, moment.start_s)
            yield pod
            if each.measured:
                yield from self._measured(pod, moment.load if each.works else 0, ready, each.age_s - moment.start_s)
        yield from self._of_others(moment.load, ready)

    def _crowd(self, moment: Moment) -> Iterator[_Sight]:
        rolling = moment.rolling
        if rolling is None:
            for age, count in moment.pods:
                running = age - moment.start_s
                works = running >= self.probed_s
                late = moment.late and running - self.probed_s < LATE_S
                yield from [_Sight(age, works, running >= YOUNGEST_S and not late)] * count
            return
        yield from [_Sight(self._old_s, True, True)] * (rolling.ready - rolling.unmeasured)
        yield from [_Sight(self._old_s, True, False)] * rolling.unmeasured
        yield from [_Sight(moment.start_s, False, False)] * rolling.starting
        yield from [_Sight(self._old_s, True, True, leaves=True)] * rolling.leaving

    def _measured(self, pod: Pod, load: int, ready: int, running_s: int) -> Iterator[Object]:
        extra = self.burst_milli if running_s < BURST_S else 0
        used: dict[str, dict[str, int]] = {container.name: {} for container in pod.spec.containers}
        for metric in self._metrics:
            if metric.type == "Resource" and metric.resource is not None:
                total = self._at_target(metric, pod) * load // FULL // max(ready, 1)
                names = list(used)
                for name in names:
                    used[name][metric.resource.name] = total // len(names)
                if metric.resource.name == "cpu":
                    used[names[0]]["cpu"] += extra
            elif metric.type == "ContainerResource" and metric.container_resource is not None:
                source = metric.container_resource
                total = self._at_target(metric, pod) * load // FULL // max(ready, 1)
                used.setdefault(source.container, {})[source.name] = total + (extra if source.name == "cpu" else 0)
            elif metric.type == "Pods" and metric.pods is not None and metric.pods.target.average_value is not None:
                share = metric.pods.target.average_value.nanos * load // FULL // max(ready, 1)
                yield _value(metric.pods.metric, ObjectReference(kind="Pod", name=pod.metadata.name), share)
        containers = tuple(
            ContainerMetrics(name=name, usage={resource: Quantity(milli * 10**6) for resource, milli in each.items()})
            for name, each in used.items()
            if each
        )
        if containers:
            yield PodMetrics(
                metadata=pod.metadata, containers=containers, timestamp=NOW, window=f"{min(WINDOW_S, running_s)}s"
            )

    def _of_others(self, load: int, ready: int) -> Iterator[Object]:
        for metric in self._metrics:
            if metric.type == "Object" and metric.object is not None:
                of = metric.object.described_object
                about = ObjectReference(api_version=of.api_version, kind=of.kind, name=of.name)
                if of.kind == "Namespace":
                    about = ObjectReference(kind=of.kind, name=self.scene.target.metadata.namespace)
                yield _value(metric.object.metric, about, _amount_of(metric, load, ready))
            elif metric.type == "External" and metric.external is not None:
                source = metric.external.metric
                labels = dict(source.selector.match_labels) if source.selector else {}
                for rule in source.selector.match_expressions if source.selector else ():
                    if rule.operator in ("In", "Exists"):
                        labels[rule.key] = rule.values[0] if rule.values else ""
                nanos = _amount_of(metric, load, ready)
                yield ExternalMetricValue(
                    metric_name=source.name, metric_labels=labels, timestamp=NOW, value=Quantity(nanos)
                )

    def _at_target(self, metric: MetricSpec, _: Pod) -> int:
        """What a pod as the files have it uses at the target, in thousandths."""
        source: Any = metric.resource or metric.container_resource
        target = source.target
        if target.average_value is not None:
            return int(target.average_value.milli)
        asked = [
            container.resources.requests[source.name].milli
            for container in self.scene.pod.spec.containers
            if source.name in container.resources.requests
            and (metric.container_resource is None or container.name == source.container)
        ]
        return (sum(asked) or BURST_MILLI) * (target.average_utilization or 100) // 100

    def _named(self, size: int, position: int, sight: _Sight, start_s: int) -> Pod:
        key = (size, position, sight, start_s)
        found = self._pods.get(key)
        if found is None:
            pod: Pod = self._pool[size]
            running = sight.age_s - start_s
            old = sight.age_s >= self._old_s
            changed = NOW - timedelta(seconds=running - (self.probed_s if sight.works else 0))
            condition = PodCondition(
                type="Ready",
                status="True" if sight.works else "False",
                last_transition_time=LONG_AGO if old else changed,
            )
            status = PodStatus(
                phase="Running" if running >= 0 else "Pending",
                start_time=LONG_AGO if old else NOW - timedelta(seconds=sight.age_s),
                conditions=(condition,),
            )
            found = self._pods[key] = with_metadata(
                msgspec.structs.replace(pod, status=status),
                name=f"{self.scene.target.metadata.name}-{position}",
                deletion_timestamp=NOW if sight.leaves else None,
            )
        return found

    # VerticalPodAutoscalers

    def _new_size(self, vertical: VerticalPodAutoscaler, moment: Moment) -> int:
        pod = self.pod(moment)
        ready = sum(count for _, count in moment.pods)
        used: dict[str, dict[str, int]] = {}
        for item in self._measured(with_metadata(pod, name="pod"), moment.load, ready, self._old_s):
            if isinstance(item, PodMetrics):
                used = {each.name: {name: q.milli for name, q in each.usage.items()} for each in item.containers}
        usages = {
            container.name: _long(container, used.get(container.name, {}))
            for container in self.scene.pod.spec.containers
        }
        advice = recommendation.recommended(usages, vertical.spec.resource_policy)
        told = msgspec.structs.replace(vertical, status=VerticalPodAutoscalerStatus(recommendation=advice))
        running = with_metadata(self._named(moment.size, 0, _Sight(self._old_s, True, True), 0), name="pod")
        if not priority.due([running], told, NOW):
            return moment.size
        target = self.scene.target
        owner = with_metadata(target, uid="target")
        raw = to_wire(with_metadata(pod, owner_references=(controller_reference(owner),)))
        admitted = parse_as(Pod, vpa_admission.admit(raw, [told], Workloads([target])))
        resized = with_metadata(pod, name="pod")
        spec = msgspec.structs.replace(resized.spec, containers=admitted.spec.containers)
        return self._pool.intern(msgspec.structs.replace(resized, spec=spec))


def _long(container: Container, used: Mapping[str, int]) -> Usage:
    """What is known of a container that has used the same for a week; what is not measured is used as the files ask."""
    cpu = used.get("cpu", container.resources.requests.get("cpu", Quantity(0)).milli)
    memory = used.get("memory", container.resources.requests.get("memory", Quantity(0)).milli) // 1000
    days = 7
    return Usage(
        cpu=Histogram(CPU).add(cpu / 1000, 1.0, NOW),
        memory=Histogram(MEMORY).add(float(memory), 1.0, NOW),
        first=NOW - timedelta(days=days),
        last=NOW,
        samples=days * 24 * 60,
    )


def rollings(target: Scalable, replicas: int, *, late: bool) -> Iterator[Rolling]:
    """The corners of what a rollout may look like: surge or not, ready or not, old pods going, new ones unmeasured."""
    if not replicas:
        return
    asked: Any = _with_counts(target, replicas, replicas)
    surge = machines.resolved_surge(asked)
    missing = machines.resolved_unavailable(asked, replicas) if isinstance(target, Deployment | StatefulSet) else 0
    if not surge and not missing:
        return
    for unmeasured in (False, True) if late else (False,):
        if surge:
            yield Rolling(replicas + surge, 0, 0, surge if unmeasured else 0)
            yield Rolling(replicas, surge, 0, 0)
            yield Rolling(replicas, 0, surge, surge if unmeasured else 0)
            yield Rolling(replicas, 0, replicas, replicas if unmeasured else 0)
        if 0 < missing < replicas:
            yield Rolling(replicas - missing, missing, missing, 0)


def _with_counts(target: Scalable, replicas: int, there: int) -> Scalable:
    status = msgspec.structs.replace(target.status, replicas=there)
    spec = msgspec.structs.replace(target.spec, replicas=replicas)
    return msgspec.structs.replace(target, spec=spec, status=status)


def _followed(pods: tuple[tuple[int, int], ...], replicas: int) -> tuple[tuple[int, int], ...]:
    """The pods once there are as many as are asked for."""
    there = sum(count for _, count in pods)
    if replicas > there:
        new = replicas - there
        if pods and pods[-1][0] == 0:
            return (*pods[:-1], (0, pods[-1][1] + new))
        return (*pods, (0, new))
    left, kept = replicas, []
    for age, count in pods:
        if left:
            kept.append((age, min(count, left)))
            left -= min(count, left)
    return tuple(kept)


def _burst(scene: Scene) -> int:
    """What a starting container may use that counts as work: its probes do not say when it has started."""
    watched = any(
        metric.resource is not None and metric.resource.name == "cpu"
        for each in scene.horizontal
        for metric in each.spec.metrics
    )
    container = scene.pod.spec.containers[0]
    if not watched or container.readiness_probe is not None or container.startup_probe is not None:
        return 0
    request = container.resources.requests.get("cpu", Quantity(0)).milli
    limit = container.resources.limits.get("cpu")
    most = max(BURST_MILLI, request) if limit is None else limit.milli
    return max(0, most - request)


def _distinct(autoscalers: Iterable[HorizontalPodAutoscaler]) -> Iterator[MetricSpec]:
    known: set[tuple[str, str, str]] = set()
    for each in autoscalers:
        for metric in each.spec.metrics:
            name = _name_of(metric)
            if name not in known:
                known.add(name)
                yield metric


def _name_of(metric: MetricSpec) -> tuple[str, str, str]:
    source: Any = metric.resource or metric.container_resource or metric.pods or metric.object or metric.external
    if source is None:
        return (metric.type, "", "")
    identifier = getattr(source, "metric", None)
    named = source.name if identifier is None else repr(identifier)
    return (metric.type, named, getattr(source, "container", "") or repr(getattr(source, "described_object", "")))


def _amount_of(metric: MetricSpec, load: int, ready: int) -> int:
    """A total is the load; a level is what each of the ready pods makes of it."""
    source: Any = metric.object or metric.external
    if source.target.average_value is not None:
        return int(source.target.average_value.nanos * load // FULL)
    value = source.target.value.nanos if source.target.value is not None else 0
    return int(value * load // FULL // max(ready, 1))


def _value(metric: MetricIdentifier, about: ObjectReference, nanos: int) -> MetricValue:
    identifier = CustomMetricIdentifier(name=metric.name, selector=metric.selector)
    return MetricValue(described_object=about, metric=identifier, timestamp=NOW, value=Quantity(nanos))


def _timeless(item: Object) -> Object:
    """An autoscaler without what it never asks about: since when, and what its metrics were."""
    if not isinstance(item, HorizontalPodAutoscaler):
        return item
    status = item.status
    conditions = tuple(msgspec.structs.replace(each, last_transition_time=None) for each in status.conditions)
    kept = type(status)(conditions=conditions, observed_generation=status.observed_generation)
    return msgspec.structs.replace(item, status=kept)


def _windows(each: HorizontalPodAutoscaler) -> tuple[timedelta, timedelta]:
    """How long recommendations count, and how long changes of size."""
    behavior = each.spec.behavior
    if behavior is None:
        return timedelta(seconds=limits.DOWNSCALE_STABILISATION_S), timedelta()
    up, down = behavior.scale_up, behavior.scale_down
    rules = [each for each in (up, down) if each is not None]
    default = limits.DOWNSCALE_STABILISATION_S
    longest = [limits.stabilisation(each, default if each is down else 0) for each in rules]
    if down is None:
        longest.append(timedelta(seconds=default))
    periods = [timedelta(seconds=policy.period_seconds) for each in rules for policy in each.policies]
    return max(longest), max(periods, default=timedelta())


def needed(history: History, window: timedelta, period: timedelta) -> History:
    """A history that decides as `history` does, and is equal for more of them.

    Of the recommendations the highest and the lowest of the last so many seconds are asked for: one that has a later
    one above and a later one below it is neither. The newest stays, since an empty list is begun anew.
    """
    newest_first = sorted(history.recommendations, key=lambda each: each.at, reverse=True)
    kept: list[Recommendation] = []
    for each in newest_first:
        higher = any(other.replicas >= each.replicas for other in kept)
        lower = any(other.replicas <= each.replicas for other in kept)
        if not kept or (NOW - each.at < window and not (higher and lower)):
            kept.append(each)

    def recent(events: tuple[limits.ScaleEvent, ...]) -> tuple[limits.ScaleEvent, ...]:
        return tuple(sorted((e for e in events if NOW - e.at < period), key=lambda e: (e.at, e.change)))

    return History(tuple(kept), recent(history.ups), recent(history.downs))


def older(value: Any, passed: timedelta, oldest: timedelta) -> Any:
    """What is remembered, after some time has passed. Times further back than `oldest` are as far back as that."""
    if isinstance(value, datetime):
        return max(value - passed, NOW - oldest)
    if isinstance(value, tuple):
        return tuple(older(each, passed, oldest) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {each.name: older(getattr(value, each.name), passed, oldest) for each in dataclasses.fields(value)}
        return dataclasses.replace(value, **changes)
    return value
