"""How fast the explorer is: a rollout of 8 replicas over 3 nodes, surge 2, unavailable 2. Bar: 50,000 transitions/s."""

from __future__ import annotations

import time

from seatrial.check import explore
from seatrial.check.machines import ordinary
from seatrial.check.model.model import Model
from seatrial.check.rollouts import Rollout, Setting
from seatrial.control import admission
from seatrial.kube.objects import Deployment, parse_as

RAW = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 8,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 2}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}]},
        },
    },
}


def model(*, collapses: bool = False) -> Model:
    deployment = parse_as(Deployment, admission.admit(RAW, version="1.37"))
    nodes = tuple(ordinary(n) for n in range(3))
    return Rollout(Setting(deployment, nodes, collapses=collapses)).model


def main(max_states: int = 60_000, runs: int = 5) -> None:
    """The best of several runs, each on a new model (nothing remembered): others use the machine, too."""
    for collapses in (True, False):
        print("nodes that decide nothing taken together" if collapses else "every node by itself")
        took: list[float] = []
        for _ in range(runs if collapses else 1):
            fresh = model(collapses=collapses)
            started = time.perf_counter()
            graph = explore.explore(fresh, max_states=max_states)
            took.append(time.perf_counter() - started)
        rate = graph.transitions / min(took)
        print(f"  states {len(graph.edges)}  transitions {graph.transitions} complete {graph.complete}")
        print(f"  {min(took):.2f} s, transitions/s {rate:,.0f} = {rate / 50_000:.2f} of the bar (50,000)")


if __name__ == "__main__":
    main()
