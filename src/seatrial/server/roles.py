"""Roles and bindings in the API: what is refused in them, who may write them, and those that a new cluster has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from seatrial.control import access, bootstrap_policy
from seatrial.kube.objects import JsonObject, Object, parse
from seatrial.kube.schemas import Resource
from seatrial.server import errors, fields
from seatrial.server.errors import Cause
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


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Cause]:
    """What is wrong with a role or a binding."""
    if kind in _ROLES:
        for index, rule in enumerate(raw.get("rules") or ()):
            yield from _rule_causes(f"rules[{index}]", rule, namespaced=kind == "Role")
        aggregation = raw.get("aggregationRule")
        if kind == "ClusterRole" and aggregation is not None and not aggregation.get("clusterRoleSelectors"):
            why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            yield fields.required("aggregationRule.clusterRoleSelectors", why)
    elif kind in _BINDINGS:
        yield from _reference_causes(kind, raw.get("roleRef") or {})
        for index, subject in enumerate(raw.get("subjects") or ()):
            yield from _subject_causes(f"subjects[{index}]", subject, namespaced=kind == "RoleBinding")
        if before is not None and before.get("roleRef") != raw.get("roleRef"):
            reference = raw.get("roleRef") or {}
            # Upstream shows its own type, whose names are not those of the API.
            shown = {
                "APIGroup": reference.get("apiGroup"),
                "Kind": reference.get("kind"),
                "Name": reference.get("name"),
            }
            yield fields.invalid("roleRef", shown, "field is immutable")


def _rule_causes(path: str, rule: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield fields.required(f"{path}.verbs", "")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            yield fields.invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield fields.invalid(f"{path}.nonResourceURLs", urls, why)
        return
    if not rule.get("apiGroups"):
        yield fields.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield fields.required(f"{path}.resources", "resource rules must supply at least one resource")


def _reference_causes(kind: str, reference: JsonObject) -> Iterator[Cause]:
    kinds = ("ClusterRole",) if kind == "ClusterRoleBinding" else ("Role", "ClusterRole")
    for field, allowed in (("apiGroup", (access.GROUP,)), ("kind", kinds)):
        if reference.get(field, "") not in allowed:
            yield fields.unsupported(f"roleRef.{field}", reference.get(field, ""), allowed)
    if not reference.get("name"):
        yield fields.required("roleRef.name", "")


def _subject_causes(path: str, subject: JsonObject, *, namespaced: bool) -> Iterator[Cause]:
    if not subject.get("name"):
        yield fields.required(f"{path}.name", "")
    kind, group = subject.get("kind", ""), subject.get("apiGroup", "")
    if kind == "ServiceAccount":
        if group:
            yield fields.unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield fields.required(f"{path}.namespace", "")
    elif kind in ("User", "Group"):
        if group != access.GROUP:
            yield fields.unsupported(f"{path}.apiGroup", group, (access.GROUP,))
    else:
        yield fields.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))
