"""The ReplicationController controller: a ReplicaSet under its older name, with a plain map of labels as selector."""

from __future__ import annotations

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.replicaset import Crowd, manage, view
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import LabelSelector, Pod, PodTemplateSpec, ReplicationController
from seatrial.kube.objects.workloads import (
    ReplicaSetCondition,
    ReplicaSetSpec,
    ReplicaSetStatus,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, ReplicationController)
    outcome = manage(_as_crowd(subject), seen, ())
    status = _as_status(outcome.status)
    writes = outcome.writes
    if status != subject.status:
        writes = (*writes, UpdateStatus(subject, replace(subject, status=status)))
    return Decision(writes, outcome.wake_at, batches=outcome.batches)


def _as_crowd(subject: ReplicationController) -> Crowd:
    spec, status = subject.spec, subject.status
    return Crowd(
        subject,
        ReplicaSetSpec(
            min_ready_seconds=spec.min_ready_seconds,
            replicas=spec.replicas,
            selector=LabelSelector(match_labels=spec.selector) if spec.selector else None,
            template=spec.template or PodTemplateSpec(),
        ),
        ReplicaSetStatus(
            conditions=tuple(
                ReplicaSetCondition(
                    last_transition_time=c.last_transition_time,
                    message=c.message,
                    reason=c.reason,
                    status=c.status,
                    type=c.type,
                )
                for c in status.conditions
            )
        ),
    )


def _as_status(status: ReplicaSetStatus) -> ReplicationControllerStatus:
    return ReplicationControllerStatus(
        available_replicas=status.available_replicas,
        conditions=tuple(
            ReplicationControllerCondition(
                last_transition_time=c.last_transition_time,
                message=c.message,
                reason=c.reason,
                status=c.status,
                type=c.type,
            )
            for c in status.conditions
        ),
        fully_labeled_replicas=status.fully_labeled_replicas,
        observed_generation=status.observed_generation,
        ready_replicas=status.ready_replicas,
        replicas=status.replicas,
    )


CONTROLLER = Controller(
    name="replication-controller",
    actor="ReplicationController controller",
    subject=ReplicationController,
    reads=(
        Read(Pod, Relation.OWNED, view=view),
        Read(Pod, Relation.SELECTED, view=view),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
