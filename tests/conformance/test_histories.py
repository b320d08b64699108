"""What Kubernetes 1.37 did in recorded random histories, seatrial does: the same objects, conditions, counts, events.

A part of the recordings, so that it takes seconds; `./dev conformance --replay` compares all of them.
"""

from __future__ import annotations

import pytest

from tests.conformance.histories import differences, recordings
from tests.conformance.histories.__main__ import kinds
from tests.conformance.histories.known import KNOWN
from tests.conformance.histories.targets import STEP_S, play_ours
from tests.conformance.upstream import MINORS, NEWEST

KINDS = kinds()
OLDER = [minor for minor in MINORS if minor != NEWEST]
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
        ours = play_ours(recording, KINDS[kind].WATCHED, getattr(KINDS[kind], "STEP_S", STEP_S))
        difference = differences.first(recording.script, recording.snapshots, ours)
        assert difference is None, difference.story()


@pytest.mark.parametrize("minor", OLDER)
def test_histories_recorded_of_older_versions_come_out_the_same(minor: int) -> None:
    played = 0
    for kind, module in KINDS.items():
        for recording in recordings.load(kind, minor)[:TRIED]:
            if recording.script.seed not in KNOWN:
                ours = play_ours(recording, module.WATCHED, getattr(module, "STEP_S", STEP_S), minor)
                difference = differences.first(recording.script, recording.snapshots, ours)
                assert difference is None, difference.story()
                played += 1
    assert played


def test_a_difference_is_found_and_told() -> None:
    """The comparison can fail: a count that is off by one is a story with its place."""
    recording = recordings.load("replicaset")[0]
    ours = play_ours(recording, KINDS["replicaset"].WATCHED)
    first = dict(ours[-1])
    name = next(iter(first["objects"]))
    changed = {**first, "objects": {**first["objects"], name: {**first["objects"][name], "status": {"replicas": 99}}}}
    difference = differences.first(recording.script, recording.snapshots, [*ours[:-1], changed])
    assert difference is not None
    assert difference.step == len(ours) - 1
    assert f"objects.{name}.status.replicas" in difference.story()
