"""The StatefulSet controller: numbered pods, each with a name and claims of its own, made and replaced in order.

One decision does what one of upstream's syncs does: walk the ordinals upwards, then the condemned pods downwards, then
replace outdated ones from the top. With OrderedReady the walk stops at the first pod that is not as it should be, which
is also why a rollout to a template that never gets ready stays stuck after the template is repaired. Only what was
observed counts; a pod that is asked for here is seen by the next decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control import retention, revisions, rollout
from seatrial.control.batches import batched
from seatrial.control.controller import Batch, Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import adopted, available_at, claim, is_available, is_ready
from seatrial.control.templates import pod_from
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, UpdateStatus, Write
from seatrial.kube import selectors
from seatrial.kube.objects import (
    ControllerRevision,
    Object,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    StatefulSet,
)
from seatrial.kube.objects.workloads import StatefulSetStatus

T = TypeVar("T")

POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
BURST: Final = 500
"""Creations in one decision, so that a huge set is many small steps."""
_MEMBER: Final = re.compile(r"(.*)-(0|[1-9][0-9]{0,9})", re.ASCII | re.DOTALL)

_ANY_COMPLETES_MINOR: Final = 37
"""From this minor version on a rollout can also complete with the strategy OnDelete."""
MAX_UNAVAILABLE_MINOR: Final = 37
_CAPITALS_MINOR: Final = 35
"""From this minor version on messages of events begin with a capital."""
_AVAILABILITY_MINOR: Final = 34
"""Before this minor version a rollout went on when a pod was ready, whatever minReadySeconds said."""


class _Step(Enum):
    """How the walk over pods goes on: WAIT stops it where order matters, FAILED always."""

    NEXT = 1
    WAIT = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class _Version:
    """A revision's name and the template it stands for."""

    name: str
    template: PodTemplateSpec


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, StatefulSet)
    history = _History.of(subject, seen)
    pods, claims = claim(subject, subject.spec.selector, seen.all(Pod), lambda pod: _is_named_for(subject, pod))
    work = _Work(
        set=subject,
        now=seen.now,
        minor=seen.minor,
        current=history.current,
        update=history.update,
        pods=pods,
        claims={found.metadata.name: found for found in seen.all(PersistentVolumeClaim)},
    )
    if seen.refused:
        explained = [work.explain(refusal) for refusal in seen.refused]
        told = work.tell(history.collisions) if any(explained) else []
        return Decision((*work.writes, *told, *history.truncate(pods)), work.wake_at())
    work.writes += (*history.writes, *claims)
    if subject.metadata.deletion_timestamp is None:
        work.run()
    writes = (*work.writes, *work.tell(history.collisions), *history.truncate(pods))
    return Decision(writes, work.wake_at(), batches=tuple(work.batches))


@dataclass(frozen=True, slots=True)
class _History:
    """Which revisions there are, which is current and which is wanted."""

    set: StatefulSet
    found: tuple[ControllerRevision, ...]
    current: _Version
    update: _Version
    collisions: int
    writes: tuple[Write, ...]

    @classmethod
    def of(cls, subject: StatefulSet, seen: Seen) -> _History:
        """As found; a set that is going away makes a revision, too, if that went before it (as upstream has it)."""
        known = {revision.metadata.name: revision for revision in seen.all(ControllerRevision)}
        found = revisions.in_order(revision for revision in known.values() if _is_of(subject, revision))
        stays = subject.metadata.deletion_timestamp is None
        after = {revision.metadata.name: revision for revision in found}
        if stays:
            after = {name: adopted(subject, revision) for name, revision in after.items()}
        collisions = subject.status.collision_count or 0
        equal = [revision for revision in found if revisions.template_of(revision) == subject.spec.template]
        number = found[-1].revision + 1 if found else 1
        created: list[Write] = []
        if equal:
            name = equal[-1].metadata.name
            if equal[-1] is not found[-1]:
                after[name] = replace(after[name], revision=number)
        else:
            revision, collisions = _next_revision(subject, known, number, collisions, seen.minor)
            name = revision.metadata.name
            if name not in known:
                created.append(Create(revision))
        update = _Version(name, subject.spec.template)
        restored = (
            revisions.template_of(known[subject.status.current_revision]) if _has_current(subject, found) else None
        )
        return cls(
            set=subject,
            found=tuple(found),
            current=update if restored is None else _Version(subject.status.current_revision, restored),
            update=update,
            collisions=collisions,
            writes=(*(Update(known[key], now) for key, now in after.items() if now != known[key]), *created),
        )

    def truncate(self, pods: Iterable[Pod]) -> list[Write]:
        """Delete the oldest revisions that nothing uses, beyond revisionHistoryLimit."""
        live = {self.current.name, self.update.name} | {_revision(pod) for pod in pods}
        spare = [revision for revision in self.found if revision.metadata.name not in live]
        limit = self.set.spec.revision_history_limit
        if limit is None or limit < 0:
            return []
        return [Delete(revision) for revision in spare[: max(0, len(spare) - limit)]]


