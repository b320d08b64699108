"""Garbage collection and deletion of namespaces: objects of many kinds that own each other, rightly and wrongly.

`$UID:Kind/name` is the uid of an object of the history, or one that nothing has. At the end some namespaces are
deleted; upstream looks at what is left in one only every few seconds, so that takes its time.

The owners of an object have no owner in common and do not own each other: upstream looks at what such an owner's end
concerns all at once, and which it sees go first is chance.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, Wait, drawn

WATCHED = (
    "Namespace",
    "ConfigMap",
    "Secret",
    "Role",
    "PodTemplate",
    "Pod",
    "ReplicaSet",
    "ClusterRole",
    "PriorityClass",
    "Event",
)
QUIET_S = 1.0
GIVEN: Final = ({"kind": "ConfigMap", "metadata": {"name": "elsewhere", "namespace": "default"}},)
_NAMES: Final = {
    "ConfigMap": ("a", "b", "c"),
    "Secret": ("a", "b"),
    "Role": ("a", "b"),
    "PodTemplate": ("a",),
    "Pod": ("p", "q"),
    "ReplicaSet": ("r",),
    "ClusterRole": ("$NS-x", "$NS-y"),
    "PriorityClass": ("$NS-z",),
}
_VERSIONS: Final = {
    "Role": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "ReplicaSet": "apps/v1",
}
_LONGEST: Final = 20
Made = dict[str, set[str]]
"""What was ever made, and by what it was ever owned."""
_GOING: Final = "going"
"""Among what was made: what was once to wait for its dependents. Upstream does not look at those that come then."""
_CLUSTER: Final = ("ClusterRole", "PriorityClass")
_FINALIZERS: Final = ("example.com/hold", "foregroundDeletion", "orphan")


def script(random: Random) -> list[AnyCommand]:
    commands: list[AnyCommand] = []
    made: Made = {}
    for _ in range(random.randint(3, 7)):
        commands.append(_create(random, made))
    for _ in range(random.randint(6, 13)):
        commands.append(_command(random, made))
    if random.random() < 0.35:
        commands += [Wait(0)] * (_LONGEST - len(commands))  # so that all histories wait at the same steps
        commands += _ending(random, made)
    return commands


def _ending(random: Random, made: Made) -> list[AnyCommand]:
    commands: list[AnyCommand] = []
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    ours = [target for target in made if not target.startswith((*_CLUSTER, _GOING))] or ["ConfigMap/kube-root-ca.crt"]
    hold = [random.choice(ours) for _ in range(2)]
    commands += [Patch(target, held) if random.random() < 0.5 else Wait(0) for target in hold]
    commands.append(Delete("Namespace/$NS", seconds=9))
    commands.append(Create({"kind": "ConfigMap", "metadata": {"name": "late"}}))
    commands.append(Pods("gone", seconds=22))
    free = {"metadata": {"finalizers": None}}
    return [*commands, *(Patch(target, free, seconds=12) for target in hold)]


def _command(random: Random, made: Made) -> AnyCommand:
    def one() -> str:
        return random.choice([target for target in made if target != _GOING])

    choices: Choices = [
        (14, lambda: _create(random, made)),
        (14, lambda: _deletion(random, made, one())),
        (10, lambda: _given_owners(random, made, one())),
        (4, lambda: Patch(one(), {"metadata": {"ownerReferences": None}})),
        (4, lambda: Patch(one(), {"metadata": {"finalizers": [random.choice(_FINALIZERS)]}})),
        (5, lambda: Patch(one(), {"metadata": {"finalizers": None}})),
        (3, lambda: Pods("ready")),
        (4, lambda: Pods("gone")),
        (1, lambda: Patch("ReplicaSet/r", {"spec": {"replicas": random.randint(0, 3)}})),
    ]
    return drawn(random, choices)


def _deletion(random: Random, made: Made, target: str) -> AnyCommand:
    policy = _policy(random)
    if policy.get("propagationPolicy") == "Foreground":
        made.setdefault(_GOING, set()).add(target)
    return Delete(target, policy)


def _policy(random: Random) -> JsonObject:
    policy = random.choice(("", "Background", "Foreground", "Foreground", "Orphan"))
    return {"propagationPolicy": policy} if policy else {}


def _create(random: Random, made: Made) -> AnyCommand:
    kinds = list(_NAMES)
    kind = random.choices(kinds, [8, 5, 5, 3, 5, 2, 3, 1])[0]
    name = random.choice(_NAMES[kind])
    target = f"{kind}/{name}"
    metadata: JsonObject = {"name": name, "labels": {"history": "$NS"}}
    if made and random.random() < 0.75:
        metadata["ownerReferences"] = _owners(random, made, target)
    if random.random() < 0.12:
        metadata["finalizers"] = [random.choice(_FINALIZERS)]
    made.setdefault(target, set())
    return Create({"kind": kind, "metadata": metadata, **_content(random, kind)})


def _content(random: Random, kind: str) -> JsonObject:
    pod = {"containers": [{"name": "app", "image": "app:1"}]}
    match kind:
        case "Pod":
            return {"spec": pod}
        case "PodTemplate":
            return {"template": {"metadata": {"labels": {"app": "t"}}, "spec": pod}}
        case "PriorityClass":
            return {"value": 7}
        case "ReplicaSet":
            template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
            selector = {"matchLabels": {"app": "web"}}
            return {"spec": {"replicas": random.randint(0, 2), "selector": selector, "template": template}}
        case "Role" | "ClusterRole":
            return {"rules": []}
    return {}


def _owners(random: Random, made: Made, of: str) -> list[JsonObject]:
    family = _ancestors(made, of)
    chosen: list[str] = []
    there = [target for target in made if target not in made.get(_GOING, ()) and target != _GOING]
    for target in random.sample(there, min(random.choice((1, 1, 1, 2, 2, 3)), len(there))):
        theirs = _ancestors(made, target)
        if target == of and random.random() < 0.1:
            chosen.append(target)  # its own owner
        elif of not in theirs and not theirs & family:
            family |= theirs
            made.setdefault(of, set()).add(target)
            chosen.append(target)
    owners = [_owner(random, target) for target in chosen]
    if random.random() < 0.1:
        owners.append(_owner(random, "ConfigMap/missing"))
    if random.random() < 0.06:
        owners.append({**_owner(random, "ConfigMap/elsewhere"), "uid": "$UID:default/ConfigMap/elsewhere"})
    return owners or [_owner(random, "ConfigMap/missing")]


def _ancestors(made: Made, target: str) -> set[str]:
    """The object, and all that it was ever owned by, directly or not."""
    found, todo = {target}, [target]
    while todo:
        new = made.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found


def _given_owners(random: Random, made: Made, target: str) -> AnyCommand:
    return Patch(target, {"metadata": {"ownerReferences": _owners(random, made, target)}})


def _owner(random: Random, target: str) -> JsonObject:
    kind, _, name = target.partition("/")
    owner: JsonObject = {"apiVersion": _VERSIONS.get(kind, "v1"), "kind": kind, "name": name, "uid": f"$UID:{target}"}
    if random.random() < 0.5:
        owner["blockOwnerDeletion"] = random.random() < 0.8
    wrong = random.random()
    if wrong < 0.04:
        owner["name"] = "other"
    elif wrong < 0.07:
        owner["kind"] = "ConfigMap" if kind != "ConfigMap" else "Secret"
        owner["apiVersion"] = "v1"
    elif wrong < 0.09:
        owner["apiVersion"] = "example.com/v1"
    return owner
