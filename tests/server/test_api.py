"""The semantics of the API in memory, without sockets."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seatrial.kube.objects import JsonObject, PriorityClass, parse_as
from seatrial.server import priorities
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.requests import STRATEGIC_PATCH, DeleteOptions, Filter, Options
from seatrial.server.store import Store
from seatrial.server.watches import Watch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEMPLATE: JsonObject = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT: JsonObject = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}


@pytest.fixture
def api() -> Api:
    return Api(Store.open(":memory:"), now=lambda: NOW, disabled_plugins=("ServiceAccount",))


def config(name: str, **more: Any) -> JsonObject:
    return {"metadata": {"name": name, **more}, "data": {"a": "b"}}


def pod(name: str, node: str = "") -> JsonObject:
    spec = copy.deepcopy(TEMPLATE["spec"]) | ({"nodeName": node} if node else {})
    return {"metadata": {"name": name}, "spec": spec}


def refused(code: int) -> Any:
    return pytest.raises(StatusError, check=lambda error: error.code == code)


def test_first_start_makes_the_system_namespaces_and_the_kubernetes_service(api: Api) -> None:
    names = [item["metadata"]["name"] for item in api.list(api.kind("v1", "Namespace")).items]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert api.get(api.kind("v1", "Service"), "default", "kubernetes")["spec"]["clusterIP"] == "10.96.0.1"


def test_creating_sets_identity_and_a_second_time_is_a_409(api: Api) -> None:
    kind = api.kind("apps/v1", "Deployment")
    made = api.create(kind, "default", DEPLOYMENT)
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert made["spec"]["replicas"] == 1
    with refused(409):
        api.create(kind, "default", DEPLOYMENT)


def test_an_update_of_an_old_version_is_a_conflict(api: Api) -> None:
    kind = api.kind("v1", "ConfigMap")
    made = api.create(kind, "default", config("c"))
    api.update(kind, "default", "c", {**made, "data": {"a": "c"}})
    with refused(409):
        api.update(kind, "default", "c", {**made, "data": {"a": "d"}})


def test_spec_changes_count_generations_and_status_changes_do_not(api: Api) -> None:
    kind = api.kind("apps/v1", "Deployment")
    made = api.create(kind, "default", DEPLOYMENT)
    status = api.update(kind, "default", "web", {**made, "status": {"replicas": 1}}, subresource="status")
    assert status["metadata"]["generation"] == 1
    scaled = api.patch(kind, "default", "web", {"spec": {"replicas": 5}}, subresource="scale")
    assert scaled["spec"]["replicas"] == 5
    after = api.get(kind, "default", "web")
    assert after["metadata"]["generation"] == 2
    assert after["status"]["replicas"] == 1


def test_strategic_merge_merges_containers_by_name(api: Api) -> None:
    kind = api.kind("apps/v1", "Deployment")
    api.create(kind, "default", DEPLOYMENT)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}
    done = api.patch(kind, "default", "web", patch, STRATEGIC_PATCH)
    assert done["spec"]["template"]["spec"]["containers"][0]["image"] == "j"


def test_a_bound_pod_is_deleted_gracefully_and_an_unbound_one_at_once(api: Api) -> None:
    kind = api.kind("v1", "Pod")
    api.create(kind, "default", pod("unbound"))
    api.delete(kind, "default", "unbound")
    with refused(404):
        api.get(kind, "default", "unbound")
    api.create(kind, "default", pod("bound", "n"))
    left = api.delete(kind, "default", "bound")
    assert left["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    api.delete(kind, "default", "bound", DeleteOptions(grace_period_s=0))
    with refused(404):
        api.get(kind, "default", "bound")


def test_a_second_deletion_of_a_pod_changes_nothing_unless_it_leaves_less_time(api: Api) -> None:
    kind = api.kind("v1", "Pod")
    api.create(kind, "default", pod("bound", "n"))
    left = api.delete(kind, "default", "bound")
    for again in (
        DeleteOptions(),
        DeleteOptions(propagation="Foreground"),
        DeleteOptions(grace_period_s=60),
    ):
        assert api.delete(kind, "default", "bound", again) == left
    api.patch(kind, "default", "bound", {"status": {"phase": "Failed"}}, subresource="status")
    assert api.delete(kind, "default", "bound")["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.delete(kind, "default", "bound", DeleteOptions(grace_period_s=5))["metadata"]["deletionTimestamp"]
    assert api.get(kind, "default", "bound")["metadata"]["deletionGracePeriodSeconds"] == 5


def test_less_time_for_a_deletion_counts_from_when_it_began(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As upstream's `rest.BeforeDelete`; what is over already leaves the node a second."""
    kind = api.kind("v1", "Pod")
    api.create(kind, "default", pod("bound", "n"))
    began = api.now()

    def shortened(seconds_later: int, grace_s: int) -> tuple[int, int]:
        monkeypatch.setattr(api, "now", lambda: began + timedelta(seconds=seconds_later))
        metadata = api.delete(kind, "default", "bound", DeleteOptions(grace_period_s=grace_s))["metadata"]
        ends_at = datetime.fromisoformat(metadata["deletionTimestamp"])
        return (ends_at - began.replace(microsecond=0)).seconds, metadata["deletionGracePeriodSeconds"]

    assert shortened(0, 60) == (60, 60)
    assert shortened(10, 30) == (30, 30)
    assert shortened(12, 60) == (30, 30), "never more"
    assert shortened(20, 15) == (20, 1), "fifteen seconds after its beginning was five seconds ago"
    assert shortened(21, 1) == (20, 1)


