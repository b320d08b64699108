"""The descheduler (v0.36): evicts pods that would be placed otherwise today, and leaves the placing to the scheduler.

Its subject is the ConfigMap with its DeschedulerPolicy. It looks every `--descheduling-interval` of the Deployment in
the same namespace that runs it, every five minutes without one. All evictions of one round are decided on what the
round saw: budgets are spent in the decision as the eviction subresource will spend them, and an evicted pod still
holds its node's resources. Upstream goes through its maps in random order; here everything goes by name.

A policy that cannot be read, or asks for what is not modelled, evicts nothing: namespaceLabelSelector and a priority
threshold by name, storage classes to protect, usage from metrics.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import msgspec
import yaml

from seatrial.control import disruption, qos
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import ENDED, terms_of, with_label_keys
from seatrial.control.scheduler.demand import amounts, demand
from seatrial.control.writes import Evict, RecordEvent, Write
from seatrial.kube import selectors
from seatrial.kube.objects import (
    ConfigMap,
    Deployment,
    LabelSelector,
    Node,
    Object,
    Pod,
    PodDisruptionBudget,
    Taint,
)
from seatrial.kube.objects.pods import TopologySpreadConstraint

NAME: Final = "descheduler"
INTERVAL: Final = timedelta(minutes=5)
INTERVAL_LEAST: Final = timedelta(seconds=1)
TEXT_MAX: Final = 100_000
SYSTEM_CRITICAL_PRIORITY: Final = 2_000_000_000
EVICT: Final = "descheduler.alpha.kubernetes.io/evict"
NO_EVICTION: Final = "descheduler.alpha.kubernetes.io/prefer-no-eviction"
_MIRROR: Final = "kubernetes.io/config.mirror"
_SOURCE: Final = "kubernetes.io/config.source"
_KIND: Final = "DeschedulerPolicy"
_VERSION: Final = "descheduler/v1alpha2"
_PROTECTED: Final = ("PodsWithLocalStorage", "SystemCriticalPods", "FailedBarePods", "DaemonSetPods")
_QOS: Final = ("BestEffort", "Burstable", "Guaranteed")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_BASIC: Final = ("cpu", "memory", "pods")
_UNIT_S: Final = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_MAX_S: Final = 2**63 / 1e9

Count = Annotated[int, msgspec.Meta(ge=0)]
Percentage = Annotated[float, msgspec.Meta(ge=0, le=100)]
T = TypeVar("T")


class _UnreadableError(Exception):
    """The policy cannot be followed."""


class Raw(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy says, in its own words."""


class Namespaces(Raw, frozen=True):
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def allow(self, namespace: str) -> bool:
        return (not self.include or namespace in self.include) and namespace not in self.exclude


class Scope(Raw, frozen=True):
    """The pods that a plugin is for."""

    namespaces: Namespaces = Namespaces()
    label_selector: LabelSelector = LabelSelector()

    def covers(self, pod: Pod) -> bool:
        meta = pod.metadata
        return self.namespaces.allow(meta.namespace) and selectors.matches(self.label_selector, meta.labels)


class Protections(Raw, frozen=True):
    default_disabled: tuple[str, ...] = ()
    extra_enabled: tuple[str, ...] = ()
    config: None = None


class Threshold(Raw, frozen=True):
    value: int | None = None
    name: None = None


