"""The eviction subresource over the API: the budget is told, the pod is marked and deleted, 429 says why not."""

from __future__ import annotations

import pytest

from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.evictions import evict
from seatrial.server.requests import DeleteOptions
from seatrial.server.store import Store
from tests.server.test_api import NOW


@pytest.fixture
def api() -> Api:
    return Api(Store.open(":memory:"), now=lambda: NOW, disabled_plugins=("ServiceAccount",))


def _with_pod_and_budget(api: Api, allowed: int) -> None:
    pods, budgets = api.kind("v1", "Pod"), api.kind("policy/v1", "PodDisruptionBudget")
    container: JsonObject = {"name": "c", "image": "i"}
    pod: JsonObject = {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [container]}}
    api.create(pods, "default", pod)
    api.bind("default", "p", "n1")
    ready: JsonObject = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    api.patch(pods, "default", "p", {"status": ready}, subresource="status")
    spec: JsonObject = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    api.create(budgets, "default", {"metadata": {"name": "b"}, "spec": spec})
    status: JsonObject = {
        "observedGeneration": 1,
        "disruptionsAllowed": allowed,
        "currentHealthy": 1 + allowed,
        "desiredHealthy": 1,
        "expectedPods": 2,
    }
    api.patch(budgets, "default", "b", {"status": status}, subresource="status")


def test_an_allowed_eviction_spends_the_budget_and_marks_the_pod(api: Api) -> None:
    _with_pod_and_budget(api, allowed=1)
    evict(api, "default", "p", DeleteOptions())
    pod = api.get(api.kind("v1", "Pod"), "default", "p")
    assert "deletionTimestamp" in pod["metadata"]
    (target,) = [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (target["reason"], target["message"]) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    status = api.get(api.kind("policy/v1", "PodDisruptionBudget"), "default", "b")["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p"]


def test_a_forbidden_eviction_changes_nothing_and_says_why(api: Api) -> None:
    _with_pod_and_budget(api, allowed=0)
    with pytest.raises(StatusError) as refused:
        evict(api, "default", "p", DeleteOptions())
    assert (refused.value.code, refused.value.status["reason"]) == (429, "TooManyRequests")
    (cause,) = refused.value.status["details"]["causes"]
    assert cause == {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
    }
    assert "deletionTimestamp" not in api.get(api.kind("v1", "Pod"), "default", "p")["metadata"]


def test_a_dry_run_decides_and_leaves_everything_as_it_is(api: Api) -> None:
    _with_pod_and_budget(api, allowed=1)
    evict(api, "default", "p", DeleteOptions(dry_run=True))
    assert "deletionTimestamp" not in api.get(api.kind("v1", "Pod"), "default", "p")["metadata"]
    budget = api.get(api.kind("policy/v1", "PodDisruptionBudget"), "default", "b")
    assert budget["status"]["disruptionsAllowed"] == 1
