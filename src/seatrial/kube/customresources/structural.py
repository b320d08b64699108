"""Which schemas a CustomResourceDefinition may have: structural ones, which pruning and defaulting can follow.

One function per rule of upstream's (`apiserver/schema/validation.go`, `complete.go`, `defaulting/validation.go` and
`ValidateCustomResourceDefinitionOpenAPISchema`), in their words. A schema that is deeper or larger than what can be
followed here is refused. CEL rules are looked at from outside only; nothing here can compile them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from seatrial.kube import faults, regexes
from seatrial.kube.customresources import invariants, shape, validation
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

MAX_DEPTH: Final = 100
MAX_NODES: Final = 100_000
_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_QUANTIFIERS: Final = ("allOf", "anyOf", "oneOf")
_AT_ROOT: Final = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
    "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
    "XValidations"
)
"""The fields of a root schema beside a status subresource, by their names in Go."""
_EXTENSIONS_AT_ROOT: Final = {
    "XPreserveUnknownFields": "x-kubernetes-preserve-unknown-fields",
    "XValidations": "x-kubernetes-validations",
}
_UNSUPPORTED: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_NESTED: Final = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


def schema_faults(schema: JsonObject, path: str, *, has_status: bool) -> list[Fault]:
    """Why a version may not have this `openAPIV3Schema`, which stands at `path`."""
    if why := too_large(schema):
        return [faults.invalid(path, "", why)]
    found = list(_root(schema, path)) if has_status else []
    if schema.get("nullable"):
        found.append(faults.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    if unstructured := _unsupported(schema):
        found += _openapi(schema, path, _Context(is_root=True))
        return found or [faults.invalid(path, "", unstructured)]
    structure = violations(schema, path)
    found += structure
    if not structure:
        root = {**schema, "x-kubernetes-embedded-resource": True}
        found += _defaults(root, root, path, inside_meta=False)
    found += _openapi(schema, path, _Context(is_root=True))
    return found


def violations(schema: JsonObject, path: str) -> list[Fault]:
    """What keeps a schema from being structural, in the order of the texts."""
    found = [*_invariants(schema, "root", path), *_complete(schema, schema, path, path)]
    return sorted(found, key=str)


def rules(schema: Any) -> int:
    """How many CEL rules a schema has, at any depth."""
    if isinstance(schema, list):
        return sum(map(rules, schema))
    if not isinstance(schema, dict):
        return 0
    own = schema.get("x-kubernetes-validations")
    inner = (each for name, each in schema.items() if name not in ("default", "enum", "example"))
    return (len(own) if isinstance(own, list) else 0) + sum(map(rules, inner))


def has_defaults(schema: Any) -> bool:
    return isinstance(schema, dict) and any(each.get("default") is not None for each in subschemas(schema))


def subschemas(schema: JsonObject) -> Iterator[JsonObject]:
    """The schema and everything below it, in upstream's order of visits."""
    yield schema
    every = [schema.get("items"), *(each for key in _QUANTIFIERS for each in schema.get(key) or ()), schema.get("not")]
    every += (shape.properties(schema)[name] for name in sorted(shape.properties(schema)))
    for each in (*every, schema.get("additionalProperties")):
        if isinstance(each, dict):
            yield from subschemas(each)


def too_large(schema: Any) -> str:
    """Why a schema cannot be followed here; nothing if it can. Goes no deeper than the limit."""
    waiting = [(schema, 0)]
    nodes = 0
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if nodes > MAX_NODES:
            return f"has more than {MAX_NODES} values, which is as much as is supported here"
        if depth > 2 * MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels, which is as deep as is supported here"
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += ((each, depth + 1) for each in inner)
    return ""


def _root(schema: JsonObject, path: str) -> Iterator[Fault]:
    """If status is a subresource, its schema is that of the property alone, so the root may not say more."""
    if schema.get("type") != "object" and schema.get("type"):
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        yield faults.invalid(f"{path}.type", schema.get("type"), why)
        return
    allowed = {_EXTENSIONS_AT_ROOT.get(name, name[:1].lower() + name[1:]) for name in _AT_ROOT.split()}
    if any(value not in (None, "", False, [], {}) and name not in allowed for name, value in schema.items()):
        why = f"only [{_AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"
        yield faults.invalid(path, schema, why)


def _unsupported(schema: JsonObject) -> str:
    for each in subschemas(schema):
        if isinstance(each.get("items"), list):
            return "OpenAPIV3Schema 'items' must be a schema, but is an array"
        if each.get("x-kubernetes-preserve-unknown-fields") is False:
            return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
        for name in (*_UNSUPPORTED, "$schema"):
            if each.get(name) not in (None, "", {}):
                return f"OpenAPIV3Schema '{name.replace('$schema', 'schema')}' is not supported"
    return ""


