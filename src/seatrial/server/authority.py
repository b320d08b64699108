"""A cluster's keys at work: signs and checks service account tokens, signs certificates.

The keys are those of `pki.Pki`; without one they are made when they are first needed and are gone with the process.
`cryptography` (60 ms to import) is loaded with the first signature. Tokens are signed with ES256 in the deterministic
way of RFC 6979, so that the same claims make the same token.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from seatrial.kube.objects import JsonObject
from seatrial.server import pki as files
from seatrial.server.pki import Pki

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_HARMLESS = timedelta(minutes=4)
"""Certificates are dated back by more than this."""
_HALF_BYTES = 32
"""ES256's signature is two numbers of this length."""


class Authority:
    """Signs for one cluster; `pki` holds the keys, which otherwise live in memory."""

    def __init__(self, pki: Pki | None = None) -> None:
        self._pki = pki
        self._verified = lru_cache(maxsize=1024)(self._verify)

    @cached_property
    def certificate(self) -> str:
        """The certificate (PEM) that everybody who is to trust this cluster needs; empty if there is none."""
        return self._pki.ca.read_text() if self._pki is not None else ""

    def token(self, claims: JsonObject) -> str:
        """A signed token that says `claims`."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        header = {"alg": "ES256", "kid": self._key_id}
        text = b".".join(_part(each) for each in (header, claims))
        made = self._key.sign(text, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        halves = b"".join(number.to_bytes(_HALF_BYTES, "big") for number in utils.decode_dss_signature(made))
        return f"{text.decode()}.{_encoded(halves)}"

    def claims(self, token: str) -> JsonObject | None:
        """What a token that this cluster signed says; None for any other text."""
        return self._verified(token)

    def public_key(self) -> JsonObject:
        """The key that tokens are checked with, as a JSON Web Key (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_encoded(number.to_bytes(_HALF_BYTES, "big")) for number in (numbers.x, numbers.y))
        return {"use": "sig", "kty": "EC", "kid": self._key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}

    def sign(
        self, request: str, usages: Sequence[str], not_before: datetime, not_after: datetime, now: datetime
    ) -> str:
        """A certificate (PEM) for a certificate request (PEM), not longer than the authority's own.

        Subject and names are the request's, its other extensions are dropped (as upstream's signing policy). `now` is
        the cluster's time. Where that is virtual, the certificate holds on the real clock too, which TLS looks at.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        assert self._pki is not None, "who signs certificates has files of keys"
        skew = datetime.now(UTC) - now
        if abs(skew) < _HARMLESS:
            skew = timedelta()
        not_before = min(not_before, not_before + skew).replace(microsecond=0)
        not_after = max(not_after, not_after + skew).replace(microsecond=0)
        authority = x509.load_pem_x509_certificate(self._pki.ca.read_bytes())
        key = files.load_key(self._pki.directory / "ca.key")
        asked = x509.load_pem_x509_csr(request.encode())
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(authority.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(min(not_after, authority.not_valid_after_utc))
        )
        for extension, critical in _extensions(usages):
            builder = builder.add_extension(extension, critical)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        names = [each for each in asked.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
        for each in names:
            builder = builder.add_extension(each.value, critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        made = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    def _key(self) -> EllipticCurvePrivateKey:
        if self._pki is None:
            return files.new_key()
        path = self._pki.directory / "sa.key"
        if not path.exists():
            files.write_key(path, files.new_key())
        return files.load_key(path)

    @cached_property
    def _key_id(self) -> str:
        from cryptography.hazmat.primitives import serialization

        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return _encoded(hashlib.sha256(self._key.public_key().public_bytes(encoding, form)).digest())

    def _verify(self, token: str) -> JsonObject | None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        try:
            head, body, signature = token.split(".")
            halves = _bytes(signature)
            if len(halves) != 2 * _HALF_BYTES:
                return None
            numbers = (int.from_bytes(halves[:_HALF_BYTES], "big"), int.from_bytes(halves[_HALF_BYTES:], "big"))
            made = utils.encode_dss_signature(*numbers)
            self._key.public_key().verify(made, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        except (ValueError, InvalidSignature):
            return None
        return _decoded(body)  # nothing is read of what somebody else may have written


def _extensions(usages: Sequence[str]) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509

    found: list[tuple[x509.ExtensionType, bool]] = []
    bits = {name: any(usage in usages for usage in words) for name, words in _KEY_USAGES.items()}
    if not bits["key_agreement"]:
        bits["encipher_only"] = bits["decipher_only"] = False  # X.509 gives these no meaning by themselves
    if any(bits.values()):
        found.append((x509.KeyUsage(**bits), True))
    extended = dict.fromkeys(_EXTENDED_USAGES[usage] for usage in usages if usage in _EXTENDED_USAGES)
    if extended:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(each) for each in extended]), False))
    return found


_KEY_USAGES = {
    "digital_signature": ("signing", "digital signature"),
    "content_commitment": ("content commitment",),
    "key_encipherment": ("key encipherment",),
    "data_encipherment": ("data encipherment",),
    "key_agreement": ("key agreement",),
    "key_cert_sign": ("cert sign",),
    "crl_sign": ("crl sign",),
    "encipher_only": ("encipher only",),
    "decipher_only": ("decipher only",),
}
_EXTENDED_USAGES = {
    "any": "2.5.29.37.0",
    "server auth": "1.3.6.1.5.5.7.3.1",
    "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3",
    "email protection": "1.3.6.1.5.5.7.3.4",
    "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5",
    "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
    "netscape sgc": "2.16.840.1.113730.4.1",
}


def _part(value: JsonObject) -> bytes:
    return _encoded(msgspec.json.encode(value)).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)


def _decoded(text: str) -> dict[str, Any]:
    value = json.loads(_bytes(text))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
