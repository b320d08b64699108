"""The CronJob controller and its schedules; what upstream's library makes of odd ones was asked of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from seatrial.control import cronjob
from seatrial.kube import cronschedule
from seatrial.kube.objects import CronJob, Job
from seatrial.kube.objects.batch import JobCondition, JobStatus
from tests.control.harness import START, Harness


def times(schedule: str, after: str, count: int = 2) -> list[str]:
    parsed, time = cronschedule.parse(schedule), datetime.fromisoformat(after).replace(tzinfo=UTC)
    found: list[str] = []
    for _ in range(count):
        following = parsed.next(time)
        if following is None:
            return [*found, "never"]
        time = following
        found.append(time.strftime("%Y-%m-%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2030-01-01T00:00:00", ["2030-01-01T00:15", "2030-01-01T00:30"]),
        ("5/20 3 * * *", "2030-01-01T03:06:00", ["2030-01-01T03:25", "2030-01-01T03:45"]),
        ("0 0 1 * mon", "2030-01-02T00:00:00", ["2030-01-07T00:00", "2030-01-14T00:00"]),
        ("0 0 */2 * mon", "2030-01-02T00:00:00", ["2030-01-03T00:00", "2030-01-05T00:00"]),
        ("@every 90s", "2030-01-01T00:00:30", ["2030-01-01T00:02", "2030-01-01T00:03"]),
        ("TZ=Europe/Berlin 30 2 * * *", "2030-03-30T12:00:00", ["2030-04-01T00:30", "2030-04-02T00:30"]),
        ("TZ=Europe/Berlin 30 2 * * *", "2030-10-26T12:00:00", ["2030-10-27T00:30", "2030-10-27T01:30"]),
        ("0 0 31 2 *", "2030-01-01T00:00:00", ["never"]),
    ],
)
def test_schedules(schedule: str, after: str, expected: list[str]) -> None:
    assert times(schedule, after) == expected


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("@reboot", "unrecognized descriptor: @reboot"),
    ],
)
def test_schedules_that_cannot_be_read(schedule: str, message: str) -> None:
    with pytest.raises(cronschedule.ScheduleError) as caught:
        cronschedule.parse(schedule)
    assert str(caught.value) == message


class Cluster(Harness):
    def __init__(self, **spec: Any) -> None:
        super().__init__((cronjob.CONTROLLER,))
        whole = {
            "schedule": "*/5 * * * *",
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {}},
            **spec,
        }
        self.apply(
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "c", "namespace": "default"},
                "spec": whole,
            }
        )

    def cron_job(self) -> CronJob:
        return self.get(CronJob, "c")

    def names(self) -> list[int]:
        """The minutes since START that the Jobs are named after."""
        first = int(START.timestamp()) // 60
        return [int(job.metadata.name.removeprefix("c-")) - first for job in self.all(Job)]

    def end(self, type_: str) -> None:
        for job in self.all(Job):
            if not job.status.conditions:
                ended = JobCondition(type=type_, status="True", last_transition_time=self.now)
                status = JobStatus(
                    conditions=(ended,), start_time=job.metadata.creation_timestamp, completion_time=self.now
                )
                self.objects[job.key] = replace(job, status=status)
        self.settle()


def test_a_job_for_each_scheduled_time() -> None:
    cluster = Cluster(timeZone="Europe/Berlin")
    cluster.live(601)
    assert cluster.names() == [5, 10]
    job, status = cluster.all(Job)[0], cluster.cron_job().status
    assert job.metadata.labels == {"a": "b"}
    assert job.metadata.annotations == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2030-01-01T01:05:00+01:00"}
    assert [ref.uid for ref in status.active] == [job.metadata.uid for job in cluster.all(Job)]
    assert status.last_schedule_time == START + timedelta(minutes=10)
    cluster.end("Complete")
    assert cluster.cron_job().status.active == ()
    assert cluster.cron_job().status.last_successful_time == cluster.now
    name = job.metadata.name
    assert cluster.events[0] == f"Normal SuccessfulCreate Created job {name}"
    assert f"Normal SawCompletedJob Saw completed job: {name}, condition: Complete" in cluster.events
    assert not any("UnexpectedJob" in event for event in cluster.events)


def test_forbid_waits_and_makes_up_for_the_latest_missed_time() -> None:
    cluster = Cluster(concurrencyPolicy="Forbid")
    cluster.live(310)
    cluster.pass_time(390)
    cluster.step(cronjob.CONTROLLER, cluster.cron_job())
    assert cluster.names() == [5]
    assert cluster.events[-1].startswith("Normal JobAlreadyActive Not starting job because prior execution is running")
    cluster.end("Complete")
    assert cluster.names() == [5, 10]


def test_replace_deletes_what_runs() -> None:
    cluster = Cluster(concurrencyPolicy="Replace")
    cluster.live(601)
    assert cluster.names() == [10]
    assert len(cluster.cron_job().status.active) == 1


def test_history_limits_keep_the_newest() -> None:
    cluster = Cluster(successfulJobsHistoryLimit=2)
    for _ in range(4):
        cluster.live(300)
        cluster.end("Complete")
    cluster.live(100)
    cluster.end("Complete")
    assert len(cluster.names()) == 2
    assert max(cluster.names()) == 20


def test_nothing_is_started_while_suspended_nor_after_the_deadline() -> None:
    cluster = Cluster(suspend=True, startingDeadlineSeconds=30)
    cluster.live(340)
    assert cluster.names() == []
    job = cluster.cron_job()
    cluster.objects[job.key] = replace(job, spec=replace(job.spec, suspend=False))
    cluster.settle()
    assert cluster.names() == []
    cluster.live(270)
    assert cluster.names() == [10]


def test_too_many_missed_times_are_an_event_and_the_latest_is_started() -> None:
    cluster = Cluster(schedule="* * * * *")
    cluster.pass_time(3 * 3600 + 1)
    cluster.settle()
    assert cluster.names() == [180]
    assert sum("TooManyMissedTimes" in event for event in cluster.events) >= 1


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"schedule": "nonsense"}, "UnparseableSchedule"), ({"timeZone": "Mars/Base"}, "UnknownTimeZone")],
)
def test_what_cannot_be_read_is_said(spec: dict[str, Any], reason: str) -> None:
    cluster = Cluster(**spec)
    cluster.step(cronjob.CONTROLLER, cluster.cron_job())
    assert [event.split()[1] for event in cluster.events] == [reason]
