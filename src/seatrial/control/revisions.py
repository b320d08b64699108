"""The history of a StatefulSet or DaemonSet: ControllerRevisions, each a patch that restores one pod template.

The patch has upstream's form, `{"spec": {"template": {..., "$patch": "replace"}}}`, so that `kubectl rollout undo` and
`history` read it. Two revisions are equal when their patches ask for the same template.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from seatrial.control.ownership import controller_reference
from seatrial.control.templates import spelled
from seatrial.kube.objects import (
    ControllerRevision,
    JsonObject,
    Object,
    ObjectMeta,
    PodTemplateSpec,
    parse_as,
    to_wire,
)

REVISION_LABEL: Final = "controller-revision-hash"
"""On a pod: the revision it was made from."""
HASH_LABEL: Final = "controller.kubernetes.io/hash"
_LONGEST_PREFIX: Final = 223
_NO_NULL_TIME_MINOR: Final = 34
"""From this minor version on a template without creationTimestamp is written without one, before with null."""


def patch_of(template: PodTemplateSpec, minor: int) -> JsonObject:
    """The patch that restores `template`, with the empty objects that Go writes out."""
    raw = to_wire(template)
    metadata = raw.setdefault("metadata", {})
    if minor < _NO_NULL_TIME_MINOR:
        metadata.setdefault("creationTimestamp", None)
    spec = raw.setdefault("spec", {})
    spec.setdefault("containers", None)
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            container.setdefault("resources", {})
    return {"spec": {"template": {**raw, "$patch": "replace"}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec | None:
    """The template that the revision restores; None if somebody made it unreadable."""
    data: Any = revision.data
    try:
        return parse_as(PodTemplateSpec, _without_nulls(data["spec"]["template"]))
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def hash_of(patch: JsonObject, collision_count: int) -> str:
    """Upstream's `HashControllerRevision`: FNV-1, 32 bits, over the patch as Go writes it and the collisions so far."""
    text = json.dumps(patch, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    digest = 0x811C9DC5
    for byte in (text + str(collision_count)).encode():
        digest = ((digest * 0x01000193) & 0xFFFFFFFF) ^ byte
    return spelled(digest)


def name_of(owner: Object, digest: str) -> str:
    return f"{owner.metadata.name[:_LONGEST_PREFIX]}-{digest}"


def new_revision(
    owner: Object, name: str, labels: Mapping[str, str], patch: JsonObject, number: int
) -> ControllerRevision:
    meta = ObjectMeta(
        name=name,
        namespace=owner.metadata.namespace,
        labels=labels,
        annotations=owner.metadata.annotations,
        owner_references=(controller_reference(owner),),
    )
    return ControllerRevision(metadata=meta, data=patch, revision=number)


def in_order(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    """By revision number, then age, then name."""

    def key(revision: ControllerRevision) -> tuple[int, float, str]:
        created = revision.metadata.creation_timestamp
        return (revision.revision, 0.0 if created is None else created.timestamp(), revision.metadata.name)

    return sorted(revisions, key=key)


def _without_nulls(value: Any) -> Any:
    """Null is absence to Go, and nothing else to a typed view."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
