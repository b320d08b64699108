"""Go's regular expressions (RE2 syntax), answering one question: does a text contain a match?

Schemas of custom resources bring patterns that anybody may write, so a match must not take exponential time; Python's
`re` cannot promise that, nor does it read Go's syntax. Here an expression is compiled to a nondeterministic automaton
whose sets of states are remembered as they are met: each letter of the text costs one step. What is not asked
(captures, the leftmost match) is not computed. Scripts such as `\\p{Greek}` are not known, general categories are.
Syntax: https://pkg.go.dev/regexp/syntax
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

MAX_REPEAT: Final = 1000
"""Go's limit of a repetition, and of nested repetitions multiplied."""
MAX_DEPTH: Final = 150
MAX_PROGRAM: Final = 50_000
MAX_WORK: Final = 500_000
"""Steps that one search may take beyond what is remembered: less than a second."""
_MAX_REMEMBERED: Final = 20_000

_BEGIN_TEXT, _END_TEXT, _BEGIN_LINE, _END_LINE, _WORD, _NO_WORD = (1 << bit for bit in range(6))
_MAX_CHAR: Final = 0x10FFFF


class RegexError(ValueError):
    """The expression cannot be compiled; the message is Go's."""


class TooCostlyError(Exception):
    """This text cannot be searched within `MAX_WORK`."""


@dataclass(frozen=True, slots=True)
class _Letters:
    """A set of letters: ranges by code point, general categories (or what is in none of them)."""

    ranges: tuple[tuple[int, int], ...]
    categories: tuple[tuple[str, bool], ...] = ()
    negated: bool = False
    fold: bool = False

    def has(self, letter: str) -> bool:
        found = self._plainly(letter)
        if not found and self.fold:
            found = any(len(other) == 1 and self._plainly(other) for other in (letter.lower(), letter.upper()))
        return found != self.negated

    def _plainly(self, letter: str) -> bool:
        code = ord(letter)
        place = bisect_right(self.ranges, (code, _MAX_CHAR + 1)) - 1
        if place >= 0 and self.ranges[place][0] <= code <= self.ranges[place][1]:
            return True
        return any(unicodedata.category(letter).startswith(name) != no for name, no in self.categories)


@dataclass(frozen=True, slots=True)
class _Empty:
    """Matches nothing, where all of `holds` hold."""

    holds: int = 0


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Node
    least: int
    most: int | None


_Node = _Letters | _Empty | _Sequence | _Choice | _Repeat

_DIGIT: Final = ((48, 57),)
_SPACE: Final = ((9, 10), (12, 13), (32, 32))
_WORD_RANGES: Final = ((48, 57), (65, 90), (95, 95), (97, 122))
_PERL: Final = {"d": _DIGIT, "s": _SPACE, "w": _WORD_RANGES}
_POSIX: Final = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": _DIGIT,
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD_RANGES,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_ESCAPES: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_CATEGORIES: Final = (
    frozenset("CLMNPSZ")
    | {"Zl", "Zp", "Zs"}
    | frozenset(
        group + member
        for group, members in (
            ("C", "cfos"),
            ("L", "lmotu"),
            ("M", "cen"),
            ("N", "dlo"),
            ("P", "cdefios"),
            ("S", "ckmo"),
        )
        for member in members
    )
)


