"""The EndpointSlice controller: the addresses behind a Service, with what may be sent to each.

Pods of one Service can offer different numbers for one named port; each such set of ports has slices of its own. An
endpoint stays in the slice it is in, so that a change touches few slices, and a slice that would go takes the content
of one that would be new. Without endpoints one empty slice remains, by which clients tell "no endpoints" from "no such
Service". Services without selector, and ExternalName, are left alone. A pod on a node that is not there is left out,
and an event says so. For whom an endpoint is meant is decided in `hints`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from seatrial.control import hints
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.gohash import slice_ports
from seatrial.control.ownership import controller_reference, is_ready
from seatrial.control.triggers import Triggers, annotated, triggered
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, Write
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
from seatrial.kube.objects.nodes import NodeCondition, NodeStatus
from seatrial.kube.objects.services import EndpointConditions, EndpointPort, ObjectReference, ServicePort

SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
CONTROLLER_LABEL: Final = "endpointslice-controller.k8s.io"
HEADLESS: Final = "service.kubernetes.io/headless"
MAX_ENDPOINTS: Final = 100
_RESERVED: Final = (SERVICE_NAME, MANAGED_BY, HEADLESS)
_FAILED: Final = "FailedToUpdateEndpointSlices"

Ports = tuple[EndpointPort, ...]
Identity = tuple[tuple[str, ...], str, str, str]
"""By what an endpoint is known to be the same: addresses, hostname, the pod's namespace and name."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the controller keeps of a Service; `hinted`: there are hints by CPU."""

    triggers: Triggers | None = None
    hinted: bool = False
    said: tuple[Write, ...] = ()
    """The events of the last look: what has been said is not repeated while nothing changes."""


@dataclass(slots=True)
class _Plan:
    """What is to become of the slices of one Service and address family."""

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[tuple[EndpointSlice, EndpointSlice]] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)

    def unchanged(self, existing: Iterable[EndpointSlice]) -> list[EndpointSlice]:
        changed = {piece.metadata.name for piece in (*(before for before, _ in self.update), *self.delete)}
        return [piece for piece in existing if piece.metadata.name not in changed]


def reconcile(seen: Seen) -> Decision:
    service = seen.subject
    assert isinstance(service, Service)
    known = seen.memory if isinstance(seen.memory, _Known) else _Known()
    if service.spec.type == "ExternalName" or not service.spec.selector:
        return Decision(memory=known)
    if seen.refused:
        return Decision((_told(service, [_refusal(service, seen.refused[0])]),), memory=known)
    pods = seen.all(Pod)
    trigger, triggers = triggered(service, pods, known.triggers)
    ours = [
        piece
        for piece in seen.all(EndpointSlice)
        if piece.metadata.labels.get(MANAGED_BY) == CONTROLLER_LABEL and piece.metadata.deletion_timestamp is None
    ]
    nodes = {node.metadata.name: node for node in seen.all(Node)}
    writes: list[Write] = []
    events: list[Write] = []
    errors: list[str] = []
    hinted = known.hinted
    families = service.spec.ip_families or ("IPv4",)
    for family in families:
        existing = [piece for piece in ours if piece.address_type == family]
        wanted = _wanted(service, pods, family, nodes, errors)
        plan = _planned(service, family, existing, wanted)
        said, hinted = _hint(service, plan, plan.unchanged(existing), seen, hinted)
        events += (RecordEvent(service, kind, reason, f"{text}, addressType: {family}") for kind, reason, text in said)
        _recycle(service, plan)
        if service.metadata.deletion_timestamp is None:
            writes += (Create(_annotated(piece, trigger)) for piece in plan.create)
        writes += (Update(before, _annotated(after, trigger)) for before, after in plan.update)
        writes += map(Delete, plan.delete)
    writes += [Delete(piece) for piece in ours if piece.address_type not in families]
    if errors:
        events.append(_told(service, errors))
    if not writes and tuple(events) == known.said:
        return Decision(memory=_Known(triggers, hinted, known.said))
    return Decision((*writes, *events), memory=_Known(triggers, hinted, tuple(events)))


