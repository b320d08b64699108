"""Services, and the Endpoints and EndpointSlices behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    address,
    canonical_address,
    chosen,
    domain,
    duplicate,
    forbidden,
    invalid,
    items,
    label_1035,
    label_name,
    label_value,
    labels,
    network,
    one_of,
    parsed_address,
    part,
    port,
    port_or_name,
    qualified_name,
    required,
    subdomain,
    too_many,
    unchanged,
)
from seatrial.kube.validation.kinds import Rules

RELAXED_NAMES_SINCE: Final = 36
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MORE_DISTRIBUTIONS_SINCE: Final = 34
_FAMILIES: Final = ("IPv4", "IPv6")
_FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_LONGEST_AFFINITY_S: Final = 86400
_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCER: Final = "may only be used when `type` is 'LoadBalancer'"
_MODE: Final = "service.kubernetes.io/topology-mode"
_HINTS: Final = "service.kubernetes.io/topology-aware-hints"


def service_name(path: str, name: str, minor: int) -> Faults:
    return label_name(path, name) if minor >= RELAXED_NAMES_SINCE else label_1035(path, name)


def _service(raw: JsonObject, minor: int) -> Faults:
    spec, told = part(raw, "spec"), part(part(raw, "metadata"), "annotations")
    kind, addresses = spec.get("type") or "", _addresses(spec)
    headless = addresses == ["None"]
    if _MODE in told and _HINTS in told and told[_MODE] != told[_HINTS]:
        why = f"must match annotations[{_HINTS}] when both are specified"
        yield invalid(f"metadata.annotations[{_MODE}]", told[_MODE], why)
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    if kind in ("LoadBalancer", "NodePort") and headless:
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    elif kind == "ExternalName":
        yield from _external_name(spec, addresses)
    yield from _ports(spec)
    yield from labels("spec.selector", part(spec, "selector"))
    yield from _affinity(spec)
    if kind != "ExternalName":
        yield from address_faults(spec, minor)
    for number, text in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{number}]"
        faults = list(address(at, text or "", minor))
        yield from faults or endpoint_address(at, text or "")
    yield from chosen("spec.type", kind, _TYPES)
    yield from _port_pairs(spec, kind)
    yield from _source_ranges(spec, kind, told, minor)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        yield forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER)
    balancer = spec.get("loadBalancerClass")
    if balancer is not None and kind == "LoadBalancer":
        yield from qualified_name("spec.loadBalancerClass", balancer)
    elif balancer is not None:
        yield forbidden("spec.loadBalancerClass", _ONLY_BALANCER)
    yield from _traffic(spec, kind, minor)


def _addresses(spec: JsonObject) -> list[str]:
    """As `clusterIPs` and `clusterIP` are made to agree before anything is looked at."""
    return list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))


def _external_name(spec: JsonObject, addresses: list[str]) -> Faults:
    why = "may not be set for ExternalName services"
    if addresses:
        yield forbidden("spec.clusterIPs", why)
    if spec.get("ipFamilies"):
        yield forbidden("spec.ipFamilies", why)
    if spec.get("ipFamilyPolicy") is not None:
        yield forbidden("spec.ipFamilyPolicy", why)
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        yield from subdomain("spec.externalName", name)
    else:
        yield required("spec.externalName")


def _ports(spec: JsonObject) -> Faults:
    names: set[str] = set()
    many = len(spec.get("ports") or ()) > 1
    for at, each in items("spec.ports", spec, "ports"):
        name = each.get("name") or ""
        if name:
            yield from label_name(f"{at}.name", name)
            if name in names:
                yield duplicate(f"{at}.name", name)
            names.add(name)
        elif many:
            yield required(f"{at}.name")
        yield from port(f"{at}.port", each.get("port") or 0)
        yield from chosen(f"{at}.protocol", each.get("protocol"), _PROTOCOLS)
        target = each.get("targetPort")
        yield from port_or_name(f"{at}.targetPort", (each.get("port") or 0) if target in (None, 0, "") else target)
        if each.get("appProtocol") is not None:
            yield from qualified_name(f"{at}.appProtocol", each["appProtocol"])


def _port_pairs(spec: JsonObject, kind: str) -> Faults:
    if kind in ("ClusterIP", "ExternalName"):
        for at, each in items("spec.ports", spec, "ports"):
            if each.get("nodePort") and kind == "ClusterIP":
                yield forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
    on_nodes: set[tuple[str, int]] = set()
    inside: set[tuple[str, int]] = set()
    for at, each in items("spec.ports", spec, "ports"):
        protocol, number = each.get("protocol") or "", each.get("nodePort") or 0
        if number and (protocol, number) in on_nodes:
            yield duplicate(f"{at}.nodePort", number)
        on_nodes.add((protocol, number))
    for at, each in items("spec.ports", spec, "ports"):
        key = (each.get("protocol") or "", each.get("port") or 0)
        if key in inside:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            yield duplicate(at, shown)
        inside.add(key)


def _affinity(spec: JsonObject) -> Faults:
    kind, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    yield from chosen("spec.sessionAffinity", kind, ("ClientIP", "None"))
    if kind == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    if kind != "ClientIP":
        return
    at, why = "spec.sessionAffinityConfig", "when session affinity type is ClientIP"
    seconds = part(config or {}, "clientIP").get("timeoutSeconds")
    if config is None:
        yield required(at, why)
    elif config.get("clientIP") is None:
        yield required(f"{at}.clientIP", why)
    elif seconds is None:
        yield required(f"{at}.clientIP.timeoutSeconds", why)
    elif not 0 < seconds <= _LONGEST_AFFINITY_S:
        rule = f"must be greater than 0 and less than {_LONGEST_AFFINITY_S}"
        yield invalid(f"{at}.clientIP.timeoutSeconds", seconds, rule)


def address_faults(spec: JsonObject, minor: int) -> Faults:
    """Of the addresses and families of a Service that has them; the server asks before it gives any out."""
    first, addresses, at = spec.get("clusterIP") or "", _addresses(spec), "spec.clusterIPs"
    if first and addresses and addresses[0] != first:
        yield invalid(at, addresses, "first value must match `clusterIP`")
    elif not first and addresses:
        yield invalid(at, addresses, "must be empty when `clusterIP` is not specified")
    families = spec.get("ipFamilies") or ()
    for number, family in enumerate(families):
        yield from one_of(f"spec.ipFamilies[{number}]", family, _FAMILIES)
        if family in families[:number]:
            yield duplicate(f"spec.ipFamilies[{number}]", family)
    if spec.get("ipFamilyPolicy") is not None:
        yield from one_of("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _FAMILY_POLICIES)
    wrong = False
    for number, text in enumerate(addresses):
        if not number and text == "None":
            if len(addresses) > 1:
                wrong = True
                yield invalid(at, addresses, "'None' must be the first and only value")
            continue
        faults = list(address(f"{at}[{number}]", text or "", minor))
        wrong = wrong or bool(faults)
        yield from faults
    if len(addresses) > 2:
        yield invalid(at, addresses, "may only hold up to 2 values")
    if wrong:
        return
    versions = [found.version for text in addresses if (found := parsed_address(text)) is not None]
    if len(addresses) > 1 and len({*versions}) < 2:
        yield invalid(at, addresses, "may specify no more than one IP for each IP family")
    for number, (version, family) in enumerate(zip(versions, families, strict=False)):
        if family in _FAMILIES and f"IPv{version}" != family:
            why = f"expected an {family} value as indicated by `ipFamilies[{number}]`"
            yield invalid(f"{at}[{number}]", addresses[number], why)


def _source_ranges(spec: JsonObject, kind: str, told: Mapping[str, str], minor: int) -> Faults:
    at = "spec.LoadBalancerSourceRanges"
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges:
        if kind != "LoadBalancer":
            yield forbidden(at, _ONLY_BALANCER)
        for number, text in enumerate(ranges):
            yield from network(f"{at}[{number}]", (text or "").strip(), minor)
    elif _RANGES in told:
        at = f"metadata.annotations[{_RANGES}]"
        if kind != "LoadBalancer":
            yield forbidden(at, _ONLY_BALANCER)
        for text in told[_RANGES].strip().split(",") if told[_RANGES].strip() else ():
            yield from network(at, text.strip(), minor)


def _traffic(spec: JsonObject, kind: str, minor: int) -> Faults:
    outside, at = spec.get("externalTrafficPolicy") or "", "spec.externalTrafficPolicy"
    reachable = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if reachable:
        yield from chosen(at, outside, ("Cluster", "Local"))
    elif outside:
        yield invalid(at, outside, "may only be set for externally-accessible services")
    number = spec.get("healthCheckNodePort") or 0
    if kind == "LoadBalancer" and outside == "Local":
        if number:
            yield from port("spec.healthCheckNodePort", number)
    elif number:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", number, why)
    if spec.get("internalTrafficPolicy") is not None:
        yield from one_of("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ("Cluster", "Local"))
    if spec.get("trafficDistribution") is not None:
        known = _DISTRIBUTIONS if minor >= _MORE_DISTRIBUTIONS_SINCE else _DISTRIBUTIONS[:1]
        yield from one_of("spec.trafficDistribution", spec["trafficDistribution"], known)


def endpoint_address(path: str, text: str) -> Faults:
    """An address that packets can be sent to (`ValidateEndpointIP`)."""
    found = parsed_address(text)
    if found is None:
        yield invalid(path, text, "must be a valid IP address")
        return
    plain = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped else found
    if plain.is_unspecified:
        yield invalid(path, text, f"may not be unspecified ({text})")
    if plain.is_loopback:
        yield invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if plain.is_link_local:
        yield invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if plain in _LINK_LOCAL_MULTICAST[plain.version]:
        why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        yield invalid(path, text, why)


_LINK_LOCAL_MULTICAST: Final[Mapping[int, Any]] = {
    4: ipaddress.ip_network("224.0.0.0/24"),
    6: ipaddress.ip_network("ff02::/16"),
}


def _fixed_service(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    yield from _fixed_addresses(new, old)
    if new.get("type") == old.get("type") == "LoadBalancer":
        if new.get("loadBalancerClass") != old.get("loadBalancerClass"):
            yield invalid("spec.loadBalancerClass", new.get("loadBalancerClass"), "may not change once set")
        local = new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy") == "Local"
        if local and (new.get("healthCheckNodePort") or 0) != (old.get("healthCheckNodePort") or 0):
            yield forbidden("spec.healthCheckNodePort", "field is immutable")


def _fixed_addresses(new: JsonObject, old: JsonObject) -> Faults:
    if "ExternalName" in (new.get("type"), old.get("type")):
        return
    ours, had = _addresses(new), _addresses(old)
    if not (ours == had == ["None"]):
        changed = [number for number, (one, other) in enumerate(zip(ours, had, strict=False)) if one != other]
        for number in changed if len(ours) == len(had) else [each for each in changed if not each]:
            yield invalid(f"spec.clusterIPs[{number}]", ours, "may not change once set")
        if len(had) > len(ours) == 1 and new.get("ipFamilyPolicy") != "SingleStack":
            why = "must be set to 'SingleStack' when releasing the secondary clusterIP"
            yield invalid("spec.ipFamilyPolicy", new.get("ipFamilyPolicy"), why)
    if (ours == ["None"]) != (had == ["None"]) or ours == ["None"]:
        return
    families, kept = new.get("ipFamilies") or [], old.get("ipFamilies") or []
    for number, (one, other) in enumerate(zip(families, kept, strict=False)):
        if one != other and (len(families) == len(kept) or not number):
            yield invalid("spec.ipFamilies[0]", families, "may not change once set")
    if len(kept) > len(families) == 1 and new.get("ipFamilyPolicy") != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid("spec.ipFamilyPolicy", new.get("ipFamilyPolicy"), why)


# --- endpoints ---


def _endpoints(raw: JsonObject, minor: int) -> Faults:
    for at, subset in items("subsets", raw, "subsets"):
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(at, "must specify `addresses` or `notReadyAddresses`")
        for name in ("addresses", "notReadyAddresses"):
            for place, each in items(f"{at}.{name}", subset, name):
                text = each.get("ip") or ""
                yield from address(f"{place}.ip", text, minor)
                if each.get("hostname"):
                    yield from label_name(f"{place}.hostname", each["hostname"])
                if each.get("nodeName") is not None:
                    yield from subdomain(f"{place}.nodeName", each["nodeName"])
                yield from endpoint_address(f"{place}.ip", text)
        for place, each in items(f"{at}.ports", subset, "ports"):
            if each.get("name"):
                yield from label_name(f"{place}.name", each["name"])
            elif len(subset["ports"]) > 1:
                yield required(f"{place}.name")
            yield from port(f"{place}.port", each.get("port") or 0)
            yield from chosen(f"{place}.protocol", each.get("protocol"), _PROTOCOLS)
            if each.get("appProtocol") is not None:
                yield from qualified_name(f"{place}.appProtocol", each["appProtocol"])


_MOST_LABELS: Final = 16
_MOST_ADDRESSES: Final = 100
_MOST_PORTS: Final = 20_000
_MOST_ENDPOINTS: Final = 1000
_MOST_HINTS: Final = 8


def _slice(raw: JsonObject, minor: int) -> Faults:
    kind = raw.get("addressType") or ""
    yield from chosen("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    if len(raw.get("ports") or ()) > _MOST_PORTS:
        yield too_many("ports", len(raw["ports"]), _MOST_PORTS)
    else:
        yield from _slice_ports(raw)
    if len(raw.get("endpoints") or ()) > _MOST_ENDPOINTS:
        yield too_many("endpoints", len(raw["endpoints"]), _MOST_ENDPOINTS)
        return
    for at, endpoint in items("endpoints", raw, "endpoints"):
        yield from _endpoint(at, endpoint, kind, minor)


def _slice_ports(raw: JsonObject) -> Faults:
    names: set[str] = set()
    for at, each in items("ports", raw, "ports"):
        name = each.get("name") or ""
        if name:
            yield from label_name(f"{at}.name", name)
        if name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)
        yield from one_of(f"{at}.protocol", each.get("protocol"), _PROTOCOLS)
        if each.get("appProtocol") is not None:
            yield from qualified_name(f"{at}.appProtocol", each["appProtocol"])


def _endpoint(path: str, endpoint: JsonObject, kind: str, minor: int) -> Faults:
    texts, at = endpoint.get("addresses") or (), f"{path}.addresses"
    if not texts:
        yield required(at, "must contain at least 1 address")
    elif len(texts) > _MOST_ADDRESSES:
        yield too_many(at, len(texts), _MOST_ADDRESSES)
    for number, text in enumerate(texts):
        place, text = f"{at}[{number}]", text or ""
        if kind == "FQDN":
            yield from domain(place, text)
        elif kind in _FAMILIES:
            faults = list(address(place, text, minor) if kind == "IPv4" else canonical_address(place, text))
            yield from faults
            found = parsed_address(text)
            if not faults and found is not None:
                if f"IPv{found.version}" != kind:
                    yield invalid(at, text, f"must be an {kind} address")
                yield from endpoint_address(place, text)
    if endpoint.get("nodeName") is not None:
        yield from subdomain(f"{path}.nodeName", endpoint["nodeName"])
    told = part(endpoint, "deprecatedTopology")
    if len(told) > _MOST_LABELS:
        yield too_many(f"{path}.deprecatedTopology", len(told), _MOST_LABELS)
    yield from labels(f"{path}.deprecatedTopology", told)
    if endpoint.get("hostname") is not None:
        yield from label_name(f"{path}.hostname", endpoint["hostname"])
    hints = part(endpoint, "hints")
    for name, rule in (("forZones", label_value), ("forNodes", subdomain)):
        where = f"{path}.hints.{name}"
        if len(hints.get(name) or ()) > _MOST_HINTS:
            yield too_many(where, len(hints[name]), _MOST_HINTS)
            return
        seen: set[str] = set()
        for place, each in items(where, hints, name):
            named = each.get("name") or ""
            if named in seen:
                yield duplicate(f"{place}.name", named)
            seen.add(named)
            yield from rule(f"{place}.name", named)


def _fixed_slice(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("addressType", raw.get("addressType"), before.get("addressType"))


RULES: Final = {
    "Service": Rules(
        valid=_service, fixed=_fixed_service, named=label_name, named_before={RELAXED_NAMES_SINCE: label_1035}
    ),
    "Endpoints": Rules(valid=_endpoints, remeta=True),
    "EndpointSlice": Rules(valid=_slice, fixed=_fixed_slice, remeta=True),
}
