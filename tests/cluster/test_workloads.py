"""StatefulSets, DaemonSets and ReplicationControllers in a whole simulated cluster, under kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import Machine

MANIFESTS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: "db:1"}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: agent, image: "agent:1"}]}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template: {metadata: {labels: {app: old}}, spec: {containers: [{name: old, image: "old:1"}]}}
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.seatrial("down", "--images")


def test_rollouts_end_and_undo_restores_the_template_before(machine: Machine) -> None:
    machine.manifests.write_text(MANIFESTS)
    machine.seatrial("up", str(machine.manifests), "--simulate", "--nodes", "2", "--no-check")
    for workload in ("statefulset/db", "daemonset/agent"):
        machine.kubectl("rollout", "status", workload, "--timeout=60s")
        name = workload.partition("/")[2]
        machine.kubectl("set", "image", workload, f"{name}={name}:2")
        machine.kubectl("rollout", "status", workload, "--timeout=60s")
        machine.kubectl("rollout", "undo", workload)
        machine.kubectl("rollout", "status", workload, "--timeout=60s")
        images = machine.kubectl(
            "get", "pods", "-l", f"app={name}", "-o", "jsonpath={.items[*].spec.containers[*].image}"
        )
        assert set(images.split()) == {f"{name}:1"}
    assert machine.kubectl("get", "pods", "-l", "app=db", "-o", "name").split() == ["pod/db-0", "pod/db-1", "pod/db-2"]
    nodes = machine.kubectl("get", "pods", "-l", "app=agent", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert len(set(nodes)) == len(nodes) == 2
    machine.kubectl("wait", "replicationcontroller/old", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")
