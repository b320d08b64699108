"""Endpoints beside EndpointSlices, and the mirroring of Endpoints that people write themselves."""

from __future__ import annotations

from seatrial.control import endpoints, endpointslice, gohash
from seatrial.control.endpoints import MIRRORING_LABEL, repacked
from seatrial.kube.objects import Endpoints, EndpointSlice, Key, Pod
from seatrial.kube.objects.services import EndpointAddress, EndpointPort, EndpointSubset, ObjectReference
from tests.control.harness import Harness
from tests.control.test_others import SERVICE

CONTROLLERS = (endpoints.CONTROLLER, endpoints.CLEANING, endpoints.MIRRORING, endpointslice.CONTROLLER)
HTTP = EndpointPort(name="http", port=80, protocol="TCP")
ADMIN = EndpointPort(name="admin", port=81, protocol="TCP")


def pod(name: str, **spec: object) -> dict[str, object]:
    port = {"name": "http", "containerPort": 80}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [port]}], **spec},
    }


def service(**spec: object) -> dict[str, object]:
    return {**SERVICE, "spec": {**SERVICE["spec"], **spec}}  # type: ignore[dict-item]


def only_endpoints(cluster: Harness) -> Endpoints:
    (found,) = cluster.all(Endpoints)
    return found


def test_ready_pods_are_addresses_and_others_are_not_ready_addresses() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service())
    cluster.apply(pod("a"))
    cluster.run_pods(node="n1")
    cluster.apply(pod("b"))
    cluster.run_pods(ready=False, node="n2")
    cluster.settle()
    found = only_endpoints(cluster)
    (subset,) = found.subsets
    assert [(each.target_ref and each.target_ref.name, each.node_name) for each in subset.addresses] == [("a", "n1")]
    assert [each.target_ref and each.target_ref.name for each in subset.not_ready_addresses] == ["b"]
    assert subset.ports == (HTTP,)
    assert found.metadata.labels == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def test_a_pod_being_deleted_leaves_unless_unready_addresses_are_published() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service())
    cluster.apply(pod("a"))
    cluster.run_pods()
    cluster.delete(cluster.get(Pod, "a").key)
    cluster.settle()
    assert only_endpoints(cluster).subsets == ()
    cluster.apply(service(publishNotReadyAddresses=True))
    cluster.settle()
    assert len(only_endpoints(cluster).subsets[0].addresses) == 1


def test_a_headless_service_says_so_and_needs_no_ports() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service(clusterIP="None", ports=[]))
    cluster.apply(pod("a"))
    cluster.run_pods()
    cluster.settle()
    found = only_endpoints(cluster)
    assert found.metadata.labels["service.kubernetes.io/headless"] == ""
    assert found.subsets[0].ports == ()
    assert len(found.subsets[0].addresses) == 1


def test_ports_with_the_same_addresses_share_a_subset() -> None:
    a, b = EndpointAddress(ip="10.0.0.2"), EndpointAddress(ip="10.0.0.1")
    both = repacked([(HTTP, a, True), (HTTP, b, True), (ADMIN, b, True), (ADMIN, a, True)])
    assert [(each.addresses, each.ports) for each in both] == [((b, a), (HTTP, ADMIN))]
    apart = repacked([(HTTP, a, True), (ADMIN, b, True)])
    assert {(each.addresses, each.ports) for each in apart} == {((b,), (ADMIN,)), ((a,), (HTTP,))}
    once_unready = repacked([(HTTP, a, True), (HTTP, a, False)])
    assert once_unready[0].not_ready_addresses == (a,)
    assert once_unready[0].addresses == ()


def test_no_more_than_a_thousand_addresses_ready_ones_first() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service())
    for number in range(1010):
        cluster.apply(pod(f"p{number:04}"))
    cluster.run_pods(15, ready=False)
    cluster.run_pods()
    for number, each in enumerate(cluster.all(Pod)):  # the harness gives few addresses
        ip = f"10.{number // 250}.0.{number % 250 + 1}"
        status = each.status.__class__(phase="Running", pod_ip=ip, conditions=each.status.conditions)
        cluster.objects[each.key] = each.__class__(metadata=each.metadata, spec=each.spec, status=status)
    cluster.settle()
    found = only_endpoints(cluster)
    (subset,) = found.subsets
    assert (len(subset.addresses), len(subset.not_ready_addresses)) == (995, 5)
    assert found.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"


def test_endpoints_go_with_their_service() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service())
    cluster.settle()
    cluster.delete(Key("Service", "default", "web"))
    cluster.settle()
    assert cluster.all(Endpoints) == []


