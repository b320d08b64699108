"""Which Jobs and CronJobs are refused, and with which words (kube-apiserver 1.37.2 says the same)."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.control import admission
from seatrial.kube import validation
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.batch import template_faults

_CONTAINERS = [{"name": "app", "image": "app:1"}]
_TEMPLATE: JsonObject = {"spec": {"restartPolicy": "Never", "containers": _CONTAINERS}}


def refusals(kind: str, name: str = "work", **spec: Any) -> list[str]:
    metadata = {"name": name, "namespace": "default", "uid": "0"}
    raw = admission.admit({"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec})
    if kind == "Job":
        admission.select_own_pods(raw)
    return [f"{fault.field}: {fault.message}" for fault in validation.faults(kind, raw, namespaced=True)]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"maxFailedIndexes": 4, "backoffLimitPerIndex": 1}, "maxFailedIndexes: Invalid value: 4: must be less than"),
        ({"maxFailedIndexes": 1}, "backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"),
        ({"successPolicy": {"rules": [{"succeededIndexes": "2,1"}]}}, "non-increasing order, previous: 2, current: 1"),
        ({"successPolicy": {"rules": [{"succeededCount": 4}]}}, "4: must be less than or equal to 3 (the number of"),
        ({"completionMode": "NonIndexed", "backoffLimitPerIndex": 1}, "1: requires indexed completion mode"),
        ({"parallelism": -1}, "parallelism: Invalid value: -1: must be greater than or equal to 0"),
        ({"template": {"spec": {"containers": _CONTAINERS}}}, 'Required value: valid values: "OnFailure", "Never"'),
    ],
)
def test_a_job_whose_fields_contradict_each_other_is_refused(spec: JsonObject, why: str) -> None:
    sound: dict[str, Any] = {"completionMode": "Indexed", "completions": 3, "template": _TEMPLATE}
    assert refusals("Job", **sound) == []
    [refusal] = refusals("Job", **{**sound, **spec})
    assert why in refusal


@pytest.mark.parametrize(
    ("name", "spec", "why"),
    [
        ("c" * 53, {}, "metadata.name: Invalid value: "),
        ("c", {"schedule": "61 * * * *"}, "end of range (61) above maximum (59): 61"),
        ("c", {"schedule": "TZ=UTC * * * * *"}, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ("c", {"timeZone": "Nope/X"}, 'spec.timeZone: Invalid value: "Nope/X": unknown time zone Nope/X'),
        ("c", {"jobTemplate": {"spec": {"template": _TEMPLATE, "parallelism": -1}}}, "spec.jobTemplate.spec.parallel"),
    ],
)
def test_a_cron_job_is_refused_for_its_name_schedule_zone_and_job(name: str, spec: JsonObject, why: str) -> None:
    sound: dict[str, Any] = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": _TEMPLATE}}}
    assert refusals("CronJob", **sound) == []
    [refusal] = refusals("CronJob", name, **{**sound, **spec})
    assert why in refusal


def test_a_status_write_is_not_refused_for_the_spec_that_is_there() -> None:
    job = {"metadata": {"name": "work"}, "spec": {"parallelism": -1, "template": _TEMPLATE}}
    assert validation.faults("Job", {**job, "status": {"active": 1}}, job, namespaced=True) == []


@pytest.mark.parametrize(
    ("suspend", "change", "field"),
    [
        (False, {"nodeSelector": {"disk": "ssd"}}, "spec.template"),
        (True, {"nodeSelector": {"disk": "ssd"}}, None),
        (True, {"terminationGracePeriodSeconds": 1}, "spec.template.spec"),
    ],
)
def test_only_a_suspended_job_may_move_its_pods_elsewhere(suspend: bool, change: JsonObject, field: str | None) -> None:
    before = {"spec": {"suspend": suspend, "template": _TEMPLATE}}
    after = {"spec": {"suspend": suspend, "template": {"spec": {**_TEMPLATE["spec"], **change}}}}
    assert [fault.field for fault in template_faults(after, before)] == ([] if field is None else [field])
