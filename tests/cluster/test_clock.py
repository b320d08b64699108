"""What the cluster's clock shows when somebody sets the machine's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from seatrial.cluster.clock import RealClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Machine:
    """A clock that can be set, and ticks that cannot."""

    wall: datetime = NOON
    ticks: float = 0.0

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds

    def clock(self) -> RealClock:
        return RealClock(lambda: self.wall, lambda: self.ticks)


def test_small_corrections_are_followed() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(60)
    machine.wall += timedelta(seconds=2)
    assert clock.now() == machine.wall


def test_a_step_forward_is_followed_and_told_once() -> None:
    machine, steps = Machine(), []
    clock = machine.clock()
    clock.on_step = lambda: steps.append(machine.wall)
    machine.wall += timedelta(hours=1)
    assert clock.now() == clock.now() == NOON + timedelta(hours=1)
    assert len(steps) == 1


def test_a_step_back_slows_time_until_the_machine_has_come_up() -> None:
    """What was measured stays in the past: no probe and no back-off waits for an hour longer."""
    machine, steps = Machine(), []
    clock = machine.clock()
    clock.on_step = lambda: steps.append(machine.wall)
    machine.wall -= timedelta(minutes=1)
    before = clock.now()
    assert before == NOON
    machine.passes(10)
    assert clock.now() == before + timedelta(seconds=9)
    machine.passes(590)
    assert clock.now() == machine.wall
    assert not steps


def test_a_step_forward_that_only_makes_up_for_one_back_is_none() -> None:
    machine, steps = Machine(), []
    clock = machine.clock()
    clock.on_step = lambda: steps.append(machine.wall)
    machine.wall -= timedelta(hours=1)
    clock.now()
    machine.wall += timedelta(hours=1)
    assert clock.now() == NOON
    assert not steps
