"""Columns of Services and what leads to them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from seatrial.kube.columns import cells
from seatrial.kube.columns.cells import AGE, NAME, Column, at
from seatrial.kube.objects import JsonObject

_ADDRESS_MAX: Final = 16


def _external_address(raw: JsonObject, now: datetime) -> str:
    spec = raw.get("spec") or {}
    given = ",".join(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "LoadBalancer":
            ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            found = ",".join(item.get("ip") or item.get("hostname", "") for item in ingress)
            return ",".join(filter(None, (found, given))) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", cells.NONE))
    return given or cells.NONE


def _service_ports(raw: JsonObject, now: datetime) -> str:
    texts = []
    for port in (raw.get("spec") or {}).get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or cells.NONE


def _slice_ports(raw: JsonObject, now: datetime) -> str:
    ports = raw.get("ports")
    return cells.some([str(port.get("port", "*")) for port in ports]) if ports else "<unset>"


def _slice_endpoints(raw: JsonObject, now: datetime) -> str:
    addresses = [address for item in raw.get("endpoints") or () for address in item.get("addresses") or ()]
    return cells.some(addresses) if addresses else "<unset>"


def _endpoints(raw: JsonObject, now: datetime) -> str:
    """Addresses that are ready, with each port of their subset."""
    subsets = raw.get("subsets") or ()
    if not subsets:
        return cells.NONE
    found = []
    for subset in subsets:
        addresses = [each["ip"] for each in subset.get("addresses") or ()]
        for port in subset.get("ports") or ():
            found += [f"[{ip}]:{port['port']}" if ":" in ip else f"{ip}:{port['port']}" for ip in addresses]
        if not subset.get("ports"):
            found += addresses
    return cells.some(found)


def _hosts(raw: JsonObject, now: datetime) -> str:
    rules = (raw.get("spec") or {}).get("rules") or ()
    named = [rule["host"] for rule in rules[:3] if rule.get("host")]
    more = f" + {len(rules) - 3} more..." if len(rules) > 3 and named else ""
    return (",".join(named) or "*") + more


def _ingress_address(raw: JsonObject, now: datetime) -> str:
    ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = ",".join(sorted({each.get("ip") or each.get("hostname", "") for each in ingress} - {""}))
    return found if len(found) <= _ADDRESS_MAX else found[: _ADDRESS_MAX - 3] + "..."


def _ingress_class(raw: JsonObject, now: datetime) -> str:
    annotations = raw["metadata"].get("annotations") or {}
    is_default = annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
    return cells.name(raw, now) + (" (default)" if is_default else "")


def _parameters(raw: JsonObject, now: datetime) -> str:
    given = (raw.get("spec") or {}).get("parameters")
    if not given:
        return cells.NONE
    group = f".{given['apiGroup']}" if given.get("apiGroup") is not None else ""
    return f"{given.get('kind', '')}{group}/{given.get('name', '')}"


def _parent(raw: JsonObject, now: datetime) -> str:
    parent = (raw.get("spec") or {}).get("parentRef")
    if not parent:
        return cells.NONE
    group = f".{parent['group']}" if parent.get("group") else ""
    parts = (f"{parent.get('resource', '')}{group}".lower(), parent.get("namespace", ""), parent.get("name", ""))
    return "/".join(filter(None, parts))


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "Service": (
        NAME,
        Column("Type", at("spec.type")),
        Column("Cluster-IP", at("spec.clusterIP")),
        Column("External-IP", _external_address),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", cells.selector("spec.selector"), priority=1),
    ),
    "EndpointSlice": (
        NAME,
        Column("AddressType", at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    "NetworkPolicy": (
        NAME,
        Column("Pod-Selector", cells.selector("spec.podSelector")),
        AGE,
    ),
    "Endpoints": (NAME, Column("Endpoints", _endpoints), AGE),
    "Ingress": (
        NAME,
        Column("Class", at("spec.ingressClassName")),
        Column("Hosts", _hosts),
        Column("Address", _ingress_address),
        Column("Ports", lambda raw, now: "80, 443" if at("spec.tls", ())(raw, now) else "80"),
        AGE,
    ),
    "IngressClass": (
        Column("Name", _ingress_class),
        Column("Controller", at("spec.controller", "")),
        Column("Parameters", _parameters),
        AGE,
    ),
    "ServiceCIDR": (NAME, Column("CIDRs", lambda raw, now: ",".join(at("spec.cidrs", ())(raw, now))), AGE),
    "IPAddress": (NAME, Column("ParentRef", _parent), AGE),
}
