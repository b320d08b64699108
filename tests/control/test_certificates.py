"""Which certificate requests are approved by themselves, signed or failed, and when they go."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seatrial.control import bootstrap_policy, certificaterequest, certificates
from seatrial.control.controller import Controller, Decision
from seatrial.control.relations import observe
from seatrial.control.writes import SignCertificate
from seatrial.kube.objects import CertificateSigningRequest, JsonObject
from tests.certificate_requests import encoded, request
from tests.control.harness import Harness

NODES = ("system:nodes",)
CLIENT, KUBELET, SERVING = (
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
)
USUAL = ("digital signature", "client auth")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def asked(signer: str, usages: tuple[str, ...] = USUAL, *, by: str = "somebody", **spec: Any) -> JsonObject:
    spec = {"request": request("x"), **spec}
    whole = {"signerName": signer, "usages": list(usages), "username": by, "groups": [], **spec}
    meta = {"name": "r"}
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": meta,
        "spec": whole,
    }


def approved(raw: JsonObject, **more: str) -> JsonObject:
    condition = {"type": "Approved", "status": "True", "lastUpdateTime": "2030-01-01T00:00:00Z"}
    return {**raw, "status": {"conditions": [condition], **more}}


def decision(harness: Harness, controller: Controller) -> Decision:
    request = harness.get(CertificateSigningRequest, "r", "")
    return controller.reconcile(observe(controller, request, {}, harness.now))


def played(raw: JsonObject, *others: JsonObject) -> CertificateSigningRequest:
    harness = Harness([certificates.APPROVING, certificates.SIGNING])
    for each in (*others, raw):
        harness.apply(each)
    harness.settle()
    return harness.get(CertificateSigningRequest, "r", "")


@pytest.mark.parametrize(
    ("signer", "usages", "name", "groups", "names", "why"),
    [
        (CLIENT, USUAL, "jane", ("dev",), {}, ""),
        (CLIENT, ("digital signature",), "jane", (), {}, "missing required usage for client certificate: client auth"),
        (CLIENT, (*USUAL, "server auth"), "jane", (), {}, "invalid usage for client certificate: server auth"),
        (KUBELET, USUAL, "system:node:a", NODES, {}, ""),
        (KUBELET, (*USUAL, "key encipherment"), "system:node:a", NODES, {}, ""),
        (KUBELET, USUAL, "system:node:a", (), {}, "subject organization is not system:nodes"),
        (KUBELET, USUAL, "a", NODES, {}, "subject common name does not begin with system:node:"),
        (KUBELET, USUAL, "system:node:a", NODES, {"dns": ("a",)}, "DNS subjectAltNames are not allowed"),
        (KUBELET, USUAL, "system:node:a", NODES, {"ips": ("1.2.3.4",)}, "IP subjectAltNames are not allowed"),
        (KUBELET, ("client auth",), "system:node:a", NODES, {},
         "usages did not match [client auth digital signature key encipherment]"),
        (SERVING, ("digital signature", "server auth"), "system:node:a", NODES, {"ips": ("1.2.3.4",)}, ""),
        (SERVING, ("digital signature", "server auth"), "system:node:a", NODES, {},
         "DNS or IP subjectAltName is required"),
        ("kubernetes.io/legacy-unknown", ("any",), "x", (), {}, ""),
    ],
)  # fmt: skip
def test_an_approved_request_is_signed_or_fails(
    signer: str, usages: tuple[str, ...], name: str, groups: tuple[str, ...], names: dict[str, Any], why: str
) -> None:
    found = played(approved(asked(signer, usages, request=request(name, groups, **names))))
    failed = certificates.condition(found, "Failed")
    assert (failed.message if failed is not None else "") == why
    assert bool(found.status.certificate) is not bool(why)


def test_nobody_signs_what_is_not_approved_or_asked_of_somebody_else() -> None:
    assert played(asked(CLIENT)).status.certificate == ""
    assert played(approved(asked("example.com/own"))).status.certificate == ""


@pytest.mark.parametrize(
    ("seconds", "until"),
    [
        (None, timedelta(days=365) - timedelta(minutes=5)),
        (86400, timedelta(days=1) - timedelta(minutes=5)),
        (3600, timedelta(hours=1)),
        (600, timedelta(minutes=10)),
        (2**30, timedelta(days=365) - timedelta(minutes=5)),
    ],
)
def test_how_long_a_certificate_holds(seconds: int | None, until: timedelta) -> None:
    spec: dict[str, Any] = {} if seconds is None else {"expirationSeconds": seconds}
    raw = approved(asked(CLIENT, **spec))
    harness = Harness([certificates.SIGNING])
    harness.apply(raw)
    (write,) = decision(harness, certificates.SIGNING).writes
    assert isinstance(write, SignCertificate)
    assert (write.not_before, write.not_after) == (harness.now - timedelta(minutes=5), harness.now + until)


def bound(role: str, user: str) -> JsonObject:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def test_a_node_is_approved_if_it_may_ask() -> None:
    own = request("system:node:a", NODES)
    roles = [raw for raw in bootstrap_policy.objects() if raw["kind"] == "ClusterRole"]
    nodes = "system:certificates.k8s.io:certificatesigningrequests"
    booting = bound(f"{nodes}:nodeclient", "bootstrap")
    renewing = bound(f"{nodes}:selfnodeclient", "system:node:a")

    found = played(asked(KUBELET, by="bootstrap", request=own), *roles, booting)
    (condition,) = found.status.conditions
    assert condition.message == "Auto approving kubelet client certificate after SubjectAccessReview."
    assert (condition.type, condition.status, condition.reason) == ("Approved", "True", "AutoApproved")
    assert found.status.certificate

    found = played(asked(KUBELET, by="system:node:a", request=own), *roles, renewing)
    assert found.status.conditions[0].message == (
        "Auto approving self kubelet client certificate after SubjectAccessReview."
    )
    for stranger in ("system:node:b", "somebody"):
        assert played(asked(KUBELET, by=stranger, request=own), *roles, renewing).status.conditions == ()


@pytest.mark.parametrize(
    ("kind", "certificate", "hours"),
    [("", "", 24), ("Denied", "", 1), ("Failed", "", 1), ("Approved", "", 24), ("Approved", "x", 1)],
)
def test_requests_go_when_their_time_is_over(kind: str, certificate: str, hours: int) -> None:
    conditions = [{"type": kind, "status": "True", "lastUpdateTime": "2030-01-01T00:00:00Z"}] if kind else []
    harness = Harness([certificates.CLEANING])
    harness.apply({**asked(CLIENT), "status": {"conditions": conditions, "certificate": encoded(certificate)}})
    harness.now = NOW + timedelta(hours=hours)
    assert decision(harness, certificates.CLEANING).writes == ()
    harness.now += timedelta(seconds=1)
    assert len(decision(harness, certificates.CLEANING).writes) == 1


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_is_said_and_never_signed(text: str) -> None:
    with pytest.raises(certificaterequest.RequestError):
        certificaterequest.read(text)
    assert played(approved(asked(CLIENT, request=encoded(text)))).status.certificate == ""


def test_a_request_with_another_keys_signature_is_refused() -> None:
    good = base64.b64decode(request("x")).decode()
    lines = good.splitlines()
    body = base64.b64decode("".join(lines[1:-1]))
    forged = base64.b64encode(body[:-1] + bytes([body[-1] ^ 1])).decode()
    with pytest.raises(certificaterequest.RequestError):
        certificaterequest.read("\n".join([lines[0], forged, lines[-1]]))
