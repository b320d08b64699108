"""The three-way merge behind `apply`, and what a rollout still lacks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seatrial.deploy.apply import in_order, three_way
from seatrial.deploy.wait import rollout, why_not_ready
from seatrial.kube.objects import JsonObject


def merged(live: JsonObject, patch: JsonObject) -> JsonObject:
    """RFC 7386, written down as the specification's pseudo-code has it."""
    result = dict(live)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def test_a_field_that_left_the_file_leaves_the_object() -> None:
    assert three_way({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}) == {"b": None}


def test_a_field_that_somebody_else_set_stays() -> None:
    assert three_way({"a": 1}, {"a": 1}, {"a": 1, "replicas": 5}) == {}


def test_a_change_made_behind_the_back_is_undone() -> None:
    assert three_way({"spec": {"a": 1}}, {"spec": {"a": 1}}, {"spec": {"a": 2, "x": 3}}) == {"spec": {"a": 1}}


documents = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(last=documents, desired=documents, live=documents)
def test_after_the_patch_the_object_has_all_that_the_file_says(
    last: JsonObject, desired: JsonObject, live: JsonObject
) -> None:
    result = merged(live, three_way(last, desired, live))

    def has(result: object, desired: object) -> bool:
        if isinstance(desired, dict):
            return isinstance(result, dict) and all(key in result and has(result[key], desired[key]) for key in desired)
        return result == desired

    assert has(result, desired)
    assert not [key for key in last if key not in desired and key in result]


def test_what_others_refer_to_is_applied_first_and_the_rest_in_file_order() -> None:
    kinds = ["Deployment", "Service", "Job", "Namespace"]
    assert [raw["kind"] for raw in in_order([{"kind": kind} for kind in kinds])] == [
        "Namespace",
        "Service",
        "Deployment",
        "Job",
    ]


def test_a_rollout_lacks_what_kubectl_rollout_status_waits_for() -> None:
    def live(**status: object) -> JsonObject:
        return {"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {"observedGeneration": 2, **status}}

    assert rollout(live(observedGeneration=1))[0] == "not yet seen by its controller"
    assert rollout(live(updatedReplicas=1, replicas=4))[0] == "1 of 3 pods are of the new revision"
    assert rollout(live(updatedReplicas=3, replicas=4))[0] == "1 pods of the old revision are still there"
    assert rollout(live(updatedReplicas=3, replicas=3, availableReplicas=2))[0] == "2 of 3 pods are available"
    assert rollout(live(updatedReplicas=3, replicas=3, availableReplicas=3)) == ("", False)
    late = live(conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}])
    assert rollout(late) == ("progress deadline exceeded", True)


def test_a_pod_tells_why_it_is_not_ready() -> None:
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "no image web:2"}}
    pod = {"status": {"containerStatuses": [{"name": "web", "state": waiting}]}}
    assert why_not_ready(pod) == "web waits: ErrImageNeverPull no image web:2"
    assert why_not_ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}) == ""
