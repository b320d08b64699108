"""Pods that would be placed otherwise today are evicted, within limits and budgets."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from seatrial.cluster.virtual import VirtualCluster
from seatrial.control.addons import descheduler
from seatrial.control.addons.descheduler import evictor
from seatrial.control.addons.descheduler.policy import TEXT_MAX
from seatrial.kube.objects import ConfigMap, Pod
from tests.control.harness import START, Harness, deployment

DUPLICATES = "RemoveDuplicates"
AFFINITY = "RemovePodsViolatingNodeAffinity"
TAINTS = "RemovePodsViolatingNodeTaints"
SPREAD = "RemovePodsViolatingTopologySpreadConstraint"
UTILIZATION = "LowNodeUtilization"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
GPU = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(name: str, cpu: str = "4", labels: dict[str, str] | None = None, **spec: object) -> dict[str, object]:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


def pod(name: str, on: str, cpu: str = "500m", *, namespace: str = "default", **more: Any) -> dict[str, object]:
    """A running, ready pod of the ReplicaSet web."""
    owner = {"apiVersion": "apps/v1", "kind": more.get("owner", "ReplicaSet"), "name": "web", "uid": "web"}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "web"}, "ownerReferences": [owner]}
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    container = {"name": "app", "image": "app:1", "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, **more.get("metadata", {})},
        "spec": {"nodeName": on, "priority": 0, "containers": [container], **more.get("spec", {})},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **more.get("status", {})},
    }


def plugin(name: str, evictor: dict[str, object] | None = None, **args: object) -> dict[str, object]:
    point = "deschedule" if name in (AFFINITY, TAINTS) else "balance"
    config = [{"name": "DefaultEvictor", "args": evictor or {}}, {"name": name, "args": args}]
    return {"name": "p", "pluginConfig": config, "plugins": {point: {"enabled": [name]}}}


def policy(*profiles: dict[str, object], **more: object) -> str:
    return json.dumps({"apiVersion": "descheduler/v1alpha2", "kind": "DeschedulerPolicy", "profiles": profiles, **more})


def config_map(text: str) -> dict[str, object]:
    metadata = {"name": "descheduler", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"policy.yaml": text}}


def budget(allowed: int) -> dict[str, object]:
    status = {"disruptionsAllowed": allowed, "observedGeneration": 1, "currentHealthy": 4, "desiredHealthy": 2}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": status,
    }


def cluster(text: str, *objects: dict[str, object]) -> Harness:
    made = Harness((descheduler.CONTROLLER,))
    for each in (*objects, config_map(text)):
        made.apply(each)
    return made


def evicted(text: str, *objects: dict[str, object]) -> list[str]:
    made = cluster(text, *objects)
    made.settle()
    return leaving(made)


def leaving(made: Harness) -> list[str]:
    return [each.metadata.name for each in made.all(Pod) if each.metadata.deletion_timestamp is not None]


def crowd(number: int = 4, on: str = "a", **more: Any) -> list[dict[str, object]]:
    return [pod(f"{on}{index}", on, **more) for index in range(number)]


NODES = (node("a"), node("b"))


def test_duplicates_go_down_to_an_even_share() -> None:
    """4 pods of one owner for 2 nodes: two each."""
    assert evicted(policy(plugin(DUPLICATES)), *NODES, *crowd()) == ["a2", "a3"]
    assert evicted(policy(plugin(DUPLICATES)), *NODES, node("c"), *crowd(3), *crowd(1, "b")) == ["a2"]


def test_duplicates_are_left_where_only_one_node_takes_them() -> None:
    assert evicted(policy(plugin(DUPLICATES)), node("a"), node("b", taints=[GPU]), *crowd()) == []
    assert evicted(policy(plugin(DUPLICATES, excludeOwnerKinds=["ReplicaSet"])), *NODES, *crowd()) == []


def test_pods_with_other_images_are_no_duplicates() -> None:
    other: dict[str, Any] = {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}
    assert evicted(policy(plugin(DUPLICATES)), *NODES, pod("a0", "a"), pod("a1", "a", **other)) == []


def test_one_node_alone_is_never_descheduled() -> None:
    unready = {**node("b"), "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert evicted(policy(plugin(TAINTS)), node("a", taints=[GPU]), unready, *crowd(1)) == []
    assert evicted(policy(plugin(TAINTS)), node("a", taints=[GPU]), node("b"), *crowd(1)) == ["a0"]


def test_pods_leave_nodes_whose_taints_they_do_not_tolerate() -> None:
    soft = {"key": "old", "effect": "PreferNoSchedule"}
    tolerant = pod("tolerant", "a", spec={"tolerations": [{"key": "gpu", "operator": "Exists"}]})
    there = (node("a", taints=[GPU]), node("b", taints=[soft]), pod("p", "a"), tolerant, pod("q", "b"))
    assert evicted(policy(plugin(TAINTS)), *there) == ["p"]
    assert evicted(policy(plugin(TAINTS, includePreferNoSchedule=True)), *there) == ["p", "q"]
    assert evicted(policy(plugin(TAINTS, excludedTaints=["gpu=yes"])), *there) == []
    assert evicted(policy(plugin(TAINTS, includedTaints=["old"], includePreferNoSchedule=True)), *there) == ["q"]


def wanting_ssd(name: str, cpu: str = "500m") -> dict[str, object]:
    terms = [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
    return pod(name, "a", cpu, spec={"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}})


def test_pods_leave_nodes_that_no_longer_match_if_another_does() -> None:
    text = policy(plugin(AFFINITY, nodeAffinityType=[REQUIRED]))
    ssd = node("b", labels={"disk": "ssd"})
    assert evicted(text, node("a"), ssd, wanting_ssd("p"), pod("q", "a")) == ["p"]
    assert evicted(text, *NODES, wanting_ssd("p")) == []
    assert evicted(text, node("a"), ssd, wanting_ssd("p", cpu="5")) == []
    assert evicted(text, node("a"), node("b", labels={"disk": "ssd"}, unschedulable=True), wanting_ssd("p")) == []


def test_pods_can_be_sent_to_nodes_that_they_prefer() -> None:
    preference = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    affinity = {"nodeAffinity": {PREFERRED: [{"weight": 5, "preference": preference}]}}
    there = (node("a"), node("b", labels={"disk": "ssd"}), pod("p", "a", spec={"affinity": affinity}))
    content = pod("q", "b", spec={"affinity": affinity})
    assert evicted(policy(plugin(AFFINITY, nodeAffinityType=[PREFERRED])), *there, content) == ["p"]
    assert evicted(policy(plugin(AFFINITY, nodeAffinityType=[REQUIRED])), *there, content) == []


def utilization(low: float = 20, high: float = 50, **more: Any) -> str:
    return policy(plugin(UTILIZATION, thresholds={"cpu": low}, targetThresholds={"cpu": high}, **more))


def test_pods_go_from_busy_nodes_until_these_are_at_their_target() -> None:
    """6 of 8 half cores on a, target 4 of 8: two may go; b has room for four."""
    assert len(evicted(utilization(), *NODES, *crowd(6))) == 2


def test_no_more_goes_than_idle_nodes_have_room_for_up_to_the_target() -> None:
    """b takes one core up to half of its two: two pods of half a core, though a is above its target by more."""
    assert len(evicted(utilization(), node("a"), node("b", cpu="2"), *crowd(8))) == 2


def test_the_least_important_go_first() -> None:
    important = pod("important", "a", spec={"priority": 9})
    best_effort = pod("z-best-effort", "a", cpu="")
    made = evicted(utilization(), *NODES, important, *crowd(4), best_effort)
    assert made == ["a0", "z-best-effort"]


@pytest.mark.parametrize(
    "text",
    [
        utilization(low=0, high=100),
        utilization(numberOfNodes=1),
        utilization(low=80, high=90),
        utilization(evictableNamespaces={"exclude": ["default"]}),
        utilization(low=60, high=50),
    ],
)
def test_nothing_moves_without_both_idle_and_busy_nodes(text: str) -> None:
    assert evicted(text, *NODES, *crowd(6)) == []


def test_the_busiest_node_is_relieved_first() -> None:
    there = (node("a"), node("b", cpu="2"), node("c"))
    assert evicted(utilization(), *there, *crowd(6), *crowd(8, "c")) == ["c0", "c1"]


def test_the_plugin_can_have_a_limit_of_its_own() -> None:
    assert evicted(utilization(evictionLimits={"node": 1}), *NODES, *crowd(6)) == ["a0"]


def test_idle_nodes_are_of_no_use_to_pods_that_do_not_tolerate_their_taints() -> None:
    soft = {"key": "old", "effect": "PreferNoSchedule"}
    assert evicted(utilization(), node("a"), node("b", taints=[soft]), *crowd(6)) == []


def test_cordoned_nodes_are_not_idle() -> None:
    assert evicted(utilization(), node("a"), node("b", unschedulable=True), *crowd(6)) == []


def test_thresholds_can_be_deviations_from_the_mean() -> None:
    """a has 75 %, b nothing: mean 37.5 %, target 47.5 %: three of six go."""
    assert len(evicted(utilization(low=10, high=10, useDeviationThresholds=True), *NODES, *crowd(6))) == 3


def spread(**more: object) -> dict[str, Any]:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        **more,
    }
    return {"spec": {"topologySpreadConstraints": [constraint]}}


ZONES = (node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}))


def test_domains_are_evened_out_within_the_skew() -> None:
    """5 and 0 with a skew of 1: two move."""
    assert evicted(policy(plugin(SPREAD)), *ZONES, *crowd(5, **spread())) == ["a3", "a4"]
    assert evicted(policy(plugin(SPREAD)), *ZONES, *crowd(5, **spread(maxSkew=5))) == []
    assert evicted(policy(plugin(SPREAD)), *ZONES, *crowd(3, **spread()), *crowd(2, "b", **spread())) == []


def test_several_large_domains_give_to_several_small_ones() -> None:
    zones = [node(name, labels={"zone": name}) for name in "abcd"]
    moved = evicted(policy(plugin(SPREAD)), *zones, *crowd(6, **spread()), *crowd(6, "b", **spread()))
    assert moved == ["a3", "a4", "a5", "b3", "b4", "b5"]


def test_pods_that_fit_in_the_small_domains_are_moved_first() -> None:
    small = (node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}, cpu="1"))
    large = pod("a4", "a", cpu="2", **spread())
    assert evicted(policy(plugin(SPREAD)), *small, *crowd(4, **spread()), large) == ["a2", "a3"]


def test_nodes_that_the_constraint_leaves_out_are_no_domains() -> None:
    """nodeAffinityPolicy is Honor unless said otherwise, nodeTaintsPolicy Ignore."""
    text = policy(plugin(SPREAD, topologyBalanceNodeFit=False))
    for name, moved in (("Honor", 0), ("Ignore", 2)):
        bound = spread(nodeAffinityPolicy=name)
        bound["spec"]["nodeSelector"] = {"zone": "1"}
        assert len(evicted(text, *ZONES, *crowd(5, **bound))) == moved
        tainted = (ZONES[0], node("b", labels={"zone": "2"}, taints=[GPU]))
        assert len(evicted(text, *tainted, *crowd(5, **spread(nodeTaintsPolicy=name)))) == moved


def test_soft_constraints_count_if_asked_for() -> None:
    soft = crowd(5, **spread(whenUnsatisfiable="ScheduleAnyway"))
    assert evicted(policy(plugin(SPREAD)), *ZONES, *soft) == []
    assert len(evicted(policy(plugin(SPREAD, constraints=["ScheduleAnyway"])), *ZONES, *soft)) == 2


def test_pods_that_fit_nowhere_else_are_not_spread_unless_asked_for() -> None:
    full = (node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}, cpu="100m"))
    assert evicted(policy(plugin(SPREAD)), *full, *crowd(5, **spread())) == []
    assert len(evicted(policy(plugin(SPREAD, topologyBalanceNodeFit=False)), *full, *crowd(5, **spread()))) == 2


TAINTED = (node("a", taints=[GPU]), node("b"), node("c", taints=[GPU]))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["a0", "a1", "c0", "c1"]),
        ({"maxNoOfPodsToEvictTotal": 3}, ["a0", "a1", "c0"]),
        ({"maxNoOfPodsToEvictPerNode": 1}, ["a0", "c0"]),
        ({"maxNoOfPodsToEvictPerNamespace": 2}, ["a0", "a1"]),
        ({"maxNoOfPodsToEvictTotal": 0}, []),
        ({"nodeSelector": "kubernetes.io/hostname!=a"}, ["c0", "c1"]),
    ],
)
def test_limits_hold_for_the_whole_round(limits: dict[str, object], expected: list[str]) -> None:
    text = policy(plugin(TAINTS), plugin(TAINTS), **limits)
    assert evicted(text, *TAINTED, *crowd(2), *crowd(2, "c")) == expected


def test_a_budget_is_spent_once_and_then_refuses() -> None:
    """What a budget refuses does not count against the limits."""
    text = policy(plugin(TAINTS), maxNoOfPodsToEvictPerNode=2)
    free = pod("z", "a", metadata={"labels": {"app": "other"}})
    assert evicted(text, *TAINTED, budget(1), *crowd(3), free) == ["a0", "z"]
    assert evicted(text, *TAINTED, budget(0), *crowd(3), free) == ["z"]


VOLUME = {"name": "v"}
PROTECTED: list[tuple[dict[str, Any], dict[str, object]]] = [
    ({"owner": "DaemonSet"}, {"evictDaemonSetPods": True}),
    ({"spec": {"volumes": [{**VOLUME, "emptyDir": {}}]}}, {"evictLocalStoragePods": True}),
    ({"spec": {"priority": 2_000_000_000}}, {"evictSystemCriticalPods": True}),
    ({"owner": "DaemonSet"}, {"podProtections": {"defaultDisabled": ["DaemonSetPods"]}}),
]


@pytest.mark.parametrize(("more", "lifted"), PROTECTED)
def test_protections_hold_until_they_are_lifted(more: dict[str, Any], lifted: dict[str, object]) -> None:
    assert evicted(policy(plugin(TAINTS)), *TAINTED, pod("p", "a", **more)) == []
    assert evicted(policy(plugin(TAINTS, lifted)), *TAINTED, pod("p", "a", **more)) == ["p"]


@pytest.mark.parametrize("more", [more for more, _ in PROTECTED])
def test_an_annotation_overrides_every_protection(more: dict[str, Any]) -> None:
    made = pod("p", "a", **more)
    made["metadata"]["annotations"] = {evictor.EVICT: "true"}  # type: ignore[index]
    assert evicted(policy(plugin(TAINTS)), *TAINTED, made) == ["p"]


@pytest.mark.parametrize(
    ("evictor", "more"),
    [
        ({"ignorePvcPods": True}, {"spec": {"volumes": [{**VOLUME, "persistentVolumeClaim": {"claimName": "c"}}]}}),
        ({"podProtections": {"extraEnabled": ["PodsWithoutPDB"]}}, {}),
        ({"minReplicas": 2}, {}),
        ({"minPodAge": "1h"}, {"status": {"startTime": (START - timedelta(minutes=59)).isoformat()}}),
        ({"labelSelector": {"matchLabels": {"app": "db"}}}, {}),
        ({"priorityThreshold": {"value": 100}}, {"spec": {"priority": 100}}),
        ({"nodeFit": True}, {"spec": {"nodeSelector": {"disk": "ssd"}}}),
        ({"noEvictionPolicy": "Mandatory"}, {"metadata": {"annotations": {evictor.NO_EVICTION: ""}}}),
    ],
)
def test_protections_that_can_be_asked_for(evictor: dict[str, object], more: dict[str, Any]) -> None:
    assert evicted(policy(plugin(TAINTS, evictor)), *TAINTED, pod("p", "a", **more)) == []
    assert evicted(policy(plugin(TAINTS)), *TAINTED, pod("p", "a", **more)) == ["p"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": []},
        {"annotations": {"kubernetes.io/config.mirror": "x"}},
        {"annotations": {"kubernetes.io/config.source": "file"}},
    ],
)
def test_bare_and_static_pods_stay(metadata: dict[str, object]) -> None:
    assert evicted(policy(plugin(TAINTS)), *TAINTED, pod("p", "a", metadata=metadata)) == []


def test_a_node_with_a_pod_that_it_keeps_away_from_is_no_place_to_go() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    alone: dict[str, Any] = {"spec": {"affinity": {"podAntiAffinity": {REQUIRED: [term]}}}}
    text = policy(plugin(TAINTS, {"nodeFit": True}))
    assert evicted(text, *TAINTED, pod("p", "a", **alone), pod("q", "b")) == []
    assert evicted(text, *TAINTED, pod("p", "a", **alone), pod("q", "b", metadata={"labels": {}})) == ["p"]


def test_pods_that_are_old_enough_and_fit_elsewhere_go() -> None:
    evictor: dict[str, object] = {"minPodAge": "1h", "nodeFit": True, "minReplicas": 2}
    old: dict[str, Any] = {"status": {"startTime": (START - timedelta(hours=1)).isoformat()}}
    assert evicted(policy(plugin(TAINTS, evictor)), *TAINTED, *crowd(2, **old)) == ["a0", "a1"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: DeschedulerPolicy\n  profiles: [",
        "kind: DeschedulerPolicy\napiVersion: descheduler/v1alpha1",
        "# DeschedulerPolicy",
        policy(plugin(TAINTS), maxNoOfPodsToEvictTotal=-1),
        policy(plugin(TAINTS), maxNoOfPodsToEvictTotal="two"),
        policy(plugin(TAINTS), nodeSelector="a in"),
        policy(plugin(TAINTS, {"minPodAge": "soon"})),
        policy(plugin(TAINTS, {"priorityThreshold": {"name": "high"}})),
        policy(plugin(TAINTS, {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}})),
        policy(plugin(TAINTS)) + " " * TEXT_MAX,
        "DeschedulerPolicy: " + "[" * 5000,
        f"kind: DeschedulerPolicy\napiVersion: descheduler/v1alpha2\nprofiles: [&p {json.dumps(plugin(TAINTS))}, *p]",
    ],
)
def test_a_policy_that_cannot_be_followed_evicts_nothing_until_it_is_mended(text: str) -> None:
    made = cluster(text, *TAINTED, *crowd(1))
    made.settle()
    assert leaving(made) == []
    made.apply(config_map(policy(plugin(TAINTS))))
    made.settle()
    assert leaving(made) == ["a0"]


def test_nulls_are_absent_values() -> None:
    text = policy(plugin(TAINTS, namespaces=None, labelSelector=None), nodeSelector=None)
    assert evicted(text, *TAINTED, *crowd(1)) == ["a0"]


def test_a_plugin_can_be_kept_to_some_namespaces() -> None:
    pods = (pod("p", "a"), pod("q", "a", namespace="other"))
    assert evicted(policy(plugin(TAINTS, namespaces={"include": ["other"]})), *TAINTED, *pods) == ["q"]
    assert evicted(policy(plugin(TAINTS, namespaces={"exclude": ["other"]})), *TAINTED, *pods) == ["p"]


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ((), 300),
        (("--v=3",), 300),
        (("--descheduling-interval=1m30s",), 90),
        (("--descheduling-interval", "2m"), 120),
        (("--descheduling-interval=1us",), 1),
        (("--descheduling-interval=9999999h",), 300),
        (("--descheduling-interval=often",), 300),
    ],
)
def test_it_looks_at_once_and_then_after_each_interval(flags: tuple[str, ...], seconds: int) -> None:
    made = cluster(policy(plugin(TAINTS)), *TAINTED)
    container = {"name": "d", "image": "registry.k8s.io/descheduler/descheduler:v0.36.0", "args": [*flags]}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}}
    metadata = {"name": "descheduler", "namespace": "kube-system"}
    made.apply({**deployment(template=template), "metadata": metadata})
    made.settle()
    key = made.get(ConfigMap, "descheduler", "kube-system").key
    assert made.wakes[descheduler.CONTROLLER.actor, key] == made.now + timedelta(seconds=seconds)
    made.apply(pod("p", "a"))
    made.pass_time(seconds - 1)
    made.settle()
    assert leaving(made) == []
    made.pass_time(1)
    made.settle()
    assert leaving(made) == ["p"]


def test_each_eviction_is_told_once_however_many_plugins_ask_for_it() -> None:
    made = cluster(policy(plugin(TAINTS), plugin(TAINTS)), *TAINTED, *crowd(1))
    made.settle()
    assert made.events == [f"Normal {TAINTS} pod eviction from a node by sigs.k8s.io/descheduler"]


def test_pods_move_to_other_nodes_of_a_running_cluster_one_round_after_the_other() -> None:
    """Its budget lets one of the two pods go in a round; their ReplicaSet makes new ones for other nodes."""
    running = VirtualCluster(nodes=3)
    spread_evenly = deployment(replicas=6)
    may_miss_one = {**budget(0), "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    running.apply([config_map(policy(plugin(TAINTS))), spread_evenly, may_miss_one])
    running.advance(timedelta(minutes=1))
    running.api.patch(running.api.kind("v1", "Node"), "", "node-1", {"spec": {"taints": [GPU]}})
    left = []
    for _ in range(3):
        left.append(sum(each["spec"]["nodeName"] == "node-1" for each in running.list("v1", "Pod", "default")))
        running.advance(timedelta(minutes=5, seconds=20))
    assert left == [2, 1, 0]


def test_other_config_maps_are_none_of_its_business() -> None:
    assert not cluster("replicas: 3").settle()
