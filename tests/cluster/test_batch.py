"""Jobs and CronJobs in a whole simulated cluster, asked for through its API, in virtual time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import Cluster
from seatrial.control import scheduler
from seatrial.control.manager import CONTROLLERS
from seatrial.kube.objects import Job
from seatrial.server.store import Store

TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]}}


def started() -> tuple[Cluster, VirtualClock]:
    clock = VirtualClock()
    cluster = Cluster(Store(None), nodes=("n1",), controllers=(*CONTROLLERS, scheduler.CONTROLLER), clock=clock)
    cluster.start()
    clock.run(timedelta(seconds=5))
    return cluster, clock


def get(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    return cluster.api.get(cluster.api.kind("batch/v1", kind), "default", name)


def test_a_job_runs_to_its_end() -> None:
    cluster, clock = started()
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": TEMPLATE}
    raw = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": spec}
    cluster.api.create(cluster.api.kind("batch/v1", "Job"), "default", raw)
    clock.run(timedelta(seconds=60))
    job = get(cluster, "Job", "work")
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "work"
    status = job["status"]
    assert (status["succeeded"], status["completedIndexes"], status["uncountedTerminatedPods"]) == (3, "0-2", {})
    assert [condition["type"] for condition in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]


def test_a_cron_job_starts_a_job_each_minute_and_keeps_three() -> None:
    cluster, clock = started()
    spec = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": TEMPLATE}}}
    raw = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec}
    cluster.api.create(cluster.api.kind("batch/v1", "CronJob"), "default", raw)
    clock.run(timedelta(minutes=6, seconds=30))
    status = get(cluster, "CronJob", "tick")["status"]
    assert status["lastScheduleTime"] == "2026-01-01T00:06:00Z"
    assert "active" not in status
    jobs = [job.metadata.name for job in cluster.objects.all(Job)]
    assert len(jobs) == 3
