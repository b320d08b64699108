"""Request bodies to objects: JSON and YAML, with the fields that were written twice.

Repeated fields are found in the text's own structure, since a dict has forgotten them.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from seatrial.kube.objects import JsonObject
from seatrial.server import errors


class _Mapping(dict[str, Any]):
    """A JSON object that remembers which of its names came twice."""

    repeated: tuple[str, ...] = ()


def _mapping(pairs: list[tuple[str, Any]]) -> _Mapping:
    made = _Mapping(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        made.repeated = tuple(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add gives None
    return made


def read(body: bytes, content_type: str) -> tuple[JsonObject, tuple[str, ...]]:
    """The object and the paths of its repeated fields. Raises `StatusError` 400 or 415."""
    if content_type in ("application/json", "*/*", ""):
        try:
            raw = json.loads(body, object_pairs_hook=_mapping)
        except (ValueError, RecursionError) as error:
            raise errors.bad_request(f"the body is not JSON: {error}") from error
    elif content_type in ("application/yaml", "application/x-yaml", "text/yaml"):
        raw = _yaml(body)
    else:
        raise errors.unsupported_media_type(
            f"the body of the request was in an unknown format ({content_type}) - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
    if not isinstance(raw, dict):
        raise errors.bad_request("the body must be one object")
    return raw, tuple(_repeated(raw, ""))


def read_any(body: bytes) -> Any:
    """A patch: any JSON, or YAML where that is what came."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _yaml(body)


def to_yaml(raw: JsonObject) -> bytes:
    import yaml

    return yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, encoding="utf-8")


def _yaml(body: bytes) -> Any:
    import yaml

    try:
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise errors.bad_request(f"the body is neither JSON nor YAML: {error}") from error


def _repeated(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Mapping):
        found += [f"{path}.{name}" if path else name for name in value.repeated]
    if isinstance(value, dict):
        for name, item in value.items():
            found += _repeated(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _repeated(item, f"{path}[{index}]")
    return found


def with_bytes(raw: JsonObject, field: str) -> JsonObject:
    """Bytes may be written as a list of numbers, too, as Go's decoder takes them."""
    held = raw.get(field)
    if not isinstance(held, dict):
        return raw
    numbers = {key: value for key, value in held.items() if isinstance(value, list)}
    try:
        texts = {key: base64.b64encode(bytes(value)).decode() for key, value in numbers.items()}
    except (TypeError, ValueError):
        return raw
    return {**raw, field: {**held, **texts}} if texts else raw
