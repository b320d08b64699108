"""Which addresses a Service answers on, and which endpoints stand behind each: what a node load-balances.

Rules, as upstream's proxy has them: only slices that carry the label `kubernetes.io/service-name` count; an endpoint is
used while it is ready; if none is ready, those that still serve while terminating are used; a port without a usable
endpoint rejects connections; headless and ExternalName Services have no rules. Output is sorted, so that equal inputs
give equal rules. IPv4 only (see docs/supported.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seatrial.kube.objects import Endpoint, EndpointSlice, Pod, Service

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
DEFAULT_AFFINITY_S = 10800
"""Upstream's `DefaultClientIPServiceAffinitySeconds`: three hours."""


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """One endpoint's address and port."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class ServiceRule:
    """One port of one Service: connections to any of `addresses`:`port`, or to `node_port` of a node, go to `backends`.

    No backends: such connections are rejected. `affinity_s` is 0 without ClientIP affinity.
    """

    service: str
    port_name: str
    protocol: str
    addresses: tuple[str, ...]
    port: int
    node_port: int
    backends: tuple[Backend, ...]
    affinity_s: int = 0


def service_rules(services: Iterable[Service], slices: Iterable[EndpointSlice]) -> tuple[ServiceRule, ...]:
    """The rules of all `services`, sorted by Service and port."""
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for piece in slices:
        name = piece.metadata.labels.get(SERVICE_NAME_LABEL)
        if name and piece.address_type == "IPv4":
            by_service.setdefault((piece.metadata.namespace, name), []).append(piece)
    rules: list[ServiceRule] = []
    for service in services:
        spec = service.spec
        if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
            continue
        name = service.metadata.name
        namespace = service.metadata.namespace
        own = by_service.get((namespace, name), [])
        addresses = (spec.cluster_ip, *spec.external_ips)
        for port in spec.ports:
            rules.append(
                ServiceRule(
                    service=f"{namespace}/{name}",
                    port_name=port.name,
                    protocol=port.protocol or "TCP",
                    addresses=tuple(address for address in addresses if ":" not in address),
                    port=port.port,
                    node_port=port.node_port,
                    backends=backends(own, port.name, port.protocol or "TCP"),
                    affinity_s=_affinity_s(service),
                )
            )
    return tuple(sorted(rules, key=lambda rule: (rule.service, rule.port, rule.protocol)))


def host_port_rules(pods: Iterable[Pod], taken: Iterable[ServiceRule]) -> tuple[ServiceRule, ...]:
    """The `hostPort`s of one machine's pods. Of two that want one port (nodes here share it) the first by name gets it,
    and none gets what a Service (`taken`) has as its node port.
    """
    used = {(rule.protocol, "", rule.node_port) for rule in taken if rule.node_port}
    rules = []
    for pod in sorted(pods, key=lambda pod: pod.key):
        if pod.spec.host_network or not pod.status.pod_ip or pod.status.phase in ("Succeeded", "Failed"):
            continue
        sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
        for port in (port for container in (*pod.spec.containers, *sidecars) for port in container.ports):
            protocol, address = port.protocol or "TCP", port.host_ip if port.host_ip != "0.0.0.0" else ""
            if not port.host_port or {(protocol, address, port.host_port), (protocol, "", port.host_port)} & used:
                continue
            used.add((protocol, address, port.host_port))
            rules.append(
                ServiceRule(
                    service=f"{pod.metadata.namespace}/{pod.metadata.name}",
                    port_name=port.name,
                    protocol=protocol,
                    addresses=(address,) if address else (),
                    port=port.host_port,
                    node_port=0 if address else port.host_port,
                    backends=(Backend(pod.status.pod_ip, port.container_port),),
                )
            )
    return tuple(rules)


def backends(slices: Iterable[EndpointSlice], port_name: str, protocol: str) -> tuple[Backend, ...]:
    """Who answers for one port: the ready endpoints or, if there are none, those still serving while they terminate."""
    ready: set[Backend] = set()
    leaving: set[Backend] = set()
    for piece in slices:
        for port in piece.ports:
            if port.name != port_name or (port.protocol or "TCP") != protocol or not port.port:
                continue
            for endpoint in piece.endpoints:
                found = {Backend(address, port.port) for address in endpoint.addresses[:1]}
                if is_ready(endpoint):
                    ready |= found
                elif _serves_while_terminating(endpoint):
                    leaving |= found
    return tuple(sorted(ready or leaving))


def is_ready(endpoint: Endpoint) -> bool:
    """Unknown readiness counts as ready (`EndpointConditions.ready`: nil is to be read as true)."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _serves_while_terminating(endpoint: Endpoint) -> bool:
    conditions = endpoint.conditions
    return conditions is not None and conditions.terminating is True and conditions.serving is not False


def _affinity_s(service: Service) -> int:
    spec = service.spec
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    if config is None or config.client_ip is None:
        return DEFAULT_AFFINITY_S
    return config.client_ip.timeout_seconds or DEFAULT_AFFINITY_S
