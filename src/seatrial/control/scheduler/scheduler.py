"""What the scheduler does about its decisions: the writes, and the `Scheduler` that follows a whole cluster.

`Scheduler` keeps a board, the queue and what was counted for each class of equal pods: caches of what was observed,
told by `change`. `CONTROLLER` makes the same decisions one at a time from what is seen, with nothing kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import NEWEST_MINOR, Controller, Decision, Read, Relation, Seen
from seatrial.control.scheduler import volumes
from seatrial.control.scheduler.board import ENDED, Board
from seatrial.control.scheduler.evaluation import FOUND_SAID_SINCE, Evaluations, place
from seatrial.control.scheduler.placement import Placement
from seatrial.control.scheduler.preemption import BY_SCHEDULER
from seatrial.control.scheduler.profiles import DEFAULT, NAME, Profile
from seatrial.control.scheduler.queue import PLUGINS, Queue
from seatrial.control.writes import Bind, Delete, RecordEvent, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    Key,
    Namespace,
    Node,
    Object,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    StorageClass,
    VolumeAttachment,
)
from seatrial.kube.objects.nodes import NodeSpec, NodeStatus
from seatrial.kube.objects.pods import ContainerStatus, PodCondition, PodStatus
from seatrial.kube.objects.services import ObjectReference

Choose = Callable[[Sequence[str]], str]
"""Takes one of several equally good nodes (upstream: a draw)."""

NOTE_MAX: Final = 1024  # characters of an event's message


def first(names: Sequence[str]) -> str:
    return names[0]


class Scheduler:
    """All of a cluster's scheduling: told what changes, asked which pod is next and what to do about it."""

    def __init__(
        self, profiles: Sequence[Profile] = (DEFAULT,), *, minor: int = NEWEST_MINOR, choose: Choose = first
    ) -> None:
        self.queue = Queue(eager=minor >= 33)
        self._profiles = {profile.name: profile for profile in profiles}
        self._board = Board(minor)
        self._evaluations = Evaluations(self._board)
        self._choose = choose
        self._pods: dict[Key, Pod] = {}

    def change(self, before: Object | None, after: Object | None, now: datetime) -> None:
        """`before` (None: nothing) has become `after` (None: nothing)."""
        changed = after if after is not None else before
        view = _VIEWS.get(type(changed)) if changed is not None else None
        if view is None:
            return
        if isinstance(changed, Pod):
            if after is None:
                self._pods.pop(changed.key, None)
            else:
                self._pods[changed.key] = changed
        old = None if before is None else _of_the_board(view(before))
        new = None if after is None else _of_the_board(view(after))
        if old != new:
            self._board.change(old, new)
            self.queue.changed(old, new, now)
        if isinstance(after, Pod) and self._waits(after):
            self.queue.put(after, now)
        elif isinstance(changed, Pod):
            self.queue.forget(changed.key)

    def next(self, now: datetime) -> Pod | None:
        return self.queue.pop(now)

    def placement(self, pod: Pod) -> Placement:
        return place(pod, self._board, self._profiles[pod.spec.scheduler_name or NAME], self._evaluations)

    def place(self, pod: Pod, now: datetime) -> Decision:
        """What to do for `pod` now; whoever executes it tells the changes, and `failed` if a write is not taken."""
        profile = self._profiles[pod.spec.scheduler_name or NAME]
        placement = place(pod, self._board, profile, self._evaluations, brief=True)
        if not placement.best:
            self.queue.failed(pod, _refused_by(placement), now)
        decision = decide(pod, placement, self._board, now, self._choose, self._whole)
        if placement.best and not any(isinstance(write, Bind) for write in decision.writes):
            self.queue.failed(pod, {"VolumeBinding"}, now)  # until its claims are bound
        return decision

    def failed(self, pod: Pod, now: datetime) -> None:
        """A write for `pod` did not get through: it is tried again after its back-off."""
        self.queue.failed(pod, (), now)

    def _whole(self, pod: Pod) -> Pod:
        return self._pods.get(pod.key, pod)

    def _waits(self, pod: Pod) -> bool:
        profile = self._profiles.get(pod.spec.scheduler_name or NAME)
        return profile is not None and waits(pod) and not (pod.spec.scheduling_gates and profile.gates)


