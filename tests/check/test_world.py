"""The model's reductions change no answer, and its size is known."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.check import explore
from seatrial.check.machines import ordinary
from seatrial.check.properties import rollout
from seatrial.check.world import World
from seatrial.control import CONTROLLERS, admission
from seatrial.kube.objects import Deployment, parse_as


def model(replicas: int, surge: int, missing: int, *, nodes: int = 2, reduced: bool = True, **spec: Any) -> World:
    raw = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}],
                },
            },
            **spec,
        },
    }
    machines = tuple(ordinary(index) for index in range(nodes))
    names = frozenset() if reduced else frozenset(node.metadata.name for node in machines)
    return World(
        deployment=parse_as(Deployment, admission.admit(raw, version="1.37")),
        nodes=machines,
        controllers=CONTROLLERS,
        collapses=reduced,
        named_nodes=names,
    )


@pytest.mark.parametrize(("replicas", "surge", "missing"), [(1, 1, 0), (2, 1, 0), (2, 0, 1), (2, 1, 1)])
def test_reductions_change_no_answer(replicas: int, surge: int, missing: int) -> None:
    """With every node told from every other and nothing taken together, the answers are the same from more states."""
    small = rollout.run(model(replicas, surge, missing), 100_000)
    large = rollout.run(model(replicas, surge, missing, reduced=False), 100_000)
    assert small.graph.complete
    assert large.graph.complete
    assert (small.endless is None, small.short is None) == (large.endless is None, large.short is None) == (True, True)
    assert len(small.graph.states) < len(large.graph.states)
    assert small.rolls > 0
    assert small.ends > 0


def test_the_rollout_of_eight_replicas_has_a_known_number_of_states() -> None:
    graph = explore.explore(model(8, 2, 2, nodes=3), max_states=100_000)
    assert (graph.complete, len(graph.states), graph.transitions) == (True, 2691, 6679)


def test_pods_count_only_after_their_minimum_ready_time() -> None:
    found = rollout.run(model(2, 1, 0, minReadySeconds=10), 100_000)
    assert found.endless is None
    assert found.short is None
    assert found.ends > 0
