"""What kube-apiserver 1.37 takes and refuses of 20,000 documents, and with which fields: the API here does the same.

A part of the recording, so that it takes seconds; `./dev conformance --replay` compares all of it.
"""

from __future__ import annotations

import pytest

from tests.conformance.validation import cases
from tests.conformance.validation.judging import Ours, Score
from tests.conformance.validation.recording import RECORDING

PARTS = 4
STEP = 10


@pytest.fixture(scope="module")
def ours() -> Ours:
    return Ours()


@pytest.mark.parametrize("part", range(PARTS))
def test_recorded_documents_are_taken_and_refused_alike(ours: Ours, part: int) -> None:
    score = Score()
    for seed, case, said in RECORDING.load(part, PARTS * STEP):
        score.add(seed, case, said, ours.ask(case))
    told = [f"{seed}: upstream {said}, ours {here}" for seed, _, said, here in score.differing]
    assert score.cases > 400
    assert score.refused > 200
    assert score.is_good(), "\n".join([str(score), *told])


def test_a_document_that_only_one_of_both_takes_is_counted() -> None:
    """The comparison can fail: another verdict, another field, and a crash here."""
    case, score = cases.invent(1), Score()
    refusal = [422, [["FieldValueRequired", "spec.ports", "Required value"]]]
    elsewhere = [422, [["FieldValueRequired", "spec.type", "Required value"]]]
    for said, here in (([200, []], refusal), (refusal, [200, []]), (refusal, elsewhere), (refusal, [500, []])):
        score.add(1, case, said, here)
    assert (score.wrongly_refused, score.wrongly_taken, score.other_fields) == (1, 1, 2)
    assert not score.is_good()


def test_good_objects_of_every_built_in_kind_are_taken(ours: Ours) -> None:
    kinds = {raw["kind"] for _, raw in cases.good()}
    assert len(kinds) > 50
    for number, _ in enumerate(cases.good()):
        document = cases.compact(cases.good()[number][1])
        assert ours.ask({"object": number, "text": document, "update": False}) == [200, []], document[:200]
