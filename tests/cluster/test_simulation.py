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
