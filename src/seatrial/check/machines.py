"""The machines of a system: its Node objects, or the smallest number of ordinary ones on which everything fits.

Rules: pods are placed one after the other by the scheduler that runs; the first of equally good nodes is taken. The
pods of DaemonSets are there first, as on a machine that has just joined. Claims are taken as bound and attached
(`storage/attaches` asks about them). Inferred machines also leave room for one rollout's surge of each workload: nobody
buys for the steady state only; and they have the labels that the pods insist on, since whoever wrote them has such
machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from seatrial.check.system import System
from seatrial.check.verdicts import Assumption
from seatrial.control import daemonset, nodelifecycle, priorities, relations, scheduler
from seatrial.control.lifecycle import resize
from seatrial.control.scheduler.board import HOSTNAME
from seatrial.control.writes import Create
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    HorizontalPodAutoscaler,
    Job,
    Key,
    Namespace,
    Node,
    Object,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodDisruptionBudget,
    PodSpec,
    PodTemplateSpec,
    PriorityClass,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    parse_as,
)
from seatrial.kube.objects.nodes import NodeCondition
from seatrial.kube.objects.workloads import ReplicaSetSpec
from seatrial.kube.quantities import Quantity

Workload = Deployment | StatefulSet | DaemonSet | ReplicaSet | ReplicationController | Job
WORKLOADS: Final = (Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job)
_ONE: Final = Quantity.parse(1)
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)

ZONES: Final = 3
"""How many zones, or other domains that pods are to be spread over, rented machines lie in at least."""
MOST: Final = 50
"""Beyond this many inferred machines the pods do not fit for a reason that more machines do not cure."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A pod that found no node: whose it is, which of how many, and the scheduler's message.

    `autoscaler` is set if nobody but an autoscaler asks for so many.
    """

    owner: str
    index: int
    message: str
    autoscaler: Key | None = None


def ordinary(index: int) -> Node:
    """A machine as a cloud rents it: 4 CPUs, 16 GiB, of which a little is the system's."""
    name = f"node-{index}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    allocatable = {"cpu": "3900m", "memory": "15Gi", "pods": "110", "ephemeral-storage": "50Gi"}
    raw = {
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": allocatable, "capacity": allocatable},
    }
    return parse_as(Node, raw)


def ready(node: Node) -> Node:
    """The node as it is when it has joined: what its file leaves out is an ordinary machine's."""
    model = ordinary(0)
    allocatable: Mapping[str, object] = {**model.status.allocatable, **node.status.capacity, **node.status.allocatable}
    labels = {**model.metadata.labels, "kubernetes.io/hostname": node.metadata.name, **node.metadata.labels}
    joined = msgspec.structs.replace(
        node,
        metadata=msgspec.structs.replace(node.metadata, labels=labels),
        status=msgspec.structs.replace(node.status, allocatable=allocatable, capacity=allocatable),
    )
    return nodelifecycle.tainted(joined, _NOW) if nodelifecycle.is_silent(joined) else joined


def answering(node: Node) -> Node:
    """A node that is silent as it was before."""
    conditions = tuple(each for each in node.status.conditions if each.type != "Ready")
    well = (*conditions, NodeCondition(type="Ready", status="True"))
    status = msgspec.structs.replace(node.status, conditions=well)
    return nodelifecycle.tainted(msgspec.structs.replace(node, status=status), _NOW)


def template_of(workload: Workload) -> PodTemplateSpec:
    template = workload.spec.template
    assert template is not None, "admission gives every workload a template"
    return template


def pods_of(workload: Workload, count: int) -> list[Pod]:
    """`count` pods of the workload's template, not yet bound."""
    template = template_of(workload)
    meta = workload.metadata
    kind = "ReplicaSet" if isinstance(workload, Deployment) else workload.kind
    version = ReplicaSet.api_version if isinstance(workload, Deployment) else workload.api_version
    owner = OwnerReference(api_version=version, kind=kind, name=meta.name, uid=str(workload.key), controller=True)
    return [
        Pod(
            metadata=ObjectMeta(
                name=f"{meta.name}-{index}",
                uid=f"{meta.namespace}/{meta.name}-{index}",
                namespace=meta.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
                owner_references=(owner,),
            ),
            spec=template.spec,
        )
        for index in range(count)
    ]


