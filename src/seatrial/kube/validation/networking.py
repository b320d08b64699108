"""Ingresses and their classes, NetworkPolicies, ranges and addresses of Services (`pkg/apis/networking`)."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    byte_length,
    canonical_network,
    domain_path,
    forbidden,
    invalid,
    items,
    label_name,
    label_selector,
    network,
    one_of,
    parsed_address,
    parsed_network,
    part,
    path_segment,
    port,
    port_name,
    required,
    subdomain,
    too_long,
    unchanged,
    wildcard,
)
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.services import service_name

_CLASS: Final = "kubernetes.io/ingress.class"
_PATH_TYPES: Final = ("Exact", "ImplementationSpecific", "Prefix")
_NOT_IN_PATHS: Final = ("//", "/./", "/../", "%2f", "%2F")
_LONGEST_CONTROLLER: Final = 250


def _ingress(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        yield invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _backend("spec.defaultBackend", spec["defaultBackend"], minor)
    for at, rule in items("spec.rules", spec, "rules"):
        host = rule.get("host") or ""
        if host:
            if parsed_address(host) is not None:
                yield invalid(f"{at}.host", host, "must be a DNS name, not an IP address")
            yield from (wildcard if "*" in host else subdomain)(f"{at}.host", host)
        if rule.get("http") is not None:
            if not rule["http"].get("paths"):
                yield required(f"{at}.http.paths")
            for place, each in items(f"{at}.http.paths", rule["http"], "paths"):
                yield from _path(place, each, minor)
    for at, tls in items("spec.tls", spec, "tls"):
        for number, host in enumerate(tls.get("hosts") or ()):
            yield from (wildcard if "*" in (host or "") else subdomain)(f"{at}.hosts[{number}]", host or "")
        if tls.get("secretName"):
            yield from subdomain(f"{at}.secretName", tls["secretName"])
    if spec.get("ingressClassName") is not None:
        yield from subdomain("spec.ingressClassName", spec["ingressClassName"])


def _new_ingress(raw: JsonObject, minor: int) -> Faults:
    told = part(part(raw, "metadata"), "annotations").get(_CLASS)
    named = part(raw, "spec").get("ingressClassName")
    if told is not None and named is not None and told != named:
        why = "must match `ingressClassName` when both are specified"
        yield invalid(f"annotations.{_CLASS}", told, why)


def _path(path: str, each: JsonObject, minor: int) -> Faults:
    kind, text, at = each.get("pathType"), each.get("path") or "", f"{path}.path"
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            yield invalid(at, text, "must be an absolute path")
        yield from (invalid(at, text, f"must not contain '{wrong}'") for wrong in _NOT_IN_PATHS if wrong in text)
        yield from (invalid(at, text, f"cannot end with '{end}'") for end in ("/..", "/.") if text.endswith(end))
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            yield invalid(at, text, "must be an absolute path")
    else:
        yield from one_of(f"{path}.pathType", kind, _PATH_TYPES)
    yield from _backend(f"{path}.backend", part(each, "backend"), minor)


def _backend(path: str, backend: JsonObject, minor: int) -> Faults:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _reference(f"{path}.resource", resource)
    elif service is None:
        yield invalid(path, "", "resource or service backend is required")
    else:
        if not service.get("name"):
            yield required(f"{path}.service.name")
        else:
            yield from service_name(f"{path}.service.name", service["name"], minor)
        name, number = part(service, "port").get("name") or "", part(service, "port").get("number") or 0
        if name and number:
            yield invalid(path, "", "cannot set both port name & port number")
        elif name:
            yield from port_name(f"{path}.service.port.name", name)
        elif number:
            yield from port(f"{path}.service.port.number", number)
        else:
            yield required(path, "port name or number is required")


def _reference(path: str, held: JsonObject) -> Faults:
    if held.get("apiGroup") is not None:
        yield from subdomain(f"{path}.apiGroup", held["apiGroup"])
    for name in ("kind", "name"):
        if not held.get(name):
            yield required(f"{path}.{name}")
        else:
            yield from path_segment(f"{path}.{name}", held[name])


def _ingress_class(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    controller, held, at = spec.get("controller") or "", spec.get("parameters"), "spec.parameters"
    if byte_length(controller) > _LONGEST_CONTROLLER:
        yield too_long("spec.controller", _LONGEST_CONTROLLER)
    yield from domain_path("spec.controller", controller)
    if held is None:
        return
    yield from _reference(at, held)
    scope, space = held.get("scope", "Cluster"), held.get("namespace")
    yield from one_of(f"{at}.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace" and space is None:
        yield required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'")
    elif scope == "Namespace":
        yield from label_name(f"{at}.namespace", space or "")
    elif scope == "Cluster" and space is not None:
        yield forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'")


def _fixed_class(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    return unchanged("spec.controller", new.get("controller"), old.get("controller"))


# --- policies ---


def _policy(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    yield from label_selector("spec.podSelector", part(spec, "podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in items(f"spec.{direction}", spec, direction):
            for place, each in items(f"{at}.ports", rule, "ports"):
                yield from _policy_port(place, each)
            for place, each in items(f"{at}.{peers}", rule, peers):
                yield from _peer(place, each, minor)
    kinds = spec.get("policyTypes") or ()
    if len(kinds) > 2:
        yield invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
        return
    for number, kind in enumerate(kinds):
        yield from one_of(f"spec.policyTypes[{number}]", kind, ("Ingress", "Egress"))


def _policy_port(path: str, each: JsonObject) -> Faults:
    number, end = each.get("port"), each.get("endPort")
    if each.get("protocol") is not None:
        yield from one_of(f"{path}.protocol", each["protocol"], ("TCP", "UDP", "SCTP"))
    if number is None:
        if end is not None:
            yield invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")
    elif isinstance(number, int):
        yield from port(f"{path}.port", number)
        if end is not None:
            if end < number:
                yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
            yield from port(f"{path}.endPort", end)
    else:
        if end is not None:
            yield invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        yield from port_name(f"{path}.port", number)


def _peer(path: str, peer: JsonObject, minor: int) -> Faults:
    selectors = [name for name in ("podSelector", "namespaceSelector") if peer.get(name) is not None]
    for name in selectors:
        yield from label_selector(f"{path}.{name}", peer[name])
    block = peer.get("ipBlock")
    if block is not None:
        yield from _block(f"{path}.ipBlock", block, minor)
        if selectors:
            yield forbidden(path, "may not specify both ipBlock and another peer")
    elif not selectors:
        yield required(path, "must specify a peer")


def _block(path: str, block: JsonObject, minor: int) -> Faults:
    text = block.get("cidr") or ""
    if not text:
        yield required(f"{path}.cidr")
        return
    yield from network(f"{path}.cidr", text, minor)
    whole: Any = parsed_network(text)
    for number, each in enumerate((block.get("except") or ()) if whole is not None else ()):
        at = f"{path}.except[{number}]"
        yield from network(at, each or "", minor)
        inner: Any = parsed_network(each or "")
        if inner is None:
            continue
        if whole.version != inner.version or whole.prefixlen >= inner.prefixlen or not inner.subnet_of(whole):
            yield invalid(at, each, "must be a strict subset of `cidr`")


# --- ranges and addresses of Services ---


def _service_cidr(raw: JsonObject, minor: int) -> Faults:
    ranges, at = part(raw, "spec").get("cidrs") or (), "spec.cidrs"
    if not ranges:
        yield required(at, "at least one CIDR required")
        return
    if len(ranges) > 2:
        yield invalid(at, part(raw, "spec"), "may only hold up to 2 values")
        return
    found = [parsed_network(each or "") for each in ranges]
    if len(ranges) == 2 and None not in found and len({each.version for each in found if each}) < 2:
        yield invalid(
            at,
            part(raw, "spec"),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        )
    for number, each in enumerate(ranges):
        yield from canonical_network(f"{at}[{number}]", each or "")


def _fixed_service_cidr(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    """A second range may come, of the other family."""
    new, old = (part(each, "spec").get("cidrs") or [] for each in (raw, before))
    if len(new) == len(old) or (len(old), len(new)) == (1, 2):
        for number, (one, other) in enumerate(zip(new, old, strict=False)):
            yield from unchanged(f"spec.cidrs[{number}]", one, other)
        if len(new) > len(old):
            yield from _service_cidr(raw, minor)
    else:
        yield invalid("spec.cidrs", new or None, "field is immutable")


def _address_name(path: str, name: str) -> Faults:
    try:
        canonical = str(ipaddress.ip_address(name))
    except ValueError:
        canonical = ""
    if canonical != name:
        yield invalid(path, name, "must be a valid IP address")


def _ip_address(raw: JsonObject, minor: int) -> Faults:
    held, at = part(raw, "spec").get("parentRef"), "spec.parentRef"
    if held is None:
        yield required(at)
        return
    if held.get("group"):
        yield from subdomain(f"{at}.group", held["group"])
    for name in ("resource", "name"):
        if not held.get(name):
            yield required(f"{at}.{name}")
        else:
            yield from path_segment(f"{at}.{name}", held[name])
    if held.get("namespace"):
        yield from path_segment(f"{at}.namespace", held["namespace"])


def _fixed_address(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return unchanged("spec.parentRef", part(raw, "spec").get("parentRef"), part(before, "spec").get("parentRef"))


RULES: Final = {
    "Ingress": Rules(valid=_ingress, new=_new_ingress, remeta=True),
    "IngressClass": Rules(valid=_ingress_class, fixed=_fixed_class, remeta=True),
    "NetworkPolicy": Rules(valid=_policy),
    "ServiceCIDR": Rules(new=_service_cidr, fixed=_fixed_service_cidr),
    "IPAddress": Rules(valid=_ip_address, fixed=_fixed_address, named=_address_name),
}
