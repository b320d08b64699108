"""DaemonSets: nodes that come and change labels and taints; rollouts with surge and unavailability; pods that die.

Two things upstream leaves open are left out: which of several nodes is updated first (with several, all are at once),
and when a node is noticed that goes, gets a NoSchedule taint while its pod runs, or loses a pod that is not there yet.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Relabel, Wait, drawn

WATCHED = ("DaemonSet", "Pod", "ControllerRevision", "Event")
QUIET_S = 1.0
_NAME = "DaemonSet/agent"


def script(random: Random) -> list[AnyCommand]:
    nodes = random.choice((1, 1, 2, 3, 4))
    commands: list[AnyCommand] = [Create(_node(random, number)) for number in range(1, nodes + 1)]
    commands.append(Create(_set(random, nodes)))
    for _ in range(random.randint(6, 16)):
        command = _command(random, nodes)
        if isinstance(command, Patch) and command.target.startswith("Node/"):
            commands.append(Pods("ready"))
        commands.append(command)
    return commands


def _command(random: Random, nodes: int) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 3)))

    def node() -> str:
        return f"Node/$NS-n{random.randint(1, nodes)}"

    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        (26, lambda: Pods("ready")),
        (8, lambda: Pods("ready", pick())),
        (2, lambda: Pods("running", pick())),
        (5, lambda: Pods("unready", pick())),
        (3, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (2, lambda: Pods("succeeded", pick())),
        (5, lambda: Pods("deleted", pick())),
        (16, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (14, lambda: Patch(_NAME, {"spec": {"template": _template(random)}})),
        (5, lambda: Patch(_NAME, {"spec": _strategy(random, nodes)})),
        (2, lambda: Patch(_NAME, {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (2, lambda: Patch(_NAME, {"spec": {"revisionHistoryLimit": random.randint(0, 2)}})),
        (2, lambda: Create(_node(random, random.randint(1, nodes if nodes == 1 else 5)))),
        (5, lambda: Patch(node(), {"metadata": {"labels": {"pool": random.choice(("a", "b"))}}})),
        (5, lambda: Patch(node(), {"spec": {"taints": _taints(random, "NoExecute")}})),
        (2, lambda: Relabel({"app": random.choice(("agent", "other"))}, pick())),
        (2, lambda: Delete(_NAME, _policy(random))),
        (2, lambda: Create(_set(random, nodes))),
        (1, lambda: Wait(3)),
    ]
    return drawn(random, choices)


def _set(random: Random, nodes: int) -> JsonObject:
    template = _template(random)
    template["spec"]["nodeSelector"] = {"history": "$NS"}
    spec: JsonObject = {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": template,
        **({} if nodes == 1 and random.random() < 0.3 else _strategy(random, nodes)),
    }
    if random.random() < 0.1:
        spec["minReadySeconds"] = 3600
    if random.random() < 0.2:
        spec["revisionHistoryLimit"] = random.randint(0, 2)
    return {"kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec}


def _template(random: Random) -> JsonObject:
    """All nodes of the history, or those of one pool."""
    spec: JsonObject = {
        "containers": [{"name": "app", "image": f"app:{random.randint(1, 4)}"}],
        "nodeSelector": {"history": "$NS", "pool": "a" if random.random() < 0.15 else None},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}] if random.random() < 0.15 else None,
    }
    return {"metadata": {"labels": {"app": "agent"}}, "spec": spec}


def _strategy(random: Random, nodes: int) -> JsonObject:
    if random.random() < 0.2:
        return {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}
    amount = random.choice((1, "50%", "100%")) if nodes == 1 else "100%"
    one, other = ("maxSurge", "maxUnavailable") if random.random() < 0.4 else ("maxUnavailable", "maxSurge")
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {one: amount, other: 0}}}


def _node(random: Random, number: int) -> JsonObject:
    labels = {"history": "$NS", "pool": random.choice(("a", "a", "b"))}
    taints = _taints(random, "NoSchedule") if random.random() < 0.2 else []
    return {"kind": "Node", "metadata": {"name": f"$NS-n{number}", "labels": labels}, "spec": {"taints": taints}}


def _taints(random: Random, effect: str) -> list[JsonObject]:
    key = random.choice(("dedicated", "node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready"))
    return [{"key": key, "effect": random.choice((effect, "PreferNoSchedule"))}] if random.random() < 0.7 else []


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}
