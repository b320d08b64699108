"""Events are summed up and rationed as upstream's recorder does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from seatrial.cluster.correlation import Correlator

START = datetime(2030, 1, 1, tzinfo=UTC)
SOURCE = ("replicaset-controller", "")


def send(correlator: Correlator, message: str, after_s: float = 0, uid: str = "web") -> tuple[str, str] | None:
    """The last part of what it is counted on, and the text."""
    now = START + timedelta(seconds=after_s)
    found = correlator.correlate(SOURCE, uid, "Normal", "SuccessfulCreate", message, now)
    return None if found is None else (found[0][-1], found[1])


def test_the_tenth_like_event_and_those_after_it_are_counted_on_one() -> None:
    correlator = Correlator()
    for number in range(9):
        assert send(correlator, f"pod {number}") == (f"pod {number}", f"pod {number}")
    assert send(correlator, "pod 9") == ("SuccessfulCreate", "(combined from similar events): pod 9")
    assert send(correlator, "pod 10") == ("SuccessfulCreate", "(combined from similar events): pod 10")


def test_what_is_not_written_is_counted_all_the_same() -> None:
    correlator = Correlator()
    told = [correlator.correlate(SOURCE, "web", "Warning", "Failed", "no", START) for _ in range(27)]
    assert [found[2] for found in told if found is not None] == list(range(1, 26))
    later = correlator.correlate(SOURCE, "web", "Warning", "Failed", "no", START + timedelta(minutes=6))
    assert later is not None
    assert later[2] == 28


def test_each_type_of_event_has_a_ration_of_its_own() -> None:
    correlator = Correlator()
    assert all(send(correlator, "same") for _ in range(25))
    assert send(correlator, "same") is None
    assert correlator.correlate(SOURCE, "web", "Warning", "Failed", "no", START) is not None


def test_ten_quiet_minutes_begin_anew() -> None:
    correlator = Correlator()
    for number in range(9):
        send(correlator, f"pod {number}")
    assert send(correlator, "later", after_s=601) == ("later", "later")


def test_a_source_has_25_events_for_an_object_and_one_more_every_five_minutes() -> None:
    correlator = Correlator()
    assert all(send(correlator, "same") for _ in range(25))
    assert send(correlator, "same") is None
    assert send(correlator, "same", uid="other") is not None
    assert send(correlator, "same", after_s=299) is None
    assert send(correlator, "same", after_s=301) is not None
    assert send(correlator, "same", after_s=302) is None
