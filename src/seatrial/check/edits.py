"""Edits that a person would make to the files, and the system as it would be with them.

A change is made to an object as it is written; what follows from it (defaults, the typed view) is worked out again, as
for the file. So what is checked after an edit is what the edited file says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Final

import msgspec

from seatrial.check.system import Entry, Path, System
from seatrial.control import admission, autoscaling_v1
from seatrial.kube import objects
from seatrial.kube.objects import JsonObject, Object
from seatrial.kube.schemas.resources import scopes

CUSTOM_OF_CLUSTER: Final = frozenset(
    ("ClusterExternalSecret", "ClusterIssuer", "ClusterPolicy", "ClusterSecretStore", "GatewayClass", "NodePool")
)
"""Widely used custom kinds without a namespace, for files that do not have their definitions."""


class Removed(Enum):
    """The value of a field that is taken out."""

    REMOVED = "removed"


REMOVED: Final = Removed.REMOVED


@dataclass(frozen=True, slots=True)
class Change:
    """A field of an object gets another value. With no path, an object like it, `value`, is added to its file."""

    entry: Entry
    path: Path
    value: Any


Changes = tuple[Change, ...]


def entry(raw: JsonObject, version: str, file: str, positions: Mapping[Path, tuple[int, int]]) -> tuple[Entry, str]:
    """The object as it is written, as admitted, and typed; and what is wrong with it, empty if nothing is."""
    placed = in_namespace(raw)
    try:
        objects.parse(placed)
        admitted = admission.admit(placed, version=version)
        return Entry(raw, admitted, _typed(placed, admitted, version), file, positions), ""
    except (msgspec.ValidationError, ValueError) as error:
        return Entry(raw, placed, None, file, positions), str(error)


def _typed(placed: JsonObject, admitted: JsonObject, version: str) -> Object | None:
    if (placed.get("kind"), placed.get("apiVersion")) == ("HorizontalPodAutoscaler", autoscaling_v1.V1):
        return objects.parse(admission.admit(autoscaling_v1.stored(placed, None), version=version))
    return objects.parse(admitted)


def in_namespace(raw: JsonObject) -> JsonObject:
    """The object in the namespace that it gets if its file names none."""
    metadata: dict[str, Any] = dict(raw.get("metadata") or {})
    if not is_of_cluster(raw):
        metadata["namespace"] = metadata.get("namespace") or "default"
    return {**raw, "metadata": metadata}


def is_of_cluster(raw: JsonObject) -> bool:
    """Whether the object belongs to no namespace, as far as its kind tells without a definition of it."""
    kind = raw.get("kind")
    namespaced = _scopes().get((str(raw.get("apiVersion")).rpartition("/")[0], str(kind)))
    return kind in CUSTOM_OF_CLUSTER if namespaced is None else not namespaced


def may_be_served(group: str) -> bool:
    """Whether an API server may have the group: one of Kubernetes' own, or of a definition, which is a domain name."""
    return "." in group or any(group == own for own, _ in _scopes())


@cache
def _scopes() -> dict[tuple[str, str], bool]:
    """Whether a kind of Kubernetes' own is namespaced, by group and kind: its versions agree."""
    return {(version.rpartition("/")[0], kind): namespaced for (version, kind), namespaced in scopes().items()}


def applied(system: System, changes: Sequence[Change]) -> System | None:
    """The system with the changes made; None if an object would not be readable with them."""
    written: dict[int, JsonObject] = {}
    added: list[tuple[Entry, JsonObject]] = []
    for change in changes:
        if not change.path:
            added.append((change.entry, change.value))
            continue
        raw = written.get(id(change.entry), change.entry.written)
        try:
            written[id(change.entry)] = with_value(raw, change.path, change.value)
        except LookupError:
            return None
    entries = []
    for each in system.entries:
        if id(each) in written:
            each, problem = entry(written[id(each)], system.version, each.file, each.positions)
            if problem:
                return None
        entries.append(each)
    for like, raw in added:
        each, problem = entry(raw, system.version, like.file, {})
        if problem:
            return None
        entries.append(each)
    return replace(system, entries=tuple(entries))


def with_value(value: Any, path: Path, to: Any) -> Any:
    """A copy in which the field has another value, with the mappings around it made if they are not there.

    Raises LookupError where the value has something else on the way. An index just past a list's end appends.
    """
    if not path:
        return to
    step, rest = path[0], path[1:]
    if isinstance(step, str) and (value is None or isinstance(value, dict)):
        copy = dict(value or {})
        if not rest and to is REMOVED:
            copy.pop(step, None)
        else:
            copy[step] = with_value(copy.get(step), rest, to)
        return copy
    if isinstance(step, int) and isinstance(value, list) and step <= len(value) and (rest or to is not REMOVED):
        return [*value[:step], with_value(value[step] if step < len(value) else None, rest, to), *value[step + 1 :]]
    raise LookupError(path)
