"""The embedded cluster with real containers: from `up` to an answer over HTTP, through crashes, to nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from seatrial.node.linux import Machine as NodeMachine
from tests.machines import Machine

pytestmark = pytest.mark.privileged


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.web_image()
    try:
        yield machine
    finally:
        machine.seatrial("down", "--images")


def page(machine: Machine) -> str:
    address = machine.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        return str(answer.read().decode())


def servers(machine: Machine) -> set[str]:
    """The process ids of this cluster's containers: those under a conmon that names its state directory."""
    monitors = subprocess.run(["pgrep", "-f", f"conmon.*{machine.state}"], capture_output=True, text=True, check=False)
    found: set[str] = set()
    for monitor in monitors.stdout.split():
        children = subprocess.run(["pgrep", "-P", monitor, "busybox"], capture_output=True, text=True, check=False)
        found |= set(children.stdout.split())
    return found


def taken(machine: Machine) -> dict[str, list[str]]:
    """What this test's cluster could have put into the machine."""
    own = NodeMachine(machine.state)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").glob(f"{own.bridge}*")),
        "tables": [line for line in tables.stdout.splitlines() if own.table in line],
        "mounts": [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(machine.state) in line
        ],
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"**{own.cgroup}")),
    }


def test_a_system_serves_through_its_service_and_down_leaves_nothing(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests), "--nodes", "2")
    assert page(machine) == "aboard\n"
    assert len(servers(machine)) == 3
    assert all(taken(machine).values()), taken(machine)
    nodes = machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert set(nodes) == {"node-1", "node-2"}
    machine.seatrial("down")
    assert not any(taken(machine).values()), taken(machine)
    assert servers(machine) == set()
    assert {path.name for path in machine.state.iterdir()} == {"images"}


def test_containers_outlive_the_control_process_and_are_adopted(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests))
    containers, address = (
        servers(machine),
        machine.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"),
    )
    os.kill(machine.pid, signal.SIGKILL)
    machine.seatrial("up", str(machine.manifests))
    assert servers(machine) == containers
    assert machine.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}") == address
    restarts = machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}")
    assert restarts.split() == ["0", "0", "0"]
    assert page(machine) == "aboard\n"


def test_up_after_up_was_killed_half_way_comes_up(machine: Machine) -> None:
    process = machine.start("up", str(machine.manifests))
    deadline = time.monotonic() + 20
    while not (machine.state / "run" / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    os.kill(machine.pid, signal.SIGKILL)
    machine.seatrial("up", str(machine.manifests))
    assert page(machine) == "aboard\n"
    assert len(servers(machine)) == 3


def test_a_container_that_dies_is_started_again(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests))
    victim = sorted(servers(machine))[0]
    os.kill(int(victim), signal.SIGKILL)
    jsonpath = "jsonpath={.items[*].status.containerStatuses[0].restartCount}"
    deadline = time.monotonic() + 40
    while "1" not in machine.kubectl("get", "pods", "-o", jsonpath).split() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert sorted(machine.kubectl("get", "pods", "-o", jsonpath).split()) == ["0", "0", "1"]


def test_a_rolling_upgrade_serves_all_the_while(machine: Machine) -> None:
    machine.web_image("web:2")
    machine.seatrial("up", str(machine.manifests))
    machine.kubectl("set", "image", "deployment/web", "web=web:2")
    answers = set()
    while "web:1" in machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}"):
        answers.add(page(machine))
    machine.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert answers == {"aboard\n"}
    images = machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}").split()
    assert set(images) >= {"web:2"}
    assert page(machine) == "aboard\n"


def test_logs_come_through_kubectl_and_through_seatrial(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests))
    page(machine)
    pods = machine.kubectl("get", "pods", "-o", "name").split()
    assert any(
        "GET /" in machine.kubectl("logs", pod) or "response:200" in machine.kubectl("logs", pod) for pod in pods
    )
    assert "response:200" in machine.seatrial("logs", "web")


def test_an_image_that_is_not_there_is_named_with_what_to_do(machine: Machine) -> None:
    machine.manifests.write_text(machine.manifests.read_text().replace("web:1", "web:missing"))
    said = machine.seatrial("up", str(machine.manifests), "--timeout", "3", code=1)
    assert 'image "web:missing" is not in this cluster' in said
    assert "seatrial build" in said


def test_up_names_the_packages_that_are_missing(machine: Machine) -> None:
    said = machine.seatrial("up", str(machine.manifests), code=1, environment={"PATH": "/nonexistent"})
    assert "not installed: conmon" in said
    assert "apt-get install -y conmon" in said
