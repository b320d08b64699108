"""Nulls and zero values are kept as Go's decoder and encoder keep them (compared with kube-apiserver 1.37.2)."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.control.admission import admit

Json = dict[str, Any]


def kept(**fields: Any) -> Json:
    """A pod's spec as it is stored."""
    spec = {"containers": [{"name": "c", "image": "i", **fields.pop("container", {})}], **fields}
    stored: Json = admit({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})["spec"]
    return stored


def test_null_is_a_zero_value_in_maps_and_lists_and_nothing_in_a_field() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": None}, "uid": None}}
    stored = admit({**config, "data": {"x": None, "y": "1"}, "binaryData": None})
    assert stored == {**config, "metadata": {"name": "a", "labels": {"x": ""}}, "data": {"x": "", "y": "1"}}

    container = kept(container={"args": ["a", None], "resources": {"limits": {"cpu": None}}, "livenessProbe": None})
    assert container["containers"][0]["args"] == ["a", ""]
    assert container["containers"][0]["resources"] == {"limits": {"cpu": "0"}, "requests": {"cpu": "0"}}
    assert "livenessProbe" not in container["containers"][0]
    assert kept(tolerations=[None], nodeSelector={"x": None})["tolerations"] == [{}]
    assert kept(securityContext={"supplementalGroups": [None]})["securityContext"] == {"supplementalGroups": [0]}
    assert "affinity" not in kept(affinity=None)


@pytest.mark.parametrize(
    "empty", ["nodeName", "hostname", "imagePullSecrets", "nodeSelector", "hostNetwork", "volumes"]
)
def test_what_is_empty_and_optional_is_not_there(empty: str) -> None:
    values = {
        "nodeName": "",
        "hostname": "",
        "imagePullSecrets": [],
        "nodeSelector": {},
        "hostNetwork": False,
        "volumes": [],
    }
    assert empty not in kept(**{empty: values[empty]})


def test_a_pointer_that_is_zero_says_so_and_an_object_is_there_even_if_it_is_empty() -> None:
    said = kept(
        hostUsers=False,
        priority=0,
        automountServiceAccountToken=False,
        affinity={},
        container={
            "env": [{"name": "a", "value": ""}],
            "ports": [{"containerPort": 1, "hostPort": 0}],
            "resources": {},
        },
    )
    assert (said["hostUsers"], said["priority"], said["automountServiceAccountToken"]) == (False, 0, False)
    assert said["affinity"] == {}
    assert said["containers"][0]["env"] == [{"name": "a"}]
    assert said["containers"][0]["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert said["containers"][0]["resources"] == {}


def test_conditions_say_an_empty_message_where_theirs_has_to_be_there() -> None:
    """`message` of a metav1.Condition is required; that of a pod or node is not."""
    condition = {"type": "T", "status": "True", "reason": "", "message": ""}
    pod = admit({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": {"conditions": [condition]}})
    assert pod["status"]["conditions"] == [{"type": "T", "status": "True"}]
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {}}
    stored = admit({**budget, "status": {"conditions": [condition], "disruptionsAllowed": 0}})["status"]
    assert (stored["conditions"], stored["disruptionsAllowed"]) == ([condition], 0)


def test_what_the_schema_does_not_know_stays_as_it_is() -> None:
    odd = {"apiVersion": "example.com/v1", "kind": "Odd", "spec": {"x": None, "y": "", "z": [None, {}]}}
    assert admit(odd) == odd
