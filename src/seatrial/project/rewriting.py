"""Writing a repair into the file: the smallest edit of its text that keeps comments, order, quoting and line ends.

A change is a splice: a scalar is replaced where it stands, a key is inserted as a line of its own below a neighbour (in
a flow mapping or JSON: in place), a key that goes takes its lines along. Afterwards the text is parsed again: unless
exactly the changes happened to exactly the objects meant, there is no edit (`CannotEditError`). So a style of writing
that is not foreseen here costs a repair, never a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from seatrial.check import edits
from seatrial.check.edits import REMOVED, Change
from seatrial.check.system import Path, dotted
from seatrial.project import documents

_PLAIN: Final = re.compile(r"[A-Za-z_/.][\w/.\-]*")
"""Texts that need no quotes if they are read back as texts."""


class CannotEditError(Exception):
    """The change cannot be written into the text without touching more than it; the message says where."""


@dataclass(frozen=True, slots=True)
class _Splice:
    start: int
    end: int
    text: str


def rewritten(text: str, changes: Sequence[Change]) -> str:
    """The text of a file with the changes made, all of which are to objects of this file.

    Raises `CannotEditError`.
    """
    wanted = [document.value for document in documents.parse(text)]
    for change in changes:
        text = _one(text, change)
        wanted = _expected(wanted, change)
    if [document.value for document in documents.parse(text)] != wanted:
        raise CannotEditError("the edit would change more than it should")
    return text


def _expected(values: list[Any], change: Change) -> list[Any]:
    """What the documents say after the change."""
    if not change.path:
        return [*values, change.value]
    document, prefix = _holder(values, change)
    after = list(values)
    after[document] = edits.with_value(values[document], (*prefix, *change.path), change.value)
    return after


def _holder(values: Sequence[Any], change: Change) -> tuple[int, Path]:
    """The document that has the object, and where in it."""
    found: list[tuple[int, Path]] = []
    for number, value in enumerate(values):
        if _is(value, change):
            found.append((number, ()))
        items = value.get("items") if isinstance(value, dict) else None
        if isinstance(items, list):
            found += [(number, ("items", index)) for index, item in enumerate(items) if _is(item, change)]
    if len(found) != 1:
        raise CannotEditError(f"{change.entry.key} stands {len(found)} times in the file")
    return found[0]


def _is(value: Any, change: Change) -> bool:
    """Whether a value of the file is the object, which may have been edited already."""
    if not isinstance(value, dict):
        return False
    written, metadata = change.entry.written, value.get("metadata")
    identity = {"apiVersion": value.get("apiVersion"), "kind": value.get("kind"), "metadata": metadata or {}}
    return all(
        written.get(key) == identity[key] if key != "metadata" else _named_alike(written.get(key), identity[key])
        for key in identity
    )


def _named_alike(one: Any, other: Any) -> bool:
    return all((one or {}).get(key) == other.get(key) for key in ("name", "namespace", "generateName"))


def _one(text: str, change: Change) -> str:
    if not change.path:
        return _added(text, change)
    document, prefix = _holder([each.value for each in documents.parse(text)], change)
    node = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))[document]
    splice = _splice(text, node, (*prefix, *change.path), change.value)
    return text[: splice.start] + splice.text + text[splice.end :]


def _added(text: str, change: Change) -> str:
    """One more document at the end of the file."""
    if _is_json(text):
        raise CannotEditError("a JSON file takes one object only")
    end = _line_end(text)
    body = yaml.safe_dump(change.value, sort_keys=False).replace("\n", end)
    return text.rstrip("\r\n") + f"{end}---{end}" + body


def _splice(text: str, node: Any, path: Path, value: Any) -> _Splice:
    """Goes down as far as the text has the path, then replaces, takes out or inserts."""
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        where = dotted(path[: depth + 1])
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            child = node.value[step]
            key = None
        elif isinstance(node, yaml.MappingNode) and isinstance(step, str):
            pairs = [(k, v) for k, v in node.value if k.value == step]
            if len(pairs) > 1:
                raise CannotEditError(f"{where} is written twice")
            if not pairs:
                if value is REMOVED:
                    raise CannotEditError(f"{where} is not written here")
                return _insertion(text, node, path[depth:], value)
            key, child = pairs[0]
        else:
            raise CannotEditError(f"{where} does not fit what is written")
        if child.start_mark.index < node.start_mark.index or child.end_mark.index > node.end_mark.index:
            raise CannotEditError(f"{where} is an alias: its text is that of another field, too")
        if last and value is REMOVED:
            if key is None:
                raise CannotEditError(f"{where} is an item of a list")
            return _removal(text, node, key)
        if last:
            return _replacement(text, key, child, value)
        if isinstance(child, yaml.ScalarNode) and child.value in ("", "null", "~"):
            return _replacement(text, key, child, _nested(path[depth + 1 :], value))
        node = child
    raise CannotEditError("the whole object cannot be replaced")


def _nested(path: Path, value: Any) -> Any:
    """`a.b` set to a value, as the mappings around it."""
    for step in reversed(path):
        if not isinstance(step, str):
            raise CannotEditError(f"{dotted(path)} begins inside a list that is not there")
        value = {step: value}
    return value


def _replacement(text: str, key: Any, child: Any, value: Any) -> _Splice:
    if isinstance(child, yaml.ScalarNode) and child.style in ("|", ">"):
        raise CannotEditError("the value is a block of text")
    if not isinstance(child, yaml.ScalarNode) and not child.flow_style:
        raise CannotEditError("the value is a block of lines")
    start, end = child.start_mark.index, child.end_mark.index
    if isinstance(value, (dict, list)) and value and key is not None and key.style is None and not child.flow_style:
        start = key.end_mark.index + 1
        lines = _block(value, key.start_mark.column + 2)
        return _Splice(start, end, _line_end(text) + _line_end(text).join(lines))
    written = _flow(value, '"' if _is_json(text) else getattr(child, "style", None))
    if start == end:  # a key without a value
        written = " " + written
    return _Splice(start, end, written)


def _insertion(text: str, node: Any, path: Path, value: Any) -> _Splice:
    key, inner = path[0], _nested(path[1:], value)
    if node.flow_style or not node.value:
        style = '"' if _is_json(text) else None
        at = node.start_mark.index + 1
        return _Splice(at, at, f"{_flow(key, style)}: {_flow(inner, style)}" + (", " if node.value else ""))
    column = node.value[0][0].start_mark.column
    lines = _block({key: inner}, column)
    end = _line_end(text)
    for _, neighbour in node.value:
        if isinstance(neighbour, yaml.ScalarNode) and neighbour.start_mark.line == neighbour.end_mark.line:
            at = text.find("\n", neighbour.end_mark.index)
            if at < 0:
                return _Splice(len(text), len(text), end + end.join(lines))
            return _Splice(at + 1, at + 1, end.join(lines) + end)
    for name, _ in node.value:
        at = name.start_mark.index - column
        if not text[at : name.start_mark.index].strip():
            return _Splice(at, at, end.join(lines) + end)
    raise CannotEditError(f"there is no place for {dotted(path)}")


def _removal(text: str, node: Any, key: Any) -> _Splice:
    if node.flow_style:
        raise CannotEditError("the field stands in a flow mapping")
    start = key.start_mark.index - key.start_mark.column
    if text[start : key.start_mark.index].strip():
        raise CannotEditError("the field stands beside the dash of its list")
    if len(node.value) == 1:
        raise CannotEditError("the field is the only one of its mapping")
    column = key.start_mark.column
    at = text.find("\n", key.start_mark.index) + 1
    while 0 < at < len(text):
        line = text[at : text.find("\n", at) + 1 or len(text)]
        indentation = len(line) - len(line.lstrip(" "))
        within = indentation > column or (indentation == column and line.lstrip().startswith("- "))
        if line.strip() and not within:
            break
        if not line.strip() and not _goes_on(text, at, column):
            break
        at += len(line)
    return _Splice(start, at or len(text), "")


def _goes_on(text: str, at: int, column: int) -> bool:
    """Whether the field's lines go on after empty ones."""
    rest = text[at:].lstrip("\r\n")
    return len(rest) - len(rest.lstrip(" ")) > column


def _block(value: Any, indentation: int) -> list[str]:
    """The value as lines of block style."""
    text = yaml.safe_dump(value, sort_keys=False, width=10_000)
    return [" " * indentation + line for line in text.splitlines()]


def _flow(value: Any, style: str | None) -> str:
    """The value on one line; a text in the quotes that were there."""
    if isinstance(value, str):
        if style == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        plain = style is None and _PLAIN.fullmatch(value) is not None
        if plain and next(documents.parse(value)).value == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
