"""The checker's verdicts against a deliberately dumb explorer: named pods, no interning, no symmetry, no memory.

It shares with the checker what is asked about (the controllers, the scheduler, `relations.observe`) and the assumptions
that a verdict names; states, the execution of writes, what a container does and the judgement are its own. Its endless
runs are states from which the goal cannot be reached, which needs no notion of fairness.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.check import rolling
from seatrial.check.budget import Budget
from seatrial.check.machines import ordinary
from seatrial.check.rollouts import KINDS, Setting, Workload
from seatrial.control import CONTROLLERS, admission, relations, scheduler
from seatrial.control.controller import Controller
from seatrial.control.writes import Create, Delete, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Node,
    Object,
    Pod,
    PodStatus,
    ReplicaSet,
    StatefulSet,
    canonical,
    parse_as,
    to_wire,
)

NOW = datetime(2020, 5, 17, tzinfo=UTC)
MOST_STATES = 2500
WORKLOADS = (Deployment, StatefulSet, DaemonSet)
NAMES = {name for kind in KINDS.values() for name in kind.controllers}
ACTING: dict[type[Object], Controller] = {each.subject: each for each in CONTROLLERS if each.name in NAMES}
RUNNING = parse_as(
    PodStatus,
    {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-05-16T00:00:00Z"}],
    },
)

Cluster = dict[str, Object]
"""Objects by kind and name."""


class TooLargeError(Exception):
    """More states than a dumb explorer should look at."""


def place(obj: Object) -> str:
    return f"{obj.kind}/{obj.metadata.name}"


def of(cluster: Cluster, kind: type[Object] | tuple[type[Object], ...]) -> list[Any]:
    return [obj for obj in cluster.values() if isinstance(obj, kind)]


def is_up(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None and pod.status.phase == "Running"


def is_new(obj: Any) -> bool:
    template = obj if isinstance(obj, Pod) else obj.spec.template
    return template.metadata.annotations.get("kubectl.kubernetes.io/restartedAt") == "again"


def execute(cluster: Cluster, writes: tuple[Write, ...]) -> Cluster:
    after = dict(cluster)
    for write in writes:
        if isinstance(write, Create):
            obj: Any = write.object
            name = obj.metadata.name or next(f"p{n}" for n in range(99) if f"Pod/p{n}" not in after)
            if isinstance(obj, Pod):
                obj = replace(obj, status=replace(obj.status, phase="Pending"))
            metadata = replace(obj.metadata, name=name, uid=name, generation=1, creation_timestamp=NOW)
            obj = replace(obj, metadata=metadata)
            after[place(obj)] = obj
        elif isinstance(write, Delete):
            seen: Any = after[place(write.object)]
            if isinstance(seen, Pod) and seen.spec.node_name:
                after[place(seen)] = replace(seen, metadata=replace(seen.metadata, deletion_timestamp=NOW))
            else:
                del after[place(seen)]
        elif isinstance(write, Update):
            known: Any = after[place(write.after)]
            written: Any = write.after
            if hasattr(known, "spec"):
                metadata = replace(known.metadata, generation=known.metadata.generation + (known.spec != written.spec))
                after[place(known)] = replace(known, spec=written.spec, metadata=metadata)
            else:
                after[place(known)] = written
        elif isinstance(write, UpdateStatus):
            told, said = after[place(write.after)], write.after
            after[place(told)] = replace(told, status=_kept(said))
    return after


def _kept(obj: Any) -> Any:
    """A Deployment's status only repeats what its ReplicaSets say; conditions have times."""
    if isinstance(obj, Deployment):
        return type(obj.status)()
    return replace(obj.status, conditions=()) if hasattr(obj.status, "conditions") else obj.status


def decided(cluster: Cluster, subject: Object, nodes: tuple[Node, ...]) -> Cluster:
    objects: dict[type[Object], list[Any]] = {Node: list(nodes)}
    for obj in cluster.values():
        objects.setdefault(type(obj), []).append(obj)
    controller = ACTING[type(subject)]
    return execute(cluster, controller.reconcile(relations.observe(controller, subject, objects, NOW)).writes)


def is_complete(cluster: Cluster, wanted: int) -> bool:
    (workload,) = of(cluster, WORKLOADS)
    if not isinstance(workload, Deployment):
        pods = of(cluster, Pod)
        return len(pods) == wanted and all(is_up(pod) and is_new(pod) == is_new(workload) for pod in pods)
    new = [rs for rs in of(cluster, ReplicaSet) if is_new(rs) == is_new(workload)]
    every = of(cluster, ReplicaSet)
    return bool(
        sum(rs.status.replicas for rs in new)
        == sum(rs.status.replicas for rs in every)
        == sum(rs.status.available_replicas for rs in every)
        == wanted
    )


def successors(cluster: Cluster, nodes: tuple[Node, ...], wanted: int) -> Iterator[Cluster]:
    (workload,) = of(cluster, WORKLOADS)
    yield decided(cluster, workload, nodes)
    for replica_set in of(cluster, ReplicaSet):
        yield decided(cluster, replica_set, nodes)
    pods = of(cluster, Pod)
    for pod in pods:
        rest = {key: obj for key, obj in cluster.items() if obj is not pod}
        if not pod.spec.node_name:
            for name in scheduler.schedule(pod, nodes, [other for other in pods if other.spec.node_name]).best:
                yield {**rest, place(pod): replace(pod, spec=replace(pod.spec, node_name=name))}
        elif pod.metadata.deletion_timestamp is not None:
            yield rest
        elif not is_up(pod):
            yield {**rest, place(pod): replace(pod, status=RUNNING)}
    if not is_new(workload) and is_complete(cluster, wanted):
        template = workload.spec.template
        metadata = replace(template.metadata, annotations={"kubectl.kubernetes.io/restartedAt": "again"})
        spec = replace(workload.spec, template=replace(template, metadata=metadata))
        told = replace(workload.metadata, generation=workload.metadata.generation + 1)
        yield {**cluster, place(workload): replace(workload, spec=spec, metadata=told)}


