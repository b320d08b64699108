"""Three ways to say what changes in a JSON document, and how the API server applies each.

`json_patch` is RFC 6902, `merge_patch` is RFC 7386, `strategic_merge` is Kubernetes' own: a merge patch that knows from
the schema which lists are merged by a key, with the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList` and
`$setElementOrder` that `kubectl` writes. Inputs are never changed; results share unchanged parts with them. A patch
that cannot be applied raises `PatchError`, which names the place. The strategic rules are those of apimachinery's
`util/strategicpatch` and of "Update API Objects in Place Using kubectl patch" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from seatrial.kube.objects.base import JsonObject
from seatrial.kube.schemas import SchemaNode

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"
_MOST_OPERATIONS: Final = 10_000  # kube-apiserver's limit for one JSON patch


class PatchError(ValueError):
    """A patch that does not apply to this document."""


# --- RFC 7386 ---


def merge_patch(document: Any, patch: Any) -> Any:
    """`document` with the merge patch applied: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def diff_merge(before: JsonObject, after: JsonObject) -> JsonObject:
    """The smallest merge patch that turns `before` into `after` (where null and absent are the same)."""
    patch: JsonObject = {name: None for name in before if before[name] is not None and after.get(name) is None}
    for name, value in after.items():
        old = before.get(name)
        if value is None or same(old, value):
            continue
        if isinstance(value, dict):
            patch[name] = diff_merge(old if isinstance(old, dict) else {}, value)
            if not patch[name] and isinstance(old, dict):
                del patch[name]
        else:
            patch[name] = value
    return patch


