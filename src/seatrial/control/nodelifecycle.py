"""kube-controller-manager's node life-cycle controller: is a node alive, who must keep off it, how fast it is emptied.

Two controllers share the work. One looks at each node alone: its heartbeats (lease and Ready condition), its
conditions as taints. The other looks at all nodes at once: it lets the NoExecute taints, by which pods are evicted,
appear only so fast, and not at all while every node seems lost, because then the fault is more likely ours.

A lease that is held without a renewTime counts as renewed all the time: so simulated nodes hold theirs, since writing
thousands of renewals tells nobody anything. Such a node is lost from the moment at which a renewTime is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import RecordEvent, Update, UpdateStatus, Write
from seatrial.kube.objects import Lease, Namespace, Node, Object, ObjectMeta, Pod
from seatrial.kube.objects.nodes import LeaseSpec, NodeCondition, NodeSpec, NodeStatus, Taint

LEASES: Final = "kube-node-lease"
NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_CONDITION_TAINTS: Final = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
_OURS_NO_SCHEDULE: Final = frozenset({*_CONDITION_TAINTS.values(), UNSCHEDULABLE})
_OURS_NO_EXECUTE: Final = {"False": NOT_READY, "Unknown": UNREACHABLE}
_POSTED_BY_KUBELET: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_BETA_LABELS: Final = {"kubernetes.io/os": "beta.kubernetes.io/os", "kubernetes.io/arch": "beta.kubernetes.io/arch"}

STARTUP_GRACE: Final = timedelta(seconds=60)
PERIOD: Final = timedelta(seconds=5)
"""Whether a node is stale is looked at this often (`--node-monitor-period`)."""
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")


def grace(minor: int) -> timedelta:
    """How long a node may be silent (`--node-monitor-grace-period`; 40 s until 1.31)."""
    return timedelta(seconds=50 if minor >= 32 else 40)


def condition(node: Node, kind: str) -> NodeCondition | None:
    return next((each for each in node.status.conditions if each.type == kind), None)


def is_silent(node: Node) -> bool:
    """Whether the node says that it is not ready, or nothing; one without conditions has yet to speak."""
    ready = condition(node, "Ready")
    return ready is not None and ready.status != "True"


# --- one node ---


@dataclass(frozen=True, slots=True)
class _Heard:
    """The last signs of life, and when they were heard: other machines' clocks are not trusted."""

    heartbeat: datetime | None
    renewed: datetime | None
    at: datetime


def _reconcile_node(seen: Seen, silence: timedelta) -> Decision:
    """`silence`: how long the node may say nothing."""
    node = seen.subject
    assert isinstance(node, Node)
    lease = next((each for each in seen.all(Lease) if each.metadata.namespace == LEASES), None)
    ready = condition(node, "Ready")
    heard = _heard(node, ready, lease, seen)
    writes: list[Write] = []
    wake_at = None
    after = node
    if (ready is None or ready.status != "Unknown") and not _is_held(lease):
        due = _next_look(heard.at + (STARTUP_GRACE if ready is None else silence))
        if seen.now >= due:
            after = _unknown(node, seen.now)
            writes.append(UpdateStatus(node, after))
            if ready is not None and ready.status == "True":
                writes += lost(node, seen.all(Pod), seen.now)
        else:
            wake_at = due
    tidy = _labelled(tainted(after, seen.now))
    if tidy.spec != node.spec or tidy.metadata != node.metadata:
        writes.append(Update(node, replace(node, metadata=tidy.metadata, spec=tidy.spec)))
    return Decision(tuple(writes), wake_at, heard)


def _heard(node: Node, ready: NodeCondition | None, lease: Lease | None, seen: Seen) -> _Heard:
    heartbeat = None if ready is None else ready.last_heartbeat_time
    renewed = None if lease is None else lease.spec.renew_time
    before = seen.memory
    if not isinstance(before, _Heard):
        created = node.metadata.creation_timestamp
        at = created if ready is None and lease is None and created is not None else seen.now
    elif (heartbeat, renewed) == (before.heartbeat, before.renewed):
        at = before.at
    else:
        said = max((time for time in (heartbeat, renewed) if time is not None), default=seen.now)
        at = said if before.at <= said <= seen.now else seen.now
    return _Heard(heartbeat, renewed, at)


