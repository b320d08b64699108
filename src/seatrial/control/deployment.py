"""The Deployment controller: ReplicaSets, one per pod template, grown and shrunk until the newest has all replicas.

One decision does what one of upstream's syncs does. Upstream writes each ReplicaSet several times on the way; here a
`Rollout` collects what each object should become and every object is written at most once. The numbers are decided in
`rollout`; the observation is the store, so a ReplicaSet that was just created is seen by the next decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from msgspec.structs import replace

from seatrial.control import rollout
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import claim, controller_reference
from seatrial.control.relations import POD_TEMPLATE_HASH
from seatrial.control.replicaset import NAMESPACE_ENDS, TERMINATING_REPLICAS_MINOR
from seatrial.control.templates import template_hash
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    Deployment,
    LabelSelector,
    Object,
    ObjectMeta,
    Pod,
    PodTemplateSpec,
    ReplicaSet,
)
from seatrial.kube.objects.pods import PodStatus
from seatrial.kube.objects.workloads import DeploymentCondition, DeploymentStatus
from seatrial.kube.times import after

T = TypeVar("T", bound=Object)

REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS: Final = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS: Final = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)
_FROM_FIRST_MINOR: Final = 32
"""From this minor version on events say the old size first, also that of a new ReplicaSet: 0."""
_HISTORY_LENGTH: Final = 2000
"""Characters of the revision-history annotation, upstream's bound."""
_FOREVER: Final = 2**31 - 1
"""This value of progressDeadlineSeconds or revisionHistoryLimit means: none."""


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, Deployment)
    now = seen.now.replace(microsecond=0)
    if subject.spec.selector is None or subject.spec.selector == LabelSelector():
        return _refuse_to_select_all(subject)
    mine, claims = claim(subject, subject.spec.selector, seen.all(ReplicaSet))
    if seen.refused:
        return _explain(subject, seen.refused[0], now)
    work = Rollout(subject, now, seen.minor, {rs.metadata.name: rs for rs in seen.all(ReplicaSet)}, _by_age(mine))
    # Releases end here; adoptions travel with whatever else becomes of the adopted ReplicaSet.
    adopted = {rs.metadata.uid for rs in mine}
    work.writes.extend(update for update in claims if update.before.metadata.uid not in adopted)
    if subject.metadata.deletion_timestamp is not None:
        work.find()
        work.sync_status(estimate=False)
        return work.decision()
    work.note_pause()
    if subject.spec.paused or work.is_scaling():
        work.find()
        work.scale()
        if subject.spec.paused:
            work.clean_up()
        work.sync_status(estimate=False)
    elif subject.spec.strategy.type == "Recreate":
        work.recreate(seen.all(Pod))
        work.sync_status(estimate=True)
    else:
        work.roll()
        work.sync_status(estimate=True)
    return work.decision()