class EvictorArgs(Raw, frozen=True):
    node_selector: str = ""
    label_selector: LabelSelector = LabelSelector()
    namespace_label_selector: None = None
    priority_threshold: Threshold = Threshold()
    node_fit: bool = False
    min_replicas: Count = 0
    min_pod_age: str = ""
    no_eviction_policy: str = ""
    pod_protections: Protections = Protections()
    evict_local_storage_pods: bool = False
    evict_daemon_set_pods: bool = False
    evict_system_critical_pods: bool = False
    evict_failed_bare_pods: bool = False
    ignore_pvc_pods: bool = False
    ignore_pods_without_pdb: bool = msgspec.field(default=False, name="ignorePodsWithoutPDB")

    def protections(self) -> frozenset[str]:
        """The flags count only where `podProtections` says nothing."""
        disabled, extra = self.pod_protections.default_disabled, self.pod_protections.extra_enabled
        if disabled or extra:
            return frozenset(_PROTECTED) - frozenset(disabled) | frozenset(extra)
        flags = {
            "PodsWithLocalStorage": not self.evict_local_storage_pods,
            "DaemonSetPods": not self.evict_daemon_set_pods,
            "SystemCriticalPods": not self.evict_system_critical_pods,
            "FailedBarePods": not self.evict_failed_bare_pods,
            "PodsWithPVC": self.ignore_pvc_pods,
            "PodsWithoutPDB": self.ignore_pods_without_pdb,
        }
        return frozenset(name for name, on in flags.items() if on)


class DuplicatesArgs(Scope, frozen=True):
    exclude_owner_kinds: tuple[str, ...] = ()


class SpreadArgs(Scope, frozen=True):
    constraints: tuple[str, ...] = ()
    topology_balance_node_fit: bool = True


class NodeAffinityArgs(Scope, frozen=True):
    node_affinity_type: tuple[str, ...] = ()


class NodeTaintsArgs(Scope, frozen=True):
    include_prefer_no_schedule: bool = False
    excluded_taints: tuple[str, ...] = ()
    included_taints: tuple[str, ...] | None = None

    def count(self, taint: Taint) -> bool:
        effects = ("NoSchedule", "PreferNoSchedule") if self.include_prefer_no_schedule else ("NoSchedule",)
        names = {taint.key, f"{taint.key}={taint.value}"} if taint.value else {taint.key}
        included = self.included_taints is None or not names.isdisjoint(self.included_taints)
        return taint.effect in effects and included and names.isdisjoint(self.excluded_taints)


class EvictionLimits(Raw, frozen=True):
    node: Count | None = None


class UtilizationArgs(Raw, frozen=True):
    thresholds: Mapping[str, Percentage] = {}
    target_thresholds: Mapping[str, Percentage] = {}
    number_of_nodes: int = 0
    use_deviation_thresholds: bool = False
    evictable_namespaces: Namespaces = Namespaces()
    eviction_limits: EvictionLimits = EvictionLimits()
    metrics_utilization: None = None

    def is_valid(self) -> bool:
        low, high = self.thresholds, self.target_thresholds
        return (
            bool(low)
            and low.keys() == high.keys()
            and not self.evictable_namespaces.include
            and (self.use_deviation_thresholds or all(low[name] <= high[name] for name in low))
        )


class PluginConfig(Raw, frozen=True):
    name: str = ""
    args: Mapping[str, Any] = {}


class Enabled(Raw, frozen=True):
    enabled: tuple[str, ...] = ()


class Plugins(Raw, frozen=True):
    deschedule: Enabled = Enabled()
    balance: Enabled = Enabled()


class Profile(Raw, frozen=True):
    name: str = ""
    plugin_config: tuple[PluginConfig, ...] = ()
    plugins: Plugins = Plugins()

    def args(self, plugin: str, typed: type[T]) -> T:
        raw = next((each.args for each in self.plugin_config if each.name == plugin), {})
        return msgspec.convert(raw, typed)


class Policy(Raw, frozen=True):
    api_version: str = ""
    kind: str = ""
    profiles: tuple[Profile, ...] = ()
    node_selector: str = ""
    max_no_of_pods_to_evict_per_node: Count | None = None
    max_no_of_pods_to_evict_per_namespace: Count | None = None
    max_no_of_pods_to_evict_total: Count | None = None


class Outcome(Enum):
    """What became of one eviction; the limits say where to go on."""

    DONE = "done"
    REFUSED = "refused"
    NODE_LIMIT = "node limit"
    TOTAL_LIMIT = "total limit"


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a short text can stand for a huge one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def has_policy(obj: Object) -> bool:
    return isinstance(obj, ConfigMap) and any(_KIND in text for text in obj.data.values())


