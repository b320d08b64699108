"""What the API would refuse of definitions and their objects that stand in files, before there is a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from seatrial.kube import faults
from seatrial.kube.customresources import definitions, invariants, rules, shape, structural, validation
from seatrial.kube.customresources.definitions import Definition, Version
from seatrial.kube.faults import Fault
from seatrial.kube.objects.base import JsonObject

Known = dict[tuple[str, str], Version]
"""The custom kinds of the files that are served, by `apiVersion` and `kind`."""


def is_definition(raw: JsonObject) -> bool:
    return (raw.get("apiVersion"), raw.get("kind")) == (definitions.API_VERSION, definitions.KIND)


def known(raws: Iterable[JsonObject]) -> Known:
    """The kinds that the definitions among `raws` make; those that would be refused make none."""
    found: Known = {}
    for raw in raws:
        if is_definition(raw) and not of_definition(raw):
            definition = definitions.parse(rules.defaulted(raw))
            found |= _kinds(definition)
    return found


def _kinds(definition: Definition) -> Known:
    return {
        (f"{definition.group}/{each.name}", definition.names.kind): each for each in definition.versions if each.served
    }


def of_definition(raw: JsonObject) -> list[Fault]:
    """Why a definition would be refused."""
    if why := structural.too_large(raw.get("spec")):
        return [faults.invalid("spec", "", why)]
    raw = rules.defaulted(raw)
    return rules.definition_faults({**raw, "status": {"storedVersions": rules.storing(raw["spec"], {})}}, None)


def of_object(raw: JsonObject, version: Version, minor: int) -> list[Fault]:
    """Why an object would be refused by `kubectl apply`, which asks for strict validation."""
    schema = version.schema
    metadata, unknown, undecodable = shape.metadata(raw)
    if undecodable:
        return [faults.invalid("metadata", "", undecodable)]
    pruned, lost = shape.prune({**raw, "metadata": metadata}, schema)
    pruned, inner, fault = shape.coerce_embedded(shape.without_nulls(pruned, schema), schema)
    if fault is not None:
        return [fault]
    found = [Fault("FieldUnknown", path, f'unknown field "{path}"') for path in (*unknown, *lost, *inner)]
    made = shape.default(pruned, schema)
    if version.has_status:
        made.pop("status", None)
    found += validation.validate(made, schema, minor=minor)
    found += [*invariants.embedded(made, schema), *invariants.lists(made, schema)]
    return found
