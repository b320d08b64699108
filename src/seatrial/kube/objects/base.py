"""What every Kubernetes object here has in common: frozen, typed, and read from the wire without loss elsewhere.

On the wire an object is JSON (`JsonObject`) and every field survives there. The typed values of this package hold the
fields that behaviour is decided on; they are views that are parsed from the wire and written back as differences.
Rules of these files: every value is frozen; a field that Go distinguishes from its zero value (a pointer) is `None`
when absent, all others have the zero value; attribute names are upstream's names in snake case.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

from seatrial.kube.quantities import Quantity

JsonObject = dict[str, Any]
"""A JSON object as it came off the wire or goes onto it."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A frozen part of an object; equal when all fields are equal."""


class OwnerReference(Value, frozen=True):
    api_version: str = ""
    block_owner_deletion: bool | None = None
    controller: bool | None = None
    kind: str = ""
    name: str = ""
    uid: str = ""


class ObjectMeta(Value, frozen=True):
    """`metadata` of every object; times are UTC. `managedFields` stays on the wire."""

    annotations: Mapping[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    generate_name: str = ""
    generation: int = 0
    labels: Mapping[str, str] = {}
    name: str = ""
    namespace: str = ""
    owner_references: tuple[OwnerReference, ...] = ()
    resource_version: str = ""
    uid: str = ""

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object, if there is one (`metav1.GetControllerOf`)."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Object(Value, frozen=True):
    """An object with a kind of its own: what is stored, watched and decided about."""

    api_version: ClassVar[str]
    kind: ClassVar[str]

    metadata: ObjectMeta = ObjectMeta()

    @property
    def key(self) -> Key:
        return Key(self.kind, self.metadata.namespace, self.metadata.name)

    @property
    def identity(self) -> tuple[str, str]:
        """`apiVersion` and `kind` on the wire."""
        return self.api_version, self.kind

    def wire(self, metadata: JsonObject) -> JsonObject | None:
        """The JSON of an object whose fields are not those of the wire; None for all others."""
        return None


class Key(NamedTuple):
    """Names one object; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


T = TypeVar("T")


def parse_as(kind: type[T], raw: object) -> T:
    """The typed view of `raw` (builtin JSON values); a field that is null is one that is absent, as in Go.

    Raises `msgspec.ValidationError`, whose message ends in the path of the value that does not fit.
    """
    try:
        return msgspec.convert(raw, kind, dec_hook=_decode)
    except msgspec.ValidationError:  # nulls are rare: who has none need not be searched for them
        without = _without_nulls(raw)
        if without == raw:
            raise
        return msgspec.convert(without, kind, dec_hook=_decode)


def _without_nulls(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_nulls(value) for key, value in raw.items() if value is not None}
    return [_without_nulls(item) for item in raw] if isinstance(raw, list) else raw


def to_wire(value: Value) -> JsonObject:
    """`value` as builtin JSON values, with `apiVersion` and `kind` if it is an object."""
    fields: JsonObject = msgspec.json.decode(msgspec.json.encode(value, enc_hook=_encode))
    if isinstance(value, Object):
        return value.wire(fields.get("metadata", {})) or {"apiVersion": value.api_version, "kind": value.kind, **fields}
    return fields


def canonical(value: Value) -> bytes:
    """Bytes that are equal for two values of one type exactly when the values are: what interning is keyed by."""
    return msgspec.json.encode(value, enc_hook=_encode_exactly, order="sorted")


def _decode(kind: type, raw: object) -> object:
    if kind is Quantity:
        return Quantity.parse(raw)
    raise NotImplementedError(f"no wire form of {kind}")


def _encode(value: object) -> object:
    if isinstance(value, Quantity):
        return str(value)
    raise NotImplementedError(f"no wire form of {type(value)}")


def _encode_exactly(value: object) -> object:
    if isinstance(value, Quantity):
        return f"{value.nanos}n"
    if isinstance(value, str):  # a subclass, which msgspec does not take for a string
        return str(value)
    raise NotImplementedError(f"no wire form of {type(value)}")