def reconcile(seen: Seen) -> Decision:
    policies = seen.subject
    assert isinstance(policies, ConfigMap)
    interval = _interval(seen.all(Deployment))
    last = seen.memory
    if isinstance(last, datetime) and seen.now < last + interval:
        return Decision(wake_at=last + interval, memory=last)
    try:
        writes = _descheduled(_policy(policies), seen)
    except (_UnreadableError, msgspec.ValidationError, ValueError, RecursionError):
        return Decision()
    return Decision(writes, seen.now + interval, memory=seen.now)


def _policy(policies: ConfigMap) -> Policy:
    text = next(text for _, text in sorted(policies.data.items()) if _KIND in text)
    if len(text) > TEXT_MAX:
        raise _UnreadableError("too long")
    try:
        raw = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise _UnreadableError("no YAML") from error
    policy = msgspec.convert(_without_nulls(raw), Policy)
    if (policy.kind, policy.api_version) != (_KIND, _VERSION):
        raise _UnreadableError("no policy of this version")
    return policy


def _without_nulls(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_nulls(value) for key, value in raw.items() if value is not None}
    return [_without_nulls(each) for each in raw] if isinstance(raw, list) else raw


def _interval(deployments: Iterable[Deployment]) -> timedelta:
    words = " ".join(
        word
        for deployment in deployments
        for container in deployment.spec.template.spec.containers
        if NAME in container.image
        for word in (*container.command, *container.args)
    )
    found = re.search(r"--descheduling-interval[= ](\S+)", words)
    wanted = _duration(found[1]) if found else None
    return max(wanted, INTERVAL_LEAST) if wanted else INTERVAL


def _duration(text: str) -> timedelta | None:
    """A Go duration; None for what is none."""
    if not re.fullmatch(r"(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+", text, re.ASCII) or len(text) > 30:
        return None
    parts = re.findall(r"([\d.]+)([a-zµ]+)", text)
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return timedelta(seconds=seconds) if seconds < _DURATION_MAX_S else None


def _descheduled(policy: Policy, seen: Seen) -> tuple[Write, ...]:
    """All plugins of the kind that mends, then all that balance. All arguments are read before anything is done."""
    round_ = _Round(policy, seen)
    mending = [plugin for profile in policy.profiles for plugin in _plugins(profile, round_, _DESCHEDULE)]
    balancing = [plugin for profile in policy.profiles for plugin in _plugins(profile, round_, _BALANCE)]
    if len(round_.nodes) > 1:
        for plugin in (*mending, *balancing):
            plugin()
    return tuple(round_.writes)


def _plugins(profile: Profile, round_: _Round, known: Mapping[str, tuple[type[Any], Any]]) -> list[Callable[[], None]]:
    evictor = _Evictor(profile.args("DefaultEvictor", EvictorArgs), round_)
    point = profile.plugins.deschedule if known is _DESCHEDULE else profile.plugins.balance
    found: list[Callable[[], None]] = []
    for name in dict.fromkeys(point.enabled):
        if name in known:
            typed, run = known[name]
            args = profile.args(name, typed)
            if isinstance(args, UtilizationArgs) and not args.is_valid():
                raise _UnreadableError("thresholds that contradict each other")
            found.append(partial(run, args, evictor, round_))
    return found


