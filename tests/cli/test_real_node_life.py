"""The node's own part with real containers: static pods, node pressure, limits of local storage, graceful shutdown.

The state directory is a small filesystem of its own, so that it can be filled without filling the machine.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machines import Machine

pytestmark = pytest.mark.privileged

SETTINGS = """\
[kubelet]
shutdownGracePeriod = "8s"
shutdownGracePeriodCriticalPods = "3s"
evictionHard = { "memory.available" = "99%", "nodefs.available" = "20%", "imagefs.available" = "20%" }
"""
MAIN = """\
apiVersion: v1
kind: Pod
metadata: {name: main, labels: {app: main}}
spec:
  terminationGracePeriodSeconds: 6
  containers:
    - name: main
      image: web:1
      command: [/bin/busybox, sh, -c]
      args:
        - |
          trap '/bin/busybox sleep 1; echo ended in order > /host/ended; exit 0' TERM
          while :; do /bin/busybox sleep 0.1; done
      volumeMounts: [{name: host, mountPath: /host}]
      resources: {requests: {ephemeral-storage: 10Mi}}
  volumes: [{name: host, hostPath: {path: HOST}}]
"""
GREEDY = """\
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: greedy
      image: web:1
      command: [/bin/busybox, sh, -c]
      args: ["/bin/busybox dd if=/dev/zero of=/scratch/big bs=1M count=3; exec /bin/busybox sleep 600"]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {sizeLimit: 1Mi}}]
"""
FULL = """\
apiVersion: v1
kind: Pod
metadata: {name: full}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: full
      image: web:1
      command: [/bin/busybox, sh, -c]
      args: ["/bin/busybox dd if=/dev/zero of=/big bs=1M count=60; exec /bin/busybox sleep 600"]
"""
STATIC = """\
apiVersion: v1
kind: Pod
metadata: {name: proxy, namespace: kube-system}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: proxy, image: "web:1", command: [/bin/busybox, sh, -c, "echo WORD; exec /bin/busybox sleep 600"]}
"""


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("node"))
    machine.state.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(machine.state)), check=True)
    try:
        machine.web_image()
        machine.manifests.write_text(MAIN.replace("HOST", str(machine.directory)))
        (machine.directory / "seatrial.toml").write_text(SETTINGS)
        said = machine.seatrial("up", str(machine.manifests))
        assert "note: memory.available was below its eviction threshold before this node began" in said
        assert comes(lambda: phase(machine, "main") == "Running")
        yield machine
    finally:
        machine.seatrial("down", "--images")
        subprocess.run(("umount", "-l", str(machine.state)), check=True)


def comes(holds: Callable[[], bool], within_s: float = 40) -> bool:
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def get(machine: Machine, name: str, path: str, namespace: str = "default") -> str:
    words = ("get", "pod", name, "-n", namespace, "--ignore-not-found", "-o", f"jsonpath={{{path}}}")
    return machine.kubectl(*words)


def phase(machine: Machine, name: str, namespace: str = "default") -> str:
    return get(machine, name, ".status.phase", namespace)


def apply(machine: Machine, text: str) -> None:
    file = machine.directory / "more.yaml"
    file.write_text(text)
    machine.kubectl("apply", "-f", str(file))


def test_a_static_pod_follows_its_file(machine: Machine) -> None:
    directory = machine.state / "manifests" / "node-1"
    directory.mkdir(parents=True)
    (directory / "bad.yaml").write_text("kind: Service\napiVersion: v1\n")
    file = directory / "proxy.yaml"
    file.write_text(STATIC.replace("WORD", "aboard"))
    name, system = "proxy-node-1", "kube-system"
    assert comes(lambda: phase(machine, name, system) == "Running")
    assert comes(lambda: machine.kubectl("logs", "-n", system, name) == "aboard\n")
    uid, container = (
        get(machine, name, path, system) for path in (".metadata.uid", ".status.containerStatuses[0].containerID")
    )
    machine.kubectl("delete", "pod", "-n", system, name, "--wait=false")
    assert comes(lambda: get(machine, name, ".metadata.uid", system) not in ("", uid))
    assert comes(lambda: get(machine, name, ".status.containerStatuses[0].containerID", system) == container)
    file.write_text(STATIC.replace("WORD", "ashore"))
    assert comes(lambda: "ashore" in machine.kubectl("logs", "-n", system, name, "--ignore-errors"))
    file.unlink()
    assert comes(lambda: phase(machine, name, system) == "")
    assert "bad.yaml: couldn't parse as pod: it is v1 Service" in machine.kubectl("events", "--for", "node/node-1")


def test_a_full_node_evicts_and_a_shutdown_ends_pods_in_order(machine: Machine) -> None:
    """One story: a shortage from before evicts nobody; a volume outgrows its limit; the disk fills up; the end."""
    conditions = machine.kubectl("get", "node", "node-1", "-o", "jsonpath={.status.conditions[*].status}")
    assert conditions == "False False False True"
    apply(machine, GREEDY)
    assert comes(lambda: phase(machine, "greedy") == "Failed"), machine.kubectl("get", "pods", "-o", "yaml")
    assert get(machine, "greedy", ".status.message") == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
    apply(machine, FULL)
    assert comes(lambda: get(machine, "full", ".status.reason") == "Evicted"), machine.kubectl(
        "get", "pods", "-o", "yaml"
    )
    message = get(machine, "full", ".status.message")
    assert message.startswith("The node was low on resource: ephemeral-storage. Threshold quantity: ")
    assert "Container full was using 6" in message
    kind = '{.status.conditions[?(@.type=="DiskPressure")].reason}'
    assert machine.kubectl("get", "node", "node-1", "-o", f"jsonpath={kind}") == "KubeletHasDiskPressure"
    assert phase(machine, "main") == "Running", "it requested what it uses"

    ended: Path = machine.directory / "ended"
    assert not ended.exists()
    machine.seatrial("down")
    assert ended.read_text() == "ended in order\n"
    assert not os.path.ismount(machine.state / "pods")
