"""A StatefulSet keeps its data, with real containers: over its pods, a rollout, a node that takes nobody; and who may
not mount what.
"""

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
        machine.seatrial("up", str(machine.manifests), "--nodes", "2")
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


def test_a_rollout_keeps_the_data_and_the_pod_stays_with_it(machine: Machine) -> None:
    """Its volume is a directory of one node: while that node takes nobody the pod waits, and starts nowhere else."""
    manifests = machine.directory / "ledger.yaml"
    manifests.write_text(DATABASE.replace("db", "ledger"))

    def state() -> str:
        return machine.kubectl(
            "get", "pods", "ledger-0", "--ignore-not-found", "-o", "jsonpath={.status.phase} {.spec.nodeName}"
        )

    def said() -> str:
        return machine.kubectl("logs", "ledger-0") if state().startswith("Running") else ""

    machine.kubectl("apply", "-f", str(manifests))
    assert comes(lambda: said() == "started\n"), machine.kubectl("describe", "pvc,pod")
    before = machine.kubectl("get", "pods", "ledger-0", "-o", "jsonpath={.metadata.uid}")
    machine.kubectl("set", "env", "statefulset/ledger", "GENERATION=2")
    machine.kubectl("rollout", "status", "statefulset/ledger", "--timeout=30s")
    assert machine.kubectl("get", "pods", "ledger-0", "-o", "jsonpath={.metadata.uid}") != before
    assert comes(lambda: said() == "started\nstarted\n")

    node = state().split()[1]
    machine.kubectl("cordon", node)
    machine.kubectl("delete", "pod", "ledger-0")
    assert comes(lambda: state().strip() == "Pending")
    refused = "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) were unsched"
    assert comes(lambda: refused in machine.kubectl("describe", "pod", "ledger-0"))
    machine.kubectl("uncordon", node)
    assert comes(lambda: said() == "started\nstarted\nstarted\n")
    assert state() == f"Running {node}"
    machine.kubectl("delete", "-f", str(manifests))
    machine.kubectl("delete", "pvc", "data-ledger-0")


PODS = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: alone}
spec: {accessModes: [ReadWriteOncePod], resources: {requests: {storage: 10Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: first}
spec: &spec
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: web:1
      command: [/bin/busybox, sleep, "1000"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: alone}}]
"""
SECOND = PODS.partition("---\n")[2].replace("&spec", "").replace("first", "second")


def events_of(machine: Machine, pod: str) -> str:
    return machine.kubectl("get", "events", "--field-selector", f"involvedObject.name={pod}", "-o", "yaml")


def test_a_claim_for_one_pod_is_refused_to_a_second_by_scheduler_and_node(machine: Machine) -> None:
    manifests = machine.directory / "alone.yaml"
    manifests.write_text(PODS.replace("&spec", ""))
    machine.kubectl("apply", "-f", str(manifests))
    assert comes(lambda: machine.kubectl("get", "pod", "first", "-o", "jsonpath={.status.phase}") == "Running")
    node = machine.kubectl("get", "pod", "first", "-o", "jsonpath={.spec.nodeName}")
    manifests.write_text(SECOND)
    machine.kubectl("apply", "-f", str(manifests))
    by_scheduler = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use"
    assert comes(lambda: by_scheduler in " ".join(events_of(machine, "second").split()))
    machine.kubectl("delete", "pod", "second")
    manifests.write_text(SECOND.replace("spec:", f"spec:\n  nodeName: {node}", 1))
    machine.kubectl("apply", "-f", str(manifests))
    by_node = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    assert comes(lambda: by_node in " ".join(events_of(machine, "second").split()))
    assert machine.kubectl("get", "pod", "second", "-o", "jsonpath={.status.phase}") == "Pending"
    machine.kubectl("delete", "pod", "first")
    assert comes(lambda: machine.kubectl("get", "pod", "second", "-o", "jsonpath={.status.phase}") == "Running")
    machine.kubectl("delete", "pod", "second")
    machine.kubectl("delete", "pvc", "alone")


CSI = """\
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: disk.example.com}
spec: {attachRequired: false}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  csi: {driver: disk.example.com, volumeHandle: vol-1}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: "", volumeName: disk}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers:
    - name: app
      image: web:1
      command: [/bin/busybox, sleep, "1000"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: disk}}]
"""


def test_a_csi_volume_waits_for_a_driver_that_registers(machine: Machine) -> None:
    manifests = machine.directory / "csi.yaml"
    manifests.write_text(CSI)
    machine.kubectl("apply", "-f", str(manifests))
    missing = "driver name disk.example.com not found in the list of registered CSI drivers"
    assert comes(lambda: missing in " ".join(events_of(machine, "user").split()))
    status = machine.kubectl("get", "pod", "user", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.reason}")
    assert status == "ContainerCreating"
    machine.kubectl("delete", "-f", str(manifests))
