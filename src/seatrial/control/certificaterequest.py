"""What a certificate request (PKCS#10, RFC 2986) says, and what the signers of kubernetes.io make of it.

`cryptography` reads the request; it is loaded with the first one. Messages are upstream's, which users see in the
condition Failed; those about what cannot be read at all are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

CLIENT: Final = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"
LEGACY: Final = "kubernetes.io/legacy-unknown"
SIGNERS: Final = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
_BEGIN: Final = "-----BEGIN CERTIFICATE REQUEST-----"
_NODES: Final = "system:nodes"
_NODE: Final = "system:node:"


class RequestError(Exception):
    """It cannot be read, or its signature is wrong."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """Subject and alternative names of a request."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


def read(pem: str) -> CertificateRequest:
    """A request that is signed with its own key. Raises `RequestError`."""
    if not pem.lstrip().startswith(_BEGIN):
        raise RequestError("PEM block type must be CERTIFICATE REQUEST")
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID

    try:
        found = x509.load_pem_x509_csr(pem.encode())
        good = found.is_signature_valid
        names = [each.value for each in found.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
        common = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        organizations = found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise RequestError(f"the certificate request cannot be read: {error}") from error
    if not good:
        raise RequestError("the signature of the certificate request is not that of its key")
    return CertificateRequest(
        common_name=common[-1] if common else "",
        organizations=tuple(str(each.value) for each in organizations),
        dns_names=tuple(text for each in names for text in each.get_values_for_type(x509.DNSName)),
        ip_addresses=tuple(str(ip) for each in names for ip in each.get_values_for_type(x509.IPAddress)),
        emails=tuple(text for each in names for text in each.get_values_for_type(x509.RFC822Name)),
        uris=tuple(text for each in names for text in each.get_values_for_type(x509.UniformResourceIdentifier)),
    )


def ends(pem: str) -> datetime | None:
    """When the first certificate of a chain ends; None if it cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem.encode())[0].not_valid_after_utc
    except (ValueError, IndexError):
        return None


def check_certificates(pem: str) -> str:
    """What is wrong with a certificate chain that somebody issued; empty if nothing is."""
    if "-----BEGIN " not in pem:
        return "must contain at least one CERTIFICATE PEM block"
    for line in pem.splitlines():
        if line.startswith("-----BEGIN ") and line.strip() != "-----BEGIN CERTIFICATE-----":
            found = line.strip().removeprefix("-----BEGIN ").removesuffix("-----")
            return f'only CERTIFICATE PEM blocks are allowed, found "{found}"'
    return "" if ends(pem) is not None else "a CERTIFICATE PEM block cannot be read"


def refusal(signer: str, asked: CertificateRequest, usages: Sequence[str]) -> str:
    """Why one of the signers does not sign; empty if it does."""
    match signer:
        case "kubernetes.io/kube-apiserver-client":
            return _client_refusal(usages)
        case "kubernetes.io/kube-apiserver-client-kubelet":
            return _kubelet_client_refusal(asked, usages)
        case "kubernetes.io/kubelet-serving":
            return _kubelet_serving_refusal(asked, usages)
    return ""


def _client_refusal(usages: Sequence[str]) -> str:
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            return f"invalid usage for client certificate: {usage}"
    return "" if "client auth" in usages else "missing required usage for client certificate: client auth"


def _kubelet_client_refusal(asked: CertificateRequest, usages: Sequence[str]) -> str:
    if asked.organizations != (_NODES,):
        return f"subject organization is not {_NODES}"
    for names, what in (
        (asked.dns_names, "DNS"),
        (asked.emails, "Email"),
        (asked.ip_addresses, "IP"),
        (asked.uris, "URI"),
    ):
        if names:
            return f"{what} subjectAltNames are not allowed"
    return _name_refusal(asked) or _usages_refusal(usages, "client auth")


def _kubelet_serving_refusal(asked: CertificateRequest, usages: Sequence[str]) -> str:
    if asked.organizations != (_NODES,):
        return f"subject organization is not {_NODES}"
    if not asked.dns_names and not asked.ip_addresses:
        return "DNS or IP subjectAltName is required"
    if asked.emails:
        return "Email subjectAltNames are not allowed"
    if asked.uris:
        return "URI subjectAltNames are not allowed"
    return _usages_refusal(usages, "server auth") or _name_refusal(asked)


def _name_refusal(asked: CertificateRequest) -> str:
    return "" if asked.common_name.startswith(_NODE) else f"subject common name does not begin with {_NODE}"


def _usages_refusal(usages: Sequence[str], purpose: str) -> str:
    least = {"digital signature", purpose}
    if set(usages) in (least, least | {"key encipherment"}):
        return ""
    return f"usages did not match [{' '.join(sorted(least | {'key encipherment'}))}]"
