"""Rollouts with faults: what they come to, how often each may come, and that controllers stop between writes."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.check.budget import Budget
from seatrial.check.machines import ordinary
from seatrial.check.model.faults import NONE, Faults, Left
from seatrial.check.model.space import FAULT, State
from seatrial.check.runs import rolling
from seatrial.check.runs.rollouts import EDITED, UPGRADE, Setting
from seatrial.control import nodelifecycle
from seatrial.control.ownership import ready_since
from seatrial.kube.objects import DaemonSet, Deployment, Node, Pod, StatefulSet
from tests.check.oracle import workload


def explored(kind: Any, faults: Faults, *, nodes: int = 2, plan: Any = UPGRADE) -> rolling.Exploration:
    made = workload(kind, 2)
    machines = tuple(ordinary(index) for index in range(nodes))
    return rolling.run(Setting(made, machines, plan, faults=faults), Budget())


@pytest.mark.parametrize("kind", [Deployment, StatefulSet, DaemonSet])
@pytest.mark.parametrize(
    ("faults", "plan"),
    [
        (Faults(containers=1, between_writes=True), UPGRADE),
        (Faults(containers=2), UPGRADE),
        (Faults(nodes=1), UPGRADE),
        (NONE, EDITED),
    ],
)
def test_rollouts_end_all_the_same(kind: Any, faults: Faults, plan: Any) -> None:
    calm = explored(kind, NONE)
    disturbed = explored(kind, faults, plan=plan)
    assert disturbed.graph.complete
    assert disturbed.endless is None
    assert disturbed.ends > 0
    assert len(disturbed.graph.states) > len(calm.graph.states)


def faults_made(found: rolling.Exploration) -> list[tuple[State, State, Any]]:
    states = found.graph.states
    return [
        (states[here], states[there], label)
        for here, edges in enumerate(found.graph.edges)
        for label, there in edges
        if label[0] == FAULT
    ]


def test_a_container_crashes_so_often_and_no_more() -> None:
    found = explored(Deployment, Faults(containers=2))
    pool, space = found.rollout.pool, found.rollout.space
    made = faults_made(found)
    assert made
    for before, after, _ in made:
        left = [pool[state[space.slots[Left]][0]].containers for state in (before, after)]
        assert left in ([2, 1], [1, 0])
        ready = [sum(ready_since(pool[n]) is not None for n in state[space.slots[Pod]]) for state in (before, after)]
        assert ready[1] == ready[0] - 1


def test_a_silent_node_has_no_ready_pods_and_its_own_do_not_move() -> None:
    found = explored(Deployment, Faults(nodes=1))
    pool, space = found.rollout.pool, found.rollout.space
    seen = 0
    for position, state in enumerate(found.graph.states):
        silent = {pool[n].metadata.name for n in state[space.slots[Node]] if nodelifecycle.is_silent(pool[n])}
        pods: list[Pod] = [pool[n] for n in state[space.slots[Pod]]]
        seen += bool(silent) and any(pod.spec.node_name in silent for pod in pods)
        assert not any(pod.spec.node_name in silent and ready_since(pod) is not None for pod in pods)
        moved = [pool[label[1]] for label, _ in found.graph.edges[position] if str(label[0]).startswith("node ")]
        assert not any(pod.spec.node_name in silent for pod in moved)
    assert seen


def test_a_controller_that_stops_between_two_writes_leaves_some_of_its_pods_created() -> None:
    found = explored(Deployment, Faults(between_writes=True), nodes=1)
    pods = found.rollout.space.pods
    born = {len(after[pods]) - len(before[pods]) for before, after, _ in faults_made(found)}
    assert 1 in born
    calm = explored(Deployment, NONE, nodes=1)
    first = {len(state[calm.rollout.space.pods]) for state in calm.graph.states[:4]}
    assert 1 not in first, "two pods are created in one decision unless it is cut short"
