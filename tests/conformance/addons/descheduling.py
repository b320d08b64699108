"""Cases of the descheduler, and what we make of them.

Upstream's order is random where it goes through maps and caches. A case's pods come from a few workloads, and pods of
one workload on one node are alike but for their names, so an outcome says how many of which kind were evicted from
where; and upstream's answer is all outcomes of several runs, of which ours has to be one.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from seatrial.control.addons import descheduler
from seatrial.control.relations import observe
from seatrial.control.writes import Evict, RecordEvent
from seatrial.kube.objects import ConfigMap, Node, Object, Pod, PodDisruptionBudget, parse_as

Json = dict[str, Any]
NOW: Final = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
RUNS: Final = 24
"""So often upstream plays a case."""
NAMESPACES: Final = ("a", "b")
ZONES: Final = ("east", "west", "north")
_NAMES: Final = ("web", "db", "cache", "job", "agent")
_CRITICAL: Final = 2_000_000_000


def case(random: Random) -> Json:
    nodes = [_node(random, number) for number in range(random.choice((1, 2, 3, 3, 4, 4, 5, 6)))]
    pods = [pod for name in _NAMES[: random.randint(2, 5)] for pod in _workload(random, name, nodes)]
    budgets = [_budget(random, number) for number in range(random.choice((0, 0, 1, 2)))]
    return {"Policy": _policy(random), "Nodes": nodes, "Pods": pods, "Budgets": budgets, "Runs": RUNS}


def _node(random: Random, number: int) -> Json:
    name = f"n{number}"
    labels = {"kubernetes.io/hostname": name, "disk": random.choice(("ssd", "hdd"))}
    if random.random() < 0.9:
        labels["zone"] = random.choice(ZONES)
    amounts = {"cpu": random.choice(("2", "4", "8")), "memory": random.choice(("2Gi", "4Gi", "16Gi"))}
    amounts["pods"] = random.choice(("6", "10", "110"))
    if random.random() < 0.2:
        amounts["example.com/gpu"] = random.choice(("1", "4"))
    spec: Json = {"taints": [_taint(random) for _ in range(random.choice((0, 0, 0, 0, 1, 2)))]}
    if random.random() < 0.1:
        spec["unschedulable"] = True
    ready = "True" if random.random() < 0.95 else random.choice(("False", "Unknown"))
    status: Json = {"capacity": amounts, "conditions": [{"type": "Ready", "status": ready}]}
    if random.random() < 0.9:
        status["allocatable"] = amounts
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": status,
    }


def _taint(random: Random) -> Json:
    taint = {
        "key": random.choice(("old", "gpu")),
        "effect": random.choice(("NoSchedule", "NoSchedule", "PreferNoSchedule", "NoExecute")),
    }
    return {**taint, "value": random.choice(("x", "y"))} if random.random() < 0.5 else taint


def _toleration(random: Random) -> Json:
    toleration: Json = {}
    if random.random() < 0.9:
        toleration["key"] = random.choice(("old", "gpu"))
    if random.random() < 0.5 or not toleration:
        toleration["operator"] = "Exists"
    elif random.random() < 0.7:
        toleration["value"] = random.choice(("x", "y"))
    if random.random() < 0.3:
        toleration["effect"] = random.choice(("NoSchedule", "NoExecute", "PreferNoSchedule"))
    return toleration


def _workload(random: Random, name: str, nodes: list[Json]) -> list[Json]:
    """Pods alike, more of them on some nodes than on others."""
    namespace, template = random.choice(NAMESPACES), _template(random, name)
    kinds = ("ReplicaSet",) * 9 + ("StatefulSet", "DaemonSet", "", "two")
    owners = _owners(random.choice(kinds), name)
    annotations = _annotations(random)
    favoured = random.sample(nodes, random.randint(1, len(nodes)))
    where = [*favoured, *favoured, *nodes]
    status: Json = {"phase": random.choice(("Running",) * 18 + ("Pending", "Failed"))}
    if random.random() < 0.8:
        status["startTime"] = "2020-01-01T00:00:00Z"
    if status["phase"] == "Running":
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    made = []
    for number in range(random.choice((1, 3, 4, 6, 9))):
        pod_name = f"{name}-{number}"
        metadata: Json = {"name": pod_name, "namespace": namespace, "uid": f"{namespace}-{pod_name}"}
        metadata |= {"labels": {"app": name, "tier": "any"}, "ownerReferences": owners, "annotations": annotations}
        if random.random() < 0.04:
            metadata |= {"deletionTimestamp": "2026-03-01T09:30:00Z", "deletionGracePeriodSeconds": 30}
        spec = {**template, "nodeName": random.choice(where)["metadata"]["name"]}
        made.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})
    return made


def _owners(kind: str, name: str) -> list[Json]:
    if not kind:
        return []
    kinds = ("ReplicaSet", "Job") if kind == "two" else (kind,)
    return [{"apiVersion": "x/v1", "kind": each, "name": name, "uid": f"{each}-{name}"} for each in kinds]


def _annotations(random: Random) -> Json:
    found = {}
    if random.random() < 0.1:
        found["descheduler.alpha.kubernetes.io/evict"] = "true"
    if random.random() < 0.1:
        found["descheduler.alpha.kubernetes.io/prefer-no-eviction"] = "true"
    if random.random() < 0.04:
        found["kubernetes.io/config.mirror"] = "x"
    if random.random() < 0.04:
        found["kubernetes.io/config.source"] = random.choice(("api", "file"))
    return found


def _template(random: Random, name: str) -> Json:
    requests = {}
    if random.random() < 0.8:
        requests["cpu"] = random.choice(("100m", "300m", "500m", "1"))
    if random.random() < 0.6:
        requests["memory"] = random.choice(("100Mi", "500Mi", "1Gi"))
    if random.random() < 0.1:
        requests["example.com/gpu"] = "1"
    resources = {"requests": requests, "limits": requests} if random.random() < 0.3 else {"requests": requests}
    container = {"name": "c", "image": random.choice(("i:1", "i:2")), "resources": resources}
    containers = [container] if random.random() < 0.8 else [container, {"name": "d", "image": "i:3"}]
    spec: Json = {
        "containers": containers,
        "tolerations": [_toleration(random) for _ in range(random.choice((0, 0, 1, 2)))],
    }
    if random.random() < 0.5:
        spec["priority"] = random.choice((0, 10, 10, 1000, 1000, 1000, _CRITICAL))
    if random.random() < 0.2:
        spec["nodeSelector"] = random.choice(({"disk": "ssd"}, {"zone": "east"}))
    affinity = _affinity(random)
    if affinity:
        spec["affinity"] = affinity
    if random.random() < 0.5:
        spec["topologySpreadConstraints"] = [_constraint(random, name) for _ in range(random.choice((1, 1, 2)))]
    if random.random() < 0.1:
        spec["volumes"] = [random.choice(_VOLUMES)]
    if random.random() < 0.05:
        spec["resourceClaims"] = [{"name": "r", "resourceClaimName": "r"}]
    return spec


_VOLUMES: Final[tuple[Json, ...]] = (
    {"name": "v", "emptyDir": {}},
    {"name": "v", "hostPath": {"path": "/x"}},
    {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
    {"name": "v", "configMap": {"name": "m"}},
)


def _affinity(random: Random) -> Json:
    found: Json = {}
    if random.random() < 0.3:
        node: Json = {}
        if random.random() < 0.6:
            terms = [_term(random) for _ in range(random.choice((1, 1, 2)))]
            node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        if random.random() < 0.6:
            node["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": random.choice((1, 10)), "preference": _term(random)} for _ in range(random.choice((1, 2)))
            ]
        found["nodeAffinity"] = node
    if random.random() < 0.2:
        term: Json = {"topologyKey": random.choice(("zone", "kubernetes.io/hostname"))}
        term["labelSelector"] = {"matchLabels": {"app": random.choice(_NAMES)}}
        if random.random() < 0.2:
            term["namespaces"] = ["b"]
        found["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return found


def _term(random: Random) -> Json:
    key, values = random.choice((("disk", ["ssd"]), ("disk", ["hdd"]), ("zone", ["east", "west"]), ("zone", ["north"])))
    return {"matchExpressions": [{"key": key, "operator": random.choice(("In", "In", "NotIn")), "values": values}]}


def _constraint(random: Random, name: str) -> Json:
    constraint: Json = {
        "maxSkew": random.choice((1, 1, 2)),
        "topologyKey": random.choice(("zone", "zone", "kubernetes.io/hostname", "disk")),
        "whenUnsatisfiable": random.choice(("DoNotSchedule", "DoNotSchedule", "ScheduleAnyway")),
        "labelSelector": random.choice(({"matchLabels": {"app": name}}, {"matchLabels": {"tier": "any"}})),
    }
    if random.random() < 0.2:
        constraint["matchLabelKeys"] = ["app"]
    if random.random() < 0.3:
        constraint["nodeAffinityPolicy"] = random.choice(("Honor", "Ignore"))
    if random.random() < 0.3:
        constraint["nodeTaintsPolicy"] = random.choice(("Honor", "Ignore"))
    return constraint


def _budget(random: Random, number: int) -> Json:
    selector = random.choice(({"matchLabels": {"app": random.choice(_NAMES)}}, {"matchLabels": {"tier": "any"}}))
    status = {
        "disruptionsAllowed": random.choice((0, 1, 2)),
        "currentHealthy": 5,
        "desiredHealthy": 3,
        "expectedPods": 5,
    }
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"b{number}", "namespace": random.choice(NAMESPACES), "generation": 1},
        "spec": {"selector": selector, "minAvailable": 3},
        "status": {**status, "observedGeneration": 1},
    }


def _policy(random: Random) -> Json:
    plugins = random.sample(sorted(PLUGINS), random.choice((1, 1, 1, 2, 3)))
    config = [{"name": "DefaultEvictor", "args": _evictor(random)}] if random.random() < 0.8 else []
    config += [{"name": name, "args": PLUGINS[name](random)} for name in plugins]
    enabled = {
        point: {"enabled": [name for name in plugins if (name in _BALANCING) == (point == "balance")]}
        for point in ("deschedule", "balance")
    }
    policy: Json = {
        "apiVersion": "descheduler/v1alpha2",
        "kind": "DeschedulerPolicy",
        "profiles": [{"name": "p", "pluginConfig": config, "plugins": enabled}],
    }
    if random.random() < 0.1:
        policy["nodeSelector"] = "disk=ssd"
    for limit in ("PerNode", "PerNamespace", "Total"):
        if random.random() < 0.12:
            policy[f"maxNoOfPodsToEvict{limit}"] = random.choice((0, 1, 2, 3))
    return policy


def _evictor(random: Random) -> Json:
    args: Json = {}
    if random.random() < 0.5:
        args["nodeFit"] = True
    for flag in ("evictLocalStoragePods", "evictDaemonSetPods", "evictSystemCriticalPods", "evictFailedBarePods"):
        if random.random() < 0.2:
            args[flag] = True
    for flag in ("ignorePvcPods", "ignorePodsWithoutPDB"):
        if random.random() < 0.1:
            args[flag] = True
    if random.random() < 0.2:
        args["priorityThreshold"] = {"value": random.choice((0, 11, 1001, 1001, 2_000_000_001))}
    if random.random() < 0.2:
        args["minReplicas"] = random.choice((0, 1, 2, 4))
    if random.random() < 0.1:
        args["minPodAge"] = "1h"
    if random.random() < 0.1:
        args["labelSelector"] = {"matchLabels": {"app": random.choice(_NAMES)}}
    if random.random() < 0.1:
        args["nodeSelector"] = "zone=east"
    if random.random() < 0.1:
        args["noEvictionPolicy"] = random.choice(("Preferred", "Mandatory"))
    if random.random() < 0.15:
        names = ("PodsWithLocalStorage", "DaemonSetPods", "SystemCriticalPods", "FailedBarePods")
        args["podProtections"] = {"defaultDisabled": random.sample(names, random.choice((0, 1, 2)))}
        extra = ("PodsWithPVC", "PodsWithoutPDB", "PodsWithResourceClaims")
        args["podProtections"]["extraEnabled"] = random.sample(extra, random.choice((0, 1, 2)))
        for flag in ("evictLocalStoragePods", "evictDaemonSetPods", "evictSystemCriticalPods", "evictFailedBarePods"):
            args.pop(flag, None)
        for flag in ("ignorePvcPods", "ignorePodsWithoutPDB"):
            args.pop(flag, None)
    return args


def _scope(random: Random) -> Json:
    args: Json = {}
    if random.random() < 0.15:
        args["namespaces"] = {random.choice(("include", "exclude")): [random.choice(NAMESPACES)]}
    if random.random() < 0.1:
        args["labelSelector"] = {"matchLabels": {"app": random.choice(_NAMES)}}
    return args


def _duplicates(random: Random) -> Json:
    args = _scope(random)
    args.pop("labelSelector", None)
    if random.random() < 0.2:
        args["excludeOwnerKinds"] = [random.choice(("ReplicaSet", "StatefulSet", "Job"))]
    return args


def _spread(random: Random) -> Json:
    args = _scope(random)
    if random.random() < 0.4:
        args["constraints"] = random.choice(
            (["DoNotSchedule"], ["ScheduleAnyway"], ["DoNotSchedule", "ScheduleAnyway"])
        )
    if random.random() < 0.4:
        args["topologyBalanceNodeFit"] = random.choice((True, False))
    return args


def _node_affinity(random: Random) -> Json:
    required, preferred = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
    return {**_scope(random), "nodeAffinityType": random.choice(([required], [preferred], [required, preferred]))}


def _node_taints(random: Random) -> Json:
    args = _scope(random)
    if random.random() < 0.3:
        args["includePreferNoSchedule"] = True
    if random.random() < 0.2:
        args["excludedTaints"] = [random.choice(("old", "gpu=x"))]
    elif random.random() < 0.2:
        args["includedTaints"] = [random.choice(("old", "gpu=x"))]
    return args


def _utilization(random: Random) -> Json:
    names = random.sample(("cpu", "memory", "pods", "example.com/gpu"), random.choice((1, 2, 3)))
    deviating = random.random() < 0.3
    low = {name: random.choice((5, 10, 20) if deviating else (10, 20, 30, 50)) for name in names}
    high = {name: random.choice((5, 10, 20) if deviating else (30, 50, 70)) for name in names}
    args: Json = {"thresholds": low, "targetThresholds": high}
    if deviating:
        args["useDeviationThresholds"] = True
    if random.random() < 0.15:
        args["numberOfNodes"] = random.choice((1, 2))
    if random.random() < 0.2:
        args["evictableNamespaces"] = {"exclude": [random.choice(NAMESPACES)]}
    if random.random() < 0.2:
        args["evictionLimits"] = {"node": random.choice((1, 2))}
    return args


PLUGINS: Final = {
    "LowNodeUtilization": _utilization,
    "RemoveDuplicates": _duplicates,
    "RemovePodsViolatingNodeAffinity": _node_affinity,
    "RemovePodsViolatingNodeTaints": _node_taints,
    "RemovePodsViolatingTopologySpreadConstraint": _spread,
}
_BALANCING: Final = ("LowNodeUtilization", "RemoveDuplicates", "RemovePodsViolatingTopologySpreadConstraint")


def judge(asked: Json) -> list[str]:
    """Our outcome."""
    policy = {"policy.yaml": json.dumps(asked["Policy"])}
    subject = parse_as(
        ConfigMap, {"kind": "ConfigMap", "metadata": {"name": "d", "namespace": "kube-system"}, "data": policy}
    )
    objects: dict[type[Object], list[Object]] = {
        Node: [parse_as(Node, each) for each in asked["Nodes"]],
        Pod: [parse_as(Pod, each) for each in asked["Pods"]],
        PodDisruptionBudget: [parse_as(PodDisruptionBudget, each) for each in asked["Budgets"]],
    }
    decision = descheduler.CONTROLLER.reconcile(observe(descheduler.CONTROLLER, subject, objects, NOW))
    evicted, plugins = decision.writes[::2], decision.writes[1::2]
    told = []
    for eviction, event in zip(evicted, plugins, strict=True):
        assert isinstance(eviction, Evict)
        assert isinstance(event, RecordEvent)
        told.append(f"{event.reason} {eviction.pod.metadata.namespace}/{eviction.pod.metadata.name}")
    return outcome(asked, told)


def outcome(asked: Json, told: list[str]) -> list[str]:
    """Evictions as a count of what was evicted from where: pods that are alike are not told apart."""
    kinds = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in asked["Pods"]}
    counted: Counter[str] = Counter()
    for each in told:
        plugin, name = each.split(" ")
        going = " (going)" if "deletionTimestamp" in kinds[name]["metadata"] else ""
        counted[f"{plugin}: {name.rsplit('-', 1)[0]} on {kinds[name]['spec']['nodeName']}{going}"] += 1
    return [f"{number} {each}" for each, number in sorted(counted.items())]


def outcomes(asked: Json, answer: Json) -> list[list[str]]:
    """Upstream's outcomes; a policy that it refuses evicts nothing."""
    found = [outcome(asked, told or []) for told in answer["Outcomes"] or []]
    return sorted(each for number, each in enumerate(found) if each not in found[:number]) or [[]]
