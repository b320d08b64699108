"""The CronJob controller: a Job for each scheduled time, named after its minute so that none is made twice.

A time that was missed is made up for if it is the latest and `startingDeadlineSeconds` allows. A decision that creates
a Job leaves `status.active` to the next one, which knows the Job's uid and does nothing else. As upstream, a change
of schedule or time zone starts nothing: it adds a time to look again, and the earliest of these is kept until it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, cast

from msgspec.structs import replace

from seatrial.control import quota
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.job.conditions import outcome
from seatrial.control.ownership import controller_reference
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, UpdateStatus, Write
from seatrial.kube import cronschedule
from seatrial.kube.cronschedule import Schedule, ScheduleError
from seatrial.kube.objects import CronJob, Job, Object, ObjectMeta, ResourceQuota
from seatrial.kube.objects.batch import CronJobStatus, JobStatus
from seatrial.kube.objects.services import ObjectReference
from seatrial.kube.times import after

SCHEDULED_AT: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_SLACK: Final = timedelta(milliseconds=100)
"""Added to the next scheduled time, for clocks that differ a little."""
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Times beyond these, which only a status written by hand holds, count as these: calendars end where years do."""
_MANY: Final = 100


@dataclass(frozen=True, slots=True)
class _Memory:
    """`wake_at` is the earliest time to look again that was asked for; `created` is a new Job's name and its time."""

    schedule: str
    time_zone: str | None
    wake_at: datetime | None = None
    created: tuple[str, datetime] | None = None


def reconcile(seen: Seen) -> Decision:
    cron_job = seen.subject
    assert isinstance(cron_job, CronJob)
    memory = cast("_Memory | None", seen.memory)
    work = _Work(cron_job, seen)
    spec = cron_job.spec
    is_edit = False
    is_new = memory is not None and (memory.schedule, memory.time_zone) != (spec.schedule, spec.time_zone)
    if seen.refused:
        work.explain(seen.refused[0])
        memory = None  # the next try comes before any other time, and takes its place
    elif is_new and work.take_up_schedule():
        is_edit = True
    elif memory is None or memory.created is None or not work.note_created(*memory.created):
        work.clean_up()
        work.look_at_jobs()
        if cron_job.metadata.deletion_timestamp is None:
            work.start()
    if work.status != cron_job.status:
        after = replace(cron_job, status=work.status)
        work.writes.append(UpdateStatus(cron_job, after))
    pending = memory.wake_at if memory is not None and memory.wake_at is not None else None
    times = (time for time in (pending, work.wake_at) if time is not None and time > seen.now)
    wake_at = min(times, default=None)
    kept = _Memory(spec.schedule, spec.time_zone, wake_at, work.created)
    return Decision((*work.writes, *work.creations), wake_at, kept, keeps_back_off=is_edit)


