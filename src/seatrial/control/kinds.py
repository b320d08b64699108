"""All kinds that a cluster has objects of: those with a typed view of their own, and custom ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from seatrial.kube import schemas
from seatrial.kube.objects import KINDS, CustomResource, CustomResourceDefinition, Event, Object

OBJECTS: Final[tuple[type[Object], ...]] = (*(kind for kind in KINDS.values() if kind is not Event), CustomResource)
"""Every kind but events, which own nothing, are owned by nothing and are not counted."""


def resource_of(obj: Object) -> str:
    """The plural and the group, as in `deployments.apps` or `pods`."""
    if isinstance(obj, CustomResource):
        return obj.resource
    plural, group = schemas.plurals()[obj.identity], obj.api_version.rpartition("/")[0]
    return f"{plural}.{group}" if group else plural


def served(definitions: Iterable[CustomResourceDefinition]) -> dict[tuple[str, str], str]:
    """The resource (`widgets.example.com`) of each custom kind that is served, by `apiVersion` and `kind`."""
    return {
        (f"{each.spec.group}/{version.name}", each.status.accepted_names.kind): each.metadata.name
        for each in definitions
        if each.serves
        for version in each.spec.versions
        if version.served
    }


def scopes(definitions: Iterable[CustomResourceDefinition]) -> dict[tuple[str, str], bool]:
    """Whether a kind is namespaced, of those that are served here, by `apiVersion` and `kind`."""
    custom = {
        (f"{each.spec.group}/{version.name}", each.status.accepted_names.kind): each.spec.scope == "Namespaced"
        for each in definitions
        if each.serves
        for version in each.spec.versions
        if version.served
    }
    known = schemas.scopes()
    return {**{identity: known[identity] for identity in KINDS if identity in known}, **custom}
