"""One workload while its nodes are drained: where its pods can stand, what a drain does to them, what a loss takes.

Pods are placed by the scheduler with all its choices and evicted as budgets allow; what is evicted is replaced at once
and ready once it has a node. Other workloads stand where the order of the files has put them, and when their node is
drained they go, before the pods of this one, where the scheduler takes them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from seatrial.check import machines
from seatrial.check.explore import Graph
from seatrial.check.machines import Group, Workload
from seatrial.check.model import symmetry
from seatrial.check.model.pool import NOW
from seatrial.check.placing.arrivals import Arrivals, Move, State
from seatrial.check.placing.budgets import Budgets, Share
from seatrial.check.placing.ground import Ground
from seatrial.control import scheduler
from seatrial.control.addons import moves
from seatrial.control.scheduler.board import terms_of
from seatrial.control.scheduler.demand import demand
from seatrial.control.writes import Update
from seatrial.kube import selectors
from seatrial.kube.objects import Node, Pod, Service, canonical


@dataclass(frozen=True, slots=True)
class Way:
    """How a layout came about: moves, every node under its own name throughout, and the layout they lead to."""

    arrivals: Arrivals
    moves: tuple[Move, ...]
    state: State


@dataclass(slots=True)
class Drains:
    """`others` are the pods of all other workloads, where they stand; `shares` what of them the budgets count."""

    ground: Ground
    workload: Workload
    group: Group
    others: tuple[Pod, ...]
    budgets: Budgets
    shares: tuple[Share, ...] = ()
    used: int = 0
    """Scheduling decisions so far."""
    _bare: dict[int, tuple[Node, bytes]] = field(default_factory=dict)
    _blurs: dict[int, tuple[Pod, bytes]] = field(default_factory=dict)
    """By identity, with what keeps it: nodes without their names, other pods as far as they count."""
    _allowed: dict[int, bool] = field(default_factory=dict)
    _first: list[Arrivals] = field(default_factory=list)
    _draining: dict[int, tuple[Arrivals, Arrivals]] = field(default_factory=dict)

    def installed(self, budget: int) -> tuple[list[Way], bool]:
        """Every layout that an install can lead to, and whether these are all."""
        arrivals = self._install()
        return self._ends(arrivals, arrivals.initial, budget)

    def distinct(self, state: State) -> Iterator[int]:
        """One of each kind of nodes that have pods of the workload: of equal nodes with equal pods the first."""
        arrivals = self._install()
        seen = set()
        for position, content in enumerate(state.layout):
            likeness = (arrivals.kind_of(position), content)
            if content and likeness not in seen:
                seen.add(likeness)
                yield position

    def _install(self) -> Arrivals:
        if not self._first:
            self._first.append(self._arrivals(self.ground.nodes, self.others))
        return self._first[0]

    def drained(self, way: Way, node: int, budget: int) -> tuple[list[Way], bool]:
        """What a drain of a node can lead to: it is cordoned, its pods are evicted, the others are placed."""
        draining, _ = self._nodes(node)
        return self._ends(draining, State(way.state.layout, way.state.waiting), budget)

    def uncordoned(self, way: Way, node: int, budget: int) -> tuple[list[Way], bool]:
        """What follows when the node takes pods again: those that wait find a place."""
        _, after = self._nodes(node)
        return self._ends(after, way.state, budget)

    def allowed(self, ready: int) -> bool:
        """Whether one of the pods may be evicted while so many are ready."""
        found = self._allowed.get(ready)
        if found is None:
            found = self._allowed[ready] = self.refusal(ready) == ""
        return found

    def refusal(self, ready: int) -> str:
        """What the eviction API says, and why; empty if it does not refuse."""
        share = Share(self.workload, ready, waiting=self.group.count - ready)
        refused = self.budgets.evicts(share.pods()[0], (share, *self.shares))
        return f"{refused.message} {refused.cause}".strip() if refused is not None else ""

    def _ends(self, arrivals: Arrivals, start: State, budget: int) -> tuple[list[Way], bool]:
        before = arrivals.asked
        graph = arrivals.explored(budget, start, stop=lambda state: False)
        self.used += arrivals.asked - before
        found = []
        for number in range(len(graph.edges)):
            if not graph.edges[number]:
                found.append(self._way(arrivals, graph, number, start))
        return found, graph.complete

    def _way(self, arrivals: Arrivals, graph: Graph[State, Move], number: int, start: State) -> Way:
        path = [graph.states[each] for each in graph.trace(number)]
        made = arrivals.walk(path, start)
        state = start
        for move in made:
            state = arrivals.after(state, move)
        return Way(arrivals, tuple(made), state)

    def _nodes(self, node: int) -> tuple[Arrivals, Arrivals]:
        """The node while it is drained, and after: others' pods that were on it have gone elsewhere."""
        found = self._draining.get(node)
        if found is None:
            nodes = list(self.ground.nodes)
            name = nodes[node].metadata.name
            nodes[node] = cordoned(nodes[node])
            others = tuple(self._moved(nodes, name))
            group = self.group

            def evicts(state: State, _: int) -> bool:
                return self.allowed(group.count - state.waiting[0])

            found = self._draining[node] = (
                self._arrivals(nodes, others, node, evicts),
                self._arrivals(self.ground.nodes, others),
            )
        return found

    def _moved(self, nodes: Sequence[Node], name: str) -> Iterator[Pod]:
        """Other workloads' pods once the node of this name is drained; those that find no place are not there."""
        board = scheduler.Scheduler(minor=self.ground.minor)
        for item in (*nodes, *self.ground.around):
            board.change(None, item, NOW)
        leaving = []
        for pod in self.others:
            owner = pod.metadata.controller
            if pod.spec.node_name == name and owner is not None and owner.kind != "DaemonSet":
                leaving.append(pod)
            else:
                board.change(None, pod, NOW)
                yield pod
        for pod in leaving:
            placement = board.placement(msgspec.structs.replace(machines.on(pod, ""), status=type(pod.status)()))
            if placement.best:
                placed = machines.on(pod, placement.best[0])
                board.change(None, placed, NOW)
                yield placed

    def _alike(self, nodes: Sequence[Node], others: Sequence[Pod]) -> list[list[str]]:
        """Nodes that differ in nothing that decides where the workload's pods go."""
        on_node: dict[str, list[bytes]] = {}
        for pod in others:
            on_node.setdefault(pod.spec.node_name, []).append(self._blurred(pod))
        found: dict[tuple[bytes, ...], list[str]] = {}
        for node in nodes:
            name = node.metadata.name
            known = self._bare.get(id(node))
            if known is None:
                known = self._bare[id(node)] = (node, canonical(symmetry.anonymous(node)))
            own = name.encode() if name in self.ground.named else b""
            found.setdefault((own, known[1], *sorted(on_node.get(name, ()))), []).append(name)
        return [names for names in found.values() if len(names) > 1]

    def _blurred(self, pod: Pod) -> bytes:
        """A pod of another workload as far as it counts: by what it takes, unless a rule speaks of it."""
        known = self._blurs.get(id(pod.spec))
        if known is None:
            takes = demand(pod, self.ground.minor)
            text = f"{pod.spec.priority} {takes}".encode()
            if self._concerns(pod):
                text = canonical(symmetry.nameless(pod))
            known = self._blurs[id(pod.spec)] = (pod, text)
        return known[1]

    def _concerns(self, other: Pod) -> bool:
        mine, minor = self.group.pod, self.ground.minor
        if terms_of(other, minor):
            return True
        rules = terms_of(mine, minor)
        if any(
            term.namespace_selector is not None or term.matches(other, {})
            for term in (*rules.affinity, *rules.anti_affinity, *rules.preferred)
        ):
            return True
        if other.metadata.namespace != mine.metadata.namespace:
            return False
        spread = mine.spec.topology_spread_constraints
        services = [each for each in self.ground.around if isinstance(each, Service)]
        return any(selectors.matches(rule.label_selector, other.metadata.labels) for rule in spread) or any(
            each.spec.selector
            and selectors.matches_labels(each.spec.selector, mine.metadata.labels)
            and selectors.matches_labels(each.spec.selector, other.metadata.labels)
            for each in services
        )

    def _arrivals(
        self,
        nodes: Sequence[Node],
        others: Sequence[Pod],
        drained: int | None = None,
        evicts: Callable[[State, int], bool] = lambda state, group: True,
    ) -> Arrivals:
        ground = self.ground
        return Arrivals(
            nodes,
            (self.group,),
            standing=others,
            around=ground.around,
            named=ground.named,
            minor=ground.minor,
            alike=self._alike(nodes, others),
            drained=drained,
            evicts=evicts,
        )


def cordoned(node: Node) -> Node:
    (write,) = moves.cordon(node) or (None,)
    if write is None:
        return node
    assert isinstance(write, Update)
    assert isinstance(write.after, Node)
    return write.after
