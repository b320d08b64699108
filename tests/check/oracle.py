"""A deliberately dumb explorer of rollouts: named pods, no interning, no symmetry, no memory; and random small systems.

It shares with the checker what is asked about (the controllers, the scheduler, `relations.observe`) and the assumptions
that a verdict names; states, the execution of writes, what a container does and the judgement are its own. Its endless
runs are states from which the goal cannot be reached, which needs no notion of fairness.

    python -m tests.check.oracle --seed 1 --count 10000      # tells every difference, and how many were compared
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from seatrial.check import machines
from seatrial.check.budget import Budget
from seatrial.check.machines import ordinary
from seatrial.check.runs import quotas, rolling
from seatrial.check.runs.rollouts import KINDS, RESTARTED, ROLLBACK, UPGRADE, Revision, Setting, Workload
from seatrial.control import admission, relations, scheduler
from seatrial.control.controller import Controller
from seatrial.control.manager import CONTROLLERS
from seatrial.control.writes import Create, Delete, Update, UpdateStatus, Write
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Node,
    Object,
    Pod,
    PodStatus,
    ReplicaSet,
    ResourceQuota,
    StatefulSet,
    canonical,
    parse_as,
)

NOW: Final = datetime(2020, 5, 17, tzinfo=UTC)
WORKLOADS: Final = (Deployment, StatefulSet, DaemonSet)
_NAMES: Final = {name for kind in KINDS.values() for name in kind.controllers}
_ACTING: Final[dict[type[Object], Controller]] = {each.subject: each for each in CONTROLLERS if each.name in _NAMES}
STEP: Final = "step"
"""The label of a workload that counts the user's changes."""


def _status(ready: str) -> PodStatus:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2020-05-16T00:00:00Z"}
    return parse_as(PodStatus, {"phase": "Running", "conditions": [condition]})


RUNNING: Final = _status("True")
CRASHED: Final = _status("False")

Cluster = dict[str, Object]
"""Objects by kind and name."""


class TooLargeError(Exception):
    """More states than a dumb explorer should look at."""


@dataclass(frozen=True)
class Case:
    workload: Workload
    nodes: tuple[Node, ...]
    plan: tuple[Revision, ...] = UPGRADE
    most_pods: int | None = None
    """What a quota allows."""
    told: str = ""

    @property
    def wanted(self) -> int:
        return len(self.nodes) if isinstance(self.workload, DaemonSet) else self.workload.spec.replicas or 0


@dataclass(frozen=True)
class Answers:
    ends: bool
    keeps_enough: bool
    keeps_some: bool
    stays_spread: bool


def place(obj: Object) -> str:
    return f"{obj.kind}/{obj.metadata.name}"


def of(cluster: Cluster, kind: type[Object] | tuple[type[Object], ...]) -> list[Any]:
    return [obj for obj in cluster.values() if isinstance(obj, kind)]


