"""The model of one workload's rollout: install it, change its template as a plan says, every order of what follows.

The workload is explored by itself: other workloads' pods take room and stand still (`others/steady`). What differs
between the kinds of workloads is a row of `KINDS`: which controllers act, what a state holds, when a rollout is done,
how many pods may be missing meanwhile. Two reductions change no answer: nodes that differ in name only are renamed into
one order (`model.symmetry`), and nodes are taken together where none of them decides anything (`_any_node_will_do`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.model import symmetry
from seatrial.check.model.control import Control, Memory
from seatrial.check.model.faults import NONE, Crashing, Failing, Faults, Left
from seatrial.check.model.model import Model, Mover
from seatrial.check.model.pods import Ageing, Outcome, Placing, Running
from seatrial.check.model.pool import LONG_AGO, NOW, Pool, with_metadata
from seatrial.check.model.space import Memo, Slot, Space, State
from seatrial.check.model.user import Objects, Pair, PlanStep, Progress, User
from seatrial.control import nodelifecycle, relations, scheduler
from seatrial.control.controller import NEWEST_MINOR, Relation
from seatrial.control.daemonset import GENERATION_ANNOTATION
from seatrial.control.manager import CONTROLLERS
from seatrial.control.ownership import ready_since
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import (
    ContainerStatus,
    ControllerRevision,
    DaemonSet,
    Deployment,
    LimitRange,
    Node,
    Object,
    PersistentVolumeClaim,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
    ResourceQuota,
    StatefulSet,
    canonical,
)
from seatrial.kube.quantities import Quantity

RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
Workload = Deployment | StatefulSet | DaemonSet


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of workload rolls out."""

    controllers: tuple[str, ...]
    holds: tuple[type, ...]
    """What a state holds beside the pods, the workload itself first."""
    done: Callable[[Workload, Objects, frozenset[str]], bool]
    """Whether all pods are of the present template and available, but for those on some nodes; looks at `judged`."""
    judged: tuple[type, ...]
    forget: Callable[[Object], Object]
    """Takes off what only repeats the rest of the state."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A template that is rolled out: the one of the files, told apart by a mark ("" is the very same)."""

    mark: str
    action: str
    works: bool = True
    """Whether its containers stay up."""

    def marked(self, template: PodTemplateSpec) -> PodTemplateSpec:
        annotations = {key: value for key, value in template.metadata.annotations.items() if key != RESTARTED}
        if self.mark:
            annotations[RESTARTED] = self.mark
        metadata = msgspec.structs.replace(template.metadata, annotations=annotations)
        return msgspec.structs.replace(template, metadata=metadata)


