"""Upstream's order of the ports of a Service: by a hash of how Go prints them.

The controllers of EndpointSlices and Endpoints sort ports, and the subsets of Endpoints, by the FNV-1a hash (128 bits)
of the object as go-spew prints it with its types. It means nothing, but people see that order.
"""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects.services import EndpointAddress, EndpointPort, EndpointSubset, ObjectReference

_OFFSET: Final = 0x6C62272E07BB014262B821756295C58D
_PRIME: Final = 0x0000000001000000000000000000013B
_MASK: Final = (1 << 128) - 1


def fnv1a_128(text: str) -> int:
    """http://www.isthe.com/chongo/tech/comp/fnv/"""
    value = _OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def slice_ports(ports: list[EndpointPort]) -> tuple[EndpointPort, ...]:
    """Ports in the order in which an EndpointSlice has them."""
    return tuple(sorted(ports, key=lambda port: fnv1a_128(_slice_port(port)))) if len(ports) > 1 else tuple(ports)


def endpoints_ports(ports: list[EndpointPort]) -> tuple[EndpointPort, ...]:
    """Ports in the order in which a subset of Endpoints has them."""
    if len(ports) < 2:
        return tuple(ports)
    return tuple(sorted(ports, key=lambda port: fnv1a_128(f"(v1.EndpointPort){_endpoints_port(port)}")))


def endpoints_subsets(subsets: list[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """Subsets in the order in which Endpoints have them."""
    if len(subsets) < 2:
        return tuple(subsets)
    return tuple(sorted(subsets, key=lambda subset: fnv1a_128(_subset(subset))))


def _slice_port(port: EndpointPort) -> str:
    """All of its fields are pointers."""
    number = f"(*int32){port.port}"
    return (
        f"(v1.EndpointPort){{Name:(*string){port.name} Protocol:(*v1.Protocol){port.protocol} Port:{number} "
        f"AppProtocol:{_pointer(port.app_protocol)}}}"
    )


def _endpoints_port(port: EndpointPort) -> str:
    return (
        f"{{Name:(string){port.name} Port:(int32){port.port} Protocol:(v1.Protocol){port.protocol} "
        f"AppProtocol:{_pointer(port.app_protocol)}}}"
    )


def _pointer(text: str | None) -> str:
    return f"(*string){text or '<nil>'}"


def _subset(subset: EndpointSubset) -> str:
    ports = f"[{' '.join(map(_endpoints_port, subset.ports))}]" if subset.ports else "<nil>"
    return (
        f"(v1.EndpointSubset){{Addresses:{_addresses(subset.addresses)} "
        f"NotReadyAddresses:{_addresses(subset.not_ready_addresses)} Ports:([]v1.EndpointPort){ports}}}"
    )


def _addresses(addresses: tuple[EndpointAddress, ...]) -> str:
    return f"([]v1.EndpointAddress){'[' + ' '.join(map(_address, addresses)) + ']' if addresses else '<nil>'}"


def _address(address: EndpointAddress) -> str:
    node = "<nil>" if address.node_name is None else address.node_name
    return (
        f"{{IP:(string){address.ip} Hostname:(string){address.hostname} NodeName:(*string){node} "
        f"TargetRef:(*v1.ObjectReference){_reference(address.target_ref)}}}"
    )


def _reference(target: ObjectReference | None) -> str:
    if target is None:
        return "<nil>"
    return (
        f"{{Kind:(string){target.kind} Namespace:(string){target.namespace} Name:(string){target.name} "
        f"UID:(types.UID){target.uid} APIVersion:(string){target.api_version} "
        f"ResourceVersion:(string){target.resource_version} FieldPath:(string){target.field_path}}}"
    )
