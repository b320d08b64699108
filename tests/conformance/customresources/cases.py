"""Random definitions and objects of their kinds: mostly such as people write, some of them wrong in one place."""

from __future__ import annotations

from random import Random
from typing import Any

Json = dict[str, Any]

NAMES = ("size", "image", "mode", "ports", "name", "labels", "template", "limits", "enabled", "ratio")
WORDS = ("", "a", "abc", "Blue", "example.com", "10.0.0.1", "2024-05-06", "2024-05-06T07:08:09Z", "5m", "ü", "x" * 12)
PATTERNS = ("^[a-z]+$", r"^\d{1,3}$", "^(a|b)*c$", r"^[^\s]{2,5}$", "(?i)^BLUE$", r"\.com$")
FORMATS = (
    "date",
    "date-time",
    "ipv4",
    "email",
    "hostname",
    "uuid",
    "duration",
    "int32",
    "byte",
    "uri",
    "cidr",
    "unheard",
)
NUMBERS = (0, 1, 2, 3, 5, 10, -1, 1.5, 2.0, 100, 2**31, 2**40, 0.1)


def case(random: Random) -> Json:
    schema = root(random)
    definition = definition_of(random, schema)
    if random.random() < 0.2:
        broken(random, definition)
    objects: list[Json] = []
    for _ in range(4):
        if objects and random.random() < 0.4:
            made = changed(random, objects[-1], schema)
        else:
            made = {**_object_value(random, schema, 0, good=False), "apiVersion": "example.com/v1", "kind": "Widget"}
        objects.append({"metadata": {"name": "w", "creationTimestamp": "2024-01-01T00:00:00Z"}, **made})
    return {"definition": definition, "objects": objects}


def definition_of(random: Random, schema: Json) -> Json:
    version: Json = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if random.random() < 0.5:
        version["additionalPrinterColumns"] = [column(random, schema) for _ in range(random.randint(1, 3))]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }


def column(random: Random, schema: Json) -> Json:
    path, here = "", schema
    while here.get("properties") and (not path or random.random() < 0.6):
        name = random.choice(sorted(here["properties"]))
        path, here = f"{path}.{name}", here["properties"][name]
    ending = random.choice(("", "", "", "[0]", "[*]", "[-1]", "[0:2]", '[?(@.name=="a")].mode', "[0,1]"))
    kind = random.choice(("string", "integer", "number", "boolean", "date"))
    return {"name": "Column", "type": kind, "jsonPath": (path or ".metadata.name") + ending}


def root(random: Random) -> Json:
    schema: Json = {"type": "object", "properties": {"spec": node(random, 0, "object")}}
    if random.random() < 0.4:
        schema["properties"]["status"] = node(random, 1, "object")
    if random.random() < 0.2:
        schema["required"] = ["spec"]
    if random.random() < 0.05:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def node(random: Random, depth: int, kind: str = "") -> Json:
    kinds = ("string", "integer", "number", "boolean") + (
        ("object", "object", "array", "any", "either") if depth < 4 else ()
    )
    kind = kind or random.choice(kinds)
    if kind == "any":
        return {"x-kubernetes-preserve-unknown-fields": True}
    if kind == "either":
        made: Json = {"x-kubernetes-int-or-string": True}
        if random.random() < 0.5:
            made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    else:
        made = {"type": kind, **{"string": _text, "object": _object, "array": _array}.get(kind, _number)(random, depth)}
    if random.random() < 0.1:
        made["nullable"] = True
    if depth and random.random() < 0.2:
        made["default"] = value(random, made, depth, good=True)
        if made["default"] is None:
            del made["default"]
    if random.random() < 0.15:
        made[random.choice(("anyOf", "oneOf", "allOf"))] = [
            _restriction(random, made) for _ in range(random.randint(1, 3))
        ]
    if random.random() < 0.05:
        made["not"] = _restriction(random, made)
    return made


def _text(random: Random, depth: int) -> Json:
    made: Json = {}
    for chance, key, choice in (
        (0.2, "maxLength", (0, 1, 3, 8)),
        (0.2, "minLength", (0, 1, 2)),
        (0.2, "pattern", PATTERNS),
        (0.2, "format", FORMATS),
    ):
        if random.random() < chance:
            made[key] = random.choice(choice)
    if random.random() < 0.15:
        made["enum"] = random.sample(WORDS, 3)
    return made