UPGRADE: Final = (Revision("new", "changes the pod template"),)
ROLLBACK: Final = (
    Revision("broken", "changes the pod template to one whose containers crash", works=False),
    Revision("", "takes the change back"),
)
EDITED: Final = (
    Revision("new", "changes the pod template"),
    Revision("newer", "changes the pod template again"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a rollout is explored on: the first change follows a complete install, each further one comes at any time.

    `named_nodes` are called by name somewhere in the system.
    """

    workload: Workload
    nodes: tuple[Node, ...]
    plan: tuple[Revision, ...] = UPGRADE
    others: tuple[Pod, ...] = ()
    quotas: tuple[ResourceQuota, ...] = ()
    """Those of the workload's namespace, as they count the other pods."""
    named_nodes: frozenset[str] = frozenset()
    limits: tuple[LimitRange, ...] = ()
    """Those of the workload's namespace."""
    dying: tuple[Node, ...] = ()
    """Nodes that fall silent once the install is complete, and stay so: as they are from then on."""
    faults: Faults = NONE
    collapses: bool = True
    reduces: bool = True
    """Pods are placed before anything else happens, where that decides nothing."""
    minor: int = NEWEST_MINOR

    @property
    def asked(self) -> tuple[bytes, ...]:
        """What it is about: two settings with the same have the same answers."""
        nodes = b"\n".join(canonical(node) for node in self.nodes)
        named = " ".join(sorted(self.named_nodes)).encode()
        plan = " ".join([*(revision.mark for revision in self.plan), str(self.faults)]).encode()
        rest = sorted(canonical(item) for item in (*self.others, *self.quotas, *self.limits, *self.dying))
        return (canonical(self.workload), nodes, named, plan, *rest)


class Rollout:
    """The model, and what its states say of the workload."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.kind = KINDS[type(setting.workload)]
        self._dead = frozenset(node.metadata.name for node in setting.dying)
        workload = with_metadata(setting.workload, uid="workload", generation=1, creation_timestamp=LONG_AGO)
        nodes, together = setting.nodes, False
        if setting.collapses and (node := _any_node_will_do(setting)) is not None:
            nodes, together = (node,), True
        self.pool = pool = Pool(self.kind.forget)
        self._done = Memo(self._is_done)
        counted = (ResourceQuota,) if setting.quotas else ()
        faulty = setting.faults.containers or setting.faults.nodes
        self.space = space = Space((*self.kind.holds, *counted, Pod, Node, Progress, *([Left] if faulty else [])))
        at_once = together and _waits_for_none(workload) and not counted
        # Pods of other ReplicaSets only rank a ReplicaSet's by the node they share: on one node all rank alike.
        ignores = (Relation.SIBLING,) if together else ()
        fixed = setting.others if counted else ()
        self.controls = [
            Control(
                each,
                pool,
                space,
                setting.minor,
                fixed=fixed,
                ignores=ignores,
                stops_at_once=at_once,
                limits=setting.limits,
                stops_between_writes=setting.faults.between_writes,
            )
            for each in CONTROLLERS
            if each.name in self.kind.controllers or (each.subject is ResourceQuota and counted)
        ]
        running = Running(pool, space, self._behaves, setting.minor)
        movers: list[Mover] = [
            *self.controls,
            Placing(pool, space, setting.others, setting.minor),
            running,
            *([Crashing(pool, space, running)] if setting.faults.containers else []),
            *([Failing(pool, space)] if setting.faults.nodes else []),
            *([Ageing(pool, space, workload.spec.min_ready_seconds)] if workload.spec.min_ready_seconds else []),
            User(pool, space, self._plan(), (*self.kind.judged, *([Node, Pod] if setting.dying else []))),
        ]
        exchangeable = () if together else symmetry.groups(nodes, setting.others, setting.named_nodes | self._dead)
        self.model = Model(
            pool,
            space,
            (workload, *nodes, *setting.quotas),
            (Progress(0), *([Left(setting.faults.containers, setting.faults.nodes)] if faulty else [])),
            movers,
            rename=symmetry.Renaming(pool, exchangeable, (space.pods, space.slots[Node])) if exchangeable else None,
            # Where stopping pods are gone at once and every pod has room, one that has yet to be placed is like one
            # that has yet to start: it is no more available, and it goes first when its ReplicaSet shrinks.
            at_once=(Placing.name,) if at_once and setting.reduces else (),
        )

    @property
    def sampled_ties(self) -> bool:
        return any(control.sampled_ties for control in self.controls)

    def changes(self, state: State) -> int:
        """How many changes of the user's have been made."""
        (number,) = state[self.space.slots[Progress]]
        made: int = self.pool[number].made
        return max(0, made - bool(self._dead))

    def pods(self, state: State) -> tuple[Pod, ...]:
        return tuple(self.pool[number] for number in state[self.space.pods])

    def done(self, state: State) -> bool:
        return self._done[tuple([state[self.space.slots[kind]] for kind in self.kind.judged])]

    def _is_done(self, slots: tuple[Slot, ...]) -> bool:
        shown = zip(self.kind.judged, slots, strict=True)
        objects: Objects = {kind: tuple(self.pool[number] for number in slot) for kind, slot in shown}
        (workload,) = objects[type(self.setting.workload)]
        assert isinstance(workload, Deployment | StatefulSet | DaemonSet)
        return self.kind.done(workload, objects, self._dead)

    def census(self, state: State) -> str:
        """`3 old pods ready, 1 new pod without a node`."""
        counts: dict[tuple[str, str], int] = {}
        nodes = [self.pool[number] for number in state[self.space.slots[Node]]]
        silent = {node.metadata.name for node in nodes if nodelifecycle.is_silent(node)}
        for pod in self.pods(state):
            age = f"{pod.metadata.annotations.get(RESTARTED) or 'old'} " if self.changes(state) else ""
            if pod.spec.node_name in silent:
                how = "on a node that does not answer"
            elif pod.metadata.deletion_timestamp is not None:
                how = "stopping"
            elif not pod.spec.node_name:
                how = "without a node"
            elif ready_since(pod) is not None:
                how = "ready"
            else:
                how = "crashing" if any(map(_crashed, pod.status.container_statuses)) else "starting"
            counts[age, how] = counts.get((age, how), 0) + 1
        parts = [f"{count} {age}pod{'s' * (count > 1)} {how}" for (age, how), count in counts.items()]
        return ", ".join(parts) or "there are no pods"

    def available(self, pod: Pod) -> bool:
        """A pod that counts: not being deleted, ready, and ready for long enough."""
        since = ready_since(pod)
        least = timedelta(seconds=self.setting.workload.spec.min_ready_seconds)
        return pod.metadata.deletion_timestamp is None and since is not None and since + least <= NOW

    def _plan(self) -> tuple[PlanStep, ...]:
        steps = []
        if self._dead:
            what = " and ".join(sorted(self._dead))
            steps.append(PlanStep(f"{what} stop{'s' * (len(self._dead) == 1)} answering", self._lose_nodes, "Node"))
        for number, revision in enumerate(self.setting.plan):
            steps.append(PlanStep(revision.action, partial(self._change, revision, number == 0)))
        return tuple(steps)

    def _change(self, revision: Revision, waits: bool, objects: Objects) -> Sequence[Pair] | None:
        (before,) = objects[type(self.setting.workload)]
        assert isinstance(before, Deployment | StatefulSet | DaemonSet)
        if waits and not self.kind.done(before, objects, self._dead):
            return None
        return ((before, with_template(before, revision.marked(before.spec.template))),)

    def _lose_nodes(self, objects: Objects) -> Sequence[Pair] | None:
        (workload,) = objects[type(self.setting.workload)]
        assert isinstance(workload, Deployment | StatefulSet | DaemonSet)
        if not self.kind.done(workload, objects, frozenset()):
            return None
        pairs: list[Pair] = []
        for node in self.setting.dying:
            name = node.metadata.name
            pairs.append((next(each for each in objects[Node] if each.metadata.name == name), node))
            there = [each for each in objects[Pod] if isinstance(each, Pod) and each.spec.node_name == name]
            told = nodelifecycle.lost(node, there, NOW)
            pairs += [(write.before, write.after) for write in told if isinstance(write, UpdateStatus)]
        return pairs

    def _behaves(self, pod: Pod) -> tuple[Outcome, ...]:
        if ready_since(pod) is not None:
            return ()
        mark = pod.metadata.annotations.get(RESTARTED, "")
        works = next((revision.works for revision in self.setting.plan if revision.mark == mark), True)
        return (Outcome.READY,) if works else (Outcome.CRASHED,)


def with_template(workload: Workload, template: PodTemplateSpec) -> Workload:
    """The workload after a write of another template, as the server stores it."""
    after = msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, template=template))
    changes: dict[str, object] = {"generation": workload.metadata.generation + 1}
    counted = workload.metadata.annotations.get(GENERATION_ANNOTATION)
    if isinstance(workload, DaemonSet) and counted is not None:
        changes["annotations"] = {**workload.metadata.annotations, GENERATION_ANNOTATION: str(int(counted) + 1)}
    return with_metadata(after, **changes)


