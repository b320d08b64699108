"""Kubernetes' protobuf bodies, decoded to the JSON the rest of the program speaks.

Typed Go clients send objects as `k8s\\x00` followed by a `runtime.Unknown` whose `raw` is the object by upstream's
generated.proto. There is one decoder, driven by a table of field numbers that `tools/compile_protobuf.py` makes; code
generated per message was rejected (400 messages of it). We never encode: clients that accept protobuf accept JSON too.

Rules: Go always writes fields that are not pointers, so their zeros mean "absent" and are dropped; the fields of an
embedded struct belong to its parent; a few types have a JSON form of their own (Time, Quantity, IntOrString, ...).
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from seatrial.kube.objects import JsonObject

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1"
_RUNTIME = "k8s.io.apimachinery.pkg.runtime"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH = 100


class ProtobufError(ValueError):
    """The bytes are not an object of a known kind; the message says what is wrong with them."""


class _Field(NamedTuple):
    name: str
    type: str
    shape: str
    embedded: bool
    pointer: bool


def decode(body: bytes) -> JsonObject:
    """The object in `body`, with `apiVersion` and `kind`. Raises `ProtobufError`."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body is not Kubernetes protobuf: it does not begin with 'k8s\\x00'")
    try:
        envelope = _message(memoryview(body)[len(MAGIC) :], f"{_RUNTIME}.Unknown", 0)
        api_version, kind = envelope.get("apiVersion", ""), envelope.get("kind", "")
        raw = base64.b64decode(envelope.get("raw", ""))
        return {"apiVersion": api_version, "kind": kind, **_message(memoryview(raw), _type_of(api_version, kind), 0)}
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ProtobufError(f"the protobuf body is cut off or damaged: {error}") from error


def known(api_version: str, kind: str) -> bool:
    """Can objects of this kind be decoded?"""
    try:
        _type_of(api_version, kind)
    except ProtobufError:
        return False
    return True


@lru_cache(maxsize=2000)
def plain_fields(definition: str) -> frozenset[str]:
    """The fields of a schema definition that are no pointers in Go: their zero values mean that they are not set."""
    fields = _table().get(definition.replace("io.k8s.", "k8s.io.", 1), {}).values()
    plain = {field.name for field in fields if not field.pointer and not field.embedded}
    embedded = (field.type.replace("k8s.io.", "io.k8s.", 1) for field in fields if field.embedded)
    return frozenset(plain.union(*(plain_fields(each) for each in embedded)))


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[int, _Field]]:
    packed = resources.files("seatrial.kube").joinpath("protobuf.json.z").read_bytes()
    messages = json.loads(zlib.decompress(packed))["messages"]
    return {
        name: {number: _Field(at, kind, shape, "e" in flags, "p" in flags) for number, at, kind, shape, flags in fields}
        for name, fields in messages.items()
    }


def _type_of(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    package = group.split(".")[0] or "core"
    for name in (f"k8s.io.api.{package}.{version}.{kind}", f"{_META}.{kind}"):
        if name in _table():
            return name
    raise ProtobufError(
        f'no protobuf description of kind "{kind}" in version "{api_version}" is known: send this kind as JSON'
    )


def _message(data: memoryview, type_name: str, depth: int) -> JsonObject:
    if depth > _MAX_DEPTH:
        raise ProtobufError(f"the protobuf body nests deeper than {_MAX_DEPTH} levels")
    fields = _table().get(type_name)
    if fields is None:
        raise ProtobufError(f"the field table has no message {type_name}")
    out: JsonObject = {}
    for number, wire_type, value in _records(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.shape == "m":
            key, item = _entry(value, field.type, depth)
            out.setdefault(field.name, {})[key] = item
        elif field.shape == "r":
            items = out.setdefault(field.name, [])
            if wire_type == 2 and field.type in _VARINTS:
                position = 0
                while position < len(value):
                    number, position = _varint(value, position)
                    items.append(_scalar(number, field.type))
            else:
                items.append(_value(value, field.type, depth))
        else:
            decoded = _value(value, field.type, depth)
            if field.embedded and isinstance(decoded, dict):
                out.update(decoded)
            elif decoded is not None and (field.pointer or decoded not in ("", 0, False, {}, [])):
                out[field.name] = decoded
    return out


def _entry(data: memoryview, type_name: str, depth: int) -> tuple[str, Any]:
    key, item = "", None
    for number, _, value in _records(data):
        if number == 1:
            key = bytes(value).decode()
        elif number == 2:
            item = _value(value, type_name, depth)
    if item is None:
        item = _value(memoryview(b""), type_name, depth) if type_name not in _VARINTS else 0
    return key, item


def _value(value: Any, type_name: str, depth: int) -> Any:
    if type_name == "string":
        return bytes(value).decode()
    if type_name == "bytes":
        return base64.b64encode(value).decode()
    if type_name == "double":
        return struct.unpack("<d", value)[0]
    if type_name == "float":
        return struct.unpack("<f", value)[0]
    if type_name in _VARINTS:
        return _scalar(value, type_name)
    special = _SPECIAL.get(type_name)
    if special is not None:
        return special({number: item for number, _, item in _records(value)})
    decoded = _message(value, type_name, depth + 1)
    # A named list type (ExtraValue) is a message with one repeated field `items` and a bare list in JSON.
    return decoded.get("items", []) if type_name.endswith(".ExtraValue") else decoded


_VARINTS = {"bool", "int32", "int64", "uint32", "uint64"}


def _scalar(value: int, type_name: str) -> int | bool:
    if type_name == "bool":
        return bool(value)
    if type_name.startswith("int") and value >= 1 << 63:
        return value - (1 << 64)
    return value


def _time(fields: dict[int, Any]) -> str | None:
    moment = _moment(fields)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(fields: dict[int, Any]) -> str | None:
    moment = _moment(fields)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(fields: dict[int, Any]) -> datetime | None:
    if not fields:
        return None
    seconds = _scalar(fields.get(1, 0), "int64")
    return _EPOCH + timedelta(seconds=seconds, microseconds=fields.get(2, 0) // 1000)


def _int_or_string(fields: dict[int, Any]) -> int | str:
    return bytes(fields.get(3, b"")).decode() if fields.get(1) else _scalar(fields.get(2, 0), "int32")


def _duration(fields: dict[int, Any]) -> str:
    """Go's text of a time.Duration, to the precision that Kubernetes objects use."""
    return f"{_scalar(fields.get(1, 0), 'int64') / 1e9:g}s"


def _embedded_json(fields: dict[int, Any]) -> Any:
    raw = bytes(fields.get(1, b""))
    try:
        return json.loads(raw) if raw else None
    except ValueError as error:
        raise ProtobufError(f"an embedded object is not JSON: {error}") from error


_SPECIAL = {
    f"{_META}.Time": _time,
    f"{_META}.MicroTime": _micro_time,
    f"{_META}.Duration": _duration,
    f"{_META}.FieldsV1": _embedded_json,
    f"{_RUNTIME}.RawExtension": _embedded_json,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": lambda fields: bytes(fields.get(1, b"0")).decode(),
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
}


def _records(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Field number, wire type and value (an int for varints, else bytes)."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            yield tag >> 3, wire_type, value
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ProtobufError(f"wire type {wire_type} is not used by Kubernetes: the body is damaged")
        if position + length > end:
            raise ProtobufError("the protobuf body is cut off")
        yield tag >> 3, wire_type, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ProtobufError("a number in the protobuf body is longer than 64 bits")
