"""The table of references, tried row by row: a clean system of each edge, and the smallest things that can be wrong.

The systems are built from the table itself, so a row that is added is tried; a row whose path nobody can fill fails.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial import project
from seatrial.check import judge
from seatrial.check.references.edges import EDGES, LOCALS, POD, PODS, PROVIDED, SELECTIONS, Edge, Local, Selection
from seatrial.check.references.inventory import kind_of, steps
from seatrial.check.references.names import is_of_cluster
from seatrial.check.verdicts import Answer, Report
from seatrial.kube.schemas.resources import scopes

Raw = dict[str, Any]
NAME, WRONG = "harbour", "harbuor"
KEY, WRONG_KEY = "compass", "compas"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*objects: Raw, closed: bool = False) -> Report:
    text = yaml.safe_dump_all(objects, sort_keys=False)
    Path("system.yaml").write_text(text)
    return judge.judge(project.load(["system.yaml"]), ["references/exist"], closed=closed)


def lines_with(text: str) -> list[int]:
    """The lines of the file that have the text as a value."""
    lines = Path("system.yaml").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.rstrip("'\"").endswith(text)]


def api_version(kind: str) -> str:
    plain, _, group = kind.partition(".")
    if group:
        return f"{group}/v1"
    return next(version for version, each in scopes() if each == plain and kind_of(version, plain) == plain)


def new(kind: str, name: str, namespace: str = "shop") -> Raw:
    metadata = {"name": name} | ({} if is_of_cluster(kind) else {"namespace": namespace})
    return {"apiVersion": api_version(kind), "kind": kind.partition(".")[0], "metadata": metadata}


def put(root: Any, path: tuple[str, ...], value: Any) -> Any:
    """The value put at a path, with everything above it made; a part that is there already is kept."""
    if not path:
        return {**root, **value} if isinstance(root, dict) and isinstance(value, dict) else value
    step, rest = path[0], path[1:]
    if step == "*":
        first, *others = root or [{}]
        return [put(first, rest, value), *others]
    root = dict(root or {})
    root[step] = put(root.get(step), rest, value)
    return root


TEMPLATE: Raw = {
    "metadata": {"labels": {"app": "crew"}},
    "spec": {"containers": [{"name": "crew", "image": "crew:1", "ports": [{"name": "helm", "containerPort": 80}]}]},
}


def workload(path: tuple[str, ...] = (), value: Any = None) -> Raw:
    """A Deployment whose pod has a value at a path."""
    template = deepcopy(TEMPLATE)
    if path:
        template["spec"] = put(template["spec"], path, value)
        volumes = template["spec"].get("volumes")
        if volumes:
            volumes[0]["name"] = "hold"
            template["spec"]["containers"][0]["volumeMounts"] = [{"name": "hold", "mountPath": "/hold"}]
    spec = {"selector": {"matchLabels": {"app": "crew"}}, "template": template}
    return {**new("Deployment", "crew"), "spec": spec}


def referring(edge: Edge, name: str, key: str = KEY, port: int = 80) -> Raw:
    """An object with the reference, and nothing else that refers to anything."""
    value: Any = name
    if edge.name:
        value = {edge.name: name}
        if edge.kind:
            kind = edge.to or target_kind(edge)
            value[edge.kind] = kind.partition(".")[0]
            if "/" in api_version(kind):
                value["apiVersion" if edge.to == "" and "Ref" not in edge.at.split(".")[0] else "apiGroup"] = (
                    api_version(kind) if edge.to == "" and edge.at.split(".")[0] != "roleRef" else kind_group(kind)
                )
        for path in edge.keys:
            value = put(value, steps(path), key)
        if edge.port:
            value[edge.port] = {"number": port} if edge.source == "Ingress" else port
        if edge.namespace:
            value[edge.namespace] = "shop"
    source = "ConfigMap" if edge.source == "*" else edge.source
    if source == POD:
        return workload(steps(edge.at), value)
    raw: Raw = put(new(source, "ship"), steps(edge.at), value)
    if source == "StatefulSet":
        raw["spec"] = {"selector": {"matchLabels": {"app": "crew"}}, "template": deepcopy(TEMPLATE), **raw["spec"]}
        for claim in raw["spec"].get("volumeClaimTemplates", ()):
            claim["metadata"] = {"name": "hold"}
    return raw


def kind_group(kind: str) -> str:
    return api_version(kind).rpartition("/")[0]


def target_kind(edge: Edge) -> str:
    if edge.to:
        return edge.to
    return {
        "roleRef": "Role" if edge.source == "RoleBinding" else "ClusterRole",
        "subjects[*]": "ServiceAccount",
        "spec.dataSource": "PersistentVolumeClaim",
        "spec.dataSourceRef": "PersistentVolumeClaim",
        "spec.metrics[*].object.describedObject": "Ingress",
        "metadata.ownerReferences[*]": "ConfigMap",
    }.get(edge.at, "Deployment")


def target(edge: Edge, name: str = NAME, namespace: str = "shop") -> list[Raw]:
    kind = target_kind(edge)
    raw = new(kind, name, namespace)
    if kind in ("ConfigMap", "Secret"):
        raw["data"] = {KEY: "bm9ydGg="}
    elif kind == "Deployment":
        raw = {**workload(), "metadata": raw["metadata"]}
    elif kind == "Service":
        ports = [{"name": "helm", "port": 80, "targetPort": "helm"}]
        raw["spec"] = {"selector": {"app": "crew"}, "ports": ports}
        return [raw, workload()] if edge.source != "StatefulSet" else [raw]
    return [raw]


def title(edge: Edge | Selection) -> str:
    return f"{edge.source} {edge.at} {edge.to}"


def refuted(report: Report) -> list[tuple[int, str]]:
    return [(v.places[0].line, v.message) for v in report.verdicts if v.verdict is Answer.REFUTED]


every_edge = pytest.mark.parametrize("edge", EDGES, ids=title)


def clean(edge: Edge) -> list[Raw]:
    """A system in which everything leads somewhere."""
    source = referring(edge, NAME)
    return [source, *target(edge)]


@every_edge
def test_nothing_is_found_where_the_reference_leads_to_something(edge: Edge) -> None:
    report = check(*clean(edge))
    assert refuted(report) == []
    assert not [each for each in report.expects if NAME in each.what]


@every_edge
def test_a_name_that_is_a_letter_off_is_found_at_its_line_with_what_was_meant(edge: Edge) -> None:
    source = referring(edge, WRONG)
    report = check(source, *target(edge))
    ((line, message),) = refuted(report)
    assert [line] == lines_with(WRONG)
    assert message.startswith(edge.then)
    assert f"probably {NAME} is meant" in message


@every_edge
def test_what_is_missing_altogether_is_found_or_expected_from_outside(edge: Edge) -> None:
    source = referring(edge, NAME)
    others = [each for each in target(edge) if each["metadata"]["name"] != NAME] + [new("ConfigMap", "anchor")]
    report = check(source, *others)
    where = lines_with(NAME)
    if target_kind(edge) in PROVIDED or "." in target_kind(edge):
        assert refuted(report) == []
        (expected,) = [each for each in report.expects if NAME in each.what]
        assert [place.line for place in expected.places] == where
        assert (where[0], True) in [(line, NAME in message) for line, message in refuted(check(source, closed=True))]
    else:
        ((line, message),) = refuted(report)
        assert [line] == where
        assert message.startswith(edge.then)


NAMESPACED = [edge for edge in EDGES if "." not in target_kind(edge) and not is_of_cluster(target_kind(edge))]


@pytest.mark.parametrize("edge", NAMESPACED, ids=title)
def test_a_target_in_another_namespace_is_told(edge: Edge) -> None:
    source = referring(edge, NAME)
    moved = [
        {**each, "metadata": {**each["metadata"], "namespace": "yard"}} if each["metadata"]["name"] == NAME else each
        for each in target(edge)
    ]
    moved += [workload()] if target_kind(edge) == "Service" else []
    found = [(line, message) for line, message in refuted(check(source, *moved)) if "lies in namespace" in message]
    assert [line for line, _ in found] == lines_with(NAME)[:1]
    assert "lies in namespace yard" in found[0][1]


@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge.keys], ids=title)
def test_a_key_that_its_target_does_not_have_is_found_at_its_line(edge: Edge) -> None:
    ((line, message),) = refuted(check(referring(edge, NAME, key=WRONG_KEY), *target(edge)))
    assert [line] == lines_with(WRONG_KEY)
    assert f"probably {KEY} is meant" in message
    ((line, message),) = refuted(check(referring(edge, NAME, key="rudder"), *target(edge)))
    assert [line] == lines_with("rudder")


@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge.port], ids=title)
def test_a_port_that_the_service_does_not_have_is_found_at_its_line(edge: Edge) -> None:
    source = referring(edge, NAME, port=8081)
    ((line, message),) = refuted(check(source, *target(edge)))
    assert [line] == lines_with("8081")
    assert "has no port 8081" in message


OPTIONAL = [edge for edge in EDGES if target_kind(edge) in ("ConfigMap", "Secret") and edge.keys and edge.source == POD]


@pytest.mark.parametrize("edge", OPTIONAL, ids=title)
def test_what_is_optional_may_be_missing_but_not_be_a_letter_off(edge: Edge) -> None:
    source = referring(edge, NAME)
    source["spec"]["template"]["spec"] = put(source["spec"]["template"]["spec"], steps(edge.at), {"optional": True})
    assert refuted(check(source)) == []
    ((_, message),) = refuted(check(source, *target(edge, name="harbor")))
    assert "probably harbor is meant" in message


def selecting(selection: Selection, value: str) -> Raw:
    labels = {"app": value, "tier": "front"}
    source: Raw = put(
        new(selection.source, "ship"), steps(selection.at), labels if selection.plain else {"matchLabels": labels}
    )
    if selection.source == "NetworkPolicy":
        source["spec"].setdefault("podSelector", {})
    return source


def chosen(selection: Selection) -> Raw:
    labels = {"app": NAME, "tier": "front"}
    if selection.to == PODS:
        raw = workload()
        raw["spec"]["selector"]["matchLabels"] = labels
        raw["spec"]["template"]["metadata"]["labels"] = dict(labels)
        return raw
    raw = new(selection.to, "boat")
    raw["metadata"]["labels"] = labels
    if selection.to == "Service":
        raw["spec"] = {"type": "ExternalName", "externalName": "sea.example.com"}
    return raw


@pytest.mark.parametrize("selection", SELECTIONS, ids=title)
def test_a_selector_is_held_to_the_labels_there_are(selection: Selection) -> None:
    assert refuted(check(selecting(selection, NAME), chosen(selection))) == []
    ((line, message),) = [
        each for each in refuted(check(selecting(selection, WRONG), chosen(selection))) if "loads it" not in each[1]
    ]
    last = selection.at.rpartition(".")[2]
    text = Path("system.yaml").read_text().splitlines()[line - 1]
    assert text.strip(" -") == f"{last}:"
    assert message.startswith(selection.then)
    assert f"probably app={NAME}" in message
    anchor = {**new("Service", "anchor"), "spec": {"type": "ExternalName", "externalName": "sea.example.com"}}
    report = check(selecting(selection, NAME), anchor)
    if selection.provided:
        assert refuted(report) == []
        assert [each for each in report.expects if NAME in each.what]
    else:
        assert [message.startswith(selection.then) for _, message in refuted(report)] == [True]


def with_local(local: Local, name: str) -> Raw:
    raw = workload()
    spec = raw["spec"]["template"]["spec"]
    for each in local.among:
        spec = put(spec, (*steps(local.root), *steps(each)), NAME)
    spec = put(spec, (*steps(local.root), *steps(local.at)), name)
    raw["spec"]["template"]["spec"] = spec
    return raw


def used(local: Local, raw: Raw) -> Raw:
    """The pod with a second mount of its volume, so that only the name in question is wrong."""
    spec = raw["spec"]["template"]["spec"]
    if "volumes" in spec:
        spec["volumes"][0].setdefault("name", "hold")
        first = spec["containers"][0]
        mounts = first.setdefault("volumeMounts", [])
        mounts.append({"name": spec["volumes"][0]["name"], "mountPath": "/hold"})
    return raw


@pytest.mark.parametrize("local", LOCALS, ids=lambda local: local.at)
def test_a_name_within_a_pod_is_held_to_what_the_pod_has(local: Local) -> None:
    assert refuted(check(used(local, with_local(local, NAME)))) == []
    ((line, message),) = refuted(check(used(local, with_local(local, WRONG))))
    assert [line] == lines_with(WRONG)
    assert message.startswith(local.then)
    assert f"probably {NAME} is meant" in message


MADE: dict[str, Callable[[], Raw]] = {
    "ServiceAccount": lambda: workload(("serviceAccountName",), "default"),
    "ConfigMap": lambda: workload(("volumes", "*", "configMap"), {"name": "kube-root-ca.crt"}),
    "PriorityClass": lambda: workload(("priorityClassName",), "system-cluster-critical"),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_every_cluster_has_is_no_expectation(kind: str) -> None:
    report = check(MADE[kind](), new("Namespace", "shop"), closed=True)
    assert refuted(report) == []
