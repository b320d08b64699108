"""The DaemonSet controller: one pod on each node that suits, pinned there by node affinity, placed by the scheduler.

One decision does what one of upstream's syncs does: first the right pods on the right nodes; only when nothing of that
is left to do, the rolling update. Which of equally good nodes is updated first is the order of their names (upstream:
any). What a failed pod's node has to wait before the next try is remembered from decision to decision.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

from msgspec.structs import replace

from seatrial.control import revisions, rollout
from seatrial.control.batches import at_once, slow_start
from seatrial.control.controller import Batch, Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import available_at, claim, is_available, is_ready
from seatrial.control.replicaset import NAMESPACE_ENDS
from seatrial.control.revisions import REVISION_LABEL
from seatrial.control.scheduler import machines
from seatrial.control.templates import pod_from, template_hash
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    ControllerRevision,
    DaemonSet,
    LabelSelector,
    Node,
    Object,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
)
from seatrial.kube.objects.nodes import NodeSpec
from seatrial.kube.objects.pods import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Toleration,
)

GENERATION_ANNOTATION: Final = "deprecated.daemonset.template.generation"
GENERATION_LABEL: Final = "pod-template-generation"
BURST: Final = 250
"""Creations or deletions in one decision, upstream's `BurstReplicas`."""
_NODE_QUEUE_SINCE: Final = (
    33  # minor version: changed nodes have a queue (`syncNodeUpdate`), which asks what is there now
)
_FIRST_DELAY: Final = timedelta(seconds=1)
_LAST_DELAY: Final = timedelta(minutes=15)

_TOLERATED: Final = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST_NETWORK: Final = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a node waits between two tries, counted from `since`; `generation` is the set's then."""

    node: str
    generation: int
    wait: timedelta
    since: datetime


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, DaemonSet)
    memory = cast("tuple[Delay, ...]", seen.memory or ())
    if subject.spec.selector == LabelSelector():
        message = "This daemon set is selecting all pods. A non-empty selector is required."
        return Decision((RecordEvent(subject, "Warning", "SelectingAll", message),), memory=memory or None)
    if subject.metadata.deletion_timestamp is not None:
        return Decision()
    pods, claims = claim(subject, subject.spec.selector, seen.all(Pod))
    history = _History.of(subject, seen, pods)
    if history.collided:
        status = replace(subject.status, collision_count=(subject.status.collision_count or 0) + 1)
        return Decision((UpdateStatus(subject, replace(subject, status=status)),), memory=memory or None)
    work = _Work(
        set=subject,
        now=seen.now,
        nodes=seen.all(Node),
        hash=history.hash,
        pods=[history.relabelled.get(pod.metadata.name, pod) for pod in pods],
        delays={delay.node: delay for delay in memory},
    )
    if seen.refused:
        explained = [work.explain(refusal) for refusal in seen.refused]
        told = work.tell() if any(explained) else []
        return Decision((*work.writes, *told), work.wake_at(), memory=work.memory())
    work.writes += (*history.writes, *claims)
    if not work.manage() and subject.spec.update_strategy.type == "RollingUpdate":
        work.roll()
    truncated = [] if work.is_stuck() else history.truncate(pods)
    writes = (*work.writes, *truncated, *work.tell())
    return Decision(writes, work.wake_at(), memory=work.memory(), batches=tuple(work.batches))


