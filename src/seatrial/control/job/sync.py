"""The Job controller's decision: pods until enough have succeeded, each counted exactly once.

Counting is upstream's protocol (KEP-2307). A pod carries a finalizer until it is counted, so it cannot vanish before.
The order of the writes is what makes a crash between any two harmless: first the uids of ended pods are written into
`status.uncountedTerminatedPods`, then their finalizers are removed, then the uids become part of the counts. Succeeded
pods of an Indexed Job are counted by their index instead.

How a Job ends has an interim condition (FailureTarget, SuccessCriteriaMet), written before the pods lose their
finalizers, and a terminal one (Failed, Complete), written when all are counted and, since 1.31, gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from seatrial.control.batches import slow_start
from seatrial.control.controller import Batch, Decision, Seen
from seatrial.control.job import failures
from seatrial.control.job.conditions import condition, find, outcome, true, with_condition
from seatrial.control.job.failures import Record, completion_index, is_failed, judge, replaces_only_failed
from seatrial.control.job.indexes import Indexes
from seatrial.control.job.pods import new_pod, surplus
from seatrial.control.job.tracking import claim, is_terminating, is_tracked, untracked
from seatrial.control.ownership import is_active, is_ready
from seatrial.control.replicaset import NAMESPACE_ENDS
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, Update, UpdateStatus, Write
from seatrial.kube.objects import Job, Pod
from seatrial.kube.objects.batch import JobCondition, JobStatus, UncountedTerminatedPods
from seatrial.kube.times import after

MANAGER: Final = "kubernetes.io/job-controller"
MOST_UNCOUNTED: Final = 500
"""Uids in the status at one time, so that it stays below 20 KB."""
BURST: Final = 500
"""Pods created or deleted in one decision."""


def reconcile(seen: Seen) -> Decision:
    job = seen.subject
    assert isinstance(job, Job)
    if managed_elsewhere(job, seen.minor) or outcome(job) is not None:
        return Decision()
    if job.spec.completion_mode not in {None, "NonIndexed", "Indexed"}:
        skipped = "Skipped Job sync because completion mode is unknown"
        return Decision((RecordEvent(job, "Warning", "UnknownCompletionMode", skipped),))
    return Sync.of(seen, job).decide()


def managed_elsewhere(job: Job, minor: int) -> bool:
    return minor >= 32 and job.spec.managed_by not in {None, MANAGER}


@dataclass(slots=True)
class Sync:
    """One decision in the making. `pods` are the Job's as it will have claimed them, `status` what it will be."""

    job: Job
    now: datetime
    minor: int
    refused: tuple[Refusal, ...]
    pods: list[Pod]
    remembered: Record
    record: Record
    status: JobStatus
    writes: list[Write] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    active: int = 0
    ready: int = 0
    terminating: int = 0
    completed: Indexes = field(default_factory=Indexes)
    failed_indexes: Indexes | None = None
    waiting: dict[int, Pod] = field(default_factory=dict)
    """For each index that failed and may be retried: the pod that its replacement learns from, kept until then."""
    released: set[str] = field(default_factory=set)
    """Uids of the pods whose finalizer this decision removed before deleting them."""
    wake_ups: list[datetime] = field(default_factory=list)

    @classmethod
    def of(cls, seen: Seen, job: Job) -> Sync:
        pods, claims = claim(job, seen.all(Pod))
        status = job.status
        if status.uncounted_terminated_pods is None:
            status = replace(status, uncounted_terminated_pods=UncountedTerminatedPods())
        now = seen.now.replace(microsecond=0)
        if status.start_time is None and not job.spec.suspend:
            status = replace(status, start_time=now)
        record = seen.memory if isinstance(seen.memory, Record) else Record()
        told = status.uncounted_terminated_pods or UncountedTerminatedPods()
        succeeded = [pod for pod in pods if pod.status.phase == "Succeeded" and _is_new(job, pod, told.succeeded)]
        failed = [pod for pod in pods if is_failed(job, pod, seen.minor) and _is_new(job, pod, told.failed)]
        return cls(
            job=job,
            now=now,
            minor=seen.minor,
            refused=seen.refused,
            pods=pods,
            remembered=record,
            record=record.with_finished(succeeded, failed),
            status=status,
            writes=list(claims),
            active=sum(map(is_active, pods)),
            ready=sum(is_active(pod) and is_ready(pod) for pod in pods),
            terminating=sum(is_terminating(pod) for pod in pods),
        )

    # What there is

    @property
    def is_indexed(self) -> bool:
        return self.job.spec.completion_mode == "Indexed"

    @property
    def completions(self) -> int | None:
        return self.job.spec.completions

    @property
    def parallelism(self) -> int:
        return 1 if self.job.spec.parallelism is None else self.job.spec.parallelism

    @property
    def backoff_limit(self) -> int:
        return 6 if self.job.spec.backoff_limit is None else self.job.spec.backoff_limit

    @property
    def uncounted(self) -> UncountedTerminatedPods:
        return self.status.uncounted_terminated_pods or UncountedTerminatedPods()

    @property
    def hides_active(self) -> bool:
        """Whether no pod is said to be active while one waits to be replaced (patches of 1.34 to 1.36 mended that)."""
        return self.minor < 34

    @property
    def delays_the_end(self) -> bool:
        """Whether the terminal condition waits until the last pod is gone."""
        return self.minor >= 31

    def _is_failed(self, pod: Pod) -> bool:
        return is_failed(self.job, pod, self.minor)

    # The decision

    def decide(self) -> Decision:
        uncounted = self.uncounted
        succeeded = (
            self.job.status.succeeded
            + len(uncounted.succeeded)
            + sum(pod.status.phase == "Succeeded" and _is_new(self.job, pod, uncounted.succeeded) for pod in self.pods)
        )
        if self.is_indexed:
            succeeded = self._read_indexes()
        end = self._end()
        if end is not None:
            self._delete([pod for pod in self.pods if is_active(pod)], release=False)
        else:
            managing = self.job.metadata.deletion_timestamp is None
            if managing:
                self._manage(succeeded)
            end = self._completion(succeeded)
            if end is None and managing:
                self._note_suspension()
        self.status = replace(
            self.status,
            active=self.active,
            ready=self.ready,
            terminating=self.terminating if self.minor >= 29 else None,
        )
        wake_up = min(self.wake_ups, default=None)
        if self.minor >= 32 and self.ready > self.active:  # the API refuses such a status, and all that follows waits
            return Decision(tuple(self.writes), wake_up, self.remembered, tuple(self.batches))
        self._track(end)
        return Decision(tuple(self.writes), wake_up, self.record, tuple(self.batches))

    def _read_indexes(self) -> int:
        """Which indexes succeeded, which failed for good, which wait for a retry; how many succeeded."""
        completions = self.completions or 0
        before = Indexes.parse(self.job.status.completed_indexes, completions)
        tracked = [
            (pod, index) for pod in self.pods if is_tracked(pod) and (index := _valid_index(self.job, pod)) is not None
        ]
        self.completed = before | Indexes.of(index for pod, index in tracked if pod.status.phase == "Succeeded")
        if self.job.spec.backoff_limit_per_index is not None:
            failed = [(pod, index) for pod, index in tracked if self._is_failed(pod)]
            gone = Indexes.of(index for pod, index in failed if self._index_is_lost(pod))
            self.failed_indexes = Indexes.parse(self.job.status.failed_indexes or "", completions) | gone
            running = {completion_index(pod) for pod in self.pods if is_active(pod)}
            for pod, index in failed:
                if index not in self.completed and index not in self.failed_indexes and index not in running:
                    last = self.waiting.get(index)
                    if last is None or failures.follows(pod, last):
                        self.waiting[index] = pod
        return len(self.completed)

    def _index_is_lost(self, pod: Pod) -> bool:
        verdict = judge(self.job, pod)
        if verdict.action == "FailIndex":
            return True
        return verdict.counts and failures.index_failures(pod) >= (self.job.spec.backoff_limit_per_index or 0)

    # How it ends

    def _end(self) -> JobCondition | None:
        """The condition under which the Job's active pods have to go, if it is there or due."""
        met = true(self.job.status, "SuccessCriteriaMet")
        if met is not None:
            return met
        target = true(self.job.status, "FailureTarget")
        if target is not None:
            return condition("Failed", target.reason, target.message, self.now)
        return self._failure() or self._success()

    def _failure(self) -> JobCondition | None:
        for pod in self.pods:
            verdict = judge(self.job, pod) if self._is_failed(pod) else None
            if verdict is not None and verdict.action == "FailJob":
                return condition("FailureTarget", "PodFailurePolicy", verdict.message, self.now)
        if self._counted_failures() > self.backoff_limit or self._restarts_exceed_limit():
            return self._failed("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        deadline_s, started = self.job.spec.active_deadline_seconds, self.status.start_time
        if deadline_s is not None and started is not None and not self.job.spec.suspend:
            deadline = after(started, deadline_s)
            if deadline <= self.now:
                return self._failed("DeadlineExceeded", "Job was active longer than specified deadline")
            self.wake_ups.append(deadline)
        if self.failed_indexes:
            most = self.job.spec.max_failed_indexes
            if most is not None and len(self.failed_indexes) > most:
                exceeded = "Job has exceeded the specified maximal number of failed indexes"
                return self._failed("MaxFailedIndexesExceeded", exceeded)
            if len(self.failed_indexes) + len(self.completed) >= (self.completions or 0):
                return self._failed("FailedIndexes", "Job has failed indexes")
        return None

    def _failed(self, reason: str, message: str) -> JobCondition:
        return condition("FailureTarget" if self.delays_the_end else "Failed", reason, message, self.now)

    def _counted_failures(self) -> int:
        failed = self.uncounted.failed
        new = (pod for pod in self.pods if self._is_failed(pod) and _is_new(self.job, pod, failed))
        return self.job.status.failed + len(failed) + sum(judge(self.job, pod).counts for pod in new)

    def _restarts_exceed_limit(self) -> bool:
        """With restartPolicy OnFailure the restarts of the containers are what is limited."""
        if self.job.spec.template.spec.restart_policy != "OnFailure":
            return False
        count = sum(
            status.restart_count
            for pod in self.pods
            if pod.status.phase in {"Running", "Pending"}
            for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        )
        return count >= max(self.backoff_limit, 1)

    def _success(self) -> JobCondition | None:
        """What the successPolicy of an Indexed Job says."""
        policy = self.job.spec.success_policy
        if policy is None or not self.is_indexed or not self.completed or self.minor < 31:
            return None
        for index, rule in enumerate(policy.rules):
            if rule.succeeded_indexes is not None:
                required = Indexes.parse(rule.succeeded_indexes, self.completions or 0)
                there = required.overlap(self.completed)
                enough = len(required) if rule.succeeded_count is None else min(rule.succeeded_count, len(required))
                met = bool(required) and there >= enough
            else:
                met = rule.succeeded_count is not None and len(self.completed) >= rule.succeeded_count
            if met:
                return condition("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {index}", self.now)
        return None

    def _completion(self, succeeded: int) -> JobCondition | None:
        """Without a number of completions the first success stops the Job: the rest may end, then it is complete."""
        if self.active > 0 or succeeded < (1 if self.completions is None else self.completions):
            return None
        if not self.delays_the_end:
            return condition("Complete", "", "", self.now)
        reached = "Reached expected number of succeeded pods"
        return condition("SuccessCriteriaMet", "CompletionsReached", reached, self.now)

    def _note_suspension(self) -> None:
        suspended = bool(self.job.spec.suspend)
        done = "suspended" if suspended else "resumed"
        new = condition("Suspended", f"Job{done.title()}", f"Job {done}", self.now, status=str(suspended))
        conditions = with_condition(self.status.conditions, new)
        if conditions == self.status.conditions:
            return
        self.status = replace(self.status, conditions=conditions)
        self.writes.append(RecordEvent(self.job, "Normal", done.title(), f"Job {done}"))
        if not suspended:
            self.status = replace(self.status, start_time=self.now)
        elif self.minor >= 36:
            self.status = replace(self.status, start_time=None)

    # Its pods

    def _manage(self, succeeded: int) -> None:
        """Too many are deleted, or missing ones created, never both at once."""
        wanted = self._wanted(succeeded)
        active = [pod for pod in self.pods if is_active(pod)]
        too_many = surplus(self.job, active, max(0, self.active - wanted))
        if not self.job.spec.suspend:
            too_many = too_many[:BURST]
        if too_many or self.job.spec.suspend:
            self._delete(too_many, release=True)
            return
        missing = wanted - self.active - (self.terminating if replaces_only_failed(self.job) else 0)
        if missing > 0:
            self._create(min(missing, BURST))

    def _wanted(self, succeeded: int) -> int:
        if self.job.spec.suspend:
            return 0
        if self.completions is None:
            return self.active if succeeded > 0 else self.parallelism
        return max(0, min(self.completions - succeeded, self.parallelism))

    def _create(self, missing: int) -> None:
        per_index = self.job.spec.backoff_limit_per_index is not None
        if not per_index and self._must_wait(self.record.retry_at()):
            self._note_wait()
            return
        places: list[int | None] = [None] * missing
        if self.is_indexed:
            pending = self._pending(missing)
            places = [
                index
                for index in pending
                if not per_index or not self._must_wait(failures.index_retry_at(self.waiting.get(index)))
            ]
            if pending and not places:
                self._note_wait()
                return
        uncreated = [refusal.message for refusal in self.refused if isinstance(refusal.write, Create)]
        if uncreated:
            for said in uncreated:
                if NAMESPACE_ENDS not in said:
                    self.writes.append(RecordEvent(self.job, "Warning", "FailedCreate", f"Error creating: {said}"))
            return
        self.batches += slow_start(self.writes, (self._creation(index) for index in places))
        self.active += len(places)

    def _creation(self, index: int | None) -> tuple[Write, ...]:
        per_index = self.job.spec.backoff_limit_per_index is not None
        notes = failures.failure_annotations(self.job, self.waiting.get(index or 0)) if per_index else {}
        told = RecordEvent(self.job, "Normal", "SuccessfulCreate", "Created pod: {created}")
        return (Create(new_pod(self.job, index, notes, self.minor)), told)

    def _pending(self, count: int) -> list[int]:
        """The lowest indexes without a pod or an outcome."""
        taken = Indexes.of(
            {
                index
                for pod in self.pods
                if is_active(pod) or (replaces_only_failed(self.job) and is_terminating(pod))
                if (index := completion_index(pod)) is not None
            }
        )
        return (self.completed | (self.failed_indexes or Indexes()) | taken).missing(count, self.completions or 0)

    def _must_wait(self, retry_at: datetime | None) -> bool:
        if retry_at is None or retry_at <= self.now:
            return False
        self.wake_ups.append(retry_at)
        return True

    def _note_wait(self) -> None:
        if self.hides_active:
            self.active = 0

    def _delete(self, pods: list[Pod], *, release: bool) -> None:
        """Delete pods. With `release` they give up their finalizer first, and so are not counted as failed."""
        for pod in pods:
            if release and is_tracked(pod):
                self.writes.append(Update(pod, untracked(pod)))
                self.released.add(pod.metadata.uid)
            self.writes.append(Delete(pod))
            name = pod.metadata.name
            self.writes.append(RecordEvent(self.job, "Normal", "SuccessfulDelete", f"Deleted pod: {name}"))
        self.active -= len(pods)
        self.ready -= sum(map(is_ready, pods))
        if self.delays_the_end:
            self.terminating += len(pods)

    # Its counts

    def _track(self, end: JobCondition | None) -> None:
        """Count the pods that ended, let them go, and say so when the Job has ended with them."""
        tracked = {pod.metadata.uid for pod in self.pods if is_tracked(pod)}
        self._settle(tracked)
        counted = self._count(end)
        self._write_indexes()
        interim = end is not None and end.type in {"FailureTarget", "SuccessCriteriaMet"}
        if end is not None and interim:
            if find(self.status, end.type) is None:
                self.status = replace(self.status, conditions=(*self.status.conditions, end))
            final = "Failed" if end.type == "FailureTarget" else "Complete"
            end = condition(final, end.reason, end.message, self.now)
        written = self._flush(self.job)
        for pod in counted:
            if pod.metadata.uid not in self.released:
                self.writes.append(Update(pod, untracked(pod)))
        self._settle(tracked - {pod.metadata.uid for pod in counted})
        ended = end is not None and self._finish(end)
        self._flush(written)
        if ended and end is not None:
            self._report(end)

    def _settle(self, tracked: set[str]) -> None:
        """The uncounted pods without a finalizer become part of the counts."""
        uncounted = self.uncounted
        succeeded = tuple(uid for uid in uncounted.succeeded if uid in tracked)
        failed = tuple(uid for uid in uncounted.failed if uid in tracked)
        self.status = replace(
            self.status,
            succeeded=self.status.succeeded + len(uncounted.succeeded) - len(succeeded),
            failed=self.status.failed + len(uncounted.failed) - len(failed),
            uncounted_terminated_pods=replace(uncounted, succeeded=succeeded, failed=failed),
        )

    def _count(self, end: JobCondition | None) -> list[Pod]:
        """Enter the pods that ended among the uncounted; the pods that may lose their finalizers thereafter."""
        before = Indexes.parse(self.job.status.completed_indexes, self.completions or 0)
        pods = (
            sorted(self.pods, key=lambda p: -1 if (i := completion_index(p)) is None else i)
            if self.is_indexed
            else self.pods
        )
        known = self.job.status.uncounted_terminated_pods or UncountedTerminatedPods()
        succeeded, failed, by_index = list(self.uncounted.succeeded), list(self.uncounted.failed), 0
        counted: list[Pod] = []
        for pod in pods:
            if not is_tracked(pod) or not self._may_go(pod, end):
                continue
            counted.append(pod)
            uid, index = pod.metadata.uid, _valid_index(self.job, pod)
            if pod.status.phase == "Succeeded" and uid not in known.failed:
                if self.is_indexed:
                    by_index += index is not None and index not in before
                elif uid not in known.succeeded:
                    succeeded.append(uid)
            elif self._is_failed(pod) or (end is not None and end.type != "SuccessCriteriaMet"):
                new = uid not in known.failed and (not self.is_indexed or index is not None)
                if new and judge(self.job, pod).counts:
                    failed.append(uid)
            if by_index + len(succeeded) + len(failed) >= MOST_UNCOUNTED:
                break
        uncounted = UncountedTerminatedPods(succeeded=tuple(succeeded), failed=tuple(failed))
        self.status = replace(self.status, uncounted_terminated_pods=uncounted)
        return counted

    def _may_go(self, pod: Pod, end: JobCondition | None) -> bool:
        if self.job.metadata.deletion_timestamp is not None or end is not None or pod.status.phase == "Succeeded":
            return True
        index = completion_index(pod)
        kept = None if index is None else self.waiting.get(index)
        return self._is_failed(pod) and (kept is None or kept.metadata.uid != pod.metadata.uid)

    def _write_indexes(self) -> None:
        if self.is_indexed:
            failed = None if self.failed_indexes is None else str(self.failed_indexes)
            self.status = replace(
                self.status,
                succeeded=len(self.completed),
                completed_indexes=str(self.completed),
                failed_indexes=failed,
            )

    def _flush(self, before: Job) -> Job:
        after = replace(before, status=self.status)
        if after != before:
            self.writes.append(UpdateStatus(before, after))
        return after

    def _finish(self, end: JobCondition) -> bool:
        uncounted = self.uncounted
        if uncounted.succeeded or uncounted.failed or (self.delays_the_end and self.terminating > 0):
            return False
        if self.status.start_time is None:  # the API takes no end of a Job that has not started, or is suspended
            return False
        self.status = replace(self.status, conditions=with_condition(self.status.conditions, end))
        if end.type == "Complete":
            self.status = replace(self.status, completion_time=self.now)
        return True

    def _report(self, end: JobCondition) -> None:
        if end.type == "Failed":
            self.writes.append(RecordEvent(self.job, "Warning", end.reason, end.message))
            return
        if self.completions is not None and self.status.succeeded > self.completions:
            message = "Too many succeeded pods running after completion count reached"
            self.writes.append(RecordEvent(self.job, "Warning", "TooManySucceededPods", message))
        self.writes.append(RecordEvent(self.job, "Normal", "Completed", "Job completed"))


def _valid_index(job: Job, pod: Pod) -> int | None:
    index = completion_index(pod)
    return index if index is not None and index < (job.spec.completions or 0) else None


def _is_new(job: Job, pod: Pod, counted: tuple[str, ...]) -> bool:
    """Not in the status yet: it has its finalizer, no entry among the uncounted, and an index if it needs one."""
    if not is_tracked(pod) or pod.metadata.uid in counted:
        return False
    return job.spec.completion_mode != "Indexed" or _valid_index(job, pod) is not None
