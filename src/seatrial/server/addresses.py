"""The addresses and node ports of Services: given out by the API when a Service is written, each to one Service.

What was given out stays when a write does not say it, and goes with the type it was for. This cluster has one family of
addresses, IPv4; only a headless Service without selector, whose endpoints somebody else writes, may have both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from ipaddress import IPv4Network
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import services
from seatrial.kube.validation.fields import invalid, parsed_address
from seatrial.server import errors
from seatrial.server.errors import Cause
from seatrial.server.store import Store

NODE_PORTS: Final = range(30000, 32768)
_ON_NODES: Final = ("NodePort", "LoadBalancer")
_FAMILIES: Final = ("IPv4", "IPv6")
_ANY: Final = range(-(1 << 31), 1 << 31)
_HEADLESS: Final = ["None"]


def allocate(
    store: Store, network: IPv4Network, raw: JsonObject, before: JsonObject | None, minor: int, *, dry_run: bool = False
) -> JsonObject:
    """A Service with its cluster address and node ports allocated, or kept from before. Raises `StatusError` (422)."""
    spec = dict(raw.get("spec") or {})
    old = (before or {}).get("spec") or {}
    if before is not None:
        _keep(spec, old)
    _agree(spec, old if before is not None else None)
    name = raw["metadata"].get("name") or ""
    if spec.get("type") != "ExternalName":
        _refuse(name, _families(spec, old if before is not None else None, minor))
        if not spec.get("clusterIPs"):
            spec["clusterIPs"] = [_free_address(store, network)]
            spec["clusterIP"] = spec["clusterIPs"][0]
        elif spec["clusterIPs"] != old.get("clusterIPs"):
            _refuse(name, _taken(store, network, spec["clusterIPs"]))
    _give_ports(store, name, spec, old, _ANY if dry_run else NODE_PORTS)
    if before is not None:
        _drop(spec, old)
    raw["spec"] = spec
    raw["status"] = raw.get("status") or {"loadBalancer": {}}
    return raw


def _refuse(name: str, causes: Iterator[Cause]) -> None:
    found = list(causes)
    if found:
        raise errors.invalid("Service", "", name, found)


# --- cluster addresses ---


def _keep(spec: JsonObject, old: JsonObject) -> None:
    """What has been given out and is not said stays."""
    if "ExternalName" not in (spec.get("type"), old.get("type")):
        spec["clusterIP"] = spec.get("clusterIP") or old.get("clusterIP") or ""
        spec["clusterIPs"] = list(spec.get("clusterIPs") or old.get("clusterIPs") or [])
    if _has_node_ports(spec) and _has_node_ports(old):
        both = _node_ports(spec) & _node_ports(old)
        known = {port.get("name") or "": port.get("nodePort") for port in old.get("ports") or ()}
        spec["ports"] = [_with_known_port(port, known, both) for port in spec.get("ports") or ()]
    if _has_health_port(spec) and _has_health_port(old) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old.get("healthCheckNodePort") or 0


def _with_known_port(port: JsonObject, known: Mapping[str, int | None], used: Set[int]) -> JsonObject:
    number = known.get(port.get("name") or "")
    return port if port.get("nodePort") or not number or number in used else {**port, "nodePort": number}


def _agree(spec: JsonObject, old: JsonObject | None) -> None:
    """Old clients know `clusterIP` only; `clusterIPs` follows it where that is what they mean."""
    first, every = spec.get("clusterIP") or "", list(spec.get("clusterIPs") or [])
    if old is None:
        every = every or ([first] if first else [])
    else:
        old_first, had = old.get("clusterIP") or "", list(old.get("clusterIPs") or [])
        if had and not every and first == old_first:
            every = had
        if first != old_first and every == had:
            every = [] if old_first and not first else [first]
    spec["clusterIPs"] = every
    if not every:
        del spec["clusterIPs"]
    if not first:
        spec.pop("clusterIP", None)


def _families(spec: JsonObject, old: JsonObject | None, minor: int) -> Iterator[Cause]:
    """Why the families and addresses that are asked for cannot be; what is not said about them is filled in."""
    if old is not None and _prefers_both_as_before(spec, old):
        return
    free = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        kept = (old or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = kept or ("RequireDualStack" if free else "SingleStack")
    wrong = list(services.address_faults(spec, minor))
    if wrong:
        yield from wrong
        return
    policy = spec["ipFamilyPolicy"]
    addresses, families = list(spec.get("clusterIPs") or []), list(spec.get("ipFamilies") or [])
    refused = False
    if old is not None:
        had, known = list(old.get("clusterIPs") or []), list(old.get("ipFamilies") or [])
        if policy == "SingleStack":
            addresses = addresses[:1] if addresses == had else addresses
            families = families[:1] if families == known else families
        else:
            for now, then, what in ((addresses, had, "cluster IP"), (families, known, "IP family")):
                if now and len(now) < len(then):
                    yield _policy(policy, f"must be 'SingleStack' to release the secondary {what}")
                    refused = True
    if policy == "SingleStack":
        for given, what in ((addresses, "cluster IPs"), (families, "IP families")):
            if len(given) == 2:
                needed = "must be 'RequireDualStack' or 'PreferDualStack'"
                yield _policy(policy, f"{needed} when multiple {what} are specified")
                refused = True
    wrong = list(_inferred(addresses, families))
    yield from wrong
    if wrong or refused:
        return
    if addresses:
        spec["clusterIPs"] = addresses
    spec["ipFamilies"] = families
    if free:
        first = (families or ["IPv4"])[0]
        both = len(families) < 2 and policy != "SingleStack"
        spec["ipFamilies"] = [first, *(each for each in _FAMILIES if each != first)] if both else families or [first]
        return
    if policy == "RequireDualStack":
        yield _policy(policy, "this cluster is not configured for dual-stack services")
    for number, family in enumerate(families):
        if family != "IPv4":
            yield invalid(f"spec.ipFamilies[{number}]", family, "not configured on this cluster")
    spec["ipFamilies"] = families or ["IPv4"]


def _inferred(addresses: list[str], families: list[str]) -> Iterator[Cause]:
    """Families that only the addresses tell are appended."""
    for number, address in enumerate(addresses):
        if address == "None":
            return
        if number >= len(families):
            found = parsed_address(address)
            family = "IPv6" if found is not None and found.version == 6 else "IPv4"
            if family == "IPv4":
                families.append(family)
            else:
                yield invalid(f"spec.clusterIPs[{number}]", addresses, f"{family} is not configured on this cluster")


def _policy(policy: str, why: str) -> Cause:
    return invalid("spec.ipFamilyPolicy", policy, why)


def _prefers_both_as_before(spec: JsonObject, old: JsonObject) -> bool:
    fields = ("type", "ipFamilyPolicy", "clusterIPs", "ipFamilies")
    return spec.get("ipFamilyPolicy") == "PreferDualStack" and all(spec.get(each) == old.get(each) for each in fields)


def _taken(store: Store, network: IPv4Network, addresses: list[str]) -> Iterator[Cause]:
    if addresses == _HEADLESS:
        return
    used = {stored.raw["spec"].get("clusterIP") for stored in store.all("/services").values()}
    for address in addresses:
        why = None
        if parsed_address(address) not in network:
            why = "the provided network does not match the current range"
        elif parsed_address(address) in (network[0], network[-1]):
            why = f"provided IP ({address}) is not in the service network {network}"
        elif address in used:
            why = "provided IP is already allocated"
        if why is not None:
            yield invalid("spec.clusterIPs", addresses, f"failed to allocate IP {address}: {why}")


def _free_address(store: Store, network: IPv4Network) -> str:
    used = {stored.raw["spec"].get("clusterIP") for stored in store.all("/services").values()}
    # The first 16 are kept for addresses chosen by hand (kubernetes .1, DNS .10), as upstream's static band.
    for offset in range(17, network.num_addresses - 1):
        address = str(network[offset])
        if address not in used:
            return address
    raise errors.failure(500, "InternalError", f"no free address is left in {network} for a Service")


# --- ports of nodes ---


def _give_ports(store: Store, name: str, spec: JsonObject, old: JsonObject, valid: range) -> None:
    """Node ports for a Service that has them, and one for its health. Raises `StatusError` (422, 500).

    Those that are asked for have to be `valid`: a dry run does not look at the range, as upstream's does not.
    """
    taken = _all_node_ports(store) - _node_ports(old) - {old.get("healthCheckNodePort")}
    if spec.get("type") in _ON_NODES:
        ports: list[JsonObject] = []
        given: dict[int, int] = {}
        for number, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort") or 0
            if not wanted and spec.get("allocateLoadBalancerNodePorts") is False:
                ports.append(port)
                continue
            if not old and not wanted:
                wanted = given.get(port.get("port") or 0, 0) or _asked(spec, port.get("port"))
            mine = wanted in given.values() or wanted in _node_ports(old)
            if wanted and not mine and (wanted in taken or wanted not in valid):
                why = "provided port is already allocated" if wanted in taken else _OUT_OF_RANGE
                _refuse(name, iter([invalid(f"spec.ports[{number}].nodePort", wanted, why)]))
            wanted = wanted or next(free for free in NODE_PORTS if free not in taken | _node_ports(spec))
            given.setdefault(port.get("port") or 0, wanted)
            taken.add(wanted)
            ports.append({**port, "nodePort": wanted})
        spec["ports"] = ports
    if _has_health_port(spec) and not _has_health_port(old):
        asked = spec.get("healthCheckNodePort") or 0
        if asked in taken or (asked and asked not in valid):
            why = "provided port is already allocated" if asked in taken else _OUT_OF_RANGE
            said = f"failed to allocate requested HealthCheck NodePort {asked}: {why}"
            raise errors.failure(500, "InternalError", f"Internal error occurred: {said}")
        spec["healthCheckNodePort"] = asked or next(free for free in NODE_PORTS if free not in taken)


_OUT_OF_RANGE: Final = (
    f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
)


def _asked(spec: JsonObject, port: int | None) -> int:
    """The node port that a later port of the same number, of another protocol, asks for."""
    return next((each["nodePort"] for each in spec["ports"] if each.get("port") == port and each.get("nodePort")), 0)


def _all_node_ports(store: Store) -> set[int | None]:
    specs = [stored.raw["spec"] for stored in store.all("/services").values()]
    return {number for spec in specs for number in (*_node_ports(spec), spec.get("healthCheckNodePort"))} - {None}


def _node_ports(spec: JsonObject) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _has_node_ports(spec: JsonObject) -> bool:
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def _has_health_port(spec: JsonObject) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


# --- what goes with the type ---


def _drop(spec: JsonObject, old: JsonObject) -> None:
    """What only a Service of the type before had goes with the type, if nobody has touched it."""
    kind, was = spec.get("type"), old.get("type")
    if kind == "ExternalName" and was != kind:
        if all((spec.get(field) or None) == (old.get(field) or None) for field in ("clusterIP", "clusterIPs")):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        _forget(spec, old, "ipFamilies", "ipFamilyPolicy")
    if _has_node_ports(old) and not _has_node_ports(spec):
        numbers = [port.get("nodePort") or 0 for port in spec.get("ports") or ()]
        if numbers == [port.get("nodePort") or 0 for port in old.get("ports") or ()]:
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or ()]
    if _has_health_port(old) and not _has_health_port(spec):
        _forget(spec, old, "healthCheckNodePort")
    if was == "LoadBalancer" != kind:
        _forget(spec, old, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if _reached_from_outside(old) and not _reached_from_outside(spec):
        _forget(spec, old, "externalTrafficPolicy")


def _forget(spec: JsonObject, old: JsonObject, *fields: str) -> None:
    for field in fields:
        if spec.get(field) == old.get(field):
            spec.pop(field, None)


def _reached_from_outside(spec: JsonObject) -> bool:
    kind = spec.get("type")
    return kind in _ON_NODES or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
