"""What a run can go on with for ever, where chance decides ties and an adversary decides the order.

Two moves of one label from one state are one act whose outcome is drawn: the scheduler's choice among equal nodes, the
names of new pods. Who acts next is not drawn; it may always be the worst. What such a run can stay in with certainty is
an end component (de Alfaro, Formal verification of probabilistic systems, 1997): states that reach each other by acts
all of whose outcomes stay inside. A cycle that lasts only as long as the dice fall badly is none.

A run is fair when no act stays possible for ever without being taken. If the largest component of some states is
unfair because of an act, so is every smaller one in it: the act is possible there, too, and not taken. So only the
largest ones are looked at. Without ties this is what `explore.misses` asks. Of a graph that was not explored to its end
what is found holds, and there may be more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from seatrial.check.explore import Graph, components

S = TypeVar("S", bound=Hashable)
L = TypeVar("L", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Recurrent:
    """States that a fair run can stay among for ever, and its acts there: state, label, states that may follow.

    The smallest state is where a shortest way enters. `still`: one state in which nothing can move.
    """

    states: frozenset[int]
    acts: tuple[tuple[int, Any, tuple[int, ...]], ...]

    @property
    def entry(self) -> int:
        return min(self.states)

    @property
    def still(self) -> bool:
        return not self.acts


def recurrent(graph: Graph[S, L], *, optional: Callable[[L], bool] = lambda _: False) -> list[Recurrent]:
    """Where fair runs stay, the nearest first. Acts that are `optional` (faults, users) need never be taken."""
    acts = [_grouped(out) for out in graph.edges]
    inside = [True] * len(acts)
    allowed = [list(each) for each in acts]
    while True:
        edges = [[(label, there) for label, follow in each for there in follow] for each in allowed]
        found = components(edges, inside)
        where = {state: number for number, members in enumerate(found) for state in members}
        changed = False
        for state, each in enumerate(allowed):
            if not inside[state]:
                continue
            kept = [act for act in each if all(where.get(there) == where[state] for there in act[1])]
            changed = changed or len(kept) != len(each)
            allowed[state] = kept
            if not kept and any(not optional(label) for label, _ in acts[state]):
                inside[state] = False
                changed = True
        if not changed:
            break
    results = []
    for members in found:
        taken = tuple((state, label, follow) for state in members for label, follow in allowed[state])
        always = set.intersection(*({label for label, _ in acts[state]} for state in members))
        if not {label for label in always if not optional(label)} - {label for _, label, _ in taken}:
            results.append(Recurrent(frozenset(members), taken))
    return sorted(results, key=lambda each: each.entry)


def _grouped(out: Sequence[tuple[L, int]]) -> list[tuple[L, tuple[int, ...]]]:
    found: dict[L, list[int]] = {}
    for label, there in out:
        found.setdefault(label, []).append(there)
    return [(label, tuple(dict.fromkeys(follow))) for label, follow in found.items()]


def round_trip(found: Recurrent, through: Callable[[int, Any, int], bool]) -> list[int]:
    """States of a short cycle from the entry over a step for which `through` holds and back; the entry comes last."""
    edges: dict[int, list[tuple[int, bool]]] = {}
    for state, label, follow in found.acts:
        edges.setdefault(state, []).extend((there, through(state, label, there)) for there in follow)
    start = (found.entry, False)
    before: dict[tuple[int, bool], tuple[int, bool]] = {}
    queue = [start]
    for here in queue:
        for there, passes in edges.get(here[0], ()):
            step = (there, here[1] or passes)
            if step == (found.entry, True):
                way = [there]
                while here != start:
                    way.append(here[0])
                    here = before[here]
                return way[::-1]
            if step not in before and step != start:
                before[step] = here
                queue.append(step)
    raise AssertionError("every act of a component can be taken, and leads back to its entry")
