"""What the API server refuses in roles and bindings, in upstream's wording and order (`pkg/apis/rbac/validation`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from seatrial.kube.faults import Fault
from seatrial.kube.objects import JsonObject
from seatrial.kube.validation import fields

_GROUP: Final = "rbac.authorization.k8s.io"
_ROLES: Final = ("Role", "ClusterRole")
_BINDINGS: Final = ("RoleBinding", "ClusterRoleBinding")


def causes(kind: str, raw: JsonObject, before: JsonObject | None) -> Iterator[Fault]:
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


def _rule_causes(path: str, rule: JsonObject, *, namespaced: bool) -> Iterator[Fault]:
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


def _reference_causes(kind: str, reference: JsonObject) -> Iterator[Fault]:
    kinds = ("ClusterRole",) if kind == "ClusterRoleBinding" else ("Role", "ClusterRole")
    for field, allowed in (("apiGroup", (_GROUP,)), ("kind", kinds)):
        if reference.get(field, "") not in allowed:
            yield fields.unsupported(f"roleRef.{field}", reference.get(field, ""), allowed)
    if not reference.get("name"):
        yield fields.required("roleRef.name", "")


def _subject_causes(path: str, subject: JsonObject, *, namespaced: bool) -> Iterator[Fault]:
    if not subject.get("name"):
        yield fields.required(f"{path}.name", "")
    kind, group = subject.get("kind", ""), subject.get("apiGroup", "")
    if kind == "ServiceAccount":
        if group:
            yield fields.unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield fields.required(f"{path}.namespace", "")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            yield fields.unsupported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        yield fields.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))
