"""Random small systems: taking like nodes for one changes no answer, and what is answered is what the cluster does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seatrial.check import edits, explore, machines
from seatrial.check.budget import Budget
from seatrial.check.endless import recurrent
from seatrial.check.model.keeping import Faults
from seatrial.check.properties import evict
from seatrial.check.runs.upkeep import ENDING, OPTIONAL, Keep, Upkeep
from seatrial.cluster.cluster import NodeShape
from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.addons import descheduler
from seatrial.kube.objects import ConfigMap, Deployment, JsonObject, Node, Pod, parse_as

POLICIES = {
    "RemoveDuplicates": "{}",
    "LowNodeUtilization": "{thresholds: {cpu: 30}, targetThresholds: {cpu: 60}}",
    "RemovePodsViolatingTopologySpreadConstraint": "{constraints: [DoNotSchedule, ScheduleAnyway]}",
    "RemovePodsViolatingNodeAffinity": "{nodeAffinityType: [preferredDuringSchedulingIgnoredDuringExecution]}",
}
TAINT = {"key": "example/out", "effect": "NoExecute"}
NO_POLICY = 4
"""One of so many systems is without a descheduler."""


def system(seed: int) -> tuple[list[JsonObject], JsonObject, JsonObject | None]:
    """Nodes, a Deployment, and perhaps a descheduler's policy."""
    draw = random.Random(seed)
    nodes = []
    for number in range(draw.choice((2, 3, 3))):
        labels = {"kubernetes.io/hostname": f"node-{number}", **({"disk": "ssd"} if draw.random() < 0.4 else {})}
        cpu = draw.choice(("1", "1", "2", "8"))
        taints = [TAINT] if number == 0 and draw.random() < 0.3 else []
        nodes.append(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": f"node-{number}", "labels": labels},
                "spec": {"taints": taints},
                "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
            }
        )
    container = {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": draw.choice(("300m", "500m"))}}}
    spec: dict[str, Any] = {"containers": [container]}
    if draw.random() < 0.5:
        term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
        spec["affinity"] = {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "preference": term}]}
        }
    if draw.random() < 0.5:
        rule = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        spec["topologySpreadConstraints"] = [{**rule, "labelSelector": {"matchLabels": {"app": "web"}}}]
    if draw.random() < 0.3:
        out = {"key": "example/out", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 200}
        spec["tolerations"] = [out]
    if draw.random() < 0.15:
        spec["nodeName"] = "node-0"
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": draw.choice((1, 2, 3, 4)),
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }
    if draw.randrange(NO_POLICY) == 0:
        return nodes, deployment, None
    name = draw.choice(sorted(POLICIES))
    point = "deschedule" if name == "RemovePodsViolatingNodeAffinity" else "balance"
    fit = str(draw.random() < 0.5).lower()
    text = (
        "apiVersion: descheduler/v1alpha2\nkind: DeschedulerPolicy\nprofiles:\n- name: default\n  pluginConfig:\n"
        f"  - name: DefaultEvictor\n    args: {{nodeFit: {fit}}}\n  - name: {name}\n    args: {POLICIES[name]}\n"
        f"  plugins:\n    {point}:\n      enabled: [{name}]\n"
    )
    policy = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "policy", "namespace": "kube-system"},
        "data": {"policy.yaml": text},
    }
    return nodes, deployment, policy


def kept(seed: int) -> Keep:
    nodes, deployment, policy = system(seed)
    typed = edits.entry(deployment, "1.37", "", {})[0].typed
    assert isinstance(typed, Deployment)
    return Keep(
        workloads=(typed,),
        nodes=tuple(machines.ready(parse_as(Node, each)) for each in nodes),
        policies=() if policy is None else (parse_as(ConfigMap, policy),),
        leaving=typed.spec.replicas or 0,
    )


def loops(keep: Keep) -> tuple[bool, int]:
    """Whether pods are ended for ever, and in how many states."""
    model = Upkeep(keep)
    graph = explore.explore(model.model, Budget(states=20_000))
    assert graph.complete
    found = recurrent(graph, optional=lambda label: label[0] in OPTIONAL)
    return any(label[0] in ENDING for each in found for _, label, _ in each.acts), len(graph.states)


@pytest.mark.parametrize("seed", range(30))
def test_like_nodes_taken_for_one_change_no_answer(seed: int) -> None:
    keep = kept(seed)
    small, fewer = loops(keep)
    large, more = loops(replace(keep, named_nodes=frozenset(node.metadata.name for node in keep.nodes)))
    assert small == large
    assert fewer <= more


def names_its_node(seed: int) -> bool:
    """Such pods come back at once, many in a second: tests/check/test_loops_happen.py looks at some."""
    _, deployment, _ = system(seed)
    return "nodeName" in deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize("seed", [seed for seed in range(16) if not names_its_node(seed)])
def test_the_cluster_does_what_was_answered(seed: int) -> None:
    """Two hours of the simulated cluster: in the second one pods are made if, and only if, a loop was found.

    Where draws of the scheduler lead to both, one of the two has happened.

    Maintenance is left out: there is none on the cluster.
    """
    nodes, deployment, policy = system(seed)
    keep = kept(seed)
    model = Upkeep(keep)
    graph = explore.explore(model.model, Budget(states=20_000))
    ends = recurrent(graph, optional=lambda label: label[0] in OPTIONAL)
    before = {number for number, state in enumerate(graph.states) if served(model, state)}
    expected = [any(label[0] in ENDING for _, label, _ in each.acts) for each in ends if each.states <= before]
    shapes = [
        NodeShape(
            each["metadata"]["name"],
            each["status"]["allocatable"],
            each["metadata"]["labels"],
            each["spec"]["taints"],
        )
        for each in nodes
    ]
    cluster = VirtualCluster(nodes=shapes)
    cluster.apply([each for each in (deployment, policy) if each is not None])
    hour = timedelta(hours=1)
    cluster.advance(hour)
    known = {each.metadata.uid for each in cluster.objects.all(Pod)}
    made: set[str] = set()
    for _ in range(15):
        cluster.advance(hour / 15)
        made |= {each.metadata.uid for each in cluster.objects.all(Pod)} - known
    assert bool(made) in expected
    if len(set(expected)) == 1:
        assert bool(made) == expected[0]


def served(model: Upkeep, state: Any) -> bool:
    """No maintenance has begun."""
    (number,) = state[model.space.slots[Faults]]
    return bool(model.pool[number].drains) == bool(model.keep.policies)


def test_the_plugins_that_are_tried_are_known() -> None:
    assert set(POLICIES) <= descheduler.PLUGINS
    assert set(POLICIES) <= set(evict.FIELDS)
