"""Patches: RFC 6902, RFC 7386 and strategic merge, against naive second implementations where there is one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.kube import schemas
from seatrial.kube.patches import PatchError, diff_merge, json_patch, merge_patch, same, strategic_merge

SCALARS = st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b/c", "~"])
NAMES = st.sampled_from(["a", "b", "a/b", "~1", "0"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
POD = schemas.load().kind("v1", "Pod")
DEPLOYMENT = schemas.load().kind("apps/v1", "Deployment")


@given(OBJECTS, OBJECTS)
def test_applying_a_difference_gives_the_other_object(before: dict[str, Any], after: dict[str, Any]) -> None:
    untouched = copy.deepcopy((before, after))
    assert same(merge_patch(before, diff_merge(before, after)), after)
    assert same(strategic_merge(before, diff_merge(before, after), None), after)
    assert same([before, after], list(untouched))


@given(OBJECTS)
def test_no_difference_is_an_empty_patch(document: dict[str, Any]) -> None:
    assert diff_merge(document, copy.deepcopy(document)) == {}


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples_of_the_rfc(document: Any, patch: Any, result: Any) -> None:
    assert merge_patch(document, patch) == result


class Naive:
    """JSON patch by changing a copy in place: slow, obvious, and independent of the real one."""

    def __init__(self, document: Any) -> None:
        self.holder = {"": copy.deepcopy(document)}

    def parent(self, path: str) -> tuple[Any, Any]:
        place: Any = self.holder
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")]
        for token in tokens[:-1]:
            place = place[self.step(place, token)]
        return place, tokens[-1]

    def step(self, place: Any, token: str) -> Any:
        if isinstance(place, list):
            if not token.isdigit() or str(int(token)) != token:
                raise LookupError
            return int(token)
        if not isinstance(place, dict):
            raise LookupError
        return token

    def apply(self, operation: dict[str, Any]) -> None:
        if operation["op"] in {"move", "copy"}:
            source, token = self.parent(operation["from"])
            value = copy.deepcopy(source[self.step(source, token)])
            if operation["op"] == "move":
                if operation["path"].startswith(operation["from"] + "/"):
                    raise LookupError
                del source[self.step(source, token)]
            self.apply({"op": "add", "path": operation["path"], "value": value})
            return
        place, token = self.parent(operation["path"])
        if operation["op"] == "add":
            if isinstance(place, list):
                index = len(place) if token == "-" else self.step(place, token)
                if index > len(place):
                    raise LookupError
                place.insert(index, copy.deepcopy(operation["value"]))
            else:
                place[self.step(place, token)] = copy.deepcopy(operation["value"])
            return
        found = place[self.step(place, token)]
        if operation["op"] == "remove":
            del place[self.step(place, token)]
        elif operation["op"] == "replace":
            place[self.step(place, token)] = copy.deepcopy(operation["value"])
        elif json.dumps(found, sort_keys=True) != json.dumps(operation["value"], sort_keys=True):
            raise LookupError


PATHS = st.lists(st.sampled_from(["a", "b", "a~1b", "~01", "0", "1", "-", "01"]), min_size=1, max_size=3).map(
    lambda tokens: "".join("/" + token for token in tokens)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": PATHS,
        "from": PATHS,
        "value": VALUES,
    }
)


@given(OBJECTS, st.lists(OPERATIONS, min_size=1, max_size=4))
def test_json_patch_agrees_with_a_naive_one(document: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    untouched = copy.deepcopy(document)
    naive = Naive(document)
    try:
        for operation in operations:
            naive.apply(operation)
    except (LookupError, TypeError):
        with pytest.raises(PatchError):
            json_patch(document, operations)
    else:
        assert same(json_patch(document, operations), naive.holder[""])
    assert same(document, untouched)


@pytest.mark.parametrize(
    "operations",
    [
        {"op": "add"},
        [{"op": "jump", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/a"}],
        [{"op": "test", "path": "/a", "value": True}],
        [{"op": "move", "path": "/a"}],
        ["add"],
    ],
)
def test_a_bad_json_patch_is_refused(operations: Any) -> None:
    with pytest.raises(PatchError):
        json_patch({"a": 1}, operations)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def merged(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return strategic_merge(document, patch, POD)


def test_containers_merge_by_name_in_the_order_of_the_patch() -> None:
    before = pod({"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}]})
    patch = pod(
        {"name": "log", "image": "log"}, {"name": "web", "image": "web:2", "env": [{"name": "B", "value": "2"}]}
    )
    assert merged(before, patch) == pod(
        {"name": "log", "image": "log"},
        {"name": "web", "image": "web:2", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]},
    )


def test_an_item_is_deleted_by_its_merge_key() -> None:
    before = pod({"name": "web"}, {"name": "log"})
    assert merged(before, pod({"name": "log", "$patch": "delete"})) == pod({"name": "web"})


def test_a_list_and_a_map_can_be_replaced_by_directive() -> None:
    assert merged(pod({"name": "a"}, {"name": "b"}), pod({"name": "c"}, {"$patch": "replace"})) == pod({"name": "c"})
    replaced = merged(pod(nodeSelector={"a": "1"}), {"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}})
    assert replaced["spec"]["nodeSelector"] == {"b": "2"}


def test_an_atomic_list_is_replaced() -> None:
    before = pod(tolerations=[{"key": "a"}])
    assert merged(before, {"spec": {"tolerations": [{"key": "b"}]}})["spec"]["tolerations"] == [{"key": "b"}]


def test_primitive_lists_unite_and_lose_what_is_deleted() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    assert merged(before, {"metadata": {"finalizers": ["b", "c"]}}) == {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert merged(before, patch) == {"metadata": {"finalizers": ["b"]}}


def test_retain_keys_drops_the_members_of_a_union_that_are_not_kept() -> None:
    before = pod(volumes=[{"name": "v", "emptyDir": {}}])
    patch = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}
    assert merged(before, patch)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]
    strategy = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    rolling = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    assert strategic_merge(rolling, strategy, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}
    with pytest.raises(PatchError, match="retainKeys"):
        merged(before, {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}})


def test_set_element_order_orders_and_keeps_server_items_where_they_were() -> None:
    before = pod({"name": "server"}, {"name": "a"}, {"name": "b"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c"}],
        }
    }
    assert [each["name"] for each in merged(before, patch)["spec"]["containers"]] == ["server", "b", "c", "a"]
    only_order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert [each["name"] for each in merged(before, only_order)["spec"]["containers"]] == ["server", "b", "a"]


def test_nulls_delete_and_never_enter_a_document() -> None:
    assert merged(pod(hostname="x"), {"spec": {"hostname": None}}) == pod()
    assert merged({}, {"metadata": {"labels": {"a": None, "b": "c"}}}) == {"metadata": {"labels": {"b": "c"}}}


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "explode"},
        pod({"image": "x"}),
        {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}},
    ],
)
def test_a_bad_strategic_patch_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        merged(pod({"name": "a"}), patch)


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_merging_keyed_lists_is_idempotent_and_keeps_every_item(have: list[str], want: list[str]) -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": name} for name in want],
            "containers": [{"name": name, "image": "new"} for name in want],
        }
    }
    once = merged(pod(*({"name": name, "image": "old"} for name in have)), patch)
    names = [each["name"] for each in once["spec"]["containers"]]
    assert sorted(names) == sorted({*have, *want})
    assert [name for name in names if name in want] == want
    assert merged(once, patch) == once
