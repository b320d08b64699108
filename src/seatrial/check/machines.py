"""The machines of a system: its Node objects, or the smallest number of ordinary ones on which everything fits.

Rules: pods are placed one after the other by the scheduler that runs; the first of equally good nodes is taken.
Inferred machines also leave room for one rollout's surge of each workload: nobody buys for the steady state only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from seatrial.check.system import System
from seatrial.check.verdicts import Assumption
from seatrial.control import daemonset, relations, scheduler
from seatrial.control.writes import Create
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Job,
    Node,
    ObjectMeta,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    parse_as,
)

Workload = Deployment | StatefulSet | DaemonSet | ReplicaSet | ReplicationController | Job
WORKLOADS: Final = (Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job)
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)

MOST: Final = 50
"""Beyond this many inferred machines the pods do not fit for a reason that more machines do not cure."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A pod that found no node: whose it is, which of how many, and the scheduler's message."""

    owner: str
    index: int
    message: str


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


def place(
    system: System, nodes: Sequence[Node], *, surge: bool = False, without: Workload | None = None
) -> tuple[list[Pod], list[Misfit]]:
    """Bind every pod of the system (but those of `without`) in the order of the files."""
    bound: list[Pod] = []
    misfits: list[Misfit] = []
    groups: list[tuple[str, list[Pod]]] = [("Pod " + pod.metadata.name, [pod]) for pod in system.all(Pod)]
    for entry in system.entries:
        workload = entry.typed
        if not isinstance(workload, WORKLOADS) or (without is not None and workload.key == without.key):
            continue
        if isinstance(workload, DaemonSet):
            groups.append((str(workload.key), daemons_of(workload, nodes)))
        else:
            count = replicas(workload) + (resolved_surge(workload) if surge else 0)
            groups.append((str(workload.key), pods_of(workload, count)))
    for owner, pods in groups:
        for index, pod in enumerate(pods):
            if pod.spec.node_name:
                bound.append(pod)
                continue
            placement = scheduler.schedule(pod, nodes, bound)
            if not placement.best:
                misfits.append(Misfit(owner, index, placement.message))
                break
            bound.append(
                msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=placement.best[0]))
            )
    return bound, misfits


def inventory(system: System) -> tuple[tuple[Node, ...], Assumption]:
    """The machines and where they come from."""
    given = tuple(ready(node) for node in system.all(Node))
    if given:
        return given, Assumption(
            "nodes/given", "inferred", f"the machines are the {len(given)} Node objects of the input"
        )
    nodes: tuple[Node, ...] = ()
    best: tuple[tuple[Node, ...], int] = ((ordinary(0),), -1)
    for count in range(1, MOST + 1):
        nodes = tuple(ordinary(index) for index in range(count))
        bound, misfits = place(system, nodes, surge=True)
        if len(bound) > best[1]:
            best = (nodes, len(bound))
        if not misfits:
            break
    size = len(best[0])
    many = f"{size} machine{'s' * (size > 1)}"
    text = f"no Node objects: {many} of 4 CPUs and 16 GiB, the fewest that hold every pod and one surge"
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
