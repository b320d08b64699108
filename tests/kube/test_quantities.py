"""Quantities: exact values, upstream's canonical form, errors that teach."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.kube.quantities import Quantity

SCALES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "e3": Fraction(1000),
    "E-2": Fraction(1, 100),
}


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Fraction]:
    """A quantity as text and, worked out independently, the value it spells (in billionths, rounded away from zero)."""
    whole = draw(st.integers(0, 10**9))
    fraction = draw(st.text("0123456789", max_size=6))
    suffix = draw(st.sampled_from(sorted(SCALES)))
    negative = draw(st.booleans())
    size = Fraction(int(f"{whole}{fraction}"), 10 ** len(fraction)) * SCALES[suffix]
    nanos = -(-size * 10**9 // 1)
    if suffix.endswith("i"):
        nanos = min(nanos, (2**63 - 1) * 10**9)  # upstream caps the binary family there
    text = f"{'-' if negative else ''}{whole}{'.' + fraction if fraction else ''}{suffix}"
    return text, Fraction(-nanos if negative else nanos)


@given(written())
def test_parsing_is_exact_to_a_billionth(case: tuple[str, Fraction]) -> None:
    text, nanos = case
    assert Quantity.parse(text).nanos == nanos


@given(written())
def test_canonical_form_keeps_the_value_and_is_stable(case: tuple[str, Fraction]) -> None:
    quantity = Quantity.parse(case[0])
    again = Quantity.parse(str(quantity))
    assert again == quantity
    assert str(again) == str(quantity)


@given(written(), written())
def test_order_equality_hash_and_arithmetic_are_those_of_the_numbers(
    one: tuple[str, Fraction], other: tuple[str, Fraction]
) -> None:
    a, b = Quantity.parse(one[0]), Quantity.parse(other[0])
    assert (a < b, a == b, a >= b) == (one[1] < other[1], one[1] == other[1], one[1] >= other[1])
    assert (a + b).nanos == one[1] + other[1]
    assert (a - b).nanos == one[1] - other[1]
    assert a + b - b == a
    if a == b:
        assert hash(a) == hash(b)


@given(written())
def test_whole_and_thousandth_values_round_up(case: tuple[str, Fraction]) -> None:
    quantity = Quantity.parse(case[0])
    assert quantity.value == -(-case[1] // 10**9)
    assert quantity.milli == -(-case[1] // 10**6)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("0", "0"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1.1Mi", "1153433600m"),
        ("100000k", "100M"),
        ("2e3", "2e3"),
        ("1.5e-3", "1500e-6"),
        ("1000E", "1e21"),
        ("0.0000000001", "1n"),
        ("-1.2", "-1200m"),
        ("12345678901234567890Ei", "9223372036854775807"),
        (" 1Gi ", "1Gi"),
        (3, "3"),
        (0.25, "250m"),
    ],
)
def test_prints_as_upstream_does(written: object, canonical: str) -> None:
    assert str(Quantity.parse(written)) == canonical


@pytest.mark.parametrize(
    "text", ["", "m", "1KB", "1e", "--1", "1.2.3", "1 Gi", "1Kim", None, True, float("nan"), "9" * 999]
)
def test_nonsense_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"quantity|suffix"):
        Quantity.parse(text)


def test_a_near_miss_of_a_suffix_is_explained() -> None:
    with pytest.raises(ValueError, match=r"K is written k \(thousand\) or Ki \(1024\)"):
        Quantity.parse("1K")


def test_a_huge_exponent_costs_nothing() -> None:
    with pytest.raises(ValueError, match="larger than any quantity"):
        Quantity.parse("1e999999999")


def test_a_sum_that_starts_from_nothing_is_printed_as_what_was_added() -> None:
    assert str(Quantity.parse("0") + Quantity.parse("1Gi")) == "1Gi"


def test_a_quantity_never_changes_and_can_be_copied() -> None:
    quantity = Quantity.parse("1Gi")
    with pytest.raises(AttributeError):
        quantity._nanos = 0
    assert copy.deepcopy(quantity) == pickle.loads(pickle.dumps(quantity)) == quantity