def _crashed(status: ContainerStatus) -> bool:
    return status.state is not None and status.state.terminated is not None


def _waits_for_none(workload: Workload) -> bool:
    """Pods that stop are gone at once: on a node with room for all a rolling update waits for none of them."""
    return isinstance(workload, Deployment) and workload.spec.strategy.type == "RollingUpdate"


def _any_node_will_do(setting: Setting) -> Node | None:
    """One node to stand for all that can take the pods, if it decides nothing which of them a pod is on.

    So it is when no rule relates the pods to each other and such nodes together hold all the pods there can be: every
    replica of each template, stopping or not, and every surge pod. They are equal, so then there is always a node for
    the next. Where a pod is also ranks it among those that a ReplicaSet may delete, behind being ready and before how
    long: with minReadySeconds it matters. Equal pods then stay equal when they are placed, which saves most states.
    """
    workload = setting.workload
    if isinstance(workload, DaemonSet):
        return None
    template = workload.spec.template
    affinity = template.spec.affinity
    if affinity is not None:
        near, apart = affinity.pod_affinity, affinity.pod_anti_affinity
        if (near and near.required_during_scheduling_ignored_during_execution) or (
            apart and apart.required_during_scheduling_ignored_during_execution
        ):
            return None
    if any(rule.when_unsatisfiable != "ScheduleAnyway" for rule in template.spec.topology_spread_constraints):
        return None
    if setting.faults.nodes:
        return None
    templates = len({"", *(revision.mark for revision in setting.plan)})
    count = templates * (machines.replicas(workload) + machines.resolved_surge(workload))
    clones = machines.pods_of(workload, count)
    feasible = [
        node
        for node in setting.nodes
        if node.metadata.name in scheduler.schedule(clones[0], setting.nodes, setting.others).feasible
    ]
    if not feasible or (workload.spec.min_ready_seconds and len(feasible) > 1):
        return None
    if sum(_room(node, clones, setting.others) for node in feasible) < count:
        return None
    node = feasible[0]
    if _room(node, clones, setting.others) < count:
        node = _as_large_as_all(feasible)
    return node if _room(node, clones, setting.others) == count else None


def _room(node: Node, clones: Sequence[Pod], others: Sequence[Pod]) -> int:
    """How many of these equal pods the node holds beside others."""
    held = list(others)
    for number, clone in enumerate(clones):
        if not scheduler.schedule(clone, (node,), held).best:
            return number
        held.append(machines.on(clone, node.metadata.name))
    return len(clones)