class _Round:
    """The cluster as this round saw it, and what the round has done so far."""

    def __init__(self, policy: Policy, seen: Seen) -> None:
        self.now, self.minor = seen.now, seen.minor
        self.ready = [node for node in seen.all(Node) if _is_ready(node)]
        wanted = selectors.parse(policy.node_selector)
        self.nodes = [node for node in self.ready if wanted.matches(node.metadata.labels)]
        self.writes: list[Write] = []
        self.budgets = {(each.metadata.namespace, each.metadata.name): each for each in seen.all(PodDisruptionBudget)}
        self.replicas = Counter(owner.uid for pod in seen.all(Pod) for owner in pod.metadata.owner_references)
        self._policy = policy
        self._evicted: dict[tuple[str, str], Pod] = {}
        self._pods: dict[str, list[Pod]] = {}
        self._used: dict[str, Counter[str]] = {}
        for pod in seen.all(Pod):
            if pod.spec.node_name and pod.status.phase not in ENDED:
                self._pods.setdefault(pod.spec.node_name, []).append(pod)
                used = self._used.setdefault(pod.spec.node_name, Counter())
                used.update({**demand(pod, self.minor).requests, "pods": 1})

    def on(self, node: Node) -> Sequence[Pod]:
        return self._pods.get(node.metadata.name, ())

    def used(self, node: Node) -> Mapping[str, int]:
        return self._used.get(node.metadata.name, {})

    def is_evicted(self, pod: Pod) -> bool:
        return (pod.metadata.namespace, pod.metadata.name) in self._evicted

    def budgets_of(self, pod: Pod) -> list[PodDisruptionBudget]:
        return [each for (namespace, _), each in self.budgets.items() if namespace == pod.metadata.namespace]

    def evict(self, pod: Pod, plugin: str) -> Outcome:
        gone, policy = self._evicted.values(), self._policy
        node, namespace = pod.spec.node_name, pod.metadata.namespace
        if _reached(policy.max_no_of_pods_to_evict_total, len(gone)):
            return Outcome.TOTAL_LIMIT
        if _reached(policy.max_no_of_pods_to_evict_per_node, sum(each.spec.node_name == node for each in gone)):
            return Outcome.NODE_LIMIT
        in_namespace = sum(each.metadata.namespace == namespace for each in gone)
        if _reached(policy.max_no_of_pods_to_evict_per_namespace, in_namespace):
            return Outcome.REFUSED
        budget = disruption.evict(pod, self.budgets_of(pod), self.now)
        if isinstance(budget, disruption.Refused):
            return Outcome.REFUSED
        if budget is not None:
            self.budgets[namespace, budget.metadata.name] = budget
        self._evicted[namespace, pod.metadata.name] = pod
        message = f"pod eviction from {node} node by sigs.k8s.io/descheduler"
        self.writes += (Evict(pod), RecordEvent(pod, "Normal", plugin, message))
        return Outcome.DONE

    def fits(self, pod: Pod, node: Node) -> bool:
        """Whether the node could take the pod, by upstream's rough idea of the scheduler."""
        if node.spec.unschedulable or machines.affinity_conflicts(pod, node) or not _admits(pod, node):
            return False
        if any(
            term.topology_key in node.metadata.labels
            and other.metadata.name != pod.metadata.name
            and other.metadata.namespace in (term.namespaces or {pod.metadata.namespace})
            and selectors.matches(term.selector, other.metadata.labels)
            for term in terms_of(pod, self.minor).anti_affinity
            for other in self.on(node)
        ):
            return False
        if pod.spec.node_name == node.metadata.name:
            return True
        has, used = amounts(node.status.allocatable), self.used(node)
        wanted = {**demand(pod, self.minor).requests, "pods": 1}
        return all(value <= has.get(name, 0) - used.get(name, 0) for name, value in wanted.items())

    def fits_elsewhere(self, pod: Pod, nodes: Iterable[Node]) -> bool:
        return any(self.fits(pod, node) for node in nodes if node.metadata.name != pod.spec.node_name)


