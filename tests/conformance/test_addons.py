"""Add-ons' own packages on random cases, recorded; ours say the same.

How the recording is made: `tests.conformance.addons`.
"""

from __future__ import annotations

from collections import Counter

from tests.conformance.addons import descheduling
from tests.conformance.addons.recording import DESCHEDULER, VERTICAL
from tests.conformance.addons.vertical import judge, settled


def test_recommendations_admission_and_the_order_of_updates_are_those_of_upstream() -> None:
    differing = {seed: answer for seed, invented, answer in VERTICAL.load() if settled(judge(invented)) != answer}
    assert differing == {}


def test_the_recording_has_what_it_is_for() -> None:
    """Cases in which something happens: bounds that history narrows, limits in proportion, pods in an order."""
    answers = [answer for _, _, answer in VERTICAL.load()]
    assert sum(len(answer["order"]) > 1 for answer in answers) > 50
    assert sum(bool(each[1]) for answer in answers for by in answer["resources"] for each in by.values()) > 100
    assert any(
        bounds["upperBound"].get("cpu") not in (None, "100G")
        for answer in answers
        for bounds in answer["recommendation"].values()
    )


def test_the_descheduler_evicts_what_upstream_evicts() -> None:
    differing = [seed for seed, invented, answer in DESCHEDULER.load() if descheduling.judge(invented) not in answer]
    assert differing == []


def test_every_plugin_of_the_descheduler_evicts_in_the_recording() -> None:
    answers = [answer for _, _, answer in DESCHEDULER.load()]
    assert len(answers) >= 1500
    told = Counter(each.split(" ")[1] for answer in answers for outcome in answer[:1] for each in outcome)
    assert {f"{name}:" for name in descheduling.PLUGINS} == told.keys()
    assert min(told.values()) >= 50, told
    assert sum(len(answer) == 1 for answer in answers if answer != [[]]) >= 200, "nothing left to chance"