def _number(random: Random, depth: int) -> Json:
    made: Json = {}
    for chance, key in ((0.2, "maximum"), (0.2, "minimum"), (0.1, "multipleOf")):
        if random.random() < chance:
            made[key] = random.choice(NUMBERS)
    for key in ("exclusiveMaximum", "exclusiveMinimum"):
        if random.random() < 0.1:
            made[key] = True
    if random.random() < 0.2:
        made["format"] = random.choice(("int32", "int64", "float", "double"))
    if random.random() < 0.1:
        made["enum"] = random.sample(NUMBERS, 3)
    return made


def _object(random: Random, depth: int) -> Json:
    if depth and random.random() < 0.25:
        made: Json = {"additionalProperties": random.choice((True, node(random, depth + 1), node(random, depth + 1)))}
    else:
        names = random.sample(NAMES, random.randint(1, 4))
        made = {"properties": {name: node(random, depth + 1) for name in names}}
        if random.random() < 0.3:
            made["required"] = [random.choice((*names, "absent"))]
        if depth and random.random() < 0.1:
            made["x-kubernetes-embedded-resource"] = True
        if random.random() < 0.1:
            made["x-kubernetes-preserve-unknown-fields"] = True
    for key in ("maxProperties", "minProperties"):
        if random.random() < 0.1:
            made[key] = random.randint(0, 3)
    return made


def _array(random: Random, depth: int) -> Json:
    made: Json = {"items": node(random, depth + 1)}
    if random.random() < 0.2:
        made["x-kubernetes-list-type"] = "set"
        made["items"] = node(random, 9)
        made["items"].pop("nullable", None)
    elif random.random() < 0.3:
        key = random.choice(NAMES)
        made |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
        made["items"] = node(random, depth + 1, "object")
        made["items"].pop("additionalProperties", None)
        made["items"].pop("nullable", None)
        made["items"].setdefault("properties", {})[key] = {"type": random.choice(("string", "integer"))}
        made["items"]["required"] = [key]
        if random.random() < 0.3:
            second = random.choice([name for name in NAMES if name != key])
            made["items"]["properties"][second] = {"type": "string", "default": "a"}
            made["x-kubernetes-list-map-keys"].append(second)
    for key in ("maxItems", "minItems"):
        if random.random() < 0.15:
            made[key] = random.randint(0, 3)
    return made


def _restriction(random: Random, schema: Json) -> Json:
    if schema.get("properties") and random.random() < 0.7:
        name = random.choice(sorted(schema["properties"]))
        inner = {key: each for key, each in schema["properties"][name].items() if key in ("type",)}
        made = {"properties": {name: _restriction(random, {**schema["properties"][name], **inner})}}
        return {**made, "required": [name]} if random.random() < 0.4 else made
    kind = schema.get("type") or "string"
    if kind in ("string", "integer", "number", "boolean"):
        made = {**_text(random, 9)} if kind == "string" else {**_number(random, 9)}
        made.pop("format", None)
        return made
    return {"required": [random.choice(NAMES)]} if kind == "object" else {"maxItems": random.randint(0, 2)}


def value(random: Random, schema: Json, depth: int, *, good: bool = False) -> Any:
    if not good and random.random() < 0.06:
        return anything(random, 2)
    if schema.get("enum") and random.random() < 0.8:
        return random.choice(schema["enum"])
    if schema.get("nullable") and random.random() < 0.2:
        return None
    match schema.get("type"):
        case "object":
            return _object_value(random, schema, depth, good=good)
        case "array":
            inner = schema.get("items")
            if not isinstance(inner, dict):
                return [anything(random, 1)]
            return [value(random, inner, depth + 1, good=good) for _ in range(random.randint(0, 3))]
        case "string":
            return random.choice(WORDS)
        case "integer":
            return random.choice([number for number in NUMBERS if isinstance(number, int)])
        case "number":
            return random.choice(NUMBERS)
        case "boolean":
            return random.random() < 0.5
    if schema.get("x-kubernetes-int-or-string"):
        return random.choice((1, "1", "25%", -3))
    return anything(random, 2)