OWN: dict[str, object] = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web", "namespace": "default", "labels": {"team": "b"}, "annotations": {"why": "outside"}},
    "subsets": [
        {
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {"ip": "not an address"}],
            "notReadyAddresses": [{"ip": "192.0.2.2", "hostname": "two"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }
    ],
}


def mirrors(cluster: Harness) -> dict[str, EndpointSlice]:
    labelled = [
        each
        for each in cluster.all(EndpointSlice)
        if each.metadata.labels["endpointslice.kubernetes.io/managed-by"] == MIRRORING_LABEL
    ]
    return {each.address_type: each for each in labelled}


def test_endpoints_of_a_service_without_selector_are_mirrored_family_by_family() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service(selector={}))
    cluster.apply(OWN)
    cluster.settle()
    found = mirrors(cluster)
    assert sorted(found) == ["IPv4", "IPv6"]
    four = {each.addresses[0]: each.conditions and each.conditions.ready for each in found["IPv4"].endpoints}
    assert four == {"192.0.2.1": True, "192.0.2.2": False}
    meta = found["IPv4"].metadata
    assert meta.labels["kubernetes.io/service-name"] == "web"
    assert meta.labels["team"] == "b"
    assert meta.annotations == {"why": "outside"}
    assert meta.owner_references[0].kind == "Endpoints"
    skipped = "Warning InvalidIPAddress Skipped 1 invalid IP addresses when mirroring to EndpointSlices"
    assert skipped in cluster.events


def test_mirrors_follow_the_endpoints_and_end_with_the_reason_for_them() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service(selector={}))
    cluster.apply(OWN)
    cluster.settle()
    name = mirrors(cluster)["IPv4"].metadata.name
    address = {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"name": "http", "port": 81, "protocol": "TCP"}]}
    cluster.apply({**OWN, "subsets": [address]})
    cluster.settle()
    found = mirrors(cluster)
    assert list(found) == ["IPv4"]
    assert found["IPv4"].endpoints[0].addresses == ("192.0.2.9",)
    assert found["IPv4"].metadata.name == name, "a slice is used again rather than replaced"
    cluster.apply(service())  # a selector takes over
    cluster.settle()
    assert mirrors(cluster) == {}


def test_ports_and_subsets_are_hashed_as_upstream_prints_them() -> None:
    """The hashes are those of k8s.io/utils/dump and FNV-1a in Go, for the same objects."""
    plain = EndpointPort(name="http", port=80, protocol="TCP")
    spoken = EndpointPort(port=80, protocol="TCP", app_protocol="http")
    assert f"{gohash.fnv1a_128(gohash._slice_port(plain)):032x}" == "b6c4d325122a5ba6f795b0bbffcebb6f"
    assert f"{gohash.fnv1a_128(gohash._slice_port(spoken)):032x}" == "7164d1214629d4d903af6ecfa7817bb4"
    text = f"(v1.EndpointPort){gohash._endpoints_port(spoken)}"
    assert f"{gohash.fnv1a_128(text):032x}" == "97c972a859b1b33beb8f874464f02d26"
    target = ObjectReference(kind="Pod", name="x", namespace="default", uid="u")
    addresses = (
        EndpointAddress(ip="10.0.0.1", node_name="http", target_ref=target),
        EndpointAddress(ip="10.0.0.2", hostname="h"),
    )
    subset = EndpointSubset(addresses=addresses, ports=(EndpointPort(name="a", port=80, protocol="TCP"),))
    assert f"{gohash.fnv1a_128(gohash._subset(subset)):032x}" == "b0d22df7021ccd598c75144e87b1b211"


def test_what_people_write_for_a_service_goes_with_it_and_otherwise_stays() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(OWN)
    cluster.settle()
    assert len(cluster.all(Endpoints)) == 1, "nobody asks for a Service"
    cluster.apply(service(selector={}))
    cluster.settle()
    cluster.delete(Key("Service", "default", "web"))
    cluster.settle()
    assert cluster.all(Endpoints) == []


def test_a_pod_on_a_node_that_is_not_there_is_no_endpoint_and_people_are_told() -> None:
    cluster = Harness(CONTROLLERS)
    cluster.apply(service())
    cluster.apply(pod("a"))
    cluster.run_pods(node="lost")
    cluster.settle()
    (piece,) = cluster.all(EndpointSlice)
    assert piece.endpoints == ()
    told = "Error updating Endpoint Slices for Service default/web: skipping Pod a for Service default/web: Node lost"
    assert f"Warning FailedToUpdateEndpointSlices {told} Not Found" in cluster.events
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lost"}})
    cluster.settle()
    assert len(cluster.all(EndpointSlice)[0].endpoints) == 1
