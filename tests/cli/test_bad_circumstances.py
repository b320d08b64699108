"""What people run into: a clear message with the next thing to try, or a clean recovery; never a traceback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machines import WEB, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.seatrial("down", "--images")


def refused(machine: Machine, *words: str, code: int = 1) -> str:
    said = machine.seatrial(*words, code=code)
    assert "Traceback" not in said, said
    return said


def test_a_port_in_use_is_named_with_another_way(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(machine, "up", str(machine.manifests), "--simulate", "--port", str(port))
    assert str(port) in said
    assert "in use" in said


def test_up_without_root_says_how_to_go_on(machine: Machine) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this machine does not let us become another user for a moment (unshare --user)")
    words = ["unshare", "--user", sys.executable, "-m", "seatrial", "up", str(machine.manifests)]
    done = subprocess.run(words, env=machine.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pods need root" in done.stderr
    assert "--simulate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_made_is_named(machine: Machine) -> None:
    (machine.directory / "file").write_text("")
    said = refused(
        machine, "up", str(machine.manifests), "--simulate", "--state", str(machine.directory / "file" / "state")
    )
    assert "cannot write" in said
    assert "--state" in said


@pytest.mark.privileged
def test_a_full_disk_is_reported_and_up_works_once_there_is_room(machine: Machine) -> None:
    machine.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", machine.state], check=True)
    try:
        said = refused(machine, "up", str(machine.manifests), "--simulate")
        assert "No space left" in said or "disk" in said
        subprocess.run(["mount", "-o", "remount,size=64m", machine.state], check=True)
        machine.seatrial("up", str(machine.manifests), "--simulate")
        machine.seatrial("down")
    finally:
        subprocess.run(["umount", "-l", machine.state], check=True)


def test_a_second_control_process_on_the_same_state_is_refused(machine: Machine) -> None:
    machine.seatrial("up", str(machine.manifests), "--simulate")
    done = subprocess.run(
        [sys.executable, "-m", "seatrial.cluster", "--state", str(machine.state), "--simulate"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a cluster already runs on" in done.stderr
    assert "seatrial down" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stage", ["at once", "process started", "API ready", "waiting"])
def test_ctrl_c_at_every_stage_ends_quietly_and_up_again_works(machine: Machine, stage: str) -> None:
    process = machine.start("up", str(machine.manifests), "--simulate")
    run = machine.state / "run"
    stages: dict[str, Callable[[], bool]] = {
        "at once": lambda: True,
        "process started": (run / "pid").exists,
        "API ready": (run / "ready").exists,
        "waiting": lambda: (run / "ready").exists() and "web" in machine.kubectl("get", "deployments", "-o", "name"),
    }
    seen = stages[stage]
    deadline = time.monotonic() + 20
    while not seen() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    # Before our own code runs, the interpreter dies of the signal.
    assert process.returncode in (0, 130, -signal.SIGINT if stage == "at once" else 130), said
    assert stage == "at once" or "Traceback" not in said, said
    machine.seatrial("up", str(machine.manifests), "--simulate")


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.5])
def test_the_control_process_may_be_killed_at_any_moment(machine: Machine, after_s: float) -> None:
    """The moments differ from run to run; whatever was on disk then, the next `up` comes up."""
    process = machine.start("up", str(machine.manifests), "--simulate")
    deadline = time.monotonic() + 20
    while not (machine.state / "run" / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(after_s)
    process.kill()
    process.communicate()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(machine.pid, signal.SIGKILL)
    assert "Deployment web: up" in machine.seatrial("up", str(machine.manifests), "--simulate")


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (WEB.replace("kind: Deployment", "kind: Deploymnet"), "Deployment"),
        (WEB.replace("replicas: 3", "replicsa: 3"), "replicas"),
        (WEB.replace("replicas: 3", "replicas: three"), "replicas"),
    ],
    ids=["unknown kind", "misspelt field", "wrong type"],
)
def test_up_refuses_what_the_check_refutes(machine: Machine, broken: str, expected: str) -> None:
    machine.manifests.write_text(broken)
    said = refused(machine, "up", str(machine.manifests), "--simulate")
    assert "web.yaml:" in said
    assert expected in said
    assert "--no-check" in said


def test_up_passes_on_what_the_server_refuses(machine: Machine) -> None:
    machine.manifests.write_text(WEB.replace("name: web\nspec:\n  replicas", "name: Web_\nspec:\n  replicas"))
    said = refused(machine, "up", str(machine.manifests), "--simulate", "--no-check")
    assert "RFC 1123" in said