def _fail(code: str, text: str) -> NoReturn:
    raise RegexError(f"error parsing regexp: {code}: `{text}`")


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._fold = self._lines = self._dot_all = False

    def parse(self) -> _Node:
        node = self._choice()
        if self._at < len(self._text):
            _fail("unexpected )", self._text)
        return node

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        letter = self._peek()
        self._at += 1
        return letter

    def _choice(self) -> _Node:
        flags = self._fold, self._lines, self._dot_all
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _fail("expression nests too deeply", self._text)
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        self._depth -= 1
        self._fold, self._lines, self._dot_all = flags
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            start = self._at
            if self._text.startswith("\\Q", start):
                end = self._text.find("\\E", start)
                quoted = self._text[start + 2 : end if end >= 0 else len(self._text)]
                self._at = end + 2 if end >= 0 else len(self._text)
                parts += [self._letter(ord(letter)) for letter in quoted]
                continue
            if self._repetition(start) is not None:
                _fail("missing argument to repetition operator", self._text[start : self._at])
            atom = self._atom()
            if atom is not None:
                parts.append(self._repeated(atom))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _repeated(self, node: _Node) -> _Node:
        before = ""
        while True:
            start = self._at
            found = self._repetition(start)
            if found is None:
                return node
            operator = self._text[start : self._at]
            if before:
                _fail("invalid nested repetition operator", before + operator)
            before = operator
            least, most = found
            node = _Repeat(node, least, most)
            if _times(node) > MAX_REPEAT:
                _fail("invalid repeat count", operator)

    def _repetition(self, start: int) -> tuple[int, int | None] | None:
        """The bounds of a repetition operator here, after which `_at` is behind it; None if there is none."""
        letter = self._peek()
        found: tuple[int, int | None] | None = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(letter)
        if found is not None:
            self._at += 1
        elif letter == "{":
            found = self._counted(start)
        if found is not None and self._peek() == "?":
            self._at += 1
        return found

    def _counted(self, start: int) -> tuple[int, int | None] | None:
        end = self._text.find("}", start, start + 24)
        least, comma, most = self._text[start + 1 : end].partition(",")
        numbers = [each for each in (least, most) if each]
        if end < 0 or not least or not all(each.isascii() and each.isdigit() for each in numbers):
            return None  # not a repetition: the brace stands for itself
        bounds = int(least), int(most) if most else None if comma else int(least)
        self._at = end + 1
        if bounds[0] > MAX_REPEAT or (bounds[1] is not None and not bounds[0] <= bounds[1] <= MAX_REPEAT):
            _fail("invalid repeat count", self._text[start : self._at])
        return bounds

    def _atom(self) -> _Node | None:
        start, letter = self._at, self._next()
        match letter:
            case "(":
                return self._group(start)
            case "[":
                return self._class(start)
            case ".":
                return _Letters((), negated=True) if self._dot_all else _Letters(((10, 10),), negated=True)
            case "^":
                return _Empty(_BEGIN_LINE if self._lines else _BEGIN_TEXT)
            case "$":
                return _Empty(_END_LINE if self._lines else _END_TEXT)
            case "\\":
                return self._escape(start)
        return self._letter(ord(letter))

    def _letter(self, code: int) -> _Node:
        return _Letters(((code, code),), fold=self._fold)

    def _group(self, start: int) -> _Node | None:
        if self._peek() == "?":
            end = next((at for at in range(start + 2, len(self._text)) if self._text[at] in ":)>"), -1)
            head = self._text[start : end + 1]
            name = head[4 if head.startswith("(?P<") else 3 : -1]
            if head.startswith(("(?P<", "(?<")) and head[3:4] not in ("=", "!"):
                if not name.isidentifier() or not head.endswith(">"):
                    _fail("invalid named capture", head or self._text[start:])
                self._at = end + 1
            else:
                return self._flags(start)
        node = self._choice()
        if self._next() != ")":
            _fail("missing closing )", self._text)
        return node

    def _flags(self, start: int) -> _Node | None:
        """`(?i)` for the rest of the group, or `(?i:...)`."""
        self._at = start + 2
        on, seen = True, False
        before = self._fold, self._lines, self._dot_all
        while True:
            letter = self._next()
            match letter:
                case "i":
                    self._fold = on
                case "m":
                    self._lines = on
                case "s":
                    self._dot_all = on
                case "U":
                    pass  # only says which match is found
                case "-" if on:
                    on, seen = False, False
                    continue
                case ":" | ")" if on or seen:
                    if letter == ")":
                        return None
                    node = self._choice()
                    if self._next() != ")":
                        _fail("missing closing )", self._text)
                    self._fold, self._lines, self._dot_all = before
                    return node
                case "":
                    _fail("missing closing )", self._text)
                case _:
                    _fail("invalid or unsupported Perl syntax", self._text[start : self._at])
            seen = True

    def _escape(self, start: int) -> _Node:
        letter = self._peek()
        places = {"A": _BEGIN_TEXT, "z": _END_TEXT, "b": _WORD, "B": _NO_WORD}
        if letter in places:
            self._at += 1
            return _Empty(places[letter])
        found = self._escaped_class(start)
        if found is not None:
            ranges, categories, no = found
            return _Letters(ranges, categories, negated=no, fold=self._fold)
        return self._letter(self._escaped_code(start))

    def _escaped_class(
        self, start: int
    ) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[str, bool], ...], bool] | None:
        letter = self._peek()
        if letter.lower() in _PERL and letter:
            self._at += 1
            return _PERL[letter.lower()], (), letter.isupper()
        if letter in ("p", "P"):
            self._at += 1
            name = self._next()
            if name == "{":
                end = self._text.find("}", self._at)
                name = self._text[self._at : end] if end >= 0 else "?"
                self._at = end + 1 if end >= 0 else len(self._text)
            no = (letter == "P") != name.startswith("^")
            name = name.removeprefix("^")
            if name == "Any":
                return ((0, _MAX_CHAR),), (), no
            if name not in _CATEGORIES:
                _fail("invalid character class range", self._text[start : self._at])
            return (), ((name, False),), no
        return None

    def _escaped_code(self, start: int) -> int:
        letter = self._next()
        if letter == "":
            raise RegexError("error parsing regexp: trailing backslash at end of expression: ``")
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter == "x":
            return self._hexadecimal(start)
        if letter == "0" or (letter in "1234567" and self._peek() and self._peek() in "01234567"):
            digits = letter
            while len(digits) < 3 and self._peek() and self._peek() in "01234567":
                digits += self._next()
            return int(digits, 8)
        if letter.isascii() and not letter.isalnum():
            return ord(letter)
        _fail("invalid escape sequence", self._text[start : self._at])

    def _hexadecimal(self, start: int) -> int:
        if self._peek() == "{":
            end = self._text.find("}", self._at)
            digits = self._text[self._at + 1 : end] if end >= 0 else ""
            self._at = end + 1 if end >= 0 else len(self._text)
        else:
            digits = self._text[self._at : self._at + 2]
            self._at += 2
        if not digits or len(digits) > 8 or any(each not in "0123456789abcdefABCDEF" for each in digits):
            _fail("invalid escape sequence", self._text[start : self._at])
        code = int(digits, 16)
        if code > _MAX_CHAR:
            _fail("invalid escape sequence", self._text[start : self._at])
        return code

    def _class(self, start: int) -> _Node:
        ranges: list[tuple[int, int]] = []
        categories: list[tuple[str, bool]] = []
        negated = self._peek() == "^"
        self._at += negated
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                _fail("missing closing ]", self._text[start:])
            here = self._at
            first = False
            if self._text.startswith("[:", here):
                end = self._text.find(":]", here + 2)
                if end >= 0:
                    name = self._text[here + 2 : end]
                    self._at = end + 2
                    if name.removeprefix("^") not in _POSIX:
                        _fail("invalid character class range", self._text[here : self._at])
                    known = _POSIX[name.removeprefix("^")]
                    ranges += _others(known) if name.startswith("^") else known
                    continue
            if self._peek() == "\\":
                self._at += 1
                found = self._escaped_class(here)
                if found is not None:
                    some, in_categories, no = found
                    ranges += _others(some) if some and no else some
                    categories += ((name, no) for name, _ in in_categories)
                    continue
                self._at = here
            low = self._class_letter(start)
            high = low
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._class_letter(start)
                if high < low:
                    _fail("invalid character class range", self._text[here : self._at])
            ranges.append((low, high))
        self._at += 1
        return _Letters(_merged(ranges), tuple(categories), negated, self._fold)

    def _class_letter(self, start: int) -> int:
        here, letter = self._at, self._next()
        if letter == "":
            _fail("missing closing ]", self._text[start:])
        return self._escaped_code(here) if letter == "\\" else ord(letter)


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _others(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    edges = [-1, *(edge for low, high in ranges for edge in (low, high)), _MAX_CHAR + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1)


def _times(node: _Node) -> int:
    """How often the innermost part may be written out: repetitions within repetitions multiply."""
    match node:
        case _Repeat(part, least, most):
            counted = max(least, most or 0, 1) if (least, most) not in ((0, None), (1, None), (0, 1)) else 1
            return counted * _times(part)
        case _Sequence(parts) | _Choice(parts):
            return max(map(_times, parts), default=1)
    return 1


_LETTERS, _SPLIT, _HOLDS, _MATCH = range(4)


class Regex:
    """A compiled expression; `compile` gives it."""

    def __init__(self, pattern: str) -> None:
        self._program: list[tuple[int, _Letters | int, int, int]] = []
        """Instructions: kind; what it asks for; where to go on; and where else."""
        self._start = self._compiled(_Parser(pattern).parse(), self._add(_MATCH, 0, 0, 0))
        self._closures: dict[tuple[frozenset[int], int], tuple[tuple[int, ...], bool]] = {}
        self._steps: dict[tuple[tuple[int, ...], str], frozenset[int]] = {}

    def searches(self, text: str) -> bool:
        """Whether `text` contains a match. Raises `TooCostlyError`."""
        self._work = 0
        states: frozenset[int] = frozenset((self._start,))
        before = ""
        for at in range(len(text) + 1):
            letter = text[at : at + 1]
            closure, matched = self._closure(states, _holding(before, letter))
            if matched:
                return True
            if letter:
                states = self._step(closure, letter)
            before = letter
        return False

    def _closure(self, states: frozenset[int], holding: int) -> tuple[tuple[int, ...], bool]:
        known = self._closures.get((states, holding))
        if known is not None:
            return known
        seen: set[int] = set()
        waiting, matched = list(states), False
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            kind, asked, then, other = self._program[at]
            match kind:
                case 1:
                    waiting += (then, other)
                case 2:
                    assert isinstance(asked, int)
                    if asked & ~holding == 0:
                        waiting.append(then)
                case 3:
                    matched = True
        self._spend(len(seen))
        found = tuple(at for at in sorted(seen) if self._program[at][0] == _LETTERS), matched
        if len(self._closures) >= _MAX_REMEMBERED:
            self._closures.clear()
        self._closures[states, holding] = found
        return found

    def _step(self, closure: tuple[int, ...], letter: str) -> frozenset[int]:
        known = self._steps.get((closure, letter))
        if known is not None:
            return known
        self._spend(len(closure) + 1)
        then = {self._start}
        for at in closure:
            _, asked, following, _ = self._program[at]
            assert isinstance(asked, _Letters)
            if asked.has(letter):
                then.add(following)
        if len(self._steps) >= _MAX_REMEMBERED:
            self._steps.clear()
        found = self._steps[closure, letter] = frozenset(then)
        return found

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TooCostlyError

    def _add(self, kind: int, asked: _Letters | int, then: int, other: int) -> int:
        if len(self._program) >= MAX_PROGRAM:
            raise RegexError("error parsing regexp: expression too large: ``")
        self._program.append((kind, asked, then, other))
        return len(self._program) - 1

    def _compiled(self, node: _Node, then: int) -> int:
        """Instructions for `node` that go on at `then`; gives the first of them."""
        match node:
            case _Letters():
                return self._add(_LETTERS, node, then, 0)
            case _Empty(holds):
                return self._add(_HOLDS, holds, then, 0)
            case _Sequence(parts):
                for part in reversed(parts):
                    then = self._compiled(part, then)
                return self._add(_SPLIT, 0, then, then) if not parts else then
            case _Choice(parts):
                first = self._compiled(parts[-1], then)
                for part in reversed(parts[:-1]):
                    first = self._add(_SPLIT, 0, self._compiled(part, then), first)
                return first
            case _Repeat(part, least, most):
                if most is None:
                    loop = self._add(_SPLIT, 0, then, then)
                    body = self._compiled(part, loop)
                    self._program[loop] = (_SPLIT, 0, body, then)
                    then = loop
                else:
                    end = then
                    for _ in range(most - least):
                        then = self._add(_SPLIT, 0, self._compiled(part, then), end)
                for _ in range(least):
                    then = self._compiled(part, then)
                return then


def _holding(before: str, after: str) -> int:
    """What holds between two letters; an empty one is the text's edge."""
    holding = 0 if before else _BEGIN_TEXT | _BEGIN_LINE
    holding |= 0 if after else _END_TEXT | _END_LINE
    if before == "\n":
        holding |= _BEGIN_LINE
    if after == "\n":
        holding |= _END_LINE
    return holding | (_WORD if _is_word(before) != _is_word(after) else _NO_WORD)


def _is_word(letter: str) -> bool:
    return letter == "_" or (letter.isascii() and letter.isalnum())


@lru_cache(maxsize=512)
def compile(pattern: str) -> Regex:  # noqa: A001  # the word everybody knows, always called as `regexes.compile`
    """Raises `RegexError`."""
    return Regex(pattern)
