"""DaemonSets: nodes that come, go, are lost, cordoned, tainted; rollouts with surge and unavailability; pods that die.

Upstream takes nodes in no particular order. So a history has nodes that are all alike, of which it matters not which is
updated first (`World.hosts`), or nodes that differ and rollouts that take all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import (
    AnyCommand,
    Choices,
    Create,
    Delete,
    Nodes,
    Patch,
    Pods,
    Relabel,
    Wait,
    drawn,
)

WATCHED = ("DaemonSet", "Pod", "ControllerRevision", "Node", "Event")
QUIET_S = 1.0
NODES_ALIKE = True
_NAME = "DaemonSet/agent"
_AMOUNTS = (1, 1, 2, "25%", "50%", "100%")


def script(random: Random) -> Iterator[AnyCommand]:
    nodes = random.choice((1, 1, 2, 3, 4))
    alike = nodes == 1 or random.random() < 0.6
    for number in range(1, nodes + 1):
        yield Create(_node(random, number, alike))
    yield Create(_set(random, alike))
    for _ in range(random.randint(6, 16)):
        command = _command(random, nodes, alike)
        if isinstance(command, Create) and command.object["kind"] == "Node":
            nodes += 1
        yield command


def _command(random: Random, nodes: int, alike: bool) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 3)))

    def node() -> str:
        return f"Node/#{random.randrange(12)}"

    choices: Choices = [
        (28, lambda: Pods("ready")),
        (8, lambda: Pods("ready", pick())),
        (2, lambda: Pods("running", pick())),
        (5, lambda: Pods("unready", pick())),
        (3, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (2, lambda: Pods("succeeded", pick())),
        (5, lambda: Pods("deleted", pick())),
        (16, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (14, lambda: Patch(_NAME, {"spec": {"template": _template(random, alike)}})),
        (5, lambda: Patch(_NAME, {"spec": _strategy(random, alike)})),
        (2, lambda: Patch(_NAME, {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (2, lambda: Patch(_NAME, {"spec": {"revisionHistoryLimit": random.randint(0, 2)}})),
        (4, lambda: Create(_node(random, nodes + 1, alike))),
        (4, lambda: Patch(node(), {"spec": {"taints": _taints(random, alike)}})),
        (2, lambda: Patch(node(), {"spec": {"unschedulable": random.random() < 0.6}})),
        (3, lambda: Nodes("lost", node())),
        (2, lambda: Nodes("back", node())),
        (3, lambda: Nodes("silent", node())),
        (2, lambda: Nodes("evicting", node())),
        (2, lambda: Nodes("dropped", node())),
        (3, lambda: Nodes("heard", node())),
        (3, lambda: Delete(node())),
        (2, lambda: Relabel({"app": random.choice(("agent", "other"))}, pick())),
        (2, lambda: Delete(_NAME, _policy(random))),
        (2, lambda: Create(_set(random, alike))),
        (1, lambda: Wait(3)),
    ]
    if not alike:
        choices.append((4, lambda: Patch(node(), {"metadata": {"labels": {"pool": random.choice(("a", "b"))}}})))
    return drawn(random, choices)


def _set(random: Random, alike: bool) -> JsonObject:
    spec: JsonObject = {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": _template(random, alike, first=True),
        **({} if alike and random.random() < 0.3 else _strategy(random, alike)),
    }
    if random.random() < 0.1:
        spec["minReadySeconds"] = 3600
    if random.random() < 0.2:
        spec["revisionHistoryLimit"] = random.randint(0, 2)
    return {"kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec}


def _template(random: Random, alike: bool, *, first: bool = False) -> JsonObject:
    """All nodes of the history, or those of one pool."""
    pool = "a" if not alike and random.random() < 0.15 else None
    selector: dict[str, str | None] = {"history": "$NS"}
    if pool is not None or not (alike or first):
        selector["pool"] = pool
    spec: JsonObject = {
        "containers": [{"name": "app", "image": f"app:{random.randint(1, 4)}"}],
        "nodeSelector": selector,
        "tolerations": [{"key": "dedicated", "operator": "Exists"}] if random.random() < 0.15 else None,
    }
    return {"metadata": {"labels": {"app": "agent"}}, "spec": spec}


def _strategy(random: Random, alike: bool) -> JsonObject:
    if random.random() < 0.2:
        return {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}
    amount = random.choice(_AMOUNTS) if alike else "100%"
    one, other = ("maxSurge", "maxUnavailable") if random.random() < 0.4 else ("maxUnavailable", "maxSurge")
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {one: amount, other: 0}}}


def _node(random: Random, number: int, alike: bool) -> JsonObject:
    labels = {"history": "$NS", "pool": "a" if alike else random.choice(("a", "a", "b"))}
    taints = _taints(random, alike) if not alike and random.random() < 0.2 else []
    return {"kind": "Node", "metadata": {"name": f"$NS-n{number}", "labels": labels}, "spec": {"taints": taints}}


def _taints(random: Random, alike: bool) -> list[JsonObject]:
    keys = ("dedicated", "node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready")
    effects = ("NoExecute", "NoSchedule", *(() if alike else ("PreferNoSchedule",)))
    return [{"key": random.choice(keys), "effect": random.choice(effects)}] if random.random() < 0.7 else []


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}