def decide(
    pod: Pod,
    placement: Placement,
    board: Board,
    now: datetime,
    choose: Choose = first,
    whole: Callable[[Pod], Pod] = lambda pod: pod,
) -> Decision:
    """The writes that follow from a placement. `whole` gives of a pod on the board all that is known of it."""
    if placement.error:
        condition = _unscheduled(pod, "SchedulerError", placement.error, now)
        return Decision(_reported(pod, condition, pod.status.nominated_node_name, placement.error))
    if placement.best:
        node = choose(placement.best)
        claims = _claims(pod, board, node)
        if claims is not None:
            return Decision(claims)
        assigned = f"Successfully assigned {pod.metadata.namespace}/{pod.metadata.name} to {node}"
        return Decision((Bind(pod, node), RecordEvent(pod, "Normal", "Scheduled", assigned)))
    text = placement.message
    # What upstream could not decide about leaves the nomination as it is.
    nominated = pod.status.nominated_node_name if "preemption: not eligible" in text else ""
    evictions: tuple[Write, ...] = ()
    if placement.nominated:
        nominated = choose(placement.nominated)
        found = placement.candidate(nominated)
        assert found is not None
        if board.minor >= FOUND_SAID_SINCE:
            text += (
                f" preemption: found a potential placement for pod on node {nominated},"
                f" preempting {len(found.victims)} victims"
            )
        less = [whole(other) for other in board.nominated.get(nominated, {}).values()]
        evictions = _evictions(pod, nominated, less, [whole(victim) for victim in found.victims], now)
    condition = _unscheduled(pod, "Unschedulable", text, now)
    return Decision((*_reported(pod, condition, nominated, text), *evictions))


def waits(pod: Object) -> bool:
    """Somebody's to place: not placed, not going away or ended."""
    assert isinstance(pod, Pod)
    return not pod.spec.node_name and pod.metadata.deletion_timestamp is None and pod.status.phase not in ENDED


def _ours(pod: Object) -> bool:
    """To be placed by the default profile now: not held back by a gate."""
    assert isinstance(pod, Pod)
    return waits(pod) and not pod.spec.scheduling_gates and pod.spec.scheduler_name in ("", NAME)


def _reconcile(seen: Seen) -> Decision:
    pod = seen.subject
    assert isinstance(pod, Pod)
    if not _ours(pod):
        return Decision()
    others = [item for kind in OTHER_KINDS for item in seen.all(kind)]
    board = Board.of(seen.all(Node), seen.all(Pod), seen.all(Namespace), but=pod, others=others, minor=seen.minor)
    return decide(pod, place(pod, board), board, seen.now)


def _refused_by(placement: Placement) -> set[str]:
    return {PLUGINS[obstacle.reason] for obstacle in placement.obstacles}


def _unscheduled(pod: Pod, reason: str, text: str, now: datetime) -> PodCondition:
    before = next((given for given in pod.status.conditions if given.type == "PodScheduled"), None)
    same = before is not None and before.status == "False"
    return PodCondition(
        type="PodScheduled",
        status="False",
        reason=reason,
        message=text,
        last_transition_time=before.last_transition_time if before and same else now.replace(microsecond=0),
        observed_generation=pod.metadata.generation,
    )


def _reported(pod: Pod, condition: PodCondition, nominated: str, text: str) -> tuple[Write, ...]:
    """The condition and an event, if they say something new."""
    after = _with_condition(pod, condition)
    after = replace(after, status=replace(after.status, nominated_node_name=nominated))
    if after == pod:
        return ()
    note = text if len(text) <= NOTE_MAX else f"{text[: NOTE_MAX - 4]} ..."
    return UpdateStatus(pod, after), RecordEvent(pod, "Warning", "FailedScheduling", note)


def _evictions(
    pod: Pod, node: str, nominated: Sequence[Pod], victims: Sequence[Pod], now: datetime
) -> tuple[Write, ...]:
    """Less important pods lose their nomination to the node, and the victims their place on it."""
    writes: list[Write] = []
    mine = pod.spec.priority or 0
    for other in nominated:
        if (other.spec.priority or 0) < mine:
            writes.append(UpdateStatus(other, replace(other, status=replace(other.status, nominated_node_name=""))))
    for victim in victims:
        if victim.metadata.deletion_timestamp is not None:
            continue
        condition = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason=BY_SCHEDULER,
            message=f"{pod.spec.scheduler_name or NAME}: preempting to accommodate a higher priority pod",
            last_transition_time=now.replace(microsecond=0),
            observed_generation=victim.metadata.generation,
        )
        writes.append(UpdateStatus(victim, _with_condition(victim, condition)))
        writes.append(Delete(victim))
        told = f"Preempted by pod {pod.metadata.uid} on node {node}"
        writes.append(RecordEvent(victim, "Normal", "Preempted", told))
    return tuple(writes)


def _with_condition(pod: Pod, condition: PodCondition) -> Pod:
    conditions = pod.status.conditions
    at = next((index for index, given in enumerate(conditions) if given.type == condition.type), len(conditions))
    return replace(pod, status=replace(pod.status, conditions=(*conditions[:at], condition, *conditions[at + 1 :])))


