"""PodDisruptionBudgets: evictions and their refusals, budgets of every kind, pods that come, go and fall ill."""

from __future__ import annotations

from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, Relabel, drawn

WATCHED = ("PodDisruptionBudget", "ReplicaSet", "Pod", "Event")


def script(random: Random) -> list[AnyCommand]:
    """One pod is evicted at a time: of several the budget's controller may count some before the next is asked for.

    One budget, and no pod made by hand: of two budgets upstream tells one, by chance, that a pod changed, and whether
    it sees a pod before its ReplicaSet adopts it (UnmanagedPods) is a race.
    """
    commands: list[AnyCommand] = [Create(_set(random.randint(1, 5))), Create(_budget(random))]
    random.shuffle(commands)
    commands.append(Pods("ready"))
    for _ in range(random.randint(6, 16)):
        commands.append(_command(random))
    return commands


def _command(random: Random) -> AnyCommand:
    def pick(most: int = 3) -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, most)))

    choices: Choices = [
        (24, lambda: Pods("evicted", pick(1))),
        (14, lambda: Pods("ready")),
        (6, lambda: Pods("ready", pick())),
        (8, lambda: Pods("unready", pick())),
        (3, lambda: Pods("failed", pick(1))),
        (4, lambda: Pods("deleted", pick(1))),
        (10, lambda: Pods("gone")),
        (8, lambda: Patch("ReplicaSet/web", {"spec": {"replicas": random.choice((0, 1, 2, 3, 5, 20))}})),
        (10, lambda: Patch("PodDisruptionBudget/one", {"spec": _bound(random)})),
        (3, lambda: Patch("PodDisruptionBudget/one", {"spec": {"unhealthyPodEvictionPolicy": _policy(random)}})),
        (5, lambda: Create(_budget(random))),
        (3, lambda: Delete("PodDisruptionBudget/one")),
        (2, lambda: Relabel({"app": "other"}, pick(1))),
    ]
    return drawn(random, choices)


def _bound(random: Random) -> JsonObject:
    value = random.choice((0, 1, 2, 3, "0%", "30%", "50%", "100%"))
    name, other = random.sample(("minAvailable", "maxUnavailable"), 2)
    return {name: value, other: None}


def _policy(random: Random) -> str:
    return random.choice(("AlwaysAllow", "IfHealthyBudget"))


def _budget(random: Random) -> JsonObject:
    bound = {key: value for key, value in _bound(random).items() if value is not None}
    spec = {"selector": {"matchLabels": {"app": "web"}}, **bound}
    if random.random() < 0.3:
        spec["unhealthyPodEvictionPolicy"] = _policy(random)
    return {"kind": "PodDisruptionBudget", "metadata": {"name": "one"}, "spec": spec}


def _set(replicas: int) -> JsonObject:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"kind": "ReplicaSet", "metadata": {"name": "web"}, "spec": spec}
