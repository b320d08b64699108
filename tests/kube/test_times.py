"""Moments as Go computes them, whatever numbers and times an object holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from seatrial.kube.times import after

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_seconds_are_added_and_wrap_where_go_s_durations_do() -> None:
    assert after(NOON, 90) == NOON + timedelta(seconds=90)
    assert after(NOON, -90) == NOON - timedelta(seconds=90)
    assert after(NOON, 2**62) == NOON  # a multiple of 2^64 nanoseconds
    assert after(NOON, 2**63 // 10**9 + 1) < NOON


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-(2**63), 2**63 - 1))
def test_no_time_and_no_number_is_too_large(moment: datetime, seconds: int) -> None:
    assert isinstance(after(moment, seconds), datetime)
