"""The Endpoints controllers: the older form of what EndpointSlices say, and slices for Endpoints that people write.

`CONTROLLER` keeps the Endpoints of every Service with a selector; `MIRRORING` copies the Endpoints of Services without
one into EndpointSlices, which is what routes traffic; `CLEANING` removes Endpoints whose Service goes, and
`MIRRORS_CLEANING` mirrored slices that have lost their Endpoints. What people change in the Endpoints of a Service with
a selector stays, as upstream, until something else has to be written.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.endpointslice import HEADLESS, MANAGED_BY, SERVICE_NAME, pod_news, pod_view, port_number
from seatrial.control.gohash import endpoints_ports, endpoints_subsets, slice_ports
from seatrial.control.ownership import controller_reference, is_ready
from seatrial.control.triggers import LAST_CHANGE, Triggers, annotated, triggered
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, Write, target
from seatrial.kube.objects import Endpoint, Endpoints, EndpointSlice, Object, ObjectMeta, Pod, Service
from seatrial.kube.objects.services import (
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    EndpointSubset,
    ObjectReference,
)

MANAGED_ENDPOINTS: Final = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_CONTROLLER: Final = "endpoint-controller"
OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
SKIP_MIRROR: Final = "endpointslice.kubernetes.io/skip-mirror"
MIRRORING_LABEL: Final = "endpointslicemirroring-controller.k8s.io"
CAPACITY: Final = 1000
"""Addresses in one Endpoints object; also addresses that are mirrored for one subset."""
_LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
_NOT_MIRRORED: Final = frozenset({LAST_CHANGE, "kubectl.kubernetes.io/last-applied-configuration"})
_NO_PORT: Final = EndpointPort(port=-1)

Ports = tuple[EndpointPort, ...]
Readiness = dict[EndpointAddress, bool]


def reconcile(seen: Seen) -> Decision:
    service = seen.subject
    assert isinstance(service, Service)
    before = seen.memory if isinstance(seen.memory, Triggers) else None
    if not service.spec.selector or service.spec.type == "ExternalName":
        return Decision(memory=before)
    if seen.refused:
        return Decision((_refused(service, seen.refused[0]),), memory=before)
    pods = seen.all(Pod)
    trigger, triggers = triggered(service, pods, before)
    all_subsets = repacked(_offers(service, pods))
    current = next(iter(seen.all(Endpoints)), None)
    if current is not None and _is_right(current, service, all_subsets):
        return Decision(memory=triggers)
    subsets, over = _truncated(all_subsets)
    labels = {**service.metadata.labels, MANAGED_ENDPOINTS: ENDPOINTS_CONTROLLER}
    labels.pop(HEADLESS, None)
    if service.spec.cluster_ip in ("", "None"):
        labels[HEADLESS] = ""
    meta = (
        ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace)
        if current is None
        else current.metadata
    )
    annotations = annotated(meta.annotations, trigger)
    annotations.pop(OVER_CAPACITY, None)
    if over:
        annotations[OVER_CAPACITY] = "truncated"
    meta = replace(meta, labels=labels, annotations=annotations)
    if current is None:
        return Decision((Create(Endpoints(metadata=meta, subsets=subsets)),), memory=triggers)
    after = replace(current, metadata=meta, subsets=subsets)
    return Decision((Update(current, after),) if after != current else (), memory=triggers)


def _is_right(current: Endpoints, service: Service, subsets: tuple[EndpointSubset, ...]) -> bool:
    """Whether there is nothing to write; what people changed is found when something else has to be written."""
    labels = {key: value for key, value in current.metadata.labels.items() if key not in (HEADLESS, MANAGED_ENDPOINTS)}
    return (
        (current.subsets == subsets or repacked(_offered(current)) == subsets)
        and current.metadata.labels.get(MANAGED_ENDPOINTS) == ENDPOINTS_CONTROLLER
        and labels == service.metadata.labels
        and OVER_CAPACITY not in current.metadata.annotations
        and _count(current.subsets) <= CAPACITY
    )


def _count(subsets: tuple[EndpointSubset, ...]) -> int:
    return sum(len(subset.addresses) + len(subset.not_ready_addresses) for subset in subsets)


def _refused(service: Service, refused: Refusal) -> RecordEvent:
    place = f"{service.metadata.namespace}/{service.metadata.name}"
    about = refused.write.object if isinstance(refused.write, Create) else target(refused.write)
    if isinstance(refused.write, Create):
        reason, message = "FailedToCreateEndpoint", f"Failed to create endpoint for service {place}: {refused.message}"
    else:
        reason, message = "FailedToUpdateEndpoint", f"Failed to update endpoint {place}: {refused.message}"
    return RecordEvent(about, "Warning", reason, message)


def repacked(offers: Iterable[tuple[EndpointPort, EndpointAddress, bool]]) -> tuple[EndpointSubset, ...]:
    """Ports with the same addresses share a subset; an address that is once not ready for a port is not ready."""
    by_port: dict[EndpointPort, Readiness] = {}
    first: dict[tuple[str, str], EndpointAddress] = {}
    for port, offered, ready in offers:
        address = first.setdefault(_place(offered), offered)
        addresses = by_port.setdefault(port, {})
        addresses[address] = ready and addresses.get(address, True)
    grouped: dict[frozenset[tuple[EndpointAddress, bool]], list[EndpointPort]] = {}
    for port, addresses in by_port.items():
        ports = grouped.setdefault(frozenset(addresses.items()), [])
        if port != _NO_PORT:
            ports.append(port)
    subsets = [
        EndpointSubset(
            addresses=tuple(sorted((address for address, ready in readiness if ready), key=_place)),
            not_ready_addresses=tuple(sorted((address for address, ready in readiness if not ready), key=_place)),
            ports=endpoints_ports(ports),
        )
        for readiness, ports in grouped.items()
    ]
    return endpoints_subsets(subsets)


def _offered(endpoints: Endpoints) -> Iterable[tuple[EndpointPort, EndpointAddress, bool]]:
    """The ports and addresses of subsets, each with each."""
    for subset in endpoints.subsets:
        for port in subset.ports or (_NO_PORT,):
            for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
                for address in addresses:
                    yield port, address, ready


def _offers(service: Service, pods: Iterable[Pod]) -> Iterable[tuple[EndpointPort, EndpointAddress, bool]]:
    all_pods = service.spec.publish_not_ready_addresses
    for pod in pods:
        address = _address(service, pod)
        if address is None or (pod.metadata.deletion_timestamp is not None and not all_pods):
            continue
        ready = all_pods or is_ready(pod)
        if not service.spec.ports and service.spec.cluster_ip == "None":
            yield _NO_PORT, address, ready
        for port in service.spec.ports:
            number = port_number(port, pod)
            if number is not None:
                protocol = port.protocol or "TCP"
                offered = EndpointPort(name=port.name, port=number, protocol=protocol, app_protocol=port.app_protocol)
                yield offered, address, ready


def _address(service: Service, pod: Pod) -> EndpointAddress | None:
    family = next(iter(service.spec.ip_families), "IPv4")
    all_addresses = [ip.ip for ip in pod.status.pod_ips] or [pod.status.pod_ip]
    fitting = [ip for ip in all_addresses if ip and (":" in ip) == (family == "IPv6")]
    if pod.status.phase in {"Succeeded", "Failed"} or not fitting:
        return None
    meta = pod.metadata
    return EndpointAddress(
        ip=fitting[0],
        hostname=pod.spec.hostname if pod.spec.subdomain == service.metadata.name else "",
        node_name=pod.spec.node_name or None,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
    )


def _place(address: EndpointAddress) -> tuple[str, str]:
    return address.ip, address.target_ref.uid if address.target_ref is not None else ""


def _truncated(subsets: tuple[EndpointSubset, ...]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most `CAPACITY` addresses, ready ones first, each subset keeping its share; whether some were left out."""
    ready = sum(len(subset.addresses) for subset in subsets)
    not_ready = sum(len(subset.not_ready_addresses) for subset in subsets)
    if ready + not_ready <= CAPACITY:
        return subsets, False
    cut_ready = ready > CAPACITY
    share = CAPACITY if cut_ready else CAPACITY - ready
    left, total, kept = share, ready if cut_ready else not_ready, []
    for subset in subsets:
        addresses = subset.addresses if cut_ready else subset.not_ready_addresses
        count = min(left, math.ceil(len(addresses) / total * share))
        left -= min(count, len(addresses))
        if cut_ready:
            kept.append(replace(subset, addresses=addresses[:count], not_ready_addresses=()))
        else:
            kept.append(replace(subset, not_ready_addresses=addresses[:count]))
    return tuple(kept), True