@dataclass(frozen=True, slots=True)
class _History:
    """The revisions of the set: the hash of the current one, and those of the past."""

    set: DaemonSet
    hash: str
    old: tuple[ControllerRevision, ...]
    relabelled: Mapping[str, Pod]
    """Pods of a duplicate revision, as they become pods of the one that is kept."""
    writes: tuple[Write, ...]
    collided: bool = False

    @classmethod
    def of(cls, subject: DaemonSet, seen: Seen, pods: Iterable[Pod]) -> _History:
        known = {revision.metadata.name: revision for revision in seen.all(ControllerRevision)}
        mine, claims = claim(subject, subject.spec.selector, known.values())
        after = {update.before.metadata.name: update.after for update in claims}
        for revision in mine:
            labels = revision.metadata.labels
            if REVISION_LABEL not in labels:
                labels = {**labels, REVISION_LABEL: revision.metadata.name}
                after[revision.metadata.name] = replace(revision, metadata=replace(revision.metadata, labels=labels))
        mine = [cast("ControllerRevision", after.get(found.metadata.name, found)) for found in mine]
        same = [found for found in mine if revisions.template_of(found) == subject.spec.template]
        old = tuple(revisions.in_order(found for found in mine if found not in same))
        number = max((found.revision for found in old), default=0) + 1
        writes: list[Write] = []
        if not same:
            made = _snapshot(subject, number, seen.minor)
            if made.metadata.name in known:
                return cls(subject, "", old, {}, (), collided=True)
            kept = made
            writes.append(Create(made))
        else:
            kept = max(same, key=lambda found: found.revision)
            if kept.revision < number:
                after[kept.metadata.name] = replace(kept, revision=number)
        digest = kept.metadata.labels[REVISION_LABEL]
        relabelled: dict[str, Pod] = {}
        if len(same) > 1:
            for pod in pods:
                if pod.metadata.labels.get(REVISION_LABEL) != digest:
                    labels = {**pod.metadata.labels, REVISION_LABEL: digest}
                    changed = replace(pod, metadata=replace(pod.metadata, labels=labels))
                    relabelled[pod.metadata.name] = changed
                    writes.append(Update(pod, changed))
            writes += (Delete(found) for found in same if found is not kept)
        updates = (Update(known[name], changed) for name, changed in after.items())
        return cls(subject, digest, old, relabelled, (*updates, *writes))

    def truncate(self, pods: Iterable[Pod]) -> list[Write]:
        """Delete the oldest revisions that no pod is of, beyond revisionHistoryLimit."""
        limit = self.set.spec.revision_history_limit
        excess = 0 if limit is None else len(self.old) - limit
        live = {pod.metadata.labels.get(REVISION_LABEL) for pod in pods}
        unused = [found for found in self.old if found.metadata.labels.get(REVISION_LABEL) not in live]
        return [Delete(found) for found in unused[: max(0, excess)]]


def _snapshot(subject: DaemonSet, number: int, minor: int) -> ControllerRevision:
    template = subject.spec.template
    digest = template_hash(template, subject.status.collision_count)
    name = f"{subject.metadata.name}-{digest}"
    labels = {**template.metadata.labels, REVISION_LABEL: digest}
    return revisions.new_revision(subject, name, labels, revisions.patch_of(template, minor), number)


