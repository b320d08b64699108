"""YAML as kubectl reads it, and text that means harm."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.project import documents


def one(text: str) -> documents.Document:
    (document,) = documents.parse(text)
    return document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        ("1e3", 1000),
        ("~", None),
        ("2001-01-01", "2001-01-01"),
        ("08", 8),
        ("!!str 1", "1"),
        ("1.2.3", "1.2.3"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_resolve_as_in_go(text: str, value: Any) -> None:
    found = one(f"a: {text}").value["a"]
    assert (found, type(found)) == (value, type(value))


def test_every_field_has_the_place_of_its_key() -> None:
    document = one("spec:\n  ports:\n    - name: http\n      port: 80\n")
    assert document.positions["spec", "ports", 0, "port"] == (4, 7)
    assert document.positions["spec", "ports", 0] == (3, 7)
    assert document.positions["spec", "ports"] == (2, 3)


def test_json_is_read_with_places() -> None:
    document = one('{"a": [1, {"b": true}],\n "c": null}')
    assert document.value == {"a": [1, {"b": True}], "c": None}
    assert document.positions["c",] == (2, 2)


def test_keys_become_strings() -> None:
    assert one("1: a\ntrue: b\n").value == {"1": "a", "true": "b"}


def test_a_key_set_twice_is_told_with_its_place() -> None:
    assert one("a: 1\nb: 2\na: 3\n").duplicates == [(("a",), 3, 1)]


def test_a_merge_gives_way_to_the_mapping_s_own_keys() -> None:
    assert one("x: &x {a: 1, b: 2}\nz:\n  <<: *x\n  b: 3\n").value["z"] == {"a": 1, "b": 3}


def test_several_documents_each_with_their_lines() -> None:
    first, second = documents.parse("a: 1\n---\nb: 2\n")
    assert (first.positions["a",], second.positions["b",]) == ((1, 1), (3, 1))


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(documents.DocumentError, match="alias bomb"):
        one("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than|valid YAML"),
        ("a: &a\n  b: *a\n", "contains itself"),
        ("a:\n\tb: 1\n", "tab"),
        ("a: {{ .Values.x }}\n", "template"),
        ("a: [1\n", "not valid YAML"),
        ("a: \x01\n", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_told_in_words(text: str, message: str) -> None:
    with pytest.raises(documents.DocumentError, match=message):
        one(text)
