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
    _check_families(raw, before)
    _drop(spec, old)
    if spec.get("type") == "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)
    else:
        address = spec.get("clusterIP") or old.get("clusterIP") or _free_address(store, network)
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        # Whoever writes the endpoints of a headless Service without selector may do it for every family.
        dual = address == "None" and not spec.get("selector") and before is None
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if dual else ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if dual else "SingleStack")
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


_ON_NODES = ("NodePort", "LoadBalancer")


def _drop(spec: JsonObject, old: JsonObject) -> None:
    """What only a Service of the type before had goes with the type, if nobody has touched it."""
    if not old or spec.get("type") == old.get("type"):
        return
    if old.get("type") in _ON_NODES and spec.get("type") not in _ON_NODES:
        if spec.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
        known = [port.get("nodePort") for port in old.get("ports") or ()]
        if [port.get("nodePort") for port in spec.get("ports") or ()] == known:
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or ()]
    if old.get("type") == "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == old.get(field):
                spec.pop(field, None)


def _check_families(raw: JsonObject, before: JsonObject | None) -> None:
    """A headless Service without selector may have both families; no other can, since this cluster has only IPv4."""
    spec = raw.get("spec") or {}
    if before is None or not spec.get("selector") or (before.get("spec") or {}).get("selector"):
        return
    if spec.get("ipFamilyPolicy") == "RequireDualStack":
        name = raw["metadata"]["name"]
        no_policy = 'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'
        causes = [Cause("FieldValueInvalid", "spec.ipFamilyPolicy", no_policy)]
        for position, family in enumerate(spec.get("ipFamilies") or ()):
            if family == "IPv6":
                why = 'Invalid value: "IPv6": not configured on this cluster'
                causes.append(Cause("FieldValueInvalid", f"spec.ipFamilies[{position}]", why))
        raise errors.invalid("Service", "", name, causes)


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
