"""StatefulSets: ordered and parallel, partition and maxUnavailable, claims and their owners, ordinals, lost nodes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Create, Delete, Patch, Pods, Relabel, Wait, drawn, losses

WATCHED = ("StatefulSet", "Pod", "ControllerRevision", "PersistentVolumeClaim", "Event")
_NAME = "StatefulSet/db"


def script(random: Random) -> list[AnyCommand]:
    claims = random.random() < 0.4
    commands: list[AnyCommand] = [Create(_set(random, claims=claims))]
    if not claims and random.random() < 0.2:
        commands.insert(0, Create(_pod(random)))
    for _ in range(random.randint(6, 18)):
        commands.append(_command(random, claims=claims))
    return commands


def _command(random: Random, *, claims: bool) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return tuple(random.randrange(60) for _ in range(random.randint(1, 3)))

    choices: list[tuple[int, Callable[[], AnyCommand]]] = [
        *losses(lambda: random.choice(("n1", "n2")), "dropped"),
        (30, lambda: Pods("ready", node=random.choice(("n1", "n2")))),
        (12, lambda: Pods("ready", pick(), node=random.choice(("n1", "n2")))),
        (3, lambda: Pods("running", pick())),
        (5, lambda: Pods("unready", pick())),
        (5, lambda: Pods("failed", pick(), detail={"reason": "Evicted"})),
        (2, lambda: Pods("succeeded", pick())),
        (6, lambda: Pods("deleted", pick())),
        (16, lambda: Pods("gone")),
        (3, lambda: Pods("gone", pick())),
        (14, lambda: Patch(_NAME, {"spec": {"template": _template(random)}})),
        (10, lambda: Patch(_NAME, {"spec": {"replicas": random.choice((0, 1, 2, 3, 4, 5, 6))}})),
        (3, lambda: Patch(_NAME, {"spec": {"replicas": random.randint(0, 6)}}, "scale")),
        (4, lambda: Patch(_NAME, {"spec": _strategy(random)})),
        (2, lambda: Patch(_NAME, {"spec": {"ordinals": {"start": random.randint(0, 3)}}})),
        (2, lambda: Patch(_NAME, {"spec": {"minReadySeconds": random.choice((0, 3600))}})),
        (2, lambda: Patch(_NAME, {"spec": {"revisionHistoryLimit": random.randint(0, 2)}})),
        (2, lambda: Patch(_NAME, {"metadata": {"annotations": {"note": str(random.randint(0, 3))}}})),
        (2, lambda: Relabel({"app": random.choice(("db", "other"))}, pick())),
        (1, lambda: Relabel({"statefulset.kubernetes.io/pod-name": None}, pick())),
        (1, lambda: Delete(f"ControllerRevision/#{random.randrange(9)}")),
        (2, lambda: Delete(_NAME, _policy(random))),
        (2, lambda: Create(_set(random, claims=claims))),
        (1, lambda: Wait(3)),
    ]
    if claims:
        choices += [
            (4, lambda: Patch(_NAME, {"spec": {"persistentVolumeClaimRetentionPolicy": _retention(random)}})),
        ]
    return drawn(random, choices)


def _set(random: Random, *, claims: bool) -> JsonObject:
    spec: JsonObject = {
        "replicas": random.randint(0, 5),
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": _template(random),
        "podManagementPolicy": random.choice(("OrderedReady", "OrderedReady", "Parallel")),
        **({} if random.random() < 0.3 else _strategy(random)),
    }
    if random.random() < 0.1:
        spec["minReadySeconds"] = 3600
    if random.random() < 0.2:
        spec["revisionHistoryLimit"] = random.randint(0, 2)
    if random.random() < 0.15:
        spec["ordinals"] = {"start": random.randint(1, 5)}
    if claims:
        claim = {
            "metadata": {"name": "data", "labels": {"of": "db"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        spec["volumeClaimTemplates"] = [claim]
        if random.random() < 0.6:
            spec["persistentVolumeClaimRetentionPolicy"] = _retention(random)
    return {"kind": "StatefulSet", "metadata": {"name": "db", "annotations": {"by": "hand"}}, "spec": spec}


def _template(random: Random) -> JsonObject:
    container = {"name": "app", "image": f"app:{random.randint(1, 4)}"}
    return {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}}


def _strategy(random: Random) -> JsonObject:
    if random.random() < 0.2:
        return {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}
    rolling: JsonObject = {}
    if random.random() < 0.4:
        rolling["partition"] = random.randint(0, 4)
    if random.random() < 0.4:
        rolling["maxUnavailable"] = random.choice((1, 2, 3, "34%", "60%"))
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}


def _retention(random: Random) -> JsonObject:
    return {"whenDeleted": random.choice(("Retain", "Delete")), "whenScaled": random.choice(("Retain", "Delete"))}


def _pod(random: Random) -> JsonObject:
    """Made by hand, with a member's name; the set adopts it or it stands in the way."""
    labels = {"app": random.choice(("db", "db", "other"))}
    meta = {"name": f"db-{random.randint(0, 3)}", "labels": labels}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}
