"""What kubectl makes of YAML, asked of kubectl itself: it prints local files as JSON without any cluster."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from seatrial.project import documents

KUBECTL = Path(sys.executable).with_name("kubectl")
HEAD = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"
SCALARS = """\
y Y n N yes Yes YES yEs no No NO on On ON oN off Off OFF true True TRUE tRUE false False FALSE null Null NULL nULL ~
= < 0 -0 +0 1 -1 +1 007 08 09 010 -010 0o17 0o8 0O17 0x1F 0X1F 0xg 0b101 0b2 1_000 _1 1_ 1__0 0x_1 1:30 1:30:20 12e03
1e3 1E3 1e+3 1e-3 1.0 1. .5 -.5 +.5 . .. ... 1.5.2 1_0.5 6.02e23 123456789.0 -0.0 1e21 1e20 1e400 0.1 100000000000000000
9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808 1e 1e+ e1 0e0
2001-01-01 2001-12-14t21:59:43.10-05:00 10.0.0.1 1.2.3 v1 a@b 5m 100Mi 0.5Gi 1/2 nan NaN inf .Inf2
!!str 1;!!str yes;!!int 7;!!float 5;!!bool yes;!!null '';!!binary aGVsbG8=;!custom 5;'yes';"1";'~';"\\u00e9";"a\\nb";''
"""


def scalars() -> list[str]:
    first, _, tagged = SCALARS.partition("!!str 1;")
    return [*first.split(), "!!str 1", *tagged.strip().split(";")]


def kubectl(text: str) -> Any:
    command = [str(KUBECTL), "annotate", "--local", "-f", "-", "a=b", "-o", "json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr
    found = json.loads(done.stdout)
    return found["spec"]


def ours(text: str) -> Any:
    (document,) = documents.parse(text)
    return document.value["spec"]


def same(one: Any, other: Any) -> bool:
    """Equal as JSON of Go: a whole float is an integer, a bool is none, and beyond 64 bits counts what a double has."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)) and bool not in (type(one), type(other)):
        return one == other or (abs(one) > 2**53 and float(one) == float(other))
    return type(one) is type(other) and bool(one == other)


def test_scalars_are_what_kubectl_makes_of_them() -> None:
    words = scalars()
    text = HEAD + "spec:\n" + "".join(f"  k{n}: {word}\n" for n, word in enumerate(words))
    expected, found = kubectl(text), ours(text)
    assert isinstance(expected, dict), expected
    wrong = {
        word: (found[f"k{n}"], expected[f"k{n}"])
        for n, word in enumerate(words)
        if not same(found[f"k{n}"], expected[f"k{n}"])
    }
    assert wrong == {}


def test_random_words_that_look_like_numbers_are_what_kubectl_makes_of_them() -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("0123456789_.eE+-xob:", k=chance.randint(1, 6))) for _ in range(1500)]
    words = [word for word in words if not word.startswith(("-", ":", "+.", "-.")) and not word.endswith((":", "-"))]
    text = HEAD + "spec:\n" + "".join(f"  k{n}: {word}\n" for n, word in enumerate(words))
    expected, found = kubectl(text), ours(text)
    assert isinstance(expected, dict), expected
    wrong = {
        w: (found[f"k{n}"], expected[f"k{n}"])
        for n, w in enumerate(words)
        if not same(found[f"k{n}"], expected[f"k{n}"])
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "spec",
    [
        "spec: {true: 1, 5: 2, 1.5: 3, 0x10: 5, yes: 6, 1e3: 7}",
        'spec: {base: &b {x: 1, z: 2}, m: {<<: *b, z: 3}, n: {z: 4, <<: *b}, q: {"<<": 5}}',
        "spec: {a: &a {x: 1}, b: &b {x: 2, w: 3}, m: {<<: [*a, *b]}}",
        "spec: {a: 1, a: 2}",
        "spec:\n  a: |\n    one\n\n    two\n  b: >-\n    folded\n    text\n  c: |+\n    kept\n\n",
        "spec:\n- 1\n- - 2\n  - {a: [3]}\n",
        "spec: {a: &x [1, 2], b: *x, c: &y word, d: *y}",
        'spec: {"a": 1, "b": [true, null], "c": {"d": "e\\u0301"}}',
        "spec:\r\n  a: 1\r\n  b: two\r\n",
    ],
)
def test_structure_is_what_kubectl_makes_of_it(spec: str) -> None:
    expected = kubectl(HEAD + spec + "\n")
    assert same(ours(HEAD + spec + "\n"), expected), expected


@pytest.mark.parametrize(
    "spec", ["spec: .inf", "spec: .nan", "spec: -.Inf", "spec: {~: 1}", "spec: {[1]: 2}", "spec: {a: *b}"]
)
def test_what_kubectl_refuses_is_refused(spec: str) -> None:
    assert isinstance(kubectl(HEAD + spec + "\n"), str)
    with pytest.raises(documents.DocumentError):
        ours(HEAD + spec + "\n")


def test_random_documents_are_what_kubectl_makes_of_them() -> None:
    chance = random.Random(2)

    def value(depth: int) -> Any:
        kind = chance.choice("slmibn" if depth < 3 else "sibn")
        if kind == "m":
            return {f"k{n}": value(depth + 1) for n in range(chance.randint(0, 4))}
        if kind == "l":
            return [value(depth + 1) for _ in range(chance.randint(0, 4))]
        words = [
            "yes",
            "on",
            "0644",
            "1e3",
            "~",
            "a: b",
            "- x",
            "#c",
            "{{ x }}",
            "",
            " lead",
            "trail ",
            "tab\there",
            "é",
        ]
        scalar = {
            "s": chance.choice(words),
            "i": chance.randint(-9, 99999),
            "b": chance.choice([True, False]),
            "n": None,
        }
        return scalar[kind]

    spec = {f"d{n}": value(0) for n in range(60)}
    for style in (None, True, False):
        whole = {**yaml.safe_load(HEAD), "spec": spec}
        text = yaml.safe_dump(whole, default_flow_style=style, allow_unicode=True)
        assert same(ours(text), kubectl(text))
