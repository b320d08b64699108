"""How a scheduler is configured: which plug-ins decide, with what weights and arguments.

`DEFAULT` is upstream's default profile; `read` understands a `KubeSchedulerConfiguration` as data. Names and defaults:
`kubescheduler.config.k8s.io/v1`. Plug-ins that are not modelled (DynamicResources, out-of-tree ones) are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from seatrial.kube.objects import parse_as
from seatrial.kube.objects.pods import NodeAffinity, TopologySpreadConstraint

NAME: Final = "default-scheduler"
FILTERS: Final = (
    "NodeName",
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeDeclaredFeatures",
)
SCORES: Final[Mapping[str, int]] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "VolumeBinding": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
_ALL: Final = (
    "SchedulingGates",
    "PrioritySort",
    "NodeName",
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "DefaultPreemption",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "DefaultBinder",
    "NodeDeclaredFeatures",
)
_PREPARED: Final = ("TaintToleration", "PodTopologySpread", "InterPodAffinity")
"""Scores that read what their own PreScore left."""
_CPU_AND_MEMORY: Final = (("cpu", 1), ("memory", 1))
_SYSTEM_SPREAD: Final = (
    TopologySpreadConstraint(topology_key="kubernetes.io/hostname", when_unsatisfiable="ScheduleAnyway", max_skew=3),
    TopologySpreadConstraint(
        topology_key="topology.kubernetes.io/zone", when_unsatisfiable="ScheduleAnyway", max_skew=5
    ),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One scheduler: `filters` and `scores` in the order they are asked, and the plug-ins' arguments."""

    name: str = NAME
    filters: tuple[str, ...] = FILTERS
    scores: Mapping[str, int] = field(default_factory=lambda: SCORES)
    unprepared: tuple[str, ...] = ()  # scores that fail: what they count beforehand (PreScore) is off
    preempts: bool = True
    gates: bool = True
    strategy: str = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = _CPU_AND_MEMORY
    shape: tuple[tuple[int, int], ...] = ()  # of RequestedToCapacityRatio: utilisation and score (0..10)
    ignored_resources: frozenset[str] = frozenset()
    ignored_groups: frozenset[str] = frozenset()
    balanced_resources: tuple[str, ...] = ("cpu", "memory")
    spread: tuple[TopologySpreadConstraint, ...] = _SYSTEM_SPREAD
    spread_by_system: bool = True
    added_affinity: NodeAffinity | None = None
    hard_affinity_weight: int = 1
    ignore_preferred_of_others: bool = False
    candidates_percentage: int = 10
    candidates_least: int = 100
    volume_shape: tuple[tuple[int, int], ...] = ((0, 10), (100, 0))


DEFAULT: Final = Profile()


def read(raw: Mapping[str, Any]) -> tuple[Profile, ...]:
    """The profiles of a KubeSchedulerConfiguration. Raises `msgspec.ValidationError` for arguments of a wrong shape."""
    given: Sequence[Mapping[str, Any]] = raw.get("profiles") or ({},)
    return tuple(_profile(each) for each in given)


def _profile(raw: Mapping[str, Any]) -> Profile:
    plugins: Mapping[str, Any] = raw.get("plugins") or {}
    scores = {name: weight for name, weight in _at(plugins, "score").items() if name in SCORES}
    prepared = _at(plugins, "preScore")
    profile = Profile(
        name=raw.get("schedulerName") or NAME,
        filters=tuple(name for name in _at(plugins, "filter") if name in FILTERS),
        scores=scores,
        unprepared=tuple(name for name in scores if name in _PREPARED and name not in prepared),
        preempts="DefaultPreemption" in _at(plugins, "postFilter"),
        gates="SchedulingGates" in _at(plugins, "preEnqueue"),
    )
    for entry in raw.get("pluginConfig") or ():
        profile = _with_arguments(profile, entry.get("name", ""), entry.get("args") or {})
    return profile


def _at(plugins: Mapping[str, Any], point: str) -> dict[str, int]:
    """The plug-ins enabled at an extension point, with their weights: those named for the point, then multiPoint's."""
    everywhere = _merged({name: SCORES.get(name, 0) for name in _ALL}, plugins.get("multiPoint") or {})
    here: Mapping[str, Any] = plugins.get(point) or {}
    off = {entry.get("name") for entry in here.get("disabled") or ()}
    named = {entry["name"]: entry.get("weight") or 0 for entry in here.get("enabled") or ()}
    enabled: dict[str, int] = {}
    replaced = [name for name in everywhere if name in named]
    enabled.update({name: named[name] for name in replaced})
    enabled.update({name: weight for name, weight in named.items() if name not in replaced})
    if "*" not in off:
        enabled.update({name: weight for name, weight in everywhere.items() if name not in off and name not in named})
        if not named:
            enabled = {name: weight for name, weight in everywhere.items() if name not in off}
    return {name: weight or 1 for name, weight in enabled.items()}


def _merged(defaults: Mapping[str, int], given: Mapping[str, Any]) -> dict[str, int]:
    off = {entry.get("name") for entry in given.get("disabled") or ()}
    custom = {entry["name"]: entry.get("weight") or 0 for entry in given.get("enabled") or ()}
    enabled: dict[str, int] = {}
    if "*" not in off:
        for name, weight in defaults.items():
            if name not in off:
                enabled[name] = custom.pop(name) if name in custom else weight
    enabled.update(custom)
    return enabled


def _with_arguments(profile: Profile, name: str, args: Mapping[str, Any]) -> Profile:
    match name:
        case "NodeResourcesFit":
            strategy = args.get("scoringStrategy") or {}
            ratio = strategy.get("requestedToCapacityRatio") or {}
            return replace(
                profile,
                strategy=strategy.get("type") or "LeastAllocated",
                resources=_resources(strategy.get("resources")),
                shape=_shape(ratio.get("shape")),
                ignored_resources=frozenset(args.get("ignoredResources") or ()),
                ignored_groups=frozenset(args.get("ignoredResourceGroups") or ()),
            )
        case "NodeResourcesBalancedAllocation":
            return replace(profile, balanced_resources=tuple(name for name, _ in _resources(args.get("resources"))))
        case "PodTopologySpread":
            if args.get("defaultingType", "System") == "List":
                given = parse_as(tuple[TopologySpreadConstraint, ...], args.get("defaultConstraints") or [])
                return replace(profile, spread=given, spread_by_system=False)
        case "NodeAffinity" if args.get("addedAffinity"):
            return replace(profile, added_affinity=parse_as(NodeAffinity, args["addedAffinity"]))
        case "InterPodAffinity":
            weight = args.get("hardPodAffinityWeight")
            return replace(
                profile,
                hard_affinity_weight=1 if weight is None else weight,
                ignore_preferred_of_others=bool(args.get("ignorePreferredTermsOfExistingPods")),
            )
        case "DefaultPreemption":
            percentage, least = args.get("minCandidateNodesPercentage"), args.get("minCandidateNodesAbsolute")
            return replace(
                profile,
                candidates_percentage=10 if percentage is None else percentage,
                candidates_least=100 if least is None else least,
            )
        case "VolumeBinding" if args.get("shape"):
            return replace(profile, volume_shape=_shape(args["shape"]))
    return profile


def _resources(raw: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, int], ...]:
    return tuple((each["name"], each.get("weight") or 1) for each in raw) if raw else _CPU_AND_MEMORY


def _shape(raw: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[int, int], ...]:
    return tuple((point.get("utilization", 0), point.get("score", 0)) for point in raw or ())
