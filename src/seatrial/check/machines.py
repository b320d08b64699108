"""The machines of a system: its Node objects, or the smallest number of ordinary ones on which everything fits.

Rules: pods are placed one after the other by the scheduler that runs; the first of equally good nodes is taken.
Inferred machines also leave room for one rollout's surge of each workload: nobody buys for the steady state only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from seatrial.check.system import System
from seatrial.check.verdicts import Assumption
from seatrial.control import scheduler
from seatrial.kube.objects import Deployment, Node, ObjectMeta, Pod, parse_as

MOST = 50
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


def pods_of(deployment: Deployment, count: int) -> list[Pod]:
    """`count` pods of the Deployment's template, not yet bound."""
    template = deployment.spec.template
    return [
        Pod(
            metadata=ObjectMeta(
                name=f"{deployment.metadata.name}-{index}",
                uid=f"{deployment.metadata.namespace}/{deployment.metadata.name}-{index}",
                namespace=deployment.metadata.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
            ),
            spec=template.spec,
        )
        for index in range(count)
    ]


def replicas(deployment: Deployment) -> int:
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def place(
    system: System, nodes: Sequence[Node], *, surge: bool = False, without: Deployment | None = None
) -> tuple[list[Pod], list[Misfit]]:
    """Bind every pod of the system (but those of `without`) in the order of the files."""
    bound: list[Pod] = []
    misfits: list[Misfit] = []
    groups: list[tuple[str, list[Pod]]] = [("Pod " + pod.metadata.name, [pod]) for pod in system.all(Pod)]
    for deployment in system.all(Deployment):
        if without is None or deployment.key != without.key:
            count = replicas(deployment) + (resolved_surge(deployment) if surge else 0)
            groups.append((str(deployment.key), pods_of(deployment, count)))
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


def resolved_surge(deployment: Deployment) -> int:
    rolling = deployment.spec.strategy.rolling_update
    return resolve(rolling.max_surge, replicas(deployment), up=True) if rolling else 0


def resolved_unavailable(deployment: Deployment) -> int:
    """What may be missing during a rollout; 1 where both bounds round to 0 (upstream's `ResolveFenceposts`)."""
    if deployment.spec.strategy.type == "Recreate":
        return replicas(deployment)
    rolling = deployment.spec.strategy.rolling_update
    missing = resolve(rolling.max_unavailable, replicas(deployment), up=False) if rolling else 0
    return 1 if missing == 0 and resolved_surge(deployment) == 0 else missing