def is_up(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None and pod.status == RUNNING


def mark(obj: Any) -> str:
    template = obj if isinstance(obj, Pod) else obj.spec.template
    return template.metadata.annotations.get(RESTARTED) or ""


def step(workload: Any) -> int:
    return int(workload.metadata.labels.get(STEP, "0"))


def execute(cluster: Cluster, writes: tuple[Write, ...], most_pods: int | None) -> Cluster:
    after = dict(cluster)
    for write in writes:
        if isinstance(write, Create):
            obj: Any = write.object
            if isinstance(obj, Pod) and most_pods is not None and len(of(after, Pod)) >= most_pods:
                continue
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


def decided(cluster: Cluster, subject: Object, case: Case) -> Cluster:
    objects: dict[type[Object], list[Any]] = {Node: list(case.nodes)}
    for obj in cluster.values():
        objects.setdefault(type(obj), []).append(obj)
    controller = _ACTING[type(subject)]
    seen = relations.observe(controller, subject, objects, NOW)
    return execute(cluster, controller.reconcile(seen).writes, case.most_pods)


def is_complete(cluster: Cluster, wanted: int) -> bool:
    (workload,) = of(cluster, WORKLOADS)
    if not isinstance(workload, Deployment):
        pods = of(cluster, Pod)
        return len(pods) == wanted and all(is_up(pod) and mark(pod) == mark(workload) for pod in pods)
    new = [rs for rs in of(cluster, ReplicaSet) if mark(rs) == mark(workload)]
    every = of(cluster, ReplicaSet)
    return bool(
        sum(rs.status.replicas for rs in new)
        == sum(rs.status.replicas for rs in every)
        == sum(rs.status.available_replicas for rs in every)
        == wanted
    )


def successors(cluster: Cluster, case: Case) -> Iterator[Cluster]:
    (workload,) = of(cluster, WORKLOADS)
    yield decided(cluster, workload, case)
    for replica_set in of(cluster, ReplicaSet):
        yield decided(cluster, replica_set, case)
    pods = of(cluster, Pod)
    works = {revision.mark: revision.works for revision in case.plan}
    for pod in pods:
        rest = {key: obj for key, obj in cluster.items() if obj is not pod}
        if not pod.spec.node_name:
            there = [other for other in pods if other.spec.node_name]
            for name in scheduler.schedule(pod, case.nodes, there).best:
                yield {**rest, place(pod): replace(pod, spec=replace(pod.spec, node_name=name))}
        elif pod.metadata.deletion_timestamp is not None:
            yield rest
        elif not is_up(pod):
            yield {**rest, place(pod): replace(pod, status=RUNNING if works.get(mark(pod), True) else CRASHED)}
    made = step(workload)
    if made < len(case.plan) and (made or is_complete(cluster, case.wanted)):
        template = case.plan[made].marked(workload.spec.template)
        labels = {**workload.metadata.labels, STEP: str(made + 1)}
        told = replace(workload.metadata, generation=workload.metadata.generation + 1, labels=labels)
        changed = replace(workload, spec=replace(workload.spec, template=template), metadata=told)
        yield {**cluster, place(workload): changed}


def key(cluster: Cluster) -> bytes:
    return b"\n".join(canonical(cluster[name]) for name in sorted(cluster))


def explore(case: Case, most_states: int) -> dict[bytes, tuple[Cluster, set[bytes]]]:
    """Every state, with those from which it is reached in one move."""
    first: Cluster = {place(case.workload): case.workload}
    found: dict[bytes, tuple[Cluster, set[bytes]]] = {key(first): (first, set())}
    queue = list(found)
    for here in queue:
        for after in successors(found[here][0], case):
            there = key(after)
            if there == here:
                continue
            if there not in found:
                found[there] = (after, set())
                queue.append(there)
            found[there][1].add(here)
        if len(found) > most_states:
            raise TooLargeError
    return found


def answers(case: Case, missing: int, most_states: int) -> Answers:
    """`missing`: so many pods may be unavailable during a rollout."""
    found = explore(case, most_states)
    rolls = [cluster for cluster, _ in found.values() if step(of(cluster, WORKLOADS)[0])]
    good = [
        here
        for here, (cluster, _) in found.items()
        if step(of(cluster, WORKLOADS)[0]) == len(case.plan) and is_complete(cluster, case.wanted)
    ]
    spread = all(_is_spread(found[here][0], case) for here in good)
    reaches = set(good)
    for here in good:
        for before in found[here][1] - reaches:
            reaches.add(before)
            good.append(before)
    up = [sum(is_up(pod) for pod in of(cluster, Pod)) for cluster in rolls]
    least = min(up, default=case.wanted)
    return Answers(len(reaches) == len(found), least >= case.wanted - missing, least > 0, spread)


def _is_spread(cluster: Cluster, case: Case) -> bool:
    pods = [pod for pod in of(cluster, Pod) if pod.metadata.deletion_timestamp is None]
    rules = case.workload.spec.template.spec.topology_spread_constraints
    for rule in rules:
        on = [sum(pod.spec.node_name == node.metadata.name for pod in pods) for node in case.nodes]
        if max(on) - min(on) > rule.max_skew:
            return False
    return True


def checked(case: Case) -> Answers:
    """What the checker says."""
    found = rolling.run(Setting(case.workload, case.nodes, case.plan, quotas=quota(case)), Budget(states=100_000))
    assert found.graph.complete
    return Answers(found.endless is None, found.short is None, found.outage is None, found.skewed is None)


def quota(case: Case) -> tuple[ResourceQuota, ...]:
    if case.most_pods is None:
        return ()
    raw = {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"pods": str(case.most_pods)}}}
    return (quotas.counting(parse_as(ResourceQuota, raw), ()),)