@dataclass(slots=True)
class _Work:
    """One decision in the making."""

    cron_job: CronJob
    seen: Seen
    status: CronJobStatus = field(init=False)
    jobs: tuple[Job, ...] = field(init=False)
    """Those that the CronJob controls."""
    writes: list[Write] = field(default_factory=list)
    creations: list[Write] = field(default_factory=list)
    created: tuple[str, datetime] | None = None
    wake_at: datetime | None = None

    def __post_init__(self) -> None:
        self.status = self.cron_job.status
        uid = self.cron_job.metadata.uid
        self.jobs = tuple(
            job for job in self.seen.all(Job) if (owner := job.metadata.controller) is not None and owner.uid == uid
        )

    def tell(self, type_: str, reason: str, message: str) -> None:
        self.writes.append(RecordEvent(self.cron_job, type_, reason, message))

    def explain(self, refused: Refusal) -> None:
        """Say what the API did not do."""
        match refused.write:
            case Create() if "because it is being terminated" not in refused.message:
                self.tell("Warning", "FailedCreate", f"Error creating job: {refused.message}")
            case Delete():
                self.tell("Warning", "FailedDelete", f"Deleted job: {refused.message}")

    # The jobs there are

    def clean_up(self) -> None:
        """Delete the oldest of the ended Jobs beyond the history limits."""
        spec = self.cron_job.spec
        for type_, limit in (
            ("Complete", spec.successful_jobs_history_limit),
            ("Failed", spec.failed_jobs_history_limit),
        ):
            ended = [job for job in self.jobs if (end := outcome(job)) is not None and end.type == type_]
            if limit is not None:
                for job in sorted(ended, key=_start)[: max(0, len(ended) - limit)]:
                    self.delete(job)

    def delete(self, job: Job) -> None:
        self.writes.append(Delete(job))
        self._forget(job.metadata.uid)
        self.tell("Normal", "SuccessfulDelete", f"Deleted job {job.metadata.name}")

    def _forget(self, uid: str) -> None:
        self.status = replace(self.status, active=tuple(ref for ref in self.status.active if ref.uid != uid))

    def look_at_jobs(self) -> None:
        """Bring `status.active` and `status.lastSuccessfulTime` up to date with what became of the Jobs."""
        for job in self.jobs:
            name, end = job.metadata.name, outcome(job)
            is_active = any(ref.uid == job.metadata.uid for ref in self.status.active)
            if end is None:
                if not is_active:
                    message = f"Saw a job that the controller did not create or forgot: {name}"
                    self.tell("Warning", "UnexpectedJob", message)
                continue
            if is_active:
                self._forget(job.metadata.uid)
                self.tell("Normal", "SawCompletedJob", f"Saw completed job: {name}, condition: {end.type}")
            if any(c.type == "Complete" and c.status == "True" for c in job.status.conditions):
                self._note_success(job.status.completion_time)
        children = {job.metadata.uid for job in self.jobs}
        there = {job.metadata.name for job in self.seen.all(Job)}
        for ref in self.status.active:
            if ref.uid not in children and ref.name not in there:
                self.tell("Normal", "MissingJob", f"Active job went missing: {ref.name}")
                self._forget(ref.uid)

    def _note_success(self, at: datetime | None) -> None:
        last = self.status.last_successful_time
        if at is not None and (last is None or at > last):
            self.status = replace(self.status, last_successful_time=at)

    def note_created(self, name: str, due: datetime) -> bool:
        """Whether the Job that the decision before this one created is there; then the status says so."""
        there = next((job for job in self.jobs if job.metadata.name == name), None)
        if there is None:
            return False
        self._count(there, due)
        schedule = self._schedule(tells=False)
        if schedule is not None:
            self._wait(schedule)
        return True

    # The next one

    def take_up_schedule(self) -> bool:
        """What follows from a new schedule at once: when to look. False if that is now, because it never comes."""
        spec = self.cron_job.spec
        try:
            self._wait(self._parsed())
        except ScheduleError:
            message = f"unparseable schedule for cronjob: {spec.schedule}"
            self.tell("Warning", "UnParseableCronJobSchedule", message)
            return True
        return self.wake_at is not None

    def start(self) -> None:
        """Create the Job that is due, if it is due, not too late, and the concurrency policy lets it."""
        spec, now = self.cron_job.spec, self.seen.now
        schedule = self._schedule()
        if schedule is None:
            return
        try:
            missed = _missed(self.cron_job, now, schedule, with_deadline=True)
        except ScheduleError as error:
            self.tell("Warning", "InvalidSchedule", f"invalid schedule: {spec.schedule} : {error}")
            return
        due = missed.latest
        if due is None:
            self._wait(schedule)
            return
        if missed.count is _Count.MANY:
            advice = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self.tell("Warning", "TooManyMissedTimes", f"too many missed start times. {advice}")
        name = f"{self.cron_job.metadata.name}-{int(due.timestamp()) // 60}"
        deadline_s = spec.starting_deadline_seconds
        if deadline_s is not None and after(due, deadline_s) < now:
            when = due.strftime("%a, %d %b %Y %H:%M:%S +0000")
            self.tell("Warning", "MissSchedule", f"Missed scheduled time to start a job: {when}")
        elif any(ref.name == name for ref in self.status.active) or self.status.last_schedule_time == due:
            pass
        elif spec.concurrency_policy == "Forbid" and self.status.active:
            why = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.tell("Normal", "JobAlreadyActive", why)
        else:
            self._replace_active()
            self._create(name, due, schedule)
            return
        self._wait(schedule)

    def _schedule(self, *, tells: bool = True) -> Schedule | None:
        """How the times are given; None, and an event that says why, when none will come."""
        spec = self.cron_job.spec
        told: tuple[str, str] | None = None
        schedule: Schedule | None = None
        try:
            if spec.time_zone is not None:
                cronschedule.time_zone(spec.time_zone)
        except ScheduleError as error:
            told = "UnknownTimeZone", f'invalid timeZone: "{spec.time_zone}": {error}'
        else:
            if spec.suspend:
                return None
            if "TZ" in spec.schedule and tells:
                see = "see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                message = f'CRON_TZ or TZ used in schedule "{spec.schedule}" is not officially supported, {see}'
                self.tell("Warning", "UnsupportedSchedule", message)
            try:
                schedule = self._parsed()
            except ScheduleError as error:
                told = "UnparseableSchedule", f'unparseable schedule: "{spec.schedule}" : {error}'
        if told is not None and tells:
            self.tell("Warning", *told)
        return schedule

    def _parsed(self) -> Schedule:
        """Raises `ScheduleError`. A time zone that is not known, or beside one in the text, is left out."""
        spec, text = self.cron_job.spec, self.cron_job.spec.schedule
        if "TZ" not in text and spec.time_zone is not None:
            try:
                cronschedule.time_zone(spec.time_zone)
            except ScheduleError:
                pass
            else:
                text = f"TZ={spec.time_zone} {text}"
        return cronschedule.parse(text)

    def _wait(self, schedule: Schedule) -> None:
        """Look again at the next scheduled time, as if whatever is due now had been started."""
        now = self.seen.now
        try:
            missed = _missed(self.cron_job, now, schedule, with_deadline=False)
            since = missed.latest or (missed.earliest if missed.count is _Count.NONE else now)
        except ScheduleError:
            since = now
        following = schedule.next(since)
        self.wake_at = None if following is None else following + _SLACK

    def _replace_active(self) -> None:
        if self.cron_job.spec.concurrency_policy == "Replace":
            running = {ref.uid for ref in self.status.active}
            for job in self.jobs:
                if job.metadata.uid in running:
                    self.delete(job)

    def _is_taken(self, name: str) -> bool:
        """A stranger has the name: as in upstream nothing more happens until something changes."""
        return any(job.metadata.name == name and job not in self.jobs for job in self.seen.all(Job))

    def _is_refused(self, job: Job) -> bool:
        """Whether a quota refuses the Job: the API says so before it looks whether the name is taken."""
        try:
            quota.charge(self.seen.all(ResourceQuota), job, None, self.seen.now)
        except quota.QuotaError:
            return True
        return False

    def _create(self, name: str, due: datetime, schedule: Schedule) -> None:
        there = next((job for job in self.jobs if job.metadata.name == name), None)
        job = self._job(name, due)
        if there is not None and not self._is_refused(job):
            self._count(there, due)
            self._wait(schedule)
        elif not self._is_taken(name) or self._is_refused(job):
            # a refusal is tried again after a back-off, not at the next scheduled time
            created = RecordEvent(self.cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
            self.creations = [Create(job), created]
            self.created = name, due

    def _count(self, job: Job, due: datetime) -> None:
        """The Job is active, and for its time there need not be another."""
        meta = job.metadata
        reference = ObjectReference(
            api_version=Job.api_version, kind=Job.kind, name=meta.name, namespace=meta.namespace, uid=meta.uid
        )
        self.status = replace(self.status, active=(*self.status.active, reference), last_schedule_time=due)

    def _job(self, name: str, due: datetime) -> Job:
        template = self.cron_job.spec.job_template
        annotations = dict(template.metadata.annotations)
        if self.seen.minor >= 28:
            local = due.astimezone(cronschedule.time_zone(self.cron_job.spec.time_zone or ""))
            annotations[SCHEDULED_AT] = local.isoformat().replace("+00:00", "Z")
        meta = ObjectMeta(
            name=name,
            namespace=self.cron_job.metadata.namespace,
            labels=template.metadata.labels,
            annotations=annotations,
            owner_references=(controller_reference(self.cron_job),),
        )
        return Job(metadata=meta, spec=template.spec)


class _Count(Enum):
    NONE = "none"
    FEW = "few"
    MANY = "many"


@dataclass(frozen=True, slots=True)
class _Missed:
    """The scheduled times from `earliest` until now."""

    earliest: datetime
    latest: datetime | None = None
    count: _Count = _Count.NONE


def _missed(cron_job: CronJob, now: datetime, schedule: Schedule, *, with_deadline: bool) -> _Missed:
    """Raises `ScheduleError` for a schedule that can be read but never comes, such as the 31st of February.

    How many times were missed is upstream's estimate from the distance of the first two.
    """
    earliest = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp or now
    deadline_s = cron_job.spec.starting_deadline_seconds
    if with_deadline and deadline_s is not None:
        earliest = max(earliest, after(now, -deadline_s))
    earliest = min(max(earliest, _EARLIEST), _LATEST)
    first = schedule.next(earliest)
    if first is not None and now < first:
        return _Missed(earliest)
    second = None if first is None else schedule.next(first)
    if second is not None and now < second:
        return _Missed(earliest, first)
    if first is None or second is None:
        raise ScheduleError("time difference between two schedules is less than 1 second")
    between = second - first
    number = (now - first) // between + 1
    latest, time = None, schedule.next(first + (number - 2) * between)
    while time is not None and time <= now:
        latest, time = time, schedule.next(time)
    return _Missed(earliest, latest, _Count.MANY if number > _MANY else _Count.FEW)


def _start(job: Job) -> tuple[bool, datetime, str]:
    start = job.status.start_time
    return start is None, start or datetime.min.replace(tzinfo=UTC), job.metadata.name


def _view(job: Object) -> Object:
    """What became of a Job."""
    assert isinstance(job, Job)
    ended, status, meta = outcome(job), job.status, job.metadata
    return Job(
        metadata=ObjectMeta(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, owner_references=meta.owner_references
        ),
        status=JobStatus(
            conditions=() if ended is None else (ended,),
            start_time=status.start_time,
            completion_time=status.completion_time,
        ),
    )


def _view_of_neighbour(job: Object) -> Object:
    return Job(metadata=ObjectMeta(name=job.metadata.name, namespace=job.metadata.namespace, uid=job.metadata.uid))


CONTROLLER: Final = Controller(
    name="cronjob-controller",
    actor="CronJob controller",
    subject=CronJob,
    reads=(
        Read(Job, Relation.OWNED, view=_view),
        Read(Job, Relation.NEIGHBOUR, view=_view_of_neighbour, wakes=False),
        Read(ResourceQuota, Relation.NEIGHBOUR, wakes=False),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