def around(system: System) -> tuple[Object, ...]:
    """What the scheduler looks at beside pods and nodes: Services and ReplicaSets, which default spreading follows,
    namespaces and budgets.
    """
    sets = tuple(
        ReplicaSet(
            metadata=ObjectMeta(name=each.metadata.name, namespace=each.metadata.namespace),
            spec=ReplicaSetSpec(selector=each.spec.selector),
        )
        for each in system.all(Deployment)
    )
    named: tuple[Object, ...] = (
        *system.all(Service),
        *system.all(ReplicaSet),
        *system.all(StatefulSet),
        *system.all(ReplicationController),
        *system.all(Namespace),
        *system.all(PodDisruptionBudget),
    )
    return (*sets, *named)


def replicas(workload: Workload) -> int:
    """How many pods it asks for at a time; a DaemonSet's number depends on the machines (`daemons_of`)."""
    match workload:
        case Job(spec=spec):
            parallel = 1 if spec.parallelism is None else spec.parallelism
            return 0 if spec.suspend else parallel if spec.completions is None else min(parallel, spec.completions)
        case DaemonSet():
            return 0
        case _:
            return 1 if workload.spec.replicas is None else workload.spec.replicas


def daemons_of(daemons: DaemonSet, nodes: Sequence[Node]) -> list[Pod]:
    """The pods that its controller makes for these machines, each pinned to one."""
    subject = msgspec.structs.replace(daemons, metadata=msgspec.structs.replace(daemons.metadata, uid="daemons"))
    seen = relations.observe(daemonset.CONTROLLER, subject, {Node: nodes}, _NOW)
    made = [write.object for write in daemonset.CONTROLLER.reconcile(seen).writes if isinstance(write, Create)]
    pods = [item for item in made if isinstance(item, Pod)]
    name = f"{daemons.metadata.namespace}/{daemons.metadata.name}"
    return [
        msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, name=each, uid=each))
        for each, pod in ((f"{name}-{index}", pod) for index, pod in enumerate(pods))
    ]


def autoscalers(system: System) -> dict[tuple[str, str, str], HorizontalPodAutoscaler]:
    """The autoscaler of each workload (kind, namespace, name) that has one."""
    found = {}
    for each in system.all(HorizontalPodAutoscaler):
        target = each.spec.scale_target_ref
        found[target.kind, each.metadata.namespace, target.name] = each
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """Pods that are all alike: whose they are, one of them (to be placed, without claims), and how many.

    From the pod number `asked` on nobody but `autoscaler` asks for them.
    """

    owner: str
    pod: Pod
    count: int
    asked: int
    autoscaler: Key | None = None


def crowd(
    system: System,
    nodes: Sequence[Node],
    *,
    surge: bool = False,
    scaled: bool = False,
    without: Workload | None = None,
) -> list[Group]:
    """All pods that the scheduler is to place (but those of DaemonSets), in the order of the files.

    With `surge` a rollout of each workload is under way, `scaled` each autoscaler asks for its most. Of a workload that
    asks for more pods than the machines may run at all, one more than that.
    """
    room = sum(_most_pods(node) for node in nodes) if nodes else MOST * _most_pods(ordinary(0))
    most = autoscalers(system) if scaled else {}
    classes = {each.metadata.name: each for each in system.all(PriorityClass)}
    found = [
        Group("Pod " + pod.metadata.name, _placeable(pod, classes), 1, 1)
        for pod in system.all(Pod)
        if not pod.spec.node_name
    ]
    for entry in system.entries:
        workload = entry.typed
        if not isinstance(workload, WORKLOADS) or isinstance(workload, DaemonSet):
            continue
        if without is not None and workload.key == without.key:
            continue
        asked = count = replicas(workload)
        autoscaler = most.get(workload.key)
        if autoscaler is not None and count > 0:
            count = max(count, autoscaler.spec.max_replicas)
        count += resolved_surge(workload) if surge else 0
        if count > 0 and template_of(workload).spec.node_name:
            continue
        if count > 0:
            pod = _placeable(pods_of(workload, 1)[0], classes)
            key = autoscaler.key if autoscaler is not None else None
            found.append(Group(str(workload.key), pod, min(count, room + 1), asked, key))
    return found