def _clean(seen: Seen) -> Decision:
    endpoints = seen.subject
    assert isinstance(endpoints, Endpoints)
    if seen.all(Service):
        return Decision(memory=True)
    ours = endpoints.metadata.labels.get(MANAGED_ENDPOINTS) == ENDPOINTS_CONTROLLER
    if not (ours or seen.memory) or endpoints.metadata.deletion_timestamp is not None:
        return Decision()
    return Decision((Delete(endpoints),), memory=True)


def _clean_mirror(seen: Seen) -> Decision:
    piece = seen.subject
    name = piece.metadata.labels.get(SERVICE_NAME, "")
    if not name or any(each.metadata.name == name for each in seen.all(Endpoints)):
        return Decision()
    return Decision((Delete(piece),))


def _is_mirror(piece: Object) -> bool:
    return piece.metadata.labels.get(MANAGED_BY) == MIRRORING_LABEL


def mirror(seen: Seen) -> Decision:
    endpoints = seen.subject
    assert isinstance(endpoints, Endpoints)
    existing = [each for each in seen.all(EndpointSlice) if each.metadata.labels.get(MANAGED_BY) == MIRRORING_LABEL]
    meta = endpoints.metadata
    service = next(iter(seen.all(Service)), None)
    if (
        meta.labels.get(SKIP_MIRROR) == "true"
        or _LEADER in meta.annotations
        or service is None
        or service.spec.selector
        or meta.deletion_timestamp is not None
    ):
        return Decision(tuple(Delete(each) for each in existing))
    wanted, told = _mirrored(endpoints)
    writes: list[Write] = []
    spare: list[EndpointSlice] = []
    kept: dict[tuple[str, Ports], EndpointSlice] = {}
    for each in existing:
        place = each.address_type, slice_ports(list(each.ports))
        if place in wanted and place not in kept:
            kept[place] = each
        else:
            spare.append(each)
    for place, content in wanted.items():
        before = kept.get(place) or next((each for each in spare if each.address_type == place[0]), None)
        if before in spare:
            spare.remove(before)
        if before is None:
            writes.append(Create(_mirror_slice(endpoints, place, content, ObjectMeta(generate_name=f"{meta.name}-"))))
            continue
        after = _mirror_slice(endpoints, place, content, before.metadata)
        if replace(after, endpoints=()) != replace(before, endpoints=()) or not _alike(content, before.endpoints):
            writes.append(Update(before, after))
    writes += (Delete(each) for each in spare)
    seen_now = (meta.resource_version, service.metadata.uid)
    return Decision((*told, *writes) if writes or seen.memory != seen_now else (), memory=seen_now)