def same(one: Any, other: Any) -> bool:
    """JSON equality: `true` is not `1`, the order of names does not matter."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


# --- RFC 6902 ---


def json_patch(document: Any, operations: Sequence[JsonObject]) -> Any:
    """`document` after all operations, or `PatchError` (and nothing applied) if one of them fails."""
    if not isinstance(operations, (list, tuple)):
        raise PatchError(
            'a JSON patch is a list of operations, such as [{"op": "replace", "path": "/spec/replicas", "value": 3}]'
        )
    if len(operations) > _MOST_OPERATIONS:
        raise PatchError(f"a JSON patch has at most {_MOST_OPERATIONS} operations, this one {len(operations)}")
    for number, operation in enumerate(operations):
        try:
            document = _operate(document, operation)
        except PatchError as error:
            raise PatchError(f"operation {number} of the JSON patch: {error}") from None
    return document


def _operate(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise PatchError(f"an operation is an object with op and path, not {operation!r}")
    op, path = operation.get("op"), operation.get("path")
    tokens = _pointer(path)
    if op in {"add", "replace", "test"} and "value" not in operation:
        raise PatchError(f"{op} {path!r} needs a value")
    match op:
        case "add":
            return _add(document, tokens, operation["value"])
        case "replace":
            _get(document, tokens)
            return _change(document, tokens, lambda _: operation["value"])
        case "remove":
            _get(document, tokens)
            return _remove(document, tokens)
        case "test":
            found = _get(document, tokens)
            if not same(found, operation["value"]):
                raise PatchError(f"test failed: {path} is {found!r}, not {operation['value']!r}")
            return document
        case "copy":
            return _add(document, tokens, _get(document, _pointer(operation.get("from"))))
        case "move":
            source = _pointer(operation.get("from"))
            if tokens[: len(source)] == source and len(tokens) > len(source):
                raise PatchError(f"cannot move {operation['from']} into itself at {path}")
            moved = _get(document, source)
            return _add(_remove(document, source), tokens, moved)
    raise PatchError(f"{op!r} is not an operation: add, remove, replace, move, copy or test")


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise PatchError(f"{path!r} is not a JSON pointer: it is empty or begins with '/', as in /metadata/labels")
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def _index(array: list[Any], token: str, *, end: int) -> int:
    if not token.isascii() or not token.isdigit() or (len(token) > 1 and token[0] == "0"):
        raise PatchError(f"{token!r} is not an index into a list of {len(array)}")
    if len(token) > 9 or int(token) >= end:
        raise PatchError(f"index {token} is past the end of a list of {len(array)}")
    return int(token)


def _get(document: Any, tokens: list[str]) -> Any:
    for token in tokens:
        if isinstance(document, dict):
            if token not in document:
                raise PatchError(f"/{'/'.join(tokens)} does not exist: there is no {token!r}")
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, end=len(document))]
        else:
            raise PatchError(f"/{'/'.join(tokens)} does not exist: {token!r} is looked for in a single value")
    return document


def _change(document: Any, tokens: list[str], change: Callable[[Any], Any]) -> Any:
    if not tokens:
        return change(document)
    token, *rest = tokens
    if isinstance(document, dict):
        if token not in document:
            raise PatchError(f"there is no {token!r} to go into; add it first")
        return {**document, token: _change(document[token], rest, change)}
    if isinstance(document, list):
        index = _index(document, token, end=len(document))
        return [*document[:index], _change(document[index], rest, change), *document[index + 1 :]]
    raise PatchError(f"{token!r} is looked for in a single value")


def _add(document: Any, tokens: list[str], value: Any) -> Any:
    if not tokens:
        return value

    def put(parent: Any) -> Any:
        token = tokens[-1]
        if isinstance(parent, dict):
            return {**parent, token: value}
        if isinstance(parent, list):
            index = len(parent) if token == "-" else _index(parent, token, end=len(parent) + 1)
            return [*parent[:index], value, *parent[index:]]
        raise PatchError(f"cannot add {token!r} to a single value")

    return _change(document, tokens[:-1], put)


def _remove(document: Any, tokens: list[str]) -> Any:
    if not tokens:
        return None

    def drop(parent: Any) -> Any:
        token = tokens[-1]
        if isinstance(parent, dict):
            return {name: value for name, value in parent.items() if name != token}
        index = _index(parent, token, end=len(parent))
        return [*parent[:index], *parent[index + 1 :]]

    return _change(document, tokens[:-1], drop)


# --- strategic merge ---


def strategic_merge(document: JsonObject, patch: JsonObject, schema: SchemaNode | None) -> JsonObject:
    """`document` with the strategic merge patch applied. Without a schema lists are replaced, as for custom kinds."""
    if not isinstance(patch, dict):
        raise PatchError(f"a strategic merge patch is an object, not {type(patch).__name__}")
    return _merge_map(document, patch, schema, ())


def _merge_map(original: JsonObject, patch: JsonObject, schema: SchemaNode | None, at: tuple[str, ...]) -> JsonObject:
    match patch.get(_PATCH):
        case None | "merge":
            pass
        case "replace":
            return {name: value for name, value in patch.items() if name != _PATCH}
        case "delete":
            return {}
        case other:
            raise PatchError(f"{_where(at)}: $patch is {other!r}; it can be merge, replace or delete")
    result = _retained(original, patch, at)
    fields = [_field_of(name) for name in patch if name not in {_PATCH, _RETAIN}]
    for name in dict.fromkeys(fields):
        child = schema.field(name) if schema is not None else None
        here = (*at, name)
        value = patch.get(name, ...)
        if value is None:
            result.pop(name, None)
            continue
        old = result.get(name)
        deletions, order = patch.get(_DELETE_FROM + name), patch.get(_ORDER + name)
        if isinstance(value, dict):
            replaces = child is not None and "replace" in child.patch_strategies
            base = old if isinstance(old, dict) and not replaces else {}
            if value.get(_PATCH) == "delete":
                result.pop(name, None)
            else:
                result[name] = _merge_map(base, value, child, here)
        elif isinstance(value, list) or deletions is not None or order is not None:
            if child is None or "merge" not in child.patch_strategies:
                if value is not ...:
                    result[name] = value
                continue
            if value is ... and not isinstance(old, list):
                continue
            result[name] = _merge_list(
                old if isinstance(old, list) else [], [] if value is ... else value, child, deletions, order, here
            )
        else:
            result[name] = value
    return result


def _field_of(name: str) -> str:
    return name.removeprefix(_DELETE_FROM).removeprefix(_ORDER)


def _retained(original: JsonObject, patch: JsonObject, at: tuple[str, ...]) -> JsonObject:
    if _RETAIN not in patch:
        return dict(original)
    kept = patch[_RETAIN]
    if not isinstance(kept, list):
        raise PatchError(f"{_where(at)}: $retainKeys is a list of field names")
    for name, value in patch.items():
        if not name.startswith("$") and value is not None and name not in kept:
            raise PatchError(f"{_where(at)}: the patch sets {name!r}, which its $retainKeys {kept} does not keep")
    return {name: value for name, value in original.items() if name in kept}


def _merge_list(
    original: list[Any], patch: list[Any], schema: SchemaNode, deletions: Any, order: Any, at: tuple[str, ...]
) -> list[Any]:
    key = schema.merge_key
    for title, directive in ((_DELETE_FROM, deletions), (_ORDER, order)):
        if directive is not None and not isinstance(directive, list):
            raise PatchError(f"{_where(at)}: {title}... is a list")

    def identity(item: Any) -> Any:
        if key is None:
            return item
        if not isinstance(item, dict) or key not in item:
            raise PatchError(
                f"{_where(at)}: every item of this list needs its merge key {key!r}; this has none: {item!r}"
            )
        return item[key]

    if key is None:
        merged = [item for item in original if item not in (deletions or ())]
        merged = list(dict.fromkeys([*merged, *patch]))
    else:
        merged = _merge_items(original, patch, schema, identity, at)
    live = [identity(item) for item in original]
    if order is None:
        order = [item for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    wanted = [identity(item) for item in order]
    listed = [item for item in merged if identity(item) in wanted]
    others = [item for item in merged if identity(item) not in wanted]
    strangers = [identity(item) for item in others if identity(item) not in live]
    if strangers:
        raise PatchError(f"{_where(at)}: the patch has {strangers}, which its $setElementOrder does not list")
    listed.sort(key=lambda item: wanted.index(identity(item)))
    others.sort(key=lambda item: live.index(identity(item)))
    return _interleave(others, listed, live, identity)


def _merge_items(
    original: list[Any], patch: list[Any], schema: SchemaNode, identity: Callable[[Any], Any], at: tuple[str, ...]
) -> list[Any]:
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [rest for item in patch if (rest := {name: v for name, v in item.items() if name != _PATCH})]
    merged = list(original)
    for item in patch:
        wanted = identity(item)
        if item.get(_PATCH) == "delete":
            merged = [each for each in merged if identity(each) != wanted]
            continue
        place = next((index for index, each in enumerate(merged) if identity(each) == wanted), None)
        here = (*at, str(wanted))
        if place is None:
            merged.append(_merge_map({}, item, schema.items, here))
        else:
            merged[place] = _merge_map(merged[place], item, schema.items, here)
    return merged


def _interleave(others: list[Any], listed: list[Any], live: list[Any], identity: Callable[[Any], Any]) -> list[Any]:
    """Both lists in their own order; an item the patch does not know stays before what it preceded on the server."""
    result: list[Any] = []
    left, right = list(others), list(listed)
    while left and right:
        first, second = identity(left[0]), identity(right[0])
        precedes = second in live and live.index(first) < live.index(second)
        result.append(left.pop(0) if precedes else right.pop(0))
    return result + left + right


def _where(at: tuple[str, ...]) -> str:
    return ".".join(at) or "the document"
