"""The VerticalPodAutoscaler's own packages on random usage, policies and pods, recorded; ours say the same.

How the recording is made: `tests.conformance.addons`.
"""

from __future__ import annotations

from tests.conformance.addons.recording import RECORDING
from tests.conformance.addons.vertical import judge, settled


def test_recommendations_admission_and_the_order_of_updates_are_those_of_upstream() -> None:
    differing = {seed: answer for seed, invented, answer in RECORDING.load() if settled(judge(invented)) != answer}
    assert differing == {}


def test_the_recording_has_what_it_is_for() -> None:
    """Cases in which something happens: bounds that history narrows, limits in proportion, pods in an order."""
    answers = [answer for _, _, answer in RECORDING.load()]
    assert sum(len(answer["order"]) > 1 for answer in answers) > 50
    assert sum(bool(each[1]) for answer in answers for by in answer["resources"] for each in by.values()) > 100
    assert any(
        bounds["upperBound"].get("cpu") not in (None, "100G")
        for answer in answers
        for bounds in answer["recommendation"].values()
    )
