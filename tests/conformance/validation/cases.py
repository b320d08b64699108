"""Documents from seeds: a good object of some kind, and most of the time one or two fields of it made worse.

Mutations follow the schema, not the object: a field that the object lacks is added as often as one it has is spoiled.
Values come from what fields of the same name hold in the good objects, from the limits of numbers and names, and from
what is nearly right. A field that is written twice needs text, so a case carries the text of its document.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import SchemaNode

OBJECTS: Final = Path(__file__).parent / "objects.yaml"
_TWICE: Final = "\x00twice"
_VERSION: Final = "$VERSION"
_NUMBERS: Final = (-1, 0, 1, 2, 5, 60, 100, 101, 255, 256, 512, 1024, 3600, 3601, 32768, 65535, 65536, 100_001)
_LARGE: Final = (2**31 - 1, 2**31, 2**32 + 1, -(2**31) - 1, 2**63)
_TEXTS: Final = (
    "", "a", "A", "Not_A_Name", "-a", "a-", "a.b", "a/b", "a/b/c", "a b", " a", "1", "0", "-1", "50%", "101%", "1.5",
    "é", "/abs", "../up", "a/../b", "..", ".", "..a", "*", "*.example.com", "http://x", "10.0.0.1", "10.0.0.300", "::1",
    "010.0.0.1", "10.0.0.0/8", "10.0.0.1/8", "fd00::/64", "100m", "1Gi", "-1Gi", "true", "null", "Nonsense", "Always",
    "Never", "example.com/x", "kubernetes.io/x", "UPPER.example.com", "a_b", "a=b", "1a", "system:x", "TCP",
    "2025-01-01T00:00:00Z",
    "a" * 15, "a" * 16, "a" * 52, "a" * 53, "a" * 63, "a" * 64, "a" * 253, "a" * 254, "a." * 126 + "a", "a" * 1025,
    "x" * 300_000,
)  # fmt: skip
_WITH_CEL: Final = (
    "DeviceClass",
    "MutatingAdmissionPolicy",
    "MutatingWebhookConfiguration",
    "ResourceClaim",
    "ResourceClaimTemplate",
    "ValidatingAdmissionPolicy",
    "ValidatingWebhookConfiguration",
)
_EXPRESSIONS: Final = {"applyConfiguration": ("Object{}",), "validations": ("true", "object.spec.replicas <= 5")}
_META: Final = frozenset(
    ("name", "labels", "annotations", "finalizers", "ownerReferences", "generateName", "namespace")
)


@cache
def good() -> tuple[tuple[int, JsonObject], ...]:
    """The objects and their weights."""
    listed = yaml.load(OBJECTS.read_text(), Loader=yaml.CSafeLoader)
    return tuple((each["weight"], each["object"]) for each in listed)


def invent(seed: int) -> JsonObject:
    """A case: which good object it is made from, the text of the document, whether it replaces the good one."""
    random = Random(seed)
    weights = [weight for weight, _ in good()]
    number = random.choices(range(len(weights)), weights)[0]
    document = copy.deepcopy(good()[number][1])
    node = schemas.load().kind(document["apiVersion"], document["kind"])
    assert node is not None, document
    update = random.random() < 0.2
    if update:
        document["metadata"]["resourceVersion"] = _VERSION
    times = random.choices((0, 1, 2, 3), (3, 72, 20, 5))[0]
    for _ in range(times):
        _mutate(random, document, node, keep_name=update)
    if document["kind"] in _WITH_CEL:
        _mend(document)
    return {"object": number, "text": compact(document), "update": update}


def _mend(value: Any, parent: str = "") -> None:
    """Whether an expression compiles is not asked: one that is not good where it stands is replaced by one that is."""
    if isinstance(value, list):
        for each in value:
            _mend(each, parent)
    if not isinstance(value, dict):
        return
    if parent == "cel" and not value.get("expression"):
        value["expression"] = "true"  # upstream compiles what is empty, too
    for name, each in value.items():
        if name.lower().endswith("expression") and isinstance(each, str) and each:
            good = _EXPRESSIONS.get(parent, ("true",)) if name == "expression" else ("'a'",)
            value[name] = each if each in good else good[0]
        else:
            _mend(each, name)


def sent(case: JsonObject, version: str) -> str:
    """The document, with the version of what it replaces."""
    text: str = case["text"]
    return text.replace(_VERSION, version)


def compact(document: JsonObject) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).replace("\\u0000twice", "")


def _mutate(random: Random, document: JsonObject, node: SchemaNode, *, keep_name: bool) -> None:
    """Spoil one place: walk down from the top, at each step perhaps stop, more often where little is below."""
    holder: Any = document
    path: tuple[str | int, ...] = ()
    while True:
        steps = _steps(holder, node, path, keep_name=keep_name)
        if not steps:
            return
        name, below = random.choice(steps)
        path = (*path, name)
        value = holder[name] if isinstance(name, int) or name in holder else None
        deep = isinstance(value, (dict, list)) and value and below is not None
        if deep and random.random() < (0.97 if len(path) < 3 else 0.8):
            holder, node = value, below  # type: ignore[assignment]  # deep says that it is there
            continue
        _spoil(random, holder, name, below)
        return


def _steps(
    holder: Any, node: SchemaNode, path: tuple[str | int, ...], *, keep_name: bool
) -> list[tuple[str | int, SchemaNode | None]]:
    if isinstance(holder, list):
        return [(index, node.items) for index in range(len(holder))]
    names = dict.fromkeys(node.properties or holder)
    if path == ():
        for name in ("status", "apiVersion", "kind"):
            names.pop(name, None)
        for name in ("spec", "template", "webhooks", "rules"):  # where most of an object is
            if name in holder:
                return [(each, node.field(each)) for each in (*names, *[name] * len(names) * 2)]
    if path and path[-1] == "metadata":
        names = {name: None for name in names if name in _META}
        if len(path) == 1 and keep_name:
            names = {name: None for name in names if name not in ("name", "namespace", "generateName")}
    present = [(name, node.field(name)) for name in names if name in holder]
    return present * 2 + [(name, node.field(name)) for name in names if name not in holder]


def _spoil(random: Random, holder: Any, name: str | int, node: SchemaNode | None) -> None:
    present = isinstance(name, int) or name in holder
    if not present:
        holder[name] = _made(random, str(name), node, 0)
        return
    value = holder[name]
    choice = random.random()
    if str(name).lower().endswith("expression") and choice >= 0.47:
        choice /= 3  # whether an expression compiles is not asked
    if choice < 0.18:
        del holder[name]
    elif choice < 0.22:
        holder[name] = None
    elif choice < 0.28:
        holder[name] = random.choice(("text", 7, True, [], {}, 1.5, [1], {"a": "b"}))
    elif choice < 0.33:
        holder[name] = {str: "", int: 0, list: [], dict: {}, bool: False}.get(type(value))
    elif choice < 0.36 and isinstance(holder, dict):
        holder[f"{name}{_TWICE}"] = value
    elif choice < 0.40 and isinstance(holder, dict):
        holder[random.choice(("unknown", f"{name}s", str(name).upper(), str(name).capitalize()))] = value
    elif choice < 0.47 and isinstance(holder, list):
        holder.insert(int(name), copy.deepcopy(value))
    elif isinstance(value, list) and value and choice < 0.7:
        holder[name] = _worse_list(random, value, str(name), node)
    elif isinstance(value, dict) and value and choice < 0.6:
        _worse_map(random, value)
    else:
        holder[name] = _made(random, str(name), node, 0)


def _worse_list(random: Random, value: list[Any], name: str, node: SchemaNode | None) -> list[Any]:
    match random.randrange(5):
        case 0:
            return [*value, copy.deepcopy(value[0])]
        case 1:
            return value[::-1]
        case 2:
            return [*value, {} if isinstance(value[0], dict) else random.choice(_TEXTS[:40])]
        case 3:
            return [copy.deepcopy(random.choice(value)) for _ in range(random.choice((8, 17, 33, 101)))]
        case _:
            return [*value, _made(random, name, None if node is None else node.items, 0)]


def _worse_map(random: Random, value: JsonObject) -> None:
    name = random.choice(list(value))
    match random.randrange(3):
        case 0:
            value[random.choice(_TEXTS)] = value[name]
        case 1 if not isinstance(value[name], (dict, list)):
            value[name] = random.choice(_TEXTS)
        case _:
            value[random.choice(list(value))] = copy.deepcopy(value[name])


def _made(random: Random, name: str, node: SchemaNode | None, depth: int) -> Any:
    """A value for a field: what fields of that name hold elsewhere, or what the schema asks for, at its limits."""
    known = _pool().get(name, ())
    if known and random.random() < 0.45:
        return copy.deepcopy(random.choice(known))
    if node is None:
        return random.choice(_TEXTS)
    if node.is_quantity:
        return random.choice(("0", "-1", "1", "100m", "1Gi", "1.5", "1n", "x", "", "1e3", 5, "3Mi"))
    if node.is_int_or_string:
        return random.choice((*_NUMBERS, *_TEXTS[:20]))
    match node.type:
        case "string":
            return random.choice((*node.enum, *_TEXTS) if random.random() < 0.8 else _every_text())
        case "integer" | "number":
            return random.choice(_NUMBERS if random.random() < 0.8 else _LARGE)
        case "boolean":
            return random.random() < 0.6
        case "array":
            return [_made(random, name, node.items, depth + 1) for _ in range(random.choice((0, 1, 1, 2)))]
        case "object" if node.values is not None and not node.properties:
            return {random.choice(_TEXTS[:40]): _made(random, name, node.values, depth + 1)}
        case "object":
            chance = 0.5 if len(node.properties) < 6 else 3 / len(node.properties)
            return {
                each: _made(random, each, node.field(each), depth + 1)
                for each in node.properties
                if depth < 4 and ((each in node.required and random.random() < 0.8) or random.random() < chance)
            }
        case _:
            return random.choice(_TEXTS)


@cache
def _pool() -> dict[str, list[Any]]:
    """What fields of each name hold in the good objects."""
    found: dict[str, list[Any]] = {}
    for _, each in good():
        for name, value in _fields(each):
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return found


@cache
def _every_text() -> tuple[str, ...]:
    return tuple(sorted({each for values in _pool().values() for each in values if isinstance(each, str)}))


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from _fields(each)
    elif isinstance(value, list):
        for each in value:
            yield from _fields(each)
