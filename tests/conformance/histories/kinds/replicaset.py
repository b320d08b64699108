"""ReplicaSets: scaling, pods that die, lost nodes, adoption and release by labels, deletion in all three ways."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Relabel, drawn, losses

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
WATCHED = ("ReplicaSet", "Pod", "Event")


def script(random: Random) -> list[AnyCommand]:
    """Pods that differ in what does not count are never chosen from: upstream's choice among those is by chance.

    For the same reason no two ReplicaSets may adopt one pod. So a history either shrinks ReplicaSets by some pods, or
    changes templates and adopts pods that were made by hand.
    """
    if random.random() < 0.08:
        return _with_quota(random)
    shrinks = random.random() < 0.6
    alone = random.random() < 0.6
    commands: list[AnyCommand] = [Create(_set(random, "one", random.randint(0 if shrinks else 3, 7)))]
    if shrinks and not alone:
        commands.insert(random.randint(0, 1), Create(_set(random, "two", random.randint(0, 4))))
    if not shrinks and random.random() < 0.5:
        commands.insert(0, Create(_pod(random)))
    for _ in range(random.randint(6, 18)):
        commands.append(_command(random, shrinks, alone))
    return commands


def _with_quota(random: Random) -> list[AnyCommand]:
    """Refused pods; what was used is only freed by the set itself, because upstream counts anew some time later."""
    quota = {
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": str(random.randint(0, 5))}},
    }
    commands: list[AnyCommand] = [Create(quota), Create(_set(random, "one", random.randint(1, 9)))]
    for _ in range(random.randint(3, 8)):
        sized = Patch("ReplicaSet/one", {"spec": {"replicas": random.choice((0, 1, 2, 4, 7, 12))}})
        commands.append(random.choice((sized, sized, Pods("ready"), Pods("unready", (1, 4)))))
    return commands


def _command(random: Random, shrinks: bool, alone: bool) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 4)))

    def name() -> str:
        return "ReplicaSet/" + random.choice(("one", "one", "one", "one" if alone else "two"))

    def node() -> str:
        return random.choice(("n1", "n2", "n3"))

    def cost() -> JsonObject:
        return {"metadata": {"annotations": {DELETION_COST: random.choice(("5", "-5"))}}}

    sizes = (0, 1, 2, 3, 4, 5, 6, 8, 10, 20)
    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        *losses(lambda: random.choice(("n1", "n2", "n3"))),
        (8, lambda: Pods("ready", node=node())),
        (14, lambda: Pods("ready", pick(), node=node())),
        (4, lambda: Pods("running", pick(), node=node())),
        (6, lambda: Pods("unready", pick())),
        (5, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (3, lambda: Pods("succeeded", pick())),
        (6, lambda: Pods("deleted", pick())),
        (8, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (3, lambda: Patch(name(), {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (3, lambda: Patch(f"Pod/#{random.randrange(9)}", cost())),
        (3, lambda: Delete(name(), _policy(random))),
    ]
    if shrinks:
        choices += [
            (20, lambda: Patch(name(), {"spec": {"replicas": random.choice(sizes)}})),
            (4, lambda: Patch(name(), {"spec": {"replicas": random.randint(-1, 9)}}, "scale")),
            (8, lambda: Relabel({"app": random.choice(("web", "other") if alone else ("other",))}, pick())),
            (2, lambda: Create(_set(random, random.choice(("one", "one" if alone else "two")), random.randint(0, 5)))),
        ]
    else:
        changed = {"metadata": {"labels": {"app": "web", "tier": "a"}}}
        image = {"spec": {"containers": [{"name": "app", "image": "app:9"}]}}
        choices += [
            (10, lambda: Patch(name(), {"spec": {"replicas": random.choice((0, 20))}})),
            (6, lambda: Patch(name(), {"spec": {"template": changed}})),
            (6, lambda: Patch(name(), {"spec": {"template": image}})),
            (6, lambda: Relabel({"app": "other"}, pick())),
        ]
    return drawn(random, choices)


def _set(random: Random, name: str, replicas: int) -> JsonObject:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    if random.random() < 0.1:
        spec["minReadySeconds"] = 3600
    return {"kind": "ReplicaSet", "metadata": {"name": name}, "spec": spec}


def _pod(random: Random) -> JsonObject:
    """Made by hand; a ReplicaSet adopts it."""
    name = f"pod-{random.randint(1, 3)}"
    labels = {"app": random.choice(("web", "web", "other"))}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}
