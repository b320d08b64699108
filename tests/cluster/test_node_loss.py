"""A simulated node is cut off and comes back: what its pods, its conditions and the rest of the cluster make of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from seatrial.cluster.clock import START, VirtualClock
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.objects import Component
from seatrial.control import nodelifecycle, scheduler
from seatrial.control.manager import CONTROLLERS
from seatrial.control.ownership import is_ready
from seatrial.control.writes import Delete
from seatrial.kube.objects import Lease, Node, Pod
from seatrial.server.requests import Filter
from seatrial.server.store import Store


def cluster_of(*nodes: str) -> tuple[Cluster, VirtualClock, Component]:
    clock = VirtualClock()
    cluster = Cluster(
        Store.open(":memory:"), nodes=nodes, controllers=(*CONTROLLERS, scheduler.CONTROLLER), clock=clock
    )
    cluster.start()
    return cluster, clock, Component(cluster.objects, "user")


def deploy(cluster: Cluster, replicas: int) -> None:
    labels = {"app": "web"}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    }
    resource = cluster.api.kind("apps/v1", "Deployment")
    cluster.api.create(resource, "default", {"metadata": {"name": "web"}, "spec": spec})


def ready_pods(user: Component) -> list[Pod]:
    return [pod for pod in user.all(Pod) if is_ready(pod) and pod.metadata.deletion_timestamp is None]


def when(clock: VirtualClock, holds: Callable[[], bool], within_s: int = 600) -> float:
    began = clock.now()
    assert clock.run(timedelta(seconds=within_s), until=holds)
    return (clock.now() - began).total_seconds()


def ready(user: Component, name: str) -> str:
    node = user.get(Node, "", name)
    assert node is not None
    found = nodelifecycle.condition(node, "Ready")
    assert found is not None
    return found.status


def test_the_pods_of_a_lost_node_are_replaced_after_five_minutes_and_end_when_it_comes_back() -> None:
    """Default tolerations: 300 s; the lost pods stay Terminating until their kubelet is heard again."""
    cluster, clock, user = cluster_of("a", "b", "c")
    deploy(cluster, 3)
    when(clock, lambda: len(ready_pods(user)) == 3)
    lost = next(pod for pod in user.all(Pod) if pod.spec.node_name == "a")
    clock.run(timedelta(seconds=100) - (clock.now() - START))

    cluster.fail_node("a")
    assert 45 <= when(clock, lambda: ready(user, "a") == "Unknown") <= 55
    assert len(ready_pods(user)) == 2, "what nobody hears of is not ready"
    assert 300 <= when(clock, lambda: len(user.all(Pod)) == 4) <= 301
    when(clock, lambda: len(ready_pods(user)) == 3)
    clock.run(timedelta(minutes=10))
    gone = user.get(Pod, "default", lost.metadata.name)
    assert gone is not None, "only its kubelet can say that it has ended"
    assert [c.reason for c in gone.status.conditions if c.type == "DisruptionTarget"] == ["DeletionByTaintManager"]

    cluster.restore_node("a")
    when(clock, lambda: user.get(Pod, "default", lost.metadata.name) is None, 60)
    node = user.get(Node, "", "a")
    assert (ready(user, "a"), node.spec.taints if node else None) == ("True", ())
    said = {
        (event["reason"], event["message"])
        for event in cluster.api.list(cluster.api.kind("v1", "Event"), Filter(namespace="default")).items
        if event["involvedObject"]["name"] in ("a", lost.metadata.name)
    }
    assert {
        ("RegisteredNode", "Node a event: Registered Node a in Controller"),
        ("NodeNotReady", "Node a status is now: NodeNotReady"),
        ("NodeNotReady", "Node is not ready"),
        ("TaintManagerEviction", f"Marking for deletion Pod default/{lost.metadata.name}"),
        ("NodeReady", "Node a status is now: NodeReady"),
    } <= said
    cluster.api.store.close()


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    cluster, clock, user = cluster_of("a", "b")
    deploy(cluster, 2)
    when(clock, lambda: len(ready_pods(user)) == 2)
    before = {pod.metadata.uid for pod in user.all(Pod)}
    cluster.fail_node("a")
    clock.run(timedelta(seconds=200))
    assert len(ready_pods(user)) == 1
    cluster.restore_node("a")
    when(clock, lambda: len(ready_pods(user)) == 2, 30)
    clock.run(timedelta(minutes=10))
    assert {pod.metadata.uid for pod in user.all(Pod)} == before
    cluster.api.store.close()


def test_a_pod_deleted_by_force_on_a_lost_node_is_forgotten_there_too() -> None:
    cluster, clock, user = cluster_of("a")
    deploy(cluster, 1)
    when(clock, lambda: len(ready_pods(user)) == 1)
    (lost,) = user.all(Pod)
    cluster.fail_node("a")
    user.apply(Delete(lost, grace_period_s=0))
    clock.run(timedelta(seconds=30))
    cluster.restore_node("a")
    when(clock, lambda: len(ready_pods(user)) == 1, 60)
    assert cluster.runtimes["a"].facts(lost).containers == ()
    cluster.api.store.close()


def test_a_thousand_idle_nodes_cost_nothing_for_a_day() -> None:
    """Simulated nodes hold their leases without renewing them."""
    cluster, clock, user = cluster_of(*(f"n{number}" for number in range(1000)))
    clock.run(timedelta(seconds=10))
    before = (*user.all(Node), *user.all(Lease))
    clock.run(timedelta(days=1))
    assert (*user.all(Node), *user.all(Lease)) == before, "not one of them was written"
    leases = user.all(Lease)
    assert (len(leases), {lease.spec.renew_time for lease in leases}) == (1000, {None})
    cluster.api.store.close()


def test_the_lease_of_a_lost_node_tells_its_last_renewal() -> None:
    cluster, clock, user = cluster_of("a", "b")
    clock.run(timedelta(seconds=47))
    cluster.fail_node("a")
    lease = user.get(Lease, nodelifecycle.LEASES, "a")
    assert lease is not None
    assert lease.spec.renew_time == datetime(2026, 1, 1, 0, 0, 40, tzinfo=START.tzinfo)
    assert [owner.name for owner in lease.metadata.owner_references] == ["a"]
    cluster.api.store.close()
