"""What a CustomResourceDefinition says, as values: names, versions, and what each version has beside its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from seatrial.kube.objects.base import JsonObject

KIND: Final = "CustomResourceDefinition"
API_VERSION: Final = "apiextensions.k8s.io/v1"
CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
_GO_TYPES: Final = {bool: "bool", int: "int64", float: "float64", str: "string", list: "[]interface {}"}
_KUBE_VERSION: Final = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Names:
    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: JsonObject) -> Names:
        return cls(
            plural=raw.get("plural") or "",
            singular=raw.get("singular") or "",
            kind=raw.get("kind") or "",
            list_kind=raw.get("listKind") or "",
            short_names=tuple(raw.get("shortNames") or ()),
            categories=tuple(raw.get("categories") or ()),
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """The paths of the scale subresource, each with its leading dot."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""

    def number(self, raw: JsonObject, path: str) -> int | None:
        """The count at a path. Raises `TypeError`, in upstream's words, for what is none."""
        found: int | None = _at(raw, path, int, "int64")
        return found

    def selector(self, raw: JsonObject) -> str:
        """The label selector in its text form; empty without one. Raises `TypeError`."""
        return (_at(raw, self.label_selector, str, "string") or "") if self.label_selector else ""

    def with_replicas(self, raw: JsonObject, replicas: int) -> JsonObject:
        return _with(raw, self.spec_replicas.removeprefix(".").split("."), replicas)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """`schema` is the JSON of its `openAPIV3Schema`."""

    name: str
    served: bool
    storage: bool
    schema: JsonObject
    deprecated: bool = False
    deprecation_warning: str | None = None
    has_status: bool = False
    scale: Scale | None = None
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    """The JSON paths by which lists and watches can be narrowed."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One CustomResourceDefinition; `accepted` are the names that are its own."""

    name: str
    uid: str
    group: str
    namespaced: bool
    names: Names
    accepted: Names
    versions: tuple[Version, ...]
    conditions: Mapping[str, str]
    is_going: bool = False

    def holds(self, condition: str) -> bool:
        return self.conditions.get(condition) == "True"

    @property
    def storage(self) -> Version:
        return next(each for each in self.versions if each.storage)

    @property
    def is_terminating(self) -> bool:
        return self.is_going or self.holds("Terminating")

    def warning(self, version: Version) -> str:
        """What a client of a deprecated version is told; empty otherwise."""
        if not version.deprecated:
            return ""
        if version.deprecation_warning is not None:
            return version.deprecation_warning
        newer = [
            each.name
            for each in self.versions
            if each.served and not each.deprecated and priority(each.name) < priority(version.name)
        ]
        text = f"{self.group}/{version.name} {self.names.kind} is deprecated"
        return f"{text}; use {self.group}/{min(newer, key=priority)} {self.names.kind}" if newer else text


def priority(version: str) -> tuple[Any, ...]:
    """Orders versions as discovery does: v2 before v1 before v1beta2 before v1alpha1 before anything else by name."""
    found = _KUBE_VERSION.fullmatch(version)
    if found is None:
        return (1, version)
    major, stage, minor = found.groups()
    return (0, {None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0))


def parse(raw: JsonObject) -> Definition:
    """The values of a stored CustomResourceDefinition, which has been validated."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    return Definition(
        name=meta["name"],
        uid=meta.get("uid", ""),
        group=spec["group"],
        namespaced=spec["scope"] == "Namespaced",
        names=Names.of(spec["names"]),
        accepted=Names.of(status.get("acceptedNames") or {}),
        versions=tuple(_version(each) for each in spec["versions"]),
        conditions={each["type"]: each["status"] for each in status.get("conditions") or ()},
        is_going=bool(meta.get("deletionTimestamp")),
    )


def _version(raw: JsonObject) -> Version:
    subresources = raw.get("subresources") or {}
    scale = subresources.get("scale")
    return Version(
        name=raw["name"],
        served=bool(raw.get("served")),
        storage=bool(raw.get("storage")),
        schema=(raw.get("schema") or {}).get("openAPIV3Schema") or {},
        deprecated=bool(raw.get("deprecated")),
        deprecation_warning=raw.get("deprecationWarning"),
        has_status=subresources.get("status") is not None,
        scale=None
        if scale is None
        else Scale(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath") or ""),
        columns=tuple(
            Column(
                name=each.get("name", ""),
                type=each.get("type", ""),
                path=each.get("jsonPath", ""),
                format=each.get("format") or "",
                description=each.get("description") or "",
                priority=each.get("priority") or 0,
            )
            for each in raw.get("additionalPrinterColumns") or ()
        ),
        selectable=tuple(each["jsonPath"] for each in raw.get("selectableFields") or ()),
    )


def _at(raw: JsonObject, path: str, kind: type[Any], wanted: str) -> Any:
    value: Any = raw
    names = path.removeprefix(".").split(".")
    for number, name in enumerate(names, 1):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TypeError(_accessor_error(names[:number], value, "map[string]interface {}".replace(" ", "")))
        if name not in value:
            return None
        value = value[name]
    if type(value) is not kind:
        raise TypeError(_accessor_error(names, value, wanted))
    return value


def _accessor_error(names: list[str], value: Any, wanted: str) -> str:
    from seatrial.kube import faults

    text = (
        value
        if isinstance(value, str)
        else faults.as_json(value)
        if isinstance(value, (dict, list))
        else faults.shown(value)
    )
    given = "<nil>" if value is None else _GO_TYPES.get(type(value), "map[string]interface {}")
    return f".{'.'.join(names)} accessor error: {text} is of the type {given}, expected {wanted}"


def _with(raw: JsonObject, names: list[str], value: Any) -> JsonObject:
    first, *rest = names
    if not rest:
        return {**raw, first: value}
    inner = raw.get(first)
    return {**raw, first: _with(inner if isinstance(inner, dict) else {}, rest, value)}
