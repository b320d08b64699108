"""The names of signers of certificates, and of the bundles of those they sign (`pkg/apis/core/validation/names.go`)."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.kube.faults import quoted
from seatrial.kube.validation.fields import (
    LONGEST_LABEL,
    LONGEST_SUBDOMAIN,
    Faults,
    byte_length,
    invalid,
    no_label,
    no_subdomain,
    required,
    too_long,
)

_LONGEST = 2 * LONGEST_SUBDOMAIN + LONGEST_LABEL + 2


def is_own(signer: str) -> bool:
    """Whether it is one of Kubernetes' own."""
    host = signer.partition("/")[0]
    return host == "kubernetes.io" or host.endswith(".kubernetes.io")


def signer_name(path: str, signer: str) -> Faults:
    if not signer:
        yield required(path)
        return
    host, slash, name = signer.partition("/")
    if not slash or "/" in name:
        yield invalid(path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    if byte_length(host) > LONGEST_SUBDOMAIN:
        yield too_long(path, LONGEST_SUBDOMAIN)
    for text, rule in ((host, no_label), (name, no_subdomain)):
        for each in text.split("."):
            wrong = list(rule(each))
            yield from (invalid(path, text, f"validating label {quoted(each)}: {why}") for why in wrong)
            if wrong:
                break
        if text is host and "." not in host:
            yield invalid(path, host, "should be a domain with at least two segments separated by dots")
    if byte_length(signer) > _LONGEST:
        yield too_long(path, _LONGEST)


def no_bundle(name: str, signer: str) -> Iterator[str]:
    """Why a ClusterTrustBundle of this signer, if any, cannot have that name."""
    prefix = signer.replace("/", ":") + ":"
    if not signer and ":" not in name:
        yield from no_subdomain(name)
    elif not signer:
        yield 'ClusterTrustBundle without signer name must not have ":" in its name'
    elif not name.startswith(prefix):
        yield f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
    else:
        yield from no_subdomain(name.removeprefix(prefix))
