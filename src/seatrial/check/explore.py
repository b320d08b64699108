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
from typing import Any, Final, Generic, Protocol, TypeVar

from seatrial.check.budget import NUMBER_BYTES, ORDINARY, STATE_BYTES, TRANSITION_BYTES, Budget, Progress

S = TypeVar("S", bound=Hashable)
L = TypeVar("L", bound=Hashable)
L_co = TypeVar("L_co", bound=Hashable, covariant=True)


LOOKS_AT_CLOCK: Final = 16
"""So many states pass between two looks at the clock; the slowest take some milliseconds each."""


class Model(Protocol[S, L_co]):
    @property
    def initial(self) -> S: ...

    def moves(self, state: S) -> Sequence[tuple[L_co, S]]:
        """Every move that is possible in `state`: its label and the state after it."""


@dataclass(slots=True)
class Graph(Generic[S, L]):
    """What was explored. `edges[i]` are the moves of `states[i]`.

    `complete` is False when the exploration was stopped or the budget ran out; `spent` says which part of it.
    """

    states: list[S] = field(default_factory=list)
    edges: list[list[tuple[L, int]]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    transitions: int = 0
    complete: bool = False
    spent: str = ""
    memory_bytes: int = 0
    """As `Budget` counts it."""

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


def explore(
    model: Model[S, L],
    budget: Budget = ORDINARY,
    *,
    max_states: int | None = None,
    stop: Callable[[S], bool] | None = None,
    resume: Graph[S, L] | None = None,
) -> Graph[S, L]:
    """The reachable states, breadth first. Ends early (incomplete) at the first state for which `stop` holds.

    An incomplete graph goes on where it was left if it is handed in as `resume`; that is also so after an interrupt.
    `max_states` is short for a budget of so many.
    """
    graph: Graph[S, L] = Graph() if resume is None else resume
    limit = budget.states if max_states is None else max_states
    states, edges, parents = graph.states, graph.edges, graph.parents
    if not states:
        parents.append(-1)
        states.append(model.initial)
    index = {state: position for position, state in enumerate(states)}
    del parents[len(states) :]  # an interrupt may have come between a parent and its state
    transitions = sum(map(len, edges))
    memory_bytes = sum(map(_weight, states)) + transitions * TRANSITION_BYTES
    moves = model.moves
    watch = _Watch(budget)
    here = len(edges)
    graph.complete, graph.spent = False, ""
    try:
        while here < len(states):
            state = states[here]
            if here >= limit:
                graph.spent = f"{limit} states"
            elif memory_bytes > budget.memory_bytes:
                graph.spent = f"{budget.memory_bytes // 1_000_000} MB"
            elif not here % LOOKS_AT_CLOCK and watch.is_over(here, len(states) - here, transitions):
                graph.spent = "time"
            if graph.spent or (stop is not None and stop(state)):
                return graph
            out: list[tuple[L, int]] = []
            for label, after in moves(state):
                there = index.get(after)
                if there is None:
                    there = len(states)
                    parents.append(here)
                    states.append(after)
                    index[after] = there
                    memory_bytes += _weight(after)
                out.append((label, there))
            edges.append(out)
            transitions += len(out)
            memory_bytes += len(out) * TRANSITION_BYTES
            here += 1
        graph.complete = True
        return graph
    finally:
        graph.transitions, graph.memory_bytes = transitions, memory_bytes


def _weight(state: object) -> int:
    if not isinstance(state, tuple):
        return STATE_BYTES
    return STATE_BYTES + NUMBER_BYTES * sum([len(slot) for slot in state if isinstance(slot, tuple)])


class _Watch:
    """Looks at the clock, tells how far it has come once a second."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._next = 0.0 if budget.clock is None else budget.clock() + 1

    def is_over(self, states: int, waiting: int, transitions: int) -> bool:
        clock = self._budget.clock
        if clock is None:
            return False
        now = clock()
        if now >= self._next:
            self._next = now + 1
            if self._budget.tell is not None:
                self._budget.tell(Progress(self._budget.subject, states, waiting, transitions))
        return self._budget.until is not None and now >= self._budget.until


def misses(graph: Graph[S, L], goal: Callable[[S], bool], fair: Callable[[L], bool] = lambda _: True) -> Endless | None:
    """The fair run nearest to the initial state that never reaches the goal, or None. Needs a complete graph.

    Moves whose label is not `fair` may be put off for ever.

    A component without a goal state need not be entered before a goal state was: the goal is "sooner or later and
    from then on every time": it must come again after every state.
    """
    inside = [not goal(state) for state in graph.states[: len(graph.edges)]]
    found: Endless | None = None
    for component in components(graph.edges, inside):
        entry = min(component)
        if (found is None or entry < found.entry) and _fair(graph, component, fair):
            found = Endless(entry, frozenset(component))
    return found


def _fair(graph: Graph[S, L], component: list[int], fair: Callable[[L], bool]) -> bool:
    """Whether a run can stay in the component for ever without starving a label that is always enabled."""
    members = set(component)
    taken: set[L] = set()
    always: set[L] | None = None
    for state in component:
        enabled = {label for label, _ in graph.edges[state] if fair(label)}
        always = enabled if always is None else always & enabled
        taken |= {label for label, there in graph.edges[state] if there in members}
    if not taken:
        return not always and len(component) == 1
    return not ((always or set()) - taken)


def components(edges: Sequence[Sequence[tuple[Any, int]]], inside: Sequence[bool]) -> list[list[int]]:
    """Tarjan's strongly connected components of the subgraph `inside`."""
    size = len(inside)
    order = [-1] * size
    low = [0] * size
    on_stack = [False] * size
    stack: list[int] = []
    found: list[list[int]] = []
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
            out = edges[node]
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
                found.append(component)
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
    return found
