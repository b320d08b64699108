"""JSONPath as Kubernetes reads it (client-go `util/jsonpath`): what printer columns and selectable fields are named by.

Fields, subscripts and slices, unions, wildcards, recursive descent and filters. A missing field is no error; what is
wrong with the data (an index out of bounds) is a `LookupError`. Ranges over several templates are not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from seatrial.kube import faults

MAX_LENGTH: Final = 2_000
MAX_FOUND: Final = 10_000
"""How many values one step may give: a path such as `..*..*` multiplies."""
_ENDS: Final = frozenset(" \t\r\n.,[]$@{}")
_DICT_KEY: Final = re.compile(r"'([^']*)'")
_SLICE: Final = re.compile(r"(-?\d*)(:-?\d*)?(:-?\d*)?", re.ASCII)
_COMPARISON: Final = re.compile(r"([^!<>=]+)([!<>=]+)(.+)", re.DOTALL)


class PathError(ValueError):
    """The text is no path."""


class MissingError(LookupError):
    """The data cannot be followed along the path."""


Step = Callable[[list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path; `parse` gives it."""

    steps: tuple[Step, ...]

    def find(self, data: Any) -> list[Any]:
        """Everything that the path leads to. Raises `MissingError`."""
        found = [data]
        for step in self.steps:
            found = step(found)
            if len(found) > MAX_FOUND:
                raise MissingError("too many values")
        return found


@lru_cache(maxsize=512)
def parse(text: str) -> Path:
    """The path of an action's inside, such as `.spec.replicas`. Raises `PathError`."""
    if len(text) > MAX_LENGTH:
        raise PathError("too long")
    return Path(tuple(_Parser(text).steps()))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def steps(self) -> Iterator[Step]:
        text = self._text
        recursive = False
        while self._at < len(text) and text[self._at] != "}":
            letter = text[self._at]
            if text.startswith("[?(", self._at):
                yield self._filter()
            elif text.startswith("..", self._at):
                if recursive:
                    raise PathError("invalid multiple recursive descent")
                self._at += 2
                yield _descend
                recursive = True
                if text[self._at : self._at + 1].isalnum() or text[self._at : self._at + 1] == "_":
                    yield self._field()
                    recursive = False
                continue
            elif letter in "\r\n":
                raise PathError("unclosed action")
            elif letter in " @$":
                self._at += 1
                continue
            elif letter == "[":
                yield from self._subscript()
            elif letter in "\"'":
                yield _constant(self._quote(letter))
            elif letter == ".":
                self._at += 1
                yield self._field()
            elif letter in "+-" or letter.isdigit():
                yield _constant(self._number())
            elif letter.isalpha() or letter == "_":
                yield self._word()
            else:
                raise PathError(f"unrecognized character in action: U+{ord(letter):04X} '{letter}'")
            recursive = False

    def _until_end(self) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in _ENDS:
            self._at += 2 if self._text[self._at] == "\\" else 1
        return self._text[start : self._at]

    def _field(self) -> Step:
        name = self._until_end()
        return _wildcard if name == "*" else _of_field(name.replace("\\", ""))

    def _word(self) -> Step:
        word = self._until_end()
        if word in ("true", "false"):
            return _constant(word == "true")

        def unknown(_: list[Any]) -> NoReturn:
            raise MissingError(f"unrecognized identifier {word}")

        return unknown

    def _number(self) -> float:
        start = self._at
        self._at += self._text[start] in "+-"
        while self._at < len(self._text) and (self._text[self._at].isdigit() or self._text[self._at] == "."):
            self._at += 1
        try:
            word = self._text[start : self._at]
            return float(word) if "." in word else int(word)
        except ValueError:
            raise PathError(f"cannot parse number {word}") from None

    def _quote(self, mark: str) -> str:
        start = self._at
        self._at += 1
        while True:
            if self._at >= len(self._text) or self._text[self._at] == "\n":
                raise PathError("unterminated quoted string")
            if self._text[self._at] == mark and self._text[self._at - 1] != "\\":
                break
            self._at += 1
        self._at += 1
        return self._text[start + 1 : self._at - 1].replace(f"\\{mark}", mark).replace("\\\\", "\\")

    def _subscript(self) -> Iterator[Step]:
        end = self._text.find("]", self._at)
        if end < 0 or "\n" in self._text[self._at : end]:
            raise PathError("unterminated array")
        inner = self._text[self._at + 1 : end]
        self._at = end + 1
        inner = ":" if inner == "*" else inner
        parts = inner.split(",")
        if len(parts) > 1:
            yield _union([Path(tuple(_Parser(f"[{part.strip(' ')}]").steps())) for part in parts])
        elif key := _DICT_KEY.fullmatch(inner):
            yield from _Parser(f".{key[1]}").steps()
        elif found := _SLICE.fullmatch(inner):
            yield _slice(found)
        else:
            raise PathError(f"invalid array index {inner}")

    def _filter(self) -> Step:
        start = self._at + 3
        self._at = start
        mark, closed = "", False
        while True:
            letter = self._text[self._at : self._at + 1]
            if letter in ("", "\n"):
                raise PathError("unterminated filter")
            if letter in "\"'":
                if not mark:
                    mark = letter
                elif letter == mark and self._text[self._at - 1] != "\\":
                    closed = True
            elif letter == ")" and bool(mark) == closed:
                break
            self._at += 1
        inner = self._text[start : self._at]
        self._at += 1
        if self._text[self._at : self._at + 1] != "]":
            raise PathError("unclosed array expect ]")
        self._at += 1
        compared = _COMPARISON.fullmatch(inner)
        if compared is None:
            return _filtered(_inner(inner), None, "exists")
        return _filtered(_inner(compared[1]), _inner(compared[3]), compared[2])


