"""Roles and bindings in the API: who may write them, and those that a new cluster has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seatrial.control import access, bootstrap_policy
from seatrial.kube.objects import JsonObject, Object, parse
from seatrial.kube.schemas import Resource
from seatrial.server import errors
from seatrial.server.requests import Options
from seatrial.server.resources import storage_key
from seatrial.server.times import wire_time

if TYPE_CHECKING:
    from seatrial.server.api import Api

_ROLES: Final = ("Role", "ClusterRole")
_BINDINGS: Final = ("RoleBinding", "ClusterRoleBinding")
_COLLECTED: Final = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation")
"""What the garbage collector writes needs no permission to grant."""


def bootstrap(api: Api) -> None:
    """Create the roles and bindings of a new cluster, add to older ones what they lack.

    They are stored as they are, since they are written as the API stores such objects: a new cluster starts sooner.
    """
    now = wire_time(api.now())
    with api.store.together():
        for raw in bootstrap_policy.objects():
            resource = api.kind(raw["apiVersion"], raw["kind"])
            metadata = raw["metadata"]
            namespace = metadata.get("namespace", "")
            stored = api.store.get(storage_key(resource), namespace, metadata["name"])
            if stored is None:
                made = {**raw, "metadata": {**metadata, "uid": api.new_uid(), "creationTimestamp": now}}
                api.store.put(storage_key(resource), namespace, metadata["name"], made)
            elif (after := bootstrap_policy.reconciled(stored.raw, raw)) is not None:
                api.update(resource, namespace, metadata["name"], after, Options(trusted=True))


def check(api: Api, resource: Resource, raw: JsonObject, before: JsonObject | None, user: access.User | None) -> None:
    """Raises `StatusError` (403) if `user` would grant more than he has; components of the cluster may."""
    if user is None or resource.kind not in (*_ROLES, *_BINDINGS) or resource.group != access.GROUP:
        return
    if before is not None and _without_collected(before) == _without_collected(raw):
        return
    written, old = parse(raw), None if before is None else parse(before)
    assert isinstance(written, Object), "roles and bindings have types"
    try:
        why = access.escalation(api.policy, user, written, old)
    except access.RoleMissingError as error:
        raise errors.not_found(resource.plural, resource.group, error.role) from error
    if why:
        raise errors.forbidden(resource.plural, resource.group, raw["metadata"]["name"], why)


def _without_collected(raw: JsonObject) -> JsonObject:
    kept = {key: value for key, value in raw["metadata"].items() if key not in _COLLECTED}
    return {**raw, "metadata": kept}
