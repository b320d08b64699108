"""The Table of custom resources: the name, and the columns that the definition's version asks for.

Semantics: apiextensions-apiserver `registry/customresource/tableconvertor`. Without columns there is the age.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from seatrial.kube import jsonpath, schemas
from seatrial.kube.columns import cells
from seatrial.kube.customresources import formats
from seatrial.kube.customresources.definitions import Column
from seatrial.kube.objects.base import JsonObject

_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_AGE: Final = Column("Age", "date", ".metadata.creationTimestamp")


def columns(asked: tuple[Column, ...]) -> tuple[cells.Column, ...]:
    """The columns of a version. One whose path cannot be read ends them, as upstream's converter gives up there."""
    texts = schemas.load().descriptions(_OBJECT_META)
    found = [cells.Column("Name", lambda raw, _: raw["metadata"].get("name", ""), description=texts["name"])]
    for each in asked or (replace(_AGE, description=texts["creationTimestamp"]),):
        try:
            path = jsonpath.parse(each.path)
        except jsonpath.PathError:
            break
        text = each.description or f"Custom resource definition column (in JSONPath format): {each.path}"
        cell = _cell(path, each.type)
        found.append(cells.Column(each.name, cell, each.type, each.priority, each.format, text))
    return tuple(found)


def _cell(path: jsonpath.Path, kind: str) -> cells.Cell:
    def cell(raw: JsonObject, now: datetime) -> Any:
        try:
            found = path.find(raw)
        except jsonpath.MissingError:
            return None
        if not found:
            return None
        return jsonpath.as_text(found[0]) if kind == "string" else _typed(found[0], kind, now)

    return cell


def _typed(value: Any, kind: str, now: datetime) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "integer" if is_number:
            return int(value)
        case "number" if is_number:
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "date" if isinstance(value, str):
            if value in ("", "null"):
                return "<unknown>"
            return cells.age(value, now) if formats.fits("date-time", value) else "<invalid>"
    return None