@dataclass(slots=True)
class _Work:
    """One decision in the making."""

    set: DaemonSet
    now: datetime
    nodes: tuple[Node, ...]
    hash: str
    pods: list[Pod]
    delays: dict[str, Delay]
    """By node: waiting times after failed pods."""
    template: PodTemplateSpec = field(init=False)
    """The set's template with what every pod of a DaemonSet gets."""
    should_run: dict[str, bool] = field(init=False)
    may_stay: dict[str, bool] = field(init=False)
    on_node: dict[str, list[Pod]] = field(init=False)
    writes: list[Write] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    retries: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.template = _completed(self.set, self.hash)
        model = Pod(spec=self.template.spec)
        self.should_run = {}
        self.may_stay = {}
        for node in self.nodes:
            self.should_run[node.metadata.name], self.may_stay[node.metadata.name] = _suits(model, node)
        self.on_node = {}
        for pod in self.pods:
            ended = pod.status.phase in {"Succeeded", "Failed"} and pod.metadata.deletion_timestamp is not None
            target = target_of(pod)
            if target is not None and not ended:
                self.on_node.setdefault(target, []).append(pod)
        for found in self.on_node.values():
            found.sort(key=_age)

    # The right pods on the right nodes

    def manage(self) -> bool:
        """Whether there is something to do."""
        missing: list[str] = []
        gone: list[Pod] = []
        for name in sorted(self.should_run):
            if self.should_run[name] and name not in self.on_node:
                missing.append(name)
            elif self.may_stay[name]:
                self._tidy(name, missing, gone)
            else:
                gone += (pod for pod in self.on_node.get(name, ()) if pod.metadata.deletion_timestamp is None)
        for name, pods in sorted(self.on_node.items()):
            if name not in self.should_run:
                gone += (pod for pod in pods if not pod.spec.node_name)
        self._write(missing, gone)
        return bool(missing or gone)

    def _tidy(self, name: str, missing: list[str], gone: list[Pod]) -> None:
        """On a node where pods may stay: ended pods go, and of the others all but one, with a surge two."""
        running: list[Pod] = []
        for pod in self.on_node.get(name, ()):
            if pod.metadata.deletion_timestamp is not None:
                continue
            where = f"daemon pod {pod.metadata.namespace}/{pod.metadata.name} on node {name}"
            if pod.status.phase == "Failed":
                if self._is_held_back(name):
                    continue
                self._record("Warning", "FailedDaemonPod", f"Found failed {where}, will try to kill it")
                gone.append(pod)
            elif pod.status.phase == "Succeeded":
                self._record("Normal", "SucceededDaemonPod", f"Found succeeded {where}, will try to delete it")
                gone.append(pod)
            else:
                running.append(pod)
        if not self._surges:
            gone += running[1:]
            return
        if len(running) <= 1:
            if not running and self.should_run[name]:
                missing.append(name)
            return
        new = [pod for pod in running if pod.metadata.labels.get(REVISION_LABEL) == self.hash]
        old = [pod for pod in running if pod.metadata.labels.get(REVISION_LABEL) != self.hash]
        gone += (*new[1:], *old[1:])
        if new and old and (not is_ready(old[0]) or self._is_available(new[0])):
            gone.append(old[0])

    def _is_held_back(self, node: str) -> bool:
        """Whether a failed pod on this node is left for now; if not, the next one waits twice as long."""
        generation = self.set.status.observed_generation
        delay = self.delays.get(node)
        if delay is not None and (delay.generation != generation or self.now - delay.since > 2 * _LAST_DELAY):
            delay = None
        if delay is not None and self.now - delay.since < delay.wait:
            self.retries.append(delay.since + delay.wait)
            return True
        wait = _FIRST_DELAY if delay is None else min(2 * delay.wait, _LAST_DELAY)
        self.delays[node] = Delay(node, generation, wait, self.now)
        return False

    # The rolling update

    @property
    def _surges(self) -> bool:
        return self._limit("max_surge", 1) > 0

    def _limit(self, name: str, total: int) -> int:
        strategy = self.set.spec.update_strategy
        if strategy.type != "RollingUpdate" or strategy.rolling_update is None:
            return 0
        return rollout.scaled(getattr(strategy.rolling_update, name), total, round_up=True)

    def roll(self) -> None:
        desired = sum(self.should_run.values())
        surge, unavailable = self._limit("max_surge", desired), self._limit("max_unavailable", desired)
        names = sorted({*self.on_node, *(name for name, should in self.should_run.items() if should)})
        if surge == 0:
            self._replace(names, 1 if desired and unavailable == 0 else unavailable)
        else:
            self._surge(names, surge, desired)

    def is_stuck(self) -> bool:
        """With a surge upstream asks for the node of an outdated pod, and fails if it is no more.

        Then it neither goes on with the update nor deletes old revisions.
        """
        if self.set.spec.update_strategy.type != "RollingUpdate" or not self._surges:
            return False
        return any(
            len(found[1]) == 1 and not found[0]
            for name in self.on_node
            if name not in self.should_run and (found := self._by_revision(name))
        )

    def _replace(self, names: list[str], allowed: int) -> None:
        """Delete outdated pods: those that are unavailable anyway, others as far as `allowed`."""
        unavailable = 0
        down: list[Pod] = []
        candidates: list[Pod] = []
        for name in names:
            new, old = self._by_revision(name)
            if (len(new), len(old)) == (0, 1):
                if self._is_available(old[0]):
                    candidates.append(old[0])
                    continue
                down.append(old[0])
                unavailable += 1
            elif (len(new), len(old)) != (1, 0) or not self._is_available(new[0]):
                unavailable += 1
        self._write([], [*down, *candidates[: max(0, allowed - unavailable)]])

    def _surge(self, names: list[str], allowed: int, desired: int) -> None:
        """Add updated pods beside outdated ones, and delete the latter when the former are available."""
        if self.is_stuck():
            return
        surging = available = 0
        gone: list[Pod] = []
        misplaced: list[Pod] = []
        at_once: list[str] = []
        candidates: list[str] = []
        for name in names:
            new, old = self._by_revision(name)
            if len(new) > 1 or len(old) > 1:
                surging += 1
                continue
            first = (*old, *new)[:1]
            available += sum(self._is_available(pod) for pod in first)
            if not old:
                continue
            if new:
                if self._is_available(new[0]):
                    gone.append(old[0])
                else:
                    surging += 1
            elif not self.should_run.get(name, False):
                (misplaced if self._is_available(old[0]) else gone).append(old[0])
            else:
                (candidates if self._is_available(old[0]) else at_once).append(name)
        gone += misplaced[: max(0, available - desired)]
        self._write([*at_once, *candidates[: max(0, allowed - surging)]], gone)

    def _by_revision(self, name: str) -> tuple[list[Pod], list[Pod]]:
        """The updated and the outdated pods that stay on the node."""
        staying = [pod for pod in self.on_node.get(name, ()) if pod.metadata.deletion_timestamp is None]
        return [pod for pod in staying if self._is_updated(pod)], [pod for pod in staying if not self._is_updated(pod)]

    def _is_updated(self, pod: Pod) -> bool:
        labels = pod.metadata.labels
        generation = _generation(self.set)
        by_generation = generation is not None and labels.get(GENERATION_LABEL) == generation
        return by_generation or labels.get(REVISION_LABEL) == self.hash

    def _is_available(self, pod: Pod) -> bool:
        return is_available(pod, self.set.spec.min_ready_seconds, self.now)

    # Writes and what is told

    def _write(self, missing: list[str], gone: list[Pod]) -> None:
        """Deletions come first: upstream makes them also when a creation was refused, which ends our decision."""
        self.batches += at_once(self.writes, map(self._deletion, gone[:BURST]))
        self.batches += slow_start(self.writes, map(self._creation, missing[:BURST]))

    def _creation(self, node: str) -> tuple[Write, ...]:
        pod = pod_from(self.set, self.template)
        told = RecordEvent(self.set, "Normal", "SuccessfulCreate", "Created pod: {created}")
        return (Create(replace(pod, spec=_pinned(pod.spec, node))), told)

    def _deletion(self, pod: Pod) -> tuple[Write, ...]:
        told = RecordEvent(self.set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return (Delete(pod), told)

    def _record(self, kind: str, reason: str, message: str) -> None:
        self.writes.append(RecordEvent(self.set, kind, reason, message))

    def explain(self, refused: Refusal) -> bool:
        """The event that tells of a pod that the API did not create or delete; False if it was another write."""
        match refused.write:
            case Create(object=Pod()):
                if NAMESPACE_ENDS not in refused.message:
                    self._record("Warning", "FailedCreate", f"Error creating: {refused.message}")
            case Delete(object=Pod()):
                self._record("Warning", "FailedDelete", f"Error deleting: {refused.message}")
            case _:
                return False
        return True

    def tell(self) -> list[Write]:
        """Counts of nodes; the oldest pod on a node speaks for it."""
        wanted = [name for name, should in self.should_run.items() if should]
        speaking = [self.on_node[name][0] for name in wanted if name in self.on_node]
        available = sum(self._is_available(pod) for pod in speaking)
        status = replace(
            self.set.status,
            observed_generation=self.set.metadata.generation,
            desired_number_scheduled=len(wanted),
            current_number_scheduled=len(speaking),
            number_misscheduled=sum(name in self.on_node for name, should in self.should_run.items() if not should),
            number_ready=sum(is_ready(pod) for pod in speaking),
            number_available=available,
            number_unavailable=len(wanted) - available,
            updated_number_scheduled=sum(self._is_updated(pod) for pod in speaking),
        )
        if status == self.set.status:
            return []
        return [UpdateStatus(self.set, replace(self.set, status=status))]

    def wake_at(self) -> datetime | None:
        times = (available_at(pod, self.set.spec.min_ready_seconds) for pod in self.pods)
        return min((*(at for at in times if at is not None and at > self.now), *self.retries), default=None)

    def memory(self) -> Hashable | None:
        """The waiting times that still matter."""
        kept = (d for _, d in sorted(self.delays.items()) if self.now - d.since <= 2 * _LAST_DELAY)
        return tuple(kept) or None


def target_of(pod: Pod) -> str | None:
    """The node that a pod of a DaemonSet is on or pinned to."""
    if pod.spec.node_name:
        return pod.spec.node_name
    for term in machines.required_terms(pod) or ():
        for requirement in term.match_fields:
            if requirement.key == "metadata.name" and requirement.operator == "In":
                return requirement.values[0] if len(requirement.values) == 1 else None
    return None


def _suits(model: Pod, node: Node) -> tuple[bool, bool]:
    """Whether such a pod should run on the node, and whether one that is there may stay."""
    suits = model.spec.node_name in ("", node.metadata.name) and not machines.affinity_conflicts(model, node)
    repelled = {
        taint.effect
        for taint in node.spec.taints
        if taint.effect in machines.HARD_EFFECTS and not machines.tolerates(model.spec.tolerations, taint)
    }
    return suits and not repelled, suits and "NoExecute" not in repelled


def _notices(seen: Seen, before: Object | None, node: Object | None) -> bool:
    """Upstream looks when a pod is missing on a changed node, must go from it, or when any was where it should not be.

    It does not look when a node goes, or gets a taint that repels new pods only: its counts are then those of before.
    Until 1.32 it looks when a pod should run on a new node, and when whether it should, or may stay, has changed.
    """
    subject = seen.subject
    assert isinstance(subject, DaemonSet)
    if node is None:
        return False
    assert isinstance(node, Node)
    model = Pod(spec=_completed(subject, "").spec)
    should_run, may_stay = _suits(model, node)
    if seen.minor < _NODE_QUEUE_SINCE:
        return should_run if not isinstance(before, Node) else _suits(model, before) != (should_run, may_stay)
    has_pod = any(
        pod.spec.node_name == node.metadata.name
        and (owner := pod.metadata.controller) is not None
        and (owner.kind, owner.name) == (DaemonSet.kind, subject.metadata.name)
        for pod in seen.all(Pod)
    )
    if has_pod:
        return not may_stay or subject.status.number_misscheduled > 0
    return should_run


def _completed(subject: DaemonSet, digest: str) -> PodTemplateSpec:
    """The set's template with the tolerations and labels that every pod of it gets."""
    template = subject.spec.template
    tolerations = template.spec.tolerations
    for key, effect in (*_TOLERATED, *((_TOLERATED_ON_HOST_NETWORK,) if template.spec.host_network else ())):
        added = Toleration(key=key, operator="Exists", effect=effect)
        alike = [given for given in tolerations if replace(given, toleration_seconds=None) == added]
        if alike:
            tolerations = tuple(added if given in alike[:1] else given for given in tolerations)
        else:
            tolerations = (*tolerations, added)
    labels = {**template.metadata.labels, REVISION_LABEL: digest}
    generation = _generation(subject)
    if generation is not None:
        labels[GENERATION_LABEL] = generation
    return replace(
        template,
        metadata=replace(template.metadata, labels=labels),
        spec=replace(template.spec, tolerations=tolerations),
    )


def _generation(subject: DaemonSet) -> str | None:
    text = subject.metadata.annotations.get(GENERATION_ANNOTATION, "")
    try:
        return str(int(text))
    except ValueError:
        return None


def _pinned(spec: PodSpec, node: str) -> PodSpec:
    """The required node affinity names the node, in place of whatever it said."""
    term = NodeSelectorTerm(match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,)),))
    affinity = spec.affinity or Affinity()
    pinned = replace(
        affinity.node_affinity or NodeAffinity(),
        required_during_scheduling_ignored_during_execution=NodeSelector(node_selector_terms=(term,)),
    )
    return replace(spec, affinity=replace(affinity, node_affinity=pinned))