def test_a_new_pod_reads_one_priority_class_only(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: every pod that is created asks."""
    classes = api.kind("scheduling.k8s.io/v1", "PriorityClass")
    for number in range(20):
        given = {"metadata": {"name": f"c{number}"}, "value": number, "globalDefault": number == 7}
        api.create(classes, "", {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **given})
    read: list[str] = []

    def counted(kind: type[PriorityClass], raw: JsonObject) -> PriorityClass:
        read.append(raw["metadata"]["name"])
        return parse_as(kind, raw)

    monkeypatch.setattr(priorities, "parse_as", counted)
    kind = api.kind("v1", "Pod")
    assert api.create(kind, "default", pod("usual"))["spec"]["priority"] == 7
    asking = pod("asking")
    asking["spec"]["priorityClassName"] = "c3"
    assert api.create(kind, "default", asking)["spec"]["priority"] == 3
    assert read == ["c7", "c3"]


def test_an_object_with_finalizers_goes_when_the_last_is_removed(api: Api) -> None:
    kind = api.kind("v1", "ConfigMap")
    api.create(kind, "default", config("c", finalizers=["x/y"]))
    assert api.delete(kind, "default", "c")["metadata"]["deletionTimestamp"]
    api.patch(kind, "default", "c", {"metadata": {"finalizers": None}})
    with refused(404):
        api.get(kind, "default", "c")


def test_strict_validation_names_the_unknown_field_and_warn_only_warns(api: Api) -> None:
    kind = api.kind("apps/v1", "Deployment")
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replcas": 2}}
    with pytest.raises(StatusError, match=r'strict decoding error: unknown field "spec\.replcas"'):
        api.create(kind, "default", wrong, Options(field_validation="Strict"))
    options = Options(field_validation="Warn", dry_run=True)
    api.create(kind, "default", wrong, options)
    assert options.warnings == ['unknown field "spec.replcas"']
    assert api.list(kind).items == []


def test_pages_show_one_consistent_moment(api: Api) -> None:
    kind = api.kind("v1", "ConfigMap")
    for name in "abc":
        api.create(kind, "default", config(name))
    first = api.list(kind, limit=2)
    api.delete(kind, "default", "c")
    second = api.list(kind, limit=2, continue_token=first.continue_token)
    assert [item["metadata"]["name"] for item in second.items] == ["c"]
    assert first.remaining == 1


def test_a_terminating_namespace_takes_nothing_new(api: Api) -> None:
    kind = api.kind("v1", "Namespace")
    api.create(kind, "", {"metadata": {"name": "n"}})
    api.delete(kind, "", "n")
    with refused(403):
        api.create(api.kind("v1", "ConfigMap"), "n", config("c"))
    with refused(404):
        api.create(api.kind("v1", "ConfigMap"), "missing", config("c"))


def test_binding_twice_is_a_conflict(api: Api) -> None:
    api.create(api.kind("v1", "Pod"), "default", pod("p"))
    api.bind("default", "p", "n")
    assert api.get(api.kind("v1", "Pod"), "default", "p")["spec"]["nodeName"] == "n"
    with refused(409):
        api.bind("default", "p", "m")


def test_a_watch_turns_selector_transitions_into_added_and_deleted(api: Api) -> None:
    kind = api.kind("v1", "ConfigMap")
    watch = Watch(api, kind, Filter("default", labels="x=y"), since=api.store.revision)
    api.create(kind, "default", config("c"))
    api.patch(kind, "default", "c", {"metadata": {"labels": {"x": "y"}}})
    api.patch(kind, "default", "c", {"data": {"a": "z"}})
    api.patch(kind, "default", "c", {"metadata": {"labels": {"x": "n"}}})
    assert [event.type for event in watch.take()] == ["ADDED", "MODIFIED", "DELETED"]


def test_secret_string_data_is_stored_encoded(api: Api) -> None:
    raw = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}
    made = api.create(api.kind("v1", "Secret"), "default", raw)
    assert made["data"] == {"a": "Yg=="}
    assert "stringData" not in made


def test_a_pods_own_resources_decide_its_quality_of_service(api: Api) -> None:
    sizes = {"cpu": "1", "memory": "1Gi"}
    spec: JsonObject = {"containers": [{"name": "c", "image": "i"}], "resources": {"limits": sizes, "requests": sizes}}
    made = api.create(api.kind("v1", "Pod"), "default", {"metadata": {"name": "p"}, "spec": spec})
    assert made["status"]["qosClass"] == "Guaranteed"


def test_an_empty_list_of_a_builtin_kind_is_none(api: Api) -> None:
    """In protobuf, which upstream stores, a list without items is no list: such a write changes nothing."""
    nodes = api.kind("v1", "Node")
    made = api.create(nodes, "", {"metadata": {"name": "n"}})
    patched = api.patch(nodes, "", "n", {"status": {"volumesInUse": []}}, STRATEGIC_PATCH, subresource="status")
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    patched = api.patch(nodes, "", "n", {"status": {"volumesInUse": ["v"]}}, STRATEGIC_PATCH, subresource="status")
    assert patched["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