def key(cluster: Cluster) -> bytes:
    return b"\n".join(canonical(cluster[name]) for name in sorted(cluster))


def explore(workload: Workload, nodes: tuple[Node, ...], missing: int) -> tuple[bool, bool]:
    """Whether every run can still end, and whether the rollout keeps enough pods."""
    wanted = len(nodes) if isinstance(workload, DaemonSet) else workload.spec.replicas or 0
    first: Cluster = {place(workload): workload}
    found = {key(first): first}
    befores: dict[bytes, set[bytes]] = {}
    queue = list(found)
    for here in queue:
        for after in successors(found[here], nodes, wanted):
            there = key(after)
            if there == here:
                continue
            befores.setdefault(there, set()).add(here)
            if there not in found:
                found[there] = after
                queue.append(there)
        if len(found) > MOST_STATES:
            raise TooLargeError
    rolls = [c for c in found.values() if is_new(of(c, WORKLOADS)[0])]
    good = [here for here, c in found.items() if is_new(of(c, WORKLOADS)[0]) and is_complete(c, wanted)]
    reaches = set(good)
    for here in good:
        for before in befores.get(here, set()) - reaches:
            reaches.add(before)
            good.append(before)
    return len(reaches) == len(found), all(sum(is_up(pod) for pod in of(c, Pod)) >= wanted - missing for c in rolls)


def web(replicas: int, surge: int, missing: int, *, apart: bool, strategy: str = "RollingUpdate") -> Deployment:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}} if strategy == "RollingUpdate" else {}
    raw = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "web", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": strategy, **rolling},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "web", "image": "web:1"}],
                    **({"affinity": affinity} if apart else {}),
                },
            },
        },
    }
    return parse_as(Deployment, admission.admit(raw, version="1.37"))


def agree(workload: Workload, count: int, missing: int) -> tuple[bool, bool]:
    nodes = tuple(ordinary(index) for index in range(count))
    expected = explore(workload, nodes, missing)
    checked = rolling.run(Setting(workload, nodes), Budget(states=50_000))
    assert checked.graph.complete
    assert (checked.endless is None, checked.short is None) == expected
    return expected


bounds = st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(replicas=st.integers(1, 3), count=st.integers(1, 3), bounds=bounds, apart=st.booleans())
def test_agrees_with_a_dumb_explorer(replicas: int, count: int, bounds: tuple[int, int], apart: bool) -> None:
    surge, missing = bounds
    try:
        agree(web(replicas, surge, missing, apart=apart), count, missing)
    except TooLargeError:
        assume(False)


@pytest.mark.parametrize(
    ("replicas", "count", "surge", "missing", "expected"),
    [
        (1, 1, 1, 0, (False, True)),
        (1, 2, 1, 0, (True, True)),
        (2, 2, 0, 1, (True, True)),
        (2, 1, 0, 1, (False, True)),
    ],
)
def test_agrees_on_pods_that_keep_apart(
    replicas: int, count: int, surge: int, missing: int, expected: tuple[bool, bool]
) -> None:
    assert agree(web(replicas, surge, missing, apart=True), count, missing) == expected


def test_agrees_on_recreate() -> None:
    assert agree(web(1, 0, 1, apart=False, strategy="Recreate"), 1, 1) == (True, True)


def test_agrees_that_controllers_which_lag_take_no_pod_too_many() -> None:
    """No old ReplicaSet shrinks while its counts are of before it was resized."""
    assert agree(web(3, 1, 0, apart=False), 1, 0) == (True, True)


def numbered(replicas: int, *, apart: bool, kind: type[StatefulSet] | type[DaemonSet], **spec: Any) -> Workload:
    raw = to_wire(web(replicas, 1, 0, apart=apart))
    more = {"serviceName": "web", "replicas": replicas} if kind is StatefulSet else {}
    kept = {name: raw["spec"][name] for name in ("selector", "template")}
    made = {**raw, "kind": kind.kind, "spec": {**kept, **more, **spec}}
    return parse_as(kind, admission.admit(made, version="1.37"))


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize(
    ("replicas", "count", "apart", "expected"),
    [(1, 1, False, (True, True)), (2, 1, False, (True, True)), (2, 2, True, (True, True)), (2, 1, True, (False, True))],
)
def test_agrees_on_stateful_sets(
    policy: str, replicas: int, count: int, apart: bool, expected: tuple[bool, bool]
) -> None:
    made = numbered(replicas, apart=apart, kind=StatefulSet, podManagementPolicy=policy)
    assert agree(made, count, 1) == expected


@pytest.mark.parametrize(
    ("rolling", "apart", "expected"),
    [
        ({"maxUnavailable": 1}, False, (True, True)),
        ({"maxSurge": 1, "maxUnavailable": 0}, False, (True, True)),
        ({"maxSurge": 1, "maxUnavailable": 0}, True, (False, True)),
    ],
)
def test_agrees_on_daemon_sets(rolling: dict[str, int], apart: bool, expected: tuple[bool, bool]) -> None:
    """A surge pod of a set whose pods keep apart finds its node taken by the one that it is to replace."""
    made = numbered(1, apart=apart, kind=DaemonSet, updateStrategy={"rollingUpdate": rolling})
    assert agree(made, 2, rolling["maxUnavailable"]) == expected
