"""Jobs that are disrupted: what the exploration finds happens on the simulated cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial import project
from seatrial.check import judge
from seatrial.check.properties import Value
from seatrial.check.verdicts import Answer, Verdict
from seatrial.kube.objects import Job, Pod
from seatrial.server import evictions
from seatrial.server.requests import DeleteOptions
from seatrial.testing import Cluster

IGNORE = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
STOPS = {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0, 42]}}


def job_of(**spec: Any) -> dict[str, Any]:
    container = {"name": "work", "image": "work:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {"template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": body}


def verdict(tmp_path: Path, raw: dict[str, Any], given: dict[str, Value] | None = None) -> Verdict:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(raw))
    (found,) = judge.judgement(project.load([tmp_path]), ["job/*"], given=given or {}).report.verdicts
    return found


@pytest.mark.parametrize(
    ("spec", "completes"),
    [
        ({"backoffLimit": 0}, False),
        ({"backoffLimit": 1}, True),
        ({}, True),
        ({"backoffLimit": 0, "podFailurePolicy": {"rules": [IGNORE]}}, True),
        ({"podFailurePolicy": {"rules": [STOPS]}}, False),
        ({"podFailurePolicy": {"rules": [STOPS, IGNORE]}}, False),
        ({"podFailurePolicy": {"rules": [IGNORE, STOPS]}}, True),
        ({"completions": 4, "parallelism": 2, "backoffLimit": 0}, False),
        ({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1}, True),
        ({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0}, False),
    ],
)
def test_an_evicted_pod_ends_the_job_where_it_was_found(tmp_path: Path, spec: dict[str, Any], completes: bool) -> None:
    raw = job_of(**spec)
    found = verdict(tmp_path, raw)
    assert (found.verdict is Answer.PROVED) == completes
    assert found.verdict is not Answer.UNKNOWN
    with Cluster(nodes=1) as cluster:
        cluster.apply(raw)
        cluster.advance(5)
        name = cluster.list(Pod)[0].metadata.name
        cluster._call(lambda: evictions.evict(cluster._api, "default", name, DeleteOptions()))
        cluster.advance(3600)
        job = cluster.get(Job, "work")
        assert job is not None
        ended = {each.type for each in job.status.conditions if each.status == "True"}
        assert ("Complete" in ended) == completes
        assert ("Failed" in ended) != completes


def test_a_refusal_is_a_story_with_its_field(tmp_path: Path) -> None:
    found = verdict(tmp_path, job_of(backoffLimit=0))
    assert [place.path for place in found.places] == ["spec.backoffLimit"]
    assert [step.actor for step in found.trace] == ["User", "Job controller", "Node", "User", "Node", "Job controller"]


def test_more_evictions_may_be_assumed(tmp_path: Path) -> None:
    raw = job_of(backoffLimit=1)
    assert verdict(tmp_path, raw).verdict is Answer.PROVED
    assert verdict(tmp_path, raw, {"job/disruptions": 2}).verdict is Answer.REFUTED
    assert verdict(tmp_path, job_of(backoffLimit=0), {"job/disruptions": 0}).verdict is Answer.PROVED


SLEEPS = [{"name": "work", "image": "work:1", "command": ["sh", "-c", "sleep 600"]}]


@pytest.mark.parametrize(("spec", "late"), [({}, False), ({"completions": 6}, True), ({"completions": 5}, False)])
def test_a_deadline_that_commands_outlast(tmp_path: Path, spec: dict[str, Any], late: bool) -> None:
    raw = job_of(activeDeadlineSeconds=3600, **spec)
    raw["spec"]["template"]["spec"]["containers"] = SLEEPS
    found = verdict(tmp_path, raw)
    assert (found.verdict is Answer.REFUTED) == late
    if late:
        assert {place.path for place in found.places} == {
            "spec.activeDeadlineSeconds",
            "spec.template.spec.containers[0].command[2]",
        }


@pytest.mark.parametrize(("schedule", "comes"), [("0 0 31 2 *", False), ("0 0 29 2 *", True), ("*/5 * * * *", True)])
def test_a_schedule_that_never_comes(tmp_path: Path, schedule: str, comes: bool) -> None:
    spec = {"schedule": schedule, "jobTemplate": {"spec": job_of(backoffLimit=0)["spec"]}}
    raw = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "work"}, "spec": spec}
    assert (verdict(tmp_path, raw).verdict is Answer.PROVED) == comes


def test_a_job_of_another_controller_is_not_asked_about(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job_of(managedBy="kueue.x-k8s.io/multikueue")))
    assert judge.judge(project.load([tmp_path]), ["job/*"]).verdicts == ()
