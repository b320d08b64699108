"""What a custom resource must hold to beside its OpenAPI schema: lists that are sets or maps, embedded resources, the
paths of its scale. Wording: apiextensions-apiserver (`listtype`, `objectmeta`, the custom resource strategies).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from seatrial.kube import faults
from seatrial.kube.customresources import shape
from seatrial.kube.customresources.definitions import Scale
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

_MOST_REPLICAS: Final = (1 << 31) - 1
DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
DNS_1035_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def dns_1035(text: str) -> str:
    """What is wrong with a DNS label, or nothing."""
    found = [] if len(text) <= 63 else ["must be no more than 63 characters"]
    if not DNS_1035.fullmatch(text):
        found.append(DNS_1035_RULE)
    return ",".join(found)


def lists(value: Any, schema: JsonObject | None, path: str = "") -> Iterator[Fault]:
    """Items that a list of type set or map has twice."""
    if schema is None:
        return
    if isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            for at in _repeated(value):
                yield faults.duplicate(f"{path}[{at}]", value[at])
        elif kind == "map":
            yield from _repeated_keys(value, schema.get("x-kubernetes-list-map-keys") or [], path)
        inner = shape.items(schema)
        for at, each in enumerate(value):
            yield from lists(each, inner, f"{path}[{at}]")
    elif isinstance(value, dict):
        known, (_, of_values) = shape.properties(schema), shape.additional(schema)
        for name, each in value.items():
            if name in known:
                yield from lists(each, known[name], faults.child(path, name))
            elif of_values is not None:
                yield from lists(each, of_values, f"{path}[{name}]")


def _repeated_keys(value: list[Any], keys: list[str], path: str) -> Iterator[Fault]:
    for at, each in enumerate(value):
        if each is not None and not isinstance(each, dict):
            yield faults.invalid(f"{path}[{at}]", each, "must be an object for an array of list-type map")
            return
    identities = [{key: each[key] for key in keys if key in each} if each is not None else {} for each in value]
    for at in _repeated(identities):
        yield faults.duplicate(f"{path}[{at}]", identities[at])


def _repeated(value: list[Any]) -> list[int]:
    """Where something comes the second time; the third is not reported again."""
    seen: dict[str, int] = {}
    found = []
    for at, each in enumerate(value):
        identity = f"{type(each).__name__} {faults.as_json(each)}"
        seen[identity] = seen.get(identity, 0) + 1
        if seen[identity] == 2:
            found.append(at)
    return found


def embedded(value: Any, schema: JsonObject | None, path: str = "") -> Iterator[Fault]:
    """Embedded resources that do not say what they are, or have metadata that no object may have."""
    if schema is None:
        return
    if isinstance(value, list):
        inner = shape.items(schema)
        for at, each in enumerate(value):
            yield from embedded(each, inner, f"{path}[{at}]")
    elif isinstance(value, dict):
        if shape.is_embedded(schema):
            yield from _resource(value, path)
        known, (_, of_values) = shape.properties(schema), shape.additional(schema)
        for name, each in value.items():
            if name in known:
                yield from embedded(each, known[name], faults.child(path, name))
            elif of_values is not None:
                yield from embedded(each, of_values, f"{path}[{name}]")


def _resource(value: JsonObject, path: str) -> Iterator[Fault]:
    for name in ("apiVersion", "kind"):
        if name not in value:
            yield faults.required(faults.child(path, name))
    at, kind = value.get("apiVersion"), value.get("kind")
    where = faults.child(path, "apiVersion")
    if at == "":
        yield faults.invalid(where, at, "must not be empty")
    elif isinstance(at, str) and at.count("/") > 1:
        yield faults.invalid(where, at, f"unexpected GroupVersion string: {at}")
    where = faults.child(path, "kind")
    if kind == "":
        yield faults.invalid(where, kind, "must not be empty")
    elif isinstance(kind, str) and (why := dns_1035(kind.lower())):
        yield faults.invalid(where, kind, f"may have mixed case, but should otherwise match: {why}")
    meta = value.get("metadata")
    if isinstance(meta, dict):
        name = meta.get("name") or ""
        where = faults.child(faults.child(path, "metadata"), "name")
        if name in (".", ".."):
            yield faults.invalid(where, name, f"may not be '{name}'")
        for letter in "/%":
            if letter in name:
                yield faults.invalid(where, name, f"may not contain '{letter}'")


def scale(raw: JsonObject, paths: Scale, *, spec: bool) -> Iterator[Fault]:
    """What the scale's paths hold must be counts and a selector; `spec` is looked at where it is written."""
    for path in (*((paths.spec_replicas,) if spec else ()), paths.status_replicas):
        try:
            found = paths.number(raw, path)
        except TypeError as error:
            yield faults.invalid(path, 0, str(error))
            continue
        if found is not None and found < 0:
            yield faults.invalid(path, found, "should be a non-negative integer")
        elif found is not None and found > _MOST_REPLICAS:
            yield faults.invalid(path, found, f"should be less than or equal to {_MOST_REPLICAS}")
    try:
        paths.selector(raw)
    except TypeError as error:
        yield faults.invalid(paths.label_selector, "", str(error))