def _has_current(subject: StatefulSet, found: Iterable[ControllerRevision]) -> bool:
    return any(revision.metadata.name == subject.status.current_revision for revision in found)


def _next_revision(
    subject: StatefulSet, known: Mapping[str, ControllerRevision], number: int, collisions: int, minor: int
) -> tuple[ControllerRevision, int]:
    """A revision of the set's template, under the first name that no other template has, and how many were taken."""
    patch = revisions.patch_of(subject.spec.template, minor)
    label = revisions.hash_of(patch, collisions)
    while True:
        name = revisions.name_of(subject, revisions.hash_of(patch, collisions))
        taken = known.get(name)
        if taken is None:
            labels = {**subject.spec.template.metadata.labels, revisions.HASH_LABEL: label}
            return revisions.new_revision(subject, name, labels, patch, number), collisions
        if revisions.template_of(taken) == subject.spec.template:
            return taken, collisions
        collisions += 1


@dataclass(slots=True)
class _Work:
    """One decision in the making."""

    set: StatefulSet
    now: datetime
    minor: int
    current: _Version
    update: _Version
    pods: list[Pod]
    claims: Mapping[str, PersistentVolumeClaim]
    replicas: dict[int, Pod] = field(init=False)
    condemned: list[Pod] = field(init=False)
    """Pods outside the range of ordinals, the highest first."""
    writes: list[Write] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    created: int = 0
    replaced: int = 0
    """Pods deleted because they are outdated."""

    def __post_init__(self) -> None:
        ordinals = self.ordinals
        self.replicas = {_ordinal(pod): pod for pod in self.pods if _ordinal(pod) in ordinals}
        outside = [pod for pod in self.pods if _ordinal(pod) >= 0 and _ordinal(pod) not in ordinals]
        self.condemned = sorted(outside, key=lambda pod: -_ordinal(pod))

    @property
    def size(self) -> int:
        return 1 if self.set.spec.replicas is None else self.set.spec.replicas

    @property
    def ordinals(self) -> range:
        start = 0 if self.set.spec.ordinals is None else self.set.spec.ordinals.start
        return range(start, start + self.size)

    @property
    def is_ordered(self) -> bool:
        return self.set.spec.pod_management_policy != "Parallel"

    @property
    def first_updated(self) -> int:
        """The lowest ordinal that a rollout replaces."""
        rolling = self.set.spec.update_strategy.rolling_update
        return self.ordinals.start + (0 if rolling is None else rolling.partition or 0)

    def run(self) -> None:
        if not self._walk(self.ordinals, self._keep):
            return
        for pod in self.condemned:
            self._apply_retention(pod)
        lowest = self._lowest_unavailable()
        if not self._walk(self.condemned, lambda pod: self._remove(pod, is_lowest=_ordinal(pod) == lowest)):
            return
        if self.set.spec.update_strategy.type == "RollingUpdate":
            if self.minor >= MAX_UNAVAILABLE_MINOR:
                self._replace_several()
            else:
                self._replace_one()

    def _walk(self, items: Iterable[T], step: Callable[[T], _Step]) -> bool:
        """Take `step` for all; False if that ended early.

        Without order upstream goes in batches of 1, 2, 4, ... and ends after one with a failure.
        """
        failed = False
        starts: list[int] = []
        for number, item in enumerate(items, 1):
            starts.append(len(self.writes))
            outcome = step(item)
            if self.is_ordered and outcome is not _Step.NEXT:
                return False
            failed = failed or outcome is _Step.FAILED
            ends_batch = number & (number + 1) == 0
            if failed and (ends_batch or self.created >= BURST):
                break
        if not self.is_ordered:
            self.batches += batched(starts, len(self.writes))
        return not failed

    # Pods within the range

    def _keep(self, ordinal: int) -> _Step:
        """Make and repair the pod of this ordinal."""
        pod = self.replicas.get(ordinal)
        if pod is None:
            return self._create(ordinal)
        if pod.status.phase in {"Succeeded", "Failed"}:
            if pod.metadata.deletion_timestamp is None:
                self._delete(pod)
            return _Step.WAIT
        if pod.status.phase == "Pending":
            if not self._create_claims(ordinal, pod.metadata.name):
                return _Step.FAILED
            if self._apply_retention(pod):
                return _Step.WAIT
        if self.is_ordered and not self._is_settled(pod):
            return _Step.WAIT
        self._repair(pod, ordinal)
        return _Step.NEXT

    def _create(self, ordinal: int) -> _Step:
        pod = self._new_pod(ordinal)
        name = pod.metadata.name
        known = [self.claims[wanted.metadata.name] for wanted in self._claims(ordinal) if self._is_claimed(wanted)]
        if any(retention.is_stale(self.set, found, pod) for found in known):
            return _Step.WAIT
        if self.created >= BURST:
            return _Step.FAILED
        if not self._create_claims(ordinal, name):
            going = ", ".join(
                f"pvc {found.metadata.name} is being deleted" for found in known if found.metadata.deletion_timestamp
            )
            error = f"[{going}]" if ", " in going else going
            self._record(
                "Warning", "FailedCreate", f"create Pod {name} in StatefulSet {self._name} failed error: {error}"
            )
            return _Step.FAILED
        self.created += 1
        self.writes.append(Create(pod))
        self._record("Normal", "SuccessfulCreate", f"create Pod {name} in StatefulSet {self._name} successful")
        return _Step.WAIT

    def _new_pod(self, ordinal: int) -> Pod:
        strategy = self.set.spec.update_strategy
        if strategy.rolling_update is not None:
            outdated = ordinal < self.first_updated
        else:
            outdated = (
                strategy.type == "RollingUpdate" and ordinal < self.ordinals.start + self.set.status.current_replicas
            )
        version = self.current if outdated else self.update
        pod = pod_from(self.set, version.template)
        name = f"{self._name}-{ordinal}"
        labels = {
            **pod.metadata.labels,
            POD_NAME_LABEL: name,
            POD_INDEX_LABEL: str(ordinal),
            revisions.REVISION_LABEL: version.name,
        }
        return replace(
            pod,
            metadata=replace(pod.metadata, name=name, labels=labels),
            spec=replace(
                pod.spec,
                hostname=name,
                subdomain=self.set.spec.service_name,
                volumes=retention.volumes_for(self.set, ordinal, pod.spec.volumes),
            ),
        )

    def _is_settled(self, pod: Pod) -> bool:
        """Running, ready and available, and here to stay."""
        return (
            pod.metadata.deletion_timestamp is None
            and pod.status.phase == "Running"
            and is_available(pod, self.set.spec.min_ready_seconds, self.now)
        )

    def _repair(self, pod: Pod, ordinal: int) -> None:
        """Give a pod back its identity, its claims their owners."""
        labels = {**pod.metadata.labels, POD_NAME_LABEL: pod.metadata.name, POD_INDEX_LABEL: str(ordinal)}
        mended = pod
        if pod.metadata.labels.get(POD_NAME_LABEL) != pod.metadata.name:
            mended = replace(mended, metadata=replace(mended.metadata, labels=labels))
        volumes = retention.volumes_for(self.set, ordinal, pod.spec.volumes)
        if any(volume not in pod.spec.volumes for volume in volumes):
            mended = replace(mended, spec=replace(mended.spec, volumes=volumes))
            self._create_claims(ordinal, pod.metadata.name)
        retained = self._apply_retention(pod)
        if mended != pod:
            self.writes.append(Update(pod, mended))
        if mended != pod or retained:
            message = f"update Pod {pod.metadata.name} in StatefulSet {self._name} successful"
            self._record("Normal", "SuccessfulUpdate", message)

    # Claims

    def _claims(self, ordinal: int) -> list[PersistentVolumeClaim]:
        return retention.claims_for(self.set, ordinal)

    def _is_claimed(self, wanted: PersistentVolumeClaim) -> bool:
        return wanted.metadata.name in self.claims

    def _create_claims(self, ordinal: int, pod_name: str) -> bool:
        """Create the claims that are missing; False if one is going, so that its successor must be waited for."""
        usable = True
        for wanted in self._claims(ordinal):
            found = self.claims.get(wanted.metadata.name)
            if found is None:
                self.writes.append(Create(wanted))
                message = f"create Claim {wanted.metadata.name} Pod {pod_name} in StatefulSet {self._name} success"
                self._record("Normal", "SuccessfulCreate", message)
            elif found.metadata.deletion_timestamp is not None:
                usable = False
        return usable

    def _apply_retention(self, pod: Pod) -> bool:
        """Whether the owners of one of the pod's claims had to be corrected."""
        changed = False
        beyond = _ordinal(pod) not in self.ordinals
        for wanted in self._claims(_ordinal(pod)):
            found = self.claims.get(wanted.metadata.name)
            if found is None or retention.follows_policy(self.set, found, pod, beyond=beyond):
                continue
            if retention.is_contested(self.set, found, pod):
                message = (
                    f"PersistentVolumeClaim {found.metadata.name} has a conflicting OwnerReference that acts as a "
                    "manging controller, the retention policy is ignored for this claim"
                )
                self.writes.append(RecordEvent(self.set, "Warning", "ConflictingController", message))
            self.writes.append(Update(found, retention.following_policy(self.set, found, pod, beyond=beyond)))
            changed = True
        return changed

    # Pods that are too many or outdated

    def _remove(self, pod: Pod, *, is_lowest: bool) -> _Step:
        """Delete a condemned pod; in order, only while it alone is unavailable."""
        if pod.metadata.deletion_timestamp is None and (not self.is_ordered or is_lowest or self._is_settled(pod)):
            self._delete(pod)
        return _Step.WAIT

    def _lowest_unavailable(self) -> int | None:
        """The ordinal of the first unavailable pod; those in the range come before the condemned."""
        ordinals = (*self.ordinals[: len(self.replicas) + 1], *(_ordinal(pod) for pod in reversed(self.condemned)))
        pods = self.replicas | {_ordinal(pod): pod for pod in self.condemned}
        return next((ordinal for ordinal in ordinals if self._is_unavailable(pods.get(ordinal))), None)

    def _is_unavailable(self, pod: Pod | None) -> bool:
        if pod is None or pod.metadata.deletion_timestamp is not None:
            return True
        if self.minor < _AVAILABILITY_MINOR:
            return pod.status.phase != "Running" or not is_ready(pod)
        return not is_available(pod, self.set.spec.min_ready_seconds, self.now)

    def _replace_one(self) -> None:
        """The highest outdated pod, if all above it are updated and available."""
        for ordinal in reversed(self.ordinals):
            if ordinal < self.first_updated:
                return
            pod = self.replicas.get(ordinal)
            if pod is not None and _revision(pod) != self.update.name and pod.metadata.deletion_timestamp is None:
                self._replace(pod)
                return
            if self._is_unavailable(pod):
                return

    def _replace_several(self) -> None:
        """As many of the highest outdated pods as maxUnavailable lets go; in Parallel those that are down anyway."""
        missing = self.size - len(self.replicas)
        unavailable = missing + sum(self._is_unavailable(pod) for pod in self.replicas.values())
        rolling = self.set.spec.update_strategy.rolling_update
        allowed = 1 if rolling is None or rolling.max_unavailable is None else rolling.max_unavailable
        budget = max(1, rollout.scaled(allowed, self.size, round_up=False)) - unavailable
        outdated = [
            pod
            for ordinal, pod in sorted(self.replicas.items(), reverse=True)
            if ordinal >= self.first_updated
            and _revision(pod) != self.update.name
            and pod.metadata.deletion_timestamp is None
        ]
        if not self.is_ordered:
            down = [pod for pod in outdated if self._is_unavailable(pod)]
            for pod in down:
                self._replace(pod)
            outdated = [pod for pod in outdated if pod not in down]
        for pod in outdated[: max(0, budget)]:
            self._replace(pod)

    def _replace(self, pod: Pod) -> None:
        self._delete(pod)
        self.replaced += 1

    def _delete(self, pod: Pod) -> None:
        self.writes.append(Delete(pod))
        message = f"delete Pod {pod.metadata.name} in StatefulSet {self._name} successful"
        self._record("Normal", "SuccessfulDelete", message)

    # What is told

    @property
    def _name(self) -> str:
        return self.set.metadata.name

    def _record(self, kind: str, reason: str, message: str) -> None:
        if self.minor >= _CAPITALS_MINOR:
            message = message[0].upper() + message[1:]
        self.writes.append(RecordEvent(self.set, kind, reason, message))

    def explain(self, refused: Refusal) -> bool:
        """The events that tell of a write that the API refused; False if it was none of a pod or claim."""
        error, of_set = refused.message, f"in StatefulSet {self._name} failed error:"
        match refused.write:
            case Create(object=Pod() as pod) if not error.endswith("already exists"):
                self._record("Warning", "FailedCreate", f"create Pod {pod.metadata.name} {of_set} {error}")
            case Create(object=PersistentVolumeClaim() as wanted) if not error.endswith("already exists"):
                name, pod_name = wanted.metadata.name, f"{self._name}-{wanted.metadata.name.rsplit('-', 1)[-1]}"
                self._record("Warning", "FailedCreate", f"create Claim {name} for Pod {pod_name} {of_set} {error}")
                error = f"failed to create PVC {name}: {error}"
                self._record("Warning", "FailedCreate", f"create Pod {pod_name} {of_set} {error}")
            case Delete(object=Pod() as pod):
                self._record("Warning", "FailedDelete", f"delete Pod {pod.metadata.name} {of_set} {error}")
            case Update(before=Pod() as pod):
                self._record("Warning", "FailedUpdate", f"update Pod {pod.metadata.name} {of_set} {error}")
            case write:
                return isinstance(write, Create) and isinstance(write.object, Pod | PersistentVolumeClaim)
        return True

    def tell(self, collisions: int) -> list[Write]:
        going = self.set.metadata.deletion_timestamp is not None
        counted = self.pods if going else [*self.replicas.values(), *self.condemned]
        seconds = self.set.spec.min_ready_seconds
        ready = [pod for pod in counted if pod.status.phase == "Running" and is_ready(pod)]
        staying = [pod for pod in counted if pod.metadata.deletion_timestamp is None]
        status = replace(
            self.set.status,
            observed_generation=self.set.metadata.generation,
            replicas=len(counted),
            ready_replicas=len(ready),
            available_replicas=sum(is_available(pod, seconds, self.now) for pod in ready),
            current_replicas=max(0, _count(staying, self.current) - self.replaced),
            updated_replicas=_count(staying, self.update),
            current_revision=self.current.name,
            update_revision=self.update.name,
            collision_count=collisions,
        )
        status = self._completed(status)
        if status == self.set.status:
            return []
        return [UpdateStatus(self.set, replace(self.set, status=status))]

    def _completed(self, status: StatefulSetStatus) -> StatefulSetStatus:
        """When all pods are updated and ready, the update revision is the current one."""
        if self.minor < _ANY_COMPLETES_MINOR and self.set.spec.update_strategy.type != "RollingUpdate":
            return status
        if not status.updated_replicas == status.ready_replicas == status.replicas == self.size:
            return status
        return replace(status, current_replicas=status.updated_replicas, current_revision=status.update_revision)

    def wake_at(self) -> datetime | None:
        times = (available_at(pod, self.set.spec.min_ready_seconds) for pod in self.pods)
        return min((at for at in times if at is not None and at > self.now), default=None)


