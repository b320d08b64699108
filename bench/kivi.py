"""Shapes of failures that others verify, at three sizes: how long a check of the whole system takes.

Of each shape a system that fails and its repaired twin, as manifests; every property that asks about it is asked. The
figure is CPU time of one process, reading the files and imports of what is asked included; the bars are seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SIZES = {3: 1.0, 20: 1.0, 100: 5.0}
"""Nodes, and seconds."""
MEASURE = """
import sys, time
from seatrial import project
from seatrial.check import judge
report = judge.judge(project.load([sys.argv[1]]), sys.argv[2].split(","))
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


SHAPES: dict[str, tuple[str, Callable[[int, bool], str]]] = {
    "maintenance, then a failure": ("schedule/*,drain/*", maintenance),
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
