"""The controllers of CertificateSigningRequests: nodes' own are approved, what is approved is signed, the old go.

Who has approved a request and whether its signer accepts it is decided here; the signature is a write that somebody
else, who has the key, executes (`SignCertificate`). Semantics: upstream's controllers csrapproving, csrsigning and
csrcleaner, https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/.
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control import access, certificaterequest
from seatrial.control.access import Attributes, User
from seatrial.control.certificaterequest import CertificateRequest, RequestError
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Delete, SignCertificate, UpdateStatus
from seatrial.kube.objects import CertificateSigningRequest, ClusterRole, ClusterRoleBinding
from seatrial.kube.objects.access import CertificateSigningRequestCondition

LIFETIME: Final = timedelta(days=365)
"""What a certificate lasts at most (`--cluster-signing-duration`)."""
SHORTEST: Final = timedelta(minutes=10)
BACKDATE: Final = timedelta(minutes=5)
SHORT: Final = timedelta(hours=8)
"""Certificates that last less are not shortened by what they are dated back."""
_KEPT_DECIDED: Final = timedelta(hours=1)
_KEPT_PENDING: Final = timedelta(hours=24)
_GROUP: Final = "certificates.k8s.io"


def asked(request: CertificateSigningRequest) -> CertificateRequest:
    """Raises `RequestError`."""
    try:
        pem = base64.b64decode(request.spec.request).decode()
    except ValueError as error:
        raise RequestError(f"the request is not text in base64: {error}") from error
    return certificaterequest.read(pem)


def condition(request: CertificateSigningRequest, kind: str) -> CertificateSigningRequestCondition | None:
    return next((each for each in request.status.conditions if each.type == kind), None)


def _is_true(request: CertificateSigningRequest, kind: str) -> bool:
    found = condition(request, kind)
    return found is not None and found.status == "True"


def _with(request: CertificateSigningRequest, *added: CertificateSigningRequestCondition) -> CertificateSigningRequest:
    return replace(request, status=replace(request.status, conditions=(*request.status.conditions, *added)))


# --- approving ---


def _approve(seen: Seen) -> Decision:
    request = seen.subject
    assert isinstance(request, CertificateSigningRequest)
    decided = condition(request, "Approved") or condition(request, "Denied")
    if decided or request.status.certificate or request.spec.signer_name != certificaterequest.KUBELET_CLIENT:
        return Decision()
    try:
        said = asked(request)
    except RequestError:
        return Decision()
    if certificaterequest.refusal(request.spec.signer_name, said, request.spec.usages):
        return Decision()
    policy = access.Given((*seen.all(ClusterRole), *seen.all(ClusterRoleBinding)))
    spec = request.spec
    user = User(spec.username, spec.groups, spec.uid, spec.extra)
    own = spec.username == said.common_name
    for subresource, what in (("selfnodeclient", "self kubelet"), ("nodeclient", "kubelet")):
        if subresource == "selfnodeclient" and not own:
            continue
        wanted = Attributes("create", _GROUP, "certificatesigningrequests", subresource)
        if access.authorise(policy, user, wanted).allowed:
            message = f"Auto approving {what} client certificate after SubjectAccessReview."
            approved = CertificateSigningRequestCondition(
                type="Approved", status="True", reason="AutoApproved", message=message
            )
            return Decision((UpdateStatus(request, _with(request, approved)),))
    return Decision()


APPROVING: Final = Controller(
    name="csrapproving",
    actor="CSR approver",
    subject=CertificateSigningRequest,
    # A request that was not approved is looked at again when it changes, not when somebody's permissions do.
    reads=(
        Read(ClusterRole, Relation.ALL, wakes=False),
        Read(ClusterRoleBinding, Relation.ALL, wakes=False),
    ),
    reconcile=_approve,
)


# --- signing ---


def validity(request: CertificateSigningRequest, now: datetime) -> tuple[datetime, datetime]:
    """From when to when a certificate that is signed now holds."""
    lasts = LIFETIME
    if request.spec.expiration_seconds is not None:
        lasts = min(LIFETIME, max(SHORTEST, timedelta(seconds=request.spec.expiration_seconds)))
    return now - BACKDATE, now + (lasts if lasts < SHORT else lasts - BACKDATE)


def _sign(seen: Seen) -> Decision:
    request = seen.subject
    assert isinstance(request, CertificateSigningRequest)
    if not _is_true(request, "Approved") or _is_true(request, "Denied") or _is_true(request, "Failed"):
        return Decision()
    if request.status.certificate or request.spec.signer_name not in certificaterequest.SIGNERS:
        return Decision()
    try:
        said = asked(request)
    except RequestError:
        return Decision()
    why = certificaterequest.refusal(request.spec.signer_name, said, request.spec.usages)
    if why:
        failed = CertificateSigningRequestCondition(
            type="Failed", status="True", reason="SignerValidationFailure", message=why, last_update_time=seen.now
        )
        return Decision((UpdateStatus(request, _with(request, failed)),))
    return Decision((SignCertificate(request, *validity(request, seen.now)),))


SIGNING: Final = Controller(
    name="csrsigning",
    actor="CSR signer",
    subject=CertificateSigningRequest,
    reads=(),
    reconcile=_sign,
)


# --- cleaning ---


def _clean(seen: Seen) -> Decision:
    """Upstream looks once an hour at all of them; here each is looked at when its own hour is over."""
    request = seen.subject
    assert isinstance(request, CertificateSigningRequest)
    deadlines = [at for at in _deadlines(request) if at is not None]
    if any(at < seen.now for at in deadlines):
        return Decision((Delete(request),))
    return Decision(wake_at=min(deadlines) + timedelta(seconds=1)) if deadlines else Decision()


def _deadlines(request: CertificateSigningRequest) -> list[datetime | None]:
    """When it is kept no longer; None where there is no such time."""
    created = request.metadata.creation_timestamp
    issued = bool(request.status.certificate)
    found: list[datetime | None] = []
    if not request.status.conditions and created is not None:
        found.append(created + _KEPT_PENDING)
    for each in request.status.conditions:
        if each.last_update_time is None:
            continue
        if each.type in ("Denied", "Failed"):
            found.append(each.last_update_time + _KEPT_DECIDED)
        elif each.type == "Approved":
            found.append(each.last_update_time + (_KEPT_DECIDED if issued else _KEPT_PENDING))
    if issued and condition(request, "Approved"):
        found.append(certificaterequest.ends(base64.b64decode(request.status.certificate).decode(errors="replace")))
    return found


CLEANING: Final = Controller(
    name="csrcleaner",
    actor="CSR cleaner",
    subject=CertificateSigningRequest,
    reads=(),
    reconcile=_clean,
)

CONTROLLERS: Final = (APPROVING, SIGNING, CLEANING)
