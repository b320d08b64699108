"""The Job controller, and its second duty: pods whose Job is gone or has ended are not held by its finalizer."""

from __future__ import annotations

from typing import Final

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.job.conditions import outcome
from seatrial.control.job.pods import view
from seatrial.control.job.sync import managed_elsewhere, reconcile
from seatrial.control.job.tracking import is_tracked, untracked
from seatrial.control.writes import Update
from seatrial.kube.objects import Job, Object, Pod


def _let_go(seen: Seen) -> Decision:
    pod = seen.subject
    assert isinstance(pod, Pod)
    owner = pod.metadata.controller
    if not is_tracked(pod) or (owner is not None and (owner.api_version, owner.kind) != (Job.api_version, Job.kind)):
        return Decision()
    job = next((job for job in seen.all(Job) if owner is not None and job.metadata.uid == owner.uid), None)
    if job is not None and (managed_elsewhere(job, seen.minor) or outcome(job) is None):
        return Decision()
    return Decision((Update(pod, untracked(pod)),))


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    return view(pod)


def _view_of_owner(job: Object) -> Object:
    assert isinstance(job, Job)
    ended = outcome(job)
    meta = job.metadata
    return Job(
        metadata=type(meta)(name=meta.name, namespace=meta.namespace, uid=meta.uid),
        spec=type(job.spec)(managed_by=job.spec.managed_by),
        status=type(job.status)(conditions=() if ended is None else (ended,)),
    )


def _view_of_held(pod: Object) -> Object:
    meta = pod.metadata
    return Pod(
        metadata=type(meta)(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            owner_references=meta.owner_references,
            finalizers=meta.finalizers,
        )
    )


CONTROLLERS: Final = (
    Controller(
        name="job-controller",
        actor="Job controller",
        subject=Job,
        reads=(Read(Pod, Relation.OWNED, view=_view_of_pod), Read(Pod, Relation.SELECTED, view=_view_of_pod)),
        reconcile=reconcile,
        hears_refusals=True,
    ),
    Controller(
        name="job-controller",
        actor="Job controller",
        subject=Pod,
        reads=(Read(Job, Relation.OWNER, view=_view_of_owner),),
        reconcile=_let_go,
        concerned=is_tracked,
        view=_view_of_held,
    ),
)
