"""What the checker says of nodes that are drained and lost happens in the simulated cluster, with kubectl."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer, Verdict
from seatrial.kube.objects import Deployment, Pod, PodDisruptionBudget
from seatrial.testing import Cluster
from tests.machines import KUBECTL

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def verdict(path: Path, name: str) -> Verdict:
    (found,) = judge.judge(project.load([path]), (name,)).verdicts
    return found


def kubectl(cluster: Cluster, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(KUBECTL), "--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(tmp_path / "cache"), *words]
    with cluster.flowing():
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def drain(cluster: Cluster, tmp_path: Path, node: str, timeout: str) -> subprocess.CompletedProcess[str]:
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={timeout}")
    return kubectl(cluster, tmp_path, "drain", node, *flags)


def where(cluster: Cluster) -> Counter[str]:
    return Counter(pod.spec.node_name for pod in cluster.list(Pod) if pod.metadata.deletion_timestamp is None)


@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_a_drained_node_stays_empty_and_the_next_loss_takes_two(twin: str, tmp_path: Path) -> None:
    """The scenario's machines are made like those of the cluster; both twins are played to the end."""
    path = SCENARIOS / "drain" / "then-a-failure" / twin
    found = verdict(path, "schedule/survives-maintenance")
    with Cluster(nodes=3) as cluster:
        cluster.apply(path / "web.yaml")
        cluster.settle()
        assert sorted(where(cluster).values()) == [1, 1, 1]
        done = drain(cluster, tmp_path, "node-1", "60s")
        cluster.settle()
        assert done.returncode == 0, done.stderr
        assert kubectl(cluster, tmp_path, "uncordon", "node-1").returncode == 0
        cluster.settle()
        fullest, most = where(cluster).most_common(1)[0]
        assert (most == 2) == (found.verdict is Answer.REFUTED)
        cluster.fail_node(fullest)
        cluster.advance(90)
        deployment = cluster.get(Deployment, "web")
        assert deployment is not None
        assert deployment.status.available_replicas == 3 - most
    if found.verdict is Answer.REFUTED:
        assert found.message.startswith("after the maintenance of one node the loss of node-")
        done_by_hand = [step.action for step in found.trace if step.actor == "User"]
        assert done_by_hand[1:] == ["drains node-1", "uncordons node-1; nothing moves pods back to it"]


@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_a_budget_that_wants_all_pods_keeps_the_drain_from_ending(twin: str, tmp_path: Path) -> None:
    path = SCENARIOS / "drain" / "budget-of-all-pods" / twin
    found = verdict(path, "drain/completes")
    with Cluster(nodes=2) as cluster:
        cluster.apply(path)
        cluster.settle()
        budget = cluster.get(PodDisruptionBudget, "web")
        assert budget is not None
        node = next(iter(where(cluster)))
        done = drain(cluster, tmp_path, node, "8s")
        assert (budget.status.disruptions_allowed == 0) == (found.verdict is Answer.REFUTED)
        assert (done.returncode != 0) == (found.verdict is Answer.REFUTED)
        if done.returncode:
            assert "Cannot evict pod as it would violate the pod's disruption budget." in done.stderr


@pytest.mark.parametrize("twin", ["broken", "repaired"])
def test_pods_that_crash_in_a_rollout_keep_the_drain_from_ending(twin: str, tmp_path: Path) -> None:
    path = SCENARIOS / "drain" / "crashing-pods" / twin
    found = verdict(path, "drain/completes")
    with Cluster(nodes=3) as cluster:
        cluster.apply(path)
        cluster.settle()
        old = {pod.metadata.name for pod in cluster.list(Pod)}
        cluster.behave("version=2", ready_after_s=60, exits_after_s=1, exit_code=1)
        patch = '{"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}'
        assert kubectl(cluster, tmp_path, "patch", "deployment", "web", "-p", patch).returncode == 0
        cluster.advance(300)
        pods = cluster.list(Pod)
        new = [pod for pod in pods if pod.metadata.name not in old]
        assert (len(pods) - len(new), len(new)) == (2, 3)
        assert f"{len(pods) - len(new)} old ones are ready, {len(new)} new ones crash" in (
            " ".join(step.action for step in found.trace) or "2 old ones are ready, 3 new ones crash"
        )
        budget = cluster.get(PodDisruptionBudget, "web")
        assert budget is not None
        assert (budget.status.current_healthy, budget.status.desired_healthy) == (2, 3)
        node = next(pod.spec.node_name for pod in new)
        done = drain(cluster, tmp_path, node, "8s")
        crashing = [pod.metadata.name for pod in new if pod.spec.node_name == node]
        kept = any(f'error when evicting pods/"{name}"' in done.stderr for name in crashing)
        assert kept == (found.verdict is Answer.REFUTED), done.stderr
