"""The model of a system that is kept up: pods that somebody ends again and again, and controllers that make them anew.

Workloads are installed as the first order of moves has it; from there every order is explored. Others than those asked
about stand still. A descheduler looks when all that it has done before has come to rest (`rounds/apart`); that its
interval has passed, and that pods are as old as it wants them, is a matter of time.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec

from seatrial.check.model import keeping, symmetry
from seatrial.check.model.control import Control
from seatrial.check.model.keeping import Draining, Faults, Filling, Keeping, PlacingOnce, Tainting, Uncordoning
from seatrial.check.model.model import Model, Mover
from seatrial.check.model.pool import LONG_AGO, NOW, Pool, with_metadata
from seatrial.check.model.space import Label, Space, State
from seatrial.check.runs.rollouts import KINDS
from seatrial.control import deployment, disruption, replicaset, replicationcontroller, statefulset
from seatrial.control.addons import descheduler
from seatrial.control.controller import NEWEST_MINOR, Controller, Seen
from seatrial.control.ownership import ready_since
from seatrial.control.writes import RecordEvent
from seatrial.kube.objects import (
    ConfigMap,
    ControllerRevision,
    Deployment,
    Node,
    Object,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    canonical,
)

Kept = Deployment | StatefulSet | ReplicaSet | ReplicationController
KEPT: Final = (Deployment, StatefulSet, ReplicaSet, ReplicationController)
OPTIONAL: Final = (Filling.name, Draining.name)
"""What need not happen."""
ENDING: Final = (Tainting.name, f"{Keeping.name} fails", descheduler.CONTROLLER.name)
"""Acts by which pods end that nobody asked to end."""
ANCIENT: Final = LONG_AGO - timedelta(days=3650)
_CONTROLLERS: Final[tuple[Controller, ...]] = (
    deployment.CONTROLLER,
    replicaset.CONTROLLER,
    replicationcontroller.CONTROLLER,
    statefulset.CONTROLLER,
    disruption.CONTROLLER,
)
SETTLING: Final = 40
"""Moves per pod within which an install comes to rest if it ever does in the order that is tried."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is asked: `policies` are a descheduler's, `pressure`: one node may come under disk pressure."""

    workloads: tuple[Kept, ...]
    nodes: tuple[Node, ...]
    others: tuple[Pod, ...] = ()
    budgets: tuple[PodDisruptionBudget, ...] = ()
    policies: tuple[ConfigMap, ...] = ()
    pressure: bool = False
    leaving: int = 0
    """How many pods may be on their way out when a taint evicts the next; 0: how long they take decides nothing."""
    named_nodes: frozenset[str] = frozenset()
    minor: int = NEWEST_MINOR

    @property
    def asked(self) -> tuple[Hashable, ...]:
        parts = (self.workloads, self.nodes, self.others, self.budgets, self.policies)
        known = tuple(tuple(canonical(each) for each in part) for part in parts)
        return (*known, self.pressure, self.leaving, self.named_nodes, self.minor)