def _is_held(lease: Lease | None) -> bool:
    return lease is not None and bool(lease.spec.holder_identity) and lease.spec.renew_time is None


def _next_look(moment: datetime) -> datetime:
    late = (moment - _EPOCH) % PERIOD
    return moment if not late else moment + PERIOD - late


def _unknown(node: Node, now: datetime) -> Node:
    now = now.replace(microsecond=0)
    conditions = [
        replace(
            each,
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_transition_time=now,
        )
        if each.type in _POSTED_BY_KUBELET and each.status != "Unknown"
        else each
        for each in node.status.conditions
    ]
    conditions += [
        NodeCondition(
            type=kind,
            status="Unknown",
            reason="NodeStatusNeverUpdated",
            message="Kubelet never posted node status.",
            last_heartbeat_time=node.metadata.creation_timestamp,
            last_transition_time=now,
        )
        for kind in _POSTED_BY_KUBELET
        if condition(node, kind) is None
    ]
    return replace(node, status=replace(node.status, conditions=tuple(conditions)))


def lost(node: Node, pods: Iterable[Pod], now: datetime) -> list[Write]:
    """Said once, when a ready node falls silent: its pods serve no more, as far as anybody can tell."""
    message = f"Node {node.metadata.name} status is now: NodeNotReady"
    writes: list[Write] = [RecordEvent(node, "Normal", "NodeNotReady", message)]
    for pod in pods:
        if any(each.type == "Ready" and each.status != "False" for each in pod.status.conditions):
            conditions = tuple(
                replace(each, status="False", last_transition_time=now.replace(microsecond=0))
                if each.type == "Ready"
                else each
                for each in pod.status.conditions
            )
            writes.append(UpdateStatus(pod, replace(pod, status=replace(pod.status, conditions=conditions))))
            writes.append(RecordEvent(pod, "Warning", "NodeNotReady", "Node is not ready"))
    return writes


def tainted(node: Node, now: datetime) -> Node:
    """The node with the NoSchedule taints that its conditions ask for, and no NoExecute taint that they contradict."""
    states = {(each.type, each.status) for each in node.status.conditions}
    wanted = {key for state, key in _CONDITION_TAINTS.items() if state in states}
    if node.spec.unschedulable:
        wanted.add(UNSCHEDULABLE)
    kept = [
        taint
        for taint in node.spec.taints
        if taint.effect != "NoSchedule" or taint.key not in _OURS_NO_SCHEDULE or taint.key in wanted
    ]
    have = {taint.key for taint in kept if taint.effect == "NoSchedule"}
    kept += [_taint(key, "NoSchedule", now) for key in sorted(wanted - have)]
    ready = condition(node, "Ready")
    if ready is not None:
        evicting = {taint.key for taint in kept if _evicts(taint)}
        right = _OURS_NO_EXECUTE.get(ready.status)
        if evicting and right is not None and right not in evicting:
            kept.append(_taint(right, "NoExecute", now))  # the other goes thereafter: taint eviction sees both
        else:
            kept = [taint for taint in kept if not _evicts(taint) or taint.key == right]
    if tuple(kept) == node.spec.taints:
        return node
    return replace(node, spec=replace(node.spec, taints=tuple(kept)))


def _taint(key: str, effect: str, now: datetime) -> Taint:
    return Taint(key=key, effect=effect, time_added=now.replace(microsecond=0))


def _evicts(taint: Taint) -> bool:
    return taint.effect == "NoExecute" and taint.key in (NOT_READY, UNREACHABLE)


def _labelled(node: Node) -> Node:
    labels = node.metadata.labels
    beta = {old: labels[name] for name, old in _BETA_LABELS.items() if name in labels}
    if all(labels.get(name) == value for name, value in beta.items()):
        return node
    return replace(node, metadata=replace(node.metadata, labels={**labels, **beta}))


