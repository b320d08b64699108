"""What the real kube-scheduler's plug-ins answered for random clusters, ours answer: every 25th recorded case."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.scheduling import replay

RECORDED = Path(__file__).parent / "recordings" / "schedule-1.37.txt.gz"


def test_placements_messages_and_preemption_are_those_of_the_real_scheduler() -> None:
    assert replay(RECORDED, every=25) == []
