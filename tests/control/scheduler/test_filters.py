"""Filters and messages, by example; each pod and node is written as its author would write it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from seatrial.control import scheduler
from seatrial.control.controller import Decision, Seen
from seatrial.control.scheduler import Reason, explain, fits_ever, schedule
from seatrial.control.writes import Bind, RecordEvent, UpdateStatus
from seatrial.kube.objects import Namespace, Node, Object, Pod, parse_as

Json = dict[str, Any]
NOW = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"


def node(name: str, labels: Json | None = None, taints: list[Json] | None = None, **allocatable: Any) -> Node:
    labels = {"kubernetes.io/hostname": name, **(labels or {})}
    return parse_as(
        Node,
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints or []},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}},
        },
    )


def pod(name: str = "web", on: str = "", labels: Json | None = None, namespace: str = "default", **spec: Any) -> Pod:
    spec.setdefault("containers", [{"name": "main"}])
    return parse_as(
        Pod,
        {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, "spec": {"nodeName": on, **spec}},
    )


def asking(cpu: str = "0", **spec: Any) -> Json:
    return {"name": "main", "resources": {"requests": {"cpu": cpu, **spec}}}


def affinity(section: str, term: Json) -> Json:
    return {section: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def app(name: str, key: str = "kubernetes.io/hostname", **more: Any) -> Json:
    return {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": key, **more}


def test_message_counts_reasons_sorted_as_text_and_tells_why_eviction_does_not_help() -> None:
    nodes = [node("a", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]), node("b"), node("c")]
    full = [pod(f"p-{at}", at, containers=[asking("4")]) for at in ("b", "c")]
    placement = schedule(pod(containers=[asking("1")]), nodes, full)
    assert placement.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
        f"preemption: 0/3 nodes are available: 1 {NOT_HELPFUL}, 2 {NO_VICTIMS}."
    )
    assert [(o.node, o.reason, o.pod_fields, o.node_fields) for o in placement.obstacles] == [
        ("a", Reason.TAINT, ("spec.tolerations",), ("spec.taints[0]",)),
        ("b", Reason.INSUFFICIENT, ("spec.containers[0].resources.requests.cpu",), ("status.allocatable.cpu",)),
        ("c", Reason.INSUFFICIENT, ("spec.containers[0].resources.requests.cpu",), ("status.allocatable.cpu",)),
    ]


def test_asking_for_more_than_a_node_has_cannot_be_helped_by_eviction() -> None:
    message = schedule(pod(containers=[asking("5", memory="9Gi")]), [node("a")], []).message
    assert message == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. "
        f"preemption: 0/1 nodes are available: 1 {NOT_HELPFUL}."
    )


def test_without_nodes() -> None:
    assert schedule(pod(), [], []).message == "no nodes available to schedule pods"


def test_a_pod_that_never_preempts_says_so() -> None:
    message = schedule(pod(containers=[asking("5")], preemptionPolicy="Never"), [node("a")], []).message
    assert (
        message
        == "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )


def test_lower_priority_pods_in_the_way_make_a_node_preemptible() -> None:
    placement = schedule(
        pod(containers=[asking("2")], priority=10), [node("a")], [pod("x", "a", containers=[asking("3")])]
    )
    assert placement.preemptible == ("a",)
    assert placement.message == "0/1 nodes are available: 1 Insufficient cpu."


def test_terminating_pods_still_occupy_and_ended_pods_do_not() -> None:
    holder = pod("x", "a", containers=[asking("4")])
    leaving = msgspec.structs.replace(holder, metadata=msgspec.structs.replace(holder.metadata, deletion_timestamp=NOW))
    ended = msgspec.structs.replace(holder, status=msgspec.structs.replace(holder.status, phase="Succeeded"))
    wanted = pod(containers=[asking("1")])
    assert schedule(wanted, [node("a")], [leaving]).best == ()
    assert schedule(wanted, [node("a")], [ended]).best == ("a",)


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [asking("1"), asking("2")]}, 3000),
        ({"containers": [asking("1")], "initContainers": [asking("3"), asking("2")]}, 3000),
        # a sidecar runs beside the containers and beside the init containers after it
        ({"containers": [asking("1")], "initContainers": [{**asking("1"), "restartPolicy": "Always"}]}, 2000),
        (
            {
                "containers": [asking("1")],
                "initContainers": [asking("2"), {**asking("1"), "restartPolicy": "Always"}, asking("2500m")],
            },
            3500,
        ),
        ({"containers": [asking("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [asking("1")], "resources": {"requests": {"cpu": "2"}}}, 2000),
    ],
)
def test_what_a_pod_requests(spec: Json, cpu: int) -> None:
    (obstacle,) = schedule(pod(**spec), [node("a", cpu="1m")], []).obstacles
    assert (obstacle.resource, obstacle.requested) == ("cpu", cpu)


def test_extended_resources_and_the_number_of_pods_are_limits() -> None:
    gpu = pod(containers=[asking("0", **{"example.com/gpu": "1"})])
    assert "1 Insufficient example.com/gpu" in schedule(gpu, [node("a")], []).message
    assert schedule(gpu, [node("a", None, None, **{"example.com/gpu": "1"})], []).best == ("a",)
    assert "1 Too many pods" in schedule(pod(), [node("a", pods="1")], [pod("x", "a")]).message


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        ("In", ["1", "7"], {"one", "seven"}),
        ("NotIn", ["1"], {"seven", "none"}),
        ("Exists", [], {"one", "seven"}),
        ("DoesNotExist", [], {"none"}),
        ("Gt", ["1"], {"seven"}),
        ("Lt", ["7"], {"one"}),
    ],
)
def test_required_node_affinity(operator: str, values: list[str], matching: set[str]) -> None:
    term = {"matchExpressions": [{"key": "size", "operator": operator, "values": values}]}
    wanted = pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    )
    nodes = [node("one", {"size": "1"}), node("seven", {"size": "7"}), node("none")]
    assert set(schedule(wanted, nodes, []).feasible) == matching


def test_nodes_chosen_by_name_leave_the_others_out_before_the_filters() -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}
    wanted = pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}},
        containers=[asking("9")],
    )
    assert schedule(wanted, [node("a"), node("b")], []).message.startswith(
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    assert schedule(wanted, [node("a"), node("b")], [], minor=30).message == (
        "0/2 nodes are available: 1 Insufficient cpu. "
        f"preemption: 0/2 nodes are available: 1 {NO_VICTIMS}, 1 {NOT_HELPFUL}."
    )


def test_cordoned_nodes_take_only_pods_that_tolerate_it() -> None:
    cordoned = parse_as(
        Node, {"metadata": {"name": "a"}, "spec": {"unschedulable": True}, "status": {"allocatable": {"pods": "9"}}}
    )
    assert "1 node(s) were unschedulable" in schedule(pod(), [cordoned], []).message
    tolerant = pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}])
    assert schedule(tolerant, [cordoned], []).best == ("a",)


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations(toleration: Json, fits: bool) -> None:
    tainted = node("a", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    assert bool(schedule(pod(tolerations=[toleration]), [tainted], []).best) is fits


def test_host_ports_conflict_by_port_protocol_and_address() -> None:
    def with_port(name: str, on: str = "", **port: Any) -> Pod:
        return pod(name, on, containers=[{"name": "main", "ports": [{"containerPort": 80, "hostPort": 80, **port}]}])

    held = [with_port("x", "a", hostIP="10.0.0.1")]
    placement = schedule(with_port("y"), [node("a")], held)
    assert "1 node(s) didn't have free ports for the requested pod ports" in placement.message
    assert placement.obstacles[0].pod_fields == ("spec.containers[0].ports[0].hostPort",)
    assert schedule(with_port("y", protocol="UDP"), [node("a")], held).best == ("a",)
    assert schedule(with_port("y", hostIP="10.0.0.2"), [node("a")], held).best == ("a",)


def test_the_first_pod_of_a_group_that_wants_itself_near_goes_anywhere() -> None:
    wanted = pod(labels={"app": "web"}, affinity=affinity("podAffinity", app("web")))
    nodes = [node("a"), node("b")]
    assert schedule(wanted, nodes, []).feasible == ("a", "b")
    assert schedule(wanted, nodes, [pod("x", "b", {"app": "web"})]).feasible == ("b",)
    stranger = pod(affinity=affinity("podAffinity", app("web")))
    assert "2 node(s) didn't match pod affinity rules" in schedule(stranger, nodes, []).message


def test_anti_affinity_binds_both_ways() -> None:
    nodes = [node("a"), node("b")]
    shy = affinity("podAntiAffinity", app("web"))
    assert schedule(pod(affinity=shy), nodes, [pod("x", "a", {"app": "web"})]).feasible == ("b",)
    assert schedule(pod(labels={"app": "web"}), nodes, [pod("x", "a", affinity=shy)]).feasible == ("b",)
    placement = schedule(pod(labels={"app": "web"}), nodes[:1], [pod("x", "a", affinity=shy)])
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in placement.message


def test_affinity_looks_into_its_own_namespace_unless_told_otherwise() -> None:
    there = [pod("x", "a", {"app": "db"}, namespace="data")]
    spaces = [parse_as(Namespace, {"metadata": {"name": "data", "labels": {"tier": "back"}}})]

    def wants(**more: Any) -> Pod:
        return pod(affinity=affinity("podAffinity", app("db", **more)))

    assert not schedule(wants(), [node("a")], there).best
    assert schedule(wants(namespaces=["data"]), [node("a")], there).best
    assert schedule(wants(namespaceSelector={}), [node("a")], there).best
    assert schedule(wants(namespaceSelector={"matchLabels": {"tier": "back"}}), [node("a")], there, spaces).best
    assert not schedule(wants(namespaceSelector={"matchLabels": {"tier": "front"}}), [node("a")], there, spaces).best


def test_match_label_keys_narrow_to_the_pods_own_revision() -> None:
    repels = affinity("podAntiAffinity", app("web", matchLabelKeys=["rev"]))
    new = pod(labels={"app": "web", "rev": "2"}, affinity=repels)
    assert schedule(new, [node("a")], [pod("x", "a", {"app": "web", "rev": "1"})]).best
    assert not schedule(new, [node("a")], [pod("x", "a", {"app": "web", "rev": "2"})]).best


def spread(max_skew: int = 1, key: str = "zone", **more: Any) -> Json:
    return {
        "maxSkew": max_skew,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        **more,
    }


def test_spread_keeps_the_skew() -> None:
    nodes = [node("a", {"zone": "1"}), node("b", {"zone": "2"}), node("c")]
    wanted = pod(labels={"app": "web"}, topologySpreadConstraints=[spread()])
    assert schedule(wanted, nodes, [pod("x", "a", {"app": "web"})]).feasible == ("b",)
    found = explain(wanted, nodes, [pod("x", "a", {"app": "web"})])
    assert [o.reason for o in found["a"]] == [Reason.SPREAD]
    assert [o.reason for o in found["c"]] == [Reason.SPREAD_LABEL]
    assert found["b"] == ()


def test_too_few_domains_count_as_an_empty_one() -> None:
    nodes = [node("a", {"zone": "1"})]
    there = [pod("x", "a", {"app": "web"})]
    one = pod(labels={"app": "web"}, topologySpreadConstraints=[spread()])
    two = pod(labels={"app": "web"}, topologySpreadConstraints=[spread(minDomains=2)])
    assert schedule(one, nodes, there).best == ("a",)
    assert schedule(two, nodes, there).best == ()


def test_a_tainted_domain_counts_unless_the_policy_honours_taints() -> None:
    nodes = [
        node("a", {"zone": "1"}),
        node("b", {"zone": "2"}, taints=[{"key": "k", "effect": "NoSchedule"}]),
    ]
    there = [pod("x", "a", {"app": "web"})]
    ignoring = pod(labels={"app": "web"}, topologySpreadConstraints=[spread()])
    honouring = pod(labels={"app": "web"}, topologySpreadConstraints=[spread(nodeTaintsPolicy="Honor")])
    assert schedule(ignoring, nodes, there).best == ()
    assert schedule(honouring, nodes, there).best == ("a",)


def test_nodes_outside_the_selector_are_no_domains_unless_affinity_is_ignored() -> None:
    nodes = [node("a", {"zone": "1", "disk": "ssd"}), node("b", {"zone": "2"})]
    there = [pod("x", "a", {"app": "web"})]

    def wants(**more: Any) -> Pod:
        return pod(labels={"app": "web"}, nodeSelector={"disk": "ssd"}, topologySpreadConstraints=[spread(**more)])

    assert schedule(wants(), nodes, there).best == ("a",)
    assert schedule(wants(nodeAffinityPolicy="Ignore"), nodes, there).best == ()


def test_fits_ever_names_the_fields_in_conflict() -> None:
    wanted = pod(nodeSelector={"disk": "ssd"}, containers=[asking("5")])
    fit = fits_ever(wanted, [node("a"), node("b", {"disk": "ssd"})])
    assert not fit
    assert [(o.node, o.reason, o.pod_fields) for o in fit.obstacles] == [
        ("a", Reason.NODE_AFFINITY, ("spec.nodeSelector",)),
        ("a", Reason.INSUFFICIENT, ("spec.containers[0].resources.requests.cpu",)),
        ("b", Reason.INSUFFICIENT, ("spec.containers[0].resources.requests.cpu",)),
    ]
    assert fits_ever(pod(affinity=affinity("podAffinity", app("db"))), [node("a")]).nodes == ("a",)


def decide(subject: Pod, nodes: list[Node], pods: list[Pod]) -> Decision:
    cluster: dict[type[Object], list[Node] | list[Pod]] = {Node: nodes, Pod: pods}
    objects = {
        read.kind: tuple(read.view(given) if read.view else given for given in cluster.get(read.kind, []))
        for read in scheduler.CONTROLLER.reads
    }
    return scheduler.CONTROLLER.reconcile(Seen(subject, objects, NOW))


def test_the_controller_binds_to_the_first_of_the_best() -> None:
    waiting = pod()
    assert decide(waiting, [node("b"), node("a")], [waiting]).writes == (
        Bind(waiting, "a"),
        RecordEvent(waiting, "Normal", "Scheduled", "Successfully assigned default/web to a"),
    )


def test_the_controller_says_once_why_a_pod_waits() -> None:
    waiting = pod(containers=[asking("9")])
    update, event = decide(waiting, [node("a")], [waiting]).writes
    assert isinstance(update, UpdateStatus)
    assert isinstance(update.after, Pod)
    (condition,) = update.after.status.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert condition.last_transition_time == NOW.replace(microsecond=0)
    assert event == RecordEvent(waiting, "Warning", "FailedScheduling", condition.message)
    assert decide(update.after, [node("a")], [update.after]) == Decision()


@pytest.mark.parametrize(
    "other",
    [
        pod(on="a"),
        pod(schedulingGates=[{"name": "quota"}]),
        pod(schedulerName="mine"),
        parse_as(Pod, {"metadata": {"name": "p", "deletionTimestamp": "2030-01-01T00:00:00Z"}}),
    ],
    ids=["placed", "gated", "another scheduler's", "terminating"],
)
def test_pods_that_are_not_ours_to_place_are_left_alone(other: Pod) -> None:
    assert decide(other, [node("a")], []) == Decision()
