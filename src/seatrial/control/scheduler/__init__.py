"""The scheduler: which node a pod goes to, decided as upstream's default profile decides it.

`schedule` is the decision, `fits_ever` and `explain` say which fields are in conflict, `CONTROLLER` turns decisions
into writes. Rules: nothing is remembered between decisions but results of pure functions of frozen values; all nodes
are looked at (upstream samples from 100 nodes on), and among equals the first by name is taken (upstream: any).
Pods are never evicted for another: `Placement.preemptible` says where that would help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.scheduler import scores
from seatrial.control.scheduler.board import Board, Site
from seatrial.control.scheduler.filters import Filters, message
from seatrial.control.scheduler.placement import Fit, Obstacle, Placement, Reason
from seatrial.control.writes import Bind, RecordEvent, UpdateStatus
from seatrial.kube.objects import Namespace, Node, Object, ObjectMeta, Pod
from seatrial.kube.objects.nodes import NodeSpec, NodeStatus
from seatrial.kube.objects.pods import PodCondition, PodStatus

NAME = "default-scheduler"
NO_NODES = "no nodes available to schedule pods"
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER_PREEMPTS = "not eligible due to preemptionPolicy=Never."


def schedule(pod: Pod, nodes: Sequence[Node], pods: Sequence[Pod], namespaces: Sequence[Namespace] = ()) -> Placement:
    """Where `pod` can go while `pods` (itself among them or not) are where they are.

    `namespaces` are needed for affinity terms with a namespaceSelector only. A pod with scheduling gates can go
    nowhere, without a message. Semantics: kube-scheduler 1.37, default profile.
    """
    if pod.spec.scheduling_gates:
        return Placement()
    if not nodes:
        return Placement(message=NO_NODES)
    board = Board.of(nodes, pods, namespaces, but=pod)
    filters = Filters(pod, board)
    feasible: list[Site] = []
    obstacles: dict[str, tuple[Obstacle, ...]] = {}
    for site in sorted(board.sites, key=lambda site: site.name):
        found = filters.first(site)
        if found:
            obstacles[site.name] = found
        else:
            feasible.append(site)
    if not feasible:
        refused = tuple(obstacle for found in obstacles.values() for obstacle in found)
        text = message(len(board.sites), (obstacle.text for obstacle in refused))
        preemption, preemptible = _preemption(pod, nodes, pods, namespaces, board, obstacles)
        return Placement(message=text + preemption, obstacles=refused, preemptible=preemptible)
    names = tuple(site.name for site in feasible)
    if len(feasible) == 1:
        return Placement(feasible=names, best=names)
    totals = dict(zip(names, scores.totals(pod, board, feasible), strict=True))
    top = max(totals.values())
    return Placement(feasible=names, best=tuple(name for name in names if totals[name] == top), scores=totals)


def explain(
    pod: Pod, nodes: Sequence[Node], pods: Sequence[Pod] = (), namespaces: Sequence[Namespace] = ()
) -> Mapping[str, tuple[Obstacle, ...]]:
    """For every node all reasons (not only the first) why it cannot take `pod` now; empty where it can."""
    board = Board.of(nodes, pods, namespaces, but=pod)
    filters = Filters(pod, board)
    return {site.name: filters.every(site) for site in board.sites}


def fits_ever(pod: Pod, nodes: Sequence[Node]) -> Fit:
    """Which nodes would take `pod` if nothing else ran: no arrangement of other pods helps where this refuses.

    Required affinity to other pods is taken as satisfiable; the labels it needs on the node are not.
    """
    board = Board.of(nodes, (), (), but=pod)
    filters = Filters(pod, board)
    found = {site.name: filters.of_the_node(site) for site in sorted(board.sites, key=lambda site: site.name)}
    return Fit(
        nodes=tuple(name for name, obstacles in found.items() if not obstacles),
        obstacles=tuple(obstacle for obstacles in found.values() for obstacle in obstacles),
    )


def _preemption(
    pod: Pod,
    nodes: Sequence[Node],
    pods: Iterable[Pod],
    namespaces: Sequence[Namespace],
    board: Board,
    obstacles: Mapping[str, tuple[Obstacle, ...]],
) -> tuple[str, tuple[str, ...]]:
    """What upstream's message adds about preemption, and the nodes where evicting lower priorities would help.

    Where it would, upstream evicts and its message ends before the part about preemption.
    """
    if pod.spec.preemption_policy == "Never":
        return f" preemption: {NEVER_PREEMPTS}", ()
    priority = pod.spec.priority or 0
    texts: list[str] = []
    helped: list[str] = []
    for site in board.sites:
        if not all(obstacle.helped_by_eviction for obstacle in obstacles[site.name]):
            texts.append(NOT_HELPFUL)
            continue
        victims = {id(other) for other in site.pods if (other.spec.priority or 0) < priority}
        if not victims:
            texts.append(NO_VICTIMS)
            continue
        without = Board.of(nodes, (other for other in pods if id(other) not in victims), namespaces, but=pod)
        left = Filters(pod, without).first(next(other for other in without.sites if other.name == site.name))
        if left:
            texts.extend(obstacle.text for obstacle in left)
        else:
            helped.append(site.name)
    if helped:
        return "", tuple(sorted(helped))
    return f" preemption: {message(len(board.sites), texts)}", ()


def _reconcile(seen: Seen) -> Decision:
    pod = seen.subject
    assert isinstance(pod, Pod)
    if not _is_waiting(pod):
        return Decision()
    placement = schedule(pod, seen.all(Node), seen.all(Pod), seen.all(Namespace))
    if placement.best:
        node = placement.best[0]
        assigned = f"Successfully assigned {pod.metadata.namespace}/{pod.metadata.name} to {node}"
        return Decision((Bind(pod, node), RecordEvent(pod, "Normal", "Scheduled", assigned)))
    condition = PodCondition(
        type="PodScheduled",
        status="False",
        reason="Unschedulable",
        message=placement.message,
        last_transition_time=seen.now.replace(microsecond=0),
        observed_generation=pod.metadata.generation,
    )
    before = next((given for given in pod.status.conditions if given.type == condition.type), None)
    if before is not None and before.status == condition.status:
        condition = msgspec.structs.replace(condition, last_transition_time=before.last_transition_time)
        if before == condition:
            return Decision()
    conditions = tuple(given for given in pod.status.conditions if given.type != condition.type)
    after = msgspec.structs.replace(
        pod, status=msgspec.structs.replace(pod.status, conditions=(*conditions, condition))
    )
    return Decision((UpdateStatus(pod, after), RecordEvent(pod, "Warning", "FailedScheduling", placement.message)))


def _is_waiting(pod: Pod) -> bool:
    """Ours to place: not placed, not going away or ended, not held back by a gate, not another scheduler's."""
    return (
        not pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
        and not pod.spec.scheduling_gates
        and pod.spec.scheduler_name in ("", NAME)
        and pod.status.phase not in ("Succeeded", "Failed")
    )


