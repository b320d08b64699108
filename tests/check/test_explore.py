"""The explorer and its judgement of endless runs, against a deliberately dumb one."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from seatrial.check import explore

Edges = dict[int, list[tuple[str, int]]]


@dataclass(frozen=True)
class Table:
    edges: Edges
    initial: int = 0

    def moves(self, state: int) -> list[tuple[str, int]]:
        return self.edges.get(state, [])


def judge(edges: Edges, goal: set[int]) -> explore.Endless | None:
    return explore.misses(explore.explore(Table(edges), max_states=1000), lambda state: state in goal)


def test_a_dead_end_without_the_goal_is_a_miss() -> None:
    found = judge({0: [("a", 1)]}, {2})
    assert found is not None
    assert found.stuck


def test_a_cycle_that_starves_nobody_is_a_miss() -> None:
    found = judge({0: [("a", 1)], 1: [("b", 0)]}, {2})
    assert found is not None
    assert not found.stuck


def test_a_cycle_that_starves_an_always_enabled_move_is_unfair() -> None:
    assert judge({0: [("a", 1), ("out", 2)], 1: [("b", 0), ("out", 2)], 2: []}, {2}) is None


def test_a_cycle_whose_way_out_is_sometimes_closed_is_weakly_fair() -> None:
    assert judge({0: [("a", 1), ("out", 2)], 1: [("b", 0)], 2: []}, {2}) is not None


def test_a_spent_budget_is_told() -> None:
    graph = explore.explore(Table({n: [("a", n + 1)] for n in range(50)}), max_states=10)
    assert not graph.complete


graphs = st.dictionaries(
    st.integers(0, 5), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=3), max_size=6
)


@given(graphs, st.sets(st.integers(0, 5), max_size=2))
def test_agrees_with_trying_every_set_of_states(edges: Edges, goal: set[int]) -> None:
    """A fair endless run is a reachable, strongly connected set of states in which no always-enabled label starves."""
    reached = {0}
    while (more := {there for here in reached for _, there in edges.get(here, [])} - reached) != set():
        reached |= more
    candidates = sorted(reached - goal)
    expected = False
    for bits in range(1, 1 << len(candidates)):
        members = {state for position, state in enumerate(candidates) if bits >> position & 1}
        expected = expected or _a_fair_run_may_stay(edges, members)
    assert (judge(edges, goal) is not None) == expected


def _a_fair_run_may_stay(edges: Edges, members: set[int]) -> bool:
    inner = {here: [(label, there) for label, there in edges.get(here, []) if there in members] for here in members}
    for start in members:
        seen = {start}
        while (more := {there for here in seen for _, there in inner[here]} - seen) != set():
            seen |= more
        if seen != members:
            return False
    always = set.intersection(*({label for label, _ in edges.get(here, [])} for here in members))
    taken = {label for moves in inner.values() for label, _ in moves}
    if not taken:
        return not always
    return always <= taken
