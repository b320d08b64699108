"""What a decision is remembered by, and the ways in which it may break ties."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check.model import ties
from seatrial.check.model.control import Control
from seatrial.check.model.places import Looked, unplaced
from seatrial.check.model.pool import Pool
from seatrial.check.model.space import Space, State
from seatrial.control import replicaset
from seatrial.control.controller import Decision, Seen
from seatrial.control.writes import Delete
from seatrial.kube.objects import Pod, PodSpec, ReplicaSet, canonical, parse_as

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": True}


def replica_set(replicas: int) -> ReplicaSet:
    raw = {
        "metadata": {"name": "web", "namespace": "default", "uid": "web", "ownerReferences": [{**OWNER, "uid": "up"}]},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
        },
    }
    return parse_as(ReplicaSet, raw)


def pod(node: str) -> Pod:
    meta = {"namespace": "default", "labels": {"app": "web"}, "ownerReferences": [OWNER]}
    return parse_as(Pod, {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": "Running"}})


class Model:
    def __init__(self, controller: Any = replicaset.CONTROLLER) -> None:
        self.pool = Pool()
        self.space = Space((ReplicaSet, Pod))
        self.calls = 0

        def reconcile(seen: Seen) -> Decision:
            self.calls += 1
            found: Decision = controller.reconcile(seen)
            return found

        self.control = Control(dataclasses.replace(controller, reconcile=reconcile), self.pool, self.space)

    def state(self, replicas: int, *nodes: str) -> State:
        objects = [replica_set(replicas), *(pod(node) for node in nodes)]
        return self.space.state(self.pool.types, [*map(self.pool.intern, objects)])

    def left(self, replicas: int, *nodes: str) -> list[list[str]]:
        """For every outcome the nodes of the pods that are not deleted."""
        state = self.state(replicas, *nodes)
        found = []
        for effect in self.control.effects(state):
            gone = tuple((old, new) for old, new in effect.pairs if isinstance(self.pool[old], Pod) and new != old)
            numbers = self.space.change(state[self.space.pods], gone)
            there = [self.pool[number] for number in numbers]
            found.append([each.spec.node_name for each in there if each.metadata.deletion_timestamp is None])
        return sorted(map(sorted, found))


def test_a_decision_that_does_not_ask_where_pods_are_is_made_once_for_all_places() -> None:
    model = Model()
    counted = model.control.effects(model.state(2, "a", "b"))
    calls = model.calls
    assert len(counted) == 1
    assert model.control.effects(model.state(2, "b", "b")) == counted
    assert model.calls == calls


def test_a_decision_that_asks_is_made_for_each() -> None:
    """Of two pods on one node and one on another, one of the two goes first."""
    model = Model()
    assert model.left(2, "a", "a", "b") == [["a", "b"]]
    assert model.left(2, "a", "b", "b") == [["a", "b"]]


def test_ties_are_broken_in_every_way() -> None:
    """Of two pods on each of two nodes, two go: both of a node, or one of each."""
    assert Model().left(2, "a", "a", "b", "b") == [["a", "a"], ["a", "b"], ["b", "b"]]


def test_ties_that_are_not_broken_by_comparing_names_are_still_broken_in_every_way() -> None:
    """A controller that takes the first one that it is shown."""

    def first(seen: Seen) -> Decision:
        return Decision((Delete(seen.all(Pod)[0]),) if len(seen.all(Pod)) > 1 else ())

    model = Model(dataclasses.replace(replicaset.CONTROLLER, reconcile=first))
    assert model.left(1, "a", "b", "c") == [["a", "b"], ["a", "c"], ["b", "c"]]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.data())
def test_every_choice_within_tied_groups_comes_up_once(things: list[int], data: st.DataObject) -> None:
    marks = data.draw(st.lists(st.integers(0, 2), min_size=len(things), max_size=len(things)))
    groups = [[at for at, mark in enumerate(marks) if mark == each] for each in (1, 2)]
    picked = frozenset(data.draw(st.sets(st.integers(0, len(things) - 1))))
    found = [after for _, after in ties.orders(things, groups, picked)]
    for order, after in ties.orders(things, groups, picked):
        assert sorted(order) == list(range(len(things)))
        assert sorted(things[order[at]] for at in sorted(_first(groups, picked))) == list(after)
    assert tuple(sorted(things[at] for at in picked)) in found


def _first(groups: list[list[int]], picked: frozenset[int]) -> set[int]:
    """The positions that a decision picks if names decide within the groups."""
    firsts = {at for group in groups for at in group[: sum(at in picked for at in group)]}
    return firsts | (picked - {at for group in groups for at in group})


@pytest.mark.parametrize(
    "look", [lambda pod: pod.spec.node_name, lambda pod: pod.spec == PodSpec(), lambda pod: hash(pod.spec), canonical]
)
def test_a_hidden_place_cannot_be_looked_at(look: Any) -> None:
    hidden = unplaced(pod("a"))
    with pytest.raises((Looked, NotImplementedError)):
        look(hidden)
    with pytest.raises((Looked, NotImplementedError)):
        look(msgspec.structs.replace(hidden, spec=msgspec.structs.replace(hidden.spec, host_network=True)))