def _claims(pod: Pod, board: Board, node: str) -> tuple[Write, ...] | None:
    """Binds or has provisioned the pod's claims for `node`; None when all are bound and the pod can go there."""
    if not board.knows_others or not volumes.needs(pod):
        return None
    found = volumes.Volumes.of(pod, board, ("VolumeBinding",))
    site = board.site(node)
    assert site is not None
    if not found.delayed or found.binding(site):
        return None
    binding = found.bindings[node]
    writes: list[Write] = []
    for claim, volume in binding.volumes:
        reference = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=claim.metadata.namespace,
            name=claim.metadata.name,
            uid=claim.metadata.uid,
            resource_version=claim.metadata.resource_version,
        )
        if volume.spec.claim_ref is None or volume.spec.claim_ref.uid != claim.metadata.uid:
            annotations = {**volume.metadata.annotations, "pv.kubernetes.io/bound-by-controller": "yes"}
            if volume.spec.claim_ref is not None:  # reserved for the claim by somebody: not ours to take back
                annotations = dict(volume.metadata.annotations)
            bound = replace(
                volume,
                metadata=replace(volume.metadata, annotations=annotations),
                spec=replace(volume.spec, claim_ref=reference),
            )
            writes.append(Update(volume, bound))
    for claim, _ in binding.provisions:
        if volumes.SELECTED_NODE not in claim.metadata.annotations:
            annotations = {**claim.metadata.annotations, volumes.SELECTED_NODE: node}
            writes.append(Update(claim, replace(claim, metadata=replace(claim.metadata, annotations=annotations))))
    if pod.status.nominated_node_name != node and board.minor >= 35:
        writes.append(UpdateStatus(pod, replace(pod, status=replace(pod.status, nominated_node_name=node))))
    return tuple(writes)


def view_of_node(node: Object) -> Object:
    """Name, labels, spec, allocatable resources, images, features: nothing else about a node changes a placement."""
    assert isinstance(node, Node)
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, labels=node.metadata.labels),
        spec=NodeSpec(taints=node.spec.taints, unschedulable=node.spec.unschedulable),
        status=NodeStatus(
            allocatable=node.status.allocatable,
            images=node.status.images,
            declared_features=node.status.declared_features,
        ),
    )


def view_of_pod(pod: Object) -> Object:
    """What placing another pod depends on: identity, labels, owners, deletion, spec, phase, age, nomination, resize.

    The conditions of placed pods are whole, since preemption adds one and a list is written as a whole.
    """
    assert isinstance(pod, Pod)
    metadata, status = pod.metadata, pod.status
    return Pod(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            labels=metadata.labels,
            owner_references=metadata.owner_references,
            deletion_timestamp=metadata.deletion_timestamp,
        ),
        spec=pod.spec,
        status=PodStatus(
            phase=status.phase,
            start_time=status.start_time,
            nominated_node_name=status.nominated_node_name,
            conditions=status.conditions if pod.spec.node_name else (),
            container_statuses=tuple(map(_resized, filter(_is_resized, status.container_statuses))),
            init_container_statuses=tuple(map(_resized, filter(_is_resized, status.init_container_statuses))),
        ),
    )


def _of_the_board(item: Object) -> Object:
    """Of a pod's conditions the board needs two only; writes are made from the whole pod."""
    if not isinstance(item, Pod) or not item.status.conditions:
        return item
    kept = tuple(each for each in item.status.conditions if each.type in ("DisruptionTarget", "PodResizePending"))
    return replace(item, status=replace(item.status, conditions=kept))


def _is_resized(status: ContainerStatus) -> bool:
    return bool(status.allocated_resources or status.resources.requests)


def _resized(status: ContainerStatus) -> ContainerStatus:
    return ContainerStatus(name=status.name, allocated_resources=status.allocated_resources, resources=status.resources)


def view_of_namespace(namespace: Object) -> Object:
    assert isinstance(namespace, Namespace)
    return Namespace(metadata=ObjectMeta(name=namespace.metadata.name, labels=namespace.metadata.labels))


def _selector_of(item: Object) -> Object:
    """A Service or controller, of which only the selector matters."""
    assert isinstance(item, Service | ReplicaSet | ReplicationController | StatefulSet)
    kind = type(item)
    made = kind(metadata=ObjectMeta(name=item.metadata.name, namespace=item.metadata.namespace))
    return replace(made, spec=replace(made.spec, selector=item.spec.selector))


def _whole(item: Object) -> Object:
    return item


_VIEWS: Final[dict[type[Object], Callable[[Object], Object]]] = {
    Node: view_of_node,
    Pod: view_of_pod,
    Namespace: view_of_namespace,
    Service: _selector_of,
    ReplicaSet: _selector_of,
    ReplicationController: _selector_of,
    StatefulSet: _selector_of,
    PersistentVolume: _whole,
    PersistentVolumeClaim: _whole,
    StorageClass: _whole,
    CSINode: _whole,
    CSIDriver: _whole,
    CSIStorageCapacity: _whole,
    VolumeAttachment: _whole,
    PodDisruptionBudget: _whole,
}
OTHER_KINDS: Final = tuple(kind for kind in _VIEWS if kind not in (Node, Pod, Namespace))

CONTROLLER: Final = Controller(
    name=NAME,
    actor="Scheduler",
    subject=Pod,
    reads=tuple(
        Read(kind, Relation.ALL, view=view, wakes=kind is not PodDisruptionBudget) for kind, view in _VIEWS.items()
    ),
    reconcile=_reconcile,
    concerned=_ours,
)
