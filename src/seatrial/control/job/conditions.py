"""The conditions of a Job: which it has, and how one is set."""

from __future__ import annotations

from datetime import datetime

from seatrial.kube.objects import Job
from seatrial.kube.objects.batch import JobCondition, JobStatus


def condition(type_: str, reason: str, message: str, now: datetime, *, status: str = "True") -> JobCondition:
    return JobCondition(
        type=type_, status=status, reason=reason, message=message, last_probe_time=now, last_transition_time=now
    )


def find(status: JobStatus, type_: str) -> JobCondition | None:
    return next((item for item in status.conditions if item.type == type_), None)


def true(status: JobStatus, type_: str) -> JobCondition | None:
    """The condition, if it is there and True."""
    found = find(status, type_)
    return found if found is not None and found.status == "True" else None


def outcome(job: Job) -> JobCondition | None:
    """Complete or Failed, once the Job has ended."""
    return next((c for c in job.status.conditions if c.type in {"Complete", "Failed"} and c.status == "True"), None)


def with_condition(conditions: tuple[JobCondition, ...], new: JobCondition) -> tuple[JobCondition, ...]:
    """`new` in its place or at the end; unchanged if it says nothing new, or denies what was never there."""
    for index, old in enumerate(conditions):
        if old.type == new.type:
            if (old.status, old.reason, old.message) == (new.status, new.reason, new.message):
                return conditions
            return (*conditions[:index], new, *conditions[index + 1 :])
    return conditions if new.status == "False" else (*conditions, new)
