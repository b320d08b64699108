"""A StatefulSet keeps its data, with real containers: the volume outlives the pod and goes with its claim."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machines import Machine

pytestmark = pytest.mark.privileged

DATABASE = """\
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {fsGroup: 2000}
      containers:
        - name: db
          image: web:1
          command: [/bin/busybox, sh, -c]
          args: ["echo started >> /data/log; /bin/busybox cat /data/log; while true; do /bin/busybox sleep 1; done"]
          securityContext: {runAsUser: 1000}
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("storage"))
    machine.web_image()
    machine.manifests.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n")
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


def test_data_outlives_the_pod_and_goes_with_the_claim(machine: Machine) -> None:
    def said() -> str:
        phase = machine.kubectl("get", "pods", "db-0", "-o", "jsonpath={.status.phase}", "--ignore-not-found")
        return machine.kubectl("logs", "db-0") if phase == "Running" else ""

    manifests = machine.directory / "db.yaml"
    manifests.write_text(DATABASE)
    machine.kubectl("apply", "-f", str(manifests))
    assert comes(lambda: machine.kubectl("get", "pvc", "-o", "name") == "persistentvolumeclaim/data-db-0\n")
    assert comes(lambda: said() == "started\n"), machine.kubectl("describe", "pvc,pod")
    claim = machine.kubectl("get", "pvc", "data-db-0", "-o", "jsonpath={.status.phase} {.spec.storageClassName}")
    assert claim == "Bound standard"
    place = Path(machine.kubectl("get", "pv", "-o", "jsonpath={.items[0].spec.local.path}"))
    assert (place / "log").read_text() == "started\n"
    assert place.stat().st_gid == 2000

    machine.kubectl("delete", "pod", "db-0")
    assert comes(lambda: said() == "started\nstarted\n"), "a new pod of the same name finds the data"

    machine.kubectl("delete", "statefulset", "db")
    assert comes(lambda: machine.kubectl("get", "pods", "-o", "name") == "")
    assert place.exists(), "the claim stays when its StatefulSet goes"
    machine.kubectl("delete", "pvc", "data-db-0")
    assert comes(lambda: machine.kubectl("get", "pv", "-o", "name") == "")
    assert comes(lambda: not place.exists())