def _view_of_node(node: Object) -> Object:
    """Everything of interest but heartbeats: those are asked for when their absence would count."""
    assert isinstance(node, Node)
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, uid=node.metadata.uid, labels=node.metadata.labels),
        spec=NodeSpec(taints=node.spec.taints, unschedulable=node.spec.unschedulable),
        status=NodeStatus(conditions=tuple(replace(each, last_heartbeat_time=None) for each in node.status.conditions)),
    )


def _view_of_lease(lease: Object) -> Object:
    assert isinstance(lease, Lease)
    held = LeaseSpec(holder_identity="somebody") if _is_held(lease) else LeaseSpec()
    return Lease(metadata=ObjectMeta(name=lease.metadata.name, namespace=lease.metadata.namespace), spec=held)


# --- all nodes ---

INITIAL: Final = "Initial"
NORMAL: Final = "Normal"
PARTIAL: Final = "PartialDisruption"
FULL: Final = "FullDisruption"
LARGE_CLUSTER: Final = 50
UNHEALTHY_FRACTION: Final = 0.55
EVERY: Final = timedelta(seconds=10)
"""In a healthy zone one node in ten seconds gets its NoExecute taint (`--node-eviction-rate` 0.1)."""
EVERY_IN_LARGE: Final = timedelta(seconds=100)
"""The same in a large zone most of whose nodes are lost (`--secondary-node-eviction-rate` 0.01)."""


@dataclass(frozen=True, slots=True)
class _Zone:
    """`every` None: nothing is evicted here. `free_at`: when the next node may be tainted."""

    state: str
    every: timedelta | None
    free_at: datetime


@dataclass(frozen=True, slots=True)
class _Known:
    nodes: frozenset[tuple[str, str]] = frozenset()
    zones: tuple[tuple[str, _Zone], ...] = ()


def _reconcile_zones(seen: Seen) -> Decision:
    known = seen.memory if isinstance(seen.memory, _Known) else _Known()
    nodes = seen.all(Node)
    present = frozenset((node.metadata.name, node.metadata.uid) for node in nodes)
    writes: list[Write] = [_said(*each, "RegisteredNode", "Registered", "in") for each in sorted(present - known.nodes)]
    writes += [_said(*each, "RemovingNode", "Removing", "from") for each in sorted(known.nodes - present)]
    zones = dict(known.zones)
    for node in nodes:
        zones.setdefault(zone_of(node), _Zone(INITIAL, EVERY, seen.now))
    after, calm = _disrupted(zones, nodes, seen.now)
    if calm:
        writes += [change for node in nodes for change in _spared(node)]
    wakes = []
    for name, zone in sorted(after.items()):
        waiting = sorted((node for node in nodes if zone_of(node) == name and _awaits_taint(node)), key=_since)
        if not waiting or zone.every is None:
            continue
        if seen.now >= zone.free_at:
            writes.append(_evicting(waiting.pop(0), seen.now))
            after[name] = zone = _Zone(zone.state, zone.every, seen.now + zone.every)
        if waiting:
            wakes.append(zone.free_at)
    return Decision(tuple(writes), min(wakes, default=None), _Known(present, tuple(sorted(after.items()))))


def zone_of(node: Node) -> str:
    labels = node.metadata.labels
    names = labels.get("topology.kubernetes.io/region", ""), labels.get("topology.kubernetes.io/zone", "")
    return ":\x00:".join(names) if any(names) else ""


def _said(name: str, uid: str, reason: str, verb: str, preposition: str) -> RecordEvent:
    message = f"Node {name} event: {verb} Node {name} {preposition} Controller"
    return RecordEvent(Node(metadata=ObjectMeta(name=name, uid=uid)), "Normal", reason, message)


