"""Which objects are meant: label selectors in objects, and label and field selectors as query strings.

Semantics are apimachinery's (`labels.Selector`, `fields.Selector`, `metav1.LabelSelectorAsSelector`): a selector that
is absent matches nothing and an empty one everything; `!=` and `notin` also match objects that lack the key; `>` and
`<` compare integers. What cannot be understood raises `SelectorError` rather than matching something.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from seatrial.kube.objects.base import JsonObject
from seatrial.kube.objects.meta import LabelSelector


class SelectorError(ValueError):
    """A selector that means nothing; the message says which part and what was expected."""


_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_TOKEN: Final = re.compile(r"\s*(!=|==|[=,()!<>]|[^\s=,()!<>]+)")
_SIGNS: Final = frozenset({"!=", "==", "=", ",", "(", ")", "!", "<", ">"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        present, value = self.key in labels, labels.get(self.key, "")
        match self.operator:
            case "In":
                return present and value in self.values
            case "NotIn":
                return not present or value not in self.values
            case "Exists":
                return present
            case "DoesNotExist":
                return not present
            case "Gt" | "Lt":
                if not present or not _is_integer(value):
                    return False
                wanted = int(self.values[0])
                return int(value) > wanted if self.operator == "Gt" else int(value) < wanted
        raise SelectorError(
            f"{self.operator!r} is not an operator of a label selector: In, NotIn, Exists or DoesNotExist"
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """A parsed label query: all its requirements hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Fields:
    """A parsed field query: `(path, equal, value)` for each term; all hold. Absent fields count as empty."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, raw: JsonObject) -> bool:
        return all((_field(raw, path) == value) is equal for path, equal, value in self.terms)


def matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether an object with these labels is selected; None selects nothing, an empty selector everything."""
    if selector is None:
        return False
    return matches_labels(selector.match_labels, labels) and all(
        Requirement(expression.key, expression.operator, expression.values).matches(labels)
        for expression in selector.match_expressions
    )


def matches_labels(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every pair of a plain map selector is among the labels; an empty one selects everything."""
    return all(labels.get(key) == value for key, value in selector.items())


def parse(text: str) -> Labels:
    """The label query `text`, as in `?labelSelector=` or `kubectl -l`. Raises `SelectorError`."""
    tokens = _tokens(text)
    requirements = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(text, tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != ",":
                raise SelectorError(f"in label selector {text!r}: expected ',' or the end before {tokens[position]!r}")
            position += 1
            if position == len(tokens):
                raise SelectorError(f"in label selector {text!r}: a label must follow the last ','")
    return Labels(tuple(requirements))


def parse_fields(text: str) -> Fields:
    """The field query `text`, as in `?fieldSelector=`; backslash escapes `,` and `=`. Raises `SelectorError`."""
    terms = []
    for term in re.findall(r"((?:\\.|[^\\,])+|\\)(?:,|$)|,", text):
        if not term:
            continue
        found = re.fullmatch(r"((?:\\.|[^\\=!])*)(!=|==|=)((?:\\.|[^\\=])*)", term, re.DOTALL)
        if found is None or not found[1].strip():
            raise SelectorError(
                f"in field selector {text!r}: {term!r} is not a term; write path=value, path==value or path!=value"
            )
        terms.append((found[1].strip(), found[2] != "!=", re.sub(r"\\(.)", r"\1", found[3])))
    return Fields(tuple(terms))


def _tokens(text: str) -> list[str]:
    rest = text.rstrip()
    tokens = []
    position = 0
    while position < len(rest):
        found = _TOKEN.match(rest, position)
        assert found is not None, "every character is part of some token"
        tokens.append(found[1])
        position = found.end()
    return tokens


def _requirement(text: str, tokens: list[str], position: int) -> tuple[Requirement, int]:
    def at(index: int) -> str:
        return tokens[index] if index < len(tokens) else ""

    negated = at(position) == "!"
    key = at(position + negated)
    _check_key(text, key)
    position += negated + 1
    following = at(position)
    if negated:
        return Requirement(key, "DoesNotExist"), position
    if following in {"", ","}:
        return Requirement(key, "Exists"), position
    if following in {"in", "notin"}:
        values, position = _values(text, tokens, position + 1)
        return Requirement(key, "In" if following == "in" else "NotIn", values), position
    if following in {"=", "==", "!=", ">", "<"}:
        value = at(position + 1)
        value = "" if value == "," else value
        position += 1 + bool(value)
        if following in {">", "<"}:
            if not _is_integer(value):
                raise SelectorError(f"in label selector {text!r}: {key} {following} needs an integer, not {value!r}")
            return Requirement(key, "Gt" if following == ">" else "Lt", (value,)), position
        _check_value(text, value)
        return Requirement(key, "NotIn" if following == "!=" else "In", (value,)), position
    raise SelectorError(
        f"in label selector {text!r}: after {key!r} expected =, ==, !=, in, notin, > or <, found {following!r}"
    )


def _values(text: str, tokens: list[str], position: int) -> tuple[tuple[str, ...], int]:
    if position >= len(tokens) or tokens[position] != "(":
        raise SelectorError(f"in label selector {text!r}: 'in' and 'notin' need values in parentheses")
    values: set[str] = set()
    expected_value = True
    for index in range(position + 1, len(tokens)):
        token = tokens[index]
        if token == ")":
            if expected_value:
                values.add("")
            return tuple(sorted(values)), index + 1
        if token == ",":
            if expected_value:
                values.add("")
            expected_value = True
        elif token in _SIGNS or not expected_value:
            break
        else:
            _check_value(text, token)
            values.add(token)
            expected_value = False
    raise SelectorError(f"in label selector {text!r}: the list of values is not closed by ')'")


def _check_key(text: str, key: str) -> None:
    domain, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and (len(domain) > 253 or not _DOMAIN.fullmatch(domain))):
        raise SelectorError(
            f"in label selector {text!r}: {key!r} is not a label key; a key is an optional DNS name and '/', then"
            " at most 63 letters, digits, '-', '_' or '.' that begin and end with a letter or digit"
        )


def _check_value(text: str, value: str) -> None:
    if value and not _NAME.fullmatch(value):
        raise SelectorError(
            f"in label selector {text!r}: {value!r} is not a label value; a value has at most 63 letters, digits, '-',"
            " '_' or '.' and begins and ends with a letter or digit"
        )


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) is not None


def _field(raw: JsonObject, path: str) -> str:
    value: object = raw
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if path == "spec.unschedulable" and value is None:
        return "false"
    return "" if value is None else str(value)