class _Evictor:
    """DefaultEvictor: which pods may be evicted at all."""

    def __init__(self, args: EvictorArgs, round_: _Round) -> None:
        self._args, self._round = args, round_
        self._protections = args.protections()
        wanted = selectors.parse(args.node_selector)
        self._nodes = [node for node in round_.ready if wanted.matches(node.metadata.labels)]
        self._age = _duration(args.min_pod_age) if args.min_pod_age else None
        if args.min_pod_age and self._age is None:
            raise _UnreadableError("no duration")

    def may(self, pod: Pod) -> bool:
        """Filter: the annotation that asks for it overrides every protection."""
        if self._round.is_evicted(pod):
            return False
        annotations = pod.metadata.annotations
        if EVICT in annotations:
            return True
        if self._args.no_eviction_policy == "Mandatory" and NO_EVICTION in annotations:
            return False
        if _MIRROR in annotations or annotations.get(_SOURCE, "api") != "api":
            return False
        return pod.metadata.deletion_timestamp is None and not self._is_protected(pod) and self._is_ripe(pod)

    def fits(self, pod: Pod) -> bool:
        """PreEvictionFilter."""
        return not self._args.node_fit or self._round.fits_elsewhere(pod, self._nodes)

    def may_and_fits(self, pod: Pod) -> bool:
        return self.may(pod) and self.fits(pod)

    def _is_protected(self, pod: Pod) -> bool:
        spec, owners = pod.spec, pod.metadata.owner_references
        threshold = self._args.priority_threshold.value
        threshold = SYSTEM_CRITICAL_PRIORITY if threshold is None else min(threshold, SYSTEM_CRITICAL_PRIORITY)
        protected = {
            "PodsWithLocalStorage": any(
                each.host_path is not None or each.empty_dir is not None for each in spec.volumes
            ),
            "PodsWithPVC": any(each.persistent_volume_claim is not None for each in spec.volumes),
            "DaemonSetPods": any(owner.kind == "DaemonSet" for owner in owners),
            "SystemCriticalPods": spec.priority is not None and spec.priority >= threshold,
            "FailedBarePods": not owners,
            "PodsWithoutPDB": not any(
                selectors.matches(each.spec.selector, pod.metadata.labels) for each in self._round.budgets_of(pod)
            ),
            "PodsWithResourceClaims": bool(spec.resource_claims),
        }
        bare = not owners and pod.status.phase != "Failed"
        return bare or any(protected[name] for name in self._protections if name in protected)

    def _is_ripe(self, pod: Pod) -> bool:
        owners, start = pod.metadata.owner_references, pod.status.start_time
        if self._age is not None and (start is None or self._round.now - start < self._age):
            return False
        if len(owners) == 1 and self._round.replicas[owners[0].uid] < self._args.min_replicas > 1:
            return False
        return selectors.matches(self._args.label_selector, pod.metadata.labels)


def _violating_node_affinity(args: NodeAffinityArgs, evictor: _Evictor, round_: _Round) -> None:
    def fits(pod: Pod) -> bool:
        return any(round_.fits(pod, node) for node in round_.nodes)

    def no_longer_matches(pod: Pod, node: Node) -> bool:
        required = machines.required_terms(pod) is not None
        return required and bool(machines.affinity_conflicts(pod, node)) and fits(pod)

    def prefers_another(pod: Pod, node: Node) -> bool:
        return max(_liking(pod, each) for each in round_.nodes) > _liking(pod, node) and fits(pod)

    known = {_REQUIRED: no_longer_matches, _PREFERRED: prefers_another}
    for kind in args.node_affinity_type:
        if kind in known:
            _evict_wrong("RemovePodsViolatingNodeAffinity", args, evictor, round_, known[kind])


def _liking(pod: Pod, node: Node) -> int:
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    terms = affinity.preferred_during_scheduling_ignored_during_execution if affinity is not None else ()
    return sum(each.weight for each in terms if each.preference and machines.matches_term(each.preference, node))


def _violating_node_taints(args: NodeTaintsArgs, evictor: _Evictor, round_: _Round) -> None:
    def is_wrong(pod: Pod, node: Node) -> bool:
        return any(
            args.count(taint) and not machines.tolerates(pod.spec.tolerations, taint) for taint in node.spec.taints
        )

    _evict_wrong("RemovePodsViolatingNodeTaints", args, evictor, round_, is_wrong)


