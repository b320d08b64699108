"""A small Kubernetes API client: kubeconfig in, JSON out. One connection, blocking, as a straight sequence needs it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from seatrial.kube.objects import JsonObject


class ApiError(Exception):
    """The API server refused; `status` is its Status object."""

    def __init__(self, status: JsonObject) -> None:
        super().__init__(status.get("message") or f"HTTP {status.get('code')}")
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status.get("code", 0))


class UnreachableError(Exception):
    """Nobody answers at the server's address; trying again may help."""


class Client:
    """Requests to the current context of a kubeconfig. Client certificates and bearer tokens are understood."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self.server: str = cluster["server"]
        self.namespace: str = context.get("namespace", "default")
        self._headers = {"Accept": "application/json", "User-Agent": "seatrial"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        url = urlsplit(self.server)
        self._connection: http.client.HTTPConnection
        if url.scheme == "https":
            trust = _material(cluster, "certificate-authority", kubeconfig.parent)
            tls = ssl.create_default_context(cadata=trust.decode() if trust else None)
            _present_certificate(tls, user, kubeconfig.parent)
            self._connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=tls, timeout=30)
        else:
            self._connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        self._plurals: dict[str, dict[str, JsonObject]] = {}

    def request(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Any:
        """The decoded answer. Raises `ApiError` for a refusal, `UnreachableError` when nobody answers."""
        return self.send(method, path, None if body is None else json.dumps(body).encode(), content_type=content_type)

    def send(self, method: str, path: str, data: bytes | None, *, content_type: str = "application/json") -> Any:
        """`request` with a body that is text already."""
        headers = dict(self._headers)
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            self._connection.request(method, path, data, headers)
            answer = self._connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise UnreachableError(f"{self.server} does not answer: {error}") from error
        if answer.status >= 400:
            raise ApiError(_status(raw, answer.status))
        return json.loads(raw) if answer.headers.get_content_type() == "application/json" else raw.decode()

    def collection(self, api_version: str, kind: str, namespace: str) -> str:
        """The path under which objects of a kind live. Raises `ApiError` (404) for a kind that the server lacks."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if api_version not in self._plurals:
            listed = self.request("GET", root)["resources"]
            self._plurals[api_version] = {item["kind"]: item for item in listed if "/" not in item["name"]}
        resource = self._plurals[api_version].get(kind)
        if resource is None:
            raise ApiError({"code": 404, "message": f"the server has no kind {kind} in {api_version}"})
        where = f"/namespaces/{namespace or self.namespace}" if resource["namespaced"] else ""
        return f"{root}{where}/{resource['name']}"

    def forget_kinds(self) -> None:
        """Ask again which kinds there are: a definition may have made one."""
        self._plurals.clear()

    def close(self) -> None:
        self._connection.close()


def _named(items: list[JsonObject], name: str) -> JsonObject:
    return next(item for item in items if item["name"] == name)


def _material(section: JsonObject, key: str, folder: Path) -> bytes | None:
    """What `key` names: inline as `KEY-data` in base64, or a file, relative to the kubeconfig."""
    if data := section.get(f"{key}-data"):
        return base64.b64decode(data)
    return (folder / section[key]).read_bytes() if key in section else None


def _present_certificate(tls: ssl.SSLContext, user: JsonObject, folder: Path) -> None:
    certificate = _material(user, "client-certificate", folder)
    key = _material(user, "client-key", folder)
    if certificate and key:
        # The ssl module loads a key pair from a file only.
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)


def _status(raw: bytes, code: int) -> JsonObject:
    try:
        status = json.loads(raw)
    except ValueError:
        status = None
    return status if isinstance(status, dict) else {"code": code, "message": raw.decode(errors="replace")[:500]}
