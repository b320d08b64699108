"""ReplicationControllers: scaling, lost pods and nodes, adoption and release by labels, deletion in all three ways."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Relabel, drawn, losses

WATCHED = ("ReplicationController", "Pod", "Event")
_NAME = "ReplicationController/one"


def script(random: Random) -> list[AnyCommand]:
    return [Create(_controller(random)), *(_command(random) for _ in range(random.randint(5, 16)))]


def _command(random: Random) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 4)))

    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        *losses(lambda: random.choice(("n1", "n2", "n3"))),
        (8, lambda: Pods("ready", node=random.choice(("n1", "n2", "n3")))),
        (14, lambda: Pods("ready", pick(), node=random.choice(("n1", "n2", "n3")))),
        (6, lambda: Pods("unready", pick())),
        (5, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (6, lambda: Pods("deleted", pick())),
        (8, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (20, lambda: Patch(_NAME, {"spec": {"replicas": random.choice((0, 1, 2, 3, 4, 5, 6, 8))}})),
        (3, lambda: Patch(_NAME, {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (3, lambda: Patch(_NAME, {"spec": {"selector": {"tier": "a"}, "template": _template("a")}})),
        (8, lambda: Relabel({"app": random.choice(("web", "other"))}, pick())),
        (3, lambda: Delete(_NAME, _policy(random))),
        (2, lambda: Create(_controller(random))),
    ]
    return drawn(random, choices)


def _template(tier: str | None = None) -> JsonObject:
    labels = {"app": "web"} if tier is None else {"app": "web", "tier": tier}
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}


def _controller(random: Random) -> JsonObject:
    spec: JsonObject = {"replicas": random.randint(0, 6), "template": _template()}
    if random.random() < 0.7:
        spec["selector"] = {"app": "web"}
    return {"kind": "ReplicationController", "metadata": {"name": "one"}, "spec": spec}


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}
