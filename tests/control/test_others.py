"""ReplicaSet deletion order, EndpointSlices, garbage collection and the end of a namespace."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from seatrial.control.manager import CONTROLLERS
from seatrial.control.replicaset import victims
from seatrial.control.writes import Propagation
from seatrial.kube.objects import (
    ConfigMap,
    Deployment,
    EndpointSlice,
    Key,
    Namespace,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    ReplicaSet,
    Service,
)
from seatrial.kube.objects.pods import ContainerStatus, PodCondition
from tests.control.harness import START, Harness, deployment

SERVICE: dict[str, object] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}},
    "spec": {
        "selector": {"app": "web"},
        "clusterIP": "10.1.0.1",
        "ports": [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}],
    },
}


def pod(name: str, *, node: str = "n1", phase: str = "Running", ready_s: int | None = 100, **more: object) -> Pod:
    conditions: tuple[PodCondition, ...] = ()
    if ready_s is not None:
        since = START - timedelta(seconds=ready_s)
        conditions = (PodCondition(type="Ready", status="True", last_transition_time=since),)
    restarts = more.get("restarts", 0)
    assert isinstance(restarts, int)
    cost = more.get("cost")
    annotations = {} if cost is None else {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    return Pod(
        metadata=ObjectMeta(
            name=name, uid=name, annotations=annotations, creation_timestamp=START - timedelta(hours=1)
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(
            phase=phase, conditions=conditions, container_statuses=(ContainerStatus(name="c", restart_count=restarts),)
        ),
    )


def test_pods_are_deleted_in_upstreams_order() -> None:
    in_order = [
        pod("unassigned", node="", phase="Pending", ready_s=None),
        pod("pending", node="n2", phase="Pending", ready_s=None),
        pod("unknown", node="n3", phase="Unknown", ready_s=None),
        pod("not-ready", node="n4", ready_s=None),
        pod("cheap", node="n5", cost=-5),
        pod("doubled-1", node="n6"),
        pod("doubled-2", node="n6"),
        pod("young", node="n7", ready_s=3),
        pod("restarted", node="n8", restarts=4),
        pod("steady", node="n9"),
        pod("dear", node="n10", cost=10),
    ]
    for count in range(1, len(in_order)):
        found = victims(list(reversed(in_order)), tuple(in_order), count, START)
        assert [victim.metadata.name for victim in found] == [p.metadata.name for p in in_order[:count]]


def test_a_pod_whose_labels_leave_the_selector_is_released_and_replaced() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment())
    cluster.roll_out()
    stray = cluster.all(Pod)[0]
    cluster.objects[stray.key] = replace(stray, metadata=replace(stray.metadata, labels={"app": "debug"}))
    cluster.settle()
    assert cluster.get(Pod, stray.metadata.name).metadata.owner_references == ()
    assert len(cluster.all(Pod)) == 4


def test_endpoints_follow_readiness_and_termination_and_an_empty_service_keeps_one_slice() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    cluster.apply(SERVICE)
    cluster.settle()
    (placeholder,) = cluster.all(EndpointSlice)
    assert (placeholder.endpoints, placeholder.ports) == ((), ())
    cluster.apply(deployment(replicas=2))
    cluster.settle()
    cluster.run_pods(1)
    cluster.run_pods(1, ready=False)
    cluster.settle()
    (piece,) = cluster.all(EndpointSlice)
    assert piece.metadata.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert [(port.name, port.port) for port in piece.ports] == [("http", 80)]
    assert [endpoint.conditions and endpoint.conditions.ready for endpoint in piece.endpoints] == [True, False]
    cluster.delete(cluster.all(Pod)[0].key)
    cluster.settle()
    (piece,) = cluster.all(EndpointSlice)
    first = piece.endpoints[0].conditions
    assert first is not None
    assert (first.ready, first.serving, first.terminating) == (False, True, True)


def test_more_than_a_hundred_endpoints_take_several_slices() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    cluster.apply(SERVICE)
    cluster.apply(deployment(replicas=120))
    cluster.roll_out()
    assert sorted(len(piece.endpoints) for piece in cluster.all(EndpointSlice)) == [20, 100]


def test_deleting_a_deployment_deletes_what_it_owns() -> None:
    for propagation in (Propagation.BACKGROUND, Propagation.FOREGROUND):
        cluster = Harness(CONTROLLERS)
        cluster.apply(deployment())
        cluster.roll_out()
        key = cluster.get(Deployment, "web").key
        cluster.delete(key, propagation)
        cluster.settle()
        assert (key in cluster.objects) is (propagation is Propagation.FOREGROUND)
        cluster.finish_deleted()
        cluster.settle()
        assert cluster.objects == {}


def test_owners_of_unknown_kinds_count_as_existing() -> None:
    cluster = Harness(CONTROLLERS)
    raw: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "c",
            "namespace": "default",
            "ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Thing", "name": "t", "uid": "u"}],
        },
    }
    cluster.apply(raw)
    assert cluster.settle() == 0


def test_a_deleted_namespace_is_emptied_pods_first_and_then_goes() -> None:
    cluster = Harness(CONTROLLERS[3:])
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "default"},
            "spec": {"finalizers": ["kubernetes"]},
        }
    )
    full = Harness(CONTROLLERS)
    full.apply(deployment())
    full.roll_out()
    cluster.objects.update(full.objects)
    cluster.delete(Key("Namespace", "", "default"))
    cluster.settle()
    assert len(cluster.all(ReplicaSet)) == 1
    assert contents_of(cluster) == "All content successfully removed"  # upstream has not looked beyond the pods yet
    held = next(iter(cluster.all(ReplicaSet)))
    cluster.objects[held.key] = replace(held, metadata=replace(held.metadata, finalizers=("example.com/mine",)))
    cluster.finish_deleted()
    cluster.settle()
    assert contents_of(cluster) == "Some resources are remaining: replicasets.apps has 1 resource instances"
    held = cluster.get(ReplicaSet, held.metadata.name)
    del cluster.objects[held.key]
    cluster.settle()
    assert cluster.objects == {}


def test_a_namespace_says_which_pods_should_have_ended() -> None:
    cluster = Harness(CONTROLLERS)
    spec = {"finalizers": ["kubernetes"]}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}, "spec": spec})
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": "lost", "containers": [{"name": "app", "image": "app:1"}]},
        }
    )
    pod = cluster.get(Pod, "p")
    cluster.objects[pod.key] = replace(pod, spec=replace(pod.spec, termination_grace_period_seconds=30))
    cluster.delete(Key("Namespace", "", "default"))
    cluster.settle()
    assert condition_of(cluster, "NamespaceDeletionContentFailure").startswith("All content successfully deleted")
    cluster.now += timedelta(seconds=31)
    cluster.settle()
    assert condition_of(cluster, "NamespaceDeletionContentFailure") == (
        "Failed to delete all resource types, 1 remaining: "
        "unexpected items still remain in namespace: default for gvr: /v1, Resource=pods"
    )


def test_an_owner_that_goes_is_seen_waiting_by_dependents_that_do_not_block_it() -> None:
    """So what has dependents of its own waits for them in turn. The harness asks in the order of names."""
    cluster = Harness(CONTROLLERS)
    for name, owner in (("first", ""), ("second", "first"), ("third", "second")):
        meta: dict[str, object] = {"name": name, "namespace": "default"}
        if owner:
            uid = cluster.get(ConfigMap, owner).metadata.uid
            meta["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}]
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    second = cluster.get(ConfigMap, "second")
    held = replace(second.metadata, finalizers=("example.com/hold",))
    cluster.objects[second.key] = replace(second, metadata=held)
    cluster.delete(Key("ConfigMap", "default", "first"), Propagation.FOREGROUND)
    cluster.settle()
    assert Key("ConfigMap", "default", "first") not in cluster.objects
    assert Key("ConfigMap", "default", "third") not in cluster.objects, "the second waits for it, and has not gone"
    assert cluster.get(ConfigMap, "second").metadata.deletion_timestamp is not None


def condition_of(cluster: Harness, kind: str) -> str:
    conditions = {c.type: c.message for c in cluster.get(Namespace, "default", "").status.conditions}
    return conditions[kind]


def contents_of(cluster: Harness) -> str:
    return condition_of(cluster, "NamespaceContentRemaining")


def test_an_ingress_goes_with_the_service_that_owns_it() -> None:
    """Any kind can be owned, also one whose contents nothing here looks at."""
    cluster = Harness(CONTROLLERS)
    cluster.apply(SERVICE)
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": cluster.get(Service, "web").metadata.uid}
    meta = {"name": "front", "namespace": "default", "ownerReferences": [owner]}
    cluster.apply({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta})
    cluster.settle()
    front = Key("Ingress", "default", "front")
    assert front in cluster.objects
    cluster.delete(Key("Service", "default", "web"))
    cluster.settle()
    assert front not in cluster.objects
