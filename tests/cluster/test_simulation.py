"""A simulated cluster under real commands: what waits only for time happens at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seatrial.cluster.clock import LeapingClock
from tests.machines import WEB, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.seatrial("down", "--images")


def test_a_leaping_clock_makes_calls_in_order_and_leaps_only_while_it_may() -> None:
    made: list[str] = []
    both = asyncio.Event()

    def second() -> None:
        made.append("second")
        both.set()

    async def story() -> None:
        clock = LeapingClock()
        clock.leaps = lambda: len(made) < 2
        began = clock.now()
        clock.call_at(began + timedelta(hours=2), second)
        clock.call_at(began + timedelta(hours=1), lambda: made.append("first"))
        clock.call_at(began + timedelta(hours=3), lambda: made.append("too late"))
        clock.call_at(began + timedelta(minutes=1), lambda: made.append("cancelled")).cancel()
        running = asyncio.create_task(clock.run())
        await both.wait()
        assert timedelta(hours=2) <= clock.now() - began < timedelta(hours=3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())
    assert made == ["first", "second"]


def test_a_rollout_that_never_ends_meets_its_deadline_at_once(machine: Machine) -> None:
    """The example that the check refutes behaves as its trace says: the checked behaviour is the one that runs."""
    broken = Path(__file__).parents[2] / "examples" / "broken" / "anti-affinity"
    manifests = machine.directory / "anti-affinity"
    manifests.mkdir()
    (manifests / "web.yaml").write_text((broken / "web.yaml").read_text())
    machine.seatrial("up", str(manifests), "--simulate", "--nodes", "3", "--no-check")
    machine.kubectl("set", "image", "deployment/web", "*=web:2")
    reason = '{.status.conditions[?(@.type=="Progressing")].reason}'
    machine.kubectl("wait", "deployment/web", f"--for=jsonpath={reason}=ProgressDeadlineExceeded", "--timeout=30s")
    phases = machine.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.phase}").split()
    assert sorted(phases) == ["Pending", "Running", "Running", "Running"]
    events = machine.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")
    assert "3 node(s) didn't match pod anti-affinity rules" in events


def test_time_does_not_run_back_when_the_process_returns(machine: Machine) -> None:
    machine.manifests.write_text(WEB.replace("periodSeconds: 1", "initialDelaySeconds: 300"))
    machine.seatrial("up", str(machine.manifests), "--simulate")
    machine.kubectl("create", "configmap", "later")
    made = machine.kubectl("get", "configmap", "later", "-o", "jsonpath={.metadata.creationTimestamp}")
    assert datetime.fromisoformat(made) > datetime.now(UTC) + timedelta(seconds=250)

    os.kill(machine.pid, signal.SIGKILL)
    machine.seatrial("up", str(machine.manifests), "--simulate")
    machine.kubectl("create", "configmap", "after")
    again = machine.kubectl("get", "configmap", "after", "-o", "jsonpath={.metadata.creationTimestamp}")
    assert datetime.fromisoformat(again) >= datetime.fromisoformat(made)


def test_a_simulation_is_programmed_in_seatrial_toml(machine: Machine) -> None:
    """Two shaped nodes, one lost ten minutes after it was applied; the version asked for is the one that answers."""
    directory = machine.directory / "system"
    directory.mkdir()
    (directory / "web.yaml").write_text(WEB)
    (directory / "seatrial.toml").write_text(
        "[simulate]\nseed = 3\n"
        '[[simulate.node]]\nname = "n"\ncount = 2\nlabels = { disk = "ssd" }\n'
        '[[simulate.loss]]\nnode = "n-2"\nat_s = 600\n'
    )
    machine.seatrial("up", str(directory), "--simulate", "--kubernetes", "1.35", "--no-check")
    assert machine.kubectl("get", "nodes", "-l", "disk=ssd", "-o", "name").split() == ["node/n-1", "node/n-2"]
    assert "v1.35" in machine.kubectl("version")
    unknown = '--for=jsonpath={.status.conditions[?(@.type=="Ready")].status}=Unknown'
    machine.kubectl("wait", "node/n-2", unknown, "--timeout=30s")


def test_a_seatrial_toml_that_says_nonsense_stops_up_with_its_line(machine: Machine) -> None:
    directory = machine.directory / "system"
    directory.mkdir()
    (directory / "web.yaml").write_text(WEB)
    (directory / "seatrial.toml").write_text("[simulate]\n\nnoeds = 3\n")
    said = machine.seatrial("up", str(directory), "--simulate", code=3)
    assert 'seatrial.toml:3: unknown key "noeds"; did you mean nodes?' in said