def view_of_node(node: Object) -> Object:
    """Name, labels, spec, allocatable resources and images: nothing else about a node changes a placement."""
    assert isinstance(node, Node)
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, labels=node.metadata.labels),
        spec=NodeSpec(taints=node.spec.taints, unschedulable=node.spec.unschedulable),
        status=NodeStatus(allocatable=node.status.allocatable, images=node.status.images),
    )


def view_of_pod(pod: Object) -> Object:
    """Identity, labels, owners, deletion time, spec and phase: nothing else about a pod changes another's placement."""
    assert isinstance(pod, Pod)
    metadata = pod.metadata
    return Pod(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            labels=metadata.labels,
            owner_references=metadata.owner_references,
            deletion_timestamp=metadata.deletion_timestamp,
        ),
        spec=pod.spec,
        status=PodStatus(phase=pod.status.phase),
    )


def view_of_namespace(namespace: Object) -> Object:
    assert isinstance(namespace, Namespace)
    return Namespace(metadata=ObjectMeta(name=namespace.metadata.name, labels=namespace.metadata.labels))


CONTROLLER = Controller(
    name=NAME,
    actor="Scheduler",
    subject=Pod,
    reads=(
        Read(Node, Relation.ALL, view=view_of_node),
        Read(Pod, Relation.ALL, view=view_of_pod),
        Read(Namespace, Relation.ALL, view=view_of_namespace),
    ),
    reconcile=_reconcile,
)

__all__ = [
    "CONTROLLER",
    "Fit",
    "Obstacle",
    "Placement",
    "Reason",
    "explain",
    "fits_ever",
    "schedule",
]
