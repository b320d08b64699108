"""The TTL-after-finished controller: a Job that has ended is deleted, with its pods, some time later."""

from __future__ import annotations

from typing import Final

from seatrial.control.controller import Controller, Decision, Seen
from seatrial.control.job.conditions import outcome
from seatrial.control.writes import Delete, Propagation
from seatrial.kube.objects import Job, Object
from seatrial.kube.times import after


def reconcile(seen: Seen) -> Decision:
    job = seen.subject
    assert isinstance(job, Job)
    ended, ttl_s = outcome(job), job.spec.ttl_seconds_after_finished
    if job.metadata.deletion_timestamp is not None or ended is None or ttl_s is None:
        return Decision()
    if ended.last_transition_time is None:
        return Decision()
    expires_at = after(ended.last_transition_time, ttl_s)
    if expires_at > seen.now:
        return Decision(wake_at=expires_at)
    return Decision((Delete(job, propagation=Propagation.FOREGROUND),))


def _expires(job: Object) -> bool:
    return isinstance(job, Job) and job.spec.ttl_seconds_after_finished is not None and outcome(job) is not None


CONTROLLER: Final = Controller(
    name="ttl-after-finished-controller",
    actor="TTL controller",
    subject=Job,
    reads=(),
    reconcile=reconcile,
    concerned=_expires,
)
