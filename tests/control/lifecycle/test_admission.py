"""Which pods a node takes of those that are bound to it, in whose words it refuses the others, and who makes room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from seatrial.control.lifecycle.admission import Admission, admit
from seatrial.kube.objects import Node, Pod, parse_as

CRITICAL = 2_000_000_000
UNEXPECTED = (
    "Unexpected error while attempting to recover from admission failure: "
    "preemption: error finding a set of pods to preempt: "
)
SHORT = "Node didn't have enough resource: "


def node(labels: Mapping[str, str] | None = None, taints: Sequence[Any] = (), gpus: str = "") -> Node:
    allocatable = {"cpu": "2", "memory": "1Gi", "pods": "4"} | ({"example.com/gpu": gpus} if gpus else {})
    meta = {"name": "n", "labels": {"kubernetes.io/os": "linux", **(labels or {})}}
    return parse_as(Node, {"metadata": meta, "spec": {"taints": taints}, "status": {"allocatable": allocatable}})


def pod(name: str, *, labels: Any = None, port: int = 0, static: bool = False, limits: Any = None, **more: Any) -> Pod:
    resources = {"requests": more.pop("requests", {}), "limits": limits or {}}
    container: dict[str, Any] = {"name": "main", "resources": resources}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port}]
    annotations = {"kubernetes.io/config.source": "file"} if static else {}
    meta = {"name": name, "uid": name, "labels": labels or {}, "annotations": annotations}
    return parse_as(
        Pod, {"metadata": meta, "spec": {"nodeName": "n", "containers": [container], "priority": 0, **more}}
    )


def said(found: Admission) -> tuple[str, str] | None:
    return (found.rejection.reason, found.rejection.message) if found.rejection is not None else None


CASES = [
    (pod("a"), (), node(), None),
    (pod("a", requests={"cpu": "2"}), (), node(), None),
    (
        pod("a", requests={"cpu": "1500m"}),
        (pod("b", requests={"cpu": "1"}),),
        node(),
        ("OutOfcpu", f"{SHORT}cpu, requested: 1500, used: 1000, capacity: 2000"),
    ),
    (
        pod("a", requests={"memory": "2Gi"}),
        (),
        node(),
        ("OutOfmemory", f"{SHORT}memory, requested: 2147483648, used: 0, capacity: 1073741824"),
    ),
    (
        pod("a", requests={"ephemeral-storage": "1Ki"}),
        (),
        node(),
        ("OutOfephemeral-storage", f"{SHORT}ephemeral-storage, requested: 1024, used: 0, capacity: 0"),
    ),
    (
        pod("a", requests={"cpu": "3"}),
        [pod(name) for name in "bcde"],
        node(),
        ("OutOfpods", f"{SHORT}pods, requested: 1, used: 4, capacity: 4"),
    ),
    (pod("a", requests={"example.com/gpu": "2"}), (), node(), None),
    (
        pod("a", requests={"example.com/gpu": "2"}),
        (),
        node(gpus="1"),
        ("OutOfexample.com/gpu", f"{SHORT}example.com/gpu, requested: 2, used: 0, capacity: 1"),
    ),
    (
        pod("a", nodeSelector={"disk": "ssd"}, port=80),
        (pod("b", port=80),),
        node(),
        ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
    ),
    (pod("a", nodeSelector={"disk": "ssd"}), (), node({"disk": "ssd"}), None),
    (
        pod("a", port=80),
        (pod("b", port=80),),
        node(),
        ("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"),
    ),
    (
        pod("a"),
        (),
        node(taints=[{"key": "k", "effect": "NoSchedule"}, {"key": "k", "effect": "NoExecute"}]),
        ("TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"),
    ),
    (pod("a"), (), node(taints=[{"key": "k", "effect": "NoSchedule"}]), None),
    (pod("a", static=True), (), node(taints=[{"key": "k", "effect": "NoExecute"}]), None),
    (
        pod("a", os={"name": "windows"}, requests={"cpu": "9"}),
        (),
        node(),
        ("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"),
    ),
    (
        pod("a", labels={"kubernetes.io/os": "windows"}),
        (),
        node(),
        (
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ),
    ),
    (
        pod("a", priority=CRITICAL, requests={"cpu": "9"}, nodeSelector={"disk": "ssd"}),
        (),
        node(),
        ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
    ),
    (
        pod("a", priority=CRITICAL, requests={"cpu": "3"}),
        (pod("b", requests={"cpu": "500m"}),),
        node(),
        (
            "UnexpectedAdmissionError",
            f"{UNEXPECTED}no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]",
        ),
    ),
]


@pytest.mark.parametrize(("newcomer", "others", "machine", "expected"), CASES)
def test_who_is_refused_and_in_which_words(
    newcomer: Pod, others: Sequence[Pod], machine: Node, expected: tuple[str, str] | None
) -> None:
    found = admit(newcomer, machine, others)
    assert said(found) == expected
    assert found.preempted == ()


def test_pressure_comes_first_and_shutdown_last() -> None:
    big = pod("a", requests={"cpu": "9"})
    reasons = [
        said(admit(newcomer, node(), (), pressures=pressures, shutting_down=True))
        for newcomer, pressures in ((big, ["DiskPressure"]), (big, []), (pod("b"), []))
    ]
    assert [each and each[0] for each in reasons] == ["Evicted", "OutOfcpu", "NodeShutdown"]


def test_as_few_and_as_unimportant_as_possible_make_room_for_a_critical_pod() -> None:
    exact = {"cpu": "500m", "memory": "128Mi"}
    guaranteed = pod("guaranteed", requests=exact, limits=exact)
    small, large = pod("small", requests={"cpu": "200m"}), pod("large", requests={"cpu": "600m"})
    critical = pod("critical", priority=CRITICAL, requests={"cpu": "700m"})

    def go(cpu: str, **more: Any) -> list[str]:
        newcomer = pod("new", requests={"cpu": cpu}, **more)
        others = (guaranteed, small, large, critical)
        return [each.metadata.name for each in admit(newcomer, node(), others).preempted]

    assert go("100m", priority=CRITICAL) == ["small"]
    assert go("500m", priority=CRITICAL) == go("500m", static=True) == ["large"]
    assert go("700m", priority=CRITICAL) == ["large", "small"]
    assert go("900m", priority=CRITICAL) == ["large", "guaranteed"]
    assert go("1500m", priority=CRITICAL + 1) == ["critical", "large", "small"]