def _evict_wrong(
    plugin: str, scope: Scope, evictor: _Evictor, round_: _Round, is_wrong: Callable[[Pod, Node], bool]
) -> None:
    for node in round_.nodes:
        for pod in round_.on(node):
            if not (scope.covers(pod) and is_wrong(pod, node) and evictor.may_and_fits(pod)):
                continue
            match round_.evict(pod, plugin):
                case Outcome.TOTAL_LIMIT:
                    return
                case Outcome.NODE_LIMIT:
                    break


def _duplicates(args: DuplicatesArgs, evictor: _Evictor, round_: _Round) -> None:
    """Pods of one owner with the same images, more of them on one node than an even share."""
    total: Counter[tuple[str, ...]] = Counter()
    repeated: dict[tuple[str, ...], dict[str, list[Pod]]] = {}
    for node in round_.nodes:
        known: set[frozenset[tuple[str, ...]]] = set()
        for pod in round_.on(node):
            owners = pod.metadata.owner_references
            excluded = any(owner.kind in args.exclude_owner_kinds for owner in owners)
            if not owners or excluded or not args.covers(pod) or not evictor.may_and_fits(pod):
                continue
            images = sorted(container.image for container in pod.spec.containers)
            keys = frozenset((pod.metadata.namespace, owner.kind, owner.name, *images) for owner in owners)
            total.update(keys)
            if keys in known:
                for key in keys:
                    repeated.setdefault(key, {}).setdefault(node.metadata.name, []).append(pod)
            known.add(keys)
    for key, by_node in sorted(repeated.items(), key=lambda item: item[0]):
        targets = _targets([pod for pods in by_node.values() for pod in pods], round_.nodes)
        if targets < 2:
            continue
        share = math.ceil(total[key] / targets)
        for pods in by_node.values():
            for pod in pods[share - 1 :]:
                outcome = Outcome.REFUSED if round_.is_evicted(pod) else round_.evict(pod, "RemoveDuplicates")
                if outcome is Outcome.TOTAL_LIMIT:
                    return
                if outcome is Outcome.NODE_LIMIT:
                    break


def _targets(pods: Iterable[Pod], nodes: Sequence[Node]) -> int:
    """How many nodes the pods may go to; a pod that may go to one only does not count."""
    found: set[str] = set()
    for pod in pods:
        mine = {
            node.metadata.name for node in nodes if _admits(pod, node) and not machines.affinity_conflicts(pod, node)
        }
        found |= mine if len(mine) > 1 else set()
    return len(found)


def _low_utilization(args: UtilizationArgs, evictor: _Evictor, round_: _Round) -> None:
    """From nodes that are asked for too much to such that are asked for little."""
    names = sorted({*_BASIC, *args.thresholds})
    has = {node.metadata.name: amounts(node.status.allocatable or node.status.capacity) for node in round_.nodes}
    usage = {node.metadata.name: {name: round_.used(node).get(name, 0) for name in names} for node in round_.nodes}
    percent = {
        node: {name: 100 * usage[node][name] / has[node][name] if has[node].get(name) else 0.0 for name in names}
        for node in usage
    }
    low, high = args.thresholds, args.target_thresholds
    if args.use_deviation_thresholds:
        mean = {name: sum(each[name] for each in percent.values()) / len(percent) for name in names}
        low = {name: min(100.0, max(0.0, mean[name] - value)) for name, value in low.items()}
        high = {name: min(100.0, max(0.0, mean[name] + value)) for name, value in high.items()}
    under, over = [], []
    for node in round_.nodes:
        mine = percent[node.metadata.name]
        if not node.spec.unschedulable and all(mine[name] <= value for name, value in low.items()):
            under.append(node)
        elif any(mine[name] > value for name, value in high.items()):
            over.append(node)
    if not under or len(under) <= args.number_of_nodes or len(under) == len(round_.nodes) or not over:
        return
    target = {
        node: {name: int(high.get(name, 100.0) * 0.01 * has[node].get(name, 0)) for name in names} for node in usage
    }
    left = Counter[str]()
    for each in under:
        for name in names:
            left[name] += target[each.metadata.name][name] - usage[each.metadata.name][name]
    for node in sorted(over, key=lambda node: (-sum(usage[node.metadata.name].values()), node.metadata.name)):
        uses, limit = usage[node.metadata.name], target[node.metadata.name]
        evicted = 0
        for pod in sorted(filter(evictor.may, round_.on(node)), key=_importance):
            above = any(uses[name] > limit[name] for name in names)
            if not above or min(left.values()) <= 0 or _reached(args.eviction_limits.node, evicted):
                break
            allowed = args.evictable_namespaces.allow(pod.metadata.namespace)
            if not (allowed and _tolerates_one(pod, under) and evictor.fits(pod)):
                continue
            match round_.evict(pod, "LowNodeUtilization"):
                case Outcome.TOTAL_LIMIT:
                    return
                case Outcome.NODE_LIMIT:
                    break
                case Outcome.DONE:
                    evicted += 1
                    moved = {**demand(pod, round_.minor).requests, "pods": 1}
                    for name in names:
                        uses[name] -= moved.get(name, 0)
                        left[name] -= moved.get(name, 0)


