"""Service account tokens: what one says, and when it is valid. Signatures are made and checked elsewhere.

A token is a JSON Web Token (RFC 7519) about one ServiceAccount. Those that are asked for (TokenRequest) end, name
audiences, and may be bound to a Pod, a Secret or a Node: they are valid only while that very object is there. Those
in Secrets of type kubernetes.io/service-account-token are of the older kind: they never end and die with the Secret.

Claims and wording are upstream's: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from seatrial.control.access import User, account_groups, account_name, account_of
from seatrial.kube.objects import JsonObject, ObjectMeta

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
AUDIENCES: Final = (ISSUER,)
"""Whom tokens are for unless somebody says otherwise: this API server."""

SECRET_TYPE: Final = "kubernetes.io/service-account-token"
ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"

SHORTEST_S: Final = 600
LONGEST_S: Final = 2**32
MOUNTED_S: Final = 3607
"""The lifetime that the admission of pods asks for: an hour, and 7 s to tell these tokens from others."""
EXTENDED_S: Final = 365 * 24 * 3600
"""How long such a token is really valid, for programs that read it only once (kube-apiserver's default)."""
LEEWAY: Final = timedelta(seconds=60)
_LEGACY: Final = "kubernetes.io/serviceaccount/"
_EXTRA: Final = "authentication.kubernetes.io/"


class InvalidTokenError(Exception):
    """The token is not valid (any more); the message is what a TokenReview tells."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is about or bound to."""

    name: str
    uid: str = ""

    def claim(self) -> JsonObject:
        return {"name": self.name, **({"uid": self.uid} if self.uid else {})}


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token is bound to; `node` beside `pod` only tells where the pod runs."""

    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


class Lookup(Protocol):
    """The objects that tokens refer to, as they are now."""

    def metadata(self, kind: str, namespace: str, name: str) -> ObjectMeta | None:
        """Of a ServiceAccount, Pod, Secret or Node."""

    def secret_token(self, namespace: str, name: str) -> str:
        """The token that a Secret holds; empty if there is none."""


def claims(
    account: ObjectMeta,
    bound: Bound,
    *,
    audiences: Sequence[str],
    lifetime_s: int,
    now: datetime,
    token_id: str,
) -> JsonObject:
    """What a token that was asked for says. A mounted one lives longer than it claims, and says when to warn."""
    warn_after = None
    if bound.pod is not None and lifetime_s == MOUNTED_S and set(audiences) <= set(AUDIENCES):
        warn_after, lifetime_s = _seconds(now) + lifetime_s, EXTENDED_S
    private: JsonObject = {
        "namespace": account.namespace,
        "serviceaccount": Reference(account.name, account.uid).claim(),
    }
    for name, reference in (("pod", bound.pod), ("secret", bound.secret), ("node", bound.node)):
        if reference is not None:
            private[name] = reference.claim()
    if warn_after is not None:
        private["warnafter"] = warn_after
    return {
        "aud": list(audiences),
        "exp": _seconds(now) + lifetime_s,
        "iat": _seconds(now),
        "iss": ISSUER,
        "jti": token_id,
        "kubernetes.io": private,
        "nbf": _seconds(now),
        "sub": account_name(account.namespace, account.name),
    }


def refresh_at(issued: datetime, expires: datetime) -> datetime:
    """When a node fetches a mounted token anew: at 80 % of its life, or when it is a day old (the kubelet's rule)."""
    return min(issued + timedelta(hours=24), expires - (expires - issued) * 20 / 100)


def legacy_claims(account: ObjectMeta, secret_name: str) -> JsonObject:
    """What a token in a Secret says."""
    return {
        "iss": LEGACY_ISSUER,
        f"{_LEGACY}namespace": account.namespace,
        f"{_LEGACY}secret.name": secret_name,
        f"{_LEGACY}service-account.name": account.name,
        f"{_LEGACY}service-account.uid": account.uid,
        "sub": account_name(account.namespace, account.name),
    }


def secret_of(said: Mapping[str, Any]) -> tuple[str, str] | None:
    """Namespace and name of the Secret that holds this token, if it is one of those."""
    if said.get("iss") != LEGACY_ISSUER:
        return None
    return said[f"{_LEGACY}namespace"], said[f"{_LEGACY}secret.name"]


def bearer(
    said: Mapping[str, Any], token: str, lookup: Lookup, now: datetime, audiences: Sequence[str] = AUDIENCES
) -> tuple[User, tuple[str, ...]]:
    """Who a token with a good signature stands for, and for which of `audiences`. Raises `InvalidTokenError`."""
    if said.get("iss") == LEGACY_ISSUER:
        return _legacy_bearer(said, token, lookup), tuple(each for each in audiences if each in AUDIENCES)
    named = said.get("aud")
    own = [named] if isinstance(named, str) else list(named or AUDIENCES)
    common = tuple(each for each in own if each in audiences)
    if not common:
        raise InvalidTokenError(
            f"token audiences {_listed(own)} is invalid for the target audiences {_listed(audiences)}"
        )
    _check_times(said, now)
    private = said.get("kubernetes.io") or {}
    namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
    gone_before = now - LEEWAY
    name = account.get("name", "")
    found = lookup.metadata("ServiceAccount", namespace, name)
    if found is None:
        raise InvalidTokenError(f'serviceaccounts "{name}" not found')
    if found.uid != account.get("uid"):
        raise InvalidTokenError(f"service account UID ({found.uid}) does not match claim ({account.get('uid', '')})")
    if found.deletion_timestamp is not None and found.deletion_timestamp < gone_before:
        raise InvalidTokenError(f"service account {namespace}/{name} has been deleted")
    extra: dict[str, tuple[str, ...]] = {}
    if token_id := said.get("jti"):
        extra[f"{_EXTRA}credential-id"] = (f"JTI={token_id}",)
    for key, kind, within in (("secret", "Secret", namespace), ("pod", "Pod", namespace), ("node", "Node", "")):
        reference = private.get(key)
        if not reference:
            continue
        if not (key == "node" and private.get("pod")):
            _check_bound(lookup.metadata(kind, within, reference.get("name", "")), reference, key, gone_before)
        if key != "secret":
            extra[f"{_EXTRA}{key}-name"] = (reference["name"],)
            if reference.get("uid"):
                extra[f"{_EXTRA}{key}-uid"] = (reference["uid"],)
    groups = account_groups(namespace)
    return User(account_name(namespace, name), groups, str(account["uid"]), dict(sorted(extra.items()))), common


def _check_times(said: Mapping[str, Any], now: datetime) -> None:
    at = now.timestamp()
    leeway = LEEWAY.total_seconds()
    if isinstance(said.get("nbf"), int) and at + leeway < said["nbf"]:
        raise InvalidTokenError("service account token is not valid yet")
    if isinstance(said.get("exp"), int) and at - leeway > said["exp"]:
        raise InvalidTokenError("service account token has expired")
    if isinstance(said.get("iat"), int) and at + leeway < said["iat"]:
        raise InvalidTokenError("service account token is issued in the future")


def _check_bound(found: ObjectMeta | None, reference: Mapping[str, str], key: str, gone_before: datetime) -> None:
    if found is None:
        raise InvalidTokenError("service account token has been invalidated")
    if found.uid != reference.get("uid", ""):
        what = {"pod": "Pod", "secret": "secret", "node": "node"}[key]
        raise InvalidTokenError(
            f"{what} UID ({found.uid}) does not match service account {key} ref claim ({reference.get('uid', '')})"
        )
    if found.deletion_timestamp is not None and found.deletion_timestamp < gone_before:
        raise InvalidTokenError("service account token has been invalidated")


def _legacy_bearer(said: Mapping[str, Any], token: str, lookup: Lookup) -> User:
    parts = {key: said.get(f"{_LEGACY}{claim}") or "" for key, claim in _LEGACY_CLAIMS}
    for key, value in parts.items():
        if not value:
            raise InvalidTokenError(f"{key} claim is missing")
    namespace, secret_name = parts["namespace"], parts["secretName"]
    name, uid = parts["serviceAccountName"], parts["serviceAccountUID"]
    if account_of(str(said.get("sub", ""))) != (namespace, name):
        raise InvalidTokenError("sub claim is invalid")
    secret = lookup.metadata("Secret", namespace, secret_name)
    if secret is None or secret.deletion_timestamp is not None:
        raise InvalidTokenError("Token has been invalidated")
    if lookup.secret_token(namespace, secret_name) != token:
        raise InvalidTokenError("Token does not match server's copy")
    account = lookup.metadata("ServiceAccount", namespace, name)
    if account is None:
        raise InvalidTokenError(f'serviceaccounts "{name}" not found')
    if account.deletion_timestamp is not None:
        raise InvalidTokenError(f"ServiceAccount {namespace}/{name} has been deleted")
    if account.uid != uid:
        raise InvalidTokenError(f"ServiceAccount UID ({account.uid}) does not match claim ({uid})")
    return User(account_name(namespace, name), account_groups(namespace), uid)


_LEGACY_CLAIMS: Final = (
    ("namespace", "namespace"),
    ("secretName", "secret.name"),
    ("serviceAccountName", "service-account.name"),
    ("serviceAccountUID", "service-account.uid"),
)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _listed(texts: Sequence[str]) -> str:
    return "[" + " ".join(f'"{text}"' for text in texts) + "]"
