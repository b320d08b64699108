"""Starts: one order stands for all, and what is said of a start happens on the simulated cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial import project
from seatrial.check import explore, judge
from seatrial.check.machines import ordinary
from seatrial.check.reading import dependencies
from seatrial.check.reading.dependencies import Edge, Means, Need
from seatrial.check.reading.templates import templates
from seatrial.check.runs import starts
from seatrial.check.system import System
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import EndpointSlice, Pod, Service
from seatrial.testing import Cluster

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "start"


def loaded(tmp_path: Path, objects: list[dict[str, Any]] | str) -> System:
    (tmp_path / "system.yaml").write_text(objects if isinstance(objects, str) else yaml.safe_dump_all(objects))
    return project.load([tmp_path])


def grouped(system: System) -> starts.Group:
    pods = templates(system)
    edges = tuple(edge for edge in dependencies.edges(system) if edge.means is not Means.USES)
    return starts.Group(pods, edges, system.all(Service), (ordinary(0),))


def verdicts(system: System) -> dict[tuple[str, str], Verdict]:
    return {(each.property, each.subject): each for each in judge.judge(system, ["start/*"]).verdicts}


WORKLOADS = ("a", "b", "c")


@st.composite
def systems(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Two or three small workloads that wait for each other's Services, in init containers or by readiness."""
    names = WORKLOADS[: draw(st.integers(2, 3))]
    found: list[dict[str, Any]] = []
    for name in names:
        spec: dict[str, Any] = {"containers": [{"name": "app", "image": "app:1"}]}
        for number in range(draw(st.integers(0, 1))):
            other = draw(st.sampled_from(names))
            program = draw(st.sampled_from((f"nc -z {other} 80", f"nslookup {other}", f"nslookup {other}-0.{other}")))
            script = f"until {program}; do sleep 1; done"
            container = {"name": f"wait-{number}", "image": "busybox:1", "command": ["sh", "-c", script]}
            spec.setdefault("initContainers", []).append(container)
        if draw(st.booleans()):
            other = draw(st.sampled_from(names))
            spec["containers"][0]["readinessProbe"] = {"exec": {"command": ["nc", "-z", other, "80"]}}
        kind = draw(st.sampled_from(("Deployment", "StatefulSet", "StatefulSet", "Job")))
        template = {"metadata": {"labels": {"app": name}}, "spec": spec}
        body: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template}
        if kind == "Job":
            spec["restartPolicy"] = "Never"
            body = {"template": template}
        else:
            body["replicas"] = draw(st.integers(1, 2))
        if kind == "StatefulSet":
            body |= {"serviceName": name, "podManagementPolicy": draw(st.sampled_from(("OrderedReady", "Parallel")))}
        api = "batch/v1" if kind == "Job" else "apps/v1"
        found.append({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": body})
        service: dict[str, Any] = {"selector": {"app": name}, "ports": [{"port": 80}]}
        if draw(st.booleans()):
            service |= {"clusterIP": "None", "publishNotReadyAddresses": draw(st.booleans())}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service})
    return found