def standing(system: System, nodes: Sequence[Node], without: Workload | None = None) -> tuple[list[Pod], list[Misfit]]:
    """The pods that nobody has to choose a machine for: those of DaemonSets, and those that name theirs."""
    bound: list[Pod] = []
    misfits: list[Misfit] = []
    classes = {each.metadata.name: each for each in system.all(PriorityClass)}
    there = {node.metadata.name for node in nodes}
    board = scheduler.Scheduler()
    for item in (*nodes, *around(system)):
        board.change(None, item, _NOW)
    for entry in system.entries:
        workload = entry.typed
        pods: list[Pod] = []
        if isinstance(workload, Pod):
            pods = [workload] if workload.spec.node_name else []
        elif isinstance(workload, DaemonSet):
            pods = daemons_of(workload, nodes)
        elif isinstance(workload, WORKLOADS) and template_of(workload).spec.node_name:
            pods = pods_of(workload, min(replicas(workload), MOST * _most_pods(ordinary(0))))
        if without is not None and workload is not None and workload.key == without.key:
            continue
        for index, pod in enumerate(pods):
            name = pod.spec.node_name
            if not name:
                placement = board.placement(_placeable(pod, classes))
                if not placement.best:
                    misfits.append(Misfit(str(entry.key), index, placement.message))
                    continue
                name = placement.best[0]
            if name in there:
                placed = on(_settled(_placeable(pod, classes)), name)
                board.change(None, placed, _NOW)
                bound.append(placed)
    return bound, misfits


def _settled(pod: Pod) -> Pod:
    """A pod that is where it is to be: which node it asked for by name does not matter any more."""
    affinity = pod.spec.affinity
    if affinity is None or affinity.node_affinity is None:
        return pod
    without = msgspec.structs.replace(affinity, node_affinity=None)
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, affinity=without))


def on(pod: Pod, node: str) -> Pod:
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node))


def place(
    system: System,
    nodes: Sequence[Node],
    *,
    surge: bool = False,
    scaled: bool = False,
    without: Workload | None = None,
) -> tuple[list[Pod], list[Misfit]]:
    """Bind every pod of the system (but those of `without`) in the order of the files."""
    bound, misfits = standing(system, nodes, without)
    board = scheduler.Scheduler()
    for item in (*nodes, *around(system), *bound):
        board.change(None, item, _NOW)
    for group in crowd(system, nodes, surge=surge, scaled=scaled, without=without):
        for index in range(group.count):
            pod = numbered(group.pod, index)
            placement = board.placement(pod)
            if not placement.best:
                autoscaler = group.autoscaler if index >= group.asked else None
                misfits.append(Misfit(group.owner, index, placement.message, autoscaler))
                break
            placed = on(pod, placement.best[0])
            board.change(None, placed, _NOW)
            bound.append(placed)
    return bound, misfits


def numbered(pod: Pod, index: int) -> Pod:
    """One of the pods that are all like this one."""
    stem = pod.metadata.name.removesuffix("-0")
    name = f"{stem}-{index}" if pod.metadata.owner_references else stem
    metadata = msgspec.structs.replace(pod.metadata, name=name, uid=f"{pod.metadata.namespace}/{name}")
    return msgspec.structs.replace(pod, metadata=metadata)


def _most_pods(node: Node) -> int:
    return node.status.allocatable["pods"].nanos // _ONE.nanos


def placeable(system: System, pod: Pod) -> Pod:
    """The pod as the scheduler gets it."""
    return _placeable(pod, {each.metadata.name: each for each in system.all(PriorityClass)})


