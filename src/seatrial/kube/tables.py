"""How `kubectl get` shows objects: one row of cells per object, in upstream's columns for each kind.

The columns are upstream's printers (kubernetes/pkg/printers/internalversion). A kind without columns of its own shows
its name and when it was created; custom resources that nobody defined show their age, as those do that somebody
defined. `priority` 1 columns appear with `-o wide` only. The current time is passed in, for ages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from seatrial.kube.columns import others, services, storage, workloads
from seatrial.kube.columns.cells import AGE, CREATED, NAME, Column
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas.resources import SCHEMALESS

_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    **workloads.COLUMNS,
    **services.COLUMNS,
    **storage.COLUMNS,
    **others.COLUMNS,
    **{kind: (NAME, AGE) for _, kind in SCHEMALESS},
}
_DEFAULT: Final = (NAME, CREATED)


def table(
    kind: str,
    objects: Iterable[JsonObject],
    now: datetime,
    *,
    include: str = "Metadata",
    headers: bool = True,
    api_version: str = "meta.k8s.io/v1",
    columns: Sequence[Column] = (),
) -> JsonObject:
    """A `meta.k8s.io/v1` Table without list metadata; `include` is None, Metadata or Object; watches omit headers.

    `columns` are those of a custom resource.
    """
    columns = columns or _COLUMNS.get(kind, _DEFAULT)
    rows = []
    for raw in objects:
        row: JsonObject = {"cells": [column.cell(raw, now) for column in columns]}
        if include == "Object":
            row["object"] = raw
        elif include == "Metadata":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": raw["metadata"]}
        rows.append(row)
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.name == "Name" else column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": {},
        "columnDefinitions": definitions if headers else None,
        "rows": rows,
    }
