"""Go's regular expressions, searched in time that grows with the text only."""

from __future__ import annotations

import re
from random import Random

import pytest

from seatrial.kube import regexes

PIECES = ("a", "b", "(", "|", ")", "*", "+", "?", "[ab]", "[^a]", ".", "^", "$", "a{2}", "b{1,3}", "\\b", "(?:", "\\w")


def test_random_expressions_match_as_pythons() -> None:
    """Where both read an expression they agree on every text without a line break."""
    random = Random(1)
    compared = 0
    for _ in range(4000):
        pattern = "".join(random.choice(PIECES) for _ in range(random.randint(1, 8)))
        try:
            theirs, ours = re.compile(pattern), regexes.compile(pattern)
        except (re.error, regexes.RegexError):
            continue
        text = "".join(random.choice("abc_ ") for _ in range(random.randint(0, 6)))
        assert ours.searches(text) == bool(theirs.search(text)), (pattern, text)
        compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(?i)^BLUE$", "blue", True),
        ("(?s)^a.b$", "a\nb", True),
        ("^a.b$", "a\nb", False),
        ("(?m)^b$", "a\nb\nc", True),
        (r"^\p{Lu}\P{L}$", "Ü1", True),
        (r"^[[:alpha:]_-]+$", "a_b-c", True),
        (r"^[\d.]+\z", "1.2", True),
        (r"\Qa.b\E", "xa.bx", True),
        (r"^\x{e4}\x41$", "äA", True),
        ("^a{,3}$", "a{,3}", True),
    ],
)
def test_syntax_of_go(pattern: str, text: str, found: bool) -> None:
    assert regexes.compile(pattern).searches(text) is found


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[a-z", "missing closing ]: `[a-z`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("((a{100}){100})", "invalid repeat count: `{100}`"),
        ("[z-a]", "invalid character class range: `z-a`"),
    ],
)
def test_errors_of_go(pattern: str, message: str) -> None:
    with pytest.raises(regexes.RegexError) as error:
        regexes.compile(pattern)
    assert str(error.value) == f"error parsing regexp: {message}"


def test_what_makes_backtracking_explode_costs_nothing() -> None:
    assert not regexes.compile("^(a+)+$").searches("a" * 5000 + "b")
    assert not regexes.compile("^(a|a|aa)*$").searches("a" * 5000 + "b")


def test_a_search_that_would_take_too_long_is_given_up() -> None:
    pattern = "".join(f"(?:[ab].{{{size}}}a|b)?" for size in range(90, 110)) + "(?:[ab]*a[ab]{900})c"
    with pytest.raises(regexes.TooCostlyError):
        regexes.compile(pattern).searches("".join(Random(2).choice("ab") for _ in range(20_000)))


@pytest.mark.parametrize("pattern", ["(" * 10_000, "(a{1000}|b{1000})" * 1000])
def test_an_expression_that_is_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(regexes.RegexError):
        regexes.compile(pattern)
