"""What decoding does to a custom resource: unknown fields go, defaults come, the metadata of what is embedded is read.

A schema is the JSON of a structural `openAPIV3Schema`. Nothing is changed in place. Every function follows the schema
down and is therefore no deeper than the schema, whose depth is bounded when it is accepted. Semantics: pruning,
defaulting and objectmeta of apiextensions-apiserver.
"""

from __future__ import annotations

from typing import Any, Final

from seatrial.kube import faults, schemas
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

META_FIELDS: Final = ("apiVersion", "kind", "metadata")
_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_NUMBERED: Final = ("generation", "deletionGracePeriodSeconds")
_TIMES: Final = ("creationTimestamp", "deletionTimestamp")
_MAPS: Final = ("labels", "annotations")
_LISTS: Final = {
    "finalizers": "[]string",
    "ownerReferences": "[]v1.OwnerReference",
    "managedFields": "[]v1.ManagedFieldsEntry",
}


def properties(schema: JsonObject) -> JsonObject:
    found: JsonObject = schema.get("properties") or {}
    return found


def items(schema: JsonObject) -> JsonObject | None:
    found = schema.get("items")
    return found if isinstance(found, dict) else None


def additional(schema: JsonObject) -> tuple[bool, JsonObject | None]:
    """Whether `additionalProperties` is there, and the schema of a map's values if it is one."""
    found = schema.get("additionalProperties")
    return found is not None, found if isinstance(found, dict) else None


def is_nullable(schema: JsonObject) -> bool:
    return bool(schema.get("nullable"))


def _preserves(schema: JsonObject) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def is_embedded(schema: JsonObject) -> bool:
    return bool(schema.get("x-kubernetes-embedded-resource"))


def prune(raw: JsonObject, schema: JsonObject) -> tuple[JsonObject, list[str]]:
    """A resource without what its schema does not know, and the paths of that, in order."""
    unknown: list[str] = []
    pruned = _pruned(raw, schema, "", unknown, embedded=True)
    return pruned, sorted(unknown)


