"""Upstream's own packages on random definitions and objects, recorded; ours say the same, word for word.

Compared are the faults of definitions, pruning, defaulting, the faults of objects as new ones and as updates, and the
cells of tables. How the recording is made, and how all of it is replayed: `tests.conformance.customresources`.
"""

from __future__ import annotations

import pytest

from seatrial.cluster.virtual import VirtualCluster
from tests.conformance.customresources import conversation
from tests.conformance.customresources.judging import judge
from tests.conformance.customresources.recording import RECORDING

PARTS = 5


@pytest.mark.parametrize("part", range(PARTS))
def test_recorded_cases(part: int) -> None:
    accepted = refused = 0
    for seed, invented, answer in RECORDING.load(part, PARTS * 4):
        assert judge(invented) == answer, f"case {seed}"
        refused += bool(answer["faults"])
        accepted += sum(not each["faults"] for each in answer["objects"] or ())
    assert accepted > 30
    assert refused > 10


def test_the_api_answers_as_kube_apiserver() -> None:
    """Every status, body, table and warning of a long conversation, definitions and objects, good and bad."""
    theirs = conversation.recorded()
    ours = list(conversation.converse(conversation.of_seatrial(VirtualCluster())))
    assert len(theirs) == len(ours) > 150
    for one, other in zip(theirs, ours, strict=True):
        assert other == one, one["step"]
