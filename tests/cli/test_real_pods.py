"""What a pod can ask of its node, with real containers: volumes, probes that run a command, hooks, grace, limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.machines import Machine

pytestmark = pytest.mark.privileged

POD = """\
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: barnacle}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: pod}}
spec:
  terminationGracePeriodSeconds: 2
  initContainers:
    - name: first
      image: web:1
      command: [/bin/busybox, sh, -c, "echo made by the init container > /scratch/made"]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
  containers:
    - name: main
      image: web:1
      command: [/bin/busybox, sh, -c]
      args:
        - |
          trap 'echo will not stop' TERM
          echo $WORD $(/bin/busybox cat /secret/word /settings/color /scratch/made) $(GREETING)
          while true; do /bin/busybox sleep 1; done
      env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: GREETING, value: "hello from $(NAME)"}
        - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
      volumeMounts:
        - {name: secret, mountPath: /secret, readOnly: true}
        - {name: settings, mountPath: /settings}
        - {name: scratch, mountPath: /scratch}
      readinessProbe:
        exec: {command: [/bin/busybox, test, -f, /scratch/made]}
        periodSeconds: 1
      lifecycle:
        preStop: {exec: {command: [/bin/busybox, touch, /scratch/stopping]}}
    - name: hungry
      image: web:1
      command: [/bin/busybox, sh, -c, "/bin/busybox tail /dev/zero"]
      resources: {limits: {memory: 16Mi}}
  volumes:
    - {name: secret, secret: {secretName: password}}
    - {name: settings, configMap: {name: settings}}
    - {name: scratch, emptyDir: {}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("pods"))
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


def status(machine: Machine, container: str, path: str) -> str:
    where = f'{{.status.containerStatuses[?(@.name=="{container}")].{path}}}'
    return machine.kubectl("get", "pod", "pod", "-o", f"jsonpath={where}")


def test_a_pod_gets_what_it_asks_for_and_is_ended_by_force_after_its_grace(machine: Machine) -> None:
    assert comes(lambda: status(machine, "main", "ready") == "true"), "the exec probe never succeeded"
    said = machine.kubectl("logs", "pod", "-c", "main")
    assert said.strip() == "barnacle barnacleredmade by the init container hello from pod"

    assert comes(lambda: status(machine, "hungry", "lastState.terminated.reason") == "OOMKilled"), machine.kubectl(
        "get", "pod", "pod", "-o", "yaml"
    )
    assert comes(lambda: "CrashLoopBackOff" in status(machine, "hungry", "state.waiting.reason"))

    began = time.monotonic()
    machine.kubectl("delete", "pod", "pod", "--timeout=30s")
    took_s = time.monotonic() - began
    assert took_s >= 2, "the container ignores SIGTERM, so its grace must have been waited for"
    assert machine.kubectl("get", "pods", "-o", "name") == ""
    events = machine.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"Killing", "BackOff", "Started"} <= set(events)
