"""What the CronJob controller of Kubernetes 1.37 did in recorded histories, ours does: Jobs, statuses, events, times.

How the recording is made, and how all of it is replayed: `tests.conformance.cronjob`.
"""

from __future__ import annotations

from tests.conformance.cronjob.recording import RECORDING
from tests.conformance.cronjob.replay import EDGE_OF_RATION, differences

STEP = 20


def test_recorded_histories() -> None:
    replayed = 0
    for seed, history, lines in RECORDING.load(step=STEP):
        if seed not in EDGE_OF_RATION:
            found = list(differences(history, lines))
            assert not found, f"history {seed}: {found[0]}"
            replayed += len(lines)
    assert replayed > 500


def test_a_difference_is_found() -> None:
    """The comparison can fail: a Job that upstream did not make is told."""
    _, history, lines = next(RECORDING.load())
    fewer = [line for line in lines if line["did"] != "create"]
    assert fewer != lines
    assert list(differences(history, fewer))