def _tolerates_one(pod: Pod, nodes: Iterable[Node]) -> bool:
    """Taints of any effect count, and upstream wants as many tolerations as there are taints."""
    mine = pod.spec.tolerations
    return any(
        len(mine) >= len(node.spec.taints) and all(machines.tolerates(mine, taint) for taint in node.spec.taints)
        for node in nodes
    )


def _importance(pod: Pod) -> tuple[bool, int, int, bool]:
    quality = _QOS.index(qos.of(pod))
    return pod.spec.priority is not None, pod.spec.priority or 0, quality, NO_EVICTION in pod.metadata.annotations


def _violating_spread(args: SpreadArgs, evictor: _Evictor, round_: _Round) -> None:
    """Of the pods that a spread constraint counts, those too many in a topology domain."""
    actions = args.constraints or ("DoNotSchedule",)
    by_namespace: dict[str, list[Pod]] = {}
    for node in round_.nodes:
        for pod in round_.on(node):
            if args.covers(pod) and evictor.may(pod):
                by_namespace.setdefault(pod.metadata.namespace, []).append(pod)
    chosen: dict[tuple[str, str], Pod] = {}
    for _, pods in sorted(by_namespace.items()):
        known: list[tuple[object, ...]] = []
        for pod in pods:
            for constraint in pod.spec.topology_spread_constraints:
                same = _identity(constraint, pod)
                if constraint.when_unsatisfiable in actions and same not in known:
                    known.append(same)
                    for each in _too_many(constraint, pod, pods, args, round_):
                        chosen[each.metadata.namespace, each.metadata.name] = each
    for _, pod in sorted(chosen.items()):
        if evictor.may_and_fits(pod):
            round_.evict(pod, "RemovePodsViolatingTopologySpreadConstraint")


def _selector(constraint: TopologySpreadConstraint, pod: Pod) -> LabelSelector | None:
    return with_label_keys(constraint.label_selector, pod.metadata.labels, constraint.match_label_keys)


def _identity(constraint: TopologySpreadConstraint, pod: Pod) -> tuple[object, ...]:
    """What makes two pods' constraints one: where they may go counts as far as the constraint honours it."""
    affinity = (pod.spec.node_selector, machines.required_terms(pod)) if _honours_affinity(constraint) else None
    tolerations = pod.spec.tolerations if constraint.node_taints_policy == "Honor" else None
    return constraint.max_skew, constraint.topology_key, _selector(constraint, pod), affinity, tolerations


def _honours_affinity(constraint: TopologySpreadConstraint) -> bool:
    return constraint.node_affinity_policy in ("", "Honor")


