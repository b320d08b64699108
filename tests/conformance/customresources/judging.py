"""What we make of a case, in the form in which upstream's answer comes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from seatrial.kube.columns import cells
from seatrial.kube.customresources import columns, definitions, invariants, rules, shape, validation
from seatrial.kube.faults import Fault

Json = dict[str, Any]
MINOR = 37


def judge(case: Json) -> Json:
    raw = rules.defaulted(case["definition"])
    raw = {**raw, "status": {"storedVersions": rules.storing(raw["spec"], {})}}
    found = _texts(rules.definition_faults(raw, None))
    if found:
        return {"faults": found, "objects": None if found[0].startswith("undecodable") else []}
    version = definitions.parse(shape.settled(raw)).versions[0]
    objects: list[Json] = []
    before = None
    for each in case["objects"]:
        made, before = _judge_object(each, before, version)
        objects.append(made)
    return {"faults": [], "objects": objects}


def _judge_object(raw: Json, before: Json | None, version: definitions.Version) -> tuple[Json, Json | None]:
    schema = version.schema
    value, unknown = shape.prune(raw, schema)
    value = shape.without_nulls(value, schema)
    value, lost, fault = shape.coerce_embedded(value, schema)
    answer: Json = {"unknown": [*unknown, *lost], "stored": None, "faults": None, "update": [], "cells": None}
    if fault is not None:
        return {**answer, "error": str(fault)}, before
    value = shape.default(value, schema)
    found = validation.validate(value, schema, minor=MINOR)
    found += [*invariants.embedded(value, schema), *invariants.lists(value, schema)]
    if before is not None:
        answer["update"] = _texts(validation.validate_update(value, before, schema, minor=MINOR))
    shown = columns.columns(version.columns)[1:]
    cells = [_cell(each, value) for each in shown]
    return {**answer, "stored": value, "faults": _texts(found), "cells": cells}, value


def _cell(column: cells.Column, value: Json) -> Any:
    found = column.cell(value, datetime.now(UTC))
    is_age = column.type == "date" and isinstance(found, str) and not found.startswith("<")
    return "<age>" if is_age else found


def _texts(found: list[Fault]) -> list[str]:
    return sorted(f"{each.reason} {each}" for each in found)
