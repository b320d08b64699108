"""The machines of a system: its Node objects, or the smallest number of ordinary ones on which everything fits.

Rules: pods are placed one after the other by the scheduler that runs; the first of equally good nodes is taken.
Inferred machines also leave room for one rollout's surge of each workload: nobody buys for the steady state only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from seatrial.check.system import System
from seatrial.check.verdicts import Assumption
from seatrial.control import daemonset, relations, scheduler
from seatrial.control.lifecycle import resize
from seatrial.control.writes import Create
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    HorizontalPodAutoscaler,
    Job,
    Key,
    Node,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    parse_as,
)
from seatrial.kube.quantities import Quantity

Workload = Deployment | StatefulSet | DaemonSet | ReplicaSet | ReplicationController | Job
WORKLOADS: Final = (Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job)
_ONE: Final = Quantity.parse(1)
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)

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
    return msgspec.structs.replace(
        node,
        metadata=msgspec.structs.replace(node.metadata, labels=labels),
        status=msgspec.structs.replace(node.status, allocatable=allocatable, capacity=allocatable),
    )


def template_of(workload: Workload) -> PodTemplateSpec:
    template = workload.spec.template
    assert template is not None, "admission gives every workload a template"
    return template


def pods_of(workload: Workload, count: int) -> list[Pod]:
    """`count` pods of the workload's template, not yet bound."""
    template = template_of(workload)
    meta = workload.metadata
    return [
        Pod(
            metadata=ObjectMeta(
                name=f"{meta.name}-{index}",
                uid=f"{meta.namespace}/{meta.name}-{index}",
                namespace=meta.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
            ),
            spec=template.spec,
        )
        for index in range(count)
    ]


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


def place(
    system: System,
    nodes: Sequence[Node],
    *,
    surge: bool = False,
    scaled: bool = False,
    without: Workload | None = None,
) -> tuple[list[Pod], list[Misfit]]:
    """Bind every pod of the system (but those of `without`) in the order of the files.

    With `surge` a rollout of each workload is under way, `scaled` each autoscaler asks for its most.
    """
    bound: list[Pod] = []
    misfits: list[Misfit] = []
    board = scheduler.Scheduler()
    for node in nodes:
        board.change(None, node, _NOW)
    for owner, pods, beyond in _groups(system, nodes, surge=surge, scaled=scaled, without=without):
        for index, pod in enumerate(pods):
            name = pod.spec.node_name
            if not name:
                placement = board.placement(msgspec.structs.replace(pod, spec=_by_default(pod.spec)))
                if not placement.best:
                    autoscaler = beyond[1] if beyond is not None and index >= beyond[0] else None
                    misfits.append(Misfit(owner, index, placement.message, autoscaler))
                    break
                name = placement.best[0]
            placed = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=name))
            board.change(None, placed, _NOW)
            bound.append(placed)
    return bound, misfits


def _groups(
    system: System, nodes: Sequence[Node], *, surge: bool, scaled: bool, without: Workload | None = None
) -> Iterator[tuple[str, list[Pod], tuple[int, Key] | None]]:
    """Whose pods there are to be, the pods, and from which on only the autoscaler that is named asks for them.

    Of a workload that asks for more pods than the machines may run at all, one more than that.
    """
    room = sum(_most_pods(node) for node in nodes) if nodes else MOST * _most_pods(ordinary(0))
    for pod in system.all(Pod):
        yield "Pod " + pod.metadata.name, [pod], None
    most = autoscalers(system) if scaled else {}
    for entry in system.entries:
        workload = entry.typed
        if not isinstance(workload, WORKLOADS) or (without is not None and workload.key == without.key):
            continue
        owner = str(workload.key)
        if isinstance(workload, DaemonSet):
            yield owner, daemons_of(workload, nodes), None
            continue
        count, beyond = replicas(workload), None
        autoscaler = most.get(workload.key)
        if autoscaler is not None and count and autoscaler.spec.max_replicas > count:
            beyond = (count, autoscaler.key)
            count = autoscaler.spec.max_replicas
        count += resolved_surge(workload) if surge else 0
        yield owner, pods_of(workload, min(count, room + 1)), beyond


def _most_pods(node: Node) -> int:
    return node.status.allocatable["pods"].nanos // _ONE.nanos


def _by_default(spec: PodSpec) -> PodSpec:
    """Other schedulers are taken to do as the default one does."""
    return msgspec.structs.replace(spec, scheduler_name=scheduler.NAME)


def _at_least(system: System) -> int:
    """A number of ordinary machines below which the pods cannot fit, by their sums."""
    model = ordinary(0).status.allocatable
    asked: dict[str, int] = {}
    for _, pods, _ in _groups(system, (), surge=True, scaled=True):
        if pods:
            for name, size in {**resize.requests(pods[0]), "pods": _ONE}.items():
                asked[name] = asked.get(name, 0) + size.nanos * len(pods)
    return max([1, *(-(-asked[name] // size.nanos) for name, size in model.items() if name in asked)])


def inventory(system: System) -> tuple[tuple[Node, ...], Assumption]:
    """The machines and where they come from."""
    given = tuple(ready(node) for node in system.all(Node))
    if given:
        return given, Assumption(
            "nodes/given", "inferred", f"the machines are the {len(given)} Node objects of the input"
        )
    nodes: tuple[Node, ...] = ()
    fewest = _at_least(system)
    best: tuple[tuple[Node, ...], int] = ((ordinary(0),), -1)
    for count in range(min(fewest, MOST), MOST + 1):
        nodes = tuple(ordinary(index) for index in range(count))
        bound, misfits = place(system, nodes, surge=True, scaled=True)
        if len(bound) > best[1]:
            best = (nodes, len(bound))
        if not misfits:
            break
    size = len(best[0])
    many = f"{size} machine{'s' * (size > 1)}"
    text = f"no Node objects: {many} of 4 CPUs and 16 GiB, the fewest that hold every pod, scaled up and with one surge"
    return best[0], Assumption(f"nodes/inferred={size}", "inferred", text)


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
