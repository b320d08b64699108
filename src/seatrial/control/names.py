"""What the cluster's names lead to: the answers of its DNS, before they are put into a packet.

Rules are those of the Kubernetes DNS specification 1.1.0 (https://github.com/kubernetes/dns): `<svc>.<ns>.svc.<domain>`
has the cluster IP, or for a headless Service the address of each ready endpoint (of every one, if the Service publishes
those that are not ready); `<pod>.<svc>...` that of one pod of a headless Service;
`_port._proto.<svc>...` has SRV records.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

from seatrial.control.reach import SERVICE_NAME_LABEL, is_ready
from seatrial.kube.objects import Endpoint, EndpointSlice, Object, Service

DOMAIN: Final = "cluster.local"
Record = str | tuple[int, str, str]
"""An address, `alias.`, or (port, target, address)."""
K = TypeVar("K", bound=Object)


class Objects(Protocol):
    """The cluster's objects, as far as names depend on them."""

    def get(self, kind: type[K], namespace: str, name: str) -> K | None: ...

    def all(self, kind: type[K]) -> Iterable[K]: ...


def find(name: str, objects: Objects, domain: str = DOMAIN) -> Sequence[Record] | None:
    """The records of a name in the zone `domain`; empty if it exists without any, None if there is no such name."""
    labels = name[: -len(domain) - 1].split(".") if name != domain else []
    if labels in ([], ["svc"], ["pod"]) or labels == ["dns-version"]:
        return ()
    if labels[-1] == "pod":
        if len(labels) != 3:
            return None
        try:
            return (str(ipaddress.ip_address(labels[0].replace("-", "."))),)
        except ValueError:
            return None
    if labels[-1] != "svc" or len(labels) < 2:
        return None
    namespace = labels[-2]
    if len(labels) == 2:
        return () if any(each.metadata.namespace == namespace for each in objects.all(Service)) else None
    service = objects.get(Service, namespace, labels[-3])
    if service is None:
        return None
    return _of_service(objects, service, labels[:-3], ".".join((*labels[-3:], domain)))


def _of_service(objects: Objects, service: Service, inner: list[str], own_name: str) -> Sequence[Record] | None:
    spec = service.spec
    if spec.type == "ExternalName":
        return (spec.external_name.rstrip(".") + ".",) if not inner else None
    headless = spec.cluster_ip == "None"
    endpoints = _endpoints(objects, service) if headless else []
    if not inner:
        if not headless:
            return (spec.cluster_ip,) if spec.cluster_ip else ()
        return tuple(dict.fromkeys(address for endpoint, _ in endpoints for address in endpoint.addresses))
    if len(inner) == 2 and inner[0].startswith("_") and inner[1] in ("_tcp", "_udp", "_sctp"):
        port_name, protocol = inner[0][1:], inner[1][1:].upper()
        if not headless:
            ports = [port for port in spec.ports if port.name == port_name and (port.protocol or "TCP") == protocol]
            return [(port.port, own_name, spec.cluster_ip) for port in ports] or None
        return [
            (port.port, f"{_host_label(endpoint)}.{own_name}", endpoint.addresses[0])
            for endpoint, piece in endpoints
            for port in piece.ports
            if port.name == port_name and (port.protocol or "TCP") == protocol and endpoint.addresses
        ] or None
    if len(inner) == 1 and headless:
        return [
            address for endpoint, _ in endpoints if _host_label(endpoint) == inner[0] for address in endpoint.addresses
        ] or None
    return None


def _slices(objects: Objects, service: Service) -> Iterable[EndpointSlice]:
    return (
        piece
        for piece in objects.all(EndpointSlice)
        if piece.metadata.namespace == service.metadata.namespace
        and piece.metadata.labels.get(SERVICE_NAME_LABEL) == service.metadata.name
    )


def _endpoints(objects: Objects, service: Service) -> list[tuple[Endpoint, EndpointSlice]]:
    everyone = service.spec.publish_not_ready_addresses
    return [
        (endpoint, piece)
        for piece in _slices(objects, service)
        for endpoint in piece.endpoints
        if everyone or is_ready(endpoint)
    ]


def _host_label(endpoint: Endpoint) -> str:
    return endpoint.hostname or endpoint.addresses[0].replace(".", "-").replace(":", "-")
