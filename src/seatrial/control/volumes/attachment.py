"""The attach/detach controller: CSI volumes follow the pods that use them from node to node.

A VolumeAttachment asks the volume's driver to attach it to a node; the driver answers in its status. What this
controller has confirmed stands in the node's `status.volumesAttached`, and a kubelet mounts nothing that is not there;
what a kubelet still has mounted stands in `status.volumesInUse`, and nothing in use is detached. The exceptions are a
node that is not ready, after six minutes, and one with the taint node.kubernetes.io/out-of-service, at once.

Rules, all upstream's: a volume without an access mode for many is attached to one node at a time, and has one operation
under way at a time; an operation waits two minutes for the driver, and one that failed rests for half a second, then
twice as long each time; only pods on nodes that say so by annotation are served. Volumes of other kinds than CSI have
no attachments: every in-tree driver that had is gone or translated.

Upstream polls the attachment twice a second, the first time half a second after the beginning; here its change wakes,
but never before that first look. An attachment that somebody deletes, or says is none, is made good at once, upstream
within a minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from msgspec.structs import replace as with_

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.relations import claim_names
from seatrial.control.writes import Create, Delete, RecordEvent, UpdateStatus, Write
from seatrial.kube.objects import (
    CSIDriver,
    Node,
    Object,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    VolumeAttachment,
)
from seatrial.kube.objects.nodes import AttachedVolume, NodeCondition, NodeSpec, NodeStatus
from seatrial.kube.objects.pods import ContainerStatus, PodSpec, PodStatus
from seatrial.kube.objects.storage import VolumeAttachmentSource, VolumeAttachmentSpec

MANAGED: Final = "volumes.kubernetes.io/controller-managed-attach-detach"
"""A node with this annotation, of whatever value, leaves attaching to this controller."""
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
FORCED_AFTER: Final = timedelta(minutes=6)
PATIENCE: Final = timedelta(minutes=2)
FIRST_LOOK: Final = timedelta(milliseconds=500)
FIRST_REST: Final = timedelta(milliseconds=500)
LONGEST_REST: Final = timedelta(minutes=2, seconds=2)
SILENT_AT_MOST: Final = timedelta(minutes=5)
"""A kubelet writes its node's status at least so often; simulated ones, whose time costs nothing, need not."""
LOOKS_AGAIN: Final = timedelta(seconds=10)
_FOR_MANY: Final = ("ReadWriteMany", "ReadOnlyMany")
_CALM_WORDS_SINCE: Final = 37  # minor version: an exclusive volume that is elsewhere is no "Multi-Attach error"


def unique_name(volume: PersistentVolume) -> str:
    """What a CSI volume is called in a node's status."""
    assert volume.spec.csi is not None, "only CSI volumes are attached"
    return f"kubernetes.io/csi/{volume.spec.csi.driver}^{volume.spec.csi.volume_handle}"


def attachment_name(volume: PersistentVolume, node_name: str) -> str:
    assert volume.spec.csi is not None, "only CSI volumes are attached"
    said = f"{volume.spec.csi.volume_handle}{volume.spec.csi.driver}{node_name}"
    return f"csi-{hashlib.sha256(said.encode()).hexdigest()}"


def is_attachable(volume: PersistentVolume, driver: CSIDriver | None) -> bool:
    """A CSI volume whose driver does not say that it needs no attaching; a driver that nobody announced needs it."""
    return volume.spec.csi is not None and (driver is None or driver.spec.attach_required is not False)


def is_for_many(volume: PersistentVolume) -> bool:
    """It may be attached to several nodes at a time, or says nothing and its driver has to know."""
    modes = volume.spec.access_modes
    return not modes or any(mode in _FOR_MANY for mode in modes)


def has_ended(pod: Pod) -> bool:
    """Its volumes are done with: it has finished, or it is being deleted and none of its containers runs."""
    status = pod.status
    if status.phase in ("Succeeded", "Failed"):
        return True
    statuses = (*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses)
    return pod.metadata.deletion_timestamp is not None and not any(map(_runs, statuses))