class Upkeep:
    """The model; `start` is where it is explored from, and `installed` whether all was at rest there."""

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self.pool = pool = Pool(_forget)
        kinds: list[type] = [Deployment, ReplicaSet, ReplicationController, StatefulSet]
        kinds += [ControllerRevision, PersistentVolumeClaim]
        kinds += [PodDisruptionBudget] if keep.budgets else []
        kinds += [ConfigMap] if keep.policies else []
        self.space = space = Space((*kinds, Pod, Node, Faults))
        names = any(_template(each).spec.node_name for each in keep.workloads)
        controls = [
            Control(each, pool, space, keep.minor, fixed=keep.others)
            for each in _CONTROLLERS
            if each.subject in space.slots
        ]
        same = symmetry.groups(keep.nodes, keep.others, keep.named_nodes)
        slots = (space.pods, space.slots[Node]) if keep.pressure or keep.policies else (space.pods,)
        rename = symmetry.Renaming(pool, same, slots) if same else None
        placing = PlacingOnce(pool, space, keep.others, rename, keep.minor)
        nodes = Keeping(pool, space, keeping.healthy, keep.others, checks=names, minor=keep.minor)
        movers: list[Mover] = [*controls, placing, nodes, Tainting(pool, space, keep.minor, most=keep.leaving)]
        settles = [mover.name for mover in movers]
        self._rounds = (
            Control(descheduler.CONTROLLER, pool, space, keep.minor, fixed=keep.others) if keep.policies else None
        )
        if self._rounds is not None:
            out = frozenset(node.metadata.name for node in keep.nodes if node.spec.unschedulable)
            movers += [Uncordoning(pool, space, out), self._rounds, Draining(pool, space, rename)]
        movers.append(Filling(pool, space, keep.minor))
        subjects = [
            with_metadata(each, uid=str(each.key), generation=1, creation_timestamp=LONG_AGO)
            for each in (*keep.workloads, *keep.budgets, *keep.policies)
        ]
        self.model = Model(
            pool,
            space,
            (*subjects, *keep.nodes),
            (Faults(int(keep.pressure), int(bool(keep.policies))),),
            movers,
            yields={
                descheduler.CONTROLLER.name: [*settles, Uncordoning.name],
                Draining.name: [*settles, Uncordoning.name],
                Uncordoning.name: settles,
            },
            rename=rename,
        )
        self.controls = [*controls, *([self._rounds] if self._rounds is not None else [])]
        self.installed = self._install()

    def _install(self) -> bool:
        """Lets the first possible move happen until nobody but a descheduler can do anything, if that comes."""
        state = first = self.model.initial
        pods = sum(1 if each.spec.replicas is None else each.spec.replicas for each in self.keep.workloads)
        for _ in range(SETTLING * (pods + len(self.keep.workloads) + 1)):
            moves = self.model.effects(state)
            move = next(((effect, after) for effect, after in moves if not self._waits(effect.label)), None)
            if move is None:
                self.model.initial = self.model.renamed(state)
                return True
            if move[0].label[0] in ENDING:
                break
            state = move[1]
        self.model.initial = first
        return False

    def evictions(self, state: State) -> list[tuple[str, str]]:
        """What a round of the descheduler does in a state: the plugin, and the owner of a pod, for each eviction."""
        objects: dict[type[Object], tuple[Object, ...]] = {}
        for kind in (Pod, Node, PodDisruptionBudget):
            slot = state[self.space.slots[kind]] if kind in self.space.slots else ()
            objects[kind] = tuple(self.pool.named(number, position) for position, number in enumerate(slot))
        objects[Pod] = (*objects[Pod], *self.keep.others)
        decision = descheduler.reconcile(Seen(self.keep.policies[0], objects, NOW, self.keep.minor))
        said = [write for write in decision.writes if isinstance(write, RecordEvent)]
        owners = [event.about.metadata.controller for event in said]
        return [(event.reason, owner.name if owner else "") for event, owner in zip(said, owners, strict=True)]

    @staticmethod
    def _waits(label: Label) -> bool:
        return label[0] in (*OPTIONAL, descheduler.CONTROLLER.name)

    @property
    def sampled_ties(self) -> bool:
        return any(control.sampled_ties for control in self.controls)

    def census(self, state: State) -> str:
        counts: dict[str, int] = {}
        for number in state[self.space.pods]:
            pod: Pod = self.pool[number]
            if pod.metadata.deletion_timestamp is not None:
                how = "stopping"
            elif not pod.spec.node_name:
                how = "without a node"
            elif pod.status.phase == "Failed":
                how = "failed"
            else:
                how = "ready" if ready_since(pod) is not None else "starting"
            counts[how] = counts.get(how, 0) + 1
        parts = [f"{count} pod{'s' * (count > 1)} {how}" for how, count in counts.items()]
        return ", ".join(parts) or "there are no pods"


def _template(workload: Kept) -> Any:
    return workload.spec.template


def _forget(item: Object) -> Object:
    """Statuses that only repeat the rest of a state; since when a pod has run: it is as old as anybody asks."""
    if isinstance(item, Deployment | ReplicaSet):
        return KINDS[Deployment].forget(item)
    if isinstance(item, StatefulSet):
        return KINDS[StatefulSet].forget(item)
    if isinstance(item, Pod) and item.status.start_time not in (None, ANCIENT):
        return msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, start_time=ANCIENT))
    if isinstance(item, PodDisruptionBudget) and item.status.disrupted_pods:
        # A pod that is evicted is deleted in the same move, which the budget's controller sees by itself.
        return msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, disrupted_pods={}))
    return item
