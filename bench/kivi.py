"""Shapes of failures that others verify, at three sizes: how long a check of the whole system takes.

Of each shape a system that fails and its repaired twin, as manifests; every property that asks about it is asked. The
figure is CPU time of one process, reading the files and imports of what is asked included; the bars are seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

JsonObject = dict[str, Any]

SIZES = {3: 1.0, 20: 1.0, 100: 5.0}
"""Nodes, and seconds."""
MEASURE = """
import sys, time
from seatrial import project
from seatrial.check import judge
report = judge.judgement(project.load([sys.argv[1]]), sys.argv[2].split(","), repairing=False).report
found = [v for v in report.verdicts if v.verdict.value == "refuted"] or report.verdicts
print(time.process_time(), found[0].property, found[0].verdict.value, max(len(v.trace) for v in report.verdicts))
"""


def nodes(count: int) -> str:
    return "".join(
        f"""---
apiVersion: v1
kind: Node
metadata: {{name: node-{index}, labels: {{kubernetes.io/hostname: node-{index}}}}}
status: {{allocatable: {{cpu: "4", memory: 16Gi, pods: "110"}}}}
"""
        for index in range(count)
    )


def maintenance(count: int, repaired: bool) -> str:
    """A pod for each node; one node is drained and let in again, another fails."""
    spread = (
        """      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: web}}
"""
        if repaired
        else ""
    )
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {count}
  strategy: {{rollingUpdate: {{maxUnavailable: 1}}}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
{spread}      containers:
        - {{name: web, image: registry.example/web:1, resources: {{requests: {{cpu: 100m, memory: 64Mi}}}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec:
  minAvailable: {count - 1}
  selector: {{matchLabels: {{app: web}}}}
{nodes(count)}"""


def node(name: str, cpu: str = "4", taints: Sequence[JsonObject] = (), **labels: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": cpu, "memory": "16Gi", "pods": "110"}},
    }


def deployment(replicas: int | None, cpu: str = "500m", *, probe: bool = True, **spec: Any) -> JsonObject:
    container: JsonObject = {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": cpu}}}
    if probe:
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": 80}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **spec}},
        },
    }


def autoscaler(most: int, window_s: int) -> JsonObject:
    target = {"type": "Utilization", "averageUtilization": 70}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window_s}},
        },
    }


def scaling(size: int, repaired: bool) -> str:
    """An autoscaler that may ask for twice as many pods as there are nodes, with and without a window."""
    nodes = [node(f"node-{number}") for number in range(size)]
    return yaml.safe_dump_all([*nodes, deployment(None), autoscaler(2 * size, 300 if repaired else 0)])


def descheduling(size: int, repaired: bool) -> str:
    """All nodes but one are large and preferred; the pods would like to be spread as well."""
    fast = {"key": "disk", "operator": "In", "values": ["ssd"]}
    preferred = [{"weight": 100, "preference": {"matchExpressions": [fast]}}]
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    workload = deployment(
        size,
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        topologySpreadConstraints=[spread],
    )
    soft = "DoNotSchedule" if repaired else "DoNotSchedule, ScheduleAnyway"
    name = "RemovePodsViolatingTopologySpreadConstraint"
    policy = (
        "apiVersion: descheduler/v1alpha2\nkind: DeschedulerPolicy\nprofiles:\n- name: default\n  pluginConfig:\n"
        f"  - name: {name}\n    args:\n      constraints: [{soft}]\n  plugins:\n    balance:\n      enabled: [{name}]\n"
    )
    holder = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "policy", "namespace": "kube-system"},
        "data": {"policy.yaml": policy},
    }
    large = [node(f"node-{number}", "16", disk="ssd") for number in range(size - 1)]
    return yaml.safe_dump_all([*large, node("node-small", "2"), workload, holder])


def naming(size: int, repaired: bool) -> str:
    """As many pods as nodes name one node, which has a NoExecute taint."""
    taint = {"key": "node.example/maintenance", "effect": "NoExecute"}
    nodes = [node("node-0", "64", [taint]), *(node(f"node-{number}") for number in range(1, size))]
    if repaired:
        where: JsonObject = {"nodeSelector": {"kubernetes.io/hostname": "node-0"}, "tolerations": [taint]}
    else:
        where = {"nodeName": "node-0"}
    return yaml.safe_dump_all([*nodes, deployment(size, **where)])


SHAPES: dict[str, tuple[str, Callable[[int, bool], str]]] = {
    "maintenance, then a failure": ("schedule/*,drain/*", maintenance),
    "an autoscaler that swings": ("scale/*", scaling),
    "a descheduler against preferences": ("evict/*", descheduling),
    "a taint against nodeName": ("evict/*", naming),
}
"""What is asked, and the manifests for so many nodes, failing or repaired."""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "system.yaml"
        for name, (asked, shape) in SHAPES.items():
            for count, bar_s in SIZES.items():
                for repaired in (False, True):
                    path.write_text(shape(count, repaired))
                    words = [sys.executable, "-c", MEASURE, str(path), asked]
                    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
                    what = "repaired" if repaired else "failing"
                    ratio = float(said[0]) / bar_s
                    print(
                        f"{name}, {count:>3} nodes, {what:<8} {float(said[0]):6.2f} s  bar {bar_s:g} s "
                        f" ratio {ratio:.2f}"
                        f"  {said[1]} {said[2]}, {said[3]} steps",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