def _placeable(pod: Pod, classes: Mapping[str, PriorityClass]) -> Pod:
    """The pod as the scheduler gets it: with its priority, and with its claims taken as bound. Other schedulers are
    taken to do as the default one does.
    """
    spec = pod.spec
    named = spec.priority_class_name
    found = classes.get(named) if named else priorities.default(classes.values())
    changes: dict[str, object] = {"scheduler_name": scheduler.NAME}
    if named not in priorities.SYSTEM:
        changes["priority"], changes["preemption_policy"] = priorities.of(found)
    if any(volume.persistent_volume_claim or volume.ephemeral for volume in spec.volumes):
        changes["volumes"] = tuple(
            volume for volume in spec.volumes if not (volume.persistent_volume_claim or volume.ephemeral)
        )
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(spec, **changes))


def _at_least(system: System) -> int:
    """A number of ordinary machines below which the pods cannot fit, by their sums."""
    model = ordinary(0).status.allocatable
    asked: dict[str, int] = {}
    for group in crowd(system, (), surge=True, scaled=True):
        for name, size in {**resize.requests(group.pod), "pods": _ONE}.items():
            asked[name] = asked.get(name, 0) + size.nanos * group.count
    return max([1, *(-(-asked[name] // size.nanos) for name, size in model.items() if name in asked)])


def inventory(system: System) -> tuple[tuple[Node, ...], Assumption]:
    """The machines and where they come from."""
    given = tuple({node.metadata.name: ready(node) for node in system.all(Node)}.values())
    if given:
        return given, Assumption(
            "nodes/given", "inferred", f"the machines are the {len(given)} Node objects of the input"
        )
    rented = Rented.of(system)
    fewest = min(max(_at_least(system), rented.fewest), MOST)
    best: tuple[tuple[Node, ...], int] = (rented.machines(fewest), -1)
    fits: tuple[Node, ...] = ()
    for count in range(fewest, MOST + 1):
        if fits and count > 2 * len(fits) + 1:
            break
        nodes = rented.machines(count)
        bound, misfits = place(system, nodes, surge=True, scaled=True)
        if len(bound) > best[1]:
            best = (nodes, len(bound))
        if not misfits:
            fits = fits or nodes
            if _in_any_order(system, nodes):
                fits = nodes
                break
    chosen = fits or best[0]
    size = len(chosen)
    many = f"{size} machine{'s' * (size > 1)}"
    text = (
        f"no Node objects: {many} of 4 CPUs and 16 GiB{rented.told}, the fewest that hold every pod, scaled up and "
        "with one surge"
    )
    return chosen, Assumption(f"nodes/inferred={size}", "inferred", text)


def _in_any_order(system: System, nodes: Sequence[Node]) -> bool:
    """Whether counting shows that no pod without rules about others can be left over."""
    from seatrial.check.placing import room

    minor = int(system.version.split(".")[1])
    groups = crowd(system, nodes, surge=True, scaled=True)
    found = room.count(groups, nodes, standing(system, nodes)[0], minor)
    return all(
        each.always or not room.is_plain(group.pod, groups, minor) for group, each in zip(groups, found, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Rented:
    """What machines have to be like: labels that pods insist on, in turn where they exclude each other, and domains."""

    kinds: tuple[Mapping[str, str], ...]
    domains: Mapping[str, int]
    """How many values each topology key is to have, beside the hostname."""

    @classmethod
    def of(cls, system: System) -> Rented:
        kinds: list[dict[str, str]] = [{}]
        domains: dict[str, int] = {}
        for spec in _specs(system):
            wanted = _labels(spec)
            kind = next((kind for kind in kinds if all(kind.get(k, v) == v for k, v in wanted.items())), None)
            if kind is None:
                kinds.append(kind := {})
            kind |= wanted
            for key, least in _topologies(spec):
                if key != HOSTNAME:
                    domains[key] = max(domains.get(key, ZONES), least)
        for kind in kinds:
            for key in kind:
                domains.pop(key, None)
        return cls(tuple(kinds), domains)

    @property
    def fewest(self) -> int:
        return max(len(self.kinds), *self.domains.values(), 1) if self.domains else len(self.kinds)

    @property
    def told(self) -> str:
        parts = [f"{key}={value}" for kind in self.kinds for key, value in sorted(kind.items())]
        parts += [f"{count} values of {key}" for key, count in sorted(self.domains.items())]
        return f" (labels: {', '.join(dict.fromkeys(parts))})" if parts else ""

    def machines(self, count: int) -> tuple[Node, ...]:
        made = []
        for index in range(count):
            node = ordinary(index)
            turn, kind = divmod(index, len(self.kinds))
            labels = {key: f"{key.rpartition('/')[2]}-{turn % size}" for key, size in self.domains.items()}
            labels = {**node.metadata.labels, **labels, **self.kinds[kind]}
            metadata = msgspec.structs.replace(node.metadata, labels=labels)
            made.append(msgspec.structs.replace(node, metadata=metadata))
        return tuple(made)


def _specs(system: System) -> Iterator[PodSpec]:
    for entry in system.entries:
        if isinstance(entry.typed, Pod):
            yield entry.typed.spec
        elif isinstance(entry.typed, WORKLOADS):
            yield template_of(entry.typed).spec


def _labels(spec: PodSpec) -> dict[str, str]:
    """The labels that a pod insists on: of several required terms the first."""
    found = dict(spec.node_selector)
    near = spec.affinity.node_affinity if spec.affinity else None
    required = near.required_during_scheduling_ignored_during_execution if near else None
    if required is not None and required.node_selector_terms:
        for rule in required.node_selector_terms[0].match_expressions:
            if rule.operator == "In" and rule.values:
                found.setdefault(rule.key, rule.values[0])
            elif rule.operator == "Exists":
                found.setdefault(rule.key, "")
    found.pop(HOSTNAME, None)
    own = ordinary(0).metadata.labels
    return {key: value for key, value in found.items() if own.get(key) != value}


def _topologies(spec: PodSpec) -> Iterator[tuple[str, int]]:
    """The topology keys that a pod insists on, with the least number of domains."""
    for rule in spec.topology_spread_constraints:
        if rule.when_unsatisfiable != "ScheduleAnyway":
            yield rule.topology_key, rule.min_domains or 1
    if spec.affinity is not None:
        for section in (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity):
            for term in section.required_during_scheduling_ignored_during_execution if section else ():
                yield term.topology_key, 1


def resolve(value: int | str | None, total: int, *, up: bool) -> int:
    """A number or a percentage of `total`, rounded as upstream's `GetScaledValueFromIntOrPercent`."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    percent = int(value.rstrip("%"))
    return -(-total * percent // 100) if up else total * percent // 100


def resolved_surge(workload: Workload) -> int:
    if not isinstance(workload, Deployment):
        return 0
    rolling = workload.spec.strategy.rolling_update
    return resolve(rolling.max_surge, replicas(workload), up=True) if rolling else 0


def resolved_unavailable(workload: Workload, wanted: int) -> int:
    """How many of `wanted` pods a rollout may take away at a time, as the workload's controller reads its strategy."""
    match workload:
        case Deployment(spec=spec):
            if spec.strategy.type == "Recreate":
                return wanted
            rolling = spec.strategy.rolling_update
            missing = resolve(rolling.max_unavailable, wanted, up=False) if rolling else 0
            # upstream's `ResolveFenceposts`: both bounds at 0 would never move
            return 1 if missing == 0 and resolved_surge(workload) == 0 else missing
        case StatefulSet(spec=spec):
            rolling_set = spec.update_strategy.rolling_update
            given = rolling_set.max_unavailable if rolling_set else None
            return 1 if given is None else max(1, resolve(given, wanted, up=True))
        case DaemonSet(spec=spec):
            rolling_daemons = spec.update_strategy.rolling_update
            return resolve(rolling_daemons.max_unavailable, wanted, up=True) if rolling_daemons else 1
        case _:
            return 0
