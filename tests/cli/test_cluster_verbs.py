"""`up`, `status`, `kubeconfig`, `down` as a user calls them, on simulated nodes: no root, no containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.seatrial("down", "--images")


def test_up_brings_a_deployment_up_and_down_leaves_nothing(machine: Machine) -> None:
    said = machine.seatrial("up", str(machine.manifests), "--simulate", "--nodes", "3")
    assert "Deployment web: up" in said
    status = json.loads(machine.seatrial("status", "--output", "json"))
    assert status["nodes"] == ["node-1", "node-2", "node-3"]
    assert status["deployments"] == {"default/web": ""}
    assert list(status["pods"].values()) == ["", "", ""]
    machine.seatrial("down")
    assert not machine.state.exists()


def test_a_second_up_on_the_same_state_changes_nothing(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests), "--simulate")
    pods = machine.kubectl("get", "pods", "-o", "name")
    said = machine.seatrial("up", str(machine.manifests), "--simulate")
    assert "Deployment web unchanged" in said
    assert machine.kubectl("get", "pods", "-o", "name") == pods


def test_the_cluster_survives_the_death_of_its_process(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests), "--simulate")
    uid = machine.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.uid}")
    os.kill(machine.pid, signal.SIGKILL)
    machine.seatrial("status", code=1)
    machine.seatrial("up", str(machine.manifests), "--simulate")
    assert machine.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.uid}") == uid


def test_kubectl_rolls_out_undoes_scales_and_deletes(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests), "--simulate", "--nodes", "2")
    machine.kubectl("set", "image", "deployment/web", "web=web:2")
    machine.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "web:2" in machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].image}")
    machine.kubectl("rollout", "undo", "deployment/web")
    machine.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    machine.kubectl("rollout", "restart", "deployment/web")
    machine.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    machine.kubectl("scale", "deployment/web", "--replicas=1")
    machine.kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=30s")
    images = machine.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert images == "web:1"
    machine.kubectl("delete", "deployment", "web", "--timeout=30s")
    machine.kubectl("wait", "pods", "--all", "--for=delete", "--timeout=30s")
    assert machine.kubectl("get", "replicasets,pods", "-o", "name") == ""


def test_verbs_without_a_cluster_say_how_to_start_one(machine: Machine) -> None:
    for verb in (["status"], ["kubeconfig"], ["logs", "web"]):
        assert "Start one with `seatrial up DIR`" in machine.seatrial(*verb, code=1)


def test_up_refuses_a_directory_that_is_not_there(machine: Machine) -> None:
    assert "nowhere" in machine.seatrial("up", str(machine.directory / "nowhere"), "--simulate", code=3)


def test_an_unknown_verb_is_refused_with_the_verbs_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "seatrial", "sail"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "check" in done.stderr