def _object_value(random: Random, schema: Json, depth: int, *, good: bool) -> Json:
    made: Json = {}
    if schema.get("x-kubernetes-embedded-resource"):
        made = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "inner"}}
        if random.random() < 0.2:
            made.pop(random.choice(sorted(made)))
        if not good and random.random() < 0.2 and "metadata" in made:
            made["metadata"] |= random.choice(({"color": "red"}, {"labels": {"a": "b"}}, {"name": "a/b"}))
    for name, inner in (schema.get("properties") or {}).items():
        if random.random() < 0.7:
            made[name] = value(random, inner, depth + 1, good=good)
    of_values = schema.get("additionalProperties")
    if of_values is not None:
        for name in random.sample(("one", "two", "three"), random.randint(0, 3)):
            made[name] = (
                value(random, of_values, depth + 1, good=good) if isinstance(of_values, dict) else anything(random, 1)
            )
    if not good and random.random() < 0.15:
        made[random.choice(NAMES)] = anything(random, 2)
    return made


def anything(random: Random, depth: int) -> Any:
    kinds = ["text", "number", "truth", "null", *(("list", "map") if depth else ())]
    match random.choice(kinds):
        case "text":
            return random.choice(WORDS)
        case "number":
            return random.choice(NUMBERS)
        case "truth":
            return random.random() < 0.5
        case "list":
            return [anything(random, depth - 1) for _ in range(random.randint(0, 2))]
        case "map":
            return {random.choice(NAMES): anything(random, depth - 1) for _ in range(random.randint(0, 2))}
    return None


def changed(random: Random, made: Json, schema: Json) -> Json:
    """The object with one of its parts made anew, so that the rest is unchanged."""
    name = random.choice(sorted(schema["properties"]))
    inner = made.get(name)
    if not isinstance(inner, dict) or not inner:
        return {**made, name: value(random, schema["properties"][name], 1)}
    key = random.choice(sorted(inner))
    known = (schema["properties"][name].get("properties") or {}).get(key, {})
    return {**made, name: {**inner, key: value(random, known, 2)}}


def broken(random: Random, definition: Json) -> None:
    """Something in the definition that upstream has a rule about."""
    spec = definition["spec"]
    version = spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    here = schema
    while here.get("properties") and random.random() < 0.7:
        here = here["properties"][random.choice(sorted(here["properties"]))]
    edits: tuple[tuple[Json, str, Any], ...] = (
        (spec, "group", "Example"),
        (spec, "group", "nodots"),
        (spec, "scope", "Global"),
        (spec, "preserveUnknownFields", True),
        (spec["names"], "kind", "9Widget"),
        (spec["names"], "shortNames", ["W", "wi"]),
        (spec["names"], "categories", ["All"]),
        (spec["names"], "listKind", "Widget"),
        (version, "storage", False),
        (version, "name", "V1"),
        (version, "deprecationWarning", "gone"),
        (version, "subresources", {"status": {}}),
        (version, "subresources", {"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": "status.y"}}),
        (version, "selectableFields", [{"jsonPath": ".spec.size"}, {"jsonPath": ".spec.nowhere"}]),
        (spec, "conversion", {"strategy": "Webhook"}),
        (spec, "conversion", {"strategy": "Magic"}),
        (here, "type", ""),
        (here, "type", "text"),
        (here, "nullable", True),
        (here, "uniqueItems", True),
        (here, "additionalProperties", {"type": "string"}),
        (here, "additionalProperties", False),
        (here, "default", {"unknown": 1}),
        (here, "default", "abc"),
        (here, "items", {"type": "string"}),
        (here, "pattern", "^[a-z"),
        (here, "pattern", "(?=a)"),
        (here, "x-kubernetes-list-type", "map"),
        (here, "x-kubernetes-list-type", "bag"),
        (here, "x-kubernetes-list-map-keys", ["name", "name"]),
        (here, "x-kubernetes-map-type", "atomic"),
        (here, "x-kubernetes-preserve-unknown-fields", False),
        (here, "x-kubernetes-embedded-resource", True),
        (here, "x-kubernetes-int-or-string", True),
        (here, "anyOf", [{"type": "string"}, {"description": "b"}]),
        (here, "allOf", [{"properties": {"nowhere": {"minLength": 1}}}]),
        (here, "oneOf", [{"items": {"minLength": 1}, "default": 3}]),
        (here, "not", {"properties": {"metadata": {}}}),
        (here, "id", "x"),
        (here, "definitions", {"a": {"type": "string"}}),
        (here, "patternProperties", {"a": {"type": "string"}}),
    )
    where, key, given = random.choice(edits)
    if given == "":
        where.pop(key, None)
    else:
        where[key] = given