def _runs(status: ContainerStatus) -> bool:
    state = status.state
    return state is None or (state.terminated is None and state.waiting is None)


class _Verb(Enum):
    ATTACH = "attach"
    DETACH = "detach"


@dataclass(frozen=True, slots=True)
class _Operation:
    """An attempt under way, or (`rests_until`) the rest after one that failed. `pods` hear how it ends, even if they
    have ended themselves by then.
    """

    verb: _Verb
    node: str
    began_at: datetime
    pods: tuple[tuple[str, str, str], ...] = ()
    """Their namespaces, names and uids."""
    failures: int = 0
    rests_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Memory:
    """What upstream keeps in its process. An exclusive volume has one operation, under "", others one for each node."""

    operations: tuple[tuple[str, _Operation], ...] = ()
    unwanted_since: tuple[tuple[str, datetime], ...] = ()
    mounted_by: frozenset[str] = frozenset()
    """Nodes that said so last: one that is gone says no more."""
    told: frozenset[str] = frozenset()
    """Nodes whose pods know already that the volume is elsewhere."""
    supposed: tuple[tuple[str, str, datetime], ...] = ()
    """Nodes where attaching has failed, their version and when: until they say something they may have it mounted."""


class _Round:
    """One decision about one volume."""

    def __init__(self, seen: Seen, volume: PersistentVolume) -> None:
        memory = seen.memory
        self.before = memory if isinstance(memory, _Memory) else _Memory()
        self.now, self.minor = seen.now, seen.minor
        self.volume = volume
        self.name = unique_name(volume)
        self.for_many = is_for_many(volume)
        self.nodes = {node.metadata.name: node for node in seen.all(Node)}
        self.attachments = {
            each.spec.node_name: each
            for each in seen.all(VolumeAttachment)
            if each.metadata.name == attachment_name(volume, each.spec.node_name)
        }
        self.wanted = _wanted(seen, volume, self.nodes, self.attachments)
        self.confirmed = {name for name, node in self.nodes.items() if self._reported(node)}
        self.confirmed |= {
            name
            for name, each in self.attachments.items()
            if name not in self.nodes and each.status.attached and each.metadata.deletion_timestamp is None
        }
        self.mounted = {name for name, node in self.nodes.items() if self.name in node.status.volumes_in_use}
        self.mounted |= self.before.mounted_by - self.nodes.keys()
        self.supposed = {
            name: (version, since)
            for name, version, since in self.before.supposed
            if self._version(name) == version and self.now < since + SILENT_AT_MOST
        }
        self.mounted |= self.supposed.keys()
        self.operations = dict(self.before.operations)
        self.unwanted_before = dict(self.before.unwanted_since)
        self.unwanted_since: dict[str, datetime] = {}
        self.told = {name for name in self.before.told if name in self.wanted}
        self.writes: list[Write] = []
        self.wakes: list[datetime] = []

    def decide(self) -> Decision:
        for node_name in sorted(self.confirmed):
            attachment = self.attachments.get(node_name)
            if attachment is None or not attachment.status.attached:  # somebody has taken it away
                self.confirmed.discard(node_name)
                self._report(node_name, attached=False)
        for key, operation in tuple(self.operations.items()):
            if operation.rests_until is None:
                self._follow(key, operation)
        for node_name in sorted((self.confirmed | self.attachments.keys()) - self.wanted.keys()):
            self._give_back(node_name)
        for node_name in sorted(self.wanted):
            self._take(node_name)
        here = self.confirmed | self.attachments.keys()
        memory = _Memory(
            tuple(self.operations.items()),
            tuple(self.unwanted_since.items()),
            frozenset((self.mounted - self.supposed.keys()) & here),
            frozenset(self.told),
            tuple((name, *what) for name, what in self.supposed.items() if name in here),
        )
        wake_at = min(self.wakes, default=None)
        return Decision(tuple(self.writes), wake_at, None if memory == _Memory() else memory)

    # --- what has become of what was begun ---

    def _follow(self, key: str, operation: _Operation) -> None:
        looks_at, gives_up_at = operation.began_at + FIRST_LOOK, operation.began_at + PATIENCE
        if self.now < looks_at:
            self.wakes.append(looks_at)
            return
        attachment = self.attachments.get(operation.node)
        error = ""
        if operation.verb is _Verb.DETACH:
            if attachment is None:
                del self.operations[key]
                return
            if attachment.status.detach_error is not None:
                error = attachment.status.detach_error.message
        elif attachment is not None:
            if attachment.metadata.deletion_timestamp is not None:
                error = "volume attachment is being deleted"
            elif attachment.status.attached:
                del self.operations[key]
                self._confirm(operation)
                return
            elif attachment.status.attach_error is not None:
                error = attachment.status.attach_error.message
        if not error and self.now < gives_up_at:
            self.wakes.append(gives_up_at)
            return
        csi = self.volume.spec.csi
        assert csi is not None, "only CSI volumes are attached"
        driver = csi.driver if operation.verb is _Verb.ATTACH else "unknown"
        late = (
            f"timed out waiting for external-attacher of {driver} CSI driver to {operation.verb.value} volume "
            f"{csi.volume_handle}"
        )
        if operation.verb is _Verb.ATTACH:
            what = f"AttachVolume.Attach failed{self._about} : "
            self._tell(_pods(operation), "Warning", "FailedAttachVolume", what, error or late)
            if operation.node in self.nodes and operation.node not in self.supposed and not operation.failures:
                self.supposed[operation.node] = (self._version(operation.node), self.now)
                self.mounted.add(operation.node)
        rest = min(LONGEST_REST, FIRST_REST * 2 ** min(operation.failures, 10))
        failed = replace(operation, failures=operation.failures + 1, rests_until=self.now + rest)
        self.operations[key] = failed

    def _confirm(self, operation: _Operation) -> None:
        self.confirmed.add(operation.node)
        self.supposed.pop(operation.node, None)
        if operation.node not in self.nodes:  # it will never say that it is done with it
            self.mounted.add(operation.node)
        self._report(operation.node, attached=True)
        what = f"AttachVolume.Attach succeeded{self._about} "
        self._tell(_pods(operation), "Normal", "SuccessfulAttachVolume", what, "")

    # --- what is to begin ---

    def _give_back(self, node_name: str) -> None:
        """Detach from a node where no pod wants the volume, unless its kubelet still has it mounted."""
        if self._is_under_way(node_name):
            return
        since = self.unwanted_before.get(node_name, self.now)
        self.unwanted_since[node_name] = since
        node = self.nodes.get(node_name)
        forced = self.now - since > FORCED_AFTER and not (node is not None and _is_ready(node))
        out_of_service = node is not None and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
        if node_name in self.mounted and not forced and not out_of_service:
            due = since + FORCED_AFTER + timedelta(milliseconds=100)  # upstream's loop passes after, not at, the limit
            if self.now < due:
                self.wakes.append(due)
            if node_name in self.supposed:
                self.wakes.append(min(self.now + LOOKS_AGAIN, self.supposed[node_name][1] + SILENT_AT_MOST))
            return
        if self._rests(node_name, _Verb.DETACH):
            return
        self._report(node_name, attached=False)
        self.confirmed.discard(node_name)
        attachment = self.attachments.get(node_name)
        if attachment is None:
            return
        if attachment.metadata.deletion_timestamp is None:
            self.writes.append(Delete(attachment))
        self._begin(node_name, _Verb.DETACH)

    def _take(self, node_name: str) -> None:
        """Attach to a node where a pod wants the volume."""
        if self._is_under_way(node_name) or node_name in self.confirmed:
            return
        elsewhere = self.confirmed - {node_name}
        if elsewhere and not self.for_many:
            if node_name not in self.told:
                self.told.add(node_name)
                self._tell_elsewhere(node_name, elsewhere)
            return
        if self._rests(node_name, _Verb.ATTACH):
            return
        if node_name not in self.attachments:
            spec = VolumeAttachmentSpec(
                attacher=self.volume.spec.csi.driver if self.volume.spec.csi is not None else "",
                node_name=node_name,
                source=VolumeAttachmentSource(persistent_volume_name=self.volume.metadata.name),
            )
            meta = ObjectMeta(name=attachment_name(self.volume, node_name))
            self.writes.append(Create(VolumeAttachment(metadata=meta, spec=spec)))
        self._begin(node_name, _Verb.ATTACH)

    def _key(self, node_name: str) -> str:
        return node_name if self.for_many else ""

    def _is_under_way(self, node_name: str) -> bool:
        operation = self.operations.get(self._key(node_name))
        return operation is not None and operation.rests_until is None

    def _rests(self, node_name: str, verb: _Verb) -> bool:
        """An attempt of the same kind failed a moment ago; one of the other kind does not count."""
        operation = self.operations.get(self._key(node_name))
        if operation is None or operation.verb is not verb or operation.rests_until is None:
            return False
        if self.now >= operation.rests_until:
            return False
        self.wakes.append(operation.rests_until)
        return True

    def _begin(self, node_name: str, verb: _Verb) -> None:
        before = self.operations.get(self._key(node_name))
        failures = before.failures if before is not None and before.verb is verb else 0
        wanted = (pod.metadata for pod in self.wanted.get(node_name, ()))
        pods = tuple((meta.namespace, meta.name, meta.uid) for meta in wanted)
        self.operations[self._key(node_name)] = _Operation(verb, node_name, self.now, pods, failures)
        self.wakes.append(self.now + FIRST_LOOK)

    # --- what is written ---

    def _version(self, node_name: str) -> str:
        node = self.nodes.get(node_name)
        return "" if node is None else node.metadata.resource_version

    def _reported(self, node: Node) -> bool:
        return any(each.name == self.name for each in node.status.volumes_attached)

    def _report(self, node_name: str, *, attached: bool) -> None:
        node = self.nodes.get(node_name)
        if node is None or self._reported(node) is attached:
            return
        others = tuple(each for each in node.status.volumes_attached if each.name != self.name)
        volumes = (*others, AttachedVolume(name=self.name)) if attached else others
        after = with_(node, status=with_(node.status, volumes_attached=volumes))
        self.writes.append(UpdateStatus(node, after))
        self.nodes[node_name] = after

    @property
    def _about(self) -> str:
        return f' for volume "{self.volume.metadata.name}"'

    def _tell(self, pods: Iterable[Pod], kind: str, reason: str, what: str, why: str) -> None:
        self.writes += [RecordEvent(pod, kind, reason, what + why) for pod in pods]

    def _tell_elsewhere(self, node_name: str, elsewhere: Iterable[str]) -> None:
        calm = self.minor >= _CALM_WORDS_SINCE
        users = [pod.metadata.name for other in sorted(elsewhere) for pod in self.wanted.get(other, ())]
        if users:  # all in one namespace: they share the claim
            why = f"Volume is already used by pod(s) {', '.join(users)}"
        elif calm:
            why = (
                "Volume is already exclusively attached to one node, waiting on detach before it can be attached to "
                "another node"
            )
        else:
            why = "Volume is already exclusively attached to one node and can't be attached to another"
        what = "Waiting for detach" if calm else "Multi-Attach error"
        self._tell(self.wanted[node_name], "Warning", "FailedAttachVolume", f"{what}{self._about} ", why)


