"""The `System`: what the checker takes. Objects with their places in the files, findings made while reading, builds.

Rules: values only; reading files is `project`'s work. A place is looked up by field path; where the file has no such
field (a default, a missing key) the nearest enclosing field that is written there answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import TypeVar, cast

from seatrial.kube.objects import JsonObject, Key, Object

Path = tuple[str | int, ...]
T = TypeVar("T", bound=Object)


def dotted(path: Path) -> str:
    """`("spec", "containers", 0)` as people write it: `spec.containers[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def undotted(text: str) -> Path:
    """The path that people write so; a key with dots in it stands in brackets, or is taken for several."""
    parts = re.findall(r"\[(\d+)\]|\[([^\]]+)\]|([^.\[\]]+)", text)
    return tuple(int(number) if number else key or name for number, key, name in parts)


@dataclass(frozen=True, slots=True)
class Place:
    """A field in a file; line and column count from 1, 0 where the object has no file."""

    file: str
    line: int
    column: int
    path: str
    template: str = ""
    """Of what Helm printed: the template that it comes from."""

    def __str__(self) -> str:
        told = f"{self.file}:{self.line}" if self.line else self.file
        return f"{told} ({self.template})" if self.template else told


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the input at a place. `fatal`: the file could not be read, so no verdict can count on it."""

    place: Place
    message: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Waiver:
    """What is accepted although it is refuted: `property` and `subject` are shell patterns, `until` is the last day."""

    property: str
    subject: str
    reason: str
    place: Place
    until: date | None = None

    def covers(self, property_: str, subject: str) -> bool:
        return fnmatchcase(property_, self.property) and fnmatchcase(subject, self.subject)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the system: as written, as admitted, typed where the kind has a type, and where it stands."""

    written: JsonObject = field(repr=False)
    admitted: JsonObject = field(repr=False)
    typed: Object | None = field(repr=False)
    file: str
    positions: Mapping[Path, tuple[int, int]] = field(default_factory=dict, repr=False)
    template: str = ""
    """Of what Helm printed: the template that it comes from."""
    key: Key = field(init=False, compare=False)

    def __post_init__(self) -> None:
        metadata = self.admitted.get("metadata") or {}
        key = Key(self.admitted["kind"], metadata.get("namespace", ""), metadata.get("name", ""))
        object.__setattr__(self, "key", key)

    @property
    def api_version(self) -> str:
        return str(self.admitted["apiVersion"])

    def place(self, *path: str | int) -> Place:
        """The place of the field, or of the nearest enclosing field that the file has."""
        for length in range(len(path), -1, -1):
            found = self.positions.get(path[:length])
            if found is not None:
                return Place(self.file, *found, dotted(path), self.template)
        return Place(self.file, 0, 0, dotted(path), self.template)


@dataclass(frozen=True, slots=True)
class System:
    """The desired state of an otherwise empty cluster. `builds`: an image's last path component to its directory."""

    version: str
    entries: tuple[Entry, ...] = ()
    findings: tuple[Finding, ...] = ()
    builds: Mapping[str, str] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    _by_kind: dict[str, list[Entry]] = field(init=False, compare=False, repr=False, default_factory=dict)
    _by_key: dict[Key, Entry] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._by_kind.setdefault(entry.key.kind, []).append(entry)
            # Names that are no names (their type is the schema's matter) may not be hashable; nothing refers to them.
            if isinstance(entry.key.name, str) and isinstance(entry.key.namespace, str):
                self._by_key.setdefault(entry.key, entry)

    @property
    def unreadable(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.fatal)

    def of(self, kind: str) -> tuple[Entry, ...]:
        return tuple(self._by_kind.get(kind, ()))

    def all(self, kind: type[T]) -> tuple[T, ...]:
        return cast("tuple[T, ...]", tuple(entry.typed for entry in self.entries if isinstance(entry.typed, kind)))

    def get(self, kind: str, namespace: str, name: str) -> Entry | None:
        return self._by_key.get(Key(kind, namespace, name))
