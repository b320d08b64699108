"""What a run can go on with for ever, compared with every strategy of a small game."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.check.endless import recurrent, round_trip
from seatrial.check.explore import Graph

ACTS = ("a", "b", "c")
EDGES = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3)), max_size=4)


def graph(edges: list[list[tuple[str, int]]]) -> Graph[int, str]:
    found: Graph[int, str] = Graph()
    found.states = list(range(len(edges)))
    found.edges = [list(each) for each in edges]
    found.parents = [-1, *([0] * (len(edges) - 1))]
    return found


def end_components(edges: list[list[tuple[str, int]]]) -> Iterator[tuple[frozenset[int], frozenset[tuple[int, str]]]]:
    """By definition: every set of states and of acts that stays inside, is connected, and is fair."""
    size = len(edges)
    for members in product((False, True), repeat=size):
        states = [state for state in range(size) if members[state]]
        if not states:
            continue
        choices = []
        for state in states:
            labels = sorted({label for label, _ in edges[state]})
            inside = [
                label for label in labels if all(there in states for other, there in edges[state] if other == label)
            ]
            choices.append(
                [
                    frozenset(c for c, on in zip(inside, bits, strict=True) if on)
                    for bits in product((0, 1), repeat=len(inside))
                ]
            )
        for chosen in product(*choices):
            if any(not each for each in chosen) and not (len(states) == 1 and not edges[states[0]]):
                continue
            acts = frozenset((state, label) for state, each in zip(states, chosen, strict=True) for label in each)
            if not connected(states, edges, acts):
                continue
            always = set.intersection(*({label for label, _ in edges[state]} for state in states))
            if always <= {label for _, label in acts}:
                yield frozenset(states), acts


def connected(states: list[int], edges: list[list[tuple[str, int]]], acts: frozenset[tuple[int, str]]) -> bool:
    for start in states:
        reached, queue = {start}, [start]
        for here in queue:
            for label, there in edges[here]:
                if (here, label) in acts and there not in reached:
                    reached.add(there)
                    queue.append(there)
        if reached != set(states):
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.lists(EDGES, min_size=4, max_size=4))
def test_the_largest_fair_end_components_hold_all_others(edges: list[list[tuple[str, int]]]) -> None:
    found = [
        (each.states, frozenset((state, label) for state, label, _ in each.acts)) for each in recurrent(graph(edges))
    ]
    known = set(end_components(edges))
    assert set(found) <= known
    for states, acts in known:
        assert any(states <= larger and acts <= more for larger, more in found)


def test_a_cycle_that_chance_leaves_is_none() -> None:
    """The same act leads back or away; and with two acts the order decides."""
    assert [each.states for each in recurrent(graph([[("place", 0), ("place", 1)], []]))] == [{1}]
    stays = recurrent(graph([[("evict", 1)], [("place", 0), ("end", 2)], [("place", 0)]]))
    assert [each.states for each in stays] == [{0, 1, 2}]


def test_an_act_that_is_always_possible_is_taken_sooner_or_later_unless_it_is_optional() -> None:
    edges = [[("look", 0), ("mend", 1)], []]
    assert [each.states for each in recurrent(graph(edges))] == [{1}]
    found = recurrent(graph(edges), optional=lambda act: act == "mend")
    assert [each.states for each in found] == [{0}, {1}]


def test_the_way_around_passes_what_it_is_about() -> None:
    (found,) = recurrent(graph([[("a", 0), ("b", 1)], [("a", 2)], [("a", 0)]]))
    assert round_trip(found, lambda here, _, there: (here, there) == (1, 2)) == [1, 2, 0]
