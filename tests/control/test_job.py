"""The Job controller, as the Job page of the documentation and its KEPs tell the story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.control import job as jobs
from seatrial.control import ttl
from seatrial.control.controller import Seen
from seatrial.control.job.failures import backoff
from seatrial.control.job.indexes import Indexes
from seatrial.control.relations import observe
from seatrial.control.writes import Create, RecordEvent, Refusal, Update, UpdateStatus
from seatrial.kube.objects import KINDS, ContainerStatus, Job, Pod
from seatrial.kube.objects.pods import (
    ContainerState,
    ContainerStateTerminated,
    PodCondition,
    PodStatus,
)
from tests.control.harness import Harness

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


class Cluster(Harness):
    """A scheduler and a kubelet that do what the story says."""

    def __init__(self) -> None:
        super().__init__((*jobs.CONTROLLERS, ttl.CONTROLLER))

    def job(self) -> Job:
        return self.get(Job, "work")

    def active(self) -> list[Pod]:
        return [
            pod
            for pod in self.all(Pod)
            if pod.status.phase not in ("Succeeded", "Failed") and pod.metadata.deletion_timestamp is None
        ]

    def run(self) -> None:
        for pod in self.active():
            ready = PodCondition(type="Ready", status="True", last_transition_time=self.now)
            status = PodStatus(phase="Running", conditions=(ready,))
            self.objects[pod.key] = replace(pod, spec=replace(pod.spec, node_name="n1"), status=status)
        self.settle()

    def end(self, pod: Pod, code: int = 0, *conditions: PodCondition) -> None:
        ended = ContainerState(terminated=ContainerStateTerminated(exit_code=code, finished_at=self.now))
        status = PodStatus(
            phase="Failed" if code else "Succeeded",
            conditions=conditions,
            container_statuses=(ContainerStatus(name="c", state=ended),),
        )
        current = self.objects[pod.key]
        assert isinstance(current, Pod)
        self._put(replace(current, status=status))

    def edit(self, **spec: Any) -> None:
        job = self.job()
        self.objects[job.key] = replace(job, spec=replace(job.spec, **spec))
        self.settle()

    def conditions(self) -> list[tuple[str, str, str]]:
        return [(c.type, c.status, c.reason) for c in self.job().status.conditions]


def a_job(**spec: Any) -> dict[str, object]:
    template = {
        "metadata": {"labels": {"job": "work"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]},
    }
    whole = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"job": "work"}},
        "template": template,
        **spec,
    }
    spec = {key: value for key, value in whole.items() if value is not None}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": spec,
    }


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def start(cluster: Cluster, **spec: Any) -> None:
    cluster.apply(a_job(**spec))
    cluster.settle()


def test_a_job_is_complete_when_its_pod_has_succeeded(cluster: Cluster) -> None:
    """A Job "creates one or more Pods ... and will continue ... until a specified number of them terminate"."""
    start(cluster)
    (pod,) = cluster.all(Pod)
    assert pod.metadata.name.startswith("work-")
    assert pod.metadata.finalizers == (TRACKING,)
    assert (cluster.job().status.active, cluster.job().status.ready, cluster.job().status.terminating) == (1, 0, 0)
    cluster.run()
    assert cluster.job().status.ready == 1
    cluster.end(pod)
    cluster.settle()
    status = cluster.job().status
    assert (status.active, status.ready, status.succeeded) == (0, 0, 1)
    assert status.completion_time == cluster.now
    assert cluster.conditions() == [
        ("SuccessCriteriaMet", "True", "CompletionsReached"),
        ("Complete", "True", "CompletionsReached"),
    ]
    assert cluster.all(Pod)[0].metadata.finalizers == ()
    assert cluster.events == [
        f"Normal SuccessfulCreate Created pod: {pod.metadata.name}",
        "Normal Completed Job completed",
    ]


def test_before_1_31_the_end_has_no_interim_condition_and_no_reason(cluster: Cluster) -> None:
    start(cluster)
    cluster.end(cluster.all(Pod)[0])
    seen = observe(
        jobs.CONTROLLERS[0], cluster.job(), {kind: cluster.all(kind) for kind in KINDS.values()}, cluster.now
    )
    decision = jobs.CONTROLLERS[0].reconcile(Seen(seen.subject, seen.objects, seen.now, 30))
    last = [write for write in decision.writes if isinstance(write, UpdateStatus)][-1].after
    assert isinstance(last, Job)
    assert [(c.type, c.reason) for c in last.status.conditions] == [("Complete", "")]


def test_pods_are_counted_in_an_order_that_survives_a_crash_between_any_two_writes(cluster: Cluster) -> None:
    """KEP-2307: uids into the status, finalizers off, counts up."""
    start(cluster, parallelism=3, completions=3)
    first, second, _ = cluster.all(Pod)
    cluster.end(first)
    cluster.end(second, 1)
    for executed in range(12):
        trial = Cluster()
        trial.objects, trial.now = dict(cluster.objects), cluster.now
        done = 0
        controller, job = jobs.CONTROLLERS[0], trial.job()
        seen = observe(controller, job, {kind: trial.all(kind) for kind in KINDS.values()}, trial.now)
        for write in controller.reconcile(seen).writes[:executed]:
            trial.write(write)
            done += 1
        trial.settle()
        status = trial.job().status
        assert (status.succeeded, status.failed) == (1, 1), f"after {done} writes"
        assert status.uncounted_terminated_pods is not None
        assert not status.uncounted_terminated_pods.failed
        assert not status.uncounted_terminated_pods.succeeded


def test_the_order_of_the_writes(cluster: Cluster) -> None:
    start(cluster)
    cluster.end(cluster.all(Pod)[0])
    controller = jobs.CONTROLLERS[0]
    seen = observe(controller, cluster.job(), {kind: cluster.all(kind) for kind in KINDS.values()}, cluster.now)
    writes = controller.reconcile(seen).writes
    assert [type(write) for write in writes] == [UpdateStatus, Update, UpdateStatus, RecordEvent]


def test_failed_pods_are_replaced_after_ten_seconds_then_twenty_until_the_limit(cluster: Cluster) -> None:
    """Failed pods are "recreated ... with an exponential back-off delay (10s, 20s, 40s ...) capped"."""
    start(cluster, backoffLimit=2)
    delays = []
    for _ in range(2):
        cluster.end(cluster.active()[0], 1)
        failed_at = cluster.now
        cluster.settle()
        while not cluster.active():
            cluster.live(1)
        delays.append((cluster.now - failed_at).total_seconds())
    assert delays == [10, 20]
    cluster.end(cluster.active()[0], 1)
    cluster.settle()
    assert cluster.conditions() == [
        ("FailureTarget", "True", "BackoffLimitExceeded"),
        ("Failed", "True", "BackoffLimitExceeded"),
    ]
    assert cluster.job().status.failed == 3
    assert cluster.events[-1] == "Warning BackoffLimitExceeded Job has reached the specified backoff limit"


def test_a_pod_that_vanished_is_remembered_by_the_back_off(cluster: Cluster) -> None:
    start(cluster)
    cluster.delete(cluster.all(Pod)[0].key)
    cluster.settle()
    assert cluster.all(Pod) == []
    assert cluster.job().status.failed == 1
    cluster.live(9)
    assert cluster.all(Pod) == []
    cluster.live(2)
    assert len(cluster.all(Pod)) == 1


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (6, 320), (7, 600), (5000, 600)])
def test_back_off_doubles_to_ten_minutes(failures: int, seconds: int) -> None:
    assert backoff(failures) == timedelta(seconds=seconds)


def test_indexed_pods_know_their_index(cluster: Cluster) -> None:
    """The index is in annotation, label, host name and JOB_COMPLETION_INDEX; the status keeps ranges."""
    start(cluster, completionMode="Indexed", completions=5, parallelism=5)
    pods = cluster.all(Pod)
    assert [pod.metadata.annotations[INDEX] for pod in pods] == ["0", "1", "2", "3", "4"]
    assert [pod.metadata.labels[INDEX] for pod in pods] == ["0", "1", "2", "3", "4"]
    assert [pod.spec.hostname for pod in pods] == [f"work-{index}" for index in range(5)]
    assert all(pod.metadata.generate_name == f"work-{index}-" for index, pod in enumerate(pods))
    (variable,) = pods[0].spec.containers[0].env
    assert variable.value_from is not None
    assert variable.value_from.field_ref is not None
    assert variable.value_from.field_ref.field_path == f"metadata.labels['{INDEX}']"
    for index in (0, 2, 3, 4):
        cluster.end(pods[index])
    cluster.settle()
    assert cluster.job().status.completed_indexes == "0,2-4"
    cluster.end(pods[1])
    cluster.settle()
    assert cluster.job().status.completed_indexes == "0-4"
    assert cluster.conditions()[-1] == ("Complete", "True", "CompletionsReached")


def test_an_indexed_job_shrinks_with_completions_and_parallelism_together(cluster: Cluster) -> None:
    """KEP-3715, elastic indexed Jobs."""
    start(cluster, completionMode="Indexed", completions=4, parallelism=4)
    pods = cluster.all(Pod)
    cluster.end(pods[3])
    cluster.settle()
    cluster.edit(completions=2, parallelism=2)
    assert [pod.metadata.annotations[INDEX] for pod in cluster.active()] == ["0", "1"]
    assert (cluster.job().status.completed_indexes, cluster.job().status.failed) == ("", 0)


def test_each_index_has_a_limit_of_its_own(cluster: Cluster) -> None:
    """KEP-3850: an index fails when its pods failed more than backoffLimitPerIndex times; the others go on."""
    start(
        cluster, completionMode="Indexed", completions=2, parallelism=2, backoffLimitPerIndex=1, backoffLimit=2**31 - 1
    )
    cluster.end(cluster.active()[0], 1)
    cluster.settle()
    held = [pod for pod in cluster.all(Pod) if pod.metadata.finalizers and pod.status.phase == "Failed"]
    assert len(held) == 1, "kept until its replacement carries its count on"
    cluster.live(11)
    replacement = next(pod for pod in cluster.active() if pod.metadata.annotations[INDEX] == "0")
    assert replacement.metadata.annotations["batch.kubernetes.io/job-index-failure-count"] == "1"
    cluster.end(replacement, 1)
    cluster.settle()
    assert cluster.job().status.failed_indexes == "0"
    cluster.end(cluster.active()[0])
    cluster.settle()
    assert cluster.conditions()[-1] == ("Failed", "True", "FailedIndexes")
    assert cluster.job().status.completed_indexes == "1"


def policy(action: str, **when: Any) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": [{"action": action, **when}]}, "podReplacementPolicy": "Failed"}


CODE_42 = {"onExitCodes": {"operator": "In", "values": [42]}}
DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_fail_job_ends_the_job_at_once_and_says_why(cluster: Cluster) -> None:
    """KEP-3329; the Job is Failed only when its last pod is gone."""
    start(cluster, completions=2, parallelism=2, **policy("FailJob", **CODE_42))
    cluster.run()
    first, second = cluster.all(Pod)
    cluster.end(first, 42)
    cluster.settle()
    message = (
        f"Container c for pod default/{first.metadata.name} failed with exit code 42 matching FailJob rule at index 0"
    )
    assert cluster.conditions() == [("FailureTarget", "True", "PodFailurePolicy")]
    assert cluster.job().status.conditions[0].message == message
    assert (cluster.job().status.terminating, cluster.job().status.failed) == (1, 2)
    cluster.end(second, 143)
    cluster.settle()
    assert cluster.conditions()[-1] == ("Failed", "True", "PodFailurePolicy")
    assert f"Warning PodFailurePolicy {message}" in cluster.events


def test_ignored_failures_do_not_count(cluster: Cluster) -> None:
    start(cluster, backoffLimit=0, **policy("Ignore", **DISRUPTED))
    cluster.run()
    target = PodCondition(type="DisruptionTarget", status="True")
    cluster.end(cluster.all(Pod)[0], 143, target)
    cluster.live(11)
    assert cluster.job().status.failed == 0
    assert len(cluster.active()) == 1


def test_fail_index_spares_the_other_indexes(cluster: Cluster) -> None:
    start(
        cluster,
        completionMode="Indexed",
        completions=2,
        parallelism=2,
        backoffLimitPerIndex=5,
        **policy("FailIndex", **CODE_42),
    )
    cluster.end(cluster.active()[1], 42)
    cluster.settle()
    assert cluster.job().status.failed_indexes == "1"
    assert len(cluster.active()) == 1


@pytest.mark.parametrize(
    ("rule", "ended"),
    [
        ({"succeededIndexes": "0"}, [0]),
        ({"succeededCount": 2}, [1, 2]),
        ({"succeededIndexes": "0,2", "succeededCount": 1}, [2]),
    ],
)
def test_a_success_policy_ends_the_job_early(rule: dict[str, Any], ended: list[int]) -> None:
    """KEP-3998: the pods that are left are deleted, and are no failures."""
    cluster = Cluster()
    start(cluster, completionMode="Indexed", completions=3, parallelism=3, successPolicy={"rules": [rule]})
    pods = cluster.all(Pod)
    for index in ended:
        assert cluster.conditions() == []
        cluster.end(pods[index])
        cluster.settle()
    assert cluster.conditions()[0] == ("SuccessCriteriaMet", "True", "SuccessPolicy")
    assert cluster.job().status.conditions[0].message == "Matched rules at index 0"
    assert cluster.conditions()[-1] == ("Complete", "True", "SuccessPolicy")
    assert cluster.job().status.failed == 0
    assert cluster.active() == []


def test_a_suspended_job_has_no_pods_and_its_deadline_starts_anew(cluster: Cluster) -> None:
    start(cluster, parallelism=2, completions=2, activeDeadlineSeconds=60)
    cluster.edit(suspend=True)
    assert cluster.all(Pod) == []
    assert cluster.job().status.failed == 0
    assert cluster.conditions() == [("Suspended", "True", "JobSuspended")]
    assert cluster.job().status.start_time is None
    cluster.pass_time(100)
    cluster.edit(suspend=False)
    assert cluster.job().status.start_time == cluster.now
    assert len(cluster.active()) == 2
    assert [event for event in cluster.events if "Job " in event] == [
        "Normal Suspended Job suspended",
        "Normal Resumed Job resumed",
    ]
    cluster.live(61)
    assert cluster.conditions()[-1] == ("Failed", "True", "DeadlineExceeded")


def test_a_pod_keeps_its_place_until_it_has_failed_if_the_policy_says_so(cluster: Cluster) -> None:
    """KEP-3939: podReplacementPolicy Failed."""
    start(cluster, podReplacementPolicy="Failed")
    cluster.run()
    (pod,) = cluster.all(Pod)
    cluster.delete(pod.key)
    cluster.live(30)
    assert (cluster.job().status.terminating, cluster.job().status.failed, cluster.active()) == (1, 0, [])
    cluster.end(pod, 143)
    cluster.live(11)
    assert (cluster.job().status.failed, len(cluster.active())) == (1, 1)


def test_a_job_managed_by_somebody_else_is_left_alone(cluster: Cluster) -> None:
    start(cluster, managedBy="example.com/queue")
    assert cluster.all(Pod) == []
    assert cluster.events == []


def test_pods_of_a_deleted_job_are_not_held_by_the_finalizer(cluster: Cluster) -> None:
    start(cluster)
    del cluster.objects[cluster.job().key]
    cluster.settle()
    assert cluster.all(Pod)[0].metadata.finalizers == ()


def test_a_refused_pod_is_an_event_and_not_an_active_pod(cluster: Cluster) -> None:
    cluster.apply(a_job())
    controller = jobs.CONTROLLERS[0]
    seen = observe(controller, cluster.job(), {}, cluster.now)
    created = next(write for write in controller.reconcile(seen).writes if isinstance(write, Create))
    refusal = Refusal(created, "exceeded quota")
    writes = controller.reconcile(Seen(seen.subject, seen.objects, seen.now, refused=(refusal,))).writes
    assert [write.message for write in writes if isinstance(write, RecordEvent)] == ["Error creating: exceeded quota"]
    assert not any(isinstance(write, Create) for write in writes)


def test_a_finished_job_is_deleted_after_its_time_to_live(cluster: Cluster) -> None:
    start(cluster, ttlSecondsAfterFinished=30)
    cluster.end(cluster.all(Pod)[0])
    cluster.live(29)
    assert cluster.job().metadata.deletion_timestamp is None
    cluster.live(2)
    assert cluster.job().metadata.finalizers == ("foregroundDeletion",)


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_index_sets_are_sets(one: set[int], other: set[int]) -> None:
    a, b = Indexes.of(one), Indexes.of(other)
    assert Indexes.parse(str(a), 41) == a
    assert len(a) == len(one)
    assert (a | b) == Indexes.of(one | other)
    assert a.overlap(b) == len(one & other)
    assert a.missing(5, 41) == [index for index in range(41) if index not in one][:5]
    assert {index for index in range(41) if index in a} == one


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_every_pod_is_counted_once_and_the_job_ends(data: st.DataObject) -> None:
    cluster = Cluster()
    indexed = data.draw(st.booleans())
    completions = data.draw(st.integers(1, 4))
    start(
        cluster,
        completionMode="Indexed" if indexed else "NonIndexed",
        completions=completions,
        parallelism=data.draw(st.integers(1, 4)),
        backoffLimit=data.draw(st.integers(0, 3)),
        podReplacementPolicy=data.draw(st.sampled_from(["Failed", "TerminatingOrFailed"])),
    )
    ended = {0: 0, 1: 0}
    for _ in range(40):
        if any(c.type in ("Complete", "Failed") for c in cluster.job().status.conditions):
            break
        if cluster.active():
            pod = data.draw(st.sampled_from(cluster.active()))
            code = data.draw(st.sampled_from([0, 0, 1]))
            ended[code] += 1
            cluster.end(pod, code)
        cluster.live(data.draw(st.sampled_from([0, 1, 700])))
    for pod in cluster.all(Pod):
        if pod.metadata.deletion_timestamp is not None:
            cluster.objects.pop(pod.key)
    cluster.live(1300)
    status = cluster.job().status
    assert status.conditions, "forty outcomes are enough for four completions or four failures"
    assert status.succeeded == (len(Indexes.parse(status.completed_indexes, 9)) if indexed else ended[0])
    assert status.succeeded == ended[0]
    if status.conditions[-1].type == "Complete":
        assert (status.succeeded, status.failed) == (completions, ended[1])
    else:
        assert status.failed >= ended[1]
    assert status.active == 0
    assert not any(pod.metadata.finalizers for pod in cluster.all(Pod))
