"""A cluster's keys: what they sign, and that nobody else signs it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from seatrial.server.authority import Authority
from seatrial.server.pki import Pki
from tests import certificate_requests

SAID = {"iss": "x", "sub": "system:serviceaccount:a:b"}


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_is_good_for_the_next_process_too_and_always_the_same(tmp_path: Path) -> None:
    pki = Pki.ensure(tmp_path)
    token = Authority(pki).token(SAID)
    assert Authority(pki).claims(token) == SAID
    assert Authority(pki).token(SAID) == token


def test_a_directory_from_before_there_were_tokens_gets_a_key(tmp_path: Path) -> None:
    pki = Pki.ensure(tmp_path)
    (tmp_path / "sa.key").unlink()
    token = Authority(pki).token(SAID)
    assert Authority(pki).claims(token) == SAID
    assert (tmp_path / "sa.key").stat().st_mode & 0o777 == 0o600


def test_everybody_can_check_tokens_with_the_public_key() -> None:
    authority = Authority()
    head, body, signature = authority.token(SAID).split(".")
    key = authority.public_key()
    assert json.loads(raw(head)) == {"alg": "ES256", "kid": key["kid"]}
    x, y, r, s = (
        int.from_bytes(part, "big") for part in (raw(key["x"]), raw(key["y"]), raw(signature)[:32], raw(signature)[32:])
    )
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(utils.encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("kind", ["another key", "other claims", "no signature", "none", "nonsense", "deep"])
def test_what_this_cluster_did_not_sign_says_nothing(kind: str) -> None:
    authority = Authority()
    head, body, signature = authority.token(SAID).split(".")
    other = part({**SAID, "sub": "system:serviceaccount:kube-system:admin"})
    forged = {
        "another key": Authority().token(SAID),
        "other claims": f"{head}.{other}.{signature}",
        "no signature": f"{head}.{body}.",
        "none": f"{part({'alg': 'none'})}.{body}.",
        "nonsense": "a.b.c",
        "deep": "W1tb" * 10000 + f".{body}.{signature}",
    }
    assert authority.claims(forged[kind]) is None
    assert authority.claims(f"{head}.{body}.{signature}") == SAID


def test_a_certificate_has_the_names_that_were_asked_for_and_nothing_more(tmp_path: Path) -> None:
    pki = Pki.ensure(tmp_path)
    now = datetime.now(UTC)
    request = certificate_requests.pem("jane", ("dev", "ops"), dns=("a.example",), ips=("10.0.0.1",))
    pem = Authority(pki).sign(request, ("digital signature", "client auth"), now, now + timedelta(days=1), now)
    made = x509.load_pem_x509_certificate(pem.encode())
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca.read_bytes()))
    assert made.subject.rfc4514_string() == "CN=jane,O=ops,O=dev"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=1)
    long = Authority(pki).sign(request, ("client auth",), now, now + timedelta(days=100000), now)
    ca = x509.load_pem_x509_certificate(pki.ca.read_bytes())
    assert x509.load_pem_x509_certificate(long.encode()).not_valid_after_utc == ca.not_valid_after_utc


def test_a_certificate_of_virtual_time_holds_now_as_well(tmp_path: Path) -> None:
    then = datetime(2040, 1, 1, tzinfo=UTC)
    request = certificate_requests.pem("jane")
    pem = Authority(Pki.ensure(tmp_path)).sign(request, ("client auth",), then, then + timedelta(hours=1), then)
    made = x509.load_pem_x509_certificate(pem.encode())
    assert made.not_valid_before_utc <= datetime.now(UTC) < made.not_valid_after_utc


def test_a_server_that_moved_has_a_certificate_for_its_new_addresses(tmp_path: Path) -> None:
    def addresses(pki: Pki) -> list[str]:
        made = x509.load_pem_x509_certificate((pki.directory / "server.crt").read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(each) for each in names.get_values_for_type(x509.IPAddress)]

    first = Pki.ensure(tmp_path, addresses=("127.0.0.1", "10.1.128.1"))
    authority = first.ca.read_text()
    assert addresses(first) == ["127.0.0.1", "10.1.128.1"]
    kept = (tmp_path / "server.crt").read_text()
    assert (Pki.ensure(tmp_path, addresses=("127.0.0.1", "10.1.128.1")).directory / "server.crt").read_text() == kept
    second = Pki.ensure(tmp_path, addresses=("127.0.0.1", "10.2.128.1"))
    assert addresses(second) == ["127.0.0.1", "10.2.128.1"]
    assert second.ca.read_text() == authority, "what trusted the cluster still does"
