"""The scheduler: which node a pod goes to, decided as upstream decides it.

`schedule` is the decision, `fits_ever` and `explain` say which fields are in conflict, `CONTROLLER` turns decisions
into writes, one pod at a time; `Scheduler` does the same for a whole cluster and remembers what it counted. Rules:
nothing is decided on but what is observed; all nodes are looked at (upstream samples from 100 nodes on); among equals
the caller chooses (upstream: draws), by default the first by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.scheduler.board import Board
from seatrial.control.scheduler.evaluation import place
from seatrial.control.scheduler.filters import Filters
from seatrial.control.scheduler.placement import Candidate, Fit, Obstacle, Placement, Reason
from seatrial.control.scheduler.profiles import DEFAULT, NAME, Profile
from seatrial.control.scheduler.scheduler import CONTROLLER, Scheduler
from seatrial.control.scheduler.volumes import UnplaceableError
from seatrial.kube.objects import Namespace, Node, Object, Pod


def schedule(
    pod: Pod,
    nodes: Sequence[Node],
    pods: Sequence[Pod],
    namespaces: Sequence[Namespace] = (),
    others: Iterable[Object] | None = None,
    *,
    profile: Profile = DEFAULT,
    minor: int = NEWEST_MINOR,
) -> Placement:
    """Where `pod` can go while `pods` (itself among them or not) are where they are.

    `namespaces` are needed for affinity terms with a namespaceSelector; `others` are the Services, ReplicaSets and so
    on (for default spreading), volumes and claims, and PodDisruptionBudgets there are. Without `others` nothing is
    known of them: volumes do not count then, and default spreading looks at the pods of the same controller. A pod with
    scheduling gates can go nowhere, without a message.
    """
    if pod.spec.scheduling_gates and profile.gates:
        return Placement()
    return place(pod, Board.of(nodes, pods, namespaces, but=pod, others=others, minor=minor), profile)


def explain(
    pod: Pod, nodes: Sequence[Node], pods: Sequence[Pod] = (), namespaces: Sequence[Namespace] = ()
) -> Mapping[str, tuple[Obstacle, ...]]:
    """For every node all reasons (not only the first) why it cannot take `pod` now; empty where it can."""
    board = Board.of(nodes, pods, namespaces, but=pod)
    try:
        filters = Filters(pod, board)
    except UnplaceableError as unplaceable:
        return {site.name: (_of_the_pod(site.name, unplaceable),) for site in board.sites}
    return {site.name: filters.every(site) for site in board.sites}


def fits_ever(pod: Pod, nodes: Sequence[Node]) -> Fit:
    """Which nodes would take `pod` if nothing else ran: no arrangement of other pods helps where this refuses.

    Required affinity to other pods is taken as satisfiable, volumes as there; the labels the pod needs on the node are
    not.
    """
    board = Board.of(nodes, (), (), but=pod)
    try:
        filters = Filters(pod, board)
    except UnplaceableError as unplaceable:
        return Fit((), tuple(_of_the_pod(site.name, unplaceable) for site in board.sites))
    found = {site.name: filters.of_the_node(site) for site in board.sites}
    return Fit(
        nodes=tuple(name for name, obstacles in found.items() if not obstacles),
        obstacles=tuple(obstacle for obstacles in found.values() for obstacle in obstacles),
    )


def _of_the_pod(node: str, unplaceable: UnplaceableError) -> Obstacle:
    return Obstacle(node, Reason.POD, ("spec",), detail=str(unplaceable))


__all__ = [
    "CONTROLLER",
    "NAME",
    "Candidate",
    "Fit",
    "Obstacle",
    "Placement",
    "Profile",
    "Reason",
    "Scheduler",
    "explain",
    "fits_ever",
    "schedule",
]
