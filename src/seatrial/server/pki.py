"""Who is who: a certificate authority, the server's certificate, the administrator's, and the kubeconfig.

Everything is made once and kept in a directory (keys readable by the owner only); later starts only look that the files
are there, so that `cryptography` (60 ms to import) is loaded when something must be made. All keys are P-256.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LIFETIME = timedelta(days=3650)
ADMIN, ADMIN_GROUP = "kubernetes-admin", "system:masters"
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Pki:
    """The files of one cluster's certificates."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @classmethod
    def ensure(cls, directory: Path, *, addresses: tuple[str, ...] = ("127.0.0.1", "10.96.0.1")) -> Pki:
        """The certificates in `directory`, made if they are not there. Raises `OSError`."""
        pki = cls(directory)
        names = ("ca", "server", "admin")
        if not all((directory / f"{name}.{end}").exists() for name in names for end in ("crt", "key")):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create(directory, addresses)
        return pki

    def server_context(self) -> ssl.SSLContext:
        """TLS for the server: clients may show a certificate of our authority; who does not is anonymous."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that is the administrator."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")
        return context

    def kubeconfig(self, server: str, *, name: str = "seatrial") -> str:
        """A kubeconfig for the administrator, complete in itself; `server` is the URL."""

        def embedded(file: str) -> str:
            return base64.b64encode((self.directory / file).read_bytes()).decode()

        return (
            "apiVersion: v1\nkind: Config\n"
            f"clusters:\n- name: {name}\n  cluster:\n    server: {server}\n"
            f"    certificate-authority-data: {embedded('ca.crt')}\n"
            f"users:\n- name: {name}\n  user:\n    client-certificate-data: {embedded('admin.crt')}\n"
            f"    client-key-data: {embedded('admin.key')}\n"
            f"contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n"
            f"current-context: {name}\n"
        )

    def write_kubeconfig(self, path: Path, server: str, *, name: str = "seatrial") -> None:
        _write(path, self.kubeconfig(server, name=name).encode())


def _create(directory: Path, addresses: tuple[str, ...]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    start = datetime.now(UTC) - timedelta(minutes=5)

    def subject(user: str, group: str = "") -> x509.Name:
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])

    def builder(name: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + LIFETIME)
        )

    def save(name: str, key: EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        _write(directory / f"{name}.key", pem)
        _write(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = subject("seatrial-ca")
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = (
        builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    save("ca", ca_key, ca)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    for name, who, purpose in (
        ("server", subject("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH),
        ("admin", subject(ADMIN, ADMIN_GROUP), ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            builder(who, ca_name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        if name == "server":
            made = made.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        save(name, key, made.sign(ca_key, hashes.SHA256()))


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
