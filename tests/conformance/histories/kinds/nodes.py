"""Nodes that fall ill and recover: their taints, pods that stand them for a while or not at all, zones that are lost.

Every history has its own zones, and one with a node that is well: where all zones of a cluster are lost nothing is
evicted, and histories share theirs upstream. In a zone one node in ten seconds is emptied, which is waited for.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.control import nodettl
from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, drawn

WATCHED = ("Node", "Pod", "Event")
QUIET_S = 1.5
_LONG_S: Final = 13
"""Longer than a node waits for its turn."""


def script(random: Random) -> list[AnyCommand]:
    count = random.choice((1, 2, 2, 3, 4))
    commands: list[AnyCommand] = [Create(_node(random, "calm", "rest"))]
    commands += [Create(_node(random, f"n{number}", "a" if number < 4 else "b")) for number in range(1, count + 1)]
    commands += [Create(_pod(random, f"p{number}")) for number in range(1, random.randint(2, 4))]
    commands += [Pods("ready", (number,), node=f"$NS-n{random.randint(1, count)}") for number in range(3)]
    for _ in range(random.randint(5, 9)):
        commands.append(_command(random, count))
    return commands


def _command(random: Random, count: int) -> AnyCommand:
    node = f"Node/$NS-n{random.randint(1, count)}"
    pick = (random.randrange(60),)
    choices: Choices = [
        (24, lambda: Patch(node, {"status": {"conditions": [_condition(random)]}}, "status", _LONG_S)),
        (10, lambda: Patch(node, {"spec": {"taints": _taints(random)}}, seconds=_LONG_S)),
        (5, lambda: Patch(node, {"spec": {"unschedulable": random.random() < 0.6}})),
        (2, lambda: Patch(node, {"metadata": {"labels": {"kubernetes.io/os": "linux"}}})),
        (2, lambda: Patch(node, {"metadata": {"annotations": {nodettl.ANNOTATION: random.choice((None, "7", "x"))}}})),
        (4, lambda: Create(_pod(random, f"p{random.randint(1, 6)}"))),
        (6, lambda: Pods("ready", pick, node=f"$NS-n{random.randint(1, count)}", seconds=6)),
        (3, lambda: Pods("unready", pick)),
        (5, lambda: Pods("gone")),
        (1, lambda: Delete(node, seconds=3)),
    ]
    return drawn(random, choices)


def _condition(random: Random) -> JsonObject:
    kind = random.choice(("Ready", "Ready", "Ready", "Ready", "MemoryPressure", "DiskPressure", "NetworkUnavailable"))
    if kind == "Ready":
        return {"type": kind, "status": random.choice(("True", "True", "False", "Unknown")), "reason": "Script"}
    return {"type": kind, "status": random.choice(("True", "False"))}


def _node(random: Random, name: str, zone: str) -> JsonObject:
    labels = {"history": "$NS", "topology.kubernetes.io/region": "$NS", "topology.kubernetes.io/zone": f"$NS-{zone}"}
    if random.random() < 0.3:
        labels |= {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    status = {"conditions": [{"type": "Ready", "status": "True", "reason": "Script"}]}
    spec: JsonObject = {"unschedulable": True} if random.random() < 0.1 else {}
    return {"kind": "Node", "metadata": {"name": f"$NS-{name}", "labels": labels}, "spec": spec, "status": status}


def _taints(random: Random) -> list[JsonObject]:
    return [
        {
            "key": key,
            "value": random.choice(("x", "y")),
            "effect": random.choice(("NoExecute", "NoExecute", "NoSchedule")),
        }
        for key in random.sample(("maintenance", "broken"), random.choice((0, 1, 1, 2)))
    ]


def _toleration(random: Random) -> JsonObject:
    key = random.choice(("maintenance", "broken", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"))
    toleration: JsonObject = {"key": key, "effect": "NoExecute", "operator": "Exists"}
    if key in ("maintenance", "broken") and random.random() < 0.4:
        toleration |= {"operator": "Equal", "value": "x"}
    if random.random() < 0.7:
        toleration["tolerationSeconds"] = random.choice((0, 4, 3600))
    return toleration


def _pod(random: Random, name: str) -> JsonObject:
    spec: JsonObject = {"containers": [{"name": "app", "image": "app:1"}]}
    tolerations = {each["key"]: each for each in (_toleration(random) for _ in range(random.choice((0, 1, 2, 3))))}
    spec["tolerations"] = list(tolerations.values())
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}
