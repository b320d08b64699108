"""What Kubernetes 1.37 did in recorded random histories, seatrial does: the same objects, conditions, counts, events.

A part of the recordings, so that it takes seconds; `./dev conformance --replay` compares all of them.
"""

from __future__ import annotations

import pytest

from tests.conformance.histories import differences, recordings
from tests.conformance.histories.__main__ import kinds
from tests.conformance.histories.known import KNOWN
from tests.conformance.histories.targets import STEP_S, play_ours

KINDS = kinds()
TRIED = 12
"""Histories of each kind, spread over the recording."""


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_recorded_histories_come_out_the_same(kind: str) -> None:
    recorded = recordings.load(kind)
    if not recorded:
        pytest.skip(f"nothing is recorded: ./dev conformance {kind} --record")
    for recording in recorded[:: max(1, len(recorded) // TRIED)]:
        if recording.script.seed in KNOWN:
            continue
        ours = play_ours(recording.script, KINDS[kind].WATCHED, getattr(KINDS[kind], "STEP_S", STEP_S))
        difference = differences.first(recording.script, recording.snapshots, ours)
        assert difference is None, difference.story()


def test_a_difference_is_found_and_told() -> None:
    """The comparison can fail: a count that is off by one is a story with its place."""
    recording = recordings.load("replicaset")[0]
    ours = play_ours(recording.script, KINDS["replicaset"].WATCHED)
    first = dict(ours[-1])
    name = next(iter(first["objects"]))
    changed = {**first, "objects": {**first["objects"], name: {**first["objects"][name], "status": {"replicas": 99}}}}
    difference = differences.first(recording.script, recording.snapshots, [*ours[:-1], changed])
    assert difference is not None
    assert difference.step == len(ours) - 1
    assert f"objects.{name}.status.replicas" in difference.story()
