"""Which names objects may have: RFC 1123 subdomains for most kinds, labels for some, path segments for roles; and which
finalizers.
"""

from __future__ import annotations

import json

from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.kube.validation.fields import LABEL, LABEL_RULE, SUBDOMAIN, SUBDOMAIN_RULE
from seatrial.server import errors
from seatrial.server.errors import Cause

_LABEL_NAMED = {"Namespace", "Service"}
_FREELY_NAMED = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def check(resource: Resource, metadata: JsonObject) -> None:
    """Raises `StatusError` (422) for a name that this kind may not have."""
    name = metadata.get("name", "")
    if not name:
        causes = [Cause("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")]
        raise errors.invalid(resource.kind, resource.group, "", causes)
    if resource.native in _FREELY_NAMED:
        return
    is_label = resource.native in _LABEL_NAMED
    pattern, rule, limit = (LABEL, LABEL_RULE, 63) if is_label else (SUBDOMAIN, SUBDOMAIN_RULE, 253)
    if not pattern.fullmatch(name):
        message = f'Invalid value: "{name}": {rule}'
    elif len(name) > limit:
        message = f'Invalid value: "{name}": must be no more than {limit} characters'
    else:
        return
    cause = Cause("FieldValueInvalid", "metadata.name", message)
    raise errors.invalid(resource.kind, resource.group, name, [cause])


def check_finalizers(resource: Resource, metadata: JsonObject, before: JsonObject | None) -> None:
    """Raises `StatusError` (422) for finalizers that contradict each other, or come when the object is going."""
    finalizers = metadata.get("finalizers") or []
    causes = []
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        listed = json.dumps(finalizers, separators=(",", ":"))
        why = f"Invalid value: {listed}: finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(Cause("FieldValueInvalid", "metadata.finalizers", why))
    new = sorted(set(finalizers) - set((before or metadata).get("finalizers") or ()))
    if new and metadata.get("deletionTimestamp"):
        listed = ", ".join(f'"{name}"' for name in new)
        why = (
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
            f"[]string{{{listed}}}"
        )
        causes += [Cause("FieldValueForbidden", "metadata.finalizers", why)] * (1 + resource.custom)
    if causes:
        raise errors.invalid(resource.kind, resource.group, metadata["name"], causes)
