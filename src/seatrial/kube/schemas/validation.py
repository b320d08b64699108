"""Comparing a document with its schema; every difference is a `Problem` with its path, none is an exception."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from seatrial.kube.objects.base import JsonObject
from seatrial.kube.quantities import Quantity
from seatrial.kube.schemas.data import SchemaNode, Schemas
from seatrial.kube.schemas.resources import SCHEMALESS

Path = tuple[str | int, ...]

_NAMES: Final = {
    "object": "an object (name: value)",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_BITS: Final = {"int32": 31, "int64": 63}


@dataclass(frozen=True, slots=True)
class Problem:
    """`kind` is unknown, type, required, duplicate, enum, or kind (the object's own apiVersion and kind)."""

    path: Path
    kind: str
    message: str


def validate(raw: JsonObject, schemas: Schemas) -> list[Problem]:
    """Everything in which the document differs from its kind's schema, in document order."""
    api_version, kind = raw.get("apiVersion"), raw.get("kind")
    for name in ("apiVersion", "kind"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            return [Problem((name,), "required", f"{name} is missing: every Kubernetes object names its {name}")]
    assert isinstance(api_version, str)
    assert isinstance(kind, str)
    if (api_version, kind) in SCHEMALESS:
        return []
    node = schemas.kind(api_version, kind)
    if node is None:
        return [Problem(("kind",), "kind", _no_such_kind(api_version, kind, schemas))]
    return list(_problems(raw, node, ()))


def compare(value: Any, node: SchemaNode) -> list[Problem]:
    """Everything in which a part of a document differs from its schema; paths begin at the part."""
    return list(_problems(value, node, ()))


def _problems(value: Any, node: SchemaNode, path: Path) -> Iterator[Problem]:
    if value is None:
        return
    fault = _type_fault(value, node)
    if fault:
        yield Problem(path, "type", f"{dotted(path)} {fault}")
        return
    if node.enum and value not in node.enum:
        yield Problem(path, "enum", f"{dotted(path)} is {value!r}; it can be {', '.join(map(str, node.enum))}")
    if isinstance(value, dict):
        yield from _object_problems(value, node, path)
    elif isinstance(value, list):
        yield from _repetitions(value, node, path)
        if (items := node.items) is not None:
            for index, item in enumerate(value):
                yield from _problems(item, items, (*path, index))


def _object_problems(value: JsonObject, node: SchemaNode, path: Path) -> Iterator[Problem]:
    for name in node.required:
        if value.get(name) is None:
            yield Problem((*path, name), "required", f"{dotted((*path, name))} is missing")
    known = node.properties
    for name, child_value in value.items():
        here = (*path, name)
        if not isinstance(name, str):
            yield Problem(path, "type", f"{dotted(path)} has the name {name!r}, which is no string: quote it")
            continue
        child = node.field(name)
        if child is not None:
            yield from _problems(child_value, child, here)
        elif known:
            yield Problem(here, "unknown", f'unknown field "{dotted(here)}"{_hint(name, known)}')


def _type_fault(value: Any, node: SchemaNode) -> str:
    """What is wrong with the type of a value, as the end of a sentence; nothing if it fits."""
    if node.is_quantity:
        try:
            Quantity.parse(value)
        except ValueError as error:
            return f"is no quantity: {error}"
        return ""
    if node.is_int_or_string:
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
        return "" if fits else f"is {_shown(value)}; a whole number or a string is wanted"
    fits = {
        "": True,
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer())),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
    }[node.type]
    if not fits:
        return f"is {_shown(value)}; {_NAMES[node.type]} is wanted{_cure(value, node.type)}"
    bits = _BITS.get(node.format)
    if bits is not None and not -(1 << bits) <= value < 1 << bits:
        return f"is {value}, which does not fit into {node.format}"
    if node.format == "date-time" and not _is_time(value):
        return f"is {value!r}; a time such as 2025-01-31T12:00:00Z is wanted"
    if node.format == "byte" and not _is_base64(value):
        return "is not base64; put plain text under stringData, or encode it: printf %s TEXT | base64"
    return ""


def _repetitions(value: list[Any], node: SchemaNode, path: Path) -> Iterator[Problem]:
    keys = node.list_map_keys if node.list_type == "map" else ()
    if not keys and node.list_type != "set":
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        if not keys:
            identity, shown = repr(item), repr(item)
        elif isinstance(item, dict):
            items = node.items
            parts = {key: item.get(key, _default(items, key)) for key in keys}
            identity, shown = repr(parts), " ".join(f"{key} {part!r}" for key, part in parts.items())
        else:
            continue
        if identity in seen:
            message = f"{dotted((*path, index))} repeats {shown} of {dotted((*path, seen[identity]))}"
            yield Problem((*path, index), "duplicate", message)
        else:
            seen[identity] = index


def _default(items: SchemaNode | None, key: str) -> str:
    """Ports are told apart by protocol too, which is TCP when absent; no other key has a default."""
    return "TCP" if key == "protocol" and items is not None else ""


def _hint(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)
    return f'; did you mean "{folded[close[0]]}"?' if close else ""


def _no_such_kind(api_version: str, kind: str, schemas: Schemas) -> str:
    start = f"Kubernetes {schemas.version} has no kind {kind} in {api_version}"
    elsewhere = sorted({at for at, each in schemas.kinds if each == kind and not _is_preview(at)})
    if elsewhere:
        return f"{start}; it is in {' and '.join(elsewhere)}"
    return start + _hint(kind, sorted({each for _, each in schemas.kinds}))


def _is_preview(api_version: str) -> bool:
    return "alpha" in api_version or "beta" in api_version


def _cure(value: Any, wanted: str) -> str:
    if wanted == "string" and isinstance(value, (bool, int, float)):
        return f': quote it, "{_shown(value)}"'
    if isinstance(value, str) and wanted in {"integer", "number", "boolean"}:
        return ": remove the quotes" if value.strip().lstrip("-").isdigit() or value in {"true", "false"} else ""
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f'the string "{value}"' if isinstance(value, str) else str(value)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None and "T" in text
    except ValueError:
        return False


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def dotted(path: Path) -> str:
    """A path as Kubernetes writes it: `spec.containers[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the document"
