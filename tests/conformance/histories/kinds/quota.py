"""ResourceQuotas and LimitRanges: what is counted, what is refused and in which words, what defaults pods are given.

Names of two quotas do not overlap, so that only one can refuse. An object that is created under a name that is taken
counts until the next look, as upstream.
"""

from __future__ import annotations

from random import Random
from typing import Final

from seatrial.kube.objects import JsonObject
from tests.conformance.histories.script import AnyCommand, Choices, Create, Delete, Patch, Pods, drawn

WATCHED = ("ResourceQuota", "LimitRange", "Pod", "PersistentVolumeClaim", "Service", "Secret")
GIVEN: Final = (
    {"kind": "PriorityClass", "metadata": {"name": "important"}, "value": 1000},
    {"kind": "PriorityClass", "metadata": {"name": "dull"}, "value": 10},
)
_COMPUTE: Final = {
    "pods": ("1", "2", "3", "5"),
    "cpu": ("500m", "1", "2500m"),
    "requests.cpu": ("500m", "1", "2"),
    "limits.cpu": ("1", "2", "3500m"),
    "memory": ("256Mi", "1Gi", "1500M"),
    "requests.memory": ("256Mi", "1Gi"),
    "limits.memory": ("512Mi", "2Gi"),
    "requests.ephemeral-storage": ("1Gi",),
    "limits.ephemeral-storage": ("2Gi",),
    "requests.example.com/gpu": ("1", "2"),
    "requests.hugepages-2Mi": ("4Mi",),
}
_OTHER: Final = {
    "count/pods": ("2", "4", "8"),
    "count/secrets": ("2", "5"),
    "secrets": ("3",),
    "services": ("1", "2"),
    "services.nodeports": ("0", "2", "3"),
    "services.loadbalancers": ("0", "1"),
    "count/services": ("3",),
    "persistentvolumeclaims": ("1", "2"),
    "requests.storage": ("5Gi", "10Gi"),
    "gold.storageclass.storage.k8s.io/requests.storage": ("3Gi",),
    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": ("1",),
    "count/widgets.example.com": ("3",),
    "count/deployments.apps": ("3",),
    "resourcequotas": ("3",),
}


def script(random: Random) -> list[AnyCommand]:
    commands: list[AnyCommand] = [Create(_quota(random, "one"))]
    if random.random() < 0.5:
        commands.append(Create(_quota(random, "two")))
    if random.random() < 0.6:
        commands.append(Create(_limits(random)))
    random.shuffle(commands)
    for number in range(random.randint(8, 18)):
        commands.append(_command(random, f"o{number if random.random() < 0.9 else number // 2}"))
    return commands


def _command(random: Random, name: str) -> AnyCommand:
    def pick() -> tuple[int, ...]:
        return (random.randrange(60),)

    quota = random.choice(("one", "one", "two"))
    choices: Choices = [
        (30, lambda: Create(_pod(random, name))),
        (5, lambda: Pods("ready", pick())),
        (4, lambda: Pods("failed", pick())),
        (4, lambda: Pods("succeeded", pick())),
        (5, lambda: Pods("deleted", pick())),
        (5, lambda: Pods("gone")),
        (3, lambda: Patch(f"Pod/#{random.randrange(9)}", {"spec": {"activeDeadlineSeconds": 3000}})),
        (8, lambda: Create(_claim(random, name))),
        (2, lambda: Delete(f"PersistentVolumeClaim/#{random.randrange(9)}")),
        (8, lambda: Create(_service(random, name))),
        (4, lambda: Patch(f"Service/#{random.randrange(9)}", {"spec": {"type": _type(random)}})),
        (2, lambda: Delete(f"Service/#{random.randrange(9)}")),
        (4, lambda: Create({"kind": "Secret", "metadata": {"name": name}})),
        (2, lambda: Delete(f"Secret/#{random.randrange(9)}")),
        (8, lambda: Patch(f"ResourceQuota/{quota}", {"spec": {"hard": _hard(random, quota, some=True)}})),
        (3, lambda: Delete(f"ResourceQuota/{quota}")),
        (3, lambda: Create(_quota(random, quota))),
        (4, lambda: Create(_limits(random))),
        (2, lambda: Patch("LimitRange/limits", {"spec": {"limits": _limits(random)["spec"]["limits"]}})),
        (2, lambda: Delete("LimitRange/limits")),
    ]
    return drawn(random, choices)


def _hard(random: Random, quota: str, *, some: bool = False) -> JsonObject:
    sizes = _COMPUTE if quota == "one" else _OTHER
    names = random.sample(list(sizes), random.randint(1, 2 if some else 4))
    return {name: random.choice(sizes[name]) for name in names}


