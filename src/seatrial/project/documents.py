"""YAML and JSON text as kubectl reads it, with the place of every field.

Rules: scalars follow YAML 1.1 as Go's yaml.v2 resolves it (yes/no/on/off are booleans, 0644 is octal, 1:30 a string);
keys become strings; duplicate keys are reported, the last one wins; `<<` merges. The text is hostile: parsing works on
events, never recursion, with bounds on depth and on what aliases expand to.
JSON is a subset of YAML for this purpose, so one parser serves both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)")
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
    own: set[str] = field(default_factory=set)
    merges: list[Any] = field(default_factory=list)


def parse(text: str) -> Iterator[Document]:
    """The documents of `text`. Raises `DocumentError` where the text stops being readable."""
    document = Document()
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    expanded = 0

    def take(value: Any, size: int, at: tuple[int, int]) -> None:
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
            top.key = value if isinstance(value, str) else _key(value)
            top.key_at = at
            return
        key, top.key = top.key, None
        if key == "<<":
            top.merges.append(value)
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
            at = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (0, 0)
            if isinstance(event, yaml.ScalarEvent):
                value = _scalar(event)
                if event.anchor:
                    anchors[event.anchor] = (value, 1)
                if stack and isinstance(stack[-1].value, list):
                    document.positions[path_of_next()] = at
                take(value, 1, at)
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
                _merge(done, at)
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


def _merge(done: _Open, at: tuple[int, int]) -> None:
    for source in done.merges:
        for mapping in source if isinstance(source, list) else [source]:
            if not isinstance(mapping, dict) or not isinstance(done.value, dict):
                raise DocumentError(f"`<<` at {dotted(done.path) or 'the top'} needs a mapping", *at)
            for key, value in mapping.items():
                done.value.setdefault(key, value)


def _key(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag in ("!", "tag:yaml.org,2002:str") or not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
        try:
            return int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)
        except ValueError:
            return text
    if _FLOAT.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 1e21 else number  # as encoding/json prints it
    return text
