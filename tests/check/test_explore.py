"""The explorer and its judgement of endless runs, against a deliberately dumb one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check import explore
from seatrial.check.budget import Budget, Progress

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


def test_faults_need_not_come() -> None:
    """A state that only a fault leads out of is an end, and a fault that could always come starves nobody."""
    stuck = explore.explore(Table({0: [("fault", 1)]}), Budget())
    assert explore.misses(stuck, lambda state: state == 1, lambda label: label != "fault") is not None
    assert explore.misses(stuck, lambda state: state == 1) is None
    around = explore.explore(Table({0: [("a", 1), ("fault", 2)], 1: [("b", 0), ("fault", 2)]}), Budget())
    assert explore.misses(around, lambda state: state == 2, lambda label: label != "fault") is not None
    assert explore.misses(around, lambda state: state == 2) is None


def test_a_cycle_whose_way_out_is_sometimes_closed_is_weakly_fair() -> None:
    assert judge({0: [("a", 1), ("out", 2)], 1: [("b", 0)], 2: []}, {2}) is not None


LINE = Table({n: [("a", n + 1), ("b", n // 2)] for n in range(500)})


class Clock:
    """A tenth of a second passes with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def test_a_spent_budget_is_told() -> None:
    graph = explore.explore(LINE, Budget(states=10))
    assert (graph.complete, graph.spent, len(graph.edges)) == (False, "10 states", 10)


def test_memory_is_counted_so_that_the_same_input_ends_at_the_same_state() -> None:
    ends = {len(explore.explore(LINE, Budget(memory_bytes=20_000)).edges) for _ in range(2)}
    assert len(ends) == 1
    assert 0 < ends.pop() < 500


def test_time_is_that_of_a_clock_which_is_handed_in() -> None:
    told: list[Progress] = []
    budget = Budget(clock=Clock(), until=2.5, tell=told.append, subject="the line")
    graph = explore.explore(LINE, budget)
    assert (graph.complete, graph.spent) == (False, "time")
    assert [(progress.subject, progress.states) for progress in told] == [("the line", 160), ("the line", 320)]


@pytest.mark.parametrize("parts", [(1, 2, 100), (499,)])
def test_what_ran_out_of_budget_goes_on_from_where_it_was(parts: tuple[int, ...]) -> None:
    whole = explore.explore(LINE, Budget())
    graph: explore.Graph[int, str] = explore.Graph()
    for states in parts:
        graph = explore.explore(LINE, Budget(states=states), resume=graph)
        assert not graph.complete
    assert explore.explore(LINE, Budget(), resume=graph) == whole


@given(st.integers(1, 1000))
def test_an_interrupt_at_any_moment_loses_nothing(moment: int) -> None:
    class Interrupted(Table):
        left = moment

        def moves(self, state: int) -> list[tuple[str, int]]:
            return [*self.counted(state)]

        def counted(self, state: int) -> Iterator[tuple[str, int]]:
            for move in self.edges.get(state, []):
                Interrupted.left -= 1
                if not Interrupted.left:
                    raise KeyboardInterrupt
                yield move

    graph: explore.Graph[int, str] = explore.Graph()
    with suppress(KeyboardInterrupt):
        explore.explore(Interrupted(LINE.edges), Budget(), resume=graph)
    assert explore.explore(LINE, Budget(), resume=graph) == explore.explore(LINE, Budget())


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
