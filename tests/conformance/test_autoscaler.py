"""Upstream's autoscaler on random metric histories, recorded; ours decides the same at every sync.

Compared are the replicas, the whole status (conditions with reasons, messages and times, metrics) and the events. How
the recording is made, and how all of it is replayed: `tests.conformance.autoscaler`.
"""

from __future__ import annotations

import pytest

from tests.conformance.autoscaler.recording import RECORDING
from tests.conformance.autoscaler.replay import differences

PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_recorded_histories(part: int) -> None:
    replayed = 0
    for seed, history, decisions in RECORDING.load(part, PARTS * 10):
        found = list(differences(history, decisions))
        assert not found, f"history {seed}: {found[0]}"
        replayed += len(decisions)
    assert replayed > 200
