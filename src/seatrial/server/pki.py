"""Who is who: a certificate authority, the server's certificate, the administrator's, the key of service accounts'
tokens (`sa.key`), and the kubeconfig.

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
        listed = directory / "server.addresses"
        if not all((directory / f"{name}.{end}").exists() for name in names for end in ("crt", "key")):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create(directory, addresses)
        elif not listed.exists() or listed.read_text().split() != list(addresses):
            _create_server(directory, addresses)  # this machine's addresses are others now
        else:
            return pki
        _write(listed, "\n".join(addresses).encode())
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
    from cryptography.hazmat.primitives import hashes

    key, name = new_key(), _name("seatrial-ca")
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _save(directory, "ca", key, ca)
    write_key(directory / "sa.key", new_key())
    _issue(directory, "admin", _name(ADMIN, ADMIN_GROUP), "client", ())
    _create_server(directory, addresses)


def _create_server(directory: Path, addresses: tuple[str, ...]) -> None:
    _issue(directory, "server", _name("kube-apiserver"), "server", addresses)


def _issue(directory: Path, file: str, who: x509.Name, purpose: str, addresses: tuple[str, ...]) -> None:
    """Make a key with a certificate; one for a server is for the API's names and for `addresses`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    ca_key, key = load_key(directory / "ca.key"), new_key()
    usage = ExtendedKeyUsageOID.SERVER_AUTH if purpose == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    made = (
        _builder(who, ca.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(identifier, critical=False)
    )
    if purpose == "server":
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _save(directory, file, key, made.sign(ca_key, hashes.SHA256()))


def _name(user: str, group: str = "") -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _builder(name: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    from cryptography import x509

    start = datetime.now(UTC) - timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
    )


def _save(directory: Path, name: str, key: EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    from cryptography.hazmat.primitives import serialization

    write_key(directory / f"{name}.key", key)
    _write(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    _write(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))


def load_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), f"{path} is one of ours"
    return key


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
