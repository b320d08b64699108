"""The model's reductions change no answer, and its size is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seatrial import project
from seatrial.check import explore, judge
from seatrial.check.budget import Budget
from seatrial.check.machines import ordinary
from seatrial.check.runs import rolling
from seatrial.check.runs.rollouts import Rollout, Setting
from seatrial.check.verdicts import Answer, Covered, Verdict
from seatrial.control import admission
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import Deployment, Pod, parse_as
from seatrial.testing import Cluster


def asked(replicas: int, surge: int, missing: int, *, nodes: int = 2, reduced: bool = True, **spec: Any) -> Setting:
    raw = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}],
                },
            },
            **spec,
        },
    }
    machines = tuple(ordinary(index) for index in range(nodes))
    names = frozenset() if reduced else frozenset(node.metadata.name for node in machines)
    deployment = parse_as(Deployment, admission.admit(raw, version="1.37"))
    return Setting(deployment, machines, named_nodes=names, collapses=reduced, reduces=reduced)


@pytest.mark.parametrize(("replicas", "surge", "missing"), [(1, 1, 0), (2, 1, 0), (2, 0, 1), (2, 1, 1)])
def test_reductions_change_no_answer(replicas: int, surge: int, missing: int) -> None:
    """With every node told from every other and nothing taken together, the answers are the same from more states."""
    small = rolling.run(asked(replicas, surge, missing), Budget(states=100_000))
    large = rolling.run(asked(replicas, surge, missing, reduced=False), Budget(states=100_000))
    assert small.graph.complete
    assert large.graph.complete
    assert (small.endless is None, small.short is None) == (large.endless is None, large.short is None) == (True, True)
    assert len(small.graph.states) < len(large.graph.states)
    assert small.rolls > 0
    assert small.ends > 0


def test_the_rollout_of_eight_replicas_has_a_known_number_of_states() -> None:
    graph = explore.explore(Rollout(asked(8, 2, 2, nodes=3)).model, max_states=100_000)
    assert (graph.complete, len(graph.states), graph.transitions) == (True, 3296, 7602)


def test_pods_count_only_after_their_minimum_ready_time() -> None:
    found = rolling.run(asked(2, 1, 0, minReadySeconds=10), Budget(states=100_000))
    assert found.endless is None
    assert found.short is None
    assert found.ends > 0


STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: "db:1", volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
"""
AGENT = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: agent, image: "agent:1", ports: [{containerPort: 9100, hostPort: 9100}]}]
"""
QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata: {name: pods}
spec: {hard: {pods: "4"}}
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec: {containers: [{name: other, image: "other:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "web:1"}]
"""
NODES = "".join(f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{number}}}\n" for number in range(3))


def verdicts(tmp_path: Path, text: str) -> dict[str, Verdict]:
    (tmp_path / "system.yaml").write_text(text + NODES)
    report = judge.judge(project.load([tmp_path]), ["rollout/*"])
    return {verdict.property: verdict for verdict in report.verdicts}


def test_a_stateful_set_rolls_out_one_pod_at_a_time_with_its_claims_taken_as_bound(tmp_path: Path) -> None:
    found = verdicts(tmp_path, STATEFUL)
    assert found["rollout/converges"].verdict is found["rollout/available"].verdict is Answer.PROVED
    assert found["rollout/converges"].covered == Covered(states=27, transitions=26)
    assert "storage/binds" in found["rollout/converges"].assumptions
    assert found["rollout/available"].message.startswith("at least 2 of 3 pods stay available")


def test_a_daemon_set_whose_surge_pod_needs_the_old_ones_port_never_rolls_out(
    tmp_path: Path,
) -> None:
    """The new pod waits for the port, the old one is not taken away before the new one is ready."""
    found = verdicts(tmp_path, AGENT)
    endless = found["rollout/converges"]
    assert endless.verdict is Answer.REFUTED
    assert endless.message.startswith("the first install works, but the next rollout never ends")
    assert "didn't have free ports" in endless.message
    assert [step.actor for step in endless.trace][:3] == ["User", "User", "DaemonSet controller"]
    assert endless.trace[-1].actor == "Nobody"


