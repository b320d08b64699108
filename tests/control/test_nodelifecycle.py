"""The life of a node as its heartbeats tell it, and what its taints do to pods.

Times and words are those that a kube-controller-manager 1.37 gave for the same moves with shorter graces.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.control import nodelifecycle, tainteviction
from seatrial.kube.objects import Key, Lease, Node, Pod, parse
from seatrial.kube.objects.nodes import Taint
from tests.control.harness import START, Harness

POSTED = ("MemoryPressure", "DiskPressure", "PIDPressure")


class Nodes(Harness):
    """A cluster whose kubelets renew their leases every ten seconds while they live."""

    def __init__(self, *names: str, zone: str = "") -> None:
        super().__init__((*nodelifecycle.CONTROLLERS, tainteviction.CONTROLLER))
        self.alive: set[str] = set()
        self.told: list[tuple[int, str]] = []
        for name in ("default", nodelifecycle.LEASES):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in names:
            self.join(name, zone)
        self.settle()

    def join(self, name: str, zone: str = "") -> None:
        labels = {"kubernetes.io/os": "linux", **({"topology.kubernetes.io/zone": zone} if zone else {})}
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        self.post(name)

    def post(self, name: str, ready: str = "True") -> None:
        self.alive.add(name)
        self.beat(name)
        now = self.now.isoformat()
        conditions = [
            {"type": kind, "status": status, "lastHeartbeatTime": now, "lastTransitionTime": now}
            for kind, status in (*((kind, "False") for kind in POSTED), ("Ready", ready))
        ]
        posted = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"conditions": conditions}}
        status = parse(posted)
        assert isinstance(status, Node)
        self.objects[Key("Node", "", name)] = replace(self.get(Node, name, ""), status=status.status)

    def beat(self, name: str) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": self.now.isoformat()}
        meta = {"name": name, "namespace": nodelifecycle.LEASES}
        self.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec})

    def go_on(self, seconds: int) -> None:
        """Time passes while the living nodes renew their leases; what is said is noted with its second."""
        for _ in range(seconds):
            if (self.now - START).seconds % 10 == 0:
                for name in sorted(self.alive):
                    self.beat(name)
            self.live(1)
            second = round((self.now - START).total_seconds())
            self.told += [(second, event) for event in self.events]
            self.events.clear()

    def taints(self, name: str) -> set[str]:
        return {f"{t.key.rpartition('/')[2]}:{t.effect}" for t in self.get(Node, name, "").spec.taints}

    def ready(self, name: str) -> str:
        found = nodelifecycle.condition(self.get(Node, name, ""), "Ready")
        return "" if found is None else found.status

    def pod(self, name: str, node: str, tolerated_s: int | None = 300, **toleration: object) -> None:
        seconds = {} if tolerated_s is None else {"tolerationSeconds": tolerated_s}
        now = self.now.isoformat()
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "nodeName": node,
                    "tolerations": [{"operator": "Exists", "effect": "NoExecute", **seconds, **toleration}],
                    "containers": [{"name": "a", "image": "x"}],
                },
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                },
            }
        )


def test_a_silent_node_becomes_unknown_and_is_tainted_and_its_pods_serve_no_more() -> None:
    """Concepts, Nodes: 'the node controller ... changing the Ready condition to Unknown' after the grace period."""
    cluster = Nodes("n1", "n2", "n3")
    cluster.pod("web", "n1")
    cluster.go_on(30)
    cluster.alive.remove("n1")
    cluster.go_on(45)  # the last renewal was at 20
    assert cluster.ready("n1") == "Unknown"
    node = cluster.get(Node, "n1", "")
    unknown = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    assert [(c.status, c.reason, c.message) for c in node.status.conditions] == [unknown] * 4
    assert cluster.taints("n1") == {"unreachable:NoSchedule", "unreachable:NoExecute"}
    assert all(taint.time_added is not None for taint in node.spec.taints)
    assert [c.status for c in cluster.get(Pod, "web").status.conditions] == ["False"]
    assert [(second, event) for second, event in cluster.told if "NotReady" in event] == [
        (70, "Normal NodeNotReady Node n1 status is now: NodeNotReady"),
        (70, "Warning NodeNotReady Node is not ready"),
    ]
    assert (cluster.ready("n2"), cluster.taints("n2")) == ("True", set())


@pytest.mark.parametrize(("minor", "grace_s"), [(31, 40), (32, 50)])
def test_the_grace_grew_with_1_32(minor: int, grace_s: int) -> None:
    """CHANGELOG-1.32: the default of --node-monitor-grace-period is 50 s instead of 40 s."""
    assert nodelifecycle.grace(minor).total_seconds() == grace_s


def test_pods_are_evicted_after_the_time_that_they_tolerate_and_not_if_the_node_comes_back() -> None:
    """Concepts, Taints and Tolerations: tolerationSeconds; eviction is cancelled when the taint goes."""
    cluster = Nodes("n1", "n2", "n3")
    for name, tolerated_s in (("soon", 5), ("late", 60), ("never", None)):
        cluster.pod(name, "n1", tolerated_s)
    cluster.go_on(1)
    cluster.alive.remove("n1")
    cluster.go_on(69)  # unreachable at 50
    soon = cluster.get(Pod, "soon")
    assert soon.metadata.deletion_timestamp is not None
    target = soon.status.conditions[-1]
    assert (target.type, target.status, target.reason) == ("DisruptionTarget", "True", "DeletionByTaintManager")
    assert target.message == "Taint manager: deleting due to NoExecute taint"
    cluster.post("n1")
    cluster.go_on(60)
    assert cluster.taints("n1") == set()
    assert cluster.get(Pod, "late").metadata.deletion_timestamp is None
    assert [(second, event) for second, event in cluster.told if "TaintManagerEviction" in event] == [
        (55, "Normal TaintManagerEviction Marking for deletion Pod default/soon"),
        (71, "Normal TaintManagerEviction Cancelling deletion of Pod default/late"),
    ]


def test_a_later_taint_does_not_start_the_time_anew() -> None:
    """A node that says it is not ready and then falls silent: its pods go 60 s after the first taint."""
    cluster = Nodes("n1", "n2", "n3")
    cluster.pod("web", "n1", 90)
    cluster.go_on(10)
    cluster.post("n1", "False")
    cluster.go_on(1)
    assert cluster.taints("n1") == {"not-ready:NoSchedule", "not-ready:NoExecute"}
    assert "NodeNotReady" not in str(cluster.told), "only the controller's own finding is told"
    assert [c.status for c in cluster.get(Pod, "web").status.conditions] == ["True"]
    cluster.alive.remove("n1")
    cluster.go_on(99)
    assert cluster.taints("n1") == {"unreachable:NoSchedule", "unreachable:NoExecute"}
    assert [second for second, event in cluster.told if "Marking" in event] == [100]


def test_a_pod_that_does_not_tolerate_a_taint_goes_at_once_and_one_that_tolerates_it_by_value_stays() -> None:
    cluster = Nodes("n1", "n2")
    cluster.pod("leaves", "n1", None, key="k", operator="Equal", value="other")
    cluster.pod("stays", "n1", None, key="k", operator="Equal", value="v")
    cluster.settle()
    node = cluster.get(Node, "n1", "")
    taint = Taint(key="k", value="v", effect="NoExecute")
    cluster.objects[node.key] = replace(node, spec=replace(node.spec, taints=(taint,)))
    cluster.settle()
    gone = {pod.metadata.name for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp}
    assert gone == {"leaves"}


def test_while_every_node_seems_lost_nothing_is_evicted() -> None:
    """Concepts, Nodes, rate limits on eviction: if all zones are completely unhealthy, something is wrong with us."""
    cluster = Nodes("n1", "n2", "n3")
    cluster.pod("web", "n1", 5)
    cluster.go_on(1)
    cluster.alive.clear()
    cluster.go_on(119)
    assert {cluster.ready(name) for name in ("n1", "n2", "n3")} == {"Unknown"}
    assert cluster.taints("n1") == {"unreachable:NoSchedule"}
    cluster.post("n3")
    cluster.go_on(40)
    tainted = [
        taint.time_added
        for name in ("n1", "n2")
        for taint in cluster.get(Node, name, "").spec.taints
        if taint.effect == "NoExecute"
    ]
    assert [seconds(time) for time in tainted] == [130, 140], "the first token comes 10 s after the way back"
    assert cluster.taints("n3") == set()
    assert cluster.get(Pod, "web").metadata.deletion_timestamp is not None


def test_in_a_healthy_zone_one_node_in_ten_seconds_is_emptied() -> None:
    """--node-eviction-rate 0.1, burst 1, for each zone by itself."""
    cluster = Nodes(*(f"a{n}" for n in range(6)), zone="a")
    for n in range(3):
        cluster.join(f"b{n}", "b")
    cluster.go_on(1)
    cluster.alive -= {"a0", "a1", "b0"}
    cluster.go_on(80)
    times = {
        node.metadata.name: seconds(taint.time_added)
        for node in cluster.all(Node)
        for taint in node.spec.taints
        if taint.effect == "NoExecute"
    }
    assert times == {"a0": 50, "a1": 60, "b0": 50}


def test_a_small_zone_that_is_mostly_lost_is_left_alone() -> None:
    """--unhealthy-zone-threshold 0.55 with more than two lost nodes; up to 50 nodes evictions stop."""
    cluster = Nodes(*(f"n{n}" for n in range(5)))
    cluster.go_on(1)
    cluster.alive -= {"n0", "n1", "n2"}
    cluster.go_on(100)
    assert all(cluster.taints(f"n{n}") == {"unreachable:NoSchedule"} for n in range(3))


def test_a_large_zone_that_is_mostly_lost_is_emptied_slowly() -> None:
    """--secondary-node-eviction-rate 0.01 above --large-cluster-size-threshold 50."""
    names = [f"n{n:02}" for n in range(51)]
    cluster = Nodes(*names)
    cluster.go_on(1)
    cluster.alive -= set(names[:40])
    for _ in range(6):
        cluster.pass_time(40)
        for name in sorted(cluster.alive):
            cluster.beat(name)
        cluster.live(0)
    tainted = [name for name in names if "unreachable:NoExecute" in cluster.taints(name)]
    assert len(tainted) in (2, 3)


def test_conditions_and_cordons_are_taints() -> None:
    """Concepts, Taint Nodes by Condition."""
    cluster = Nodes("n1")
    node = cluster.get(Node, "n1", "")
    pressed = tuple(replace(c, status="True") for c in node.status.conditions)
    cluster.objects[node.key] = replace(
        node, spec=replace(node.spec, unschedulable=True), status=replace(node.status, conditions=pressed)
    )
    cluster.settle()
    keys = {"memory-pressure", "disk-pressure", "pid-pressure", "unschedulable"}
    assert cluster.taints("n1") == {f"{key}:NoSchedule" for key in keys}
    node = cluster.get(Node, "n1", "")
    cluster.objects[node.key] = replace(node, spec=replace(node.spec, unschedulable=False))
    cluster.post("n1")
    cluster.settle()
    assert cluster.taints("n1") == set()


def test_a_node_whose_kubelet_never_speaks_gets_a_minute() -> None:
    """--node-startup-grace-period; conditions that were never posted say so."""
    cluster = Nodes("n1")
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "mute"}})
    cluster.go_on(59)
    assert cluster.ready("mute") == ""
    cluster.go_on(2)
    never = nodelifecycle.condition(cluster.get(Node, "mute", ""), "Ready")
    assert never is not None
    assert (never.status, never.reason, never.message) == (
        "Unknown",
        "NodeStatusNeverUpdated",
        "Kubelet never posted node status.",
    )


def test_nodes_are_registered_and_removed_in_events() -> None:
    cluster = Nodes("n1")
    assert cluster.events == ["Normal RegisteredNode Node n1 event: Registered Node n1 in Controller"]
    assert cluster.get(Node, "n1", "").metadata.labels["beta.kubernetes.io/os"] == "linux"
    cluster.delete(Key("Node", "", "n1"))
    cluster.settle()
    assert cluster.events[-1] == "Normal RemovingNode Node n1 event: Removing Node n1 from Controller"


def test_a_held_lease_without_a_time_never_goes_stale_until_it_is_let_go() -> None:
    """How simulated nodes save their renewals; not upstream's."""
    cluster = Nodes("n1", "n2")
    cluster.alive.clear()
    for name in ("n1", "n2"):
        key = Key("Lease", nodelifecycle.LEASES, name)
        lease = cluster.objects[key]
        assert isinstance(lease, Lease)
        cluster.objects[key] = replace(lease, spec=replace(lease.spec, renew_time=None))
    cluster.live(86400)
    assert cluster.ready("n1") == "True"
    let_go = cluster.get(Lease, "n1", nodelifecycle.LEASES)
    cluster.objects[let_go.key] = replace(let_go, spec=replace(let_go.spec, renew_time=cluster.now))
    cluster.live(49)
    assert cluster.ready("n1") == "True"
    cluster.live(2)
    assert cluster.ready("n1") == "Unknown"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["lose", "well", "ill", "wait"])), max_size=8)
)
def test_whatever_nodes_do_their_taints_say_it(moves: list[tuple[str, str]]) -> None:
    """The controllers come to rest; NoSchedule follows the conditions at once, NoExecute never says two things."""
    cluster = Nodes("a", "b", "c")
    cluster.pod("web", "a", 20)
    for name, what in moves:
        match what:
            case "lose":
                cluster.alive.discard(name)
            case "well":
                cluster.post(name)
            case "ill":
                cluster.post(name, "False")
        for _ in range(5 if what == "wait" else 1):
            cluster.go_on(10)
    for name in ("a", "b", "c"):
        status, taints = cluster.ready(name), cluster.taints(name)
        wanted = {"True": set(), "False": {"not-ready:NoSchedule"}, "Unknown": {"unreachable:NoSchedule"}}[status]
        assert {taint for taint in taints if taint.endswith("NoSchedule")} == wanted
        evicting = {taint for taint in taints if taint.endswith("NoExecute")}
        assert evicting <= {taint.replace("NoSchedule", "NoExecute") for taint in wanted}
    if all(cluster.ready(name) != "True" for name in ("a", "b", "c")):
        assert not any(taint.endswith("NoExecute") for name in ("a", "b", "c") for taint in cluster.taints(name))


def seconds(time: datetime | None) -> int:
    assert time is not None
    return round((time - START).total_seconds())
