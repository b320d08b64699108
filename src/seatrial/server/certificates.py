"""CertificateSigningRequests in the API: who asked is noted, what was asked stays, and only its subresources decide.

`approval` writes the conditions Approved and Denied and nothing else, `status` all the rest; a plain update changes
metadata only. Rules and wording are upstream's registry strategy and its admission plug-ins CertificateApproval,
CertificateSigning and CertificateSubjectRestriction.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from seatrial.control import access, certificaterequest
from seatrial.control.access import Attributes, User
from seatrial.kube import validation
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.kube.validation import fields
from seatrial.server import errors
from seatrial.server.errors import Cause
from seatrial.server.times import wire_time

if TYPE_CHECKING:
    from seatrial.server.api import Api

KIND: Final = "CertificateSigningRequest"
_GROUP: Final = "certificates.k8s.io"
_DECISIONS: Final = ("Approved", "Denied")
_KEPT: Final = (*_DECISIONS, "Failed")


def created(raw: JsonObject, user: User | None) -> JsonObject:
    """A new request, with who asked for it. Raises `StatusError`: 403 for the group system:masters, 422."""
    asker = user or User("system:apiserver", (access.MASTERS, access.AUTHENTICATED))
    spec = {key: value for key, value in (raw.get("spec") or {}).items() if key not in ("uid", "extra")}
    spec |= {"username": asker.name, "groups": list(asker.groups)}
    if asker.uid:
        spec["uid"] = asker.uid
    if asker.extra:
        spec["extra"] = {key: list(values) for key, values in asker.extra.items()}
    if not spec.get("usages") and spec.get("signerName") == certificaterequest.LEGACY:
        spec["usages"] = ["digital signature", "key encipherment"]
    raw = {**raw, "spec": spec, "status": {}}
    name = raw["metadata"].get("name", "")
    if spec.get("signerName") == certificaterequest.CLIENT:
        try:
            said = certificaterequest.read(_text(spec.get("request", "")))
        except certificaterequest.RequestError as error:
            why = f"failed to parse CSR: {error}"
            raise errors.forbidden("certificatesigningrequests", _GROUP, name, why) from error
        if access.MASTERS in said.organizations:
            why = f"use of {certificaterequest.CLIENT} signer with {access.MASTERS} group is not allowed"
            raise errors.forbidden("certificatesigningrequests", _GROUP, name, why)
    try:
        certificaterequest.read(_text(spec.get("request", "")))
    except certificaterequest.RequestError as error:
        unread = fields.invalid("spec.request", spec.get("request"), str(error))
        raise errors.invalid(KIND, _GROUP, name, [unread, *validation.faults(KIND, raw, namespaced=False)]) from error
    return raw


def updated(api: Api, before: JsonObject, sent: JsonObject, subresource: str, user: User | None) -> JsonObject:
    """What of `sent` a request may write. Raises `StatusError`: 403 for who may not decide, 422."""
    old, new = before.get("status") or {}, sent.get("status") or {}
    name, signer = before["metadata"]["name"], before["spec"].get("signerName", "")
    if not subresource:
        return {**sent, "spec": before["spec"], "status": old}
    conditions = [dict(each) for each in new.get("conditions") or ()]
    if subresource == "status":
        for kind in _DECISIONS:
            _keep(conditions, old.get("conditions") or (), kind)
    _stamp(conditions, old.get("conditions") or (), wire_time(api.now()))
    status = {**(old if subresource == "approval" else new), "conditions": conditions}
    if not conditions:
        del status["conditions"]
    changed = status.get("certificate") != old.get("certificate") or conditions != (old.get("conditions") or [])
    verb = "approve" if subresource == "approval" else "sign"
    if user is not None and (verb == "approve" or changed) and not _may(api, user, verb, signer):
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise errors.forbidden("certificatesigningrequests", _GROUP, name, why)
    causes = list(_status_causes(status, old, subresource))
    if causes:
        raise errors.invalid(KIND, _GROUP, name, causes)
    return {**before, "status": status}


def is_request(resource: Resource) -> bool:
    return resource.kind == KIND and resource.group == _GROUP


def _may(api: Api, user: User, verb: str, signer: str) -> bool:
    either = (signer, signer.partition("/")[0] + "/*")
    return any(
        access.authorise(api.policy, user, Attributes(verb, _GROUP, "signers", name=name)).allowed for name in either
    )


def _keep(conditions: list[JsonObject], old: Any, kind: str) -> None:
    """A condition that status may not write stays as it was, if it neither comes nor goes."""
    had = [each for each in old if each.get("type") == kind]
    places = [index for index, each in enumerate(conditions) if each.get("type") == kind]
    if len(had) == len(places):
        for index, each in zip(places, had, strict=True):
            conditions[index] = dict(each)


def _stamp(conditions: list[JsonObject], old: Any, now: str) -> None:
    for each in conditions:
        if not each.get("lastUpdateTime"):
            each["lastUpdateTime"] = now
        if not each.get("lastTransitionTime"):
            alike = (
                had.get("lastTransitionTime")
                for had in old
                if (had.get("type"), had.get("status")) == (each.get("type"), each.get("status"))
            )
            each["lastTransitionTime"] = next((at for at in alike if at), now)


def _text(encoded: object) -> str:
    try:
        return base64.b64decode(str(encoded)).decode()
    except ValueError:
        return ""


def _status_causes(status: JsonObject, old: JsonObject, subresource: str) -> Iterator[Cause]:
    path = "status.conditions"
    conditions, had = status.get("conditions") or [], old.get("conditions") or []
    seen: list[str] = []
    for index, each in enumerate(conditions):
        kind, value = each.get("type", ""), each.get("status", "")
        allowed = ("True",) if kind in _KEPT else ("False", "True", "Unknown")
        if not kind:
            yield Cause("FieldValueRequired", f"{path}[{index}].type", "Required value")
        if not value:
            yield Cause("FieldValueRequired", f"{path}[{index}].status", "Required value")
        elif value not in allowed:
            yield fields.unsupported(f"{path}[{index}].status", value, allowed)
        if kind in _DECISIONS and ({*_DECISIONS} - {kind}) & set(seen):
            both = [f'conditions[{{"type": "{each}"}}]' for each in _DECISIONS]
            why = "must specify at most one of: " + ", ".join(f"`{each}`" for each in both)
            yield fields.invalid(path, f"{{{', '.join(both)}}}", why)
        if kind in seen:
            yield Cause("FieldValueDuplicate", f"{path}[{index}].type", f'Duplicate value: "{kind}"')
        seen.append(kind)
    certificate = status.get("certificate")
    if certificate and certificate != old.get("certificate"):
        wrong = certificaterequest.check_certificates(_text(certificate))
        if wrong:
            yield Cause("FieldValueInvalid", "status.certificate", f'Invalid value: "<certificate data>": {wrong}')
    for kind in _KEPT:
        before, after = ([each for each in side if each.get("type") == kind] for side in (had, conditions))
        if len(after) < len(before):
            why = f'Forbidden: updates may not remove a condition of type "{kind}"'
            yield Cause("FieldValueForbidden", path, why)
        elif subresource == "status" and kind in _DECISIONS and len(after) > len(before):
            why = f'Forbidden: updates may not add a condition of type "{kind}"'
            yield Cause("FieldValueForbidden", path, why)
    if certificate != old.get("certificate") and old.get("certificate"):
        why = "Forbidden: updates may not modify existing certificate content"
        yield Cause("FieldValueForbidden", "status.certificate", why)
