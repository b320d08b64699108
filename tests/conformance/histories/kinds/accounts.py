"""What every namespace is given (the account `default`, the root CA), and roles that are made of other roles.

Roles are aggregated over several levels, by labels that change; roles of the cluster belong to a history by their
names and labels. Nobody writes rules into two roles that one aggregates at the same time.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, drawn

WATCHED = ("ServiceAccount", "ConfigMap", "ClusterRole")
QUIET_S = 1.0
_ROLES: Final = ("one", "two", "three", "four")
_SUMS: Final = ("sum", "whole")
_KEY: Final = "$NS-aggregate-to-"


def script(random: Random) -> list[AnyCommand]:
    commands: list[AnyCommand] = [Create(_sum(random, name)) for name in _SUMS]
    commands += [Create(_role(random, name)) for name in random.sample(_ROLES, random.randint(1, 4))]
    random.shuffle(commands)
    for _ in range(random.randint(8, 16)):
        commands.append(_command(random))
    return commands


def _command(random: Random) -> AnyCommand:
    def role() -> str:
        return f"ClusterRole/$NS-{random.choice(_ROLES)}"

    def total() -> str:
        return f"ClusterRole/$NS-{random.choice(_SUMS)}"

    account = random.choice(("default", "default", "other"))
    data = random.choice(({"ca.crt": "mine"}, {"ca.crt": None}, {"more": "x"}, {"more": None}))
    described = {"kubernetes.io/description": random.choice(("mine", None))}
    choices: Choices = [
        (8, lambda: Create(_role(random, random.choice(_ROLES)))),
        (10, lambda: Patch(role(), {"rules": _rules(random)})),
        (12, lambda: Patch(role(), {"metadata": {"labels": _labels(random)}})),
        (5, lambda: Delete(role())),
        (4, lambda: Patch(total(), {"rules": _rules(random)})),
        (5, lambda: Patch(total(), {"aggregationRule": _selectors(random)})),
        (3, lambda: Patch(total(), {"metadata": {"labels": _labels(random)}})),
        (3, lambda: Patch(total(), {"aggregationRule": None})),
        (2, lambda: Delete(total())),
        (4, lambda: Create(_sum(random, random.choice(_SUMS)))),
        (6, lambda: Delete("ConfigMap/kube-root-ca.crt")),
        (8, lambda: Patch("ConfigMap/kube-root-ca.crt", {"data": data})),
        (5, lambda: Patch("ConfigMap/kube-root-ca.crt", {"metadata": {"annotations": described}})),
        (6, lambda: Delete(f"ServiceAccount/{account}")),
        (3, lambda: Create({"kind": "ServiceAccount", "metadata": {"name": account}})),
        (3, lambda: Patch(f"ServiceAccount/{account}", {"automountServiceAccountToken": False})),
    ]
    return drawn(random, choices)


def _labels(random: Random) -> JsonObject:
    key = _KEY + random.choice(_SUMS)
    return {key: random.choice(("true", "true", "false", None))}


def _rules(random: Random) -> list[JsonObject]:
    rules = []
    for _ in range(random.randint(0, 2)):
        verbs = random.sample(("get", "list", "watch"), random.randint(1, 3))
        rules.append({"apiGroups": [""], "resources": [random.choice(("pods", "secrets"))], "verbs": verbs})
    return rules


def _role(random: Random, name: str) -> JsonObject:
    labels = {key: value for key, value in _labels(random).items() if value}
    return {
        "kind": "ClusterRole",
        "metadata": {"name": f"$NS-{name}", "labels": {"history": "$NS", **labels}},
        "rules": _rules(random),
    }


def _selectors(random: Random) -> JsonObject:
    """Of two selectors the roles of the first come first, of one the roles in the order of their names."""
    keys = [_KEY + name for name in random.sample(_SUMS, random.choice((1, 1, 2)))]
    selectors: list[JsonObject] = [{"matchLabels": {key: "true"}} for key in keys]
    if random.random() < 0.2:
        selectors[0] = {"matchExpressions": [{"key": keys[0], "operator": "In", "values": ["true", "false"]}]}
    return {"clusterRoleSelectors": selectors}


def _sum(random: Random, name: str) -> JsonObject:
    """`whole` may be made of `sum`, which has a label then."""
    labels = {_KEY + "whole": "true"} if name == "sum" and random.random() < 0.6 else {}
    rule = {"clusterRoleSelectors": [{"matchLabels": {_KEY + name: "true"}}]}
    return {
        "kind": "ClusterRole",
        "metadata": {"name": f"$NS-{name}", "labels": {"history": "$NS", **labels}},
        "aggregationRule": rule,
        "rules": [],
    }