def _pods(operation: _Operation) -> Iterable[Pod]:
    for namespace, name, uid in operation.pods:
        yield Pod(metadata=ObjectMeta(namespace=namespace, name=name, uid=uid))


def _wanted(
    seen: Seen, volume: PersistentVolume, nodes: Mapping[str, Node], attachments: Mapping[str, VolumeAttachment]
) -> dict[str, list[Pod]]:
    """The pods that want the volume, by node. A node that is gone keeps what it had while its pods are there."""
    assert volume.spec.csi is not None, "only CSI volumes are attached"
    driver = next((each for each in seen.all(CSIDriver) if each.metadata.name == volume.spec.csi.driver), None)
    claim = next((each for each in seen.all(PersistentVolumeClaim) if _is_bound(each, volume)), None)
    found: dict[str, list[Pod]] = {}
    if claim is None or not is_attachable(volume, driver):
        return found
    for pod in seen.all(Pod):
        node = nodes.get(pod.spec.node_name)
        served = pod.spec.node_name in attachments if node is None else MANAGED in node.metadata.annotations
        if served and not has_ended(pod) and _mounts(pod, claim):
            found.setdefault(pod.spec.node_name, []).append(pod)
    return found


def _is_bound(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    ref = volume.spec.claim_ref
    bound = claim.status.phase == "Bound" and claim.spec.volume_name == volume.metadata.name
    return bound and ref is not None and ref.uid == claim.metadata.uid


def _mounts(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    """The pod names the claim, or owns it where it is made from the pod's own template."""
    if pod.metadata.namespace != claim.metadata.namespace or claim.metadata.name not in claim_names(pod):
        return False
    named = any(
        volume.persistent_volume_claim is not None and volume.persistent_volume_claim.claim_name == claim.metadata.name
        for volume in pod.spec.volumes
    )
    owner = claim.metadata.controller
    return named or (owner is not None and owner.uid == pod.metadata.uid)


def _is_ready(node: Node) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)


def _reconcile(seen: Seen) -> Decision:
    volume = seen.subject
    assert isinstance(volume, PersistentVolume)
    return _Round(seen, volume).decide()


def _concerns(volume: Object) -> bool:
    assert isinstance(volume, PersistentVolume)
    csi = volume.spec.csi
    return csi is not None and bool(csi.driver) and bool(csi.volume_handle)


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, Node)
    meta, status = node.metadata, node.status
    return Node(
        metadata=ObjectMeta(name=meta.name, annotations={MANAGED: ""} if MANAGED in meta.annotations else {}),
        spec=NodeSpec(taints=tuple(taint for taint in node.spec.taints if taint.key == OUT_OF_SERVICE)),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status="True"),) if _is_ready(node) else (),
            volumes_attached=status.volumes_attached,
            volumes_in_use=status.volumes_in_use,
        ),
    )


def _view_of_pod(pod: Object) -> Object:
    """As far as it matters here, whether a pod has ended is its phase."""
    assert isinstance(pod, Pod)
    meta = pod.metadata
    return Pod(
        metadata=ObjectMeta(namespace=meta.namespace, name=meta.name, uid=meta.uid),
        spec=PodSpec(node_name=pod.spec.node_name, volumes=pod.spec.volumes),
        status=PodStatus(phase="Failed" if has_ended(pod) else ""),
    )


CONTROLLER: Final = Controller(
    name="attachdetach-controller",
    actor="Attach/detach controller",
    subject=PersistentVolume,
    reads=(
        Read(PersistentVolumeClaim, Relation.STORAGE),
        Read(Pod, Relation.STORAGE, view=_view_of_pod),
        Read(VolumeAttachment, Relation.STORAGE),
        Read(Node, Relation.ALL, wakes=False),
        Read(Node, Relation.ALL, view=_view_of_node),
        Read(CSIDriver, Relation.ALL),
    ),
    reconcile=_reconcile,
    concerned=_concerns,
)
