"""The addresses and node ports of Services: given out by the API when a Service is written, each to one Service."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from seatrial.kube.objects import JsonObject
from seatrial.server import errors
from seatrial.server.errors import Cause
from seatrial.server.store import Store

NODE_PORTS = range(30000, 32768)


def allocate(store: Store, network: IPv4Network, raw: JsonObject, before: JsonObject | None) -> JsonObject:
    """A Service with its cluster address and node ports allocated, or kept from before."""
    spec = dict(raw.get("spec") or {})
    old = (before or {}).get("spec") or {}
    if spec.get("type") == "ExternalName":
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
    else:
        address = spec.get("clusterIP") or old.get("clusterIP") or _free_address(store, network)
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        known = {(item.get("name", ""), item["port"]): item.get("nodePort") for item in old.get("ports") or ()}
        mine = set(known.values())
        taken = {
            port.get("nodePort")
            for stored in store.all("/services").values()
            for port in stored.raw["spec"].get("ports") or ()
        } - mine
        ports = []
        for port in spec.get("ports") or ():
            number = port.get("nodePort") or known.get((port.get("name", ""), port["port"]))
            number = number or next(free for free in NODE_PORTS if free not in taken | mine)
            if number in taken:
                cause = Cause(
                    "FieldValueInvalid",
                    "spec.ports[0].nodePort",
                    f"Invalid value: {number}: provided port is already allocated",
                )
                raise errors.invalid("Service", "", raw["metadata"]["name"], [cause])
            taken.add(number)
            ports.append({**port, "nodePort": number})
        spec["ports"] = ports
    raw["spec"] = spec
    raw["status"] = raw.get("status") or {"loadBalancer": {}}
    return raw


def causes(store: Store, raw: JsonObject) -> Iterator[Cause]:
    """Why the address that a new Service asks for cannot be its."""
    address = raw["spec"].get("clusterIP")
    if not address or address == "None":
        return
    if any(stored.raw["spec"].get("clusterIP") == address for stored in store.all("/services").values()):
        message = f'Invalid value: "{address}": failed to allocate IP {address}: provided IP is already allocated'
        yield Cause("FieldValueInvalid", "spec.clusterIPs", message)


def _free_address(store: Store, network: IPv4Network) -> str:
    used = {stored.raw["spec"].get("clusterIP") for stored in store.all("/services").values()}
    # The first 16 are kept for addresses chosen by hand (kubernetes .1, DNS .10), as upstream's static band.
    for offset in range(17, network.num_addresses - 1):
        address = str(network[offset])
        if address not in used:
            return address
    raise errors.failure(500, "InternalError", f"no free address is left in {network} for a Service")
