"""`nodes/cascade`: a machine that fails does not take others with it.

The scheduler counts what pods request, not what they may use. Where limits are above requests, the pods of a lost
machine can all find a place on others that have not the memory for them: those run out of it, and their pods move on.
Asked where machines are given and some pod may use more memory than it requests; for each machine as the first that
fails, and for those that their pods' limits are too much for already. What a container uses is taken to be its limit,
or its request where it has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from seatrial.check import machines
from seatrial.check.model.pool import NOW
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, Place
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control import scheduler
from seatrial.control.scheduler.demand import amounts
from seatrial.kube.objects import Container, Node, Object, Pod

NAME = "nodes/cascade"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does no lost machine take others with it, if pods use the memory that their limits allow?",
        formally="for every node n: once the pods of n are placed again, no other node has limits of memory above what "
        "it has, unless it had before",
        premise="at least two machines are given, and a pod's memory limit is above its request",
        sometimes="the lost machine had pods that move",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "memory/up-to-limits": "containers use memory up to their limits, those without a limit what they request",
    "nodes/fail-when-full": "a machine whose pods use more memory than it has fails",
    "nodes/one-fails-first": "one node fails first; what follows from that is looked at",
    "order/as-written": "pods are placed in the order of the files",
}
_MEMORY = "memory"
_MOVING = ("ReplicaSet", "ReplicationController", "Job")
"""Whose pods are made anew when their node is gone; a StatefulSet waits for it, a DaemonSet's belong to it."""


@dataclass(slots=True)
class Chain:
    """What follows from the loss of a machine."""

    first: str
    fallen: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system, nodes = question.system, question.nodes
    if not system.of("Node") or len(nodes) < 2:
        return []
    bound, _ = machines.place(system, nodes)
    if not any(_uses(pod) > _requests(pod) for pod in bound):
        return []
    base = Verdict(
        property=NAME,
        subject="system",
        verdict=Answer.PROVED,
        message="",
        method="simulation",
        assumptions=(
            question.machines.name,
            "memory/up-to-limits",
            "nodes/fail-when-full",
            "nodes/one-fails-first",
            "order/as-written",
        ),
    )
    around = machines.around(system)
    full = [node.metadata.name for node in nodes if _load(bound, node) > _has(node)]
    for first in full or [node.metadata.name for node in nodes]:
        chain = _chain(nodes, bound, around, first, full=bool(full))
        if chain.fallen:
            return [_refuted(question, base, chain, len(nodes))]
    message = "whichever machine fails, the others have the memory for its pods, or do not take them"
    if full:
        message = f"{', '.join(full)} may run out of memory, and the others have it for the pods that move"
    return [msgspec.structs.replace(base, message=message, covered=Covered(len(nodes), 0))]


def _chain(nodes: Sequence[Node], bound: Sequence[Pod], around: Sequence[Object], first: str, *, full: bool) -> Chain:
    """Machines fail one after the other until one round leaves all others whole."""
    chain = Chain(first)
    alive = {node.metadata.name: node for node in nodes}
    board = scheduler.Scheduler()
    for item in (*nodes, *around, *bound):
        board.change(None, item, NOW)
    pods = list(bound)
    by_name = dict(alive)
    lost = first
    why = f"runs out of memory: its pods may use {_said(_load(pods, by_name[first]))}" if full else "fails"
    while True:
        chain.steps.append(Step("Node" if why != "fails" else "Fault", f"{lost} {why}"))
        gone = alive.pop(lost)
        board.change(gone, None, NOW)
        leaving = [pod for pod in pods if pod.spec.node_name == lost]
        pods = [pod for pod in pods if pod.spec.node_name != lost]
        wheres: dict[str, int] = {}
        for pod in leaving:
            board.change(pod, None, NOW)
            owner = pod.metadata.controller
            if owner is None or owner.kind not in _MOVING:
                continue
            chain.owners.add(owner.uid)
            placement = board.placement(machines.on(pod, ""))
            if placement.best:
                moved = machines.on(pod, placement.best[0])
                board.change(None, moved, NOW)
                pods.append(moved)
                wheres[placement.best[0]] = wheres.get(placement.best[0], 0) + 1
        where = ", ".join(f"{name}: {count}" for name, count in wheres.items()) or "nowhere"
        chain.steps.append(Step("Scheduler", f"places {sum(wheres.values())} of its {len(leaving)} pods ({where})"))
        over = next((name for name in wheres if _load(pods, alive[name]) > _has(alive[name])), None)
        if over is None:
            return chain
        chain.fallen.append(over)
        load = _said(_load(pods, alive[over]))
        why = f"runs out of memory: its pods may use {load} of {_said(_has(alive[over]))}"
        lost = over


def _refuted(question: Question, base: Verdict, chain: Chain, nodes: int) -> Verdict:
    count = len(chain.fallen)
    owners = [each for each in question.system.entries if str(each.key) in chain.owners]
    left = nodes - 1 - count
    what = "no machine is left" if not left else f"{left} machine{'s are' if left > 1 else ' is'} left"
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"if {chain.first} fails, {count} more run{'s' if count == 1 else ''} out of memory one after the "
        f"other ({', '.join(chain.fallen)}), and {what}: pods are placed by their requests and use up to their limits",
        places=tuple(place for owner in owners for place in _fields(owner)),
        trace=tuple(chain.steps),
    )


def _fields(entry: Entry) -> list[Place]:
    workload = entry.typed
    if not isinstance(workload, machines.WORKLOADS):
        return []
    found = []
    for index, container in enumerate(machines.template_of(workload).spec.containers):
        if _of(container) > _requested(container):
            inside = ("spec", "template", "spec", "containers", index, "resources")
            found += [entry.place(*inside, "requests", _MEMORY), entry.place(*inside, "limits", _MEMORY)]
    return found


def _of(container: Container) -> int:
    limit = amounts(container.resources.limits).get(_MEMORY)
    return _requested(container) if limit is None else limit


def _requested(container: Container) -> int:
    return amounts(container.resources.requests).get(_MEMORY, 0)


def _uses(pod: Pod) -> int:
    return sum(map(_of, pod.spec.containers))


def _requests(pod: Pod) -> int:
    return sum(map(_requested, pod.spec.containers))


def _load(pods: Sequence[Pod], node: Node) -> int:
    return sum(_uses(pod) for pod in pods if pod.spec.node_name == node.metadata.name)


def _has(node: Node) -> int:
    return amounts(node.status.allocatable).get(_MEMORY, 0)


def _said(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
