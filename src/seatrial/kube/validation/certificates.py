"""Requests for certificates, and bundles of trust anchors (`pkg/apis/certificates/validation`).

What is inside a request or a certificate is not read here: that takes a library, and the server does it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Final

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import Faults, duplicate, invalid, part, required, too_long, unchanged, unsupported
from seatrial.kube.validation.kinds import Rules
from seatrial.kube.validation.signers import no_bundle, signer_name

_USAGES: Final = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_SHORTEST_S: Final = 600
_LEGACY: Final = "kubernetes.io/legacy-unknown"
_LARGEST_BUNDLE: Final = 1024 * 1024
_BLOCK: Final = re.compile("-----BEGIN ([^-\n]+)-----\\s*\n(.*?)-----END \\1-----", re.DOTALL)


def _request(raw: JsonObject, minor: int) -> Faults:
    spec = part(raw, "spec")
    usages = spec.get("usages") or []
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            yield unsupported(f"spec.usages[{index}]", usage or "", _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName") or ""
    if signer == _LEGACY:
        yield invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    else:
        yield from signer_name("spec.signerName", signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_S:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", seconds, why)


def _bundle(raw: JsonObject, minor: int) -> Faults:
    spec, metadata = part(raw, "spec"), part(raw, "metadata")
    signer = spec.get("signerName") or ""
    for field in ("generateName", "name"):
        if name := metadata.get(field):
            yield from (invalid(f"metadata.{field}", name, why) for why in no_bundle(name, signer))
    if signer:
        yield from signer_name("spec.signerName", signer)


def _new_bundle(raw: JsonObject, minor: int) -> Faults:
    return _anchors(part(raw, "spec").get("trustBundle") or "")


def _anchors(text: str) -> Faults:
    path, shown = "spec.trustBundle", "<value omitted>"
    if len(text) > _LARGEST_BUNDLE:
        yield too_long(path, _LARGEST_BUNDLE)
        return
    seen: dict[bytes, int] = {}
    found = list(_BLOCK.finditer(text))
    for number, block in enumerate(found):
        if block[1] != "CERTIFICATE":
            yield invalid(path, shown, f"entry {number} has bad block type: {block[1]}")
            continue
        try:
            content = b64decode("".join(block[2].split()), validate=True)
        except (ValueError, binascii.Error):
            yield invalid(path, shown, f"entry {number} does not parse as X.509")
            continue
        if content in seen:
            yield invalid(path, shown, f"duplicate trust anchor (indices [{seen[content]} {number}])")
        seen.setdefault(content, number)
    if not found:
        yield invalid(path, shown, "at least one trust anchor must be provided")


def _fixed_bundle(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    new, old = part(raw, "spec"), part(before, "spec")
    if new.get("trustBundle") != old.get("trustBundle"):
        yield from _anchors(new.get("trustBundle") or "")
    yield from unchanged("spec.signerName", new.get("signerName") or "", old.get("signerName") or "")


def _any_name(path: str, name: str) -> Faults:
    """A request may have any name; a bundle's hangs on its signer, which is elsewhere."""
    return iter(())


RULES: Final = {
    "CertificateSigningRequest": Rules(new=_request, named=_any_name, remeta=True, checks_prefix=False),
    "ClusterTrustBundle": Rules(valid=_bundle, new=_new_bundle, fixed=_fixed_bundle, named=_any_name, remeta=True),
}