# Random systems


def workload(
    kind: type[Object],
    replicas: int,
    *,
    strategy: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    **spec: Any,
) -> Workload:
    update = "strategy" if kind is Deployment else "updateStrategy"
    raw = {
        "apiVersion": "apps/v1",
        "kind": kind.kind,
        "metadata": {"name": "web", "namespace": "default", "uid": "web", "generation": 1},
        "spec": {
            **({} if kind is DaemonSet else {"replicas": replicas}),
            **({"serviceName": "web"} if kind is StatefulSet else {}),
            "selector": {"matchLabels": {"app": "web"}},
            **({update: strategy} if strategy else {}),
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}], **(pod or {})},
            },
            **spec,
        },
    }
    made = parse_as(kind, admission.admit(raw, version="1.37"))
    assert isinstance(made, Deployment | StatefulSet | DaemonSet)
    return made


APART: Final = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
PODS: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "apart": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [APART]}}},
    "together": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [APART]}}},
    "spread": {"topologySpreadConstraints": [{**APART, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]},
    "spread by revision": {
        "topologySpreadConstraints": [
            {**APART, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["pod-template-hash"]}
        ]
    },
    "large": {"containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "1800m"}}}]},
    "port": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
}
"""How pods may stand to each other; of the large ones two fit on a node."""


def case(source: random.Random) -> Case:
    kinds: list[type[Deployment] | type[StatefulSet] | type[DaemonSet]] = [Deployment, StatefulSet, DaemonSet]
    kind = source.choice([Deployment, *kinds])
    replicas = source.choice([1, 1, 2, 2, 3])
    nodes = tuple(ordinary(index) for index in range(source.choice([1, 1, 2, 2, 3])))
    how = source.choice(["plain", "plain", *PODS])
    plan = source.choice([UPGRADE, UPGRADE, ROLLBACK])
    most = source.choice([None, None, None, replicas, replicas + 1])
    spec: dict[str, Any] = {}
    strategy: dict[str, Any] = {}
    if kind is Deployment:
        surge, missing = source.choice([(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)])
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}
        if source.random() < 0.15:
            strategy = {"type": "Recreate"}
    elif kind is StatefulSet:
        spec["podManagementPolicy"] = source.choice(["OrderedReady", "Parallel"])
        how = "plain" if how == "spread by revision" else how
    else:
        surge, missing = source.choice([(0, 1), (1, 0), (0, 2)])
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}
        how, most = source.choice(["plain", "apart", "large", "port"]), None
    made = workload(kind, replicas, strategy=strategy, pod=PODS[how], **spec)
    told = f"{kind.__name__} x{replicas} {strategy} {spec} {how} on {len(nodes)}, quota {most}, {len(plan)} changes"
    return Case(made, nodes, plan, most, told)


def difference(source: random.Random, most_states: int) -> str | None:
    """What the two say of a random system if it is not the same; raises `TooLargeError`."""
    made = case(source)
    expected = answers(made, machines.resolved_unavailable(made.workload, made.wanted), most_states)
    found = checked(made)
    return None if found == expected else f"{made.told}: the dumb explorer says {expected}, the checker {found}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--states", type=int, default=400, help="systems of more are left out")
    given = parser.parse_args()
    different = large = 0
    started = time.perf_counter()
    for number in range(given.count):
        try:
            told = difference(random.Random(f"{given.seed}/{number}"), given.states)
        except TooLargeError:
            large += 1
            continue
        if told is not None:
            different += 1
            print(f"{given.seed}/{number}: {told}", flush=True)
        if number % 500 == 499:
            print(f"{number + 1} made, {large} too large, {different} different", flush=True)
    took = time.perf_counter() - started
    print(f"{given.count} made, {large} too large, {given.count - large} compared, {different} different, {took:.0f} s")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