def _annotated(piece: EndpointSlice, trigger: datetime | None) -> EndpointSlice:
    return replace(piece, metadata=replace(piece.metadata, annotations=annotated(piece.metadata.annotations, trigger)))


def _told(service: Service, errors: Sequence[str]) -> RecordEvent:
    text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    message = f"Error updating Endpoint Slices for Service {_place(service)}: {text}"
    return RecordEvent(service, "Warning", _FAILED, message)


def _refusal(service: Service, refused: Refusal) -> str:
    match refused.write:
        case Create():
            what = "create"
        case Update(before=piece):
            what = f"update {piece.metadata.name}"
        case Delete(object=piece):
            what = f"delete {piece.metadata.name}"
        case _:
            what = "write"
    return f"failed to {what} EndpointSlice for Service {_place(service)}: {refused.message}"


def _place(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


# --- what there should be ---


def _wanted(
    service: Service, pods: Iterable[Pod], family: str, nodes: Mapping[str, Node], errors: list[str]
) -> dict[Ports, dict[Identity, Endpoint]]:
    """The endpoints by their ports. Ports of pods that are left out for now count too."""
    wanted: dict[Ports, dict[Identity, Endpoint]] = {}
    for pod in pods:
        if pod.status.phase in {"Succeeded", "Failed"} or not (pod.status.pod_ip or pod.status.pod_ips):
            continue
        of_ports = wanted.setdefault(_ports(service, pod), {})
        node = nodes.get(pod.spec.node_name)
        if node is None and not service.spec.publish_not_ready_addresses:
            error = (
                f"skipping Pod {pod.metadata.name} for Service {_place(service)}: Node {pod.spec.node_name} Not Found"
            )
            if error not in errors:
                errors.append(error)
            continue
        endpoint = _endpoint(service, pod, family, node)
        if endpoint.addresses:
            of_ports[_identity(endpoint)] = endpoint
    return wanted


def _endpoint(service: Service, pod: Pod, family: str, node: Node | None) -> Endpoint:
    addresses = [ip.ip for ip in pod.status.pod_ips] or [pod.status.pod_ip]
    serving = is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    return Endpoint(
        addresses=tuple(ip for ip in addresses if ip and (":" in ip) == (family == "IPv6")),
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
        zone="" if node is None else node.metadata.labels.get(hints.ZONE, ""),
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
    return slice_ports(ports)


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


def _identity(endpoint: Endpoint) -> Identity:
    target = endpoint.target_ref or ObjectReference()
    return tuple(sorted(endpoint.addresses)), endpoint.hostname, target.namespace, target.name


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints of one identity say the same; hints do not count."""
    return (one.node_name, one.zone, one.conditions, one.target_ref) == (
        other.node_name,
        other.zone,
        other.conditions,
        other.target_ref,
    )


# --- which slices change ---


def _planned(
    service: Service,
    family: str,
    existing: Sequence[EndpointSlice],
    wanted: Mapping[Ports, Mapping[Identity, Endpoint]],
) -> _Plan:
    plan = _Plan()
    by_ports: dict[Ports, list[EndpointSlice]] = {}
    for piece in existing:
        if _is_owned(piece, service):
            by_ports.setdefault(slice_ports(list(piece.ports)), []).append(piece)
        else:
            plan.delete.append(piece)
    for ports, endpoints in wanted.items():
        _fit(plan, service, by_ports.get(ports, ()), dict(endpoints), _empty(service, family, ports))
    for ports, pieces in by_ports.items():
        if ports not in wanted:
            plan.delete += pieces
    if len(existing) == len(plan.delete) and not plan.create:
        placeholder = _empty(service, family, ())
        if len(plan.delete) == 1 and _is_placeholder(plan.delete[0], placeholder):
            plan.delete.clear()
        else:
            plan.create.append(placeholder)
    return plan


def _fit(
    plan: _Plan,
    service: Service,
    existing: Sequence[EndpointSlice],
    wanted: dict[Identity, Endpoint],
    empty: EndpointSlice,
) -> None:
    """Put the endpoints of one set of ports into slices: where they are, then where something changes anyway."""
    changing: dict[str, list[Endpoint]] = {}
    labelled: dict[str, dict[str, str]] = {}
    unchanged: dict[str, EndpointSlice] = {}
    before = {piece.metadata.name: piece for piece in existing}
    for name, piece in before.items():
        kept = [(wanted.pop(_identity(endpoint), None), endpoint) for endpoint in piece.endpoints]
        content = [after for after, _ in kept if after is not None]
        changed = any(after is not None and not _same(after, endpoint) for after, endpoint in kept)
        labels = _labels(service)
        relabelled = _own(piece.metadata.labels) != _own(labels)
        if changed or len(content) != len(piece.endpoints):
            if content:
                changing[name], labelled[name] = content, labels
            else:
                plan.delete.append(piece)
        elif relabelled:
            changing[name], labelled[name] = list(piece.endpoints), labels
        else:
            unchanged[name] = piece
    added = list(wanted.values())
    for content in sorted(changing.values(), key=len, reverse=True):
        room = max(0, MAX_ENDPOINTS - len(content))
        content += added[:room]
        del added[:room]
    while added:
        taken, added = added[:MAX_ENDPOINTS], added[MAX_ENDPOINTS:]
        fitting = [
            piece for piece in unchanged.values() if len(taken) + len(piece.endpoints) <= MAX_ENDPOINTS > len(taken)
        ]
        if fitting and not added:
            fullest = max(fitting, key=lambda piece: len(piece.endpoints))
            name = fullest.metadata.name
            del unchanged[name]
            changing[name] = [*fullest.endpoints, *taken]
        else:
            plan.create.append(replace(empty, endpoints=tuple(taken)))
    for name, content in changing.items():
        piece = before[name]
        labels = labelled.get(name, dict(piece.metadata.labels))
        after = replace(piece, metadata=replace(piece.metadata, labels=labels), endpoints=tuple(content))
        plan.update.append((piece, after))


def _recycle(service: Service, plan: _Plan) -> None:
    """A slice that would go becomes one that would be new: a client never sees a Service without any."""
    going, plan.delete = plan.delete, []
    for piece in going:
        if not plan.create or not _is_owned(piece, service):
            plan.delete.append(piece)
            continue
        new = plan.create.pop()
        made, meta = new.metadata, piece.metadata
        meta = replace(meta, labels=made.labels, annotations={}, owner_references=made.owner_references, finalizers=())
        plan.update.append((piece, replace(new, metadata=meta)))


def _is_owned(piece: EndpointSlice, service: Service) -> bool:
    owners = ((ref.uid, ref.kind, ref.api_version) for ref in piece.metadata.owner_references)
    return (service.metadata.uid, "Service", "v1") in owners


def _is_placeholder(piece: EndpointSlice, placeholder: EndpointSlice) -> bool:
    return not piece.endpoints and not piece.ports and piece.metadata.labels == placeholder.metadata.labels


def _empty(service: Service, family: str, ports: Ports) -> EndpointSlice:
    meta = ObjectMeta(
        generate_name=f"{service.metadata.name}-",
        namespace=service.metadata.namespace,
        labels=_labels(service),
        owner_references=(controller_reference(service),),
    )
    return EndpointSlice(metadata=meta, address_type=family, ports=ports)


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without those that this controller gives."""
    return {key: value for key, value in labels.items() if key not in _RESERVED}


def _labels(service: Service) -> dict[str, str]:
    headless = {HEADLESS: ""} if service.spec.cluster_ip in ("", "None") else {}
    given = {SERVICE_NAME: service.metadata.name, MANAGED_BY: CONTROLLER_LABEL}
    return {**_own(service.metadata.labels), **headless, **given}


# --- hints ---


def _hint(
    service: Service, plan: _Plan, standing: Sequence[EndpointSlice], seen: Seen, hinted: bool
) -> tuple[list[tuple[str, str, str]], bool]:
    """Give the slices of `plan` their hints, and those that stand still if they lack them.

    Returns what people are told (type, reason, message) and whether there are hints by CPU now.
    """
    said: list[tuple[str, str, str]] = []
    changing = [*(piece.endpoints for piece in plan.create), *(after.endpoints for _, after in plan.update)]
    still = [piece.endpoints for piece in standing]
    if hints.by_annotation(service):
        shared = hints.share_out(changing, still, hints.cpu_ratios(seen.all(Node)))
        if shared.why:
            said.append(("Warning", hints.DISABLED, shared.why))
        elif not hinted:
            said.append(("Normal", hints.ENABLED, "Topology Aware Hints has been enabled"))
        hinted = not shared.why
        _set(plan, standing, shared.changing, shared.standing)
        return said, hinted
    if hinted:
        said.append(("Warning", hints.DISABLED, "Topology Aware Hints has been disabled"))
    if hints.by_distribution(service, seen.minor):
        near = [hints.near(service, content) for content in changing]
        _set(plan, standing, near, [hints.near(service, content) for content in still])
    else:
        _set(plan, standing, list(map(hints.without, changing)), list(map(hints.without, still)))
    return said, False


def _set(plan: _Plan, standing: Sequence[EndpointSlice], changing: hints.Contents, still: hints.Contents) -> None:
    created = len(plan.create)
    plan.create[:] = [
        replace(piece, endpoints=tuple(content)) for piece, content in zip(plan.create, changing, strict=False)
    ]
    plan.update[:] = [
        (before, replace(after, endpoints=tuple(content)))
        for (before, after), content in zip(plan.update, changing[created:], strict=True)
    ]
    for piece, content in zip(standing, still, strict=True):
        if tuple(content) != piece.endpoints:
            plan.update.append((piece, replace(piece, endpoints=tuple(content))))


# --- what is looked at ---


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
                replace(c, last_probe_time=None, message="", reason="") for c in status.conditions if c.type == "Ready"
            ),
        ),
    )


