"""Custom resources at the API: what the stored definitions serve, and the steps of a write for objects of their kinds.

What is decided about schemas and definitions stands in `kube.customresources`; here it meets the store. An object is
stored in its definition's storage version, pruned by that version's schema, and shown in the version asked for, with
its defaults. Conversion by webhook is not there: versions differ in their name alone (strategy None).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from seatrial.kube import faults, jsonpath
from seatrial.kube.columns import cells
from seatrial.kube.customresources import (
    columns,
    definitions,
    invariants,
    openapi,
    rules,
    shape,
    structural,
    validation,
)
from seatrial.kube.customresources.definitions import CLEANUP_FINALIZER, Definition, Scale, Version
from seatrial.kube.faults import Fault
from seatrial.kube.objects import CustomResource, JsonObject, ObjectMeta, parse_as
from seatrial.kube.objects.custom import CustomScale
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.requests import JSON_PATCH, MERGE_PATCH, Filter, Options

KEY: Final = f"{definitions.API_VERSION.partition('/')[0]}/customresourcedefinitions"
"""Where definitions are stored."""
_ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_LAST_VERBS: Final = ("delete", "deletecollection", "get", "list", "watch")
_STANDARD_FINALIZERS: Final = ("orphan", "foregroundDeletion", "kubernetes")
PATCHES: Final = (JSON_PATCH, MERGE_PATCH)


@dataclass(frozen=True)
class Served:
    """One version of a custom kind, as the API serves it."""

    definition: Definition
    version: Version
    resource: Resource

    @property
    def list_kind(self) -> str:
        return self.definition.accepted.list_kind

    @property
    def warning(self) -> str:
        """What every client of a deprecated version is told."""
        return self.definition.warning(self.version)

    @cached_property
    def columns(self) -> tuple[cells.Column, ...]:
        return columns.columns(self.version.columns)

    @cached_property
    def fields(self) -> Mapping[str, jsonpath.Path]:
        """The fields beside name and namespace by which lists can be narrowed."""
        return {path.removeprefix("."): jsonpath.parse(path) for path in self.version.selectable}

    @cached_property
    def documents(self) -> openapi.Document:
        return openapi.document(self.definition, self.version)

    def decoded(self, raw: JsonObject, options: Options) -> JsonObject:
        """What of a body counts: pruned, defaulted, its unknown fields reported. Raises `StatusError` (400)."""
        if raw["apiVersion"] != self.resource.api_version:
            raise errors.bad_request(
                f"the API version in the data ({raw['apiVersion']}) does not match the expected API version "
                f"({self.resource.api_version})"
            )
        if raw["kind"] != self.resource.kind:
            found = faults.invalid("kind", raw["kind"], f"must be {self.resource.kind}")
            raise errors.invalid(raw["kind"], self.resource.group, raw["metadata"].get("name", ""), [found])
        schema = self.version.schema
        metadata, unknown, undecodable = shape.metadata(raw)
        if undecodable:
            raise self._undecodable(undecodable)
        raw, pruned = shape.prune({**raw, "metadata": metadata}, schema)
        raw = shape.without_nulls(raw, schema)
        raw, lost, fault = shape.coerce_embedded(raw, schema)
        if fault is not None:
            raise self._undecodable(str(fault))
        if options.field_validation != "Ignore":
            texts = [f'duplicate field "{path}"' for path in options.duplicates]
            texts += [f'unknown field "{path}"' for path in (*unknown, *pruned, *lost)]
            if texts and options.field_validation == "Strict":
                why = f"strict decoding error: {', '.join(texts)}"
                if options.patched is not None:
                    raise errors.invalid("", "", "", [faults.invalid("patch", faults.as_json(options.patched), why)])
                raise self._undecodable(why)
            options.warnings += texts
        decoded: JsonObject = shape.default(raw, schema)
        return decoded

    def _undecodable(self, why: str) -> errors.StatusError:
        kind, version = self.resource.kind, self.resource.version
        return errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')

    def stored(self, raw: JsonObject) -> JsonObject:
        """The object in its storage version."""
        storage = self.definition.storage
        if storage.name != self.version.name:
            raw = {**raw, "apiVersion": f"{self.definition.group}/{storage.name}"}
            raw = shape.without_nulls(shape.prune(raw, storage.schema)[0], storage.schema)
        settled: JsonObject = shape.settled(raw)
        return settled

    def shown(self, raw: JsonObject) -> JsonObject:
        """A stored object in this version."""
        schema = self.version.schema
        raw = {**raw, "apiVersion": self.resource.api_version}
        shown: JsonObject = shape.default(shape.without_nulls(shape.prune(raw, schema)[0], schema), schema)
        return shown

    def generation_counts(self, before: JsonObject, after: JsonObject) -> bool:
        """Everything but metadata counts, and the status only where it is written with the rest."""
        ignored = {"metadata", "apiVersion", *(("status",) if self.version.has_status else ())}
        old, new = ({key: each for key, each in raw.items() if key not in ignored} for raw in (before, after))
        return old != new

    def faults(self, raw: JsonObject, before: JsonObject | None, subresource: str, minor: int) -> list[Fault]:
        """Why the object is refused; what was wrong before and is unchanged is let pass."""
        schema, scale = self.version.schema, self.version.scale
        found: list[Fault] = []
        if subresource == "status":
            inner = shape.properties(schema).get("status")
            if "status" in raw and inner is not None:
                old = (before or {}).get("status")
                found += validation.validate_update(raw["status"], old, inner, minor=minor, path="status")
        elif before is not None:
            found += validation.validate_update(raw, before, schema, minor=minor)
        else:
            found += validation.validate(raw, schema, minor=minor)
        if scale is not None:
            found += invariants.scale(raw, scale, spec=subresource != "status")
        if subresource != "status":
            found += invariants.embedded(raw, schema)
        repeated = list(invariants.lists(raw, schema))
        if repeated and (before is None or not any(True for _ in invariants.lists(before, schema))):
            found += repeated
        return found

    def warnings(self, raw: JsonObject, before: JsonObject | None) -> list[str]:
        """What a client is told about an object that is accepted: finalizers that somebody else may have, too."""
        old = ((before or {}).get("metadata") or {}).get("finalizers") or ()
        new = sorted(set(raw["metadata"].get("finalizers") or ()) - set(old))
        prefer = "prefer a domain-qualified finalizer name"
        avoid = "to avoid accidental conflicts with other finalizer writers"
        return [
            f"metadata.finalizers: {faults.quoted(name)}: {prefer}{' including a path (/)' * ('.' in name)} {avoid}"
            for name in new
            if "/" not in name and name not in _STANDARD_FINALIZERS
        ]

    def check_fields(self, which: Filter) -> None:
        """Raises `StatusError` (400) for a field selector on a field that lists cannot be narrowed by."""
        for path in which.field_paths():
            if path not in ("metadata.name", "metadata.namespace", *self.fields):
                raise errors.bad_request(f"field label not supported: {path}")

    def scaled(self, raw: JsonObject) -> JsonObject:
        """The autoscaling/v1 Scale of an object. Raises `StatusError` (500) where it has no size."""
        scale = self._scale
        try:
            replicas, found = scale.number(raw, scale.spec_replicas), scale.number(raw, scale.status_replicas)
            selector = scale.selector(raw)
        except TypeError as error:
            raise errors.failure(500, "InternalError", f"Internal error occurred: {error}") from error
        if replicas is None:
            path = scale.spec_replicas
            why = f'Internal error occurred: the spec replicas field "{path}" does not exist'
            raise errors.failure(500, "InternalError", why, {"causes": [{"message": why.partition(": ")[2]}]})
        names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: raw["metadata"][key] for key in names if key in raw["metadata"]},
            "spec": {"replicas": replicas},
            "status": {"replicas": found or 0, **({"selector": selector} if selector else {})},
        }

    def resized(self, raw: JsonObject, replicas: int) -> JsonObject:
        return self._scale.with_replicas(raw, replicas)

    @property
    def _scale(self) -> Scale:
        assert self.version.scale is not None, "the subresource is served only where there is one"
        return self.version.scale


class CustomResources:
    """What the definitions of a cluster serve, by group, version and plural."""

    def __init__(self, raws: Iterable[JsonObject] = ()) -> None:
        self._served: dict[tuple[str, str, str], Served] = {}
        self._of_kind: dict[tuple[str, str], Served] = {}
        self._openapi: Mapping[str, bytes] | None = None
        for raw in raws:
            definition = definitions.parse(raw)
            if definition.holds("Established"):
                for version in definition.versions:
                    self._add(Served(definition, version, _resource(definition, version)))

    def _add(self, served: Served) -> None:
        resource = served.resource
        self._served[resource.group, resource.version, resource.plural] = served
        self._of_kind[resource.api_version, resource.kind] = served

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(each.resource for each in self._served.values() if each.version.served)

    def of(self, resource: Resource) -> Served | None:
        return self._served.get((resource.group, resource.version, resource.plural))

    def all(self) -> tuple[Served, ...]:
        return tuple(each for each in self._served.values() if each.version.served)

    def openapi(self, version: str) -> Mapping[str, bytes]:
        """The OpenAPI v3 documents that have custom kinds, by path; made when somebody asks."""
        if self._openapi is None:
            from seatrial.server import discovery

            at: dict[str, list[Served]] = {}
            for each in self.all():
                at.setdefault(f"apis/{each.resource.api_version}", []).append(each)
            self._openapi = {path: discovery.custom_openapi(version, path, served) for path, served in at.items()}
        return self._openapi

    def view(self, raw: JsonObject) -> CustomResource | None:
        """The typed view of a stored object; None for one whose kind is not custom."""
        served = self._of_kind.get((raw.get("apiVersion", ""), raw.get("kind", "")))
        if served is None:
            return None
        return CustomResource(
            metadata=parse_as(ObjectMeta, raw["metadata"]),
            group_version=served.resource.api_version,
            named=served.resource.kind,
            resource=served.definition.name,
            scale=_scale_of(raw, served.version.scale),
        )


def _scale_of(raw: JsonObject, scale: Scale | None) -> CustomScale | None:
    if scale is None:
        return None
    try:
        return CustomScale(
            path=tuple(scale.spec_replicas.removeprefix(".").split(".")),
            replicas=scale.number(raw, scale.spec_replicas),
            status_replicas=scale.number(raw, scale.status_replicas) or 0,
            selector=scale.selector(raw),
        )
    except TypeError:
        return None


def _resource(definition: Definition, version: Version) -> Resource:
    names = definition.accepted
    subresources = (*(("scale",) if version.scale else ()), *(("status",) if version.has_status else ()))
    return Resource(
        group=definition.group,
        version=version.name,
        kind=names.kind,
        plural=names.plural,
        singular=names.singular,
        short_names=names.short_names,
        namespaced=definition.namespaced,
        categories=names.categories,
        subresources=subresources,
        verbs=_LAST_VERBS if definition.is_terminating else _ALL_VERBS,
        custom=True,
    )


# The definitions themselves


def is_definition(resource: Resource) -> bool:
    return resource.kind == definitions.KIND and resource.api_version == definitions.API_VERSION


def check_shape(raw: JsonObject) -> None:
    """What Go's decoder refuses in the parts of a definition that may be anything. Raises `StatusError` (400)."""
    if why := structural.too_large(raw.get("spec")):
        raise errors.bad_request(f"the definition {why}")
    versions = (raw.get("spec") or {}).get("versions") or ()
    for version in versions:
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        for each in structural.subschemas(schema) if isinstance(schema, dict) else ():
            for name, kinds, wanted in (
                ("items", (dict, list), "JSONSchemaPropsOrArray"),
                ("additionalProperties", (dict, bool), "JSONSchemaPropsOrBool"),
                ("additionalItems", (dict, bool), "JSONSchemaPropsOrBool"),
                ("enum", (list,), "[]v1.JSON"),
            ):
                if each.get(name) is not None and not isinstance(each[name], kinds):
                    why = f"json: cannot unmarshal into Go struct field JSONSchemaProps.{name} of type {wanted}"
                    kind = definitions.KIND
                    raise errors.bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def told(raw: JsonObject) -> JsonObject:
    """A definition as clients see it: what it has no status of yet is empty."""
    status = raw.get("status") or {}
    return {**raw, "status": {"conditions": None, "acceptedNames": {"kind": "", "plural": ""}, **status}}


def prepare_definition(raw: JsonObject) -> JsonObject:
    """A definition as it is stored: its defaults, and the versions in which objects may be stored."""
    raw = rules.defaulted(raw)
    status = raw.get("status") or {}
    return {**raw, "status": {**status, "storedVersions": rules.storing(raw["spec"], status)}}


def marked_for_deletion(raw: JsonObject, now: str) -> JsonObject:
    """A definition whose deletion has begun: it waits for its objects."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    finalizers = metadata.get("finalizers") or []
    condition = {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }
    if CLEANUP_FINALIZER not in finalizers:
        finalizers = [*finalizers, CLEANUP_FINALIZER]
    conditions = [each for each in status.get("conditions") or () if each["type"] != "Terminating"]
    return {
        **raw,
        "metadata": {**metadata, "deletionTimestamp": now, "finalizers": finalizers},
        "status": {**status, "conditions": [*conditions, condition]},
    }


def without_version() -> list[Fault]:
    """The cause for which a replacement that does not say what it replaces is refused."""
    return [faults.invalid("metadata.resourceVersion", 0, "must be specified for an update")]
