"""Reading the compiled schemas: one definition at a time, each at most once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from seatrial.kube.objects.base import JsonObject

NEWEST: Final = "1.37"
_COMPILED: Final = Path(__file__).parent / "compiled"
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_IN_EVERY_DOCUMENT: Final = tuple(
    _META + name
    for name in ("APIResourceList", "APIGroup", "APIGroupList", "DeleteOptions", "Status", "WatchEvent", "Patch")
)


class _Index(msgspec.Struct, frozen=True):
    """Where everything is. A name has the spans of its two blocks, then its variant in each version for both."""

    versions: tuple[str, ...]
    kinds: dict[str, str]
    definitions: int
    descriptions: int
    names: dict[str, tuple[int, int, int, int, str, str]]


class SchemaNode:
    """One place in a kind: a field, an item of a list, a value of a map, or the kind itself."""

    __slots__ = ("_children", "_definition", "_field", "_name", "_owner", "_schemas")

    def __init__(self, schemas: Schemas, field: Mapping[str, Any], owner: str = "", name: str = "") -> None:
        self._schemas = schemas
        self._field = field
        reference = field.get("$ref")
        self._definition: Mapping[str, Any] = field if reference is None else schemas.definition(reference)
        self._owner, self._name = owner, name
        self._children: dict[str, SchemaNode] = {}

    @property
    def definition(self) -> str:
        """The name of the schema definition this place refers to, or nothing for a plain value."""
        return str(self._field.get("$ref", ""))

    @property
    def type(self) -> str:
        """`object`, `array`, `string`, `integer`, `number`, `boolean`, or nothing if anything may stand here."""
        kind = self._definition.get("type", "")
        return kind if isinstance(kind, str) else ""

    @property
    def format(self) -> str:
        return str(self._definition.get("format", ""))

    @property
    def is_quantity(self) -> bool:
        return self.definition == _QUANTITY

    @property
    def is_int_or_string(self) -> bool:
        return self.definition == _INT_OR_STRING

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of all fields; none for maps and for objects whose content is free."""
        return tuple(self._definition.get("properties", ()))

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self._definition.get("required", ()))

    @property
    def enum(self) -> tuple[Any, ...]:
        return tuple(self._definition.get("enum", ()))

    def field(self, name: str) -> SchemaNode | None:
        """The schema of the field `name`, or of any value if this is a map; None where the schema has nothing."""
        child = self._children.get(name)
        if child is None:
            field = self._definition.get("properties", {}).get(name)
            if field is None:
                return self.values
            child = self._children[name] = SchemaNode(self._schemas, field, self.definition, name)
        return child

    @property
    def items(self) -> SchemaNode | None:
        return self._child("items")

    @property
    def values(self) -> SchemaNode | None:
        """The schema of a map's values."""
        return self._child("additionalProperties")

    @property
    def merge_key(self) -> str | None:
        """The field that identifies items of this list in a strategic merge patch."""
        key = self._field.get("x-kubernetes-patch-merge-key")
        return None if key is None else str(key)

    @property
    def patch_strategies(self) -> frozenset[str]:
        return frozenset(str(self._field.get("x-kubernetes-patch-strategy", "")).split(",")) - {""}

    @property
    def list_type(self) -> str:
        """`atomic`, `set`, `map` or nothing."""
        return str(self._field.get("x-kubernetes-list-type", ""))

    @property
    def list_map_keys(self) -> tuple[str, ...]:
        return tuple(self._field.get("x-kubernetes-list-map-keys", ()))

    @property
    def map_type(self) -> str:
        return str(self._field.get("x-kubernetes-map-type", self._definition.get("x-kubernetes-map-type", "")))

    @property
    def description(self) -> str:
        """The published text, read from disk when asked for."""
        texts = self._schemas.descriptions(self._owner) if self._owner else {}
        if self._name in texts:
            return texts[self._name]
        return self._schemas.descriptions(self.definition).get("", "") if self.definition else ""

    def _child(self, keyword: str) -> SchemaNode | None:
        child = self._children.get("/" + keyword)
        if child is None:
            field = self._definition.get(keyword)
            if not isinstance(field, dict):
                return None
            child = self._children["/" + keyword] = SchemaNode(self._schemas, field)
        return child


