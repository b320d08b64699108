"""The rarer turns of a pod's life, with real containers: sidecars, ephemeral containers, resize, a second deletion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.machines import Machine

pytestmark = pytest.mark.privileged

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: pod}}
spec:
  terminationGracePeriodSeconds: 60
  initContainers:
    - name: side
      image: web:1
      restartPolicy: Always
      command: [/bin/busybox, sh, -c, "trap 'exit 0' TERM; while true; do /bin/busybox sleep 0.1; done"]
      lifecycle: {preStop: {sleep: {seconds: 1}}}
  containers:
    - name: main
      image: web:1
      command: [/bin/busybox, sh, -c, "trap '' TERM; while true; do /bin/busybox sleep 0.1; done"]
      resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 200m, memory: 32Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers:
    - {name: main, image: "web:1", command: [/bin/busybox, "true"]}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("life"))
    machine.web_image()
    machine.manifests.write_text(POD)
    try:
        machine.seatrial("up", str(machine.manifests))
        yield machine
    finally:
        machine.seatrial("down", "--images")


def comes(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def test_a_pod_is_debugged_resized_and_deleted_twice(machine: Machine) -> None:
    def shown(path: str, pod: str = "pod") -> str:
        return machine.kubectl("get", "pod", pod, "-o", f"jsonpath={{{path}}}")

    assert comes(lambda: shown(".status.phase", "once") == "Succeeded")
    assert comes(
        lambda: shown('.status.conditions[?(@.type=="PodReadyToStartContainers")].status', "once") == "False"
    ), "a finished pod gives its sandbox back"
    assert comes(lambda: shown('.status.conditions[?(@.type=="Ready")].status') == "True")

    sleeps = ("--", "/bin/busybox", "sleep", "300")
    machine.kubectl("debug", "pod", "--image=web:1", "--container=debugger", "--attach=false", *sleeps)
    assert comes(lambda: shown(".status.ephemeralContainerStatuses[0].state.running") != "")

    wanted = '{"requests":{"cpu":"150m","memory":"16Mi"},"limits":{"cpu":"400m","memory":"48Mi"}}'
    patch = f'{{"spec":{{"containers":[{{"name":"main","resources":{wanted}}}]}}}}'
    machine.kubectl("patch", "pod", "pod", "--subresource=resize", "--patch", patch)
    assert comes(lambda: shown(".status.containerStatuses[0].resources.limits.memory") == "48Mi")
    assert shown(".status.containerStatuses[0].restartCount") == "0"
    assert "ResizeCompleted" in machine.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")

    machine.kubectl("delete", "pod", "pod", "--wait=false")
    time.sleep(2)
    assert shown(".status.initContainerStatuses[0].state.running") != "", "the sidecar outlives what it serves"
    began = time.monotonic()
    machine.kubectl("delete", "pod", "pod", "--grace-period=1", "--timeout=30s")
    assert time.monotonic() - began < 20, "the second deletion shortened the first's grace"