def _age(pod: Pod) -> tuple[bool, float, str]:
    """Placed pods first, then the oldest."""
    created = pod.metadata.creation_timestamp
    return (not pod.spec.node_name, 0.0 if created is None else created.timestamp(), pod.metadata.name)


def _view_of_pod(pod: Object) -> Object:
    """Who a pod is, its node or the one it is pinned to, its phase and readiness."""
    assert isinstance(pod, Pod)
    ready = (
        replace(c, last_probe_time=None, message="", reason="") for c in pod.status.conditions if c.type == "Ready"
    )
    return replace(
        pod,
        metadata=replace(pod.metadata, resource_version="", generation=0, annotations={}),
        spec=PodSpec(node_name=pod.spec.node_name, affinity=pod.spec.affinity),
        status=PodStatus(phase=pod.status.phase, conditions=tuple(ready)),
    )


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, Node)
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, labels=node.metadata.labels),
        spec=NodeSpec(taints=node.spec.taints),
    )


CONTROLLER = Controller(
    name="daemonset-controller",
    actor="DaemonSet controller",
    subject=DaemonSet,
    reads=(
        Read(Node, Relation.ALL, view=_view_of_node, notices=_notices),
        Read(Pod, Relation.OWNED, view=_view_of_pod),
        Read(Pod, Relation.SELECTED, view=_view_of_pod),
        Read(ControllerRevision, Relation.OWNED),
        Read(ControllerRevision, Relation.SELECTED),
        Read(ControllerRevision, Relation.NEIGHBOUR, wakes=False),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
