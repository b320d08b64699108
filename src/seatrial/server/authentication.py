"""Who asks: from a client certificate, a service account's token, or nothing; and whom he asks as (impersonation)."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from seatrial.control import impersonation, tokens
from seatrial.control.access import AUTHENTICATED, NOBODY, UNAUTHENTICATED, Attributes, Policy, User
from seatrial.kube.objects import ObjectMeta
from seatrial.server import accounts, authorisation, errors

if TYPE_CHECKING:
    from seatrial.server.api import Api

_AS_USER, _AS_UID, _AS_GROUP = "impersonate-user", "impersonate-uid", "impersonate-group"
_AS_EXTRA = "impersonate-extra-"


def of_certificate(tls: ssl.SSLObject | None) -> User | None:
    """The user that a client's certificate names: its common name, and its organizations as groups."""
    shown: Any = tls.getpeercert() if tls is not None else None
    parts = [pair for part in (shown or {}).get("subject", ()) for pair in part]
    name = next((value for key, value in parts if key == "commonName"), "")
    if tls is None or not name:
        return None
    fingerprint = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    groups = tuple(value for key, value in parts if key == "organizationName")
    return User(name, groups, extra={"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)})


def of_request(api: Api, shown: User | None, authorization: str) -> User:
    """Who makes a request with this certificate, or this header. Raises `StatusError` (401) for a bad token."""
    if shown is not None:
        return _complete(shown)
    words = authorization.strip().split(" ", 2)
    if len(words) < 2 or words[0].lower() != "bearer" or not words[1]:
        return NOBODY
    try:
        user, _ = of_token(api, words[1])
    except tokens.InvalidTokenError as error:
        raise errors.failure(401, "Unauthorized", "Unauthorized") from error
    return _complete(user)


def of_token(api: Api, token: str, audiences: Sequence[str] = tokens.AUDIENCES) -> tuple[User, tuple[str, ...]]:
    """Whom a token stands for, and for which of the audiences. Raises `InvalidTokenError`."""
    said = api.authority.claims(token)
    if said is None:
        raise tokens.InvalidTokenError("invalid bearer token")
    found = tokens.bearer(said, token, _Objects(api), api.now(), audiences)
    if (secret := tokens.secret_of(said)) is not None:
        accounts.note_use(api, *secret)
    return found


def impersonated(api: Api, policy: Policy, asker: User, asked: Attributes, headers: Iterable[tuple[str, str]]) -> User:
    """Whom the headers make of `asker`. Raises `StatusError`: 403 if he may not."""
    wanted = _wanted(headers)
    if wanted is None:
        return asker
    try:
        return impersonation.impersonated(policy, asker, wanted, asked, api.minor)
    except impersonation.ForbiddenError as error:
        raise authorisation.forbidden(asker, error.asked, error.reason) from error


def _wanted(headers: Iterable[tuple[str, str]]) -> User | None:
    name = uid = ""
    groups: list[str] = []
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in headers:
        if key == _AS_USER:
            name = name or value
        elif key == _AS_UID:
            uid = uid or value
        elif key == _AS_GROUP:
            groups.append(value)
        elif key.startswith(_AS_EXTRA):
            of = unquote(key.removeprefix(_AS_EXTRA))
            extra[of] = (*extra.get(of, ()), value)
    if not name and (uid or groups or extra):
        raise errors.bad_request("requested a uid, groups or extra of a user without impersonating a user name")
    return User(name, tuple(groups), uid, extra) if name else None


def _complete(user: User) -> User:
    if {AUTHENTICATED, UNAUTHENTICATED} & set(user.groups):
        return user
    return User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


class _Objects:
    """What tokens refer to, from the store."""

    def __init__(self, api: Api) -> None:
        self._store = api.store

    def metadata(self, kind: str, namespace: str, name: str) -> ObjectMeta | None:
        stored = self._store.get(f"/{kind.lower()}s", namespace, name)
        return None if stored is None else msgspec.convert(stored.raw["metadata"], ObjectMeta)

    def secret_token(self, namespace: str, name: str) -> str:
        stored = self._store.get("/secrets", namespace, name)
        encoded = (stored.raw.get("data") or {}).get("token", "") if stored is not None else ""
        return base64.b64decode(encoded).decode(errors="replace")