class Schemas:
    """All schemas of one Kubernetes minor version. Get it with `load`."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._number = _index().versions.index(version)
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._kinds: dict[tuple[str, str], SchemaNode | None] = {}

    def kind(self, api_version: str, kind: str) -> SchemaNode | None:
        """The schema of a built-in kind, or None if this version has no such kind."""
        key = (api_version, kind)
        if key not in self._kinds:
            name = _index().kinds.get(f"{api_version}:{kind}")
            found = name is not None and self._has(name)
            self._kinds[key] = SchemaNode(self, {"$ref": name}) if found else None
        return self._kinds[key]

    @cached_property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Every `(apiVersion, kind)` of this version, lists included."""
        return tuple(
            (api_version, kind)
            for (api_version, _, kind), name in ((key.partition(":"), name) for key, name in _index().kinds.items())
            if self._has(name)
        )

    def node(self, name: str) -> SchemaNode:
        """The schema of the definition called `name`, which this version has."""
        return SchemaNode(self, {"$ref": name})

    def definition(self, name: str) -> Mapping[str, Any]:
        """The bare JSON schema called `name`, without descriptions; references are names."""
        if name not in self._definitions:
            offset, length, _, _, variants, _ = _index().names[name]
            block = _inflate(_definitions(), offset, length, _index().definitions)
            self._definitions[name] = block[_DIGITS.index(variants[self._number])]
        return self._definitions[name]

    def descriptions(self, name: str) -> dict[str, str]:
        """The texts of a definition's fields; its own under the empty name."""
        _, _, offset, length, _, variants = _index().names[name]
        block = _inflate(_descriptions(), offset, length, _index().descriptions)
        texts: dict[str, str] = block[_DIGITS.index(variants[self._number])]
        return texts

    def openapi_v3(self, group_version: str) -> JsonObject:
        """The OpenAPI document of `v1` or `group/version` with the components its kinds need; `paths` is empty."""
        roots = [node.definition for at, kind in self.kinds if at == group_version and (node := self.kind(at, kind))]
        wanted = [*roots, *(name for name in _IN_EVERY_DOCUMENT if self._has(name))]
        seen: dict[str, JsonObject] = {}
        while wanted:
            name = wanted.pop()
            if name not in seen:
                definition = self.definition(name)
                wanted.extend(_references(definition))
                seen[name] = _component(definition, self.descriptions(name))
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": f"v{self.version}.0"},
            "paths": {},
            "components": {"schemas": dict(sorted(seen.items()))},
        }

    def _has(self, name: str) -> bool:
        found = _index().names.get(name)
        return found is not None and found[4][self._number] != "."


def versions() -> tuple[str, ...]:
    """The Kubernetes minor versions whose schemas are here, oldest first."""
    return _index().versions


@cache
def load(version: str = NEWEST) -> Schemas:
    """The schemas of one version, as `1.37` or `v1.37.2`. Raises `ValueError` naming the versions there are."""
    minor = ".".join(version.removeprefix("v").split(".")[:2])
    if minor not in versions():
        raise ValueError(f"there are no schemas for Kubernetes {version}; there are: {', '.join(versions())}")
    return load(minor) if minor != version else Schemas(minor)


@cache
def _index() -> _Index:
    return msgspec.json.decode(zlib.decompress((_COMPILED / "index.bin").read_bytes()), type=_Index)


@cache
def _definitions() -> bytes:
    return (_COMPILED / "definitions.bin").read_bytes()


@cache
def _descriptions() -> bytes:
    return (_COMPILED / "descriptions.bin").read_bytes()


def _inflate(data: bytes, offset: int, length: int, dictionary: int) -> Any:
    inflater = zlib.decompressobj(-15, zdict=data[:dictionary])
    return msgspec.json.decode(inflater.decompress(data[offset : offset + length]))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _component(definition: Mapping[str, Any], texts: Mapping[str, str]) -> JsonObject:
    result = _published(definition)
    if "" in texts:
        result["description"] = texts[""]
    for name, field in result.get("properties", {}).items():
        if name in texts:
            field["description"] = texts[name]
    return result


def _published(schema: Mapping[str, Any]) -> JsonObject:
    result: JsonObject = {}
    for keyword, value in schema.items():
        match keyword:
            case "$ref":
                result["allOf"] = [{"$ref": f"#/components/schemas/{value}"}]
            case "properties":
                result[keyword] = {name: _published(field) for name, field in value.items()}
            case "items" | "additionalProperties" if isinstance(value, dict):
                result[keyword] = _published(value)
            case _:
                result[keyword] = value
    return result