# Structure


def _invariants(schema: JsonObject, level: str, path: str) -> Iterator[Fault]:
    kind = schema.get("type") or ""
    inner = shape.items(schema)
    if kind == "array" and inner is None:
        yield faults.required(f"{path}.items", "must be specified")
    if inner is not None:
        yield from _invariants(inner, "item", f"{path}.items")
    for name, each in shape.properties(schema).items():
        yield from _invariants(each, "field", f"{path}.properties[{name}]")
    is_map, of_values = shape.additional(schema)
    if is_map and level == "root":
        yield faults.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if of_values is not None:
        yield from _invariants(of_values, "field", f"{path}.additionalProperties")
    yield from _extensions(schema, path)
    all_of = schema.get("allOf") or []
    yield from _values(
        schema,
        path,
        skip_any=schema.get("anyOf") == _INT_OR_STRING,
        skip_first=bool(all_of) and all_of[0].get("anyOf") == _INT_OR_STRING,
    )
    yield from _type(schema, level, path)
    yield from _meta(schema, level, path)


def _extensions(schema: JsonObject, path: str) -> Iterator[Fault]:
    if schema.get("x-kubernetes-int-or-string"):
        for name in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(name):
                yield faults.invalid(f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true")


def _type(schema: JsonObject, level: str, path: str) -> Iterator[Fault]:
    kind = schema.get("type") or ""
    where = f"{path}.type"
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if shape.is_embedded(schema) and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        yield faults.invalid(where, kind, why) if kind else faults.required(where, why)
    elif not kind and not free:
        whose = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
        yield faults.required(where, f"must not be empty {whose[level]}")
    if shape.is_embedded(schema) and shape.additional(schema)[0]:
        why = "must not be used if x-kubernetes-embedded-resource is set"
        yield faults.forbidden(f"{path}.additionalProperties", why)
    if level == "root" and kind not in ("", "object"):
        yield faults.invalid(where, kind, "must be object at the root")


def _meta(schema: JsonObject, level: str, path: str) -> Iterator[Fault]:
    known = shape.properties(schema)
    is_resource = level == "root" or shape.is_embedded(schema)
    for name in ("kind", "apiVersion"):
        if name in known and is_resource and known[name].get("type") != "string":
            yield faults.invalid(f"{path}.properties[{name}].type", known[name].get("type") or "", "must be string")
    if "metadata" in known:
        meta, where = known["metadata"], f"{path}.properties[metadata]"
        if is_resource and meta.get("type") != "object":
            yield faults.invalid(f"{where}.type", meta.get("type") or "", "must be object")
        rest = {name for name, value in meta.items() if value not in (None, "", False, [], {})} - {"type", "default"}
        if set(shape.properties(meta)) <= {"name", "generateName"}:
            rest -= {"properties"}
        if level == "root" and rest:
            why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield faults.forbidden(where, why)
    if shape.is_embedded(schema) and not schema.get("x-kubernetes-preserve-unknown-fields") and not known:
        why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield faults.required(f"{path}.properties", why)


def _values(schema: JsonObject, path: str, *, skip_any: bool = False, skip_first: bool = False) -> Iterator[Fault]:
    for key in ("anyOf", "allOf", "oneOf"):
        for at, each in enumerate(schema.get(key) or ()):
            if key == "anyOf" and skip_any:
                continue
            yield from _nested(each, f"{path}.{key}[{at}]", skip_any=key == "allOf" and skip_first and at == 0)
    if isinstance(schema.get("not"), dict):
        yield from _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern")
    if pattern:
        try:
            regexes.compile(pattern)
        except regexes.RegexError as error:
            why = f"must be a valid regular expression, but isn't: {error}"
            yield faults.invalid(f"{path}.pattern", pattern, why)


def _nested(schema: JsonObject, path: str, *, skip_any: bool = False) -> Iterator[Fault]:
    """What stands below a quantifier may only restrict values."""
    yield from _values(schema, path, skip_any=skip_any)
    inner = shape.items(schema)
    if inner is not None:
        yield from _nested(inner, f"{path}.items")
    for name, each in shape.properties(schema).items():
        yield from _nested(each, f"{path}.properties[{name}]")
    for name, why in _NESTED:
        if schema.get(name) not in (None, "", False, []):
            yield faults.forbidden(f"{path}.{name}", why)
    if "metadata" in shape.properties(schema):
        yield faults.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _complete(values: JsonObject, schema: JsonObject | None, s_path: str, v_path: str) -> Iterator[Fault]:
    """Every restriction below a quantifier needs a place in the structure."""
    for key in _QUANTIFIERS:
        for at, each in enumerate(values.get(key) or ()):
            yield from _complete_nested(each, schema, s_path, f"{v_path}.{key}[{at}]")
    if isinstance(values.get("not"), dict):
        yield from _complete_nested(values["not"], schema, s_path, f"{v_path}.not")


def _complete_nested(values: JsonObject, schema: JsonObject | None, s_path: str, v_path: str) -> Iterator[Fault]:
    if schema is None:
        yield faults.required(s_path, f"because it is defined in {v_path}")
        return
    yield from _complete(values, schema, s_path, v_path)
    inner = shape.items(values)
    if inner is not None:
        yield from _complete_nested(inner, shape.items(schema), f"{s_path}.items", f"{v_path}.items")
    for name, each in shape.properties(values).items():
        s_inner, v_inner = f"{s_path}.properties[{name}]", f"{v_path}.properties[{name}]"
        yield from _complete_nested(each, shape.properties(schema).get(name), s_inner, v_inner)


# Defaults


def _defaults(schema: JsonObject, root: JsonObject, path: str, *, inside_meta: bool) -> Iterator[Fault]:
    """A default must be what an object could have there: known, valid, complete."""
    if shape.is_embedded(schema) and schema is not root:
        inside_meta, root = False, schema
    given = schema.get("default")
    where = f"{path}.default"
    if given is not None and not inside_meta:
        pruned = shape.prune({"": given}, {"properties": {"": schema}})[0][""]
        if pruned != given:
            yield faults.invalid(where, given, "must not have unknown fields")
        _, _, undecodable = shape.coerce_embedded(given, schema, where)
        broken = [undecodable] if undecodable else list(invariants.embedded(given, schema, where))
        yield from broken or validation.validate_default(given, schema, where)
    inner = shape.items(schema)
    if inner is not None:
        yield from _defaults(inner, root, f"{path}.items", inside_meta=inside_meta)
    for name, each in shape.properties(schema).items():
        in_meta = inside_meta or (shape.is_embedded(schema) and name in shape.META_FIELDS)
        yield from _defaults(each, root, f"{path}.properties[{name}]", inside_meta=in_meta)


# OpenAPI


@dataclass(frozen=True, slots=True)
class _Context:
    is_root: bool = False
    inside_meta: bool = False
    no_defaults: str | None = None


def _openapi(schema: JsonObject, path: str, context: _Context) -> Iterator[Fault]:
    below = replace(context, is_root=False)
    yield from _standard(schema, path, context)
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield faults.forbidden(f"{path}.uniqueItems", why)
    is_map, of_values = shape.additional(schema)
    if is_map:
        if shape.properties(schema) and schema.get("additionalProperties") is not True:
            why = "additionalProperties and properties are mutual exclusive"
            yield faults.forbidden(f"{path}.additionalProperties", why)
        if of_values is not None:
            inner = below
            if context.inside_meta:
                inner = replace(below, no_defaults="inside additionalProperties applying to object metadata")
            yield from _openapi(of_values, f"{path}.additionalProperties", inner)
    for name, each in shape.properties(schema).items():
        inner = below
        if (context.is_root or shape.is_embedded(schema)) and name in shape.META_FIELDS:
            reason = f"in top-level {name}" if context.is_root else below.no_defaults
            inner = replace(below, inside_meta=True, no_defaults=reason)
        yield from _openapi(each, f"{path}.properties[{name}]", inner)
    if isinstance(schema.get("not"), dict):
        yield from _openapi(schema["not"], f"{path}.not", below)
    for key in _QUANTIFIERS:
        for at, each in enumerate(schema.get(key) or ()):
            yield from _openapi(each, f"{path}.{key}[{at}]", below)
    inner_items = shape.items(schema)
    if inner_items is not None:
        yield from _openapi(inner_items, f"{path}.items", below)
    yield from _kubernetes(schema, path)
    yield from _cel(schema, path)


def _standard(schema: JsonObject, path: str, context: _Context) -> Iterator[Fault]:
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        yield faults.unsupported(f"{path}.type", kind, _TYPES)
    if schema.get("default") is not None and context.no_defaults is not None:
        yield faults.forbidden(f"{path}.default", f"must not be set {context.no_defaults}")
    for name in _UNSUPPORTED:
        if schema.get(name) not in (None, "", {}):
            yield faults.forbidden(f"{path}.{name}", f"{name} is not supported")
    if kind == "null":
        yield faults.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        yield faults.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if context.inside_meta and shape.is_embedded(schema):
        yield faults.forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")


def _kubernetes(schema: JsonObject, path: str) -> Iterator[Fault]:
    kind = schema.get("type") or ""
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield faults.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None:
        if kind != "object":
            why = "must be object if x-kubernetes-map-type is specified"
            yield faults.invalid(f"{path}.type", kind, why) if kind else faults.required(f"{path}.type", why)
        if map_type not in ("atomic", "granular"):
            yield faults.unsupported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))
    list_type = schema.get("x-kubernetes-list-type")
    if list_type is not None and kind != "array":
        why = "must be array if x-kubernetes-list-type is specified"
        yield faults.invalid(f"{path}.type", kind, why) if kind else faults.required(f"{path}.type", why)
    elif list_type == "set":
        yield from _atomic(shape.items(schema) or {}, f"{path}.items")
    if list_type not in (None, "atomic", "set", "map"):
        yield faults.unsupported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "set", "map"))
    yield from _list_map(schema, path)
    inner = shape.items(schema)
    if list_type in ("set", "map") and inner is not None:
        yield from _keys_there(schema, inner, list_type, path)


