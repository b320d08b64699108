"""Disruption budgets, what the eviction subresource answers, and what a budget forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.control import deployment as deployments
from seatrial.control import disruption, replicaset
from seatrial.control.disruption import Refused
from seatrial.kube.objects import Pod, PodDisruptionBudget
from tests.control.harness import Harness, deployment

CONTROLLERS = (deployments.CONTROLLER, replicaset.CONTROLLER, disruption.CONTROLLER, disruption.CLEANING)


def budget(name: str = "web", /, **spec: object) -> dict[str, object]:
    chosen = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": chosen}


def served(replicas: int, **spec: int | str) -> Harness:
    cluster = Harness(CONTROLLERS)
    cluster.apply(deployment(replicas=replicas))
    cluster.roll_out()
    cluster.apply(budget(**spec))
    cluster.settle()
    return cluster


def numbers(cluster: Harness) -> tuple[int, int, int, int]:
    status = cluster.get(PodDisruptionBudget, "web").status
    return status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed


def names(cluster: Harness) -> list[str]:
    return [pod.metadata.name for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (3, 2, 3, 1)),
        ({"minAvailable": "50%"}, (3, 2, 3, 1)),  # rounded up: 1.5 is 2
        ({"maxUnavailable": 1}, (3, 2, 3, 1)),
        ({"maxUnavailable": "34%"}, (3, 1, 3, 2)),  # rounded up as well: 1.02 is 2
        ({"maxUnavailable": 0}, (3, 3, 3, 0)),
        ({"minAvailable": 5}, (3, 5, 3, 0)),
        ({"maxUnavailable": 9}, (3, 0, 3, 3)),
    ],
)
def test_a_budget_counts_from_the_scale_of_the_pods_owners(
    spec: dict[str, int | str], expected: tuple[int, int, int, int]
) -> None:
    assert numbers(served(3, **spec)) == expected


def test_percentages_count_what_was_asked_for_not_what_is_there() -> None:
    """A Deployment of 4 with 2 pods ready is 2 short of its scale, whatever the pods say."""
    cluster = served(4, minAvailable="50%")
    for name in names(cluster)[:2]:
        cluster.delete(cluster.get(Pod, name).key)
    cluster.finish_deleted()
    cluster.settle()
    assert numbers(cluster) == (4, 2, 2, 0)


def test_evictions_spend_the_budget_until_replacements_are_ready() -> None:
    cluster = served(3, maxUnavailable=1)
    first, second, _ = names(cluster)
    assert cluster.evict(first) is None
    target = next(c for c in cluster.get(Pod, first).status.conditions if c.type == "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "EvictionByEvictionAPI")
    refused = cluster.evict(second)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.message) == (
        429,
        "Cannot evict pod as it would violate the pod's disruption budget.",
    )
    cluster.settle()
    refused = cluster.evict(second)
    assert isinstance(refused, Refused)
    assert refused.cause == "The disruption budget web needs 2 healthy pods and has 2 currently"
    cluster.run_pods()
    cluster.settle()
    assert cluster.evict(second) is None


def test_a_budget_that_is_behind_its_own_change_allows_nothing() -> None:
    cluster = served(3, maxUnavailable=1)
    cluster.apply(budget(maxUnavailable=0))
    refused = cluster.evict(names(cluster)[0])
    assert isinstance(refused, Refused)
    assert refused.cause == "The disruption budget web is still being processed by the server."


def test_an_eviction_that_never_became_a_deletion_is_given_back_after_two_minutes() -> None:
    cluster = served(3, maxUnavailable=1)
    name = names(cluster)[0]
    decided = disruption.evict(
        cluster.get(Pod, name), cluster.all(PodDisruptionBudget), cluster.now
    )  # and then the server dies before it deletes the pod
    assert isinstance(decided, PodDisruptionBudget)
    cluster.objects[decided.key] = decided
    cluster.settle()
    assert numbers(cluster)[2:] == (2, 0)
    cluster.pass_time(121)
    cluster.settle()
    assert numbers(cluster)[2:] == (3, 1)
    assert "Warning NotDeleted Pod was expected by PDB default/default to be deleted but it wasn't" in cluster.events


def test_an_unready_pod_may_go_when_enough_are_healthy_or_always_if_the_policy_says_so() -> None:
    """Healthy budgets let unready pods go; AlwaysAllow lets them go from a broken application too (KEP-3017)."""
    cluster = served(3, minAvailable=3)
    name = names(cluster)[0]
    unready = cluster.get(Pod, name)
    conditions = tuple(c.__class__(type="Ready", status="False") for c in unready.status.conditions)
    status = unready.status.__class__(phase="Running", conditions=conditions)
    cluster.objects[unready.key] = unready.__class__(metadata=unready.metadata, spec=unready.spec, status=status)
    cluster.settle()
    assert isinstance(cluster.evict(name), Refused)
    cluster.apply(budget(minAvailable=3, unhealthyPodEvictionPolicy="AlwaysAllow"))
    cluster.settle()
    assert cluster.evict(name) is None


def test_pods_that_no_longer_run_need_no_budget_and_two_budgets_are_one_too_many() -> None:
    cluster = served(2, maxUnavailable=0)
    cluster.apply(deployment(replicas=3))
    cluster.settle()
    pending = next(pod.metadata.name for pod in cluster.all(Pod) if not pod.status.conditions)
    cluster.objects[cluster.get(Pod, pending).key] = cluster.get(Pod, pending).__class__(
        metadata=cluster.get(Pod, pending).metadata,
        spec=cluster.get(Pod, pending).spec,
        status=cluster.get(Pod, pending).status.__class__(phase="Pending"),
    )
    assert cluster.evict(pending) is None
    cluster.apply(budget("other", maxUnavailable=1))
    cluster.settle()
    refused = cluster.evict(next(pod.metadata.name for pod in cluster.all(Pod) if pod.status.phase == "Running"))
    assert isinstance(refused, Refused)
    assert refused.code == 500


def test_owners_without_a_scale_fail_the_budget_and_pods_without_owner_are_reported() -> None:
    cluster = Harness(CONTROLLERS)
    lone: dict[str, object] = {"name": "lone", "namespace": "default", "labels": {"app": "web"}}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": lone, "spec": {"containers": []}})
    cluster.run_pods()
    cluster.apply(budget(maxUnavailable=1))
    cluster.settle()
    assert any(event.startswith("Warning UnmanagedPods") for event in cluster.events)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": True}
    owned = {**lone, "name": "owned", "ownerReferences": [owner]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": owned, "spec": {"containers": []}})
    cluster.settle()
    (condition,) = cluster.get(PodDisruptionBudget, "web").status.conditions
    assert (condition.reason, condition.message) == (
        "SyncFailed",
        "jobs.batch does not implement the scale subresource",
    )
    assert cluster.get(PodDisruptionBudget, "web").status.disruptions_allowed == 0


def test_a_condition_that_announced_a_deletion_in_vain_is_taken_back() -> None:
    cluster = served(1, maxUnavailable=1)
    pod = cluster.all(Pod)[0]
    cluster.objects[pod.key] = disruption.evicted(pod, cluster.now, "PreemptionByScheduler", "")
    cluster.settle()
    cluster.pass_time(121)
    cluster.settle()
    assert [c.status for c in cluster.all(Pod)[0].status.conditions if c.type == "DisruptionTarget"] == ["False"]


@given(replicas=st.integers(0, 6), least=st.integers(0, 7), evictions=st.integers(0, 7))
def test_evictions_never_take_an_application_below_its_budget(replicas: int, least: int, evictions: int) -> None:
    cluster = served(replicas, minAvailable=least)
    ready_before = len(names(cluster))
    for name in names(cluster)[:evictions]:
        cluster.evict(name)
        cluster.finish_deleted()
        cluster.settle()
    ready = [pod for pod in cluster.all(Pod) if pod.status.conditions]
    assert len(ready) >= min(least, ready_before)
