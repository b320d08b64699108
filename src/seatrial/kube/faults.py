"""What is wrong with a field of an object, in the words of upstream's `field.Error`, and Go's ways to print values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

NOWHERE = "<nil>"
"""The path of what is about no field in particular."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`reason` is upstream's (FieldValueInvalid, ...), `message` its text without the path."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def child(path: str, name: str) -> str:
    return f"{path}.{name}" if path not in ("", NOWHERE) else name


def dotted(path: Iterable[str | int]) -> str:
    """The path of names and places: `spec.ports[0].name`."""
    text = ""
    for part in path:
        text = f"{text}[{part}]" if isinstance(part, int) else child(text, part)
    return text


def required(path: str, detail: str = "") -> Fault:
    return Fault("FieldValueRequired", path or NOWHERE, _with("Required value", detail))


def forbidden(path: str, detail: str) -> Fault:
    return Fault("FieldValueForbidden", path or NOWHERE, _with("Forbidden", detail))


def invalid(path: str, value: object, detail: str) -> Fault:
    return Fault("FieldValueInvalid", path or NOWHERE, _with(f"Invalid value: {shown(value)}", detail))


def wrong_type(path: str, value: object, detail: str) -> Fault:
    return Fault("FieldValueTypeInvalid", path or NOWHERE, _with(f"Invalid value: {shown(value)}", detail))


def unsupported(path: str, value: object, known: Iterable[str]) -> Fault:
    listed = ", ".join(quoted(each) for each in known)
    detail = f"supported values: {listed}" if listed else ""
    return Fault("FieldValueNotSupported", path or NOWHERE, _with(f"Unsupported value: {shown(value)}", detail))


def duplicate(path: str, value: object) -> Fault:
    return Fault("FieldValueDuplicate", path or NOWHERE, f"Duplicate value: {shown(value)}")


def too_long(path: str, most: int) -> Fault:
    unit = "byte" if most == 1 else "bytes"
    return Fault("FieldValueTooLong", path or NOWHERE, f"Too long: may not be more than {most} {unit}")


def too_many(path: str, number: int, most: int) -> Fault:
    unit = "item" if most == 1 else "items"
    return Fault("FieldValueTooMany", path or NOWHERE, f"Too many: {number}: must have at most {most} {unit}")


def _with(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def shown(value: object) -> str:
    """A value as upstream's messages show it: numbers and booleans bare, text quoted, everything else as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    return quoted(value) if isinstance(value, str) else as_json(value)


def number(value: float) -> str:
    """Go's `%v`: the shortest digits that tell the number, with an exponent below 1e-4 and from 1e6 on."""
    if isinstance(value, int):
        return str(value)
    shortest = Decimal(repr(value)).normalize()
    sign, plain, exponent = shortest.as_tuple()
    size = len(plain) - 1 + int(exponent)
    if -5 < size < 6 or not value:
        return f"{shortest:f}"
    head, tail = str(plain[0]), "".join(map(str, plain[1:]))
    mantissa = f"{head}.{tail}" if tail else head
    return f"{'-' * sign}{mantissa}e{'-' if size < 0 else '+'}{abs(size):02d}"


def quoted(text: str) -> str:
    """Go's `%q`."""
    known = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    out = []
    for letter in text:
        code = ord(letter)
        if letter in ('"', "\\"):
            out.append("\\" + letter)
        elif letter in known:
            out.append(known[letter])
        elif letter.isprintable():
            out.append(letter)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def as_json(value: Any) -> str:
    """As Go's encoder writes it: names in order, the letters that mean something in HTML escaped."""
    text = json.dumps(_go(value), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _go(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {str(name): _go(each) for name, each in value.items()}
    return [_go(each) for each in value] if isinstance(value, (list, tuple)) else value