def _count(pods: Iterable[Pod], version: _Version) -> int:
    return sum(_revision(pod) == version.name for pod in pods)


def _is_of(subject: StatefulSet, revision: ControllerRevision) -> bool:
    owner = revision.metadata.controller
    return (owner is None or owner.uid == subject.metadata.uid) and selectors.matches(
        subject.spec.selector, revision.metadata.labels
    )


def _is_named_for(subject: StatefulSet, pod: Pod) -> bool:
    found = _MEMBER.fullmatch(pod.metadata.name)
    return found is not None and found[1] == subject.metadata.name


def _ordinal(pod: Pod) -> int:
    found = _MEMBER.fullmatch(pod.metadata.name)
    return -1 if found is None else int(found[2])


def _revision(pod: Pod) -> str:
    return pod.metadata.labels.get(revisions.REVISION_LABEL, "")


def _view(pod: Object) -> Object:
    """Who a pod is, its volumes, its phase and readiness; without resourceVersion, so that nothing else wakes."""
    assert isinstance(pod, Pod)
    ready = (
        replace(c, last_probe_time=None, message="", reason="") for c in pod.status.conditions if c.type == "Ready"
    )
    return replace(
        pod,
        metadata=replace(pod.metadata, resource_version="", generation=0, annotations={}),
        spec=PodSpec(volumes=pod.spec.volumes),
        status=PodStatus(phase=pod.status.phase, conditions=tuple(ready)),
    )


def _is_orphan(seen: Seen, before: Object | None, now: Object | None) -> bool:
    """Of pods that are not its own a set hears only if nobody else controls them, and not of their end."""
    return now is not None and now.metadata.controller is None


CONTROLLER = Controller(
    name="statefulset-controller",
    actor="StatefulSet controller",
    subject=StatefulSet,
    reads=(
        Read(Pod, Relation.OWNED, view=_view),
        Read(Pod, Relation.SELECTED, view=_view, notices=_is_orphan),
        Read(ControllerRevision, Relation.NEIGHBOUR, wakes=False),
        Read(PersistentVolumeClaim, Relation.NEIGHBOUR, view=retention.view, wakes=False),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