def test_an_ordered_stateful_set_cannot_take_back_a_rollout_that_crashes(tmp_path: Path) -> None:
    """The documented need for a forced rollback: the broken pod is waited for, whatever the template says by now."""
    stuck = verdicts(tmp_path, STATEFUL)["rollout/rollback"]
    assert stuck.verdict is Answer.REFUTED
    assert stuck.message.endswith("2 old pods ready, 1 broken pod crashing")
    assert [step.actor for step in stuck.trace].count("User") == 3
    assert stuck.trace[-1].actor == "Nobody"
    assert len(stuck.trace) <= 10
    (repair,) = stuck.repairs
    assert (repair.verdict, repair.edits[0].path, repair.edits[0].to) == (
        Answer.PROVED,
        "spec.podManagementPolicy",
        "Parallel",
    )


def test_the_repaired_set_takes_it_back(tmp_path: Path) -> None:
    parallel = STATEFUL.replace("  replicas: 3\n", "  replicas: 3\n  podManagementPolicy: Parallel\n")
    assert verdicts(tmp_path, parallel)["rollout/rollback"].verdict is Answer.PROVED


@pytest.mark.parametrize(("policy", "ready"), [("OrderedReady", 2), ("Parallel", 3)])
def test_the_simulated_cluster_does_what_was_found(policy: str, ready: int) -> None:
    text = STATEFUL.replace("  replicas: 3\n", f"  replicas: 3\n  podManagementPolicy: {policy}\n")
    with Cluster(nodes=3) as cluster:
        cluster.behave("version=broken", pull_failures=-1)
        cluster.apply(text)
        assert cluster.settle()
        cluster.apply(text.replace("labels: {app: db}}", "labels: {app: db, version: broken}}"))
        cluster.advance(300)
        cluster.apply(text.replace("labels: {app: db}}", "labels: {app: db, version: null}}"))
        cluster.advance(3600)
        pods = cluster.list(Pod)
        assert sum(is_ready(pod) for pod in pods) == ready
        assert ["version" in pod.metadata.labels for pod in pods].count(True) == 3 - ready


def test_a_quota_without_room_for_a_surge_pod_stops_every_rollout(tmp_path: Path) -> None:
    """Three pods and one of somebody else fill the quota of four; the repairs do with the room there is."""
    endless = verdicts(tmp_path, QUOTA)["rollout/converges"]
    assert endless.verdict is Answer.REFUTED
    assert "the first install works, but the next rollout never ends: 3 old pods ready" in endless.message
    assert "exceeded quota: pods, requested: pods=1, used: pods=4, limited: pods=4" in endless.message
    assert len(endless.trace) == 5
    assert [edit.path for edit in endless.repairs[0].edits] == ["spec.strategy.rollingUpdate.maxUnavailable"]
    room = verdicts(tmp_path, QUOTA.replace('pods: "4"', 'pods: "5"'))
    assert {verdict.verdict for verdict in room.values()} == {Answer.PROVED}


@pytest.mark.parametrize(("hard", "updated"), [(4, 0), (5, 3)])
def test_the_simulated_cluster_stops_at_the_same_quota(hard: int, updated: int) -> None:
    with Cluster(nodes=3) as cluster:
        cluster.apply(QUOTA.replace('pods: "4"', f'pods: "{hard}"'))
        assert cluster.settle()
        cluster.apply(QUOTA.replace('pods: "4"', f'pods: "{hard}"').replace("web:1", "web:2"))
        cluster.advance(900)
        deployment = cluster.get(Deployment, "web")
        assert deployment is not None
        assert deployment.status.updated_replicas == updated
        assert deployment.status.available_replicas == 3