def pod_news(pod: Object) -> Object:
    """The changes of a pod that upstream looks at: readiness, addresses, and all of one that is going."""
    assert isinstance(pod, Pod)
    meta, status = pod.metadata, pod.status
    revision = meta.resource_version if meta.deletion_timestamp is not None else ""
    return Pod(
        metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid, resource_version=revision),
        status=PodStatus(phase="Ready" if is_ready(pod) else "", pod_ip=status.pod_ip, pod_ips=status.pod_ips),
    )


def _ports_only(container: Container) -> Container:
    return Container(name=container.name, ports=container.ports, restart_policy=container.restart_policy)


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, Node)
    labels = {key: value for key, value in node.metadata.labels.items() if key in (hints.ZONE, *hints.CONTROL_PLANE)}
    ready = (each for each in node.status.conditions if each.type == "Ready")
    cpu = node.status.allocatable.get("cpu")
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, labels=labels),
        status=NodeStatus(
            allocatable={} if cpu is None else {"cpu": cpu},
            conditions=tuple(NodeCondition(type=each.type, status=each.status) for each in ready),
        ),
    )


CONTROLLER = Controller(
    name="endpoint-slice-controller",
    actor="EndpointSlice controller",
    subject=Service,
    reads=(
        Read(Pod, Relation.SELECTED, view=pod_view, wakes=False),
        Read(Pod, Relation.SELECTED, view=pod_news),
        Read(EndpointSlice, Relation.LABELLED, label=SERVICE_NAME),
        Read(Node, Relation.ALL, view=_view_of_node),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
