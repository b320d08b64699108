"""Kustomizations in a directory: which files are not applied as they are, and what to render instead.

Rules: nothing is rendered here. A Kustomization that only lists files leaves them as they are. One that changes what it
lists (names, labels, patches, generators, ...), or lists one that does, makes of its files something else: they are
passed over with all that it lists, and the outermost one, which no other lists, says how to render it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatrial.project import documents

NAMES = frozenset(("kustomization.yaml", "kustomization.yml", "Kustomization"))
LISTING = frozenset(("apiVersion", "kind", "metadata", "resources", "bases", "crds", "openapi", "buildMetadata"))
"""Fields that leave what is listed as it is."""

_ENTRIES = ("resources", "bases", "components", "crds")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Kustomization:
    """`lists` are the files and directories that it names; `changes` the fields with which it changes them."""

    file: Path
    lists: frozenset[Path]
    changes: tuple[str, ...]
    line: int


def read(file: Path) -> Kustomization | None:
    """None if the file cannot be read, which whoever reads it as a manifest says."""
    try:
        document = next(documents.parse(file.read_text("utf-8-sig")), None)
        value = document.value if document is not None else None
        if document is None or not isinstance(value, dict):
            return None
        changes = tuple(sorted(set(value) - LISTING))
        line = document.positions[(changes[0],)][0] if changes else 1
        entries = [text for field in _ENTRIES for text in value.get(field) or () if isinstance(text, str)]
        lists = {path for text in entries if (path := (file.parent / text).resolve()).exists()}
        named = (text for text in _texts(value) if text.endswith(_SUFFIXES) and len(text) < 500)
        lists |= {path for text in named if (path := (file.parent / text).resolve()).is_file()}
        return Kustomization(file, frozenset(lists), changes, line)
    except (OSError, ValueError, RuntimeError, documents.DocumentError):
        return None


def outermost(found: list[Kustomization]) -> tuple[list[tuple[Kustomization, tuple[str, ...]]], set[Path]]:
    """The Kustomizations to render, each with what it changes, and the files and directories that are passed over."""
    by_place = {each.file.parent.resolve(): each for each in found}
    render: list[tuple[Kustomization, tuple[str, ...]]] = []
    passed: set[Path] = set()
    listed = {place for each in found for place in each.lists}
    for place, each in by_place.items():
        inner: dict[Path, Kustomization] = {}
        todo = [place]
        while todo:
            here = todo.pop()
            if here in by_place and here not in inner:
                inner[here] = by_place[here]
                todo += by_place[here].lists
        changes = tuple(sorted({change for one in inner.values() for change in one.changes}))
        if changes:
            passed |= {path for one in inner.values() for path in one.lists}
            if place not in listed:
                render.append((each, changes))
    return render, passed


def _texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
        elif isinstance(each, str):
            yield each
