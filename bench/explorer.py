"""How fast the explorer is: a rollout of 8 replicas over 3 nodes, surge 2, unavailable 2.

Bars: 100,000 transitions a second where nodes are taken together, 50,000 where each counts by itself, 300 MB.
"""

from __future__ import annotations

import resource
import time

from seatrial.check import explore
from seatrial.check.budget import Budget
from seatrial.check.machines import ordinary
from seatrial.check.model.model import Model
from seatrial.check.runs import rolling
from seatrial.check.runs.rollouts import Rollout, Setting
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


def setting(*, collapses: bool, reduces: bool = False) -> Setting:
    deployment = parse_as(Deployment, admission.admit(RAW, version="1.37"))
    nodes = tuple(ordinary(n) for n in range(3))
    return Setting(deployment, nodes, collapses=collapses, reduces=reduces)


def model(*, collapses: bool = False) -> Model:
    return Rollout(setting(collapses=collapses)).model


def main(max_states: int = 60_000, runs: int = 5) -> None:
    """The best of several runs, each on a new model (nothing remembered): others use the machine, too.

    A transition is one move of one actor from one state: what `Graph.edges` holds. Nothing is counted that is not kept.
    Rates are taken without placing pods at once, which leaves out states and makes no others cheaper.
    """
    for collapses, bar in ((True, 100_000), (False, 50_000)):
        print("nodes that decide nothing taken together" if collapses else "every node by itself")
        took: list[float] = []
        for _ in range(runs if collapses else 2):
            fresh = model(collapses=collapses)
            started = time.process_time()
            graph = explore.explore(fresh, Budget(states=max_states))
            took.append(time.process_time() - started)
        states, rate = len(graph.edges), graph.transitions / min(took)
        print(f"  states {states}  transitions {graph.transitions} complete {graph.complete}")
        print(f"  {min(took):.2f} s CPU, states/s {states / min(took):,.0f}")
        print(f"  memory as the budget counts it {graph.memory_bytes / 1e6:.0f} MB")
        print(f"  transitions/s {rate:,.0f} = {rate / bar:.2f} of the bar ({bar:,})")
    whole_verdict()


def whole_verdict() -> None:
    """What a user waits for: exploring, judging every state, looking for endless runs."""
    started = time.process_time()
    found = rolling.run(setting(collapses=True, reduces=True), Budget())
    took = time.process_time() - started
    print("the whole verdict, nodes taken together and pods placed at once")
    print(f"  states {len(found.graph.edges)}  transitions {found.graph.transitions}")
    print(f"  {took:.2f} s CPU; proved: {found.endless is None and found.short is None and found.ends > 0}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"  peak resident memory of all of the above: {peak:.0f} MB")


if __name__ == "__main__":
    main()
