"""The cluster-proportional-autoscaler: replicas that follow the number of nodes and cores, as cluster DNS wants them.

Its subject is the Deployment that runs it, its parameters are in a ConfigMap, as its own manifests have it:
`--target=deployment/coredns --configmap=dns-autoscaler --default-params={"linear": {...}}`. It looks every ten seconds
(`--poll-period-seconds`); parameters that cannot be read leave the target as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Update
from seatrial.kube.objects import ConfigMap, Deployment, Node, Object, ReplicaSet, ReplicationController

IMAGE: Final = "cluster-proportional-autoscaler"
POLL: Final = 10
_TARGETS: Final[Mapping[str, type[Deployment | ReplicaSet | ReplicationController]]] = {
    "deployment": Deployment,
    "replicaset": ReplicaSet,
    "replicationcontroller": ReplicationController,
}


class Linear(msgspec.Struct, frozen=True, rename="camel"):
    """Replicas in proportion: the larger of cores and nodes counts."""

    cores_per_replica: float = 0
    nodes_per_replica: float = 0
    min: int = 1
    max: int = 0
    prevent_single_point_failure: bool = False
    include_unschedulable_nodes: bool = False

    def is_valid(self) -> bool:
        ratios = (self.cores_per_replica, self.nodes_per_replica)
        return min(ratios) >= 0 and any(ratios) and self.min >= 0 and (not self.max or self.max >= self.min)

    def replicas(self, cores: float, nodes: int) -> int:
        by_cores = math.ceil(cores / self.cores_per_replica) if self.cores_per_replica > 0 else 0
        by_nodes = math.ceil(nodes / self.nodes_per_replica) if self.nodes_per_replica > 0 else 0
        wanted = max(by_cores, by_nodes)
        if self.prevent_single_point_failure and nodes > 1:
            wanted = max(2, wanted)
        if self.max:
            wanted = min(self.max, wanted)
        return max(self.min, wanted, 1)


class Ladder(msgspec.Struct, frozen=True, rename="camel"):
    """Replicas by steps: of each ladder the highest step that is reached; the larger one counts. They may be none."""

    cores_to_replicas: tuple[tuple[int, int], ...] = ()
    nodes_to_replicas: tuple[tuple[int, int], ...] = ()
    include_unschedulable_nodes: bool = False

    def is_valid(self) -> bool:
        steps = (*self.cores_to_replicas, *self.nodes_to_replicas)
        return all(least > 0 and replicas >= 0 for least, replicas in steps)

    def replicas(self, cores: float, nodes: int) -> int:
        ladders = ((self.cores_to_replicas, cores), (self.nodes_to_replicas, nodes))
        return max((_step(steps, size) for steps, size in ladders if steps), default=1)


def reconcile(seen: Seen) -> Decision:
    autoscaler = seen.subject
    assert isinstance(autoscaler, Deployment)
    flags = _flags(autoscaler)
    wake_at = seen.now + timedelta(seconds=_number(flags.get("poll-period-seconds"), POLL))
    kind, name = target_of(autoscaler)
    typed = _TARGETS.get(kind)
    target = next((each for each in seen.all(typed) if each.metadata.name == name), None) if typed else None
    parameters = _parameters(flags, seen.all(ConfigMap))
    if target is None or parameters is None:
        return Decision(wake_at=wake_at)
    nodes = [node for node in seen.all(Node) if parameters.include_unschedulable_nodes or not node.spec.unschedulable]
    cores = sum(node.status.allocatable["cpu"].milli for node in nodes if "cpu" in node.status.allocatable) / 1000
    wanted = parameters.replicas(cores, len(nodes))
    if wanted == (1 if target.spec.replicas is None else target.spec.replicas):
        return Decision(wake_at=wake_at)
    return Decision((Update(target, _sized(target, wanted)),), wake_at)


def is_autoscaler(obj: Object) -> bool:
    return isinstance(obj, Deployment) and any(IMAGE in each.image for each in obj.spec.template.spec.containers)


def target_of(autoscaler: Deployment) -> tuple[str, str]:
    """Kind and name, in small letters, of what it scales."""
    kind, _, name = _flags(autoscaler).get("target", "").lower().partition("/")
    return kind, name


def _sized(
    target: Deployment | ReplicaSet | ReplicationController, replicas: int
) -> Deployment | ReplicaSet | ReplicationController:
    match target:
        case Deployment():
            return replace(target, spec=replace(target.spec, replicas=replicas))
        case ReplicaSet():
            return replace(target, spec=replace(target.spec, replicas=replicas))
        case ReplicationController():
            return replace(target, spec=replace(target.spec, replicas=replicas))


def _flags(autoscaler: Deployment) -> dict[str, str]:
    words = [
        word
        for container in autoscaler.spec.template.spec.containers
        if IMAGE in container.image
        for word in (*container.command, *container.args)
    ]
    found = (re.fullmatch(r"--([a-z-]+)=(.*)", word, re.DOTALL) for word in words)
    return {each[1]: each[2] for each in found if each is not None}


def _parameters(flags: Mapping[str, str], config_maps: Sequence[ConfigMap]) -> Linear | Ladder | None:
    """The ConfigMap's, or, while there is none, the defaults given as a flag."""
    found = next((each for each in config_maps if each.metadata.name == flags.get("configmap")), None)
    texts: Mapping[str, Any] = found.data if found is not None else _json(flags.get("default-params", "{}"))
    for mode, typed in (("linear", Linear), ("ladder", Ladder)):
        if mode in texts:
            raw = _json(texts[mode]) if isinstance(texts[mode], str) else texts[mode]
            return _read(typed, raw)
    return None


def _read(typed: type[Linear] | type[Ladder], raw: Mapping[str, Any]) -> Linear | Ladder | None:
    try:
        found = msgspec.convert(raw, typed)
    except msgspec.ValidationError:
        return None
    assert isinstance(found, Linear | Ladder)
    return found if found.is_valid() else None


def _json(text: str) -> Mapping[str, Any]:
    try:
        raw = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _step(ladder: Sequence[tuple[int, int]], size: float) -> int:
    """Below the first step, the first step's replicas."""
    steps = sorted(ladder)
    reached = [replicas for least, replicas in steps if least <= size]
    return reached[-1] if reached else steps[0][1]


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else default


CONTROLLER: Final = Controller(
    name=IMAGE,
    actor="Cluster-proportional autoscaler",
    subject=Deployment,
    reads=(
        Read(ConfigMap, Relation.NEIGHBOUR, wakes=False),
        Read(Deployment, Relation.NEIGHBOUR, wakes=False),
        Read(ReplicaSet, Relation.NEIGHBOUR, wakes=False),
        Read(ReplicationController, Relation.NEIGHBOUR, wakes=False),
        Read(Node, Relation.ALL, wakes=False),
    ),
    reconcile=reconcile,
    concerned=is_autoscaler,
)
