"""Roles and bindings (`pkg/apis/rbac/validation`)."""

from __future__ import annotations

from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import (
    Faults,
    invalid,
    items,
    label_selector,
    part,
    path_segment,
    required,
    same,
    subdomain,
    unsupported,
)
from seatrial.kube.validation.kinds import Rules

_GROUP: Final = "rbac.authorization.k8s.io"


def _role(raw: JsonObject, minor: int) -> Faults:
    for at, rule in items("rules", raw, "rules"):
        yield from _rule(at, rule, namespaced=True)


def _cluster_role(raw: JsonObject, minor: int) -> Faults:
    for at, rule in items("rules", raw, "rules"):
        yield from _rule(at, rule, namespaced=False)
    aggregation, path = raw.get("aggregationRule"), "aggregationRule.clusterRoleSelectors"
    if aggregation is None:
        return
    if not aggregation.get("clusterRoleSelectors"):
        yield required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for at, selector in items(path, aggregation, "clusterRoleSelectors"):
        faults = list(label_selector(at, selector))
        yield from faults
        if faults:
            yield invalid(at, None, "invalid label selector.")


def _rule(path: str, rule: JsonObject, *, namespaced: bool) -> Faults:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs")
    urls, at = rule.get("nonResourceURLs"), f"{path}.nonResourceURLs"
    if urls:
        if namespaced:
            yield invalid(at, urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            yield invalid(at, urls, "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _role_binding(raw: JsonObject, minor: int) -> Faults:
    return _binding(raw, ("Role", "ClusterRole"), namespaced=True)


def _cluster_role_binding(raw: JsonObject, minor: int) -> Faults:
    return _binding(raw, ("ClusterRole",), namespaced=False)


def _binding(raw: JsonObject, kinds: tuple[str, ...], *, namespaced: bool) -> Faults:
    reference = part(raw, "roleRef")
    for field, allowed in (("apiGroup", (_GROUP,)), ("kind", kinds)):
        if (reference.get(field) or "") not in allowed:
            yield unsupported(f"roleRef.{field}", reference.get(field) or "", allowed)
    if not reference.get("name"):
        yield required("roleRef.name")
    else:
        yield from path_segment("roleRef.name", reference["name"])
    for at, subject in items("subjects", raw, "subjects"):
        yield from _subject(at, subject, namespaced=namespaced)


def _subject(path: str, subject: JsonObject, *, namespaced: bool) -> Faults:
    kind, group, name = subject.get("kind") or "", subject.get("apiGroup") or "", subject.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            yield from subdomain(f"{path}.name", name)
        if group:
            yield unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            yield unsupported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        yield unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def _fixed_binding(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    reference = part(raw, "roleRef")
    if not same(reference, part(before, "roleRef")):
        # Upstream shows its own type, whose names are not those of the API.
        names = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
        yield invalid("roleRef", {shown: reference.get(name) for shown, name in names}, "field is immutable")


RULES: Final = {
    "Role": Rules(valid=_role, named=path_segment, remeta=True),
    "ClusterRole": Rules(valid=_cluster_role, named=path_segment, remeta=True),
    "RoleBinding": Rules(valid=_role_binding, fixed=_fixed_binding, named=path_segment, remeta=True),
    "ClusterRoleBinding": Rules(valid=_cluster_role_binding, fixed=_fixed_binding, named=path_segment, remeta=True),
}