def _alike(one: tuple[Endpoint, ...], other: tuple[Endpoint, ...]) -> bool:
    """The same endpoints, in whatever order."""
    return len(one) == len(other) and all(endpoint in other for endpoint in one)


def _mirrored(endpoints: Endpoints) -> tuple[dict[tuple[str, Ports], tuple[Endpoint, ...]], list[Write]]:
    """The endpoints by address family and ports, and what people are told of addresses left out."""
    wanted: dict[tuple[str, Ports], list[Endpoint]] = {}
    invalid = beyond = 0
    for subset in repacked(_offered(endpoints)):
        count = 0
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                if count >= CAPACITY:
                    beyond += 1
                    continue
                try:
                    ip = ipaddress.ip_address(address.ip)
                except ValueError:
                    invalid += 1
                    continue
                count += 1
                wanted.setdefault((f"IPv{ip.version}", slice_ports(list(subset.ports))), []).append(
                    Endpoint(
                        addresses=(str(ip),),
                        conditions=EndpointConditions(ready=ready),
                        hostname=address.hostname,
                        node_name=address.node_name or "",
                        target_ref=address.target_ref,
                    )
                )
    told: list[Write] = []
    if invalid:
        message = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
        told.append(RecordEvent(endpoints, "Warning", "InvalidIPAddress", message))
    if beyond:
        message = (
            f"A max of {CAPACITY} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            f"{invalid + beyond} addresses were skipped"
        )
        told.append(RecordEvent(endpoints, "Warning", "TooManyAddressesToMirror", message))
    return {place: tuple(content) for place, content in wanted.items()}, told


def _mirror_slice(
    endpoints: Endpoints, place: tuple[str, Ports], content: tuple[Endpoint, ...], meta: ObjectMeta
) -> EndpointSlice:
    labels = {**endpoints.metadata.labels, SERVICE_NAME: endpoints.metadata.name, MANAGED_BY: MIRRORING_LABEL}
    annotations: Mapping[str, str] = {
        key: value for key, value in endpoints.metadata.annotations.items() if key not in _NOT_MIRRORED
    }
    return EndpointSlice(
        metadata=replace(
            meta,
            generate_name=meta.generate_name if not meta.name else "",  # upstream takes it away with the first change
            namespace=endpoints.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(controller_reference(endpoints),),
        ),
        address_type=place[0],
        ports=place[1],
        endpoints=content,
    )


def _name_only(obj: Object) -> Object:
    meta = ObjectMeta(name=obj.metadata.name, namespace=obj.metadata.namespace)
    return type(obj)(metadata=meta)


CONTROLLER: Final = Controller(
    name="endpoint-controller",
    actor="Endpoints controller",
    subject=Service,
    reads=(
        Read(Pod, Relation.SELECTED, view=pod_view, wakes=False),
        Read(Pod, Relation.SELECTED, view=pod_news),
        Read(Endpoints, Relation.NAMESAKE, wakes=False),
        Read(Endpoints, Relation.NAMESAKE, view=_name_only, appears=False),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)

CLEANING: Final = Controller(
    name="endpoint-controller",
    actor="Endpoints controller",
    subject=Endpoints,
    reads=(Read(Service, Relation.NAMESAKE, view=_name_only),),
    reconcile=_clean,
)

MIRRORING: Final = Controller(
    name="endpoint-slice-mirroring-controller",
    actor="EndpointSlice mirroring controller",
    subject=Endpoints,
    reads=(
        Read(Service, Relation.NAMESAKE),
        Read(EndpointSlice, Relation.LABELLED, label=SERVICE_NAME),
    ),
    reconcile=mirror,
)

MIRRORS_CLEANING: Final = Controller(
    name="endpoint-slice-mirroring-controller",
    actor="EndpointSlice mirroring controller",
    subject=EndpointSlice,
    reads=(Read(Endpoints, Relation.NEIGHBOUR, view=_name_only),),
    reconcile=_clean_mirror,
    concerned=_is_mirror,
)
