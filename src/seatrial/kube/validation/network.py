"""What the API server refuses in the spec of a Service or a Node beyond its schema, in upstream's wording and order
(`pkg/apis/core/validation`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    LABEL,
    LABEL_RULE,
    duplicate,
    forbidden,
    invalid,
    label_value,
    labels,
    qualified_name,
    required,
    unsupported,
)

_NO_PORT: Final = "must be between 1 and 65535, inclusive"
_NO_ADDRESS: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_RANGE: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_LONGEST_PORT_NAME: Final = 15
_CHOICES: Final = (
    ("sessionAffinity", ("ClientIP", "None")),
    ("internalTrafficPolicy", ("Cluster", "Local")),
    ("trafficDistribution", ("PreferClose", "PreferSameZone", "PreferSameNode")),
    ("ipFamilyPolicy", ("PreferDualStack", "RequireDualStack", "SingleStack")),
)
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
    """Why a write of this object is refused; nothing for other kinds and for an unchanged spec."""
    spec = raw.get("spec")
    if not isinstance(spec, dict) or (before is not None and before.get("spec") == spec):
        return
    if kind == "Service":
        yield from _service(spec)
    elif kind == "Node":
        yield from _node(spec)


def _service(spec: JsonObject) -> Iterator[Fault]:
    kind, ports = spec.get("type") or "ClusterIP", spec.get("ports") or ()
    headless = spec.get("clusterIP") == "None"
    if kind == "ExternalName":
        if not spec.get("externalName"):
            yield required("spec.externalName")
    elif not ports and not headless:
        yield required("spec.ports")
    yield from _ports(ports, kind)
    yield from labels("spec.selector", spec.get("selector") or {})
    yield from (
        unsupported(f"spec.{name}", spec[name], allowed)
        for name, allowed in _CHOICES
        if spec.get(name) not in (None, "", *allowed)
    )
    address = spec.get("clusterIP")
    if address and not headless and _address(address) is None:
        yield invalid("spec.clusterIPs[0]", address, _NO_ADDRESS)
    for number, text in enumerate(spec.get("externalIPs") or ()):
        yield from _external(text, f"spec.externalIPs[{number}]")
    if kind not in _TYPES:
        yield unsupported("spec.type", kind, _TYPES)
    policy = spec.get("externalTrafficPolicy")
    if policy and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        yield invalid("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services")


def _ports(ports: Sequence[JsonObject], kind: str) -> Iterator[Fault]:
    names, taken = set(), set()
    for number, port in enumerate(ports):
        path, name = f"spec.ports[{number}]", port.get("name", "")
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name and not LABEL.fullmatch(name):
            yield invalid(f"{path}.name", name, LABEL_RULE)
        elif name and name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        if not 1 <= port.get("port", 0) <= 65535:
            yield invalid(f"{path}.port", port.get("port", 0), _NO_PORT)
        protocol = port.get("protocol") or "TCP"
        if protocol not in ("SCTP", "TCP", "UDP"):
            yield unsupported(f"{path}.protocol", protocol, ("SCTP", "TCP", "UDP"))
        yield from _target_port(port.get("targetPort"), f"{path}.targetPort")
        if port.get("nodePort") and kind in ("ClusterIP", "ExternalName"):
            yield forbidden(f"{path}.nodePort", f"may not be used when `type` is '{kind}'")
    for number, port in enumerate(ports):
        key = (port.get("protocol") or "TCP", port.get("port"))
        if key in taken:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            yield duplicate(f"spec.ports[{number}]", shown)
        taken.add(key)


def _target_port(port: object, path: str) -> Iterator[Fault]:
    if isinstance(port, int) and not 1 <= port <= 65535:
        yield invalid(path, port, _NO_PORT)
    elif isinstance(port, str):
        if len(port) > _LONGEST_PORT_NAME:
            yield invalid(path, port, f"must be no more than {_LONGEST_PORT_NAME} characters")
        if not re.fullmatch("[-a-z0-9]+", port):
            yield invalid(path, port, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
        if not re.search("[a-z]", port):
            yield invalid(path, port, "must contain at least one letter (a-z)")
        if "--" in port:
            yield invalid(path, port, "must not contain consecutive hyphens")
        if port.startswith("-") or port.endswith("-"):
            yield invalid(path, port, "must not begin or end with a hyphen")


def _external(text: str, path: str) -> Iterator[Fault]:
    address = _address(text)
    if address is None:
        yield invalid(path, text, _NO_ADDRESS)
    elif address.is_unspecified:
        yield invalid(path, text, f"may not be unspecified ({text})")
    elif address.is_loopback:
        yield invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    elif address.is_link_local:
        yield invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _node(spec: JsonObject) -> Iterator[Fault]:
    seen = set()
    for number, taint in enumerate(spec.get("taints") or ()):
        path = f"metadata.taints[{number}]"  # upstream's path: taints were an annotation once
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect")
        yield from qualified_name(f"{path}.key", key)
        yield from label_value(f"{path}.value", value)
        if effect is not None and effect not in _EFFECTS:  # the schema says that it is required
            yield unsupported(f"{path}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            yield duplicate(path, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))
    ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    families: list[int] = []
    for number, text in enumerate(ranges):
        try:
            families.append(ipaddress.ip_network(text, strict=False).version)
        except ValueError:
            yield invalid(f"spec.podCIDRs[{number}]", text, _NO_RANGE)
    if len(families) > 2 or len(families) != len(set(families)):
        yield invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family")
