"""What the real kube-scheduler's plug-ins answered for random clusters, ours answer: a part of the recorded cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.profiles import Profiled
from tests.conformance.scheduling import Cluster, replay

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.mark.parametrize(
    ("minor", "recorded", "every", "make"),
    [
        (37, "schedule-1.37.txt.gz", 25, Cluster),
        (32, "1.32/schedule.txt.gz", 12, Cluster),
        (30, "1.30/schedule.txt.gz", 12, Cluster),
        (37, "schedule-profiles.txt.gz", 3, Profiled),
    ],
)
def test_placements_messages_and_preemption_are_those_of_the_real_scheduler(
    minor: int, recorded: str, every: int, make: type[Cluster]
) -> None:
    assert replay(RECORDINGS / recorded, minor, every, make=make) == []