@dataclass(slots=True)
class Rollout:
    """One decision in the making: what each ReplicaSet and the Deployment's status should become."""

    deployment: Deployment
    now: datetime
    minor: int
    observed: Mapping[str, ReplicaSet]
    sets: list[ReplicaSet]
    """Ours, oldest first, as they should become."""
    new: str = ""
    """The name of the ReplicaSet with the Deployment's template, "" if there is none."""
    revision: str = ""
    status: DeploymentStatus = field(init=False)
    status_seen: DeploymentStatus = field(init=False)
    """The status that progress is measured against: the observed one with the conditions set on the way."""
    writes: list[Write] = field(default_factory=list)
    events: list[Write] = field(default_factory=list)
    deleted: list[ReplicaSet] = field(default_factory=list)
    wake_at: datetime | None = None

    def __post_init__(self) -> None:
        self.status_seen = self.status = self.deployment.status
        self.revision = self.deployment.metadata.annotations.get(REVISION, "")

    # What there is

    @property
    def replicas(self) -> int:
        return 1 if self.deployment.spec.replicas is None else self.deployment.spec.replicas

    @property
    def is_rolling(self) -> bool:
        return self.deployment.spec.strategy.type != "Recreate"

    @property
    def limits(self) -> rollout.Bounds:
        """How far a rollout may leave the size; Recreate has neither surge nor a bound on availability."""
        rolling = self.deployment.spec.strategy.rolling_update
        if not self.is_rolling:
            return rollout.Bounds(self.replicas, 0, 0)
        return rollout.bounds(
            self.replicas,
            None if rolling is None else rolling.max_surge,
            None if rolling is None else rolling.max_unavailable,
        )

    @property
    def deadline_s(self) -> int | None:
        seconds = self.deployment.spec.progress_deadline_seconds
        return None if seconds == _FOREVER else seconds

    @property
    def new_set(self) -> ReplicaSet | None:
        return next((rs for rs in self.sets if rs.metadata.name == self.new), None)

    @property
    def old_sets(self) -> list[ReplicaSet]:
        return [rs for rs in self.sets if rs.metadata.name != self.new]

    def is_scaling(self) -> bool:
        """Whether spec.replicas changed since the active ReplicaSets were last sized."""
        self.find()
        for rs in self.sets:
            desired = _number(rs.metadata.annotations.get(DESIRED_REPLICAS))
            if _size(rs) > 0 and desired is not None and desired != self.replicas:
                return True
        return False

    # The new ReplicaSet

    def find(self, *, create: bool = False) -> None:
        """Find the ReplicaSet of the current template, bring its revision up to date; or create it."""
        template = _without_hash(self.deployment.spec.template)
        self.new = next(
            (rs.metadata.name for rs in self.sets if _without_hash(rs.spec.template) == template),
            "",
        )
        revision = max((_revision(rs) for rs in self.old_sets), default=0) + 1
        current = self.new_set
        if current is not None:
            annotations = self._annotations(current.metadata.annotations, revision)
            updated = _annotate(current, annotations)
            seconds = self.deployment.spec.min_ready_seconds
            if updated.spec.min_ready_seconds != seconds:
                updated = replace(updated, spec=replace(updated.spec, min_ready_seconds=seconds))
            self._become(updated)
            self.revision = updated.metadata.annotations.get(REVISION, "")
            if self.deadline_s is not None and self._condition("Progressing") is None:
                self._note("Progressing", "True", "FoundNewReplicaSet", f'Found new replica set "{self.new}"')
        elif create:
            self._create(revision)

    def _create(self, revision: int) -> None:
        deployment = self.deployment
        digest = template_hash(deployment.spec.template, deployment.status.collision_count)
        name = f"{deployment.metadata.name[: 253 - len(digest) - 1]}-{digest}"
        if name in self.observed:
            # Another template has this hash (or a stranger this name): next time the hash will differ.
            count = (deployment.status.collision_count or 0) + 1
            self.status_seen = replace(self.status_seen, collision_count=count)
            return
        template = deployment.spec.template
        labels = {**template.metadata.labels, POD_TEMPLATE_HASH: digest}
        selector = deployment.spec.selector or LabelSelector()
        total = sum(_size(rs) for rs in self.sets)
        size = rollout.new_size(self.limits, 0, total) if self.is_rolling else self.replicas
        annotations = self._annotations({}, revision)
        created = ReplicaSet(
            metadata=ObjectMeta(
                name=name,
                namespace=deployment.metadata.namespace,
                labels=labels,
                annotations={**annotations, **self._sizes()},
                owner_references=(controller_reference(deployment),),
            ),
            spec=replace(
                ReplicaSet().spec,
                replicas=size,
                min_ready_seconds=deployment.spec.min_ready_seconds,
                selector=replace(selector, match_labels={**selector.match_labels, POD_TEMPLATE_HASH: digest}),
                template=replace(template, metadata=replace(template.metadata, labels=labels)),
            ),
        )
        self.sets.append(created)
        self.new = name
        self.revision = str(revision)
        if size > 0:
            whence = "from 0 " if self.minor >= _FROM_FIRST_MINOR else ""
            self._tell(f"Scaled up replica set {name} {whence}to {size}")
        if self.deadline_s is not None:
            self._note("Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')

    def _annotations(self, current: Mapping[str, str], revision: int) -> dict[str, str]:
        """The new ReplicaSet's annotations: the Deployment's, its revision, and the revisions it had before."""
        own = self.deployment.metadata.annotations
        annotations = dict(current) | {key: value for key, value in own.items() if key not in _NOT_COPIED}
        before = current.get(REVISION)
        number = 0 if before is None else _number(before)
        if number is None or number >= revision:
            return annotations
        annotations[REVISION] = str(revision)
        if before is not None:
            earlier = [text for text in current.get(REVISION_HISTORY, "").split(",") if text]
            while earlier and len(",".join((*earlier, before))) > _HISTORY_LENGTH:
                earlier.pop(0)
            annotations[REVISION_HISTORY] = ",".join((*earlier, before))
        return annotations

    # Sizes

    def roll(self) -> None:
        """RollingUpdate: grow the new ReplicaSet if that is allowed now; if not, shrink the old ones."""
        if not self.new:
            self.find(create=True)
        new = self.new_set
        if new is None:
            return
        total = sum(_size(rs) for rs in self.sets)
        target = self.replicas if _size(new) > self.replicas else rollout.new_size(self.limits, _size(new), total)
        if target != _size(new):
            self._scale(new, target)
            return
        old = [rs for rs in self.old_sets if _size(rs) > 0]
        shrunk = rollout.old_sizes(self.limits, [_sizes(rs) for rs in old], _sizes(new))
        for rs in old:
            if rs.metadata.name in shrunk:
                self._scale(rs, shrunk[rs.metadata.name])
        if not shrunk and is_complete(self.deployment, self.deployment.status):
            self.clean_up()

    def recreate(self, pods: tuple[Pod, ...]) -> None:
        """Recreate: all old pods go, are waited for, and only then the new ones are asked for."""
        self.find()
        active = [rs for rs in self.old_sets if _size(rs) > 0]
        if active:
            for rs in active:
                self._scale(rs, 0)
            return
        if self._old_pods_run(pods):
            return
        if not self.new:
            self.find(create=True)
        new = self.new_set
        if new is not None and _size(new) != self.replicas:
            self._scale(new, self.replicas)
        if is_complete(self.deployment, self.deployment.status):
            self.clean_up()

    def _old_pods_run(self, pods: tuple[Pod, ...]) -> bool:
        old = {rs.metadata.uid for rs in self.old_sets}
        if any(rs.status.replicas > 0 for rs in self.old_sets):
            return True
        owners = ((pod.metadata.controller, pod.status.phase) for pod in pods)
        return any(
            owner is not None and owner.uid in old and phase not in {"Succeeded", "Failed"} for owner, phase in owners
        )

    def scale(self) -> None:
        """Follow spec.replicas: the only active ReplicaSet takes all; in mid-rollout each takes its share."""
        active = [rs for rs in self.sets if _size(rs) > 0]
        if len(active) <= 1:
            latest = active[0] if active else self.new_set or (self.old_sets[-1] if self.old_sets else None)
            if latest is not None and _size(latest) != self.replicas:
                self._scale(latest, self.replicas)
            return
        new = self.new_set
        if new is not None and self._is_saturated(new):
            for rs in active:
                if rs.metadata.name != self.new:
                    self._scale(rs, 0)
            return
        if not self.is_rolling:
            return
        targets = rollout.proportional(self.limits, [_sizes(rs) for rs in active], self.deployment.status.replicas)
        for rs in active:
            self._scale(rs, targets[rs.metadata.name])

    def _is_saturated(self, new: ReplicaSet) -> bool:
        desired = _number(new.metadata.annotations.get(DESIRED_REPLICAS))
        return _size(new) == self.replicas == desired and new.status.available_replicas == self.replicas

    def _scale(self, rs: ReplicaSet, size: int) -> None:
        before = _size(rs)
        self._become(
            _annotate(replace(rs, spec=replace(rs.spec, replicas=size)), {**rs.metadata.annotations, **self._sizes()})
        )
        if size != before:
            direction = "up" if before < size else "down"
            steps = f"from {before} to {size}" if self.minor >= _FROM_FIRST_MINOR else f"to {size} from {before}"
            self._tell(f"Scaled {direction} replica set {rs.metadata.name} {steps}")

    def _sizes(self) -> dict[str, str]:
        return {DESIRED_REPLICAS: str(self.replicas), MAX_REPLICAS: str(self.limits.max_total)}

    def clean_up(self) -> None:
        """Delete the old ReplicaSets without pods that exceed revisionHistoryLimit, lowest revision first.

        Upstream looks at the sizes as they were observed: it deletes what it has just scaled up while paused.
        """
        limit = self.deployment.spec.revision_history_limit
        if limit is None or limit == _FOREVER:
            return
        old = sorted((rs for rs in self.old_sets if rs.metadata.deletion_timestamp is None), key=_revision)
        for rs in old[: max(0, len(old) - limit)]:
            size = _size(self.observed.get(rs.metadata.name, rs))
            if rs.status.replicas == size == 0 and rs.metadata.generation <= rs.status.observed_generation:
                self.deleted.append(rs)

    # Status

    def note_pause(self) -> None:
        condition = self._condition("Progressing")
        if self.deadline_s is None or (condition is not None and condition.reason == "ProgressDeadlineExceeded"):
            return
        was_paused = condition is not None and condition.reason == "DeploymentPaused"
        if self.deployment.spec.paused and not was_paused:
            self._note("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
        elif not self.deployment.spec.paused and was_paused:
            self._note("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")

    def sync_status(self, *, estimate: bool) -> None:
        """Count what was observed (not what is asked for now); with `estimate`, say how the rollout progresses."""
        status = self._counted()
        if estimate:
            status = self._with_progress(status)
            failure = self._replica_failure()
            status = _drop(status, "ReplicaFailure") if failure is None else _with_condition(status, failure)
        self.status = status
        self._look_again()

    def _counted(self) -> DeploymentStatus:
        new = self.observed.get(self.new)
        sets = [self.observed[rs.metadata.name] for rs in self.sets if rs.metadata.name in self.observed]
        available = sum(rs.status.available_replicas for rs in sets)
        status = replace(
            self.status_seen,
            observed_generation=self.deployment.metadata.generation,
            replicas=sum(rs.status.replicas for rs in sets),
            updated_replicas=0 if new is None else new.status.replicas,
            ready_replicas=sum(rs.status.ready_replicas for rs in sets),
            available_replicas=available,
            unavailable_replicas=max(0, sum(_size(rs) for rs in self.sets) - available),
            terminating_replicas=_terminating(sets) if self.minor >= TERMINATING_REPLICAS_MINOR else None,
        )
        if available >= self.limits.min_available:
            return _with_condition(
                status,
                self._make("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
            )
        message = "Deployment does not have minimum availability."
        return _with_condition(status, self._make("Available", "False", "MinimumReplicasUnavailable", message))

    def _with_progress(self, status: DeploymentStatus) -> DeploymentStatus:
        if self.deadline_s is None:
            return _drop(status, "Progressing")
        current = self._condition("Progressing")
        done_before = current is not None and current.reason == "NewReplicaSetAvailable"
        if done_before and status.replicas == status.updated_replicas:
            return status
        what = f'ReplicaSet "{self.new}"' if self.new else f'Deployment "{self.deployment.metadata.name}"'
        if is_complete(self.deployment, status):
            return _with_condition(
                status,
                self._make("Progressing", "True", "NewReplicaSetAvailable", f"{what} has successfully progressed."),
            )
        if self._has_progressed(status):
            condition = self._make("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.")
            if current is not None and current.status == "True":
                condition = replace(condition, last_transition_time=current.last_transition_time)
            return _with_condition(_drop(status, "Progressing"), condition)
        if self._has_timed_out(current):
            return _with_condition(
                status,
                self._make("Progressing", "False", "ProgressDeadlineExceeded", f"{what} has timed out progressing."),
            )
        return status

    def _has_progressed(self, status: DeploymentStatus) -> bool:
        before = self.status_seen
        return (
            status.updated_replicas > before.updated_replicas
            or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
            or status.ready_replicas > before.ready_replicas
            or status.available_replicas > before.available_replicas
        )

    def _has_timed_out(self, condition: DeploymentCondition | None) -> bool:
        if condition is None or condition.reason == "NewReplicaSetAvailable":
            return False
        if condition.reason == "ProgressDeadlineExceeded":
            return True
        deadline = self._deadline(condition)
        return deadline is not None and deadline < self.now

    def _deadline(self, condition: DeploymentCondition) -> datetime | None:
        if self.deadline_s is None or condition.last_update_time is None:
            return None
        return after(condition.last_update_time, self.deadline_s)

    def _look_again(self) -> None:
        """A rollout under way is looked at again one second after its deadline."""
        condition = next((c for c in self.status.conditions if c.type == "Progressing"), None)
        if condition is None or self.deployment.spec.paused or is_complete(self.deployment, self.status):
            return
        if condition.reason not in {"ProgressDeadlineExceeded", "NewReplicaSetAvailable"}:
            deadline = self._deadline(condition)
            self.wake_at = None if deadline is None else after(max(deadline, self.now), 1)

    def _replica_failure(self) -> DeploymentCondition | None:
        new = self.new_set
        for rs in (*(() if new is None else (new,)), *self.sets):
            for c in rs.status.conditions:
                if c.type == "ReplicaFailure":
                    return DeploymentCondition(
                        type=c.type,
                        status=c.status,
                        reason=c.reason,
                        message=c.message,
                        last_transition_time=c.last_transition_time,
                        last_update_time=c.last_transition_time,
                    )
        return None

    # Small parts

    def _become(self, rs: ReplicaSet) -> None:
        self.sets = [rs if other.metadata.name == rs.metadata.name else other for other in self.sets]

    def _tell(self, message: str) -> None:
        self.events.append(RecordEvent(self.deployment, "Normal", "ScalingReplicaSet", message))

    def _condition(self, kind: str) -> DeploymentCondition | None:
        return next((c for c in self.status_seen.conditions if c.type == kind), None)

    def _note(self, kind: str, status: str, reason: str, message: str) -> None:
        self.status_seen = _with_condition(self.status_seen, self._make(kind, status, reason, message))

    def _make(self, kind: str, status: str, reason: str, message: str) -> DeploymentCondition:
        return DeploymentCondition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=self.now,
            last_update_time=self.now,
        )

    def decision(self) -> Decision:
        for rs in self.sets:
            before = self.observed.get(rs.metadata.name)
            if before is None:
                self.writes.append(Create(rs))
            elif rs != before:
                self.writes.append(Update(before, rs))
        self.writes.extend(self.events)
        self.writes.extend(Delete(rs) for rs in self.deleted)
        told = replace(self.deployment, status=self.status)
        if told != self.deployment:
            self.writes.append(UpdateStatus(self.deployment, told))
        if self.revision and self.revision != self.deployment.metadata.annotations.get(REVISION):
            # After the status, so that a conflict between the two loses nothing: the next decision tries again.
            annotations = {**self.deployment.metadata.annotations, REVISION: self.revision}
            self.writes.append(Update(told, _annotate(told, annotations)))
        return Decision(tuple(self.writes), self.wake_at)


def _refuse_to_select_all(deployment: Deployment) -> Decision:
    message = "This deployment is selecting all pods. A non-empty selector is required."
    writes: list[Write] = []
    if deployment.status.observed_generation < deployment.metadata.generation:
        status = replace(deployment.status, observed_generation=deployment.metadata.generation)
        writes.append(RecordEvent(deployment, "Warning", "SelectingAll", message))
        writes.append(UpdateStatus(deployment, replace(deployment, status=status)))
    return Decision(tuple(writes))


def _explain(deployment: Deployment, refused: Refusal, now: datetime) -> Decision:
    """What is told of a ReplicaSet that the API did not create; a taken name is avoided next time."""
    status = deployment.status
    if not isinstance(refused.write, Create) or NAMESPACE_ENDS in refused.message:
        return Decision()
    if refused.message.endswith("already exists"):
        status = replace(status, collision_count=(status.collision_count or 0) + 1)
        return Decision((UpdateStatus(deployment, replace(deployment, status=status)),))
    message = f'Failed to create new replica set "{refused.write.object.metadata.name}": {refused.message}'
    event = RecordEvent(deployment, "Warning", "ReplicaSetCreateError", message)
    if deployment.spec.progress_deadline_seconds == _FOREVER:
        return Decision((event,))
    condition = DeploymentCondition(
        type="Progressing",
        status="False",
        reason="ReplicaSetCreateError",
        message=message,
        last_transition_time=now,
        last_update_time=now,
    )
    told = replace(deployment, status=_with_condition(status, condition))
    return Decision((event, *((UpdateStatus(deployment, told),) if told != deployment else ())))


def _terminating(sets: list[ReplicaSet]) -> int | None:
    """The sum, unless one that was looked at does not say."""
    counts = [rs.status.terminating_replicas for rs in sets if rs.status.observed_generation]
    return None if None in counts else sum(count or 0 for count in counts)


def _by_age(sets: list[ReplicaSet]) -> list[ReplicaSet]:
    def age(rs: ReplicaSet) -> tuple[float, str]:
        created = rs.metadata.creation_timestamp
        return (0.0 if created is None else created.timestamp(), rs.metadata.name)

    return sorted(sets, key=age)


def _size(rs: ReplicaSet) -> int:
    return 1 if rs.spec.replicas is None else rs.spec.replicas


def _sizes(rs: ReplicaSet) -> rollout.Sizes:
    return rollout.Sizes(
        name=rs.metadata.name,
        replicas=_size(rs),
        available=rs.status.available_replicas,
        max_replicas=_number(rs.metadata.annotations.get(MAX_REPLICAS)) or 0,
    )


def _revision(rs: ReplicaSet) -> int:
    return _number(rs.metadata.annotations.get(REVISION)) or 0


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = template.metadata.labels
    if POD_TEMPLATE_HASH not in labels:
        return template
    kept = {key: value for key, value in labels.items() if key != POD_TEMPLATE_HASH}
    return replace(template, metadata=replace(template.metadata, labels=kept))


def _annotate(obj: T, annotations: Mapping[str, str]) -> T:
    return replace(obj, metadata=replace(obj.metadata, annotations=dict(annotations)))


def _with_condition(status: DeploymentStatus, condition: DeploymentCondition) -> DeploymentStatus:
    """`status` with `condition`; nothing changes, times included, when status and reason stay."""
    current = next((c for c in status.conditions if c.type == condition.type), None)
    if current is not None:
        if (current.status, current.reason) == (condition.status, condition.reason):
            return status
        if current.status == condition.status:
            condition = replace(condition, last_transition_time=current.last_transition_time)
    return replace(status, conditions=(*(c for c in status.conditions if c.type != condition.type), condition))


def _drop(status: DeploymentStatus, kind: str) -> DeploymentStatus:
    kept = tuple(c for c in status.conditions if c.type != kind)
    return status if len(kept) == len(status.conditions) else replace(status, conditions=kept)


def _view_of_pod(pod: Object) -> Object:
    """Only whether a pod still runs, and whose it is, matters to a Deployment (Recreate)."""
    assert isinstance(pod, Pod)
    finished = pod.status.phase in {"Succeeded", "Failed"}
    return Pod(
        metadata=ObjectMeta(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            uid=pod.metadata.uid,
            owner_references=pod.metadata.owner_references,
        ),
        status=PodStatus(phase=pod.status.phase if finished else "Running"),
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Every replica is new and available and no old one is left (upstream's `DeploymentComplete`)."""
    replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
    return (
        status.updated_replicas == status.replicas == status.available_replicas == replicas
        and status.observed_generation >= deployment.metadata.generation
    )


CONTROLLER = Controller(
    name="deployment-controller",
    actor="Deployment controller",
    subject=Deployment,
    reads=(
        Read(ReplicaSet, Relation.OWNED),
        Read(ReplicaSet, Relation.SELECTED),
        Read(Pod, Relation.SELECTED, view=_view_of_pod),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
