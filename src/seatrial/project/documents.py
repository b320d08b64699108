"""YAML and JSON text as kubectl reads it, with the place of every field.

Rules: scalars follow YAML 1.1 as Go's yaml.v2 resolves it (yes/no/on/off are booleans, 0644 is octal, 1:30 a string);
keys become strings; duplicate keys are reported, the last one wins; `<<` merges where it stands. The text is hostile:
parsing works on events, never recursion, with bounds on depth and on what aliases expand to.
JSON is a subset of YAML for this purpose, so one parser serves both.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import Any

import yaml

from seatrial.check.system import Path, dotted

DEPTH_LIMIT = 100
"""Upstream's objects nest some 20 deep; a CRD schema may reach 60."""
ALIAS_LIMIT = 200_000
"""How many values the aliases of one document may expand to."""

_BOOLEANS = {
    spelling: value
    for value, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_WORDS: Mapping[str, bool | None] = {**_BOOLEANS, **dict.fromkeys(("", "~", "null", "Null", "NULL"))}
_INTEGER = re.compile(r"[-+]?(0[bB][01]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|[0-9]+)")
_OCTAL = re.compile(r"([-+]?)0([0-7]+)")
_BETWEEN = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+)?")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class DocumentError(Exception):
    """The text is not YAML that kubectl would take; line and column count from 1."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(slots=True)
class Document:
    """One document: its value, the places of its fields, and the keys that occur twice."""

    value: Any = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    duplicates: list[tuple[Path, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_at: tuple[int, int] = (0, 0)
    merging: bool = False
    """The key is a plain `<<`."""
    own: set[str] = field(default_factory=set)


def parse(text: str) -> Iterator[Document]:
    """The documents of `text`. Raises `DocumentError` where the text stops being readable."""
    document = Document()
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    expanded = 0

    def take(value: Any, size: int, at: tuple[int, int], *, merges: bool = False) -> None:
        if not stack:
            document.value = value
            document.positions.setdefault((), at)
            return
        top = stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if top.key is None:
            if isinstance(value, (dict, list)):
                raise DocumentError("a mapping or list cannot be a key (did a `{{ }}` template stay unrendered?)", *at)
            if value is None:
                raise DocumentError("null cannot be a key", *at)
            top.merging = merges
            top.key = value if isinstance(value, str) else _key(value)
            top.key_at = at
            return
        key, top.key = top.key, None
        if top.merging:
            _merge(top, value, at)
            return
        if key in top.own:
            document.duplicates.append(((*top.path, key), *top.key_at))
        top.own.add(key)
        top.value[key] = value
        document.positions[(*top.path, key)] = top.key_at

    def path_of_next() -> Path:
        if not stack:
            return ()
        top = stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key) if top.key is not None else top.path

    loader = None
    try:
        loader = yaml.CLoader(text)
        while loader.check_event():
            event = loader.get_event()
            assert event is not None
            at = _at(event)
            if isinstance(event, yaml.ScalarEvent):
                value = _scalar(event)
                if event.anchor:
                    anchors[event.anchor] = (value, 1)
                if stack and isinstance(stack[-1].value, list):
                    document.positions[path_of_next()] = at
                take(value, 1, at, merges=value == "<<" and event.implicit[0])
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if len(stack) >= DEPTH_LIMIT:
                    raise DocumentError(f"nested more than {DEPTH_LIMIT} levels deep", *at)
                path = path_of_next()
                if not stack or isinstance(stack[-1].value, list):
                    document.positions[path] = at
                stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], path, event.anchor))
                stack[-1].key_at = at
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                done = stack.pop()
                if done.anchor:
                    anchors[done.anchor] = (done.value, done.size)
                take(done.value, done.size, document.positions.get(done.path, at))
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchors:
                    raise DocumentError(f"alias *{event.anchor} has no anchor before it (or contains itself)", *at)
                value, size = anchors[event.anchor]
                expanded += size
                if expanded > ALIAS_LIMIT:
                    raise DocumentError(f"aliases expand to more than {ALIAS_LIMIT} values (an alias bomb?)", *at)
                take(value, size, at)
            elif isinstance(event, yaml.DocumentStartEvent):
                document, anchors, expanded = Document(), {}, 0
            elif isinstance(event, yaml.DocumentEndEvent):
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        lines = text.splitlines()
        tab = 0 < line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        hint = "; the line is indented with a tab, YAML takes spaces only" if tab else ""
        raise DocumentError(f"not valid YAML: {error.problem or error}{hint}", line, column) from error
    except yaml.YAMLError as error:
        raise DocumentError(f"not valid YAML: {str(error).splitlines()[0]}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _merge(top: _Open, source: Any, at: tuple[int, int]) -> None:
    """Takes over what `<<` names, over keys that came before it; of several mappings the first one counts most."""
    for mapping in reversed(source) if isinstance(source, list) else [source]:
        if not isinstance(mapping, dict) or not isinstance(top.value, dict):
            raise DocumentError(f"`<<` at {dotted(top.path) or 'the top'} needs a mapping", *at)
        top.value.update(mapping)


def _key(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.implicit[0]:
        return _plain(text)
    match event.tag:
        case "tag:yaml.org,2002:int" | "tag:yaml.org,2002:float" | "tag:yaml.org,2002:bool" | "tag:yaml.org,2002:null":
            return _plain(text)
        case "tag:yaml.org,2002:binary":
            try:
                return b64decode(text, validate=False).decode()
            except ValueError as error:
                raise DocumentError(f"!!binary needs base64 of a text: {error}", *_at(event)) from error
    return text


def _plain(text: str) -> Any:
    """What a scalar without quotes and tag means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise DocumentError(f"{text} is no number that JSON, and so the API, has")
    # Go's ParseFloat has its own mind about `_` where a number begins with its point.
    digits = text if text[0] == "." and not _BETWEEN.fullmatch(text) else text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        octal = _OCTAL.fullmatch(digits)
        try:
            number = int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)
        except ValueError:
            number = int(float(digits))  # 08 is no octal number, and so it is read as a float
        return number if -(2**63) <= number < 2**64 else _whole(float(number))
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return text if isinf(value) else _whole(value)
    return text


def _whole(value: float) -> float | int:
    """As encoding/json prints it."""
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _at(event: Any) -> tuple[int, int]:
    return (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (0, 0)
