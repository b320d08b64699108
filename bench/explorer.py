"""How fast the explorer is: a rollout of 8 replicas over 3 nodes, surge 2, unavailable 2. Bar: 50,000 transitions/s."""

from __future__ import annotations

import time

from seatrial.check import explore
from seatrial.check.machines import ordinary
from seatrial.check.world import World
from seatrial.control import CONTROLLERS, admission
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


def model(*, collapses: bool = False) -> World:
    deployment = parse_as(Deployment, admission.admit(RAW, version="1.37"))
    return World(
        deployment=deployment, nodes=tuple(ordinary(n) for n in range(3)), controllers=CONTROLLERS, collapses=collapses
    )


def main(max_states: int = 1_000_000) -> None:
    for collapses in (True, False):
        print("nodes that decide nothing taken together" if collapses else "every node by itself")
        started = time.perf_counter()
        graph = explore.explore(model(collapses=collapses), max_states=max_states)
        took = time.perf_counter() - started
        rate = graph.transitions / took
        print(f"  states {len(graph.edges)}  transitions {graph.transitions} complete {graph.complete} in {took:.2f} s")
        print(f"  transitions/s {rate:,.0f} = {rate / 50_000:.2f} of the bar (50,000)")


if __name__ == "__main__":
    main()
