"""The published schemas of a custom kind, for clients that explain and check by them: OpenAPI v3, and v2 for old ones.

What upstream adds (`controller/openapi/builder`): metadata, apiVersion and kind of the object and of embedded ones, the
list, the alternatives of int-or-string. Version 2 cannot say everything and then says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from seatrial.kube import schemas
from seatrial.kube.customresources import shape
from seatrial.kube.customresources.definitions import Definition, Version
from seatrial.kube.objects.base import JsonObject

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_REFERENCE: Final = "#/components/schemas/"
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_MORE: Final = "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"


@dataclass(frozen=True, slots=True)
class Document:
    """The definitions of a kind and of its list, by their names."""

    v3: dict[str, JsonObject]
    v2: dict[str, JsonObject]


def model_name(definition: Definition, version: Version, kind: str) -> str:
    return ".".join((*reversed(definition.group.split(".")), version.name, kind))


def document(definition: Definition, version: Version) -> Document:
    name = model_name(definition, version, definition.names.kind)
    many = model_name(definition, version, definition.names.list_kind)
    every = {"v3": {}, "v2": {}}  # type: dict[str, dict[str, JsonObject]]
    for which, models in every.items():
        models[name] = _kind(definition, version, of_v2=which == "v2")
        models[many] = _list(definition, version, name)
    return Document(every["v3"], every["v2"])


def _kind(definition: Definition, version: Version, *, of_v2: bool) -> JsonObject:
    schema = version.schema
    if of_v2 and schema.get("x-kubernetes-preserve-unknown-fields"):
        made: JsonObject = {"type": "object"}
    else:
        made = _published(_for_v2(schema) if of_v2 else schema, of_v2=of_v2)
        own = {
            **_type_meta(),
            "metadata": _reference(f"{_META}ObjectMeta", f"Standard object's metadata. {_MORE}#metadata"),
        }
        made["properties"] = {**made.get("properties", {}), **own}
    made["x-kubernetes-group-version-kind"] = [_identity(definition, version, definition.names.kind)]
    if version.selectable and not of_v2:
        fields = [{"fieldPath": path.removeprefix(".")} for path in version.selectable]
        made["x-kubernetes-selectable-fields"] = fields
    return made


def _identity(definition: Definition, version: Version, kind: str) -> JsonObject:
    return {"group": definition.group, "kind": kind, "version": version.name}


def _list(definition: Definition, version: Version, name: str) -> JsonObject:
    names = definition.names
    items = {
        "description": f"List of {names.plural}. {_MORE}",
        "type": "array",
        "items": {"allOf": [{"$ref": _REFERENCE + name}]},
    }
    return {
        "description": f"{names.list_kind} is a list of {names.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_meta(),
            "items": items,
            "metadata": _reference(f"{_META}ListMeta", f"Standard list metadata. {_MORE}#types-kinds"),
        },
        "x-kubernetes-group-version-kind": [_identity(definition, version, names.list_kind)],
    }


def _type_meta() -> JsonObject:
    texts = schemas.load().descriptions(f"{_META}APIResourceList")
    return {name: {"type": "string", "description": texts[name]} for name in ("apiVersion", "kind")}


def _reference(name: str, text: str) -> JsonObject:
    made: JsonObject = {"allOf": [{"$ref": _REFERENCE + name}]}
    return {**made, "description": text} if text else made


def _published(schema: JsonObject, *, of_v2: bool) -> JsonObject:
    made: JsonObject = {key: value for key, value in schema.items() if value not in (None, "", False, [])}
    if schema.get("default") is not None:
        made["default"] = schema["default"]
    if "properties" in made:
        made["properties"] = {name: _published(each, of_v2=of_v2) for name, each in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _published(made[key], of_v2=of_v2)
    if schema.get("additionalProperties") is False:
        made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string") and not of_v2:
        _unfold(made)
    if shape.is_embedded(schema) and not (of_v2 and schema.get("x-kubernetes-preserve-unknown-fields")):
        own = {**_type_meta(), "metadata": _reference(f"{_META}ObjectMeta", "")}
        made["properties"] = {**made.get("properties", {}), **own}
        required = made.get("required") or []
        made["required"] = [*required, *(name for name in ("kind", "apiVersion") if name not in required)]
    return made


def _unfold(made: JsonObject) -> None:
    every = made.get("allOf") or []
    if made.get("anyOf") == _INT_OR_STRING or (every and every[0].get("anyOf") == _INT_OR_STRING):
        return
    if "anyOf" not in made:
        made["anyOf"] = _INT_OR_STRING
    else:
        made["allOf"] = [{"anyOf": _INT_OR_STRING}, *every]


def _for_v2(schema: Any) -> Any:
    """The schema without what OpenAPI v2 lacks: alternatives, nulls, free content."""
    if not isinstance(schema, dict):
        return schema
    made = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf", "not")}
    nullable = [name for name, each in shape.properties(schema).items() if shape.is_nullable(each)]
    if made.get("nullable"):
        for key in ("type", "nullable", "items", "properties"):
            made.pop(key, None)
    if made.get("x-kubernetes-preserve-unknown-fields"):
        for key in ("items", "properties"):
            made.pop(key, None)
        if made.get("type") == "object":
            made.pop("type")
    if made.get("type") == "array" and not isinstance(made.get("items"), dict):
        made.pop("type")
    if made.get("required"):
        made["required"] = [name for name in made["required"] if name not in nullable]
    if "properties" in made:
        made["properties"] = {name: _for_v2(each) for name, each in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in made:
            made[key] = _for_v2(made[key])
    return made
