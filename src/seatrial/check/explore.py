"""Exploring a model's states breadth first, and judging endless runs soundly.

A model is an initial state and a function from a state to its moves; states are hashable (small tuples of interned
ids), moves carry a label that names who acts on what. The exploration keeps the whole graph: states in the order of
discovery (so that a parent chain is a shortest trace) and every edge with its label.

Liveness: a run is fair (weakly) when no label stays enabled for ever without being taken. A goal is missed by some fair
run exactly when the states without the goal contain a reachable strongly connected component in which every label that
is enabled everywhere is also taken inside; a state without moves is the smallest such component. Components are found
by Tarjan's algorithm, written here without recursion: importing networkx costs 190 ms, a fifth of what a whole check
of a small system may take, and building its graph object costs more than the search.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)
L = TypeVar("L", bound=Hashable)
L_co = TypeVar("L_co", bound=Hashable, covariant=True)


class Model(Protocol[S, L_co]):
    @property
    def initial(self) -> S: ...

    def moves(self, state: S) -> Sequence[tuple[L_co, S]]:
        """Every move that is possible in `state`: its label and the state after it."""


@dataclass(slots=True)
class Graph(Generic[S, L]):
    """What was explored. `edges[i]` are the moves of `states[i]`; `complete` is False when the budget ran out."""

    states: list[S] = field(default_factory=list)
    edges: list[list[tuple[L, int]]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    transitions: int = 0
    complete: bool = True

    def trace(self, target: int) -> list[int]:
        """The states of a shortest way from the initial state to `target`, both included."""
        path = [target]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return path[::-1]


@dataclass(frozen=True, slots=True)
class Endless:
    """A fair run that misses the goal: it reaches `entry` and stays among `component` for ever."""

    entry: int
    component: frozenset[int]

    @property
    def stuck(self) -> bool:
        """Nothing can move any more."""
        return len(self.component) == 1


def explore(model: Model[S, L], *, max_states: int, stop: Callable[[S], bool] | None = None) -> Graph[S, L]:
    """The reachable states, breadth first. Ends early (incomplete) at the first state for which `stop` holds."""
    graph: Graph[S, L] = Graph()
    states, edges, parents = graph.states, graph.edges, graph.parents
    index: dict[S, int] = {model.initial: 0}
    states.append(model.initial)
    parents.append(-1)
    moves = model.moves
    transitions = 0
    here = 0
    while here < len(states):
        if here >= max_states or (stop is not None and stop(states[here])):
            graph.complete = False
            break
        out: list[tuple[L, int]] = []
        for label, after in moves(states[here]):
            there = index.get(after)
            if there is None:
                there = index[after] = len(states)
                states.append(after)
                parents.append(here)
            out.append((label, there))
        edges.append(out)
        transitions += len(out)
        here += 1
    graph.transitions = transitions
    return graph


def misses(graph: Graph[S, L], goal: Callable[[S], bool]) -> Endless | None:
    """The fair run nearest to the initial state that never reaches the goal, or None. Needs a complete graph.

    A component without a goal state need not be entered before a goal state was: the goal is "sooner or later and
    from then on every time": it must come again after every state.
    """
    inside = [not goal(state) for state in graph.states[: len(graph.edges)]]
    found: Endless | None = None
    for component in _components(graph, inside):
        entry = min(component)
        if (found is None or entry < found.entry) and _fair(graph, component):
            found = Endless(entry, frozenset(component))
    return found


def _fair(graph: Graph[S, L], component: list[int]) -> bool:
    """Whether a run can stay in the component for ever without starving a label that is always enabled."""
    members = set(component)
    taken: set[L] = set()
    always: set[L] | None = None
    for state in component:
        enabled = {label for label, _ in graph.edges[state]}
        always = enabled if always is None else always & enabled
        taken |= {label for label, there in graph.edges[state] if there in members}
    if not taken:
        return not always and len(component) == 1 and not graph.edges[component[0]]
    return not ((always or set()) - taken)


def _components(graph: Graph[S, L], inside: list[bool]) -> list[list[int]]:
    """Tarjan's strongly connected components of the subgraph `inside`."""
    size = len(inside)
    order = [-1] * size
    low = [0] * size
    on_stack = [False] * size
    stack: list[int] = []
    components: list[list[int]] = []
    clock = 0
    for root in range(size):
        if not inside[root] or order[root] >= 0:
            continue
        work = [(root, 0)]
        while work:
            node, position = work.pop()
            if position == 0:
                order[node] = low[node] = clock
                clock += 1
                stack.append(node)
                on_stack[node] = True
            out = graph.edges[node]
            descended = False
            while position < len(out):
                there = out[position][1]
                position += 1
                if there >= size or not inside[there]:
                    continue
                if order[there] < 0:
                    work.append((node, position))
                    work.append((there, 0))
                    descended = True
                    break
                if on_stack[there]:
                    low[node] = min(low[node], order[there])
            if descended:
                continue
            if low[node] == order[node]:
                component = []
                while True:
                    member = stack.pop()
                    on_stack[member] = False
                    component.append(member)
                    if member == node:
                        break
                components.append(component)
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
    return components