def _disrupted(zones: dict[str, _Zone], nodes: tuple[Node, ...], now: datetime) -> tuple[dict[str, _Zone], bool]:
    """The zones as they are now, and whether every one of them has just been lost, so that no pod may be evicted."""
    counted: dict[str, list[Node]] = {}
    for node in nodes:
        if "node.kubernetes.io/exclude-disruption" not in node.metadata.labels:
            counted.setdefault(zone_of(node), []).append(node)
    states = {name: _state(members) for name, members in counted.items()}
    zones = {name: zone for name, zone in zones.items() if any(zone_of(node) == name for node in nodes)}
    judged = [zone.state for name, zone in zones.items() if name in states]
    all_lost = all(state == FULL for state in states.values())
    if all_lost and all(state == FULL for state in judged):
        return zones, False
    if all_lost:
        return {name: _Zone(FULL, None, zone.free_at) for name, zone in zones.items()}, True
    was_all_lost = all(state == FULL for state in judged)
    result = {}
    for name, zone in zones.items():
        state = states.get(name, zone.state)
        if state == zone.state and not was_all_lost:
            result[name] = zone
            continue
        every: timedelta | None = EVERY
        if state == PARTIAL:
            every = EVERY_IN_LARGE if len(counted[name]) > LARGE_CLUSTER else None
        spent = every is not None and (zone.every is None or now < zone.free_at)
        result[name] = _Zone(state, every, now + every if spent and every is not None else now)
    return result, False


def _state(members: list[Node]) -> str:
    lost = sum(1 for node in members if _ready_status(node) != "True")
    if lost == len(members):
        return FULL
    return PARTIAL if lost > 2 and lost / len(members) >= UNHEALTHY_FRACTION else NORMAL


def _ready_status(node: Node) -> str:
    ready = condition(node, "Ready")
    return "" if ready is None else ready.status


def _awaits_taint(node: Node) -> bool:
    return _ready_status(node) in _OURS_NO_EXECUTE and not any(_evicts(taint) for taint in node.spec.taints)


def _since(node: Node) -> tuple[datetime, str]:
    ready = condition(node, "Ready")
    return (ready and ready.last_transition_time) or _EPOCH, node.metadata.name


def _evicting(node: Node, now: datetime) -> Update:
    taints = (*node.spec.taints, _taint(_OURS_NO_EXECUTE[_ready_status(node)], "NoExecute", now))
    return Update(node, replace(node, spec=replace(node.spec, taints=taints)))


def _spared(node: Node) -> list[Write]:
    kept = tuple(taint for taint in node.spec.taints if not _evicts(taint))
    if kept == node.spec.taints:
        return []
    return [Update(node, replace(node, spec=replace(node.spec, taints=kept)))]


def _view_for_zones(node: Object) -> Object:
    assert isinstance(node, Node)
    ready = condition(node, "Ready")
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, uid=node.metadata.uid, labels=node.metadata.labels),
        spec=NodeSpec(taints=tuple(taint for taint in node.spec.taints if _evicts(taint))),
        status=NodeStatus(conditions=() if ready is None else (NodeCondition(type="Ready", status=ready.status),)),
    )


def controllers(silence: timedelta | None = None) -> tuple[Controller, ...]:
    """Both controllers; `silence` is another grace period than the version's (`--node-monitor-grace-period`)."""

    def reconcile(seen: Seen) -> Decision:
        return _reconcile_node(seen, grace(seen.minor) if silence is None else silence)

    return (
        Controller(
            name="node-controller",
            actor="Node life-cycle controller",
            subject=Node,
            reads=(
                Read(Lease, Relation.NAMESAKE, wakes=False),
                Read(Lease, Relation.NAMESAKE, view=_view_of_lease),
                Read(Pod, Relation.HOSTED, wakes=False),
            ),
            reconcile=reconcile,
            view=_view_of_node,
        ),
        Controller(
            name="node-controller",
            actor="Node life-cycle controller (zones)",
            subject=Namespace,  # the one that holds the leases: a subject that there is once
            reads=(
                Read(Node, Relation.ALL, wakes=False),
                Read(Node, Relation.ALL, view=_view_for_zones),
            ),
            reconcile=_reconcile_zones,
            concerned=lambda namespace: namespace.metadata.name == LEASES,
        ),
    )


CONTROLLERS: Final = controllers()