def _pruned(value: Any, schema: JsonObject | None, path: str, unknown: list[str], *, embedded: bool = False) -> Any:
    if schema is not None and _preserves(schema):
        return _kept(value, schema, path, unknown, embedded=embedded)
    if isinstance(value, list):
        inner = None if schema is None else items(schema)
        return [_pruned(each, inner, f"{path}[{at}]", unknown) for at, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if schema is None:
        unknown += (faults.child(path, name) for name in value)
        return {}
    embedded = embedded or is_embedded(schema)
    known, (is_map, of_values) = properties(schema), additional(schema)
    out = {}
    for name, each in value.items():
        here = faults.child(path, name)
        if embedded and name in META_FIELDS:
            out[name] = each
        elif name in known:
            out[name] = _pruned(each, known[name], here, unknown)
        elif is_map:
            out[name] = _pruned(each, of_values, here, unknown)
        elif name not in META_FIELDS or path:
            unknown.append(here)
    return out


def _kept(value: Any, schema: JsonObject | None, path: str, unknown: list[str], *, embedded: bool = False) -> Any:
    """Unknown fields stay here; what the schema specifies again is pruned again."""
    if schema is None:
        return value
    if isinstance(value, list):
        inner = items(schema)
        return [_kept(each, inner, f"{path}[{at}]", unknown) for at, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    embedded = embedded or is_embedded(schema)
    known, (is_map, of_values) = properties(schema), additional(schema)
    out = dict(value)
    for name, each in value.items():
        if embedded and name in META_FIELDS:
            continue
        if name in known:
            out[name] = _pruned(each, known[name], faults.child(path, name), unknown)
        elif is_map:
            out[name] = _pruned(each, of_values, faults.child(path, name), unknown)
    return out


def default(value: Any, schema: JsonObject | None) -> Any:
    """The value with the schema's defaults where something is absent, or null and not nullable."""
    if schema is None:
        return value
    if isinstance(value, list):
        inner = items(schema)
        return [default(_unless_null(each, inner), inner) for each in value]
    if not isinstance(value, dict):
        return value
    out = dict(value)
    known, (is_map, of_values) = properties(schema), additional(schema)
    for name, each in known.items():
        given = each.get("default")
        if given is not None and (name not in out or (out[name] is None and not is_nullable(each))):
            out[name] = _pruned(given, each, "", [])
    for name, each in out.items():
        if name in known:
            out[name] = default(each, known[name])
        elif is_map:
            out[name] = default(_unless_null(each, of_values), of_values)
    return out


def _unless_null(value: Any, schema: JsonObject | None) -> Any:
    return schema.get("default") if value is None and schema is not None and not is_nullable(schema) else value


def settled(value: Any) -> Any:
    """The value as JSON brings it back: upstream writes a float without a fraction as a whole number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, dict):
        return {name: settled(each) for name, each in value.items()}
    return [settled(each) for each in value] if isinstance(value, list) else value


def without_nulls(value: Any, schema: JsonObject | None) -> Any:
    """Nulls that are neither allowed nor replaced by a default count as absent."""
    if isinstance(value, list):
        inner = None if schema is None else items(schema)
        return value if inner is None else [without_nulls(each, inner) for each in value]
    if not isinstance(value, dict) or schema is None:
        return value
    known, (_, of_values) = properties(schema), additional(schema)
    out = {}
    for name, each in value.items():
        inner = known.get(name, of_values)
        if each is None and inner is not None and not is_nullable(inner) and inner.get("default") is None:
            continue
        out[name] = without_nulls(each, inner)
    return out


def metadata(raw: JsonObject, path: str = "metadata") -> tuple[JsonObject, list[str], str]:
    """`metadata` without unknown fields, their paths, and what cannot be decoded, in the words of Go's decoder."""
    given = raw.get("metadata")
    if given is None:
        return {}, [], ""
    if not isinstance(given, dict):
        return {}, [], f"json: cannot unmarshal {_json_type(given)} into Go value of type v1.ObjectMeta"
    unknown: list[str] = []
    out: JsonObject = given
    for problem in schemas.compare(given, schemas.load().node(_OBJECT_META)):
        if problem.kind == "type":
            return {}, [], _undecodable(given, problem.path)
        if problem.kind == "unknown":
            unknown.append(faults.dotted((path, *problem.path)))
            out = _without(out, problem.path)
    return {name: each for name, each in out.items() if each is not None}, unknown, ""


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    first, *rest = path
    if isinstance(value, dict):
        if not rest:
            return {name: each for name, each in value.items() if name != first}
        return {**value, first: _without(value[first], tuple(rest))}
    return [_without(each, tuple(rest)) if at == first else each for at, each in enumerate(value)]


def _undecodable(given: JsonObject, path: tuple[str | int, ...]) -> str:
    name = str(path[0]) if path else ""
    value: Any = given
    for part in path:
        value = value[part]
    whole = len(path) == 1
    if name in _TIMES:
        if isinstance(value, str):
            return f'parsing time {faults.quoted(value)} as "2006-01-02T15:04:05Z07:00": cannot parse'
        return f"json: cannot unmarshal {_json_type(value)} into Go value of type string"
    wanted = "string"
    if name in _NUMBERED:
        wanted = "int64"
    elif name in _MAPS and whole:
        wanted = "map[string]string"
    elif name in _LISTS and whole:
        wanted = _LISTS[name]
    inner = ".".join(str(part) for part in (path if name not in _MAPS else path[:1]) if isinstance(part, str))
    return f"json: cannot unmarshal {_json_type(value)} into Go struct field ObjectMeta.{inner} of type {wanted}"


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {str: "string", int: "number", float: "number", list: "array", dict: "object"}.get(type(value), "null")


def coerce_embedded(value: Any, schema: JsonObject | None, path: str = "") -> tuple[Any, list[str], Fault | None]:
    """The value with the metadata of its embedded resources decoded; unknown fields' paths; what could not be."""
    unknown: list[str] = []
    try:
        return _coerced(value, schema, path, unknown), sorted(unknown), None
    except _UndecodableError as error:
        return value, sorted(unknown), error.fault


class _UndecodableError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _coerced(value: Any, schema: JsonObject | None, path: str, unknown: list[str]) -> Any:
    if schema is None:
        return value
    if isinstance(value, list):
        inner = items(schema)
        return [_coerced(each, inner, f"{path}[{at}]", unknown) for at, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known, (is_map, of_values) = properties(schema), additional(schema)
    out = dict(value)
    for name, each in value.items():
        here = faults.child(path, name)
        if is_embedded(schema) and name in ("apiVersion", "kind") and not isinstance(each, str):
            raise _UndecodableError(faults.invalid(here, each, "must be a string"))
        if is_embedded(schema) and name == "metadata":
            out[name], lost, why = metadata(value, here)
            unknown += lost
            if why:
                raise _UndecodableError(faults.invalid(here, each, why))
        if name in known:
            out[name] = _coerced(out[name], known[name], here, unknown)
        elif is_map:
            out[name] = _coerced(out[name], of_values, f"{path}[{name}]", unknown)
    return out
