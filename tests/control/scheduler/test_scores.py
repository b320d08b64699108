"""Scores against numbers worked out by hand from upstream's formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.control.scheduler import schedule, scores
from seatrial.control.scheduler.board import Board
from seatrial.kube.objects import Node, Pod, parse_as

Json = dict[str, Any]


def node(name: str, labels: Json | None = None, *, taints: Sequence[Json] = (), images: Sequence[Json] = ()) -> Node:
    return parse_as(
        Node,
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"taints": list(taints)},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "images": list(images)},
        },
    )


def pod(
    name: str = "web", on: str = "", cpu: str = "0", memory: str = "0", labels: Json | None = None, **spec: Any
) -> Pod:
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    owner = [{"uid": "rs", "controller": True}]
    return parse_as(
        Pod,
        {
            "metadata": {"name": name, "namespace": "default", "labels": labels or {}, "ownerReferences": owner},
            "spec": {"nodeName": on, "containers": [container], **spec},
        },
    )


def by_plugin(wanted: Pod, nodes: Sequence[Node], pods: Sequence[Pod] = ()) -> Mapping[str, list[int]]:
    board = Board.of(nodes, pods, (), but=wanted)
    return scores.Scores(wanted, board).by_plugin(range(len(board.sites)))


def test_least_allocated_is_the_mean_free_share() -> None:
    found = by_plugin(pod(cpu="1", memory="1Gi"), [node("a"), node("b")], [pod("x", "a", "1", "4Gi")])
    # a: cpu (4-2)/4 = 50, memory (8-5)/8 = 37; b: cpu 75, memory 87
    assert found["NodeResourcesFit"] == [43, 81]


def test_pods_without_requests_count_as_100m_and_200mi_for_least_allocated() -> None:
    wanted = parse_as(Pod, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})
    # cpu 3900/4000 = 97, memory (8192-200)/8192 = 97
    assert by_plugin(wanted, [node("a")])["NodeResourcesFit"] == [97]
    assert by_plugin(wanted, [node("a")])["NodeResourcesBalancedAllocation"] == [0]


def test_balanced_allocation_rewards_what_a_pod_evens_out() -> None:
    found = by_plugin(pod(cpu="2"), [node("a"), node("b")], [pod("x", "a", "0", "4Gi")])
    # a: without 1-0.5/2 = 75, with 100: 50 + (50+25)/2 = 87; b: without 100, with 75: 50 + (50-25)/2 = 62
    assert found["NodeResourcesBalancedAllocation"] == [87, 62]


def test_preferred_node_affinity_is_scaled_to_the_highest_sum() -> None:
    def prefer(weight: int, key: str) -> Json:
        return {"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}

    wanted = pod(
        affinity={
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [prefer(10, "ssd"), prefer(50, "gpu")]}
        }
    )
    nodes = [node("a", {"ssd": ""}), node("b", {"ssd": "", "gpu": ""}), node("c")]
    assert by_plugin(wanted, nodes)["NodeAffinity"] == [16, 100, 0]


def test_each_preferno_schedule_taint_counts_against_a_node() -> None:
    soft = [{"key": key, "effect": "PreferNoSchedule"} for key in ("x", "y", "z")]
    nodes = [node("a", taints=soft), node("b", taints=soft[:1]), node("c")]
    assert by_plugin(pod(), nodes)["TaintToleration"] == [0, 67, 100]


def test_preferred_pod_affinity_attracts_repels_and_is_returned() -> None:
    def term(name: str) -> Json:
        return {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": "kubernetes.io/hostname"}

    wanted = pod(
        labels={"app": "web"},
        affinity={
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 30, "podAffinityTerm": term("db")}]
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "podAffinityTerm": term("hog")}]
            },
        },
    )
    fan = pod("fan", "c", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("web")]}})
    nodes = [node("a"), node("b"), node("c"), node("d")]
    others = [pod("db", "a", labels={"app": "db"}), pod("hog", "b", labels={"app": "hog"}), fan]
    # raw 30, -10, 1 (a required term of another pod), 0 over a range of 40: 100, 0, 27.5, 25
    assert by_plugin(wanted, nodes, others)["InterPodAffinity"] == [100, 0, 27, 25]


def test_soft_spread_weighs_domains_by_their_number() -> None:
    wanted = pod(
        labels={"app": "web"},
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
    )
    nodes = [node("a", {"zone": "1"}), node("b", {"zone": "2"}), node("c")]
    there = [pod(f"x{i}", "a", labels={"app": "web"}) for i in range(3)] + [pod("y", "b", labels={"app": "web"})]
    # weight ln(2+2) = 1.386: raw 3 * 1.386 -> 4 and 1.386 -> 1; 100*(4+1-4)/4 = 25, 100; without the label: 0
    assert by_plugin(wanted, nodes, there)["PodTopologySpread"] == [25, 100, 0]


def test_without_constraints_the_pods_of_one_controller_are_spread_over_hosts_and_zones() -> None:
    nodes = [node(name, {"topology.kubernetes.io/zone": zone}) for name, zone in (("a", "1"), ("b", "1"), ("c", "2"))]
    # hosts: ln 5 = 1.609, zones: ln 4 = 1.386, maxSkew adds 2 and 4:
    # a 1.609+1.386+6 -> 9, b 1.386+6 -> 7, c 6; 100*(9+6-raw)/9
    assert by_plugin(pod(), nodes, [pod("x", "a")])["PodTopologySpread"] == [66, 88, 100]


def test_image_locality_rises_with_the_share_of_nodes_that_have_the_image() -> None:
    images = [{"names": ["web:latest"], "sizeBytes": 500 * 1024 * 1024}]
    # 500Mi on 1 of 2 nodes: 100*(250-23)/(1000-23) = 23
    assert by_plugin(pod(), [node("a", images=images), node("b")])["ImageLocality"] == [23, 0]


def test_weights_add_up_and_equal_nodes_share_the_first_place() -> None:
    nodes = [node("c"), node("b"), node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])]
    placement = schedule(pod(cpu="1", memory="2Gi"), nodes, [])
    # least allocated 75, balanced 75, spread (maxSkew alone, all equal) 2*100, taints 3*100
    assert placement.scores == {"a": 350, "b": 650, "c": 650}
    assert placement.best == ("b", "c")