def _too_many(
    constraint: TopologySpreadConstraint, owner: Pod, pods: Iterable[Pod], args: SpreadArgs, round_: _Round
) -> list[Pod]:
    """The pods to move from the largest domains to the smallest, for the constraint as its `owner` has it."""
    key, selector = constraint.topology_key, _selector(constraint, owner)
    eligible = [
        node
        for node in round_.nodes
        if not (_honours_affinity(constraint) and machines.affinity_conflicts(owner, node))
        and (constraint.node_taints_policy != "Honor" or _admits(owner, node))
    ]
    value_of = {node.metadata.name: node.metadata.labels[key] for node in round_.nodes if key in node.metadata.labels}
    domains: dict[str, list[Pod]] = {
        value_of[node.metadata.name]: [] for node in eligible if node.metadata.name in value_of
    }
    for pod in pods:
        if (
            pod.spec.node_name in value_of
            and pod.metadata.deletion_timestamp is None
            and selectors.matches(selector, pod.metadata.labels)
        ):
            domains.setdefault(value_of[pod.spec.node_name], []).append(pod)
    sizes = [len(each) for each in domains.values()]
    if not sizes or max(sizes) - min(sizes) <= constraint.max_skew:
        return []
    mean = sum(sizes) / len(sizes)
    wanting = {value for value, each in domains.items() if len(each) < mean}
    room = [node for node in eligible if value_of.get(node.metadata.name) in wanting]
    ordered = [
        sorted(each, key=_steadiness) for _, each in sorted(domains.items(), key=lambda item: (len(item[1]), item[0]))
    ]
    chosen: list[Pod] = []
    first, last = 0, len(ordered) - 1
    while first < last:
        if len(ordered[last]) <= mean:
            last -= 1
        skew = len(ordered[last]) - len(ordered[first])
        above, below = math.ceil(len(ordered[last]) - mean), math.ceil(mean - len(ordered[first]))
        number = min(above, below, math.ceil((skew - constraint.max_skew) / 2))
        if skew <= constraint.max_skew or number <= 0:
            first += 1
            continue
        ordered[last].sort(key=lambda pod: round_.fits_elsewhere(pod, room))
        moved = ordered[last][-number:]
        del ordered[last][-number:]
        ordered[first] += moved
        chosen += (pod for pod in moved if not args.topology_balance_node_fit or round_.fits_elsewhere(pod, room))
    return chosen


def _steadiness(pod: Pod) -> tuple[bool, int]:
    """The last are moved first. That is the highest priority, against upstream's own comment."""
    affinity = pod.spec.affinity
    bound = bool(pod.spec.node_selector) or (affinity is not None and affinity.node_affinity is not None)
    return not bound, -1 if pod.spec.priority is None else pod.spec.priority


def _admits(pod: Pod, node: Node) -> bool:
    return machines.untolerated(pod, node) is None


def _is_ready(node: Node) -> bool:
    return all(each.status == "True" for each in node.status.conditions if each.type == "Ready")


def _reached(limit: int | None, number: int) -> bool:
    return limit is not None and number >= limit


_DESCHEDULE: Final[Mapping[str, tuple[type[Any], Any]]] = {
    "RemovePodsViolatingNodeAffinity": (NodeAffinityArgs, _violating_node_affinity),
    "RemovePodsViolatingNodeTaints": (NodeTaintsArgs, _violating_node_taints),
}
_BALANCE: Final[Mapping[str, tuple[type[Any], Any]]] = {
    "LowNodeUtilization": (UtilizationArgs, _low_utilization),
    "RemoveDuplicates": (DuplicatesArgs, _duplicates),
    "RemovePodsViolatingTopologySpreadConstraint": (SpreadArgs, _violating_spread),
}

CONTROLLER: Final = Controller(
    name="sigs.k8s.io.descheduler",
    actor="Descheduler",
    subject=ConfigMap,
    reads=(
        Read(Pod, Relation.ALL, wakes=False),
        Read(Node, Relation.ALL, wakes=False),
        Read(PodDisruptionBudget, Relation.ALL, wakes=False),
        Read(Deployment, Relation.NEIGHBOUR, wakes=False),
    ),
    reconcile=reconcile,
    concerned=has_policy,
)
