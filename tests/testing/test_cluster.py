"""The fixture's own words: time, behaviour and faults."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from seatrial.kube.objects import Deployment, Node, Pod
from seatrial.server.errors import StatusError
from seatrial.server.pki import Pki
from seatrial.testing import Cluster, NodeShape
from tests.testing.test_clients import WEB

pytest_plugins = ["pytester"]


def test_time_stands_still_until_it_is_told_to_pass(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(WEB)
    (first, _) = seatrial_cluster.list(Pod)
    assert (first.status.phase, first.spec.node_name) == ("Pending", "node-1"), "scheduled at once, not started"
    began = seatrial_cluster.now()
    seatrial_cluster.advance(90)
    assert (seatrial_cluster.now() - began).total_seconds() == 90
    assert {pod.status.phase for pod in seatrial_cluster.list(Pod)} == {"Running"}


@pytest.mark.seatrial(nodes=[NodeShape("big", {"cpu": "8", "memory": "8Gi", "pods": "20"}, {"disk": "ssd"})])
def test_nodes_have_the_shape_that_the_marker_gives_them(seatrial_cluster: Cluster) -> None:
    (node,) = seatrial_cluster.list(Node)
    assert (node.metadata.name, node.metadata.labels["disk"]) == ("big", "ssd")
    assert str(node.status.allocatable["cpu"]) == "8"
    assert node.metadata.labels["kubernetes.io/hostname"] == "big"


def test_the_last_behaviour_that_meets_a_container_counts(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave("app=web", start_s=5)
    seatrial_cluster.behave("app=web", exits_after_s=2, exit_code=3)
    seatrial_cluster.behave("app=other", start_s=500)
    seatrial_cluster.apply(WEB)
    seatrial_cluster.advance(120)
    for pod in seatrial_cluster.list(Pod, labels="app=web"):
        (status,) = pod.status.container_statuses
        assert status.restart_count >= 3
        assert status.last_state is not None
        assert status.last_state.terminated is not None
        assert status.last_state.terminated.exit_code == 3
    assert any("BackOff" in event for event in seatrial_cluster.events())


def test_a_crash_is_restarted(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(WEB)
    seatrial_cluster.settle()
    pod = seatrial_cluster.list(Pod)[0]
    seatrial_cluster.crash(pod.metadata.name, exit_code=7)
    assert seatrial_cluster.settle()
    again = seatrial_cluster.get(Pod, pod.metadata.name)
    assert again is not None
    assert again.status.container_statuses[0].restart_count == 1
    with pytest.raises(LookupError, match="no container"):
        seatrial_cluster.crash("nobody")


@pytest.mark.seatrial(nodes=3)
def test_pods_of_a_lost_node_come_back_elsewhere(seatrial_cluster: Cluster) -> None:
    """Unreachable for 40 s and tolerated for 300 s (taint-based eviction), then replaced."""
    seatrial_cluster.apply(WEB)
    seatrial_cluster.settle()
    lost = seatrial_cluster.list(Pod)[0].spec.node_name
    seatrial_cluster.fail_node(lost)
    seatrial_cluster.advance(600)
    web = seatrial_cluster.get(Deployment, "web")
    assert web is not None
    assert web.status.available_replicas == 2
    alive = [pod for pod in seatrial_cluster.list(Pod) if pod.metadata.deletion_timestamp is None]
    assert lost not in {pod.spec.node_name for pod in alive}
    seatrial_cluster.restore_node(lost)
    seatrial_cluster.advance(60)
    assert len(seatrial_cluster.list(Pod)) == 2


def test_requests_are_answered_while_time_flows_and_nothing_is_due(seatrial_cluster: Cluster) -> None:
    spec = {**WEB["spec"]["template"]["spec"], "nodeSelector": {"disk": "none"}}
    template = {**WEB["spec"]["template"], "spec": spec}
    seatrial_cluster.apply({**WEB, "spec": {**WEB["spec"], "template": template}})
    with seatrial_cluster.flowing():
        assert {pod.spec.node_name for pod in seatrial_cluster.list(Pod)} == {""}


def test_a_node_that_meets_a_conflict_reports_again(seatrial_cluster: Cluster) -> None:
    def ready() -> str:
        node = seatrial_cluster.get(Node, "node-1")
        assert node is not None
        return next(each.status for each in node.status.conditions if each.type == "Ready")

    seatrial_cluster.fail_node("node-1")
    seatrial_cluster.advance(60)
    assert ready() == "Unknown"
    seatrial_cluster.conflict("patch", "Node", times=2)
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(1)
    assert ready() == "True"


def test_a_cluster_may_end_while_a_node_is_lost(seatrial_pki: Pki) -> None:
    with Cluster(pki=seatrial_pki) as cluster:
        cluster.fail_node("node-1")


def test_refused_creations_are_tried_again_with_growing_pauses_until_they_get_through(
    seatrial_cluster: Cluster,
) -> None:
    """client-go's rate limiter: 5 ms, doubling; so ten refusals are over after about 5 s."""
    with seatrial_cluster.refuse("create", "Pod", message="no pods today") as refusal:
        seatrial_cluster.apply(WEB)
        seatrial_cluster.advance(4)
        early = refusal.refused
        assert 8 <= early <= 12
        seatrial_cluster.advance(60)
        assert early < refusal.refused <= early + 5
    assert seatrial_cluster.list(Pod) == ()
    seatrial_cluster.advance(150)
    assert len(seatrial_cluster.list(Pod)) == 2


def test_an_injected_error_and_an_injected_conflict_are_met_once(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.refuse("get", "Deployment", code=503, reason="ServiceUnavailable", times=1)
    seatrial_cluster.conflict("patch", "Deployment", name="web")
    seatrial_cluster.apply(WEB)
    with pytest.raises(StatusError) as unavailable:
        seatrial_cluster.raw("apps/v1", "Deployment", "web")
    assert unavailable.value.code == 503
    assert seatrial_cluster.settle(), "a controller that meets a conflict looks again"


def test_a_controller_that_lags_acts_late(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.delay("replicaset-controller", 20)
    seatrial_cluster.apply(WEB)
    seatrial_cluster.advance(19)
    assert seatrial_cluster.list(Pod) == ()
    seatrial_cluster.advance(2)
    assert len(seatrial_cluster.list(Pod)) == 2
    with pytest.raises(LookupError, match="replicaset-controller"):
        seatrial_cluster.delay("replica-set", 1)


def test_manifests_come_as_text_files_and_directories(seatrial_cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {x: y}\n"
    )
    seatrial_cluster.apply(tmp_path)
    seatrial_cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {z: y}\n")
    assert seatrial_cluster.raw("v1", "ConfigMap", "b")["data"] == {"x": "y", "z": "y"}


def test_the_same_seed_gives_the_same_names_and_another_one_others() -> None:
    def names(seed: int) -> list[str]:
        with Cluster(seed=seed) as cluster:
            cluster.apply(WEB)
            cluster.settle()
            return [f"{pod.metadata.name} {pod.metadata.uid}" for pod in cluster.list(Pod)]

    assert names(1) == names(1) != names(2)


def test_a_cluster_is_ready_soon(seatrial_cluster: Cluster) -> None:
    """The bar is 0.3 s; `bench/fixture.py` measures it, this only notices when it is far off."""
    began = time.process_time()
    with Cluster(pki=seatrial_cluster._pki):
        pass
    assert time.process_time() - began < 1.0


def test_the_fixture_is_there_for_those_who_install_the_package(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(seatrial_cluster): assert seatrial_cluster.server.startswith('https://')")
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)
