"""The OpenAPI v2 document, in protobuf: kubectl before 1.27 reads nothing else to validate, explain and patch by.

It is made from the OpenAPI v3 documents: `$ref` and `allOf` become v2 references, `oneOf` a string, and of the paths
only what says which query parameters a PATCH takes. The numbers are those of gnostic's OpenAPIv2.proto. Rejected: an
empty document, by which kubectl 1.25 refuses to apply anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.server.customresources import Served
from seatrial.server.resources import group_version, load

CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_GVK = "x-kubernetes-group-version-kind"
_REFERENCE = "#/components/schemas/"
_PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


@lru_cache(maxsize=4)
def document(version: str) -> bytes:
    """The document of every kind that a server of this version has."""
    found = load(version)
    definitions: dict[str, JsonObject] = {}
    paths: list[bytes] = []
    for group in found.groups():
        for at in found.versions(group):
            items = found.of(group, at)
            definitions |= schemas.load(version).openapi_v3(group_version(items[0]))["components"]["schemas"]
            for item in items:
                kind = {"group": item.group, "version": item.version, "kind": item.kind}
                prefix = f"/apis/{group}/{at}" if group else f"/api/{at}"
                scope = "/namespaces/{namespace}" if item.namespaced else ""
                paths.append(_named(f"{prefix}{scope}/{item.plural}/{{name}}", _bytes(8, _patch_operation(kind))))
    info = _bytes(2, _text(1, "Kubernetes") + _text(2, f"v{version}.0"))
    known = [_named(name, _schema(schema)) for name, schema in sorted(definitions.items())]
    return _text(1, "2.0") + info + _bytes(8, _repeated(2, paths)) + _bytes(9, _repeated(1, known))


def custom(served: Iterable[Served]) -> bytes:
    """What custom kinds add: a part of a message that readers merge with the part before it."""
    definitions: dict[str, JsonObject] = {}
    paths: list[bytes] = []
    for each in served:
        item = each.resource
        definitions |= each.documents.v2
        kind = {"group": item.group, "version": item.version, "kind": item.kind}
        scope = "/namespaces/{namespace}" if item.namespaced else ""
        path = f"/apis/{item.api_version}{scope}/{item.plural}/{{name}}"
        paths.append(_named(path, _bytes(8, _patch_operation(kind))))
    known = [_named(name, _schema(schema)) for name, schema in sorted(definitions.items())]
    return _bytes(8, _repeated(2, paths)) + _bytes(9, _repeated(1, known)) if known else b""


def _patch_operation(kind: JsonObject) -> bytes:
    parameters = []
    for name in _PATCH_PARAMETERS:
        query = _text(2, "query") + _text(4, name) + _text(6, "string")
        parameters.append(_bytes(1, _bytes(2, _bytes(3, query))))
    return _repeated(8, parameters) + _bytes(13, _extension(_GVK, kind))


def _schema(schema: JsonObject) -> bytes:
    out = _text(4, schema["description"]) if "description" in schema else b""
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), None)
    if reference:
        out = _text(1, reference.replace(_REFERENCE, "#/definitions/")) + out
    elif "oneOf" in schema:
        integer = any(choice.get("type") == "integer" for choice in schema["oneOf"])
        out = (_text(2, "int-or-string") if integer else b"") + out + _bytes(22, _text(1, "string"))
    else:
        out = _text(2, schema.get("format", "")) + out + _repeated(19, (n.encode() for n in schema.get("required", ())))
        if isinstance(additional := schema.get("additionalProperties"), dict):
            out += _bytes(21, _bytes(1, _schema(additional)))
        if "type" in schema:
            out += _bytes(22, _text(1, schema["type"]))
        if "items" in schema:
            out += _bytes(23, _bytes(1, _schema(schema["items"])))
        if schema.get("properties"):
            named = (_named(name, _schema(value)) for name, value in sorted(schema["properties"].items()))
            out += _bytes(25, _repeated(1, named))
    return out + _repeated(31, (_extension(key, schema[key]) for key in sorted(schema) if key.startswith("x-")))


def _extension(name: str, value: Any) -> bytes:
    """A NamedAny; its value is YAML, of which JSON is a part."""
    return _named(name, _text(2, json.dumps(value)))


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _bytes(2, value)


def _repeated(field: int, values: Iterable[bytes]) -> bytes:
    return b"".join(_bytes(field, value) for value in values)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode()) if text else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
