"""Deployments: rollouts, undone and overlapping, scaling in between, pauses, edits by hand, lost pods and nodes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Relabel, Wait, drawn, losses

WATCHED = ("Deployment", "ReplicaSet", "Pod", "Event")
_AMOUNTS = (0, 1, 2, 3, "0%", "10%", "25%", "34%", "50%", "100%")


def script(random: Random) -> list[AnyCommand]:
    replicas = random.randint(0, 7)
    commands: list[AnyCommand] = [Create(_deployment(random, replicas))]
    if random.random() < 0.15:
        commands.insert(0, Create(_stray(random)))
    for _ in range(random.randint(5, 16)):
        commands.append(_command(random))
    return commands


def _command(random: Random) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 4)))

    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        *losses(lambda: random.choice(("n1", "n2", "n3"))),
        (12, lambda: Pods("ready", node=random.choice(("n1", "n1", "n2", "n3")))),
        (14, lambda: Pods("ready", pick(), node=random.choice(("n1", "n2", "n3")))),
        (3, lambda: Pods("running", pick())),
        (6, lambda: Pods("unready", pick())),
        (4, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (2, lambda: Pods("succeeded", pick())),
        (5, lambda: Pods("deleted", pick())),
        (10, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (14, lambda: Patch("Deployment/web", {"spec": {"template": _template(random)}})),
        (12, lambda: Patch("Deployment/web", {"spec": {"replicas": random.choice((0, 1, 2, 3, 4, 5, 6, 8, 10))}})),
        (4, lambda: Patch("Deployment/web", {"spec": {"replicas": random.randint(0, 9)}}, "scale")),
        (4, lambda: Patch("Deployment/web", {"spec": {"paused": random.random() < 0.5}})),
        (3, lambda: Patch("Deployment/web", {"spec": _strategy(random)})),
        (2, lambda: Patch("Deployment/web", {"spec": {"revisionHistoryLimit": random.randint(0, 2)}})),
        (2, lambda: Patch("Deployment/web", {"metadata": {"annotations": {"note": str(random.randint(0, 3))}}})),
        (1, lambda: Patch("Deployment/web", {"metadata": {"labels": {"tier": str(random.randint(0, 3))}}})),
        (2, lambda: Patch("Deployment/web", {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (3, lambda: Patch(f"ReplicaSet/#{random.randrange(9)}", {"spec": {"replicas": random.randint(0, 5)}})),
        (
            2,
            lambda: Patch(
                f"ReplicaSet/#{random.randrange(9)}", {"metadata": {"labels": {"app": random.choice(("web", "other"))}}}
            ),
        ),
        (2, lambda: Delete(f"ReplicaSet/#{random.randrange(9)}", _policy(random))),
        (3, lambda: Relabel({"app": random.choice(("web", "other"))}, pick())),
        (1, lambda: Delete("Deployment/web", _policy(random))),
        (1, lambda: Create(_deployment(random, random.randint(0, 5)))),
        (2, lambda: Wait(3)),
    ]
    return drawn(random, choices)


def _deployment(random: Random, replicas: int) -> JsonObject:
    spec: JsonObject = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": _template(random),
        **({} if random.random() < 0.2 else _strategy(random)),
    }
    if random.random() < 0.1:
        spec["minReadySeconds"] = 3600
    if random.random() < 0.2:
        spec["revisionHistoryLimit"] = random.randint(0, 2)
    if random.random() < 0.1:
        spec["paused"] = True
    if random.random() < 0.1:
        spec["progressDeadlineSeconds"] = random.choice((3600, 2**31 - 1))
    return {"kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}


def _template(random: Random) -> JsonObject:
    container = {"name": "app", "image": f"app:{random.randint(1, 4)}"}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}


def _strategy(random: Random) -> JsonObject:
    if random.random() < 0.2:
        return {"strategy": {"type": "Recreate", "rollingUpdate": None}}
    amounts = {"maxSurge": random.choice(_AMOUNTS), "maxUnavailable": random.choice(_AMOUNTS)}
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": amounts}}


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}


def _stray(random: Random) -> JsonObject:
    """A ReplicaSet made by hand that a Deployment may adopt."""
    spec = {
        "replicas": random.randint(0, 3),
        "selector": {"matchLabels": {"app": "web"}},
        "template": _template(random),
    }
    return {"kind": "ReplicaSet", "metadata": {"name": "stray", "labels": {"app": "web"}}, "spec": spec}
