"""Selectors: what is meant, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, LabelSelectorRequirement

KEYS = st.sampled_from(["app", "tier", "example.com/zone"])
WORDS = st.sampled_from(["a", "b", "c-1", "3", "12"])
LABELS = st.dictionaries(KEYS, WORDS)


def test_an_absent_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not selectors.matches(None, {"app": "a"})
    assert selectors.matches(LabelSelector(), {})
    assert selectors.parse("").matches({})


@given(LABELS, LABELS)
def test_a_map_selector_is_a_subset_test(wanted: dict[str, str], labels: dict[str, str]) -> None:
    expected = wanted.items() <= labels.items()
    assert selectors.matches_labels(wanted, labels) is expected
    assert selectors.matches(LabelSelector(match_labels=wanted), labels) is expected
    assert selectors.parse(",".join(f"{key}={value}" for key, value in wanted.items())).matches(labels) is expected


@given(KEYS, st.sets(WORDS, min_size=1), LABELS, st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
def test_expressions_and_query_strings_agree_and_opposites_exclude_each_other(
    key: str, values: set[str], labels: dict[str, str], operator: str
) -> None:
    given_values = tuple(sorted(values)) if operator in {"In", "NotIn"} else ()
    requirement = LabelSelectorRequirement(key=key, operator=operator, values=given_values)
    listed = f"({', '.join(given_values)})"
    text = {"In": f"{key} in {listed}", "NotIn": f"{key} notin {listed}", "Exists": key, "DoesNotExist": f"!{key}"}
    opposite = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}[operator]
    found = selectors.matches(LabelSelector(match_expressions=(requirement,)), labels)
    assert selectors.parse(text[operator]).matches(labels) is found
    assert selectors.parse(text[opposite]).matches(labels) is not found


@pytest.mark.parametrize(
    ("query", "labels", "found"),
    [
        ("a!=b", {}, True),
        ("a==b, c", {"a": "b", "c": ""}, True),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a in ()", {"a": ""}, True),
        ("n>3,n<12", {"n": "9"}, True),
        ("n>3", {"n": "x"}, False),
        ("n<3", {}, False),
        ("in in (in)", {"in": "in"}, True),
    ],
)
def test_query_strings(query: str, labels: dict[str, str], found: bool) -> None:
    assert selectors.parse(query).matches(labels) is found


@pytest.mark.parametrize(
    "query", ["a b", "a in x", "=x", ",", "a,,b", "a in (x", "a=b=c", "a,", "a!", "-a", "a=b_", "n>x"]
)
def test_a_malformed_query_is_refused(query: str) -> None:
    with pytest.raises(selectors.SelectorError, match="in label selector"):
        selectors.parse(query)


def test_an_unknown_operator_is_an_error_and_not_a_mismatch() -> None:
    selector = LabelSelector(match_expressions=(LabelSelectorRequirement(key="a", operator="Near"),))
    with pytest.raises(selectors.SelectorError, match="Near"):
        selectors.matches(selector, {"a": "b"})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("metadata.name=web", True),
        ("metadata.name==web,status.phase!=Running", False),
        ("spec.nodeName=", True),
        ("spec.unschedulable=false", True),
        (r"metadata.note=a\,b\=c", True),
        ("", True),
    ],
)
def test_fields_compare_as_text_and_absent_ones_are_empty(query: str, found: bool) -> None:
    raw = {"metadata": {"name": "web", "note": "a,b=c"}, "status": {"phase": "Running"}, "spec": {}}
    assert selectors.parse_fields(query).matches(raw) is found


@pytest.mark.parametrize("query", ["abc", "=x", "a=b=c"])
def test_a_malformed_field_query_is_refused(query: str) -> None:
    with pytest.raises(selectors.SelectorError, match="in field selector"):
        selectors.parse_fields(query)
