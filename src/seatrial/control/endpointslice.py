"""The EndpointSlice controller: the addresses behind a Service, with what may be sent to each.

Pods of one Service can offer different numbers for one named port; each such set of ports has slices of its own. An
endpoint stays in the slice it is in, so that a change touches few slices. Without endpoints one empty slice remains,
by which clients tell "no endpoints" from "no such Service". Services without selector, and
ExternalName, are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import controller_reference, is_ready
from seatrial.control.writes import Create, Delete, Update, Write
from seatrial.kube.objects import (
    Container,
    Endpoint,
    EndpointSlice,
    Node,
    Object,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Service,
)
from seatrial.kube.objects.services import EndpointConditions, EndpointPort, ObjectReference, ServicePort

SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
CONTROLLER_LABEL: Final = "endpointslice-controller.k8s.io"
HEADLESS: Final = "service.kubernetes.io/headless"
ZONE: Final = "topology.kubernetes.io/zone"
MAX_ENDPOINTS: Final = 100

Ports = tuple[EndpointPort, ...]


def reconcile(seen: Seen) -> Decision:
    service = seen.subject
    assert isinstance(service, Service)
    gone = service.metadata.deletion_timestamp is not None
    if gone or not service.spec.selector or service.spec.type == "ExternalName":
        return Decision()
    zones = {node.metadata.name: node.metadata.labels.get(ZONE, "") for node in seen.all(Node)}
    ours = [
        piece
        for piece in seen.all(EndpointSlice)
        if piece.metadata.labels.get(MANAGED_BY) == CONTROLLER_LABEL and piece.metadata.deletion_timestamp is None
    ]
    writes: list[Write] = []
    families = service.spec.ip_families or ("IPv4",)
    for family in families:
        existing = [piece for piece in ours if piece.address_type == family]
        wanted: dict[Ports, list[Endpoint]] = {}
        for pod in seen.all(Pod):
            endpoint = _endpoint(service, pod, family, zones)
            if endpoint is not None:
                wanted.setdefault(_ports(service, pod), []).append(endpoint)
        writes += _place(service, family, wanted or {(): []}, existing)
    writes += [Delete(piece) for piece in ours if piece.address_type not in families]
    # New slices before old ones go: a client never sees a Service without any.
    return Decision(tuple(sorted(writes, key=lambda write: isinstance(write, Delete))))


def _place(
    service: Service, family: str, wanted: dict[Ports, list[Endpoint]], existing: Sequence[EndpointSlice]
) -> list[Write]:
    writes: list[Write] = []
    for ports, endpoints in wanted.items():
        slices = [piece for piece in existing if piece.ports == ports]
        by_target = {_target(endpoint): endpoint for endpoint in endpoints}
        contents: list[list[Endpoint]] = []
        for piece in slices:
            kept = (by_target.pop(_target(endpoint), None) for endpoint in piece.endpoints)
            contents.append([endpoint for endpoint in kept if endpoint is not None])
        added = [by_target[target] for target in sorted(by_target)]
        for content in contents:
            room = max(0, MAX_ENDPOINTS - len(content))
            content.extend(added[:room])
            added = added[room:]
        keep_empty = not endpoints
        for piece, content in zip(slices, contents, strict=True):
            if not content and not keep_empty:
                writes.append(Delete(piece))
                continue
            keep_empty = False
            after = replace(
                piece, metadata=replace(piece.metadata, labels=_labels(service)), endpoints=tuple(content), ports=ports
            )
            if after != piece:
                writes.append(Update(piece, after))
        for start in range(0, len(added) if endpoints else int(keep_empty), MAX_ENDPOINTS):
            writes.append(Create(_slice(service, family, ports, added[start : start + MAX_ENDPOINTS])))
    writes += [Delete(piece) for piece in existing if piece.ports not in wanted]
    return writes


def _slice(service: Service, family: str, ports: Ports, endpoints: Sequence[Endpoint]) -> EndpointSlice:
    meta = ObjectMeta(
        generate_name=f"{service.metadata.name}-",
        namespace=service.metadata.namespace,
        labels=_labels(service),
        owner_references=(controller_reference(service),),
    )
    return EndpointSlice(metadata=meta, address_type=family, endpoints=tuple(endpoints), ports=ports)


def _labels(service: Service) -> dict[str, str]:
    labels = {**service.metadata.labels, SERVICE_NAME: service.metadata.name, MANAGED_BY: CONTROLLER_LABEL}
    labels.pop(HEADLESS, None)
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return labels


def _endpoint(service: Service, pod: Pod, family: str, zones: dict[str, str]) -> Endpoint | None:
    all_addresses = [ip.ip for ip in pod.status.pod_ips] or [pod.status.pod_ip]
    addresses = [ip for ip in all_addresses if ip and (":" in ip) == (family == "IPv6")]
    if pod.status.phase in {"Succeeded", "Failed"} or not addresses:
        return None
    serving = is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    return Endpoint(
        addresses=(addresses[0],),
        conditions=EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=pod.spec.hostname if pod.spec.subdomain == service.metadata.name else "",
        node_name=pod.spec.node_name,
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        zone=zones.get(pod.spec.node_name, ""),
    )


def _ports(service: Service, pod: Pod) -> Ports:
    """The pod's numbers for the Service's ports; a named port that the pod does not have is left out."""
    ports = []
    for port in service.spec.ports:
        number = port_number(port, pod)
        if number is not None:
            ports.append(
                EndpointPort(
                    name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
                )
            )
    return tuple(ports)


def port_number(port: ServicePort, pod: Pod) -> int | None:
    """Where the pod serves the Service's port; None if it has no port of that name."""
    target = port.target_port
    if not isinstance(target, str):
        return target or port.port
    sidecars = tuple(container for container in pod.spec.init_containers if container.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for offered in container.ports:
            if offered.name == target and (offered.protocol or "TCP") == (port.protocol or "TCP"):
                return offered.container_port
    return None


def _target(endpoint: Endpoint) -> tuple[str, str]:
    target = endpoint.target_ref
    return ("", "") if target is None else (target.name, target.uid)


def pod_view(pod: Object) -> Object:
    """What the endpoints of a Service depend on."""
    assert isinstance(pod, Pod)
    meta, spec, status = pod.metadata, pod.spec, pod.status
    return Pod(
        metadata=ObjectMeta(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, deletion_timestamp=meta.deletion_timestamp
        ),
        spec=PodSpec(
            node_name=spec.node_name,
            hostname=spec.hostname,
            subdomain=spec.subdomain,
            containers=tuple(_ports_only(container) for container in spec.containers),
            init_containers=tuple(_ports_only(container) for container in spec.init_containers),
        ),
        status=PodStatus(
            phase=status.phase,
            pod_ip=status.pod_ip,
            pod_ips=status.pod_ips,
            conditions=tuple(
                replace(c, last_probe_time=None, last_transition_time=None, message="", reason="")
                for c in status.conditions
                if c.type == "Ready"
            ),
        ),
    )


def _ports_only(container: Container) -> Container:
    return Container(name=container.name, ports=container.ports, restart_policy=container.restart_policy)


def _view_of_node(node: Object) -> Object:
    labels = node.metadata.labels
    return Node(metadata=ObjectMeta(name=node.metadata.name, labels={ZONE: labels[ZONE]} if ZONE in labels else {}))


CONTROLLER = Controller(
    name="endpoint-slice-controller",
    actor="EndpointSlice controller",
    subject=Service,
    reads=(
        Read(Pod, Relation.SELECTED, view=pod_view),
        Read(EndpointSlice, Relation.LABELLED, label=SERVICE_NAME),
        Read(Node, Relation.ALL, view=_view_of_node),
    ),
    reconcile=reconcile,
)
