"""PodDisruptionBudgets: evictions and their refusals, budgets of every kind, owners of every kind, pods that fall ill.

One pod is evicted at a time: of several the budget's controller may count some before the next is asked for. Left out
is what upstream leaves to chance: pods change only while one budget selects them (of two, one hears of it), and pods
made by hand are no owner's to adopt (a budget may see them before or after).
"""

from __future__ import annotations

from random import Random

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, Relabel, drawn, losses

WATCHED = (
    "PodDisruptionBudget",
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
    "Job",
    "Pod",
    "Event",
)
_OWNERS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_BUDGET = "PodDisruptionBudget/one"
_LONG_AGO = "2026-01-01T00:00:00Z"


def script(random: Random) -> list[AnyCommand]:
    owners = random.sample(_OWNERS, random.choice((1, 1, 1, 2, 3)))
    alone = random.random() < 0.25
    if alone and random.random() < 0.3:
        owners = []
    commands: list[AnyCommand] = [Create(_owner(random, kind)) for kind in owners]
    commands += [Create(_pod(number)) for number in range(random.randint(1, 3)) if alone]
    if random.random() < 0.06:
        commands.append(Create(_job()))
    commands.insert(random.randint(0, len(commands)), Create(_budget(random, "one")))
    commands.append(Pods("ready", node=random.choice(("n1", "n2"))))
    commands += [_command(random, owners, alone) for _ in range(random.randint(6, 14))]
    if random.random() < 0.2:
        commands += [
            Create(_budget(random, "two")),
            Pods("evicted", _pick(random, 1)),
            Pods("evicted", _pick(random, 1)),
        ]
        commands.append(Delete(random.choice((_BUDGET, "PodDisruptionBudget/two"))))
        commands.append(Pods("evicted", _pick(random, 1)))
    return commands


def _pick(random: Random, most: int = 3) -> tuple[int, ...]:
    return tuple(random.randrange(60) for _ in range(random.randint(1, most)))


def _command(random: Random, owners: list[str], alone: bool) -> AnyCommand:
    choices: Choices = [
        *losses(lambda: random.choice(("n1", "n2")), "dropped" if "StatefulSet" in owners else "collected"),
        (60, lambda: Pods("evicted", _pick(random, 1))),
        (40, lambda: Pods("ready", node=random.choice(("n1", "n2")))),
        (16, lambda: Pods("ready", _pick(random))),
        (22, lambda: Pods("unready", _pick(random))),
        (8, lambda: Pods("failed", _pick(random, 1))),
        (10, lambda: Pods("deleted", _pick(random, 1))),
        (26, lambda: Pods("gone")),
        (26, lambda: Patch(_BUDGET, {"spec": _bound(random)})),
        (8, lambda: Patch(_BUDGET, {"spec": {"unhealthyPodEvictionPolicy": _policy(random)}})),
        (6, lambda: Patch(_BUDGET, {"spec": {"selector": _selector(random)}})),
        (14, lambda: Create(_budget(random, "one"))),
        (8, lambda: Delete(_BUDGET)),
        (6, lambda: Relabel({"app": "other"}, _pick(random, 1))),
    ]
    if owners:
        scaled = {"spec": {"replicas": random.choice((0, 1, 2, 3, 5, 12))}}
        choices.append((22, lambda: Patch(f"{random.choice(owners)}/web", scaled)))
        choices.append((2, lambda: Delete(f"{random.choice(owners)}/web", {"propagationPolicy": "Orphan"})))
    named = [*([f"solo-{random.randrange(3)}"] if alone else []), *(["web-0"] if "StatefulSet" in owners else [])]
    if named:
        since = random.choice(("$NOW", _LONG_AGO))
        expected = {"status": {"disruptedPods": {random.choice(named): since}}}
        choices.append((8, lambda: Patch(_BUDGET, expected, "status")))
    if alone:
        choices.append((6, lambda: Create(_pod(random.randrange(3)))))
    return drawn(random, choices)


def _bound(random: Random) -> JsonObject:
    value = random.choice((0, 1, 2, 3, "0%", "30%", "50%", "100%"))
    name, other = random.sample(("minAvailable", "maxUnavailable"), 2)
    return {name: value, other: None}


def _policy(random: Random) -> str:
    return random.choice(("AlwaysAllow", "IfHealthyBudget"))


def _selector(random: Random) -> JsonObject:
    labels = {"matchLabels": {"app": "web"}, "matchExpressions": None}
    tiers = {"key": "tier", "operator": random.choice(("In", "NotIn")), "values": ["deployment", "replicaset"]}
    return random.choice((labels, labels, {"matchLabels": {"app": "web"}, "matchExpressions": [tiers]}))


def _budget(random: Random, name: str) -> JsonObject:
    bound = {key: value for key, value in _bound(random).items() if value is not None}
    selector = {key: value for key, value in _selector(random).items() if value is not None}
    spec = {"selector": {} if random.random() < 0.05 else selector, **bound}
    if random.random() < 0.3:
        spec["unhealthyPodEvictionPolicy"] = _policy(random)
    return {"kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


def _owner(random: Random, kind: str) -> JsonObject:
    labels = {"app": "web", "tier": kind.lower()}
    only = {"tier": kind.lower()}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    selector = only if kind == "ReplicationController" else {"matchLabels": only}
    spec: JsonObject = {"replicas": random.randint(1, 5), "selector": selector, "template": template}
    if kind == "StatefulSet":
        spec |= {"serviceName": "web", "podManagementPolicy": "Parallel"}
    return {"kind": kind, "metadata": {"name": "web"}, "spec": spec}


def _job() -> JsonObject:
    """Its pods have an owner without a scale."""
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1"}]},
    }
    return {"kind": "Job", "metadata": {"name": "web"}, "spec": {"parallelism": 2, "template": template}}


def _pod(number: int) -> JsonObject:
    meta = {"name": f"solo-{number}", "labels": {"app": "web", "tier": "none"}}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