def _inner(text: str) -> Path:
    return Path(tuple(_Parser(text).steps()))


def _constant(value: Any) -> Step:
    return lambda found: [value] * len(found)


def _of_field(name: str) -> Step:
    return lambda found: [each[name] for each in found if isinstance(each, dict) and name in each]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value[name] for name in sorted(value)]
    return list(value) if isinstance(value, list) else []


def _wildcard(found: list[Any]) -> list[Any]:
    return [inner for each in found for inner in _children(each)]


def _descend(found: list[Any]) -> list[Any]:
    out: list[Any] = []
    waiting = list(reversed(found))
    while waiting:
        value = waiting.pop()
        inner = _children(value)
        if inner:
            out.append(value)
            if len(out) > MAX_FOUND:
                raise MissingError("too many values")
            waiting += reversed(inner)
    return out


def _union(paths: list[Path]) -> Step:
    return lambda found: [value for path in paths for each in [found] for value in _walk(path, each)]


def _walk(path: Path, found: list[Any]) -> list[Any]:
    for step in path.steps:
        found = step(found)
    return found


def _slice(found: re.Match[str]) -> Step:
    first, second, third = (text.removeprefix(":") if text else text for text in found.groups())
    start = int(first) if first not in ("", "-") else None
    derived = second is None
    stop = (start or 0) + 1 if second is None else int(second) if second not in ("", "-") else None
    step = int(third) if third else None
    if derived and start is None and first == "":
        stop = 1

    def run(values: list[Any]) -> list[Any]:
        out: list[Any] = []
        for value in values:
            if value is None:
                continue
            if not isinstance(value, list):
                raise MissingError(f"{value} is not array or slice")
            size = len(value)
            low = start or 0
            low += size if low < 0 else 0
            high = size if stop is None else stop
            high += size if high < 0 or (high == 0 and derived) else 0
            if low == high:
                return out
            if not 0 <= low < size:
                raise MissingError(f"array index out of bounds: index {low}, length {size}")
            if not 0 <= high <= size:
                raise MissingError(f"array index out of bounds: index {high - 1}, length {size}")
            if low > high:
                raise MissingError(f"starting index {low} is greater than ending index {high}")
            if step is not None and step <= 0:
                raise MissingError("step must be > 0")
            out += value[low : high : step or 1]
        return out

    return run


def _filtered(left: Path, right: Path | None, operator: str) -> Step:
    def run(values: list[Any]) -> list[Any]:
        out: list[Any] = []
        for value in values:
            if not isinstance(value, list):
                raise MissingError(f"{value} is not array or slice and cannot be filtered")
            for each in value:
                found = left.find(each)
                if right is None:
                    out += [each] if found else []
                    continue
                wanted = right.find(each)
                if not found or not wanted:
                    continue
                if len(found) > 1 or len(wanted) > 1:
                    raise MissingError("can only compare one element at a time")
                if _compare(found[0], wanted[0], operator):
                    out.append(each)
        return out

    return run


def _compare(one: Any, other: Any, operator: str) -> bool:
    numbers = [isinstance(each, (int, float)) and not isinstance(each, bool) for each in (one, other)]
    if not all(numbers) and type(one) is not type(other):
        raise MissingError("incompatible types for comparison")
    if operator in ("==", "!="):
        return bool(one == other) == (operator == "==")
    if isinstance(one, (bool, dict, list)) or one is None:
        raise MissingError("invalid type for comparison")
    match operator:
        case "<":
            return bool(one < other)
        case ">":
            return bool(one > other)
        case "<=":
            return bool(one <= other)
        case ">=":
            return bool(one >= other)
    raise MissingError(f"unrecognized filter operator {operator}")


def as_text(value: Any) -> str:
    """A value as a column shows it."""
    if value is None:
        return "<no value>"
    if isinstance(value, (dict, list)):
        return faults.as_json(value)
    return value if isinstance(value, str) else faults.shown(value)