def _quota(random: Random, name: str) -> JsonObject:
    spec: JsonObject = {"hard": _hard(random, name)}
    if name == "one" and random.random() < 0.4:
        spec |= _scoped(random)
        if any(scope == "BestEffort" for scope in spec.get("scopes", ())):
            spec["hard"] = {"pods": random.choice(_COMPUTE["pods"])}
    if name == "two" and random.random() < 0.15:
        classes = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}
        storage = ("persistentvolumeclaims", "requests.storage")
        hard = {each: random.choice(_OTHER[each]) for each in random.sample(storage, random.randint(1, 2))}
        spec = {"hard": hard, "scopeSelector": {"matchExpressions": [classes]}}
    return {"kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}


def _scoped(random: Random) -> JsonObject:
    operator = random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    classes: JsonObject = {"scopeName": "PriorityClass", "operator": operator}
    if operator in ("In", "NotIn"):
        classes["values"] = random.choice((["important"], ["dull", "important"]))
    return random.choice(
        (
            {"scopes": ["Terminating"]},
            {"scopes": ["NotTerminating"]},
            {"scopes": ["BestEffort"]},
            {"scopes": ["NotBestEffort"]},
            {"scopes": ["CrossNamespacePodAffinity"]},
            {"scopes": ["NotTerminating", "NotBestEffort"]},
            {"scopeSelector": {"matchExpressions": [classes]}},
        )
    )


def _sizes(random: Random) -> JsonObject:
    sizes: JsonObject = {}
    if random.random() < 0.6:
        sizes["cpu"] = random.choice(("100m", "250m", "1", "0.5"))
    if random.random() < 0.5:
        sizes["memory"] = random.choice(("64Mi", "128Mi", "200M", "1Gi"))
    if random.random() < 0.1:
        sizes["ephemeral-storage"] = "512Mi"
    return sizes


def _container(random: Random, name: str) -> JsonObject:
    resources: JsonObject = {}
    requests = _sizes(random)
    if random.random() < 0.7:
        resources["requests"] = requests
    if random.random() < 0.4:
        resources["limits"] = {**_sizes(random), **requests}
    if random.random() < 0.08:
        resources.setdefault("limits", {})["example.com/gpu"] = "1"
        resources.get("requests", {}).pop("example.com/gpu", None)
    return {"name": name, "image": "app:1", **({"resources": resources} if resources else {})}


def _pod(random: Random, name: str) -> JsonObject:
    spec: JsonObject = {"containers": [_container(random, "app")]}
    if random.random() < 0.3:
        spec["containers"].append(_container(random, "log"))
    if random.random() < 0.25:
        spec["initContainers"] = [_container(random, "init")]
        if random.random() < 0.4:
            spec["initContainers"][0]["restartPolicy"] = "Always"
    if random.random() < 0.25:
        spec["priorityClassName"] = random.choice(("important", "dull"))
    if random.random() < 0.2:
        spec["activeDeadlineSeconds"] = 4000
    if random.random() < 0.1:
        spec["resources"] = {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}
    if random.random() < 0.1:
        term = {"topologyKey": "zone", "namespaces": ["default"], "labelSelector": {"matchLabels": {"a": "b"}}}
        spec["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _claim(random: Random, name: str) -> JsonObject:
    spec: JsonObject = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": random.choice(("1Gi", "2Gi", "1500M", "6Gi"))}},
        "storageClassName": random.choice(("gold", "silver", "")),
    }
    if random.random() < 0.3:
        spec["volumeAttributesClassName"] = random.choice(("fast", "slow"))
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def _type(random: Random) -> str:
    return random.choice(("ClusterIP", "NodePort", "LoadBalancer"))


def _service(random: Random, name: str) -> JsonObject:
    ports = [{"name": f"p{number}", "port": number} for number in range(80, 80 + random.randint(1, 2))]
    spec: JsonObject = {"type": _type(random), "ports": ports}
    if spec["type"] == "LoadBalancer" and random.random() < 0.3:
        spec["allocateLoadBalancerNodePorts"] = False
    return {"kind": "Service", "metadata": {"name": name}, "spec": spec}


def _limits(random: Random) -> JsonObject:
    limits: list[JsonObject] = []
    if random.random() < 0.8:
        item: JsonObject = {"type": "Container"}
        if random.random() < 0.5:
            item["default"] = {"cpu": random.choice(("200m", "500m")), "memory": "256Mi"}
        if random.random() < 0.5:
            item["defaultRequest"] = {"cpu": "100m"}
        if random.random() < 0.4:
            item["max"] = {"cpu": "1", **({"memory": "512Mi"} if random.random() < 0.5 else {})}
        if random.random() < 0.3:
            item["min"] = {"cpu": "50m"}
        if random.random() < 0.2 and not {"min", "max"} & item.keys():
            item["maxLimitRequestRatio"] = {"cpu": random.choice(("2", "1.5"))}
        limits.append(item)
    if random.random() < 0.3:
        pod: JsonObject = {"type": "Pod"}
        if random.random() < 0.7:
            pod["max"] = {"cpu": "1500m"}
        if random.random() < 0.4:
            pod["min"] = {"memory": "100Mi"}
        if random.random() < 0.3:
            pod["maxLimitRequestRatio"] = {"memory": "3"}
        limits.append(pod)
    if random.random() < 0.3 or not limits:
        limits.append({"type": "PersistentVolumeClaim", "min": {"storage": "1200M"}, "max": {"storage": "5Gi"}})
    return {"kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": limits}}