def _atomic(inner: JsonObject, path: str) -> Iterator[Fault]:
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if inner.get("type") == "array" and inner.get("x-kubernetes-list-type") not in (None, "atomic"):
        yield faults.invalid(f"{path}.x-kubernetes-list-type", inner["x-kubernetes-list-type"], why)
    if inner.get("type") == "object" and inner.get("x-kubernetes-map-type") != "atomic":
        yield faults.invalid(f"{path}.x-kubernetes-map-type", inner.get("x-kubernetes-list-type"), why)


def _list_map(schema: JsonObject, path: str) -> Iterator[Fault]:
    keys, list_type = schema.get("x-kubernetes-list-map-keys") or [], schema.get("x-kubernetes-list-type")
    if keys and list_type != "map":
        why, where = "must be map if x-kubernetes-list-map-keys is non-empty", f"{path}.x-kubernetes-list-type"
        yield faults.required(where, why) if list_type is None else faults.invalid(where, list_type, why)
    if list_type != "map":
        return
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield faults.required(where, "must not be empty if x-kubernetes-list-type is map")
    inner = shape.items(schema)
    if inner is None:
        yield faults.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if inner.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield faults.invalid(f"{path}.items.type", inner.get("type") or "", why)
        return
    seen: set[str] = set()
    for key in keys:
        known = shape.properties(inner).get(key)
        if known is None:
            yield faults.invalid(where, keys, "entries must all be names of item properties")
        elif known.get("type") in ("array", "object"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield faults.invalid(f"{path}.items.properties[{key}].type", inner["type"], why)
        if key in seen:
            yield faults.invalid(where, keys, "must not contain duplicate entries")
        seen.add(key)


def _keys_there(schema: JsonObject, inner: JsonObject, list_type: str, path: str) -> Iterator[Fault]:
    if shape.is_nullable(inner):
        why = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
        yield faults.forbidden(f"{path}.items.nullable", why)
    for key in (schema.get("x-kubernetes-list-map-keys") or ()) if list_type == "map" else ():
        known = shape.properties(inner).get(key)
        if known is None:
            continue
        where = f"{path}.items.properties[{key}]"
        if key not in (inner.get("required") or ()) and known.get("default") is None:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield faults.required(f"{where}.default", why)
        if shape.is_nullable(known):
            why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            yield faults.forbidden(f"{where}.nullable", why)


def _cel(schema: JsonObject, path: str) -> Iterator[Fault]:
    for at, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        where = f"{path}.x-kubernetes-validations[{at}]"
        text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
        said, expression = message.strip(), rule.get("messageExpression") or ""
        if not text:
            yield faults.required(f"{where}.rule", "rule is not specified")
        elif message and not said:
            yield faults.invalid(f"{where}.message", message, "must be non-empty if specified")
        elif "\n" in said or "\r" in said:
            yield faults.invalid(f"{where}.message", message, "must not contain line breaks")
        elif ("\n" in text or "\r" in text) and not said:
            yield faults.required(f"{where}.message", "message must be specified if rule contains line breaks")
        if expression and not expression.strip():
            yield faults.required(f"{where}.messageExpression", "messageExpression must be non-empty if specified")
        reason = rule.get("reason")
        if reason is not None and reason not in _REASONS:
            yield faults.unsupported(f"{where}.reason", reason, _REASONS)