def up(model: Any, state: Any) -> tuple[str, ...]:
    pods = starts.pods(model, state)
    return tuple(sorted(starts.called(p) for p in pods if is_ready(p) or p.status.phase == "Succeeded"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(systems())
def test_every_order_ends_as_the_first_one(tmp_path_factory: pytest.TempPathFactory, objects: Any) -> None:
    group = grouped(loaded(tmp_path_factory.mktemp("start"), objects))
    model = starts.model(group)
    run = starts.first_run(model, 10_000)
    assert run.ended
    whole = starts.model(group, all_orders=True)
    graph = explore.explore(whole, max_states=1_500)
    wanted = up(model, run.last)
    for position, out in enumerate(graph.edges):
        if not out:
            assert up(whole, graph.states[position]) == wanted
    if graph.complete:
        assert explore.misses(graph, lambda state: up(whole, state) == wanted) is None


class Played:
    """A cluster whose containers wait as the edges say: each attempt looks at the endpoints that are there."""

    def __init__(self, cluster: Cluster, edges: tuple[Edge, ...]) -> None:
        self.cluster = cluster
        self.edges = edges

    def run(self, rounds: int = 8) -> None:
        for _ in range(rounds):
            for labels, container, means, met in list(self._conditions()):
                if means is Means.WAITS:
                    self.cluster.behave(labels, container=container, exits_after_s=1, exit_code=0 if met else 1)
                else:
                    self.cluster.behave(labels, container=container, ready_after_s=0 if met else 10**9)
            self.cluster.advance(60)

    def _conditions(self) -> Iterator[tuple[str, str, Means, bool]]:
        for edge in self.edges:
            labels = ",".join(f"{key}={value}" for key, value in edge.source.labels.items())
            yield labels, edge.container, edge.means, self._met(edge)

    def _met(self, edge: Edge) -> bool:
        service = self.cluster.get(Service, edge.target.name)
        if service is None:
            return False
        if edge.need is Need.NAME and service.spec.cluster_ip != "None":
            return True
        slices = self.cluster.list(EndpointSlice, labels=f"kubernetes.io/service-name={edge.target.name}")
        return any(end.conditions is None or end.conditions.ready for each in slices for end in each.endpoints)


@pytest.mark.parametrize("name", ["peers", "each-other", "missing-service"])
@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_the_simulated_cluster_starts_as_far(name: str, twin: str) -> None:
    system = project.load([SCENARIOS / name / twin])
    edges = tuple(edge for edge in dependencies.edges(system) if edge.means is not Means.USES)
    told = verdicts(system)
    with Cluster(nodes=1) as cluster:
        played = Played(cluster, edges)
        # before anything is there nothing is met
        for labels, container, means, _ in played._conditions():
            how: dict[str, Any] = (
                {"exits_after_s": 1, "exit_code": 1} if means is Means.WAITS else {"ready_after_s": 10**9}
            )
            cluster.behave(labels, container=container, **how)
        cluster.apply(SCENARIOS / name / twin)
        played.run()
        for template in templates(system):
            labels = ",".join(f"{key}={value}" for key, value in template.labels.items())
            pods = cluster.list(Pod, labels=labels)
            assert pods
            ready = told["start/converges", str(template.key)].verdict is Answer.PROVED
            assert all(is_ready(pod) == ready for pod in pods)


CIRCLE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  podManagementPolicy: OrderedReady
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        readinessProbe: {exec: {command: [sh, -c, "nc -z web-1.web 80"]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 80}]}
"""


def test_an_ordered_set_whose_first_pod_checks_the_second_never_starts(tmp_path: Path) -> None:
    """The second pod is not created before the first is ready, whatever DNS says."""
    found = verdicts(loaded(tmp_path, CIRCLE))
    assert found["start/dependencies", "StatefulSet default/web"].verdict is Answer.REFUTED
    parallel = verdicts(loaded(tmp_path, CIRCLE.replace("OrderedReady", "Parallel")))
    assert {each.verdict for each in parallel.values()} == {Answer.PROVED}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("nc -z web-1.web 80", "nc -z web-5.web 80"), "has no pod called web-5"),
        (("nc -z web-1.web 80", "nc -z web-api 81"), "has no port 81 (its ports: 80)"),
    ],
)
def test_what_is_never_there_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    other = """
---
apiVersion: v1
kind: Service
metadata: {name: web-api}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
    found = verdicts(loaded(tmp_path, CIRCLE.replace(*change).replace("OrderedReady", "Parallel") + other))
    told = found["start/dependencies", "StatefulSet default/web"]
    assert told.verdict is Answer.REFUTED
    assert message in told.message
    assert all(place.line for place in told.places)


def test_a_thousand_replicas_start_alike(tmp_path: Path) -> None:
    found = verdicts(
        loaded(tmp_path, CIRCLE.replace("replicas: 2", "replicas: 1000").replace("OrderedReady", "Parallel"))
    )
    told = found["start/converges", "StatefulSet default/web"]
    assert told.verdict is Answer.PROVED
    assert f"starts/alike={starts.ALIKE}" in told.assumptions


def test_who_waits_for_pods_that_nobody_asks_for_is_told_so(tmp_path: Path) -> None:
    other = CIRCLE.replace("name: web", "name: db").replace("app: web", "app: db").replace("replicas: 2", "replicas: 0")
    text = CIRCLE.replace("nc -z web-1.web 80", "nc -z db 80").replace("OrderedReady", "Parallel") + "---" + other
    told = verdicts(loaded(tmp_path, text))["start/dependencies", "StatefulSet default/web"]
    assert told.verdict is Answer.REFUTED
    assert "nobody asks for the pods behind Service default/db" in told.message


def test_a_service_that_selects_nobody_is_told_by_its_selector(tmp_path: Path) -> None:
    service = CIRCLE.partition("---")[2].replace("name: web", "name: db").replace("app: web", "app: db")
    text = CIRCLE.replace("nc -z web-1.web 80", "nc -z db 80").replace("OrderedReady", "Parallel") + "---" + service
    told = verdicts(loaded(tmp_path, text))["start/dependencies", "StatefulSet default/web"]
    assert "Service default/db has no pod that its selector matches" in told.message
    assert [place.path for place in told.places][1:] == ["spec.selector"]


def test_pods_that_their_own_selector_does_not_match_are_not_followed_for_ever(tmp_path: Path) -> None:
    text = CIRCLE.replace("kind: StatefulSet", "kind: ReplicaSet").replace("  podManagementPolicy: OrderedReady\n", "")
    text = text.replace("  serviceName: web\n", "").replace("matchLabels: {app: web}", "matchLabels: {app: other}")
    told = verdicts(loaded(tmp_path, text.replace("nc -z web-1.web 80", "true")))
    assert told["start/converges", "ReplicaSet default/web"].verdict is Answer.UNKNOWN