def _as_large_as_all(nodes: Sequence[Node]) -> Node:
    total: dict[str, Quantity] = {}
    for node in nodes:
        for name, size in node.status.allocatable.items():
            total[name] = total[name] + size if name in total else size
    status = msgspec.structs.replace(nodes[0].status, allocatable=total, capacity=total)
    return msgspec.structs.replace(nodes[0], status=status)


def _deployment_done(workload: Workload, objects: Objects, _dead: frozenset[str]) -> bool:
    """Upstream's `DeploymentComplete`, by the ReplicaSets' status, which the Deployment's own only repeats."""
    assert isinstance(workload, Deployment)
    sets = [item for item in objects[ReplicaSet] if isinstance(item, ReplicaSet)]
    new = [each for each in sets if _same_template(workload, each)]
    return (
        sum(each.status.replicas for each in new)
        == sum(each.status.replicas for each in sets)
        == sum(each.status.available_replicas for each in sets)
        == machines.replicas(workload)
    )


def _same_template(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    """Whether the ReplicaSet is of the Deployment's present template; the hash label is the controller's own."""
    template = replica_set.spec.template
    labels = {key: value for key, value in template.metadata.labels.items() if key != relations.POD_TEMPLATE_HASH}
    metadata = msgspec.structs.replace(template.metadata, labels=labels)
    return canonical(msgspec.structs.replace(template, metadata=metadata)) == canonical(deployment.spec.template)


def _pods_done(workload: Workload, objects: Objects, wanted: int, dead: frozenset[str] = frozenset()) -> bool:
    """As many pods as are wanted, all of the present template, ready and staying; those on dead nodes do not count."""
    marked = workload.spec.template.metadata.annotations.get(RESTARTED)
    pods = [item for item in objects[Pod] if isinstance(item, Pod) and item.spec.node_name not in dead]
    least = timedelta(seconds=workload.spec.min_ready_seconds)
    kept = _kept(workload)
    return len(pods) == wanted and all(
        pod.metadata.deletion_timestamp is None
        and (pod.metadata.annotations.get(RESTARTED) == marked or pod.metadata.name in kept)
        and (since := ready_since(pod)) is not None
        and since + least <= NOW
        for pod in pods
    )


def _kept(workload: Workload) -> frozenset[str]:
    """The pods of a StatefulSet below its partition, which may stay as they are."""
    rolling = workload.spec.update_strategy.rolling_update if isinstance(workload, StatefulSet) else None
    return frozenset(f"{workload.metadata.name}-{ordinal}" for ordinal in range((rolling and rolling.partition) or 0))


def _stateful_set_done(workload: Workload, objects: Objects, _dead: frozenset[str]) -> bool:
    return _pods_done(workload, objects, machines.replicas(workload))


def _daemon_set_done(workload: Workload, objects: Objects, dead: frozenset[str]) -> bool:
    (item,) = objects[DaemonSet]
    assert isinstance(item, DaemonSet)
    status = item.status
    if status.observed_generation < item.metadata.generation:
        return False
    if dead:
        on_dead = {each.spec.node_name for each in objects[Pod] if isinstance(each, Pod)} & dead
        return _pods_done(workload, objects, status.desired_number_scheduled - len(on_dead), dead)
    return status.updated_number_scheduled == status.number_available == status.desired_number_scheduled and _pods_done(
        workload, objects, status.desired_number_scheduled
    )


def _deployment_forgets(item: Object) -> Object:
    if isinstance(item, Deployment):
        kept = type(item.status)(collision_count=item.status.collision_count)
        return msgspec.structs.replace(item, status=kept)
    if isinstance(item, ReplicaSet) and item.status.terminating_replicas is not None:
        return msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, terminating_replicas=None))
    return item


def _stateful_set_forgets(item: Object) -> Object:
    if not isinstance(item, StatefulSet):
        return item
    status = item.status
    kept = type(status)(
        collision_count=status.collision_count,
        current_revision=status.current_revision,
        update_revision=status.update_revision,
    )
    return msgspec.structs.replace(item, status=kept)


KINDS: Final[Mapping[type, Kind]] = {
    Deployment: Kind(
        controllers=("deployment-controller", "replicaset-controller"),
        holds=(Deployment, ReplicaSet),
        done=_deployment_done,
        judged=(Deployment, ReplicaSet),
        forget=_deployment_forgets,
    ),
    StatefulSet: Kind(
        controllers=("statefulset-controller",),
        holds=(StatefulSet, ControllerRevision, PersistentVolumeClaim),
        done=_stateful_set_done,
        judged=(StatefulSet, Pod),
        forget=_stateful_set_forgets,
    ),
    DaemonSet: Kind(
        controllers=("daemonset-controller",),
        holds=(DaemonSet, ControllerRevision, Memory),
        done=_daemon_set_done,
        judged=(DaemonSet, Pod),
        forget=lambda item: item,
    ),
}
